"""What a law is fitted to: losses at some steps, and the learning rate of every step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.analysis.laws.rate_shape import warmup_of
from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["LossCurve", "as_rates"]


@dataclass(frozen=True, eq=False)
class LossCurve:
    """A training's losses at some of its steps, and the learning rate of every step.

    Attributes:
        steps: int64, shape (points,), rising: how many updates were done when the loss was measured.
        losses: float64, shape (points,), positive and finite.
        learning_rates: float64, shape (updates,): of every update from the first on, warmup included; at least as many
            as the last of `steps`.
        name: what it is called in messages.
        notes: what was filled in, averaged or left out on the way here, in sentences.

    >>> curve = LossCurve(np.array([2, 4]), np.array([2.0, 1.5]), np.full(4, 0.1))
    >>> curve.peak, curve.warmup
    (0.1, 0)

    Raises:
        InputError: where a law couldn't be fitted to it, with the reason.
        InputTypeError: for what isn't numbers.
    """

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    learning_rates: NDArray[np.float64]
    name: str = "run"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _steps(self.steps, self.name))
        object.__setattr__(self, "losses", _losses(self.losses, self.name))
        object.__setattr__(self, "learning_rates", as_rates(self.learning_rates))
        if len(self.steps) != len(self.losses):
            raise InputError(
                f"steps and losses must be of the same length: {self.name} has {len(self.steps)} and {len(self.losses)}"
            )
        if not len(self.steps):
            raise InputError(f"losses must not be empty: {self.name} has none")
        bad = np.flatnonzero(~(np.isfinite(self.losses) & (self.losses > 0)))
        if len(bad):
            raise InputError(
                f"losses must be positive and finite: {self.name} has {self.losses[bad[0]]:g} at step "
                f"{self.steps[bad[0]]}"
            )
        if int(self.steps[-1]) > len(self.learning_rates):
            raise InputError(
                f"learning_rates must have one for every step: {self.name} has {len(self.learning_rates)}, and a loss "
                f"after {self.steps[-1]} updates"
            )
        for array in (self.steps, self.losses, self.learning_rates):
            array.setflags(write=False)

    @property
    def peak(self) -> float:
        """The highest rate."""
        return float(self.learning_rates.max())

    @property
    def warmup(self) -> int:
        """As `warmup_of` has it.

        >>> LossCurve(np.array([3]), np.array([2.0]), np.array([0.1, 0.2, 0.3, 0.3])).warmup
        2
        """
        return warmup_of(self.learning_rates)


def as_rates(given: ArrayLike) -> NDArray[np.float64]:
    """Rates of every step, checked.

    Raises:
        InputError: for none, several dimensions, and what is negative or no number.
    """
    rates = _numbers(given, "learning_rates")
    if rates.ndim != 1 or not len(rates):
        raise InputError(f"learning_rates must have one for every step, not the shape {rates.shape}")
    bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if len(bad):
        raise InputError(f"learning_rates must be finite and not negative, not {rates[bad[0]]:g} at step {bad[0]}")
    if not rates.any():
        raise InputError("learning_rates must not be all 0")
    return rates


def _numbers(given: object, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray(given, dtype=np.float64).copy()  # array() warns of tensors
    except (TypeError, ValueError):
        raise InputTypeError(f"{what} must be numbers, not {shown(given)}") from None
    except RuntimeError:  # as of tensors that require a gradient
        raise InputTypeError(
            f"{what} must be numbers without a gradient, as detach() gives them, not {shown(given)}"
        ) from None


def _losses(given: object, name: str) -> NDArray[np.float64]:
    losses = _numbers(given, "losses")
    if losses.ndim != 1:
        raise InputError(f"losses must be numbers in one dimension: those of {name} have the shape {losses.shape}")
    return losses


def _steps(given: object, name: str) -> NDArray[np.int64]:
    numbers = _numbers(given, "steps")
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or (numbers % 1).any() or (numbers < 0).any():
        raise InputError(f"steps must be whole numbers from 0 on, in one dimension: those of {name} aren't")
    if (np.diff(numbers) <= 0).any():
        raise InputError(f"steps must rise: those of {name} don't")
    return numbers.astype(np.int64)

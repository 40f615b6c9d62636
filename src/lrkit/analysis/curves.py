"""What a range test shows: a loss at each learning rate, for each seed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, shown

__all__ = ["Array", "Curve", "middle"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Losses at learning rates, for one or more seeds; two curves are equal when their numbers are.

    Args:
        rates: shape (n,): positive, finite, increasing.
        losses: shape (seeds, n), or (n,) for one seed: not finite where a seed has diverged.

    Raises:
        InputError: for rates that aren't like this, or losses of another shape.

    >>> curve = Curve([0.1, 1.0, 10.0], [[2.0, 1.0, 5.0], [2.2, 1.2, float("nan")], [2.1, 0.8, 4.0]])
    >>> curve.seeds, curve.typical.tolist(), curve.to_dict()["losses"][1]
    (3, [2.1, 1.0, 5.0], [2.2, 1.2, None])
    """

    rates: Array
    losses: Array

    def __post_init__(self) -> None:
        rates = _floats(self.rates, "rates")
        losses = np.atleast_2d(_floats(self.losses, "losses"))
        if rates.ndim != 1 or not rates.size:
            raise InputError(f"rates must be a list of at least one number, not of shape {rates.shape}")
        if not (np.isfinite(rates).all() and rates[0] > 0 and (np.diff(rates) > 0).all()):
            raise InputError(f"rates must be positive, finite and increasing, not {shown(rates.tolist())}")
        if losses.ndim != 2 or not losses.shape[0] or losses.shape[1] != rates.size:
            raise InputError(f"losses must be of shape (seeds, {rates.size}) as there are rates, not {losses.shape}")
        for name, array in (("rates", rates), ("losses", losses)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.losses)

    @cached_property
    def typical(self) -> Array:
        """The median over seeds, shape (n,); infinite where half of them or more have diverged."""
        found = middle(self.losses)
        found.setflags(write=False)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `rates`, and `losses` for each seed, None where it has diverged."""
        losses = [[loss if np.isfinite(loss) else None for loss in seed] for seed in self.losses.tolist()]
        return {"rates": self.rates.tolist(), "losses": losses}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Curve):
            return NotImplemented
        same = np.array_equal(self.rates, other.rates)
        return same and np.array_equal(self.losses, other.losses, equal_nan=True)

    def __hash__(self) -> int:
        return hash((self.rates.tobytes(), self.losses.shape))


def middle(losses: Array) -> Array:
    """The median over the first axis, in which what isn't finite counts as infinite."""
    ordered = np.sort(np.where(np.isfinite(losses), losses, np.inf), axis=0)
    found: Array = ordered[(len(ordered) - 1) // 2] / 2 + ordered[len(ordered) // 2] / 2
    return found


def _floats(values: object, name: str) -> Array:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers, not {shown(values)}") from None

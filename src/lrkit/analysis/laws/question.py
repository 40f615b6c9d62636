"""What is asked of laws: the losses of some rates at some steps, of which a law is asked at a few hundred."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lrkit.analysis.laws.law import Law, losses_of
from lrkit.analysis.laws.rate_path import RatePath, trace
from lrkit.analysis.laws.rate_shape import largest_changes
from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["Question", "as_tensors", "ask", "knots"]

_KNOTS = 360  # of a curve of all steps, which is interpolated between them
_JUMPS = 60  # the largest that points follow
_AFTER = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256])  # steps from a jump on


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of laws: the losses of some rates at some steps.

    Attributes:
        path: to points that the wanted steps are among or lie between.
        wanted: int64, shape (points,): after how many updates a loss is wanted.
    """

    path: RatePath
    wanted: NDArray[np.int64]

    def answer(self, law: Law, values: Mapping[str, float]) -> NDArray[np.float64]:
        """The losses of a law with its values, shape (points,)."""
        with torch.no_grad():
            losses = losses_of(law, as_tensors(values), self.path).numpy()
        found: NDArray[np.float64] = np.interp(self.wanted, self.path.points, losses)
        return found


def as_tensors(values: Mapping[str, float]) -> dict[str, Tensor]:
    """Values as laws take them."""
    return {name: torch.tensor(float(value), dtype=torch.float64) for name, value in values.items()}


def ask(rates: NDArray[np.float64], steps: ArrayLike | None) -> Question:
    """A question; steps as in `FittedLaw.predict`."""
    wanted = np.arange(len(rates)) if steps is None else _wanted(steps, len(rates))
    distinct = np.unique(wanted)
    points = distinct if len(distinct) <= _KNOTS else knots(rates, distinct, _KNOTS)
    return Question(trace(rates, points), wanted)


def knots(rates: NDArray[np.float64], wanted: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Some of the steps that are wanted, the first and the last among them, between which a loss is nearly straight.

    Args:
        rates: shape (updates,).
        wanted: int64, rising.
        count: how many are spread evenly, and how many to a change of the peak; more are early, and after jumps.
    """
    first, last = int(wanted[0]), int(wanted[-1])
    changes = np.abs(np.diff(rates[: last + 1]))
    peak = float(rates.max())
    passed = np.floor(np.concatenate([[0.0], np.cumsum(changes)]) / max(peak, float(changes.sum())) * count)
    after = (largest_changes(rates[: last + 1], _JUMPS)[:, None] + _AFTER).ravel()
    places = np.concatenate(
        [
            np.linspace(first, last, count).astype(np.int64),
            np.geomspace(1, max(last, 1), count).astype(np.int64),
            np.flatnonzero(np.diff(passed)) + 1,
            after,
        ]
    )
    inside = places[(places >= first) & (places <= last)]
    return np.unique(wanted[np.clip(np.searchsorted(wanted, inside), 0, len(wanted) - 1)])


def _wanted(steps: ArrayLike, updates: int) -> NDArray[np.int64]:
    try:
        found: NDArray[Any] = np.asarray(steps, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # the last of tensors that require a gradient
        raise InputTypeError(f"steps must be whole numbers, not {shown(steps)}") from None
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all() or (found % 1).any():
        raise InputError(f"steps must be whole numbers, at least one, not {shown(steps)}")
    if found.min() < 0 or found.max() > updates:
        raise InputError(f"steps must be from 0 to {updates}, the number of rates, not {shown(steps)}")
    return found.astype(np.int64)

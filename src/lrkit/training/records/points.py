"""The points of series among the updates of a run."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lrkit.training.records.series import Series

__all__ = ["first_step_of", "held", "latest", "restarts_of"]


def first_step_of(steps: NDArray[np.int64], *, trained: bool) -> int:
    """Whether a step counts the updates before its own (0) or its own too (1), by the distance of the steps.

    >>> [first_step_of(np.array(each), trained=True) for each in ([0, 50, 100], [49, 99, 149], [50, 100], [1, 2, 3])]
    [0, 0, 1, 1]
    """
    different = np.unique(steps)
    if different[0] <= 0 and (trained or len(different) == 1):
        return 0
    distance = int(np.gcd.reduce(np.diff(different))) if len(different) > 1 else int(different[0])
    return 1 if int(different[0]) % distance == 0 else 0


def restarts_of(series: Series, training: Iterable[Series]) -> list[tuple[float, int]]:
    """Where a run went on from before: when, and from which update on what was written before doesn't count.

    A series tells of itself: others are written a little before or after it. One that doesn't (validation) goes by
    the training series that was first to be written again.
    """
    own = _backwards(series)
    return own or min((found for each in training if (found := _backwards(each))), default=[])


def _backwards(series: Series) -> list[tuple[float, int]]:
    place = np.argsort(series.orders, kind="stable")
    steps, orders = series.steps[place], series.orders[place]
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    if 2 * len(back) >= len(steps):  # it isn't in the order of time
        return []
    return [(float(orders[place]), int(steps[place])) for place in back]


def latest(series: Series, restarts: Sequence[tuple[float, int]]) -> Series:
    """The points by update, without those that a run that went on from before has replaced."""
    keep = np.ones(len(series), dtype=bool)
    for order, update in restarts:
        keep &= ~((series.orders < order) & (series.steps >= update))
    kept = series.kept(keep)
    place = np.lexsort((kept.orders, kept.steps))
    kept = kept.kept(place)
    return kept.kept(np.append(np.diff(kept.steps) != 0, True) if len(kept) else np.zeros(0, dtype=bool))


def held(series: Series, count: int, *, until: bool) -> NDArray[np.float64]:
    """A value for every update: of the point at the end of its window, or at its begin."""
    places = np.searchsorted(series.steps, np.arange(count), side="left" if until else "right") - (0 if until else 1)
    return series.values[np.clip(places, 0, len(series) - 1)]

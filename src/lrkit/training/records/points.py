"""The points of series among the updates of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.training.records.series import Series

__all__ = ["clock_of", "epoch_length", "first_step_of", "held", "latest", "restarts_of", "runs_in", "went_back"]

_RARE = 5  # validation by consecutive steps that is this much rarer than updates is by epochs


def first_step_of(steps: NDArray[np.int64]) -> int:
    """Whether a step of training counts the updates before its own (0) or its own too (1), by the steps' distance.

    Rows at 1, 11, 21 count from 1, at every tenth update from the first on.

    >>> [first_step_of(np.array(each)) for each in ([0, 50, 100], [49, 99, 149], [50, 100], [1, 2, 3], [1, 11, 21])]
    [0, 0, 1, 1, 1]
    """
    different = np.unique(steps)
    if different[0] <= 0:
        return 0
    distance = int(np.gcd.reduce(np.diff(different))) if len(different) > 1 else int(different[0])
    return 1 if int(different[0]) % distance == 0 or (different[0] == 1 and distance > 2) else 0


def clock_of(
    steps: NDArray[np.int64], training: NDArray[np.int64], *, first: int, epoch_steps: int | None
) -> tuple[str, int]:
    """What the steps of validation count, "epochs" or "updates", and the first of them.

    Args:
        steps: of validation.
        training: those of training, as written.
        first: the first step of training.
        epoch_steps: how long an epoch is, where that is known.

    >>> training = np.arange(300)
    >>> valid = [0, 99, 199], [100, 200], [0, 1, 2]
    >>> [clock_of(np.array(each), training, first=0, epoch_steps=None) for each in valid]
    [('updates', 0), ('updates', 1), ('epochs', 0)]
    """
    different, total = np.unique(steps), int(training.max()) - first + 1
    if len(different) > 1 and (np.diff(different) == 1).all() and different[0] <= 1:
        if epoch_steps is not None:
            gaps = np.diff(np.unique(training))
            after = int(gaps.max()) - 1 if len(gaps) else 0  # updates that may follow the last that was logged
            by_epoch = total - epoch_steps <= len(different) * epoch_steps <= total + after + epoch_steps
        else:
            by_epoch = _RARE * len(different) <= total
        if by_epoch:
            return "epochs", int(different[0])
    later = different[different > 0]  # one before training has no distance
    if not len(later):
        return "updates", first
    if len(later) == 1:  # alone it has none either, so it is held against training, as the one before it is
        apart = int(np.gcd.reduce(np.diff(np.unique(training)))) if len(training) > 1 else 1
        counted = len(different) > 1 and apart > 1 and int(later[0]) % apart == 0
        return "updates", 1 if counted or int(later[0]) > int(training.max()) else first
    distance = int(np.gcd.reduce(np.diff(later)))
    return "updates", first if distance == 1 else int(later[0] % distance == 0)


def epoch_length(epochs: Series) -> int | None:
    """How many updates an epoch has by a series of epochs, its steps being updates; None where it can't be seen.

    >>> steps = np.arange(30)
    >>> epoch_length(Series(steps, steps // 10, steps)), epoch_length(Series(steps, (steps + 1) / 10, steps))
    (10, 10)
    """
    values, steps = epochs.values, epochs.steps
    if not len(steps) or not np.isfinite(values).all():
        return None
    if (values % 1).any():  # progress
        return max(1, round(float((steps[-1] + 1) / values[-1]))) if values[-1] > 0 else None
    changes = np.flatnonzero(np.diff(values))
    return int(steps[changes[0]] + 1) if len(changes) and (np.diff(steps) == 1).all() and steps[0] == 0 else None


def restarts_of(series: Series, training: Iterable[Series]) -> list[tuple[float, int]]:
    """Where a run went on from before: when, and from which update on what was written before doesn't count.

    A series tells of itself: others are written a little before or after it. One that doesn't (validation) goes by
    the training series that was first to be written again.
    """
    own = _backwards(series)
    return own or min((found for each in training if (found := _backwards(each))), default=[])


def went_back(series: Series, training: Iterable[Series]) -> list[list[int]]:
    """Where a run went on from before, as [the last update that was written, the first that was written again].

    >>> steps = np.array([0, 10, 20, 10, 20, 30])
    >>> went_back(Series(steps, steps, np.arange(6.0)), [])
    [[20, 10]]
    """
    steps, orders = _as_written(series)
    before = [(int(np.searchsorted(orders, order)), update) for order, update in restarts_of(series, training)]
    return [[int(steps[count - 1]) if count else update, update] for count, update in before]


def _as_written(series: Series) -> tuple[NDArray[Any], NDArray[Any]]:
    """Steps and orders, in the order of writing."""
    place = np.argsort(series.orders, kind="stable")
    return series.steps[place], series.orders[place]


def _backwards(series: Series) -> list[tuple[float, int]]:
    steps, orders = _as_written(series)
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    if 2 * len(back) >= len(steps):  # it isn't in the order of time
        return []
    return [(float(orders[place]), int(steps[place])) for place in back]


def runs_in(series: Mapping[str, Series], loss: Series) -> list[dict[str, Series]]:
    """Several runs one after another, each from the first step of the loss anew, as series by name of each.

    A run that goes back a little has gone on from a checkpoint, and is one.

    >>> steps = np.array([0, 1, 2, 0, 1, 2])
    >>> loss = Series(steps, steps, np.arange(6.0))
    >>> [each["loss"].orders.tolist() for each in runs_in({"loss": loss}, loss)]
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    steps, orders = _as_written(loss)
    anew = [order for order, step in _backwards(loss) if step <= steps[0]]
    if not anew:
        return [dict(series)]
    runs: list[dict[str, Series]] = [{} for _ in range(len(anew) + 1)]
    before = [float(orders[np.searchsorted(orders, order) - 1]) for order in anew]
    for name, each in series.items():
        own = [order for order, _ in _backwards(each)]
        cuts = [
            min((at for at in own if low < at <= high), default=high) for low, high in zip(before, anew, strict=True)
        ]
        number = np.searchsorted(cuts, each.orders, side="right")
        for place, run in enumerate(runs):
            if (number == place).any():
                run[name] = each.kept(number == place)
    return runs


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

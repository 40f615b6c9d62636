"""The losses of a recorded run that a law is fitted to."""

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.rate_shape import jumps_of
from lrkit.schedules.errors import InputError, unknown
from lrkit.training.history import History
from lrkit.training.records.logged import logged_updates

__all__ = ["MEASURES", "Measure", "Measured", "as_measure", "averaged", "measured"]

Measure: TypeAlias = Literal["training", "validation", "test"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Measured = tuple[NDArray[np.int64], NDArray[np.float64]]  # updates done, and the loss then

_BLOCKS = 200  # of losses of every update, which are noisy
_MOST_ROWS = 600  # of a sparse record that are used as they are
_MOST_JUMPS = 50  # the largest


def as_measure(given: object) -> Measure:
    """Which losses are meant, checked.

    Raises:
        InputError: for what is none of `MEASURES`.
    """
    for each in MEASURES:
        if isinstance(given, str) and given == each:
            return each
    raise unknown("measure", str(given), MEASURES)


def measured(history: History, measure: Measure, name: str) -> tuple[Measured, list[str]]:
    """All finite losses of a kind, by how many updates were done, and notes of what isn't finite.

    Raises:
        InputError: where there is none.
    """
    if measure == "training":
        steps, losses = _training(history)
    else:
        field = "valid_loss" if measure == "validation" else "test_loss"
        found = [(each.step, loss) for each in history.epochs if (loss := getattr(each, field)) is not None]
        if not found:
            raise InputError(f"{name} has no {measure} loss; another measure is {_others(history, measure)}")
        steps = np.array([step for step, _ in found], dtype=np.int64)
        losses = np.array([loss for _, loss in found], dtype=np.float64)
    keep = np.isfinite(losses)
    end = int(np.flatnonzero(keep)[-1]) + 1 if keep.any() else 0
    notes = []
    if end < len(losses):
        notes.append(f"The run diverged: from step {steps[end]} on no loss is finite.")
    wrong = np.flatnonzero(~keep[:end])
    if len(wrong):
        notes.append(f"Losses that aren't finite are left out: {len(wrong)}, the first at step {steps[wrong[0]]}.")
    return (steps[keep], losses[keep]), notes


def _others(history: History, measure: str) -> str:
    having = ["training"]
    having += ["validation"] if any(each.valid_loss is not None for each in history.epochs) else []
    having += ["test"] if any(each.test_loss is not None for each in history.epochs) else []
    return " or ".join(each for each in having if each != measure)


def _training(history: History) -> Measured:
    """The loss of an update's batch is that before the update; of a window's mean, that of its middle."""
    rows = logged_updates(history, "loss")
    if rows is None:
        return np.arange(len(history.losses)), history.losses.astype(np.float64)
    rows = rows[rows < len(history.losses)]
    losses = history.losses[rows].astype(np.float64)
    if history.made["imported"].get("loss_over") == "window":
        rows = (np.append(0, rows[:-1] + 1) + rows) // 2
    return rows, losses


def averaged(
    points: Measured, history: History, measure: Measure, rates: NDArray[np.float64]
) -> tuple[Measured, list[str]]:
    """Training losses in blocks where they are many, each at its middle; no block reaches across a jump of the rate."""
    steps, losses = points
    rows = logged_updates(history, "loss")
    if measure != "training" or len(steps) <= (_BLOCKS if rows is None else _MOST_ROWS):
        return points, []
    jumps = jumps_of(rates)
    jumps = jumps[(jumps >= steps[0]) & (jumps < steps[-1])]
    jumps = np.sort(jumps[np.argsort(-np.abs(rates[jumps] - rates[jumps - 1]), kind="stable")[:_MOST_JUMPS]])
    cuts = np.searchsorted(steps, jumps, side="right")  # a loss at the step of a jump is from before it
    size = len(steps) / _BLOCKS
    regular = np.linspace(0, len(steps), _BLOCKS + 1).round().astype(np.int64)
    far = regular if not len(cuts) else regular[np.abs(regular[:, None] - cuts).min(axis=1) > size / 2]
    edges = np.unique(np.concatenate([[0], far, cuts, [len(steps)]]))
    begins, counts = edges[:-1], np.diff(edges)
    means = np.add.reduceat(losses, begins) / counts
    middles = np.add.reduceat(steps, begins) // counts
    note = f"{len(steps)} losses are averaged in {len(counts)} blocks, each at its middle."
    return (middles, means), [note]

"""Which column of rows counts, and the step of every row."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, shown
from lrkit.training.records.missing import Missing, MissingChoiceError, listed
from lrkit.training.records.names import likely_loss, series_names
from lrkit.training.records.points import first_step_of
from lrkit.training.records.rows import Column, Rows
from lrkit.training.records.series import Choices
from lrkit.training.records.text_rows import PROGRESS
from lrkit.training.records.words import (
    as_loss,
    counts_epochs,
    counts_steps,
    is_clock,
    metric_name,
)

__all__ = ["MOST_STEP", "ROWS", "RowClock", "clock_of_rows", "trained_rows"]

_FIRST = {"train/global_step": 1, "trainer/global_step": 0}  # transformers' and Lightning's, in tables of wandb
MOST_STEP = 2**53
ROWS = "rows"  # what is passed as the step where each row is an update


@dataclass(frozen=True, eq=False)
class RowClock:
    """The step of every row.

    Attributes:
        name: of the column; None where rows count.
        steps: NaN where a row has none, shape (rows,).
        order: what rises as long as it is one run, shape (rows,).
        own: the rows that have a step of their own, not that of a row before, shape (rows,).
        in_epochs: whether steps are epochs.
        epoch_steps: how many updates an epoch has, where it shows.
        first: the first step, where the column's name says it.
        apart: the column that tells runs apart, in words.
        missing: what must be passed for the steps to be known.
        said: what was assumed.
    """

    name: str | None
    steps: NDArray[np.float64]
    order: NDArray[np.float64]
    own: NDArray[np.bool_] | bool = True
    in_epochs: bool = False
    epoch_steps: int | None = None
    first: int | None = None
    apart: str = ""
    missing: tuple[Missing, ...] = ()
    said: tuple[str, ...] = ()

    def at(self, rows: NDArray[np.bool_], apart: str) -> "RowClock":
        """Of these rows, which are a run of their own."""
        own = self.own if isinstance(self.own, bool) else self.own[rows]
        return dataclasses.replace(self, steps=self.steps[rows], order=self.order[rows], own=own, apart=apart)


def clock_of_rows(rows: Rows, choices: Choices) -> RowClock:
    """The step of every row, by the column that is passed or that counts by its name.

    Raises:
        InputError: for steps that are no whole numbers.
        MissingChoiceError: where nothing counts.
    """
    clock = _counted(rows, choices)
    counting = [name for name in rows.numbers if counts_steps(name) is not None] if clock.name != ROWS else []
    there = [rows.numbers[name].there for name in counting or [clock.name or ""] if name in rows.numbers]
    return dataclasses.replace(clock, own=np.any(there, axis=0)) if there else clock


def _counted(rows: Rows, choices: Choices) -> RowClock:
    name = _clock_name(rows, choices)
    epochs = next((each for each in rows.numbers if counts_epochs(each) and each != name), None)
    if name is None:
        if epochs is None and not rows.counted and not _is_measured_each(rows):
            raise MissingChoiceError(rows.path, [Missing("step", "which column counts steps or epochs")], rows.numbers)
        return _epoch_clock(rows, epochs, choices)
    if name == ROWS:
        # a row of validation belongs to that of training before
        steps = np.cumsum(trained_rows(rows, choices), dtype=np.float64) - 1
        return RowClock(ROWS, np.where(steps < 0, np.nan, steps), steps, first=0)
    steps = _with_others(rows, name, _whole(rows, name))
    if counts_epochs(name):
        return RowClock(name, _carried(steps), _carried(steps), in_epochs=True)
    if epochs is not None:
        anew = _within_epochs(rows, name, steps, rows.numbers[epochs], choices)
        if anew is not None:
            return anew
    steps = _carried(steps)
    return RowClock(name, steps, steps, first=_FIRST.get(name.lower()))


def _clock_name(rows: Rows, choices: Choices) -> str | None:
    """The column that is passed; else of those that count by their names the one that goes back least."""
    if choices.step is not None:
        if choices.step in rows.numbers or choices.step == ROWS:
            return choices.step
        if choices.step in rows.words:
            raise InputError(f"step must count in whole numbers: {rows.wrong[choices.step]} in {rows.path}")
        has = listed("columns", sorted(rows.numbers))
        raise InputError(f"step must be a column of {rows.path}, not {shown(choices.step)} ({has})")
    for name in rows.words:
        if is_clock(name) and not any(map(is_clock, rows.numbers)):
            raise InputError(f"{name} must count in whole numbers: {rows.wrong[name]}, in {rows.path}")
    known = {name: place for name in rows.numbers if (place := counts_steps(name)) is not None}
    if not known:
        return None
    trained = trained_rows(rows, choices)

    def rank(name: str) -> tuple[bool, bool, bool, int, int]:
        steps = rows.numbers[name].values[trained & rows.numbers[name].there]
        rare = 2 * len(steps) < trained.sum()
        counts = bool((steps == np.floor(steps)).all()) and (len(steps) < 2 or len(np.unique(steps)) > 1)
        return name.lower() == "_step", rare, not counts, int((steps[1:] < steps[:-1]).sum()), known[name]

    return min(known, key=rank)


def _with_others(rows: Rows, name: str, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the steps of rows that have another name for theirs, as `iter 10: loss` and `step 10: val loss`."""
    for other, column in rows.numbers.items():
        if other != name and counts_steps(other) is not None and not (column.there & ~np.isnan(steps)).any():
            steps = np.where(column.there, _whole(rows, other), steps)
    return steps


def trained_rows(rows: Rows, choices: Choices) -> NDArray[np.bool_]:
    """The rows that have the training loss; all where it isn't known."""
    counts = {name: len(each) for name, each in rows.numbers.items()}
    passed = [name for name in series_names([choices.loss]) if name in rows.numbers]
    loss = passed[0] if passed else likely_loss(counts)
    return rows.numbers[loss].there if loss else np.ones(rows.count, dtype=bool)


def _is_measured_each(rows: Rows) -> bool:
    """Whether every row has a measure of validation, as rows of epochs have."""
    for name, column in rows.numbers.items():
        loss = as_loss(name)
        if ((loss and loss.side == "valid") or metric_name(name, "valid")) and len(column) == rows.count > 1:
            return True
    return False


def _whole(rows: Rows, name: str) -> NDArray[np.float64]:
    """Steps of a column, NaN where there is none.

    Raises:
        InputError: for steps that are no whole numbers.
    """
    column = rows.numbers[name]
    wrong = column.there & ~((column.values >= 0) & (column.values < MOST_STEP))
    wrong |= column.there & (column.values != np.floor(column.values))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{name} must count in whole numbers, and {rows.path} has {column.values[row]:.15g} in row {row + 1}"
        )
    return np.where(column.there, column.values, np.nan)


def _carried(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows without a step belong to the row before."""
    there = np.flatnonzero(~np.isnan(steps))
    if len(there) in (0, len(steps)):
        return steps
    before = np.searchsorted(there, np.arange(len(steps)), side="right") - 1
    return np.where(before >= 0, steps[there[np.maximum(before, 0)]], np.nan)


def _epoch_clock(rows: Rows, name: str | None, choices: Choices) -> RowClock:
    """Epochs as steps: of a column, or of the rows themselves."""
    if name is None:
        steps = np.arange(rows.count, dtype=np.float64)
        return RowClock(None, steps, steps, in_epochs=True, said=("each row is taken for an epoch",))
    column = rows.numbers[name]
    if not column.is_whole and np.isfinite(column.known).all() and column.known.min() >= 0:
        length = choices.epoch_steps or 1000
        missing = () if choices.epoch_steps else (Missing("epoch_steps", "how many updates an epoch has"),)
        steps = _carried(np.where(column.there, np.rint(column.values * length), np.nan))
        said = ("its steps follow from fractions of epochs, and are as exact as these",)
        return RowClock(name, steps, steps, epoch_steps=choices.epoch_steps, first=1, missing=missing, said=said)
    if PROGRESS in rows.numbers and rows.totals.get(PROGRESS):
        return _progress_clock(rows, column, choices)
    steps = _carried(_whole(rows, name))
    trained = steps[trained_rows(rows, choices) & ~np.isnan(steps)]
    repeated = int((np.diff(trained) == 0).sum())
    if repeated >= len(trained) / 3:
        raise MissingChoiceError(
            rows.path,
            [
                Missing(
                    "step", f"which column counts steps ({name} repeats; step='{ROWS}' takes each row for an update)"
                )
            ],
            rows.numbers,
        )
    return RowClock(name, steps, steps, in_epochs=True)


def _progress_clock(rows: Rows, epochs: Column, choices: Choices) -> RowClock:
    """Steps by how far an epoch is, as in `[640/60000]`: of batches where that comes to its end, else of samples.

    Batches up to the total itself are those done, up to the one before it those that are begun.
    """
    progress, total = rows.numbers[PROGRESS], rows.totals[PROGRESS]
    reached = int(progress.known.max())
    batches = reached in (total - 1, total)
    length = choices.epoch_steps or (total if batches else 1000)
    missing = () if choices.epoch_steps or batches else (Missing("epoch_steps", "how many updates an epoch has"),)
    number = _carried(np.where(epochs.there & np.isfinite(epochs.values), np.floor(epochs.values), np.nan))
    within = np.where(progress.there, np.floor(progress.values * length / total), np.nan)
    begin = float(np.nanmin(number))
    steps = _carried((number - (begin if begin <= 1 else 0)) * length + within)
    return RowClock(PROGRESS, steps, steps, epoch_steps=length, first=int(reached == total), missing=missing)


def _within_epochs(
    rows: Rows, name: str, steps: NDArray[np.float64], epochs: Column, choices: Choices
) -> RowClock | None:
    """Steps that begin anew with each epoch made such that go on; None where they don't begin anew.

    A run that went on from a checkpoint repeats an epoch; it doesn't fall back where the next one begins.
    """
    number = _carried(np.where(epochs.there & np.isfinite(epochs.values), np.floor(epochs.values), np.nan))
    both = np.flatnonzero(~np.isnan(steps) & ~np.isnan(number) & trained_rows(rows, choices))
    count, epoch = steps[both], number[both]
    if not ((np.diff(count) <= 0) & (np.diff(epoch) > 0)).any():
        return None
    different = np.unique(count)
    span = int(different[-1] - different[0]) + 1
    total = rows.totals.get(name)
    missing: tuple[Missing, ...] = ()
    length = choices.epoch_steps or (total if total and total >= different[-1] else None)
    if length is None:
        length = span
        if len(different) == 1 or (np.diff(different) != 1).any():
            missing = (Missing("epoch_steps", f"how many updates an epoch has ({name} begins anew with each)"),)
    if span > length:
        raise InputError(f"epoch_steps must cover {name} of {rows.path}, up to {int(different[-1])}, not {length}")
    begin = float(epoch.min())
    said: tuple[str, ...] = ()
    if begin > 1:
        said = (f"its first epoch is {begin:g}, counted from 0: what lies before is held at the first values",)
        begin = 0.0
    known = _at_the_ends(steps, number, first_step_of(different.astype(np.int64)), length)
    number = np.where(np.isnan(number), number[both[0]], number)
    moved = (number - begin) * length + known
    return RowClock(
        name, moved, number * float(MOST_STEP) ** 0.5 + known, epoch_steps=length, missing=missing, said=said
    )


def _at_the_ends(
    steps: NDArray[np.float64], number: NDArray[np.float64], first: int, length: int
) -> NDArray[np.float64]:
    """Steps within epochs for all rows; those without one are at an epoch's begin or end, where its steps lie.

    Rows in the middle of an epoch have the step of the row before; where there are such, so have those after the last.
    """
    there = np.flatnonzero(~np.isnan(steps))
    without = np.flatnonzero(np.isnan(steps) & ~np.isnan(number))
    found = _carried(steps)
    place = np.searchsorted(there, without)
    known = np.concatenate([[np.nan], number[there], [np.nan]])
    before, after = known[place], known[place + 1]
    begins = (after == number[without]) & (before != number[without])
    middle = (after == number[without]) & (before == number[without])
    ends = (after != number[without]) & ~(np.isnan(after) & middle.any())
    found[without[begins]] = first
    found[without[ends]] = first + length - 1
    return found

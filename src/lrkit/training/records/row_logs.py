"""From rows with names to series by step: which column counts, which runs there are, which data a row is of."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, shown
from lrkit.training.records.missing import Missing, MissingChoiceError, listed
from lrkit.training.records.names import likely_loss, series_names
from lrkit.training.records.rows import Column, Rows
from lrkit.training.records.series import Choices, Log, Series
from lrkit.training.records.text_rows import PROGRESS
from lrkit.training.records.words import (
    as_loss,
    as_rate,
    counts_epochs,
    counts_steps,
    is_clock,
    is_time,
    metric_name,
    side_in,
    words_of,
)

__all__ = ["logs_of_rows"]

_FIRST = {"train/global_step": 1, "trainer/global_step": 0}  # transformers' and Lightning's, in tables of wandb
_RUNS = {  # columns that tell runs apart
    "fold", "cv", "run", "run id", "run name", "trial", "trial id", "seed", "experiment", "experiment id",
    "experiment name", "exp", "exp name", "repeat", "repetition", "replica", "job", "job id", "model", "config", "name",
    "id", "method", "variant", "setting", "group",
}  # fmt: skip  # more to a line reads better
_ALWAYS_APART = ("fold", "trial", "seed", "cv")  # also where the count goes on
_METRICS = ("metric", "metrics", "metric name", "tag", "key", "variable", "series", "name", "measure", "quantity")
_MOST_RUNS = 1000
_MOST_STEP = 2**53
ROWS = "rows"  # what is passed as the step where each row is an update


def logs_of_rows(rows: Rows, choices: Choices) -> dict[str, Log]:
    """The logs of the runs in these rows, by what tells them apart; a single one has the name "".

    Raises:
        InputError: for rows without a clock, and steps that are no whole numbers.
        MissingChoiceError: where nothing counts.
    """
    found: dict[str, Log] = {}
    for name, own in _by_columns(_reshaped(rows)).items():
        sided = _by_sides(own)
        clock = _clock(sided, choices)
        for label, (part, counted) in _by_labels(sided, clock, choices).items():
            log = _log(part, counted)
            if name and not log.apart:
                log = dataclasses.replace(log, apart="it has a column for each")
            found[f"{name}, {label}" if name and label else name or label] = log
    return found


# --- columns -----------------------------------------------------------------------------------------


def _reshaped(rows: Rows) -> Rows:
    """Rows of a metric's name and its value become columns; a lone `Value` is called after the file."""
    value = next((name for name in rows.numbers if name.lower() == "value"), None)
    if value is None:
        return rows
    named = next((name for name in rows.words if " ".join(words_of(name)) in _METRICS), None)
    if named is None:
        tag = re.search(r"tag-(.+)", Path(rows.path).stem)
        if tag is None:
            return rows
        return rows.with_columns({tag[1] if name == value else name: each for name, each in rows.numbers.items()})
    labels = rows.words[named]
    columns = {name: each for name, each in rows.numbers.items() if name != value}
    for label in dict.fromkeys(each for each in labels if each):
        here = np.array([each == label for each in labels]) & rows.numbers[value].there
        if here.any():
            columns[label] = Column(np.where(here, rows.numbers[value].values, np.nan), here)
    words = {name: each for name, each in rows.words.items() if name != named}
    return dataclasses.replace(rows, numbers=columns, words=words)


def _by_columns(rows: Rows) -> dict[str, Rows]:
    """Charts that were exported have `run - metric` for each run, with bounds of what was averaged beside."""
    bounds = [name for name in rows.numbers if re.fullmatch(r".+__(MIN|MAX)", name) and name[:-5] in rows.numbers]
    numbers = {name: each for name, each in rows.numbers.items() if name not in bounds}
    said = [f"the bounds of what was averaged are left out: {', '.join(bounds)}"] if bounds else []
    runs: dict[str, dict[str, Column]] = {}
    shared: dict[str, Column] = {}
    for name, column in numbers.items():
        run, dash, metric = name.rpartition(" - ")
        if dash and (bounds or as_loss(metric) or as_rate(metric) or is_clock(metric) or metric_name(metric, "valid")):
            runs.setdefault(run, {})[metric] = column
        else:
            shared[name] = column
    if not runs:
        return {"": rows.with_columns(numbers, *said)}
    parts = {run: rows.with_columns({**shared, **own}, *said) for run, own in runs.items()}
    if len(parts) == 1:
        [(run, part)] = parts.items()
        return {"": part.saying(f"the run is called {run} there")}
    return parts


def _by_sides(rows: Rows) -> Rows:
    """Where a column says of which data a row is, names get it before them."""
    for name, cells in rows.words.items():
        sides = {cell: side_in(cell) for cell in set(cells) if cell}
        if not sides or None in sides.values() or set(sides.values()) == {"train"}:
            continue
        labels = np.array([cell or "" for cell in cells])
        training = np.isin(labels, [cell for cell, side in sides.items() if side == "train"])
        columns: dict[str, Column] = {}
        for called, column in rows.numbers.items():
            if counts_steps(called) is not None:
                columns[called] = _without_own_count(column, training)
            elif counts_epochs(called) or is_time(called) or side_in(called) or as_rate(called):
                columns[called] = column
            else:
                for cell in sides:
                    there = column.there & (labels == cell)
                    if there.any():
                        columns[f"{cell}/{called}"] = Column(np.where(there, column.values, np.nan), there)
        words = {other: each for other, each in rows.words.items() if other != name}
        return dataclasses.replace(rows, numbers=columns, words=words)
    return rows


def _without_own_count(steps: Column, training: NDArray[np.bool_]) -> Column:
    """Steps without those of validation that count its own batches: that are below the step of training before."""
    places = np.flatnonzero(training & steps.there)
    before = np.searchsorted(places, np.arange(len(training)), side="right") - 1
    reached = np.where(before >= 0, steps.values[places[np.maximum(before, 0)]] if len(places) else 0, -np.inf)
    there = steps.there & (training | (steps.values >= reached))
    return Column(np.where(there, steps.values, np.nan), there)


# --- what counts -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Clock:
    """The step of every row.

    Attributes:
        name: of the column; None where rows count.
        steps: NaN where a row has none, shape (rows,).
        order: what rises as long as it is one run, shape (rows,).
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
    in_epochs: bool = False
    epoch_steps: int | None = None
    first: int | None = None
    apart: str = ""
    missing: tuple[Missing, ...] = ()
    said: tuple[str, ...] = ()


def _clock(rows: Rows, choices: Choices) -> _Clock:
    name = _clock_name(rows, choices)
    epochs = next((each for each in rows.numbers if counts_epochs(each) and each != name), None)
    if name is None:
        if epochs is None and not rows.counted and not _is_measured_each(rows):
            raise MissingChoiceError(rows.path, [Missing("step", "which column counts steps or epochs")], rows.numbers)
        return _epoch_clock(rows, epochs, choices)
    if name == ROWS:
        steps = np.arange(rows.count, dtype=np.float64)
        return _Clock(ROWS, steps, steps)
    steps = _with_others(rows, name, _whole(rows, name))
    if counts_epochs(name):
        return _Clock(name, _carried(steps), _carried(steps), in_epochs=True)
    if epochs is not None:
        anew = _within_epochs(rows, name, steps, rows.numbers[epochs], choices)
        if anew is not None:
            return anew
    steps = _carried(steps)
    return _Clock(name, steps, steps, first=_FIRST.get(name.lower()))


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
    trained = _trained(rows, choices)

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


def _trained(rows: Rows, choices: Choices) -> NDArray[np.bool_]:
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
    wrong = column.there & ~((column.values >= 0) & (column.values < _MOST_STEP))
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


def _epoch_clock(rows: Rows, name: str | None, choices: Choices) -> _Clock:
    """Epochs as steps: of a column, or of the rows themselves."""
    if name is None:
        steps = np.arange(rows.count, dtype=np.float64)
        return _Clock(None, steps, steps, in_epochs=True, said=("each row is taken for an epoch",))
    column = rows.numbers[name]
    if not column.is_whole and np.isfinite(column.known).all() and column.known.min() >= 0:
        length = choices.epoch_steps or 1000
        missing = () if choices.epoch_steps else (Missing("epoch_steps", "how many updates an epoch has"),)
        steps = _carried(np.where(column.there, np.rint(column.values * length), np.nan))
        return _Clock(name, steps, steps, epoch_steps=choices.epoch_steps, first=1, missing=missing)
    if PROGRESS in rows.numbers and rows.totals.get(PROGRESS):
        return _progress_clock(rows, column, choices)
    steps = _carried(_whole(rows, name))
    trained = steps[_trained(rows, choices) & ~np.isnan(steps)]
    repeated = int((np.diff(trained) == 0).sum())
    if repeated > len(trained) / 2:
        raise MissingChoiceError(
            rows.path,
            [
                Missing(
                    "step", f"which column counts steps ({name} repeats; step='{ROWS}' takes each row for an update)"
                )
            ],
            rows.numbers,
        )
    return _Clock(name, steps, steps, in_epochs=True)


def _progress_clock(rows: Rows, epochs: Column, choices: Choices) -> _Clock:
    """Steps by how far an epoch is, as in `[640/60000]`: of batches where that comes to its end, else of samples."""
    progress, total = rows.numbers[PROGRESS], rows.totals[PROGRESS]
    batches = int(progress.known.max()) in (total - 1, total)
    length = choices.epoch_steps or (total if batches else 1000)
    missing = () if choices.epoch_steps or batches else (Missing("epoch_steps", "how many updates an epoch has"),)
    number = _carried(np.where(epochs.there & np.isfinite(epochs.values), np.floor(epochs.values), np.nan))
    within = np.where(progress.there, np.floor(progress.values * length / total), np.nan)
    begin = float(np.nanmin(number))
    steps = _carried((number - (begin if begin <= 1 else 0)) * length + within)
    return _Clock(PROGRESS, steps, steps, epoch_steps=length, first=0, missing=missing)


def _within_epochs(
    rows: Rows, name: str, steps: NDArray[np.float64], epochs: Column, choices: Choices
) -> _Clock | None:
    """Steps that begin anew with each epoch made such that go on; None where they don't begin anew.

    A run that went on from a checkpoint repeats an epoch; it doesn't fall back where the next one begins.
    """
    number = _carried(np.where(epochs.there & np.isfinite(epochs.values), np.floor(epochs.values), np.nan))
    both = np.flatnonzero(~np.isnan(steps) & ~np.isnan(number) & _trained(rows, choices))
    count, epoch = steps[both], number[both]
    if not ((np.diff(count) < 0) & (np.diff(epoch) > 0)).any():
        return None
    different = np.unique(count)
    span = int(different[-1] - different[0]) + 1
    total = rows.totals.get(name)
    missing: tuple[Missing, ...] = ()
    length = choices.epoch_steps or (total if total and total >= different[-1] else None)
    if length is None:
        length = span
        if (np.diff(different) != 1).any():
            missing = (Missing("epoch_steps", f"how many updates an epoch has ({name} begins anew with each)"),)
    if span > length:
        raise InputError(f"epoch_steps must cover {name} of {rows.path}, up to {int(different[-1])}, not {length}")
    begin = float(epoch.min())
    said: tuple[str, ...] = ()
    if begin > 1:
        said = (f"its first epoch is {begin:g}, counted from 0: what lies before is held at the first values",)
        begin = 0.0
    known = _carried(steps)
    number = np.where(np.isnan(number), number[both[0]], number)
    moved = (number - begin) * length + known
    return _Clock(
        name, moved, number * float(_MOST_STEP) ** 0.5 + known, epoch_steps=length, missing=missing, said=said
    )


# --- runs --------------------------------------------------------------------------------------------


def _by_labels(rows: Rows, clock: _Clock, choices: Choices) -> dict[str, tuple[Rows, _Clock]]:
    """The rows of each run, where a column tells them apart."""
    trained = np.flatnonzero(_trained(rows, choices) & ~np.isnan(clock.order))
    told = _telling(rows, clock, trained)
    if told is None:
        return {"": (rows, clock)}
    names, labels = told
    by = " and ".join(names)
    rest = dataclasses.replace(
        rows,
        numbers={name: each for name, each in rows.numbers.items() if name not in names},
        words={name: each for name, each in rows.words.items() if name not in names},
    )
    found = {}
    for label in dict.fromkeys(labels[trained].tolist()):
        keep = labels == label
        part = rest.at(keep).saying(f"the rows are those where {by} is {label}")
        own = dataclasses.replace(clock, steps=clock.steps[keep], order=clock.order[keep], apart=f"told apart by {by}")
        found[label] = (part, own)
    return found


def _telling(rows: Rows, clock: _Clock, trained: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.str_]] | None:
    """The columns that tell runs apart and labels by row: within each the count rises, over all it doesn't."""
    order = clock.order[trained]
    rises = bool((np.diff(order) > 0).all())
    for names, labels in _candidates(rows, clock, always=rises):
        own = labels[trained]
        different = np.unique(own)
        if not 1 < len(different) <= min(_MOST_RUNS, len(trained) // 2):
            continue
        if rises:
            return names, labels
        if all((np.diff(order[own == label]) > 0).all() for label in different) and _begin_alike(order, own, different):
            return names, labels
    return None


def _begin_alike(order: NDArray[np.float64], own: NDArray[np.str_], different: NDArray[np.str_]) -> bool:
    """Whether runs begin about where the first does; one that goes on from the middle of another is a resume."""
    begins = np.array([order[own == label][0] for label in different])
    reach = order.max() - order.min()
    return bool((begins - begins.min() <= 0.1 * reach).all())


def _candidates(rows: Rows, clock: _Clock, *, always: bool) -> Iterator[tuple[tuple[str, ...], NDArray[np.str_]]]:
    """Labels by column: first those known to tell runs apart, or `always` them alone; last these together."""
    other = {name for name in rows.numbers if is_clock(name) or is_time(name) or as_loss(name) or as_rate(name)}
    names = [name for name in (*rows.words, *rows.numbers) if name not in other and name != clock.name]
    words = {name: " ".join(words_of(name)) for name in names}
    if always:
        names = [name for name in names if words[name] in _ALWAYS_APART]
    known = [name for name in names if words[name] in _RUNS]
    together: dict[str, NDArray[np.str_]] = {}
    for name in [*known, *(name for name in names if name not in known)]:
        labels = _labels(rows, name)
        if labels is None:
            continue
        yield (name,), labels
        if name in known:
            together[name] = labels
    if len(together) > 1:
        yield tuple(together), np.array(["/".join(parts) for parts in zip(*together.values(), strict=True)])


def _labels(rows: Rows, name: str) -> NDArray[np.str_] | None:
    """What a column has by row, as text; None for numbers that aren't whole."""
    if name in rows.words:
        return np.array([cell or "" for cell in rows.words[name]])
    column = rows.numbers[name]
    if side_in(name) or not column.is_whole:
        return None
    return np.array(
        [str(int(value)) if there else "" for value, there in zip(column.values, column.there, strict=True)]
    )


# --- series ------------------------------------------------------------------------------------------


def _log(rows: Rows, clock: _Clock) -> Log:
    counted = ~np.isnan(clock.steps)
    if (np.abs(clock.steps[counted]) >= _MOST_STEP).any():
        raise InputError(f"{rows.path} has epochs that can't be: with their steps they come to more than any run has")
    lost = int((~counted).sum())
    said = (f"{lost} row{'s' if lost > 1 else ''} before the first step {'are' if lost > 1 else 'is'} left out",)
    times = _times(rows, counted)
    series = {}
    for name, column in rows.numbers.items():
        where = np.flatnonzero(column.there & counted)
        if name != clock.name and len(where):
            when = None if times is None else times[where]
            steps = clock.steps[where].astype(np.int64)
            series[name] = Series(steps, column.values[where], where.astype(np.float64), when)
    return Log(
        rows.path,
        rows.format,
        series,
        first_step=clock.first,  # type: ignore[arg-type]  # 0 or 1
        clock=clock.name or ROWS,
        in_epochs=clock.in_epochs,
        epoch_steps=clock.epoch_steps,
        text=rows.wrong,
        apart=clock.apart,
        missing=clock.missing,
        said=(*rows.said, *clock.said, *(said if lost else ())),
    )


def _times(rows: Rows, counted: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Seconds by row, where a column of times rises throughout; NaN where a row has none."""
    for name, column in rows.numbers.items():
        known = column.values[column.there & counted]
        if not is_time(name) or len(known) < 2 or not np.isfinite(known).all():
            continue
        if (np.diff(known) >= 0).all() and known[-1] > known[0]:
            return np.where(column.there, column.values, np.nan)
    return None

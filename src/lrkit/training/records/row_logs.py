"""From rows with names to series by step: which runs there are, and of which data a row is."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError
from lrkit.training.records.row_clock import MOST_STEP, ROWS, RowClock, clock_of_rows, trained_rows
from lrkit.training.records.rows import Column, Rows
from lrkit.training.records.series import Choices, Log, Series
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

_RUNS = {  # columns that tell runs apart
    "fold", "cv", "run", "run id", "run name", "trial", "trial id", "seed", "experiment", "experiment id",
    "experiment name", "exp", "exp name", "repeat", "repetition", "replica", "job", "job id", "model", "config", "name",
    "id", "method", "variant", "setting", "group",
}  # fmt: skip  # more to a line reads better
_ALWAYS_APART = ("fold", "trial", "seed", "cv")  # also where the count goes on
_METRICS = ("metric", "metrics", "metric name", "tag", "key", "variable", "series", "name", "measure", "quantity")
_MOST_RUNS = 1000
_LATE = 5  # times from row to row: a time that begins later is one of each row, not since the begin

Labels = tuple[tuple[str, ...], NDArray[np.str_]]  # columns, and what they have by row together


def logs_of_rows(rows: Rows, choices: Choices) -> dict[str, Log]:
    """The logs of the runs in these rows, by what tells them apart; a single one has the name "".

    Raises:
        InputError: for rows without a clock, and steps that are no whole numbers.
        MissingChoiceError: where nothing counts.
    """
    found: dict[str, Log] = {}
    for name, own in _by_columns(_reshaped(rows)).items():
        sided = _by_sides(own)
        clock = clock_of_rows(sided, choices)
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


# --- runs --------------------------------------------------------------------------------------------


def _by_labels(rows: Rows, clock: RowClock, choices: Choices) -> dict[str, tuple[Rows, RowClock]]:
    """The rows of each run, where a column tells them apart."""
    trained = np.flatnonzero(trained_rows(rows, choices) & ~np.isnan(clock.order))
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
        own = clock.at(keep, f"told apart by {by}")
        found[label] = (part, own)
    return found


def _telling(rows: Rows, clock: RowClock, trained: NDArray[np.int64]) -> Labels | None:
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


def _candidates(rows: Rows, clock: RowClock, *, always: bool) -> Iterator[Labels]:
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


def _log(rows: Rows, clock: RowClock) -> Log:
    counted = ~np.isnan(clock.steps)
    if (np.abs(clock.steps[counted]) >= MOST_STEP).any():
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
        carried=frozenset(name for name in series if not (rows.numbers[name].there & clock.own).any()),
        missing=clock.missing,
        said=(*rows.said, *clock.said, *(said if lost else ())),
    )


def _times(rows: Rows, counted: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Seconds by row, where a column of times rises throughout; NaN where a row has none."""
    for name, column in rows.numbers.items():
        known = column.values[column.there & counted]
        if not is_time(name) or len(known) < 2 or not np.isfinite(known).all():
            continue
        rising = (np.diff(known) >= 0).all() and known[-1] > known[0]
        moment = {"timestamp", "wall", "created"} & set(words_of(name))
        if rising and (moment or known[0] <= _LATE * (known[-1] - known[0]) / (len(known) - 1)):
            return np.where(column.there, column.values, np.nan)
    return None

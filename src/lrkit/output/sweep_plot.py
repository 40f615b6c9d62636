"""The picture of a sweep: the final loss over the learning rate, a line for each schedule."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lrkit.analysis.sweep import Row, Sweep
from lrkit.output.plots import COLOURS, cut, legend_above, legend_columns, plain_ticks, style
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import show_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["sweep_figure"]

_MOST_LINES = 2 * len(COLOURS)
_MOST_NAMES = 20
_NAME_WIDTH = 45  # in characters
_SPAN = 10.0  # how many times the smallest a grid's biggest rate is before the axis is logarithmic
_LOSS_SPAN = 4.0
_MARGIN = 0.06
_ABOVE = 0.15  # how much worse than at the start is still drawn, as a share of what was learned
_HIGHEST, _APART, _ROOM = 0.97, 0.035, 0.2  # of the marks at the top edge, as shares of the axes' height
_DIVERGED, _NO_LOSS, _WORSE = "diverged", "no finite loss", "worse than before training"
_LEGEND_WIDTH = 90  # in characters

Lines: TypeAlias = Mapping[str, Sequence[Row]]


def sweep_figure(sweep: Sweep, title: str) -> "Figure":
    """Final losses over the learning rate; by schedule where only one rate was swept.

    A point is the mean over seeds, a band their range; a ring marks the best. At the top edge a cross marks a rate at
    which a lane diverged, a plus one at which it ended without a finite loss, a triangle one whose loss is above that
    before training.

    Raises:
        InputError: where no lane has ended.
    """
    from matplotlib.figure import Figure

    if not sweep.rows:
        raise InputError("no lane has ended, so there is nothing to draw")
    lines = _lines(sweep)
    figure = Figure(figsize=(8, 5), layout="constrained")
    if len({row.one.lr for row in sweep.rows}) > 1:
        _over_rates(figure, sweep, lines)
    else:
        _by_name(figure, sweep, lines)
    figure.axes[0].set_title(cut(title), fontsize=11)
    return figure


def _name_of(row: Row) -> str:
    """What a configuration is called beside its rate: the schedule, and hyper-parameters that are its own."""
    values = (f"{name.replace('_', ' ')} {show_number(value)}" for name, value in row.one.hypers.items())
    return ", ".join([row.one.schedule, *values])


def _lines(sweep: Sweep) -> Lines:
    """The rows of each schedule, by their rates; in the order of the lanes."""
    lines: dict[str, list[Row]] = {}
    for row in sorted(sweep.rows, key=lambda row: row.one.number):
        lines.setdefault(_name_of(row), []).append(row)
    return {name: sorted(rows, key=lambda row: row.one.lr) for name, rows in lines.items()}


def _best_of(lines: Lines, sweep: Sweep, most: int) -> Lines:
    """Those with the best configurations, where they are too many."""
    names = list(dict.fromkeys(map(_name_of, sweep.rows)))[:most]
    return {name: rows for name, rows in lines.items() if name in names}


# --- over the learning rate -----------------------------------------------------------------------------


def _over_rates(figure: "Figure", sweep: Sweep, lines: Lines) -> None:
    drawn = _best_of(lines, sweep, _MOST_LINES)
    axes = figure.subplots()
    top = _top(sweep)
    for number, (name, rows) in enumerate(drawn.items()):
        _line(axes, name, rows, number)
        _marks(axes, rows, style(number)[0], _HIGHEST - number * min(_APART, _ROOM / len(drawn)), top)
    best = sweep.best
    if best is not None and best.mean is not None:
        label = f"best: lr {best.one.lr:.6g}"
        axes.plot([best.one.lr], [best.mean], "o", mfc="none", mec="black", ms=12, mew=1.3, label=label)
    lrs = [row.one.lr for rows in drawn.values() for row in rows]
    if max(lrs) >= _SPAN * min(lrs) > 0:
        axes.set_xscale("log")
    axes.set_xlabel("learning rate" if len(drawn) == len(lines) else _remark(drawn, lines))
    axes.set_ylabel(f"final {sweep.measure}")
    axes.grid(alpha=0.3)
    _loss_scale(axes, sweep, top)
    _legend(figure, axes, list(drawn))


def _line(axes: "Axes", name: str, rows: Sequence[Row], number: int) -> None:
    colour, dashes = style(number)
    lrs = [row.one.lr for row in rows]
    means = [math.nan if row.mean is None else row.mean for row in rows]
    axes.plot(lrs, means, color=colour, linestyle=dashes, marker=".", label=name)
    if max(len(row.outcomes) for row in rows) > 1:
        low, high = np.array([row.range or (math.nan, math.nan) for row in rows]).T
        axes.fill_between(lrs, low, high, color=colour, alpha=0.15, linewidth=0)


def _marks(axes: "Axes", rows: Sequence[Row], colour: str, height: float, top: float | None) -> None:
    """At the top edge, a row of marks for each line: what diverged, and what is too bad to be drawn to scale."""
    kinds = {
        "x": [row.one.lr for row in rows if _counts(row)[0]],
        "+": [row.one.lr for row in rows if _counts(row)[1]],
        "^": [row.one.lr for row in rows if top is not None and row.mean is not None and row.mean > top],
    }
    for marker, lrs in kinds.items():
        edge = axes.get_xaxis_transform()
        axes.plot(lrs, [height] * len(lrs), marker, color=colour, ms=6, mew=1.6, transform=edge, clip_on=False)


def _counts(row: Row) -> tuple[int, int]:
    """How many of the seeds diverged, and how many have no finite loss otherwise."""
    diverged = sum(each.diverged is not None for each in row.failed)
    return diverged, len(row.failed) - diverged


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names that are cut; whole where some would be the same then."""
    short = [cut(name) for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def _top(sweep: Sweep) -> float | None:
    """The highest loss that is drawn to scale: a little above that before training; None where all are lower."""
    best, start = sweep.best, sweep.start
    if best is None or best.mean is None or start is None or start <= best.mean:
        return None
    top = start + _ABOVE * (start - best.mean)
    return top if any(row.range is not None and row.range[1] > top for row in sweep.rows) else None


def _loss_scale(axes: "Axes", sweep: Sweep, top: float | None, *, across: bool = False) -> None:
    """The axis of losses, logarithmic where they differ by much; no ticks where there are none."""
    axis, limit, scale = (
        (axes.xaxis, axes.set_xlim, axes.set_xscale) if across else (axes.yaxis, axes.set_ylim, axes.set_yscale)
    )
    found = [loss for row in sweep.rows for loss in row.range or ()]
    if not found:
        axis.set_ticks([])
        return
    low, high = min(found), max(found) if top is None else top
    if low > 0 and high / low >= _LOSS_SPAN:
        scale("log")
        plain_ticks(axis)
        room = (high / low) ** _MARGIN
        limit(low / room, high * room)
    elif high > low:
        room = _MARGIN * (high - low)
        limit(low - room, high + room)


def _remark(drawn: Lines, lines: Lines) -> str:
    return f"learning rate\n(the best {len(drawn)} of {len(lines)} lines are drawn)"


def _legend(figure: "Figure", axes: "Axes", names: Sequence[str]) -> None:
    """Above the axes: the lines, and what the marks mean."""
    from matplotlib.lines import Line2D

    handles = {str(line.get_label()): line for line in axes.get_lines() if not str(line.get_label()).startswith("_")}
    used = {line.get_marker() for line in axes.get_lines() if len(np.atleast_1d(line.get_xdata()))}
    for marker, label in (("x", _DIVERGED), ("+", _NO_LOSS), ("^", _WORSE)):
        if marker in used:
            handles[label] = Line2D([], [], linestyle="", marker=marker, color="#666666", mew=1.6)
    columns = legend_columns(names)
    labels = [textwrap.fill(label, _LEGEND_WIDTH) for label in _told_apart(list(handles))]
    lines = -(-len(handles) // columns) + sum(label.count("\n") for label in labels)
    figure.set_size_inches(8, 4.4 + 0.19 * lines)
    legend_above(figure, list(handles.values()), labels, columns)


# --- one learning rate ----------------------------------------------------------------------------------


def _by_name(figure: "Figure", sweep: Sweep, lines: Lines) -> None:
    """A row for each schedule, the best above: seeds as points, their mean as a bar."""
    rows, top = sweep.rows[:_MOST_NAMES], _top(sweep)
    figure.set_size_inches(8, 1.7 + 0.4 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = COLOURS[0] if row is sweep.best else "#666666"
        axes.plot(row.losses, [place] * len(row.losses), "o", color=colour, alpha=0.6, ms=5)
        if row.mean is not None:
            axes.plot([row.mean], [place], "|", color=colour, ms=16, mew=2.5)
        if remark := _at_the_edge(row, top):
            edge = axes.get_yaxis_transform()
            axes.text(0.99, place, remark, transform=edge, ha="right", va="center", color=COLOURS[1], fontsize=9)
    names = [textwrap.fill(name, _NAME_WIDTH) for name in _told_apart([_name_of(row) for row in rows])]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    rest = "" if len(rows) == len(lines) else f"\n(the best {len(rows)} of {len(lines)})"
    axes.set_xlabel(f"final {sweep.measure}, at learning rate {rows[0].one.lr:.6g}{rest}")
    _loss_scale(axes, sweep, top, across=True)
    axes.grid(alpha=0.3)


def _at_the_edge(row: Row, top: float | None) -> str:
    """What a row says in words at the right edge."""
    counts = [each for each in zip(_counts(row), (_DIVERGED, _NO_LOSS), strict=True) if each[0]]
    if counts:
        several = len(row.outcomes) > 1
        return ", ".join(f"{count} of {len(row.outcomes)} {what}" if several else what for count, what in counts)
    return _WORSE if top is not None and row.mean is not None and row.mean > top else ""

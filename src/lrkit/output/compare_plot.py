"""The picture of a comparison: the way there, the differences to the reference, rates as used and as tried."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lrkit.analysis.comparison import Comparison
from lrkit.output.comparison_curves import Band, Curves, axis_of, curves_of
from lrkit.output.comparison_numbers import scale_of
from lrkit.output.difference_plot import LABEL_WIDTH, draw_differences, head_panel
from lrkit.output.plots import cut, distinct_style, plain_ticks, scale_rates
from lrkit.schedules.evaluation import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["compare_figure"]

Draw: TypeAlias = Callable[["Axes", Comparison, Sequence[Curves]], None]

_TITLE_WIDTH, _LEGEND_WIDTH = 112, 36  # in characters
_MOST_NAMES = 8  # in the legend; the rows of the differences have all, in their colours
_MOST_INSIDE = 4  # of them in the panel itself, where more would hide curves
_SPAN, _WIDE = 4.0, 20.0  # how many times the smallest the largest is where an axis is logarithmic, has fewer ticks
_DIGITS = (1, 1.5, 2, 3, 4, 5, 7)  # of ticks on a logarithmic axis that isn't wide
_MARGIN = 0.06
_OUTSIDE = 0.4  # how far beyond the means' range an axis goes for the sake of bands, in such ranges
_EDGE = 0.96
_APART = 0.03  # of two intervals at one place, as a share of the axis
_MANY_EPOCHS = 40


def compare_figure(comparison: Comparison, title: str) -> "Figure":
    """Four panels: the measure over epochs, differences to the reference, rates over epochs, rates that were tried.

    A schedule has one colour and one kind of dashes in all of them. Bands and bars are 95 % intervals; there are none
    for a single seed.
    What there is nothing to show of has no panel: differences of a single schedule, rates that weren't searched.
    """
    from matplotlib.figure import Figure

    curves = curves_of(comparison)
    lines = textwrap.wrap(title, _TITLE_WIDTH)
    rows = sum(1 + len(each.name) // LABEL_WIDTH for each in curves)
    figure = Figure(figsize=(11, 7 + 0.22 * len(lines) + 0.35 * max(0, rows - 7)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=12, x=0.01, ha="left")
    right: list[Draw] = []
    if len(curves) > 1 and any(each.difference or each.diverged or not each.n_seeds for each in comparison.standings):
        right.append(draw_differences)
    if any(each.tried for each in comparison.standings):
        right.append(_draw_search)
    heights, widths = [1.5 + 0.12 * max(0, rows - 7), 1.0], [1.25, 1.0][: 2 if right else 1]
    panes = figure.subplots(2, len(widths), height_ratios=heights, width_ratios=widths, squeeze=False)
    _draw_measure(panes[0, 0], comparison, curves)
    _draw_rates(panes[1, 0], comparison, curves)
    panes[0, 0].set_xlim(panes[1, 0].get_xlim())
    for place, axes in enumerate(panes[:, 1:].flat):
        if place < len(right):
            right[place](axes, comparison, curves)
        else:
            axes.remove()
    return figure


def _width(place: int, count: int) -> float:
    """Of a line: the lower it is, the wider, so that where two coincide both are seen."""
    return 1.4 + 1.8 * place / count


def _limit(axes: "Axes", values: Array, ends: Array) -> None:
    """The vertical axis around all values, logarithmic where they differ by much.

    It goes on to the ends of their bands, but not so far that the values have only a small part of it.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low >= _SPAN:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, (1, 2, 5) if high / low >= _WIDE else _DIGITS)
        bottom, top = _around(np.log(values), np.log(ends[ends > 0]))
        axes.set_ylim(np.exp(bottom), np.exp(top))
    elif ends.max() > ends.min():
        axes.set_ylim(*_around(values, ends))


def _around(values: Array, ends: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    outside = _OUTSIDE * (high - low) if high > low else np.inf
    bottom = max(min(low, float(ends.min())), low - outside)
    top = min(max(high, float(ends.max())), high + outside)
    room = _MARGIN * (top - bottom)
    return bottom - room, top + room


def _rate_ticks(axis: "Axis") -> None:
    """Rates as 0.01 and 0.1, with 0.03 between them where there is room."""
    low, high = axis.get_view_interval()
    plain_ticks(axis, (1, 3) if high < 1e3 * low else (1,))


# --- the way there ------------------------------------------------------------------------------------


def _draw_measure(axes: "Axes", comparison: Comparison, curves: Sequence[Curves]) -> None:
    """Means over seeds with their intervals; a cross where the first of the runs diverged."""
    measure = comparison.measure
    scale = scale_of(measure.name)
    drawn = _side_by_side([(each, each.bands[measure.name]) for each in curves if measure.name in each.bands])
    lines: list[Any] = []
    for each, band in drawn:
        colour, dashes = distinct_style(each.number)
        marker = "." if len(band.epochs) <= _MANY_EPOCHS else None
        above = 3 + len(curves) - len(lines)  # the best on top
        lines += axes.plot(
            band.places,
            scale * band.mean,
            color=colour,
            linestyle=dashes,
            marker=marker,
            linewidth=_width(len(lines), len(drawn)),
            zorder=above,
            label=cut(each.name, _LEGEND_WIDTH),
        )
        _draw_band(axes, band, scale, colour)
        if each.diverged:
            axes.plot(band.places[-1:], scale * band.mean[-1:], "x", color=colour, ms=9, mew=2, zorder=above)
    axes.set_ylabel(f"{measure} in %" if scale > 1 else str(measure))
    clipped: list[bool] = []
    if drawn:
        means = np.concatenate([band.mean for _, band in drawn])
        ends = np.concatenate([end for _, band in drawn for end in (band.low, band.high)])
        alone = all(len(band.places) == 1 for _, band in drawn)  # then there is nothing but the intervals to see
        _limit(axes, scale * (ends if alone else means), scale * ends)
        clipped = [_point_beyond(axes, each, band, scale) for each, band in drawn]
    seeds = max((band.n for _, band in drawn), default=1)
    text = f"{measure} while training" + (f": mean of {seeds} seeds, 95 % interval" if seeds > 1 else ", one seed")
    head_panel(axes, text, "triangle: the interval goes on beyond the edge" if any(clipped) else "")
    axes.locator_params(axis="x", integer=True)
    if _MOST_INSIDE < len(lines) <= _MOST_NAMES:
        beneath: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (0.0, -0.09),
            "borderaxespad": 0.0,
            "ncols": 2,
        }
        axes.legend(handles=lines, edgecolor="none", handlelength=3.5, fontsize=9, **beneath)
    elif 1 < len(lines) <= _MOST_INSIDE:
        axes.legend(handles=lines, edgecolor="none", framealpha=0.7, handlelength=3.5, fontsize=9, loc="best")


def _side_by_side(drawn: Sequence[tuple[Curves, Band]]) -> list[tuple[Curves, Band]]:
    """At a single place the intervals of several would hide each other: they stand a little to the left of it."""
    apart = [_APART * place if len(band.places) == 1 else 0.0 for place, (_, band) in enumerate(drawn)]
    return [
        (each, replace(band, places=band.places * (1 - left))) for left, (each, band) in zip(apart, drawn, strict=True)
    ]


def _draw_band(axes: "Axes", band: Band, scale: float, colour: str) -> None:
    """The interval; at a single place, where a band has no width, as an error bar."""
    low, high = scale * band.low, scale * band.high
    if len(band.places) > 1:
        axes.fill_between(band.places, low, high, color=colour, alpha=0.18, linewidth=0)
    elif band.n > 1:
        mean = scale * band.mean
        axes.errorbar(band.places, mean, (mean - low, high - mean), color=colour, capsize=4, linewidth=1.4, alpha=0.6)


def _point_beyond(axes: "Axes", each: Curves, band: Band, scale: float) -> bool:
    """A triangle at each edge that the band goes beyond, where it is furthest; whether there is any."""
    bottom, top = axes.get_ylim()
    edge = axes.get_xaxis_transform()
    beyond = [
        (height, marker, int(over.argmax()))
        for height, marker, over in ((0.0, "v", bottom - scale * band.low), (1.0, "^", scale * band.high - top))
        if over.max() > 0
    ]
    for height, marker, place in beyond:
        colour = distinct_style(each.number)[0]
        axes.plot(band.places[place], height, marker, color=colour, ms=8, transform=edge, clip_on=False, zorder=9)
    return bool(beyond)


def _draw_rates(axes: "Axes", comparison: Comparison, curves: Sequence[Curves]) -> None:
    """Each schedule's rates at its best base; those that metrics steered have a line for each run."""
    for place, each in enumerate(curves):
        colour, dashes = distinct_style(each.number)
        for run in each.rates:
            width = _width(place, len(curves)) if len(each.rates) == 1 else 1.0
            axes.plot(
                run.places,
                run.values,
                color=colour,
                linestyle=dashes,
                linewidth=width,
                drawstyle="steps-post",
                zorder=3 + len(curves) - place,
            )
    values = [run.values for each in curves for run in each.rates]
    head_panel(axes, "learning rate as used")
    if values:
        scale_rates(axes, values)
    if axes.get_yscale() == "log":
        _rate_ticks(axes.yaxis)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(axis_of(comparison))
    axes.set_ylabel("learning rate")


# --- other rates --------------------------------------------------------------------------------------


def _draw_search(axes: "Axes", comparison: Comparison, curves: Sequence[Curves]) -> None:
    """The measure on held-out data at the rates that were tried; at the top edge those that didn't come to the end."""
    scale = scale_of(comparison.measure.name)
    values: list[float] = []
    for place, (each, curve) in enumerate(zip(comparison.standings, curves, strict=True)):
        colour, dashes = distinct_style(curve.number)
        above = 3 + len(curves) - place
        ended = {rate.lr: scale * rate.value for rate in each.tried if rate.state == "ended" and rate.value is not None}
        width = _width(place, len(curves))
        axes.plot(list(ended), list(ended.values()), ".", color=colour, ls=dashes, lw=width, zorder=above)
        if each.best_lr in ended:
            axes.plot([each.best_lr], [ended[each.best_lr]], "o", mfc="none", mec=colour, ms=10, mew=1.6, zorder=above)
        values += ended.values()
        for state, marker in (("diverged", "x"), ("dropped", "|")):
            lrs = [rate.lr for rate in each.tried if rate.state == state]
            height = _EDGE - 0.035 * place
            axes.plot(lrs, [height] * len(lrs), marker, color=colour, ms=5, transform=axes.get_xaxis_transform())
    axes.set_xscale("log")
    _rate_ticks(axes.xaxis)
    if values:
        _limit(axes, np.array(values), np.array(values))
    states = {rate.state for each in comparison.standings for rate in each.tried}
    marks = {"ended": "ring: chosen", "diverged": "x: diverged", "dropped": "|: dropped"}
    head_panel(axes, "search for the rate", ", ".join(mark for state, mark in marks.items() if state in states))
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"held-out {comparison.measure.name}{' in %' if scale > 1 else ''}")

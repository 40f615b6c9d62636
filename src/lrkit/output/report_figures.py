"""The figures of a comparison's report: data for plotly.js, which draws them in the browser."""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from lrkit.analysis.comparison import Comparison, Difference, Measure, Standing, Tried
from lrkit.output.comparison_curves import Band, Curves, axis_of
from lrkit.output.plots import cut
from lrkit.output.report_plotly import (
    Figure,
    Part,
    axis,
    colour,
    layout,
    line,
    logarithmic,
    mark,
    named,
    numbers,
    spans,
)

__all__ = ["curves_figure", "forest_figure", "rates_figure", "sensitivity_figure"]

_MOST_TICKS = 10
_MOST_GAPS = 8.5  # of the smallest size between the rates of a search, where each of them has a tick
_ROW, _AXIS = 46, 96  # of the forest's height, in pixels
_ROW_NAME = 36  # in characters
_FLOOR = 1e-3  # of the smallest peak: where a rate that falls to zero leaves a logarithmic axis
_BEYOND, _APART = 0.06, 0.03  # shares of the range: how far the edge is beyond it, and one schedule's from another's


# --- the measure over the epochs ---------------------------------------------------------------------


def curves_figure(comparison: Comparison, curves: Sequence[Curves]) -> Figure | None:
    """A mean with a band for each schedule; None where no epoch has a value."""
    measure = comparison.measure
    found = [(each, each.bands[measure.name]) for each in curves if measure.name in each.bands]
    if not found:
        return None
    unit = axis_of(comparison)
    found.reverse()  # the best is drawn last, above the others
    data = [_area(each.number, band) for each, band in found if band.n > 1]
    data += [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": numbers(band.places),
            "y": numbers(band.mean),
            "line": line(each.number),
            "marker": {"size": 5},
            **named(each.name, each.number, f"{unit} %{{x}}: %{{y:{_format(measure)}}}"),
        }
        for each, band in found
    ]
    x = axis(unit)
    if max(band.places[-1] for _, band in found) <= _MOST_TICKS:
        x["dtick"] = 1
    y = axis(str(measure), **_ticks(measure, [value for _, band in found for value in band.mean]))
    return Figure("curves", f"{measure} over the {unit}s, one line for each schedule", data, layout(x, y))


def _area(number: int, band: Band) -> Part:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([*band.places, *band.places[::-1]]),
        "y": numbers([*band.high, *band.low[::-1]]),
        "fill": "toself",
        "fillcolor": f"{colour(number)}/26",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "meta": number,
    }


# --- differences -------------------------------------------------------------------------------------


def forest_figure(comparison: Comparison, places: Mapping[str, int]) -> Figure | None:
    """Differences to the reference with their intervals, one below the other; None where there are none.

    Args:
        comparison: whose.
        places: the number of each schedule, by its name.
    """
    found = [(each, each.difference) for each in comparison.standings if each.difference is not None]
    if not found:
        return None
    measure = comparison.measure
    ends = [value for _, each in found for value in (each.mean, each.low, each.high) if value is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = _BEYOND * (high - low) or 1.0
    data: list[Part] = []
    names = []
    for row, (standing, difference) in enumerate(found):
        names.append(_row_name(standing.name, places[standing.name], row))
        data.append(_interval(difference, measure, named(standing.name, places[standing.name], "%{text}"), row))
    x = axis(f"difference in {measure}", range=[low - room, high + room], fixedrange=True, **_ticks(measure))
    drawn = layout(x, {"visible": False, "fixedrange": True, "range": [len(found) - 0.6, -0.8]})
    drawn["height"] = _AXIS + _ROW * len(found)
    drawn["margin"] |= {"l": 14, "t": 28}
    zero: Part = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    drawn["shapes"] = [{**zero, "line": {"color": "--soft", "width": 1.5}, "layer": "below"}]
    sides = ("← better", "worse →") if measure.mode == "min" else ("← worse", "better →")
    drawn["annotations"] = [*names, _at_top(sides[0], 0, "left"), _at_top(sides[1], 1, "right")]
    label = f"differences in {measure} to {cut(comparison.reference)}, with intervals"
    return Figure("forest", label, data, drawn)


def _row_name(name: str, number: int, row: int) -> Part:
    """Above the interval, where it may be as long as the figure is wide; it is shown and hidden by its number."""
    place: Part = {"xref": "paper", "x": 0, "y": row - 0.4, "xanchor": "left", "yanchor": "middle"}
    text = html.escape(cut(name, _ROW_NAME))
    return {"text": text, "name": str(number), **place, "showarrow": False, "bgcolor": "--paper", "borderpad": 0}


def _interval(found: Difference, measure: Measure, name: Part, row: int) -> Part:
    """A filled mark where the two can be told apart, a ring where they can't."""
    number = name["meta"]
    said, bars = _said(measure, found.mean, "+"), {}
    if found.low is not None and found.high is not None:
        said += f" ({_said(measure, found.low, '+')} to {_said(measure, found.high, '+')})"
        ends: Part = {"type": "data", "array": [found.high - found.mean], "arrayminus": [found.mean - found.low]}
        bars = {"error_x": {**ends, "color": colour(number), "width": 6, "thickness": 2}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [found.mean],
        "y": [row],
        "text": [said],
        "marker": mark(number, "circle" if found.certain else "circle-open", 10),
        **bars,
        **name,
    }


def _at_top(text: str, x: float, anchor: str) -> Part:
    place: Part = {"xref": "paper", "yref": "paper", "x": x, "y": 1, "xanchor": anchor, "yanchor": "bottom"}
    return {"text": text, **place, "showarrow": False, "font": {"color": "--soft"}}


# --- the search for the rate -------------------------------------------------------------------------


def sensitivity_figure(comparison: Comparison, places: Mapping[str, int]) -> Figure | None:
    """The measure on held-out data over the rates of the search; None where none came to its end."""
    measure = comparison.measure
    every = [rate for each in comparison.standings for rate in each.tried]
    values = [rate.value for rate in every if rate.state == "ended" and rate.value is not None]
    if not values:
        return None
    data = [
        trace
        for row, each in reversed(list(enumerate(comparison.standings)))
        for trace in _searched(each, measure, places[each.name], _edge(values, measure, row))
    ]
    rates = sorted({rate.lr for rate in every})
    x = axis("learning rate", **logarithmic(rates))
    if len(rates) > 1 and math.log(rates[-1] / rates[0]) <= _MOST_GAPS * _narrowest(rates):
        x |= {"tickvals": rates, "ticktext": [f"{rate:.3g}" for rate in rates]}
    y = axis(f"held-out {measure.name}", **_ticks(measure, values))
    return Figure("sensitivity", f"held-out {measure.name} over the learning rate", data, layout(x, y))


def _narrowest(rates: Sequence[float]) -> float:
    """The logarithm of the smallest ratio of two neighbours."""
    return min(math.log(after / before) for before, after in pairwise(rates))


def _searched(each: Standing, measure: Measure, number: int, edge: float) -> list[Part]:
    """A line through the rates that came to the end, and marks for the others and the best."""
    states = {state: [rate for rate in each.tried if rate.state == state] for state in ("ended", "dropped", "diverged")}
    best = [rate for rate in states["ended"] if rate.lr == each.best_lr]
    looks: list[tuple[Sequence[Tried], Part]] = [
        (states["ended"], {"mode": "lines+markers", "line": line(number), "marker": mark(number, "circle", 6)}),
        (states["dropped"], {"mode": "markers", "marker": mark(number, "circle-open", 8)}),
        (states["diverged"], {"mode": "markers", "marker": mark(number, "x-thin", 9)}),
        (best, {"mode": "markers", "marker": mark(number, "circle-open", 15)}),
    ]
    return [
        {
            "type": "scatter",
            "x": numbers(rate.lr for rate in rates),
            "y": numbers(_height(rate, measure, edge) for rate in rates),
            "text": [_tried(rate, measure) for rate in rates],
            **look,
            **named(each.name, number, "%{text}"),
        }
        for rates, look in looks
        if rates
    ]


def _height(rate: Tried, measure: Measure, edge: float) -> float:
    """Where a rate is drawn: at the edge what diverged, and what is beyond it."""
    if rate.state == "diverged" or rate.value is None:
        return edge
    return max(rate.value, edge) if measure.mode == "max" else min(rate.value, edge)


def _tried(rate: Tried, measure: Measure) -> str:
    value = "" if rate.state == "diverged" or rate.value is None else f"{_said(measure, rate.value)}, "
    return f"rate {rate.lr:.4g}: {value}{'trained to the end' if rate.state == 'ended' else rate.state}"


def _edge(values: Sequence[float], measure: Measure, row: int) -> float:
    """A little beyond the worst that came to its end; each schedule has its own, so that no mark hides another."""
    low, high = min(values), max(values)
    share = _BEYOND + _APART * row
    if spans(values):
        factor = math.exp(share * math.log(high / low))
        return low / factor if measure.mode == "max" else high * factor
    room = share * (high - low or 1.0)
    return low - room if measure.mode == "max" else high + room


# --- the schedules' shapes ---------------------------------------------------------------------------


def rates_figure(curves: Sequence[Curves]) -> Figure | None:
    """The learning rate of every update, as the optimizer saw it; None where no run has any."""
    peaks = [float(rates.values.max()) for each in curves for rates in each.rates]
    if not peaks:
        return None
    wide = spans(peaks)
    floor = _FLOOR * min(peaks) if wide else -math.inf
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(rates.steps),
            "y": numbers(np.maximum(rates.values, floor)),
            "line": {**line(each.number, 1.2 if seed else 2.2), "shape": "hv"},
            "opacity": 0.6 if seed else 1,
            **named(each.name, each.number, "step %{x}: %{y:.4g}"),
        }
        for each in reversed(curves)
        for seed, rates in enumerate(each.rates)
    ]
    lowest = max(floor, min(float(rates.values.min()) for each in curves for rates in each.rates))
    y = axis("learning rate", **(logarithmic([lowest, max(peaks)]) if wide else {"rangemode": "tozero"}))
    return Figure("rates", "learning rate over the steps, one line for each schedule", data, layout(axis("step"), y))


# --- how values are written --------------------------------------------------------------------------


def _format(measure: Measure) -> str:
    return ".2%" if measure.name == "accuracy" else ".4~g"


def _said(measure: Measure, value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f} %" if measure.name == "accuracy" else f"{value:{sign}.4g}"


def _ticks(measure: Measure, values: Sequence[float] = ()) -> Part:
    """The scale of an axis of the measure: logarithmic where it must show values that are far apart."""
    if values and spans(values):
        return logarithmic(values, percent=measure.name == "accuracy")
    return {"tickformat": "~%"} if measure.name == "accuracy" else {}

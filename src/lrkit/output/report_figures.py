"""The figures of a comparison's report, as plotly.js reads them: plain data, drawn in the browser."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.comparison import Comparison, Difference, Standing
from lrkit.output.comparison_curves import Curves
from lrkit.output.plots import COLOURS, cut

__all__ = ["DASHES", "Figure", "colour", "curves_figure", "forest_figure", "rates_figure", "sensitivity_figure"]

Part: TypeAlias = dict[str, Any]

DASHES = ("solid", "dash", "dot", "dashdot")
_HEIGHT, _ROW, _AXIS = 400, 46, 80  # in pixels
_SPAN = 10.0  # how many times the lowest value the highest is before an axis is logarithmic
_FLOOR = 1e-3  # of the smallest peak: where a rate that falls to zero leaves a logarithmic axis
_NAME_WIDTH = 44  # in characters: what fits on a phone


@dataclass(frozen=True)
class Figure:
    """What is drawn in one place of the page.

    Attributes:
        key: of the place.
        label: what a person hears who doesn't see it.
        data: traces; `meta` is the number of the schedule that each belongs to.
        layout: axes and the like. Colours that begin with "--" are the page's own, which differ in light and dark.
    """

    key: str
    label: str
    data: Sequence[Part]
    layout: Part


def colour(number: int) -> str:
    """The page's name of a schedule's colour."""
    return f"--c{number % len(COLOURS)}"


def curves_figure(comparison: Comparison, curves: Sequence[Curves]) -> Figure | None:
    """The measure over the epochs, a mean with a band for each schedule."""
    measure = comparison.measure
    data: list[Part] = []
    for each in curves:
        band = each.bands.get(measure.name)
        if band is None:
            continue
        if band.n > 1:
            data.append(_area(each.number, band.epochs, band.low, band.high))
        hover = f"epoch %{{x}}: {measure} %{{y:.5g}}"
        data.append(_curve(each, band.epochs, band.mean, hover, mode="lines+markers", marker={"size": 5}))
    if not data:
        return None
    last = max(len(trace["x"]) for trace in data if "hovertemplate" in trace)
    means = [value for trace in data if "hovertemplate" in trace for value in trace["y"]]
    layout = _layout("epoch", str(measure), log_y=_spans(means))
    if last <= 2 * _SPAN:
        layout["xaxis"]["dtick"] = 1 if last <= _SPAN else 2
    return Figure("curves", f"{measure} over the epochs, one line for each schedule", data, layout)


def forest_figure(comparison: Comparison, numbers: Mapping[str, int]) -> Figure | None:
    """Differences to the reference with their intervals, one below the other."""
    found = [(each, each.difference) for each in comparison.standings if each.difference is not None]
    if not found:
        return None
    ends = [value for _, each in found for value in (each.mean, each.low, each.high) if value is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = 0.08 * (high - low) or 1.0
    data: list[Part] = []
    for row, (standing, difference) in enumerate(found):
        data += _interval(standing, difference, numbers[standing.name], row, low - room)
    side = "left" if comparison.measure.mode == "min" else "right"
    layout = _layout(f"{comparison.measure}, less the reference's ({side} is better)", None)
    layout["height"] = _AXIS + _ROW * len(found)
    layout["margin"] |= {"l": 8, "t": 8}
    layout["xaxis"] |= {"range": [low - room, high + room], "fixedrange": True}
    layout["yaxis"] = {"visible": False, "fixedrange": True, "range": [len(found) - 0.6, -0.9]}
    layout["shapes"] = [
        {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "--soft", "width": 1.5}}
    ]
    label = f"differences of {comparison.measure} to {cut(comparison.reference)}, with intervals"
    return Figure("forest", label, data, layout)


def sensitivity_figure(comparison: Comparison, numbers: Mapping[str, int]) -> Figure | None:
    """The measure on held-out data over the rates of the search; what was dropped or diverged is marked."""
    found = [each for each in comparison.standings if any(_finite(rate.value) for rate in each.tried)]
    if not found:
        return None
    values = [rate.value for each in found for rate in each.tried if _finite(rate.value) and rate.value is not None]
    log_y = _spans(values)
    low, high = min(values), max(values)
    top = high * (high / low) ** 0.06 if log_y else high + 0.06 * (high - low or 1.0)
    data = [trace for each in found for trace in _searched(each, numbers[each.name], top)]
    layout = _layout("learning rate", f"held-out {comparison.measure.name}", log_x=True, log_y=log_y)
    return Figure("sensitivity", f"held-out {comparison.measure.name} over the learning rate", data, layout)


def rates_figure(curves: Sequence[Curves]) -> Figure | None:
    """The learning rate of every update, as the optimizer saw it."""
    peaks = [float(rates.values.max()) for each in curves for rates in each.rates]
    if not peaks:
        return None
    log_y = _spans(peaks)
    floor = _FLOOR * min(peaks) if log_y else -math.inf
    data = [
        _curve(each, rates.steps, np.maximum(rates.values, floor), "step %{x}: %{y:.4g}", place)
        for each in curves
        for place, rates in enumerate(each.rates)
    ]
    layout = _layout("step", "learning rate", log_y=log_y)
    if not log_y:
        layout["yaxis"]["rangemode"] = "tozero"
    return Figure("rates", "learning rate over the steps, one line for each schedule", data, layout)


# --- traces ------------------------------------------------------------------------------------------


def _curve(
    each: Curves, x: NDArray[Any], y: NDArray[Any], hover: str, place: int = 0, mode: str = "lines", **more: Any
) -> Part:
    """A line; `place` counts runs of one schedule, of which the first is drawn the strongest."""
    line = {"color": colour(each.number), "dash": DASHES[each.number % len(DASHES)], "width": 1.2 if place else 2.2}
    if mode == "lines":
        line["shape"] = "hv"
    return {
        "type": "scatter",
        "mode": mode,
        "x": _numbers(x),
        "y": _numbers(y),
        "line": line,
        "opacity": 0.6 if place else 1,
        **_named(each.name, each.number, hover),
        **more,
    }


def _area(number: int, x: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Part:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers([*x, *x[::-1]]),
        "y": _numbers([*high, *low[::-1]]),
        "fill": "toself",
        "fillcolor": f"{colour(number)}/2e",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "meta": number,
    }


def _interval(standing: Standing, difference: Difference, number: int, row: int, left: float) -> list[Part]:
    """A row of the forest: the name, and beneath it the interval; a filled mark where the two can be told apart."""
    bars: Part = {}
    hover = "%{x:+.4g}"
    if difference.low is not None and difference.high is not None:
        up, down = difference.high - difference.mean, difference.mean - difference.low
        bars["error_x"] = {"type": "data", "array": [up], "arrayminus": [down], "color": colour(number), "width": 5}
        hover += f" ({difference.low:+.4g} to {difference.high:+.4g})"
    symbol = "circle" if difference.certain else "circle-open"
    mark = {"color": colour(number), "size": 11, "symbol": symbol, "line": {"width": 2, "color": colour(number)}}
    name: Part = {
        "type": "scatter",
        "mode": "text",
        "x": [left],
        "y": [row - 0.38],
        "text": [html.escape(cut(standing.name, _NAME_WIDTH))],
        "textposition": "middle right",
        "cliponaxis": False,
        "hoverinfo": "skip",
        "meta": number,
    }
    point = {"type": "scatter", "mode": "markers", "x": [difference.mean], "y": [row], "marker": mark}
    return [name, {**point, **bars, **_named(standing.name, number, hover)}]


def _searched(each: Standing, number: int, top: float) -> list[Part]:
    """The rates of one search: a line through those that came to the end, and marks for the others."""
    ended = [rate for rate in each.tried if rate.state == "ended" and _finite(rate.value)]
    dropped = [rate for rate in each.tried if rate.state == "dropped" and _finite(rate.value)]
    diverged = [rate for rate in each.tried if rate.state == "diverged"]
    best = [rate for rate in ended if rate.lr == each.best_lr]
    line = {"color": colour(number), "dash": DASHES[number % len(DASHES)], "width": 2.2}
    kinds: list[tuple[list[Any], str, Part]] = [
        (ended, "%{y:.5g}", {"mode": "lines+markers", "line": line, "marker": _mark(number, "circle", 6)}),
        (dropped, "%{y:.5g}, dropped", {"mode": "markers", "marker": _mark(number, "circle-open", 8)}),
        (diverged, "diverged", {"mode": "markers", "marker": _mark(number, "x-thin", 9)}),
        (best, "%{y:.5g}, best", {"mode": "markers", "marker": _mark(number, "circle-open", 15)}),
    ]
    return [
        {
            "type": "scatter",
            "x": _numbers(rate.lr for rate in rates),
            "y": _numbers(top if rates is diverged else rate.value for rate in rates),
            **look,
            **_named(each.name, number, f"rate %{{x:.4g}}: {said}"),
        }
        for rates, said, look in kinds
        if rates
    ]


def _mark(number: int, symbol: str, size: int) -> Part:
    return {"color": colour(number), "symbol": symbol, "size": size, "line": {"width": 2, "color": colour(number)}}


def _named(name: str, number: int, hover: str) -> Part:
    """What a trace is called. Names aren't put into the template, where they could have a meaning."""
    text = html.escape(cut(name, _NAME_WIDTH))
    return {"name": text, "meta": number, "hovertemplate": f"%{{fullData.name}}<br>{hover}<extra></extra>"}


# --- axes --------------------------------------------------------------------------------------------


def _layout(x: str, y: str | None, *, log_x: bool = False, log_y: bool = False) -> Part:
    clear = "rgba(0,0,0,0)"
    return {
        "height": _HEIGHT,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 52},
        "showlegend": False,
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": "--ink", "family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "--paper", "bordercolor": "--soft", "font": {"color": "--ink"}, "align": "left"},
        "hovermode": "closest",
        "xaxis": _axis(x, logarithmic=log_x),
        "yaxis": _axis(y, logarithmic=log_y),
    }


def _axis(title: str | None, *, logarithmic: bool) -> Part:
    scale: Part = {"type": "log", "dtick": "D2", "exponentformat": "power"} if logarithmic else {}
    return {
        "title": {"text": html.escape(title or ""), "standoff": 8},
        "automargin": True,
        "gridcolor": "--grid",
        "linecolor": "--soft",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "--soft",
        "zeroline": False,
        **scale,
    }


def _spans(values: Sequence[float]) -> bool:
    """Whether positive values are so far apart that they take a logarithmic axis."""
    return min(values) > 0 and max(values) > _SPAN * min(values)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _numbers(values: Iterable[float]) -> list[float]:
    """Six digits are more than a picture shows."""
    return [float(f"{value:.6g}") for value in values]

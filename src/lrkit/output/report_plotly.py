"""What all figures of a report have in common, as plotly.js reads it: colours, lines, axes."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lrkit.output.plots import COLOURS, cut

__all__ = [
    "DASHES",
    "Figure",
    "Part",
    "axis",
    "colour",
    "layout",
    "line",
    "logarithmic",
    "mark",
    "named",
    "numbers",
    "spans",
]

Part: TypeAlias = dict[str, Any]

DASHES = ("solid", "dash", "dot", "dashdot")
_HEIGHT = 400  # in pixels
_SPAN = 4.0  # how many times the lowest value the highest is before an axis is logarithmic
_FEW, _MANY, _AROUND = 1.2, 3.0, 0.3  # decades: of axes with many ticks, with some, and what may lie beyond
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


def line(number: int, width: float = 2.2) -> Part:
    """A schedule's line: its dashes tell it apart where colours don't."""
    return {"color": colour(number), "dash": DASHES[number % len(DASHES)], "width": width}


def mark(number: int, symbol: str, size: int) -> Part:
    """A schedule's mark."""
    return {"color": colour(number), "symbol": symbol, "size": size, "line": {"width": 2, "color": colour(number)}}


def named(name: str, number: int, hover: str) -> Part:
    """What a trace is called, and what is said at its points.

    The name stays out of the template, in which it could have a meaning.

    >>> named("<b>", 0, "%{y}")
    {'name': '&lt;b&gt;', 'meta': 0, 'hovertemplate': '%{fullData.name}<br>%{y}<extra></extra>'}
    """
    text = html.escape(cut(name, _NAME_WIDTH))
    return {"name": text, "meta": number, "hovertemplate": f"%{{fullData.name}}<br>{hover}<extra></extra>"}


def layout(x: Part, y: Part) -> Part:
    """A layout with these axes."""
    clear = "rgba(0,0,0,0)"
    return {
        "height": _HEIGHT,
        "margin": {"l": 56, "r": 14, "t": 12, "b": 52},
        "showlegend": False,
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": "--ink", "family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "--paper", "bordercolor": "--soft", "font": {"color": "--ink"}, "align": "left"},
        "hovermode": "closest",
        "xaxis": x,
        "yaxis": y,
    }


def axis(title: str, **more: Any) -> Part:
    """An axis with a title."""
    return {
        "title": {"text": html.escape(title), "standoff": 8},
        "automargin": True,
        "gridcolor": "--grid",
        "linecolor": "--soft",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "--soft",
        "zeroline": False,
        **more,
    }


def logarithmic(values: Sequence[float], *, percent: bool = False) -> Part:
    """What makes an axis logarithmic: with ticks that are written out, as many as the values' span has room for.

    >>> logarithmic([0.09, 0.6])["ticktext"]
    ['0.05', '0.07', '0.1', '0.15', '0.2', '0.3', '0.5', '0.7', '1']
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    digits = (1, 1.5, 2, 3, 5, 7) if high - low < _FEW else (1, 2, 5) if high - low < _MANY else (1,)
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    shown = [tick for tick in ticks if low - _AROUND < math.log10(tick) < high + _AROUND]
    texts = [f"{100 * tick:.6g} %" if percent else f"{tick:.6g}" for tick in shown]
    return {"type": "log", "tickvals": shown, "ticktext": texts}


def spans(values: Iterable[float]) -> bool:
    """Whether positive values are so far apart that they take a logarithmic axis.

    >>> spans([0.1, 0.3]), spans([0.1, 0.5]), spans([0.0, 0.5])
    (False, True, False)
    """
    found = list(values)
    return min(found) > 0 and max(found) > _SPAN * min(found)


def numbers(values: Iterable[float]) -> list[float]:
    """Six digits are more than a picture shows."""
    return [float(f"{value:.6g}") for value in values]

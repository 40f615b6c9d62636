"""The panel of a comparison's picture with the differences to the reference."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrkit.analysis.comparison import Comparison, Difference, Standing
from lrkit.analysis.verdicts import say_p
from lrkit.output.comparison_curves import Curves
from lrkit.output.comparison_numbers import scale_of
from lrkit.output.plots import cut, distinct_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LABEL_WIDTH", "draw_differences", "head_panel"]

LABEL_WIDTH = 26  # in characters
_HEAD_WIDTH = 54  # in characters
_FAR = 8.0  # how many times as far as the typical one a difference may reach before it is only pointed at
_REMARK = 0.3  # share of the axis of differences that is kept for remarks
_FAINT = "#555555"


def head_panel(axes: "Axes", text: str, remark: str = "") -> None:
    """What a panel shows; a remark in brackets behind that, or beneath it where both are too long for a line."""
    between = "\n" if len(text) + len(remark) > _HEAD_WIDTH else " "
    axes.set_title(f"{text}{between}({remark})" if remark else text, fontsize=10, loc="left")
    axes.grid(alpha=0.3)


def draw_differences(axes: "Axes", comparison: Comparison, curves: Sequence[Curves]) -> None:
    """A row for each schedule, the best above: its difference to the reference, and how sure that is."""
    measure = comparison.measure
    scale = scale_of(measure.name)
    low, high = _reach(comparison)
    axes.axvline(0, color="black", linewidth=1)
    for place, (each, curve) in enumerate(zip(comparison.standings, curves, strict=True)):
        colour = distinct_style(curve.number)[0]
        shown = each.difference is not None and low <= each.difference.mean <= high
        if each.difference is not None and shown:
            _draw_interval(axes, each.difference, place, colour, scale=scale, reach=(low, high))
        elif each.difference is not None:
            end, marker = (high, ">") if each.difference.mean > high else (low, "<")
            axes.plot([scale * end], [place], marker, color=colour, ms=8)
        elif each.name == comparison.reference and each.final:
            axes.plot([0], [place], "D", color=colour, ms=8)
        edge, remark = axes.get_yaxis_transform(), _remark(each, comparison.reference, scale=None if shown else scale)
        axes.text(0.985, place, remark, transform=edge, ha="right", va="center", fontsize=8.5, color=_FAINT)
    room = 0.05 * (high - low)
    axes.set_xlim(scale * (low - room), scale * (high + room + _REMARK / (1 - _REMARK) * (high - low)))
    axes.locator_params(axis="x", nbins=6)
    axes.set_yticks(range(len(curves)), [textwrap.fill(each.name, LABEL_WIDTH) for each in curves], fontsize=9.5)
    for label, curve in zip(axes.get_yticklabels(), curves, strict=True):
        label.set_color(distinct_style(curve.number)[0])
    axes.set_ylim(len(curves) - 0.4, -0.6)
    several = any(each.difference is not None and not each.difference.certain for each in comparison.standings)
    remark = "hollow: can't be told apart" if several else ""
    head_panel(axes, f"difference to {cut(comparison.reference, LABEL_WIDTH)}", remark)
    axes.grid(visible=False, axis="y")
    better = "left" if measure.mode == "min" else "right"
    axes.set_xlabel(f"final {measure}{', points of %' if scale > 1 else ''} (further {better} is better)")


def _draw_interval(
    axes: "Axes", found: Difference, place: int, colour: str, *, scale: float, reach: tuple[float, float]
) -> None:
    """The mean and its interval, with an arrow at an end that lies beyond the reach."""
    if found.low is not None and found.high is not None:
        low, high = max(found.low, reach[0]), min(found.high, reach[1])
        axes.plot([scale * low, scale * high], [place, place], color=colour, linewidth=3, alpha=0.5)
        for end, shown, marker in ((found.low, low, "<"), (found.high, high, ">")):
            if end != shown:
                axes.plot([scale * shown], [place], marker, color=colour, ms=6)
    filled = colour if found.certain else "white"
    axes.plot([scale * found.mean], [place], "o", color=colour, mfc=filled, ms=8, mew=1.8)


def _reach(comparison: Comparison) -> tuple[float, float]:
    """From where to where differences are drawn: all but those that are so large that they would hide the others."""
    found = [each.difference for each in comparison.standings if each.difference is not None]
    if not found:
        return -1.0, 1.0
    ends = [[end for end in (0.0, each.low, each.mean, each.high) if end is not None] for each in found]
    far = [max(map(abs, each)) for each in ends]
    near = [each for each, reach in zip(ends, far, strict=True) if reach <= _FAR * np.median(far)]
    low, high = min(map(min, near)), max(map(max, near))
    return (low, high) if high > low else (-1.0, 1.0)


def _remark(each: Standing, reference: str, *, scale: float | None) -> str:
    """What a row says at its right edge; the difference itself, times a scale, where it isn't drawn."""
    if not each.n_seeds:
        return "came to its end at no rate"
    if each.diverged:
        return f"{each.diverged} of {each.n_seeds} diverged"
    if each.name == reference:
        return "reference"
    if each.difference is None:
        return ""
    value = [] if scale is None else [f"{scale * each.difference.mean:+.2g}"]
    chance = [] if each.difference.p_value is None else [say_p(each.difference.p_value)]
    return ", ".join(value + chance)

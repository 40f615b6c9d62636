"""The picture of a search for a learning rate: losses over rates, and what each rule says."""

from typing import TYPE_CHECKING

import numpy as np

from lrkit.analysis.curves import Array
from lrkit.analysis.finding import Finding
from lrkit.output.plots import COLOURS, cut, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drawn_range", "find_figure"]

_ABOVE = 0.5  # how far above the start is drawn, as a share of the fall


def drawn_range(finding: Finding) -> tuple[float, float] | None:
    """The losses that are drawn to scale: an explosion would hide the descent; None where there are none."""
    typical = finding.curve.typical
    seen = typical[np.isfinite(typical)]
    if not len(seen):
        return None
    start = float(np.median(seen[: max(1, len(seen) // 10)]))
    low, high = float(seen.min()), float(seen.max())
    fall = max(start - low, 1e-12)
    top = min(high, start + _ABOVE * fall) if finding.method == "ramp" else high
    room = 0.06 * max(top - low, 1e-3 * abs(top), 1e-12)
    return low - room, top + room


def find_figure(finding: Finding, title: str) -> "Figure":
    """The median over seeds and their range; a line for each rule, and the interval of the one that decides.

    Of a race there are points where rates were trained, those that can't be told from the best filled.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    curve = finding.curve
    typical = np.where(np.isfinite(curve.typical), curve.typical, np.nan)
    over = f"loss, median and range of {curve.seeds} seeds" if curve.seeds > 1 else "loss"
    axes.plot(curve.rates, typical, color=COLOURS[0], linewidth=1.4, label=over)
    if finding.method == "race":
        _mark(axes, finding, typical)
    if curve.seeds > 1:
        whole = np.where(np.isfinite(curve.losses).all(axis=0), curve.losses, np.nan)
        axes.fill_between(curve.rates, whole.min(axis=0), whole.max(axis=0), color=COLOURS[0], alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlim(curve.rates[0], curve.rates[-1])
    if (limits := drawn_range(finding)) is not None:
        axes.set_ylim(*limits)
    for number, (name, each) in enumerate(finding.rules.items(), start=1):
        if each.value is None:
            continue
        chosen = name == finding.default and finding.suggestion is not None
        label = f"{name.replace('_', ' ')}: {each.value:.3g}"
        if chosen and finding.interval is not None:
            axes.axvspan(*finding.interval, color="black", alpha=0.12, linewidth=0)
            label += " ({:.3g} to {:.3g}, shaded)".format(*finding.interval)
        colour, dashes = ("black", "solid") if chosen else (style(number)[0], "dashed")
        axes.axvline(each.value, color=colour, linestyle=dashes, linewidth=2 if chosen else 1.4, label=label)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation loss" if finding.made.get("signal") == "valid" else "training loss")
    axes.grid(alpha=0.3)
    axes.set_title(cut(title), fontsize=11)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def _mark(axes: "Axes", finding: Finding, typical: Array) -> None:
    """The points of a race."""
    rates = finding.curve.rates
    axes.plot(rates, typical, "o", color=COLOURS[0], markerfacecolor="white")
    alike = np.isin(rates, finding.alike)
    if alike.any():
        axes.plot(rates[alike], typical[alike], "o", color=COLOURS[0], label="can't be told from the best")

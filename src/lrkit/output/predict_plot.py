"""The picture of a prediction: what was measured and fitted, what is predicted, and the rates of all."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.prediction import Forecast, Prediction
from lrkit.output.difference_plot import head_panel
from lrkit.output.plots import COLOURS, cut, legend_columns, scale_rates, thin
from lrkit.schedules.evaluation import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["predict_figure"]

_TITLE_WIDTH = 104  # in characters
_DASHES: tuple[Any, ...] = ((0, (5, 1.6)), (0, (1.2, 1.2)), (0, (7, 1.5, 1.5, 1.5)))
_MOST_POINTS = 400  # of a run; more are drawn as means of neighbours
_FITTED_POINTS = 400
_TOP = 92  # in percent: of the losses, so many are inside; the first after the warmup would squash the others
_MARGIN = 0.05
_TRUTH = "#444444"
_FEW = 3  # bands: more lie over each other, so they are paler


@dataclass(frozen=True)
class _Line:
    """A curve in both panels; `measured` are its points, where there are some."""

    label: str
    colour: str
    dashes: Any
    width: float
    steps: NDArray[np.int64]
    losses: Array
    rates: Array
    measured: tuple[Array, Array] | None
    forecast: Forecast | None = None


def predict_figure(
    prediction: Prediction, title: str | None = None, *, truth: Mapping[str, LossCurve] | None = None
) -> "Figure":
    """Losses above, the learning rates below: points were measured, lines are the law's, dashed where predicted.

    Bands are the intervals of the prediction's level.

    Args:
        prediction: what is drawn.
        title: above it; by default the first sentence of the verdict.
        truth: of schedules by name, what was measured when they were run after all.
    """
    from matplotlib.figure import Figure

    lines = _lines(prediction, truth or {})
    said = title if title is not None else next(iter(prediction.verdict), "")
    heading = textwrap.wrap(said, _TITLE_WIDTH)
    labels = [cut(each.label) for each in lines]
    columns = legend_columns(labels)
    rows = -(-(len(labels) + 1) // columns)
    figure = Figure(figsize=(9, 6 + 0.22 * len(heading) + 0.2 * rows), layout="constrained")
    if heading:
        figure.suptitle("\n".join(heading), fontsize=11, x=0.01, ha="left")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    bands = 0.2 if len(prediction.forecasts) <= _FEW else 0.08
    handles = [_draw_losses(above, each, bands) for each in lines]
    above.set_ylim(*_limits(lines))
    above.set_ylabel("loss")
    above.grid(alpha=0.3)
    band = f", band: {100 * prediction.level:g} % interval" if prediction.forecasts else ""
    head_panel(above, f"points: measured, lines: {prediction.law.law.name}{band}", "")
    for each in lines:
        keep = thin(each.rates)
        below.plot(
            keep,
            each.rates[keep],
            color=each.colour,
            linestyle=each.dashes,
            linewidth=each.width,
            drawstyle="steps-post",
        )
    scale_rates(below, [each.rates for each in lines])
    below.set_xlim(0, 1.015 * max(len(each.rates) for each in lines))
    below.set_ylabel("learning rate")
    below.set_xlabel("step")
    below.grid(alpha=0.3)
    if truth:
        handles.append(above.plot([], [], ".", color=_TRUTH, ms=5)[0])
        labels.append("measured when it was run, which the fit hasn't seen")
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9, handlelength=3.5)
    return figure


def _lines(prediction: Prediction, truth: Mapping[str, LossCurve]) -> list[_Line]:
    """The runs, and the schedules in their order; each has a colour of its own, as long as there are some."""
    found = []
    for number, curve in enumerate(prediction.law.curves):
        last = max(1, int(curve.steps[-1]))
        steps = np.unique(np.linspace(max(1, curve.steps[0]), last, _FITTED_POINTS).astype(np.int64))
        fitted = prediction.law.predict(curve.learning_rates, steps)
        label, colour = f"fitted: {curve.name}", COLOURS[number % len(COLOURS)]
        rates = curve.learning_rates[:last]
        found.append(_Line(label, colour, "solid", 1.4, steps, fitted, rates, _measured(curve)))
    for number, each in enumerate(prediction.forecasts, len(found)):
        label, colour = f"predicted: {each.name}", COLOURS[number % len(COLOURS)]
        dashes = _DASHES[number // len(COLOURS) % len(_DASHES)]
        known = _measured(truth[each.name]) if each.name in truth else None
        rates = each.proposal.learning_rates
        found.append(_Line(label, colour, dashes, 2.2, each.steps, each.losses, rates, known, each))
    return found


def _measured(curve: LossCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and losses; of very many, means of neighbours."""
    size = -(-len(curve.steps) // _MOST_POINTS)
    begins = np.arange(0, len(curve.steps), size)
    counts = np.diff(np.append(begins, len(curve.steps)))
    return np.add.reduceat(curve.steps.astype(float), begins) / counts, np.add.reduceat(curve.losses, begins) / counts


def _draw_losses(axes: "Axes", each: _Line, bands: float) -> Any:
    if each.forecast is not None:
        low, high = each.forecast.lows, each.forecast.highs
        axes.fill_between(each.steps, low, high, color=each.colour, alpha=bands, linewidth=0, zorder=2)
        axes.plot(each.steps[-1:], each.losses[-1:], "o", color=each.colour, ms=6, zorder=5)
    if each.measured is not None:
        known = each.forecast is None
        colour, order = (each.colour, 1) if known else (_TRUTH, 4)
        axes.plot(
            *each.measured, ".", color=colour, ms=9 if known else 5, alpha=0.3 if known else 0.8, mew=0, zorder=order
        )
    [line] = axes.plot(
        each.steps, each.losses, color=each.colour, linestyle=each.dashes, linewidth=each.width, zorder=3
    )
    return line


def _limits(lines: list[_Line]) -> tuple[float, float]:
    """Around what losses come to: the high ones of the beginning go beyond, those at the ends never do."""
    # Evenly over the steps, of which a forecast has more where rates change.
    even = [np.interp(np.linspace(each.steps[0], each.steps[-1], 200), each.steps, each.losses) for each in lines]
    drawn = even + [each.measured[1] for each in lines if each.measured is not None]
    ends = [float(each.losses[-1]) for each in lines] + [each.forecast.high for each in lines if each.forecast]
    lows = [float(values.min()) for values in drawn] + [each.forecast.low for each in lines if each.forecast]
    top = max(*(float(np.percentile(values, _TOP)) for values in drawn), *ends)
    bottom = min(lows)
    room = _MARGIN * (top - bottom) or _MARGIN * abs(top)
    return bottom - room, top + room

"""Pictures: results in, matplotlib figures out. Nothing global is touched."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.summary import reductions
from lrkit.schedules.errors import InputError
from lrkit.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "curves_figure", "save", "schedule_figure"]

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, told apart by colour-blind people too.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_MOST_POINTS = 4000
_MUCH = 0.2


def curves_figure(history: History) -> "Figure":
    """Loss and accuracy above, the learning rate below, over one axis of epochs; reductions of the rate are marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    epochs = [each.epoch for each in history.epochs]
    above.plot(epochs, [each.train_loss for each in history.epochs], color=_BLUE, marker=".", label="training loss")
    if any(each.valid_loss is not None for each in history.epochs):
        valid = [np.nan if each.valid_loss is None else each.valid_loss for each in history.epochs]
        above.plot(epochs, valid, color=_ORANGE, marker=".", label="validation loss")
    above.set_ylabel("loss")
    above.set_ylim(bottom=0)
    lines = above.get_lines()
    if any("accuracy" in each.metrics for each in history.epochs):
        beside = above.twinx()
        shares = [100 * each.metrics.get("accuracy", np.nan) for each in history.epochs]
        beside.plot(epochs, shares, color=_GREEN, marker=".", linestyle="--", label="accuracy (right)")
        beside.set_ylabel("validation accuracy in %")
        lines = [*lines, *beside.get_lines()]
    above.legend(
        lines,
        [str(line.get_label()) for line in lines],
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=3,
        frameon=False,
    )
    position = _in_epochs(history)
    _rate(below, position, history.lr)
    below.set_xlabel("epoch")
    below.set_ylabel("learning rate")
    for number, each in enumerate(reductions(history)):
        for axes in (above, below):
            label = "reduced" if axes is below and number == 0 else None
            axes.axvline(float(position[each.step]), color=_GREY, linestyle=":", linewidth=1.2, label=label)
    if reductions(history):
        below.legend(loc="upper right", frameon=False)
    figure.suptitle(f"{history.made['task']}: {_cut(history.made['schedule'])}", fontsize=11)
    return figure


def schedule_figure(
    position: NDArray[np.float64], values: NDArray[np.float64], *, title: str, x_label: str, y_label: str
) -> "Figure":
    """A schedule's curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    _rate(axes, position, values)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(_cut(title), fontsize=11)
    return figure


def save(figure: "Figure", path: str | Path) -> None:
    """Write the figure; the suffix says how (.png, .svg, .pdf).

    Raises:
        InputError: for another suffix, and a path that can't be written.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"a picture's name must end in {', '.join(SUFFIXES)}, not {str(file)!r}")
    try:
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise InputError(f"the picture {file} can't be written: {error.strerror}") from None


def _in_epochs(history: History) -> NDArray[np.float64]:
    """Where each update stands on the axis of epochs: an epoch's last update is at its number."""
    position = np.empty(len(history.lr))
    begin = 0
    for each in history.epochs:
        count = each.step - begin
        position[begin : each.step] = each.epoch - 1 + np.arange(count) / count
        begin = each.step
    return position


def _rate(axes: "Axes", position: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """The rate as a staircase; on a logarithmic axis where it spends much of its time below a tenth of its peak."""
    keep = _keep(values)
    axes.plot(position[keep], values[keep], color=_BLUE, drawstyle="steps-post")
    low = values <= 0.1 * values.max() * (1 + 1e-9)
    if values.min() > 0 and low.mean() > _MUCH:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _keep(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which points to draw: evenly chosen ones, and both sides of every jump."""
    if len(values) <= _MOST_POINTS:
        return np.arange(len(values))
    even = np.linspace(0, len(values) - 1, _MOST_POINTS).astype(np.intp)
    steps = np.abs(np.diff(values))
    jumps = np.argsort(steps)[-200:]
    return np.unique(np.concatenate([even, jumps, jumps + 1]))


def _cut(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"

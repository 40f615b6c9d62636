"""Pictures: results in, matplotlib figures out. Nothing global is touched."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.summary import reductions
from lrkit.output.preview import Bases, Panel, Preview, preview
from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from lrkit.output.picture import Picture

__all__ = [
    "COLOURS",
    "check_out",
    "curves_figure",
    "cut",
    "distinct_style",
    "in_epochs",
    "legend_above",
    "legend_columns",
    "plain_ticks",
    "plot",
    "preview_figure",
    "save",
    "scale_rates",
    "style",
    "thin",
]

_SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, told apart by colour-blind people too.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
COLOURS = (_BLUE, _ORANGE, _GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # not the yellow: pale on white
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
_LEGEND_WIDTH, _LINE_WIDTH = 115, 95  # in characters
_MOST_POINTS = 4000
_PIECES = 1000
_JUMPS, _VISIBLE = 200, 1e-3
_MUCH = 0.25


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
    position = in_epochs(history)
    keep = thin(history.lr)
    below.plot(position[keep], history.lr[keep], color=_BLUE, drawstyle="steps-post")
    scale_rates(below, [history.lr])
    below.grid(alpha=0.3)
    below.set_xlabel("epoch")
    below.set_ylabel("learning rate")
    for number, each in enumerate(reductions(history)):
        for axes in (above, below):
            label = "reduced" if axes is below and number == 0 else None
            axes.axvline(float(position[each.step]), color=_GREY, linestyle=":", linewidth=1.2, label=label)
    if reductions(history):
        below.legend(loc="upper right", frameon=False)
    figure.suptitle(f"{history.made['task']}: {cut(history.made['schedule'])}", fontsize=11)
    return figure


def plot(
    runs: Sequence[Plan | Plans],
    horizon: Horizon | None = None,
    *,
    base: Bases = 1.0,
    out: str | Path | None = None,
) -> "Picture":
    """What `plan.plot(...)` does; the arguments are described there. What moves has a panel.

    >>> import lrkit
    >>> figure = lrkit.plot([lrkit.parse("lr: linear(to=0); momentum: linear(to=0.5)")], lrkit.Horizon(100))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['share of the base', 'momentum (base 1)']
    """
    runs = [plain(each) for each in runs]
    given: Sequence[object] = runs
    for each in given:
        if not isinstance(each, Plan | Plans):
            raise InputTypeError(f"plot draws schedules and controllers, not {shown(each)} ({type(each).__name__})")
    if not runs:
        raise InputError("plot needs at least one schedule")
    if out is not None:
        _file(out)
    figure = preview_figure(preview(runs, horizon, base=base))
    if out is not None:
        save(figure, out)
    return figure


def preview_figure(preview: Preview) -> "Picture":
    """The curves of a preview: a panel for each hyper-parameter that moves, a colour and a line style for each run.

    Raises:
        InputError: for more runs than can be told apart.
    """
    from lrkit.output.picture import Picture

    preview = preview.drawn
    labels = preview.labels
    styles = {label: style(number) for number, label in enumerate(labels)}
    if len(labels) > len(COLOURS) * len(_DASHES):
        raise InputError(f"a picture has at most {len(COLOURS) * len(_DASHES)} curves, not {len(labels)}")
    columns = legend_columns(labels)
    rows = -(-len(labels) // columns) if len(labels) > 1 else 0
    figure = Picture(figsize=(8, 1.2 + 2.8 * len(preview.panels) + 0.19 * rows), layout="constrained")
    panes = figure.subplots(len(preview.panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(panes, preview.panels, strict=True):
        _panel(axes, preview.position, panel, styles)
        axes.set_ylabel(_y_label(panel.hyper, preview))
    remark = textwrap.wrap(f"({preview.remark})", _LINE_WIDTH) if preview.remark else []
    panes[-1].set_xlabel("\n".join(["epoch" if preview.horizon.epoch_steps else "step", *remark]))
    if preview.title:
        panes[0].set_title(cut(preview.title), fontsize=11)
    if rows:
        lines = {str(line.get_label()): line for axes in panes for line in axes.get_lines()}
        legend_above(figure, [lines[label] for label in labels], [cut(label) for label in labels], columns)
    return figure


def legend_above(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """What lines and marks are called, above the axes."""
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )


def save(figure: "Figure", path: str | Path) -> None:
    """Write the figure; the suffix says how (.png, .svg, .pdf).

    Raises:
        InputError: for another suffix, and a path that can't be written.
        InputTypeError: for what isn't a path.
    """
    file = _file(path)
    try:
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise InputError(f"the picture {file} can't be written: {error.strerror}") from None


def check_out(out: Path | None) -> None:
    """Refuse a place where a picture can't be written, before there is anything to draw.

    Raises:
        InputError: for another suffix, a folder that doesn't exist, and one of that name.
    """
    if out is None:
        return
    if out.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--out must end in {', '.join(_SUFFIXES)}, not {str(out)!r}")
    if not out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, not {str(out)!r}")
    if out.is_dir():
        raise InputError(f"--out must be a file, and {str(out)!r} is a folder")


def _file(path: object) -> Path:
    if not isinstance(path, str | Path):
        raise InputTypeError(f"out must be a path such as 'schedules.png', not {shown(path)} ({type(path).__name__})")
    file = Path(path)
    if file.suffix.lower() not in _SUFFIXES:
        raise InputError(f"a picture's name must end in {', '.join(_SUFFIXES)}, not {str(file)!r}")
    return file


def in_epochs(history: History) -> NDArray[np.float64]:
    """Where each update begins on an axis of epochs, shape (updates,): an epoch's record is at its number."""
    position = np.empty(len(history.lr))
    begin = 0
    for each in history.epochs:
        count = each.step - begin
        position[begin : each.step] = each.epoch - 1 + np.arange(count) / count
        begin = each.step
    return position


def style(number: int) -> tuple[str, Any]:
    """The colour and the dashes of a curve: colours first, and dashes once they are used up."""
    return COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]


def distinct_style(number: int) -> tuple[str, Any]:
    """The colour and the dashes of a curve: both differ from one to the next, for those who can't see colours."""
    return COLOURS[number % len(COLOURS)], _DASHES[number % len(_DASHES)]


def legend_columns(labels: Sequence[str]) -> int:
    """How many of the labels fit beside each other in a legend."""
    return max(1, min(3, len(labels), _LEGEND_WIDTH // (max(map(len, map(cut, labels))) + 8)))


def _y_label(hyper: str, preview: Preview) -> str:
    if hyper == "lr":
        return "share of the base" if preview.in_shares else "learning rate"
    return f"{hyper} (base 1)"


def _panel(axes: "Axes", position: Array, panel: Panel, styles: Mapping[str, tuple[str, Any]]) -> None:
    """The curves of one hyper-parameter; where two coincide the earlier one shows as a rim."""
    curves = panel.curves
    for number, curve in enumerate(curves):
        colour, dashes = styles[curve.label]
        width = 1.4 + 1.6 * (len(curves) - 1 - number) / len(curves)
        keep = thin(curve.values)
        axes.plot(
            position[keep],
            curve.values[keep],
            color=colour,
            linestyle=dashes,
            linewidth=width,
            drawstyle="steps-post",
            label=curve.label,
        )
    scale_rates(axes, [curve.values for curve in curves], from_zero=panel.hyper == "lr")
    axes.grid(alpha=0.3)


def plain_ticks(axis: "Axis", digits: Sequence[float] = (1, 2, 5)) -> None:
    """0.1, 0.2 and 0.5, not powers of ten; or with other first digits."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def scale_rates(axes: "Axes", curves: Sequence[Array], *, from_zero: bool = True) -> None:
    """A logarithmic axis where a curve spends much of its time below a tenth of the peak, and none goes to zero."""
    top = max(values.max() for values in curves)
    low = [np.mean(values <= 0.1 * top * (1 + 1e-9)) > _MUCH for values in curves]
    if any(low) and not any(map(_goes_to_zero, curves)):
        axes.set_yscale("log")
    elif from_zero:
        axes.set_ylim(bottom=0)


def _goes_to_zero(values: Array) -> bool:
    """Whether a value is zero, or would be after one more step like the last."""
    after = 2 * values[-1] - values[-2] if len(values) > 1 else values[-1]
    return bool(min(values.min(), after) <= 1e-9 * values.max())


def thin(values: Array) -> NDArray[np.intp]:
    """Which points of a curve to draw: all, or of each of a thousand pieces the ends, the lowest and the highest.

    So nothing that sticks out is lost, however short. The biggest jumps are kept with both of their sides.
    """
    count = len(values)
    if count <= _MOST_POINTS:
        return np.arange(count)
    size = -(-count // _PIECES)
    pieces = np.pad(values, (0, -count % size), mode="edge").reshape(-1, size)
    begins = np.arange(len(pieces)) * size
    steps = np.abs(np.diff(values))
    jumps = np.flatnonzero(steps > _VISIBLE * np.ptp(values))
    jumps = jumps[np.argsort(steps[jumps])[-_JUMPS:]]
    ends = begins + size - 1
    found = [begins, ends, begins + pieces.argmin(axis=1), begins + pieces.argmax(axis=1), jumps, jumps + 1]
    return np.unique(np.minimum(np.concatenate(found), count - 1))


def cut(text: str, width: int = 90) -> str:
    """A text that is no longer than that many characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"

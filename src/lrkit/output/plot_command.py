"""`lrkit plot`: preview schedules without training."""

import json
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from lrkit.output.chart import chart
from lrkit.output.plots import check_out, preview_figure, save
from lrkit.output.preview import STEPS, Curve, Panel, Preview, as_plans, longest, preview
from lrkit.schedules import Horizon, Plan, Plans, parse
from lrkit.schedules.errors import InputError
from lrkit.schedules.lengths import as_length, round_half_up

__all__ = ["PlotOptions", "plot_schedules"]

_EPOCH_STEPS = 100
_HEIGHT, _LEAST_HEIGHT = 12, 3
_ZERO = ("0", "0%", "0ep", "0tok", "0samples")  # no length is zero, but a step is


@dataclass(frozen=True)
class PlotOptions:
    """What the command line was told; `cli.plot` says what each means."""

    texts: Sequence[str]
    total: int | None
    epochs: int | None
    epoch_steps: int | None
    step_tokens: int | None
    step_samples: int | None
    lr: float | None
    at: Sequence[str]
    out: Path | None
    json: bool


@dataclass(frozen=True)
class _Chosen:
    """A step whose values are wanted, and how it was asked for."""

    asked: str
    step: int


def plot_schedules(options: PlotOptions) -> None:
    """Draw the schedules in the terminal, or print a table or JSON; and draw into a file where one is named."""
    runs = [parse(text) for text in options.texts]
    out = options.out
    check_out(out)
    horizon, remarks = _horizon(options, runs)
    at = _steps_at(options.at, horizon)
    base = 1.0 if options.lr is None else options.lr
    try:
        shown = preview(runs, horizon, base=base, base_name="--lr")
    except InputError as error:
        raise InputError(f"{error}{_hint(str(error))}") from None
    if not (at or options.json):
        shown = shown.drawn  # numbers are given of what stays, too
    remarks += [shown.remark] if shown.remark else []
    if out is not None:
        save(preview_figure(shown), out)
    if options.json:
        typer.echo(json.dumps(_as_dict(runs, shown, base, at, remarks)))
        return
    typer.echo(_table(shown, at) if at else _charts(shown))
    for each in remarks:
        typer.echo(_wrapped(f"({each})"))
    if out is not None:
        typer.echo(f"picture {out}")


def _horizon(options: PlotOptions, runs: Sequence[Plan | Plans]) -> tuple[Horizon, list[str]]:
    """What lengths are measured against, and what was assumed."""
    total, epochs, epoch_steps = options.total, options.epochs, options.epoch_steps
    for name in ("total", "epochs", "epoch_steps", "step_tokens", "step_samples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if total is not None and epochs is not None:
        raise InputError("give either --total or --epochs, not both")
    remarks = []
    if epochs is not None:
        if epoch_steps is None:
            epoch_steps = _EPOCH_STEPS
            remarks.append(f"{_EPOCH_STEPS} steps per epoch, unless --epoch-steps says otherwise")
        total = epochs * epoch_steps
    elif total is None:
        total = longest(runs)
        if total is None:
            total = STEPS
            remarks.append(f"over {STEPS} steps, unless --total or --epochs says otherwise")
    return Horizon(total, epoch_steps, options.step_tokens, options.step_samples), remarks


def _hint(sentence: str) -> str:
    """Which options close a length that a schedule's own error names."""
    if "epoch_steps" in sentence:
        return "; say how long an epoch is with --epochs and --epoch-steps"
    for name in ("step_tokens", "step_samples"):
        if name in sentence:
            return f"; say how much a step consumes with --{name.replace('_', '-')}"
    return ""


def _steps_at(texts: Sequence[str], horizon: Horizon) -> list[_Chosen]:
    """The chosen steps."""
    assert isinstance(horizon.steps, int)
    found = []
    for asked in (part.strip() for text in texts for part in text.split(",")):
        try:
            step = 0 if asked in _ZERO else round_half_up(horizon.measure(as_length(asked, "--at")))
        except InputError as error:
            raise InputError(f"{error}{_hint(str(error))}") from None
        if step > horizon.steps:
            raise InputError(f"--at must be at most {horizon.steps}, where the preview ends, not {asked}")
        found.append(_Chosen(asked, step))
    return found


# --- in the terminal -----------------------------------------------------------------------------


def _charts(shown: Preview) -> str:
    """A chart for each curve, one beneath the other over the same axes: that can be read without colour."""
    count = sum(len(panel.curves) for panel in shown.panels)
    height = 10 if count == 1 else max(_LEAST_HEIGHT, _HEIGHT // count)
    epochs = shown.horizon.epoch_steps
    unit = _counted(shown.steps / float(epochs), "epoch") if epochs else _counted(shown.steps, "step")
    parts = []
    for panel in shown.panels:
        bottom, top = _ends(panel)
        for curve in panel.curves:
            last = panel is shown.panels[-1] and curve is panel.curves[-1]
            drawn = chart(
                curve.values, width=_width(), height=height, bottom=bottom, top=top, x_label=unit if last else ""
            )
            said = _wrapped(f"{_name(panel, curve, shown)}: {_range(curve)}")
            parts += [said, drawn] if count > 1 else [drawn, said]
    return "\n".join(parts)


def _ends(panel: Panel) -> tuple[float, float]:
    """What the panel's charts go from and to: rates from zero, others not where all that moves would be the tips."""
    lowest = min(float(curve.values.min()) for curve in panel.curves)
    top = max(float(curve.values.max()) for curve in panel.curves)
    return (lowest if panel.hyper != "lr" and top / 2 < lowest < top else 0.0), top


def _counted(number: float, noun: str) -> str:
    return f"{number:.10g} {noun}{'' if number == 1 else 's'}"


def _name(panel: Panel, curve: Curve, shown: Preview) -> str:
    """What tells a curve apart from those that are shown with it."""
    hyper = panel.hyper if len(shown.panels) > 1 else ""
    return ", ".join(filter(None, [hyper, curve.label if len(shown.labels) > 1 or not hyper else ""]))


def _range(curve: Curve) -> str:
    values = curve.values
    return f"from {values[0]:.4g} to {values[-1]:.4g}, highest {values.max():.4g}, lowest {values.min():.4g}"


def _width() -> int:
    return min(100, shutil.get_terminal_size((80, 24)).columns)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _width(), subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _table(shown: Preview, at: Sequence[_Chosen]) -> str:
    """A row for each chosen step; a column for each curve, numbered where a schedule's text wouldn't fit."""
    several = len(shown.labels) > 1
    numbers = {label: number for number, label in enumerate(shown.labels, start=1)}
    columns = [["step", *(str(each.step) for each in at)]]
    if any(each.asked != str(each.step) for each in at):
        columns.insert(0, ["at", *(each.asked for each in at)])
    for panel in shown.panels:
        for curve in panel.curves:
            name = f"{numbers[curve.label]}: {panel.hyper}" if several else panel.hyper
            columns.append([name, *(f"{value:.6g}" for value in curve.at([each.step for each in at]))])
    widths = [max(map(len, column)) for column in columns]
    head = [f"{number}: {label}" for label, number in numbers.items()] if several else list(shown.labels)
    rows = [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([*head, *rows])


# --- as JSON -------------------------------------------------------------------------------------


def _as_dict(
    runs: Sequence[Plan | Plans], shown: Preview, base: float, at: Sequence[_Chosen], remarks: Sequence[str]
) -> dict[str, Any]:
    """Always a list of schedules; a single one's keys stand beside it too."""
    curves = {panel.hyper: iter(panel.curves) for panel in shown.panels}
    schedules = []
    for run in runs:
        found: dict[str, Any] = {"schedule": str(run)}
        for target, _ in as_plans(run).parts:
            curve = next(curves[target.hyper])
            found[str(target)] = (curve.at([each.step for each in at]) if at else curve.values).tolist()
        schedules.append(found)
    return {
        "steps": shown.steps,
        "epoch_steps": shown.horizon.epoch_steps,
        "base": base,
        "at": [each.step for each in at] or None,
        "remarks": list(remarks),
        "schedules": schedules,
        **(schedules[0] if len(schedules) == 1 else {}),
    }

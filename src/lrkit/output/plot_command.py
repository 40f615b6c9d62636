"""`lrkit plot`: preview a schedule without training."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from lrkit.output.chart import chart
from lrkit.output.plots import SUFFIXES, save, schedule_figure
from lrkit.schedules import Controller, Plan, Schedule
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_number
from lrkit.schedules.text import parse_plan

__all__ = ["plot_schedule"]

_STEPS = 1000
_EPOCH_STEPS = 100
_REPORTS = 100
_MOST_STEPS = 20_000_000


@dataclass(frozen=True)
class _Span:
    """What is drawn: how many steps, in epochs of how many, and what was assumed."""

    steps: int
    epoch_steps: int | None
    remarks: tuple[str, ...]


def plot_schedule(
    text: str,
    *,
    total: int | None,
    epochs: int | None,
    epoch_steps: int | None,
    lr: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw the schedule in the terminal, and into a file where one is named."""
    plan = parse_plan(text)
    if lr is not None:
        as_number(lr, "--lr", low=0.0, low_open=True)
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out must end in {', '.join(SUFFIXES)}, not {str(out)!r}")
    span = _span(plan, total, epochs, epoch_steps)
    try:
        resolved = plan.over(span.steps, epoch_steps=span.epoch_steps)
    except InputError as error:
        hint = "; say how long an epoch is with --epochs and --epoch-steps" if "epoch_steps" in str(error) else ""
        raise InputError(f"{error}{hint}") from None
    base = 1.0 if lr is None else lr
    values, remark = _values(resolved, span, base)
    remarks = [*span.remarks, *([remark] if remark else [])]
    if as_json:
        typer.echo(json.dumps(_as_dict(plan, span, base, values, remarks)))
    else:
        unit = f"{span.steps / span.epoch_steps:g} epochs" if epochs and span.epoch_steps else f"{span.steps} steps"
        typer.echo(chart(values, width=min(100, shutil.get_terminal_size((80, 24)).columns), x_label=unit))
        typer.echo(
            f"{plan}: from {values[0]:.4g} to {values[-1]:.4g}, highest {values.max():.4g}, lowest {values.min():.4g}"
        )
        for each in remarks:
            typer.echo(f"({each})")
    if out is not None:
        _draw(plan, span, values, remarks, out, in_epochs=epochs is not None, with_lr=lr is not None)
        if not as_json:
            typer.echo(f"picture {out}")


def _span(plan: Plan, total: int | None, epochs: int | None, epoch_steps: int | None) -> _Span:
    for name, value in (("--total", total), ("--epochs", epochs), ("--epoch-steps", epoch_steps)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    if total is not None and epochs is not None:
        raise InputError("give either --total or --epochs, not both")
    remarks: tuple[str, ...] = ()
    if epochs is not None:
        if epoch_steps is None:
            epoch_steps, remarks = (
                _EPOCH_STEPS,
                (f"{_EPOCH_STEPS} steps per epoch, unless --epoch-steps says otherwise",),
            )
        total = epochs * epoch_steps
    elif total is None:
        total = _own_length(plan)
        if total is None:
            total, remarks = _STEPS, (f"over {_STEPS} steps, unless --total or --epochs says otherwise",)
    if total > _MOST_STEPS:
        raise InputError(f"a preview has at most {_MOST_STEPS} steps, not {total}")
    return _Span(total, epoch_steps, remarks)


def _own_length(plan: Plan) -> int | None:
    """The plan's length where it says so in steps."""
    try:
        return plan.length
    except InputError:  # a length in a unit
        return None


def _values(plan: Plan, span: _Span, base: float) -> tuple[NDArray[np.float64], str]:
    """Every step's value; for a controller under a metric that never improves."""
    t = np.arange(span.steps)
    if isinstance(plan, Schedule):
        return plan.value(t, base), ""
    assert isinstance(plan, Controller)
    every = span.epoch_steps or max(1, span.steps // _REPORTS)
    values = np.empty(span.steps)
    state = plan.init()
    for begin in range(0, span.steps, every):
        if begin:
            state = plan.update(state, 1.0, begin)
        values[begin : begin + every] = plan.value(state, t[begin : begin + every], base)
    report = "epoch" if span.epoch_steps else f"{every} steps"
    return values, f"what it does depends on a metric: shown for one that never improves, reported every {report}"


def _draw(
    plan: Plan,
    span: _Span,
    values: NDArray[np.float64],
    remarks: list[str],
    out: Path,
    *,
    in_epochs: bool,
    with_lr: bool,
) -> None:
    position = np.arange(span.steps) / (span.epoch_steps if in_epochs and span.epoch_steps else 1)
    note = f"\n({remarks[-1]})" if isinstance(plan, Controller) else ""
    figure = schedule_figure(
        position,
        values,
        title=str(plan),
        x_label=("epoch" if in_epochs else "step") + note,
        y_label="learning rate" if with_lr else "share of the base",
    )
    save(figure, out)


def _as_dict(plan: Plan, span: _Span, base: float, values: NDArray[np.float64], remarks: list[str]) -> dict[str, Any]:
    return {
        "schedule": str(plan),
        "steps": span.steps,
        "epoch_steps": span.epoch_steps,
        "base": base,
        "lr": values.tolist(),
        "remarks": remarks,
    }

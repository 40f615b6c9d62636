"""`lrkit sweep`: train every combination, and say which is best."""

import json
import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from lrkit.analysis.sweep import Sweep, summarise
from lrkit.output.plots import save
from lrkit.output.signals import StopRequest, stop_on_signals
from lrkit.output.sweep_folder import open_folder, write_result
from lrkit.output.sweep_options import SweepOptions, SweepOrder, sweep_order
from lrkit.output.sweep_plot import sweep_figure
from lrkit.output.sweep_progress import SweepProgress
from lrkit.output.sweep_table import as_dict, best_sentence, table
from lrkit.output.task_command import loaded, say
from lrkit.training.history import History
from lrkit.training.lanes.loop import run_lanes
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task

__all__ = ["sweep_task"]


def sweep_task(options: SweepOptions) -> None:
    """Check everything that a person can get wrong, train, report."""
    wanted = sweep_order(options)
    with loaded(wanted.origin, debug=options.debug) as task:
        _sweep(task, wanted, open_folder(options, task), options)


def _sweep(task: Task, wanted: SweepOrder, folder: Path, options: SweepOptions) -> None:
    ended = _Ended()
    silent = options.quiet or options.json
    observers: list[LanesObserver] = [ended, *([] if silent else [SweepProgress()])]
    began = time.perf_counter()
    with stop_on_signals() as request:
        try:
            run_lanes(
                task,
                wanted.lanes,
                backend=wanted.backend,
                memory=wanted.memory,
                device=wanted.place,
                observers=observers,
                stop=request,
            )
            stopped = False
        except (StoppedError, KeyboardInterrupt):
            stopped = True
    seconds = time.perf_counter() - began
    sweep = summarise(wanted.lanes, ended.histories)
    result = {**as_dict(sweep), **_how(task, wanted, ended), **_cost(sweep, ended, seconds), "run_dir": str(folder)}
    if sweep.outcomes:
        save(sweep_figure(sweep, _title(task, sweep)), folder / "sweep.png")
        write_result(folder, result)
    if not silent and sweep.outcomes:
        _report(sweep, result)
    if stopped:
        _end_early(sweep, wanted, folder, request)
    if options.json:
        typer.echo(json.dumps(result, allow_nan=False))
    if sweep.best is None:
        say(best_sentence(sweep))
        raise typer.Exit(3)


class _Ended(LanesObserver):
    """Keeps what is said before the first update, and the histories of lanes that have ended."""

    setup: LanesSetup | None = None

    def __init__(self) -> None:
        self.histories: dict[int, History] = {}

    def start(self, setup: LanesSetup) -> None:
        self.setup = setup

    def ended(self, histories: Mapping[int, History]) -> None:
        self.histories.update(histories)


def _how(task: Task, wanted: SweepOrder, ended: _Ended) -> dict[str, Any]:
    """How the lanes were trained."""
    made = next(iter(ended.histories.values())).made if ended.histories else {}
    setup = ended.setup
    return {
        "task": task.name,
        "lane_count": len(wanted.lanes),
        "backend": None if setup is None else setup.backend,
        "reason": None if setup is None else setup.reason,
        **{name: made.get(name) for name in ("source", "device", "threads", "torch", "numpy", "python")},
    }


def _cost(sweep: Sweep, ended: _Ended, seconds: float) -> dict[str, Any]:
    """Only updates that were done count, and those of this process."""
    before = 0 if ended.setup is None else ended.setup.steps_done
    done = max(0, sum(each.steps for each in sweep.outcomes) - before)
    return {"lane_steps": done, "lane_steps_per_second": done / seconds, "wall_seconds": seconds}


def _title(task: Task, sweep: Sweep) -> str:
    seeds = max(len(row.outcomes) for row in sweep.rows)
    epochs = max(each.epochs for each in sweep.outcomes)
    over = f", mean and range of {seeds} seeds" if seeds > 1 else ""
    return f"{task.name}: after {epochs} epoch{'s' if epochs > 1 else ''}{over}"


def _report(sweep: Sweep, result: Mapping[str, Any]) -> None:
    for line in table(sweep):
        typer.echo(line)
    if sweep.best is not None:
        typer.echo(best_sentence(sweep))
    speed = f"{result['lane_steps_per_second']:.0f} lane-steps per second"
    typer.echo(f"{speed}, {result['wall_seconds']:.1f} s in all")
    typer.echo(f"folder {result['run_dir']}, picture {Path(result['run_dir']) / 'sweep.png'}")


def _end_early(sweep: Sweep, wanted: SweepOrder, folder: Path, request: StopRequest) -> None:
    """Say what there is, and how it goes on."""
    count = len(sweep.outcomes)
    say(
        f"interrupted: {count} of {len(wanted.lanes)} lanes had ended; what was done is in {folder}; "
        f"to go on: lrkit sweep --resume {shlex.quote(str(folder))}"
    )
    raise typer.Exit(128 + (request.signal or signal.SIGINT)) from None

"""`lrkit sweep`: train every combination, and say which is best."""

import json
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import typer

from lrkit.analysis.sweep import Sweep, summarise
from lrkit.output.plots import save
from lrkit.output.signals import stop_on_signals
from lrkit.output.sweep_options import SweepOptions, SweepOrder, sweep_order
from lrkit.output.sweep_plot import sweep_figure
from lrkit.output.sweep_progress import SweepProgress
from lrkit.output.sweep_table import as_dict, best_sentence, table
from lrkit.output.task_command import loaded, new_folder
from lrkit.output.torchrun import say
from lrkit.training.held_folder import write_json
from lrkit.training.history import History
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.loop import run_lanes
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task

__all__ = ["sweep_task"]

_PICTURE, _RESULT = "sweep.png", "sweep.json"


def sweep_task(options: SweepOptions) -> None:
    """Check everything that a person can get wrong, train, report."""
    wanted = sweep_order(options)
    with loaded(wanted.origin, debug=options.debug) as task:
        _sweep(task, wanted, _open(options, task), options)


def _sweep(task: Task, wanted: SweepOrder, folder: LanesFolder, options: SweepOptions) -> None:
    ended = _Ended(folder)
    began = time.perf_counter()
    signalled = _train(task, wanted, folder, ended, shown=not (options.quiet or options.json))
    seconds = time.perf_counter() - began
    if signalled is not None and not ended.started and options.resume is None:
        say("interrupted before training began; nothing was kept")
        raise typer.Exit(128 + signalled)
    sweep = summarise(wanted.lanes, ended.histories)
    result = {**as_dict(sweep), **ended.how(task), **ended.cost(sweep, seconds), "run_dir": str(folder.path)}
    if options.json and signalled is None:
        typer.echo(json.dumps(result, allow_nan=False))
    if sweep.outcomes:
        _show(task, sweep, result, folder, printed=not (options.quiet or options.json))
    if signalled is not None:
        say(
            f"interrupted: {len(sweep.outcomes)} of {len(wanted.lanes)} lanes had ended; what was done is in "
            f"{folder.path}; {_to_go_on(folder)}"
        )
        raise typer.Exit(128 + signalled)
    if sweep.best is None:
        say(best_sentence(sweep))
        raise typer.Exit(3)


def _to_go_on(folder: LanesFolder) -> str:
    return f"to go on: lrkit sweep --resume {shlex.quote(str(folder.path))}"


def _show(task: Task, sweep: Sweep, result: Mapping[str, Any], folder: LanesFolder, *, printed: bool) -> None:
    """Print the table, then write the result, then the picture: what can fail comes after what was asked for."""
    if printed:
        _report(sweep, result)
    write_json(folder.path / _RESULT, result)
    picture = f", picture {folder.path / _PICTURE}"
    try:
        save(sweep_figure(sweep, _title(task, sweep)), folder.path / _PICTURE)
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the numbers are there)
        picture = ""
        say(f"the picture {folder.path / _PICTURE} can't be written: {' '.join(str(error).split())}")
    if printed:
        typer.echo(f"folder {folder.path}{picture}")


def _train(task: Task, wanted: SweepOrder, folder: LanesFolder, ended: "_Ended", *, shown: bool) -> int | None:
    """Train; returns the number of the signal that ended it early."""
    with stop_on_signals() as request:
        try:
            run_lanes(
                task,
                wanted.lanes,
                backend=wanted.backend,
                memory=wanted.memory,
                device=wanted.place,
                folder=folder,
                observers=[ended, *([SweepProgress()] if shown else [])],
                stop=request,
            )
        except (StoppedError, KeyboardInterrupt):
            return request.signal or signal.SIGINT
        except Exception:
            if ended.started:
                say(f"what was done is in {folder.path}; {_to_go_on(folder)}")
            raise
    return None


def _open(options: SweepOptions, task: Task) -> LanesFolder:
    if options.resume is not None:
        return LanesFolder(options.resume, resume=True, checkpoint_every=options.checkpoint_every)
    path = new_folder(f"{task.name}-sweep") if options.out is None else options.out
    return LanesFolder(path, overwrite=options.overwrite, checkpoint_every=options.checkpoint_every)


class _Ended(LanesObserver):
    """Keeps what is said before the first update, and the histories of lanes that have ended."""

    def __init__(self, folder: LanesFolder) -> None:
        self.histories: dict[int, History] = {}
        self._folder = folder
        self._setup: LanesSetup | None = None
        self._lane_steps = 0
        self._began = time.perf_counter()
        self._seconds = 0.0

    @property
    def started(self) -> bool:
        """Whether the configuration was written."""
        return self._setup is not None

    def start(self, setup: LanesSetup) -> None:
        """What a sweep that went on, or was overwritten, had to show is out of date from here on."""
        self._setup, self._began = setup, time.perf_counter()
        self._lane_steps = setup.steps_done
        self.histories.update(setup.ended)
        for name in (_PICTURE, _RESULT):
            (self._folder.path / name).unlink(missing_ok=True)

    def step(self, lane_steps: int) -> None:
        self._lane_steps = lane_steps

    def ended(self, histories: Mapping[int, History]) -> None:
        self.histories.update(histories)

    def close(self) -> None:
        self._seconds = time.perf_counter() - self._began

    def how(self, task: Task) -> dict[str, Any]:
        """How the lanes were trained."""
        setup = self._setup
        if setup is None:
            return {"task": task.name}
        return {
            **setup.task,
            "lane_count": len(setup.lanes),
            "backend": setup.choice.backend,
            "reason": setup.choice.reason,
        }

    def cost(self, sweep: Sweep, seconds: float) -> dict[str, Any]:
        """What it took in this process, without the updates that lanes that ended early didn't need.

        The speed is that of training: it counts from its start, without what was loaded and measured before.
        """
        done, setup = self._lane_steps, self._setup
        if setup is not None:
            saved = (setup.steps - each.steps for each in sweep.outcomes if each.number not in setup.ended)
            done -= setup.steps_done + sum(saved)
        speed = done / self._seconds if done else None
        return {"lane_steps": done, "lane_steps_per_second": speed, "wall_seconds": seconds}


def _title(task: Task, sweep: Sweep) -> str:
    seeds = max(len(row.outcomes) for row in sweep.rows)
    epochs = max(each.epochs for each in sweep.outcomes)
    over = f", mean and range of {seeds} seeds" if seeds > 1 else ""
    return f"{task.name}: after {epochs} epoch{'s' if epochs > 1 else ''}{over}"


def _report(sweep: Sweep, result: Mapping[str, Any]) -> None:
    for line in table(sweep, shutil.get_terminal_size().columns if sys.stdout.isatty() else None):
        typer.echo(line)
    if sweep.best is not None:
        typer.echo(best_sentence(sweep))
    if result["lane_steps"]:
        speed = f"{result['lane_steps_per_second']:.0f} lane-steps per second"
        typer.echo(f"{speed}, {result['wall_seconds']:.1f} s in all")

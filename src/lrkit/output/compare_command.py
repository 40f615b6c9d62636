"""`lrkit compare`: which schedule is better, each at its own best rate, and how sure that is."""

import json
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from lrkit.analysis.comparison import Comparison, NothingEndedError
from lrkit.analysis.tournament import Stage, compare
from lrkit.output.compare_options import CompareOptions, compare_origin, wanted_schedules
from lrkit.output.compare_plot import compare_figure
from lrkit.output.compare_progress import CompareProgress
from lrkit.output.compare_table import compare_table
from lrkit.output.plots import save
from lrkit.output.signals import stop_on_signals
from lrkit.output.task_command import loaded, new_folder, say
from lrkit.training.held_folder import CONFIG, write_json
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task

__all__ = ["compare_schedules"]

_RESULT, _PICTURE, _REPORT = "comparison.json", "comparison.png", "report.html"


def compare_schedules(options: CompareOptions) -> None:
    """Check everything that a person can get wrong, train, report."""
    with loaded(compare_origin(options), debug=options.debug) as task:
        folder = new_folder(f"{task.name}-compare") if options.out is None else options.out
        shown = not (options.quiet or options.json)
        if shown and (folder / CONFIG).exists():
            typer.echo(f"goes on with the comparison in {folder}")
        began = time.perf_counter()
        comparison = _compare(task, options, folder, shown=shown)
        seconds = time.perf_counter() - began
        result = {**comparison.to_dict(), "run_dir": str(folder), "wall_seconds": seconds}
        if options.json:
            typer.echo(json.dumps(result, allow_nan=False))
        if shown:
            _print(comparison)
        _keep(task, comparison, result, folder, options, printed=shown)


def _compare(task: Task, options: CompareOptions, folder: Path, *, shown: bool) -> Comparison:
    progress = CompareProgress()
    go_on = f"to go on: {options.command(folder)}"
    with stop_on_signals() as request:
        try:
            return compare(
                task,
                wanted_schedules(options, folder),
                reference=options.reference,
                target=options.target,
                measure=options.measure,
                mode=options.direction,
                rates=options.rates,
                seeds=options.seeds,
                selection_seeds=options.selection_seeds,
                holdout=options.holdout,
                halving=options.halving,
                folder=folder,
                backend=options.backend or "auto",
                memory=options.memory,
                device=options.device,
                observers=[progress] if shown else [],
                on_stage=progress.stage if shown else _say_nothing,
                stop=request,
            )
        except NothingEndedError as error:
            say(str(error))
            raise typer.Exit(3) from None
        except (StoppedError, KeyboardInterrupt):
            if (folder / CONFIG).exists():
                say(f"interrupted: what was done is in {folder}; {go_on}")
            else:
                say("interrupted before training began; nothing was kept")
            raise typer.Exit(128 + (request.signal or signal.SIGINT)) from None


def _say_nothing(stage: Stage) -> None:
    """For `--quiet` and `--json`."""


def _print(comparison: Comparison) -> None:
    """The verdict, the table, and what a reader must know."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    notes = [f"note: {each}" for each in comparison.notes]
    for line in [
        *_wrapped(comparison.verdict, width),
        "",
        *compare_table(comparison, width),
        *_wrapped(notes, width),
    ]:
        typer.echo(line)


def _wrapped(sentences: Sequence[str], width: int | None) -> list[str]:
    return [line for each in sentences for line in ([each] if width is None else textwrap.wrap(each, width))]


def _keep(
    task: Task,
    comparison: Comparison,
    result: Mapping[str, Any],
    folder: Path,
    options: CompareOptions,
    *,
    printed: bool,
) -> None:
    """Write the result, then the picture and the page: what can fail comes after what was asked for."""

    def draw(path: Path) -> None:
        save(compare_figure(comparison, f"{task.name}: {comparison.verdict[0]}"), path)

    def report(path: Path) -> None:
        from lrkit.output.comparison_report import write_report

        write_report(comparison, path, command=options.command(folder))

    write_json(folder / _RESULT, result)
    written = [
        f"{what} {folder / name}"
        for what, name, write in (("picture", _PICTURE, draw), ("report", _REPORT, report))
        if _written(what, folder / name, write)
    ]
    if printed:
        typer.echo(", ".join([f"folder {folder}", *written]))


def _written(what: str, path: Path, write: Callable[[Path], None]) -> bool:
    try:
        write(path)
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the numbers are there)
        say(f"the {what} {path} can't be written: {' '.join(str(error).split())}")
        return False
    return True

"""`lrkit compare`: which schedule is better, each at its own best rate, and how sure that is."""

import json
import signal
import time
from pathlib import Path

import typer

from lrkit.analysis.comparison import Comparison, NothingEndedError
from lrkit.analysis.comparison_folder import read_terms
from lrkit.analysis.tournament import Stage, compare
from lrkit.output.compare_options import CompareOptions, compare_origin, wanted_schedules
from lrkit.output.compare_progress import CompareProgress
from lrkit.output.compare_results import PICTURE, REPORT, RESULT, print_comparison, write_pages
from lrkit.output.signals import stop_on_signals
from lrkit.output.task_command import loaded, new_folder
from lrkit.output.torchrun import say
from lrkit.training.files import clear_folder
from lrkit.training.held_folder import CONFIG, write_json
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task

__all__ = ["compare_schedules"]


def compare_schedules(options: CompareOptions) -> None:
    """Check everything that a person can get wrong, train, report."""
    with loaded(compare_origin(options), debug=options.debug) as task:
        folder = new_folder(f"{task.name}-compare") if options.out is None else options.out
        shown = not (options.quiet or options.json)
        began = time.perf_counter()
        comparison = _compare(task, options, folder, shown=shown)
        seconds, command = time.perf_counter() - began, options.whole(read_terms(folder)[0]).command(folder)
        result = {**comparison.to_dict(), "command": command, "run_dir": str(folder), "wall_seconds": seconds}
        if options.json:
            typer.echo(json.dumps(result, allow_nan=False))
        if shown:
            print_comparison(comparison)
        write_json(folder / RESULT, result)  # what can fail comes after what was asked for
        written = write_pages(comparison, folder / PICTURE, folder / REPORT, command)
        if shown:
            typer.echo(", ".join([f"folder {folder}", *written]))


def _compare(task: Task, options: CompareOptions, folder: Path, *, shown: bool) -> Comparison:
    progress, there = CompareProgress(), (folder / CONFIG).is_file() and not options.overwrite
    go_on = f"to go on: {options.command(folder)}"
    stages: list[Stage] = []

    def on_stage(stage: Stage) -> None:
        if options.overwrite and not stages:
            clear_folder(folder, RESULT, PICTURE, REPORT)
        if shown:
            if there and not stages:  # not before: what is there has been read, and fits
                typer.echo(f"goes on with the comparison in {folder}")
            progress.stage(stage)
        stages.append(stage)

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
                overwrite=options.overwrite,
                backend=options.backend or "auto",
                memory=options.memory,
                device=options.device,
                observers=[progress] if shown else [],
                on_stage=on_stage,
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
        except Exception:
            if stages:
                say(f"what was done is in {folder}; {go_on}")
            raise

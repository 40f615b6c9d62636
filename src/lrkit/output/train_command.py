"""`lrkit train`: train a task, show it, and leave a run folder that can go on."""

import json
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from lrkit.analysis.summary import reductions
from lrkit.output.plots import curves_figure, save
from lrkit.output.progress import Progress
from lrkit.output.signals import StopRequest, stop_on_signals
from lrkit.output.task_command import loaded, new_folder
from lrkit.output.torchrun import LOST, launcher, process_group, say, say_lost
from lrkit.output.train_options import Order, TrainOptions, order
from lrkit.training.history import History, best_epoch
from lrkit.training.loop import DivergedError, StoppedError, run
from lrkit.training.observer import Observer, Setup
from lrkit.training.ranks import ProcessLostError, Ranks
from lrkit.training.records.tensorboard_events import require_tensorboard
from lrkit.training.records.tensorboard_observer import TensorBoard
from lrkit.training.run_folder import RunFolder
from lrkit.training.task import Task

__all__ = ["train_task"]


def train_task(options: TrainOptions) -> None:
    """Check everything that a person can get wrong, train, report."""
    wanted = order(options)
    if options.tensorboard is not None:
        require_tensorboard()
    with process_group(wanted.place) as ranks, loaded(wanted.origin, debug=options.debug) as task:
        if not ranks.first:
            _assist(task, wanted, ranks)
            return
        with closing(_open(options, task, wanted)) as folder:
            ranks.from_first(folder.path)
            more: list[Observer] = []
            if options.find_lr:
                from lrkit.output.train_rate import FoundRate, find_rate

                finding = find_rate(task, wanted, options)
                wanted = replace(wanted, lr=finding.suggestion)
                more = [FoundRate(folder, finding)]
            if options.tensorboard is not None:
                more.append(TensorBoard(options.tensorboard))
            _train(task, wanted, folder, more, options, ranks=ranks)


def _assist(task: Task, wanted: Order, ranks: Ranks) -> None:
    """Train with the first of several processes, which has the folder and says everything."""
    path = ranks.from_first(Path())
    with stop_on_signals(quiet=True) as request:
        try:
            _run(task, wanted, path, ranks, stop=request)
        except (StoppedError, KeyboardInterrupt) as error:
            _wait(ranks, error)
            raise typer.Exit(128 + (request.signal or signal.SIGTERM)) from None
        except DivergedError as error:
            _wait(ranks, error)
            raise typer.Exit(3) from None


def _wait(ranks: Ranks, error: BaseException) -> None:
    """End together what has ended in all processes: torchrun ends the others as soon as one of them fails."""
    if not isinstance(error, KeyboardInterrupt):  # which came to this one alone
        with suppress(ProcessLostError):  # the error that is told is this process's own
            ranks.wait()


def _run(
    task: Task,
    wanted: Order,
    path: Path,
    ranks: Ranks,
    *,
    stop: StopRequest,
    observers: Sequence[Observer] = (),
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Train; that another process is gone is said at once, before torchrun ends this one too."""
    try:
        run(
            task,
            wanted.plan,
            lr=wanted.lr,
            seed=wanted.seed,
            device=wanted.place,
            observers=observers,
            resume=resume,
            policy=wanted.policy,
            compiled=wanted.compiled,
            distributed=not ranks.alone,
            stop=stop,
        )
    except ProcessLostError as error:
        say_lost(f"{error}; what was done up to the last checkpoint is in {path}; {_to_go_on(path)}")
        raise typer.Exit(LOST) from None


def _train(
    task: Task, wanted: Order, folder: RunFolder, more: Sequence[Observer], options: TrainOptions, *, ranks: Ranks
) -> None:
    progress, latest = Progress(), _Latest()
    snapshot = folder.snapshot if wanted.begins_with is None else RunFolder.checkpoint(wanted.begins_with)
    observers: list[Observer] = [folder, *more, latest, *([] if options.quiet or options.json else [progress])]
    began = time.perf_counter()
    try:
        with stop_on_signals() as request:
            _run(task, wanted, folder.path, ranks, stop=request, observers=observers, resume=snapshot)
    except (StoppedError, KeyboardInterrupt) as error:
        _draw(folder, latest.history)
        say(f"interrupted: {_kept(folder, latest.history)}")
        _wait(ranks, error)
        raise typer.Exit(128 + (request.signal or signal.SIGINT)) from None
    except DivergedError as error:
        _draw(folder, latest.history)
        say(f"diverged: {error}; {_kept(folder, latest.history)}")
        _wait(ranks, error)
        raise typer.Exit(3) from None
    seconds = time.perf_counter() - began
    assert latest.history is not None
    _draw(folder, latest.history)
    if options.json:
        typer.echo(json.dumps(_as_dict(latest.history, folder, seconds), allow_nan=False))
    elif not options.quiet:
        _report(latest.history, folder, seconds)


class _Latest(Observer):
    """Keeps the history so far, for when the run is broken off."""

    history: History | None = None

    def start(self, setup: Setup) -> None:
        self.history = setup.history

    def epoch(self, history: History) -> None:
        self.history = history


def _open(options: TrainOptions, task: Task, wanted: Order) -> RunFolder:
    if options.resume is not None and wanted.begins_with is None:
        return RunFolder(options.resume, resume=True, checkpoint_every=options.checkpoint_every)
    path = new_folder(task.name) if options.out is None else options.out
    return RunFolder(path, overwrite=options.overwrite, checkpoint_every=options.checkpoint_every)


# --- what is said ------------------------------------------------------------------------------------


def _draw(folder: RunFolder, history: History | None) -> None:
    if history is not None:
        save(curves_figure(history), folder.path / "curves.png")


def _kept(folder: RunFolder, history: History | None) -> str:
    count = 0 if history is None else len(history.epochs)
    what = f"{folder.path} has the configuration"
    if count:
        what = f"the history and curves of {count} epoch{'s' if count > 1 else ''} are in {folder.path}"
    return f"{what}; {_to_go_on(folder.path)}"


def _to_go_on(path: Path) -> str:
    return f"to go on: {launcher()} train --resume {shlex.quote(str(path))}"


def _as_dict(history: History, folder: RunFolder, seconds: float) -> dict[str, Any]:
    written = history.to_dict()
    tested = any(each.test_loss is not None for each in history.epochs)
    epochs = [
        {
            "epoch": each["epoch"],
            "train_loss": each["train_loss"],
            "valid_loss": each["valid_loss"],
            "valid_accuracy": each["metrics"].get("accuracy"),
            "metrics": each["metrics"],
            **(_test_numbers(each) if tested else {}),
            "lr": each["lr"],
            "seconds": each["seconds"],
        }
        for each in written["epochs"]
    ]
    return {
        **written["made"],
        "epochs": epochs,
        "best_epoch": best_epoch(history),
        "reductions": [vars(each) for each in reductions(history)],
        "run_dir": str(folder.path),
        "wall_seconds": seconds,
    }


def _test_numbers(epoch: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "test_loss": epoch["test_loss"],
        "test_accuracy": epoch["test_metrics"].get("accuracy"),
        "test_metrics": epoch["test_metrics"],
    }


def _report(history: History, folder: RunFolder, seconds: float) -> None:
    typer.echo(f"{_best(history)}; {seconds:.1f} s in all")
    for each in reductions(history):
        typer.echo(f"learning rate {each.before:.4g} -> {each.after:.4g} at step {each.step}")
    if history.made["compiled"]:
        typer.echo(
            f"{history.made['compiled_updates']} of {len(history.lr)} updates were compiled: those with whole batches"
        )
    typer.echo(f"run folder {folder.path}, curves {folder.path / 'curves.png'}")


def _best(history: History) -> str:
    number = best_epoch(history)
    if number is None:
        return "no epoch has a finite loss"
    best = history.epochs[number - 1]
    loss = best.train_loss if best.valid_loss is None else best.valid_loss
    tested = "" if best.test_loss is None else f"; on the test data {_measures(best.test_loss, best.test_metrics)}"
    return f"best epoch {number}: {_measures(loss, best.metrics)}{tested}"


def _measures(loss: float, metrics: Mapping[str, float]) -> str:
    share = metrics.get("accuracy")
    return f"loss {loss:.5f}{'' if share is None else f', accuracy {100 * share:.2f} %'}"

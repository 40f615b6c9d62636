"""`lrkit train`: train a built-in task, show it, and leave a run folder."""

import itertools
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from lrkit.analysis.summary import reductions
from lrkit.output.plots import curves_figure, save
from lrkit.output.progress import Progress
from lrkit.schedules import parse
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_number
from lrkit.training import tasks
from lrkit.training.history import History, best_epoch
from lrkit.training.loop import DivergedError, choose_device, run
from lrkit.training.observer import Observer
from lrkit.training.run_folder import RunFolder

__all__ = ["train_task"]


def train_task(
    name: str,
    *,
    schedule: str | None,
    lr: float | None,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    data: Path | None,
    out: Path | None,
    overwrite: bool,
    device: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check everything that a person can get wrong, train, report."""
    plan = parse(tasks.DEFAULT_SCHEDULE if schedule is None else schedule)
    _check(lr, epochs, batch_size, seed)
    task = tasks.get(name, data=data, batch_size=batch_size, epochs=epochs)
    sizes = {"epoch_steps": -(-len(task.train[0]) // task.batch_size), "step_samples": task.batch_size}
    # What can be refused is refused before there is a folder.
    plan.over((task.epochs or 0) * sizes["epoch_steps"], **sizes)
    place = choose_device(device)
    folder = RunFolder(_new_folder(name) if out is None else out, overwrite=overwrite)
    progress = Progress()
    latest = _Latest()
    observers: list[Observer] = [folder, latest, *([] if quiet or as_json else [progress])]
    began = time.perf_counter()
    try:
        run(task, plan, lr=lr, seed=seed, device=place, observers=observers)
    except KeyboardInterrupt:
        progress.close()
        _draw(folder, latest.history)
        _say(f"interrupted: {_kept(folder, latest.history)}")
        raise typer.Exit(130) from None
    except DivergedError as error:
        progress.close()
        _draw(folder, latest.history)
        _say(f"diverged: {error}; {_kept(folder, latest.history)}")
        raise typer.Exit(3) from None
    progress.close()
    assert latest.history is not None
    _draw(folder, latest.history)
    seconds = time.perf_counter() - began
    if as_json:
        typer.echo(json.dumps(_as_dict(latest.history, folder, seconds), allow_nan=False))
    elif not quiet:
        _report(latest.history, folder, seconds)


class _Latest(Observer):
    """Keeps the history so far, for when the run is broken off."""

    history: History | None = None

    def epoch(self, history: History) -> None:
        self.history = history


def _check(lr: float | None, epochs: int | None, batch_size: int | None, seed: int) -> None:
    if lr is not None:
        as_number(lr, "--lr", low=0.0, low_open=True)
    for name, value in (("--epochs", epochs), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed must be between 0 and 2^63 - 1, not {seed}")


def _new_folder(name: str) -> Path:
    stem = f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    return next(
        path
        for path in (Path(stem + end) for end in itertools.chain([""], map("-{}".format, itertools.count(2))))
        if not path.exists()
    )


def _draw(folder: RunFolder, history: History | None) -> None:
    if history is not None:
        save(curves_figure(history), folder.path / "curves.png")


def _kept(folder: RunFolder, history: History | None) -> str:
    if history is None:
        return f"no epoch was finished; {folder.path} has the configuration"
    count = len(history.epochs)
    return f"the history and curves of {count} epoch{'s' if count > 1 else ''} are in {folder.path}"


def _say(sentence: str) -> None:
    typer.echo(f"lrkit: {sentence}", err=True)


def _as_dict(history: History, folder: RunFolder, seconds: float) -> dict[str, Any]:
    written = history.to_dict()
    epochs = [
        {
            "epoch": each["epoch"],
            "train_loss": each["train_loss"],
            "valid_loss": each["valid_loss"],
            "valid_accuracy": each["metrics"].get("accuracy"),
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


def _report(history: History, folder: RunFolder, seconds: float) -> None:
    number = best_epoch(history)
    assert number is not None
    best = history.epochs[number - 1]
    loss = best.train_loss if best.valid_loss is None else best.valid_loss
    share = best.metrics.get("accuracy")
    accuracy = "" if share is None else f", accuracy {100 * share:.2f} %"
    typer.echo(f"best epoch {number}: loss {loss:.5f}{accuracy}; {seconds:.1f} s in all")
    for each in reductions(history):
        typer.echo(f"learning rate {each.before:.4g} -> {each.after:.4g} at step {each.step}")
    typer.echo(f"run folder {folder.path}, curves {folder.path / 'curves.png'}")

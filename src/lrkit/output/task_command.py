"""What all commands that train have in common: where the task comes from, and what is said when that is wrong."""

import itertools
import platform
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from lrkit.output.failures import explain
from lrkit.output.torchrun import say
from lrkit.schedules.errors import InputError, shown
from lrkit.training import tasks
from lrkit.training.ranks import ProcessLostError
from lrkit.training.task import Task
from lrkit.training.task_source import TaskSource

__all__ = [
    "FolderOptions",
    "LengthOptions",
    "Origin",
    "TaskOptions",
    "check_counts",
    "check_length",
    "flag",
    "loaded",
    "named_source",
    "new_folder",
    "other_versions",
    "recorded_source",
    "wanted_source",
]


_MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What a person asked every command that trains for; None where the task, or what goes on, decides."""

    task: str | None
    batch_size: int | None
    data: Path | None
    out: Path | None
    device: str | None
    threads: int | None
    json: bool
    quiet: bool
    debug: bool


@dataclass(frozen=True, kw_only=True)
class LengthOptions(TaskOptions):
    """What a person asked a command for that trains as long as the task says, or another length."""

    epochs: int | None
    steps: int | None


@dataclass(frozen=True, kw_only=True)
class FolderOptions(LengthOptions):
    """What a person asked a command for that leaves a folder, which can go on."""

    overwrite: bool
    resume: Path | None
    checkpoint_every: str


@dataclass(frozen=True)
class Origin:
    """Where a task comes from, and what was there when it was trained first.

    Attributes:
        source: the task by name.
        threads: on a CPU; None for torch's choice.
        sha256: of the task's file when the run began; None for a new run.
        versions: with which the run began, where this process has others.
    """

    source: TaskSource
    threads: int | None
    sha256: str | None = None
    versions: tuple[str, ...] = ()


def check_counts(options: TaskOptions, least: Mapping[str, int]) -> None:
    """Refuse counts that are too low, and more threads than any machine has.

    Args:
        options: with these counts, or None for what wasn't given.
        least: what counts must be at least, by name, apart from those that all commands have.

    Raises:
        InputError: for these.
    """
    for name, low in {**least, "batch_size": 1, "threads": 1}.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"{flag(name)} must be at least {low}, not {value}")
    if options.threads is not None and options.threads > _MOST_THREADS:
        raise InputError(f"--threads must be at most {_MOST_THREADS}, not {options.threads}")


def check_length(options: LengthOptions) -> None:
    """Refuse lengths below 1, and two lengths.

    Raises:
        InputError: for these.
    """
    check_counts(options, {"epochs": 1, "steps": 1})
    if options.epochs is not None and options.steps is not None:
        raise InputError("a length is either --epochs or --steps, not both")


def flag(name: str) -> str:
    """What an option is called on the command line."""
    return f"--{name.replace('_', '-')}"


def wanted_source(options: FolderOptions) -> TaskSource:
    """The source of a task that is trained anew.

    Raises:
        InputError: when no task is named.
    """
    if options.task is None:
        raise InputError(f"name a task ({', '.join(tasks.TASKS)}, or file.py:task), or --resume FOLDER")
    return named_source(options.task, options)


def named_source(task: str, options: LengthOptions) -> TaskSource:
    """The source of the task by that name, with what is asked for instead of its own."""
    return TaskSource(
        task=task,
        data=None if options.data is None else str(options.data),
        epochs=options.epochs,
        steps=options.steps,
        batch_size=options.batch_size,
    )


def recorded_source(what: str, written: Mapping[str, Any]) -> tuple[TaskSource, str | None]:
    """The source as it stands in a folder's configuration, and the hash of the file; `what` is kept in the folder.

    Raises:
        InputError: for what is no source.
    """
    recorded = dict(written)
    digest = recorded.pop("sha256", None)
    known = [field.name for field in fields(TaskSource)]
    if not isinstance(recorded.get("task"), str) or not set(recorded) <= set(known):
        raise InputError(
            f"{what} can't go on: the source in its config.json must be a task by name, and "
            f"{', '.join(known[1:])}, not {shown(recorded)}"
        )
    return TaskSource(**recorded), digest


def other_versions(made: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions with which a run began, where this process has others."""
    here = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    return tuple(f"{name} {made[name]} (now {version})" for name, version in here.items() if made[name] != version)


@contextmanager
def loaded(origin: Origin, *, debug: bool) -> Iterator[Task]:
    """The task; what goes wrong in it, there and in the block, is said in one sentence with its place.

    Raises:
        InputError: with that sentence.
        typer.Exit: after the traceback, where `debug` asks for it.
    """
    if origin.threads is not None:
        torch.set_num_threads(origin.threads)
    try:
        task = origin.source.load()
        _say_what_changed(origin, task)
        yield task
    except (typer.Exit, ProcessLostError):  # no fault of the task
        raise
    except (Exception, SystemExit) as error:
        if debug:
            traceback.print_exc()
            raise typer.Exit(2) from None
        sentence = explain(error, origin.source.file, origin.source.name)
        if sentence is None:
            raise
        raise InputError(sentence) from error


def new_folder(name: str) -> Path:
    """A folder below runs/ that isn't there yet, by the name and the time."""
    stem = f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    return next(
        path
        for path in (Path(stem + end) for end in itertools.chain([""], map("-{}".format, itertools.count(2))))
        if not path.exists()
    )


def _say_what_changed(origin: Origin, task: Task) -> None:
    if origin.versions:
        say(f"the run was made with {', '.join(origin.versions)}, so the last digits may differ from here on")
    now = (task.source or {}).get("sha256")
    if origin.sha256 is not None and now != origin.sha256:
        where = origin.source.file or f"the data of {origin.source.task}"
        say(f"{where} has changed since the run began; it goes on with what is there now")

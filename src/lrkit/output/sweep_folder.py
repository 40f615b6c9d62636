"""The folder of a sweep: opened before anything is trained, read when one goes on."""

import json
from pathlib import Path
from typing import Any

from lrkit.output.sweep_options import SweepOptions
from lrkit.output.task_command import new_folder
from lrkit.schedules.errors import InputError
from lrkit.training.files import replace_file
from lrkit.training.task import Task

__all__ = ["open_folder", "write_result"]

_RESULTS = {"sweep.json", "sweep.png"}


def open_folder(options: SweepOptions, task: Task) -> Path:
    """The folder, made where it isn't there.

    Raises:
        InputError: when it can't be made, or has something in it that isn't to be overwritten.
    """
    path = new_folder(f"{task.name}-sweep") if options.out is None else options.out
    try:
        path.mkdir(parents=True, exist_ok=True)
        there = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise InputError(f"the folder {path} can't be made: {error.strerror}") from None
    if there and not options.overwrite:
        raise InputError(f"the folder {path} isn't empty; choose another, or overwrite the sweep in it")
    if there and not there & _RESULTS:
        raise InputError(f"the folder {path} has files but no sweep, so nothing in it is overwritten")
    return path


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write `sweep.json`: what `--json` prints."""
    text = json.dumps(result, indent=1, allow_nan=False)
    replace_file(path / "sweep.json", lambda file: file.write(text.encode()))

"""A run folder: what a run leaves on disk, readable after every epoch whatever happens next."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.history import History
from lrkit.training.observer import Observer, Setup

__all__ = ["RunFolder"]

FORMAT = 1
FILES = ("config.json", "history.json", "steps.npz", "curves.png")


class RunFolder(Observer):
    """Writes `config.json` before the first update, and `history.json` and `steps.npz` after every epoch.

    Files are replaced whole, the arrays before the text that says how far they go, so a run that is broken off
    leaves the history of its finished epochs.

    Args:
        path: the folder; it is made where it doesn't exist.
        overwrite: replace a run that is there.

    Raises:
        InputError: when the folder can't be made, or has something in it that isn't to be overwritten.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            there = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise InputError(f"the run folder {self.path} can't be made: {error.strerror}") from None
        if there and not overwrite:
            raise InputError(f"the run folder {self.path} isn't empty; choose another, or overwrite the run in it")
        if there and "config.json" not in there:
            raise InputError(f"the folder {self.path} has files but no run, so nothing in it is overwritten")
        if not os.access(self.path, os.W_OK):
            raise InputError(f"the run folder {self.path} can't be written to")
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)

    def start(self, setup: Setup) -> None:
        """Write the configuration."""
        self._write_json("config.json", {"lrkit_run": FORMAT, **setup.made})

    def epoch(self, history: History) -> None:
        """Write the history so far."""
        self._write("steps.npz", lambda file: np.savez(file, lrs=history.lrs, losses=history.losses))
        self._write_json("history.json", history.to_dict())

    @staticmethod
    def load(path: str | Path) -> History:
        """The history that a run has recorded.

        Raises:
            InputError: when there is no run, none of its epochs was finished, or its files can't be read.
        """
        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is not a run folder: it has no config.json")
        if not (folder / "history.json").is_file():
            raise InputError(f"the run in {folder} was broken off before its first epoch ended")
        try:
            data = json.loads((folder / "history.json").read_text(encoding="utf-8"))
            with np.load(folder / "steps.npz", allow_pickle=False) as arrays:
                return History.from_dict(data, arrays["lrs"], arrays["losses"])
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the run in {folder} can't be read: {error}") from None

    def _write_json(self, name: str, data: Any) -> None:
        text = json.dumps(data, indent=1, allow_nan=False)
        self._write(name, lambda file: file.write(text.encode()))

    def _write(self, name: str, fill: Callable[[BinaryIO], Any]) -> None:
        """Replace a file as a whole."""
        fresh = self.path / f".{name}.new"
        with fresh.open("wb") as file:
            fill(file)
        fresh.replace(self.path / name)

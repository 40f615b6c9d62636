"""Files that are replaced as a whole, so that whoever reads one finds the old or the new, never half."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lrkit.schedules.errors import InputError

__all__ = ["clear_folder", "fresh_name", "make_folder", "replace_file"]


def fresh_name(name: str) -> str:
    """What a file is called while it is written; one that is left over came from a process that died."""
    return f".{name}.new"


def replace_file(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside the old one, bring it to the disk, and put it in the old one's place.

    Raises:
        InputError: when it can't be written (a full disk, no permission); the old file is still there.
    """
    fresh = path.with_name(fresh_name(path.name))
    try:
        with fresh.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written: {error.strerror}; what was there before is still there") from error


def make_folder(path: Path) -> None:
    """Make a folder in one that is there, and bring its name to the disk.

    Raises:
        InputError: when it can't be made.
    """
    try:
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"the folder {path} can't be made: {error.strerror}") from error


def clear_folder(path: Path, *patterns: str) -> None:
    """Take files away, and bring that to the disk; a folder that isn't there has none.

    Raises:
        InputError: when one can't be taken away.
    """
    files = [file for pattern in patterns for file in sorted(path.glob(pattern))]
    try:
        for file in files:
            file.unlink(missing_ok=True)
        if files:
            _sync_folder(path)
    except OSError as error:
        raise InputError(f"the files in {path} can't be replaced: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk too, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

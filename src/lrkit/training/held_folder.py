"""A folder that one process at a time keeps a record in: made, locked, and given back when nothing came of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lrkit.schedules.errors import InputError
from lrkit.training.files import fresh_name, replace_file

__all__ = ["CONFIG", "HeldFolder", "has_key", "read_config", "write_json"]

CONFIG = "config.json"
_LOCK = ".lock"


class HeldFolder:
    """Makes a folder, where it doesn't exist, and holds it against other processes.

    Args:
        path: the folder.
        what: what is kept in it, in a word.
        key: what its configuration has its format's version under.
        leftovers: what a process that died may have left in it; a folder with nothing else is empty.
        overwrite: whether what is in it may be written over, if that is of this kind.

    Raises:
        InputError: when it can't be made or written to, is in use, or has something in it that isn't written over.
    """

    def __init__(self, path: Path, what: str, key: str, *, leftovers: Iterable[str] = (), overwrite: bool) -> None:
        self._path, self._what = path, what
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            there = {entry.name for entry in path.iterdir()} - {_LOCK, fresh_name(CONFIG), *leftovers}
        except OSError as error:
            raise InputError(f"the {what} folder {path} can't be made: {error.strerror}") from None
        if there and not overwrite:
            raise InputError(f"the {what} folder {path} isn't empty; choose another, or overwrite the {what} in it")
        if there and not has_key(path, key):
            raise InputError(f"the folder {path} has files but no {what}, so nothing in it is overwritten")
        self._lock = self._locked()

    def _locked(self) -> FileLock:
        lock = FileLock(self._path / _LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"the {self._what} folder {self._path} is in use by another process") from None
        except OSError as error:
            raise InputError(f"the {self._what} folder {self._path} can't be written to: {error.strerror}") from None
        return lock

    def release(self, *, used: bool) -> None:
        """Let others use it; take it away again if it is new and wasn't used."""
        self._lock.release()
        if not used and self._made:
            (self._path / _LOCK).unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()
            self._made = []


def has_key(path: Path, key: str) -> bool:
    """Whether the configuration is of this kind, whatever its version, and even where it is damaged."""
    try:
        return f'"{key}"'.encode() in (path / CONFIG).read_bytes()
    except OSError:
        return False


def read_config(path: str | Path, what: str, key: str, newest: int) -> dict[str, Any]:
    """The configuration in a folder.

    Raises:
        InputError: when there is none, or it can't be read, is of something else, or of a newer format.
    """
    file = Path(path) / CONFIG
    if not file.is_file():
        raise InputError(f"{Path(path)} is not a {what} folder: it has no {CONFIG}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the configuration {file} can't be read: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get(key), int):
        raise InputError(f"{file} is not the configuration of a {what}")
    if config[key] > newest:
        raise InputError(f"the {what} in {path} has format {config[key]}, this lrkit reads up to {newest}")
    return config


def write_json(path: Path, data: Any) -> None:
    """Replace a file by JSON.

    Raises:
        InputError: when it can't be written.
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    replace_file(path, lambda file: file.write(text.encode()))

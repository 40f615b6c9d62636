"""The record of a run on disk: how it was made, its epochs, and the numbers of its updates."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.files import fresh_name, replace_file
from lrkit.training.held_folder import CONFIG, HeldFolder, read_config, write_json
from lrkit.training.history import History

__all__ = ["KEY", "RECORDS", "read_made", "read_record", "require_room", "save_history", "write_made", "write_record"]

FORMAT = 1
KEY = "lrkit_run"  # what the configuration of a run has its format's version under
RECORDS = ("history.json", "steps.npz")


def write_made(path: Path, made: dict[str, Any]) -> None:
    """Write how a run is made."""
    write_json(path / CONFIG, {KEY: FORMAT, **made})


def read_made(path: str | Path) -> dict[str, Any]:
    """How a run was made.

    Raises:
        InputError: when there is no run, or its configuration can't be read or is of a newer format.
    """
    return read_config(path, "run", KEY, FORMAT)


def write_record(path: Path, history: History) -> None:
    """Write a history: the numbers of its updates first, since a reader cuts them where its last epoch ends."""
    replace_file(path / "steps.npz", lambda file: np.savez(file, lrs=history.lrs, losses=history.losses))
    write_json(path / "history.json", history.to_dict())


def read_record(path: str | Path) -> History:
    """The history that a run has recorded.

    Raises:
        InputError: when there is no run, none of its epochs was finished, or its files can't be read.
    """
    folder = Path(path)
    read_made(folder)
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


def save_history(history: History, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a history into a folder of its own, as that of a run: `RunFolder.load` reads it, as `lrkit report` does.

    Args:
        history: what is written.
        path: the folder; it is made where it doesn't exist.
        overwrite: replace the record that is there.

    Raises:
        InputError: when the folder can't be written to, is in use, or has something in it that isn't to be replaced,
            such as a run with checkpoints.

    >>> import lrkit, tempfile
    >>> history = History((), np.zeros((0, 1)), np.zeros(0, dtype=np.float32), {"task": "mine"})
    >>> folder = tempfile.mkdtemp() + "/mine"
    >>> lrkit.save_history(history, folder)
    >>> lrkit.RunFolder.load(folder) == history
    True
    """
    folder = Path(path)
    held = _held(folder, overwrite=overwrite)
    try:
        write_made(folder, dict(history.made))
        write_record(folder, history)
    finally:
        held.release(used=(folder / CONFIG).exists())


def require_room(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a folder that `save_history` couldn't write to: now, and not when the first epoch has been trained.

    Raises:
        InputError: as in `save_history`.
    """
    _held(Path(path), overwrite=overwrite).release(used=False)


def _held(folder: Path, *, overwrite: bool) -> HeldFolder:
    if any(folder.glob("*.pt")):
        raise InputError(f"the folder {folder} has a run with checkpoints, which a record alone can't replace")
    try:
        return HeldFolder(folder, "run", KEY, leftovers=map(fresh_name, (CONFIG, *RECORDS)), overwrite=overwrite)
    except InputError as error:
        raise InputError(str(error).replace("or overwrite the run in it", "or give overwrite=True")) from None

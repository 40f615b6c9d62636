"""A run's state in one file: plain data and tensors, read without executing anything."""

import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, cast

import torch

from lrkit.schedules.errors import InputError
from lrkit.training.files import replace_file

__all__ = ["RUN_PARTS", "Pace", "load_checkpoint", "save_checkpoint"]

FORMAT = 1
_KEY = "lrkit_checkpoint"
RUN_PARTS = ("model", "optimizer", "scheduler", "scaler", "random", "record")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def save_checkpoint(path: Path, snapshot: Mapping[str, Any]) -> None:
    """Write a snapshot as a whole.

    Raises:
        InputError: when the file can't be written.
    """
    replace_file(path, lambda file: _write(snapshot, file))


def _write(snapshot: Mapping[str, Any], file: BinaryIO) -> None:
    target = _Target(file)
    try:
        torch.save({_KEY: FORMAT, **snapshot}, cast("BinaryIO", target))
    except RuntimeError:
        if target.error is not None:
            raise target.error from None
        raise


class _Target:
    """A file that remembers its error: torch reports another one in its place."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def load_checkpoint(path: str | Path, parts: Sequence[str] = RUN_PARTS) -> dict[str, Any]:
    """The snapshot in a file, on the CPU. Tensors and plain data are read, code is refused.

    Args:
        path: the file.
        parts: which mappings it must have; by default those of a run.

    Raises:
        InputError: for a file that is missing, damaged, cut short, incomplete, something else, or of a newer format.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load doesn't compare the checksums that it wrote
            damaged = archive.testzip()
        if damaged is not None:
            raise InputError(f"the checkpoint {path} is damaged: the checksum of its part {damaged!r} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}") from None
    except UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        named = f" ({what[1]})" if what else ""
        raise InputError(
            f"the checkpoint {path} is refused: it has objects in it{named}, where plain data and tensors belong"
        ) from None
    except InputError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, KeyError, NotImplementedError) as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        raise InputError(f"the checkpoint {path} is damaged, or not a checkpoint: {reason}") from None
    if not isinstance(state, dict) or not isinstance(state.get(_KEY), int):
        raise InputError(f"{path} is not a checkpoint of lrkit")
    if state[_KEY] > FORMAT:
        raise InputError(f"the checkpoint {path} has format {state[_KEY]}, this lrkit reads up to {FORMAT}")
    missing = [name for name in parts if not isinstance(state.get(name), dict)]
    if missing:
        raise InputError(f"the checkpoint {path} is incomplete: it lacks {', '.join(missing)}")
    return state


class Pace:
    """How often a checkpoint is due.

    Args:
        every: a number of updates (500, "500"), a time ("90s", "10min", "2h"), or None for never.

    Raises:
        InputError: for anything else.

    >>> pace = Pace(100)
    >>> [steps for steps in range(1, 301) if pace.due(steps)]
    [100, 200, 300]
    """

    def __init__(self, every: int | str | None) -> None:
        self._steps: int | None = None
        self._seconds: float | None = None
        if every is not None:
            found = re.fullmatch(r"([1-9]\d*)(s|min|h)?", str(every))
            if found is None:
                raise InputError(
                    f"checkpoint_every must be a number of updates, or a time such as '10min', not {every!r}"
                )
            if found[2]:
                self._seconds = int(found[1]) * _SECONDS[found[2]]
            else:
                self._steps = int(found[1])
        self._since = time.monotonic()

    def due(self, steps: int) -> bool:
        """Whether a checkpoint is due after that many updates."""
        if self._steps is not None:
            return steps % self._steps == 0
        return self._seconds is not None and time.monotonic() - self._since >= self._seconds

    def saved(self) -> None:
        """Count the time from now on."""
        self._since = time.monotonic()

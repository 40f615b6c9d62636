"""The folder of a sweep: what many lanes leave on disk, readable and resumable whatever happens next."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO

import numpy as np

from lrkit.schedules import from_json, to_json
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.checkpoint import Pace, load_checkpoint, save_checkpoint
from lrkit.training.files import clear_folder, fresh_name, make_folder, replace_file
from lrkit.training.held_folder import CONFIG, HeldFolder, read_config, write_json
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.lanes.work import Checkpoint, Histories

__all__ = ["LanesFolder"]

FORMAT = 1
_KEY = "lrkit_lanes"
_ENDED = "lanes"
_UNDER_WAY = "under_way"
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "lanes": list,
    "steps": int,
    "threads": int,
    "backend": str,
    "reason": str,
    "groups": list,
    "microseconds": dict,
    "bytes_per_lane": (int, NoneType),
    "device": str,
}


class LanesFolder(LanesObserver):
    """Keeps many lanes in a folder: give it to `run_lanes` as its `folder`.

    `config.json` is written before the first update; `lanes/007.npz`, a lane's whole history, when lane 7 has ended;
    `under_way/007.pt`, a checkpoint of lane 7 and those that are trained together with it, now and then until they have
    ended. Each file is replaced as a whole.

    Args:
        path: the folder; it is made where it doesn't exist.
        overwrite: replace a sweep that is there.
        resume: go on with the sweep that is there: lanes that have ended aren't trained again.
        checkpoint_every: how often lanes under way are saved: a number of updates, a time ("90s", "10min", "2h"), or
            None for never.

    Attributes:
        path: the folder.
        before: the configuration of the sweep that goes on; nothing for a new one.
        histories: of its lanes that have ended, by number.
        lane_steps: how many lane-steps are done in it.

    Raises:
        InputError: when the folder can't be made or written to, another process uses it, it has something in it that
            isn't to be overwritten, or no sweep that could go on.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        checkpoint_every: int | str | None = "5min",
    ) -> None:
        Pace(checkpoint_every)
        self.path = Path(path)
        self.before: Mapping[str, Any] = _complete(self.path) if resume else {}
        self.histories: dict[int, History] = {}
        self.lane_steps = 0
        self._every = checkpoint_every
        self._resume = resume
        self._setup: LanesSetup | None = None
        self._held = HeldFolder(self.path, "sweep", _KEY, overwrite=overwrite or resume)
        if resume:
            try:
                self._read()
            except InputError:
                self.close()
                raise

    def _read(self) -> None:
        """What was done before. All of it is read now, so that what is damaged is said before anything is trained."""
        found = enumerate(self.load(self.path))
        self.histories = {number: history for number, history in found if history is not None}
        for group in self.before["groups"]:
            if self._has_ended(group):
                self.lane_steps += self.before["steps"] * len(group)
            elif (snapshot := self.checkpoint(group[0]).snapshot) is not None:
                self.lane_steps += int(snapshot.get("lane_steps", 0))

    def _has_ended(self, group: list[int]) -> bool:
        return all(number in self.histories for number in group)

    # --- while it goes on -------------------------------------------------------------------------

    def start(self, setup: LanesSetup) -> None:
        """Write the configuration, or refuse lanes that aren't those that it has; take away what isn't of them."""
        lanes = [_written(lane) for lane in setup.lanes]
        if self._resume:
            self._refuse_changes(lanes, setup.steps)
        self._setup = setup
        (self.path / fresh_name(CONFIG)).unlink(missing_ok=True)
        ended, under_way = self.path / _ENDED, self.path / _UNDER_WAY
        if self._resume:
            clear_folder(ended, ".*.new")
            over = (f"{group[0]:03}.pt" for group in setup.choice.groups if self._has_ended(list(group)))
            clear_folder(under_way, ".*.new", *over)
        else:  # before the configuration: none is ever beside lanes of another
            clear_folder(ended, ".*.new", "*.npz")
            clear_folder(under_way, ".*.new", "*.pt")
            how = {**setup.choice.made, "groups": [list(each) for each in setup.choice.groups]}
            write_json(self.path / CONFIG, {_KEY: FORMAT, **setup.task, **how, "lanes": lanes})
        make_folder(ended)
        make_folder(under_way)

    def _refuse_changes(self, lanes: list[dict[str, Any]], steps: int) -> None:
        recorded = self.before["lanes"]
        if len(lanes) != len(recorded):
            raise InputError(f"the sweep in {self.path} has {len(recorded)} lanes, so it can't go on with {len(lanes)}")
        for number, (now, before) in enumerate(zip(lanes, recorded, strict=True)):
            if now != before:
                raise InputError(
                    f"lane {number} of the sweep in {self.path} is {_told(before)}, "
                    f"so it can't go on with {_told(now)}; lanes are as they were when it began"
                )
        if steps != self.before["steps"]:
            raise InputError(
                f"each lane of the sweep in {self.path} takes {self.before['steps']} updates, "
                f"so it can't go on with a task that takes {steps}"
            )

    def checkpoint(self, first: int) -> Checkpoint:
        """The place for the state of the lanes that are trained together with this one, the first of them."""
        return _InFile(self.path / _UNDER_WAY / f"{first:03}.pt", self._every, resume=self._resume)

    def ended(self, histories: Histories) -> None:
        """Write the lanes' histories; where none is left of those trained together, their checkpoint goes."""
        assert self._setup is not None
        for number, history in histories.items():
            replace_file(self.path / _ENDED / f"{number:03}.npz", partial(_write, history))
            self.histories[number] = history
        for group in self._setup.choice.groups:
            if self._has_ended(list(group)) and not histories.keys().isdisjoint(group):
                (self.path / _UNDER_WAY / f"{group[0]:03}.pt").unlink(missing_ok=True)

    def close(self) -> None:
        """Let others use the folder; take it away again if it is new and nothing was started in it."""
        self._held.release(used=self._setup is not None)

    # --- afterwards -------------------------------------------------------------------------------

    @staticmethod
    def load(path: str | Path) -> list[History | None]:
        """The history of each lane; None for those that haven't ended.

        Raises:
            InputError: when there is no sweep, or its files can't be read.
        """
        count = len(_complete(Path(path))["lanes"])
        files = [Path(path) / _ENDED / f"{number:03}.npz" for number in range(count)]
        return [_loaded(file) if file.is_file() else None for file in files]

    @staticmethod
    def config(path: str | Path) -> dict[str, Any]:
        """How the sweep was made: the task, the lanes, and what trains them.

        Raises:
            InputError: when there is no sweep, or its configuration can't be read or is of a newer format.
        """
        return read_config(path, "sweep", _KEY, FORMAT)

    @staticmethod
    def lanes(path: str | Path) -> list[Lane]:
        """The lanes of the sweep.

        Raises:
            InputError: as `config`, and where a schedule holds a Python function, which can't be written.
        """
        recorded = _complete(Path(path))["lanes"]
        return [_lane(number, dict(each), path) for number, each in enumerate(recorded)]


class _InFile:
    """A checkpoint in a file."""

    def __init__(self, path: Path, every: int | str | None, *, resume: bool) -> None:
        self._path, self._every, self._resume = path, every, resume
        self._pace: Pace | None = None

    @property
    def snapshot(self) -> Mapping[str, Any] | None:
        there = self._resume and self._path.exists()
        return load_checkpoint(self._path, parts=()) if there else None

    def due(self, steps: int) -> bool:
        if self._pace is None:  # the time counts from the first update
            self._pace = Pace(self._every)
        return self._pace.due(steps)

    def save(self, snapshot: Mapping[str, Any]) -> None:
        if snapshot.get("finite", True):
            save_checkpoint(self._path, snapshot)
        if self._pace is not None:
            self._pace.saved()


# --- what is in the files ----------------------------------------------------------------------------


def _complete(path: Path) -> dict[str, Any]:
    """The configuration, with all in it that a sweep needs to go on."""
    config = LanesFolder.config(path)
    wrong = [name for name, kind in _NEEDED.items() if name not in config or not isinstance(config[name], kind)]
    if wrong:
        raise InputError(f"the sweep in {path} can't be read: its {CONFIG} lacks {', '.join(wrong)}, or has it wrong")
    if not _is_sound(config):
        raise InputError(
            f"the sweep in {path} can't be read: its {CONFIG} is damaged: lanes, groups, steps or threads are none"
        )
    return config


def _is_sound(config: Mapping[str, Any]) -> bool:
    """Whether each lane is in one group, and counts are at least 1."""
    lanes, groups = config["lanes"], config["groups"]
    if not (lanes and all(isinstance(each, dict) for each in lanes)):
        return False
    if not all(isinstance(group, list) and group for group in groups):
        return False
    numbers = [number for group in groups for number in group]
    if any(type(count) is not int for count in (*numbers, config["steps"], config["threads"])):
        return False
    return sorted(numbers) == list(range(len(lanes))) and config["steps"] >= 1 and config["threads"] >= 1


def _write(history: History, file: BinaryIO) -> None:
    """The arrays, and the rest as JSON; what isn't finite stays what it is there, so that a history stays equal."""
    whole = {**history.to_dict(), "epochs": [vars(each) for each in history.epochs]}
    text = np.frombuffer(json.dumps(whole, default=dict).encode(), dtype=np.uint8)
    np.savez(file, lrs=history.lrs, losses=history.losses, history=text)


def _loaded(file: Path) -> History:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            data = json.loads(arrays["history"].tobytes())
            return History.from_dict(data, arrays["lrs"], arrays["losses"])
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 (zipfile, zlib and numpy each raise their own for damaged files)
        raise InputError(f"the lane in {file} can't be read: {_why(error)}") from None


def _why(error: Exception) -> str:
    """What is wrong with a file, without numpy's advice to unpickle it."""
    return "it is damaged" if "pickle" in str(error) else str(error)


def _written(lane: Lane) -> dict[str, Any]:
    """A lane as JSON, its schedule as text and whole."""
    try:
        whole = json.loads(to_json(lane.plan))
    except InputTypeError:  # it holds a Python function
        whole = None
    return {**lane.to_dict(), "schedule_json": whole}


def _told(written: dict[str, Any]) -> str:
    return shown({name: value for name, value in written.items() if name != "schedule_json"})


def _lane(number: int, written: dict[str, Any], path: str | Path) -> Lane:
    whole, text = written.pop("schedule_json", None), written.pop("schedule", None)
    if whole is None:
        raise InputError(
            f"lane {number} of the sweep in {path} can't be read: its schedule {text} holds a Python function"
        )
    try:
        return Lane(from_json(json.dumps(whole)), **written)
    except TypeError as error:
        raise InputError(f"lane {number} of the sweep in {path} can't be read: {error}") from None

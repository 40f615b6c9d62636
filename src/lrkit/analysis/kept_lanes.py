"""What a tournament has trained: in memory, and in folders where it has one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

from lrkit.schedules.errors import InputError
from lrkit.training.held_folder import CONFIG
from lrkit.training.history import History
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane, told

__all__ = ["STAGES", "KeptLanes", "Key", "Runs", "StageName", "Train", "key_of"]

StageName: TypeAlias = Literal["selection", "final"]
STAGES: tuple[StageName, ...] = ("selection", "final")


class Key(NamedTuple):
    """What a run is told by: its schedule as text, with what it is trained with."""

    schedule: str
    lr: float
    seed: int


Runs: TypeAlias = Mapping[Key, History]


class Train(Protocol):
    """Trains lanes of a stage, in a folder where there is one."""

    def __call__(self, stage: StageName, lanes: Sequence[Lane], folder: LanesFolder | None) -> Sequence[History]:
        """Their histories."""


def key_of(lane: Lane) -> Key:
    """The key of a lane, which has a rate of its own."""
    assert lane.lr is not None
    return Key(told(str(lane.plan), lane.averaging), lane.lr, lane.seed)


class KeptLanes:
    """The runs of each stage; on disk a folder for each time that lanes are trained, such as selection-000.

    Args:
        path: where the folders are; None keeps all in memory.
        checkpoint_every: as in `LanesFolder`.

    Attributes:
        runs: of each stage, those that have ended; of several of one key the last.
        unfinished: the folder of a stage that was interrupted, with the name of the stage.
        unsettled: the runs of that folder, whether they have ended or not.

    Raises:
        InputError: where a folder can't be read.
    """

    def __init__(self, path: Path | None, checkpoint_every: int | str | None = "5min") -> None:
        self._path, self._every = path, checkpoint_every
        self.runs: dict[StageName, dict[Key, History]] = {stage: {} for stage in STAGES}
        self.unfinished: tuple[StageName, Path] | None = None
        self.unsettled: set[Key] = set()
        for stage in STAGES:
            for folder in [] if path is None else _folders(path, stage):
                self._read(stage, folder)

    def _read(self, stage: StageName, folder: Path) -> None:
        histories = LanesFolder.load(folder)
        recorded = zip(_keys(folder), histories, strict=True)
        self.runs[stage] |= {key: history for key, history in recorded if history is not None}
        if None in histories:
            self.unfinished, self.unsettled = (stage, folder), set(_keys(folder))

    def go_on(self, train: Train) -> None:
        """Train what an interrupted stage has left, with the lanes that it began with."""
        if self.unfinished is None:
            return
        stage, path = self.unfinished
        lanes = LanesFolder.lanes(path)
        self._keep(stage, lanes, train(stage, lanes, LanesFolder(path, resume=True, checkpoint_every=self._every)))
        self.unfinished, self.unsettled = None, set()

    def train(self, stage: StageName, lanes: Sequence[Lane], train: Train) -> None:
        """Train lanes that aren't there."""
        folder = None
        if self._path is not None:
            path = self._path / f"{stage}-{len(list(_folders(self._path, stage))):03}"
            folder = LanesFolder(path, checkpoint_every=self._every)
        self._keep(stage, lanes, train(stage, lanes, folder))

    def _keep(self, stage: StageName, lanes: Sequence[Lane], histories: Sequence[History]) -> None:
        self.runs[stage] |= {key_of(lane): history for lane, history in zip(lanes, histories, strict=True)}


def _folders(path: Path, stage: StageName) -> Iterator[Path]:
    """Those of a stage in their order. One without a configuration is left of a process that died, and is used anew."""
    for number in count():
        folder = path / f"{stage}-{number:03}"
        if not (folder / CONFIG).is_file():
            return
        yield folder


def _keys(folder: Path) -> list[Key]:
    """Those of the lanes in a folder."""
    lanes = LanesFolder.config(folder)["lanes"]
    kinds = {tuple(type(lane.get(name)) for name in Key._fields) for lane in lanes}
    if kinds != {(str, float, int)}:
        raise InputError(f"the lanes in {folder} can't be read: each must have a schedule, a rate and a seed")
    return [Key(told(lane["schedule"], lane.get("averaging")), lane["lr"], lane["seed"]) for lane in lanes]

"""What every backend is given: the work, those to be told, and the place for a checkpoint."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import torch

from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.task import Task

__all__ = ["Checkpoint", "Drop", "Histories", "NoCheckpoint", "Report", "Work"]

Histories: TypeAlias = Mapping[int, History]
Drop: TypeAlias = Callable[[Histories], Iterable[int] | None]


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        task: of all lanes.
        lanes: all of them; they go by their numbers here.
        place: the device.
        made: what each history's `made["lanes"]` says.
        drop: is asked after each epoch of some lanes which of them end there.
        stop: is asked after every update whether all is to end there.
        graphs: compiled updates by what a model is beside its numbers, for groups that are the same computation.
    """

    task: Task
    lanes: Sequence[Lane]
    place: torch.device
    made: Mapping[str, Any]
    drop: Drop
    stop: Callable[[], bool]
    graphs: dict[Any, Any] = field(default_factory=dict)


class Report(Protocol):
    """Is told what happens to lanes."""

    def step(self, lane_steps: int) -> None:
        """So many more lane-steps are done, or needn't be."""

    def epoch(self, histories: Histories) -> None:
        """These lanes have finished an epoch."""

    def ended(self, histories: Histories) -> None:
        """These lanes have ended."""


class Checkpoint(Protocol):
    """The place for the state of lanes under way."""

    @property
    def snapshot(self) -> Mapping[str, Any] | None:
        """What they go on from; None where they begin."""

    def due(self, steps: int) -> bool:
        """Whether one is to be saved after that many updates."""

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Save it in the place of the one before.

        It is plain data and tensors; its "lane_steps" says how many lane-steps are done in it, and where its "finite"
        is False the one before stays.
        """


class NoCheckpoint:
    """Where nothing is kept."""

    snapshot: Mapping[str, Any] | None = None

    def due(self, steps: int) -> bool:
        """Never."""
        return False

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Forget it."""

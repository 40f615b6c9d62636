"""Those who are told what happens to many lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrkit.training.history import History
from lrkit.training.lanes.choice import Choice
from lrkit.training.lanes.lane import Lane

__all__ = ["LanesObserver", "LanesSetup"]


@dataclass(frozen=True)
class LanesSetup:
    """What is known before the first update.

    Attributes:
        lanes: all of them.
        steps: updates of each lane.
        choice: what trains them, why that, and which of them together.
        steps_done: lane-steps (updates of single lanes) that were done before, where it goes on.
        task: what of a history's `made` is the same for all lanes.
        ended: the histories of lanes that had ended before, where it goes on.
    """

    lanes: Sequence[Lane]
    steps: int
    choice: Choice
    steps_done: int = 0
    task: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[int, History] = field(default_factory=dict)


class LanesObserver:
    """Is told what happens; every method does nothing unless it is defined. Lanes go by their numbers, from 0."""

    def start(self, setup: LanesSetup) -> None:
        """Before the first update."""

    def step(self, lane_steps: int) -> None:
        """Now and then, with how many lane-steps are done in all: of those that end early, what is left counts too."""

    def epoch(self, histories: Mapping[int, History]) -> None:
        """After each epoch of some lanes, with their histories so far."""

    def ended(self, histories: Mapping[int, History]) -> None:
        """When lanes have ended, at their last epoch, early or diverged: with their whole histories."""

    def close(self) -> None:
        """When all is over, however it ended."""

"""Those who are told what happens in a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrkit.schedules import Plan, Plans
from lrkit.training.history import History

__all__ = ["Observer", "Setup"]


@dataclass(frozen=True)
class Setup:
    """What is known of a run before its first update.

    Attributes:
        steps: updates in all.
        epoch_steps: updates in an epoch, None for data without a length.
        epochs: passes through the data, the last one perhaps cut short; None where that isn't known.
        plan: the plan as it was given; `resolved` has its lengths in steps.
        made: what `History.made` will say.
        snapshot: gives all that the run needs to go on from where it is: plain data and tensors; until `close`.
        steps_done: updates that were done before, in a run that goes on.
        history: of the epochs that were finished before; None where there are none.
        restarted: whether the run begins here, with the weights of another one, which `made["origin"]` names.
    """

    steps: int
    epoch_steps: int | None
    epochs: int | None
    plan: Plan | Plans
    resolved: Plan | Plans
    made: dict[str, Any]
    snapshot: Callable[[], dict[str, Any]]
    steps_done: int = 0
    history: History | None = None
    restarted: bool = False


class Observer:
    """Is told what happens in a run; every method does nothing unless it is defined."""

    def start(self, setup: Setup) -> None:
        """Before the first update."""

    def step(self, steps: int) -> None:
        """After each update, with the number of updates done; called often, so be quick."""

    def epoch(self, history: History) -> None:
        """After each epoch, with the history so far."""

    def stopped(self) -> None:
        """When the run ends early because it was asked to, after an update and before the next."""

    def close(self) -> None:
        """When the run is over, however it ended."""

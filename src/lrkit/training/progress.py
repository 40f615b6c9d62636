"""What a trainer knows of its own progress when a state is loaded into it."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError
from lrkit.training.scheduler_state import Policy, SchedulerState

__all__ = ["Measure", "Progress", "epochs_left", "whole_length"]


class Progress(NamedTuple):
    """Where a trainer goes on.

    Attributes:
        steps: updates that it has made, by its own count.
        horizon: what it has made and what is left; of a schedule that begins anew, what is left.
    """

    steps: int
    horizon: Horizon | None

    def require(self, plan: Plan | Plans, policy: Policy | None) -> None:
        """Refuse a state without a word of lrkit, of a training that has made updates, unless a policy says how."""
        if policy not in ("replace", "restart"):
            named = "" if policy is None else f", so there is no schedule to {policy}"
            raise InputError(
                f"this checkpoint, after {self.steps} updates, is of a training without lrkit{named}; name the policy: "
                f"'replace' goes on with '{plan}' at update {self.steps}, 'restart' begins it"
            )


def whole_length(saved: SchedulerState | None, policy: Policy | None, *, done: int, left: int) -> int:
    """The length of a schedule, in updates, that a trainer goes on with: what is done and what is left.

    A trainer counts updates that a gradient scaler skipped, and a schedule doesn't. So where the trainer's sum is the
    length that was saved, nothing has changed; but a schedule that was begun anew has its own.

    Args:
        saved: the schedule's state.
        policy: what was named.
        done: the updates that the trainer says it has made.
        left: those that it will make.
    """
    if policy == "restart":
        return max(left, 1)
    if saved is None or saved.horizon is None or (saved.horizon["steps"] == done + left and not saved.anew):
        return max(done + left, 1)
    return max(saved.steps + left, 1)


def epochs_left(saved: SchedulerState | None, epochs: int, epoch_steps: int) -> int | None:
    """The updates that are left of so many epochs, as long as they are now; None where a state doesn't say how many.

    >>> epochs_left(None, 4, 5)
    20
    """
    done = 0.0 if saved is None else saved.done["epochs"]
    return None if done is None else max(round((epochs - done) * epoch_steps), 0)


# A state of lrkit's, or None where there is none, and the policy that was named; None where nothing is known.
Measure: TypeAlias = Callable[[SchedulerState | None, Policy | None], Progress | None]

"""What a trainer knows of its own progress when a state is loaded into it."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError
from lrkit.training.scheduler_state import Policy, SchedulerState

__all__ = ["Measure", "Progress"]


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


# A state of lrkit's, or None where there is none, and the policy that was named; None where nothing is known.
Measure: TypeAlias = Callable[[SchedulerState | None, Policy | None], Progress | None]

"""Plans over a horizon, and where their controllers are: what a scheduler schedules, without its optimizer."""

import math
from collections.abc import Mapping
from typing import Any

from lrkit.schedules import Controller, Horizon, Plans, Schedule, State, Target
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.metric import Metric
from lrkit.training.horizons import excess, resolve
from lrkit.training.scheduler_state import Policy, SchedulerState, horizon_dict, json_of, reconcile

__all__ = ["ScheduledPlans"]


class ScheduledPlans:
    """Plans with their lengths in steps, and the states of those that are controllers.

    Args:
        plans: as they were written.
        horizon: what lengths are measured against; None where all of them are in steps.
        offsets: by target, what is added to the step, where the size of a step has changed.

    Raises:
        InputError: for a length that isn't known, or doesn't fit.
    """

    def __init__(self, plans: Plans, horizon: Horizon | None, offsets: Mapping[str, float] | None = None) -> None:
        self._offsets = dict(offsets or {})
        resolved = {target: resolve(plan, horizon, self._offset(target)) for target, plan in plans.parts}
        for plan in resolved.values():
            plan.require_resolved()  # refused here and not at the first update
        self.plans, self.horizon, self.resolved = plans, horizon, resolved
        self._json: dict[str, str] | None = None
        self._states: dict[Target, State] = {
            target: plan.init() for target, plan in resolved.items() if isinstance(plan, Controller)
        }

    @classmethod
    def provisional(cls, plans: Plans, horizon: Horizon | None) -> "ScheduledPlans | None":
        """Of plans that don't fit: as if as much were done already as doesn't, which a state may still say.

        Updates that were made with larger steps have left more room than they took. None where none could have.
        """
        if horizon is None or horizon.steps is None:
            return None
        over = {str(target): excess(plan, horizon) for target, plan in plans.parts}
        try:
            return cls(plans, horizon, {name: float(steps) for name, steps in over.items() if steps})
        except InputError:
            return None

    def _offset(self, target: Target) -> float:
        return self._offsets.get(str(target), 0.0)

    def values(self, target: Target, t: Array, bases: Array) -> Any:
        """What a plan gives: steps (1, n) and bases (m, 1) in, values (m, n) out."""
        plan, offset = self.resolved[target], self._offset(target)
        if offset:
            t = t + offset
        if isinstance(plan, Controller):
            return plan.value(self._states[target], t, bases)
        assert isinstance(plan, Schedule)
        return plan.value(t, bases)

    def report(self, metrics: Metric, step: int) -> bool:
        """Tell the controllers, all or none; whether one of them has decided something.

        Raises:
            InputError, InputTypeError: when a controller's metric isn't there, or is no number.
        """
        states, moved = {}, False
        for target, state in self._states.items():
            controller = self.resolved[target]
            assert isinstance(controller, Controller)
            states[target] = after = controller.update(state, metrics, self._at(target, step))
            moved = moved or controller.decided(after) != controller.decided(state)
        self._states = states
        return moved

    def _at(self, target: Target, step: int) -> int:
        """The step by a plan's own clock: a part of a sequence is told what its last update has made."""
        offset = self._offset(target)
        return math.ceil(step + offset) if offset else step

    def state(self, steps: int, **more: Any) -> SchedulerState:
        """What is saved after so many updates, with what a scheduler knows besides."""
        if self._json is None:  # once, since a table may be long
            self._json = json_of(self.plans)
        return SchedulerState(
            steps=steps,
            schedules={str(target): str(plan) for target, plan in self.plans.parts},
            horizon=horizon_dict(self.horizon),
            controllers={str(target): state for target, state in self._states.items()},
            json=self._json,
            offsets=self._offsets,
            **more,
        )

    def begun(self) -> "ScheduledPlans":
        """The same at their beginning."""
        return ScheduledPlans(self.plans, self.horizon)

    def resumed(self, saved: SchedulerState, policy: Policy | None) -> "ScheduledPlans":
        """Those to go on with from a state; what is saved of a controller is used where its text is the same.

        Raises:
            InputError: where the policy that is needed wasn't named, or the state can't be used.
        """
        found = ScheduledPlans(*reconcile(saved, self.plans, self.horizon, policy))
        for target, plan in found.plans.parts:
            if target in found._states and saved.schedules.get(str(target)) == str(plan):
                controller = found.resolved[target]
                assert isinstance(controller, Controller)
                found._states[target] = state = saved.controllers.get(str(target), {})
                controller.require_own(state)
        return found

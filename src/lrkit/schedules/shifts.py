"""A plan that begins earlier or later than its segment."""

from dataclasses import KW_ONLY, dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self, overload

import numpy as np

from lrkit.schedules.composition import ControlledWrapper, Wrapper, require_plan
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import Horizon, LengthLike, as_length, show_steps
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.metric import Metric
from lrkit.schedules.plan import Plan, State

__all__ = ["ControlledShift", "Shift", "shift"]


@dataclass(frozen=True, repr=False)
class _Shift(Wrapper):
    kind: ClassVar[str] = "shift"
    example: ClassVar[str] = "shift(cosine(to=0), later=30%)"

    _: KW_ONLY
    later: LengthLike | None = None
    earlier: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.later is None) == (self.earlier is None):
            raise InputError(
                f"shift takes either later= or earlier=, not {'neither' if self.later is None else 'both'}"
            )
        name = "later" if self.earlier is None else "earlier"
        object.__setattr__(self, name, as_length(getattr(self, name), name))
        if self._why_open is None:
            self._measure(Horizon())  # refused here where that can be known

    def _by(self, horizon: Horizon) -> Fraction:
        """How much longer than its plan it lasts, unrounded; negative when it begins earlier."""
        if self.later is not None:
            return horizon.measure(self.later)
        assert self.earlier is not None
        return -horizon.measure(self.earlier)

    def _steps_by(self, horizon: Horizon) -> int:
        """The same in whole steps, at least one."""
        if self.later is not None:
            return horizon.steps_in(self.later)
        assert self.earlier is not None
        return -horizon.steps_in(self.earlier)

    def _measure(self, horizon: Horizon) -> Fraction | None:
        inner = self.plan._measure(horizon)
        if inner is None:
            return None
        length = inner + self._by(horizon)
        if length <= 0:
            raise InputError(
                f"earlier must leave something of {self.plan}, but {self} has "
                f"{self._arithmetic(horizon)} = {show_steps(length)} steps"
            )
        return length

    def _arithmetic(self, horizon: Horizon) -> str:
        inner, by = self.plan._arithmetic(horizon), self._by(horizon)
        return f"{show_steps(by)} + {inner}" if by > 0 else f"{inner} - {show_steps(-by)}"

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        by = self._steps_by(horizon)
        if steps <= by:
            raise InputError(f"{self} needs {by} of {steps} steps, which leaves nothing for {self.plan}")
        later, earlier = (by, None) if by > 0 else (None, -by)
        return replace(self, plan=self.plan._resolve(horizon, steps - by), later=later, earlier=earlier)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        return self.plan._curve(np.maximum(t - self._steps_by(Horizon()), 0.0), base, entry, state)


class Shift(_Shift, Schedule):
    """A schedule that begins earlier or later; made by `shift`."""


class ControlledShift(_Shift, ControlledWrapper):
    """A controller that begins earlier or later; made by `shift`. What is reported before it begins isn't its own."""

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        by = self._steps_by(Horizon())
        if t is None and by > 0:
            raise InputTypeError("update needs t, the updates done so far, to know whether what was shifted has begun")
        if t is not None and t <= by:
            return state
        return super()._update(state, metric, None if t is None else t - by)


@overload
def shift(plan: Schedule, *, later: LengthLike | None = None, earlier: LengthLike | None = None) -> Shift: ...
@overload
def shift(
    plan: Controller, *, later: LengthLike | None = None, earlier: LengthLike | None = None
) -> ControlledShift: ...
def shift(plan: Plan, *, later: LengthLike | None = None, earlier: LengthLike | None = None) -> Plan:
    """The plan, begun later (it holds its first value until then) or earlier (as if so many steps were done already).

    value(t) = plan(max(t - later, 0)), or plan(t + earlier)

    It lasts as much longer or shorter than the plan. A plan that takes what remains still ends where the segment ends.

    Args:
        plan: a schedule or a controller; a controller doesn't see what is reported before it begins.
        later: a length, as anywhere; exactly one of the two is given.
        earlier: a length.

    Raises:
        InputError: when both or neither are given, or nothing is left of the plan.

    >>> from lrkit import linear
    >>> shift(linear(2, to=0), later=2)(range(5)).tolist()
    [1.0, 1.0, 1.0, 0.5, 0.0]
    >>> shift(linear(4, to=0), earlier=2)(range(3)).tolist()
    [0.5, 0.25, 0.0]
    """
    plan = require_plan("shift", plan)
    made = ControlledShift if isinstance(plan, Controller) else Shift
    return made(plan, later=later, earlier=earlier)

"""A schedule that is held for a period at a time."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.composition import require_schedule
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import Horizon, LengthLike, as_length, round_half_up
from lrkit.schedules.loops import Schedule
from lrkit.schedules.plan import State

__all__ = ["Every"]


@dataclass(frozen=True, repr=False)
class Every(Schedule):
    """A schedule whose clock ticks once a period: that is how anything counted in epochs is said.

    value(t) = schedule(floor(t / period))

    Lengths inside count periods; `5%` is still that share of the whole.

    >>> from lrkit import exponential
    >>> Every("1ep", exponential(factor=0.5)).over(6, epoch_steps=2)(range(6)).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    kind: ClassVar[str] = "every"
    example: ClassVar[str] = "every(1ep, exponential(factor=0.7))"
    positional: ClassVar[int] = 2

    period: LengthLike
    schedule: Schedule
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", as_length(self.period, "period"))
        if self.steps is not None:
            object.__setattr__(self, "steps", as_length(self.steps, "steps"))
        object.__setattr__(self, "schedule", require_schedule(self.kind, "schedule", self.schedule))

    def _open(self) -> str | None:
        return super()._open() or self.schedule._why_open

    def _measure(self, horizon: Horizon) -> Fraction | None:
        if self.steps is not None:
            return horizon.measure(self.steps)
        period = horizon.steps_in(self.period)
        inner = self.schedule._measure(horizon.in_periods(period))
        return None if inner is None else inner * period

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        period = horizon.steps_in(self.period)
        inside = horizon.in_periods(period)
        own = self.schedule._measure(inside)
        ticks = math.ceil(Fraction(steps, period)) if own is None else max(1, round_half_up(own))
        return replace(self, period=period, schedule=self.schedule._resolve(inside, ticks), steps=steps)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        assert isinstance(self.period, int)
        length = self.length
        inside = t if length is None else np.minimum(t, length - 1)
        return self.schedule._curve(np.floor(inside / self.period), base, entry, state)

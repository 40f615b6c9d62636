"""A schedule as a cycle that is repeated, each time longer and lower if wanted."""

import itertools
import math
from dataclasses import KW_ONLY, dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.composition import require_schedule
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import Horizon, LengthLike, NeedsHorizonError, as_length, round_half_up, show_steps
from lrkit.schedules.loops import Schedule
from lrkit.schedules.plan import State
from lrkit.schedules.shares import as_count, as_number, power

__all__ = ["Repeat"]

_MOST_STEPS = 2**53
_SLACK = 1e-13  # what floats miss the length of a cycle by, relatively
_SHOWN = 4  # cycles that an error lists one by one


@dataclass(frozen=True, repr=False)
class Repeat(Schedule):
    """A schedule as a cycle that is repeated: also said `plan.repeat(cycles, ...)`.

    Cycle i begins at e(i) = round half up(c · (1 + stretch + … + stretch^(i-1))) with c the length of the first cycle,
    and is the plan, played more slowly, with the base multiplied by decay^i:

    value(t, base) = plan((t - e(i)) · e(1) / (e(i+1) - e(i)), base · decay^i) for e(i) <= t < e(i+1)

    Inside, the horizon is the cycle: `5%` is of the first cycle, and is stretched with it. Where the plan names its
    length, that is the cycle's; where it doesn't, or where `steps` is given too, the cycles share the steps. Without
    `cycles` it repeats until its steps, or the horizon, end, wherever in a cycle that is. Each cycle begins anew at
    the base, not where the segment before ended; absolute values don't decay.

    Args:
        plan: a schedule; a controller isn't repeated.
        cycles: how many.
        stretch: what the length of each cycle is multiplied by, at least 1.
        decay: what the base is multiplied by for each cycle, above 0 and at most 1.
        steps: how long it lasts in all.

    Raises:
        InputError: when the cycle's length is open and no number of cycles is given, or the plan doesn't fit a cycle.

    Source: SGDR (arXiv 1608.03983) for the cosine; here for any plan.

    >>> from lrkit import linear, warmup
    >>> linear(2, to=0).repeat(2, stretch=2, decay=0.5)(range(7)).tolist()
    [1.0, 0.5, 0.5, 0.375, 0.25, 0.125, 0.0]
    >>> (warmup("50%") >> linear(to=0)).repeat(2).over(8)(range(8)).tolist()
    [0.5, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5]
    """

    kind: ClassVar[str] = "repeat"
    example: ClassVar[str] = "repeat(cosine(to=0.1), 3, stretch=1.5, decay=0.8)"

    plan: Schedule
    cycles: int | None = None
    _: KW_ONLY
    stretch: float = 1.0
    decay: float = 1.0
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("plan", require_schedule(self.kind, "plan", self.plan))
        if self.cycles is not None:
            put("cycles", as_count(self.cycles, "cycles", low=1))
        put("stretch", as_number(self.stretch, "stretch", low=1.0))
        put("decay", as_number(self.decay, "decay", low=0.0, high=1.0, low_open=True))
        if self.steps is not None:
            put("steps", as_length(self.steps, "steps"))
        if self._why_open is None:  # refused here where that can be known
            self._measure(Horizon())
            if self.cycles is not None and isinstance(self.steps, int):
                self._shared(Horizon(), self.steps)

    # --- length -----------------------------------------------------------------------------------

    def _own(self, horizon: Horizon) -> int | None:
        """The length of the first cycle where the plan names it, in whole steps."""
        try:
            own = self.plan._measure(replace(horizon, steps=None))
        except NeedsHorizonError:  # it is a share of the cycle
            return None
        return None if own is None else max(1, round_half_up(own))

    def _open(self) -> str | None:
        why = super()._open() or self.plan._why_open
        if why is None and self.plan.length is None and (self.cycles is None or self.steps is None):
            return f"the length of {self.plan}, which was left out"
        return why

    def _measure(self, horizon: Horizon) -> Fraction | None:
        if self.steps is not None:
            return horizon.measure(self.steps)
        own = self._own(horizon)
        if own is None or self.cycles is None:
            return None
        total = own * self.cycles if self.stretch == 1.0 else float(_end(self.cycles, own, self.stretch))
        if total > _MOST_STEPS:
            raise InputError(f"cycles must make at most 2**53 steps, but {self.cycles} cycles of {self.plan} are more")
        return Fraction(total)

    def _arithmetic(self, horizon: Horizon) -> str:
        own = self._own(horizon)
        if self.steps is not None or own is None or self.cycles is None:
            return super()._arithmetic(horizon)
        if self.stretch == 1.0 or self.cycles > _SHOWN:
            total = self._measure(horizon) or Fraction(0)
            return f"{self.cycles} · {own}" if self.stretch == 1.0 else show_steps(total)
        ends = [int(_end(i, own, self.stretch)) for i in range(self.cycles + 1)]
        return " + ".join(str(after - before) for before, after in itertools.pairwise(ends))

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        own = self._own(horizon)
        if self.cycles is None:
            if own is None:
                raise InputError(f"cycles must be given, because {self.plan} in {self} says no length in steps")
            return replace(self, plan=self.plan._resolve(replace(horizon, steps=own), own), steps=steps)
        if own is not None and self.steps is None and self._measure(horizon) == steps:
            return replace(self, plan=self.plan._resolve(replace(horizon, steps=own), own))
        if own is None or self.steps is not None:
            cycle, length = self._shared(horizon, steps)
        else:  # a step more or less than its plan makes it, where parts of steps before it add up
            length = self._share(steps)
            cycle = replace(horizon, steps=length)
        plan = self.plan._resolve(cycle, length)
        share = float(steps / _sum(self.cycles, self.stretch))
        even = plan.length is not None and math.isclose(share, plan.length, rel_tol=_SLACK)
        return replace(self, plan=plan, steps=None if even else steps)  # where it's even, the plan's length says it all

    def _share(self, steps: int) -> int:
        """The whole steps of the first of the cycles that share `steps`."""
        first = float(steps / _sum(self.cycles or 1, self.stretch))
        if first < 1.0:
            raise InputError(f"cycles must fit, but {self.cycles} cycles of {self} don't fit into {steps} steps")
        return int(_end(1, first, self.stretch))

    def _shared(self, horizon: Horizon, steps: int) -> tuple[Horizon, int]:
        """The horizon in the first of the cycles that share `steps`, and how long the plan lasts in it."""
        first = self._share(steps)
        cycle = replace(horizon, steps=first)
        own = self.plan._measure(cycle)
        length = first if own is None else max(1, round_half_up(own))
        if length > first:
            raise InputError(
                f"{self} needs {self.plan._needs(cycle)} steps a cycle, but the first of {self.cycles} cycles in "
                f"{steps} steps has {first}"
            )
        return cycle, length

    # --- evaluation -------------------------------------------------------------------------------

    def _span(self) -> tuple[float, float]:
        """How long the first cycle lasts, unrounded, and the step at which the whole ends."""
        if self.cycles is not None and self.steps is not None:
            assert isinstance(self.steps, int)
            return float(self.steps / _sum(self.cycles, self.stretch)), float(self.steps)
        length = self.plan.length
        assert length is not None
        if self.cycles is not None:
            return float(length), float(_end(self.cycles, length, self.stretch))
        return float(length), math.inf if self.steps is None else float(self.length or 0)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        first, end = self._span()
        held = np.minimum(t, end)
        cycle = _cycle(np.minimum(t, end - 0.5), first, self.stretch)
        begin, until = _end(cycle, first, self.stretch), _end(cycle + 1.0, first, self.stretch)
        inside = np.clip(held - begin, 0.0, until - begin)
        # Where the end cuts a cycle short, the end value is the limit from the left.
        inside = np.where((t >= end) & (until > end), np.nextafter(inside, 0.0), inside)
        # Multiplied first: a whole number of the plan's steps comes out whole.
        position = inside * _end(1, first, self.stretch) / (until - begin)
        peak = base * power(self.decay, cycle)
        return self.plan._curve(position, peak, peak, None)


def _sum(cycles: Array | int, stretch: float) -> Array:
    """1 + stretch + … + stretch^(cycles - 1): how long the cycles are together, in first cycles."""
    count = np.asarray(cycles, dtype=np.float64)
    if stretch == 1.0:
        return count
    with np.errstate(over="ignore"):  # then they are infinitely long
        total: Array = np.expm1(count * math.log1p(stretch - 1.0)) / (stretch - 1.0)
    return total


def _end(cycles: Array | int, first: float, stretch: float) -> Array:
    """The step at which so many cycles end, rounded half up; halves that a float just misses are halves."""
    end: Array = np.floor(first * _sum(cycles, stretch) * (1.0 + _SLACK) + 0.5)
    return end


def _cycle(t: Array, first: float, stretch: float) -> Array:
    """The number of the cycle that step t is in: by the inverse of `_end`, which rounding puts off by one at most."""
    if stretch == 1.0:
        cycle = np.floor(t / first)
    else:
        cycle = np.floor(np.log1p(t * (stretch - 1.0) / first) / math.log1p(stretch - 1.0))
    cycle = np.where(_end(cycle, first, stretch) > t, np.maximum(cycle - 1.0, 0.0), cycle)
    return np.where(_end(cycle + 1.0, first, stretch) <= t, cycle + 1.0, cycle)

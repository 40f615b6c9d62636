"""Composition: plans in sequence, products of plans, and a plan that is held for a period at a time.

Each composition comes in two types, because what contains a controller is a controller. The arithmetic is the same
for both and stands once, in functions over the parts and their states (None for a schedule).
"""

import itertools
import math
from collections.abc import Sequence as Series
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.lengths import Horizon, LengthLike, as_length, round_half_up, show_steps
from lrkit.schedules.plan import Array, Controller, Plan, Schedule, State
from lrkit.schedules.shares import Absolute

__all__ = ["ControlledProduct", "ControlledSequence", "Every", "Product", "Sequence", "chain", "multiply"]


def chain(*plans: Plan) -> Plan:
    """The plans one after the other, flattened."""
    parts = _flatten(plans, _InSequence)
    if all(isinstance(part, Schedule) for part in parts):
        return Sequence(parts)
    return ControlledSequence(parts)


def multiply(*plans: Plan) -> Plan:
    """The product of the plans, flattened."""
    parts = _flatten(plans, _InProduct)
    if all(isinstance(part, Schedule) for part in parts):
        return Product(parts)
    return ControlledProduct(parts)


def _flatten(plans: Series[Plan], composition: "type[Composition]") -> tuple[Plan, ...]:
    """The plans, those of the same composition replaced by their parts (both are associative)."""
    return tuple(itertools.chain.from_iterable(p.parts if isinstance(p, composition) else (p,) for p in plans))


@dataclass(frozen=True, repr=False)
class Composition(Plan):
    """What sequences and products share: parts, and the states of those that are controllers."""

    parts: tuple[Plan, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if len(self.parts) < 2:
            raise InputError(f"a {self.kind} needs at least two parts, not {len(self.parts)}")

    def _open(self) -> str | None:
        return next(filter(None, (part._open() for part in self.parts)), None)

    def _init_parts(self) -> State:
        return {"parts": [p.init() if isinstance(p, Controller) else None for p in self.parts]}

    def _states(self, state: State | None) -> Series[State | None]:
        return [None] * len(self.parts) if state is None else state["parts"]


# --- sequence -------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _InSequence(Composition):
    kind: ClassVar[str] = "sequence"
    example: ClassVar[str] = "warmup(10%) >> constant(steps=60%) >> cosine(to=0)"

    def __str__(self) -> str:
        return " >> ".join(map(str, self.parts))

    def _open(self) -> str | None:
        for part in self.parts[:-1]:
            if part._open() is None and part._measure(Horizon()) is None:
                return f"the length of {part}, which was left out"
        return super()._open()

    def _measure(self, horizon: Horizon) -> Fraction | None:
        measures = [part._measure(horizon) for part in self.parts]
        known = [m for m in measures if m is not None]
        if len(known) == len(measures):
            return sum(known, Fraction(0))
        if len(known) + 1 < len(measures):
            without = [str(p) for p, m in zip(self.parts, measures, strict=True) if m is None]
            raise InputError(
                f"only one part of a sequence can take what remains, but {' and '.join(without)} have no length"
            )
        return None

    def _arithmetic(self, horizon: Horizon) -> str:
        terms = [p._arithmetic(horizon) for p in self.parts if p._measure(horizon) is not None]
        total = sum((p._measure(horizon) or Fraction(0) for p in self.parts), Fraction(0))
        return f"{' + '.join(terms)} = {show_steps(total)}" if len(terms) > 1 else terms[0]

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        measures = [part._measure(horizon) for part in self.parts]
        rest = steps - sum((m for m in measures if m is not None), Fraction(0))
        if None in measures and rest <= 0:
            part = self.parts[measures.index(None)]
            raise InputError(
                f"{self} needs {self._arithmetic(horizon)} of {steps} steps, which leaves nothing for {part}"
            )
        resolved, begin, end = [], 0, Fraction(0)
        for part, measure in zip(self.parts, measures, strict=True):
            end += rest if measure is None else measure
            until = max(begin + 1, round_half_up(end))
            resolved.append(part._resolve(horizon, until - begin))
            begin = until
        if begin > steps:
            raise InputError(f"{self} has {len(self.parts)} parts and doesn't fit into {steps} steps")
        return replace(self, parts=tuple(resolved))

    def _begins(self) -> list[int]:
        """The step at which each part begins."""
        return list(itertools.accumulate((_length(part) for part in self.parts[:-1]), initial=0))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        value = np.empty(t.shape)
        for part, begin, own in zip(self.parts, self._begins(), self._states(state), strict=True):
            here = t >= begin
            value = np.where(here, part._curve(np.maximum(t - begin, 0.0), base, entry, own), value)
            if part is not self.parts[-1]:
                entry = part._curve(np.full(t.shape, float(_length(part))), base, entry, own)
        return value


class Sequence(_InSequence, Schedule):
    """Schedules one after the other: `a >> b`.

    Each covers its steps and the next begins where it ended, unless it names its start.

    >>> from lrkit import linear, warmup
    >>> (warmup(2) >> linear(2, to=0.5))([0, 1, 2, 3, 4]).tolist()
    [0.5, 1.0, 1.0, 0.75, 0.5]
    """


class ControlledSequence(_InSequence, Controller):
    """A sequence with controllers in it: each sees only the metrics that are reported during its segment."""

    def init(self) -> State:
        """The states of the parts, None for schedules."""
        return self._init_parts()

    def _update(self, state: State, metric: float, t: int | None) -> State:
        if t is None:
            raise InputTypeError("update needs t, the updates done so far, to know which part of a sequence reports")
        begins = self._begins()
        index = max([i for i, begin in enumerate(begins) if begin < t], default=0)
        part, states = self.parts[index], list(state["parts"])
        if isinstance(part, Controller):
            states[index] = part._update(states[index], metric, t - begins[index])
        return {"parts": states}


# --- product --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _InProduct(Composition):
    kind: ClassVar[str] = "product"
    example: ClassVar[str] = "staircase(every=2ep, factor=0.6) * (warmup(10%) >> constant())"

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts[1:]:
            if _has_absolute(part):
                raise InputError(f"a multiplier has no base, so absolute values mean nothing in {part}")

    def __str__(self) -> str:
        return " * ".join(f"({part})" if isinstance(part, _InSequence) else str(part) for part in self.parts)

    def _measure(self, horizon: Horizon) -> Fraction | None:
        measures = [part._measure(horizon) for part in self.parts]
        return max((m for m in measures if m is not None), default=None)

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        def own(part: Plan) -> int:
            measure = part._measure(horizon)
            return steps if measure is None else min(steps, max(1, round_half_up(measure)))

        return replace(self, parts=tuple(part._resolve(horizon, own(part)) for part in self.parts))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        first, *others = zip(self.parts, self._states(state), strict=True)
        value = first[0]._curve(t, base, entry, first[1])
        one = np.ones(t.shape)
        for part, own in others:
            value = value * part._curve(t, one, one, own)
        return value


class Product(_InProduct, Schedule):
    """The product of schedules: `a * b`.

    The first carries the base and begins where the segment before ended; the others are multipliers that start
    at 1. It lasts as long as the longest of them that names its length.

    >>> from lrkit import staircase, warmup
    >>> (staircase(every=2, factor=0.5) * warmup(2))([0, 1, 2, 3]).tolist()
    [0.5, 1.0, 0.5, 0.5]
    """


class ControlledProduct(_InProduct, Controller):
    """A product with controllers in it: all of them see every metric."""

    def init(self) -> State:
        """The states of the factors, None for schedules."""
        return self._init_parts()

    def _update(self, state: State, metric: float, t: int | None) -> State:
        pairs = zip(self.parts, state["parts"], strict=True)
        return {"parts": [p._update(s, metric, t) if isinstance(p, Controller) else None for p, s in pairs]}


# --- every ----------------------------------------------------------------------------------------


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
        given: object = self.schedule
        if isinstance(given, Controller):
            raise InputTypeError(
                f"every takes a schedule; {given} is a controller, which moves when a metric is reported"
            )
        if not isinstance(given, Schedule):
            raise InputTypeError(f"every takes a schedule, not {given!r}")

    def _open(self) -> str | None:
        return super()._open() or self.schedule._open()

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


def _length(part: Plan) -> int:
    length = part.length
    assert length is not None
    return length


def _has_absolute(plan: Plan) -> bool:
    if isinstance(plan, Composition):
        return any(map(_has_absolute, plan.parts))
    if isinstance(plan, Every):
        return _has_absolute(plan.schedule)
    listed = (value if isinstance(value, tuple) else (value,) for _, value in plan._items())
    return any(isinstance(each, Absolute) for values in listed for each in values)

"""Products of plans: the first carries the base, the others are multipliers."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.composition import Composition, has_absolute
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import Horizon, round_half_up
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.metric import Metric
from lrkit.schedules.plan import Plan, State
from lrkit.schedules.sequence import InSequence

__all__ = ["ControlledProduct", "InProduct", "Product"]


@dataclass(frozen=True, repr=False)
class InProduct(Composition):
    """The arithmetic of a product."""

    kind: ClassVar[str] = "product"
    example: ClassVar[str] = "staircase(every=2ep, factor=0.6) * warmup(10%)"

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts[1:]:
            if has_absolute(part):
                raise InputError(f"a multiplier has no base, so absolute values mean nothing in {part}")

    def __str__(self) -> str:
        return " * ".join(f"({part})" if isinstance(part, InSequence) else str(part) for part in self.parts)

    def _measure(self, horizon: Horizon) -> Fraction | None:
        longest = Fraction(0)
        for part in self.parts:
            measure = part._measure(horizon)
            if measure is None:
                return None
            longest = max(longest, measure)
        return longest

    def _arithmetic(self, horizon: Horizon) -> str:
        longest = max(self.parts, key=lambda part: part._measure(horizon) or Fraction(0))
        return longest._arithmetic(horizon)

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        longest = self._measure(horizon)

        def own(part: Plan) -> int:
            measure = part._measure(horizon)
            if measure is None or measure == longest:
                return steps
            if longest is None and round_half_up(measure) > steps:
                raise InputError(f"{part} in {self} needs {part._needs(horizon)} steps, but there are {steps}")
            return min(steps, max(1, round_half_up(measure)))

        return replace(self, parts=tuple(part._resolve(horizon, own(part)) for part in self.parts))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        first, *others = zip(self.parts, self._states(state), strict=True)
        value = first[0]._curve(t, base, entry, first[1])
        one = np.ones(t.shape)
        for part, own in others:
            value = value * part._curve(t, one, one, own)
        return value


class Product(InProduct, Schedule):
    """The product of schedules: `a * b`.

    The first carries the base and begins where the segment before ended; the others are multipliers that start
    at 1. It lasts as long as the longest of them; when one of them takes what remains, the product does.

    >>> from lrkit import staircase, warmup
    >>> (staircase(every=2, factor=0.5) * warmup(2))([0, 1, 2, 3]).tolist()
    [0.5, 1.0, 0.5, 0.5]
    """


class ControlledProduct(InProduct, Controller):
    """A product with controllers in it: all of them see every metric."""

    def init(self) -> State:
        """The states of the factors, None for schedules."""
        return self._init_parts()

    def decided(self, state: State) -> object:
        """That of each controller in it."""
        return self._decided_parts(state)

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        pairs = zip(self.parts, state["parts"], strict=True)
        return {"parts": [p._update(s, metric, t) if isinstance(p, Controller) else None for p, s in pairs]}

"""Plans in sequence: each covers its steps, and the next begins where it ended."""

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.composition import Composition, length_of
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import Horizon, round_half_up, show_steps
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.metric import Metric
from lrkit.schedules.plan import State

__all__ = ["ControlledSequence", "InSequence", "Sequence"]


@dataclass(frozen=True, repr=False)
class InSequence(Composition):
    """The arithmetic of a sequence."""

    kind: ClassVar[str] = "sequence"
    example: ClassVar[str] = "warmup(10%) >> constant(steps=60%) >> cosine(to=0)"

    def __str__(self) -> str:
        return " >> ".join(map(str, self.parts))

    def _open(self) -> str | None:
        for part in self.parts[:-1]:
            if part._why_open is None and part.length is None:
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
        return " + ".join(p._arithmetic(horizon) for p in self.parts if p._measure(horizon) is not None)

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        measures = [part._measure(horizon) for part in self.parts]
        known = sum((m for m in measures if m is not None), Fraction(0))
        rest = steps - known
        if None in measures and rest <= 0:
            part, terms = self.parts[measures.index(None)], self._arithmetic(horizon)
            total = show_steps(known)
            needed = total if terms == total else f"{terms} = {total}"
            raise InputError(f"{self} needs {needed} of {steps} steps, which leaves nothing for {part}")
        ends = itertools.accumulate(rest if measure is None else measure for measure in measures)
        # The last part takes what rounding has left, so that the whole lasts exactly `steps`.
        whole = [*map(round_half_up, ends)]
        whole[-1] = steps
        resolved, begin = [], 0
        for part, end in zip(self.parts, whole, strict=True):
            until = max(begin + 1, end)
            resolved.append(part._resolve(horizon, until - begin))
            begin = until
        if begin > steps:
            raise InputError(f"{self} has {len(self.parts)} parts and doesn't fit into {steps} steps")
        return replace(self, parts=tuple(resolved))

    def _begins(self) -> list[int]:
        """The step at which each part begins."""
        return list(itertools.accumulate((length_of(part) for part in self.parts[:-1]), initial=0))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        value = np.empty(t.shape)
        begins = self._begins()
        ends = [*begins[1:], math.inf]
        first, last = t.min(initial=math.inf), t.max(initial=-math.inf)
        for part, begin, end, own in zip(self.parts, begins, ends, self._states(state), strict=True):
            # Held at its end, one curve is the part's value and where the next begins; two would double per nesting.
            curve = part._curve(np.minimum(np.maximum(t - begin, 0.0), end - begin), base, entry, own)
            if first < end:  # else no step is in this part
                value = np.where(t >= begin, curve, value)
            if last < end:
                break
            entry = np.where(t >= end, curve, base)  # steps that the next part doesn't have get what any part can take
        return value


class Sequence(InSequence, Schedule):
    """Schedules one after the other: `a >> b`.

    Each covers its steps and the next begins where it ended, unless it names its start.

    >>> from lrkit import linear, warmup
    >>> (warmup(2) >> linear(2, to=0.5))([0, 1, 2, 3, 4]).tolist()
    [0.5, 1.0, 1.0, 0.75, 0.5]
    """


class ControlledSequence(InSequence, Controller):
    """A sequence with controllers in it: each sees only the metrics that are reported during its segment."""

    def init(self) -> State:
        """The states of the parts, None for schedules."""
        return self._init_parts()

    def decided(self, state: State) -> object:
        """That of each controller in it."""
        return self._decided_parts(state)

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        if t is None:
            raise InputTypeError("update needs t, the updates done so far, to know which part of a sequence reports")
        begins = self._begins()
        index = max([i for i, begin in enumerate(begins) if begin < t], default=0)
        part, states = self.parts[index], list(state["parts"])
        if isinstance(part, Controller):
            states[index] = part._update(states[index], metric, t - begins[index])
        return {"parts": states}

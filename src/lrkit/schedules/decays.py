"""Decays: kinds that fall by a rule of the step alone, with or without an end."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, as_list, entry_or, held, inside, whole_steps
from lrkit.schedules.lengths import LengthLike, as_length, require_ascending
from lrkit.schedules.plan import State
from lrkit.schedules.shares import ShareLike, as_positive, power

__all__ = ["Decay", "InverseSqrt", "InverseTime", "Milestones", "Power", "Staircase"]


@dataclass(frozen=True, repr=False)
class Staircase(Leaf):
    """A factor at regular intervals (torch's StepLR).

    value(t) = start · factor^floor(t / every)

    Without `start` it begins where the segment before ended, or at the base.

    >>> Staircase(every=2, factor=0.5)([0, 1, 2, 3, 4]).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    kind: ClassVar[str] = "staircase"
    example: ClassVar[str] = "staircase(every=3ep, factor=0.5)"

    steps: LengthLike | None = None
    _: KW_ONLY
    every: LengthLike
    factor: float = 0.1
    start: ShareLike | None = None

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        stairs = np.floor(inside(t, self.steps) / whole_steps(self.every))
        return entry_or(self.start, base, entry) * power(self.factor, stairs)


@dataclass(frozen=True, repr=False)
class Milestones(Leaf):
    """A factor at chosen steps (torch's MultiStepLR).

    value(t) = start · factor^(number of `at` that are <= t)

    `at` ascends; what stands twice counts twice; a milestone past the horizon is never reached. Without `start`
    it begins where the segment before ended, or at the base.

    >>> Milestones(at=[2, 3], factor=0.5)([1, 2, 3, 4]).tolist()
    [1.0, 0.5, 0.25, 0.25]
    """

    kind: ClassVar[str] = "milestones"
    example: ClassVar[str] = "milestones(at=[50%, 75%], factor=0.3)"

    steps: LengthLike | None = None
    _: KW_ONLY
    at: Iterable[LengthLike]
    factor: float = 0.1
    start: ShareLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at = tuple(as_length(each, "at") for each in as_list(self.at, "at", "steps"))
        if not at:
            raise InputError("at must have at least one step, not []")
        require_ascending(at, "at")
        self._set("at", at)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        at = np.sort(np.array([whole_steps(each) for each in self.at], dtype=np.float64))
        passed = np.searchsorted(at, inside(t, self.steps), side="right")
        return entry_or(self.start, base, entry) * power(self.factor, passed.astype(np.float64))


@dataclass(frozen=True, repr=False)
class Decay(Leaf):
    """What falls from where it begins by a rule of the step alone; where it has a length it holds what it reached.

    value(t) = start · share(t)
    """

    steps: LengthLike | None = None
    _: KW_ONLY
    start: ShareLike | None = None

    @abstractmethod
    def _share(self, t: Array) -> Array:
        """What of the start is left at step `t`."""

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        return entry_or(self.start, base, entry) * self._share(held(t, self.steps))


@dataclass(frozen=True, repr=False, kw_only=True)
class InverseSqrt(Decay):
    """Decay with the inverse square root of the step.

    value(t) = start · √(timescale / (t + timescale))

    Args:
        steps: how long it lasts; then it holds what it reached.
        start: where it begins; else where the segment before ended, or at the base.
        timescale: a length, after which the value has been divided by √2. Behind a warmup of that length, as in
            `warmup(4000) >> inverse_sqrt(timescale=4000)`, the value at a step is peak · √(4000 / step).

    Source: transformer training (arXiv 1706.03762); transformers' `get_inverse_sqrt_schedule`.

    >>> InverseSqrt(timescale=4)([0, 5, 12]).round(6).tolist()
    [1.0, 0.666667, 0.5]
    """

    kind: ClassVar[str] = "inverse_sqrt"
    example: ClassVar[str] = "warmup(10%) >> inverse_sqrt(timescale=10%)"

    timescale: LengthLike

    def _share(self, t: Array) -> Array:
        timescale = whole_steps(self.timescale)
        return np.sqrt(timescale / (t + timescale))


@dataclass(frozen=True, repr=False, kw_only=True)
class InverseTime(Decay):
    """Decay with the inverse of the step.

    value(t) = start / (1 + t / timescale)

    Args:
        steps: how long it lasts; then it holds what it reached.
        start: where it begins; else where the segment before ended, or at the base.
        timescale: a length, after which the value has been halved.

    Source: Robbins and Monro (1951); Keras's InverseTimeDecay, whose decay_steps / decay_rate is the timescale.

    >>> InverseTime(timescale=4)([0, 4, 12]).tolist()
    [1.0, 0.5, 0.25]
    """

    kind: ClassVar[str] = "inverse_time"
    example: ClassVar[str] = "inverse_time(timescale=10%)"

    timescale: LengthLike

    def _share(self, t: Array) -> Array:
        return 1.0 / (1.0 + t / whole_steps(self.timescale))


@dataclass(frozen=True, repr=False, kw_only=True)
class Power(Decay):
    """Decay with a power of the step, from its first one on or once it has fallen below where it begins.

    value(t) = start · (1 + t / timescale)^-exponent, or start · min(1, scale · (t + 1)^-exponent); exactly one of
    timescale and scale is given.

    Args:
        steps: how long it lasts; then it holds what it reached.
        start: where it begins; else where the segment before ended, or at the base.
        exponent: how fast it falls, above 0.
        timescale: a length.
        scale: what the power is multiplied by; the value is constant for the first scale^(1 / exponent) steps.

    Source: with `scale` the power scheduler (arXiv 2408.13359), η = min(η_max, β · a · n^b) for a batch size of β and n
    trained tokens: with τ tokens in a step, exponent = -b and scale = β · a · τ^b / η_max.

    >>> Power(timescale=4, exponent=2)([0, 4, 12]).tolist()
    [1.0, 0.25, 0.0625]
    >>> Power(scale=2, exponent=0.5)([0, 3, 15]).tolist()
    [1.0, 1.0, 0.5]
    """

    kind: ClassVar[str] = "power"
    example: ClassVar[str] = "power(exponent=0.5, timescale=2%)"

    exponent: float
    timescale: LengthLike | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.timescale is None) == (self.scale is None):
            given = "both" if self.scale is not None else "neither"
            raise InputError(f"power takes either timescale= or scale=, not {given}")
        if self.scale is not None:
            self._set("scale", as_positive(self.scale, "scale"))

    def _share(self, t: Array) -> Array:
        if self.scale is not None:
            return np.minimum(self.scale * power(t + 1.0, -self.exponent), 1.0)
        return power(1.0 + t / whole_steps(self.timescale), -self.exponent)

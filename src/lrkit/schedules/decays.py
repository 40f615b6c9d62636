"""Decays: kinds that fall by a rule of the step alone, with or without an end."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.leaf import Leaf, entry_or, held, inside, whole_steps
from lrkit.schedules.lengths import LengthLike, as_length, require_ascending
from lrkit.schedules.plan import Array, State
from lrkit.schedules.shares import ShareLike, power

__all__ = ["InverseSqrt", "Milestones", "Staircase"]


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
        if isinstance(self.at, str | bytes) or not isinstance(self.at, Iterable):
            raise InputTypeError(f"at must be a list of steps, not {self.at!r}")
        at = tuple(as_length(each, "at") for each in self.at)
        if not at:
            raise InputError("at must have at least one step, not []")
        require_ascending(at, "at")
        self._set("at", at)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        at = np.sort(np.array([whole_steps(each) for each in self.at], dtype=np.float64))
        passed = np.searchsorted(at, inside(t, self.steps), side="right")
        return entry_or(self.start, base, entry) * power(self.factor, passed.astype(np.float64))


@dataclass(frozen=True, repr=False)
class InverseSqrt(Leaf):
    """Decay with the inverse square root of the step.

    value(t) = start · sqrt(timescale / (t + timescale))

    Args:
        steps: how long it lasts; where it has a length it holds what it reaches there.
        timescale: after so many steps the value is divided by √2; a length. Behind a warmup of as many steps, as in
            `warmup(4000) >> inverse_sqrt(timescale=4000)`, the value is peak · sqrt(4000 / step).
        start: where it begins; else where the segment before ended, or at the base.

    Source: transformer training (arXiv 1706.03762); transformers' `get_inverse_sqrt_schedule`.

    >>> InverseSqrt(timescale=4)([0, 5, 12]).round(6).tolist()
    [1.0, 0.666667, 0.5]
    """

    kind: ClassVar[str] = "inverse_sqrt"
    example: ClassVar[str] = "warmup(10%) >> inverse_sqrt(timescale=10%)"

    steps: LengthLike | None = None
    _: KW_ONLY
    timescale: LengthLike
    start: ShareLike | None = None

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        timescale = whole_steps(self.timescale)
        return entry_or(self.start, base, entry) * np.sqrt(timescale / (held(t, self.steps) + timescale))

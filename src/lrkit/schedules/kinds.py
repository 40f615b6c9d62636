"""The kinds of schedule: each a formula."""

import itertools
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.lengths import Length, LengthLike, as_length
from lrkit.schedules.plan import Array, Schedule, State
from lrkit.schedules.shares import ShareLike, as_number, as_share, at_base, power

__all__ = ["Constant", "Exponential", "Linear", "Milestones", "Staircase", "Warmup"]


@dataclass(frozen=True, repr=False)
class Leaf(Schedule):
    """A schedule that isn't composed of others: it checks its fields and has a shape."""

    needs_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        optional = {field.name for field in fields(self) if field.default is None}
        for name in ("steps", "every"):
            value = getattr(self, name, None)
            if hasattr(self, name) and not (value is None and name in optional):
                self._set(name, as_length(value, name))
        for name in ("start", "to"):
            value = getattr(self, name, None)
            if value is not None:
                self._set(name, as_share(value, name))
        factor = getattr(self, "factor", None)
        if factor is not None:
            self._set("factor", as_number(factor, "factor", low=0.0, low_open=True))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _open(self) -> str | None:
        if self.needs_steps and getattr(self, "steps", None) is None:
            return "its length, which was left out"
        return super()._open()


def _start(share: ShareLike | None, base: Array, entry: Array) -> Array:
    """Where a ramp or decay begins: at its named start, else where the segment before ended."""
    return entry if share is None else at_base(share, base)


def _lerp(start: Array, to: Array, position: Array) -> Array:
    """From `start` at position 0 to `to` at 1, exact at both ends."""
    return start * (1.0 - position) + to * position


@dataclass(frozen=True, repr=False)
class Constant(Leaf):
    """A constant share of the base.

    value(t) = share · base

    It is absolute: it doesn't begin where the segment before ended.

    >>> Constant(0.6, steps="50%")
    constant(0.6, steps=50%)
    """

    kind: ClassVar[str] = "constant"

    share: ShareLike = 1.0
    _: KW_ONLY
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("share", as_share(self.share, "share"))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        return np.broadcast_to(at_base(self.share, base), t.shape)


@dataclass(frozen=True, repr=False)
class Warmup(Leaf):
    """A linear rise whose first update isn't wasted at `start`.

    value(t) = start + (to - start) · (t + 1) / n for t < n = steps, then `to`

    Source: the usual warmup of transformer training (arXiv 1706.03762), one step earlier, so that update 0 moves
    and update n - 1 has the full rate.

    >>> Warmup(4)([0, 1, 2, 3, 4]).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    kind: ClassVar[str] = "warmup"

    steps: LengthLike
    _: KW_ONLY
    start: ShareLike = 0.0
    to: ShareLike = 1.0

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        position = np.minimum((t + 1.0) / _steps(self.steps), 1.0)
        return _lerp(at_base(self.start, base), at_base(self.to, base), position)


@dataclass(frozen=True, repr=False)
class Linear(Leaf):
    """A straight line.

    value(t) = start + (to - start) · t / n for t < n = steps, then `to`

    Without `start` it begins where the segment before ended, or at the base.

    >>> Linear(4, to=0.2)([0, 2, 4, 100]).round(3).tolist()
    [1.0, 0.6, 0.2, 0.2]
    """

    kind: ClassVar[str] = "linear"
    always: ClassVar[tuple[str, ...]] = ("to",)
    needs_steps: ClassVar[bool] = True

    steps: LengthLike | None = None
    _: KW_ONLY
    to: ShareLike = 0.0
    start: ShareLike | None = None

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        position = np.minimum(t / _steps(self.steps), 1.0)
        return _lerp(_start(self.start, base, entry), at_base(self.to, base), position)


@dataclass(frozen=True, repr=False)
class Exponential(Leaf):
    """Exponential decay, by a factor a step or towards an end.

    value(t) = start · factor^t, or start · (to / start)^(t / n) with n = steps; exactly one of the two is given.

    Without `start` it begins where the segment before ended, or at the base. torch's ExponentialLR(gamma), which
    counts epochs, is `every("1ep", exponential(factor=gamma))`.

    >>> Exponential(factor=0.5)([0, 1, 2]).tolist()
    [1.0, 0.5, 0.25]
    >>> Exponential(2, to=0.01)([0, 1, 2, 3]).round(3).tolist()
    [1.0, 0.1, 0.01, 0.01]
    """

    kind: ClassVar[str] = "exponential"

    steps: LengthLike | None = None
    _: KW_ONLY
    to: ShareLike | None = None
    factor: float | None = None
    start: ShareLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.to is None) == (self.factor is None):
            given = "both" if self.to is not None else "neither"
            raise InputError(f"exponential takes either to= or factor=, not {given}")
        for name in ("to", "start"):
            value = getattr(self, name)
            if value is not None:
                as_share(value, name, low_open=True)

    def _open(self) -> str | None:
        if self.to is not None and self.steps is None:
            return "its length, which was left out"
        return super()._open()

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        start = _start(self.start, base, entry)
        if self.factor is not None:
            held = t if self.steps is None else np.minimum(t, _steps(self.steps))
            return start * power(self.factor, held)
        assert self.to is not None
        position = np.minimum(t / _steps(self.steps), 1.0)
        # start^(1-x) · to^x needs no division, so a start of zero gives zero.
        return power(start, 1.0 - position) * power(at_base(self.to, base), position)


@dataclass(frozen=True, repr=False)
class Staircase(Leaf):
    """A factor at regular intervals (torch's StepLR).

    value(t) = start · factor^floor(t / every)

    Without `start` it begins where the segment before ended, or at the base.

    >>> Staircase(every=2, factor=0.5)([0, 1, 2, 3, 4]).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    kind: ClassVar[str] = "staircase"

    steps: LengthLike | None = None
    _: KW_ONLY
    every: LengthLike
    factor: float = 0.1
    start: ShareLike | None = None

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        stairs = np.floor(_inside(t, self.steps) / _steps(self.every))
        return _start(self.start, base, entry) * power(self.factor, stairs)


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
        for before, after in itertools.pairwise(at):
            if _amount(before) > _amount(after) and _unit(before) == _unit(after):
                raise InputError(f"at must ascend, but {before} stands before {after}")
        self._set("at", at)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        at = np.sort(np.array([_steps(each) for each in self.at], dtype=np.float64))
        passed = np.searchsorted(at, _inside(t, self.steps), side="right")
        return _start(self.start, base, entry) * power(self.factor, passed.astype(np.float64))


def _steps(length: LengthLike | None) -> int:
    """A length that `over` has made an int; `require_resolved` has made sure of that."""
    assert isinstance(length, int)
    return length


def _inside(t: Array, steps: LengthLike | None) -> Array:
    """The step, held at the last one: what falls at the very end belongs to the next segment."""
    return t if steps is None else np.minimum(t, _steps(steps) - 1)


def _unit(length: LengthLike) -> str:
    return length.unit if isinstance(length, Length) else "step"


def _amount(length: LengthLike) -> float:
    return float(length.amount if isinstance(length, Length) else length)

"""Ramps: kinds that go from where they begin to `to` over their length, and the constant."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.schedules.leaf import Leaf, entry_or, lerp, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import Array, State
from lrkit.schedules.shares import ShareLike, as_share, at_base, power

__all__ = ["Constant", "Exponential", "Linear"]


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
        position = np.minimum(t / whole_steps(self.steps), 1.0)
        return lerp(entry_or(self.start, base, entry), at_base(self.to, base), position)


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
        start = entry_or(self.start, base, entry)
        if self.factor is not None:
            held = t if self.steps is None else np.minimum(t, whole_steps(self.steps))
            return start * power(self.factor, held)
        assert self.to is not None
        position = np.minimum(t / whole_steps(self.steps), 1.0)
        # start^(1-x) · to^x needs no division, so a start of zero gives zero.
        return power(start, 1.0 - position) * power(at_base(self.to, base), position)

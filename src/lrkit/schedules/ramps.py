"""Ramps: kinds that go from where they begin to `to` over their length, and the constant."""

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, entry_or, half_cosine, held, lerp, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import State
from lrkit.schedules.shares import ShareLike, as_positive, as_share, at_base, power

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Polynomial", "Ramp"]


@dataclass(frozen=True, repr=False)
class Constant(Leaf):
    """A constant share of the base.

    value(t) = share · base

    It is absolute: it doesn't begin where the segment before ended.

    >>> Constant(0.6, steps="50%")
    constant(0.6, steps=50%)
    """

    kind: ClassVar[str] = "constant"
    example: ClassVar[str] = "constant(0.5, steps=30%) >> constant(1)"

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
    example: ClassVar[str] = "linear(to=0)"
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
class Ramp(Leaf):
    """What goes along a curve from where it begins to `to` over its length: it has a shape, and nothing else.

    value(t) = to + (start - to) · shape(t / n) for t < n = steps, then `to`

    Without `start` it begins where the segment before ended, or at the base.
    """

    always: ClassVar[tuple[str, ...]] = ("to",)
    needs_steps: ClassVar[bool] = True

    steps: LengthLike | None = None
    _: KW_ONLY
    to: ShareLike = 0.0
    start: ShareLike | None = None

    @abstractmethod
    def _left(self, x: Array) -> Array:
        """How much of the way from `start` to `to` is left at position `x`, between 0 and 1.

        Exactly 1 at 0 and exactly 0 at 1, but where it is the shape's nature to begin or to end short of that.
        """

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        x = np.minimum(t / whole_steps(self.steps), 1.0)
        # From the end to the start, since most ramps fall: what is left near 0 keeps its digits.
        return lerp(at_base(self.to, base), entry_or(self.start, base, entry), self._left(x))


@dataclass(frozen=True, repr=False, kw_only=True)
class Cosine(Ramp):
    """Half a period of a cosine: flat at both ends, steepest in the middle.

    value(t) = to + (start - to) · ((1 + cos(π · (t / n)^k)) / 2)^exponent for t < n = steps, then `to`

    Args:
        steps: how long it lasts.
        to: where it ends, a share of the base or `absolute(...)`.
        start: where it begins; else where the segment before ended, or at the base.
        exponent: above 1 it falls earlier, below 1 later.
        k: above 1 it stays high for longer and falls faster (timm's `k_decay`).

    Source: SGDR without restarts (arXiv 1608.03983), torch's CosineAnnealingLR up to `T_max`; k-decay (arXiv
    2004.05909).

    >>> Cosine(4, to=0)([0, 1, 2, 3, 4, 5]).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    >>> Cosine(4, to=0.1, exponent=2)([0, 2, 4]).round(3).tolist()
    [1.0, 0.325, 0.1]
    >>> Cosine(4, to=0, k=2)([0, 2, 4]).round(3).tolist()
    [1.0, 0.854, 0.0]
    """

    kind: ClassVar[str] = "cosine"
    example: ClassVar[str] = "cosine(to=0)"

    exponent: float = 1.0
    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("k", as_positive(self.k, "k"))

    def _left(self, x: Array) -> Array:
        return power(half_cosine(power(x, self.k)), self.exponent)


@dataclass(frozen=True, repr=False, kw_only=True)
class Polynomial(Ramp):
    """A power of what is left of the length.

    value(t) = to + (start - to) · (1 - t / n)^exponent for t < n = steps, then `to`

    Args:
        steps: how long it lasts.
        to: where it ends, a share of the base or `absolute(...)`.
        start: where it begins; else where the segment before ended, or at the base.
        exponent: 1 is a straight line, above 1 it flattens towards the end.

    Source: DeepLab's "poly" policy (arXiv 1606.00915); torch's PolynomialLR, whose `power` is the exponent.

    >>> Polynomial(4, to=0)([0, 1, 2, 3, 4, 5]).tolist()
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    kind: ClassVar[str] = "polynomial"
    example: ClassVar[str] = "polynomial(to=0, exponent=2)"

    exponent: float = 2.0

    def _left(self, x: Array) -> Array:
        return power(1.0 - x, self.exponent)


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
    example: ClassVar[str] = "exponential(to=0.01)"

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
            return start * power(self.factor, held(t, self.steps))
        assert self.to is not None
        position = np.minimum(t / whole_steps(self.steps), 1.0)
        # start^(1-x) · to^x needs no division, so a start of zero gives zero.
        return power(start, 1.0 - position) * power(at_base(self.to, base), position)

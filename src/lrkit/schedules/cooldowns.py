"""Ramps from papers: the cooldowns of warmup-stable-decay schedules, REX, tanh and hyperbolic decay."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import as_choice, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.ramps import Ramp
from lrkit.schedules.shares import as_number, show_number

__all__ = ["Cooldown", "Hyperbolic", "Rex", "Tanh"]

# How much of the way is left at position x.
_COOLDOWNS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: 1.0 - x,
    "one_minus_sqrt": lambda x: 1.0 - np.sqrt(x),
    "sqrt": lambda x: np.sqrt(1.0 - x),
    "square": lambda x: 1.0 - np.square(x),
    "lowered_linear": lambda x: 1.0 - x,
}


@dataclass(frozen=True, repr=False, kw_only=True)
class Cooldown(Ramp):
    """The fall at the end of a long constant rate, in the shapes that were compared for it.

    value(t) = to + (start - to) · shape(t / n) for t < n = steps, then `to`

    Args:
        steps: how long it lasts.
        to: where it ends, a share of the base or `absolute(...)`.
        start: where it begins; else where the segment before ended, or at the base.
        shape: "linear": 1 - x; "one_minus_sqrt": 1 - √x, at first steep (papers call it "sqrt"); "sqrt": √(1 - x), at
            last steep; "square": 1 - x²; "lowered_linear": factor · (1 - x), which drops at once and then is straight.
        factor: where "lowered_linear" begins, between 0 and 1; no other shape has it.

    Source: 1 - √x and 1 - x² are from arXiv 2405.18392, the lowered line and its factor of 0.7 from arXiv 2508.01483.

    >>> Cooldown(4, to=0)([0, 1, 4, 5]).tolist()
    [1.0, 0.5, 0.0, 0.0]
    >>> [round(Cooldown(4, shape=shape)(2), 3) for shape in ("linear", "sqrt", "square", "lowered_linear")]
    [0.5, 0.707, 0.75, 0.35]
    """

    kind: ClassVar[str] = "cooldown"
    example: ClassVar[str] = "constant(steps=60%) >> cooldown(to=0)"

    shape: Literal["linear", "one_minus_sqrt", "sqrt", "square", "lowered_linear"] = "one_minus_sqrt"
    factor: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        as_choice(self.shape, "shape", _COOLDOWNS)
        self._set("factor", as_number(self.factor, "factor", low=0.0, high=1.0, low_open=True))
        if self.shape != "lowered_linear" and self.factor != type(self).factor:
            raise InputError(f"factor is for shape='lowered_linear', not for shape={self.shape!r}")

    def _left(self, x: Array) -> Array:
        left = _COOLDOWNS[self.shape](x)
        return self.factor * left if self.shape == "lowered_linear" else left


@dataclass(frozen=True, repr=False)
class Rex(Ramp):
    """Reflected exponential: it stays high for long and ends steeply.

    value(t) = to + (start - to) · (1 - x) / (1/2 + (1 - x)/2) with x = t / n for t < n = steps, then `to`

    Without `start` it begins where the segment before ended, or at the base.

    Source: REX (arXiv 2107.04197), where `to` is 0.

    >>> Rex(4, to=0)([0, 2, 3, 4]).round(3).tolist()
    [1.0, 0.667, 0.4, 0.0]
    """

    kind: ClassVar[str] = "rex"
    example: ClassVar[str] = "rex(to=0)"

    def _left(self, x: Array) -> Array:
        return (1.0 - x) / (0.5 + (1.0 - x) / 2.0)


@dataclass(frozen=True, repr=False, kw_only=True)
class Tanh(Ramp):
    """A piece of a hyperbolic tangent, stretched so that it begins at its start and ends at `to`.

    value(t) = to + (start - to) · (tanh(upper) - tanh(z)) / (tanh(upper) - tanh(lower)) for t < n = steps, then `to`,
    with z = lower + (upper - lower) · t / n

    Args:
        steps: how long it lasts.
        to: where it ends, a share of the base or `absolute(...)`.
        start: where it begins; else where the segment before ended, or at the base.
        lower: where the piece begins, at least -100; the lower, the longer it stays high.
        upper: where it ends, above `lower`, at most 100; the higher, the longer it stays low.

    Source: HTD (arXiv 1806.01593), best with (-6, 3). There (1 - tanh(z)) / 2 isn't stretched, so that it begins
    (1 + tanh(lower)) / 2 below its start and ends (1 - tanh(upper)) / 2 above its end: 0.000006 and 0.0025 of the way.

    >>> Tanh(3, to=0)([0, 1, 2, 3]).round(3).tolist()
    [1.0, 0.998, 0.499, 0.0]
    """

    kind: ClassVar[str] = "tanh"
    example: ClassVar[str] = "tanh(to=0)"

    lower: float = -6.0
    upper: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lower", "upper"):
            self._set(name, as_number(getattr(self, name), name, low=-100.0, high=100.0))
        if self.lower >= self.upper:
            raise InputError(f"lower must be below upper, {show_number(self.upper)}, not {show_number(self.lower)}")

    def _left(self, x: Array) -> Array:
        # tanh(a) - tanh(b) = sinh(a - b) / (cosh(a) · cosh(b)), which loses nothing where both are almost 1.
        span = self.upper - self.lower
        z = self.lower + span * x
        left: Array = np.sinh(span * (1.0 - x)) * np.cosh(self.lower) / (np.cosh(z) * np.sinh(span))
        return np.minimum(left, 1.0)


@dataclass(frozen=True, repr=False, kw_only=True)
class Hyperbolic(Ramp):
    """A hyperbola whose beginning hardly depends on its length.

    value(t) = start - (start - to) · (h(0) - h(t)), h(t) = √((1 - t / bound)² - (1 - n / bound)²) for t < n = steps,
    then its value at n

    Curves of any length with the same `bound` fall alike at first, so that what was tuned on a short run holds for a
    longer one. The shorter a curve is, the higher it ends: only with n = bound it reaches `to`, in a straight line.

    Args:
        steps: how long it lasts.
        to: where a curve of `bound` steps would end, a share of the base or `absolute(...)`.
        start: where it begins; else where the segment before ended, or at the base.
        bound: the longest length that is thought of; a length, not below `steps`.

    Source: HyperbolicLR (arXiv 2407.15200), whose U is the bound and whose infimum is `to`.

    >>> Hyperbolic(4, to=0, bound=8)([0, 2, 4, 5]).round(3).tolist()
    [1.0, 0.693, 0.134, 0.134]
    >>> Hyperbolic(8, to=0, bound=8)([0, 2, 4, 8]).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """

    kind: ClassVar[str] = "hyperbolic"
    example: ClassVar[str] = "hyperbolic(to=0.01, bound=2000)"

    bound: LengthLike

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.steps, int) and isinstance(self.bound, int) and self.bound < self.steps:
            raise InputError(f"bound must be at least the length, {self.steps} steps, not {self.bound}")

    def _left(self, x: Array) -> Array:
        share = whole_steps(self.steps) / whole_steps(self.bound)
        # a² - b² = (a - b)(a + b), so that it is never negative and ends at 0.
        height: Array = np.sqrt(share * (1.0 - x) * (2.0 - share * (1.0 + x)))
        return 1.0 - (math.sqrt(share * (2.0 - share)) - height)

"""Recipes: schedules that papers name, as compositions of kinds, and written as such."""

from typing import Literal

from lrkit.schedules.cooldowns import Cooldown
from lrkit.schedules.cycles import OneCycle, Triangular
from lrkit.schedules.decays import InverseSqrt
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.loops import Schedule
from lrkit.schedules.ramps import Constant, Cosine, Exponential, Linear
from lrkit.schedules.shares import ShareLike
from lrkit.schedules.warmups import Warmup

__all__ = [
    "budgeted",
    "infinite",
    "linear_to_zero",
    "noam",
    "one_cycle_momentum",
    "triangular_momentum",
    "warmup_cosine",
    "wsd",
]


def warmup_cosine(warmup: LengthLike, *, to: ShareLike = 0.0) -> Schedule:
    """A warmup, then half a period of a cosine over what remains.

    >>> warmup_cosine("5%", to=0.1)
    warmup(5%) >> cosine(to=0.1)
    """
    return Warmup(warmup) >> Cosine(to=to)


def wsd(
    warmup: LengthLike,
    cooldown: LengthLike,
    *,
    to: ShareLike = 0.0,
    shape: Literal["linear", "one_minus_sqrt", "sqrt", "square", "lowered_linear"] = Cooldown.shape,
    factor: float = Cooldown.factor,
) -> Schedule:
    """Warmup, stable, decay: the rate stays at its peak until the cooldown, which may begin at any time.

    Source: MiniCPM (arXiv 2404.06395); the shape is that of arXiv 2405.18392; for it and `factor` see `cooldown`.

    >>> wsd("5%", "20%")
    warmup(5%) >> constant() >> cooldown(20%, to=0)
    >>> wsd("5%", "20%", shape="lowered_linear", factor=0.5)
    warmup(5%) >> constant() >> cooldown(20%, to=0, shape=lowered_linear, factor=0.5)
    """
    return Warmup(warmup) >> Constant() >> Cooldown(cooldown, to=to, shape=shape, factor=factor)


def linear_to_zero(warmup: LengthLike) -> Schedule:
    """A warmup, then straight to zero over what remains.

    Source: arXiv 2502.15938, which finds that the rate should go to zero, and warms up for a tenth.

    >>> linear_to_zero("10%")
    warmup(10%) >> linear(to=0)
    """
    return Warmup(warmup) >> Linear(to=0.0)


def infinite(
    warmup: LengthLike,
    cooldown: LengthLike,
    constant: ShareLike,
    hold: LengthLike | None,
    anneal: LengthLike | None,
    *,
    to: ShareLike = 0.1,
) -> Schedule:
    """Warm up, cool down to a constant rate from which training can go on for ever, and anneal a copy of it.

    The cooldown is half a period of a cosine, the annealing exponential, so `to` is above zero. One of `hold` and
    `anneal` may be None, and takes what remains.

    Source: arXiv 2403.08763, whose rates are `constant=0.55` and `to=0.1`; arXiv 2503.02844.

    >>> infinite("1%", "60%", 0.55, None, "15%")
    warmup(1%) >> cosine(60%, to=0.55) >> constant(0.55) >> exponential(15%, to=0.1)
    """
    return (
        Warmup(warmup) >> Cosine(cooldown, to=constant) >> Constant(constant, steps=hold) >> Exponential(anneal, to=to)
    )


def noam(warmup: LengthLike) -> Schedule:
    """A linear warmup, then the inverse square root of the step; the peak is the base, whatever the model's width.

    With k for the number of the update, from 1: min(k / w, √(w / max(k - 1, w))), so the fall begins one update after
    the paper's.

    Source: transformer training (arXiv 1706.03762).

    >>> noam("10%")
    warmup(10%) >> inverse_sqrt(timescale=10%)
    >>> noam(4000)([1999, 3999, 16_000]).tolist()
    [0.5, 1.0, 0.5]
    """
    return Warmup(warmup) >> InverseSqrt(timescale=warmup)


def budgeted(steps: LengthLike | None = None) -> Schedule:
    """Straight to zero over the budget, however small that is.

    Source: budgeted training (arXiv 1905.04753).

    >>> budgeted().over(1000)
    linear(1000, to=0)
    """
    return Linear(steps, to=0.0)


def one_cycle_momentum(
    steps: LengthLike | None = None,
    *,
    low: float = 0.85,
    high: float = 0.95,
    up: LengthLike | None = OneCycle.up,
    shape: Literal["cosine", "linear"] = "cosine",
    three_phase: bool = False,
    turn: float | None = None,
) -> Schedule:
    """The momentum that goes with `one_cycle`: from `high` to `low` at the peak of the rate, and back.

    The same as `one_cycle(...).momentum(low, high)`; the other arguments are those of `one_cycle`. In text it stands
    beside the rate: `lr: one_cycle(); momentum: one_cycle_momentum()`.

    >>> one_cycle_momentum(low=0.8)
    one_cycle(up=30%, start=absolute(0.95), peak=absolute(0.8), to=absolute(0.95))
    >>> one_cycle_momentum(10, up=5)([0, 5, 10]).tolist()
    [0.95, 0.85, 0.95]
    """
    return OneCycle(steps, up=up, shape=shape, three_phase=three_phase, turn=turn).momentum(low, high)


def triangular_momentum(
    up: LengthLike,
    down: LengthLike | None = None,
    *,
    low: float = 0.8,
    high: float = 0.9,
    factor: float = 1.0,
    per: Literal["cycle", "step"] = "cycle",
    steps: LengthLike | None = None,
) -> Schedule:
    """The momentum that goes with `triangular`: `high` where the rate is low, `low` at its peak.

    The same as `triangular(...).momentum(low, high)`; the other arguments are those of `triangular`. In text it stands
    beside the rate: `lr: triangular(2ep); momentum: triangular_momentum(2ep)`.

    >>> triangular_momentum("10%", low=0.7)
    triangular(10%, low=absolute(0.9), peak=absolute(0.7))
    >>> triangular_momentum(2)(range(5)).round(3).tolist()
    [0.9, 0.85, 0.8, 0.85, 0.9]
    """
    return Triangular(up, down, factor=factor, per=per, steps=steps).momentum(low, high)

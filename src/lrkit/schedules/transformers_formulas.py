"""The plan of each of transformers' names. A function takes what its name takes, under transformers' names."""

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from operator import rshift
from typing import Literal, get_args

import numpy as np

from lrkit.schedules import (
    Absolute,
    InputError,
    Plan,
    Schedule,
    constant,
    cooldown,
    cosine,
    cosine_restarts,
    every,
    greedy,
    inverse_sqrt,
    linear,
    plateau,
    polynomial,
    repeat,
    shift,
    table,
)
from lrkit.schedules.leaf import as_choice
from lrkit.schedules.shares import ShareLike, as_rate, show_number

__all__ = ["FORMULAS", "Shape"]

Shape = Literal["linear", "cosine", "1-sqrt"]


def _constant() -> Plan:
    return constant()


def _constant_with_warmup(*, num_warmup_steps: int) -> Plan:
    return _warm(num_warmup_steps, constant())


def _linear(*, num_warmup_steps: int, num_training_steps: int) -> Plan:
    rest = num_training_steps - num_warmup_steps
    return _warm(num_warmup_steps, linear(rest, to=0.0) if rest > 0 else None)


def _cosine(*, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Plan:
    rest = num_training_steps - num_warmup_steps
    return _warm(num_warmup_steps, _wave(rest, num_cycles, 0.0) if rest > 0 else None)


def _cosine_with_restarts(*, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1) -> Plan:
    rest = num_training_steps - num_warmup_steps
    return _warm(num_warmup_steps, _restarts(rest, num_cycles) if rest > 0 else None)


def _polynomial(*, num_warmup_steps: int, num_training_steps: int, lr_end: float = 1e-7, power: float = 1.0) -> Plan:
    rest = num_training_steps - num_warmup_steps
    fall = polynomial(rest, to=as_rate(lr_end, "lr_end"), exponent=power) if rest > 0 else None
    return _warm(num_warmup_steps, fall)


def _inverse_sqrt(*, num_warmup_steps: int, timescale: int | None = None) -> Plan:
    return _warm(num_warmup_steps, inverse_sqrt(timescale=timescale or num_warmup_steps or 10_000))


def _cosine_with_min_lr(
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> Plan:
    rest, low = num_training_steps - num_warmup_steps, _low(min_lr, min_lr_rate)
    return _warm(num_warmup_steps, _wave(rest, num_cycles, low) if rest > 0 else None)


def _cosine_warmup_with_min_lr(
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> Plan:
    warm, rest, low = num_warmup_steps, num_training_steps - num_warmup_steps, _low(min_lr, min_lr_rate)
    # The cosine is a step ahead: it begins in the last step of the warmup, which has the full rate.
    first = warmup_lr_rate if warmup_lr_rate is not None else 1.0 / max(warm, 1)
    rise = linear(warm - 1, start=first, to=1.0) if warm > 1 else None
    if rest <= 0:
        return rise or constant(first)
    fall = _wave(rest, num_cycles, low)
    if warm == 0:
        return _ahead(fall)
    if warm == 1 and first != 1.0:
        return constant(first, steps=1) >> _ahead(_wave(rest, num_cycles, low, start=1.0))
    return _chain([rise, fall])


def _warmup_stable_decay(
    *,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
) -> Plan:
    warm, fall, low = num_warmup_steps, num_decay_steps, min_lr_ratio
    if num_stable_steps is None:
        if num_training_steps is None:
            raise InputError("warmup_stable_decay needs num_training_steps or num_stable_steps")
        if num_training_steps < warm + fall:
            raise InputError(
                f"warmup_stable_decay with {warm} + {fall} steps of warmup and decay doesn't fit into "
                f"num_training_steps={num_training_steps}"
            )
        num_stable_steps = num_training_steps - warm - fall
    rises: dict[str, Callable[[], Schedule]] = {
        "linear": lambda: linear(warm, start=low, to=1.0),
        "cosine": lambda: cosine(warm, start=low, to=1.0),
        "1-sqrt": lambda: polynomial(warm, start=low, to=1.0, exponent=0.5),
    }
    falls: dict[str, Callable[[], Schedule]] = {
        "linear": lambda: linear(fall, to=low),
        "cosine": lambda: _wave(fall, num_cycles, low),
        "1-sqrt": lambda: cooldown(fall, to=low, shape="one_minus_sqrt"),
    }
    parts = [
        rises[as_choice(warmup_type, "warmup_type", get_args(Shape))]() if warm else None,
        constant(steps=num_stable_steps) if num_stable_steps else None,
        falls[as_choice(decay_type, "decay_type", get_args(Shape))]() if fall else None,
        constant(low),
    ]
    return _chain(parts)


def _reduce_lr_on_plateau(
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
) -> Plan:
    return plateau(
        mode=mode, factor=factor, patience=patience, threshold=threshold, threshold_mode=threshold_mode,
        cooldown=cooldown, floor=as_rate(min_lr, "min_lr"), eps=eps,
    )  # fmt: skip  # more to a line reads better


def _greedy(
    *,
    lr: float,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.95,
    patience: int = 10,
    threshold: float = 1e-6,
    threshold_mode: Literal["rel", "abs"] = "abs",
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: float = 1e-3,
    max_lr: float = 1.0,
    smooth: bool = False,
    window_size: int = 50,
) -> Plan:
    if not 0 < min_lr <= lr <= max_lr:
        bounds = " <= ".join(map(show_number, (min_lr, lr, max_lr)))
        raise InputError(f"greedy needs 0 < min_lr <= lr <= max_lr, since its bounds are multiples of lr, not {bounds}")
    return greedy(
        mode=mode,
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=threshold_mode,
        cooldown=cooldown,
        warmup=warmup,
        low=min_lr / lr,
        high=max_lr / lr,
        window=window_size if smooth else 1,
    )


FORMULAS: dict[str, Callable[..., Plan]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant_with_warmup,
    "inverse_sqrt": _inverse_sqrt,
    "reduce_lr_on_plateau": _reduce_lr_on_plateau,
    "cosine_with_min_lr": _cosine_with_min_lr,
    "cosine_warmup_with_min_lr": _cosine_warmup_with_min_lr,
    "warmup_stable_decay": _warmup_stable_decay,
    "greedy": _greedy,
}


# --- what they are made of ------------------------------------------------------------------------


def _warm(steps: int, plan: Schedule | None) -> Schedule:
    """Transformers' warmup, whose step 0 is wasted at 0, and then the plan."""
    return _chain([linear(steps, start=0.0, to=1.0) if steps else None, plan])


def _chain(parts: list[Schedule | None]) -> Schedule:
    return reduce(rshift, [part for part in parts if part is not None])


def _wave(steps: int, num_cycles: float, low: ShareLike, start: float | None = None) -> Schedule:
    """Cosine waves between 1 and `low`, as a table where they turn between two steps.

    value(t) = low + (1 - low) · (1 + cos(2π · num_cycles · t / steps)) / 2
    """
    if num_cycles == 0:
        return constant(steps=steps)
    half = Fraction(steps) / (2 * Fraction(num_cycles))
    if half == steps:
        return cosine(steps, to=low, start=start)
    if half.denominator == 1:
        return repeat(cosine(int(half), to=low) >> cosine(int(half), to=1.0), steps=steps)
    if isinstance(low, Absolute):
        raise InputError(
            f"num_cycles={show_number(num_cycles)} in {steps} steps turns between two steps, which takes a table of "
            "shares of the base, and min_lr is absolute: give min_lr_rate instead"
        )
    return table(low + (1.0 - low) * (1.0 + np.cos(2.0 * np.pi * num_cycles * np.arange(steps + 1) / steps)) / 2.0)


def _ahead(plan: Schedule) -> Schedule:
    """The plan, begun a step ahead; one of a single step is at its end then."""
    return shift(every(1, plan, steps=2) if plan.length == 1 else plan, earlier=1)


def _restarts(steps: int, num_cycles: float) -> Schedule:
    """The position in the cycle is exact here: transformers' rounding puts some restarts at 0 instead of at 1."""
    period = Fraction(steps) / Fraction(num_cycles) if num_cycles else Fraction(0)
    if period.denominator == 1 and num_cycles == int(num_cycles) > 0:
        return cosine_restarts(int(period), limit=int(num_cycles))
    since = np.mod(np.arange(steps) * num_cycles, steps) / steps
    return table([*(1.0 + np.cos(np.pi * since)) / 2.0, 0.0])


def _low(min_lr: float | None, min_lr_rate: float | None) -> ShareLike:
    if (min_lr is None) == (min_lr_rate is None):
        raise InputError(f"give either min_lr or min_lr_rate, not {'neither' if min_lr is None else 'both'}")
    return as_rate(min_lr, "min_lr") if min_lr_rate is None else min_lr_rate

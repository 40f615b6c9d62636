"""The plan of each of torch's schedulers, by its formula. Its arguments are read where torch keeps them."""

import itertools
from collections.abc import Callable
from functools import reduce
from operator import mul, rshift
from typing import Any, NamedTuple

from torch.optim import lr_scheduler as torchs

from lrkit.schedules import (
    Schedule,
    constant,
    cosine,
    cosine_restarts,
    every,
    exponential,
    linear,
    milestones,
    one_cycle,
    polynomial,
    repeat,
    staircase,
    triangular,
)
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.shares import ShareLike, as_rate
from lrkit.training.drop_in import compositions, cycles, decays, functions, plateau

__all__ = ["find_formula", "torch_class"]

_TORCHS = {getattr(torchs, name) for name in torchs.__all__}
_DROP_INS = (decays, cycles, functions, plateau, compositions)


def torch_class(scheduler: object) -> type | None:
    """The class of torch's whose schedule a scheduler has: its own, or that which a drop-in stands for; else None."""
    cls = type(scheduler)
    if cls in _TORCHS:
        return cls
    drop_in = any(getattr(module, cls.__name__, None) is cls for module in _DROP_INS)
    return getattr(torchs, cls.__name__) if drop_in and cls.__name__ in torchs.__all__ else None


class _Place(NamedTuple):
    """Where a scheduler stands: for which group, where it begins, and how many calls it gets."""

    group: int
    start: float | None  # 1 behind another scheduler in a sequence, since torch begins each at the base
    calls: int


def find_formula(scheduler: Any, group: int, total: int) -> Schedule | None:
    """The formula of a scheduler for one of its param groups; None where it has none, or one that lrkit can't write."""
    try:
        return _write(scheduler, _Place(group, None, total))
    except (
        InputError,
        InputTypeError,
    ):  # an argument that torch takes and a schedule doesn't, such as a length that isn't whole
        return None


def _write(scheduler: Any, at: _Place) -> Schedule:
    cls = torch_class(scheduler)
    write = None if cls is None else _FORMULAS.get(cls)
    if write is None:
        raise InputError(f"{type(scheduler).__name__} has no formula")
    return write(scheduler, at)


def _step(s: Any, at: _Place) -> Schedule:
    return staircase(every=_whole(s.step_size), factor=s.gamma, start=at.start)


def _multi_step(s: Any, at: _Place) -> Schedule:
    return milestones(at=sorted(map(_whole, s.milestones.elements())), factor=s.gamma, start=at.start)


def _exponential(s: Any, at: _Place) -> Schedule:
    return exponential(factor=s.gamma, start=at.start)


def _constant(s: Any, at: _Place) -> Schedule:
    return constant(s.factor, steps=_whole(s.total_iters)) >> constant()


def _linear(s: Any, at: _Place) -> Schedule:
    return linear(_whole(s.total_iters), start=s.start_factor, to=s.end_factor)


def _polynomial(s: Any, at: _Place) -> Schedule:
    return polynomial(_whole(s.total_iters), to=0, exponent=s.power, start=at.start)


def _cosine(s: Any, at: _Place) -> Schedule:
    half = _whole(s.T_max)
    if at.calls <= half:
        return cosine(half, to=_floor(s), start=at.start)
    return repeat(cosine(half, to=_floor(s)) >> cosine(half, to=1.0))


def _warm_restarts(s: Any, at: _Place) -> Schedule:
    return cosine_restarts(_whole(s.T_0), growth=s.T_mult, to=_floor(s))


def _cyclic(s: Any, at: _Place) -> Schedule:
    if s._scale_fn_custom is not None:
        raise InputError("a function of one's own has no formula")
    up = round(s.total_size * s.step_ratio)
    base = _base(s, at.group)
    factor = {"triangular": 1.0, "triangular2": 0.5, "exp_range": s.gamma}[s.mode]
    return triangular(
        up,
        round(s.total_size) - up,
        low=float(s.base_lrs[at.group]) / base,
        peak=float(s.max_lrs[at.group]) / base,
        factor=factor,
        per="step" if s.mode == "exp_range" else "cycle",
    )


def _one_cycle(s: Any, at: _Place) -> Schedule:
    base, own = _base(s, at.group), s.optimizer.param_groups[at.group]
    return one_cycle(
        s.total_steps - 1,
        turn=s._schedule_phases[0]["end_step"],
        start=1.0,
        peak=float(own["max_lr"]) / base,
        to=float(own["min_lr"]) / base,
        shape="linear" if s._anneal_func_type == "linear" else "cosine",
        three_phase=len(s._schedule_phases) == 3,
    )


def _sequential(s: Any, at: _Place) -> Schedule:
    ends = list(map(_whole, s._milestones))
    calls = [end - begin for begin, end in itertools.pairwise([0, *ends, max([at.calls, *ends])])]
    places = [_Place(at.group, 1.0 if i else at.start, own) for i, own in enumerate(calls)]
    parts = list(map(_write, s._schedulers, places))
    return reduce(rshift, [*map(_lasting, parts[:-1], calls), parts[-1]])


def _chained(s: Any, at: _Place) -> Schedule:
    first, *others = s._schedulers
    return reduce(mul, [_write(first, at), *(_write(other, at._replace(start=None)) for other in others)])


_FORMULAS: dict[type, Callable[[Any, _Place], Schedule]] = {
    torchs.StepLR: _step,
    torchs.MultiStepLR: _multi_step,
    torchs.ExponentialLR: _exponential,
    torchs.ConstantLR: _constant,
    torchs.LinearLR: _linear,
    torchs.PolynomialLR: _polynomial,
    torchs.CosineAnnealingLR: _cosine,
    torchs.CosineAnnealingWarmRestarts: _warm_restarts,
    torchs.CyclicLR: _cyclic,
    torchs.OneCycleLR: _one_cycle,
    torchs.SequentialLR: _sequential,
    torchs.ChainedScheduler: _chained,
}


def _lasting(plan: Schedule, steps: int) -> Schedule:
    """The same curve with a length: cut short or held at its end where its own length is another."""
    try:
        fitted = plan.over(steps)
    except InputError:
        fitted = plan
    return fitted if fitted.length == steps else every(1, plan, steps=steps)


def _floor(s: Any) -> ShareLike:
    return as_rate(float(s.eta_min), "eta_min")


def _base(s: Any, group: int) -> float:
    base = float(s.optimizer.param_groups[group]["initial_lr"])
    if base == 0:
        raise InputError("nothing is a share of 0")
    return base


def _whole(value: float) -> int:
    if not float(value).is_integer():
        raise InputError(f"{value} isn't a whole number of steps")
    return int(value)

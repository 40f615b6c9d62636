"""The names that the text form knows: every kind, recipes, and torch's names as tutorials write them."""

from collections.abc import Callable
from typing import Any

from lrkit.schedules.bounds import Clip, clip
from lrkit.schedules.callables import FromCallable
from lrkit.schedules.controllers import Greedy, Plateau
from lrkit.schedules.cooldowns import Cooldown, Hyperbolic, Rex, Tanh
from lrkit.schedules.cycles import OneCycle, Triangular
from lrkit.schedules.decays import InverseSqrt, InverseTime, Milestones, Power, Staircase
from lrkit.schedules.errors import InputError
from lrkit.schedules.noise import Noise
from lrkit.schedules.periods import Every
from lrkit.schedules.plan import Plan
from lrkit.schedules.points import Piecewise, Table
from lrkit.schedules.ramps import Constant, Cosine, Exponential, Linear, Polynomial
from lrkit.schedules.recipes import budgeted, infinite, linear_to_zero, noam, warmup_cosine, wsd
from lrkit.schedules.repetition import Repeat
from lrkit.schedules.restarts import CosineRestarts
from lrkit.schedules.shares import absolute
from lrkit.schedules.shifts import Shift, shift
from lrkit.schedules.warmups import RAdamWarmup, UntunedWarmup, Warmup

__all__ = ["CALLS", "KINDS", "MAKERS", "RECIPES", "TORCH_NAMES"]

KINDS: dict[str, type[Plan]] = {
    cls.kind: cls
    for cls in (
        *(Constant, Linear, Cosine, Polynomial, Exponential, Cooldown, Rex, Tanh, Hyperbolic),
        *(Staircase, Milestones, InverseSqrt, InverseTime, Power),
        *(Triangular, CosineRestarts, OneCycle),
        *(Piecewise, Table, FromCallable, Noise),
        *(Warmup, UntunedWarmup, RAdamWarmup),
        *(Plateau, Greedy),
        *(Every, Repeat, Clip, Shift),
    )
}

# What makes a plan of each kind: the class itself, or a function where there is a class for schedules and one for
# controllers.
MAKERS: dict[str, Callable[..., Plan]] = {**KINDS, "clip": clip, "shift": shift}


def _step_lr(step_size: int, gamma: float = 0.1) -> Plan:
    return Every("1ep", Staircase(every=step_size, factor=gamma))


def _multi_step_lr(milestones: tuple[int, ...], gamma: float = 0.1) -> Plan:
    return Every("1ep", Milestones(at=milestones, factor=gamma))


def _exponential_lr(gamma: float) -> Plan:
    return Every("1ep", Exponential(factor=gamma))


def _reduce_lr_on_plateau(
    mode: Any = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Any = "rel",
    cooldown: int = 0,
    min_lr: float = 0,
    eps: float = 1e-8,
) -> Plan:
    return Plateau(
        mode=mode,
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=threshold_mode,
        cooldown=cooldown,
        floor=absolute(min_lr) if min_lr else 0.0,
        eps=eps,
    )


# torch's names with torch's arguments and defaults (all but the optimizer), counted in epochs.
TORCH_NAMES: dict[str, Callable[..., Plan]] = {
    "StepLR": _step_lr,
    "MultiStepLR": _multi_step_lr,
    "ExponentialLR": _exponential_lr,
    "ReduceLROnPlateau": _reduce_lr_on_plateau,
}

# What is read as a composition, and written as one.
RECIPES: dict[str, Callable[..., Plan]] = {
    recipe.__name__: recipe for recipe in (warmup_cosine, wsd, linear_to_zero, infinite, noam, budgeted)
}


def _table(values: Any, _digest: Any = None, *, steps: Any = None) -> Table:
    if _digest is not None or not isinstance(values, tuple):
        raise InputError("a table's text has its length and a digest, not its values; its JSON form has them")
    return Table(values, steps)


CALLS: dict[str, Callable[..., Any]] = {**MAKERS, **RECIPES, **TORCH_NAMES, "table": _table, "absolute": absolute}

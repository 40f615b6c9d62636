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
from lrkit.schedules.recipes import (
    budgeted,
    infinite,
    linear_to_zero,
    noam,
    one_cycle_momentum,
    triangular_momentum,
    warmup_cosine,
    wsd,
)
from lrkit.schedules.repetition import Repeat
from lrkit.schedules.restarts import CosineRestarts
from lrkit.schedules.shares import absolute
from lrkit.schedules.shifts import Shift, shift
from lrkit.schedules.torch_text import TORCH_NAMES
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


# What is read as a composition, and written as one.
RECIPES: dict[str, Callable[..., Plan]] = {
    recipe.__name__: recipe
    for recipe in (
        *(warmup_cosine, wsd, linear_to_zero, infinite, noam, budgeted),
        *(one_cycle_momentum, triangular_momentum),
    )
}


def _table(values: Any, _digest: Any = None, *, steps: Any = None) -> Table:
    if _digest is not None or not isinstance(values, tuple):
        raise InputError("a table's text has its length and a digest, not its values; its JSON form has them")
    return Table(values, steps)


CALLS: dict[str, Callable[..., Any]] = {**MAKERS, **RECIPES, **TORCH_NAMES, "table": _table, "absolute": absolute}

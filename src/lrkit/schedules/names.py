"""The names that the text form knows: every kind, and torch's names as tutorials write them."""

from collections.abc import Callable
from typing import Any

from lrkit.schedules.bounds import Clip, clip
from lrkit.schedules.controllers import Greedy, Plateau
from lrkit.schedules.decays import Milestones, Staircase
from lrkit.schedules.periods import Every
from lrkit.schedules.plan import Plan
from lrkit.schedules.ramps import Constant, Exponential, Linear
from lrkit.schedules.repetition import Repeat
from lrkit.schedules.shares import absolute
from lrkit.schedules.shifts import Shift, shift
from lrkit.schedules.warmups import Warmup

__all__ = ["CALLS", "KINDS", "TORCH_NAMES"]

KINDS: dict[str, type[Plan]] = {
    cls.kind: cls
    for cls in (
        Constant,
        Warmup,
        Linear,
        Exponential,
        Staircase,
        Milestones,
        Plateau,
        Greedy,
        Every,
        Repeat,
        Clip,
        Shift,
    )
}


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

CALLS: dict[str, Callable[..., Any]] = {**KINDS, "clip": clip, "shift": shift, **TORCH_NAMES, "absolute": absolute}

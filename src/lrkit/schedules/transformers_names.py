"""transformers' schedules under transformers' names; transformers itself isn't needed."""

import inspect
from typing import Any, Literal

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.plan import Plan
from lrkit.schedules.shares import as_number
from lrkit.schedules.transformers_formulas import FORMULAS, Shape

__all__ = ["from_transformers"]


def from_transformers(
    name: str,
    *,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    num_cycles: float | None = None,
    lr_end: float | None = None,
    power: float | None = None,
    timescale: int | None = None,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
    num_decay_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: Shape | None = None,
    decay_type: Shape | None = None,
    min_lr_ratio: float | None = None,
    mode: Literal["min", "max"] | None = None,
    factor: float | None = None,
    patience: int | None = None,
    threshold: float | None = None,
    threshold_mode: Literal["rel", "abs"] | None = None,
    cooldown: int | None = None,
    eps: float | None = None,
    warmup: int | None = None,
    max_lr: float | None = None,
    smooth: bool | None = None,
    window_size: int | None = None,
    lr: float | None = None,
) -> Plan:
    """The plan that equals `transformers.get_scheduler(name, ...)`, by its formula.

    value(t) is what transformers' scheduler gives after t calls of `step()`, for t < num_training_steps; from there on
    it holds its end value, where transformers' cosines turn up again. The warmup is transformers': step 0 has rate 0.
    Names, meanings and defaults of the arguments are transformers'; what a name doesn't take is refused, but
    `num_warmup_steps` and `num_training_steps`, which aren't looked at where they aren't needed. `lr_end`, `min_lr`
    and `max_lr` are absolute; transformers divides the first two by the optimizer's default rate, so that a group with
    another rate than that ends elsewhere. `greedy` has neither `eps` nor `reset_start`: it makes the smallest changes
    too, and doesn't return to its first rate where transformers' does, after 500 reductions in vain.

    Args:
        name: one of transformers' `SchedulerType`.
        num_warmup_steps: how long it rises.
        num_training_steps: how long the whole lasts.
        num_cycles: how many waves the cosines make, or how many restarts.
        lr_end: where `polynomial` ends.
        power: its exponent.
        timescale: of `inverse_sqrt`, by default num_warmup_steps, or 10000 without a warmup.
        min_lr: where a cosine with min_lr ends; the floor of `reduce_lr_on_plateau` and `greedy`.
        min_lr_rate: where a cosine with min_lr ends, as a share of the base, instead.
        warmup_lr_rate: where the warmup of `cosine_warmup_with_min_lr` starts; by default 1 / num_warmup_steps.
        num_decay_steps: how long `warmup_stable_decay` falls.
        num_stable_steps: how long it stays at the base, by default what num_training_steps leaves.
        warmup_type: the shape of its warmup.
        decay_type: the shape of its decay.
        min_lr_ratio: where it starts and ends, a share.
        mode: whether less or more is better, in `reduce_lr_on_plateau` and `greedy`, as all that follows.
        factor: what the rate is multiplied by.
        patience: reports that are waited for.
        threshold: what counts as better.
        threshold_mode: whether the threshold is relative.
        cooldown: reports after a reduction that aren't counted.
        eps: the smallest change that is made.
        warmup: reports after an increase that aren't counted, in `greedy`, as all that follows.
        max_lr: the ceiling.
        smooth: whether it looks at a mean of the reports.
        window_size: over how many.
        lr: the optimizer's rate, which `greedy` needs: its bounds are multiples of it here.

    Raises:
        InputError: for an unknown name, an argument that the name doesn't take or lacks, and for the few cases that
            have no such plan; the message says why.

    Source: transformers 5.24, `transformers/optimization.py`.

    >>> from_transformers("linear", num_warmup_steps=10, num_training_steps=100)
    linear(10, to=1, start=0) >> linear(90, to=0)
    >>> from_transformers("polynomial", num_warmup_steps=0, num_training_steps=100, power=2.0)
    polynomial(100, to=absolute(1e-07))
    """
    given = {key: value for key, value in locals().items() if value is not None and key != "name"}
    word = getattr(name, "value", name)  # a SchedulerType is as good as its text
    if not isinstance(word, str) or word not in FORMULAS:
        raise unknown("scheduler of transformers", str(word), FORMULAS)
    make = FORMULAS[word]
    takes = inspect.signature(make).parameters
    for key in given:
        if key in takes or key in ("num_warmup_steps", "num_training_steps"):
            continue
        raise InputError(f"{word} doesn't take {key}; it takes {', '.join(takes) or 'nothing'}")
    for key, parameter in takes.items():
        if parameter.default is parameter.empty and key not in given:
            raise InputError(f"{word} needs {key}")
    return make(**{key: _checked(value, key) for key, value in given.items() if key in takes})


def _checked(value: Any, name: str) -> Any:
    """The value, where its type and range can be told from its name; kinds check the others."""
    if name in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputTypeError(f"{name} must be a whole number, not {shown(value)} ({type(value).__name__})")
        if value < _COUNTS[name]:
            raise InputError(f"{name} must be at least {_COUNTS[name]}, not {value}")
        return int(value)
    return as_number(value, name, low=0.0, low_open=name == "power") if name in _NUMBERS else value


_COUNTS = {
    "num_warmup_steps": 0, "num_training_steps": 1, "num_decay_steps": 0, "num_stable_steps": 0, "timescale": 1,
}  # fmt: skip  # more to a line reads better
_NUMBERS = {"num_cycles", "lr_end", "power", "min_lr", "min_lr_rate", "warmup_lr_rate", "min_lr_ratio", "max_lr", "lr"}

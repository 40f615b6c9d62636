"""torch's schedulers as tutorials write them: what their names mean in text.

They have torch's arguments and defaults, all but the optimizer, `last_epoch`, `scale_fn` and `scale_mode`, which take
a function, `base_momentum` and `max_momentum`: `cycle_momentum`, which is True in torch, is False here, since momentum
has a plan of its own. Lengths are whole numbers, without a unit. They count epochs; CyclicLR and OneCycleLR, which
torch's users step after each batch, count updates. They are lines through points where a ramp would have to fit the
horizon, and torch's don't: `T_max` may be more than the epochs there are. What differs from torch: CosineAnnealingLR
stays at its end after `T_max`, as schedules do, and doesn't rise again; PolynomialLR with a power must fit.
"""

from collections.abc import Callable
from typing import Any

from lrkit.schedules.controllers import Plateau
from lrkit.schedules.cycles import OneCycle, Triangular
from lrkit.schedules.decays import Milestones, Staircase
from lrkit.schedules.errors import InputError
from lrkit.schedules.leaf import as_choice, as_list
from lrkit.schedules.loops import Schedule
from lrkit.schedules.periods import Every
from lrkit.schedules.plan import Plan
from lrkit.schedules.points import Piecewise
from lrkit.schedules.ramps import Constant, Exponential, Polynomial
from lrkit.schedules.restarts import CosineRestarts
from lrkit.schedules.shares import absolute, as_count, as_number, as_positive, as_rate

__all__ = ["TORCH_NAMES"]


def _step_lr(step_size: int, gamma: float = 0.1) -> Plan:
    return Every("1ep", Staircase(every=_count(step_size, "step_size"), factor=as_positive(gamma, "gamma")))


def _multi_step_lr(milestones: tuple[int, ...], gamma: float = 0.1) -> Plan:
    at = sorted(_count(each, "milestones") for each in as_list(milestones, "milestones", "whole numbers"))
    factor = as_positive(gamma, "gamma")
    return Every("1ep", Milestones(at=at, factor=factor)) if at else Constant()


def _constant_lr(factor: float = 1 / 3, total_iters: int = 5) -> Plan:
    values = as_number(factor, "factor", low=0.0, high=1.0), 1.0
    return Every("1ep", Piecewise(at=(0, _count(total_iters, "total_iters")), values=values, between="hold"))


def _linear_lr(start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5) -> Plan:
    start = as_number(start_factor, "start_factor", low=0.0, high=1.0, low_open=True)
    end = as_number(end_factor, "end_factor", low=0.0, high=1.0)
    return Every("1ep", Piecewise(at=(0, _count(total_iters, "total_iters")), values=(start, end)))


def _exponential_lr(gamma: float) -> Plan:
    return Every("1ep", Exponential(factor=as_positive(gamma, "gamma")))


def _polynomial_lr(total_iters: int = 5, power: float = 1.0) -> Plan:
    steps, exponent = _count(total_iters, "total_iters"), as_positive(power, "power")
    if exponent == 1.0:
        return _linear_lr(1.0, 0.0, steps)
    return Every("1ep", Polynomial(steps, to=0.0, exponent=exponent))


def _cosine_annealing_lr(T_max: int, eta_min: float = 0.0) -> Plan:
    values = 1.0, as_rate(eta_min, "eta_min")
    return Every("1ep", Piecewise(at=(0, _count(T_max, "T_max")), values=values, between="cosine"))


def _cosine_annealing_warm_restarts(T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Plan:
    growth, low = _count(T_mult, "T_mult"), as_rate(eta_min, "eta_min")
    return Every("1ep", CosineRestarts(_count(T_0, "T_0"), growth=growth, to=low))


def _cyclic_lr(
    base_lr: float,
    max_lr: float,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    cycle_momentum: bool = False,
) -> Plan:
    _require_rate_alone("CyclicLR", cycle_momentum)
    return Triangular(
        _count(step_size_up, "step_size_up"),
        None if step_size_down is None else _count(step_size_down, "step_size_down"),
        low=absolute(as_number(base_lr, "base_lr", low=0.0)),
        peak=absolute(as_number(max_lr, "max_lr", low=0.0)),
        factor={"triangular": 1.0, "triangular2": 0.5, "exp_range": as_positive(gamma, "gamma")}[
            as_choice(mode, "mode", ("triangular", "triangular2", "exp_range"))
        ],
        per="step" if mode == "exp_range" else "cycle",
    )


def _one_cycle_lr(
    max_lr: float,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    cycle_momentum: bool = False,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    _require_rate_alone("OneCycleLR", cycle_momentum)
    peak = as_number(max_lr, "max_lr", low=0.0)
    start = peak / as_positive(div_factor, "div_factor")
    total = _total(total_steps, epochs, steps_per_epoch)
    return OneCycle(
        total - 1,
        turn=as_number(pct_start, "pct_start", low=0.0, high=1.0) * total - 1,
        start=absolute(start),
        peak=absolute(peak),
        to=absolute(start / as_positive(final_div_factor, "final_div_factor")),
        shape="cosine" if as_choice(anneal_strategy, "anneal_strategy", ("cos", "linear")) == "cos" else "linear",
        three_phase=three_phase,
    )


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """The updates of OneCycleLR; its curve has an end of its own from two on."""
    if total_steps is not None:
        return as_count(total_steps, "total_steps", low=2)
    if epochs is None or steps_per_epoch is None:
        raise InputError("OneCycleLR needs total_steps, or epochs and steps_per_epoch; one_cycle() takes what remains")
    total = _count(epochs, "epochs") * _count(steps_per_epoch, "steps_per_epoch")
    return as_count(total, "epochs * steps_per_epoch", low=2)


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
        floor=as_rate(min_lr, "min_lr"),
        eps=eps,
    )


def _count(value: object, name: str) -> int:
    """A whole number of epochs or updates: torch knows no units."""
    return as_count(value, name, low=1)


def _require_rate_alone(name: str, cycle_momentum: object) -> None:
    if cycle_momentum:
        raise InputError(
            f"{name} is the rate alone in text, and momentum has a schedule of its own: bind(momentum=...)"
        )


TORCH_NAMES: dict[str, Callable[..., Plan]] = {
    "StepLR": _step_lr,
    "MultiStepLR": _multi_step_lr,
    "ConstantLR": _constant_lr,
    "LinearLR": _linear_lr,
    "ExponentialLR": _exponential_lr,
    "PolynomialLR": _polynomial_lr,
    "CosineAnnealingLR": _cosine_annealing_lr,
    "CosineAnnealingWarmRestarts": _cosine_annealing_warm_restarts,
    "CyclicLR": _cyclic_lr,
    "OneCycleLR": _one_cycle_lr,
    "ReduceLROnPlateau": _reduce_lr_on_plateau,
}

"""torch's schedulers as tutorials write them: what their names mean in text.

They have torch's arguments and defaults, all but the optimizer. They count epochs; CyclicLR and OneCycleLR, which
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
from lrkit.schedules.loops import Schedule
from lrkit.schedules.periods import Every
from lrkit.schedules.plan import Plan
from lrkit.schedules.points import Piecewise
from lrkit.schedules.ramps import Exponential, Polynomial
from lrkit.schedules.restarts import CosineRestarts
from lrkit.schedules.shares import ShareLike, absolute, as_number

__all__ = ["TORCH_NAMES"]


def _step_lr(step_size: int, gamma: float = 0.1) -> Plan:
    return Every("1ep", Staircase(every=step_size, factor=gamma))


def _multi_step_lr(milestones: tuple[int, ...], gamma: float = 0.1) -> Plan:
    return Every("1ep", Milestones(at=milestones, factor=gamma))


def _constant_lr(factor: float = 1 / 3, total_iters: int = 5) -> Plan:
    return Every("1ep", Piecewise(at=(0, total_iters), values=(factor, 1.0), between="hold"))


def _linear_lr(start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5) -> Plan:
    return Every("1ep", Piecewise(at=(0, total_iters), values=(start_factor, end_factor)))


def _exponential_lr(gamma: float) -> Plan:
    return Every("1ep", Exponential(factor=gamma))


def _polynomial_lr(total_iters: int = 5, power: float = 1.0) -> Plan:
    if power == 1:
        return _linear_lr(1.0, 0.0, total_iters)
    return Every("1ep", Polynomial(total_iters, to=0.0, exponent=power))


def _cosine_annealing_lr(T_max: int, eta_min: float = 0.0) -> Plan:  # noqa: N803 (torch's name)
    return Every("1ep", Piecewise(at=(0, T_max), values=(1.0, _end(eta_min)), between="cosine"))


def _cosine_annealing_warm_restarts(T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Plan:  # noqa: N803
    return Every("1ep", CosineRestarts(T_0, growth=T_mult, to=_end(eta_min)))


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
    if mode not in {"triangular", "triangular2", "exp_range"}:
        raise InputError(f"mode must be triangular, triangular2 or exp_range, not {mode!r}")
    low, peak = absolute(base_lr), absolute(max_lr)
    if mode == "exp_range":
        return Triangular(step_size_up, step_size_down, low=low, peak=peak, factor=gamma, per="step")
    return Triangular(step_size_up, step_size_down, low=low, peak=peak, factor=0.5 if mode == "triangular2" else 1.0)


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
    if anneal_strategy not in {"cos", "linear"}:
        raise InputError(f"anneal_strategy must be cos or linear, not {anneal_strategy!r}")
    if total_steps is None:
        if epochs is None or steps_per_epoch is None:
            raise InputError(
                "OneCycleLR needs total_steps, or epochs and steps_per_epoch; one_cycle() takes what remains"
            )
        total_steps = epochs * steps_per_epoch
    start = as_number(max_lr, "max_lr", low=0.0) / as_number(div_factor, "div_factor", low=0.0, low_open=True)
    return OneCycle(
        total_steps - 1,
        turn=as_number(pct_start, "pct_start", low=0.0, high=1.0) * total_steps - 1,
        start=absolute(start),
        peak=absolute(max_lr),
        to=absolute(start / as_number(final_div_factor, "final_div_factor", low=0.0, low_open=True)),
        shape="cosine" if anneal_strategy == "cos" else "linear",
        three_phase=three_phase,
    )


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
        floor=_end(min_lr),
        eps=eps,
    )


def _end(rate: float) -> ShareLike:
    """Torch's `eta_min` or `min_lr`, which are rates and not shares."""
    return absolute(rate) if rate else 0.0


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

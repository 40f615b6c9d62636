"""What torch's optimizers do to one parameter, as pure functions: for updates that are compiled.

`update(parameter, gradient, state, hyper) -> (parameter, state)`, elementwise in everything: a hyper-parameter may be a
number, a tensor without dimensions, or one that broadcasts against the parameter. State has torch's names, so that it
comes from `optimizer.state` and goes back there; before the first update it is empty.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RMSprop

from lrkit.schedules.errors import InputError

__all__ = ["Hyper", "Rule", "State", "hyper_of", "rule_of"]

State: TypeAlias = dict[str, Tensor]
Hyper: TypeAlias = Mapping[str, Any]
Update: TypeAlias = Callable[[Tensor, Tensor, State, Hyper], tuple[Tensor, State]]


@dataclass(frozen=True)
class Rule:
    """An optimizer's rule.

    Attributes:
        update: the pure function.
        refused: options of torch's that it doesn't know, with the values that leave them off.
    """

    update: Update
    refused: Mapping[str, Any]


def rule_of(optimizer: Optimizer) -> Rule:
    """The rule of a torch optimizer.

    Raises:
        InputError: for an optimizer or an option that there is no rule for.
    """
    rule = _RULES.get(type(optimizer))
    if rule is None:
        known = ", ".join(sorted(each.__name__ for each in _RULES))
        raise InputError(f"there is no rule for the optimizer {type(optimizer).__name__}; there are rules for {known}")
    for group in optimizer.param_groups:
        if rule.update is not _sgd and any(each.is_complex() for each in group["params"]):
            raise InputError(f"the rule of {type(optimizer).__name__} isn't for complex parameters")
        for name, off in {**rule.refused, "maximize": False, "differentiable": False}.items():
            if group.get(name, off) != off:
                raise InputError(f"the rule of {type(optimizer).__name__} has no {name}={group[name]!r}")
    return rule


def hyper_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a param group, with `betas` taken apart.

    >>> hyper_of({"params": [], "lr": 0.1, "betas": (0.9, 0.99)})
    {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.99}
    """
    hyper = {name: value for name, value in group.items() if name not in ("params", "betas")}
    if "betas" in group:
        hyper["beta1"], hyper["beta2"] = group["betas"]
    return hyper


def _sgd(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """V = μ·v + (1 - dampening)·g, first v = g; θ - lr·v, or with Nesterov θ - lr·(g + μ·v)."""
    gradient = _plus(gradient, hyper["weight_decay"], parameter)
    momentum = hyper["momentum"]
    if not _has_momentum(state, momentum):
        return _minus(parameter, hyper["lr"], gradient), {}
    before = state.get("momentum_buffer")
    buffer = gradient if before is None else _plus(_scaled(1 - hyper["dampening"], gradient), momentum, before)
    step = _plus(gradient, momentum, buffer) if hyper["nesterov"] else buffer
    return _minus(parameter, hyper["lr"], step), {"momentum_buffer": buffer}


def _adam(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """M = β₁·m + (1 - β₁)·g, v = β₂·v + (1 - β₂)·g²; θ - lr·m̂/(√v̂ + ε), where m̂ = m/(1 - β₁ᵗ), v̂ = v/(1 - β₂ᵗ)."""
    return _adam_step(parameter, _plus(gradient, hyper["weight_decay"], parameter), state, hyper)


def _adamw(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """Adam after θ = (1 - lr·λ)·θ."""
    return _adam_step(_scaled(1 - hyper["lr"] * hyper["weight_decay"], parameter), gradient, state, hyper)


def _adam_step(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    step = _count(state)
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    mean = _average(state, "exp_avg", gradient, beta1)
    square = _average(state, "exp_avg_sq", gradient * gradient, beta2)
    correction1, correction2 = 1 - beta1 ** step.double(), 1 - beta2 ** step.double()
    denominator = _scaled(1 / correction2.sqrt(), square.sqrt()) + _as(hyper["eps"], square)
    new = _minus(parameter, hyper["lr"] / correction1, mean / denominator)
    return new, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


def _rmsprop(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """V = α·v + (1 - α)·g²; θ - lr·g/(√v + ε), with momentum b = μ·b + g/(√v + ε), θ - lr·b."""
    gradient = _plus(gradient, hyper["weight_decay"], parameter)
    square = _average(state, "square_avg", gradient * gradient, hyper["alpha"])
    new_state = {"step": _count(state), "square_avg": square}
    direction = gradient / (square.sqrt() + _as(hyper["eps"], square))
    momentum = hyper["momentum"]
    if _has_momentum(state, momentum):
        before = state.get("momentum_buffer")
        direction = direction if before is None else _plus(direction, momentum, before)
        new_state["momentum_buffer"] = direction
    return _minus(parameter, hyper["lr"], direction), new_state


def _adagrad(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """S = s + g²; θ - lr/(1 + (t - 1)·decay)·g/(√s + ε)."""
    gradient = _plus(gradient, hyper["weight_decay"], parameter)
    step, square = _count(state), gradient * gradient
    total = square + (state["sum"] if "sum" in state else _as(hyper["initial_accumulator_value"], square))
    rate = hyper["lr"] / (1 + (step.double() - 1) * hyper["lr_decay"])
    new = _minus(parameter, rate, gradient / (total.sqrt() + _as(hyper["eps"], total)))
    return new, {"step": step, "sum": total}


def _adamax(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """M as Adam's; u = max(β₂·u, |g| + ε); θ - lr/(1 - β₁ᵗ)·m/u."""
    gradient = _plus(gradient, hyper["weight_decay"], parameter)
    step = _count(state)
    mean = _average(state, "exp_avg", gradient, hyper["beta1"])
    size = gradient.abs() + _as(hyper["eps"], gradient)
    if "exp_inf" in state:
        size = torch.maximum(_scaled(hyper["beta2"], state["exp_inf"]), size)
    new = _minus(parameter, hyper["lr"] / (1 - hyper["beta1"] ** step.double()), mean / size)
    return new, {"step": step, "exp_avg": mean, "exp_inf": size}


def _nadam(parameter: Tensor, gradient: Tensor, state: State, hyper: Hyper) -> tuple[Tensor, State]:
    """Adam with Nesterov's step, μ_t = β₁·(1 - 0.96^(t·ψ)/2)."""
    step = _count(state)
    beta1, beta2, lr = hyper["beta1"], hyper["beta2"], hyper["lr"]
    if hyper["decoupled_weight_decay"]:
        parameter = _scaled(1 - lr * hyper["weight_decay"], parameter)
    else:
        gradient = _plus(gradient, hyper["weight_decay"], parameter)
    now = beta1 * (1 - 0.5 * 0.96 ** (step.double() * hyper["momentum_decay"]))
    following = beta1 * (1 - 0.5 * 0.96 ** ((step.double() + 1) * hyper["momentum_decay"]))
    before = state.get("mu_product", torch.ones(()))
    product = before * now.to(before.dtype)  # torch keeps it in single precision
    mean = _average(state, "exp_avg", gradient, beta1)
    square = _average(state, "exp_avg_sq", gradient * gradient, beta2)
    denominator = _scaled(1 / (1 - beta2 ** step.double()), square).sqrt() + _as(hyper["eps"], square)
    step_now = _scaled(lr * (1 - now) / (1 - product.double()), gradient)
    step_following = _scaled(lr * following / (1 - product.double() * following), mean)
    new = parameter - (step_now + step_following) / denominator
    return new, {"step": step, "mu_product": product, "exp_avg": mean, "exp_avg_sq": square}


def _has_momentum(state: State, momentum: Any) -> bool:
    """Whether there is a momentum buffer: torch has none while momentum is zero."""
    return "momentum_buffer" in state or not isinstance(momentum, float | int) or momentum != 0


def _count(state: State) -> Tensor:
    """The number of this update, from 1."""
    return state["step"] + 1 if "step" in state else torch.ones(())


def _average(state: State, name: str, value: Tensor, decay: Any) -> Tensor:
    """The running average, which begins at zero."""
    fresh = _scaled(1 - decay, value)
    return _plus(fresh, decay, state[name]) if name in state else fresh


# Hyper-parameters and what is computed from them alone are in double precision; they meet a parameter in its own.


def _as(scale: Any, value: Tensor) -> Any:
    return scale.to(value.dtype) if isinstance(scale, Tensor) else scale


def _scaled(scale: Any, value: Tensor) -> Tensor:
    scaled: Tensor = value if _is_number(scale, 1) else _as(scale, value) * value
    return scaled


def _plus(value: Tensor, scale: Any, other: Tensor) -> Tensor:
    """Value + scale·other, in one pass."""
    if isinstance(scale, Tensor):
        return torch.addcmul(value, other, _as(scale, other))
    return value if scale == 0 else torch.add(value, other, alpha=scale)


def _minus(value: Tensor, scale: Any, other: Tensor) -> Tensor:
    """Value - scale·other, in one pass."""
    if isinstance(scale, Tensor):
        return torch.addcmul(value, other, _as(scale, other), value=-1)
    return torch.sub(value, other, alpha=scale)


def _is_number(scale: Any, number: float) -> bool:
    return not isinstance(scale, Tensor) and bool(scale == number)


_RULES: dict[type[Optimizer], Rule] = {
    SGD: Rule(_sgd, {}),
    Adam: Rule(_adam, {"amsgrad": False, "decoupled_weight_decay": False}),
    AdamW: Rule(_adamw, {"amsgrad": False}),
    RMSprop: Rule(_rmsprop, {"centered": False}),
    Adagrad: Rule(_adagrad, {}),
    Adamax: Rule(_adamax, {}),
    NAdam: Rule(_nadam, {}),
}

"""Optimizers of several kinds, and plans for their hyper-parameters in all param groups and in single ones."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

import lrkit
from lrkit import Target
from plans import controllers, schedules

# What each optimizer is made with, and where its hyper-parameters stand.
OPTIONS = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.01, "dampening": 0.1},
    "Adam": {"betas": (0.9, 0.99), "weight_decay": 0.01},
    "AdamW": {"betas": (0.9, 0.99), "weight_decay": 0.01},
    "RMSprop": {"momentum": 0.9, "alpha": 0.98, "weight_decay": 0.01},
}
HYPERS = {
    "SGD": ["lr", "momentum", "weight_decay", "dampening"],
    "Adam": ["lr", "momentum", "beta2", "weight_decay", "eps"],
    "AdamW": ["lr", "beta1", "beta2", "weight_decay"],
    "RMSprop": ["lr", "momentum", "alpha", "weight_decay"],
}
RATES = [0.1, 0.3, 0.1]

# Those that have a rule of lrkit's own, by what is particular about them.
RULED = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05),
    "SGD, momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01, dampening=0.2),
    "SGD, Nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95)),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.01),
    "RMSprop, momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.01, weight_decay=0.01),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.01),
    "NAdam, decoupled": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
}


def make(kind, tensor_rates=False, groups=3):
    """An optimizer with three groups, the last with the name `head`; its parameters have no gradients."""
    found = [
        {
            "params": [torch.nn.Parameter(torch.ones(1))],
            "lr": torch.tensor(rate, dtype=torch.float64) if tensor_rates else rate,
            "weight_decay": 0.02 * index,
            **({"name": "head"} if index == 2 else {}),
        }
        for index, rate in enumerate(RATES[:groups])
    ]
    options = {name: value for name, value in OPTIONS[kind].items() if name != "weight_decay"}
    return getattr(torch.optim, kind)(found, **options)


def held(optimizer):
    """Every scheduled hyper-parameter, by name and group."""
    found = {}
    for index, group in enumerate(optimizer.param_groups):
        for hyper in HYPERS[type(optimizer).__name__]:
            position = {"momentum": 0, "beta1": 0, "beta2": 1}.get(hyper)
            inside = hyper not in group
            found[hyper, index] = float(group["betas"][position] if inside else group[hyper])
    return found


@dataclass(frozen=True)
class Case:
    """An optimizer of a kind, and the plans that are bound to it."""

    kind: str
    tensor_rates: bool
    plans: lrkit.Plans

    def make(self):
        return make(self.kind, self.tensor_rates)

    def plan(self, hyper, index):
        """The plan for a hyper-parameter of a group by the documented order: index, name, all."""
        keys = [index, "head", None] if index == 2 else [index, None]
        return next((p for p in (self.plans.get(hyper, key) for key in keys) if p is not None), None)


def cases(plans=schedules):
    """Cases with plans for some hyper-parameters; for `lr` there is always one."""

    def of(kind):
        targets = [Target(hyper, key) for hyper in HYPERS[kind] for key in (None, 0, 2, "head")]
        some = st.dictionaries(st.sampled_from(targets), plans, max_size=5)
        both = st.builds(lambda lr, rest: lrkit.Plans.of({Target("lr"): lr, **rest}), plans, some)
        return st.builds(Case, st.just(kind), st.booleans(), both)

    return st.sampled_from(sorted(OPTIONS)).flatmap(of)


mixed_cases = cases(st.one_of(schedules, controllers))


def expected(case, bases, t, state_of=None):
    """What the groups must hold when update t runs."""
    found = {}
    for (hyper, index), base in bases.items():
        plan = case.plan(hyper, index)
        if plan is None:
            found[hyper, index] = base
        elif isinstance(plan, lrkit.Schedule):
            found[hyper, index] = plan(t, base)
        else:
            found[hyper, index] = plan.value(state_of(plan), t, base)
    return {key: float(np.float64(value)) for key, value in found.items()}

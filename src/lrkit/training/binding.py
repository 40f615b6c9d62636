"""Binding plans to an optimizer."""

from collections.abc import Collection

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.plans import as_plans
from lrkit.training.scheduler import BoundController, BoundSchedule, Conflict, Policy, Scheduler

__all__ = ["Conflict", "Policy", "bind"]


def bind(
    plan: Plan | Plans,
    optimizer: Optimizer,
    horizon: Horizon | None = None,
    *,
    lr: float | None = None,
    later: Collection[int | str] = (),
    policy: Policy | None = None,
    on_conflict: Conflict = "warn",
) -> Scheduler:
    """What `plan.bind(optimizer, ...)` comes down to; the arguments are described there.

    >>> import torch, lrkit
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> lrkit.bind(lrkit.linear(4, to=0), optimizer).get_last_lr()
    [0.1]
    """
    plans = as_plans(plan)
    cls = BoundController if plans.controllers else BoundSchedule
    return cls(optimizer, plans, horizon, lr=lr, later=later, policy=policy, on_conflict=on_conflict)

"""Binding plans to an optimizer."""

from collections.abc import Collection

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.plans import as_plans
from lrkit.training.progress import Measure
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
    asked: float | None = None,
    measure: Measure | None = None,
) -> Scheduler:
    """What `plan.bind(optimizer, ...)` comes down to; the arguments are described there, but for those of trainers.

    Args:
        plan: a plan, or plans for several hyper-parameters.
        optimizer: whose hyper-parameters it sets.
        horizon: what lengths are measured against.
        lr: as in `Plan.bind`, like those that follow.
        later: likewise.
        policy: likewise.
        on_conflict: likewise.
        asked: the rate that a trainer was asked for, which it made the optimizer with: a state of another one needs a
            policy.
        measure: says how far a trainer is when a state is loaded, and how long the schedule is then.

    >>> import torch, lrkit
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> lrkit.bind(lrkit.linear(4, to=0), optimizer).get_last_lr()
    [0.1]
    """
    plans = as_plans(plan)
    cls = BoundController if plans.controllers else BoundSchedule
    return cls(
        optimizer,
        plans,
        horizon,
        lr=lr,
        later=later,
        policy=policy,
        on_conflict=on_conflict,
        asked=asked,
        measure=measure,
    )

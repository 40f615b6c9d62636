"""Binding where a trainer starts, or starts again."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.plans import as_plans
from lrkit.training.binding import bind
from lrkit.training.progress import Progress
from lrkit.training.rebasing import Rates
from lrkit.training.scheduler import Conflict, Policy, Scheduler
from lrkit.training.scheduler_state import SchedulerState, check_policy, reconcile

__all__ = ["bind_resumed"]


def bind_resumed(
    plan: Plan | Plans,
    optimizer: Optimizer,
    state: Mapping[str, Any] | None,
    horizon: Horizon,
    *,
    lr: float | None = None,
    policy: Policy | None = None,
    on_conflict: Conflict = "warn",
    asked: float | None = None,
    elsewhere: int = 0,
) -> Scheduler:
    """Bind a plan, and go on from a scheduler's state where there is one; what is refused has changed nothing.

    Args:
        plan: what is bound.
        optimizer: to which.
        state: the scheduler's; None where there is none, or the optimizer carries it.
        horizon: what lengths are measured against.
        lr: the base of every group.
        policy: what to do with a state of another schedule, horizon or rate.
        on_conflict: what to do when somebody else writes what this sets.
        asked: the rate that the trainer was asked for, and made the optimizer with.
        elsewhere: updates that the trainer has made without lrkit, which need a policy.

    >>> import torch, lrkit
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = bind_resumed(lrkit.linear(to=0), optimizer, None, Horizon(4))
    >>> optimizer.step()
    >>> longer = bind_resumed(lrkit.linear(to=0), optimizer, scheduler.state_dict(), Horizon(8), policy="stretch")
    >>> longer.steps, round(longer.get_last_lr()[0], 4)
    (1, 0.0875)
    """
    check_policy(policy)
    if elsewhere:
        Progress(elsewhere, horizon).require(plan, policy)
    if state is not None:
        saved = SchedulerState.from_dict(dict(state))
        Rates(lr, asked).taken(saved, policy, {})
        if policy != "restart":
            reconcile(saved, as_plans(plan), horizon, policy)
    scheduler = bind(plan, optimizer, horizon, lr=lr, policy=policy, on_conflict=on_conflict, asked=asked)
    if state is not None:
        scheduler.load_state_dict(dict(state), policy=policy)
    elif elsewhere and policy != "restart":
        scheduler.advance(elsewhere - scheduler.steps)
    return scheduler

"""Importers: the plan that equals a live torch scheduler."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torchs

from lrkit.schedules import Plan, plateau, table
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import as_length
from lrkit.schedules.shares import as_rate
from lrkit.training.drop_in.cycles import CyclicLR
from lrkit.training.scheduler import Scheduler
from lrkit.training.torch_formulas import find_formula, torch_class

__all__ = ["from_torch"]

_TOLERANCE = 1e-12  # absolute, and relative to the largest rate where that is above 1


def from_torch(scheduler: torchs.LRScheduler, total: int, *, group: int = 0) -> Plan:
    """The plan that equals a live torch scheduler.

    value(t, base) with the group's `initial_lr` as the base is the rate of the group after t calls of `step()`, for t
    from 0 to `total`, to 1e-12. The unit is one call of `step()`: where the scheduler is stepped once an epoch, wrap
    the plan in `every("1ep", ...)`.

    The plan is the scheduler's formula where it has one (StepLR is `staircase`, SequentialLR is `>>`, ChainedScheduler
    is `*`). That is checked against a copy of the scheduler, stepped `total` times; where the two differ, and for what
    has no formula (functions of one's own, subclasses), the plan is a `table` of what the copy gave. A formula keeps
    the scheduler's own lengths, whatever `total` is. ReduceLROnPlateau becomes a `plateau` that has seen nothing yet,
    counted in reports.

    The scheduler and its optimizer stay exactly as they are; functions of one's own are called, at all these steps.
    What counts is the schedule, not how far it has come: a scheduler that was stepped already, or resumed, is imported
    from its step 0, with its arguments as they are now and without what others did to the rates meanwhile. Rates that
    are tensors are taken as floats. Momentum isn't imported; `one_cycle` and `triangular` have `.momentum()`.

    torch lets a OneCycleLR run one step past its end, where its rate goes beyond the end (and may be negative); the
    plan holds its end value there.

    Args:
        scheduler: any of torch's schedulers or of `lrkit.torch_names`, nested ones too, or a subclass.
        total: calls of `step()`.
        group: the index of a param group.

    Raises:
        InputError: where no plan equals the scheduler; the message says why.
        InputTypeError: for something else than torch's schedulers.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    >>> decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=95, eta_min=1e-5)
    >>> from_torch(torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[5]), total=100)
    linear(5, to=1, start=0.1) >> cosine(95, to=absolute(1e-05), start=1)
    """
    steps = _check(scheduler, total, group)
    if isinstance(scheduler, torchs.ReduceLROnPlateau):
        return _plateau(scheduler, group)
    base = float(scheduler.optimizer.param_groups[group]["initial_lr"])
    rates = _rates(scheduler, steps, group)
    formula = find_formula(scheduler, group, steps)
    if formula is not None:
        allowed = _TOLERANCE * max(1.0, rates.max())
        if np.abs(formula(np.arange(len(rates)), base) - rates).max() <= allowed:
            return formula
    if not np.array_equal(rates, _rates(scheduler, steps, group)):
        raise InputError(f"{_name(scheduler)} gives other rates each time, so they depend on more than the step")
    if base == 0 and rates.any():
        raise InputError(f"group {group} has the initial_lr 0, of which the rates of {_name(scheduler)} are no share")
    return table(rates / (base or 1.0))


def _check(scheduler: object, total: object, group: object) -> int:
    """The number of calls, when the arguments are of the right type and in range."""
    if isinstance(scheduler, Scheduler):
        raise InputTypeError(f"{_name(scheduler)} is lrkit's own; its plan is the one that `bind` was called on")
    if not isinstance(scheduler, torchs.LRScheduler):
        raise InputTypeError(f"scheduler must be one of torch's learning-rate schedulers, not {shown(scheduler)}")
    steps = as_length(total, "total")
    if not isinstance(steps, int):
        raise InputTypeError(f"total must be a number of calls of step(), not {shown(total)}")
    groups = scheduler.optimizer.param_groups
    if isinstance(group, bool) or not isinstance(group, int):
        raise InputTypeError(f"group must be the index of a param group, not {shown(group)} ({_name(group)})")
    if not 0 <= group < len(groups):
        raise InputError(f"group must be from 0 to {len(groups) - 1}, not {group}")
    _check_what_moves_it(scheduler)
    return steps


def _check_what_moves_it(scheduler: torchs.LRScheduler) -> None:
    metric = next((part for part in _parts(scheduler) if isinstance(part, torchs.ReduceLROnPlateau)), None)
    if metric is None:
        for index, group in enumerate(scheduler.optimizer.param_groups):
            if "initial_lr" not in group:
                raise InputError(f"group {index} has no initial_lr: it was added after {_name(scheduler)} was made")
    elif metric is not scheduler:
        raise InputError(
            f"{_name(scheduler)} holds {_name(metric)}, which moves by a metric that {_name(scheduler)} never reports"
        )
    elif torch_class(metric) is not torchs.ReduceLROnPlateau:
        raise InputError(f"{_name(metric)} moves by a metric in a way of its own, which stepping it can't show")


def _plateau(scheduler: torchs.ReduceLROnPlateau, group: int) -> Plan:
    floors = scheduler.min_lrs
    floor = float(floors[min(group, len(floors) - 1)])  # a group that was added later has the floor of all
    return plateau(
        mode=scheduler.mode,
        factor=scheduler.factor,
        patience=scheduler.patience,
        threshold=scheduler.threshold,
        threshold_mode=scheduler.threshold_mode,
        cooldown=scheduler.cooldown,
        floor=as_rate(floor, "min_lr"),
        eps=scheduler.eps,
    )


# --- stepping a copy ------------------------------------------------------------------------------


class _StandIn(Optimizer):
    """An optimizer with another's param groups, their rates as floats, and nothing to optimize."""

    def __init__(self, groups: list[dict[str, Any]], defaults: dict[str, Any]) -> None:
        super().__init__([_without_tensors(group) for group in groups], dict(defaults))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch's returns a loss
        """Nothing."""


def _without_tensors(group: dict[str, Any]) -> dict[str, Any]:
    values = {
        key: float(value) if isinstance(value, Tensor) else value for key, value in group.items() if key != "params"
    }
    return {**copy.deepcopy(values), "params": [Parameter(torch.zeros(()))]}


def _rates(scheduler: torchs.LRScheduler, total: int, group: int) -> Array:
    """The rates of a group after 0 to `total` calls of `step()`, from a copy of the scheduler."""
    with warnings.catch_warnings():
        # The copy has no optimizer whose steps it could come after.
        warnings.filterwarnings("ignore", message=".*optimizer.step", category=UserWarning)
        rates = np.array(list(_walk(_twin(scheduler), total, group)))
    if type(scheduler) is torchs.OneCycleLR:
        rates = rates[: scheduler.total_steps]  # what comes then is past the end
    wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= -_TOLERANCE)))
    if wrong.size:
        raise InputError(
            f"{_name(scheduler)} gives the rate {rates[wrong[0]]:.6g} at step {wrong[0]}, and the rates of a plan are "
            "finite and not negative"
        )
    positive: Array = np.maximum(rates, 0.0)
    return positive


def _walk(twin: torchs.LRScheduler, total: int, group: int) -> Iterator[float]:
    yield float(twin.optimizer.param_groups[group]["lr"])
    for call in range(1, total + 1):
        try:
            twin.step()
        except Exception as error:
            raise InputError(
                f"{_name(twin)} itself fails at call {call} of step(), with {_name(error)}: {_one_line(error)}"
            ) from error
        yield float(twin.optimizer.param_groups[group]["lr"])


def _twin(scheduler: torchs.LRScheduler) -> torchs.LRScheduler:
    """A copy at its step 0, bound to an optimizer of its own."""
    optimizer = _StandIn(scheduler.optimizer.param_groups, scheduler.optimizer.defaults)
    try:
        twin = copy.deepcopy(scheduler, {id(scheduler.optimizer): optimizer})
    except Exception as error:
        raise InputError(
            f"{_name(scheduler)} can't be copied, so it can't be stepped without touching it: {_one_line(error)}"
        ) from error
    strangers = [part for part in _parts(twin) if torch_class(part) is None]
    if not strangers:
        for own in optimizer.param_groups:
            own["lr"] = own["initial_lr"]
        _rewind(twin, optimizer)
    elif any(part.last_epoch > 0 for part in _parts(twin) if not hasattr(part, "_schedulers")):
        raise InputError(
            f"{_name(strangers[0])} was stepped already, and only torch's own schedulers can be taken back to their "
            "step 0: import it before its first step"
        )
    return twin


def _rewind(scheduler: Any, optimizer: Optimizer) -> None:
    """Do again what the scheduler's constructor did to it and to the optimizer."""
    for part in getattr(scheduler, "_schedulers", ()):
        _rewind(part, optimizer)
    make = type(scheduler).__init__
    if isinstance(scheduler, torchs.SequentialLR):
        make(scheduler, optimizer, scheduler._schedulers, scheduler._milestones)
    elif isinstance(scheduler, torchs.ChainedScheduler):
        make(scheduler, scheduler._schedulers, optimizer)
    else:
        bases = [float(base) for base in scheduler.base_lrs]  # CyclicLR's aren't the groups' initial_lr
        torchs.LRScheduler.__init__(scheduler, optimizer)
        scheduler.base_lrs = bases
        if isinstance(scheduler, CyclicLR):
            scheduler._update_lr(scheduler.last_epoch)


def _parts(scheduler: Any) -> Iterator[Any]:
    """The scheduler, and for one that is made of others all of those."""
    yield scheduler
    for part in getattr(scheduler, "_schedulers", ()):
        yield from _parts(part)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _name(value: object) -> str:
    return type(value).__name__

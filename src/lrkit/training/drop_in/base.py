"""What every drop-in does: it checks hyper-parameters, writes rates, takes in added groups, loads states that fit."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.evaluation import Array

__all__ = [
    "Checked",
    "Curved",
    "DropIn",
    "Group",
    "Rate",
    "copy",
    "held_rates",
    "load",
    "one_for_all",
    "require_own",
    "whole",
    "write_rate",
]

Group: TypeAlias = dict[str, Any]
Rate: TypeAlias = float | Tensor
T = TypeVar("T")

# What stands in the state of each of torch's schedulers and makes it that scheduler's.
HYPER_PARAMETERS: dict[str, frozenset[str]] = {
    "LambdaLR": frozenset({"lr_lambdas"}),
    "MultiplicativeLR": frozenset({"lr_lambdas"}),
    "StepLR": frozenset({"step_size", "gamma"}),
    "MultiStepLR": frozenset({"milestones", "gamma"}),
    "ConstantLR": frozenset({"factor", "total_iters"}),
    "LinearLR": frozenset({"start_factor", "end_factor", "total_iters"}),
    "ExponentialLR": frozenset({"gamma"}),
    "PolynomialLR": frozenset({"total_iters", "power"}),
    "CosineAnnealingLR": frozenset({"T_max", "eta_min"}),
    "CosineAnnealingWarmRestarts": frozenset({"T_0", "T_i", "T_mult", "T_cur", "eta_min"}),
    "CyclicLR": frozenset({"max_lrs", "total_size", "step_ratio", "mode", "gamma"}),
    "OneCycleLR": frozenset({"total_steps"}),
    "ReduceLROnPlateau": frozenset({"factor", "patience", "mode", "threshold", "best"}),
    "SequentialLR": frozenset({"_schedulers", "_milestones"}),
    "ChainedScheduler": frozenset({"_schedulers"}),
}
_ALL = frozenset().union(*HYPER_PARAMETERS.values())


class Restorable(Protocol):
    """What `load` asks of a scheduler."""

    optimizer: Optimizer

    def get_last_lr(self) -> list[Rate]: ...
    def _check(self) -> None: ...
    def _bring_momentum(self) -> None: ...


class Checked(LRScheduler, ABC):
    """The last parent of each class: torch's constructor comes here before it touches the optimizer.

    By then it has set the hyper-parameters, so here is where they can be refused without a trace.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._check()
        super().__init__(optimizer, last_epoch)

    @abstractmethod
    def _check(self) -> None:
        """Raise an `InputError` for hyper-parameters that can't work."""


class DropIn(Checked):
    """A scheduler of torch's whose rates are ours."""

    @abstractmethod
    def _rates(self) -> list[Rate]:
        """The rate of each group at `last_epoch`."""

    def get_lr(self) -> list[Rate]:
        """The rate of each group at `last_epoch`; what was set last is `get_last_lr()`."""
        if not self._get_lr_called_within_step:
            message = "get_lr() is the next rate in the making; the last one is get_last_lr()"
            warnings.warn(message, UserWarning, stacklevel=2)
        return self._rates()

    def _update_lr(self, epoch: int | None = None) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            self._admit()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed_form = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr() if closed_form is None else closed_form()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(groups, rates, strict=True):
            if type(rate) is type(group["lr"]) is float:  # what is common is quick
                group["lr"] = rate
            else:
                write_rate(group, rate)
        self._last_lr = held_rates(self.optimizer)

    def _admit(self) -> None:
        """Take in the groups that were added since: the rate a group came with is its base."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", copy(group["lr"]))
            self._admit_group(group)
            self.base_lrs = [*self.base_lrs, copy(group["initial_lr"])]

    def _admit_group(self, group: Group) -> None:
        """Extend what else there is one of for each group."""

    def _bring_momentum(self) -> None:
        """Write the momentum of `last_epoch`, where there is one."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, torch's or ours, with the hyper-parameters that it has.

        Where the optimizer's own state wasn't restored, its groups get the rates that the state ends with.

        Raises:
            InputError: for the state of another scheduler, or of another number of groups.
        """
        load(self, state_dict, super().load_state_dict)


class Curved(DropIn):
    """A drop-in whose rates follow a curve, which is computed for many epochs at once, since that costs as much as one.

    Hyper-parameters may be changed between any two steps, and a state that is loaded brings others: what was computed
    is used as long as they are what they were then.
    """

    __slots__ = ("_ahead",)  # not among the `vars`, which are the state

    _ahead: tuple[object, int, list[Any]]  # what the curve was made of, the first epoch, the points from there on

    @abstractmethod
    def _made_of(self) -> object:
        """The hyper-parameters that make the curve, to be compared."""

    @abstractmethod
    def _points(self, epochs: Array) -> list[Any]:
        """What the curve has at each of these epochs."""

    def _point(self) -> Any:
        """What the curve has at `last_epoch`."""
        made_of, (known, begin, points) = self._made_of(), getattr(self, "_ahead", _NOTHING)
        offset = self.last_epoch - begin
        if type(offset) is int and 0 <= offset < len(points) and made_of == known:
            return points[offset]
        size = min(2 * len(points), _MOST) if offset == len(points) and made_of == known else _FIRST
        try:
            points = self._points(self.last_epoch + np.arange(size, dtype=np.float64))
        except InputError:  # an epoch that may never come has no value
            points = self._points(np.array([self.last_epoch], dtype=np.float64))
        self._ahead = made_of, self.last_epoch, points
        return points[0]


_FIRST = 16  # epochs computed at once at first; then twice as many each time
_MOST = 512
_NOTHING: tuple[object, int, list[Any]] = (None, 0, [])


def load(scheduler: Restorable, state: dict[str, Any], plainly: Callable[[dict[str, Any]], None]) -> None:
    """Load a state that fits by torch's own method, and bring the rates back if the optimizer didn't.

    The groups of an optimizer that wasn't restored still hold what the scheduler wrote when it was made.
    """
    require_own(scheduler, state)
    before, written = dict(vars(scheduler)), scheduler.get_last_lr()
    groups, held = scheduler.optimizer.param_groups, _Held(scheduler.optimizer)
    untouched = len(written) == len(groups) and all(map(_equal, written, held.rates))
    try:
        plainly(dict(state))  # torch's CyclicLR takes a key out of the state that it is given
        scheduler._check()
    except BaseException:
        held.put_back()
        vars(scheduler).clear()
        vars(scheduler).update(before)
        raise
    saved = scheduler.get_last_lr()
    if untouched and len(saved) == len(groups):
        for group, rate in zip(groups, saved, strict=True):
            write_rate(group, rate)
        scheduler._bring_momentum()
    else:  # a child may have taken the groups for untouched
        held.put_back()


def require_own(scheduler: Any, state: dict[str, Any]) -> None:
    """Refuse the state of another scheduler, or of more groups than the optimizer has."""
    name = next((each.__name__ for each in type(scheduler).__mro__ if each.__name__ in HYPER_PARAMETERS), "")
    own = HYPER_PARAMETERS.get(name, frozenset())
    lacking = sorted(own - set(state))
    foreign = sorted(key for key in _ALL - own if key in state and key not in vars(scheduler))
    if lacking or foreign:
        has = ", ".join(foreign) or "none of another scheduler's hyper-parameters"
        raise InputError(f"this is not the state of a {name}: it has {has} and lacks {', '.join(lacking) or 'nothing'}")
    saved, groups = len(state.get("base_lrs", [])), len(scheduler.optimizer.param_groups)
    if saved > groups:
        raise InputError(f"the state has {saved} base_lrs, but the optimizer has {groups} param groups")


def one_for_all(values: Sequence[T], name: str) -> T:
    """The value that all groups share and a new group gets too."""
    if any(value is not values[0] and not _same(value, values[0]) for value in values[1:]):
        raise InputError(
            f"the optimizer has a param group more than {name} has values, and these differ: "
            f"append the new group's to {name}"
        )
    return values[0]


def whole(value: object, name: str, low: int = 1) -> int:
    """A whole number of at least `low`; torch's users write `epochs / 2` for a length, so 50.0 is one too."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputTypeError(f"{name} must be a whole number, not {value!r} ({type(value).__name__})")
    if not float(value).is_integer() or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, not {value}")
    return int(value)


def copy(rate: Rate) -> Rate:
    """The rate itself, or a tensor of its own."""
    return rate.clone() if isinstance(rate, Tensor) else rate


def held_rates(optimizer: Optimizer) -> list[Rate]:
    """What the groups hold now, as copies."""
    return [rate if type(rate := group["lr"]) is float else copy(rate) for group in optimizer.param_groups]


def write_rate(group: Group, rate: Rate) -> None:
    """Give a group its rate, in place where it is a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(rate))
    else:
        group["lr"] = float(rate) if isinstance(rate, Tensor) else rate


class _Held:
    """What the groups hold of that which schedulers change."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.groups = optimizer.param_groups
        self.rates = held_rates(optimizer)
        self.momenta: list[Group] = [
            {key: group[key] for key in ("momentum", "betas") if key in group} for group in self.groups
        ]

    def put_back(self) -> None:
        """Make the groups hold it again."""
        for group, rate, momenta in zip(self.groups, self.rates, self.momenta, strict=True):
            write_rate(group, rate)
            group.update(momenta)


def _equal(one: Rate, other: Rate) -> bool:
    return float(one) == float(other)


def _same(one: object, other: object) -> bool:
    return bool(one == other)

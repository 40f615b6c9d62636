"""The drop-ins that drive others: SequentialLR and ChainedScheduler, in each other to any depth."""

import itertools
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from lrkit.schedules.errors import InputError
from lrkit.training.drop_in.base import Rate, copy, held_rates, load, require_own, whole, write_rate

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Driving(LRScheduler, ABC):
    """What the two have in common: children, which begin and are restored as one."""

    _schedulers: Any  # a list in one of torch's two, any sequence in the other

    def _check(self) -> None:
        """The children have checked themselves."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, torch's or ours, with the hyper-parameters that it has.

        Raises:
            InputError: for the state of other schedulers, before anything is loaded.
        """
        _require_fit(self, state_dict)
        load(self, state_dict, super().load_state_dict)

    def _initial_step(self) -> None:
        """Begin, as part of another composition."""
        for child in self._schedulers:
            _rewind(child)
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """The first step of those that begin now."""

    @abstractmethod
    def _bring_momentum(self) -> None:
        """Write the momentum of now, where there is one."""


class SequentialLR(_Driving, lr_scheduler.SequentialLR):
    """torch's SequentialLR: one scheduler after the other, each with a clock of its own.

    At a milestone the next scheduler sets its rates from the base, whatever the groups hold by then. Inside
    ChainedScheduler the part that the others have in the rates survives that.

    >>> import torch
    >>> from lrkit.torch_names import ExponentialLR, LinearLR
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> parts = [LinearLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)]
    >>> scheduler, rates = SequentialLR(optimizer, parts, milestones=[2]), []
    >>> for _ in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 3) for rate in rates]
    [0.05, 0.075, 0.1, 0.05, 0.025]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        at = [whole(milestone, "milestones", low=0) for milestone in milestones]
        for before, after in itertools.pairwise(at):
            if before > after:
                raise InputError(f"milestones must ascend, but {before} stands before {after}")
        super().__init__(optimizer, schedulers, milestones, last_epoch)
        if last_epoch >= 0:
            self._update_lr(last_epoch + 1)

    def recursive_undo(self, sched: LRScheduler | None = None) -> None:
        """Put the clocks of the schedulers, and of those inside them, before their first step."""
        for child in self._schedulers if sched is None else [sched]:
            _rewind(child)

    def step(self) -> None:  # type: ignore[override]  # as torch's own, which takes no epoch
        """One step of the scheduler whose turn it is."""
        self.last_epoch += 1
        child, epoch = self._turn()
        if epoch == 0:
            child._update_lr(0)
        else:
            child.step()
        self._last_lr = child.get_last_lr()

    def _step_among_others(self) -> None:
        """A step in a ChainedScheduler: where it sets the rates anew, what others did to them is done again."""
        after, epoch = self._turn(self.last_epoch + 1)
        if epoch != 0:
            self.step()
            return
        before, _ = self._turn()
        alone, held = _alone(before), held_rates(self.optimizer)
        self.step()
        if alone is not None and _alone(after) is not None:
            for group, rate, own in zip(self.optimizer.param_groups, held, alone, strict=True):
                if float(own) != 0.0:
                    write_rate(group, group["lr"] * (rate / own))
            self._last_lr = held_rates(self.optimizer)

    def _update_lr(self, epoch: int | None = None) -> None:
        """One step, or the rates of that epoch, as part of another composition."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        child, own = self._turn()
        child._update_lr(own if own == 0 or epoch is not None else None)
        self._last_lr = child.get_last_lr()

    def _begin(self) -> None:
        self.last_epoch = 0
        child, _ = self._turn()
        child._initial_step()
        self._last_lr = child.get_last_lr()

    def _bring_momentum(self) -> None:
        _bring_momentum(self._turn()[0])

    def _turn(self, epoch: int | None = None) -> tuple[LRScheduler, int]:
        """The scheduler whose turn it is at an epoch, by default now, and its own epoch."""
        at = self.last_epoch if epoch is None else epoch
        index = bisect_right(self._milestones, at)
        return self._schedulers[index], at - (self._milestones[index - 1] if index else 0)


class ChainedScheduler(_Driving, lr_scheduler.ChainedScheduler):
    """torch's ChainedScheduler: each step is a step of all of them, and their changes compound."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(schedulers, optimizer)
        fresh = all(getattr(child, "last_epoch", 0) == 0 for child in schedulers)
        if fresh and any(isinstance(child, SequentialLR) for child in schedulers):
            self._update_lr(0)  # making a SequentialLR undid what those made before it had done

    def step(self) -> None:  # type: ignore[override]  # as torch's own, which takes no epoch
        """One step of each."""
        for child in self._schedulers:
            getattr(child, "_step_among_others", child.step)()
        self._last_lr = held_rates(self.optimizer)

    def _update_lr(self, epoch: int | None = None) -> None:
        """One step, or the rates of that epoch, as part of another composition."""
        if epoch is not None:
            for group in self.optimizer.param_groups:
                write_rate(group, group["initial_lr"])
            self._initial_step()
        for _ in range(1 if epoch is None else epoch):
            for child in self._schedulers:
                if hasattr(child, "_step_count"):  # a cosine sets its rate anew while it counts a first step
                    child._step_count += 1
                child._update_lr()
        self._last_lr = held_rates(self.optimizer)

    def _bring_momentum(self) -> None:
        for child in self._schedulers:
            _bring_momentum(child)

    def _begin(self) -> None:
        for child in self._schedulers:
            child._initial_step()
        self._last_lr = held_rates(self.optimizer)


def _alone(scheduler: LRScheduler) -> list[Rate] | None:
    """The rates that a compounding scheduler gives by itself; None for one that sets rates at each step anyway."""
    if isinstance(scheduler, SequentialLR):
        return _alone(scheduler._turn()[0])
    closed_form = getattr(scheduler, "_get_closed_form_lr", None)
    return None if closed_form is None else [copy(rate) for rate in closed_form()]


def _bring_momentum(scheduler: LRScheduler) -> None:
    if hasattr(scheduler, "_bring_momentum"):
        scheduler._bring_momentum()


def _rewind(scheduler: LRScheduler) -> None:
    for child in getattr(scheduler, "_schedulers", ()):
        _rewind(child)
    if hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch = -1


def _require_fit(scheduler: LRScheduler, state: dict[str, Any]) -> None:
    require_own(scheduler, state)
    children = getattr(scheduler, "_schedulers", None)
    if children is None:
        return
    states = state["_schedulers"]
    if len(states) != len(children):
        raise InputError(f"the state has {len(states)} schedulers, but this {type(scheduler).__name__} {len(children)}")
    for child, own in zip(children, states, strict=True):
        _require_fit(child, own)

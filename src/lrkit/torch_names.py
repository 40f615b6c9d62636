"""torch's schedulers under torch's names, with torch's behaviour: a one-line switch.

    from lrkit.torch_names import StepLR  # instead of torch.optim.lr_scheduler

Calls of `step()` are the clock, `step(epoch)` works, changes that others make to a group compound, torch's own
checkpoints load and their hyper-parameters are adopted, as torch does. The curve itself comes from the schedule,
which `schedule` shows. What differs is what torch gets wrong: zero, negative and non-finite arguments are refused
instead of giving a division by zero or a negative rate, and `ReduceLROnPlateau` sees that a negative metric stalls.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Literal, SupportsFloat

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from lrkit.schedules import Schedule, State, exponential, milestones, plateau, staircase
from lrkit.schedules.shares import as_number

__all__ = ["ExponentialLR", "MultiStepLR", "ReduceLROnPlateau", "StepLR"]


class _Multiplicative(lr_scheduler.LRScheduler, ABC):
    """A scheduler whose step multiplies what the group holds by the ratio of two values of its schedule."""

    @property
    @abstractmethod
    def schedule(self) -> Schedule:
        """The curve, counted in calls of `step()`, from the hyper-parameters as they are now."""

    def get_lr(self) -> list[float | Tensor]:
        """The next rate of each group, from the one that it holds."""
        if self.last_epoch == 0 or self._is_initial:
            ratio = 1.0
        else:
            before, now = self.schedule([self.last_epoch - 1, self.last_epoch])
            ratio = now / before if before else 0.0
        return [group["lr"] * ratio if ratio != 1.0 else _copy(group["lr"]) for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        """What `step(epoch)` sets: the curve at that epoch."""
        share = self.schedule(self.last_epoch)
        return [base * share for base in self.base_lrs]


class StepLR(_Multiplicative):
    """torch's StepLR: `staircase(every=step_size, factor=gamma)`.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = StepLR(optimizer, step_size=10, gamma=0.5)
    >>> scheduler.schedule
    staircase(every=10, factor=0.5)
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        _ = self.schedule  # bad arguments are refused before the optimizer is touched
        super().__init__(optimizer, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`staircase(every=step_size, factor=gamma)`."""
        return staircase(every=self.step_size, factor=self.gamma)


class MultiStepLR(_Multiplicative):
    """torch's MultiStepLR: `milestones(at=milestones, factor=gamma)`; a milestone that stands twice counts twice."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        _ = self.schedule
        super().__init__(optimizer, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`milestones(at=[...], factor=gamma)`."""
        return milestones(at=sorted(self.milestones.elements()), factor=self.gamma)


class ExponentialLR(_Multiplicative):
    """torch's ExponentialLR: `exponential(factor=gamma)`."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        _ = self.schedule
        super().__init__(optimizer, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`exponential(factor=gamma)`."""
        return exponential(factor=self.gamma)

    def get_lr(self) -> list[float | Tensor]:
        """The next rate of each group: the curve falls by the same ratio at every step."""
        if self._is_initial:
            return [_copy(group["lr"]) for group in self.optimizer.param_groups]
        return [group["lr"] * self.gamma for group in self.optimizer.param_groups]


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    """torch's ReduceLROnPlateau: `plateau(...)` decides, and what a group holds is reduced.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    >>> for loss in [1.0, 1.0]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr(), scheduler.best
    ([0.05], 1.0)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        plateau(
            mode=mode, factor=factor, patience=patience, threshold=threshold, threshold_mode=threshold_mode,
            cooldown=cooldown, eps=eps,
        )  # fmt: skip
        for floor in min_lr if isinstance(min_lr, list | tuple) else [min_lr]:
            as_number(floor, "min_lr", low=0.0)
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)

    @property
    def controller(self) -> plateau:
        """The controller that decides, from the hyper-parameters as they are now."""
        return plateau(
            mode=self.mode,
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            threshold_mode=self.threshold_mode,
            cooldown=self.cooldown,
            eps=self.eps,
        )

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Report a metric; reduce the groups' rates when it has stalled for longer than the patience."""
        before: State = {
            "best": None if self.best == self.mode_worse else self.best,
            "bad_epochs": self.num_bad_epochs,
            "cooldown": self.cooldown_counter,
            "reductions": 0,
        }
        after = self.controller.update(before, metrics)
        self.best = self.mode_worse if after["best"] is None else after["best"]
        self.num_bad_epochs = after["bad_epochs"]
        self.cooldown_counter = after["cooldown"]
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if after["reductions"]:
            self._reduce_lr(self.last_epoch)
        self._last_lr = [_copy(group["lr"]) for group in self.optimizer.param_groups]


def _copy(rate: float | Tensor) -> float | Tensor:
    return rate.clone() if isinstance(rate, Tensor) else rate

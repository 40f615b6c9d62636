"""The drop-in that is told a metric: ReduceLROnPlateau."""

import warnings
from typing import Any, Literal, SupportsFloat

from torch.optim import Optimizer, lr_scheduler

from lrkit.schedules import plateau
from lrkit.schedules.metric import as_metric, judge
from lrkit.schedules.shares import as_number
from lrkit.training.drop_in.base import held_rates, load, whole

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    """torch's ReduceLROnPlateau: it decides as `plateau(...)` does, and what a group holds is reduced.

    The count of epochs goes on from `last_epoch`, which torch's class doesn't take: libraries that compare classes with
    torch's own give it to this one, as they do to all the others.

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
        last_epoch: int = -1,
    ) -> None:
        begun = whole(last_epoch, "last_epoch", low=-1) + 1
        plateau(
            mode=mode, factor=factor, patience=patience, threshold=threshold, threshold_mode=threshold_mode,
            cooldown=cooldown, eps=eps,
        )  # fmt: skip  # more to a line reads better
        for floor in min_lr if isinstance(min_lr, list | tuple) else [min_lr]:
            as_number(floor, "min_lr", low=0.0)
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
        self.last_epoch = begun

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

    def _check(self) -> None:
        _ = self.controller

    def _bring_momentum(self) -> None:
        """It has none."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, torch's or ours, with the hyper-parameters that it has.

        Where the optimizer's own state wasn't restored, its groups get the rates that the state ends with.

        Raises:
            InputError: for the state of another scheduler.
        """
        load(self, state_dict, super().load_state_dict)

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]  # as torch's
        """Report a metric; reduce the groups' rates when it has stalled for longer than the patience."""
        if epoch is not None:
            warnings.warn(lr_scheduler.EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        metric = metrics if type(metrics) is float else as_metric(metrics)
        best = None if self.best == self.mode_worse else self.best
        best, bad, cooldown, stalled = judge(self, metric, best, self.num_bad_epochs, self.cooldown_counter)
        if stalled:
            self._check()  # the hyper-parameters may have been changed
        self.best = self.mode_worse if best is None else best
        self.num_bad_epochs, self.cooldown_counter = bad, cooldown
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if stalled:
            self._reduce_lr(self.last_epoch)
        self._last_lr = held_rates(self.optimizer)

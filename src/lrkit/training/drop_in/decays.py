"""The drop-ins that compound: each step multiplies what a group holds by the ratio of two values of a curve."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable

import numpy as np
from torch.optim import Optimizer, lr_scheduler

from lrkit.schedules import Schedule, absolute, constant, cosine, exponential, linear, milestones, polynomial, staircase
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import as_list, half_cosine
from lrkit.schedules.shares import as_number, as_positive
from lrkit.training.drop_in.base import Checked, Curved, Rate, copy, held_rates, whole

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "StepLR",
]


class Compounding(Curved):
    """A scheduler whose step multiplies, so that what others do to a group stays done."""

    @property
    @abstractmethod
    def schedule(self) -> Schedule:
        """The curve, counted in calls of `step()`, from the hyper-parameters as they are now."""

    def _check(self) -> None:
        _ = self.schedule

    def _points(self, epochs: Array) -> list[tuple[float, float]]:
        """The curve's value at the epoch before and at the epoch."""
        before = np.where(epochs == 0, 1.0, self.schedule(epochs - 1))
        return list(zip(before.tolist(), self.schedule(epochs).tolist(), strict=True))

    def _rates(self) -> list[Rate]:
        if self._is_initial and self.last_epoch != 0:  # resumed: the groups hold the rates of this epoch
            return held_rates(self.optimizer)
        return self._move(*self._point())

    def _move(self, before: float, now: float) -> list[Rate]:
        """The groups' rates after the curve went from one value to the next."""
        if before == now:
            return held_rates(self.optimizer)
        if before == 0.0:  # nothing is left that could be multiplied
            return [base * now for base in self.base_lrs]
        ratio = now / before
        return [group["lr"] * ratio for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        """What `step(epoch)` sets: the curve at that epoch."""
        _, share = self._point()
        return [base * share for base in self.base_lrs]


class StepLR(Compounding, lr_scheduler.StepLR, Checked):
    """torch's StepLR: `staircase(every=step_size, factor=gamma)`.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = StepLR(optimizer, step_size=10, gamma=0.5)
    >>> scheduler.schedule
    staircase(every=10, factor=0.5)
    """

    @property
    def schedule(self) -> Schedule:
        """`staircase(every=step_size, factor=gamma)`."""
        return staircase(every=whole(self.step_size, "step_size"), factor=as_positive(self.gamma, "gamma"))

    def _made_of(self) -> object:
        return self.step_size, self.gamma


class MultiStepLR(Compounding, lr_scheduler.MultiStepLR, Checked):
    """torch's MultiStepLR: `milestones(at=milestones, factor=gamma)`.

    The order of the milestones doesn't matter, one that stands twice counts twice, and at 0 it counts from the start.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        given = milestones.elements() if isinstance(milestones, Counter) else milestones
        at = [whole(each, "milestones", low=0) for each in as_list(given, "milestones", "whole numbers")]
        super().__init__(optimizer, at, gamma, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`milestones(at=[...], factor=gamma)`."""
        gamma = as_positive(self.gamma, "gamma")
        at = sorted(whole(milestone, "milestones", low=0) for milestone in self.milestones.elements())
        later = [milestone for milestone in at if milestone]
        start = gamma ** (len(at) - len(later))
        if not later:
            return constant(start)
        return milestones(at=later, factor=gamma, start=None if start == 1.0 else start)

    def _made_of(self) -> object:
        return dict.copy(self.milestones), self.gamma


class ConstantLR(Compounding, lr_scheduler.ConstantLR, Checked):
    """torch's ConstantLR: `constant(factor, steps=total_iters) >> constant()`."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        as_number(factor, "factor", low=0.0, high=1.0)  # before torch compares it
        super().__init__(optimizer, factor, total_iters, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`constant(factor, steps=total_iters) >> constant()`."""
        factor = as_number(self.factor, "factor", low=0.0, high=1.0)
        return constant(factor, steps=whole(self.total_iters, "total_iters")) >> constant()

    def _made_of(self) -> object:
        return self.factor, self.total_iters


class LinearLR(Compounding, lr_scheduler.LinearLR, Checked):
    """torch's LinearLR: `linear(total_iters, start=start_factor, to=end_factor)`."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        as_number(start_factor, "start_factor", low=0.0, high=1.0, low_open=True)
        as_number(end_factor, "end_factor", low=0.0, high=1.0)
        super().__init__(optimizer, start_factor, end_factor, total_iters, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`linear(total_iters, start=start_factor, to=end_factor)`."""
        return linear(
            whole(self.total_iters, "total_iters"),
            start=as_number(self.start_factor, "start_factor", low=0.0, high=1.0, low_open=True),
            to=as_number(self.end_factor, "end_factor", low=0.0, high=1.0),
        )

    def _made_of(self) -> object:
        return self.total_iters, self.start_factor, self.end_factor


class ExponentialLR(Compounding, lr_scheduler.ExponentialLR, Checked):
    """torch's ExponentialLR: `exponential(factor=gamma)`."""

    @property
    def schedule(self) -> Schedule:
        """`exponential(factor=gamma)`."""
        return exponential(factor=as_positive(self.gamma, "gamma"))

    def _made_of(self) -> object:
        return self.gamma

    def _rates(self) -> list[Rate]:
        if self._is_initial or self.last_epoch == 0:
            return held_rates(self.optimizer)
        return self._move(1.0, self.gamma)  # the ratio of any two neighbours, where the values themselves underflow


class PolynomialLR(Compounding, lr_scheduler.PolynomialLR, Checked):
    """torch's PolynomialLR: `polynomial(total_iters, to=0, exponent=power)`."""

    @property
    def schedule(self) -> Schedule:
        """`polynomial(total_iters, to=0, exponent=power)`."""
        return polynomial(whole(self.total_iters, "total_iters"), to=0.0, exponent=as_positive(self.power, "power"))

    def _made_of(self) -> object:
        return self.total_iters, self.power


class CosineAnnealingLR(Compounding, lr_scheduler.CosineAnnealingLR, Checked):
    """torch's CosineAnnealingLR: `cosine(T_max, to=absolute(eta_min))`, run back and forth.

    Past `T_max` the rate rises again and is back at the base after `2 · T_max` steps, as in torch. A `T_max` that isn't
    whole has a curve too, which reaches `eta_min` between two steps, but no `schedule`.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=50, eta_min=0.001)
    >>> scheduler.schedule
    cosine(50, to=absolute(0.001))
    """

    @property
    def schedule(self) -> Schedule:
        """`cosine(T_max, to=absolute(eta_min))`, one way."""
        if not float(self.T_max).is_integer():
            raise InputError(f"schedules last whole steps, so with T_max={self.T_max} there is none")
        return cosine(whole(self.T_max, "T_max"), to=absolute(as_number(self.eta_min, "eta_min", low=0.0)))

    def _check(self) -> None:
        as_number(self.T_max, "T_max", low=1.0)
        as_number(self.eta_min, "eta_min", low=0.0)

    def _made_of(self) -> object:
        return self.T_max

    def _points(self, epochs: Array) -> list[tuple[float, float]]:
        """How much of the way from `eta_min` to the base is left at the epoch before and at the epoch."""
        half, period = self.T_max, 2 * self.T_max
        folded = (np.minimum(at % period, period - at % period) for at in (epochs - 1, epochs))
        before, now = (half_cosine(at / half).tolist() for at in folded)
        return list(zip(before, now, strict=True))

    def _rates(self) -> list[Rate]:
        if self._is_initial or self.last_epoch == 0:
            return held_rates(self.optimizer)
        if self._step_count == 1:  # whoever sets `last_epoch` and asks for the rate wants this curve's, as from torch's
            return self._get_closed_form_lr()
        before, now = self._point()
        groups, low = self.optimizer.param_groups, self.eta_min
        if before == 0.0:  # the trough: what the groups hold says nothing of where they came from
            pairs = zip(self.base_lrs, groups, strict=True)
            return [group["lr"] + (base - low) * now for base, group in pairs]
        ratio = now / before
        return [low + (group["lr"] - low) * ratio for group in groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        _, left = self._point()
        return [copy(base) if left == 1.0 else self.eta_min + (base - self.eta_min) * left for base in self.base_lrs]

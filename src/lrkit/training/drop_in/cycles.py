"""The drop-ins that set a rate whatever the group holds: warm restarts, cycles, and the one cycle."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from lrkit.schedules import Schedule, absolute, constant, cosine_restarts, one_cycle, triangular
from lrkit.schedules.callables import ask
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import half_cosine
from lrkit.schedules.shares import as_number, as_positive
from lrkit.training.drop_in.base import Checked, Curved, DropIn, Group, Rate, copy, one_for_all, whole, write_rate

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingWarmRestarts(DropIn, lr_scheduler.CosineAnnealingWarmRestarts, Checked):
    """torch's CosineAnnealingWarmRestarts: `cosine_restarts(T_0, growth=T_mult, to=absolute(eta_min))`.

    `T_cur` and `T_i` say where in which cycle it is, and may be set by hand. `step(epoch)` takes fractions of an epoch.
    """

    T_cur: float  # type: ignore[assignment]  # torch says int, and gives a part of an epoch all the same

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        as_number(eta_min, "eta_min", low=0.0)  # before torch compares it
        super().__init__(optimizer, whole(T_0, "T_0"), whole(T_mult, "T_mult"), eta_min, last_epoch)

    @property
    def schedule(self) -> Schedule:
        """`cosine_restarts(T_0, growth=T_mult, to=absolute(eta_min))`."""
        eta_min = absolute(as_number(self.eta_min, "eta_min", low=0.0))
        return cosine_restarts(whole(self.T_0, "T_0"), growth=whole(self.T_mult, "T_mult"), to=eta_min)

    def _check(self) -> None:
        _ = self.schedule

    def step(self, epoch: float | None = None) -> None:
        """To the next epoch, or to that one, which may be any number."""
        if epoch is not None and epoch < 0:
            raise InputError(f"epoch must be at least 0, not {epoch}")
        self._update_lr(epoch)

    def _update_lr(self, epoch: float | None = None) -> None:
        if epoch is not None:
            self._place(epoch)
        elif self._is_initial or self.last_epoch < 0:
            self._place(self.last_epoch + 1)
        else:
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        super()._update_lr(None if epoch is None else math.floor(epoch))

    def _place(self, epoch: float) -> None:
        """Find the cycle of an epoch by counting; torch takes a logarithm, which rounds."""
        self.T_cur = epoch
        self.T_i = self.T_0
        if self.T_mult == 1:
            self.T_cur %= self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult

    def _rates(self) -> list[Rate]:
        # Not computed ahead: any part of an epoch may come next.
        left, low = float(half_cosine(self.T_cur / self.T_i)), self.eta_min
        return [low + (base - low) * left for base in self.base_lrs]


class CyclicLR(Curved, lr_scheduler.CyclicLR, Checked):
    """torch's CyclicLR: `triangular(step_size_up, step_size_down)` between each group's `base_lr` and `max_lr`.

    Momentum, or the first of Adam's betas, goes the other way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        up = whole(step_size_up, "step_size_up")
        down = up if step_size_down is None else whole(step_size_down, "step_size_down")
        _check_rates(base_lr, "base_lr")
        _check_rates(max_lr, "max_lr")
        _check_momenta(cycle_momentum, base_momentum, max_momentum)
        with _untouched_on_error(optimizer):
            super().__init__(
                optimizer, base_lr, max_lr, up, down, mode, gamma, scale_fn, scale_mode, cycle_momentum,
                base_momentum, max_momentum, last_epoch,  # type: ignore[arg-type]  # sequences, as torch's docs say
            )  # fmt: skip  # more to a line reads better
        self._update_lr(self.last_epoch)  # only now base_lrs is what was asked for, and not a stale initial_lr

    @property
    def schedule(self) -> Schedule:
        """The cycle between 0 (each group's `base_lr`) and 1 (its `max_lr`)."""
        up, down = self._ways()
        if self._scale_fn_custom is not None:
            return triangular(up, down, low=0.0, per=self._per(), scale=self._scale)
        if self.mode == "exp_range":
            factor = as_positive(self.gamma, "gamma")
            return triangular(up, down, low=0.0, per="step", factor=factor)
        return triangular(up, down, low=0.0, factor=0.5 if self.mode == "triangular2" else 1.0)

    def _ways(self) -> tuple[int, int]:
        """How many steps up and how many down."""
        up = whole(round(self.total_size * self.step_ratio, 6), "step_size_up")
        return up, whole(self.total_size - up, "step_size_down")

    def _per(self) -> Literal["cycle", "step"]:
        return "cycle" if self.scale_mode == "cycle" else "step"

    def _scale(self, counted: float) -> float:
        """The user's function; torch counts cycles from 1."""
        return self.scale_fn(int(counted) + 1 if self.scale_mode == "cycle" else int(counted))

    def _check(self) -> None:
        _ = self.schedule

    def _made_of(self) -> object:
        return self.total_size, self.step_ratio, self.mode, self.gamma, self._scale_fn_custom is None

    def _points(self, epochs: Array) -> list[float]:
        """The share of the way from `base_lr` to `max_lr`, but for a user's scale, which isn't asked ahead of time."""
        plain = self._scale_fn_custom is None
        curve = self.schedule if plain else triangular(*self._ways(), low=0.0)
        shares: list[float] = curve(epochs).tolist()
        return shares

    def _share(self) -> float:
        share: float = self._point()
        if self._scale_fn_custom is None:
            return share
        counted = self.last_epoch // self.total_size if self.scale_mode == "cycle" else self.last_epoch
        scale = self._scale(counted)
        if not (type(scale) is float and 0.0 <= scale < math.inf):
            scale = float(ask(lambda _: scale, np.array([float(counted)]), "scale", self._per())[0])
        return share * scale

    def _rates(self) -> list[Rate]:
        share = self._share()
        self._cycle_momentum(share)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [base + (peak - base) * share for base, peak in pairs]

    def _bring_momentum(self) -> None:
        self._cycle_momentum(self._share())

    def _cycle_momentum(self, share: float) -> None:
        if self.cycle_momentum:
            ends = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
            for group, low, high in ends:
                _write_momentum(group, float(high) - (float(high) - float(low)) * share)

    def _admit_group(self, group: Group) -> None:
        group["initial_lr"] = copy(one_for_all(self.base_lrs, "base_lrs"))
        self.max_lrs = [*self.max_lrs, copy(one_for_all(self.max_lrs, "max_lrs"))]
        if self.cycle_momentum:
            group["base_momentum"] = one_for_all(self.base_momentums, "base_momentums")
            group["max_momentum"] = one_for_all(self.max_momentums, "max_momentums")
            self.base_momentums = [*self.base_momentums, group["base_momentum"]]
            self.max_momentums = [*self.max_momentums, group["max_momentum"]]


class OneCycleLR(Curved, lr_scheduler.OneCycleLR, Checked):
    """torch's OneCycleLR: `one_cycle(total_steps - 1, turn=pct_start * total_steps - 1, ...)` in shares of `max_lr`.

    The ends of the curve stand in the groups (`initial_lr`, `max_lr`, `min_lr`, `max_momentum`, `base_momentum`), as in
    torch. The step after the last one, which a loop that steps after each update takes, holds the end.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    >>> scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=100)
    >>> scheduler.schedule
    one_cycle(99, turn=29)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        _check_rates(max_lr, "max_lr")
        _check_momenta(cycle_momentum, base_momentum, max_momentum)
        for length, name in ((total_steps, "total_steps"), (epochs, "epochs"), (steps_per_epoch, "steps_per_epoch")):
            if length is not None:
                whole(length, name)
        as_number(pct_start, "pct_start", low=0.0, high=1.0)
        as_positive(div_factor, "div_factor")
        as_positive(final_div_factor, "final_div_factor")
        with _untouched_on_error(optimizer):
            super().__init__(
                optimizer, max_lr, total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy, cycle_momentum,
                base_momentum, max_momentum, div_factor, final_div_factor, three_phase, last_epoch,
            )  # fmt: skip  # more to a line reads better

    @property
    def schedule(self) -> Schedule:
        """The cycle in shares of `max_lr`, from the ends that stand in the first group."""
        group = self.optimizer.param_groups[0]
        start, peak, end = (float(group[name]) for name in ("initial_lr", "max_lr", "min_lr"))
        return self._cycle(start / peak, 1.0, end / peak) if peak else constant(0.0)

    def _cycle(self, start: float, peak: float, end: float) -> Schedule:
        turn = float(self._schedule_phases[0]["end_step"])
        if self.total_steps == 1:
            return constant(end if turn < 0 else peak)
        three_phase, shape = len(self._schedule_phases) == 3, self._shape()
        return one_cycle(
            self.total_steps - 1, turn=turn, start=start, peak=peak, to=end, shape=shape, three_phase=three_phase
        )

    def _shape(self) -> Literal["cosine", "linear"]:
        kind = getattr(self, "_anneal_func_type", None)
        if kind is None:  # a checkpoint of torch before 2.0 has the function itself
            kind = "linear" if "linear" in vars(self)["anneal_func"].__name__ else "cos"
        return "linear" if kind == "linear" else "cosine"

    def _check(self) -> None:
        whole(self.total_steps, "total_steps")

    def _made_of(self) -> object:
        return self.total_steps, self._schedule_phases[0]["end_step"], len(self._schedule_phases), self._shape()

    def _points(self, epochs: Array) -> list[tuple[float, float, float]]:
        """How much of start, peak and end is in the value, which is linear in them: 1, 0 and 0 at the start."""
        first, top, last = (self._cycle(*one)(epochs).tolist() for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        return list(zip(first, top, last, strict=True))

    def _rates(self) -> list[Rate]:
        if self.last_epoch > self.total_steps:
            raise InputError(f"this is step {self.last_epoch}, but total_steps is {self.total_steps}")
        first, top, last = self._point()
        self._cycle_momentum(first + last, top)
        return [
            first * float(group["initial_lr"]) + top * float(group["max_lr"]) + last * float(group["min_lr"])
            for group in self.optimizer.param_groups
        ]

    def _bring_momentum(self) -> None:
        first, top, last = self._point()
        self._cycle_momentum(first + last, top)

    def _cycle_momentum(self, ends: float, top: float) -> None:
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                _write_momentum(group, ends * float(group["max_momentum"]) + top * float(group["base_momentum"]))

    def _admit_group(self, group: Group) -> None:
        others = self.optimizer.param_groups[: len(self.base_lrs)]
        momenta = ("max_momentum", "base_momentum") if self.cycle_momentum else ()
        for name in ("initial_lr", "max_lr", "min_lr", *momenta):
            group[name] = copy(one_for_all([other[name] for other in others], name))


@contextmanager
def _untouched_on_error(optimizer: Optimizer) -> Iterator[None]:
    """Put back what torch's constructor writes into the groups before it refuses its arguments."""
    groups = optimizer.param_groups if isinstance(optimizer, Optimizer) else []
    before = [{key: value for key, value in group.items() if key != "lr"} for group in groups]
    rates = [copy(group["lr"]) for group in groups]
    try:
        yield
    except BaseException:
        for group, entries, rate in zip(groups, before, rates, strict=True):
            for key in set(group) - set(entries) - {"lr"}:
                del group[key]
            group.update(entries)
            write_rate(group, rate)
        raise


def _check_rates(rates: float | Tensor | list[float], name: str) -> None:
    for rate in rates if isinstance(rates, list | tuple) else [rates]:
        as_number(float(rate) if isinstance(rate, Tensor) else rate, name, low=0.0)


def _check_momenta(cycled: bool, base: float | Tensor | list[float], maximum: float | Tensor | list[float]) -> None:
    for momenta, name in ((base, "base_momentum"), (maximum, "max_momentum")) if cycled else ():
        for momentum in momenta if isinstance(momenta, list | tuple) else [momenta]:
            as_number(float(momentum) if isinstance(momentum, Tensor) else momentum, name)


def _write_momentum(group: Group, value: float) -> None:
    # Not in place: torch's constructor lets group["momentum"] and group["max_momentum"] be the same tensor.
    if "betas" in group and "momentum" not in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value

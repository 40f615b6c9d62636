"""What no hook sees: updates that an optimizer doesn't make in its own `step()`, and groups that are added."""

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, ScheduleWarning, warn_user
from lrkit.training.clock import clock_of, running_clock
from lrkit.training.hyper import Group, is_close, read
from lrkit.training.wrapping import strangers

__all__ = ["Overlay", "Suspicion", "TwinWatch", "require_own_parameters"]

_CALLS = 8  # of a copy's step() without an update between them; a few may be gradients that are accumulated
_LOOKED_AT = 16  # parameters, the smallest
_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def require_own_parameters(optimizer: Optimizer) -> None:
    """See that no other optimizer within this one makes updates of parameters that it doesn't have, unless it is bound.

    Raises:
        InputError: where one does, naming it.
    """
    for name, optimizers in strangers(optimizer).items():
        clocks = [running_clock(each) for each in optimizers]
        if not all(clock is not None and clock.owner is not None for clock in clocks):
            what = f"the {len(clocks)} optimizers that it has as {name}" if len(clocks) > 1 else f"its optimizer {name}"
            raise InputError(
                f"{type(optimizer).__name__} leaves updates to {what}, with parameters of their own, which this "
                "schedule wouldn't set; bind those first (a plan can be bound as often as you like)"
            )


class Suspicion:
    """Whether parameters change from call to call, while no update is seen.

    Their versions are compared, and on a CPU their sums, since what writes through `.data` raises no version.
    """

    def __init__(self, *, copied: bool = False) -> None:
        self._before: list[tuple[int, float]] | None = None
        self._changes = 0
        self._copied, self._calls = copied, 0

    def look(self, optimizer: Optimizer, plan: str, *, refuse: bool) -> None:
        """Look at the parameters, and say it when they have changed between two calls for the second time.

        Raises:
            InputError: then, where that is to be refused.
        """
        if self._changes > 1:
            return
        self._calls += 1
        if self._copied and self._calls == _CALLS:
            warn_user(
                f"this scheduler is a copy with an optimizer of its own, which makes no updates, so '{plan}' doesn't "
                "move; bind it to the optimizer that you step, and load this one's state_dict() there",
                ScheduleWarning,
            )
        parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        now = [_print_of(each) for each in sorted(filter(_is_readable, parameters), key=Tensor.numel)[:_LOOKED_AT]]
        self._changes += self._before is not None and now != self._before
        self._before = now
        if self._changes < 2:
            return
        text = (
            f"the parameters change, but {type(optimizer).__name__}.step() was not called since '{plan}' was bound, so "
            "its rates don't move; bind the optimizer whose step() is called, or call scheduler.advance(1) after each "
            "update"
        )
        if refuse:
            raise InputError(text)
        warn_user(text, ScheduleWarning)


def _is_readable(parameter: Tensor) -> bool:
    return not (is_lazy(parameter) or parameter.is_inference() or parameter.is_meta)


def _print_of(parameter: Tensor) -> tuple[int, float]:
    """What shows that a parameter was written to; its sum only where no device is waited for."""
    plain = parameter.device.type == "cpu" and parameter.dtype in _PLAIN and parameter.layout is torch.strided
    total = float(parameter.detach().sum()) if plain else 0.0
    return parameter._version, total if math.isfinite(total) else 0.0


class TwinWatch:
    """Sees that an optimizer within another one makes its updates at the values that the outer one's groups have.

    Raises:
        InputError: before an update of the inner one that would be made at others.
    """

    def __init__(self, outer: Optimizer, name: str, inner: Optimizer, hypers: Callable[[Group], Sequence[str]]) -> None:
        self._outer, self._name, self._inner, self._hypers = outer, name, inner, hypers
        self._owners: dict[int, Group] = {}  # by the first parameter of each inner group
        self.remove = clock_of(inner).subscribe(before=self._check)

    def _check(self) -> None:
        if clock_of(self._inner).owner is not None:  # it has a schedule of its own
            return
        for group in self._inner.param_groups:
            outer = self._outer_group(group)
            if outer is None:
                continue
            for hyper in self._hypers(outer):
                now, wanted = read(group, hyper), read(outer, hyper)
                if not is_close(now, wanted):
                    kind, inner = type(self._outer).__name__, type(self._inner).__name__
                    raise InputError(
                        f"{kind} makes its updates by the {inner} that it has as {self._name}, at {hyper} {now:g}, and "
                        f"the schedule has set {wanted:g} on {kind}; bind {self._name} instead"
                    )

    def _outer_group(self, group: Group) -> Group | None:
        """The outer one's group with the same first parameter."""
        first = next(iter(group["params"]), None)
        known = self._owners.get(id(first))
        if known is None or not any(each is known for each in self._outer.param_groups):
            self._owners = {id(each): own for own in self._outer.param_groups for each in own["params"]}
        return self._owners.get(id(first))


class Overlay:
    """Does something around a method of one optimizer, for which torch has no hook, or not all libraries run them.

    Args:
        optimizer: whose method it is; others of its class are left alone.
        name: of the method.
        around: makes what is entered while the method is called, of the same arguments.
    """

    def __init__(self, optimizer: Optimizer, name: str, around: Callable[..., AbstractContextManager[None]]) -> None:
        self._optimizer, self._name, self._around = optimizer, name, around
        self._method: Callable[..., Any] = getattr(optimizer, name)
        functools.update_wrapper(self, self._method)
        setattr(optimizer, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        with self._around(*args, **kwargs):
            return self._method(*args, **kwargs)

    def remove(self) -> None:
        """Leave the optimizer, where nobody has come on top."""
        if vars(self._optimizer).get(self._name) is self:
            delattr(self._optimizer, self._name)

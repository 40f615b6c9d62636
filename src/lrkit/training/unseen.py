"""What no hook sees: updates that an optimizer doesn't make in its own `step()`, and groups that are added."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, ScheduleWarning, warn_user
from lrkit.training.clock import clock_of, running_clock
from lrkit.training.hyper import Group, is_close, read
from lrkit.training.wrapping import strangers

__all__ = ["Additions", "Suspicion", "TwinWatch", "require_own_parameters"]

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

    def __init__(self) -> None:
        self._before: list[tuple[int, float]] | None = None
        self._changes = 0

    def look(self, optimizer: Optimizer, plan: str, *, refuse: bool) -> None:
        """Look at the parameters, and say it when they have changed between two calls for the second time.

        Raises:
            InputError: then, where that is to be refused.
        """
        if self._changes > 1:
            return
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


class Additions:
    """Calls back when a param group is added to an optimizer, for which torch has no hook.

    So a group that is added has its rate at once, whoever reads it before the next step.
    """

    def __init__(self, optimizer: Optimizer, added: Callable[[], None]) -> None:
        self._optimizer, self._added = optimizer, added
        self._add: Callable[[Any], Any] = optimizer.add_param_group
        optimizer.add_param_group = self  # type: ignore[method-assign]  # of this optimizer alone

    def __call__(self, param_group: Any) -> None:
        """Add a group."""
        self._add(param_group)
        self._added()

    def remove(self) -> None:
        """Leave the optimizer, where nobody has come on top."""
        if vars(self._optimizer).get("add_param_group") is self:
            del self._optimizer.add_param_group

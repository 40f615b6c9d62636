"""What no hook sees: updates that an optimizer doesn't make in its own `step()`, and groups that are added."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.clock import clock_of
from lrkit.training.hyper import Group, is_close, read

__all__ = ["Additions", "Suspicion", "TwinWatch"]

_LOOKED_AT = 16  # parameters, the smallest


class Suspicion:
    """Whether parameters change from call to call, while no update is seen.

    Their versions are compared, and their sums, since what writes through `.data` raises no version.
    """

    def __init__(self) -> None:
        self._before: list[tuple[int, float]] | None = None
        self._changes = 0

    def grows(self, groups: Sequence[Group]) -> bool:
        """Look at the parameters; True when they have changed between two calls for the second time."""
        parameters: list[Tensor] = [each for group in groups for each in group["params"] if each.requires_grad]
        smallest = sorted(parameters, key=Tensor.numel)[:_LOOKED_AT]
        now = [(0 if each.is_inference() else each._version, float(each.detach().sum())) for each in smallest]
        self._changes += self._before is not None and now != self._before
        self._before = now
        return self._changes == 2


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
            for hyper in () if outer is None else self._hypers(outer):
                now, wanted = read(group, hyper), read(outer or {}, hyper)
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

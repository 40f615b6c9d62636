"""Schedule-free averaging in the place of a task's optimizer, by the package schedulefree."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.hyper import read

__all__ = ["ScheduleFree"]

_COUNTERPARTS = {SGD: "SGDScheduleFree", Adam: "AdamWScheduleFree", AdamW: "AdamWScheduleFree"}
_REFUSED = ("maximize", "amsgrad")


@dataclass(frozen=True)
class ScheduleFree:
    """An optimizer factory: the schedule-free counterpart of what another one makes.

    SGD becomes SGDScheduleFree, with its rate and weight decay. What stands in the place of momentum there is another
    thing, and has that optimizer's own default, 0.9; dampening and Nesterov's step have no counterpart. Adam and AdamW
    become AdamWScheduleFree, with their rate, betas, eps and weight decay, which there is AdamW's. Each param group
    keeps its own values.

    Attributes:
        factory: of the task.
    """

    factory: Callable[[Iterable[Any]], Optimizer]

    def __call__(self, parameters: Iterable[Any]) -> Optimizer:
        """The optimizer.

        Raises:
            InputError: where the package isn't installed, and for an optimizer that has no counterpart in it.
        """
        try:
            import schedulefree
        except ImportError:
            raise InputError(
                "schedule-free averaging needs the package schedulefree: pip install 'lrkit[schedulefree]'"
            ) from None
        optimizer = self.factory(parameters)
        name = type(optimizer).__name__
        counterpart = _COUNTERPARTS.get(type(optimizer))
        if counterpart is None:
            known = ", ".join(each.__name__ for each in _COUNTERPARTS)
            raise InputError(f"schedule-free averaging has no counterpart of the optimizer {name}; it has of {known}")
        groups = [_group(name, group, optimizer.defaults) for group in optimizer.param_groups]
        made: Optimizer = getattr(schedulefree, counterpart)(groups)
        return made


def _group(name: str, group: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A param group for the counterpart: what is taken over, and what the task itself has put there, such as a name."""
    for option in _REFUSED:
        if group.get(option):
            raise InputError(f"schedule-free averaging has no counterpart of {name} with {option}=True")
    own = {entry: value for entry, value in group.items() if entry not in defaults}
    taken: dict[str, Any] = {hyper: read(group, hyper) for hyper in ("lr", "weight_decay", "eps") if hyper in group}
    if "betas" in group:
        betas = read(group, "beta1"), read(group, "beta2")
        if not betas[0] > 0:
            raise InputError(f"schedule-free averaging needs a first beta above 0, and that of {name} is {betas[0]:g}")
        taken["betas"] = betas
    return {**own, **taken}

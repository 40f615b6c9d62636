"""The hyper-parameters of a param group, by the names that schedules use: `lr`, `momentum`, `beta2`, `weight_decay`."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError

__all__ = ["Group", "Place", "place", "read", "separate", "write"]

Group: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[str, int | None]  # the entry of a group and, where that is a tuple, the position in it

_BETAS = {"momentum": 0, "beta1": 0, "beta2": 1}


def place(group: Group, hyper: str) -> Place:
    """Where a hyper-parameter stands: `beta1` and `beta2` in `betas`, `momentum` too where there is none.

    Raises:
        InputError: when the group has no such number.
    """
    if hyper in _BETAS and hyper not in group and "betas" in group:
        return "betas", _BETAS[hyper]
    if hyper in group and _is_number(group[hyper]):
        return hyper, None
    known = [name for name, value in group.items() if _is_number(value) and not name.startswith("initial_")]
    known += ["beta1", "beta2"] if "betas" in group else []
    raise InputError(f"this optimizer has no {hyper} to schedule; its groups have {', '.join(sorted(known))}")


def read(group: Group, hyper: str) -> float:
    """The value of a hyper-parameter as a float."""
    return float(_held(group, *place(group, hyper)))


def write(group: Group, where: Place, value: float) -> None:
    """Set what stands at a place, by filling it where it is a tensor, so that compiled steps see it."""
    held = _held(group, *where)
    if isinstance(held, Tensor):
        held.fill_(value)
    else:
        _put(group, *where, value)


def separate(optimizer: Optimizer, hypers: Iterable[tuple[str, int]], others: Iterable[Optimizer]) -> None:
    """Give each of the hyper-parameters of groups (by index) a tensor of its own, so that writing it changes no other.

    torch lets groups share the tensor that an optimizer was made with, and keeps it as the default of groups to come;
    a person may make several optimizers with it.
    """
    groups = itertools.chain.from_iterable(one.param_groups for one in (optimizer, *others))
    holders = Counter(id(each) for group in groups for each in _tensors(group))
    for hyper, index in hypers:
        group, defaults = optimizer.param_groups[index], optimizer.defaults
        where = place(group, hyper)
        held = _held(group, *where)
        if not isinstance(held, Tensor):
            continue
        if holders[id(held)] > 1:
            holders[id(held)] -= 1
            _put(group, *where, held.clone())
        elif where[0] in defaults and _held(defaults, *where) is held:
            _put(defaults, *where, held.clone())


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.is_floating_point()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tensors(group: Group) -> Iterator[Tensor]:
    for name, value in group.items():
        if name != "params":
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Tensor))


def _held(group: Group, entry: str, position: int | None) -> Any:
    return group[entry] if position is None else group[entry][position]


def _put(group: Group, entry: str, position: int | None, value: Any) -> None:
    if position is None:
        group[entry] = value
    else:
        group[entry] = (*group[entry][:position], value, *group[entry][position + 1 :])

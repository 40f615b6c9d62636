"""The hyper-parameters of a param group, by the names that schedules use: `lr`, `momentum`, `beta2`, `weight_decay`."""

import itertools
import math
import numbers
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError

__all__ = [
    "Group",
    "Place",
    "as_float",
    "fill",
    "held",
    "is_close",
    "is_number",
    "place",
    "put_back_on_error",
    "read",
    "separate",
    "version_of",
    "write",
]

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
    if hyper in group and is_number(group[hyper]):
        return hyper, None
    known = [name for name, value in group.items() if is_number(value) and not name.startswith("initial_")]
    known += ["beta1", "beta2"] if "betas" in group else []
    raise InputError(f"this optimizer has no {hyper} to schedule; its groups have {', '.join(sorted(known))}")


def read(group: Group, hyper: str) -> float:
    """The value of a hyper-parameter as a float."""
    return as_float(held(group, *place(group, hyper)))


def as_float(value: Any) -> float:
    """A number, or that in a tensor, which may want gradients."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def write(group: Group, where: Place, value: float) -> None:
    """Set what stands at a place, by filling it where it is a tensor, so that compiled steps see it."""
    now = held(group, *where)
    if isinstance(now, Tensor):
        fill(now, value)
    else:
        _put(group, *where, value)


def is_close(value: Any, written: float | None) -> bool:
    """Whether a group holds what was written, up to the rounding of a tensor."""
    if written is None or not is_number(value):
        return False
    if isinstance(value, Tensor):
        written = float(torch.tensor(written, dtype=value.dtype))
    return math.isclose(as_float(value), written, rel_tol=1e-6)


def fill(tensor: Tensor, value: float) -> None:
    """Set the number in a tensor, which may want gradients."""
    (tensor.detach() if tensor.requires_grad else tensor).fill_(value)


def separate(
    optimizer: Optimizer,
    hypers: Iterable[tuple[str, int]],
    others: Callable[[], Iterable[Optimizer]],
    added: Collection[int] = (),
) -> None:
    """Give each of the hyper-parameters of groups (by index) a tensor of its own, so that writing it changes no other.

    torch lets groups share the tensor that an optimizer was made with, and keeps it as the default of groups to come;
    a person may make several optimizers with it, or add several groups.
    """
    hypers = [(hyper, index) for hyper, index in hypers if _is_in_tensor(optimizer.param_groups[index], hyper)]
    if not hypers:
        return
    groups = itertools.chain.from_iterable(one.param_groups for one in (optimizer, *others()))
    holders = Counter(id(each) for group in groups for each in _tensors(group))
    for hyper, index in hypers:
        group, defaults = optimizer.param_groups[index], optimizer.defaults
        where = place(group, hyper)
        own = held(group, *where)
        if holders[id(own)] > 1 or index in added or own.is_inference():
            holders[id(own)] -= 1
            _put(group, *where, own.clone())
        elif where[0] in defaults and held(defaults, *where) is own:
            _put(defaults, *where, own.clone())


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to; 0 for one of inference mode, which doesn't count that."""
    return 0 if tensor.is_inference() else tensor._version


@contextmanager
def put_back_on_error(optimizer: Optimizer) -> Iterator[None]:
    """Leave the groups of an optimizer, and its defaults, exactly as they were when something raises inside."""
    entries = [(each, dict(each)) for each in (*optimizer.param_groups, optimizer.defaults)]
    tensors = [(each, each.detach().clone(), version_of(each)) for entry, _ in entries for each in _tensors(entry)]
    try:
        yield
    except BaseException:
        for entry, before in entries:
            entry.clear()
            entry.update(before)
        with torch.no_grad():
            for each, value, version in tensors:
                if version_of(each) != version:
                    each.copy_(value)
        raise


def is_number(value: object) -> bool:
    """Whether a value can be scheduled: a number, numpy's too, or a tensor with one."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.is_floating_point()
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_in_tensor(group: Group, hyper: str) -> bool:
    return isinstance(held(group, *place(group, hyper)), Tensor)


def _tensors(group: Group) -> Iterator[Tensor]:
    for name, value in group.items():
        if name != "params":
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Tensor))


def held(group: Group, entry: str, position: int | None) -> Any:
    """What stands at a place, as it is."""
    return group[entry] if position is None else group[entry][position]


def _put(group: Group, entry: str, position: int | None, value: Any) -> None:
    if position is None:
        group[entry] = value
    else:
        group[entry] = (*group[entry][:position], value, *group[entry][position + 1 :])

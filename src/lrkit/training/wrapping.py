"""Optimizers around optimizers: which of them makes the updates."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError

__all__ = ["chain_of", "refresh", "stepping", "strangers", "twins", "with_states"]

_OWN = ("state", "defaults", "param_groups")  # what every optimizer has, and no other optimizer is in


def stepping(optimizer: Any) -> Optimizer:
    """The optimizer that makes the updates, where others have been put around it.

    A wrapper is looked through, whatever its class and the name of the attribute, where its `param_groups` are those of
    the optimizer within it: the same dicts, so that what is written into one is what the other reads.

    Raises:
        InputTypeError: for what is no torch optimizer.
        InputError: where no `step()` can be followed.

    >>> import torch
    >>> class Around(torch.optim.Optimizer):
    ...     def __init__(self, optimizer):
    ...         self.base, self.param_groups = optimizer, optimizer.param_groups
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    >>> stepping(Around(optimizer)) is optimizer, stepping(optimizer) is optimizer
    (True, True)
    """
    found = chain_of(optimizer)[-1]
    if not isinstance(found, Optimizer):
        raise InputTypeError(f"optimizer must be a torch optimizer, not {type(found).__name__}{_advice(found)}")
    _require_steps(found)
    return found


def chain_of(optimizer: Any) -> list[Any]:
    """An optimizer, what it is put around, and so on: the last makes the updates, whether it can be followed or not."""
    found = [optimizer]
    while (inner := _looked_through(found[-1])) is not None and all(inner is not each for each in found):
        found.append(inner)
    return found


def _looked_through(optimizer: Any) -> Optimizer | None:
    """What an optimizer is put around; None where it makes the updates itself."""
    within = [each for _, each in _within(optimizer)]
    if not hasattr(optimizer, "param_groups"):
        return within[0] if len(within) == 1 else None
    return next((each for each in within if _same(each.param_groups, optimizer.param_groups)), None)


def _same(some: Any, others: Any) -> bool:
    """Whether two lists have the same objects, not only equal ones."""
    return (
        isinstance(some, list)
        and isinstance(others, list)
        and len(some) == len(others)
        and all(one is other for one, other in zip(some, others, strict=True))
    )


def with_states(optimizer: Any) -> list[Optimizer]:
    """An optimizer and those within it that save and load a state of their own, each once."""
    found = (each for each in chain_of(optimizer) if hasattr(each, "_optimizer_state_dict_post_hooks"))
    return list({id(each._optimizer_state_dict_post_hooks): each for each in found}.values())


def refresh(chain: Sequence[Any]) -> None:
    """Have the optimizers of a chain share their groups again, where loading has given the inner one others."""
    for outer, inner in reversed(list(pairwise(chain))):
        if "param_groups" in getattr(outer, "__dict__", {}) and not _same(outer.param_groups, inner.param_groups):
            outer.param_groups = inner.param_groups


def twins(optimizer: Optimizer) -> dict[str, list[Optimizer]]:
    """The optimizers within another that have its own parameters in other groups, by the attributes that hold them.

    The outer one brings its rates to them before they make an update, as ZeroRedundancyOptimizer does, or it doesn't.
    """
    groups = {id(each) for each in optimizer.param_groups}
    own = {id(each) for each in _parameters(optimizer)}
    return _by_name(
        (name, each)
        for name, each in _within(optimizer)
        if own.issuperset(map(id, _parameters(each))) and not groups.issuperset(map(id, each.param_groups))
    )


def strangers(optimizer: Optimizer) -> dict[str, list[Optimizer]]:
    """The optimizers within another that have parameters which it doesn't have, by the attributes that hold them.

    Such as those of a layer-wise optimizer, whose own parameter is a dummy.
    """
    own = {id(each) for each in _parameters(optimizer)}
    found = ((name, each) for name, each in _within(optimizer) if not own.issuperset(map(id, _parameters(each))))
    return _by_name(found)


def _by_name(found: Iterable[tuple[str, Optimizer]]) -> dict[str, list[Optimizer]]:
    names: dict[str, list[Optimizer]] = {}
    for name, each in found:
        names.setdefault(name, []).append(each)
    return names


def _parameters(optimizer: Optimizer) -> Iterator[Any]:
    return chain.from_iterable(group["params"] for group in optimizer.param_groups)


def _within(optimizer: Any) -> Iterator[tuple[str, Optimizer]]:
    """The optimizers that another one's attributes are, or are lists or mappings of."""
    for name, value in getattr(optimizer, "__dict__", {}).items():
        if name in _OWN:
            continue
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        yield from ((name, each) for each in values if isinstance(each, Optimizer))


def _advice(given: object) -> str:
    names = sorted({name for name, _ in _within(given)})
    return f"; bind what it has as {' or '.join(names)}" if names else ""


def _require_steps(optimizer: Optimizer) -> None:
    """See that an update is a call of `step()`, and that hooks see it."""
    name, step = type(optimizer).__name__, type(optimizer).step
    other = "fused_backward()" if callable(getattr(optimizer, "fused_backward", None)) else "another method"
    if other == "fused_backward()" or inspect.unwrap(step) is inspect.unwrap(Optimizer.step):
        raise InputError(
            f"{name} makes its updates in {other}, not in step(), so no schedule can follow them; "
            "pass it the rate yourself: plan.over(steps)(t, base) is that of update t"
        )
    if getattr(step, "hooked", False) and hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return
    names = sorted({name for name, _ in _within(optimizer)})
    instead = (
        f"bind the optimizers that it has as {' and '.join(names)}, one by one"
        if names
        else "bind the optimizer that steps"
    )
    raise InputError(
        f"{name}.step() isn't one that hooks see, as Optimizer.__init__ sets it up, so it can't be followed; {instead}"
    )

"""The mark in param groups by which an optimizer's own state carries the scheduler's, by whatever road it travels.

It is one entry of every group, a text. torch flattens and splits an optimizer's state by the entries of the groups that
it is loaded into, and some libraries copy groups by hand: a text survives all of that. While an optimizer is at work
the text is empty; it is filled in what is saved.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.hyper import Group
from lrkit.training.scheduler_state import SchedulerState

__all__ = ["blank", "clear", "fill", "has_mark", "is_blank", "read_made", "read_mark", "updates_in"]

_MARK = "lrkit"


def blank(groups: Sequence[Group]) -> None:
    """Put an empty mark into the groups of an optimizer that is at work."""
    for group in groups:
        group[_MARK] = ""


def clear(groups: Sequence[Group]) -> None:
    """Take the empty marks away."""
    for group in groups:
        if group.get(_MARK) == "":
            del group[_MARK]


def fill(groups: Sequence[Group], state: Mapping[str, Any], made: int | None) -> None:
    """Write a scheduler's state into groups that are saved: whole into the first, and what tells them apart.

    Args:
        groups: of what is saved.
        state: the scheduler's.
        made: the updates by the optimizer's own count, which tells later whether it was trained without lrkit since.
    """
    for index, group in enumerate(groups):
        whole = {} if index else {"state": state, "made": made}
        group[_MARK] = json.dumps({"group": index, "steps": state["steps"], **whole})


def is_blank(groups: Sequence[Group]) -> bool:
    """Whether groups have been scheduled, and don't say how far: in a copy of an optimizer without its scheduler."""
    return any(group.get(_MARK) == "" for group in groups)


def has_mark(optimizer: Any) -> bool:
    """Whether an optimizer's groups were loaded with a mark."""
    return any(group.get(_MARK) for group in getattr(optimizer, "param_groups", ()))


def read_mark(groups: Sequence[Mapping[str, Any]]) -> SchedulerState | None:
    """The scheduler's state that groups carry, in the order in which they stand; None where they carry none.

    Raises:
        InputError: where it isn't lrkit's, some groups have none, or they are of different states.

    >>> import torch, lrkit
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = lrkit.linear(to=0).bind(optimizer, steps=4)
    >>> optimizer.step()
    >>> read_mark(optimizer.state_dict()["param_groups"]).steps
    1
    """
    texts = [group.get(_MARK) for group in groups]
    found = [_read(text) for text in texts if text]
    if not found:
        return None
    if len(found) < len(groups):
        missing = next(index for index, text in enumerate(texts) if not text)
        raise InputError(
            f"param group {missing} of this state has no mark of lrkit, and another one has; load a whole state"
        )
    wholes = [each["state"] for each in found if "state" in each]
    order = [each["group"] for each in found]
    if len(wholes) != 1 or sorted(order) != list(range(len(groups))):
        raise InputError(
            f"the {len(groups)} param groups of this state weren't saved together: by their marks they were groups "
            f"{', '.join(map(str, order))}"
        )
    state = SchedulerState.from_dict(wholes[0])
    other = next((each["steps"] for each in found if each["steps"] != state.steps), None)
    if other is not None:
        raise InputError(
            f"some param groups of this state were saved after {state.steps} updates, and some after {other}"
        )
    state.require_groups(len(groups))
    return state.in_order(order)


def read_made(groups: Sequence[Mapping[str, Any]]) -> int | None:
    """The updates by the optimizer's own count when a mark was filled; None where it had none, or there is no mark."""
    marks = [_read(text) for group in groups if (text := group.get(_MARK))]
    return next((each["made"] for each in marks if type(each.get("made")) is int), None)


def _read(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict) or type(found.get("group")) is not int or "steps" not in found:
        raise InputError("the mark of lrkit in this state's param groups is damaged, or of another version")
    return found


def updates_in(optimizer: Optimizer) -> int | None:
    """The updates that an optimizer's own state says were made, as that of Adam does; None where it says nothing."""
    entries = chain.from_iterable(
        optimizer.state[parameter].items()
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter in optimizer.state
    )
    steps = [value for name, value in entries if name == "step" and _is_count(value)]
    return int(max(map(float, steps))) if steps else None


def _is_count(value: Any) -> bool:
    return value.numel() == 1 if isinstance(value, Tensor) else type(value) in (int, float)

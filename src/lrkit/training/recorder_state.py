"""The state of a recorder: plain data and tensors, with a version."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.history import History

__all__ = ["FORMAT", "KEY", "as_made", "checked_state", "state_after"]

FORMAT = 1
KEY = "lrkit_recorder"
_PARTS: dict[str, type | tuple[type, ...]] = {  # of a state
    "made": Mapping,
    "epochs": list,
    "lrs": Tensor,
    "losses": Tensor,
    "fresh": Tensor,
    "samples": list,
    "seconds": (int, float),
}


def checked_state(state: Mapping[str, Any], groups: int) -> dict[str, Any]:
    """A state whose parts are there and fit each other, and an optimizer with so many param groups.

    Raises:
        InputError: for anything else.
    """
    given: object = state
    if not isinstance(given, Mapping) or not isinstance(given.get(KEY), int):
        raise InputError(f"this is not the state of a recorder: {shown(given)}")
    if state[KEY] > FORMAT:
        raise InputError(f"this recorder's state has format {state[KEY]}, this lrkit reads up to {FORMAT}")
    for name, kind in _PARTS.items():
        if not isinstance(state.get(name), kind):
            raise InputError(f"this recorder's state is damaged: its {name} are {shown(state.get(name))}")
    lrs, updates = state["lrs"], len(state["losses"]) + len(state["fresh"])
    if not len(lrs) == updates or len(state["samples"]) != len(state["fresh"]):
        raise InputError(f"this recorder's state is damaged: it has rates of {len(lrs)} updates out of {updates}")
    if updates and (lrs.ndim != 2 or lrs.shape[1] != groups):
        here = lrs.shape[1] if lrs.ndim == 2 else 0
        raise InputError(f"this recorder's state is of {here} param groups, and the optimizer has {groups}")
    return {**state, "made": as_made(state["made"])}


def state_after(history: History) -> dict[str, Any]:
    """The state after the epochs of a history."""
    return {
        KEY: FORMAT,
        "made": dict(history.made),
        "epochs": [vars(each) for each in history.epochs],
        "lrs": torch.from_numpy(history.lrs.copy()),
        "losses": torch.from_numpy(history.losses.copy()),
        "fresh": torch.zeros(0),
        "samples": [],
        "seconds": 0.0,
    }


def as_made(made: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be recorded of how a run was made, as it can be written.

    Raises:
        InputTypeError: for what JSON can't hold.
    """
    given: object = made
    if not isinstance(given, Mapping):
        raise InputTypeError(f"made must be a mapping of what JSON can hold, not {shown(given)}")
    for name, value in made.items():
        try:
            json.dumps({name: value})
        except (TypeError, ValueError):
            raise InputTypeError(
                f"made must hold what JSON can hold, and its {shown(name)} is {shown(value)}"
            ) from None
    return dict(made)

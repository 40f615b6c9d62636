"""The hyper-parameters of a param group, read and written by the name that schedules use."""

from typing import Any, TypeAlias

from torch import Tensor

from lrkit.schedules.errors import InputError

__all__ = ["Group", "read", "write"]

Group: TypeAlias = dict[str, Any]


def read(group: Group, hyper: str) -> float:
    """The value of `lr` or `momentum` as a float; for the Adam family momentum is the first of `betas`."""
    return float(group["betas"][0] if _in_betas(group, hyper) else group[hyper])


def write(group: Group, hyper: str, value: float) -> None:
    """Set `lr` or `momentum`, in place where it is a tensor, so that compiled steps see it."""
    if _in_betas(group, hyper):
        first, *others = group["betas"]
        if isinstance(first, Tensor):
            first.fill_(value)
        else:
            group["betas"] = (value, *others)
    elif isinstance(group[hyper], Tensor):
        group[hyper].fill_(value)
    else:
        group[hyper] = value


def _in_betas(group: Group, hyper: str) -> bool:
    if hyper in group:
        return False
    if hyper == "momentum" and "betas" in group:
        return True
    raise InputError(
        f"this optimizer has no {hyper} to schedule; its groups have {', '.join(sorted(set(group) - {'params'}))}"
    )

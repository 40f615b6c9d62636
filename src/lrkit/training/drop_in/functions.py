"""The drop-ins that take a function of the epoch, one for all groups or one for each."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch.optim import lr_scheduler

from lrkit.schedules import Schedule, from_callable
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.drop_in.base import Checked, DropIn, Rate, held_rates, one_for_all

__all__ = ["LambdaLR", "MultiplicativeLR"]


class _ByFunction(DropIn):
    """What the two have in common: functions, which a state can't hold, and which a new group needs."""

    lr_lambdas: list[Callable[[int], float]]

    def _check(self) -> None:
        for function in self.lr_lambdas:
            if not callable(function):
                raise InputTypeError(f"lr_lambda must be a function of the epoch, not {function!r}")

    def _admit_group(self, group: dict[str, Any]) -> None:
        if len(self.lr_lambdas) <= len(self.base_lrs):
            self.lr_lambdas = [*self.lr_lambdas, one_for_all(self.lr_lambdas, "lr_lambdas")]

    def state_dict(self) -> dict[str, Any]:
        """All but the functions; of an object that can be called, its attributes."""
        state = {key: value for key, value in vars(self).items() if key not in {"optimizer", "lr_lambdas"}}
        state["lr_lambdas"] = [_attributes(function) for function in self.lr_lambdas]
        return state


class LambdaLR(_ByFunction, lr_scheduler.LambdaLR, Checked):
    """torch's LambdaLR: `from_callable(lr_lambda)`, the base times a function of the epoch.

    The function is called once a step for each group, with the epoch.
    """

    @property
    def schedule(self) -> Schedule:
        """`from_callable(lr_lambda)`, where all groups have the same function."""
        if any(function is not self.lr_lambdas[0] for function in self.lr_lambdas):
            raise InputError("each group has a function of its own, and so a schedule: from_callable(lr_lambdas[i])")
        return from_callable(self.lr_lambdas[0])

    def _rates(self) -> list[Rate]:
        epoch, pairs = self.last_epoch, zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(epoch) for base, function in pairs]


class MultiplicativeLR(_ByFunction, lr_scheduler.MultiplicativeLR, Checked):
    """torch's MultiplicativeLR: what a group holds times a function of the epoch.

    It has no curve: as with torch's, `step(epoch)` multiplies by that epoch's factor, and after a milestone of
    SequentialLR it goes on from the rate that it finds.
    """

    def _rates(self) -> list[Rate]:
        if self._is_initial:
            return held_rates(self.optimizer)
        epoch, pairs = self.last_epoch, zip(self.optimizer.param_groups, self.lr_lambdas, strict=True)
        return [group["lr"] * function(epoch) for group, function in pairs]


def _attributes(function: Callable[[int], float]) -> dict[str, Any] | None:
    if isinstance(function, FunctionType) or not hasattr(function, "__dict__"):
        return None
    return dict(vars(function))

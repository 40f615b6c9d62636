"""A plan that is kept between bounds."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, overload

import numpy as np

from lrkit.schedules.composition import ControlledWrapper, Wrapper, require_plan
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.plan import Plan, State, show
from lrkit.schedules.shares import Absolute, ShareLike, as_share, at_base

__all__ = ["Clip", "ControlledClip", "clip"]


@dataclass(frozen=True, repr=False)
class _Clip(Wrapper):
    kind: ClassVar[str] = "clip"
    example: ClassVar[str] = "clip(exponential(to=0.01), low=0.1, high=0.7)"

    _: KW_ONLY
    low: ShareLike | None = None
    high: ShareLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_share(value, name))
        low, high = self.low, self.high
        if low is None and high is None:
            raise InputError("clip needs low=, high= or both")
        if low is not None and high is not None and type(low) is type(high) and _number(low) > _number(high):
            raise InputError(f"low must be at most high, but {show(low)} is above {show(high)}")

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        value = self.plan._curve(t, base, entry, state)
        if self.low is not None:
            value = np.maximum(value, at_base(self.low, base))
        if self.high is not None:
            value = np.minimum(value, at_base(self.high, base))
        return value


def _number(share: ShareLike) -> float:
    return share.value if isinstance(share, Absolute) else share


class Clip(_Clip, Schedule):
    """A schedule between bounds; made by `clip`."""


class ControlledClip(_Clip, ControlledWrapper):
    """A controller between bounds; made by `clip`. Its state is the controller's, which knows of no bounds."""


@overload
def clip(plan: Schedule, *, low: ShareLike | None = None, high: ShareLike | None = None) -> Clip: ...
@overload
def clip(plan: Controller, *, low: ShareLike | None = None, high: ShareLike | None = None) -> ControlledClip: ...
def clip(plan: Plan, *, low: ShareLike | None = None, high: ShareLike | None = None) -> Plan:
    """The plan, never below `low` and never above `high`.

    value(t) = min(max(plan(t), low), high)

    Where a share and an absolute bound cross for some base, `high` decides: a group with base 0 stays at 0. In a
    sequence the next part begins at the value that was clipped.

    Args:
        plan: a schedule or a controller.
        low: a share of the base, or `absolute(...)`.
        high: a share of the base, or `absolute(...)`.

    Raises:
        InputError: when no bound is given, or `low` is above `high`.

    >>> from lrkit import absolute, linear
    >>> clip(linear(4, to=0), low=absolute(0.02)).value(range(5), base=0.1).round(3).tolist()
    [0.1, 0.075, 0.05, 0.025, 0.02]
    """
    plan = require_plan("clip", plan)
    made = ControlledClip if isinstance(plan, Controller) else Clip
    return made(plan, low=low, high=high)

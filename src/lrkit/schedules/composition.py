"""What compositions share: plans that are made of several plans, and plans that change one.

Each composition that may hold a controller comes in two types, because what contains a controller is a controller. The
arithmetic is the same for both and stands once; the states of parts that are schedules are None.
"""

from collections.abc import Sequence as Series
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.lengths import Horizon
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.metric import Metric
from lrkit.schedules.plan import Plan, State
from lrkit.schedules.shares import Absolute

__all__ = [
    "Composition",
    "ControlledWrapper",
    "Wrapper",
    "has_absolute",
    "length_of",
    "require_plan",
    "require_schedule",
]


@dataclass(frozen=True, repr=False)
class Composition(Plan):
    """What sequences and products share: parts, and the states of those that are controllers."""

    parts: tuple[Plan, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if len(self.parts) < 2:
            raise InputError(f"a {self.kind} needs at least two parts, not {len(self.parts)}")

    def _open(self) -> str | None:
        return next(filter(None, (part._why_open for part in self.parts)), None)

    def _init_parts(self) -> State:
        return {"parts": [p.init() if isinstance(p, Controller) else None for p in self.parts]}

    def _decided_parts(self, state: State) -> object:
        pairs = zip(self.parts, state["parts"], strict=True)
        return [part.decided(own) for part, own in pairs if isinstance(part, Controller)]

    def _states(self, state: State | None) -> Series[State | None]:
        return [None] * len(self.parts) if state is None else state["parts"]


@dataclass(frozen=True, repr=False)
class Wrapper(Plan):
    """What changes one plan and lasts as long as it."""

    plan: Plan

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", require_plan(self.kind, self.plan))

    def _open(self) -> str | None:
        return super()._open() or self.plan._why_open

    def _measure(self, horizon: Horizon) -> Fraction | None:
        return self.plan._measure(horizon)

    def _arithmetic(self, horizon: Horizon) -> str:
        return self.plan._arithmetic(horizon)

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        return replace(self, plan=self.plan._resolve(horizon, steps))


class ControlledWrapper(Wrapper, Controller):
    """What changes one controller: its state is that controller's."""

    def _inner(self) -> Controller:
        assert isinstance(self.plan, Controller)
        return self.plan

    def init(self) -> State:
        """The state of the controller inside."""
        return self._inner().init()

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        return self._inner()._update(state, metric, t)

    def decided(self, state: State) -> object:
        """That of the controller inside."""
        return self._inner().decided(state)


def require_plan(kind: str, given: object) -> Plan:
    """The plan that was given; what is neither a schedule nor a controller is refused."""
    given = plain(given)
    if not isinstance(given, Plan):
        raise InputTypeError(f"{kind} takes a schedule or a controller, not {shown(given)}, as its plan")
    return given


def require_schedule(kind: str, name: str, given: object) -> Schedule:
    """The schedule that was given; anything else is refused, a controller with the reason."""
    given = plain(given)
    if isinstance(given, Controller):
        raise InputTypeError(
            f"{kind} takes a schedule as its {name}; {given} is a controller, which moves when a metric is reported"
        )
    if not isinstance(given, Schedule):
        raise InputTypeError(f"{kind} takes a schedule, not {shown(given)}, as its {name}")
    return given


def length_of(part: Plan) -> int:
    """The length of a part that has one."""
    length = part.length
    assert length is not None
    return length


def has_absolute(value: object) -> bool:
    """Whether a plan, or what is in its fields, has values that don't scale with the base."""
    if isinstance(value, Plan):
        return any(has_absolute(each) for _, each in value._items())
    if isinstance(value, tuple):
        return any(map(has_absolute, value))
    return isinstance(value, Absolute)

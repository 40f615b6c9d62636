"""What a preview shows, computed before anything is drawn: the values of plans over one axis of steps."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from lrkit.schedules import Controller, Horizon, Plan, Plans, Schedule, Target
from lrkit.schedules.errors import InputError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.shares import as_positive, show_number

__all__ = ["STEPS", "Bases", "Curve", "Panel", "Preview", "as_plans", "longest", "preview"]

Bases: TypeAlias = float | Sequence[float] | Mapping[str, float]

STEPS = 1000
_REPORTS = 100
_GROUP = "group "
_MOST_VALUES = 20_000_000


@dataclass(frozen=True)
class Curve:
    """A hyper-parameter's values in one run.

    Attributes:
        label: of the run: what a legend tells apart, the same in every panel.
        values: of each step.
        end: the value at the horizon, after the last step.
    """

    label: str
    values: Array
    end: float

    def at(self, steps: Sequence[int]) -> Array:
        """The values at these steps, 0 to the horizon."""
        return np.append(self.values, self.end)[list(steps)]


@dataclass(frozen=True)
class Panel:
    """The curves of one hyper-parameter, which share an axis of values."""

    hyper: str
    curves: tuple[Curve, ...]

    @property
    def moves(self) -> bool:
        """Whether any of its curves does."""
        return any(np.ptp(curve.values) > 1e-12 * curve.values.max() for curve in self.curves)

    @property
    def stays(self) -> str:
        """What is said instead of a picture where none does."""
        values = dict.fromkeys(show_number(float(curve.values[0])) for curve in self.curves)
        return f"{self.hyper} stays {' and '.join(values)}"


@dataclass(frozen=True)
class Preview:
    """Panels over one axis of steps.

    Attributes:
        horizon: with its steps.
        panels: the learning rate's, then one for whatever else is scheduled.
        title: what all curves have in common, or nothing.
        shown_hypers: what is worth a picture: the learning rate, and whatever else moves.
        in_shares: the rates are shares of a base that wasn't named.
        remark: what was assumed about metrics, where a controller needs them.
    """

    horizon: Horizon
    panels: tuple[Panel, ...]
    shown_hypers: frozenset[str]
    title: str = ""
    in_shares: bool = True
    remark: str = ""

    @property
    def steps(self) -> int:
        """How many steps are shown."""
        assert isinstance(self.horizon.steps, int)
        return self.horizon.steps

    @property
    def drawn(self) -> "Preview":
        """What a picture shows of it: panels of what moves, and a remark about the rest."""
        panels = tuple(panel for panel in self.panels if panel.hyper in self.shown_hypers)
        still = [panel.stays for panel in self.panels if panel.hyper not in self.shown_hypers]
        return replace(self, panels=panels, remark="; ".join(filter(None, [self.remark, *still])))

    @functools.cached_property
    def position(self) -> Array:
        """Where each step stands on the axis: in epochs where their size is known, else in steps."""
        return np.arange(self.steps) / float(self.horizon.epoch_steps or 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The runs, in order."""
        return tuple(dict.fromkeys(curve.label for panel in self.panels for curve in panel.curves))


def preview(
    runs: Sequence[Plan | Plans], horizon: Horizon | None = None, *, base: Bases = 1.0, base_name: str = "base"
) -> Preview:
    """The values of every run's hyper-parameters at every step.

    Args:
        runs: what is compared.
        horizon: what their lengths are measured against; without steps it has those of the longest, or 1000.
        base: of the learning rate; several give a curve each, and a mapping names them after the param groups.
        base_name: what errors call it.

    Raises:
        InputError: when a length doesn't fit, a base isn't positive, or there are too many values.

    >>> from lrkit import linear
    >>> found = preview([linear(to=0)], Horizon(4), base=[0.1, 0.2])
    >>> [(curve.label, curve.values.round(3).tolist()) for curve in found.panels[0].curves]
    [('base 0.1', [0.1, 0.075, 0.05, 0.025]), ('base 0.2', [0.2, 0.15, 0.1, 0.05])]
    """
    horizon = horizon or Horizon()
    if horizon.steps is None:
        horizon = replace(horizon, steps=longest(runs) or STEPS)
    assert isinstance(horizon.steps, int)
    bases = _bases(base, base_name)
    wanted = [each for run in runs for each in _wanted(as_plans(run), bases, str(run) if len(runs) > 1 else "")]
    if horizon.steps * len(wanted) > _MOST_VALUES:
        several = f" ({_MOST_VALUES // len(wanted)} for {len(wanted)} curves)" if len(wanted) > 1 else ""
        raise InputError(f"a preview has at most {_MOST_VALUES} steps{several}, not {horizon.steps}")
    resolved = {plan: _over(plan, horizon) for plan in dict.fromkeys(each.plan for each in wanted)}
    curves: dict[str, list[Curve]] = {}
    for each in wanted:
        values = _values(resolved[each.plan], horizon, each.base)
        curve = Curve(each.label or str(runs[0]), values[:-1], float(values[-1]))
        curves.setdefault(each.hyper, []).append(curve)
    panels = [Panel(hyper, tuple(own)) for hyper, own in sorted(curves.items(), key=lambda item: item[0] != "lr")]
    return Preview(
        horizon,
        tuple(panels),
        _shown_hypers(panels, runs),
        title=str(runs[0]) if len(runs) == 1 else "",
        in_shares=list(bases.items()) == [("", 1.0)],
        remark=_remark(list(resolved), horizon),
    )


def _shown_hypers(panels: Sequence[Panel], runs: Sequence[Plan | Plans]) -> frozenset[str]:
    """The learning rate and what moves; and of a run that has neither, whatever it has."""
    found = {panel.hyper for panel in panels if panel.hyper == "lr" or panel.moves}
    for run in runs:
        own = {target.hyper for target, _ in as_plans(run).parts}
        found |= own if found.isdisjoint(own) else set()
    return frozenset(found)


@dataclass(frozen=True)
class _Wanted:
    """A curve that is to be: of which plan, with which base, and what tells it apart."""

    hyper: str
    label: str
    plan: Plan
    base: float


def _wanted(run: Plans, bases: Mapping[str, float], text: str) -> list[_Wanted]:
    """A curve for each target and base; a group's own plan goes with that group's base, where bases are groups'."""
    by_group = any(target.group is not None for target, _ in run.parts)
    found = []
    for (hyper, group), plan in run.parts:
        apart = {_group(other.group) for other, _ in run.parts if other.hyper == hyper and other.group is not None}
        mine = _group(group) if group is not None else "" if not by_group else "other groups" if apart else "all groups"
        suitable = bases if hyper == "lr" else {"": 1.0}
        if mine in suitable:
            suitable = {mine: suitable[mine]}
        elif group is not None and any(name.startswith(_GROUP) for name in suitable):
            raise InputError(f"base must name {mine} too, which has a plan of its own, not {', '.join(suitable)} alone")
        for name, base in suitable.items():
            if group is None and name in apart:
                continue
            who = "" if name.startswith(_GROUP) else mine
            found.append(_Wanted(hyper, ", ".join(filter(None, [text, who, name])), plan, base))
    return found


def _group(key: object) -> str:
    return f"{_GROUP}{key}"


def as_plans(run: Plan | Plans) -> Plans:
    """What a run schedules: a plan alone is for the learning rate."""
    return Plans.of({Target("lr"): run}) if isinstance(run, Plan) else run


def longest(runs: Iterable[Plan | Plans]) -> int | None:
    """The length of the longest plan, of those that say it in steps."""

    def own(plan: Plan) -> int:
        try:
            return plan.length or 0
        except InputError:  # a length in a unit
            return 0

    return max((own(plan) for run in runs for _, plan in as_plans(run).parts), default=0) or None


def _over(plan: Plan, horizon: Horizon) -> Plan:
    """The plan resolved against the horizon, and refused where that leaves it open."""
    assert isinstance(horizon.steps, int)
    sizes = {name: size for name, size in vars(horizon).items() if name != "steps"}
    resolved = plan.over(horizon.steps, **sizes)
    resolved.require_resolved()
    return resolved


def _values(plan: Plan, horizon: Horizon, base: float) -> Array:
    """The resolved plan's value at each step and at the horizon; a controller's under a metric that never improves."""
    assert isinstance(horizon.steps, int)
    t = np.arange(horizon.steps + 1)
    if isinstance(plan, Schedule):
        values: Array = plan.value(t, base)
        return values
    assert isinstance(plan, Controller)
    every = _report_every(horizon)
    parts, state = [], plan.init()
    for begin in range(0, len(t), every):
        if begin:
            state = plan.update(state, 1.0, begin)
        parts.append(plan.value(state, t[begin : begin + every], base))
    return np.concatenate(parts)


def _report_every(horizon: Horizon) -> int:
    assert isinstance(horizon.steps, int)
    return int(horizon.epoch_steps or max(1, horizon.steps // _REPORTS))


def _remark(plans: Sequence[Plan], horizon: Horizon) -> str:
    fed = list(dict.fromkeys(str(plan) for plan in plans if isinstance(plan, Controller)))
    if not fed:
        return ""
    what = "it does" if len(plans) == 1 else f"{' and '.join(fed)} {'does' if len(fed) == 1 else 'do'}"
    steps = _report_every(horizon)
    every = "epoch" if horizon.epoch_steps else "step" if steps == 1 else f"{steps} steps"
    return f"what {what} depends on a metric: shown for one that never improves, reported every {every}"


def _bases(base: Bases, name: str) -> dict[str, float]:
    """Each base with its label; a single one needs none."""
    given: object = base
    if isinstance(given, Mapping):
        named = {_group(key): as_positive(value, f"{name} of {key}") for key, value in given.items()}
    elif isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        numbers = [as_positive(value, name) for value in given]
        named = {f"base {show_number(number)}": number for number in numbers}
    else:
        return {"": as_positive(given, name)}
    if not named:
        raise InputError(f"{name} must have at least one value, not {shown(base)}")
    return named

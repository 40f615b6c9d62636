"""What a preview shows, computed before anything is drawn: the values of plans over one axis of steps."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from lrkit.schedules import Controller, Horizon, Plan, Schedule
from lrkit.schedules.errors import InputError
from lrkit.schedules.plan import Array
from lrkit.schedules.shares import as_number, show_number

__all__ = ["STEPS", "Bases", "Curve", "Panel", "Preview", "Run", "longest", "over", "preview", "run_text", "values_of"]

Run: TypeAlias = Mapping[str, Plan]  # a plan for each hyper-parameter, the learning rate as "lr"
Bases: TypeAlias = float | Sequence[float] | Mapping[str, float]

STEPS = 1000
_REPORTS = 100
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


@dataclass(frozen=True)
class Preview:
    """Panels over one axis of steps.

    Attributes:
        horizon: with its steps.
        panels: the learning rate's, then one for whatever else is scheduled.
        title: what all curves have in common, or nothing.
        in_shares: the rates are shares of a base that wasn't named.
        remark: what was assumed about metrics, where a controller needs them.
    """

    horizon: Horizon
    panels: tuple[Panel, ...]
    title: str = ""
    in_shares: bool = True
    remark: str = ""

    @property
    def steps(self) -> int:
        """How many steps are shown."""
        assert isinstance(self.horizon.steps, int)
        return self.horizon.steps

    @functools.cached_property
    def position(self) -> Array:
        """Where each step stands on the axis: in epochs where their size is known, else in steps."""
        return np.arange(self.steps) / float(self.horizon.epoch_steps or 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The runs, in order."""
        return tuple(dict.fromkeys(curve.label for panel in self.panels for curve in panel.curves))


def preview(
    runs: Sequence[Run], horizon: Horizon | None = None, *, base: Bases = 1.0, base_name: str = "base"
) -> Preview:
    """The values of every run's hyper-parameters at every step.

    Args:
        runs: what is compared.
        horizon: what their lengths are measured against; without steps it has those of the longest, or 1000.
        base: of the learning rate; several give a curve each, and a mapping names them (say, the param groups).
        base_name: what errors call it.

    Raises:
        InputError: when a length doesn't fit, a base isn't positive, or there are too many values.

    >>> from lrkit import linear
    >>> found = preview([{"lr": linear(to=0)}], Horizon(4), base=[0.1, 0.2])
    >>> [(curve.label, curve.values.round(3).tolist()) for curve in found.panels[0].curves]
    [('base 0.1', [0.1, 0.075, 0.05, 0.025]), ('base 0.2', [0.2, 0.15, 0.1, 0.05])]
    """
    horizon = horizon or Horizon()
    if horizon.steps is None:
        horizon = replace(horizon, steps=longest(plan for run in runs for plan in run.values()) or STEPS)
    assert isinstance(horizon.steps, int)
    bases = _bases(base, base_name)
    count = sum(len(bases) if hyper == "lr" else 1 for run in runs for hyper in run)
    if horizon.steps * count > _MOST_VALUES:
        several = f" ({_MOST_VALUES // count} for {count} curves)" if count > 1 else ""
        raise InputError(f"a preview has at most {_MOST_VALUES} steps{several}, not {horizon.steps}")
    resolved = [{hyper: over(plan, horizon) for hyper, plan in run.items()} for run in runs]
    panels: dict[str, list[Curve]] = {}
    for run, plans in zip(runs, resolved, strict=True):
        for hyper, plan in plans.items():
            for name, peak in bases.items() if hyper == "lr" else [("", 1.0)]:
                label = ", ".join(filter(None, [run_text(run) if len(runs) > 1 or not name else "", name]))
                values = values_of(plan, horizon, peak)
                panels.setdefault(hyper, []).append(Curve(label, values[:-1], float(values[-1])))
    return Preview(
        horizon,
        tuple(Panel(hyper, tuple(curves)) for hyper, curves in panels.items()),
        title=run_text(runs[0]) if len(runs) == 1 else "",
        in_shares=list(bases.items()) == [("", 1.0)],
        remark=_remark([plan for run in runs for plan in run.values()], horizon),
    )


def run_text(run: Run) -> str:
    """The run's text form: the plan's own where only the learning rate is scheduled."""
    if set(run) == {"lr"}:
        return str(run["lr"])
    return "; ".join(f"{hyper}: {plan}" for hyper, plan in run.items())


def longest(plans: Iterable[Plan]) -> int | None:
    """The length of the longest plan, of those that say it in steps."""

    def own(plan: Plan) -> int:
        try:
            return plan.length or 0
        except InputError:  # a length in a unit
            return 0

    return max(map(own, plans), default=0) or None


def over(plan: Plan, horizon: Horizon) -> Plan:
    """The plan resolved against the horizon, and refused where that leaves it open."""
    assert isinstance(horizon.steps, int)
    sizes = {name: size for name, size in vars(horizon).items() if name != "steps"}
    resolved = plan.over(horizon.steps, **sizes)
    resolved.require_resolved()
    return resolved


def values_of(plan: Plan, horizon: Horizon, base: float) -> Array:
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
    every = "epoch" if horizon.epoch_steps else f"{_report_every(horizon)} steps"
    return f"what {what} depends on a metric: shown for one that never improves, reported every {every}"


def _bases(base: Bases, name: str) -> dict[str, float]:
    """Each base with its label; a single one needs none."""
    given: object = base
    if isinstance(given, Mapping):
        named = {str(key): as_number(value, f"{name} of {key}", low=0.0, low_open=True) for key, value in given.items()}
    elif isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        numbers = [as_number(value, name, low=0.0, low_open=True) for value in given]
        named = {f"base {show_number(number)}": number for number in numbers}
    else:
        return {"": as_number(given, name, low=0.0, low_open=True)}
    if not named:
        raise InputError(f"{name} must have at least one value, not {base!r}")
    return named

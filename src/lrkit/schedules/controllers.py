"""The kinds of controller: what depends on a metric."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import as_choice
from lrkit.schedules.lengths import LengthLike, as_length
from lrkit.schedules.loops import Controller
from lrkit.schedules.metric import Better, Metric, Relation, improves, judge, watched
from lrkit.schedules.plan import State
from lrkit.schedules.shares import ShareLike, as_count, as_number, as_share, at_base

__all__ = ["Greedy", "Plateau"]


@dataclass(frozen=True, repr=False)
class Plateau(Controller):
    """Lowers the rate when a metric has stopped improving (torch's ReduceLROnPlateau).

    After more than `patience` reports in a row that are no better than the best one, the value is reduced:

    value <- max(value · factor, floor), unless that changes it by no more than `eps`

    A report is better when it lies below best - threshold · abs(best) (`threshold_mode="rel"`) or below
    best - threshold (`"abs"`); mirrored for `mode="max"`. After a reduction, `cooldown` reports aren't counted as
    bad ones. What isn't finite is never better. For metrics that are negative "better" means better as well (torch's
    relative threshold takes a stalled negative metric for an improving one).

    With `smoothing` the exponential moving average of the metric is compared instead, corrected for its start at 0:
    average <- smoothing · average + (1 - smoothing) · metric, and average / (1 - smoothing^reports) is looked at.

    Args:
        steps: how long the segment lasts; needed unless it is the last one.
        mode: "min" or "max".
        factor: between 0 and 1.
        patience: bad reports in a row that are tolerated.
        threshold: what counts as better.
        threshold_mode: "rel" or "abs".
        cooldown: reports after a reduction that can't be bad.
        floor: never below this, a share of the base or `absolute(...)`.
        eps: smallest change that is made, in the unit of the rate.
        smoothing: weight of what was reported before, at least 0 (off) and below 1.
        metric: which metric it watches where several are reported by name; else the loss.
        start: where it begins; else where the segment before ended, or at the base.

    State: best (None before the first report), bad_epochs, cooldown (reports left), reductions; with smoothing
    average and reports as well.

    >>> plan = Plateau(patience=1, factor=0.5)
    >>> state = plan.init()
    >>> for loss in [1.0, 0.9, 0.9, 0.95]:
    ...     state = plan.update(state, loss)
    >>> plan.value(state, t=400, base=0.1), state
    (0.05, {'best': 0.9, 'bad_epochs': 0, 'cooldown': 0, 'reductions': 1})
    """

    kind: ClassVar[str] = "plateau"
    example: ClassVar[str] = "plateau(patience=2, factor=0.5)"

    steps: LengthLike | None = None
    _: KW_ONLY
    mode: Better = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Relation = "rel"
    cooldown: int = 0
    floor: ShareLike = 0.0
    eps: float = 1e-8
    smoothing: float = 0.0
    metric: str | None = None
    start: ShareLike | None = None

    def __post_init__(self) -> None:
        checked = _check(self, counts=("patience", "cooldown"))
        checked["eps"] = as_number(self.eps, "eps", low=0.0)
        checked["floor"] = as_share(self.floor, "floor")
        checked["smoothing"] = as_number(self.smoothing, "smoothing", low=0.0, high=1.0, high_open=True)
        _put(self, checked)

    def init(self) -> State:
        """Nothing seen, nothing reduced."""
        state: State = {"best": None, "bad_epochs": 0, "cooldown": 0, "reductions": 0}
        return state | {"average": 0.0, "reports": 0} if self.smoothing else state

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        current, averaged = self._smoothed(state, watched(metric, self.metric))
        best, bad, cooldown, stalled = judge(self, current, state["best"], state["bad_epochs"], state["cooldown"])
        reductions = state["reductions"] + stalled
        return {"best": best, "bad_epochs": bad, "cooldown": cooldown, "reductions": reductions} | averaged

    def decided(self, state: State) -> object:
        """How often the value was reduced."""
        return state["reductions"]

    def _smoothed(self, state: State, metric: float) -> tuple[float, State]:
        """What is compared, and the state of the average, which what isn't finite leaves as it is."""
        if not self.smoothing:
            return metric, {}
        average, reports = state["average"], state["reports"]
        if not math.isfinite(metric):
            return metric, {"average": average, "reports": reports}
        average = self.smoothing * average + (1.0 - self.smoothing) * metric
        reports += 1
        return average / (1.0 - self.smoothing**reports), {"average": average, "reports": reports}

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        assert state is not None
        value = entry if self.start is None else at_base(self.start, base)
        floor = at_base(self.floor, base)
        for _reduction in range(state["reductions"]):
            lower = np.maximum(value * self.factor, floor)
            reduced = np.where(value - lower > self.eps, lower, value)
            if np.array_equal(reduced, value):
                break
            value = reduced
        return np.broadcast_to(value, t.shape)


@dataclass(frozen=True, repr=False)
class Greedy(Controller):
    """Raises the rate while a metric improves, and lowers it while it doesn't (GreedyLR).

    After more than `patience` reports in a row that are better than the best one, and after as many that aren't:

    value(t) = start · scale; scale <- min(scale / factor, high), or scale <- max(scale · factor, low)

    Then the next `warmup` reports after a raise, or `cooldown` reports after a reduction, aren't looked at. What is
    compared is the mean of the last `window` reports. A report is better as for `plateau`, for negative metrics too;
    what isn't finite is never better and stays out of the mean.

    The bounds are multiples of where it begins, so that groups with different bases move alike; for bounds in the
    unit of the rate there is `clip`, which holds the rate, while the scale goes on moving behind it.

    Args:
        steps: how long the segment lasts; needed unless it is the last one.
        mode: "min" or "max".
        factor: between 0 and 1.
        patience: reports in a row that don't yet move the rate.
        threshold: what counts as better.
        threshold_mode: "rel" or "abs".
        cooldown: reports that aren't looked at after a reduction.
        warmup: reports that aren't looked at after a raise.
        low: the smallest scale, above 0 and at most 1.
        high: the largest scale, at least 1.
        window: how many reports are averaged; 1 is the report itself.
        metric: which metric it watches where several are reported by name; else the loss.
        start: where it begins; else where the segment before ended, or at the base.

    State: best (None before the first report), good, bad (reports in a row), wait (reports that won't be looked at),
    scale, recent (the reports in the window).

    Source: arXiv 2512.14527, in the form its authors gave it in transformers: reports are compared with the best one
    and not with the one before. That form's return to the first rate after a long time at the lowest is left out.

    >>> plan = Greedy(patience=0, factor=0.5, high=4)
    >>> state = plan.init()
    >>> for loss in [1.0, 0.9, 0.8, 0.7]:
    ...     state = plan.update(state, loss)
    >>> plan.value(state, t=400, base=0.1)
    0.4
    >>> plan.value(plan.update(state, 2.0), t=500, base=0.1)
    0.2
    """

    kind: ClassVar[str] = "greedy"
    example: ClassVar[str] = "greedy(patience=0, factor=0.8)"

    steps: LengthLike | None = None
    _: KW_ONLY
    mode: Better = "min"
    factor: float = 0.95
    patience: int = 10
    threshold: float = 1e-6
    threshold_mode: Relation = "abs"
    cooldown: int = 0
    warmup: int = 0
    low: float = 0.01
    high: float = 10.0
    window: int = 1
    metric: str | None = None
    start: ShareLike | None = None

    def __post_init__(self) -> None:
        checked = _check(self, counts=("patience", "cooldown", "warmup"))
        checked["low"] = as_number(self.low, "low", low=0.0, high=1.0, low_open=True)
        checked["high"] = as_number(self.high, "high", low=1.0)
        checked["window"] = as_count(self.window, "window", low=1)
        _put(self, checked)

    def init(self) -> State:
        """Nothing seen, nothing moved."""
        return {"best": None, "good": 0, "bad": 0, "wait": 0, "scale": 1.0, "recent": []}

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        current, recent = self._mean(state["recent"], watched(metric, self.metric))
        if state["wait"] > 0:
            return state | {"recent": recent, "good": 0, "bad": 0, "wait": state["wait"] - 1}
        better = improves(current, state["best"], self.mode, self.threshold, self.threshold_mode)
        best = current if better else state["best"]
        good, bad = (state["good"] + 1, 0) if better else (0, state["bad"] + 1)
        wait, scale = 0, state["scale"]
        if good > self.patience:
            good, wait, scale = 0, self.warmup, min(scale / self.factor, self.high)
        elif bad > self.patience:
            bad, wait, scale = 0, self.cooldown, max(scale * self.factor, self.low)
        return {"best": best, "good": good, "bad": bad, "wait": wait, "scale": scale, "recent": recent}

    def decided(self, state: State) -> object:
        """The scale."""
        return state["scale"]

    def _mean(self, recent: list[float], metric: float) -> tuple[float, list[float]]:
        """What is compared, and the reports that are kept for the next mean."""
        if not math.isfinite(metric):
            return metric, recent
        window = [*recent, metric][-self.window :]
        try:
            mean = math.fsum(window) / len(window)
        except OverflowError:  # of numbers that no sum holds; so it isn't better
            mean = math.inf
        return mean, window if self.window > 1 else []

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        assert state is not None
        start = entry if self.start is None else at_base(self.start, base)
        return np.broadcast_to(start * state["scale"], t.shape)


def _check(plan: Plateau | Greedy, counts: tuple[str, ...]) -> dict[str, Any]:
    """The fields that both kinds have, checked."""
    checked: dict[str, Any] = {name: as_count(getattr(plan, name), name) for name in counts}
    if plan.steps is not None:
        checked["steps"] = as_length(plan.steps, "steps")
    for name, allowed in (("mode", ("min", "max")), ("threshold_mode", ("rel", "abs"))):
        as_choice(getattr(plan, name), name, allowed)
    checked["factor"] = as_number(plan.factor, "factor", low=0.0, high=1.0, low_open=True, high_open=True)
    checked["threshold"] = as_number(plan.threshold, "threshold", low=0.0)
    if plan.metric is not None and not isinstance(plan.metric, str):
        raise InputTypeError(f"metric must be the name of a metric, not {shown(plan.metric)}")
    if plan.metric is not None and (not plan.metric.isprintable() or "'" in plan.metric or not plan.metric):
        raise InputError(f"metric must be a name of printable characters without ', not {shown(plan.metric)}")
    if plan.start is not None:
        checked["start"] = as_share(plan.start, "start")
    return checked


def _put(plan: Plateau | Greedy, checked: dict[str, Any]) -> None:
    for name, value in checked.items():
        object.__setattr__(plan, name, value)

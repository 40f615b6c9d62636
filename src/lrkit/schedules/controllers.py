"""The kinds of controller: what depends on a metric."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.lengths import LengthLike, as_length
from lrkit.schedules.metric import Metric, watched
from lrkit.schedules.plan import Array, Controller, State
from lrkit.schedules.shares import ShareLike, as_number, as_share, at_base

__all__ = ["Plateau"]


@dataclass(frozen=True, repr=False)
class Plateau(Controller):
    """Lowers the rate when a metric has stopped improving (torch's ReduceLROnPlateau).

    After more than `patience` reports in a row that are no better than the best one, the value is reduced:

    value <- max(value · factor, floor), unless that changes it by no more than `eps`

    A report is better when it lies below best - threshold · abs(best) (`threshold_mode="rel"`) or below
    best - threshold (`"abs"`); mirrored for `mode="max"`. After a reduction, `cooldown` reports aren't counted as
    bad ones. NaN is never better. For metrics that are negative "better" means better as well (torch's relative
    threshold takes a stalled negative metric for an improving one).

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
        start: where it begins; else where the segment before ended, or at the base.

    State: best (None before the first report), bad_epochs, cooldown (reports left), reductions.

    >>> plan = Plateau(patience=1, factor=0.5)
    >>> state = plan.init()
    >>> for loss in [1.0, 0.9, 0.9, 0.95]:
    ...     state = plan.update(state, loss)
    >>> plan.value(state, t=400, base=0.1), state
    (0.05, {'best': 0.9, 'bad_epochs': 0, 'cooldown': 0, 'reductions': 1})
    """

    kind: ClassVar[str] = "plateau"

    steps: LengthLike | None = None
    _: KW_ONLY
    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    floor: ShareLike = 0.0
    eps: float = 1e-8
    start: ShareLike | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if self.steps is not None:
            put("steps", as_length(self.steps, "steps"))
        for name, allowed in (("mode", ("min", "max")), ("threshold_mode", ("rel", "abs"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}")
        put("factor", as_number(self.factor, "factor", low=0.0, high=1.0, low_open=True, high_open=True))
        for name in ("patience", "cooldown"):
            put(name, _count(getattr(self, name), name))
        for name in ("threshold", "eps"):
            put(name, as_number(getattr(self, name), name, low=0.0))
        put("floor", as_share(self.floor, "floor"))
        if self.start is not None:
            put("start", as_share(self.start, "start"))

    def init(self) -> State:
        """Nothing seen, nothing reduced."""
        return {"best": None, "bad_epochs": 0, "cooldown": 0, "reductions": 0}

    def _update(self, state: State, metric: Metric, t: int | None) -> State:
        metric = watched(metric, None)
        better = self._better(metric, state["best"])
        best = metric if better else state["best"]
        bad = 0 if better else state["bad_epochs"] + 1
        cooldown, reductions = state["cooldown"], state["reductions"]
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        if bad > self.patience:
            cooldown, bad, reductions = self.cooldown, 0, reductions + 1
        return {"best": best, "bad_epochs": bad, "cooldown": cooldown, "reductions": reductions}

    def _better(self, metric: float, best: float | None) -> bool:
        if best is None:
            return bool(np.isfinite(metric))
        margin = self.threshold * abs(best) if self.threshold_mode == "rel" else self.threshold
        return metric < best - margin if self.mode == "min" else metric > best + margin

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


def _count(value: object, name: str) -> int:
    """A whole number that isn't negative."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputTypeError(f"{name} must be a whole number, not {value!r} ({type(value).__name__})")
    if value < 0:
        raise InputError(f"{name} must be at least 0, not {value}")
    return int(value)

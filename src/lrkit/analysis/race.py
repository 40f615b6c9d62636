"""The race: each rate trains by itself from the same start for the same budget, and the lowest loss wins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrkit.analysis.curves import Curve
from lrkit.analysis.descents import Reason
from lrkit.analysis.finding import Finding
from lrkit.analysis.minimum import best_rate, estimate_minimum, find_alike
from lrkit.analysis.search import HIGHEST, LOWEST, Rates, Search, Train, made_of_search, of_different_seeds
from lrkit.analysis.suggestions import Estimate
from lrkit.schedules import Schedule, constant
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.task import Task

__all__ = ["run_race"]

_PER_DECADE = 2
_BETWEEN = 3  # new rates on each side of the best one, in the last heat
_WIDENINGS = 4  # at most
_FARTHER = 100.0  # by how much


def run_race(task: Task, search: Search, train: Train, schedule: Schedule) -> Finding:
    """Train at each rate of a grid, then at rates around the best, and fit where the loss is lowest.

    The grid has two rates for each decade; the last heat has three on each side of the best, up to its neighbours.
    Where the best is at the edge, or none comes to the end, the grid becomes wider.

    Args:
        task: what is trained; it is judged by its validation loss, or by the mean of the last tenth of its training
            losses.
        search: the range; its steps are the budget.
        train: trains lanes.
        schedule: of each lane, as a multiple of its rate.
    """
    rates = Rates.of(task, search.place)
    heats = _Heats(_judged(task, search), search, rates, train, schedule)
    heats.run(_grid(search.low, search.high))
    widened: list[Mapping[str, Any]] = []
    while (obstacle := _obstacle(heats.curve)) and len(widened) < _WIDENINGS:
        other = _wider(heats.curve, search)
        if other is None:
            break
        widened.append({"low": search.low, "high": search.high, "reason": obstacle})
        heats.run([*_grid(other.low, search.low), *_grid(search.high, other.high)])
        search = other
    if obstacle is None:
        heats.run(_around(heats.curve))
    made = {**made_of_search(search, rates, heats.history, widened), "schedule": str(schedule)}
    made |= {"seeds_differ": heats.curve.seeds == len(search.seeds), "seeds_diverged": _diverged(heats.curve)}
    return _finding(heats.curve, obstacle, made)


def _finding(curve: Curve, obstacle: Reason | None, made: Mapping[str, Any]) -> Finding:
    estimate = Estimate(None, reason=obstacle) if obstacle is not None else estimate_minimum(curve)
    assert estimate is not None, "a curve without any loss is an obstacle"
    interval = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    return Finding(
        suggestion=estimate.value,
        interval=interval,
        rules={"race": estimate},
        default="race",
        curve=curve,
        reason=obstacle,
        method="race",
        made=made,
        alike=find_alike(curve),
    )


class _Heats:
    """The losses that are known so far."""

    def __init__(self, task: Task, search: Search, rates: Rates, train: Train, schedule: Schedule) -> None:
        self._task, self._search, self._rates, self._train, self._schedule = task, search, rates, train, schedule
        self._losses: dict[float, list[float]] = {}
        self.history: History

    def run(self, rates: Sequence[float]) -> None:
        """Train at the rates that are new."""
        fresh = [rate for rate in rates if all(abs(np.log(rate / each)) > 1e-6 for each in self._losses)]
        keys = [(rate, seed) for rate in fresh for seed in self._search.seeds]
        if not keys:
            return
        lanes = [Lane(self._plan(rate), seed=seed) for rate, seed in keys]
        histories = self._train(self._task, lanes, drop=lambda _: ())
        for (rate, _), history in zip(keys, histories, strict=True):
            self._losses.setdefault(rate, []).append(_final(history, self._search.steps))
        self.history = histories[0]

    def _plan(self, rate: float) -> Schedule:
        level = constant(rate / self._rates.base)
        return level if self._schedule == constant() else level * self._schedule

    @property
    def curve(self) -> Curve:
        """The final losses."""
        rates = sorted(self._losses)
        return Curve(np.array(rates), of_different_seeds(np.array([self._losses[rate] for rate in rates]).T))


def _judged(task: Task, search: Search) -> Task:
    """The task over the budget."""
    valid = task.valid if search.signal == "valid" else None
    return replace(task, steps=search.steps, epochs=None, early_stopping=None, valid=valid, test=None)


def _final(history: History, steps: int) -> float:
    """What a lane is judged by; not a number where it didn't come to the end."""
    if history.diverged is not None or len(history.losses) < steps:
        return float("nan")
    held_out = history.epochs[-1].valid_loss
    if held_out is not None:
        return held_out
    return float(np.mean(history.losses[-max(1, steps // 10) :], dtype=np.float64))


def _grid(low: float, high: float) -> list[float]:
    """Both ends, and what is between them; nothing where they are the same."""
    count = max(2, round(np.log10(high / low) * _PER_DECADE)) + 1
    found: list[float] = np.geomspace(low, high, count).tolist() if low < high else []
    return found


def _around(curve: Curve) -> list[float]:
    """Rates between the best one and its neighbours, evenly in their logarithms."""
    best = best_rate(curve)
    assert best is not None
    low, middle, high = curve.rates[best - 1 : best + 2]
    lower = np.geomspace(low, middle, _BETWEEN + 2)[1:-1]
    found: list[float] = [*lower.tolist(), *np.geomspace(middle, high, _BETWEEN + 2)[1:-1].tolist()]
    return found


def _obstacle(curve: Curve) -> Reason | None:
    """Why the lowest loss can't be found between the rates."""
    best = best_rate(curve)
    if best is None:
        return Reason.NONE_ENDED
    return Reason.BEST_AT_EDGE if best in (0, len(curve.rates) - 1) else None


def _diverged(curve: Curve) -> int:
    """How many seeds didn't come to the end at the best rate."""
    best = best_rate(curve)
    return curve.seeds if best is None else int(np.count_nonzero(~np.isfinite(curve.losses[:, best])))


def _wider(curve: Curve, search: Search) -> Search | None:
    """Farther to where the best rate is, or to lower ones; None where it is wide enough."""
    upwards = best_rate(curve) == len(curve.rates) - 1
    if upwards:
        return search.between(search.low, search.high * _FARTHER) if search.high < HIGHEST else None
    return search.between(search.low / _FARTHER, search.high) if search.low > LOWEST else None

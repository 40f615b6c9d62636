"""The race: each rate trains by itself from the same start for the same budget, and the lowest loss wins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from lrkit.analysis.curves import Array, Curve, middle
from lrkit.analysis.finding import Finding
from lrkit.analysis.search import HIGHEST, LOWEST, Rates, Search, Train, made_of_search
from lrkit.analysis.suggestions import LEVELS, Estimate
from lrkit.schedules import Plan, constant
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.task import Task

__all__ = ["race"]

_PER_DECADE = 2
_BETWEEN = 3  # rates on each side of the best one, in the second heat
_WIDENINGS = 4  # at most
_FARTHER = 100.0  # by how much
_DRAWS = 1000  # of the bootstrap


def race(task: Task, search: Search, train: Train, schedule: Plan) -> Finding:
    """Train at each rate of a grid, then at rates around the best, and fit where the loss is lowest.

    A parabola in the logarithm of the rate is fitted to the mean losses around the best rate, weighted alike; the
    interval is over draws of those means, with the deviation of seeds from each other once each seed's own level is
    taken out.

    Args:
        task: what is trained; it is measured by its validation loss, or by the mean of the last tenth of its training
            losses.
        search: the range; its steps are the budget.
        train: trains lanes.
        schedule: of each lane, as a multiple of its rate.
    """
    rates = Rates.of(task, search.place)
    runner = replace(
        task,
        steps=search.steps,
        epochs=None,
        early_stopping=None,
        valid=task.valid if search.signal == "valid" else None,
    )
    heats = _Heats(runner, search, rates, train, schedule)
    widened: list[Mapping[str, Any]] = []
    low, high = search.low, search.high
    heats.run(_grid(low, high))
    while len(widened) < _WIDENINGS and (other := _wider(heats.curve(), low, high)) is not None:
        reason = "no rate trained" if heats.curve().best is None else "the best rate is at the edge"
        widened.append({"low": low, "high": high, "reason": reason})
        low, high = other
        heats.run(_grid(low, high))
    heats.run(_around(heats.curve()))
    found = heats.curve()
    made = made_of_search(replace(search, low=low, high=high), rates, heats.history, widened)
    return _finding(found, {**made, "schedule": str(schedule), "seeds_differ": found.seeds == len(search.seeds)})


class _Heats:
    """The losses that are known so far."""

    def __init__(self, task: Task, search: Search, rates: Rates, train: Train, schedule: Plan) -> None:
        self._task, self._search, self._rates, self._train, self._schedule = task, search, rates, train, schedule
        self._losses: dict[float, list[float]] = {}
        self.history: History

    def run(self, rates: list[float]) -> None:
        """Train at the rates that are new."""
        fresh = [rate for rate in rates if all(abs(np.log(rate / each)) > 1e-6 for each in self._losses)]
        if not fresh:
            return
        keys = [(rate, seed) for rate in fresh for seed in self._search.seeds]
        lanes = [Lane(self._at(rate), seed=seed) for rate, seed in keys]
        histories = self._train(self._task, lanes, drop=lambda _: ())
        for (rate, _), history in zip(keys, histories, strict=True):
            self._losses.setdefault(rate, []).append(_final(history, self._search.steps))
        self.history = histories[0]

    def _at(self, rate: float) -> Plan:
        share = rate / self._rates.base
        return constant(share) if self._schedule == constant() else constant(share) * self._schedule

    def curve(self) -> "_Curve":
        """Of one seed where all seeds are the same to the bit."""
        rates = sorted(self._losses)
        losses = np.array([self._losses[rate] for rate in rates]).T
        same = all(np.array_equal(losses[0], each, equal_nan=True) for each in losses)
        return _Curve(rates, losses[:1] if same else losses)


class _Curve(Curve):
    """Final losses, with the best rate."""

    @property
    def best(self) -> int | None:
        """The index of the lowest loss in the median over seeds."""
        typical = self.typical
        return int(np.argmin(typical)) if np.isfinite(typical).any() else None


def _final(history: History, steps: int) -> float:
    """What a lane is judged by; not a number where it didn't come to the end."""
    if history.diverged is not None or len(history.losses) < steps:
        return float("nan")
    held_out = history.epochs[-1].valid_loss
    if held_out is not None:
        return held_out if np.isfinite(held_out) else float("nan")
    return float(np.mean(history.losses[-max(1, steps // 10) :], dtype=np.float64))

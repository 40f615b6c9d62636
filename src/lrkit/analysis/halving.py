"""Successive halving: rates that have lost are dropped on the way, so that the others cost what matters.

A rate is judged by where it stands in the whole grid of its schedule, not by its own loss. While a schedule still
has a high rate, high rates look worse than they end, since what is noise to them is gone once the rate has fallen; low
rates look worse as long as they are behind. So after epochs 1, 2, 4, 8 and so on the best rate so far is looked for, and
what is far from it is dropped. The horizon of a schedule is never cut: a lane that goes on is trained as if it were
alone.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from lrkit.analysis.selection import Judge, is_dropped
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.observer import LanesObserver, LanesSetup

__all__ = ["Halving"]

_BELOW, _ABOVE = 10**0.75, 10**1.25  # the best rate may be that much higher, or lower, than one that is kept


class Halving(LanesObserver):
    """Says which lanes end early: give it to `run_lanes` as its `drop`, and as one of its observers.

    Args:
        judge: what rates are judged by.
        before: histories of other lanes of the same schedules, by schedule, rate and seed.
    """

    def __init__(self, judge: Judge, before: Mapping[tuple[str, float, int], History]) -> None:
        self._judge = judge
        self._known: dict[str, dict[tuple[float, int], History]] = defaultdict(dict)
        for (schedule, rate, seed), history in before.items():
            self._known[schedule][rate, seed] = history

    def start(self, setup: LanesSetup) -> None:
        """Know the lanes, and those that had ended before, where it goes on."""
        self._lanes, self._steps = setup.lanes, setup.steps
        self._note(setup.ended)

    def epoch(self, histories: Mapping[int, History]) -> None:
        """Also of those that have diverged, which aren't asked for."""
        self._note(histories)

    def ended(self, histories: Mapping[int, History]) -> None:
        """Those that have diverged within an epoch."""
        self._note(histories)

    def __call__(self, histories: Mapping[int, History]) -> Iterable[int]:
        """Those of the lanes that end here."""
        self._note(histories)
        record = next(iter(histories.values())).epochs[-1]
        if record.step >= self._steps:
            return ()
        mine: dict[str, list[int]] = defaultdict(list)
        for number in histories:
            mine[_schedule(self._lanes[number])].append(number)
        return [number for schedule, numbers in mine.items() for number in self._lost(schedule, numbers, record.epoch)]

    def _note(self, histories: Mapping[int, History]) -> None:
        for number, history in histories.items():
            lane = self._lanes[number]
            self._known[_schedule(lane)][_key(lane)] = history

    def _lost(self, schedule: str, numbers: Sequence[int], epoch: int) -> Iterable[int]:
        known = self._known[schedule]
        keys = {number: _key(self._lanes[number]) for number in numbers}
        others = {key: history for key, history in known.items() if key not in keys.values()}
        lost = {rate for (rate, _), history in others.items() if is_dropped(history)}  # with another seed
        if epoch & (epoch - 1) == 0:
            lost |= _far_from_best(_costs(known, self._judge, epoch))
        return [number for number, (rate, _) in keys.items() if rate in lost]


def _schedule(lane: Lane) -> str:
    return str(lane.plan)


def _key(lane: Lane) -> tuple[float, int]:
    assert lane.lr is not None
    return lane.lr, lane.seed


def _costs(known: Mapping[tuple[float, int], History], judge: Judge, epoch: int) -> dict[float, float]:
    """By rate the mean over seeds after an epoch, of those that came so far."""
    costs: dict[float, list[float]] = defaultdict(list)
    for (rate, _), history in known.items():
        if len(history.epochs) >= epoch:
            costs[rate].append(judge.cost(history.epochs[epoch - 1]))
    return {rate: math.fsum(each) / len(each) for rate, each in costs.items()}


def _far_from_best(costs: Mapping[float, float]) -> set[float]:
    """Rates far above or below the best one, with another between them.

    >>> sorted(_far_from_best({0.001: 0.9, 0.01: 0.5, 0.03: 0.3, 0.1: 0.4, 0.3: 0.5, 1.0: 0.6, 3.0: 2.3}))
    [0.001, 1.0, 3.0]
    """
    best = min(costs, key=lambda rate: (costs[rate], rate))
    if not math.isfinite(costs[best]):
        return set()
    far = {rate for rate in costs if not best / _BELOW <= rate <= best * _ABOVE}
    return {rate for rate in far if any(min(rate, best) < other < max(rate, best) for other in costs)}

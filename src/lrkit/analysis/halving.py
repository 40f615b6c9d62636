"""Successive halving: rates that have lost are dropped on the way, so that the search costs little more than it must.

A rate is judged by how far it is from the best one so far, not by its own loss. In mid-training high rates look worse
than they end, since most of their loss is noise that goes once the schedule has fallen, or an explosion that it still
comes back from; low rates look worse while they are behind. To keep the better half by the loss chooses too low rates
for just the schedules that anneal. So after epochs 1, 2, 4, 8 and so on the best rate is looked for, and what is more
than a decade below it or one and a half above is dropped; after two fifths of the training, what is more than half a
decade above. Only rates of one schedule compete, and its horizon is never cut: a lane that goes on is trained as if it
were alone.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from lrkit.analysis.comparison import Measure
from lrkit.analysis.kept_lanes import Key, Runs, key_of
from lrkit.analysis.selection import cost_of
from lrkit.analysis.standings import is_dropped
from lrkit.training.history import History
from lrkit.training.lanes.observer import LanesObserver, LanesSetup

__all__ = ["Halving"]

_AT_FIRST = 10**1.25, 10**1.75  # how far below and above the best others are kept: between steps of half a decade
_LATER = 10**1.25, 10**0.75


class Halving(LanesObserver):
    """Says which lanes end early: give it to `run_lanes` as its `drop`, and as one of its observers.

    It goes by numbers that are recorded and by nothing else, so lanes that go on after an interruption are dropped
    where they would have been.

    Args:
        measure: what rates are judged by, on held-out data.
        before: runs of the same schedules that had ended before.
    """

    def __init__(self, measure: Measure, before: Runs) -> None:
        self._measure = measure
        self._known: dict[str, dict[Key, History]] = defaultdict(dict)
        for key, history in before.items():
            self._known[key.schedule][key] = history

    def start(self, setup: LanesSetup) -> None:
        """Know the lanes, and those that had ended before, where it goes on."""
        self._keys, self._steps = [key_of(lane) for lane in setup.lanes], setup.steps
        self._note(setup.ended)

    def epoch(self, histories: Mapping[int, History]) -> None:
        """Also of those that have diverged, which aren't asked about."""
        self._note(histories)

    def ended(self, histories: Mapping[int, History]) -> None:
        """Also of those that have diverged within an epoch."""
        self._note(histories)

    def __call__(self, histories: Mapping[int, History]) -> Iterable[int]:
        """Those of the lanes that end here."""
        self._note(histories)
        record = next((history.epochs[-1] for history in histories.values()), None)
        if record is None or record.step >= self._steps:
            return ()
        reach = _LATER if 5 * record.step >= 2 * self._steps else _AT_FIRST
        asked = {number: self._keys[number] for number in histories}
        lost: set[Key] = set()
        for schedule in {key.schedule for key in asked.values()}:
            keys = {key for key in asked.values() if key.schedule == schedule}
            lost |= self._lost(schedule, keys, record.epoch, reach)
        return [number for number, key in asked.items() if key in lost]

    def _note(self, histories: Mapping[int, History]) -> None:
        for number, history in histories.items():
            key = self._keys[number]
            self._known[key.schedule][key] = history

    def _lost(self, schedule: str, keys: set[Key], epoch: int, reach: tuple[float, float]) -> set[Key]:
        known = self._known[schedule]
        # Lanes that are asked about may be recorded as dropped: later, where a group goes on from before that.
        lost = {key.lr for key, history in known.items() if key not in keys and is_dropped(history)}
        if epoch & (epoch - 1) == 0:
            lost |= _far_from_best(_costs(known, self._measure, epoch), *reach)
        return {key for key in keys if key.lr in lost}


def _costs(known: Runs, measure: Measure, epoch: int) -> dict[float, float]:
    """By rate the mean over seeds after an epoch, of those that came so far."""
    costs: dict[float, list[float]] = defaultdict(list)
    for key, history in known.items():
        if len(history.epochs) >= epoch:
            costs[key.lr].append(cost_of(history.epochs[epoch - 1], measure))
    return {rate: math.fsum(each) / len(each) for rate, each in costs.items()}


def _far_from_best(costs: Mapping[float, float], below: float, above: float) -> set[float]:
    """Rates that are so many times below or above the best one, with another between them.

    >>> sorted(_far_from_best({0.001: 0.9, 0.01: 0.5, 0.03: 0.3, 0.1: 0.4, 0.3: 0.5, 1.0: 0.6, 3.0: 2.3}, *_LATER))
    [0.001, 0.3, 1.0, 3.0]
    """
    best = min(costs, key=lambda rate: (costs[rate], rate))
    if not math.isfinite(costs[best]):
        return set()
    far = {rate for rate in costs if not best / below <= rate <= best * above}
    return {rate for rate in far if any(min(rate, best) < other < max(rate, best) for other in costs)}

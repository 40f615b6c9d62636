"""The values of the updates to come, and their way into an optimizer's param groups."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from lrkit.schedules.evaluation import Array
from lrkit.schedules.plans import Target
from lrkit.training.hyper import Group, Place, write

__all__ = ["Evaluate", "Outlook"]

Evaluate: TypeAlias = Callable[[Target, Array, Array], Any]  # plan, steps (1, n), bases (m, 1) -> values (m, n)

_Track: TypeAlias = tuple[list[float], str, Place, list[int]]  # values, hyper-parameter, place, groups

_FIRST = 16  # values computed at once at the start, and after a controller has changed; then twice as many each time
_MOST = 512


class Outlook:
    """Computes values for many updates at once, since evaluation is vectorised, and writes those of one update.

    A plan is evaluated once for all groups, and what it gives is kept once for all groups with the same base.

    Args:
        evaluate: gives the values of a plan.
        slots: for each hyper-parameter of a group that is set: its plan, its place, the group, the base.
    """

    def __init__(self, evaluate: Evaluate, slots: Iterable[tuple[Target, Place, int, float]]) -> None:
        self._evaluate = evaluate
        self._indices: dict[tuple[Target, Place], dict[float, list[int]]] = {}
        for target, where, index, base in slots:
            self._indices.setdefault((target, where), {}).setdefault(base, []).append(index)
        self.forget()

    def forget(self) -> None:
        """Compute all values anew."""
        self._begin = self._end = 0
        self._size = _FIRST
        self._tracks: list[_Track] = []

    def write(self, groups: list[Group], step: int) -> None:
        """Write the values of a step."""
        if not self._begin <= step < self._end:
            self._look_ahead(step)
        offset = step - self._begin
        for values, _, where, indices in self._tracks:
            value, (entry, position) = values[offset], where
            for index in indices:
                group = groups[index]
                if position is None and type(group[entry]) is float:  # what is common is quick
                    group[entry] = value
                else:
                    write(group, where, value)

    def values(self, step: int) -> dict[tuple[str, int], float]:
        """The values of a step by hyper-parameter and group."""
        if not self._begin <= step < self._end:
            self._look_ahead(step)
        offset = step - self._begin
        return {(hyper, index): values[offset] for values, hyper, _, indices in self._tracks for index in indices}

    def upcoming(self, step: int, count: int) -> dict[tuple[str, int], list[float]]:
        """The values of so many steps, by hyper-parameter and group."""
        tracks = self._compute(step, count)
        return {(hyper, index): values for values, hyper, _, indices in tracks for index in indices}

    def _look_ahead(self, step: int) -> None:
        try:
            tracks = self._compute(step, self._size)
        except Exception:
            if self._size == 1:
                raise
            self._size = 1  # a step that may never come has no value, such as one past the end of a user's own list
            tracks = self._compute(step, self._size)
        self._tracks, self._begin, self._end = tracks, step, step + self._size
        self._size = min(2 * self._size, _MOST)

    def _compute(self, step: int, size: int) -> list[_Track]:
        t = np.arange(step, step + size, dtype=np.float64)[None, :]
        tracks: list[_Track] = []
        for (target, where), by_base in self._indices.items():
            bases = np.array(list(by_base))[:, None]
            rows = self._evaluate(target, t, bases).tolist()
            tracks += [(row, target.hyper, where, indices) for row, indices in zip(rows, by_base.values(), strict=True)]
        return tracks

"""The values of the updates to come, computed for many of them at once."""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from lrkit.schedules.evaluation import Array
from lrkit.schedules.plans import Target
from lrkit.training.hyper import Group, Place

__all__ = ["Evaluate", "Key", "Outlook", "Slot", "Track"]

Evaluate: TypeAlias = Callable[[Target, Array, Array], Any]  # plan, steps (1, n), bases (m, 1) -> values (m, n)

Key: TypeAlias = tuple[str, int]  # a hyper-parameter, and the number of a group

_FIRST = 16  # values computed at once at the start, and after a controller has changed; then twice as many each time
_MOST = 512


@dataclass(frozen=True, eq=False)
class Slot:
    """A hyper-parameter of a param group that is scheduled.

    Attributes:
        target: whose plan sets it.
        group: the dict itself, by which groups are told apart.
        number: of the group: that by which it was first met.
        where: its place in the group.
        base: what the plan's shares are of.
        scale: what the plan's value is multiplied by.
    """

    target: Target
    group: Group
    number: int
    where: Place
    base: float
    scale: float = 1.0

    @property
    def key(self) -> Key:
        """By which it is told apart from others, in a state too."""
        return self.target.hyper, self.number


@dataclass(eq=False)
class Track:
    """Slots that get the same values.

    Attributes:
        slots: with the same plan, place, base and scale.
        values: of the updates that were looked ahead to.
        last: the one of them that was written last.
    """

    slots: list[Slot]
    values: list[float] = field(default_factory=list)
    last: float = math.nan


class Outlook:
    """Computes values for many updates at once, since evaluation is vectorised.

    A plan is evaluated once for all groups, and what it gives is kept once for all groups with the same base and scale.

    Args:
        evaluate: gives the values of a plan.
        slots: all that is set.

    Attributes:
        tracks: the slots, by what they get.
        begin: the first of the steps whose values the tracks have.
        end: the step after the last.
    """

    def __init__(self, evaluate: Evaluate, slots: Iterable[Slot]) -> None:
        self._evaluate = evaluate
        found: dict[Any, dict[tuple[float, float], Track]] = {}
        for slot in slots:
            alike = found.setdefault((slot.target, slot.where), {})
            alike.setdefault((slot.base, slot.scale), Track([])).slots.append(slot)
        self._tracks = [(target, list(alike.values())) for (target, _), alike in found.items()]
        self.tracks = [track for _, tracks in self._tracks for track in tracks]
        self.forget()

    def forget(self) -> None:
        """Compute all values anew."""
        self.begin = self.end = 0
        self._size = _FIRST

    def offset(self, step: int) -> int:
        """Where the values of a step stand in those of each track."""
        if not self.begin <= step < self.end:
            self._look_ahead(step)
        return step - self.begin

    def values(self, step: int, *, without: Collection[Key] = ()) -> list[tuple[Group, str, float]]:
        """The values of a step, by group and hyper-parameter, but for some."""
        offset = self.offset(step)
        return [
            (slot.group, slot.target.hyper, track.values[offset])
            for track in self.tracks
            for slot in track.slots
            if slot.key not in without
        ]

    def hypers_of(self, group: Group) -> list[str]:
        """What is set in a group."""
        return [slot.target.hyper for track in self.tracks for slot in track.slots if slot.group is group]

    def upcoming(self, step: int, count: int) -> dict[Key, list[float]]:
        """The values of so many steps."""
        rows = self._compute(step, count)
        return {slot.key: row for track, row in zip(self.tracks, rows, strict=True) for slot in track.slots}

    def _look_ahead(self, step: int) -> None:
        try:
            rows = self._compute(step, self._size)
        except Exception:
            if self._size == 1:
                raise
            self._size = 1  # a step that may never come has no value, such as one past the end of a user's own list
            rows = self._compute(step, self._size)
        for track, row in zip(self.tracks, rows, strict=True):
            track.values = row
        self.begin, self.end = step, step + self._size
        self._size = min(2 * self._size, _MOST)

    def _compute(self, step: int, size: int) -> list[list[float]]:
        """The values of each track."""
        t = np.arange(step, step + size, dtype=np.float64)[None, :]
        rows: list[list[float]] = []
        for target, tracks in self._tracks:
            bases = np.array([each.slots[0].base for each in tracks])[:, None]
            scales = np.array([each.slots[0].scale for each in tracks])[:, None]
            rows += (self._evaluate(target, t, bases) * scales).tolist()
        return rows

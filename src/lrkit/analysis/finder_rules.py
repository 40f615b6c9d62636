"""Rules that read a learning rate off a curve: pure functions of rates, and losses of one seed or typical ones.

All but `halfway` read a smoothed curve (`local_lines`) that ends where the losses explode. A rule gives None where it
finds nothing to go by; whether a curve supports any rate at all is `diagnose`'s to say.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from lrkit.analysis.curves import Array
from lrkit.analysis.descents import Descent, find_descent
from lrkit.analysis.smoothing import FEWEST, before_explosion, local_lines

__all__ = ["RULES", "Rule", "halfway", "longest_fall", "minimum_tenth", "slide", "steepest", "valley"]

Rule: TypeAlias = Callable[[Array, Array], float | None]

QUIET = 0.02  # of the fall for each factor e in the rate: the change of slope that `slide` stops at
VISIBLE = 100  # steps of the range of losses, less than one of which `valley` doesn't see
ROUNDING = 1e-12  # of the losses: what moves less is flat
WINDOW = 0.15  # of the points, between the two slopes that `slide` compares


def halfway(rates: Array, losses: Array) -> float | None:
    """The rate at which half of the descent is done, kept within bounds that an explosion sets: lrkit's default.

    The descent is a logistic of the log rate, fitted to what comes before the explosion (`find_descent`), so that every
    point counts, and neither noise nor smoothing shifts it. The rate is at least a factor 4 below the explosion, and at
    most a factor 150 below the rate at which that has brought the loss back to its start: updates that small learn
    fast in a ramp, but are too careful in a training.

    >>> rates = np.geomspace(1e-5, 10, 100)
    >>> round(halfway(rates, 2.3 - 2 / (1 + 0.01 / rates)), 4)
    0.01
    """
    found = find_descent(rates, losses)
    return found.rate if isinstance(found, Descent) else None


def steepest(rates: Array, losses: Array) -> float | None:
    """Where the smoothed loss falls fastest, by the logarithm of the rate.

    >>> rates = np.geomspace(1e-5, 10, 100)
    >>> round(steepest(rates, 2.3 - 2 / (1 + 0.01 / rates)), 3)
    0.011
    """
    curve = _smooth(rates, losses)
    if curve is None:
        return None
    place = int(np.argmin(curve.slopes))
    return float(np.exp(curve.logs[place])) if curve.slopes[place] < 0 else None


def minimum_tenth(rates: Array, losses: Array) -> float | None:
    """A tenth of the rate at which the smoothed loss is lowest; None where that is the first or the last rate.

    >>> rates = np.geomspace(1e-5, 10, 100)
    >>> round(minimum_tenth(rates, np.log(rates) ** 2), 2)
    0.11
    """
    curve = _smooth(rates, losses)
    if curve is None:
        return None
    place = int(np.argmin(curve.levels))
    inside = 0 < place < np.count_nonzero(np.isfinite(losses)) - 1
    return float(np.exp(curve.logs[place]) / 10) if inside else None


def valley(rates: Array, losses: Array) -> float | None:
    """The middle point of the longest falling subsequence of the smoothed losses.

    They are rounded to hundredths of their range, so that a plateau isn't one.

    Source: fastai's rule of this name, which doesn't round, and takes the subsequence to be without gaps.

    >>> rates = np.geomspace(1e-4, 1, 101)
    >>> round(valley(rates, np.abs(np.log(rates) - np.log(1e-2))), 4)
    0.001
    """
    curve = _smooth(rates, losses)
    if curve is None:
        return None
    found = longest_fall((curve.levels / np.ptp(curve.levels) * VISIBLE).round().tolist())
    return float(np.exp(curve.logs[found[len(found) // 2]])) if len(found) > 1 else None


def slide(rates: Array, losses: Array) -> float | None:
    """The highest interval before the explosion at whose two ends the slope is about the same: its lower end.

    An interval is 15 % of the points, a slope that of the smoothed loss by the logarithm of the rate, and about the
    same is within 2 % of the fall.

    Source: fastai's rule of this name (after Novetta's AdaptNLP), which has slopes by index and an absolute threshold.

    >>> rates = np.geomspace(1e-4, 10, 101)
    >>> round(slide(rates, np.where(rates > 1, np.log(rates) ** 2, 0) - np.log(rates)), 2)
    0.18
    """
    curve = _smooth(rates, losses)
    if curve is None:
        return None
    window = max(1, round(WINDOW * len(rates)))
    change = np.abs(curve.slopes[window:] - curve.slopes[:-window])
    quiet = np.flatnonzero(change <= QUIET * np.ptp(curve.levels))
    return float(np.exp(curve.logs[quiet[-1]])) if len(quiet) else None


RULES: Mapping[str, Rule] = MappingProxyType(
    {"halfway": halfway, "steepest": steepest, "valley": valley, "minimum_tenth": minimum_tenth, "slide": slide}
)


class _Smooth(NamedTuple):
    logs: Array
    levels: Array
    slopes: Array


def _smooth(rates: Array, losses: Array) -> _Smooth | None:
    return _smoothed(np.asarray(rates, np.float64).tobytes(), np.asarray(losses, np.float64).tobytes())


@lru_cache(maxsize=1)  # all rules read the same curve in turn
def _smoothed(rates: bytes, losses: bytes) -> _Smooth | None:
    values = np.frombuffer(losses)
    places = before_explosion(values)
    if len(places) < FEWEST:
        return None
    logs = np.log(np.frombuffer(rates)[places])
    levels, slopes, _ = local_lines(logs, values[places])
    flat = np.ptp(levels) <= ROUNDING * np.abs(levels).max()
    return None if flat else _Smooth(logs, levels, slopes)


def longest_fall(levels: Sequence[float]) -> list[int]:
    """The indices of the longest falling subsequence; of equally long ones that which ends first.

    >>> longest_fall([3.0, 5.0, 4.0, 9.0, 2.0, 1.0, 1.0])
    [1, 2, 4, 5]
    """
    tails: list[float] = []  # by length, the highest level that a subsequence ends with, negated
    ends: list[int] = []  # and where that is
    before: list[int] = []
    last = -1
    for index, level in enumerate(levels):
        place = bisect_left(tails, -level)
        before.append(ends[place - 1] if place else -1)
        if place == len(tails):
            last = index
        tails[place : place + 1], ends[place : place + 1] = [-level], [index]
    found = []
    while last >= 0:
        found.append(last)
        last = before[last]
    return found[::-1]

"""The way from one point to the next."""

from collections.abc import Callable, Sequence

import numpy as np

from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import half_cosine, lerp
from lrkit.schedules.shares import Absolute, ShareLike

__all__ = ["BENDS", "through"]


# How much of the way from one point to the next is done at position x.
BENDS: dict[str, Callable[[Array], Array]] = {
    "hold": np.floor,
    "linear": lambda x: x,
    "cosine": lambda x: half_cosine(1.0 - x),
}


def through(t: Array, base: Array, points: Sequence[tuple[float, ShareLike]], between: str, until: float) -> Array:
    """The value at steps `t` of a line through points: before the first the first value, past the last the last.

    The steps of the points ascend; where two are the same the value jumps, and the later point holds there. From
    `until` on it is the limit from the left.
    """
    at, values = zip(*points, strict=True)
    places = np.array(at, dtype=np.float64)
    numbers = np.array([v.value if isinstance(v, Absolute) else v for v in values])
    is_absolute = np.array([isinstance(v, Absolute) for v in values])
    t = np.minimum(t, until)
    passed = np.where(t < until, np.searchsorted(places, t, side="right"), np.searchsorted(places, t, side="left"))
    before, after = np.maximum(passed - 1, 0), np.minimum(passed, len(places) - 1)
    distance = places[after] - places[before]
    position = np.where(distance > 0, (t - places[before]) / np.where(distance > 0, distance, 1.0), 0.0)
    start, to = (np.where(is_absolute[i], numbers[i], numbers[i] * base) for i in (before, after))
    return lerp(start, to, BENDS[between](position))

"""The way from one point to the next, and the way that is called for each step."""

from collections.abc import Callable, Sequence

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.leaf import travel
from lrkit.schedules.plan import Array
from lrkit.schedules.shares import Absolute, ShareLike

__all__ = ["BENDS", "ask", "half_cosine", "through"]


def half_cosine(x: Array) -> Array:
    """Half a period of a cosine, from 1 at position 0 to 0 at 1, exact at both ends."""
    wave: Array = (1.0 + np.cos(np.pi * x)) / 2.0
    return wave


# What is left of the way from one point to the next at position x, from 1 at 0 to 0 at 1.
BENDS: dict[str, Callable[[Array], Array]] = {
    "hold": lambda x: np.ceil(1.0 - x),
    "linear": lambda x: 1.0 - x,
    "cosine": half_cosine,
}


def through(t: Array, base: Array, at: Sequence[float], values: Sequence[ShareLike], between: str) -> Array:
    """The value at steps `t` of a line through points: before the first the first value, past the last the last.

    `at` ascends; where two points stand at the same step the value jumps, and the later one holds there.
    """
    places = np.array(at, dtype=np.float64)
    numbers = np.array([v.value if isinstance(v, Absolute) else v for v in values])
    is_absolute = np.array([isinstance(v, Absolute) for v in values])
    passed = np.searchsorted(places, t, side="right")
    before, after = np.maximum(passed - 1, 0), np.minimum(passed, len(places) - 1)
    distance = places[after] - places[before]
    position = np.where(distance > 0, (t - places[before]) / np.where(distance > 0, distance, 1.0), 0.0)
    start, to = (np.where(is_absolute[i], numbers[i], numbers[i] * base) for i in (before, after))
    return travel(start, to, BENDS[between](position))


def ask(function: Callable[..., object], t: Array, who: str, counted: str = "step") -> Array:
    """What a function gives at each step: asked for all of them at once if it can, else one at a time.

    Raises:
        InputError: when it gives a number that is negative or not finite.
        InputTypeError: when it doesn't give a number.
    """
    if t.size == 0:
        return t
    # Never one alone, which some functions that can't take arrays would take for a number; and a copy.
    several = np.resize(t, max(2, t.size))
    with np.errstate(all="ignore"):
        try:
            found = function(several)
        except (TypeError, ValueError, LookupError):
            found = None
    if isinstance(found, np.ndarray) and found.shape == several.shape and found.dtype.kind in "biuf":
        values = found[: t.size].astype(np.float64)
    else:
        values = np.array([_number(function, int(x) if x == int(x) else float(x), who, counted) for x in t])
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        at, value = t[wrong[0]], values[wrong[0]]
        raise InputError(f"{who} must give finite numbers that aren't negative, not {value} at {counted} {at:.15g}")
    return values


def _number(function: Callable[..., object], at: float, who: str, counted: str) -> float:
    value = function(at)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputTypeError(f"{who} must give numbers, not {value!r} at {counted} {at}") from None

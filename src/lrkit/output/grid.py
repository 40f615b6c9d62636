"""Grids: many values in one text, as `lrkit sweep` takes them."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from lrkit.schedules.errors import InputError, shown
from lrkit.schedules.shares import as_number

__all__ = ["MOST", "grid"]

MOST = 10_000  # values in one range
_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_PART = re.compile(rf"{_NUMBER}(?::{_NUMBER}:\s*(\d+)\s*(log)?\s*)?")
_DIGITS = 6


def grid(texts: Iterable[str], name: str, *, low_open: bool = False, below: float = math.inf) -> tuple[float, ...]:
    """The values that some texts name, in their order, each of them once.

    A text is a list of numbers and ranges with commas between them. A range has both ends and a count: `0.1:0.5:5` is
    evenly spaced, `0.001:1:16log` logarithmically. The ends are exact; what lies between is rounded to 6 significant
    digits, or as many as it takes to tell the values apart.

    Args:
        texts: they add up.
        name: what an error calls them.
        low_open: whether 0 is too small; what is negative always is.
        below: what is too big.

    Raises:
        InputError: for what is no grid, for a value that isn't allowed, and where there is no value.

    >>> grid(["0.01,0.1:1:4log", "0.1:0.5:3"], "--lr")
    (0.01, 0.1, 0.215443, 0.464159, 1.0, 0.3, 0.5)
    """
    values: dict[float, None] = {}
    for text in texts:
        if not text.strip():
            raise InputError(f"{name} has no value; give numbers such as 0.1 or 0.01,0.1, or a range, 0.001:1:16log")
        for part in text.split(","):
            values.update(dict.fromkeys(_values(part, name, low_open=low_open, below=below)))
    return tuple(values)


def _values(part: str, name: str, *, low_open: bool, below: float) -> Sequence[float]:
    found = _PART.fullmatch(part)
    if found is None:
        raise InputError(
            f"{name} must be numbers with commas between them, or ranges such as 0.1:0.5:5 and 0.001:1:16log, "
            f"not {shown(part.strip())}"
        )
    start = as_number(float(found[1]), name, low=0.0, low_open=low_open, high=below, high_open=True)
    if found[2] is None:
        return [start]
    end = as_number(float(found[2]), name, low=0.0, low_open=low_open, high=below, high_open=True)
    return _range(start, end, found[3], logarithmic=found[4] is not None, what=f"{name}: the range {part.strip()}")


def _range(start: float, end: float, digits: str, *, logarithmic: bool, what: str) -> Sequence[float]:
    """`count` values from start to end."""
    count = int(digits) if len(digits) < 10 else MOST + 1
    if not 1 <= count <= MOST:
        raise InputError(f"{what} must have between 1 and {MOST} values, not {digits[:20]}")
    if count == 1 and start != end:
        raise InputError(f"{what} has one value but two ends; name a count of at least 2")
    if logarithmic and min(start, end) <= 0:
        raise InputError(f"{what} must have both ends above 0 to be spaced logarithmically")
    if start == end:
        return [start]
    space = np.geomspace if logarithmic else np.linspace
    between = space(start, end, count)[1:-1].tolist()
    for digits_shown in range(_DIGITS, 18):
        values = [start, *(float(f"{value:.{digits_shown}g}") for value in between), end]
        if len(set(values)) == count:
            return values
    raise InputError(f"{what} has more values than there are floating-point numbers between its ends")

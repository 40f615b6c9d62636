"""Values of a hyper-parameter: a share of the base, or absolute."""

import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = [
    "Absolute",
    "ShareLike",
    "absolute",
    "as_count",
    "as_number",
    "as_positive",
    "as_rate",
    "as_share",
    "at_base",
    "power",
    "show_number",
]


@dataclass(frozen=True)
class Absolute:
    """A value in the hyper-parameter's own unit, whatever the base."""

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", as_number(self.value, "absolute", low=0.0))

    def __str__(self) -> str:
        return f"absolute({show_number(self.value)})"

    __repr__ = __str__


if TYPE_CHECKING:
    ShareLike: TypeAlias = float | Absolute
else:
    ShareLike = Any  # omegaconf's releases for hydra read the annotations of fields, and take no such union


def absolute(value: float) -> Absolute:
    """An end point that doesn't scale with the base, such as torch's `eta_min`.

    >>> from lrkit import linear
    >>> linear(100, to=absolute(1e-6)).value(100, base=[0.1, 10]).tolist()
    [1e-06, 1e-06]
    """
    return Absolute(value)


def as_number(
    value: object,
    name: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite number between `low` and `high` as a float; `..._open` leaves that end out."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputTypeError(f"{name} must be a number, not {shown(value)} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:  # an int or a fraction that no float holds
        number = math.inf if value > 0 else -math.inf  # type: ignore[operator]  # mypy knows no order of Real
    below = number <= low if low_open else number < low
    above = number >= high if high_open else number > high
    if not math.isfinite(number) or below or above:
        bounds = [
            f"{'above' if low_open else 'at least'} {show_number(low)}" if low > -math.inf else "",
            f"{'below' if high_open else 'at most'} {show_number(high)}" if high < math.inf else "",
        ]
        allowed = " and ".join(["finite", *filter(None, bounds)])
        raise InputError(f"{name} must be {allowed}, not {number}")
    return number


def as_positive(value: object, name: str) -> float:
    """A finite number above 0."""
    return as_number(value, name, low=0.0, low_open=True)


def as_rate(value: object, name: str) -> ShareLike:
    """Another library's rate, which is no share of the base: an `Absolute`, but for 0, which is 0 for any base."""
    rate = as_number(value, name, low=0.0)
    return Absolute(rate) if rate else 0.0


def as_count(value: object, name: str, *, low: int = 0) -> int:
    """A whole number from `low` to 10**18."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputTypeError(f"{name} must be a whole number, not {shown(value)} ({type(value).__name__})")
    if value < low:
        raise InputError(f"{name} must be at least {low}, not {shown(value)}")
    if value > 10**18:
        raise InputError(f"{name} must be at most 10**18, not {shown(value)}")
    return int(value)


def as_share(value: object, name: str, *, low_open: bool = False) -> ShareLike:
    """A share of the base that is not negative, or an `Absolute`; `low_open` refuses zero too."""
    if isinstance(value, Absolute):
        as_number(value.value, name, low=0.0, low_open=low_open)
        return value
    return as_number(value, name, low=0.0, low_open=low_open)


def at_base(share: ShareLike, base: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a share is for a base; an absolute value stays what it is."""
    return np.asarray(share.value) if isinstance(share, Absolute) else share * base


def power(base: NDArray[np.float64] | float, exponent: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """`base ** exponent`, the same to the bit for one value and for many.

    numpy takes another way where an operand has no strides of its own (a number, and an array of one that was
    broadcast), so both are written out.
    """
    if isinstance(exponent, float | int) and exponent == 1:
        return np.array(base, dtype=np.float64)
    one, other = np.broadcast_arrays(np.asarray(base, dtype=np.float64), np.asarray(exponent, dtype=np.float64))
    result: NDArray[np.float64] = np.power(one.copy(), other.copy())
    return result


def show_number(value: float) -> str:
    """The shortest text that reads back as the same float, whole numbers without a point.

    >>> show_number(1.0), show_number(0.1), show_number(1e-6)
    ('1', '0.1', '1e-06')
    """
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)

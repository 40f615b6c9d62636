"""How long something lasts: in steps, or in a unit that a horizon turns into steps."""

import itertools
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = [
    "Horizon",
    "Length",
    "LengthLike",
    "NeedsHorizonError",
    "NeedsSizeError",
    "as_length",
    "require_ascending",
    "round_half_up",
    "show_steps",
]

_PATTERN = re.compile(
    r"(?P<amount>\d{1,18}(?:\.\d{1,18})?)(?P<prefix>[kMGT]?)(?P<unit>%|ep|tok|samples|steps?)?", re.ASCII
)
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_HUGE = Fraction(10) ** 300  # what is longer is shown as this
_MOST_STEPS = 10**18  # as many digits as text may have
_ALLOWED = "a whole number of steps, or text such as '5%', '10ep', '2Mtok' or '50ksamples'"


class NeedsHorizonError(InputError):
    """A length is a share of a horizon that isn't known."""


class NeedsSizeError(InputError):
    """A length is in a unit, and how large that is isn't known.

    Attributes:
        length: what can't be told in steps.
        size: what is missing: `epoch_steps`, `step_tokens` or `step_samples`.
    """

    def __init__(self, length: "Length", size: str) -> None:
        super().__init__(length, size)
        self.length, self.size = length, size

    def __str__(self) -> str:
        return f"the length {self.length} needs {self.size}, which isn't known: call over(steps, {self.size}=…)"


@dataclass(frozen=True)
class Length:
    """A length that is measured against a horizon: an exact amount of a unit (`%`, `ep`, `tok`, `samples`)."""

    amount: Fraction
    unit: str

    def __str__(self) -> str:
        """The text form, `2Mtok`: the largest prefix that leaves a whole number, else the amount as it is."""
        prefix = ""
        if self.unit in ("tok", "samples"):
            whole = [p for p, factor in _PREFIXES.items() if self.amount % factor == 0]
            prefix = whole[-1]
        return f"{_decimal(self.amount / _PREFIXES[prefix])}{prefix}{self.unit}"

    __repr__ = __str__


if TYPE_CHECKING:
    LengthLike: TypeAlias = int | str | Length
else:
    LengthLike = Any  # omegaconf's releases for hydra read the annotations of fields, and take no such union


@dataclass(frozen=True)
class Horizon:
    """What lengths are measured against.

    Attributes:
        steps: how many steps the whole schedule lasts (100 %).
        epoch_steps: steps in an epoch.
        step_tokens: tokens that a step consumes.
        step_samples: samples that a step consumes.
    """

    steps: int | Fraction | None = None
    epoch_steps: int | Fraction | None = None
    step_tokens: int | Fraction | None = None
    step_samples: int | Fraction | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (isinstance(value, Fraction) and value > 0):
                object.__setattr__(self, name, _positive(value, name))

    def require_whole(self) -> None:
        """Refuse sizes that aren't whole: only inside `every`, whose clock ticks once a period, they may be parts."""
        for name, value in vars(self).items():
            if value is not None:
                _positive(value, name)

    def measure(self, length: LengthLike) -> Fraction:
        """The length in steps, exact and unrounded.

        >>> Horizon(steps=1000, epoch_steps=30).measure(as_length("2.5%"))
        Fraction(25, 1)
        """
        if not isinstance(length, Length):
            return Fraction(length)
        if length.unit == "%":
            return length.amount / 100 * self._need("steps", length)
        if length.unit == "ep":
            return length.amount * self._need("epoch_steps", length)
        return length.amount / self._need("step_tokens" if length.unit == "tok" else "step_samples", length)

    def steps_in(self, length: LengthLike) -> int:
        """The length in whole steps: rounded half up, at least 1."""
        return max(1, round_half_up(self.measure(length)))

    def in_periods(self, period: int) -> "Horizon":
        """The same horizon for a clock that ticks once every `period` steps."""

        def shrink(value: int | Fraction | None) -> Fraction | None:
            return None if value is None else Fraction(value) / period

        def grow(value: int | Fraction | None) -> Fraction | None:
            return None if value is None else Fraction(value) * period

        return Horizon(shrink(self.steps), shrink(self.epoch_steps), grow(self.step_tokens), grow(self.step_samples))

    def _need(self, name: str, length: Length) -> Fraction:
        value = getattr(self, name)
        if value is None:
            if name == "steps":
                raise NeedsHorizonError(f"the length {length} needs steps, which isn't known: call over(steps)")
            raise NeedsSizeError(length, name)
        return Fraction(value)


def as_length(value: object, name: str = "length") -> int | Length:
    """An int (steps) or text in a unit, checked and normalised.

    Raises:
        InputTypeError: for a float or another type: 1 and 1.0 would mean different things.
        InputError: for text in no known unit, and for what isn't positive.

    >>> as_length("50ksamples"), as_length("500"), as_length(500)
    (50ksamples, 500, 500)
    """
    if isinstance(value, Length):
        return value
    if not isinstance(value, str):
        return _positive(value, name)
    match = _PATTERN.fullmatch(value.strip())
    if match is None or (match["prefix"] and match["unit"] in (None, "%", "ep")):
        raise InputError(f"{name} must be {_ALLOWED}, not {shown(value)}")
    amount = Fraction(match["amount"]) * _PREFIXES[match["prefix"]]
    unit = (match["unit"] or "steps").removesuffix("s") if match["unit"] != "samples" else "samples"
    if unit == "step":
        if amount.denominator != 1:
            raise InputError(f"{name} must be a whole number of steps, not {shown(value)}")
        return _positive(int(amount), name)
    if amount == 0:
        raise InputError(f"{name} must be positive, not {shown(value)}")
    return Length(amount, unit)


def require_ascending(lengths: Sequence[int | Length], name: str) -> None:
    """Raise an `InputError` where a length stands before a shorter one of the same unit.

    >>> require_ascending([10, as_length("1ep"), 10], "at")
    >>> require_ascending([as_length("2ep"), as_length("1ep")], "at")
    Traceback (most recent call last):
        ...
    lrkit.schedules.errors.InputError: at must ascend, but 2ep stands before 1ep
    """
    for before, after in itertools.pairwise(lengths):
        (unit, amount), (other, next_amount) = (
            (each.unit, each.amount) if isinstance(each, Length) else ("step", each) for each in (before, after)
        )
        if unit == other and amount > next_amount:
            raise InputError(f"{name} must ascend, but {before} stands before {after}")


def round_half_up(value: Fraction) -> int:
    """The nearest whole number, halves upwards.

    >>> round_half_up(Fraction(5, 2)), round_half_up(Fraction(7, 2))
    (3, 4)
    """
    return math.floor(value + Fraction(1, 2))


def show_steps(value: Fraction) -> str:
    """An exact number of steps as people write it: `600`, `33.33`."""
    return f"{round(float(min(value, _HUGE)), 2):.12g}"


def _positive(value: object, name: str) -> int:
    try:
        steps = operator.index(None if isinstance(value, bool) else value)  # type: ignore[arg-type]  # refused below
    except TypeError:
        raise InputTypeError(f"{name} must be {_ALLOWED}, not {shown(value)} ({type(value).__name__})") from None
    if steps <= 0:
        raise InputError(f"{name} must be positive, not {shown(steps)}")
    if steps > _MOST_STEPS:
        raise InputError(f"{name} must be at most 10**18, not {shown(steps)}")
    return steps


def _decimal(value: Fraction) -> str:
    """A fraction whose denominator divides a power of ten, written out exactly."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str((value * 10**digits).numerator).rjust(digits + 1, "0")
    return whole if digits == 0 else f"{whole[:-digits]}.{whole[-digits:]}"

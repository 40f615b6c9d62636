"""How a comparison's numbers are written: accuracies in %, with as many digits as their intervals make sense of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrkit.analysis.comparison import Difference, Mean
from lrkit.analysis.verdicts import show_digits

__all__ = ["Said", "say_values", "scale_of", "short", "signed", "unit_of"]


@dataclass(frozen=True)
class Said:
    """A mean or a difference as texts, without a unit.

    Attributes:
        mean: itself.
        low, high: its interval; None where there is none.
        half: half of the interval's width.
    """

    mean: str
    low: str | None = None
    high: str | None = None
    half: str | None = None


def scale_of(name: str) -> float:
    """What values of a measure are multiplied by."""
    return 100.0 if name == "accuracy" else 1.0


def unit_of(name: str) -> str:
    """What stands behind values of a measure.

    >>> unit_of("accuracy"), unit_of("loss")
    (' %', '')
    """
    return " %" if name == "accuracy" else ""


def say_values(name: str, found: Sequence[Mean | Difference | None]) -> list[Said | None]:
    """Values of a measure, all with as many digits as the middle one of their intervals makes sense of.

    >>> say_values("accuracy", [Mean(0.91234, 0.9021, 0.92258, 3), Mean(0.9, None, None, 1), None])
    [Said(mean='91.2', low='90.2', high='92.3', half='1.0'), Said(mean='90', low=None, high=None, half=None), None]
    """
    halves = [(each.high - each.low) / 2 for each in found if each and each.low is not None and each.high is not None]
    error = float(np.median(halves)) if halves else 0.0
    return [None if each is None else _said(name, each, error) for each in found]


def _said(name: str, each: Mean | Difference, error: float) -> Said:
    """The interval of an accuracy is shown as far as there are such accuracies."""
    scale = scale_of(name)
    if each.low is None or each.high is None:
        return Said(f"{scale * each.mean:.4g}")
    low, high = each.low, each.high
    if name == "accuracy" and isinstance(each, Mean):
        low, high = max(low, 0.0), min(high, 1.0)
    values = (each.mean, low, high, (each.high - each.low) / 2)
    return Said(*show_digits([scale * value for value in values], scale * error))


def short(name: str, value: float, digits: int = 4) -> str:
    """A value that no error is known of.

    >>> short("accuracy", 0.5), short("loss", 0.123456)
    ('50 %', '0.1235')
    """
    return f"{scale_of(name) * value:.{digits}g}{unit_of(name)}"


def signed(text: str, minus: str = "-") -> str:
    """A number with its sign, but a zero without.

    >>> signed("0.12"), signed("-0.12"), signed("-0.00"), signed("-2", minus="−")
    ('+0.12', '-0.12', '0.00', '−2')
    """
    plain = text.removeprefix("-")
    if not float(plain):
        return plain
    return f"+{plain}" if text == plain else f"{minus}{plain}"

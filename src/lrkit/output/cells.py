"""The cells of tables that are printed: numbers as text, and columns of one width."""

import math
from collections.abc import Sequence

from lrkit.output.plots import cut

__all__ = ["column", "fitted", "percent", "show_loss"]


def column(header: str, cells: Sequence[str]) -> list[str]:
    """Cells of one width under their header."""
    width = max(map(len, (header, *cells)))
    return [f"{cell:>{width}}" for cell in (header, *cells)]


def fitted(texts: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """Texts that are no wider, and lines that say what they stand for where cutting them would make some the same."""
    numbers = {text: str(number) for number, text in enumerate(dict.fromkeys(texts), 1)}
    if len({cut(text, width) for text in numbers}) == len(numbers):
        return [cut(text, width) for text in texts], []
    return [numbers[text] for text in texts], [f"schedule {number}: {text}" for text, number in numbers.items()]


def show_loss(value: float | None) -> str:
    """A loss as text: five digits after the point, or five significant ones where that wouldn't say enough.

    >>> show_loss(0.25), show_loss(0.000123456), show_loss(0.0), show_loss(None)
    ('0.25000', '1.2346e-04', '0.00000', '-')
    """
    if value is None:
        return "-"
    if 0 < abs(value) < 1e-3:
        return f"{value:.4e}"
    return f"{value:.5f}" if abs(value) < 1e5 else f"{value:.5g}"


def percent(share: float | None) -> str:
    """A share as text.

    >>> percent(0.97125), percent(None)
    ('97.12 %', '-')
    """
    return "-" if share is None or math.isnan(share) else f"{100 * share:.2f} %"

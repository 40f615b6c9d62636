"""Curves as text, for the terminal."""

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["chart", "column_means", "sparkline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"


def chart(
    values: NDArray[np.float64],
    *,
    width: int = 80,
    height: int = 10,
    bottom: float = 0.0,
    top: float | None = None,
    x_label: str = "",
) -> str:
    """The curve in block characters, the axis beside and beneath it.

    Args:
        values: what is drawn, evenly spaced; each column shows the mean of its part.
        width: of the whole, in characters.
        height: of the curve, in lines.
        bottom: what the lowest line begins at.
        top: what the highest line ends at, so that charts can share an axis; by default the highest value.
        x_label: stands at the right end of the axis.

    >>> print(chart(np.array([0.0, 0.5, 1.0, 0.5]), width=15, height=2, x_label="4"))
            1 ┤  █
            0 ┤ ███
              └────
                  4
    """
    margin = 9
    columns = max(1, min(width - margin - 2, max(len(values), 1)))
    top = (float(values.max()) if top is None else top) or 1.0
    eighths = np.rint((column_means(values, columns) - bottom) / (top - bottom) * height * 8).astype(int)
    lines = []
    for row in range(height - 1, -1, -1):
        label = f"{top:.4g}" if row == height - 1 else f"{bottom:.4g}" if row == 0 else ""
        cells = "".join(_BLOCKS[int(np.clip(each - 8 * row, 0, 8))] for each in eighths)
        lines.append(f"{label:>{margin}} {'┤' if label else '│'}{cells}".rstrip())
    lines.append(f"{'':>{margin}} └{'─' * columns}")
    if x_label:
        lines.append(f"{x_label:>{margin + 2 + columns}}")
    return "\n".join(lines)


def sparkline(values: NDArray[np.float64], columns: int = 40) -> str:
    """The curve in one line, from zero to its highest value; what isn't zero is never blank.

    >>> sparkline(np.array([0.0, 0.01, 0.25, 0.5, 0.75, 1.0]), columns=6)
    ' ▁▂▄▆█'
    """
    means = column_means(values, min(columns, len(values)))
    eighths = np.rint(means / (means.max() or 1.0) * 8).astype(int)
    return "".join(_BLOCKS[max(int(each), 1 if mean > 0 else 0)] for each, mean in zip(eighths, means, strict=True))


def column_means(values: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """The mean of each column's part of the values."""
    edges = np.linspace(0, len(values), columns + 1)
    return np.array([values[int(a) : max(int(b), int(a) + 1)].mean() for a, b in itertools.pairwise(edges)])

"""Rates as straight lines between knots, whose values losses can be differentiated by."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.rate_path import RatePath

__all__ = ["BentPath", "bend", "join", "landmarks", "slope"]

_BLOCKS = 10  # between two knots: fewer, and the optimiser finds what the law's sum is off by
_EVEN, _LATE, _EARLY = 300, 100, 40  # landmarks


@dataclass(frozen=True, eq=False)
class BentPath(RatePath):
    """A path to the end of a training, with gradients: all that depends on rates is made of `bent`, the rest inherited.

    Attributes:
        bent: shape (1, blocks + 1): the rate at each edge; between edges it is a straight line.
    """

    bent: Tensor

    @cached_property
    def edge_rates(self) -> Tensor:
        """As that of any path."""
        return self.bent

    @cached_property
    def edge_sums(self) -> Tensor:
        """Exact: the updates of a block are those of a straight line."""
        lengths = torch.as_tensor(np.diff(self.edges), dtype=torch.float64)
        low, high = self.bent[:, :-1], self.bent[:, 1:]
        blocks = lengths * low + (high - low) * (lengths - 1) / 2
        return torch.cat([blocks.new_zeros(1, 1), blocks.cumsum(1)], dim=1)

    @cached_property
    def sums(self) -> Tensor:
        """As that of any path: all updates, that at the last edge too."""
        return self.edge_sums[:, -1:] + self.bent[:, -1:]

    @cached_property
    def sums_since(self) -> Tensor:
        """As that of any path, but from the mean of a block's two sums rather than from where half of it is past."""
        begin, end = self.edge_sums[:, :-1], self.edge_sums[:, 1:]
        since = torch.where(torch.as_tensor(self._single), end, (begin + end) / 2)
        return (self.sums - since).clamp(min=0.0)


def slope(
    loss: Callable[[BentPath], Tensor], knots: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """A loss of a path that is bent at knots, and its slope by the values there.

    Args:
        loss: of a path, a scalar.
        knots: as in `bend`.
        values: float64, shape (knots,).

    Returns:
        The loss and float64, shape (knots,).
    """
    traced = torch.func.grad_and_value(lambda given: loss(bend(knots, given, values)))
    gradient, value = traced(torch.as_tensor(values))
    return float(value), gradient.numpy()


def bend(knots: NDArray[np.int64], values: Tensor, plain: NDArray[np.float64]) -> BentPath:
    """The path of rates that have these values at knots, and lie on straight lines between them.

    Args:
        knots: steps, rising from 0 to the last step of the training.
        values: float64, shape (knots,), which may be traced by torch.func.
        plain: the same as numbers.
    """
    last = int(knots[-1])
    between = np.linspace(knots[:-1], knots[1:], _BLOCKS, endpoint=False).astype(np.int64)
    edges = np.unique(np.append(between, last))
    right = np.clip(np.searchsorted(knots, edges), 1, len(knots) - 1)
    share = torch.as_tensor((edges - knots[right - 1]) / (knots[right] - knots[right - 1]))
    bent = values[right - 1] * (1 - share) + values[right] * share
    rates = np.interp(np.arange(last + 1), knots, plain)
    return BentPath(rates, np.array([last + 1]), edges, rates, bent[None])


def join(edges: NDArray[np.int64], plain: NDArray[np.float64]) -> BentPath:
    """The path of rates that have these values at edges, and lie on straight lines between them."""
    last = int(edges[-1])
    rates = np.interp(np.arange(last + 1), edges, plain)
    return BentPath(rates, np.array([last + 1]), edges, rates, torch.as_tensor(plain)[None])


def landmarks(steps: int, warmup: int) -> NDArray[np.int64]:
    """Edges that do for any smooth schedule, int64: even ones, the end of the warmup, and denser towards both ends.

    >>> landmarks(1000, 50)[[0, 1, -2, -1]].tolist()
    [0, 1, 998, 999]
    """
    last = steps - 1
    places = [
        np.linspace(0, last, _EVEN),
        np.geomspace(1, last, _EARLY),
        last - np.geomspace(1, last, _LATE),
        np.array([0, max(warmup - 1, 0), warmup, last]),
    ]
    return np.unique(np.concatenate(places).astype(np.int64))

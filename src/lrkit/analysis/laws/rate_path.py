"""Learning rates as laws see them: summed, and cut into blocks in which they change.

Laws sum over all changes of the rate before each point. Over n steps that is n^2; here changes are gathered in blocks
that are fine where the rate changes, so that both points and blocks are some hundreds, whatever n is.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from lrkit.analysis.laws.rate_shape import ROUNDED, largest_changes, warmup_of

__all__ = ["LEAST_RATE", "RatePath", "trace"]

LEAST_RATE = 1e-6  # of the peak: lower ones count as that, so that a power of them is finite
FINE = 240  # blocks to a run where the rate doesn't change, and to a fall from the peak to 0
_MOST = 1200  # blocks of changes, for rates that go up and down all the time
_MOST_JUMPS = 200  # the largest, each a block by itself


@dataclass(frozen=True, eq=False)
class RatePath:
    """The rates up to some points. All is float64; tensors have a row for each point, and a column for each block.

    Attributes:
        rates: shape (updates,), of every update: what is summed.
        points: int64, shape (points,), rising: after how many updates a loss is wanted.
        edges: int64, shape (blocks + 1,): the steps between which blocks lie.
        levels: shape (updates,): what blocks change between; the rates, or their moving mean where they turn too often.
    """

    rates: NDArray[np.float64]
    points: NDArray[np.int64]
    edges: NDArray[np.int64]
    levels: NDArray[np.float64]

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(self.rates)])

    @cached_property
    def steps(self) -> Tensor:
        """Updates before each point, shape (points, 1)."""
        return torch.as_tensor(self.points[:, None], dtype=torch.float64)

    @cached_property
    def sums(self) -> Tensor:
        """Rates summed over the updates before each point, shape (points, 1)."""
        return torch.as_tensor(self._sums[self.points, None])

    @cached_property
    def progress(self) -> Tensor:
        """The same, but at least one update at the highest rate, so that a power of it is finite at the start."""
        return self.sums.clamp(min=self.peak)

    @cached_property
    def peak(self) -> float:
        """The highest rate."""
        return float(self.rates.max())

    @cached_property
    def edge_rates(self) -> Tensor:
        """The rate at each edge, shape (1, blocks + 1)."""
        return torch.as_tensor(self.levels[None, self.edges])

    @cached_property
    def edge_sums(self) -> Tensor:
        """Rates summed over the updates before each edge, shape (1, blocks + 1)."""
        return torch.as_tensor(self._sums[None, self.edges])

    @cached_property
    def warmed(self) -> int:
        """The first edge after the warmup."""
        return min(int(np.searchsorted(self.edges, warmup_of(self.levels))), len(self.edges) - 1)

    @cached_property
    def warmed_rates(self) -> Tensor:
        """The rate at each edge, shape (1, blocks + 1), as if it had not risen in the warmup but been there before."""
        rates, warmed = self.edge_rates, self.warmed
        return torch.cat([rates[:, [warmed]].expand(-1, warmed), rates[:, warmed:]], dim=1)

    @cached_property
    def _single(self) -> NDArray[np.bool_]:
        """Blocks of one step, shape (blocks,): their change happens at their end, others' all along."""
        single: NDArray[np.bool_] = np.diff(self.edges) == 1
        return single

    @cached_property
    def block_rates(self) -> Tensor:
        """The rate of each block, shape (1, blocks): that after a jump, else that in the middle."""
        low, high = self.edge_rates[:, :-1], self.edge_rates[:, 1:]
        return torch.where(torch.as_tensor(self._single), high, (low + high) / 2)

    @cached_property
    def happened(self) -> Tensor:
        """The share of each block's change that is past at each point, shape (points, blocks)."""
        begin, end = self.edges[:-1], self.edges[1:]
        return torch.as_tensor(np.clip((self.points[:, None] - begin) / (end - begin), 0.0, 1.0))

    @cached_property
    def sums_since(self) -> Tensor:
        """Rates summed from each block's change to each point, shape (points, blocks); 0 before the change."""
        return self._since(self._sums[self.points], self._sums[self.edges])

    @cached_property
    def steps_since(self) -> Tensor:
        """Updates from each block's change to each point, shape (points, blocks); 0 before the change."""
        return self._since(self.points.astype(np.float64), self.edges.astype(np.float64))

    def _since(self, points: NDArray[np.float64], edges: NDArray[np.float64]) -> Tensor:
        begin, end = edges[:-1], edges[1:]
        middle = (begin + np.minimum(end, points[:, None])) / 2  # of what is past of the block
        return torch.as_tensor(np.maximum(points[:, None] - np.where(self._single, end, middle), 0.0))

    def respond(self, levels: Tensor, kernel: Tensor) -> Tensor:
        """The changes of a level, each times what is left of it or has come of it by then, summed.

        Args:
            levels: shape (1 or points, blocks + 1), at the edges.
            kernel: shape (points, blocks), of each change at each point.

        Returns:
            Shape (points, 1).
        """
        summed: Tensor = torch.linalg.vecdot(self.happened * kernel, levels.diff())
        return summed[:, None]


def trace(rates: NDArray[np.float64], points: NDArray[np.int64], *, fine: int = FINE) -> RatePath:
    """The path of rates to points; blocks are cut where the rate has changed, at points, and often enough besides."""
    last = min(max(int(points[-1]), 1), len(rates) - 1)
    levels = rates
    slopes = np.diff(rates[: last + 1])
    turns = np.flatnonzero(np.diff(np.sign(slopes * (np.abs(slopes) > ROUNDED * rates.max()))) != 0) + 1
    if len(turns) > _MOST:  # blocks can't follow them, so they follow the mean
        levels, turns = uniform_filter1d(rates, max(1, last // fine), mode="mirror"), turns[:0]
    changes = np.abs(np.diff(levels[: last + 1]))
    peak = float(rates.max())
    passed = np.floor(np.concatenate([[0.0], np.cumsum(changes)]) / max(peak / fine, float(changes.sum()) / _MOST))
    jumps = largest_changes(levels[: last + 1], _MOST_JUMPS)
    regular = np.linspace(0, last, fine + 1).astype(np.int64)
    early = np.geomspace(1, max(last, 1), 40).astype(np.int64)  # what depends on the sum changes fast at first
    some = points[:: max(1, len(points) // fine)]
    cuts = [regular, early, some, np.flatnonzero(np.diff(passed)) + 1, turns, jumps - 1, jumps]
    edges = np.unique(np.concatenate(cuts))
    return RatePath(rates, points, edges[edges <= last], levels)

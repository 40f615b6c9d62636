"""The order of an epoch, and which part of it one of several processes takes."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["ALL", "ORDER", "part_of", "shuffled"]

ORDER = "torch.randperm(n), generator seeded by numpy's SeedSequence([seed, epoch])"
ALL = slice(0, None, 1)  # the share of a process that is alone; of several, number r of n takes slice(r, None, n)


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: see `ORDER`."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.randperm(count, generator=torch.Generator().manual_seed(int(state[0]) >> 1))


def part_of(count: int, share: slice) -> int:
    """How much of so many the process with the largest share has.

    >>> part_of(7, ALL), part_of(7, slice(1, None, 2))
    (7, 4)
    """
    return len(range(0, count, share.step))

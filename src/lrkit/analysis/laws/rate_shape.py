"""What rates look like: where the warmup ends, where they jump, whether they rise again."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUNDED", "jumps_of", "largest_changes", "rises_again", "warmup_length", "warmup_of"]

ROUNDED, _JITTER = 1e-6, 0.01  # of the peak: what rates that are the same differ by, at least and at most
_SIGMAS = 6.0  # times the usual second difference
_AGAIN = 0.05  # of the peak: a rise that is worth a word
_JUMP = 0.02  # of the peak, from one rate to the next
_STEEP, _NOISE = 5.0, 12.0  # times what it changes around, and usually


def warmup_of(rates: NDArray[np.float64]) -> int:
    """How many updates come before the rate reaches the highest that it has before it falls for the first time.

    Rates that differ by less than a hundredth of the peak are the same where they jitter by as much.

    >>> warmup_of(np.array([0.1, 0.2, 0.3, 0.3, 0.1])), warmup_of(np.array([0.0, 0.0, 0.1, 0.1, 0.2, 0.1]))
    (2, 4)
    >>> warmup_of(np.array([0.3, 0.2, 0.4]))
    0
    """
    bends = np.abs(np.diff(rates, 2))
    usual = float(np.median(bends)) if len(bends) else 0.0
    same = float(np.clip(_SIGMAS * usual, ROUNDED * rates.max(), _JITTER * rates.max()))
    falls = np.flatnonzero(np.maximum.accumulate(rates) - rates > same)
    before = rates[: falls[0]] if len(falls) else rates
    return int(np.argmax(before >= before.max() - same))


def warmup_length(rates: NDArray[np.float64]) -> int:
    """How many updates a warmup has: its last is at the peak already, unless its first is at 0.

    >>> warmup_length(np.array([0.1, 0.2, 0.3, 0.3])), warmup_length(np.array([0.0, 0.1, 0.2, 0.3]))
    (3, 3)
    >>> warmup_length(np.array([0.3, 0.3]))
    0
    """
    before = warmup_of(rates)
    return before + 1 if before and rates[0] else before


def rises_again(rates: NDArray[np.float64], after: int) -> int | None:
    """The first update at which the rate is above an earlier one by a twentieth of the peak; None if it never is.

    Args:
        rates: shape (updates,).
        after: how many updates come first in which it may rise.

    >>> rises_again(np.array([0.1, 0.3, 0.2, 0.25]), 1), rises_again(np.array([0.1, 0.3, 0.2, 0.2]), 1)
    (3, None)
    """
    later = rates[after:]
    risen = np.flatnonzero(later - np.minimum.accumulate(later) > _AGAIN * rates.max())
    return after + int(risen[0]) if len(risen) else None


def jumps_of(rates: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places of the rates, int64, rising, that are the first with another rate, where it changes at once.

    It changes by more than 2 % of the peak, by five times the median of the two changes before and the two after, so
    that a slope is none, and by twelve times the median of all changes, so that noise is none.

    Args:
        rates: of neighbouring updates, or of points.

    >>> jumps_of(np.array([0.3, 0.3, 0.1, 0.1, 0.02, 0.02])), jumps_of(np.linspace(0.3, 0, 10))
    (array([2, 4]), array([], dtype=int64))
    """
    changes = np.abs(np.diff(rates))
    before, after = np.pad(changes, (2, 0)), np.pad(changes, (0, 2))
    around = np.median([before[:-2], before[1:-1], after[1:-1], after[2:]], axis=0)
    least = max(_JUMP * float(rates.max()), _NOISE * float(np.median(changes))) if len(changes) else 0.0
    found: NDArray[np.int64] = np.flatnonzero((changes > least) & (changes > _STEEP * around)) + 1
    return found


def largest_changes(rates: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The places that are the first with another rate, of the largest of changes by more than 2 % of the peak."""
    changes = np.abs(np.diff(rates))
    found = np.flatnonzero(changes > _JUMP * rates.max())
    return found[np.argsort(-changes[found], kind="stable")[:most]] + 1

"""Statistics of seeds: means and paired differences with their intervals, p-values, and how many seeds it takes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.comparison import Difference, Mean

__all__ = ["LEVEL", "compare_pairs", "correct_by_holm", "mean_of", "seeds_needed"]

LEVEL = 0.05  # of a false verdict, and of an interval that misses
_POWER = 0.8
_MOST_SEEDS = 1_000_000
_ROUNDING = 1e-12  # of differences, times these


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of the values of at least one seed, with its 95 % interval by Student's t.

    >>> found = mean_of([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 6), round(found.high, 6), found.n
    (2.0, -0.484138, 4.484138, 3)
    >>> mean_of([1.0])
    Mean(mean=1.0, low=None, high=None, n=1)
    """
    array = np.asarray(values, dtype=np.float64)
    mean, half = float(array.mean()), _half_width(array, LEVEL)
    if half is None:
        return Mean(mean, None, None, len(array))
    return Mean(mean, mean - half, mean + half, len(array))


def compare_pairs(pairs: Sequence[NDArray[np.float64]]) -> list[Difference]:
    """The mean of each array of differences, one for each seed, held against 0.

    Each is Student's paired t-test, two-sided. The p-values are corrected for all arrays by Holm's method (Holm 1979),
    so that one or more of them is below 0.05 by chance in at most 5 % of comparisons; the intervals are
    Bonferroni's, so that all hold the true mean at once in at least 95 %. Where all seeds differ by the same, which
    few seeds of a metric that counts do by chance, nothing is known of the spread: then it is the sign test, with the
    p-value 2^(1 - n), and there is no interval.

    >>> [first, second] = compare_pairs([np.array([0.9, 1.0, 1.1]), np.array([-1.0, 0.0, 1.3])])
    >>> round(first.p_value, 4), first.certain, second.certain, second.seeds_needed
    (0.0066, True, False, 1267)
    """
    alone = [_p_value(each) for each in pairs]
    known = [p for p in alone if p is not None]
    corrected = iter(correct_by_holm(known))
    level = LEVEL / max(1, len(known))
    found = []
    for each, uncorrected in zip(pairs, alone, strict=True):
        mean, half = float(each.mean()), None if each.any() and _is_constant(each) else _half_width(each, level)
        found.append(
            Difference(
                mean=mean,
                low=None if half is None else mean - half,
                high=None if half is None else mean + half,
                p_value=None if uncorrected is None else next(corrected),
                uncorrected=uncorrected,
                n=len(each),
                seeds_needed=seeds_needed(each, level),
            )
        )
    return found


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down method.

    The i-th lowest of m is multiplied by m - i (i from 0), and none is less than a lower one's, nor more than 1.
    scipy doesn't have it; statsmodels has, which would bring pandas into every installation for these lines.

    >>> correct_by_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    found: list[float] = corrected.tolist()
    return found


def seeds_needed(differences: NDArray[np.float64], level: float = LEVEL) -> int | None:
    """With how many seeds a paired t-test finds a true difference of this mean and spread in 80 % of cases.

    Where all seeds differ by the same it is the sign test that does. None where the mean is 0, the spread isn't known,
    or it would be more than a million. The mean and spread are of few seeds themselves, so this is an order of
    magnitude.

    >>> seeds_needed(np.array([1.0, 2.0, 3.0])), seeds_needed(np.array([1.0, 1.0]))
    (5, 6)
    """
    mean = float(differences.mean())
    if len(differences) < 2 or not mean:
        return None
    if _is_constant(differences):
        return math.ceil(1 + math.log2(1 / level))
    effect = abs(mean) / float(differences.std(ddof=1))
    count = _normal_guess(effect, level)
    if count > _MOST_SEEDS:
        return None
    while not _finds(effect, count, level):
        count += 1
    return count


def _normal_guess(effect: float, level: float) -> int:
    """As many as it takes with a normal distribution, a few less than with Student's."""
    from scipy import special

    away: float = special.ndtri(1 - level / 2) + special.ndtri(_POWER)
    return max(2, math.ceil((away / effect) ** 2))


def _finds(effect: float, n: int, level: float) -> bool:
    """Whether n seeds are enough, by the noncentral t distribution."""
    from scipy import special

    away, limit = effect * math.sqrt(n), special.stdtrit(n - 1, 1 - level / 2)
    # farther out it is certain, and there the noncentral t distribution is no number any more
    return bool(away > 10 * limit or 1 - special.nctdtr(n - 1, away, limit) >= _POWER)


def _p_value(differences: NDArray[np.float64]) -> float | None:
    from scipy import special

    count = len(differences)
    if count < 2:
        return None
    if _is_constant(differences):
        return 2.0 ** (1 - count) if differences.any() else 1.0
    t = differences.mean() / differences.std(ddof=1) * math.sqrt(count)
    return float(2 * special.stdtr(count - 1, -abs(t)))


def _is_constant(differences: NDArray[np.float64]) -> bool:
    """Whether seeds differ by the same, but for rounding."""
    return bool(np.ptp(differences) <= _ROUNDING * np.abs(differences).max())


def _half_width(values: NDArray[np.float64], level: float) -> float | None:
    from scipy import special

    count = len(values)
    if count < 2:
        return None
    return float(special.stdtrit(count - 1, 1 - level / 2) * values.std(ddof=1) / math.sqrt(count))

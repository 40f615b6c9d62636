"""Where a curve of final losses is lowest, and which rates can't be told apart from the best."""

import numpy as np
from scipy.stats import t as student

from lrkit.analysis.curves import Array, Curve
from lrkit.analysis.suggestions import QUANTILES, Estimate

__all__ = ["best_rate", "estimate_minimum", "find_alike"]

_NEAR = np.log(10) / 2 + 1e-9  # how far from the best rate, in its logarithm, a parabola is fitted
_FEWEST = 4  # points that a parabola is fitted to
_DRAWS = 1000


def best_rate(curve: Curve) -> int | None:
    """The index of the rate with the lowest loss, in the median over seeds; None where all have diverged.

    It is one that no seed has diverged at, where there is any.

    >>> best_rate(Curve([0.1, 1.0, 10.0], [[2.0, 1.0, 0.5], [2.0, 1.1, float("nan")], [2.0, 1.2, 0.4]]))
    1
    """
    survived = np.isfinite(curve.losses).all(axis=0)
    losses = np.where(survived, curve.typical, np.inf) if survived.any() else curve.typical
    return int(np.argmin(losses)) if np.isfinite(losses).any() else None


def estimate_minimum(curve: Curve) -> Estimate | None:
    """The rate with the lowest loss, between those that were tried; None where all have diverged.

    A parabola in the logarithm of the rate is fitted to the mean losses within half a decade of the best rate, by least
    squares with weights 1 / (1 + (above the lowest / typical height)²), so that the cliff before divergence bends it
    little. The interval is over draws of those means, whose deviation is that of seeds from each other once each seed's
    level is taken out; with one seed, that of losses from the parabola. It ends where rates can be told from the best.

    >>> rates = np.geomspace(0.01, 1, 17)
    >>> found = estimate_minimum(Curve(rates, np.log10(rates / 0.08) ** 2))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.08, 0.08, 0.08)
    """
    best = best_rate(curve)
    if best is None:
        return None
    logs = np.log(curve.rates)
    near = (np.abs(logs - logs[best]) <= _NEAR) & np.isfinite(curve.losses).all(axis=0)
    if np.count_nonzero(near) < _FEWEST:
        return Estimate(float(curve.rates[best]))
    at, losses = logs[near] - logs[best], curve.losses[:, near]
    means = losses.mean(axis=0)
    height = means - means.min()
    weights = 1 / (1 + (height / max(float(np.median(height)), np.finfo(float).tiny)) ** 2)
    design = np.vander(at, 3)
    fit = np.linalg.pinv(design * np.sqrt(weights)[:, None]) * np.sqrt(weights)
    deviation = _deviation(losses, design @ (fit @ means)) / np.sqrt(len(losses))
    draws = means + deviation * np.random.default_rng(0).standard_normal((_DRAWS, len(at)))
    low, high = np.quantile(_lowest(draws, at, fit), QUANTILES)
    [value] = _lowest(means[None], at, fit)
    value, low, high = (float(curve.rates[best] * np.exp(each)) for each in (value, low, high))
    if alike := find_alike(curve):
        low, high = max(low, min(*alike, value)), min(high, max(*alike, value))
    return Estimate(value, low, high)


def find_alike(curve: Curve) -> tuple[float, ...]:
    """The rates whose losses can't be told apart from the best one's: t test at 5 % of the differences within seeds.

    Seeds that have diverged at the best rate don't count. Empty for one seed, which can't tell rates apart from chance.

    >>> find_alike(Curve([0.1, 1.0, 10.0], [[2.0, 1.1, 1.0], [2.2, 1.0, 1.1], [2.1, 1.3, 1.2]]))
    (1.0, 10.0)
    """
    best = best_rate(curve)
    if best is None:
        return ()
    losses = np.where(np.isfinite(curve.losses), curve.losses, np.nan)
    losses = losses[np.isfinite(losses[:, best])]
    seeds = len(losses)
    if seeds == 1:
        return ()
    above = losses - losses[:, best : best + 1]
    bound = student.ppf(0.95, seeds - 1) * above.std(axis=0, ddof=1) / np.sqrt(seeds)
    return tuple(curve.rates[above.mean(axis=0) <= bound].tolist())


def _deviation(losses: Array, fitted: Array) -> float:
    seeds, count = losses.shape
    if seeds == 1:
        return float(np.sqrt(((losses[0] - fitted) ** 2).sum() / max(1, count - 3)))
    own = losses - losses.mean(axis=1, keepdims=True) - losses.mean(axis=0) + losses.mean()
    return float(np.sqrt((own**2).sum() / ((seeds - 1) * (count - 1))))


def _lowest(means: Array, at: Array, fit: Array) -> Array:
    """Where each row is lowest: the parabola's vertex within what was tried, or the lowest of the points."""
    bend, slope, _ = fit @ means.T
    bent = bend > 0
    vertex = np.clip(-slope / (2 * np.where(bent, bend, 1.0)), at[0], at[-1])
    found: Array = np.where(bent, vertex, at[np.argmin(means, axis=1)])
    return found

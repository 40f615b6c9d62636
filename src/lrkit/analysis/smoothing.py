"""Smoothing without lag: what a noisy curve looks like, up to where it explodes."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from lrkit.analysis.curves import Array

__all__ = ["Local", "calm", "local_lines", "noise_of", "running_median"]

BANDWIDTHS = (0.02, 0.04, 0.08, 0.16)  # of the kernel, as shares of the range, among which cross-validation chooses
DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations


class Local(NamedTuple):
    """A smoothed curve: its levels, and its slopes by the logarithm of the rate."""

    levels: Array
    slopes: Array


def running_median(losses: Array, width: int) -> Array:
    """The median of the `width` values around each, `width` being odd; beyond the ends it is mirrored.

    >>> running_median(np.array([1.0, 9.0, 2.0, 3.0, 4.0]), 3).tolist()
    [9.0, 2.0, 3.0, 3.0, 3.0]
    """
    found: Array = median_filter(losses, width, mode="mirror")
    return found


def noise_of(losses: Array) -> float:
    """The deviation from one value to the next that isn't slope: from the median of second differences."""
    if len(losses) < 3:
        return 0.0
    bends = losses[2:] - 2 * losses[1:-1] + losses[:-2]
    return float(DEVIATION * np.median(np.abs(bends)) / np.sqrt(6))


def calm(losses: Array) -> int:
    """How many of the finite losses come before the curve explodes for good.

    The curve, as a running median, is calm as long as it comes back to its lowest level: to within a tenth of the fall
    from its highest level before that, or within three times the noise.

    >>> calm(np.array([5.0] * 9 + [1.0] * 9 + [7.0, 1.0, 1.0, 9.0, 30.0, 1e3, 1e9]))
    21
    """
    width = 2 * (len(losses) // 60) + 3
    smooth = running_median(losses, width)
    lowest = int(np.argmin(smooth))
    fall = np.quantile(smooth[: lowest + 1], 0.9) - smooth[lowest]
    near = smooth[lowest] + max(0.1 * fall, 3 * noise_of(losses[: lowest + width]) / np.sqrt(width))
    return int(np.flatnonzero(smooth <= near)[-1]) + 1


def local_lines(logs: Array, losses: Array) -> Local:
    """A straight line fitted around each point, weighted by a Gaussian of the distance in log rate.

    The width of the Gaussian is the one with the lowest error at points that are left out; since the weights are the
    same on both sides, nothing lags.

    Args:
        logs: shape (n,): logarithms of the rates, increasing.
        losses: shape (n,), finite.
    """
    span, gap = logs[-1] - logs[0], np.max(np.diff(logs), initial=0.0)
    distances = logs[None, :] - logs[:, None]
    best, least = Local(losses, np.zeros_like(losses)), np.inf
    for share in BANDWIDTHS:
        found, error = _lines(distances, losses, max(share * span, gap))
        if error < least:
            best, least = found, error
    return best


def _lines(distances: Array, losses: Array, bandwidth: float) -> tuple[Local, float]:
    weights = np.exp(-0.5 * (distances / bandwidth) ** 2)
    moment = weights * distances
    total, first, second = weights.sum(axis=1), moment.sum(axis=1), (moment * distances).sum(axis=1)
    level, tilt = weights @ losses, moment @ losses
    spread = total * second - first**2
    levels = (second * level - first * tilt) / spread
    own = np.minimum(second / spread, 0.99)  # how much of each point's level is its own loss
    error = np.abs((losses - levels) / (1 - own))
    return Local(levels, (total * tilt - first * level) / spread), float(np.mean(error))

"""Smoothing without lag: what a noisy curve looks like, up to where it explodes."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lrkit.analysis.curves import Array

__all__ = ["FEWEST", "before_explosion", "local_lines", "rises_above"]

FEWEST = 6  # points that anything can be read from
HIGHEST = 1e100
BANDWIDTHS = (0.02, 0.04, 0.08, 0.16)  # of the kernel, as shares of the range, among which cross-validation chooses
DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations


class Local(NamedTuple):
    """A smoothed curve: its levels, its slopes by the logarithm of the rate, and each loss's share in its own level."""

    levels: Array
    slopes: Array
    own: Array


def before_explosion(losses: Array) -> NDArray[np.intp]:
    """Where the losses are that a curve can be read from, none where they are too few: finite, with finite squares.

    >>> before_explosion(np.array([5.0, 5.0, np.nan, 4.0, 3.0, 2.0, 1.0, 1.0, 50.0, 1e3, 1e200])).tolist()
    [0, 1, 3, 4, 5, 6, 7]
    """
    places = np.flatnonzero(np.abs(losses) < HIGHEST)
    return places[: _count_calm(losses[places])] if len(places) >= FEWEST else places[:0]


def rises_above(logs: Array, losses: Array, level: float, *, after: int) -> float | None:
    """Where the running median rises above a level, after a place; None where it never does.

    Between points it is a straight line. Where it is above the level at that place already, it is there.

    >>> rises_above(np.arange(7.0), np.array([1.0, 9.0, 1.0, 1.0, 5.0, 7.0, np.nan]), 4.0, after=2)
    3.75
    """
    smooth, _ = _running_median(np.where(np.isfinite(losses), losses, np.inf))
    above = np.flatnonzero(smooth[after + 1 :] > level)
    if not len(above):
        return None
    place = after + 1 + int(above[0])
    if not np.isfinite(smooth[place]):
        return float(logs[place])
    if smooth[place - 1] >= level:
        return float(logs[place - 1])
    share = (level - smooth[place - 1]) / (smooth[place] - smooth[place - 1])
    return float(logs[place - 1] + share * (logs[place] - logs[place - 1]))


def _running_median(losses: Array) -> tuple[Array, int]:
    """The medians of as many losses around each as a 30th of all, and three more; and how many that is.

    Beyond the end all are infinite: else an explosion of the last losses alone would go unseen.
    """
    width = 2 * (len(losses) // 60) + 3
    beyond = np.full(width // 2, np.inf)
    return median_filter(np.concatenate([losses, beyond]), width, mode="mirror")[: len(losses)], width


def _noise_of(losses: Array) -> float:
    """The deviation from one value to the next that isn't slope: from the median of second differences."""
    if len(losses) < 3:
        return 0.0
    bends = losses[2:] - 2 * losses[1:-1] + losses[:-2]
    return float(DEVIATION * np.median(np.abs(bends)) / math.sqrt(6))


def _count_calm(losses: Array) -> int:
    """How many of the losses, all of them usable, come before the curve explodes for good.

    It has exploded if its running median ends above its lowest level by three tenths of the fall before that, and by
    five times the noise. It was calm as long as it came back to within a tenth of the fall, or three times the noise.

    >>> _count_calm(np.array([5.0] * 9 + [1.0] * 9 + [7.0, 1.0, 1.0, 9.0, 30.0, 1e3, 1e9]))
    21
    """
    smooth, width = _running_median(losses)
    lowest = int(np.argmin(smooth))
    fall = float(np.quantile(smooth[: lowest + 1], 0.75)) - smooth[lowest]
    noise = _noise_of(losses[: lowest + width])
    above = smooth - smooth[lowest]
    if above[-1] <= max(0.3 * fall, 5 * noise):
        return len(losses)
    return int(np.flatnonzero(above <= max(0.1 * fall, 3 * noise / math.sqrt(width)))[-1]) + 1


def local_lines(logs: Array, losses: Array) -> Local:
    """A straight line fitted around each point, weighted by a Gaussian of the distance in log rate.

    The width of the Gaussian is the one with the lowest error at points that are left out; since the weights are the
    same on both sides, nothing lags.

    Args:
        logs: shape (n,): logarithms of the rates, increasing.
        losses: shape (n,), usable.
    """
    span, gap = logs[-1] - logs[0], np.max(np.diff(logs), initial=0.0)
    distances = logs[None, :] - logs[:, None]
    found = [_lines(distances, losses, max(share * span, gap)) for share in BANDWIDTHS]
    return min(found, key=lambda each: float(np.mean(np.abs((losses - each.levels) / (1 - each.own)))))


def _lines(distances: Array, losses: Array, bandwidth: float) -> Local:
    weights = np.exp(-0.5 * (distances / bandwidth) ** 2)
    moment = weights * distances
    total, first, second = weights.sum(axis=1), moment.sum(axis=1), (moment * distances).sum(axis=1)
    level, tilt = weights @ losses, moment @ losses
    spread = total * second - first**2
    own = np.minimum(second / spread, 0.99)
    return Local((second * level - first * tilt) / spread, (total * tilt - first * level) / spread, own)

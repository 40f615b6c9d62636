"""Curves with as many points as a fit needs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.rate_shape import jumps_of

__all__ = ["huber_scale", "thin"]

_POINTS, _FEWEST, _ALL = 48, 16, 200  # of a curve; of all: more cost time and say little, since neighbours err alike
_DIGITS, _SINGLE = 6, 1e-7  # after the point: losses with more aren't rounded; what single precision changes
_LEAST_SCALE = 1e-3  # of the logarithm of a loss: laws aren't better than this

Points = tuple[NDArray[np.int64], NDArray[np.float64]]


def thin(curve: LossCurve, curves: int) -> Points:
    """Steps and losses of some of the points, evenly spaced, the last among them; of noisy ones means of neighbours.

    Where the loss bends, a mean isn't the loss in the middle. So points whose noise is less than a law can be wrong by
    are picked.

    Args:
        curve: with its points.
        curves: how many there are: of many, each needs fewer.
    """
    every = -(-len(curve.steps) // max(_FEWEST, min(_POINTS, _ALL // curves)))
    if every == 1 or _noise(curve.losses) * 1.5 <= _LEAST_SCALE:
        return curve.steps[::-every][::-1].copy(), curve.losses[::-every][::-1].copy()
    jumps = jumps_of(curve.learning_rates[np.maximum(curve.steps - 1, 0)])  # of the update before each loss
    begins = np.union1d(np.arange(0, len(curve.steps), every), jumps)
    counts = np.diff(np.append(begins, len(curve.steps)))
    return np.add.reduceat(curve.steps, begins) // counts, np.add.reduceat(curve.losses, begins) / counts


def huber_scale(losses: Sequence[NDArray[np.float64]]) -> float:
    """The error of a logarithm of a loss beyond which it counts linearly: 1.5 times the noise from point to point."""
    return max(_LEAST_SCALE, 1.5 * float(np.median([_noise(each) for each in losses])))


def _noise(losses: NDArray[np.float64]) -> float:
    """The standard deviation of logarithms from their neighbours, by the median absolute second difference.

    For white noise the second difference has √6 times its standard deviation. Losses that are written with few digits
    may be equal for long: rounding by itself has 1/√12 of the last digit.
    """
    bends = np.diff(np.log(losses), 2)
    seen = float(np.median(np.abs(bends))) * 1.4826 / 6**0.5 if len(bends) else 0.0
    apart = [np.abs(np.round(losses, digits) / losses - 1).max() for digits in range(_DIGITS)]
    digits = next((each for each, far in enumerate(apart) if far <= _SINGLE), None)
    return seen if digits is None else max(seen, 10.0**-digits / 12**0.5 / float(np.median(losses)))

"""Curves with as many points as a fit needs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve

__all__ = ["huber_scale", "thin"]

_POINTS = 48  # of a curve: more cost time and say little, since neighbours err alike
_LEAST_SCALE = 1e-3  # of the logarithm of a loss: laws aren't better than this


def thin(curve: LossCurve) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and losses of some of the points, evenly spaced, the last among them."""
    every = -(-len(curve.steps) // _POINTS)
    return curve.steps[::-every][::-1].copy(), curve.losses[::-every][::-1].copy()


def huber_scale(curves: Sequence[LossCurve]) -> float:
    """The error of a logarithm of a loss beyond which it counts linearly: 1.5 times the noise from point to point.

    The noise is the median absolute second difference of logarithms, as a standard deviation (for white noise the
    second difference has √6 times its own).
    """
    bends = np.concatenate([np.diff(np.log(each.losses), 2) for each in curves])
    noise = float(np.median(np.abs(bends))) * 1.4826 / 6**0.5 if len(bends) else 0.0
    return max(_LEAST_SCALE, 1.5 * noise)

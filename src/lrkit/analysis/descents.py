"""The descent of a curve: where the loss falls, fitted robustly, or why no descent can be seen."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import expit

from lrkit.analysis.curves import Array
from lrkit.analysis.logistic import fit_logistic
from lrkit.analysis.smoothing import calm, usable

__all__ = ["Descent", "Reason", "diagnose", "find_descent"]

FEWEST = 6  # points that a descent can be seen in
UNSEEN = 0.25  # the most of a descent that may lie beyond an edge
LEAST = 1e-100  # range of the losses that is one
FARTHEST = 1e9  # from the middle of the losses, in units of the range of its half: an outlier, however far
SAFE = math.log(4.0)  # how far below an explosion the middle stays


class Reason(StrEnum):
    """Why a curve supports no rate."""

    TOO_FEW = "too few points"
    DIVERGED = "diverged at once"
    NO_DESCENT = "no descent seen"
    FALLING_AT_START = "already falling at the lower edge"
    FALLING_AT_END = "still falling at the edge"
    BEST_AT_EDGE = "the best rate is at the edge"
    NONE_ENDED = "no rate came to the end"


@dataclass(frozen=True)
class Descent:
    """The fall of a loss: start - drop / (1 + exp(-(ln rate - middle) / width)), until it explodes.

    Attributes:
        start: the loss before.
        drop: how far it falls, could it go on.
        middle: the logarithm of the rate at which half of that is done.
        width: of the fall, in logarithms of the rate: 76 % of it lie within 2·width.
        noise: the deviation of the losses from it.
        end: how many of the points come before the explosion.
        exploded: whether there are any after it.
        rate: what is suggested: at the middle, but at least a factor 4 below an explosion.
    """

    start: float
    drop: float
    middle: float
    width: float
    noise: float
    end: int
    exploded: bool
    rate: float


def diagnose(rates: Array, losses: Array) -> Reason | None:
    """Why the losses of one seed, or of the typical one, support no rate; None where they do.

    >>> diagnose(np.geomspace(1e-4, 1, 50), np.full(50, 2.3))
    <Reason.NO_DESCENT: 'no descent seen'>
    """
    found = find_descent(rates, losses)
    return found if isinstance(found, Reason) else None


def find_descent(rates: Array, losses: Array) -> Descent | Reason:
    """The descent of the losses of one seed, or of the typical one, or why there is none.

    A logistic of the log rate is fitted to what comes before the explosion, by least squares in which outliers lose
    their weight.

    Args:
        rates: shape (n,): positive, increasing.
        losses: shape (n,): not finite where the seed has diverged.

    >>> rates = np.geomspace(1e-5, 1e3, 100)
    >>> losses = 2.3 - 2 / (1 + 0.01 / rates) + np.where(rates > 1, rates, 0)
    >>> round(find_descent(rates, losses).rate, 5)
    0.01
    """
    seen = usable(losses)
    if len(losses) < FEWEST:
        return Reason.TOO_FEW
    if np.count_nonzero(seen) < FEWEST:
        return Reason.DIVERGED
    logs, kept = np.log(rates[seen]), losses[seen]
    end = calm(kept)
    if end < FEWEST:
        return Reason.DIVERGED if end < len(losses) / 4 or end < 4 else Reason.TOO_FEW
    exploded = end < len(kept) or not seen[-1]
    low, level, high = np.quantile(kept[:end], [0.25, 0.5, 0.75]).tolist()
    scale = high - low or float(np.ptp(kept[:end]))
    if scale < LEAST:
        return Reason.NO_DESCENT
    fit = fit_logistic(logs[:end], np.clip((kept[:end] - level) / scale, -FARTHEST, FARTHEST), logs)
    if fit is None or not fit.certain:
        return Reason.NO_DESCENT
    start, drop, middle, width = fit.logistic
    before, after = expit((logs[0] - middle) / width), expit((middle - logs[end - 1]) / width)
    if before > UNSEEN:
        return Reason.FALLING_AT_START
    if after > UNSEEN and not exploded:
        return Reason.FALLING_AT_END
    safe = min(middle, logs[end - 1] - SAFE) if exploded else middle
    return Descent(level + start * scale, drop * scale, middle, width, fit.noise * scale, end, exploded, math.exp(safe))

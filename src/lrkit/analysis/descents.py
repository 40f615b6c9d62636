"""The descent of a curve: where the loss falls, fitted robustly, or why no descent can be seen."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import expit

from lrkit.analysis.curves import Array
from lrkit.analysis.logistic import Logistic, fit_logistic
from lrkit.analysis.smoothing import FEWEST, before_explosion, rises_above

__all__ = ["Descent", "Reason", "diagnose", "find_descent"]

UNSEEN = 0.25  # the most of a descent that may lie beyond an edge
LEAST = 1e-100  # range of the losses that is one
FARTHEST = 1e9  # from the middle of the losses, in units of the range of its half: an outlier, however far
SAFE = math.log(4.0)  # how far below an explosion the rate stays
TIMID = math.log(150.0)  # and how far below the rate at which the loss is back at its start


class Reason(StrEnum):
    """Why a curve supports no rate."""

    TOO_FEW = "too few points"
    DIVERGED = "diverged at once"
    NO_DESCENT = "no descent seen"
    FALLING_AT_START = "already falling at the lower edge"
    FALLING_AT_END = "still falling at the edge"
    BEST_AT_EDGE = "the best rate is at the edge"
    NONE_ENDED = "no rate came to the end"
    NOTHING = "the rule finds nothing"


@dataclass(frozen=True)
class Descent:
    """The fall of a loss, until it explodes.

    Attributes:
        logistic: the fall, as a logistic of ln rate; 76 % of it lie within twice its width on either side.
        exploded: whether the loss explodes within the range.
        rate: what is suggested: at the middle, but at least a factor 4 below an explosion, and at most a factor 150
            below the rate at which that has brought the loss back to its start.
    """

    logistic: Logistic
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
    >>> losses = 2.3 - 2 / (1 + 0.01 / rates) + np.where(rates > 1, 10 * rates, 0)
    >>> round(find_descent(rates, losses).rate, 5)
    0.01
    """
    places = before_explosion(losses)
    if len(losses) < FEWEST:
        return Reason.TOO_FEW
    if len(places) < FEWEST:
        return Reason.DIVERGED if len(places) < max(4, len(losses) / 4) else Reason.TOO_FEW
    exploded = bool(places[-1] < len(losses) - 1)
    logs, kept = np.log(rates), losses[places]
    low, level, high = np.quantile(kept, [0.25, 0.5, 0.75]).tolist()
    scale = high - low or float(np.ptp(kept))
    if scale < LEAST:
        return Reason.NO_DESCENT
    fit = fit_logistic(logs, places, np.clip((kept - level) / scale, -FARTHEST, FARTHEST))
    if fit is None or not fit.certain:
        return Reason.NO_DESCENT
    start, drop, middle, width = fit.logistic
    first, last = logs[places[0]], logs[places[-1]]
    before, after = expit((first - middle) / width), expit((middle - last) / width)
    if before > UNSEEN:
        return Reason.FALLING_AT_START
    if after > UNSEEN and not exploded:
        return Reason.FALLING_AT_END
    found = Logistic(level + start * scale, drop * scale, middle, width)
    if exploded:
        back = rises_above(logs, losses, found.start, after=int(places[-1]))
        middle = min(middle if back is None else max(middle, back - TIMID), last - SAFE)
    return Descent(found, exploded, math.exp(middle))

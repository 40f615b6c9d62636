"""A falling logistic, fitted so that outliers and the noise's memory don't mislead."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from lrkit.analysis.curves import Array

__all__ = ["Fit", "Logistic", "fit_logistic"]

DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations
BEND = 4.685  # Tukey's: what is so many deviations away has no weight
FINEST = 1e-12  # of the losses' own range: what is smaller comes from rounding
CERTAIN = 6.0  # the least drop, in its standard errors
ROUNDS = 10  # of weighting anew
MIDDLES = np.linspace(-0.25, 1.25, 101)  # of the range
WIDTHS = np.geomspace(0.007, 1.0, 11)
LEAST = 0.01  # of the fall within the range that the noise is taken to be at least


class Logistic(NamedTuple):
    """start - drop / (1 + exp(-(ln rate - middle) / width))."""

    start: float
    drop: float
    middle: float
    width: float

    def at(self, logs: Array) -> Array:
        """The loss at logarithms of rates."""
        found: Array = self.start - self.drop * expit((logs - self.middle) / self.width)
        return found


@dataclass(frozen=True)
class Fit:
    """A logistic as it was fitted.

    Attributes:
        logistic: what was found.
        noise: the deviation of the losses from it.
        certainty: the drop, in its standard errors.
    """

    logistic: Logistic
    noise: float
    certainty: float

    @property
    def certain(self) -> bool:
        """Whether noise alone wouldn't have done it."""
        return self.certainty >= CERTAIN


def fit_logistic(logs: Array, places: NDArray[np.intp], losses: Array) -> Fit | None:
    """The falling logistic that fits best, by least squares with Tukey's bisquare weights; None where nothing falls.

    It is fitted three times, at first to the losses as they are, to those without the highest and lowest twentieth, and
    without the first sixth, which may be a transient; then in rounds of weighting anew, each a search of all middles
    and widths of a grid, and polished by Gauss and Newton's steps. Of those that fall for certain, or of all where none
    does, the one with the fewest and smallest outliers is taken.

    Args:
        logs: shape (n,): logarithms of rates, increasing, of the whole range: the grid divides it.
        places: shape (m,): where in it the losses are.
        losses: shape (m,), in units of their own range.

    >>> logs = np.linspace(-10, 0, 100)
    >>> fit = fit_logistic(logs, np.arange(100), Logistic(1.0, 0.8, -5.0, 0.5).at(logs))
    >>> [round(each, 3) for each in fit.logistic]
    [1.0, 0.8, -5.0, 0.5]
    """
    grid, logs = _grid(logs.tobytes()).at(places), logs[places]
    even, late = np.ones_like(losses), np.where(np.arange(len(losses)) < len(losses) // 6, 0.0, 1.0)
    tame = np.clip(losses, *np.quantile(losses, [0.05, 0.95]))
    starts = [grid.best(even, losses), grid.best(even, tame), grid.best(late, losses)]
    settled = dict.fromkeys(best for each in starts if (best := _settle(grid, logs, losses, each)))
    fits = [_judge(logs, losses, _polish(logs, losses, each)) for each in settled]
    fits = [each for each in fits if each.certain] or fits
    noise = min((each.noise for each in fits), default=0.0)
    return max(fits, key=lambda each: _inside(losses - each.logistic.at(logs), noise), default=None)


def _inside(apart: Array, noise: float) -> float:
    """How many points lie close, by Tukey's measure."""
    return float(np.sum(_bisquare(apart, noise) ** 1.5))


def _settle(grid: "_Grid", logs: Array, losses: Array, best: Logistic | None) -> Logistic | None:
    for _ in range(ROUNDS):
        if best is None:
            return None
        levels = best.at(logs)
        weights = _weights(losses - levels, float(levels[0] - levels[-1]))
        found, best = best, grid.best(weights, losses)
        if best and best[2:] == found[2:]:
            break
    return best


@dataclass(frozen=True, eq=False)
class _Grid:
    """Logistics that rise from 0 to 1, one for each middle and width, and their squares, shape (grid, points)."""

    middles: Array
    widths: Array
    rises: Array
    squares: Array

    def at(self, places: NDArray[np.intp]) -> "_Grid":
        """The same at some of the points."""
        gapless = places[-1] == len(places) - 1  # then a view does
        columns = slice(len(places)) if gapless else places
        return replace(self, rises=self.rises[:, columns], squares=self.squares[:, columns])

    def best(self, weights: Array, losses: Array) -> Logistic | None:
        total, level = weights.sum(), weights @ losses
        rise, both = (self.rises @ np.stack([weights, weights * losses], axis=1)).T
        spread = self.squares @ weights - rise**2 / total
        common = both - rise * level / total
        falls = (common < 0) & (spread > 1e-6 * total)
        if not falls.any():
            return None
        gain = np.where(falls, common**2 / np.where(falls, spread, 1.0), -1.0)
        chosen = int(np.argmax(gain))
        drop = -common[chosen] / spread[chosen]
        start = (level + drop * rise[chosen]) / total
        return Logistic(float(start), float(drop), float(self.middles[chosen]), float(self.widths[chosen]))


@lru_cache(maxsize=1)
def _grid(written: bytes) -> _Grid:
    logs = np.frombuffer(written)
    span = logs[-1] - logs[0]
    middles, widths = np.meshgrid(logs[0] + MIDDLES * span, WIDTHS * span, indexing="ij")
    middles, widths = middles.ravel(), widths.ravel()
    rises = expit((logs - middles[:, None]) / widths[:, None])
    return _Grid(middles, widths, rises, rises**2)


def _deviation(apart: Array, fall: float) -> float:
    return max(DEVIATION * float(np.median(np.abs(apart))), LEAST * fall, FINEST)


def _weights(apart: Array, fall: float) -> Array:
    return _bisquare(apart, _deviation(apart, fall))


def _bisquare(apart: Array, deviation: float) -> Array:
    found: Array = (1 - np.clip(apart / (BEND * deviation), -1, 1) ** 2) ** 2
    return found


def _polish(logs: Array, losses: Array, found: Logistic) -> Logistic:
    """Gauss and Newton's steps from a point of the grid, which they may not leave far behind."""
    first = found
    for _ in range(8):
        rise = expit((logs - found.middle) / found.width)
        apart = losses - found.start + found.drop * rise
        bump = found.drop * rise * (1 - rise) / found.width
        slopes = np.stack([np.ones_like(logs), -rise, bump, bump * (logs - found.middle)], axis=1)
        weighted = slopes * _weights(apart, found.drop * float(rise[-1] - rise[0]))[:, None]
        # a little of the diagonal keeps a step finite where the curve says nothing about the width
        normal = weighted.T @ slopes
        normal += 1e-6 * np.diag(np.diag(normal) + 1e-12)
        step = np.linalg.solve(normal, weighted.T @ apart)
        width = found.width * float(np.exp(np.clip(step[3], -0.5, 0.5)))
        middle = found.middle + float(np.clip(step[2], -found.width, found.width))
        drop = found.drop + float(step[1])
        if drop <= 0 or abs(middle - first.middle) > 2 * first.width or abs(np.log(width / first.width)) > 1:
            return first
        found = Logistic(found.start + float(step[0]), drop, middle, width)
    return found


def _judge(logs: Array, losses: Array, found: Logistic) -> Fit:
    levels = found.at(logs)
    apart, fall = losses - levels, float(levels[0] - levels[-1])
    noise, weights = _deviation(apart, fall), _weights(apart, fall)
    rise = expit((logs - found.middle) / found.width)
    spread = weights @ (rise - (weights @ rise) / weights.sum()) ** 2
    clipped = np.clip(apart, -3 * noise, 3 * noise)
    memory = max(0.0, float(clipped[1:] @ clipped[:-1]) / max(float(clipped @ clipped), len(losses) * noise**2))
    memory = min(memory + memory * 6 / len(losses), 0.99)  # a fit hides some of it
    certainty = found.drop / noise * math.sqrt(float(spread) * (1 - memory) / (1 + memory))
    return Fit(found, noise, certainty)

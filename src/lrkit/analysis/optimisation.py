"""The search for the schedule that a law says is best for a budget."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lrkit.analysis.bent_path import landmarks, slope
from lrkit.analysis.best_schedule import BestSchedule, NamedSchedule
from lrkit.analysis.ending import as_law, foresee
from lrkit.analysis.expectation import Expectation, expect
from lrkit.analysis.laws.fitted import FittedLaw, as_level
from lrkit.analysis.laws.rate_shape import warmup_length
from lrkit.analysis.nearest_schedule import Fit, fit_families
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_count, as_positive

__all__ = ["LEAST_STEPS", "best_schedule", "budget"]

LEAST_STEPS = 20  # fewer have no shape
_WARMUP_SHARE = 0.1  # of the budget: the most that a warmup takes that nobody asked for
_KNOTS = 31
_DENSER = 1.5  # the distance of knots from the end goes with this power: the last are closest
_ITERATIONS = 150
_PRECISE = 1e-7  # of the loss: where the optimiser stops
_EDGE = 1e-5  # of the peak: what is as near to 0 or 1 as that is there
# Named families that differ by less than can be told: the simplest is taken.
_INTERVAL_SHARE, _GAIN_SHARE, _LOSS_SHARE = 0.1, 0.05, 1e-4


def best_schedule(
    law: FittedLaw, steps: int, *, peak: float | None = None, warmup: int | None = None, level: float = 0.95
) -> BestSchedule:
    """The schedule with the lowest final loss that a law expects for a number of steps, and the nearest named one.

    After a linear warmup to the peak, the rate is a line through 31 knots that never rises. What is minimised is the
    mean of the final losses, half the law's own and half that of some of its worlds, by SLSQP with exact gradients.
    Each named family is searched for the same. Of those that end within 1e-4 of the lowest loss, or within a tenth of
    its interval and a twentieth of what it gains on a constant rate, the nearest is the one with the fewest numbers.

    Args:
        law: from `fit_law`.
        steps: the budget, at least 20 updates.
        peak: the highest rate; by default the highest that was fitted.
        warmup: updates, at most half of `steps`; by default the longest warmup that was fitted, at most a tenth.
        level: of the intervals, between 0 and 1.

    >>> import numpy as np
    >>> from lrkit.analysis.laws.catalogue import LAWS
    >>> from lrkit.analysis.laws.curve import LossCurve
    >>> from lrkit.analysis.laws.fitted import World
    >>> values = {"L0": 2.5, "A": 0.6, "alpha": 0.4, "B": 120.0, "C": 2.0, "beta": 0.5, "gamma": 0.6}
    >>> curve = LossCurve(np.array([100, 200]), np.array([3.5, 3.3]), np.full(200, 3e-3))
    >>> law = FittedLaw(LAWS["multi_power"], values, (curve,), (World(LAWS["multi_power"], values),))
    >>> best = best_schedule(law, 200)
    >>> best.nearest, bool(best.final_loss <= best.nearest_loss < law.predict(np.full(200, 3e-3), [200])[0])
    ('constant() >> linear(...%, to=...)', True)

    Raises:
        InputError: for numbers that can't be, and for a law without worlds.
        InputTypeError: for what is no fitted law or no number.
    """
    law, level = as_law(law), as_level(level)
    steps, peak, warmup = budget(law, steps, peak, warmup)
    expectation = expect(law)
    fits = fit_families(expectation, steps, peak, warmup)
    rates = _descend(expectation, steps, peak, warmup)
    edges = landmarks(steps, warmup)
    expected = expectation.final(edges, rates[edges])
    lowest, constant = min(fits, key=lambda each: each.expected), fits[0]
    if lowest.expected < expected:  # a curve that knots can't follow
        rates, expected = lowest.learning_rates, lowest.expected
    if constant.expected <= expected * (1 + _PRECISE):  # nothing is won by falling
        rates, expected = constant.learning_rates, constant.expected
    tried = tuple(_named(law, each, rates, peak) for each in fits)
    named = tried[fits.index(_simplest(law, fits, level))]
    chosen = fits[tried.index(named)]
    return BestSchedule(
        law,
        steps,
        peak,
        warmup,
        level,
        rates,
        foresee(law, rates, level),
        expected,
        named,
        foresee(law, chosen.learning_rates, level),
        tried,
    )


def budget(law: FittedLaw, steps: object, peak: object, warmup: object) -> tuple[int, float, int]:
    """Steps, peak and warmup, checked, with what the fitted curves had where they are None."""
    count = as_count(steps, "steps", low=LEAST_STEPS)
    if not law.curves and (peak is None or warmup is None):
        raise InputError("peak and warmup must be given, not None, for a law that holds no curves")
    highest = max(each.peak for each in law.curves) if peak is None else as_positive(peak, "peak")
    if warmup is None:
        longest = max(warmup_length(each.learning_rates) for each in law.curves)
        return count, highest, min(longest, int(_WARMUP_SHARE * count))
    length = as_count(warmup, "warmup")
    if length > count // 2:
        raise InputError(f"warmup must be at most half of the {count} steps, {count // 2}, not {length}")
    return count, highest, length


def _descend(expectation: Expectation, steps: int, peak: float, warmup: int) -> NDArray[np.float64]:
    """The rates with the lowest expected loss among lines through knots that don't rise after the warmup."""
    rise = np.unique([0, warmup - 1]) if warmup else np.array([], dtype=np.int64)
    places = 1 - (1 - np.linspace(0, 1, _KNOTS)) ** _DENSER
    fall = np.unique(np.rint(warmup + places * (steps - 1 - warmup)).astype(np.int64))
    knots = np.concatenate([rise, fall])
    fixed = np.append((rise + 1) / max(warmup, 1), 1.0)
    size = len(fall) - 1

    def loss(shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = slope(expectation.along, knots, peak * np.concatenate([fixed, shares]))
        return value, peak * gradient[len(fixed) :]

    found = [_slide(loss, start) for start in (np.linspace(1, 0.05, size), np.full(size, 0.95))]
    shares = np.clip(min(found, key=lambda each: loss(each)[0]), 0.0, 1.0)
    shares = np.where(shares > 1 - _EDGE, 1.0, np.where(shares < _EDGE, 0.0, shares))
    line = np.concatenate([fixed, np.minimum.accumulate(shares)])
    rates: NDArray[np.float64] = peak * np.interp(np.arange(steps), knots, line)
    return rates


def _slide(
    loss: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a loss is lowest among shares from 0 to 1 that don't rise, shape (knots,)."""
    first, gradient = loss(start)
    # SLSQP's first step is the gradient, so that has to be of the size of shares.
    scale = float(np.abs(gradient).max()) or 1.0
    drops = -np.diff(np.eye(len(start)), axis=0)

    def scaled(shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, steepness = loss(shares)
        return (value - first) / scale, steepness / scale

    found = minimize(
        scaled,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(start),
        constraints=[{"type": "ineq", "fun": lambda shares: drops @ shares, "jac": lambda shares: drops}],
        options={"maxiter": _ITERATIONS, "ftol": _PRECISE * abs(first) / scale},
    )
    shares: NDArray[np.float64] = found.x
    return shares


def _named(law: FittedLaw, fit: Fit, rates: NDArray[np.float64], peak: float) -> NamedSchedule:
    return NamedSchedule(
        fit.schedule,
        fit.parameters,
        float(law.predict(fit.learning_rates, [len(rates)])[0]),
        fit.expected,
        float(np.abs(fit.learning_rates - rates).mean() / peak),
    )


def _simplest(law: FittedLaw, fits: tuple[Fit, ...], level: float) -> Fit:
    """The fit with the fewest numbers among those that are as good as the best."""
    best = min(fits, key=lambda each: each.expected)
    ending = foresee(law, best.learning_rates, level)
    gain = fits[0].expected - best.expected
    near = max(min(_INTERVAL_SHARE * (ending.high - ending.low), _GAIN_SHARE * gain), _LOSS_SHARE * best.expected)
    good = [each for each in fits if each.expected <= best.expected + near]
    return min(good, key=lambda each: (each.parameters, each.expected))

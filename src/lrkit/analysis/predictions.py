"""From a fitted law to predictions: schedules' curves, final losses, and how they rank."""

from collections.abc import Iterable
from itertools import combinations
from statistics import NormalDist

import numpy as np

from lrkit.analysis.ending import foresee
from lrkit.analysis.forecast_verdicts import say_prediction
from lrkit.analysis.laws.fitted import End, FittedLaw, as_level
from lrkit.analysis.laws.question import knots
from lrkit.analysis.prediction import Forecast, Pair, Prediction, Proposal
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.leaf import as_list

__all__ = ["predict"]

_KNOTS = 120  # of a curve


def predict(law: FittedLaw, proposals: Iterable[Proposal], *, level: float = 0.95) -> Prediction:
    """What a law says of schedules, the lowest final loss first.

    Intervals are those of `FittedLaw.interval`. What is uncertain of two schedules alike doesn't count between them: so
    the interval of a difference (`FittedLaw.difference`) is narrower than those of the two losses, and the probability
    that a ends lower than b is Φ(difference / its standard deviation).

    Args:
        law: from `fit_law`.
        proposals: the schedules, each with a name of its own. Without any, the result says how the law fits.
        level: of the intervals, between 0 and 1.

    Raises:
        InputError: for a level that is none, names that aren't distinct, rates that can't be, and a law without worlds.
        InputTypeError: for what isn't a proposal.
    """
    level = as_level(level)
    asked = _proposals(proposals)
    names = [each.name for each in asked]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"proposals must have distinct names: {shown(twice)} is there {names.count(twice)} times")
    if asked:
        law.require_worlds()
    forecasts = tuple(sorted((_forecast(law, each, level) for each in asked), key=lambda each: each.final_loss))
    ends = [(each.name, law.end(each.proposal.learning_rates)) for each in forecasts]
    pairs = tuple(_pair(law, a, b, level) for a, b in combinations(ends, 2))
    return Prediction(law, forecasts, pairs, level, tuple(say_prediction(law, forecasts, pairs)))


def _proposals(given: object) -> list[Proposal]:
    found = []
    for each in as_list(given, "proposals", "Proposal"):
        if not isinstance(each, Proposal):
            raise InputTypeError(f"proposals must be Proposal each, not {shown(each)} ({type(each).__name__})")
        found.append(each)
    return found


def _forecast(law: FittedLaw, proposal: Proposal, level: float) -> Forecast:
    rates = proposal.learning_rates
    first = min((int(each.steps[0]) for each in law.curves), default=1)  # losses before that were never measured
    steps = knots(rates, np.arange(max(1, min(first, len(rates) // 2)), len(rates) + 1), _KNOTS)
    losses = law.predict(rates, steps)
    lows, highs = law.interval(rates, steps, level=level)
    end = foresee(law, rates, level)
    return Forecast(proposal, end.final_loss, end.low, end.high, steps, losses, lows, highs, end.beyond)


def _pair(law: FittedLaw, first: tuple[str, End], second: tuple[str, End], level: float) -> Pair:
    difference, deviation = law.difference(first[1], second[1])
    width = NormalDist().inv_cdf((1 + level) / 2) * deviation
    wins = NormalDist().cdf(difference / deviation) if deviation else 1.0 if difference else 0.5  # never negative
    return Pair(first[0], second[0], wins, difference, difference - width, difference + width)

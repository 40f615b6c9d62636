"""What a fitted law says of schedules: each one's curve and final loss with intervals, ranked. Plain immutable data."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.fitted import FittedLaw

__all__ = ["Forecast", "Prediction", "Proposal"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Proposal:
    """A schedule that is asked about.

    Attributes:
        name: what it is called, one of its kind.
        learning_rates: float64, shape (updates,).
        schedule: as text; None where the rates were given as numbers.
    """

    name: str
    learning_rates: NDArray[np.float64]
    schedule: str | None = None


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a law says of a schedule.

    Attributes:
        proposal: the schedule.
        final_loss: after the last update.
        low, high: the interval of the final loss, at the prediction's level.
        steps: int64, shape (points,): where the curve is given, the last being the number of updates.
        losses: float64, shape (points,).
        lows, highs: the interval of each.
        beyond: what of it lies outside of what the fit saw, in sentences; empty where nothing does.
    """

    proposal: Proposal
    final_loss: float
    low: float
    high: float
    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    beyond: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.proposal.name


@dataclass(frozen=True, eq=False)
class Prediction:
    """Schedules ranked by what a law says of them.

    Attributes:
        law: that was fitted.
        forecasts: the lowest final loss first.
        odds: by names (a, b), for each pair in ranked order: the probability that a ends lower than b.
        level: of the intervals, such as 0.95.
        verdict: in sentences: which is predicted to be best, and which differ by less than can be told.
    """

    law: FittedLaw
    forecasts: tuple[Forecast, ...]
    odds: Mapping[tuple[str, str], float]
    level: float
    verdict: tuple[str, ...]

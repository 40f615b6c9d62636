"""What a fitted law says of schedules: each one's curve and final loss with intervals, ranked. Plain immutable data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import as_rates
from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.schedules.errors import InputTypeError, shown, unknown

__all__ = ["Forecast", "Pair", "Prediction", "Proposal"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Proposal:
    """A schedule that is asked about.

    Attributes:
        name: what it is called, one of its kind.
        learning_rates: float64, shape (updates,), of every update from the first on, warmup included.
        schedule: as text; None where the rates were given as numbers.

    Raises:
        InputError: for rates that can't be.
        InputTypeError: for a name or a schedule that isn't text, and rates that aren't numbers.

    >>> Proposal("falling", [0.2, 0.1]).learning_rates
    array([0.2, 0.1])
    """

    name: str
    learning_rates: NDArray[np.float64]
    schedule: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputTypeError(f"name must be text, not {shown(self.name)}")
        if not isinstance(self.schedule, str | None):
            raise InputTypeError(f"schedule must be text, or None, not {shown(self.schedule)}")
        rates = as_rates(self.learning_rates)
        rates.setflags(write=False)
        object.__setattr__(self, "learning_rates", rates)


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
        """The schedule's."""
        return self.proposal.name


@dataclass(frozen=True)
class Pair:
    """How two schedules differ in what they are predicted to end with.

    Attributes:
        a, b: their names; a is predicted to end lower, or as low.
        probability: that a ends lower than b.
        difference: the final loss of b less that of a.
        low, high: its interval, at the prediction's level.
    """

    a: str
    b: str
    probability: float
    difference: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the difference's interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Prediction:
    """Schedules ranked by what a law says of them.

    Attributes:
        law: that was fitted.
        forecasts: the lowest final loss first.
        pairs: each two of them, in ranked order.
        level: of the intervals, such as 0.95.
        verdict: in sentences: which is predicted to be best, which differ by less than can be told, and what the curves
            that were fitted leave open.
    """

    law: FittedLaw
    forecasts: tuple[Forecast, ...]
    pairs: tuple[Pair, ...]
    level: float
    verdict: tuple[str, ...]

    @property
    def odds(self) -> Mapping[tuple[str, str], float]:
        """By names (a, b), for each pair in ranked order: the probability that a ends lower than b."""
        return {(each.a, each.b): each.probability for each in self.pairs}

    def probability(self, a: str, b: str) -> float:
        """That a ends lower than b, by their names in either order.

        Raises:
            InputError: for a name that isn't there.
        """
        for name in (a, b):
            if name not in (names := [each.name for each in self.forecasts]):
                raise unknown("schedule", name, names)
        return 0.5 if a == b else self.odds[a, b] if (a, b) in self.odds else 1 - self.odds[b, a]

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON: all but the curves over the steps."""
        fitted = self.law
        return {
            "lrkit_prediction": FORMAT,
            "law": fitted.law.name,
            "parameters": {name: float(value) for name, value in fitted.parameters.items()},
            "formula": fitted.law.formula,
            "source": fitted.law.source,
            "chosen": list(fitted.chosen),
            "warnings": list(fitted.warnings),
            "free": list(fitted.free),
            "advice": fitted.advice,
            "errors": {name: float(value) for name, value in fitted.errors.items()},
            "doubt": fitted.doubt,
            "doubt_ahead": fitted.doubt_ahead,
            "level": self.level,
            "curves": [
                {
                    "name": each.name,
                    "points": len(each.steps),
                    "steps": len(each.learning_rates),
                    "peak": each.peak,
                    "notes": list(each.notes),
                }
                for each in fitted.curves
            ],
            "candidates": [
                {
                    "name": each.name,
                    "schedule": each.proposal.schedule,
                    "steps": len(each.proposal.learning_rates),
                    "peak": float(each.proposal.learning_rates.max()),
                    "final_loss": each.final_loss,
                    "interval": [each.low, each.high],
                    "beyond": list(each.beyond),
                }
                for each in self.forecasts
            ],
            "odds": [
                {
                    "a": each.a,
                    "b": each.b,
                    "probability": each.probability,
                    "difference": each.difference,
                    "interval": [each.low, each.high],
                }
                for each in self.pairs
            ],
            "verdict": list(self.verdict),
        }

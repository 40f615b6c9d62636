"""What a law says is the best schedule for a budget, and the nearest one that has a name. Plain immutable data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.ending import Ending
from lrkit.analysis.laws.fitted import FittedLaw

__all__ = ["BestSchedule", "NamedSchedule", "Point"]

FORMAT = 1

_CLOSE = 0.01  # of the peak: what straight lines between the table's rows may be off by


@dataclass(frozen=True)
class Point:
    """A row of the table of rates.

    Attributes:
        step: which update, from 0 on.
        run_share: the part of the run that lies before it.
        rate: of the update.
        peak_share: the rate as a share of the peak.
    """

    step: int
    run_share: float
    rate: float
    peak_share: float


@dataclass(frozen=True)
class NamedSchedule:
    """The best schedule of a family, with its lengths as shares of the run.

    Attributes:
        schedule: as text, as `lrkit.parse` and `--schedule` read it.
        parameters: how many numbers it has beside the warmup.
        final_loss: what the law predicts.
        expected_loss: the mean that the search went by.
        distance: the mean |difference| of its rates from the best ones, as a share of the peak.
    """

    schedule: str
    parameters: int
    final_loss: float
    expected_loss: float
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        return {
            "schedule": self.schedule,
            "final_loss": self.final_loss,
            "expected_loss": self.expected_loss,
            "distance": self.distance,
        }


@dataclass(frozen=True, eq=False)
class BestSchedule:
    """The schedule that a law says is best.

    Attributes:
        law: that was fitted.
        steps: the budget, in updates.
        peak: the highest rate that was allowed.
        warmup: how many updates the rate rises for, in a straight line.
        level: of the intervals, such as 0.95.
        learning_rates: float64, shape (steps,), never rising after the warmup.
        ending: its predicted final loss.
        expected_loss: the mean of final losses that the search went by: half the law's own, half that of its worlds.
        named: the nearest schedule that has a name.
        named_ending: its predicted final loss.
        tried: the best of each family, the simplest family first; `named` is one of them.
    """

    law: FittedLaw
    steps: int
    peak: float
    warmup: int
    level: float
    learning_rates: NDArray[np.float64]
    ending: Ending
    expected_loss: float
    named: NamedSchedule
    named_ending: Ending
    tried: tuple[NamedSchedule, ...]

    @property
    def final_loss(self) -> float:
        """What the law predicts for the best rates."""
        return self.ending.final_loss

    @property
    def beyond(self) -> tuple[str, ...]:
        """What of the best rates lies outside of what the fit saw, in sentences; empty where nothing does."""
        return self.ending.beyond

    @property
    def nearest(self) -> str:
        """The nearest schedule that has a name, as text that is ready for `--schedule`."""
        return self.named.schedule

    @property
    def nearest_loss(self) -> float:
        """What the law predicts for the nearest schedule that has a name."""
        return self.named_ending.final_loss

    @property
    def nearest_distance(self) -> float:
        """The mean |difference| of its rates from the best ones, as a share of the peak."""
        return self.named.distance

    @property
    def points(self) -> tuple[Point, ...]:
        """The table of the best rates: few rows where they lie on straight lines, more where they bend."""
        rates, every = self.learning_rates, np.arange(self.steps)
        rows = np.unique([0, self.warmup, self.steps - 1])
        while (apart := np.abs(np.interp(every, rows, rates[rows]) - rates)).max() > _CLOSE * self.peak:
            rows = np.union1d(rows, apart.argmax())
        return tuple(
            Point(step, step / self.steps, rate, rate / self.peak)
            for step, rate in zip(rows.tolist(), rates[rows].tolist(), strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON; the rates as the table has them, between whose rows they are nearly straight lines."""
        return {
            "lrkit_best_schedule": FORMAT,
            "steps": self.steps,
            "peak": self.peak,
            "warmup": self.warmup,
            "level": self.level,
            **self.ending.to_dict(),
            "expected_loss": self.expected_loss,
            "rates": [
                {"step": each.step, "run_share": each.run_share, "rate": each.rate, "peak_share": each.peak_share}
                for each in self.points
            ],
            "nearest": {
                "schedule": self.nearest,
                **self.named_ending.to_dict(),
                "distance": self.nearest_distance,
            },
            "tried": [each.to_dict() for each in self.tried],
        }

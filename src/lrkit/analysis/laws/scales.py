"""Sizes of losses and rates, so that fits begin where the data are, whatever their units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrkit.analysis.laws.curve import LossCurve

__all__ = ["Scales", "scales_of"]


@dataclass(frozen=True)
class Scales:
    """Of some curves.

    Attributes:
        first: the mean of the losses that the curves begin with.
        lowest: of the losses.
        peak: the highest rate.
        first_sum: rates summed before the first loss, and at least one peak rate.
        sum: rates summed up to the last loss, of the run that has the most.
        steps: of the longest run.
    """

    first: float
    lowest: float
    peak: float
    first_sum: float
    sum: float
    steps: int

    def floor(self, at: float) -> float:
        """A loss to begin L0 with: between 0.5 and 0.98 of the lowest."""
        return self.lowest * (0.5 + 0.48 * math.sqrt(at))

    def amplitude(self, floor: float, exponent: float) -> float:
        """A, so that floor + A·(S/sum)^−exponent passes through where the curves begin."""
        return max(self.first - floor, 1e-6 * self.first) * math.exp(exponent * math.log(self.first_sum / self.sum))

    def won(self, at: float) -> float:
        """What may be won by a rate that falls from its peak to 0, between 0.5 and 30 % of the lowest loss."""
        return self.lowest * math.exp(math.log(0.005) + math.log(60) * at)


def scales_of(curves: Sequence[LossCurve]) -> Scales:
    """The sizes of these curves."""
    peak = max(each.peak for each in curves)
    before = [float(each.learning_rates[: each.steps[0]].sum()) for each in curves]
    return Scales(
        first=float(np.mean([each.losses[0] for each in curves])),
        lowest=min(float(each.losses.min()) for each in curves),
        peak=peak,
        first_sum=max(float(np.mean(before)), peak),
        sum=max(peak, *(float(each.learning_rates[: each.steps[-1]].sum()) for each in curves)),
        steps=max(1, *(int(each.steps[-1]) for each in curves)),
    )

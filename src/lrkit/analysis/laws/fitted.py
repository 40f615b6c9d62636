"""A law with its values: what it predicts, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.analysis.laws.curve import LossCurve, as_rates
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.rate_path import evaluate

__all__ = ["FittedLaw", "World"]


@dataclass(frozen=True)
class World:
    """One way the training could be: a law with values that the curves allow."""

    law: Law
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law that was fitted to curves.

    Attributes:
        law: which.
        parameters: its values, by name, in the units of the curves' rates.
        curves: what it was fitted to.
        worlds: refits to resampled curves, and other laws that fit: what an interval is made of.
        errors: by the name of a curve, the mean relative error of the fit.
        free: the parameters that the curves don't determine; empty where they determine all.
        advice: the run that would determine them; None where nothing is free.
        chosen: in sentences, how the law was chosen.
    """

    law: Law
    parameters: Mapping[str, float]
    curves: tuple[LossCurve, ...]
    worlds: tuple[World, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    advice: str | None = None
    chosen: tuple[str, ...] = ()

    def predict(self, learning_rates: ArrayLike, steps: ArrayLike | None = None) -> NDArray[np.float64]:
        """The loss of a training with these rates.

        Args:
            learning_rates: shape (updates,), of every update from the first on, warmup included.
            steps: after how many updates, each from 0 to the number of rates; by default before each update, so that
                the result has the shape of the rates. `steps=[len(learning_rates)]` is the final loss.

        Returns:
            float64, shape (points,).

        Raises:
            InputError: for rates or steps that can't be.
        """
        rates = as_rates(learning_rates)
        return evaluate(self.law, self.parameters, rates, steps)

    def draws(self, learning_rates: ArrayLike, steps: ArrayLike | None = None) -> NDArray[np.float64]:
        """What the loss would be in each of the worlds, shape (worlds, points); a world is the same for all schedules.

        So the share of worlds in which one schedule ends lower than another is the probability of that.
        """
        rates = as_rates(learning_rates)
        return np.stack([evaluate(world.law, world.values, rates, steps) for world in self.worlds])

    def interval(
        self, learning_rates: ArrayLike, steps: ArrayLike | None = None, *, level: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high ends, each of the shape (points,), of where the loss is with this probability."""
        low, high = np.quantile(self.draws(learning_rates, steps), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

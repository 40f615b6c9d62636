"""A law with its values: what it predicts, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.analysis.laws.curve import LossCurve, as_rates
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.question import Question, ask
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_number

__all__ = ["End", "FittedLaw", "World", "as_level"]

_AHEAD = 3.0  # times as many updates
_APART = 0.1  # of the peak: rates that differ by more have nothing in common


@dataclass(frozen=True)
class World:
    """One way the training could be: a law with values that the curves allow."""

    law: Law
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class End:
    """The final loss of a schedule.

    Attributes:
        rates: float64, shape (updates,).
        loss: as predicted.
        drawn: float64, shape (worlds,): what it would be in each world.
    """

    rates: NDArray[np.float64]
    loss: float
    drawn: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law that was fitted to curves.

    Attributes:
        law: which.
        parameters: its values, by name, in the units of the curves' rates; the law's own units are among them.
        curves: what it was fitted to.
        worlds: refits to resampled curves, and other laws that fit.
        errors: by the name of a curve, the mean relative error of the fit.
        doubt: the relative error, as a standard deviation, of the law itself: how far off it was for curves held out.
        doubt_ahead: the same for trainings that are three times as long as the longest curve: how far off the ends of
            the curves were, fitted to their first thirds alone; twice the doubt where these have too few points.
        free: the parameters that the curves don't determine; empty where they determine all.
        advice: the run that would say most of them; None where nothing is free.
        chosen: in sentences, how the law was chosen.
        warnings: in sentences, why it may not be trusted; empty where nothing speaks against it.
    """

    law: Law
    parameters: Mapping[str, float]
    curves: tuple[LossCurve, ...]
    worlds: tuple[World, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    doubt: float = 0.0
    doubt_ahead: float = 0.0
    free: tuple[str, ...] = ()
    advice: str | None = None
    chosen: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

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
        return ask(as_rates(learning_rates), steps).answer(self.law, self.parameters)

    def draws(self, learning_rates: ArrayLike, steps: ArrayLike | None = None) -> NDArray[np.float64]:
        """What the loss would be in each world, shape (worlds, points); a world is the same for all schedules.

        Raises:
            InputError: for a law without worlds, and as `predict`.
        """
        self.require_worlds()
        return self._drawn(ask(as_rates(learning_rates), steps))

    def deviation(self, learning_rates: ArrayLike, steps: ArrayLike | None = None) -> NDArray[np.float64]:
        """How far the loss is from the prediction, as a standard deviation, shape (points,).

        Squares are added: the mean one of the worlds' distances from the prediction, that of the law's own doubt, and,
        for k times as many updates as in the longest curve, that of the doubt ahead times log k/log 3.

        Raises:
            InputError: for a law without worlds, and as `predict`.
        """
        return self._with_deviation(learning_rates, steps)[1]

    def _with_deviation(
        self, learning_rates: ArrayLike, steps: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The prediction and its deviation."""
        self.require_worlds()
        question = ask(as_rates(learning_rates), steps)
        losses = question.answer(self.law, self.parameters)
        apart = ((self._drawn(question) - losses) ** 2).mean(axis=0)
        deviation = np.sqrt(apart + (self.doubt**2 + self._ahead(question.wanted) ** 2) * losses**2)
        return losses, deviation

    def _drawn(self, question: Question) -> NDArray[np.float64]:
        return np.stack([question.answer(world.law, world.values) for world in self.worlds])

    def _ahead(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The doubt that comes of being longer than all curves, relative, shape (points,)."""
        longest = max((int(each.steps[-1]) for each in self.curves), default=0)
        if not longest:
            return np.zeros(len(steps))
        beyond: NDArray[np.float64] = np.log(np.maximum(steps / longest, 1.0)) / np.log(_AHEAD)
        return self.doubt_ahead * beyond

    def interval(
        self, learning_rates: ArrayLike, steps: ArrayLike | None = None, *, level: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high ends, each of the shape (points,), of where the loss is with this probability.

        The prediction times exp(±z·√ln(1 + (deviation/prediction)²)), with the z of a normal distribution: the ends of
        a log-normal one. Where a law falls to 0 or below, it is the prediction ± z·deviation.

        Raises:
            InputError: for a level that isn't between 0 and 1, and as `deviation`.
        """
        level = as_level(level)
        losses, deviation = self._with_deviation(learning_rates, steps)
        z, positive = NormalDist().inv_cdf((1 + level) / 2), losses > 0
        width = z * np.sqrt(np.log1p((deviation / np.where(positive, losses, 1.0)) ** 2))
        low, high = losses * np.exp(-width), losses * np.exp(width)
        return np.where(positive, low, losses - z * deviation), np.where(positive, high, losses + z * deviation)

    def end(self, learning_rates: ArrayLike) -> End:
        """The final loss of a training with these rates, for `difference`.

        Raises:
            InputError: as `deviation`.
        """
        self.require_worlds()
        rates = as_rates(learning_rates)
        question = ask(rates, [len(rates)])
        return End(rates, float(question.answer(self.law, self.parameters)[0]), self._drawn(question)[:, 0])

    def difference(self, first: End, second: End) -> tuple[float, float]:
        """The final loss of the second schedule less that of the first, and its standard deviation.

        Worlds are the same for both, so what is uncertain of both alike doesn't count. The law's doubt counts as far as
        their rates differ, that ahead as far as their lengths do.
        """
        difference = second.loss - first.loss
        apart = ((second.drawn - first.drawn - difference) ** 2).mean()
        ahead = np.diff(self._ahead(np.array([len(first.rates), len(second.rates)])))[0]
        doubt = 2 * self.doubt**2 * _unlike(first.rates, second.rates) + ahead**2
        return difference, float(np.sqrt(apart + doubt * ((first.loss + second.loss) / 2) ** 2))

    def require_worlds(self) -> None:
        """Refuse to say how sure a prediction is where nothing is known of it.

        Raises:
            InputError: for a law without worlds.
        """
        if not self.worlds:
            raise InputError("law must have worlds, as from fit_law: without, nothing says how sure a prediction is")


def as_level(level: object, name: str = "level") -> float:
    """The probability that an interval has, between 0 and 1."""
    return as_number(level, name, low=0.0, high=1.0, low_open=True, high_open=True)


def _unlike(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How far two schedules are apart, from 0 to 1: a rule of thumb.

    The mean, over the updates of the longer one, of the difference of rates as a share of a tenth of the peak, at most
    1 each.
    """
    common = min(len(first), len(second))
    apart = np.abs(first[:common] - second[:common]) / (_APART * max(first.max(), second.max()))
    return float(np.minimum(apart, 1.0).sum() + abs(len(first) - len(second))) / max(len(first), len(second))

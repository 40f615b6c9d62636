"""What a single record says: where its rate was reduced."""

from dataclasses import dataclass

import numpy as np

from lrkit.training.history import History

__all__ = ["Reduction", "reductions"]


@dataclass(frozen=True)
class Reduction:
    """A fall of the rate at once: update `step` was the first to use `after` instead of `before`."""

    step: int
    before: float
    after: float


def reductions(history: History, at_least: float = 0.05) -> tuple[Reduction, ...]:
    """Where the rate of the first group fell at once.

    A reduction is a fall between two updates by `at_least` that share of the rate, while the changes just before and
    after it are less than a quarter of that: so the tail of a decay to zero is a slope, and has none.
    """
    rates = history.lr
    with np.errstate(divide="ignore", invalid="ignore"):  # a rate of 0 falls no further
        fall = np.nan_to_num(1.0 - rates[1:] / rates[:-1])
    beside = np.abs(np.pad(fall, 1))
    alone = np.maximum(beside[:-2], beside[2:]) < fall / 4
    found = np.flatnonzero((fall >= at_least) & alone) + 1
    return tuple(Reduction(int(t), float(rates[t - 1]), float(rates[t])) for t in found)

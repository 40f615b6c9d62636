"""What a single record says: its best epoch, and where its rate was reduced."""

import math
from dataclasses import dataclass

import numpy as np

from lrkit.training.history import History

__all__ = ["Reduction", "best_epoch", "reductions"]

_RARE = 0.01  # more falls than this share of the updates are a slope, not reductions


@dataclass(frozen=True)
class Reduction:
    """A fall of the rate at once: update `step` was the first to use `after` instead of `before`."""

    step: int
    before: float
    after: float


def best_epoch(history: History) -> int | None:
    """The epoch (1-based) with the lowest validation loss, or training loss where there is no validation.

    The first of equals; None when no epoch has a finite loss.
    """
    losses = [(each.train_loss if each.valid_loss is None else each.valid_loss, each.epoch) for each in history.epochs]
    finite = [pair for pair in losses if math.isfinite(pair[0])]
    return min(finite)[1] if finite else None


def reductions(history: History, at_least: float = 0.05) -> tuple[Reduction, ...]:
    """Where the rate of the first group fell at once.

    A reduction is a fall between two updates by `at_least` that share of the rate. A schedule that falls so at more
    than one update in a hundred (a steep ramp, the tail of a decay to zero) has a slope and no reductions.
    """
    rates = history.lr
    falls = np.flatnonzero(rates[1:] < rates[:-1] * (1.0 - at_least)) + 1
    if len(falls) > max(1.0, _RARE * len(rates)):
        return ()
    return tuple(Reduction(int(t), float(rates[t - 1]), float(rates[t])) for t in falls)

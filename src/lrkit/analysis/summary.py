"""What a single record says: where its rate was reduced."""

from dataclasses import dataclass

import numpy as np

from lrkit.training.history import History

__all__ = ["Reduction", "reductions"]

_RARE = 0.01  # more falls than this share of the updates are a slope, not reductions


@dataclass(frozen=True)
class Reduction:
    """A fall of the rate at once: update `step` was the first to use `after` instead of `before`."""

    step: int
    before: float
    after: float


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

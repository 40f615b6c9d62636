"""Which rate is the best for a schedule, as far as held-out data can say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lrkit.training.history import EpochRecord, History

__all__ = ["Judge", "best_rate", "is_dropped"]


@dataclass(frozen=True)
class Judge:
    """What rates are chosen by: a measure on the held-out data.

    Attributes:
        measure: "loss" or a metric's name.
        mode: which is better, "min" or "max".
    """

    measure: str
    mode: Literal["min", "max"]

    def cost(self, record: EpochRecord) -> float:
        """The measure after an epoch as what should be low; infinite where it is no finite number.

        >>> Judge("accuracy", "max").cost(EpochRecord(1, 10, 0.5, 0.6, {"accuracy": 0.8}, lr=0.1, seconds=1.0))
        -0.8
        """
        held_out = record.valid_loss if self.measure == "loss" else record.metrics.get(self.measure)
        if held_out is None or not math.isfinite(held_out):
            return math.inf
        return held_out if self.mode == "min" else -held_out

    def final(self, history: History) -> float:
        """The cost after the last epoch; infinite where the run didn't come to its end."""
        if history.diverged is not None or is_dropped(history):
            return math.inf
        return self.cost(history.epochs[-1])


def is_dropped(history: History) -> bool:
    """Whether it ended early since its rate was hopeless."""
    return bool(history.made.get("dropped", False))


def best_rate(tried: Mapping[float, Mapping[int, History]], judge: Judge) -> tuple[float, float] | None:
    """The rate with the lowest mean cost at the end, and that cost; None where no run came to its end.

    Rates of which no seed failed come first; where there is none, those of which the fewest did.
    """
    ranked = []
    for rate, runs in tried.items():
        costs = [judge.final(history) for history in runs.values()]
        sound = [cost for cost in costs if math.isfinite(cost)]
        if sound:
            ranked.append((len(costs) - len(sound), math.fsum(sound) / len(sound), rate))
    if not ranked:
        return None
    _, cost, rate = min(ranked)
    return rate, cost

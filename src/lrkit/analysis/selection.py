"""Which rate is the best for a schedule, as far as held-out data can say."""

import math
from collections.abc import Mapping

from lrkit.analysis.comparison import Measure
from lrkit.analysis.standings import held_out_value, is_dropped
from lrkit.training.history import EpochRecord, History

__all__ = ["best_rate", "cost_of"]


def cost_of(record: EpochRecord, measure: Measure) -> float:
    """A measure of an epoch on held-out data as what should be low; infinite where it is no finite number.

    >>> cost_of(EpochRecord(1, 10, 0.5, 0.6, {"accuracy": 0.8}, lr=0.1, seconds=1.0), Measure("accuracy", "max"))
    -0.8
    """
    value = held_out_value(record, measure.name)
    if not math.isfinite(value):
        return math.inf
    return value if measure.mode == "min" else -value


def best_rate(tried: Mapping[float, Mapping[int, History]], measure: Measure) -> float | None:
    """The rate with the lowest mean cost at the end; None where no run came to its end.

    Rates of which no seed failed come first; where there is none, those of which the fewest did. Of equals it is the
    lowest rate.
    """
    ranked = []
    for rate, runs in tried.items():
        costs = [_final_cost(history, measure) for history in runs.values()]
        sound = [cost for cost in costs if math.isfinite(cost)]
        if sound:
            ranked.append((len(costs) - len(sound), math.fsum(sound) / len(sound), rate))
    return min(ranked)[-1] if ranked else None


def _final_cost(history: History, measure: Measure) -> float:
    """The cost at the end; infinite where the run didn't get there."""
    if history.diverged is not None or is_dropped(history):
        return math.inf
    return cost_of(history.epochs[-1], measure)

"""What came out for a schedule: what its runs end with, when they are good, and what another rate would have cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from lrkit.analysis.comparison import Candidate, Measure, Reached, Sensitivity, Standing, Tried
from lrkit.analysis.paired import mean_of
from lrkit.training.history import EpochRecord, History, best_epoch

__all__ = ["final_values", "held_out_value", "is_dropped", "measured", "sound", "stand", "tried_rates", "tried_value"]

_FACTOR = 3.0  # beside the best rate
_NEAR = 1.05  # as good as that far


def held_out_value(record: EpochRecord, name: str) -> float:
    """A measure of an epoch on held-out data (training data where there is none): what rates are chosen by."""
    loss = record.train_loss if record.valid_loss is None else record.valid_loss
    return loss if name == "loss" else record.metrics.get(name, math.nan)


def sound(histories: Iterable[History]) -> list[History]:
    """Those that came to their end with finite numbers."""
    return [each for each in histories if each.epochs and each.diverged is None and not is_dropped(each)]


def is_dropped(history: History) -> bool:
    """Whether it ended early since its rate had lost."""
    return bool(history.made.get("dropped", False))


def final_values(candidate: Candidate, measure: Measure) -> dict[int, float]:
    """The measure at the end of each run that has one, by seed."""
    found = {}
    for seed, history in candidate.runs.items():
        value = history.epochs[-1].reported.get(measure.name, math.nan) if history.epochs else math.nan
        if history.diverged is None and math.isfinite(value):
            found[seed] = value
    return found


def measured(candidates: Iterable[Candidate]) -> list[str]:
    """What all runs that have an epoch are measured by: "loss" and the metrics that all have."""
    names: dict[str, None] = {"loss": None}
    reports = [history.epochs[-1].reported for each in candidates for history in sound(each.runs.values())]
    for report in reports:
        names.update(dict.fromkeys(report))
    return [name for name in names if all(name in report for report in reports)]


def stand(candidate: Candidate, measure: Measure, names: Sequence[str], target: float | None) -> Standing:
    """The standing of a candidate, without its difference to the reference."""
    ended = [candidate.runs[seed] for seed in final_values(candidate, measure)]
    tried = tried_rates(candidate, measure)
    best = [_at_best(each) for each in ended]
    return Standing(
        name=candidate.name,
        schedule=candidate.schedule,
        best_lr=candidate.lr,
        n_seeds=len(candidate.runs),
        diverged=len(candidate.runs) - len(ended),
        final={name: mean_of([each.epochs[-1].reported[name] for each in ended]) for name in names} if ended else {},
        best={name: mean_of([each.reported[name] for each in best]) for name in names} if ended else {},
        difference=None,
        reached=None if target is None else _reached(list(candidate.runs.values()), measure, target),
        sensitivity=_sensitivity(candidate.lr, tried, measure),
        tried=tried,
        at_edge=_edge(candidate.lr, tried),
    )


def _at_best(history: History) -> EpochRecord:
    """The epoch with the lowest validation loss, which is chosen without a look at what is reported."""
    number = best_epoch(history)
    return history.epochs[-1 if number is None else number - 1]


# --- the way there -----------------------------------------------------------------------------------


def _reached(runs: Sequence[History], measure: Measure, target: float) -> Reached:
    found = [_first(each, measure, target) for each in runs]
    there = [each for each in found if each is not None]
    if 2 * len(there) <= len(runs):
        return Reached(len(there), len(runs), None, None)
    missing = [math.inf] * (len(runs) - len(there))
    steps, seconds = (float(np.median([each[part] for each in there] + missing)) for part in (0, 1))
    return Reached(len(there), len(runs), steps, seconds or None)  # 0 where times weren't recorded


def _first(history: History, measure: Measure, target: float) -> tuple[int, float] | None:
    """Updates and seconds until a run's measure is as good as the target, at the end of an epoch."""
    seconds = 0.0
    for epoch in history.epochs:
        seconds += epoch.seconds
        value = epoch.reported.get(measure.name, math.nan)
        if value <= target if measure.mode == "min" else value >= target:
            return epoch.step, seconds
    return None


# --- other rates -------------------------------------------------------------------------------------


def tried_rates(candidate: Candidate, measure: Measure) -> tuple[Tried, ...]:
    """The rates of the search, lowest first, with the mean of the measure over seeds."""
    return tuple(_tried(lr, candidate.tried[lr], measure) for lr in sorted(candidate.tried))


def _tried(lr: float, runs: Mapping[int, History], measure: Measure) -> Tried:
    last = [each.epochs[-1] for each in runs.values()]
    values = [held_out_value(each, measure.name) for each in last]
    epochs = min(each.epoch for each in last)
    if any(each.diverged is not None for each in runs.values()) or not all(map(math.isfinite, values)):
        return Tried(lr, None, "diverged", epochs)
    dropped = any(map(is_dropped, runs.values()))
    return Tried(lr, float(np.mean(values)), "dropped" if dropped else "ended", epochs)


def tried_value(candidate: Candidate, measure: Measure) -> float | None:
    """How good the candidate was in the search for its rate, on held-out data."""
    found = [each.value for each in tried_rates(candidate, measure) if each.lr == candidate.lr]
    return found[0] if found else None


def _edge(lr: float | None, tried: Sequence[Tried]) -> Literal["lowest", "highest"] | None:
    if len(tried) < 2:
        return None
    return "lowest" if lr == tried[0].lr else "highest" if lr == tried[-1].lr else None


def _sensitivity(lr: float | None, tried: Sequence[Tried], measure: Measure) -> Sensitivity | None:
    at_best = next((each.value for each in tried if each.lr == lr), None)
    if lr is None or at_best is None or len(tried) < 2:
        return None
    sign = 1.0 if measure.mode == "min" else -1.0

    def lost(rate: float) -> float | None:
        value = _between(tried, rate)
        return None if value is None else sign * (value - at_best)

    above = next((each for each in tried if each.lr * _NEAR >= lr * _FACTOR), None)
    return Sensitivity(lost(lr / _FACTOR), lost(lr * _FACTOR), above is not None and above.state == "diverged")


def _between(tried: Sequence[Tried], rate: float) -> float | None:
    """The measure at a rate, linear in the rate's logarithm between the two that are next to it and came to the end."""
    below = [each for each in tried if each.lr <= rate * _NEAR]
    above = [each for each in tried if each.lr * _NEAR >= rate]
    if not below or not above or below[-1].state != "ended" or above[0].state != "ended":
        return None
    low, high = below[-1], above[0]
    assert low.value is not None
    assert high.value is not None
    if low.lr >= high.lr:
        return low.value
    share = math.log(rate / low.lr) / math.log(high.lr / low.lr)
    return low.value + min(1.0, max(0.0, share)) * (high.value - low.value)

"""What a comparison says: which schedule is better, by how much, and how sure that is. Plain immutable data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from lrkit.schedules.errors import InputError
from lrkit.training.history import History

__all__ = [
    "Candidate",
    "Comparison",
    "Difference",
    "Mean",
    "Measure",
    "NothingEndedError",
    "Reached",
    "Sensitivity",
    "Standing",
    "Tried",
]

FORMAT = 1


class NothingEndedError(InputError):
    """There is nothing to compare, since no run came to its end with finite numbers."""


@dataclass(frozen=True)
class Candidate:
    """A schedule that is compared: its runs at one rate, and what was trained to find that rate.

    Attributes:
        name: what it is called, one of its kind in a comparison.
        schedule: as text.
        lr: the base of its runs; None where there is none, since no rate that was tried came to the end.
        runs: histories by seed.
        tried: of the search for the rate: for each rate, lowest first, histories by seed; those that were dropped on
            the way are shorter.
    """

    name: str
    schedule: str
    lr: float | None
    runs: Mapping[int, History]
    tried: Mapping[float, Mapping[int, History]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """What schedules are compared by.

    Attributes:
        name: "loss", or a metric's.
        mode: whether "min" or "max" is better.
        data: what it is measured on: "test", "validation", or "training".
    """

    name: str = "loss"
    mode: Literal["min", "max"] = "min"
    data: Literal["test", "validation", "training"] = "test"

    def __str__(self) -> str:
        return f"{self.data} {self.name}"


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with its 95 % interval.

    Attributes:
        mean: of the seeds that have a value.
        low, high: where the mean of all possible seeds is, by Student's t; None for fewer than two seeds.
        n: seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A schedule's measure less the reference's, seed by seed.

    Attributes:
        mean: over the seeds that both have.
        low, high: an interval that holds the true differences of all schedules at once with 95 %.
        p_value: of no difference, corrected for all schedules that are compared with the reference.
        uncorrected: the same of this comparison alone.
        n: seeds.
        seeds_needed: with how many seeds a true difference of this size would be found four times in five; None where
            it is beyond a million, or can't be said.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    uncorrected: float | None
    n: int
    seeds_needed: int | None

    @property
    def certain(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_value is not None and self.p_value < 0.05


@dataclass(frozen=True)
class Reached:
    """When runs got to the target: at the end of the first epoch whose measure is as good.

    Attributes:
        n: how many runs did, of `of`.
        steps: updates until then, in the median of all runs; None where half of them or more never did.
        seconds: the same of wall time, with what was trained beside it at that time.
    """

    n: int
    of: int
    steps: float | None
    seconds: float | None


@dataclass(frozen=True)
class Sensitivity:
    """What is lost with a rate that isn't the best, in the measure, as it was in the search for the rate.

    Attributes:
        lower: with a third of the best rate; None where no rate that low was trained to the end.
        higher: with three times the best rate; None where no rate that high was trained to the end.
        higher_diverged: whether that is since such a rate diverged.
    """

    lower: float | None
    higher: float | None
    higher_diverged: bool = False


@dataclass(frozen=True)
class Tried:
    """A rate in the search.

    Attributes:
        lr: the rate.
        value: the measure on held-out data, the mean over seeds, at the end of the training, or where it was dropped.
        state: whether it was trained to the end ("ended"), "dropped" as hopeless, or "diverged" with a seed.
        epochs: finished.
    """

    lr: float
    value: float | None
    state: Literal["ended", "dropped", "diverged"]
    epochs: int


@dataclass(frozen=True)
class Standing:
    """What came out for one schedule.

    Attributes:
        name: of the candidate.
        schedule: as text.
        best_lr: the rate of its runs.
        n_seeds: how many runs there are.
        diverged: how many of them have no finite measure at their end, as those that diverged.
        final: what is measured, by name ("loss" and the metrics), after the last epoch.
        best: the same after the epoch with the lowest validation loss (training loss without validation).
        difference: to the reference; None for the reference itself, and where either has diverged runs.
        reached: when it got to the target.
        sensitivity: None without a search for the rate.
        tried: rates of the search, lowest first.
        at_edge: whether the best rate is the lowest or the highest of the search, so that a better one may lie beyond.
    """

    name: str
    schedule: str
    best_lr: float | None
    n_seeds: int
    diverged: int
    final: Mapping[str, Mean]
    best: Mapping[str, Mean]
    difference: Difference | None
    reached: Reached | None
    sensitivity: Sensitivity | None
    tried: Sequence[Tried]
    at_edge: Literal["lowest", "highest"] | None


@dataclass(frozen=True)
class Comparison:
    """Which schedule is better, as far as that can be told.

    Attributes:
        measure: what they are compared by.
        reference: the name of the schedule that the others are compared with.
        standings: the best mean first; those with diverged runs after all others.
        target: of the measure, for `Standing.reached`; None where no run has a value.
        verdict: sentences, the most important first.
        notes: what a reader must know to trust it, or not to: sentences.
        made: how it was made; JSON-able.
        candidates: what it was made from, by name.
    """

    measure: Measure
    reference: str
    standings: Sequence[Standing]
    target: float | None
    verdict: Sequence[str]
    notes: Sequence[str]
    made: Mapping[str, Any]
    candidates: Mapping[str, Candidate] = field(repr=False)

    @cached_property
    def by_name(self) -> Mapping[str, Standing]:
        """The standings by name."""
        return {each.name: each for each in self.standings}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: all but the histories; what isn't finite becomes null."""
        return {
            "lrkit_comparison": FORMAT,
            "verdict": " ".join(self.verdict),
            "reference": self.reference,
            "measure": {"name": self.measure.name, "mode": self.measure.mode, "data": self.measure.data},
            "target": self.target,
            "schedules": [_standing_dict(each) for each in self.standings],
            "notes": list(self.notes),
            "made": dict(self.made),
        }


def _standing_dict(each: Standing) -> dict[str, Any]:
    final = {name: _plain(mean) for name, mean in each.final.items()}
    return {
        "name": each.name,
        "schedule": each.schedule,
        "best_lr": each.best_lr,
        "n_seeds": each.n_seeds,
        "diverged": each.diverged,
        "valid_loss": final.pop("loss", None),
        "metrics": final,
        "best": {name: _plain(mean) for name, mean in each.best.items()},
        "difference": _plain(each.difference),
        "reached": _plain(each.reached),
        "sensitivity": _plain(each.sensitivity),
        "tried": [_plain(rate) for rate in each.tried],
        "at_edge": each.at_edge,
    }


def _plain(part: Any) -> dict[str, Any] | None:
    """A part as JSON: an interval as a pair."""
    if part is None:
        return None
    found = {name: _finite(value) for name, value in vars(part).items()}
    if "low" in found:
        low, high = found.pop("low"), found.pop("high")
        found["interval"] = None if low is None or high is None else [low, high]
    return found


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

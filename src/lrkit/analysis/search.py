"""What both methods of finding a learning rate are given: the range, the seeds, and what trains lanes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lrkit.analysis.curves import Array
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_count, as_positive
from lrkit.training.history import History
from lrkit.training.hyper import read
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.work import Drop
from lrkit.training.preparation import make_model, make_optimizer
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["HIGHEST", "LOWEST", "Rates", "Search", "Train", "made_of_search", "of_different_seeds", "padded"]

LOWEST, HIGHEST = 1e-12, 1e4  # how far a range is widened
_LONGEST_LINEAR = 1e3  # high / low where rates grow in even steps, nearly all of which are in the last decade
_LEAST, _MOST = 1e-30, 1e30  # what a range may be: beyond, float32 has no room for weights
_OF_A_LANE = ("schedule", "policy", "lr", "seed", "epochs", "dropped")  # of what `History.made` says


class Train(Protocol):
    """`run_lanes`, with all but the lanes settled."""

    def __call__(self, task: Task, lanes: Sequence[Lane], drop: Drop) -> list[History]:
        """Train them."""


@dataclass(frozen=True)
class Search:
    """The range that is searched, and how.

    Attributes:
        low: the lowest rate.
        high: the highest.
        steps: updates of each lane.
        seeds: of the lanes.
        signal: "train" or "valid".
        growth: "exponential" or "linear".
        place: the device.
    """

    low: float
    high: float
    steps: int
    seeds: tuple[int, ...]
    signal: str
    growth: str
    place: torch.device

    @classmethod
    def of(
        cls, task: Task, *, low: float, high: float, steps: int, seeds: int, signal: str, growth: str, place: Any
    ) -> "Search":
        """The search, checked.

        Raises:
            InputError, InputTypeError: for a range that is none, and too few steps.
        """
        low, high = as_positive(low, "low"), as_positive(high, "high")
        if not low < high:
            raise InputError(f"low must be less than high, not {low:g} and {high:g}")
        for name, rate in (("low", low), ("high", high)):
            if not _LEAST <= rate <= _MOST:
                raise InputError(f"{name} must be between {_LEAST:g} and {_MOST:g}, not {rate:g}")
        if growth == "linear" and high / low > _LONGEST_LINEAR:
            raise InputError(
                f"growth='linear' needs a range of at most 3 decades, not {low:g} to {high:g}, of which it would see "
                f"the last one alone: set low to {high / _LONGEST_LINEAR:g} or more, or use growth='exponential'"
            )
        if signal == "valid" and task.valid is None:
            raise InputError("signal='valid' needs validation data, and the task has none")
        count = as_count(seeds, "seeds", low=1)
        return cls(low, high, as_count(steps, "steps", low=10), tuple(range(count)), signal, growth, place)

    def between(self, low: float, high: float, *, up: bool = False) -> "Search":
        """The same in another range, as far as a range is widened; one in even steps moves, up or down."""
        low, high = max(low, min(LOWEST, self.low)), min(high, max(HIGHEST, self.high))
        if self.growth == "linear" and high / low > _LONGEST_LINEAR:
            low, high = (high / _LONGEST_LINEAR, high) if up else (low, low * _LONGEST_LINEAR)
        return replace(self, low=low, high=high)

    @property
    def decades(self) -> float:
        """How long the range is."""
        return math.log10(self.high / self.low)


@dataclass(frozen=True)
class Rates:
    """The rates of the param groups of a task's optimizer.

    Attributes:
        bases: as the optimizer sets them.
        index: the first group that has one: rates are told as those of this group.
    """

    bases: tuple[float, ...]
    index: int

    @classmethod
    def of(cls, task: Task, place: torch.device) -> "Rates":
        """Those of a task.

        Raises:
            InputError: where all are 0, so that they have no ratios.
        """
        with seeded(0, place):
            optimizer = make_optimizer(task, make_model(task, place))
        bases = tuple(read(group, "lr") for group in optimizer.param_groups)
        if not any(bases):
            raise InputError("the optimizer must have a learning rate above 0, since param groups keep their ratios")
        return cls(bases, next(index for index, base in enumerate(bases) if base > 0))

    @property
    def base(self) -> float:
        """The one that rates are told as."""
        return self.bases[self.index]


def made_of_search(
    search: Search, rates: Rates, history: History, widened: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How it was made; JSON-able."""
    common = {name: value for name, value in history.made.items() if name not in _OF_A_LANE}
    return {
        **common,
        "low": search.low,
        "high": search.high,
        "steps": search.steps,
        "seeds": list(search.seeds),
        "signal": search.signal,
        "base": rates.base,
        "ratios": [base / rates.base for base in rates.bases],
        "widened": [dict(each) for each in widened],
    }


def padded(values: NDArray[Any], length: int) -> Array:
    """The values, and then what isn't a number."""
    found = np.full(length, np.nan)
    found[: len(values)] = values[:length]
    return found


def of_different_seeds(losses: Array) -> Array:
    """One row where all are the same to the bit: nothing in them is random, so more would only feign certainty."""
    same = all(np.array_equal(losses[0], each, equal_nan=True) for each in losses)
    return losses[:1] if same else losses

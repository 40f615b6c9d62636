"""What all formats of others come down to: numbers by name, each at a step; and what a caller says of them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.records.missing import Missing

__all__ = ["Choices", "Log", "Series"]


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers that were logged under one name; all arrays have the shape (points,), in the order of writing.

    Attributes:
        steps: as they were written.
        values: what isn't finite stays.
        orders: which point was written before which, comparable between the series of one log.
        times: seconds since 1970; None where they weren't written.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    orders: NDArray[np.float64]
    times: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def kept(self, where: NDArray[Any]) -> "Series":
        """The points at these places, or where this is true."""
        times = None if self.times is None else self.times[where]
        return Series(self.steps[where], self.values[where], self.orders[where], times)

    def agrees_with(self, other: "Series") -> bool:
        """Whether values at the same steps are the same, up to single precision; there must be some."""
        _, mine, theirs = np.intersect1d(self.steps, other.steps, return_indices=True)
        return len(mine) > 0 and bool(np.allclose(self.values[mine], other.values[theirs], rtol=1e-5, equal_nan=True))

    def __add__(self, other: "Series") -> "Series":
        """The sum where both have a point: of the same step, and the same place among those of this step."""
        mine, theirs = (_numbered(each.steps) for each in (self, other))
        common = sorted(mine.keys() & theirs.keys(), key=lambda each: mine[each])
        here, there = (np.array([each[key] for key in common], dtype=np.int64) for each in (mine, theirs))
        kept = self.kept(here)
        with np.errstate(invalid="ignore"):  # of infinities of both signs there is no sum
            return Series(kept.steps, kept.values + other.values[there], kept.orders, kept.times)


def _numbered(steps: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Places by step and by how often it was there before."""
    seen: Counter[int] = Counter()
    found = {}
    for place, step in enumerate(steps.tolist()):
        found[step, seen[step]] = place
        seen[step] += 1
    return found


@dataclass(frozen=True, eq=False)
class Log:
    """What a run of others left.

    Attributes:
        path: where.
        format: in words.
        series: by name.
        first_step: the step of the first update, 0 or 1, where the format fixes that.
        clock: the name of what counts its steps; None where they have none, as in events.
        in_epochs: whether all steps count epochs.
        epoch_steps: how many updates an epoch has, where the record says so.
        updates: in all, where the format says so.
        lr_ahead: whether a rate is known to be that of the update after.
        windows: whether a training loss is known to be the mean over the updates since the one before.
        lr_note: what can't be known of the rates, in words.
        made: what else is known of how the run was made.
        text: names of what isn't all numbers, with what it has instead.
        before: what was measured before training, by name.
        after: what was written after training, by name.
        constant: a rate that a configuration beside the record says for all of it, and how.
        hint: what such a configuration says of rates that can't be known from it.
        apart: how it is known that the record has several runs, of which this is one.
        carried: names of what has no steps of its own, but those of the rows before.
        missing: what must be passed for the steps to be known.
        said: what was left out or changed, in sentences.
    """

    path: str
    format: str
    series: Mapping[str, Series]
    first_step: Literal[0, 1] | None = None
    clock: str | None = None
    in_epochs: bool = False
    epoch_steps: int | None = None
    updates: int | None = None
    lr_ahead: bool = False
    windows: bool = False
    lr_note: str | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Series] = field(default_factory=dict)
    after: Mapping[str, Series] = field(default_factory=dict)
    constant: tuple[float, str] | None = None
    hint: str | None = None
    apart: str = ""
    carried: frozenset[str] = frozenset()
    missing: tuple[Missing, ...] = ()
    said: tuple[str, ...] = ()

    def named(self, name: str) -> Series:
        """The series of a name, or of a sum, `a+b`."""
        if name in self.series:
            return self.series[name]
        first, *others = (self.series[part.strip()] for part in name.split("+"))
        return sum(others, first)

    def with_made(self, made: Mapping[str, Any], constant: tuple[float, str] | None, hint: str | None) -> "Log":
        """With what is known of how the run was made, and of a rate that wasn't logged."""
        return replace(self, made=made, constant=constant, hint=hint)

    def cut(self, keep: Mapping[str, NDArray[np.bool_]]) -> "Log":
        """With the points alone where this is true, of the series that are named."""
        series = {name: each.kept(keep[name]) if name in keep else each for name, each in self.series.items()}
        return replace(self, series={name: each for name, each in series.items() if len(each)})


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a caller says of a log; None for what is to be guessed. `read_history` says what each means."""

    loss: str | None = None
    valid_loss: str | None = None
    lr: str | float | Sequence[str] | None = None
    metrics: Mapping[str, str] | None = None
    step: str | None = None
    epoch_steps: int | None = None
    first_step: int | None = None
    between: str | None = None
    lr_ahead: bool | None = None
    schedule: str | None = None
    run: str | None = None

    def __post_init__(self) -> None:
        if self.epoch_steps is not None and type(self.epoch_steps) is not int:
            raise InputTypeError(f"epoch_steps must be a whole number, not {shown(self.epoch_steps)}")
        self._check_rates()
        if self.epoch_steps is not None and self.epoch_steps < 1:
            raise InputError(f"epoch_steps must be at least 1, not {self.epoch_steps}")
        if self.first_step not in (None, 0, 1):
            raise InputError(f"first_step must be 0 or 1, not {shown(self.first_step)}")
        if self.between not in (None, "linear", "hold"):
            raise InputError(f"between must be 'linear' or 'hold', not {shown(self.between)}")
        if self.metrics is not None and not isinstance(self.metrics, Mapping):
            raise InputTypeError(f"metrics must be a mapping of names to recorded names, not {shown(self.metrics)}")

    def _check_rates(self) -> None:
        lr: object = self.lr
        if lr is None or isinstance(lr, str):
            return
        if isinstance(lr, int | float) and not isinstance(lr, bool):
            if not (lr >= 0 and math.isfinite(lr)):
                raise InputError(f"lr must be finite and not negative, not {shown(lr)}")
        elif not isinstance(lr, list | tuple) or not all(isinstance(name, str) for name in lr):
            raise InputTypeError(f"lr must be a number, a name or a list of names, not {shown(lr)}")
        elif not lr or len(set(lr)) < len(lr):
            raise InputError(f"lr must name at least one rate, and each once, not {shown(lr)}")

    @property
    def given(self) -> list[str]:
        """What was said of names and steps."""
        default = Choices()
        return [name for name in vars(self) if name != "schedule" and getattr(self, name) != getattr(default, name)]

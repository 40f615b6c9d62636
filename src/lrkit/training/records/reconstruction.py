"""From what was logged now and then to what every update used and gave; what is filled in is said."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError
from lrkit.training.history import EpochRecord, History
from lrkit.training.records.computed import computed_rates
from lrkit.training.records.logged import as_spans
from lrkit.training.records.names import Names, choose_names
from lrkit.training.records.points import clock_of, epoch_length, first_step_of, held, latest, restarts_of, went_back
from lrkit.training.records.series import Choices, Log, Series

__all__ = ["reconstruct"]

_MOST_UPDATES = 200_000_000


def reconstruct(log: Log, choices: Choices) -> History:
    """The history of what was logged.

    Raises:
        InputError: for names that aren't there, and steps that can't be updates.
    """
    names = choose_names(log, choices)
    return _Reconstruction(log, choices, names).history()


class _Reconstruction:
    """Series by update: `steps` of each is the update, 0-based, that a point belongs to."""

    def __init__(self, log: Log, choices: Choices, names: Names) -> None:
        self.log, self.choices, self.names = log, choices, names
        self.epoch_steps = choices.epoch_steps or log.epoch_steps
        self.first: dict[str, int] = {}
        wanted = [name for name in (*_train_names(names), *_valid_names(names), *_test_names(names)) if name]
        raw = {name: log.series[name] for name in dict.fromkeys(wanted)}
        for name in _valid_names(names):
            there = np.isfinite(raw[name].values)
            if 0 < 2 * there.sum() < len(there):  # NaN stands for nothing in a column of the rows of training
                raw[name] = raw[name].kept(there)
        for name in (names.loss, *names.lr):
            if not len(raw[name]):
                raise InputError(f"{log.path} has no value of {name}")
        self.epoch_from = None if self.epoch_steps is None else "said" if choices.epoch_steps else "column of epochs"
        self.training: list[Series] = []
        self.series: dict[str, Series] = {}
        self._scale_epochs(raw)
        self.training = [self.series[name] for name in (names.loss, *names.lr)]
        self.restarts = went_back(self.series[names.loss], self.training)
        self.series = {name: latest(each, restarts_of(each, self.training)) for name, each in self.series.items()}
        self.updates = self._count()

    # --- steps to updates -------------------------------------------------------------------------

    def _scale_epochs(self, raw: Mapping[str, Series]) -> None:
        """Make updates of steps."""
        train = [raw[name] for name in (self.names.loss, *self.names.lr)]
        total = max(int(each.steps.max()) + 1 for each in train)
        self.all_epochs = self.log.in_epochs or (self.epoch_steps is not None and self.epoch_steps > total)
        if self.all_epochs and self.epoch_steps is None:
            raise InputError(f"{self.log.path} counts epochs and no updates; say epoch_steps=, how many an epoch has")
        for name, each in raw.items():
            kind, first = ("epochs", 0) if self.all_epochs else self._clock_of(name, each)
            updates = each.steps - first
            if kind == "epochs":
                first = int(each.steps.min())
                assert self.epoch_steps is not None
                updates = (each.steps - first + 1) * self.epoch_steps - 1
            self.first[name] = first
            moved = dataclasses.replace(each, steps=updates)
            if name in self.names.lr and self._ahead:
                moved = dataclasses.replace(each, steps=updates + 1)
            self.series[name] = moved.kept(moved.steps >= 0)

    @property
    def _ahead(self) -> bool:
        return self.log.lr_ahead if self.choices.lr_ahead is None else self.choices.lr_ahead

    def _clock_of(self, name: str, series: Series) -> tuple[str, int]:
        known = self.choices.first_step if self.choices.first_step is not None else self.log.first_step
        training = [self.log.series[each] for each in (self.names.loss, *self.names.lr)]
        loss = training[0].steps
        told = 0 if known is None and any(each.steps.min() <= 0 for each in training) else known  # a row 0 of any
        first = first_step_of(loss) if told is None else told
        if name == self.names.loss:
            return "updates", first
        if name in self.names.lr:
            return "updates", first_step_of(series.steps) if told is None else told
        counted = latest(series, restarts_of(series, training))  # what a resume replaced would spoil the distance
        kind, own = clock_of(counted.steps, loss, first=first, epoch_steps=self.epoch_steps)
        if kind == "epochs":
            self._know_epoch(name, series, first)
        return kind, own if known is None or kind == "epochs" else known

    def _know_epoch(self, name: str, series: Series, first: int) -> None:
        """How long an epoch is, where validation counts them beside updates."""
        if self.epoch_steps is not None:
            return
        epochs = self._epochs(first)
        self.epoch_steps, self.epoch_from = (None if epochs is None else epoch_length(epochs)), "column of epochs"
        if self.epoch_steps is None:
            total = max(int(self.log.series[self.names.loss].steps.max()) - first + 1, self.log.updates or 0)
            length, rest = divmod(total, len(np.unique(series.steps)))
            if rest:
                raise InputError(f"{name} of {self.log.path} counts epochs; say epoch_steps=, how many updates one has")
            self.epoch_steps, self.epoch_from = length, "updates by validations"

    def _epochs(self, first: int) -> Series | None:
        """The record's own count of epochs, by update."""
        name = next((each for each in self.log.series if each.lower() in ("epoch", "train/epoch")), None)
        if name is None:
            return None
        moved = self.log.series[name]
        moved = dataclasses.replace(moved, steps=moved.steps - first)
        moved = moved.kept(moved.steps >= 0)
        return latest(moved, restarts_of(moved, self.training)) if len(moved) else None

    def _count(self) -> int:
        """Updates in all."""
        ends = [self.series[self.names.loss], *(self.series[name] for name in _valid_names(self.names))]
        ends += [] if self._ahead else [self.series[name] for name in self.names.lr]
        found = max((int(each.steps.max()) + 1 for each in ends if len(each)), default=0)
        found = max(found, self.log.updates or 0)
        if not 0 < found <= _MOST_UPDATES:
            raise InputError(
                f"{self.log.path} has steps up to {found}, which can't be updates; say step= or first_step="
            )
        return found

    # --- every update -----------------------------------------------------------------------------

    def _losses(self) -> NDArray[np.float32]:
        """Each update has the loss of the window that it is in; after the last one that was logged, this."""
        return held(self.series[self.names.loss], self.updates, until=True).astype(np.float32)

    def _rates(self) -> NDArray[np.float64]:
        if isinstance(self.choices.lr, int | float):
            base = float(self.choices.lr)
            return computed_rates(self.choices.schedule, base, self.updates, self.epoch_steps)[:, None]
        return np.stack([self._rate(self.series[name]) for name in self.names.lr], axis=1)

    def _rate(self, series: Series) -> NDArray[np.float64]:
        series = series.kept(np.isfinite(series.values))
        if not len(series):
            raise InputError(f"{self.log.path} has no finite learning rate")
        if series.values.min() < 0:
            raise InputError(f"{self.log.path} has a negative learning rate, {float(series.values.min())}")
        if self.all_epochs or self.choices.between == "hold":
            return held(series, self.updates, until=self.all_epochs)
        return np.interp(np.arange(self.updates), series.steps, series.values)

    # --- epochs -----------------------------------------------------------------------------------

    def history(self) -> History:
        """All of it."""
        losses, rates = self._losses(), self._rates()
        ends = self._ends(losses)
        epochs = [self._epoch(number, ends, losses, rates) for number in range(len(ends))]
        return History(tuple(epochs), rates[: ends[-1]].copy(), losses[: ends[-1]].copy(), self._made(rates, ends))

    def _ends(self, losses: NDArray[np.float32]) -> list[int]:
        """Updates done at the end of each record: where it was validated, else where epochs ended, else one."""
        validated = [self.series[name] for name in _valid_names(self.names)[:1] if len(self.series[name])]
        if validated:
            ends = sorted({int(step) + 1 for step in validated[0].steps if step < self.updates})
            if not np.isfinite(losses[ends[-1] :]).all():  # it diverged afterwards, which mustn't be lost
                ends.append(self.updates)
            return ends
        if self.epoch_steps is not None:
            return [*range(self.epoch_steps, self.updates, self.epoch_steps), self.updates]
        return self._epoch_ends()

    def _epoch_ends(self) -> list[int]:
        each = self._epochs(self.first[self.names.loss])
        if each is None:
            return [self.updates]
        if (each.values % 1).any():  # progress: at its whole numbers an epoch has ended
            whole = np.arange(1, math.floor(each.values[-1]) + 1)
            found = np.rint(np.interp(whole, each.values, each.steps + 1)).astype(int)
        else:
            found = each.steps[np.flatnonzero(np.diff(each.values))] + 1
        return sorted({*(int(end) for end in found if 0 < end < self.updates), self.updates})

    def _epoch(
        self, number: int, ends: Sequence[int], losses: NDArray[np.float32], rates: NDArray[np.float64]
    ) -> EpochRecord:
        begin, end = ends[number - 1] if number else 0, ends[number]
        last = number == len(ends) - 1
        valid = [self._within(name, begin, end) for name in (self.names.valid_loss, *self.names.metrics.values())]
        test = [
            self._within(name, begin, end, last=last)
            for name in (self.names.test_loss, *self.names.test_metrics.values())
        ]
        return EpochRecord(
            epoch=number + 1,
            step=end,
            train_loss=float(losses[begin:end].astype(np.float64).mean()),
            valid_loss=valid[0],
            metrics=_named(self.names.metrics, valid[1:]),
            lr=float(rates[end - 1, 0]),
            seconds=self._time(end) - self._time(begin),
            test_loss=test[0],
            test_metrics=_named(self.names.test_metrics, test[1:]) if test[0] is not None else {},
        )

    def _within(self, name: str | None, begin: int, end: int, *, last: bool | None = None) -> float | None:
        """The last value between two ends; a single one of test data belongs to the last record."""
        if name is None:
            return None
        series = self.series[name]
        if last is not None and len(series) == 1:
            return float(series.values[0]) if last else None
        there = np.flatnonzero((series.steps >= begin) & ((series.steps < end) | bool(last)))
        return float(series.values[there[-1]]) if len(there) else None

    def _time(self, done: int) -> float:
        """When so many updates were done; 0 where it isn't known."""
        series = self.series[self.names.loss]
        if series.times is None or not len(series):
            return 0.0
        return float(np.interp(done, series.steps + 1, series.times))

    # --- how it was made --------------------------------------------------------------------------

    def _made(self, rates: NDArray[np.float64], ends: Sequence[int]) -> dict[str, Any]:
        computed = not self.names.lr
        filled = {"loss": self._filled(self.names.loss)}
        filled |= {"lr": self.updates} if computed else {name: self._filled(name) for name in self.names.lr}
        used = {
            "loss": self.names.loss,
            "lr": list(self.names.lr) or "computed",
            "valid_loss": self.names.valid_loss,
            "metrics": dict(self.names.metrics),
            "test_loss": self.names.test_loss,
            "test_metrics": dict(self.names.test_metrics),
        }
        return {
            **self.log.made,
            "lr": float(rates.max()),
            "steps": self.updates,
            "epochs": len(ends),
            "imported": {
                "from": self.log.path,
                "format": self.log.format,
                "names": used,
                "points": {name: len(each) for name, each in self.series.items()},
                "filled_in": filled,
                "logged": self._logged(),
                "restarts": self.restarts,
                "loss_over": "window" if self.all_epochs or self.log.windows else "update",
                "between": "computed" if computed else self.choices.between,
                "first_step": self.first[self.names.loss],
                "epoch_steps": self.epoch_steps,
                "epoch_steps_from": self.epoch_from,
                "lr_ahead": self._ahead,
                "lr_before_the_first": "computed" if computed else "the first that was logged, held",
                "lr_note": None if self._ahead or computed else self.log.lr_note,
                "left_out_at_the_end": self.updates - ends[-1],
            },
        }

    def _logged(self) -> dict[str, list[list[int]]]:
        """The updates with a value of their own, where not all have one; of the rate of an epoch that is its first."""
        steps = {"loss": self.series[self.names.loss].steps}
        for name in self.names.lr:
            each = self.series[name]
            known = each.steps[np.isfinite(each.values)]
            ends = self.epoch_steps if self.all_epochs and self.epoch_steps else 1
            steps[name] = np.maximum(known - ends + 1, 0)
        inside = {name: each[each < self.updates] for name, each in steps.items()}
        return {name: as_spans(each) for name, each in inside.items() if len(each) < self.updates}

    def _filled(self, name: str) -> int:
        """Updates without a value of their own."""
        steps = self.series[name].steps
        return self.updates - int((steps < self.updates).sum())


def _train_names(names: Names) -> list[str]:
    return [names.loss, *names.lr]


def _valid_names(names: Names) -> list[str]:
    return [name for name in (names.valid_loss, *names.metrics.values()) if name is not None]


def _test_names(names: Names) -> list[str]:
    return [name for name in (names.test_loss, *names.test_metrics.values()) if name is not None]


def _named(names: Mapping[str, str], values: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}

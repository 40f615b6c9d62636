"""From what was logged now and then to what every update used and gave; what is filled in is said."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError
from lrkit.training.history import EpochRecord, History
from lrkit.training.records.clocks import Placed, place
from lrkit.training.records.computed import computed_rates
from lrkit.training.records.logged import as_spans
from lrkit.training.records.missing import Missing, MissingChoiceError
from lrkit.training.records.names import Names, choose_names, unread
from lrkit.training.records.points import held
from lrkit.training.records.series import Choices, Log, Series

__all__ = ["reconstruct"]

_MOST_UPDATES = 200_000_000
_MOST_SAID = 20  # names of what isn't read
_NEARLY_ALL = 0.8  # of the epochs have a rate, where it is logged once in each


def reconstruct(log: Log, choices: Choices) -> History:
    """The history of what was logged.

    Raises:
        InputError: for names that aren't there, and steps that can't be updates.
        MissingChoiceError: for all that must be passed.
    """
    names = choose_names(log, choices)
    names, choices = _with_configured_rate(log, choices, names)
    missing = [*names.missing, *log.missing]
    for name in names.training:
        if not len(log.named(name)):
            raise InputError(f"{log.path} has no value of {name}")
    placed = place(log, choices, names) if names.training else None
    missing += [] if placed is None else [each for each in placed.missing if each.argument not in _arguments(missing)]
    if missing or placed is None or names.loss is None:
        raise MissingChoiceError(log.path, missing, log.series)
    for name in names.training:
        if not len(placed.series[name]):
            raise InputError(f"{log.path} has no value of {name} at an update")
    return _Reconstruction(log, choices, names, placed).history()


def _arguments(missing: Sequence[Missing]) -> set[str]:
    return {each.argument for each in missing}


def _with_configured_rate(log: Log, choices: Choices, names: Names) -> tuple[Names, Choices]:
    """The rate that a configuration beside says, where none was logged; else what it says goes with the question."""
    if "lr" not in _arguments(names.missing):
        return names, choices
    others = tuple(each for each in names.missing if each.argument != "lr")
    if log.constant is not None:
        rate, said = log.constant
        return dataclasses.replace(names, missing=others, said=(*names.said, said)), dataclasses.replace(
            choices, lr=rate
        )
    if log.hint is None:
        return names, choices
    told = (*others, Missing("lr", f"which column is the learning rate ({log.hint})"))
    return dataclasses.replace(names, missing=told), choices


class _Reconstruction:
    def __init__(self, log: Log, choices: Choices, names: Names, placed: Placed) -> None:
        assert names.loss is not None
        self.log, self.choices, self.names, self.placed = log, choices, names, placed
        self.loss, self.series, self.epoch_steps = names.loss, dict(placed.series), placed.epoch_steps
        self.said = [*names.said, *log.said, *placed.said]
        self.updates = self._count()
        self.held = set(placed.by_epoch & set(names.lr))
        self._hold_by_epoch()

    @property
    def _ahead(self) -> bool:
        return self.log.lr_ahead if self.choices.lr_ahead is None else self.choices.lr_ahead

    def _count(self) -> int:
        """Updates in all."""
        ends = [self.series[name].steps for name in (self.loss, *self.names.validation)]
        for name in [] if self._ahead else self.names.lr:
            by_epoch = name in self.placed.by_epoch and self.epoch_steps is not None
            ends.append(self.series[name].steps + ((self.epoch_steps or 1) - 1 if by_epoch else 0))
        found = max((int(each.max()) + 1 for each in ends if len(each)), default=0)
        found = max(found, self.log.updates or 0)
        if not 0 < found <= _MOST_UPDATES:
            raise InputError(f"{self.log.path} has steps up to {found}, which can't be updates")
        return found

    # --- every update -----------------------------------------------------------------------------

    def _losses(self) -> NDArray[np.float32]:
        """Each update has the loss of the window that it is in; after the last one that was logged, this."""
        with np.errstate(over="ignore"):  # beyond single precision it is infinite
            return held(self.series[self.loss], self.updates, until=True).astype(np.float32)

    def _rates(self) -> NDArray[np.float64]:
        if isinstance(self.choices.lr, int | float):
            base = float(self.choices.lr)
            return computed_rates(self.choices.schedule, base, self.updates, self.epoch_steps)[:, None]
        return np.stack([self._rate(name) for name in self.names.lr], axis=1)

    def _rate(self, name: str) -> NDArray[np.float64]:
        series = self.series[name].kept(np.isfinite(self.series[name].values))
        if not len(series):
            raise InputError(f"{self.log.path} has no finite learning rate")
        if series.values.min() < 0:
            raise InputError(f"{self.log.path} has a negative learning rate, {float(series.values.min())}")
        if name in self.held or self.choices.between == "hold":
            return held(series, self.updates, until=False)
        return np.interp(np.arange(self.updates), series.steps, series.values)

    def _hold_by_epoch(self) -> None:
        """Rates that were logged once an epoch, at its begin or its end, are those of the epoch."""
        if self.choices.between is not None or self.placed.in_epochs:
            return
        found = []
        for name in self.names.lr:
            begins = None if name in self.held else self._begins_of(self.series[name])
            if begins is not None:
                self.series[name] = dataclasses.replace(self.series[name], steps=begins)
                self.held.add(name)
                found.append(name)
        if found:
            self.said.append(f"{', '.join(found)} was logged once an epoch, and is held within it")

    def _begins_of(self, rates: Series) -> NDArray[np.int64] | None:
        """The first update of the epoch of each rate; None where they weren't logged once an epoch."""
        losses = self.series[self.loss].steps
        ends = np.array(self._known_ends(), dtype=np.int64)
        if len(rates) < 2 or len(losses) < 2 * len(rates) or len(ends) < 2:
            return None
        number = np.searchsorted(ends, rates.steps, side="right")
        if (np.diff(number) < 1).any() or len(number) < _NEARLY_ALL * (number[-1] - number[0] + 1):
            return None
        begins = np.append(0, ends)[number]
        near = max(int(np.median(np.diff(losses))), 1)
        last = np.append(ends, self.updates)[number] - 1
        if (rates.steps - begins < near).all() or (last - rates.steps < near)[:-1].all():
            return begins
        return None

    def _known_ends(self) -> list[int]:
        """Where epochs end by the record's own count, or by their length."""
        if self.epoch_steps is not None:
            return [*range(self.epoch_steps, self.updates + 1, self.epoch_steps)]
        return [] if self.placed.epochs is None else self._epoch_ends(self.placed.epochs)

    # --- epochs -----------------------------------------------------------------------------------

    def history(self) -> History:
        """All of it."""
        losses, rates = self._losses(), self._rates()
        ends = self._ends(losses)
        epochs = [self._epoch(number, ends, losses, rates) for number in range(len(ends))]
        return History(tuple(epochs), rates[: ends[-1]].copy(), losses[: ends[-1]].copy(), self._made(rates, ends))

    def _ends(self, losses: NDArray[np.float32]) -> list[int]:
        """Updates done at the end of each record: where it was validated, else where epochs ended, else one."""
        validated = [self.series[name] for name in self.names.validation[:1] if len(self.series[name])]
        if validated:
            ends = sorted({int(step) + 1 for step in validated[0].steps if step < self.updates})
            if not np.isfinite(losses[ends[-1] :]).all():  # it diverged afterwards, which mustn't be lost
                ends.append(self.updates)
            return ends
        if self.epoch_steps is not None:
            return [*range(self.epoch_steps, self.updates, self.epoch_steps), self.updates]
        return [self.updates] if self.placed.epochs is None else self._epoch_ends(self.placed.epochs)

    def _epoch_ends(self, each: Series) -> list[int]:
        """By the record's own count; those before the first row are counted."""
        if (each.values % 1).any():  # progress: at its whole numbers an epoch has ended
            last = math.floor(min(each.values[-1], self.updates))
            whole = np.arange(1, last + 1)
            steps, values = np.append(0, each.steps + 1), np.append(0.0, each.values)
            found = np.rint(np.interp(whole, values, steps)).astype(int)
        else:
            found = self._ends_between_rows(each)
        return sorted({*(int(end) for end in found if 0 < end < self.updates), self.updates})

    def _ends_between_rows(self, each: Series) -> NDArray[np.int64]:
        """An epoch ends after its last row and before the next one's first: at the one of both that is evenly apart."""
        changes = np.flatnonzero(np.diff(each.values) > 0)
        after, until = each.steps[changes] + 1, each.steps[changes + 1]
        length = np.unique(np.diff(until))
        if len(length) == 1 and until[0] % length[0] == 0 and after[0] % length[0] != 0:
            after = until
        return np.append(self._ends_before(each, after), after)

    def _ends_before(self, each: Series, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of epochs that ended before the first row, where those that follow are evenly long and as many fit in."""
        nothing = np.zeros(0, dtype=np.int64)
        if len(ends) < 2 or len(set(np.diff(ends).tolist())) > 1:
            return nothing
        length = int(ends[1] - ends[0])
        before = ends[0] - length * np.arange(1, ends[0] // length + 1)
        before = before[before > 0]
        return before if int(each.values[0]) in (len(before), len(before) + 1) else nothing

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
            train_loss=_mean(losses[begin:end]),
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
        series = self.series[self.loss]
        if series.times is None or not np.isfinite(series.times).any():
            return 0.0
        known = series.kept(np.isfinite(series.times))
        return float(np.interp(done, known.steps + 1, known.times if known.times is not None else 0))

    # --- how it was made --------------------------------------------------------------------------

    def _made(self, rates: NDArray[np.float64], ends: Sequence[int]) -> dict[str, Any]:
        computed = not self.names.lr
        filled = {"loss": self._filled(self.loss)}
        filled |= {"lr": self.updates} if computed else {name: self._filled(name) for name in self.names.lr}
        used = {
            "loss": self.loss,
            "lr": list(self.names.lr) or "computed",
            "valid_loss": self.names.valid_loss,
            "metrics": dict(self.names.metrics),
            "test_loss": self.names.test_loss,
            "test_metrics": dict(self.names.test_metrics),
        }
        windows = self.loss in self.placed.by_epoch or self.log.windows
        hold = self.choices.between == "hold" or bool(self.held)
        lr_note = None if self.choices.lr_ahead is not None or self._ahead or computed else self.log.lr_note
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
                "points_logged": {name: self._logged_points(name) for name in self.series},
                "filled_in": filled,
                "logged": self._logged(),
                "restarts": self.placed.restarts,
                "loss_over": "window" if windows else "update",
                "between": "computed" if computed else "hold" if hold else "linear",
                "unit": "epochs" if self.placed.in_epochs else "updates",
                "first_step": self.placed.first,
                "epoch_steps": self.epoch_steps,
                "epoch_steps_from": self.placed.epoch_from,
                "lr_ahead": self._ahead,
                "lr_before_the_first": "computed" if computed else "the first that was logged, held",
                "lr_note": lr_note,
                "left_out_at_the_end": self.updates - ends[-1],
                "after_training": _last_of(self.log.after),
                "before_training": _last_of({**self.log.before, **self.placed.before}),
                "not_read": unread(self.log, self.names),
                "begins_late": self._begins_late(),
                "said": self._all_said(lr_note, ends),
            },
        }

    def _logged_points(self, name: str) -> int:
        """How many points the record has, with those that were left out."""
        left_out = [each[name] for each in (self.log.before, self.log.after) if name in each]
        return len(self.log.named(name)) + sum(map(len, left_out))

    def _all_said(self, lr_note: str | None, ends: Sequence[int]) -> list[str]:
        """Everything that a person should know of how it was read, in sentences without a point at their end."""
        said = list(self.said)
        restarts = self.placed.restarts
        if restarts:
            often = "" if len(restarts) == 1 else f" {len(restarts)} times, first"
            [last, again] = restarts[0]
            said.append(f"the record goes back{often} from step {last} to {again}: later rows replace earlier ones")
        if late := self._begins_late():
            said.append(late)
        if lr_note:
            said.append(lr_note)
        others = unread(self.log, self.names)
        if others:
            more = f" and {len(others) - _MOST_SAID} more" if len(others) > _MOST_SAID else ""
            said.append(f"not read: {', '.join(others[:_MOST_SAID])}{more}")
        if self.updates > ends[-1]:
            rest = self.updates - ends[-1]
            said.append(f"{rest} update{'s' if rest > 1 else ''} after the last validation left out")
        return said

    def _begins_late(self) -> str | None:
        """That the first row is far from the first update, where it is."""
        steps = self.series[self.loss].steps
        usual = int(np.median(np.diff(steps))) if len(steps) > 1 else int(steps[0])
        if self.log.in_epochs or steps[0] <= 2 * usual:
            return None
        return f"its first row is after {steps[0] + 1} updates: what lies before is held at the first values"

    def _logged(self) -> dict[str, list[list[int]]]:
        """The updates with a value of their own, where not all have one; of the rate of an epoch that is its first."""
        steps = {"loss": self.series[self.loss].steps}
        for name in self.names.lr:
            each = self.series[name]
            steps[name] = each.steps[np.isfinite(each.values)]
        inside = {name: each[each < self.updates] for name, each in steps.items()}
        return {name: as_spans(each) for name, each in inside.items() if len(each) < self.updates}

    def _filled(self, name: str) -> int:
        """Updates without a value of their own."""
        steps = self.series[name].steps
        return self.updates - int((steps < self.updates).sum())


def _mean(losses: NDArray[np.float32]) -> float:
    with np.errstate(invalid="ignore"):  # of infinities of both signs there is none
        return float(losses.astype(np.float64).mean())


def _last_of(series: Mapping[str, Series]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, each in series.items():
        value = float(each.values[-1])
        found[name] = {"step": int(each.steps[-1]), "value": value if math.isfinite(value) else None}
    return found


def _named(names: Mapping[str, str], values: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}

"""From the steps that were written to updates: what counts epochs, what counts updates, and from which number."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lrkit.training.records.missing import Missing
from lrkit.training.records.names import Names
from lrkit.training.records.points import clock_of, epoch_length, first_step_of, latest, restarts_of, went_back
from lrkit.training.records.series import Choices, Log, Series
from lrkit.training.records.words import counts_epochs, words_of

__all__ = ["Placed", "place"]


@dataclass(frozen=True, eq=False)
class Placed:
    """Series by update: `steps` of each is the update, 0-based, that a point belongs to.

    Attributes:
        series: by name, in the order of updates; of what was written again the latest.
        first: what the first update of the training loss is called.
        epochs: the record's own count of epochs; None where it has none.
        by_epoch: names whose points stand for whole epochs; rates are at the first update of theirs.
        epoch_steps: how many updates an epoch has; None where that isn't known.
        epoch_from: how that is known.
        in_epochs: whether an update stands for an epoch, since nobody said how many it has.
        restarts: where the run went on from before, as [the last update, the first that was written again].
        before: what was measured before the first update, by name.
        missing: what must be passed.
        said: what was assumed and left out, in sentences.
    """

    series: Mapping[str, Series]
    first: int
    epochs: Series | None
    by_epoch: frozenset[str]
    epoch_steps: int | None
    epoch_from: str | None
    in_epochs: bool
    restarts: list[list[int]]
    before: Mapping[str, Series]
    missing: tuple[Missing, ...]
    said: tuple[str, ...]


def place(log: Log, choices: Choices, names: Names) -> Placed:
    """Where the points of what is read lie among the updates of the run."""
    return _Clocks(log, choices, names).placed()


class _Clocks:
    def __init__(self, log: Log, choices: Choices, names: Names) -> None:
        self.log, self.choices, self.names = log, choices, names
        self.epoch_steps = choices.epoch_steps or log.epoch_steps
        self.epoch_from = None if self.epoch_steps is None else "said" if choices.epoch_steps else "column of epochs"
        self.missing: list[Missing] = []
        self.said: list[str] = []
        wanted = dict.fromkeys([*names.training, *names.validation, *names.test])
        self.raw = {name: log.named(name) for name in wanted}
        self._leave_out_nothings()
        self.training = [self.raw[name] for name in names.training]
        self.ahead = log.lr_ahead if choices.lr_ahead is None else choices.lr_ahead

    def _leave_out_nothings(self) -> None:
        """NaN stands for nothing in a column of the rows of others: of validation in those of training, and back."""
        for name in self.names.validation:
            there = np.isfinite(self.raw[name].values)
            if 0 < 2 * there.sum() < len(there):
                self.raw[name] = self.raw[name].kept(there)
        valid = [self.raw[name] for name in self.names.validation if self.log.clock is not None]
        measured = [each.orders[np.isfinite(each.values)] for each in valid]
        if not measured:
            return
        rated = [self.raw[name].orders[np.isfinite(self.raw[name].values)] for name in self.names.lr]
        rows = np.setdiff1d(np.concatenate(measured), np.concatenate(rated)) if rated else np.concatenate(measured)
        for name in self.names.training:
            nothing = ~np.isfinite(self.raw[name].values) & np.isin(self.raw[name].orders, rows)
            if not nothing.all():
                self.raw[name] = self.raw[name].kept(~nothing)

    # --- which clock ------------------------------------------------------------------------------

    def placed(self) -> Placed:
        reference = max(self.training, key=lambda each: (int(each.steps.max()), len(each)))
        total = int(reference.steps.max()) + 1
        whole = self._counts_epochs(total)
        moved: dict[str, Series] = {}
        by_epoch: set[str] = set()
        first = self._first_epoch() if whole else self._first_of(reference)
        own_first = first
        unit = whole and self.epoch_steps is None
        if unit:
            self.epoch_steps, self.epoch_from = 1, "none: an update stands for an epoch"
            self.said.append("it counts epochs: each is read as one update, since epoch_steps isn't given")
        for name, each in self.raw.items():
            kind, begin = ("epochs", first) if whole else self._clock_of(name, each, reference, first)
            if name == self.names.loss and kind == "updates":
                own_first = begin
            if kind == "epochs":
                by_epoch.add(name)
                moved[name] = self._by_epoch(name, each, begin)
            else:
                later = 1 if self.ahead and name in self.names.lr else 0
                moved[name] = dataclasses.replace(each, steps=each.steps - begin + later)
        before = {name: each.kept(each.steps < 0) for name, each in moved.items() if (each.steps < 0).any()}
        self._say_before(before)
        moved = {name: each.kept(each.steps >= 0) for name, each in moved.items()}
        training = [moved[name] for name in self.names.training]
        series = {name: latest(each, restarts_of(each, training)) for name, each in moved.items()}
        self._say_repeated(moved)
        loss = moved[self.names.loss] if self.names.loss else training[0]
        return Placed(
            series=series,
            first=own_first,
            epochs=None if whole else self._epochs(own_first, training),
            by_epoch=frozenset(by_epoch),
            epoch_steps=self.epoch_steps,
            epoch_from=self.epoch_from,
            in_epochs=unit,
            restarts=went_back(loss, training),
            before=before,
            missing=tuple(self.missing),
            said=tuple(self.said),
        )

    def _counts_epochs(self, total: int) -> bool:
        """Whether all steps are epochs."""
        if self.log.in_epochs:
            return True
        if self.log.clock is None and self.log.first_step is None:
            if self.names.loss is not None and self._is_named_after_epochs(self.names.loss):
                return True
            if self._is_measured_each():
                if self.epoch_steps is None:
                    question = "whether its steps count epochs, since something was measured at each, or updates"
                    self.missing.append(Missing("epoch_steps", question))
                return self.epoch_steps != 1
        return self.choices.epoch_steps is not None and self.choices.epoch_steps > total

    def _is_named_after_epochs(self, name: str) -> bool:
        steps = np.unique(self.raw[name].steps)
        return "epoch" in words_of(name) and int(steps[0]) <= 1 and bool((np.diff(steps) == 1).all())

    def _is_measured_each(self) -> bool:
        """Whether a measurement stands at every step of training: so loops write that count epochs."""
        trained = np.unique(np.concatenate([each.steps for each in self.training]))
        if len(trained) < 2 or int(trained[0]) > 1 or not (np.diff(trained) == 1).all():
            return False
        measured = [*self.names.validation, *self.names.test]
        return any(np.array_equal(np.unique(self.raw[name].steps), trained) for name in measured)

    def _first_epoch(self) -> int:
        """What the first epoch is called."""
        low = min(int(each.steps.min()) for each in (*self.training, *self.raw.values()))
        if self.choices.first_step is not None:
            return self.choices.first_step
        if low <= 1:
            return low
        self.said.append(f"its first epoch is {low}, counted from 0: what lies before is held at the first values")
        return 0

    def _known_first(self) -> int | None:
        return self.choices.first_step if self.choices.first_step is not None else self.log.first_step

    def _first_of(self, series: Series) -> int:
        known = self._known_first()
        if known is not None:
            return known
        if any(each.steps.min() <= 0 for each in self.training):  # a row 0 of any
            return 0
        return first_step_of(series.steps)

    def _clock_of(self, name: str, series: Series, reference: Series, first: int) -> tuple[str, int]:
        """Whether a series counts "epochs" or "updates", and its first."""
        known = self._known_first()
        if series is reference:
            return "updates", first
        if name in self.names.training:
            apart = self.log.clock is None and self.log.first_step is None
            if (
                apart
                and clock_of(series.steps, reference.steps, first=first, epoch_steps=self.epoch_steps)[0] == "epochs"
            ):
                self._know_epoch(name, series, reference, first)
                return "epochs", int(series.steps.min())
            return "updates", self._first_of(series)
        if name in self.log.carried:
            return "updates", first
        counted = latest(series, restarts_of(series, self.training))  # what a resume replaced would spoil the distance
        kind, own = clock_of(counted.steps, reference.steps, first=first, epoch_steps=self.epoch_steps)
        if kind == "epochs":
            self._know_epoch(name, series, reference, first)
        return kind, own if known is None or kind == "epochs" else known

    def _know_epoch(self, name: str, series: Series, reference: Series, first: int) -> None:
        """How long an epoch is, where something counts them beside updates."""
        if self.epoch_steps is not None:
            return
        epochs = self._epochs(first, self.training)
        self.epoch_steps, self.epoch_from = (None if epochs is None else epoch_length(epochs)), "column of epochs"
        if self.epoch_steps is None:
            total = max(int(reference.steps.max()) - first + 1, self.log.updates or 0)
            count = len(np.unique(series.steps))
            apart = int(np.diff(np.unique(reference.steps)).min()) if len(np.unique(reference.steps)) > 1 else 1
            lengths = range(
                -(-total // count), (total + apart - 1) // count + 1
            )  # updates after the last row count too
            self.epoch_steps = max(lengths, default=total // count)
            self.epoch_from = "updates by validations" if name in self.names.validation else "updates by epochs"
            if len(lengths) != 1:
                self.missing.append(Missing("epoch_steps", f"how many updates an epoch has, which {name} counts"))
            else:
                self.said.append(f"{name} counts epochs, of {self.epoch_steps} updates each")
        self.epoch_steps = max(self.epoch_steps, 1)

    def _by_epoch(self, name: str, series: Series, first: int) -> Series:
        """What stands for epochs, at their last updates; a rate at the first."""
        length = self.epoch_steps or 1
        if name in self.names.lr:
            return dataclasses.replace(series, steps=(series.steps - first + int(self.ahead)) * length)
        return dataclasses.replace(series, steps=(series.steps - first + 1) * length - 1)

    def _epochs(self, first: int, training: list[Series]) -> Series | None:
        """The record's own count of epochs, by update."""
        name = next((each for each in self.log.series if counts_epochs(each)), None)
        if name is None:
            return None
        found = self.log.series[name]
        found = dataclasses.replace(found, steps=found.steps - first)
        found = found.kept((found.steps >= 0) & np.isfinite(found.values))
        return latest(found, restarts_of(found, training)) if len(found) else None

    # --- what is left out -------------------------------------------------------------------------

    def _say_before(self, before: Mapping[str, Series]) -> None:
        told = [f"{name} {each.values[-1]:.6g}" for name, each in before.items()]
        if told:
            self.said.append(f"what was measured before the first update is left out: {', '.join(told[:8])}")

    def _say_repeated(self, moved: Mapping[str, Series]) -> None:
        """Where a loss stands twice at a step, and the record doesn't go back."""
        series = moved.get(self.names.loss or "")
        if series is None or restarts_of(series, []):
            return
        twice = len(series) - len(np.unique(series.steps))
        if twice:
            self.said.append(f"{twice} of {len(series)} points of {self.names.loss} repeat a step: the last one counts")

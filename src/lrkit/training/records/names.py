"""Which recorded names are read: those that are passed, others by what their words say and by how many points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrkit.schedules.errors import InputError, shown
from lrkit.training.records.missing import Missing, listed
from lrkit.training.records.series import Choices, Log
from lrkit.training.records.words import LossName, as_loss, as_rate, is_clock, is_time, metric_name, side_in

__all__ = ["NOTHING", "Names", "choose_names", "likely_loss", "series_names", "unread"]

NOTHING = "none"  # what says that there is no validation loss to read
_DENSE = 0.8  # of the points that the densest of two candidates has
_FEW, _MANY = 1, 3  # points of what is a mean of all, beside a curve


@dataclass(frozen=True)
class Names:
    """What is read: recorded names by what they stand for; sums are written as `a+b`.

    Attributes:
        missing: what can't be chosen.
        said: what was chosen without being certain, in sentences.
    """

    loss: str | None
    lr: Sequence[str]
    valid_loss: str | None
    metrics: Mapping[str, str]
    test_loss: str | None
    test_metrics: Mapping[str, str]
    missing: tuple[Missing, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def training(self) -> list[str]:
        """The names of training."""
        return [*([self.loss] if self.loss else []), *self.lr]

    @property
    def validation(self) -> list[str]:
        """The names of validation, the loss first."""
        return [name for name in (self.valid_loss, *self.metrics.values()) if name is not None]

    @property
    def test(self) -> list[str]:
        """The names of test data, the loss first."""
        return [name for name in (self.test_loss, *self.test_metrics.values()) if name is not None]


def choose_names(log: Log, choices: Choices) -> Names:
    """The names to read; what can't be chosen is in `missing`.

    Raises:
        InputError: for a name that is passed and isn't there, and words in a column that is read.
    """
    counts = {name: len(each) for name, each in log.series.items()}
    _check_passed(log, choices)
    found = _Chooser(log, counts, choices)
    loss, valid_loss = found.loss(), found.valid_loss()
    sure = set(series_names([loss, valid_loss]))
    metrics = _metrics(counts, "valid", sure) if choices.metrics is None else dict(choices.metrics)
    return Names(
        loss=loss,
        lr=found.rates(),
        valid_loss=valid_loss,
        metrics=metrics,
        test_loss=found.test_loss(),
        test_metrics=_metrics(counts, "test", sure),
        missing=tuple(found.missing),
        said=tuple(found.said),
    )


def series_names(names: Iterable[str | None]) -> list[str]:
    """The recorded names, where one is a sum those of its parts.

    >>> series_names(["a+b", None, "c"])
    ['a', 'b', 'c']
    """
    return [part.strip() for name in names if name for part in name.split("+")]


def unread(log: Log, names: Names) -> list[str]:
    """What the log has beside, clocks and times aside."""
    read = {*series_names([*names.training, *names.validation, *names.test]), *names.training, *names.validation}
    others = [name for name in (*log.series, *log.text) if name not in read]
    return [name for name in others if not is_clock(name) and not is_time(name) and name not in ("progress", "(row)")]


def likely_loss(counts: Mapping[str, int]) -> str | None:
    """The training loss as a whole, by names and numbers of points alone; None where none is sure.

    >>> likely_loss({"train_loss": 1, "loss": 9}), likely_loss({"loss_a": 9, "loss_b": 9})
    ('loss', None)
    """
    found = _ranked(_losses(counts, (None, "train"), whole=True), counts)
    return found[0] if found else None


# --- what is passed ----------------------------------------------------------------------------------


def _check_passed(log: Log, choices: Choices) -> None:
    rates = choices.lr if isinstance(choices.lr, list | tuple) else [choices.lr] if isinstance(choices.lr, str) else []
    valid_loss = None if choices.valid_loss == NOTHING and NOTHING not in log.series else choices.valid_loss
    given = [("loss", choices.loss), ("valid_loss", valid_loss), *(("lr", name) for name in rates)]
    given += [("metrics", name) for name in (choices.metrics or {}).values()]
    for argument, name in given:
        if name is None or name in log.series:
            continue
        for part in [name] if name in log.text or argument in ("lr", "metrics") else series_names([name]):
            if part in log.text:
                raise InputError(f"{log.text[part]}, which is no number, in {log.path}")
            if part not in log.series:
                has = listed("columns", sorted(log.series))
                raise InputError(f"{argument} must be something that {log.path} has, not {shown(part)} ({has})")


# --- what is chosen ----------------------------------------------------------------------------------


def _losses(counts: Iterable[str], sides: Sequence[str | None], *, whole: bool) -> dict[str, LossName]:
    found = {name: loss for name in counts if (loss := as_loss(name)) is not None}
    return {name: loss for name, loss in found.items() if loss.side in sides and (not whole or not loss.of)}


def _ranked(found: Mapping[str, LossName], counts: Mapping[str, int]) -> list[str]:
    """Losses, the best first: the dense ones; of these in training those of updates, in validation those of epochs."""
    most = max((counts[name] for name in found), default=0)

    def rank(name: str) -> tuple[object, ...]:
        loss, dense = found[name], counts[name] >= _DENSE * most
        unsaid = 0 if loss.side else 1
        if loss.side == "valid":  # a mean over the data before that of single batches
            return loss.grain == 0, not dense, -loss.grain, unsaid, name
        return not dense, loss.grain if dense else -counts[name], unsaid, name

    return sorted(found, key=rank)


def _metrics(counts: Iterable[str], side: str, taken: set[str]) -> dict[str, str]:
    """What is measured on these data but the loss, by what it is called without them."""
    found: dict[str, str] = {}
    for name in counts:
        called = None if name in taken else metric_name(name, side)
        if called is not None:
            found.setdefault(called, name)
    return found


class _Chooser:
    """Chooses for one log; notes what is missing and what was uncertain."""

    def __init__(self, log: Log, counts: Mapping[str, int], choices: Choices) -> None:
        self.log, self.counts, self.choices = log, counts, choices
        self.missing: list[Missing] = []
        self.said: list[str] = []

    def loss(self) -> str | None:
        if self.choices.loss is not None:
            return self.choices.loss
        self._refuse_words((None, "train"))
        found = _ranked(_losses(self.counts, (None, "train"), whole=True), self.counts)
        if found and not self._is_summary(found[0]):
            self._say_others("the training loss", found)
            return found[0]
        if summed := self._detector_sum("train"):
            return summed
        parts = [name for name in _losses(self.counts, (None, "train"), whole=False) if not self._is_summary(name)]
        if len(parts) == 1:
            self.said.append(f"{parts[0]} is taken for the training loss, the only one")
            return parts[0]
        single = f" ({found[0]} has a single point, which is no curve)" if found else ""
        self.missing.append(Missing("loss", f"which column is the training loss{single}", parts))
        return None

    def valid_loss(self) -> str | None:
        if self.choices.valid_loss is not None:
            nothing = self.choices.valid_loss == NOTHING and NOTHING not in self.counts
            return None if nothing else self.choices.valid_loss
        self._refuse_words(("valid",))
        found = _ranked(_losses(self.counts, ("valid",), whole=True), self.counts)
        if found:
            self._say_others("the validation loss", found)
            return found[0]
        if summed := self._detector_sum("val"):
            return summed
        sets = list(_losses(self.counts, ("valid",), whole=False))
        if len(sets) == 1:
            self.said.append(f"{sets[0]} is taken for the validation loss, the only one")
            return sets[0]
        if sets:
            self.missing.append(Missing("valid_loss", "which column is the validation loss", sets))
        return None

    def test_loss(self) -> str | None:
        found = _ranked(_losses(self.counts, ("test",), whole=True), self.counts)
        return found[0] if found else None

    def rates(self) -> tuple[str, ...]:
        """Names of the rates, one for each param group."""
        if isinstance(self.choices.lr, int | float):
            return ()
        if self.choices.lr is not None:
            return (self.choices.lr,) if isinstance(self.choices.lr, str) else tuple(self.choices.lr)
        for name, wrong in self.log.text.items():
            rate = as_rate(name)
            if rate is not None and rate.plain and side_in(name) in (None, "train"):
                raise InputError(f"{wrong}, which is no number, in {self.log.path}")
        groups: dict[str, dict[int, str]] = {}
        plain: dict[str, bool] = {}
        for name in self.counts:
            rate = as_rate(name)
            if rate is not None and side_in(name) in (None, "train"):
                groups.setdefault(rate.base, {}).setdefault(rate.group, name)
                plain[rate.base] = rate.plain
        if not groups:
            self.missing.append(Missing("lr", "which column is the learning rate"))
            return ()
        chosen = self._one_of(groups, plain)
        if chosen is None:
            self.missing.append(Missing("lr", "which of several learning rates is meant", sorted(groups)))
            return ()
        return tuple(name for _, name in sorted(groups[chosen].items()))

    def _one_of(self, groups: Mapping[str, Mapping[int, str]], plain: Mapping[str, bool]) -> str | None:
        """The optimizer whose rates are read: the only one, or the only plain name; the denser where all are equal."""
        known = [base for base in groups if plain[base]] or list(groups)
        if len(known) > 1:
            first = {base: self.log.series[groups[base][min(groups[base])]] for base in known}
            dense = max(known, key=lambda base: len(first[base]))
            if any(not first[dense].agrees_with(first[base]) for base in known):
                return None
            known = [dense]
        others = [name for base in groups if base != known[0] for name in groups[base].values()]
        if others:
            self.said.append(
                f"{', '.join(groups[known[0]].values())} is taken for the learning rate, not {_or(others)}"
            )
        return known[0]

    # --- helpers --------------------------------------------------------------------------------------

    def _refuse_words(self, sides: Sequence[str | None]) -> None:
        """A loss by its name that isn't all numbers isn't passed over."""
        for name in _losses(self.log.text, sides, whole=True):
            raise InputError(f"{self.log.text[name]}, which is no number, in {self.log.path}")

    def _is_summary(self, name: str) -> bool:
        """Whether it is a mean of the whole training: a single point, where another has many."""
        return not self.log.windows and self.counts[name] <= _FEW and max(self.counts.values()) >= _MANY

    def _say_others(self, what: str, found: Sequence[str]) -> None:
        if len(found) > 1:
            points = f"{self.counts[found[0]]} point{'s' if self.counts[found[0]] > 1 else ''}"
            others = [f"{name} ({self.counts[name]})" for name in found[1:]]
            self.said.append(f"{found[0]} ({points}) is taken for {what}, not {_or(others)}")

    def _detector_sum(self, side: str) -> str | None:
        """The sum of a detector's parts, as ultralytics and its kin log them: the same on both sides, and no whole."""
        parts: dict[str, list[str]] = {"train": [], "val": []}
        for name in self.counts:
            place, _, part = name.partition("/")
            if place in parts and part.endswith("_loss"):
                parts[place].append(part)
        rates = [as_rate(name) for name in self.counts]
        grouped = any(rate is not None and rate.base in ("lr", "x/lr") for rate in rates)
        if not grouped or len(parts["train"]) < 2 or parts["train"] != parts["val"]:
            return None
        return "+".join(f"{side}/{part}" for part in parts[side])


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

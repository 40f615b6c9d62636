"""The runs that a prediction is made from: how they are read is what the command was told."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.recorded_curves import read_curve
from lrkit.analysis.laws.recorded_points import as_measure
from lrkit.output.import_command import by_options
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_count

__all__ = ["RunOptions", "read_runs"]

T = TypeVar("T")

_WORDS = {
    "say --lr, as a number or one": "say --run-schedule and --run-lr, or --lr, one",
    "say steps= where": "say --run-steps where",
    "say warmup=, for": "say --warmup, for",
    "steps must be at least": "--run-steps must be at least",
    "schedule must be one of the rate alone": "--run-schedule must be one of the rate alone",
}
_READING = ("loss", "valid_loss", "step", "epoch_steps", "first_step", "between", "lr_ahead")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are read; `cli_prediction.predict` says what each means."""

    paths: Sequence[Path]
    measure: str = "training"
    warmup: int | None = None
    skip: int | None = None
    schedules: Sequence[str] = ()
    rates: Sequence[float] = ()
    lengths: Sequence[int] = ()
    lr: Sequence[str] = ()
    loss: str | None = None
    valid_loss: str | None = None
    step: str | None = None
    epoch_steps: int | None = None
    first_step: int | None = None
    between: str = "linear"
    lr_ahead: bool | None = None

    def check(self) -> None:
        """Refuse what no run can be read with.

        Raises:
            InputError: says what is allowed.
        """
        as_measure(self.measure)
        for option, number, least in (
            ("--warmup", self.warmup, 0),
            ("--skip", self.skip, 0),
            ("--epoch-steps", self.epoch_steps, 1),
            ("--run-steps", min(self.lengths, default=None), 1),
        ):
            if number is not None:
                as_count(number, option, low=least)
        for text in filter(_is_number, self.lr):
            raise InputError(
                f"--lr must be the rate's name in records, not {text}; the base of --schedule is --peak, that of "
                "--run-schedule is --run-lr"
            )
        self._check_schedules()

    def _check_schedules(self) -> None:
        for name, given in (
            ("--run-schedule", self.schedules),
            ("--run-lr", self.rates),
            ("--run-steps", self.lengths),
        ):
            if len(given) not in (0, 1, len(self.paths)):
                raise InputError(
                    f"{name} must be given once for all runs or once for each: {len(given)} for {len(self.paths)} runs"
                )
            if given and not self.schedules:
                raise InputError(f"{name} belongs to --run-schedule, which is missing")
        if self.schedules and not self.rates:
            raise InputError("--run-schedule needs its base, --run-lr")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:  # a name, as it should be
        return False
    return True


def read_runs(options: RunOptions) -> list[LossCurve]:
    """The losses and rates of every run; where two have the same name, they are called after their paths.

    Raises:
        InputError: for what can't be read, or a law couldn't be fitted to.
    """
    options.check()
    reading: dict[str, Any] = {name: getattr(options, name) for name in _READING}
    curves: list[LossCurve] = []
    for number, path in enumerate(options.paths):
        rate = _own(options.rates, number)
        with _as_said_here(), by_options():
            curve = read_curve(
                path,
                reading={**reading, "lr": rate if rate is not None else list(options.lr) or None},
                measure=as_measure(options.measure),
                warmup=options.warmup,
                skip=options.skip,
                schedule=_own(options.schedules, number),
                steps=_own(options.lengths, number),
            )
        curves.append(replace(curve, notes=tuple(map(_said_here, curve.notes))))
    often = Counter(each.name for each in curves)
    return [
        each if often[each.name] == 1 else replace(each, name=str(path))
        for each, path in zip(curves, options.paths, strict=True)
    ]


@contextmanager
def _as_said_here() -> Iterator[None]:
    """Name the options of this command in errors."""
    try:
        yield
    except InputError as error:
        raise InputError(_said_here(str(error))) from error


def _said_here(sentence: str) -> str:
    """Name the options of this command, where Python has arguments and other commands other options."""
    for words, here in _WORDS.items():
        sentence = sentence.replace(words, here)
    return sentence


def _own(given: Sequence[T], number: int) -> T | None:
    """What was said of a run: once for all, for each, or not."""
    return None if not given else given[0] if len(given) == 1 else given[number]

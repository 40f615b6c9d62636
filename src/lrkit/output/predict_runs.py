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
from lrkit.output.import_command import PASSED, by_options, in_options
from lrkit.schedules import parse
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_count, as_positive
from lrkit.training.records.missing import MissingChoiceError
from lrkit.training.records.reading import ALL_RUNS, run_names
from lrkit.training.records.series import Choices

__all__ = ["RunOptions", "read_runs"]

T = TypeVar("T")

_HERE = {"warmup": "--warmup", "schedule": "--run-schedule", "steps": "--run-steps"}
_SAID = ("loss", "valid_loss", "step", "epoch_steps", "first_step", "between", "lr_ahead", "run")
_PASSED = {**PASSED, "lr": "--run-schedule and --run-lr (or --lr NAME)"}


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
    between: str | None = None
    lr_ahead: bool | None = None
    run: str | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """What `read_history` takes beside the rates."""
        return {name: getattr(self, name) for name in _SAID}

    def check(self) -> None:
        """Refuse what no run can be read with.

        Raises:
            InputError: says what is allowed.
        """
        as_measure(self.measure)
        for option, number, least in (
            ("--warmup", self.warmup, 0),
            ("--skip", self.skip, 0),
            *(("--run-steps", each, 1) for each in self.lengths),
        ):
            if number is not None:
                as_count(number, option, low=least)
        for rate in self.rates:
            as_positive(rate, "--run-lr")
        for text in self.schedules:
            parse(text)  # here, since the `steps` of a kind that is wrong are no option
        with by_options():  # also where no record needs them
            Choices(**self.reading, lr=list(self.lr) or None)
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
    found = [(path, run, number) for number, path in enumerate(options.paths) for run in _runs_of(path, options)]
    curves = []
    for path, run, number in found:
        with by_options(**_HERE), _where_choices_are_missing():
            curve = _read_run(path, run, options, number)
        curves.append(replace(curve, notes=tuple(in_options(note, **_HERE) for note in curve.notes)))
    often = Counter(each.name for each in curves)
    return [
        each if often[each.name] == 1 else replace(each, name=str(path))
        for each, (path, _, _) in zip(curves, found, strict=True)
    ]


def _runs_of(path: Path, options: RunOptions) -> list[str | None]:
    """Which runs of a record are read."""
    if options.run != ALL_RUNS:
        return [options.run]
    with by_options(**_HERE), _where_choices_are_missing():
        return [name or None for name in run_names(path, **{**options.reading, "lr": list(options.lr) or None})]


def _read_run(path: Path, run: str | None, options: RunOptions, number: int) -> LossCurve:
    rate = _own(options.rates, number)
    return read_curve(
        path,
        reading={**options.reading, "run": run, "lr": rate if rate is not None else list(options.lr) or None},
        measure=as_measure(options.measure),
        warmup=options.warmup,
        skip=options.skip,
        schedule=_own(options.schedules, number),
        steps=_own(options.lengths, number),
    )


@contextmanager
def _where_choices_are_missing() -> Iterator[None]:
    """Say what gives the rates here, where `--lr` is no number."""
    try:
        yield
    except MissingChoiceError as error:
        raise InputError(error.sentence(_PASSED)) from error


def _own(given: Sequence[T], number: int) -> T | None:
    """What was said of a run: once for all, for each, or not."""
    return None if not given else given[0] if len(given) == 1 else given[number]

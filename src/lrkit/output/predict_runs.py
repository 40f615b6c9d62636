"""The runs that a prediction is made from: how they are read is what the command was told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve
from lrkit.output.import_command import by_options
from lrkit.schedules.errors import InputError, unknown
from lrkit.training.history import History
from lrkit.training.records.reading import is_own, read_history

__all__ = ["RunOptions", "read_runs"]

_MEASURES = {"training": "train_loss", "validation": "valid_loss", "test": "test_loss"}
_READING = ("loss", "valid_loss", "step", "epoch_steps", "first_step", "between", "lr_ahead")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are read; `cli_prediction.predict` says what each means."""

    paths: Sequence[Path]
    measure: str = "training"
    warmup: int | None = None
    schedules: Sequence[str] = ()
    rates: Sequence[float] = ()
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
        if self.measure not in _MEASURES:
            raise unknown("measure", self.measure, _MEASURES)
        if self.warmup is not None and self.warmup < 0:
            raise InputError(f"--warmup must not be negative, not {self.warmup}")
        if self.epoch_steps is not None and self.epoch_steps < 1:
            raise InputError(f"--epoch-steps must be at least 1, not {self.epoch_steps}")
        for name, given in (("--run-schedule", self.schedules), ("--run-lr", self.rates)):
            if len(given) not in (0, 1, len(self.paths)):
                raise InputError(
                    f"{name} must be given once for all runs or once for each: {len(given)} for {len(self.paths)} runs"
                )
        if self.rates and not self.schedules:
            raise InputError("--run-lr is the base of --run-schedule, which is missing")
        if self.schedules and not self.rates:
            raise InputError("--run-schedule needs its base, --run-lr")
        for text in filter(_is_number, self.lr):
            raise InputError(
                f"--lr must be the rate's name in records, not {text}; the base of --schedule is --peak, that of "
                "--run-schedule is --run-lr"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:  # a name, as it should be
        return False
    return True


def read_runs(options: RunOptions) -> list[LossCurve]:
    """The losses and rates of every run.

    Raises:
        InputError: for what can't be read, or a law couldn't be fitted to.
    """
    options.check()
    arguments: dict[str, Any] = {name: getattr(options, name) for name in _READING}
    curves = []
    for number, path in enumerate(options.paths):
        with by_options():
            if is_own(path):
                history = read_history(path)
            elif options.schedules:
                text = options.schedules[number if len(options.schedules) > 1 else 0]
                rate = options.rates[number if len(options.rates) > 1 else 0]
                history = read_history(path, lr=rate, schedule=text, **arguments)
            else:
                history = read_history(path, lr=list(options.lr) or None, **arguments)
        curves.append(_curve(history, path, options))
    return curves


def _curve(history: History, path: Path, options: RunOptions) -> LossCurve:
    rates = history.lr.copy()
    imported = history.made.get("imported")
    name = str(history.made.get("name") or path.stem)
    if options.measure != "training":
        kind = _MEASURES[options.measure]
        pairs = [(each.step, getattr(each, kind)) for each in history.epochs if getattr(each, kind) is not None]
        if not pairs:
            raise InputError(f"{path} has no {options.measure} loss; --measure must be one that was recorded")
        steps, losses = (np.array(column) for column in zip(*pairs, strict=True))
    else:
        losses, steps = history.losses.astype(np.float64), np.arange(1, len(rates) + 1)
        if imported:  # those between two that were logged are filled in
            keep = np.append(losses[1:] != losses[:-1], True)
            losses, steps = losses[keep], steps[keep]
    if options.warmup and imported:
        rates = _warmed(rates, options.warmup)
    return LossCurve(steps, losses, rates, name=name)


def _warmed(rates: NDArray[np.float64], warmup: int) -> NDArray[np.float64]:
    """The rates with a linear rise from 0 over the first updates."""
    if warmup >= len(rates):
        raise InputError(f"--warmup must be less than the {len(rates)} updates of a run, not {warmup}")
    rates[:warmup] = rates[warmup] * np.arange(warmup) / warmup
    return rates

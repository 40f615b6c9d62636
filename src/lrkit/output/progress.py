"""What a person sees while a run goes on: a bar, and a line for each epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from lrkit.schedules import Controller, Plan
from lrkit.training.history import EpochRecord, History
from lrkit.training.observer import Observer, Setup

__all__ = ["Progress", "epoch_line", "header", "origin_text"]


def header(metrics: Iterable[str]) -> str:
    """What stands over the lines."""
    columns = "".join(f"  {_column(name):>{_width(name)}}" for name in metrics)
    return f"{'epoch':>7}  {'train loss':>10}  {'valid loss':>10}{columns}  {'lr':>10}  {'seconds':>7}"


def epoch_line(record: EpochRecord, epochs: int | None, before: EpochRecord | None = None) -> str:
    r"""A record as a line under its header: a dash for no validation, a word where the rate fell since `before`.

    >>> record = EpochRecord(3, 300, 0.25, 0.2, {"accuracy": 0.975, "entropy": 1.5}, 0.01, 1.25)
    >>> print(header(record.metrics) + "\n" + epoch_line(record, 25))
      epoch  train loss  valid loss  accuracy     entropy          lr  seconds
       3/25     0.25000     0.20000   97.50 %     1.50000        0.01      1.2
    """
    number = f"{record.epoch}/{epochs}" if epochs else str(record.epoch)
    valid = "-" if record.valid_loss is None else f"{record.valid_loss:.5f}"
    columns = "".join(f"  {_value(name, value):>{_width(name)}}" for name, value in record.metrics.items())
    fell = "  reduced" if before is not None and record.lr < 0.95 * before.lr else ""
    losses = f"{number:>7}  {record.train_loss:>10.5f}  {valid:>10}"
    return f"{losses}{columns}  {record.lr:>10.4g}  {record.seconds:>7.1f}{fell}"


def _column(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _width(name: str) -> int:
    return max(len(_column(name)), 8 if name == "accuracy" else 10)


def _value(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name == "accuracy" else f"{value:.5f}"


def origin_text(origin: Mapping[str, Any]) -> str:
    """Where a run that was restarted has its weights from.

    >>> origin_text({"folder": "/runs/mine", "checkpoint": "last", "steps": 150, "epochs": 3})
    'with the weights and optimizer state of /runs/mine at step 150'
    """
    return f"with the weights and optimizer state of {origin.get('folder', 'another run')} at step {origin['steps']}"


class Progress(Observer):
    """Prints the lines to standard output, and a bar to standard error where that is a terminal."""

    def __init__(self) -> None:
        self._epochs: int | None = None
        self._controlled = False
        self._headed = False
        self._bar: Any = None

    def start(self, setup: Setup) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        self._epochs = setup.epochs
        self._controlled = isinstance(setup.plan if isinstance(setup.plan, Plan) else setup.plan.get("lr"), Controller)
        self._bar = tqdm(
            total=setup.steps,
            initial=setup.steps_done,
            unit="step",
            leave=False,
            disable=None,
            dynamic_ncols=True,
            mininterval=0.2,
        )
        if setup.steps_done:
            self._print(f"goes on after step {setup.steps_done} of {setup.steps}")
        elif "origin" in setup.made:
            self._print(f"starts at step 0 of {setup.steps} {origin_text(setup.made['origin'])}")
        self._headed = False

    def step(self, steps: int) -> None:
        """Move the bar."""
        self._bar.update(steps - self._bar.n)

    def epoch(self, history: History) -> None:
        """Print the epoch's line, under a header the first time, when the metrics are known."""
        if not self._headed:
            self._print(header(history.epochs[-1].metrics))
            self._headed = True
        before = history.epochs[-2] if self._controlled and len(history.epochs) > 1 else None
        self._print(epoch_line(history.epochs[-1], self._epochs, before))

    def close(self) -> None:
        """Take the bar away; also after an interruption."""
        if self._bar is not None:
            self._bar.close()

    def _print(self, line: str) -> None:
        self._bar.clear()
        typer.echo(line)
        self._bar.refresh()

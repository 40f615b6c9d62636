"""What a sweep says: the records of many lanes in, configurations by how good they are out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from lrkit.training.history import Divergence, History
from lrkit.training.lanes.lane import Lane, told

__all__ = ["Outcome", "Row", "Sweep", "loss_of", "summarise"]

Configuration: TypeAlias = tuple[str, float, tuple[tuple[str, float], ...]]


@dataclass(frozen=True)
class Outcome:
    """What came out of a lane: the numbers of its last epoch.

    Attributes:
        number: of the lane.
        schedule: as text.
        lr: the base.
        seed: the lane's.
        hypers: other hyper-parameters that are the lane's own.
        train_loss: mean over the last epoch's samples.
        valid_loss: None without validation data.
        metrics: means over the validation samples, by name.
        first_loss: of the first update, on weights that hadn't learned yet.
        epochs: how many were finished.
        steps: how many updates were done.
        diverged: the first update whose loss isn't finite, and the rate that it used; None where all are.
    """

    number: int
    schedule: str
    lr: float
    seed: int
    hypers: Mapping[str, float]
    train_loss: float
    valid_loss: float | None
    metrics: Mapping[str, float]
    first_loss: float
    epochs: int
    steps: int
    diverged: Divergence | None

    @property
    def loss(self) -> float | None:
        """What a lane is judged by: the validation loss, else the training loss; None where it diverged."""
        return None if self.diverged is not None else _judged(self.train_loss, self.valid_loss)

    @property
    def configuration(self) -> Configuration:
        """All of the lane but the seed."""
        return self.schedule, self.lr, tuple(sorted(self.hypers.items()))


@dataclass(frozen=True)
class Row:
    """A configuration, over its seeds.

    Attributes:
        outcomes: one for each seed.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def one(self) -> Outcome:
        """Any of them, for what they share."""
        return self.outcomes[0]

    @cached_property
    def losses(self) -> tuple[float, ...]:
        """Of the seeds that have one."""
        return tuple(loss for each in self.outcomes if (loss := each.loss) is not None)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that diverged, or ended with a loss that isn't finite."""
        return tuple(each for each in self.outcomes if each.loss is None)

    @property
    def mean(self) -> float | None:
        """The mean loss of the seeds that have one."""
        return float(np.mean(self.losses)) if self.losses else None

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest loss."""
        return (min(self.losses), max(self.losses)) if self.losses else None

    @property
    def best(self) -> Outcome | None:
        """The seed with the lowest loss, the first of equals."""
        found = [each for each in self.outcomes if each.loss is not None]
        return min(found, key=lambda each: each.loss or 0.0) if found else None

    def metric(self, name: str) -> float | None:
        """The mean of a metric over the seeds that have a loss; None where there is no such metric."""
        found = [each.metrics[name] for each in self.outcomes if each.loss is not None and name in each.metrics]
        return float(np.mean(found)) if found else None

    @property
    def train_loss(self) -> float | None:
        """The mean training loss of the seeds that have a loss."""
        found = [each.train_loss for each in self.outcomes if each.loss is not None]
        return float(np.mean(found)) if found else None


@dataclass(frozen=True)
class Sweep:
    """Lanes that have ended, and configurations by how good they are.

    Attributes:
        outcomes: of lanes, in their order.
        rows: of configurations, the best first: those of which no seed failed, by the mean of their losses; then those
            of which one did, then two, and so on; at last those of which all did.
        validated: whether losses are those of validation, not of training.
    """

    outcomes: tuple[Outcome, ...]
    rows: tuple[Row, ...]
    validated: bool

    @property
    def best(self) -> Row | None:
        """The best configuration; None where no lane has a loss."""
        return self.rows[0] if self.rows and self.rows[0].losses else None

    @property
    def diverged(self) -> tuple[Outcome, ...]:
        """The lanes that diverged."""
        return tuple(each for each in self.outcomes if each.diverged is not None)

    @property
    def measure(self) -> str:
        """What losses are called."""
        return "validation loss" if self.validated else "training loss"

    @property
    def start(self) -> float | None:
        """The loss before anything was learned: the median of the lanes' first ones."""
        found = [each.first_loss for each in self.outcomes if math.isfinite(each.first_loss)]
        return float(np.median(found)) if found else None


def loss_of(history: History) -> float | None:
    """What a lane would be judged by if it ended here: the rule of `Outcome.loss`."""
    last = history.epochs[-1]
    return None if history.diverged is not None else _judged(last.train_loss, last.valid_loss)


def _judged(train_loss: float, valid_loss: float | None) -> float | None:
    loss = train_loss if valid_loss is None else valid_loss
    return loss if math.isfinite(loss) else None


def summarise(lanes: Sequence[Lane], histories: Mapping[int, History]) -> Sweep:
    """What some of the lanes, those with a history, say.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> lanes = [lrkit.Lane("linear(to=0)", lr=lr, seed=seed) for lr in (0.01, 0.5, 1e30) for seed in (0, 1)]
    >>> sweep = summarise(lanes, dict(enumerate(lrkit.run_lanes(task, lanes))))
    >>> [row.one.lr for row in sweep.rows], sweep.best.one.lr, len(sweep.diverged)
    ([0.5, 0.01, 1e+30], 0.5, 2)
    """
    outcomes = tuple(_outcome(number, lanes[number], histories[number]) for number in sorted(histories))
    together: dict[Configuration, list[Outcome]] = {}
    for each in outcomes:
        together.setdefault(each.configuration, []).append(each)
    rows = sorted((Row(tuple(each)) for each in together.values()), key=_order)
    return Sweep(outcomes, tuple(rows), any(each.valid_loss is not None for each in outcomes))


def _order(row: Row) -> tuple[bool, int, float]:
    mean = row.mean
    return mean is None, len(row.failed), math.inf if mean is None else mean


def _outcome(number: int, lane: Lane, history: History) -> Outcome:
    last = history.epochs[-1]
    return Outcome(
        number=number,
        schedule=told(str(lane.plan), lane.averaging),
        lr=float(history.made["lr"]) if lane.lr is None else lane.lr,
        seed=lane.seed,
        hypers=lane.hypers,
        train_loss=last.train_loss,
        valid_loss=last.valid_loss,
        metrics=last.metrics,
        first_loss=float(history.losses[0]),
        epochs=len(history.epochs),
        steps=last.step,
        diverged=history.diverged,
    )

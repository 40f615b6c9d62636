"""The record of a run: what was used, and what came out. Plain immutable data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError

__all__ = ["Divergence", "EpochRecord", "History", "best_epoch", "best_of"]

FORMAT = 1


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a run.

    Attributes:
        epoch: 1-based.
        step: updates done at its end.
        train_loss: mean over the epoch's samples, each at the weights that it was trained with.
        valid_loss: mean over the validation samples after the epoch, or None without validation data.
        metrics: means over the validation samples, by name.
        lr: the rate that the epoch's last update used, in the first param group.
        seconds: wall time of training, and of measuring after it; 0 where it wasn't recorded.
        test_loss: mean over the test samples after the epoch, or None without test data.
        test_metrics: means over the test samples, by name.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float | None
    metrics: Mapping[str, float]
    lr: float
    seconds: float = field(compare=False)
    test_loss: float | None = None
    test_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def reported(self) -> Mapping[str, float]:
        """Loss and metrics to tell others: of the test data, else of validation, else the training loss alone.

        >>> EpochRecord(1, 10, 0.5, 0.6, {"accuracy": 0.8}, lr=0.1, seconds=1.0).reported
        {'loss': 0.6, 'accuracy': 0.8}
        """
        if self.test_loss is not None:
            return {"loss": self.test_loss, **self.test_metrics}
        if self.valid_loss is not None:
            return {"loss": self.valid_loss, **self.metrics}
        return {"loss": self.train_loss}


class Divergence(NamedTuple):
    """Where a training loss was no finite number any more: the update, and the rate that it used."""

    step: int
    lr: float


@dataclass(frozen=True, eq=False)
class History:
    """What a run recorded; two histories are equal when their numbers are, to the bit (times aside).

    Attributes:
        epochs: a record for each epoch.
        lrs: float64, shape (updates, param groups): the rate of every update, as the optimizer saw it.
        losses: float32, shape (updates,): the mean training loss of every update's batch.
        made: how it was made: task, schedule, seed, device, threads, versions and so on; JSON-able.
    """

    epochs: tuple[EpochRecord, ...]
    lrs: NDArray[np.float64]
    losses: NDArray[np.float32]
    made: Mapping[str, Any]

    def __post_init__(self) -> None:
        for array in (self.lrs, self.losses):
            array.setflags(write=False)

    @property
    def lr(self) -> NDArray[np.float64]:
        """The rate of every update in the first param group, shape (updates,)."""
        first: NDArray[np.float64] = self.lrs[:, 0]
        return first

    @property
    def diverged(self) -> Divergence | None:
        """The first update whose training loss isn't finite; None where all are.

        >>> History((), np.array([[0.1], [0.2]]), np.array([1.0, np.nan], dtype=np.float32), {}).diverged
        Divergence(step=1, lr=0.2)
        """
        wrong = np.flatnonzero(~np.isfinite(self.losses))
        return Divergence(int(wrong[0]), float(self.lr[wrong[0]])) if len(wrong) else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        return (
            _comparable(self.epochs) == _comparable(other.epochs)
            and np.array_equal(self.lrs, other.lrs)
            and np.array_equal(self.losses, other.losses, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON, all but the arrays; what isn't finite becomes null."""
        return {
            "lrkit_history": FORMAT,
            "made": dict(self.made),
            "epochs": [{name: _finite(value) for name, value in vars(record).items()} for record in self.epochs],
        }

    @classmethod
    def from_dict(cls, data: Any, lrs: NDArray[np.float64], losses: NDArray[np.float32]) -> "History":
        """The history again; the arrays are cut where the last recorded epoch ends.

        Raises:
            InputError: when the data isn't a history, or is of a newer format.
        """
        if not isinstance(data, dict) or "lrkit_history" not in data:
            raise InputError("this is not a history of lrkit")
        if data["lrkit_history"] > FORMAT:
            raise InputError(f"this history has format {data['lrkit_history']}, this lrkit reads up to {FORMAT}")
        epochs = tuple(
            EpochRecord(**{**each, "train_loss": math.nan if each["train_loss"] is None else each["train_loss"]})
            for each in data["epochs"]
        )
        end = epochs[-1].step if epochs else 0
        return cls(epochs, lrs[:end].copy(), losses[:end].copy(), data["made"])


def best_epoch(history: History) -> int | None:
    """The epoch (1-based) with the lowest validation loss, or training loss where there is no validation.

    The first of equals; None when no epoch has a finite loss.
    """
    return best_of(history.epochs)


def best_of(epochs: Sequence[EpochRecord]) -> int | None:
    """`best_epoch` of some epochs."""
    losses = [(each.train_loss if each.valid_loss is None else each.valid_loss, each.epoch) for each in epochs]
    finite = [pair for pair in losses if math.isfinite(pair[0])]
    return min(finite)[1] if finite else None


def _comparable(value: Any) -> Any:
    """Epochs without their times, and with a NaN that equals itself."""
    if isinstance(value, tuple):
        return [_comparable({**vars(each), "seconds": None}) for each in value]
    if isinstance(value, Mapping):
        return {name: _comparable(each) for name, each in value.items()}
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

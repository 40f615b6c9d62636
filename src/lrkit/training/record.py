"""A history while it grows; losses stay on the device until somebody asks."""

import math
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.history import EpochRecord, History

__all__ = ["Means", "Record"]

Means: TypeAlias = tuple[float | None, dict[str, float]]  # loss and metrics; without data (None, {})


class Record:
    """What `run` has recorded so far: finished epochs, and the updates of the one under way."""

    def __init__(self, made: dict[str, Any]) -> None:
        self.made = made
        self.epochs: list[EpochRecord] = []
        self._lrs: list[NDArray[np.float64]] = []  # of each finished epoch, shape (updates, param groups)
        self._losses: list[NDArray[np.float32]] = []
        self._fresh_lrs: list[Sequence[float] | NDArray[np.float64]] = []  # of the epoch under way
        self._fresh: list[Tensor] = []
        self._count = 0
        self._samples: list[int | Tensor] = []
        self._seconds = 0.0  # of the epoch under way, before it was last resumed
        self._since = time.perf_counter()

    @property
    def updates_in_epoch(self) -> int:
        """Updates of the epoch under way."""
        return self._count

    def update(self, lrs: Sequence[float], loss: Tensor, samples: int | Tensor) -> None:
        """Note what an update used and gave."""
        self._fresh_lrs.append(lrs)
        self._fresh.append(loss)
        self._samples.append(samples)
        self._count += 1

    def extend(self, lrs: NDArray[np.float64], losses: Tensor, samples: NDArray[np.int64]) -> None:
        """Note what several updates used and gave: shapes (updates, param groups), (updates,), (updates,)."""
        self._fresh_lrs.extend(lrs)
        self._fresh.append(losses)
        self._samples.extend(samples)
        self._count += len(losses)

    def fresh_losses(self) -> NDArray[np.float32]:
        """The losses of the epoch under way, brought to the CPU at once."""
        if not self._fresh:
            return np.zeros(0, dtype=np.float32)
        return torch.cat([each.reshape(-1) for each in self._fresh]).float().cpu().numpy()

    def _counts(self) -> list[int]:
        """The samples of the updates of the epoch under way."""
        return [int(each) for each in self._samples]

    def is_finite(self) -> bool:
        """Whether the losses of the epoch under way are finite, and the training loss of the one before."""
        before = not self.epochs or math.isfinite(self.epochs[-1].train_loss)
        return before and bool(np.isfinite(self.fresh_losses()).all())

    def end_epoch(self, valid: Means, test: Means) -> History:
        """Close the epoch under way, with what was measured after it; returns the history so far."""
        if not self._count:
            error = InputError("train has no samples")
            blame(error, "the data of train")
            raise error
        fresh, [lrs] = self.fresh_losses(), self._fresh_rates()
        seconds = self._seconds + time.perf_counter() - self._since
        self.epochs.append(
            EpochRecord(
                epoch=len(self.epochs) + 1,
                step=len(fresh) + (self.epochs[-1].step if self.epochs else 0),
                train_loss=float(np.average(fresh.astype(np.float64), weights=self._counts())),
                valid_loss=valid[0],
                metrics=valid[1],
                lr=float(lrs[-1, 0]),
                seconds=seconds,
                test_loss=test[0],
                test_metrics=test[1],
            )
        )
        self._lrs.append(lrs)
        self._losses.append(fresh)
        self._fresh_lrs, self._fresh, self._samples, self._count = [], [], [], 0
        self._seconds, self._since = 0.0, time.perf_counter()
        return self.history()

    def history(self) -> History:
        """The history of the finished epochs."""
        return History(tuple(self.epochs), _joined(self._lrs), _joined(self._losses), self.made)

    def state(self) -> dict[str, Any]:
        """Everything recorded, the epoch under way included, as plain data and tensors."""
        return {
            "epochs": [
                {**vars(each), "metrics": dict(each.metrics), "test_metrics": dict(each.test_metrics)}
                for each in self.epochs
            ],
            "lrs": torch.from_numpy(_joined([*self._lrs, *self._fresh_rates()])),
            "losses": torch.from_numpy(_joined(self._losses)),
            "fresh": torch.from_numpy(self.fresh_losses().copy()),
            "samples": self._counts(),
            "seconds": self._seconds + time.perf_counter() - self._since,
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a state."""
        self.epochs = [EpochRecord(**each) for each in state["epochs"]]
        lrs, end = state["lrs"].numpy(), len(state["losses"])
        self._lrs, self._losses = [lrs[:end].copy()], [state["losses"].numpy().copy()]
        self._fresh_lrs = lrs[end:].tolist()
        self._fresh, self._count = [state["fresh"].to(device)], len(state["fresh"])
        self._samples = list(state["samples"])
        self._seconds = state["seconds"]
        self._since = time.perf_counter()

    def _fresh_rates(self) -> list[NDArray[np.float64]]:
        return [np.array(self._fresh_lrs, dtype=np.float64)] if self._fresh_lrs else []


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The parts as one array; those without an update have no number of columns."""
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if filled else np.zeros(0)

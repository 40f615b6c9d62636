"""A recorder: the history of a run that somebody else's loop trains."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.clock import clock_of
from lrkit.training.history import History
from lrkit.training.preparation import surroundings
from lrkit.training.record import Record
from lrkit.training.record_folder import save_history
from lrkit.training.recorder_state import FORMAT, KEY, as_made, checked_state, state_after
from lrkit.training.scheduler import scheduler_of
from lrkit.training.wrapping import stepping

__all__ = ["Recorder"]

_FLOATS = {float}  # rates that are, stay what they are; tensors are changed in place


class Recorder:
    """Records what an optimizer does in any loop, as the same `History` that `run` leaves.

    Updates are counted, and their rates read, by hooks of the optimizer. The loss is told by `loss`, once for each
    batch; it stays on its device until the epoch ends, so that nothing waits for it. Param groups that are added later
    are not recorded.

    Args:
        optimizer: whose updates are recorded.
        task: what is trained, for the record.
        seed: of the run, for the record.
        trainer: what trains, with its version, for the record.
        told: when the loss of an update's last batch is told: "before" the update, as a plain loop does, or "after" it.
        made: more to record of how the run was made; JSON-able.

    >>> import torch, lrkit
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> scheduler = lrkit.linear(to=0).bind(optimizer, steps=8)
    >>> with lrkit.Recorder(optimizer, task="a line") as recorder:
    ...     for epoch in range(2):
    ...         for batch in x.split(16):
    ...             loss = torch.nn.functional.mse_loss(model(batch), 2 * batch)
    ...             optimizer.zero_grad()
    ...             loss.backward()
    ...             recorder.loss(loss, samples=len(batch))
    ...             optimizer.step()
    ...         history = recorder.epoch(valid_loss=loss.item())
    >>> history.lr.round(4).tolist(), len(history.epochs), history.made["schedule"]
    ([0.1, 0.0875, 0.075, 0.0625, 0.05, 0.0375, 0.025, 0.0125], 2, 'linear(to=0)')
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        task: str = "task",
        seed: int | None = None,
        trainer: str | None = None,
        told: Literal["before", "after"] = "before",
        made: Mapping[str, Any] | None = None,
    ) -> None:
        if told not in ("before", "after"):
            raise InputError(f"told must be 'before' or 'after', not {told!r}")
        self.optimizer = optimizer = stepping(optimizer)
        self._groups = len(optimizer.param_groups)
        self._told = told
        self._described = False
        self._lrs: list[float] | None = None  # of the update whose loss is still to come
        self._rates: list[float] = []  # of the update under way
        self._pending: list[tuple[Tensor, int]] = []  # losses of batches, and over how many samples they are means
        place = optimizer.param_groups[0]["params"][0].device
        self._record = Record(
            {
                "task": task,
                "source": None,
                "schedule": "unknown",  # until an update shows what is bound
                "policy": None,
                "lr": None,
                "seed": seed,
                "steps": None,
                "epochs": None,
                **surroundings(place),
                "trainer": trainer,
                **as_made(made or {}),
            }
        )
        self._unsubscribe: Callable[[], None] | None = clock_of(optimizer).subscribe(
            self._before_update, self._after_update
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy records no updates: it is what was recorded so far."""
        return {**self.__dict__, "_unsubscribe": None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the optimizer."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    # --- while it trains --------------------------------------------------------------------------

    def loss(self, loss: Tensor | float, samples: int = 1) -> None:
        """Note the loss of a batch.

        Args:
            loss: its mean over the batch, undivided where several batches make an update.
            samples: of the batch, by which batches are weighted within an update, and updates within an epoch.

        Raises:
            InputError: when the loss has several values, or the samples are fewer than 1.
            InputTypeError: when one of them is no number.
        """
        if not isinstance(loss, Tensor):
            loss = _as_loss(loss)
        elif loss.requires_grad:
            loss = loss.detach()  # or it would keep the graph that it came from
        if loss.ndim:
            loss = _single(loss)
        if type(samples) is not int or samples < 1:
            _check_samples(samples)
        self._pending.append((loss, samples))
        if self._lrs is not None:
            self._note(self._lrs)
            self._lrs = None

    def _before_update(self) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if len(rates) > self._groups:
            del rates[self._groups :]
        self._rates = rates if _FLOATS.issuperset(map(type, rates)) else [float(each) for each in rates]

    def _after_update(self, done: bool) -> None:
        if not done:  # a gradient scaler has skipped it
            self._pending = []
        elif self._told == "after":
            self._lrs = self._rates
        else:
            self._note(self._rates)

    def _note(self, lrs: list[float]) -> None:
        pending = self._pending
        if not pending:
            if not any(lrs):  # a step that only makes the optimizer's state
                return
            raise InputError("an update was made of which no loss was told; call recorder.loss before optimizer.step")
        if not self._described:
            self._describe()
        if len(pending) == 1:
            [(mean, samples)] = pending
        else:
            samples = sum(count for _, count in pending)
            mean = torch.stack([each * count for each, count in pending]).sum() / samples
        self._pending = []
        self._record.update(lrs, mean, samples)

    def _describe(self) -> None:
        """Note what is scheduled: with the first update, here and after a resumption, since trainers bind late."""
        self._described = True
        made, scheduler = self._record.made, scheduler_of(self.optimizer)
        group = self.optimizer.param_groups[0]
        if not self.steps:  # else it is what the training began with
            made["lr"] = float(group.get("initial_lr", group["lr"]))
        if scheduler is not None:
            horizon = scheduler.horizon
            if scheduler.policy is not None:
                made["policy"] = scheduler.policy
            made["schedule"], made["lr"] = str(scheduler.plan), float(scheduler.base_lrs[0])
            made["steps"] = None if horizon is None or horizon.steps is None else int(horizon.steps)

    def epoch(
        self,
        valid_loss: float | None = None,
        metrics: Mapping[str, float] | None = None,
        *,
        test_loss: float | None = None,
        test_metrics: Mapping[str, float] | None = None,
    ) -> History:
        """End an epoch, or whatever lies between two measurements; returns the history so far.

        Args:
            valid_loss: mean over the validation samples after it.
            metrics: means over the validation samples, by name.
            test_loss: mean over test samples, that nothing goes by.
            test_metrics: means over the test samples, by name.

        Raises:
            InputError: when no update was recorded since the last one.
        """
        if not self._record.updates_in_epoch:
            raise InputError("no update was recorded in this epoch; make the recorder before the first one")
        return self._record.end_epoch(_means(valid_loss, metrics), _means(test_loss, test_metrics))

    # --- what there is ----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Updates recorded, those of the epoch under way among them."""
        epochs = self._record.epochs
        return (epochs[-1].step if epochs else 0) + self._record.updates_in_epoch

    @property
    def updates_in_epoch(self) -> int:
        """Updates recorded since the last epoch ended."""
        return self._record.updates_in_epoch

    def history(self) -> History:
        """The history of the epochs that have ended."""
        return self._record.history()

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the history of the epochs that have ended, as `save_history` does."""
        save_history(self.history(), path, overwrite=overwrite)

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, the epoch under way included: plain data and tensors, for a checkpoint."""
        return {KEY: FORMAT, "made": dict(self._record.made), **self._record.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken.

        Raises:
            InputError: for what isn't the state of a recorder, or of a newer format, or of an optimizer with another
                number of param groups; then nothing has changed.
        """
        whole = checked_state(state, self._groups)
        try:
            self._record.restore(whole, torch.device(self._record.made["device"]))
        except TypeError as error:
            raise InputError(f"this recorder's state is damaged: its epochs have other entries ({error})") from None
        self._record.made.update(whole["made"])
        self._pending, self._lrs, self._described = [], None, False

    def resume(self, history: History) -> None:
        """Go on after the epochs of a history, such as one that `RunFolder.load` has read."""
        self.load_state_dict(state_after(history))


def _as_loss(loss: Any) -> Tensor:
    try:
        return torch.tensor(float(loss))
    except (TypeError, ValueError):
        raise InputTypeError(f"loss must be a number or a tensor with one, not {shown(loss)}") from None


def _single(loss: Tensor) -> Tensor:
    """A loss with dimensions, without them."""
    if loss.numel() != 1:
        raise InputError(f"loss must be one number, the mean over the batch, not a tensor of shape {tuple(loss.shape)}")
    return loss.reshape(())


def _check_samples(samples: object) -> None:
    """Refuse a number of samples that can't be one; a tensor isn't waited for."""
    if isinstance(samples, Tensor) and samples.numel() == 1:
        return
    if isinstance(samples, bool) or not isinstance(samples, int | float | np.integer | np.floating):
        raise InputTypeError(f"samples must be a whole number of at least 1, not {shown(samples)}")
    if not (samples >= 1 and samples == int(samples)):
        raise InputError(f"samples must be a whole number of at least 1, not {shown(samples)}")


def _means(loss: float | None, metrics: Mapping[str, float] | None) -> tuple[float | None, dict[str, float]]:
    values = {name: float(value) for name, value in (metrics or {}).items()}
    return None if loss is None else float(loss), values

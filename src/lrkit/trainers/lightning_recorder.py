"""The history of a training in Lightning."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lrkit.training.recorder as recorders
from lrkit.schedules.errors import InputError
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_length import accumulation
from lrkit.trainers.lightning_metrics import measured, sample_count
from lrkit.training.clock import clock_of
from lrkit.training.history import History
from lrkit.training.record_folder import require_room
from lrkit.training.wrapping import stepping

with extra("lightning"):
    import lightning
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Recorder"]

_VALID_LOSSES = ("val_loss", "valid_loss", "validation_loss")


class Recorder(Callback):
    """Records a training as the `History` that `lrkit.run` leaves: rates and losses of every update, epochs, metrics.

    Its state is in Lightning's checkpoints, so a resumed run has the whole history. The loss is that which
    `training_step` returns, and stays on its device until the epoch ends; what is made of a batch without one isn't
    recorded. An epoch is closed after the validation at its end. Metrics are those that its last validation has logged.

    Args:
        folder: is written after every epoch, for `lrkit.RunFolder.load` and `lrkit report`; None for none.
        task: what is trained, for the record; by default the module's class.
        seed: for the record; by default that of `seed_everything`.
        valid_loss: the name that the validation loss is logged by; by default "val_loss", "valid_loss" or
            "validation_loss".
        optimizer: which one is recorded where the module has several; where `training_step` makes several of its
            updates, the last of them.
        overwrite: replace the record that is in the folder, when the first epoch ends.

    >>> from lightning.pytorch import Trainer
    >>> recorder = Recorder()
    >>> trainer = Trainer(callbacks=[recorder], logger=False, enable_checkpointing=False, accelerator="cpu")
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        task: str | None = None,
        seed: int | None = None,
        valid_loss: str | None = None,
        optimizer: int = 0,
        overwrite: bool = False,
    ) -> None:
        self._folder, self._overwrite = folder, overwrite
        self._task, self._seed, self._valid_loss, self._index = task, seed, valid_loss, optimizer
        self._recorder: recorders.Recorder | None = None
        self._loaded: dict[str, Any] | None = None
        self._hook: Any = None
        self._waiting: list[tuple[Tensor, int]] = []  # losses of the update under way
        self._updated = False
        self._step = 0
        self._metrics: dict[str, float] = {}  # of the epoch's last validation
        self._written = False

    def history(self) -> History:
        """The history of the epochs that have ended.

        Raises:
            InputError: when no training has begun.
        """
        if self._recorder is None:
            raise InputError("there is no history before training begins")
        return self._recorder.history()

    # --- hooks ------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Be the first of the callbacks, so that what others save has the update that was just made."""
        trainer.callbacks = [self, *(each for each in trainer.callbacks if each is not self)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to record, or go on."""
        self._close()  # what a training before has left
        loaded, self._loaded = self._loaded or {}, None
        resumed = loaded.get("recorder") if trainer.ckpt_path is not None else None
        self._written = self._overwrite or resumed is not None
        if trainer.is_global_zero and self._folder is not None:
            require_room(self._folder, overwrite=self._written)
        optimizers = trainer.optimizers
        if not 0 <= self._index < len(optimizers):
            raise InputError(f"optimizer must be at least 0 and less than {len(optimizers)}, not {self._index}")
        optimizer = optimizers[self._index]
        self._hook = clock_of(stepping(optimizer)).subscribe(after=self._after_update)  # before the recorder
        loader = trainer.train_dataloader
        seed, epochs = os.environ.get("PL_GLOBAL_SEED"), None if trainer.max_epochs == -1 else trainer.max_epochs
        self._recorder = recorders.Recorder(
            optimizer,
            task=self._task or type(pl_module).__name__,
            seed=int(seed) if self._seed is None and seed is not None else self._seed,
            trainer=f"Lightning {lightning.__version__}",
            told="after",
            made={
                "epochs": epochs,
                "batch_size": getattr(loader, "batch_size", None),
                "accumulate": accumulation(trainer, trainer.current_epoch),
                "precision": str(trainer.precision),
            },
        )
        self._metrics = {}
        if resumed is not None:
            made = {**resumed["made"], "epochs": epochs}  # it may have become longer
            self._recorder.load_state_dict({**resumed, "made": made})
            self._metrics = dict(loaded.get("metrics", {}))
        self._waiting, self._updated, self._step = [], False, trainer.global_step

    def _after_update(self, done: bool) -> None:
        self._updated = True

    def _tell(self) -> None:
        """Tell the losses of an update as one, since with the first that is told it is complete."""
        assert self._recorder is not None
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            self._recorder.loss(*waiting[0])
        elif waiting:
            samples = sum(count for _, count in waiting)
            self._recorder.loss(torch.stack([loss * count for loss, count in waiting]).sum() / samples, samples)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss."""
        loss = outputs if isinstance(outputs, Tensor) else (outputs or {}).get("loss")
        if isinstance(loss, Tensor):
            divided = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self._waiting.append((loss if divided == 1 else loss * divided, sample_count(batch)))
        before, self._step = self._step, trainer.global_step
        if self._updated:
            self._tell()
        elif self._step > before:  # by Lightning's count, and not by the optimizer's: a gradient scaler skipped it
            self._waiting = []
        self._updated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was measured, and end the epoch where its last batch was trained."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._metrics = {name: float(value) for name, value in measured(trainer).items()}
        if trainer.is_last_batch:  # before checkpoints are saved, which so have the whole epoch
            self._end_epoch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the epoch where nothing was validated at its end."""
        self._end_epoch(trainer)

    def _end_epoch(self, trainer: Trainer) -> None:
        metrics, self._metrics = self._metrics, {}
        if self._recorder is None or not self._recorder.updates_in_epoch:
            return  # a run that is resumed at the end of an epoch comes by here once more
        names = _VALID_LOSSES if self._valid_loss is None else (self._valid_loss,)
        name = next((each for each in names if each in metrics), None)
        valid_loss = None if name is None else metrics.pop(name)
        self._recorder.epoch(valid_loss, metrics)
        if self._folder is not None and trainer.is_global_zero:
            self._recorder.save(self._folder, overwrite=self._written)
            self._written = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the optimizer: Lightning doesn't call `teardown` then."""
        self._loaded = None
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the optimizer, and forget the state that was loaded for something else than training."""
        self._loaded = None
        if stage == "fit":
            self._close()

    def _close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        if self._hook is not None:
            self._hook()
            self._hook = None

    # --- state ------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """One for each optimizer that is recorded."""
        name = type(self).__qualname__
        return name if self._index == 0 else f"{name}, optimizer {self._index}"

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, the epoch under way included."""
        if self._recorder is None:
            return {}
        return {"recorder": self._recorder.state_dict(), "metrics": dict(self._metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training begins."""
        self._loaded = state_dict

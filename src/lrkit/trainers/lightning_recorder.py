"""The history of a training in Lightning."""

import os
from pathlib import Path
from typing import Any

from torch import Tensor

import lrkit.training.recorder as recorders
from lrkit.schedules.errors import InputError
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_metrics import measured, sample_count
from lrkit.training.history import History

with extra("lightning"):
    import lightning
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Recorder"]

_VALID_LOSSES = ("val_loss", "valid_loss", "validation_loss")


class Recorder(Callback):
    """Records a training as the `History` that `lrkit.run` leaves: rates and losses of every update, epochs, metrics.

    Its state is in Lightning's checkpoints, so a resumed run has the whole history. The loss is that which
    `training_step` returns, and stays on its device until the epoch ends. An epoch is closed after the validation at
    its end; those within it are not recorded. Metrics are those that validation logs.

    Args:
        folder: is written after every epoch, for `lrkit.RunFolder.load` and `lrkit report`; None for none.
        task: what is trained, for the record; by default the module's class.
        seed: for the record; by default that of `seed_everything`.
        valid_loss: the name that the validation loss is logged by; by default "val_loss", "valid_loss" or
            "validation_loss".
        optimizer: which one is recorded where the module has several; where `training_step` makes several of its
            updates, the last of them.
        overwrite: replace the record that is in the folder.

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

    def history(self) -> History:
        """The history of the epochs that have ended.

        Raises:
            InputError: when no training has begun.
        """
        if self._recorder is None:
            raise InputError("there is no history before training begins")
        return self._recorder.history()

    # --- hooks ------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to record, or go on."""
        optimizers = trainer.optimizers
        if not 0 <= self._index < len(optimizers):
            raise InputError(f"optimizer must be at least 0 and less than {len(optimizers)}, not {self._index}")
        optimizer = optimizers[self._index]
        self._hook = optimizer.register_step_post_hook(self._after_update)  # before that of the recorder
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
                "accumulate": trainer.accumulate_grad_batches,
                "precision": str(trainer.precision),
            },
        )
        resumed, self._loaded = self._loaded, None
        if resumed is not None:
            made = {**resumed["recorder"]["made"], "epochs": epochs}  # it may have become longer
            self._recorder.load_state_dict({**resumed["recorder"], "made": made})
        self._waiting, self._updated, self._step = [], False, trainer.global_step
        self._save(trainer, overwrite=self._overwrite or resumed is not None)

    def _after_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._updated = True
        self._tell()

    def _tell(self) -> None:
        assert self._recorder is not None
        for loss, samples in self._waiting:
            self._recorder.loss(loss, samples)
        self._waiting = []

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
        """End the epoch where its last batch was trained."""
        # Before checkpoints are saved, which so have the whole epoch.
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_last_batch:
            self._end_epoch(trainer, {name: float(value) for name, value in measured(trainer).items()})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the epoch where nothing was validated."""
        self._end_epoch(trainer, {})

    def _end_epoch(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        if self._recorder is None or not self._recorder.updates_in_epoch:
            return  # a run that is resumed at the end of an epoch comes by here once more
        names = _VALID_LOSSES if self._valid_loss is None else (self._valid_loss,)
        name = next((each for each in names if each in metrics), None)
        valid_loss = None if name is None else metrics.pop(name)
        self._recorder.epoch(valid_loss, metrics)
        self._save(trainer, overwrite=True)

    def _save(self, trainer: Trainer, *, overwrite: bool) -> None:
        if self._folder is not None and self._recorder is not None and trainer.is_global_zero:
            self._recorder.save(self._folder, overwrite=overwrite)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the optimizer."""
        if stage == "fit" and self._recorder is not None:
            self._recorder.close()
            if self._hook is not None:
                self._hook.remove()
                self._hook = None

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, the epoch under way included."""
        return {} if self._recorder is None else {"recorder": self._recorder.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training begins."""
        self._loaded = state_dict

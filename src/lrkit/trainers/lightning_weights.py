"""Optimizers of the package schedulefree in Lightning: which of their two sets of weights is there, and when."""

from typing import Any

import torch
from torch import Tensor

from lrkit.schedules.errors import InputError
from lrkit.trainers.extras import extra
from lrkit.training.averaging import averaging_of, begin_training
from lrkit.training.scheduler import scheduler_of

with extra("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["ScheduleFree"]

_KEY = "lrkit_schedule_free"


class ScheduleFree(Callback):
    """Has the weights that are trained in the module while it trains, and their average for all else.

    The average is there for validation, after training, and in the `state_dict` of checkpoints; these have the trained
    weights as well, so that a resumed run is one that was never interrupted. The average of a batch norm's statistics
    isn't recomputed.

    Raises:
        InputError: when training begins, where no optimizer keeps an average, and for a schedule of its momentum.

    >>> from lightning.pytorch import Trainer
    >>> trainer = Trainer(callbacks=[ScheduleFree()], logger=False, enable_checkpointing=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._held: list[Tensor] | None = None  # the trained weights, to the bit, while the average is in the module

    # --- the two sets -----------------------------------------------------------------------------

    def _average(self, trainer: Trainer) -> None:
        if self._held is None:
            self._held = [each.detach().clone() for each in _parameters(trainer)]
            for optimizer in _averaging(trainer):
                optimizer.eval()

    @torch.no_grad()
    def _train(self, trainer: Trainer) -> None:
        """Back to the trained weights: `optimizer.train()` alone would compute them anew, with rounding."""
        if self._held is None:
            return
        for optimizer in _averaging(trainer):
            optimizer.train()
        for each, value in zip(_parameters(trainer), self._held, strict=True):
            each.copy_(value)
        self._held = None

    # --- hooks ------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that there is an average."""
        self._held = None
        if not _averaging(trainer):
            names = ", ".join(type(each).__name__ for each in trainer.optimizers)
            raise InputError(f"ScheduleFree is for the optimizers of the package schedulefree, not for {names}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the trained weights there."""
        self._train(trainer)
        for optimizer in _averaging(trainer):
            scheduler = scheduler_of(optimizer)
            begin_training(optimizer, set() if scheduler is None else {hyper for hyper, _ in scheduler.upcoming(1)})

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Have the trained weights there again."""
        # Only now, so that what is saved after a validation without the help of callbacks is the average too.
        self._train(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the average there."""
        if trainer.state.fn == "fit":
            self._average(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average there."""
        self._average(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the weights, and the trained ones beside them."""
        if not _averaging(trainer):
            return
        training = self._held is None
        self._average(trainer)
        assert self._held is not None
        named = {id(each): name for name, each in pl_module.named_parameters()}
        checkpoint[_KEY] = {
            named[id(each)]: value.clone()
            for each, value in zip(_parameters(trainer), self._held, strict=True)
            if id(each) in named
        }
        own = trainer.strategy.lightning_module_state_dict()
        checkpoint["state_dict"] = {
            name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in own.items()
        }
        for state in checkpoint.get("optimizer_states", []):
            for group in state["param_groups"]:
                if "train_mode" in group:
                    group["train_mode"] = True
        if training:
            self._train(trainer)

    @torch.no_grad()
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with the trained weights."""
        if trainer.state.fn == "fit" and _KEY in checkpoint:
            parameters = dict(pl_module.named_parameters())
            for name, value in checkpoint[_KEY].items():
                parameters[name].copy_(value)


def _averaging(trainer: Trainer) -> list[Any]:
    return [found for each in trainer.optimizers if (found := averaging_of(each)) is not None]


def _parameters(trainer: Trainer) -> list[Tensor]:
    optimizers = _averaging(trainer)
    return [each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]

"""The contender that is Lightning."""

import logging
import math
import warnings
from typing import Any

import lightning
import torch
from torch import nn

from job import PATIENCE, Clock, Job
from torch_loops import loaders, network

__all__ = ["module"]


def module(job: Job, clock: Clock) -> float:
    """A LightningModule and a Trainer over (b)'s DataLoaders, without logger, checkpoints and progress bar."""

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, index: int) -> Any:
            images, labels = batch
            loss = nn.functional.cross_entropy(self.network(images), labels)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            images, labels = batch
            output = self.network(images)
            self.log("valid_loss", nn.functional.cross_entropy(output, labels))
            self.log("valid_accuracy", (output.argmax(1) == labels).float().mean())

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=job.rate, momentum=job.momentum)
            if not job.validate:
                return optimizer
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=PATIENCE)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "valid_loss"}}

    class Ticks(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            clock.tick(trainer.global_step)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # that a DataLoader without workers may be slow
    train, valid = loaders(job)
    trainer = lightning.Trainer(
        max_epochs=job.epochs,
        max_steps=int(clock.last) if clock.last < math.inf else -1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Ticks()] if clock.last < math.inf else [],
    )
    trainer.fit(Classifier(), train, valid if job.validate else None)
    return float(trainer.callback_metrics.get("valid_accuracy", math.nan))

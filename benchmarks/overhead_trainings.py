"""The trainings of overhead.py: one function for each trainer, written as its users write it.

All train MNIST's perceptron 784-64-32-10 by SGD with batches of 32 for so many updates, and let the rate fall along a
cosine, set by the trainer's usual scheduler ("usual"), or by lrkit ("lrkit"), or by lrkit while a recorder keeps the
history ("recorded").
"""

import logging
import math
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

import lrkit
from job import BATCH, RATE, Clock, Job, read
from torch_loops import network

__all__ = ["HOWS", "TRAININGS", "How"]

How: TypeAlias = Literal["usual", "lrkit", "recorded"]
HOWS: tuple[How, ...] = ("usual", "lrkit", "recorded")
SCHEDULE = "cosine(to=0)"


def plain(how: How, steps: int, clock: Clock) -> None:
    """A loop of one's own."""
    model, optimizer = _model(clock)
    if how == "usual":
        scheduler: Any = CosineAnnealingLR(optimizer, steps)
    else:
        scheduler = lrkit.parse(SCHEDULE).bind(optimizer, steps=steps)
    with lrkit.Recorder(optimizer) if how == "recorded" else nullcontext() as recorder:
        for images, labels in _loader(steps):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            if recorder is not None:
                recorder.loss(loss, len(labels))
            optimizer.step()
            if how == "usual":
                scheduler.step()


def with_lightning(how: How, steps: int, clock: Clock) -> None:
    """Lightning: the schedule from `configure_optimizers`, once a step."""
    import lightning

    from lrkit.trainers.lightning import Recorder, configure

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, index: int) -> Tensor:
            images, labels = batch
            return nn.functional.cross_entropy(self.network(images), labels)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=RATE)
            tick(optimizer, clock)
            if how == "usual":
                scheduler = CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
            return configure(self, optimizer, SCHEDULE)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # that a DataLoader without workers may be slow
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Recorder(f"{folder}/run")] if how == "recorded" else [],
        )
        trainer.fit(Classifier(), _loader(steps))


def _model(clock: Clock) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    tick(optimizer, clock)
    return model, optimizer


def tick(optimizer: torch.optim.Optimizer, clock: Clock) -> None:
    """Have the clock told of each update by the optimizer, the same way in all trainers."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        clock.tick(done)

    optimizer.register_step_post_hook(count)


def _tensors(steps: int) -> tuple[Tensor, Tensor]:
    """The images, float, and labels of so many batches."""
    images, labels = read("train", Job())
    rows = np.resize(np.arange(len(labels)), steps * BATCH)
    return torch.from_numpy(images[rows]).float() / 255, torch.from_numpy(labels[rows]).long()


def _loader(steps: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*_tensors(steps)), batch_size=BATCH, shuffle=True)

"""The trainings of overhead.py: one function for each trainer, written as its users write it.

All train MNIST's perceptron 784-64-32-10 by SGD with batches of 32 for so many updates, and let the rate fall along a
cosine, set by the trainer's usual scheduler ("usual"), or by lrkit ("lrkit"), or by lrkit while a recorder keeps the
history ("recorded").
"""

import logging
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

__all__ = ["TRAININGS", "How"]

How: TypeAlias = Literal["usual", "lrkit", "recorded"]
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


def with_transformers(how: How, steps: int, clock: Clock) -> None:
    """Transformers' Trainer: its own cosine, or a callback."""
    import transformers

    from lrkit.trainers.transformers import Schedule, record

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            output = self.network(images)
            return {"loss": nn.functional.cross_entropy(output, labels), "logits": output}

    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    tick(optimizer, clock)
    images, labels = _tensors(steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(
                f"{folder}/trainer",
                per_device_train_batch_size=BATCH,
                max_steps=steps,
                learning_rate=RATE,
                lr_scheduler_type="cosine" if how == "usual" else "constant",
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=[{"images": image, "labels": label} for image, label in zip(images, labels, strict=True)],
            optimizers=(optimizer, None),
            callbacks=[] if how == "usual" else [Schedule(SCHEDULE)],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        if how == "recorded":
            record(trainer, f"{folder}/run")
        trainer.train()


def with_accelerate(how: How, steps: int, clock: Clock) -> None:
    """Accelerate: what `prepare` returns, in a loop of one's own."""
    from accelerate import Accelerator

    from lrkit.trainers.accelerate import bind

    accelerator = Accelerator(cpu=True)
    model, optimizer = _model(clock)
    model, optimizer, loader = accelerator.prepare(model, optimizer, _loader(steps))
    if how == "usual":
        scheduler = accelerator.prepare(CosineAnnealingLR(optimizer, steps))
    else:
        scheduler = bind(accelerator, SCHEDULE, optimizer, loader, epochs=1)
    with lrkit.Recorder(optimizer) if how == "recorded" else nullcontext() as recorder:
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            if recorder is not None:
                recorder.loss(loss, len(labels))
            optimizer.step()
            if how == "usual":
                scheduler.step()


def with_ignite(how: How, steps: int, clock: Clock) -> None:
    """ignite: its own cosine as a handler, or lrkit's handlers."""
    from ignite.engine import Events, create_supervised_trainer
    from ignite.handlers.param_scheduler import CosineAnnealingScheduler

    from lrkit.trainers.ignite import Recorder, Schedule

    model, optimizer = _model(clock)
    trainer = create_supervised_trainer(
        model, optimizer, nn.CrossEntropyLoss(), output_transform=lambda x, y, y_pred, loss: loss.detach()
    )
    if how == "usual":
        # A cycle is the way down and the way up again.
        trainer.add_event_handler(
            Events.ITERATION_STARTED, CosineAnnealingScheduler(optimizer, "lr", RATE, 0.0, 2 * steps)
        )
    else:
        Schedule(SCHEDULE, optimizer).attach(trainer)
    if how == "recorded":
        Recorder(optimizer).attach(trainer)
    trainer.run(_loader(steps), max_epochs=1)


def with_skorch(how: How, steps: int, clock: Clock) -> None:
    """skorch: torch's scheduler in its callback, or lrkit's callbacks."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import LRScheduler

    from lrkit.trainers.skorch import Recorder, Schedule

    def make_optimizer(parameters: Any, lr: float) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=lr)
        tick(optimizer, clock)
        return optimizer

    callbacks: list[Any] = [Schedule(SCHEDULE)]
    if how == "usual":
        callbacks = [LRScheduler(CosineAnnealingLR, T_max=steps, step_every="batch")]
    elif how == "recorded":
        callbacks.append(Recorder())
    net = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=make_optimizer,
        lr=RATE,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=1,
        callbacks=callbacks,
        verbose=0,
    )
    images, labels = _tensors(steps)
    net.fit(images.numpy(), labels.numpy())


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


TRAININGS: dict[str, Callable[[How, int, Clock], None]] = {
    "plain": plain,
    "lightning": with_lightning,
    "transformers": with_transformers,
    "accelerate": with_accelerate,
    "ignite": with_ignite,
    "skorch": with_skorch,
}

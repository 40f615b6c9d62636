"""The contender that is skorch."""

import math
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from job import BATCH, Clock, Job, read
from torch_loops import network

__all__ = ["net"]


def net(job: Job, clock: Clock) -> float:
    """A `NeuralNetClassifier` that fits arrays, silent and without a validation split."""

    class Ticks(Callback):  # type: ignore[misc]  # skorch has no types
        def __init__(self) -> None:
            self.steps = 0

        def on_batch_end(self, *_: Any, **__: Any) -> None:
            self.steps += 1
            if clock.tick(self.steps):
                raise KeyboardInterrupt  # with which skorch ends a training early

    images, labels = read("train", job)
    classifier = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=job.momentum,
        lr=job.rate,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=job.epochs,
        callbacks=[("ticks", Ticks())],
        verbose=0,
    )
    classifier.fit(images.astype(np.float32) / 255, labels.astype(np.int64))
    return math.nan

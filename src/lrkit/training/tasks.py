"""The built-in tasks."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lrkit.schedules.errors import InputError, unknown
from lrkit.training.idx import MNIST_FOLDER, Split, load_folder
from lrkit.training.task import Task, accuracy

__all__ = ["DEFAULT_SCHEDULE", "get", "names"]

DEFAULT_SCHEDULE = "plateau(patience=5)"  # on the validation loss: mode min, factor 0.1

# Units of the hidden layers.
_HIDDEN = {"mnist": (64, 32), "mnist-wide": (256, 128)}


def names() -> list[str]:
    """The names of the built-in tasks.

    >>> names()
    ['mnist', 'mnist-wide']
    """
    return sorted(_HIDDEN)


def get(name: str, *, data: str | Path | None = None, batch_size: int | None = None, epochs: int | None = None) -> Task:
    """A built-in task: a fully connected ReLU network on MNIST, cross-entropy, SGD at 0.1, batch 32, 25 epochs.

    `mnist` has hidden layers of 64 and 32 units, `mnist-wide` of 256 and 128. The test images are the validation
    data. Pixels are divided by 255.

    Args:
        name: one of `names()`.
        data: a folder in MNIST's format instead of MNIST itself; the network takes its size from it.
        batch_size: instead of 32.
        epochs: instead of 25.

    Raises:
        InputError: for an unknown name, and for what `load_folder` refuses.
    """
    if name not in _HIDDEN:
        raise unknown("task", name, _HIDDEN)
    folder = MNIST_FOLDER if data is None else Path(data)
    train, valid = _load(folder, "train"), _load(folder, "test")
    if train[0].shape[1:] != valid[0].shape[1:]:
        raise InputError(f"the data folder {folder} has training and test images of different size")
    classes = int(max(train[1].max(), valid[1].max())) + 1
    sizes = (train[0].shape[1], *_HIDDEN[name], classes)

    def optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)

    return Task(
        name=name,
        model=lambda: _perceptron(sizes),
        train=train,
        valid=valid,
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=optimizer,
        batch_size=32 if batch_size is None else batch_size,
        epochs=25 if epochs is None else epochs,
    )


def _load(folder: Path, split: Split) -> tuple[Tensor, Tensor]:
    """Images as float32 of shape (n, pixels) in [0, 1], and labels as int64."""
    images, labels = load_folder(folder, split)
    pixels = torch.tensor(images.reshape(len(images), -1)).to(torch.float32).div_(255)
    return pixels, torch.tensor(labels)


def _perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

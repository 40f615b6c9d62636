"""The built-in tasks: they train at once, without a download."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lrkit.schedules.errors import InputError, unknown
from lrkit.training.idx import MNIST_FOLDER, Split, load_folder
from lrkit.training.networks import CharTransformer, convolutional, perceptron
from lrkit.training.task import Task, accuracy

__all__ = ["DEFAULT_SCHEDULE", "TASKS", "get"]

DEFAULT_SCHEDULE = "plateau(patience=5)"  # on the validation loss: mode min, factor 0.1

TASKS = {
    "mnist": "fully connected, hidden layers of 64 and 32, on MNIST: SGD at 0.1, batch 32, 25 epochs",
    "mnist-wide": "the same with hidden layers of 256 and 128",
    "mnist-cnn": "two convolutions on MNIST: SGD at 0.05 with momentum, batch 64, 5 epochs",
    "chars": "a small transformer that predicts the next character of Python's help texts: AdamW at 0.003, 5 epochs",
}
_HIDDEN = {"mnist": (64, 32), "mnist-wide": (256, 128)}
_LENGTH = 64  # characters of context


def get(name: str, *, data: str | Path | None = None) -> Task:
    """A built-in task; `TASKS` says what each is.

    The validation data are MNIST's test images (pixels divided by 255), and the last tenth of the text.

    Args:
        name: one of `TASKS`.
        data: a folder in MNIST's format instead of MNIST itself; the network takes its size from it.

    Raises:
        InputError: for an unknown name, for a folder where the task takes none, and for what `load_folder` refuses.

    >>> get("mnist").batch_size, get("chars").train[0].shape[1]
    (32, 64)
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    if name == "chars":
        if data is not None:
            raise InputError("the task chars takes no --data")
        return _chars()
    return _images(name, MNIST_FOLDER if data is None else Path(data))


def _images(name: str, folder: Path) -> Task:
    train, shape, classes = _read(folder, "train")
    valid, valid_shape, valid_classes = _read(folder, "test")
    if shape != valid_shape:
        raise InputError(f"the data folder {folder} has training and test images of different size")
    classes = max(classes, valid_classes)
    common: dict[str, Any] = {
        "name": name,
        "train": train,
        "valid": valid,
        "loss": nn.functional.cross_entropy,
        "metrics": {"accuracy": accuracy},
    }
    if name == "mnist-cnn":
        height, width = shape
        if min(shape) < 4:
            raise InputError(f"mnist-cnn needs images of 4 x 4 pixels or more, not {height} x {width}")
        return Task(
            model=lambda: convolutional(height, width, classes),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
            batch_size=64,
            epochs=5,
            **common,
        )
    sizes = (shape[0] * shape[1], *_HIDDEN[name], classes)
    return Task(
        model=lambda: perceptron(sizes),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batch_size=32,
        epochs=25,
        **common,
    )


def _read(folder: Path, split: Split) -> tuple[tuple[Tensor, Tensor], tuple[int, int], int]:
    """Images as float32 of shape (n, pixels) in [0, 1] and labels as int64; height and width; number of classes."""
    images, labels = load_folder(folder, split)
    pixels = torch.tensor(images.reshape(len(images), -1)).to(torch.float32).div_(255)
    return (pixels, torch.tensor(labels)), images.shape[1:], int(labels.max()) + 1


def _characters() -> tuple[Tensor, int, str]:
    """Python's help texts as numbers, how many characters there are, and the hash of the text."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[topic] for topic in sorted(topics))
    known = sorted(set(text))
    number = {character: index for index, character in enumerate(known)}
    return torch.tensor([number[each] for each in text]), len(known), hashlib.sha256(text.encode()).hexdigest()


def _chars() -> Task:
    text, vocabulary, digest = _characters()
    count = (len(text) - 1) // _LENGTH
    inputs = text[: count * _LENGTH].view(count, _LENGTH)
    targets = text[1 : count * _LENGTH + 1].view(count, _LENGTH)
    split = count - count // 10

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())

    return Task(
        name="chars",
        model=lambda: CharTransformer(vocabulary, _LENGTH),
        train=(inputs[:split], targets[:split]),
        valid=(inputs[split:], targets[split:]),
        loss=loss,
        metrics={"accuracy": accuracy},
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        batch_size=32,
        epochs=5,
        source={"sha256": digest},
    )

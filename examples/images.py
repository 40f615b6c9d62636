"""Images that are augmented while they are read: a dataset of your own, and a convolutional network."""

import torch
from torch import nn
from torch.utils.data import Dataset

import lrkit
from lrkit.training.idx import MNIST_FOLDER, load_folder


class Digits(Dataset):
    """MNIST's digits as (1, 28, 28) floats; shifted by up to two pixels where `shift` is set."""

    def __init__(self, split, shift):
        images, labels = load_folder(MNIST_FOLDER, split)
        self.images, self.labels, self.shift = torch.tensor(images), torch.tensor(labels), shift

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index].float().div(255).unsqueeze(0)
        if self.shift:
            image = torch.roll(image, torch.randint(-2, 3, (2,)).tolist(), dims=(1, 2))
        return image, self.labels[index]


def network():
    """Two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip  # more to a line reads better


task = lrkit.Task(
    model=network,
    train=Digits("train", shift=True),
    valid=Digits("test", shift=False),
    loss=nn.functional.cross_entropy,
    metrics={"accuracy": lrkit.accuracy},
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4),
    batch_size=128,
    epochs=5,
    workers=1,
)

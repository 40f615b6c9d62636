"""The contenders that are plain torch: one loop, fed in three ways."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from job import BATCH, PATIENCE, SIZES, VALID_BATCH, Clock, Job, read
from lrkit.training.idx import Split

__all__ = ["dataloader", "loaders", "network", "tensors", "tutorial"]


def tutorial(job: Job, clock: Clock) -> float:
    """A DataLoader over a dataset that converts each image, as tutorials have it."""

    class Images(Dataset[tuple[Tensor, int]]):
        def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
            self.images, self.labels = images, labels

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.from_numpy(self.images[index]).float() / 255, int(self.labels[index])

    train, valid = (Images(*read(split, job)) for split in ("train", "test"))
    loader = DataLoader(train, batch_size=BATCH, shuffle=True)
    return _train(lambda: loader, DataLoader(valid, batch_size=VALID_BATCH), job, clock)


def dataloader(job: Job, clock: Clock) -> float:
    """A DataLoader over a TensorDataset."""
    train, valid = loaders(job)
    return _train(lambda: train, valid, job, clock)


def tensors(job: Job, clock: Clock) -> float:
    """Tensors, indexed by the batches of a random order."""
    (images, labels), (valid_images, valid_labels) = (_tensors(split, job) for split in ("train", "test"))
    valid = list(zip(valid_images.split(VALID_BATCH), valid_labels.split(VALID_BATCH), strict=True))

    def batches() -> Iterable[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(images)).split(BATCH):
            yield images[rows], labels[rows]

    return _train(batches, valid, job, clock)


def _train(batches: Callable[[], Iterable[Any]], valid: Iterable[Any], job: Job, clock: Clock) -> float:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=job.rate, momentum=job.momentum)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=PATIENCE)
    steps, record = 0, []
    for _ in range(job.epochs):
        model.train()
        total, before = 0.0, steps
        for images, labels in batches():
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            steps += 1
            if clock.tick(steps):
                return math.nan
        if not job.validate:
            continue
        model.eval()
        loss_sum = correct = count = 0.0
        with torch.no_grad():
            for images, labels in valid:
                output = model(images)
                loss_sum += nn.functional.cross_entropy(output, labels, reduction="sum").item()
                correct += (output.argmax(1) == labels).sum().item()
                count += len(labels)
        scheduler.step(loss_sum / count)
        record.append((total / (steps - before), loss_sum / count, correct / count, scheduler.get_last_lr()))
    return record[-1][2]


def network() -> nn.Module:
    """The perceptron."""
    first, second, third, classes = SIZES
    return nn.Sequential(
        nn.Linear(first, second), nn.ReLU(), nn.Linear(second, third), nn.ReLU(), nn.Linear(third, classes)
    )


def _tensors(split: Split, job: Job) -> tuple[Tensor, Tensor]:
    images, labels = read(split, job)
    return torch.from_numpy(images).float() / 255, torch.from_numpy(labels)


def loaders(job: Job) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """For training and validation, over tensors."""
    train, valid = (TensorDataset(*_tensors(split, job)) for split in ("train", "test"))
    return DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(valid, batch_size=VALID_BATCH)

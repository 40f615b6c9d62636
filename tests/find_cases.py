"""What learning rates are found for in tests."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrkit

X = torch.linspace(-1, 1, 256)[:, None]
Y = 2 * X + 0.3 * torch.sin(40 * X)


def squares(output, target):
    return (output - target).square().mean()


def task(**changes):
    made = lrkit.Task(
        model=lambda: nn.Linear(1, 1),
        train=(X, Y),
        valid=(X, 2 * X),
        batch_size=16,
        epochs=3,
        loss=squares,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
    )
    return dataclasses.replace(made, **changes)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def loader(**options):
    return DataLoader(TensorDataset(X, Y), **{"batch_size": 16, "shuffle": True, **options})


QUICK = {"low": 1e-4, "high": 100.0, "steps": 40, "seeds": 2}


def refused(error, sentence, call):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == sentence

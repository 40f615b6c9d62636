"""A table in memory: two losses by name, clipped gradients, a length in steps."""

import numpy as np
import torch
from torch import nn

import lrkit

# Friedman's regression problem: ten columns, of which five matter.
generator = np.random.default_rng(0)
columns = generator.random((6000, 10))
value = (
    10 * np.sin(np.pi * columns[:, 0] * columns[:, 1])
    + 20 * (columns[:, 2] - 0.5) ** 2
    + 10 * columns[:, 3]
    + 5 * columns[:, 4]
    + generator.normal(size=6000)
)
x = torch.tensor((columns - columns.mean(axis=0)) / columns.std(axis=0), dtype=torch.float32)
y = torch.tensor((value - value.mean()) / value.std(), dtype=torch.float32)[:, None]


def explained(output, target):
    """The share of the variance that is explained."""
    return 1 - (output - target).square().mean() / target.var()


task = lrkit.Task(
    model=lambda: nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)),
    train=(x[1000:], y[1000:]),
    valid=(x[:1000], y[:1000]),
    loss={
        "squared": nn.functional.mse_loss,
        "spread": lambda output, target: 0.1 * (output.std() - target.std()).square(),
    },
    metrics={"explained": explained},
    optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.005),
    batch_size=64,
    steps=1500,
    clip_norm=1.0,
)

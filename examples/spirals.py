import torch
from torch import nn

import lrkit

generator = torch.Generator().manual_seed(0)
t = 1 + 9 * torch.rand(2000, generator=generator)
y = torch.arange(2000) % 2
x = torch.stack([t * torch.cos(t + torch.pi * y), t * torch.sin(t + torch.pi * y)], dim=1) / 10

task = lrkit.Task(
    model=lambda: nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)),
    train=(x[:1600], y[:1600]),
    valid=(x[1600:], y[1600:]),
    loss=nn.functional.cross_entropy,
    metrics={"accuracy": lrkit.accuracy},
    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    batch_size=32,
    epochs=10,
)

"""The contender that is Ignite."""

import math

import torch
from ignite.engine import Events, create_supervised_trainer
from torch import nn

from job import Clock, Job
from torch_loops import loaders, network

__all__ = ["engine"]


def engine(job: Job, clock: Clock) -> float:
    """`create_supervised_trainer` over the DataLoader; without validation."""
    train, _ = loaders(job)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=job.rate, momentum=job.momentum)
    trainer = create_supervised_trainer(model, optimizer, nn.CrossEntropyLoss())

    @trainer.on(Events.ITERATION_COMPLETED)
    def tick() -> None:
        if clock.tick(trainer.state.iteration):
            trainer.terminate()

    trainer.run(train, max_epochs=job.epochs)
    return math.nan

"""The averaged weights of a schedule-free optimizer, for ignite's evaluators."""

from typing import Self

from torch.optim import Optimizer

from lrkit.trainers.extras import extra
from lrkit.training.averaging import Measurement, begin_training
from lrkit.training.scheduler import scheduler_of

with extra("ignite"):
    from ignite.engine import Engine, Events

__all__ = ["AveragedWeights"]


class AveragedWeights:
    """Lets evaluators see the averaged weights of a schedule-free optimizer, and the trainer those that it trains.

    After an evaluation the trained weights are there again, bit for bit; after the training the model has the average.

    Args:
        optimizer: such as `schedulefree.AdamWScheduleFree`; with any other nothing happens.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._after = Measurement(optimizer)
        self._during = Measurement(optimizer)

    def attach(self, trainer: Engine, *evaluators: Engine) -> Self:
        """Attach it to a trainer, and to all that measure the model."""
        trainer.add_event_handler(Events.STARTED, self._train)
        trainer.add_event_handler(Events.COMPLETED, self._after.begin)
        for each in evaluators:
            each.add_event_handler(Events.STARTED, self._begin)
            each.add_event_handler(Events.COMPLETED, self._during.end)
        return self

    def _train(self) -> None:
        self._during.end()  # of an evaluation that broke off
        self._after.end()
        scheduler = scheduler_of(self.optimizer)
        begin_training(self.optimizer, () if scheduler is None else {hyper for hyper, _ in scheduler.upcoming(1)})

    def _begin(self) -> None:
        if not self._after.is_open:
            self._during.begin()

"""What controllers are told in Lightning, and when."""

from typing import Any

from lrkit.schedules.errors import unknown
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_metrics import measured
from lrkit.training.scheduler import Scheduler

with extra("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["Reports"]

_LOSS = "loss"  # what a controller that names no metric asks for


class _Report:
    """One scheduler, the metrics that it waits for, and those that there are."""

    def __init__(self, scheduler: Scheduler, asked: set[str], monitor: str | None) -> None:
        self._scheduler, self._monitor = scheduler, monitor
        self.names = {self._logged(each) for each in asked}
        self.waiting: dict[str, float] = {}
        self.of_validation: set[str] = set()  # once that has measured it, what stands there after training is old
        self.told = False

    def _logged(self, asked: str) -> str:
        return self._monitor if asked == _LOSS and self._monitor is not None else asked

    def take(self, found: dict[str, Any], names: set[str]) -> None:
        """Note what was measured, and tell the scheduler when nothing is missing."""
        self.waiting |= {name: float(found[name]) for name in names & set(found)}
        if self.names <= set(self.waiting):
            loss = {} if self._monitor is None else {_LOSS: self.waiting.get(self._monitor)}
            told, self.waiting, self.told = {**self.waiting, **loss}, {}, True
            self._scheduler.step(told)

    def require(self, found: dict[str, Any]) -> None:
        """Refuse what was never measured."""
        for name in sorted(self.names - self.of_validation - set(found)):
            raise unknown("monitor" if name == self._monitor else "metric", name, found)

    def warn(self) -> None:
        """Say what was never told."""
        names = ", ".join(map(repr, sorted(self.names)))
        rank_zero_warn(f"'{self._scheduler.plan}' was told nothing in the whole training: {names} was never measured")


class Reports(Callback):
    """Tells controllers their metrics each time they are measured, before checkpoints of that moment are saved.

    There is one for a fit, and it does nothing after it.
    """

    def __init__(self) -> None:
        self._reports: list[_Report] = []
        self._validated = False
        self._whole = False  # whether an epoch was trained to its end
        self.ended = False

    def add(self, scheduler: Scheduler, asked: set[str], monitor: str | None) -> None:
        """Tell this one too."""
        self._reports.append(_Report(scheduler, asked, monitor))

    @property
    def state_key(self) -> str:
        """Its own, so that it is nobody else's."""
        return f"{type(self).__qualname__}{id(self)}"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what this validation has measured."""
        if self.ended or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._validated, found = True, measured(trainer)
        for each in self._reports:
            each.of_validation |= each.names & set(found)
            each.take(found, each.names)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what training has measured."""
        # What is resumed at the end of an epoch comes by here once more, without that epoch's metrics.
        if self.ended or trainer.fit_loop.restarting:
            return
        self._whole = self._whole or trainer.is_last_batch
        found: dict[str, Any] = dict(trainer.callback_metrics)
        for each in self._reports:
            if names := each.names - each.of_validation:
                each.take(found, names)
                if self._validated or not trainer.enable_validation:
                    each.require(found)

    def on_train_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Say where nothing was reported at all."""
        if self.ended or not self._whole or trainer.ckpt_path is not None or trainer.fast_dev_run:
            return
        for each in self._reports:
            if not each.told:
                each.warn()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lightning doesn't call `teardown` then."""
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make room for the next training."""
        self._end()

    def _end(self) -> None:
        self.ended, self._reports = True, []

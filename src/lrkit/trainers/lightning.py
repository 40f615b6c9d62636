"""lrkit in Lightning: schedules for `configure_optimizers`, and callbacks that find a rate, record, and average."""

import math
from typing import Any, Literal

from torch.optim import Optimizer

from lrkit.schedules import Controller, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError, unknown
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_finder import Finder
from lrkit.trainers.lightning_metrics import measured
from lrkit.trainers.lightning_recorder import Recorder
from lrkit.trainers.lightning_weights import ScheduleFree
from lrkit.trainers.plans import as_plan
from lrkit.training.scheduler import Policy, Scheduler

with extra("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Finder", "Recorder", "ScheduleFree", "configure", "updates"]

Interval = Literal["step", "epoch"]


def configure(
    module: LightningModule,
    optimizer: Optimizer,
    schedule: Plan | Plans | str,
    *,
    monitor: str | None = None,
    interval: Interval | None = None,
    policy: Policy | None = None,
    steps: int | None = None,
    epoch_steps: int | None = None,
) -> dict[str, Any]:
    """What `configure_optimizers` returns: the optimizer with a schedule over the whole training.

    The horizon is the trainer's: nothing is counted by hand. The clock is the optimizer's own updates.

    Args:
        module: the module itself, which has its trainer then.
        optimizer: whose rates are scheduled, and its other hyper-parameters where the plan has some.
        schedule: a plan or its text.
        monitor: the metric, as it is logged, that controllers go by. They are told it once each time it is measured:
            after a validation, or at the end of an epoch of training where `training_step` logs it.
        interval: how often `LearningRateMonitor` logs the rate, "step" or "epoch"; by default "step", and with a
            controller "epoch". It changes no rate.
        policy: what to do with a checkpoint of another schedule or horizon: "keep", "stretch" or "replace".
        steps: updates of the whole training, where the trainer can't know them.
        epoch_steps: updates in an epoch, likewise.

    Raises:
        InputError, InputTypeError: for arguments that aren't allowed, and where the trainer has no length.

    >>> import torch
    >>> from lightning.pytorch import LightningModule
    >>> class Line(LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(1, 1)
    ...     def configure_optimizers(self):
    ...         optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
    ...         return configure(self, optimizer, "warmup(5%) >> cosine(to=0)")
    """
    given: object = module
    if getattr(given, "configure_optimizers", None) is None:
        raise InputTypeError(f"module must be a LightningModule, not {type(given).__name__}")
    if interval not in (None, "step", "epoch"):
        raise unknown("interval", str(interval), ["step", "epoch"])
    plan = as_plan(schedule)
    plans = Plans({"lr": plan}) if isinstance(plan, Plan) else plan
    controlled = any(isinstance(each, Controller) for _, each in plans.parts)
    if controlled and monitor is None:
        raise InputError(f"monitor must name the logged metric that '{plan}' goes by, such as monitor='val_loss'")
    trainer = module.trainer
    if steps is None:
        steps, found = updates(trainer)
        epoch_steps = found if epoch_steps is None else epoch_steps
    scheduler = plan.bind(optimizer, steps=steps, epoch_steps=epoch_steps, policy=policy)
    config: dict[str, Any] = {"scheduler": scheduler, "interval": interval or ("epoch" if controlled else "step")}
    if module.automatic_optimization:
        config["reduce_on_plateau"] = False  # Lightning would tell it after checkpoints are saved, and stale metrics
    callbacks = _callbacks(trainer)
    callbacks[:] = [each for each in callbacks if not (isinstance(each, _Reports) and each.ended)]  # of a fit before
    if controlled and monitor is not None:
        callbacks.insert(0, _Reports(scheduler, monitor))
    return {"optimizer": optimizer, "lr_scheduler": config}


def updates(trainer: Trainer) -> tuple[int, int | None]:
    """Updates that a trainer will make in all, and in an epoch; None for these where epochs differ.

    An epoch's last update may have fewer batches than the others; `limit_train_batches`, `max_steps`, and an
    accumulation that changes from epoch to epoch are counted.

    Raises:
        InputError: where the trainer has no length.
    """
    epochs, most = trainer.max_epochs, trainer.max_steps
    if most == -1 and (epochs is None or epochs == -1):
        raise InputError("the trainer has no length with max_epochs=-1; give it max_epochs or max_steps, or give steps")
    fit = trainer.fit_loop
    fit.setup_data()
    batches = trainer.num_training_batches
    if trainer.ckpt_path is not None:
        fit._combined_loader = None  # or Lightning wouldn't tell a loader that can go on where it was
    if math.isinf(batches):
        if most == -1:
            raise InputError(
                "the training data has no length; give the trainer max_steps or limit_train_batches, or give steps"
            )
        return most, None
    ends = [each for each in _callbacks(trainer) if hasattr(each, "get_accumulate_grad_batches")]
    if not ends or epochs is None or epochs == -1:
        each_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        steps = most if epochs is None or epochs == -1 else each_epoch * max(epochs, 1)
    else:
        each_of = [math.ceil(batches / ends[0].get_accumulate_grad_batches(epoch)) for epoch in range(max(epochs, 1))]
        each_epoch, steps = each_of[0] if len(set(each_of)) == 1 else 0, sum(each_of)
    if not batches:
        raise InputError("the trainer has no training batches, so there is nothing to schedule")
    return steps if most == -1 else min(steps, most), each_epoch or None


class _Reports(Callback):
    """Tells a controller its metric each time it is measured, before checkpoints of that moment are saved."""

    def __init__(self, scheduler: Scheduler, monitor: str) -> None:
        self._scheduler, self._monitor = scheduler, monitor
        self._of_validation = False  # once that has measured it, what stands there after training is old
        self._validated = False
        self.ended = False

    @property
    def state_key(self) -> str:
        return f"{type(self).__qualname__}{id(self)}"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what this validation has measured."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._validated, found = True, measured(trainer)
        if self._monitor in found:
            self._of_validation = True
            self._scheduler.step(float(found[self._monitor]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what training has measured."""
        # What is resumed at the end of an epoch comes by here once more, without that epoch's metrics.
        if self._of_validation or trainer.fit_loop.restarting:
            return
        found = trainer.callback_metrics
        if self._monitor in found:
            self._scheduler.step(float(found[self._monitor]))
        elif self._validated or not trainer.enable_validation:
            raise unknown("monitor", self._monitor, found)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make room for the next training."""
        self.ended = True


def _callbacks(trainer: Any) -> list[Any]:
    """The list that a trainer goes by."""
    callbacks: list[Any] = trainer.callbacks
    return callbacks

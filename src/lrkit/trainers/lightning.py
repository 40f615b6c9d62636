"""lrkit in Lightning: schedules for modules and LightningCLI, and callbacks that find a rate, record and average."""

from typing import Any, Literal

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError, unknown
from lrkit.schedules.plans import as_plans
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_finder import Finder
from lrkit.trainers.lightning_length import AtStart, Length, length, updates
from lrkit.trainers.lightning_recorder import Recorder
from lrkit.trainers.lightning_reports import Reports
from lrkit.trainers.lightning_weights import ScheduleFree
from lrkit.trainers.plans import as_plan
from lrkit.training.binding import bind
from lrkit.training.progress import Progress, whole_length
from lrkit.training.scheduled_plans import ScheduledPlans
from lrkit.training.scheduler import BoundSchedule, Conflict, Policy, Scheduler
from lrkit.training.scheduler_state import SchedulerState

with extra("lightning"):
    from lightning.pytorch import LightningModule

__all__ = ["Finder", "PlanScheduler", "Recorder", "ScheduleFree", "configure", "updates"]

Interval = Literal["step", "epoch"]


def configure(
    module: LightningModule,
    optimizer: Optimizer,
    schedule: Plan | Plans | str,
    *,
    monitor: str | None = None,
    interval: Interval | None = None,
    policy: Policy | None = None,
    on_conflict: Conflict = "warn",
    steps: int | None = None,
    epoch_steps: int | None = None,
) -> dict[str, Any]:
    """What `configure_optimizers` returns: the optimizer with a schedule over the whole training.

    The horizon is the trainer's: nothing is counted by hand. The clock is the optimizer's own updates.

    Args:
        module: the module itself, which has its trainer then.
        optimizer: whose rates are scheduled, and its other hyper-parameters where the plan has some.
        schedule: a plan or its text.
        monitor: the metric, as it is logged, that controllers go by which don't name theirs. They are told it once
            each time it is measured: after a validation, or at the end of an epoch of training where `training_step`
            logs it.
        interval: how often `LearningRateMonitor` logs the rate, "step" or "epoch"; by default "step", and with a
            controller "epoch". It changes no rate.
        policy: what to do with a checkpoint of another schedule or horizon, or without lrkit: "keep", "stretch",
            "replace" or "restart", as in `Scheduler.load_state_dict`.
        on_conflict: what to do when somebody else sets a rate, such as a callback: "warn", "refuse" or "yield", as in
            `Plan.bind`.
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
    asked = set(as_plans(plan).metrics)
    if "loss" in asked and monitor is None:
        raise InputError(f"monitor must name the logged metric that '{plan}' goes by, such as monitor='val_loss'")
    trainer: Any = module._trainer  # as the property `trainer`, which raises where there is none
    count = _Count(as_plans(plan), trainer, steps, epoch_steps)
    scheduler = bind(plan, optimizer, count.horizon(), policy=policy, on_conflict=on_conflict, measure=count.progress)
    config: dict[str, Any] = {"scheduler": scheduler, "interval": interval or ("epoch" if asked else "step")}
    if module.automatic_optimization:
        config["reduce_on_plateau"] = False  # Lightning would tell it after checkpoints are saved, and stale metrics
    if trainer is not None:
        _report(trainer, scheduler, asked, monitor)
        if count.counts:
            trainer.callbacks.insert(0, AtStart(lambda: count.begin(scheduler)))
        scheduler.yield_when(lambda: _is_swapped(trainer, scheduler))
    return {"optimizer": optimizer, "lr_scheduler": config}


def _is_swapped(trainer: Any, scheduler: Scheduler) -> bool:
    """Whether Lightning has put another scheduler in the place of this one, as its own finder of rates does."""
    configs = trainer.lr_scheduler_configs
    return bool(configs) and all(each.scheduler is not scheduler for each in configs)


class PlanScheduler(BoundSchedule):
    """A schedule as a class that LightningCLI's `--lr_scheduler` takes.

    Its clock is the optimizer's own updates, however often Lightning calls `step()`.

    Args:
        optimizer: whose rates are scheduled, and its other hyper-parameters where the plan has some.
        schedule: a schedule's text.
        steps: updates of the whole training, where the schedule's lengths aren't all in steps: LightningCLI makes it
            before there is a trainer that could say so.
        epoch_steps: updates in an epoch, where lengths are in `ep`.
        lr: the base; by default the optimizer's own rate.
        policy: what to do with a checkpoint of another schedule, horizon or `lr`: "keep", "stretch", "replace" or
            "restart".
        on_conflict: what to do when somebody else sets a rate: "warn", "refuse" or "yield", as in `Plan.bind`.

    Raises:
        InputError, InputTypeError: for arguments that aren't allowed, for lengths that need `steps`, and for a
            controller, which nothing would report a metric to.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = PlanScheduler(optimizer, schedule="warmup(5%) >> cosine(to=0)", steps=1000)
    >>> scheduler.plan, scheduler.get_last_lr()
    (warmup(5%) >> cosine(to=0), [0.002])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: str,
        *,
        steps: int | None = None,
        epoch_steps: int | None = None,
        lr: float | None = None,
        policy: Policy | None = None,
        on_conflict: Conflict = "warn",
    ) -> None:
        plans = as_plans(as_plan(schedule))
        if plans.controllers:
            raise InputError(
                f"'{plans.simplest}' goes by a metric, which LightningCLI doesn't report to it; override the CLI's "
                "configure_optimizers and return configure(lightning_module, optimizer, ..., monitor=...)"
            )
        if steps is not None:
            horizon = Horizon(steps, epoch_steps)
        elif epoch_steps is None:
            horizon = None
            _require_steps(plans)
        else:
            raise InputError("epoch_steps is given without steps, the updates of the whole training")
        super().__init__(optimizer, plans, horizon, lr=lr, later=(), policy=policy, on_conflict=on_conflict)


def _require_steps(plans: Plans) -> None:
    """See that all lengths are in steps."""
    try:
        ScheduledPlans(plans, None)
    except InputError as error:
        raise InputError(
            f"'{plans.simplest}' needs the length of the training, which LightningCLI can't know yet; write all "
            "lengths in steps, or give steps, the updates of the whole training"
        ) from error


class _Count:
    """The length of a schedule: what was given, or else what the trainer will make.

    Args:
        plans: whose length it is.
        trainer: that fits; there may be none where the length is given.
        steps: updates of the whole training, where they are given.
        epoch_steps: updates in an epoch, likewise.
    """

    def __init__(self, plans: Plans, trainer: Any, steps: int | None, epoch_steps: int | None) -> None:
        if steps is None and trainer is None:
            raise InputError("the module has no trainer yet: call configure in configure_optimizers, or give steps")
        self._plans, self._trainer, self._steps, self._epoch_steps = plans, trainer, steps, epoch_steps
        self._goes_on = False  # from a checkpoint, which has been counted

    @property
    def counts(self) -> bool:
        """Whether the trainer says the length."""
        return self._steps is None

    def horizon(self) -> Horizon | None:
        """The length as it is now."""
        if self._steps is not None:
            return Horizon(self._steps, self._epoch_steps)
        return self._over(length(self._trainer))

    def begin(self, scheduler: Scheduler) -> None:
        """Count once more when training begins, and other callbacks have found a batch size."""
        if not self._goes_on:
            scheduler.span(self._over(length(self._trainer, begun=True)))

    def progress(self, saved: SchedulerState | None, policy: Policy | None) -> Progress | None:
        """Where a training goes on from a checkpoint: what is done and what is left of it."""
        if self._trainer is None or self._trainer.ckpt_path is None or self._trainer.fast_dev_run:
            return None
        if saved is not None and not saved.steps:  # what a callback has tried is taken back before training begins
            return None
        found = length(self._trainer, restored=True)
        if saved is None and not found.done:
            return None
        self._goes_on = True
        if not self.counts:
            return Progress(found.done, self.horizon())
        if found.steps is not None:
            steps = whole_length(saved, policy, done=found.done, left=found.steps - found.done)
            found = found._replace(steps=steps)
        return Progress(found.done, self._over(found))

    def _over(self, found: Length) -> Horizon | None:
        """The horizon; None where the trainer has no length, which is an error if a plan needs it."""
        epoch_steps = found.epoch_steps if self._epoch_steps is None else self._epoch_steps
        if found.steps is None:
            try:
                ScheduledPlans(self._plans, None)
            except InputError:  # it needs the length of an epoch, or of the whole
                raise InputError(found.why) from None
            return None
        if self._trainer.fast_dev_run:
            for factor in (1, 10, 100, 1000, 10_000, 100_000):  # until it has room for all parts of the plan
                horizon = Horizon(found.steps * factor, epoch_steps)
                try:
                    ScheduledPlans(self._plans, horizon)
                except InputError:  # its parts don't fit into so few updates
                    continue
                return horizon
        return Horizon(found.steps, epoch_steps)


def _report(trainer: Any, scheduler: Scheduler, asked: set[str], monitor: str | None) -> None:
    """Have the controllers told, by one callback for all schedulers of a fit."""
    callbacks: list[Any] = trainer.callbacks
    callbacks[:] = [each for each in callbacks if not (isinstance(each, Reports | AtStart) and each.ended)]  # before
    if asked:
        reports = next((each for each in callbacks if isinstance(each, Reports)), None)
        if reports is None:
            callbacks.insert(0, reports := Reports())
        reports.add(scheduler, asked, monitor)

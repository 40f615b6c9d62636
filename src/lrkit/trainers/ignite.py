"""Handlers for ignite: a schedule, a record, and schedule-free averaging."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor
from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, shown
from lrkit.trainers.extras import extra
from lrkit.trainers.ignite_weights import AveragedWeights
from lrkit.trainers.plans import as_plan
from lrkit.trainers.resumption import bind_resumed
from lrkit.training.holdings import check_on_conflict
from lrkit.training.mark import read_mark
from lrkit.training.progress import whole_length
from lrkit.training.recorder import Recorder as AnyRecorder
from lrkit.training.scheduler import Conflict, Policy, Scheduler, scheduler_of, updates_done
from lrkit.training.scheduler_state import SchedulerState

with extra("ignite"):
    import ignite
    from ignite.engine import Engine, Events

__all__ = ["AveragedWeights", "Recorder", "Schedule"]


class Schedule:
    """A schedule or controller for the optimizer that an ignite trainer updates.

    It is bound when the trainer starts, over `max_epochs` times `epoch_length`, or `max_iters`. `Checkpoint` saves and
    restores it like any other object; the optimizer's own state carries it too.

    Args:
        schedule: a plan, or its text.
        optimizer: what the trainer updates.
        lr: the base of every group; by default the group's own rate.
        accumulate: iterations that make one update, which the trainer doesn't tell anybody.
        steps: the horizon in updates, where the trainer doesn't know it.
        epoch_steps: updates in an epoch, where they aren't `epoch_length / accumulate`.
        policy: what to do when the trainer is to run further than the schedule was made for, or a checkpoint was made
            with another schedule: "keep", "stretch", "replace" or "restart", as in
            `Scheduler.load_state_dict`; or has made iterations without lrkit.
        on_conflict: what to do when somebody else sets a rate: "warn", "refuse" or "yield", as in `Plan.bind`.

    >>> import torch
    >>> from ignite.engine import create_supervised_trainer
    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss)
    >>> handler = Schedule("warmup(25%) >> cosine(to=0)", optimizer).attach(trainer)
    >>> state = trainer.run([(torch.ones(4, 1), torch.ones(4, 1))] * 4, max_epochs=2)
    >>> handler.scheduler.steps, round(handler.scheduler.get_last_lr()[0], 9)
    (8, 0.0)
    """

    def __init__(
        self,
        schedule: Plan | Plans | str,
        optimizer: Optimizer,
        *,
        lr: float | None = None,
        accumulate: int = 1,
        steps: int | None = None,
        epoch_steps: int | None = None,
        policy: Policy | None = None,
        on_conflict: Conflict = "warn",
    ) -> None:
        if not isinstance(accumulate, int) or accumulate < 1:
            raise InputError(f"accumulate must be a whole number of at least 1, not {shown(accumulate)}")
        self.plan = as_plan(schedule)
        self.optimizer = optimizer
        check_on_conflict(on_conflict)
        self.policy, self.on_conflict = policy, on_conflict
        self._lr, self._accumulate, self._steps, self._epoch_steps = lr, accumulate, steps, epoch_steps
        self._scheduler: Scheduler | None = None
        self._saved: dict[str, Any] | None = None  # loaded before there was a horizon
        self._anew = False

    def attach(self, trainer: Engine, evaluator: Engine | None = None, metric: str = "loss") -> Self:
        """Attach it to a trainer.

        Args:
            trainer: whose start binds the schedule.
            evaluator: whose metrics are reported to controllers, once after each of its runs: so it should see
                validation data only.
            metric: which of its metrics is the loss, that controllers watch unless they name another one.
        """
        trainer.add_event_handler(Events.STARTED, self._begin)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._report, metric)
        return self

    @property
    def scheduler(self) -> Scheduler | None:
        """What is bound; None before the trainer has started."""
        return self._scheduler

    def restart(self) -> None:
        """Let the schedule begin again when the trainer next starts anew."""
        self._anew = True

    def _begin(self, trainer: Engine) -> None:
        fresh = trainer.state.iteration == 0
        if fresh and self._anew and self._scheduler is not None:
            self._scheduler.release()
            self._scheduler = self._saved = None
        self._anew = False
        state = self._saved if self._scheduler is None else self._scheduler.state_dict()
        done = max(updates_done(self.optimizer) if self._scheduler is None else self._scheduler.steps, _steps_of(state))
        if fresh and done and not self._is_left():
            raise InputError(
                f"the trainer starts at iteration 0 and the schedule has made {done} updates; load the trainer's state "
                "too, or call restart() for another training of the same optimizer"
            )
        saved = read_mark(self.optimizer.param_groups) if state is None else SchedulerState.from_dict(dict(state))
        horizon = self._horizon(trainer, saved)
        if self._scheduler is None or self._scheduler.horizon != horizon:
            self._scheduler = bind_resumed(
                self.plan,
                self.optimizer,
                state,
                horizon,
                lr=self._lr,
                policy=self.policy,
                on_conflict=self.on_conflict,
                elsewhere=0 if fresh or done else trainer.state.iteration // self._accumulate,
            )

    def _is_left(self) -> bool:
        """Whether another schedule is bound to the optimizer, that this one takes the place of."""
        return self._scheduler is None and self._saved is None and scheduler_of(self.optimizer) is not None

    def _horizon(self, trainer: Engine, saved: SchedulerState | None) -> Horizon:
        length, epochs, iterations = trainer.state.epoch_length, trainer.state.max_epochs, trainer.state.max_iters
        epoch_steps = self._epoch_steps
        if epoch_steps is None and length is not None and length % self._accumulate == 0:
            epoch_steps = length // self._accumulate
        if self._steps is not None:
            return Horizon(self._steps, epoch_steps)
        if iterations is None and length is not None and epochs is not None:
            iterations = length * epochs
        if iterations is None:
            raise InputError(
                "the trainer doesn't know how long it will run, since its data has no length; give run(epoch_length=) "
                "or Schedule(steps=)"
            )
        if iterations < self._accumulate:
            raise InputError(f"accumulate={self._accumulate} leaves no update in {iterations} iterations")
        total, done = (each // self._accumulate for each in (iterations, trainer.state.iteration))
        policy = self.policy if trainer.state.iteration else None
        return Horizon(whole_length(saved, policy, done=done, left=total - done), epoch_steps)

    def _report(self, evaluator: Engine, metric: str) -> None:
        if self._scheduler is None:  # before the training: nothing is scheduled yet
            return
        metrics = dict(evaluator.state.metrics)
        if metric in metrics:
            metrics["loss"] = metrics[metric]
        self._scheduler.step(metrics)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state; empty before the trainer has started."""
        return (self._saved or {}) if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the state was taken, once the trainer starts.

        Raises:
            InputError: for a state that isn't lrkit's; one of another schedule or horizon is refused at the start.
        """
        state = dict(state_dict)
        if self._scheduler is not None and state:
            self._scheduler.load_state_dict(state, policy=self.policy)
        elif state:
            _steps_of(state)
            self._saved = state


def _steps_of(state: Mapping[str, Any] | None) -> int:
    """The updates that a scheduler's state has counted."""
    return 0 if state is None else SchedulerState.from_dict(dict(state)).steps


class Recorder(AnyRecorder):
    """Records what an ignite trainer does, as the same `History` that `run` leaves.

    Args:
        optimizer: whose updates are recorded.
        folder: where the record is written after each epoch; `RunFolder.load` reads it.
        overwrite: replace the record that is there; one that is gone on with is replaced anyway.
        output_transform: gives the loss, or the loss and the number of samples, of the trainer's output. By default the
            output is the loss, as `create_supervised_trainer` returns it, and the samples are those of the batch.
        task: what is trained, for the record.
        seed: of the run, for the record.
        made: more to record of how the run was made; JSON-able.

    >>> import torch
    >>> from ignite.engine import create_supervised_trainer
    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss)
    >>> recorder = Recorder(optimizer, task="a line").attach(trainer)
    >>> state = trainer.run([(torch.ones(4, 1), torch.ones(4, 1))] * 4, max_epochs=2)
    >>> history = recorder.history()
    >>> len(history.epochs), history.losses.shape
    (2, (8,))
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        folder: str | Path | None = None,
        overwrite: bool = False,
        output_transform: Callable[[Any], Any] | None = None,
        task: str = "task",
        seed: int | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> None:
        trainer = f"ignite {ignite.__version__}"
        super().__init__(optimizer, task=task, seed=seed, trainer=trainer, told="after", made=made)
        self.folder, self.overwrite = folder, overwrite
        self._transform = output_transform
        self._metric = "loss"
        self._ended = False  # whether the trainer's epoch has, so that what is measured now is of it
        self._measured: tuple[float | None, dict[str, float]] = (None, {})

    def attach(self, trainer: Engine, evaluator: Engine | None = None, metric: str = "loss") -> Self:
        """Attach it to a trainer.

        Args:
            trainer: what is recorded.
            evaluator: whose metrics, computed after an epoch's end, are that epoch's.
            metric: which of them is the loss.
        """
        self._metric = metric
        trainer.add_event_handler(Events.EPOCH_STARTED, self._next_epoch)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        trainer.add_event_handler(Events.COMPLETED, self._close_epoch)
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._measure)
        return self

    def _iteration(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        if self._transform is not None:
            output = self._transform(output)
        if isinstance(output, tuple):
            self.loss(*output)
        else:
            self.loss(output, _samples(trainer.state.batch))

    def _end(self) -> None:
        self._ended = True

    def _measure(self, evaluator: Engine) -> None:
        """Note the numbers of an evaluation; the epoch stays open until the next begins, since more may be measured."""
        found = evaluator.state.metrics
        metrics = {name: float(value) for name, value in found.items() if _is_number(value)}
        self._measured = metrics.pop(self._metric, None), metrics

    def _next_epoch(self, trainer: Engine) -> None:
        length = trainer.state.epoch_length
        if self._ended or (length and trainer.state.iteration % length == 0):  # else it goes on within an epoch
            self._close_epoch()

    def _close_epoch(self) -> None:
        if self.updates_in_epoch:
            self.epoch(*self._measured)
            if self.folder is not None:
                self.save(self.folder, overwrite=self.overwrite)
                self.overwrite = True  # it is this record now
        self._ended, self._measured = False, (None, {})

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, the epoch under way included: plain data and tensors, for a checkpoint."""
        return {**super().state_dict(), "ended": self._ended, "measured": self._measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken.

        Raises:
            InputError: for what isn't the state of a recorder, or of a newer format.
        """
        super().load_state_dict(state)
        self.overwrite = True  # what was written after the state was taken
        self._ended = bool(state.get("ended", False))
        loss, metrics = state.get("measured", (None, {}))
        self._measured = loss, dict(metrics)


def _samples(batch: Any) -> int:
    """How many samples a batch has: the length of the first tensor in it; 1 where there is none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    return _samples(batch[0]) if isinstance(batch, Sequence) and not isinstance(batch, str) and batch else 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)

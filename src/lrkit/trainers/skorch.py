"""Callbacks for skorch: a schedule, a record, and schedule-free averaging."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, unknown
from lrkit.trainers.extras import extra
from lrkit.trainers.plans import as_plan
from lrkit.trainers.resumption import bind_resumed
from lrkit.training.averaging import Measurement, begin_training
from lrkit.training.history import History
from lrkit.training.hyper import is_close, read
from lrkit.training.mark import is_blank, read_mark
from lrkit.training.progress import epochs_left
from lrkit.training.rebasing import default_rate
from lrkit.training.record_folder import read_record
from lrkit.training.recorder import Recorder as AnyRecorder
from lrkit.training.scheduler import BoundController, Conflict, Policy, Scheduler, scheduler_of
from lrkit.training.scheduler_state import SchedulerState
from lrkit.training.wrapping import stepping

with extra("skorch"):
    import skorch
    from skorch.callbacks import Callback

__all__ = ["AveragedWeights", "Recorder", "Schedule"]


class Schedule(Callback):  # type: ignore[misc]  # skorch has no types
    """A schedule or controller for the optimizer of a skorch net, or for one of several.

    It is bound with the first batch, over `max_epochs` times the batches of the training data, of which `train_split`
    has taken its part. The state of the optimizer, which skorch's `Checkpoint` saves, carries it.

    Args:
        schedule: a plan, or its text: `callbacks__Schedule__schedule` in a grid search.
        monitor: the entry of the net's history that controllers take for the loss; they see the others by name.
        policy: what to do when the net is trained further than the schedule was made for: "keep", "stretch",
            "replace" or "restart", as in `Scheduler.load_state_dict`; and with one that was made with another `lr` of
            the net, or without lrkit.
        epochs: of the whole training, where several calls of `partial_fit` make it; by default those that were
            trained and `max_epochs` more.
        epoch_steps: updates in an epoch, where they aren't the batches, such as with accumulated gradients.
        event_name: where the rate is recorded in the net's history, of each batch and each epoch's last; or None. By
            default "lr", and "critic_optimizer_lr" for `optimizer="critic_optimizer"`.
        optimizer: the name of the optimizer, in a net that has several: "critic_optimizer" for `critic_optimizer_`. By
            default `optimizer_`, or the only one.
        on_conflict: what to do when somebody else sets a rate, such as `net.set_params(lr=...)`: "warn", "refuse" or
            "yield", as in `Plan.bind`.

    Raises:
        InputError: while the net trains, where it has several optimizers and none of them is named, for a name that it
            hasn't, and for training data without a length where `epoch_steps` isn't given.

    >>> import numpy as np, torch
    >>> from skorch import NeuralNetRegressor
    >>> x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    >>> net = NeuralNetRegressor(torch.nn.Linear, module__in_features=1, module__out_features=1, batch_size=4,
    ...                          max_epochs=2, lr=0.1, callbacks=[Schedule("linear(to=0)")], verbose=0)
    >>> [round(lr, 4) for epoch in net.fit(x, 2 * x).history[:, "batches", :, "lr"] for lr in epoch]
    [0.1, 0.0875, 0.075, 0.0625, 0.05, 0.0375, 0.025, 0.0125]
    """

    scheduler_: Scheduler | None  # skorch takes what ends in no underscore for a parameter
    state_: dict[str, Any] | None

    def __init__(
        self,
        schedule: Plan | Plans | str = "constant()",
        monitor: str = "valid_loss",
        policy: Policy | None = None,
        *,
        epochs: int | None = None,
        epoch_steps: int | None = None,
        event_name: str | None = "lr",
        optimizer: str | None = None,
        on_conflict: Conflict = "warn",
    ) -> None:
        self.schedule = schedule
        self.monitor = monitor
        self.policy = policy
        self.epochs = epochs
        self.epoch_steps = epoch_steps
        self.event_name = event_name
        self.optimizer = optimizer
        self.on_conflict = on_conflict

    @property
    def event(self) -> str | None:
        """The entry of the net's history where the rate is recorded."""
        named = self.optimizer is not None and self.event_name == "lr"
        return f"{_attribute(self.optimizer)}lr" if named else self.event_name

    def initialize(self) -> "Schedule":
        """Read the parameters, which may have been set; what was bound is left once the net has another optimizer."""
        self.plan_ = as_plan(self.schedule)
        self.scheduler_, self.state_ = getattr(self, "scheduler_", None), getattr(self, "state_", None)
        self.due_ = True
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  # skorch's name
        """Bind when the first epoch begins: other callbacks may load a checkpoint now."""
        self.due_ = True

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Bind, where training has just begun."""
        if self.due_:
            self._bind(net, dataset_train)
            self.due_ = False

    def _bind(self, net: Any, data: Any) -> None:
        self.plan_ = as_plan(self.schedule)  # skorch sets parameters once it has initialized callbacks
        optimizer = _optimizer(net, self.optimizer)
        bound = scheduler_of(optimizer)
        state = self.state_ if is_blank(optimizer.param_groups) else None  # of the optimizer that was pickled with it
        state = state if bound is None else bound.state_dict()
        saved = read_mark(optimizer.param_groups) if state is None else SchedulerState.from_dict(state)
        each = self._batches(net, data) if self.epoch_steps is None else self.epoch_steps
        trained = (len(net.history) - 1) * each  # without lrkit too, and before the schedule began anew
        done = trained if saved is None else saved.steps
        left = net.max_epochs * each if self.epochs is None else self._left(saved, self.epochs, each, trained)
        self.scheduler_ = bind_resumed(
            self.plan_,
            optimizer,
            state,
            Horizon(max(left if self.policy == "restart" else done + left, 1), each),
            policy=self.policy,
            on_conflict=self.on_conflict,
            asked=net.lr if is_close(default_rate(optimizer), net.lr) else None,
            elsewhere=done if saved is None else 0,
        )
        self.state_ = None

    @staticmethod
    def _left(saved: SchedulerState | None, epochs: int, each: int, trained: int) -> int:
        """The updates that are left of so many epochs."""
        counted = None if saved is None else epochs_left(saved, epochs, each)
        if counted is None:
            return epochs * each - (trained if saved is None else saved.steps)
        others = trained - (epochs * each - counted)  # an epoch that was broken off is among them too
        return max(counted - max(others, 0) // each * each, 0)

    @staticmethod
    def _batches(net: Any, data: Any) -> int:
        try:
            return len(net.get_iterator(data, training=True))
        except TypeError:
            raise InputError(
                "the net's training data has no length, so the schedule's isn't known; give Schedule(epoch_steps=)"
            ) from None

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool | None = None, **_: Any) -> None:
        """Record the rate that this batch's update will use."""
        if training and self.scheduler_ is not None:
            self.scheduler_.sync()  # somebody may have set another rate
        if training and self.event is not None:
            rate = read(_optimizer(net, self.optimizer).param_groups[0], "lr")
            net.history.record_batch(self.event, float(rate))

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Record the rate, and report to controllers."""
        if self.event is not None:
            rates = [each[self.event] for each in net.history[-1, "batches"] if self.event in each]
            net.history.record(self.event, rates[-1])
        if isinstance(self.scheduler_, BoundController):
            row = _numbers(net.history[-1])
            if self.monitor not in row:
                raise unknown("monitor", self.monitor, row)
            self.scheduler_.step({**row, "loss": row[self.monitor]})

    def __getstate__(self) -> dict[str, Any]:
        """A pickled or copied net has another optimizer: the schedule is bound to it when it is trained further."""
        state = dict(self.__dict__)
        if state.get("scheduler_") is not None:
            state |= {"scheduler_": None, "state_": state["scheduler_"].state_dict()}
        return state


class Recorder(Callback):  # type: ignore[misc]  # skorch has no types
    """Records what a skorch net does, as the same `History` that `run` leaves; in the list after scores of your own.

    Args:
        folder: where the record is written after each epoch; `RunFolder.load` reads it. A net that goes on from a
            checkpoint goes on with the record that is there.
        overwrite: replace the record that is there.
        task: what is trained, for the record.
        seed: of the run, for the record.
        optimizer: the name of the optimizer whose updates are recorded, as in `Schedule`.

    >>> import numpy as np, torch
    >>> from skorch import NeuralNetRegressor
    >>> x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    >>> net = NeuralNetRegressor(torch.nn.Linear, module__in_features=1, module__out_features=1, batch_size=4,
    ...                          max_epochs=2, callbacks=[("record", Recorder(task="a line"))], verbose=0)
    >>> history = dict(net.fit(x, 2 * x).callbacks_)["record"].history()
    >>> len(history.epochs), history.losses.shape
    (2, (8,))
    """

    recorder_: AnyRecorder | None
    state_: dict[str, Any] | None

    def __init__(
        self,
        folder: str | Path | None = None,
        overwrite: bool = False,
        task: str = "task",
        seed: int | None = None,
        *,
        optimizer: str | None = None,
    ) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self.task = task
        self.seed = seed
        self.optimizer = optimizer

    def initialize(self) -> "Recorder":
        """Forget what was recorded."""
        previous: AnyRecorder | None = getattr(self, "recorder_", None)
        if previous is not None:
            previous.close()
        self.recorder_ = self.state_ = None
        self.mine_ = False  # whether the folder has the record of this training
        return self

    def history(self) -> History:
        """The history of the epochs that have ended.

        Raises:
            InputError: before the first has begun.
        """
        if self.recorder_ is None:
            raise InputError("nothing is recorded yet: train the net first")
        found: History = self.recorder_.history()
        return found

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Begin to record, where the net has a new optimizer, or none was recorded before."""
        optimizer = _optimizer(net, self.optimizer)
        if self.recorder_ is not None and self.recorder_.optimizer is stepping(optimizer):
            return
        if self.recorder_ is not None:
            self.recorder_.close()
        trainer = f"skorch {skorch.__version__}"
        self.recorder_ = AnyRecorder(optimizer, task=self.task, seed=self.seed, trainer=trainer, told="after")
        if self.state_ is not None:
            self.recorder_.load_state_dict(self.state_)
            self.state_ = None
        elif len(net.history) > 1 and self.folder is not None and (Path(self.folder) / "history.json").is_file():
            self._go_on(len(net.history) - 1)

    def _go_on(self, epochs: int) -> None:
        """Go on with the folder's record after so many epochs."""
        assert self.folder is not None
        assert self.recorder_ is not None
        found = read_record(self.folder)
        if len(found.epochs) < epochs:
            raise InputError(f"the record in {self.folder} has {len(found.epochs)} epochs and the net {epochs}")
        end = found.epochs[epochs - 1].step
        self.recorder_.resume(History(found.epochs[:epochs], found.lrs[:end], found.losses[:end], found.made))
        self.mine_ = True

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, loss: Any = None, **_: Any
    ) -> None:
        """Note a training batch's loss."""
        if training:
            assert self.recorder_ is not None
            self.recorder_.loss(loss, net.history[-1, "batches", -1, "train_batch_size"])

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """End the epoch, and write the record."""
        assert self.recorder_ is not None
        row = _numbers(net.history[-1])
        scores = {name: value for name, value in row.items() if not name.startswith(("train_", "event_"))}
        rates = {each.event or "lr" for _, each in net.callbacks_ if isinstance(each, Schedule)}
        for name in ("epoch", "dur", "lr", "valid_batch_count", *rates):
            scores.pop(name, None)
        self.recorder_.epoch(scores.pop("valid_loss", None), scores)
        if self.folder is not None:
            self.recorder_.save(self.folder, overwrite=self.overwrite or self.mine_)
            self.mine_ = True

    def __getstate__(self) -> dict[str, Any]:
        """A pickled or copied net has another optimizer: it is recorded when it is trained further."""
        state = dict(self.__dict__)
        if state.get("recorder_") is not None:
            state |= {"recorder_": None, "state_": state["recorder_"].state_dict()}
        return state


class AveragedWeights(Callback):  # type: ignore[misc]  # skorch has no types
    """Lets validation see the averaged weights of a schedule-free optimizer, and training those that it trains.

    Its place is after scores of your own and before a `Checkpoint`. When the training has ended the net predicts with
    the average. With any other optimizer nothing happens.

    Args:
        optimizer: the name of the optimizer, as in `Schedule`.
    """

    measurement_: Measurement | None

    def __init__(self, optimizer: str | None = None) -> None:
        self.optimizer = optimizer

    def initialize(self) -> "AveragedWeights":
        """Forget the net that was trained."""
        self.measurement_ = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  # skorch's name
        """Have the weights that are trained in the net, as the last training left them."""
        if self.measurement_ is not None and self.measurement_.optimizer is _optimizer(net, self.optimizer):
            self.measurement_.end()
        self.measurement_ = None

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Begin to train; a checkpoint may have been loaded before."""
        if self.measurement_ is None:
            optimizer = _optimizer(net, self.optimizer)
            scheduler = scheduler_of(optimizer)
            begin_training(optimizer, () if scheduler is None else {hyper for hyper, _ in scheduler.upcoming(1)})
            self.measurement_ = Measurement(optimizer)

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool | None = None, **_: Any) -> None:
        """Validation has begun with its first batch."""
        if not training and self.measurement_ is not None:
            self.measurement_.begin()

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        """Validation has ended."""
        if self.measurement_ is not None:
            self.measurement_.end()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  # skorch's name
        """Let the net predict with the average."""
        if self.measurement_ is not None:
            self.measurement_.begin()

    def __getstate__(self) -> dict[str, Any]:
        """A pickled or copied net has what is in its parameters now."""
        return {**self.__dict__, "measurement_": None}


def _optimizer(net: Any, name: str | None) -> Optimizer:
    """The optimizer of a net that has this name; without one `optimizer_`, or the only one."""
    found: object = getattr(net, "optimizer_" if name is None else _attribute(name), None)
    if isinstance(found, Optimizer):
        return found
    others = {key.removesuffix("_"): value for key, value in vars(net).items() if isinstance(value, Optimizer)}
    if name is not None:
        raise unknown("optimizer", name, others)
    if len(others) != 1:
        known = ", ".join(sorted(others)) or "none"
        raise InputError(f"optimizer must name one of the net's optimizers, which has no optimizer_ (it has: {known})")
    return next(iter(others.values()))


def _attribute(name: str | None) -> str:
    """How skorch calls what is made when a net is initialized."""
    return f"{str(name).removesuffix('_')}_"


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a row of a net's history."""
    return {name: float(value) for name, value in row.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""The training loop."""

import itertools
import math
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrkit.schedules import Controller, Plan, parse
from lrkit.schedules.errors import InputError
from lrkit.training.data import ORDER, Batches, make_batches
from lrkit.training.history import EpochRecord, History
from lrkit.training.hyper import read
from lrkit.training.task import Task

__all__ = ["DivergedError", "Observer", "Setup", "choose_device", "run"]


class DivergedError(RuntimeError):
    """The training loss is no longer a finite number."""


@dataclass(frozen=True)
class Setup:
    """What is known of a run before its first update.

    Attributes:
        steps: updates in all.
        epoch_steps: updates in an epoch, None for data without a length.
        epochs: passes through the data, the last one perhaps cut short; None where that isn't known.
        plan: the plan as it was given; `resolved` has its lengths in steps.
        made: what `History.made` will say.
    """

    steps: int
    epoch_steps: int | None
    epochs: int | None
    plan: Plan
    resolved: Plan
    made: dict[str, Any]


class Observer:
    """Is told what happens in a run; every method does nothing unless it is defined."""

    def start(self, setup: Setup) -> None:
        """Before the first update."""

    def step(self, steps: int) -> None:
        """After each update, with the number of updates done; called often, so be quick."""

    def epoch(self, history: History) -> None:
        """After each epoch, with the history so far."""


def run(
    task: Task,
    schedule: Plan | str,
    *,
    lr: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    observers: Iterable[Observer] = (),
) -> History:
    """Train a task with a schedule or controller, and record it.

    Args:
        task: what is trained.
        schedule: a plan or its text; a controller is told the validation loss (without one the training loss).
        lr: the base; by default the rate that the task's optimizer sets.
        seed: of the initial weights, the data order, and everything random in the model. The caller's own random
            state is left as it was. Same seed, same history, bit for bit on the same machine, versions and threads.
        device: where to train; by default a GPU if there is one.
        observers: are told what happens.

    Raises:
        DivergedError: when a training loss isn't finite; observers have got the history of that epoch.
        InputError: for what can't be trained.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> history = lrkit.run(task, "warmup(2) >> linear(to=0)")
    >>> history.lr[:4].tolist(), history.epochs[-1].train_loss < 0.1
    ([0.25, 0.5, 0.5, 0.45], True)
    """
    plan = parse(schedule) if isinstance(schedule, str) else schedule
    place = choose_device(device)
    watchers = tuple(observers)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        model = task.model().to(place)
        optimizer = task.optimizer(model.parameters())
        train = make_batches(
            task.train, task.batch_size, place, seed=seed, in_memory=task.in_memory, workers=task.workers
        )
        valid = _valid_batches(task, place)
        setup = _set_up(task, plan, train, place, seed, lr=read(optimizer.param_groups[0], "lr") if lr is None else lr)
        scheduler = plan.bind(optimizer, lr=lr, steps=setup.steps, **_sizes(task, setup))
        record = _Record(setup.made)
        for watcher in watchers:
            watcher.start(setup)
        for epoch in itertools.count(1):
            model.train()
            for batches in _updates(train.epoch(epoch), task.accumulate):
                loss, samples = _gradients(task, model, batches)
                record.update([read(group, "lr") for group in optimizer.param_groups], loss, samples)
                optimizer.step()
                optimizer.zero_grad()
                for watcher in watchers:
                    watcher.step(scheduler.steps)
                if scheduler.steps == setup.steps:
                    break
            valid_loss, metrics = _validate(task, model, valid)
            history = record.epoch(epoch, valid_loss, metrics)
            for watcher in watchers:
                watcher.epoch(history)
            _refuse_divergence(history)
            if scheduler.steps == setup.steps:
                return history
            if isinstance(plan, Controller):
                last = history.epochs[-1]
                scheduler.step(last.train_loss if last.valid_loss is None else last.valid_loss)
    raise AssertionError("unreachable: the loop above ends by returning")


def _updates(batches: Iterator[Any], accumulate: int) -> Iterator[Sequence[Any]]:
    """The batches in the groups that make one update each."""
    while group := list(itertools.islice(batches, accumulate)):
        yield group


def _gradients(task: Task, model: nn.Module, batches: Sequence[Any]) -> tuple[Tensor, int]:
    """Leave the gradients of the mean loss over all samples of the batches; return that loss, and their number."""
    if len(batches) == 1:
        loss, samples, _ = task.measure(model, batches[0], with_metrics=False)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), samples
    total, samples = torch.zeros(()), 0
    for batch in batches:
        loss, n, _ = task.measure(model, batch, with_metrics=False)
        (loss * n).backward()  # type: ignore[no-untyped-call]
        total = total.to(loss) + loss.detach() * n
        samples += n
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= samples
    return total / samples, samples


@torch.no_grad()
def _validate(task: Task, model: nn.Module, valid: Batches | None) -> tuple[float | None, dict[str, float]]:
    """The means of loss and metrics over the validation samples."""
    if valid is None:
        return None, {}
    model.eval()
    sums: dict[str, list[Tensor]] = {}
    counts: list[int] = []
    for batch in valid.epoch(0):
        loss, n, metrics = task.measure(model, batch, with_metrics=True)
        counts.append(n)
        for name, value in {**metrics, "": loss}.items():
            sums.setdefault(name, []).append(torch.as_tensor(value, dtype=torch.float64) * n)
    means = {name: float(torch.stack(values).sum()) / sum(counts) for name, values in sums.items()}
    return means.pop(""), means


class _Record:
    """Grows a history; losses stay on the device until their epoch ends."""

    def __init__(self, made: dict[str, Any]) -> None:
        self.made = made
        self.epochs: list[EpochRecord] = []
        self.lrs: list[list[float]] = []
        self.losses = np.zeros(0, dtype=np.float32)
        self._fresh: list[Tensor] = []
        self._samples: list[int] = []
        self._since = time.perf_counter()

    def update(self, lrs: list[float], loss: Tensor, samples: int) -> None:
        self.lrs.append(lrs)
        self._fresh.append(loss)
        self._samples.append(samples)

    def epoch(self, number: int, valid_loss: float | None, metrics: dict[str, float]) -> History:
        if not self._fresh:
            raise InputError("train has no samples")
        fresh = torch.stack(self._fresh).cpu().numpy()
        train_loss = float(np.average(fresh.astype(np.float64), weights=self._samples))
        self.losses = np.append(self.losses, fresh.astype(np.float32))
        now = time.perf_counter()
        self.epochs.append(
            EpochRecord(
                number, len(self.lrs), train_loss, valid_loss, metrics, self.lrs[-1][0], seconds=now - self._since
            )
        )
        self._fresh, self._samples, self._since = [], [], now
        return History(tuple(self.epochs), np.array(self.lrs), self.losses.copy(), self.made)


def _refuse_divergence(history: History) -> None:
    wrong = np.flatnonzero(~np.isfinite(history.losses))
    if len(wrong):
        step = int(wrong[0])
        raise DivergedError(
            f"the training loss became {history.losses[step]} at step {step}, with learning rate {history.lr[step]:.6g}"
        )


def _set_up(task: Task, plan: Plan, train: Batches, place: torch.device, seed: int, *, lr: float) -> Setup:
    """How long the run is, and how it is made."""
    epoch_steps = None if train.count is None else -(-train.count // task.accumulate)
    if task.steps is not None:
        steps = task.steps
    elif epoch_steps is not None and task.epochs is not None:
        steps = task.epochs * epoch_steps
    else:
        raise InputError("the training data has no length, so the task needs steps= instead of epochs=")
    epochs = None if epoch_steps is None else math.ceil(steps / epoch_steps)
    sizes = {"epoch_steps": epoch_steps, "step_samples": task.batch_size * task.accumulate}
    made = {
        "task": task.name,
        "schedule": str(plan),
        "lr": lr,
        "seed": seed,
        "steps": steps,
        "epochs": epochs,
        **sizes,
        "batch_size": task.batch_size,
        "accumulate": task.accumulate,
        "data_order": ORDER,
        "device": str(place),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return Setup(steps, epoch_steps, epochs, plan, plan.over(steps, **sizes), made)


def _sizes(task: Task, setup: Setup) -> dict[str, Any]:
    return {"epoch_steps": setup.epoch_steps, "step_samples": task.batch_size * task.accumulate}


def _valid_batches(task: Task, place: torch.device) -> Batches | None:
    if task.valid is None:
        return None
    return make_batches(
        task.valid, task.valid_batch_size, place, in_memory=task.in_memory, workers=task.workers, name="valid"
    )


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device by name, by default a GPU if there is one.

    Raises:
        InputError: for one that doesn't work here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device must be one that works here, such as 'cpu', not {str(device)!r}: {reason}") from None
    return place

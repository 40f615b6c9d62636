"""The training loop."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NoReturn

import torch

from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError
from lrkit.training.blame import first_line
from lrkit.training.history import History
from lrkit.training.observer import Observer
from lrkit.training.randomness import check_seed, seeded
from lrkit.training.ranks import Ranks
from lrkit.training.run_state import RunState
from lrkit.training.scheduler_state import Policy
from lrkit.training.task import Task

__all__ = ["DivergedError", "StoppedError", "choose_device", "run"]


class DivergedError(RuntimeError):
    """The training loss is no longer a finite number."""


class StoppedError(RuntimeError):
    """The run was asked to stop before its end."""


def run(
    task: Task,
    schedule: Plan | Plans | str,
    *,
    lr: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    observers: Iterable[Observer] = (),
    resume: Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    compiled: bool = False,
    distributed: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> History:
    """Train a task with a schedule or controller, and record it.

    Args:
        task: what is trained.
        schedule: a plan, or plans for several hyper-parameters, or the text of either; without one for `lr` that is
            constant. A controller is told the validation metrics by name, and `loss` (of validation, or of training
            where there is none) and `train_loss`.
        lr: the base; by default the rate that the task's optimizer sets.
        seed: of the initial weights, the data order, and everything random in the model and the data (torch, numpy,
            Python). The caller's own random state is left as it was. Same seed, same history, bit for bit on the
            same machine, versions and threads.
        device: where to train; by default a GPU if there is one.
        observers: are told what happens.
        resume: a snapshot of a run of this task, as `RunFolder.checkpoint` reads it: go on from there.
        policy: what to do when the snapshot was made with another schedule, horizon or rate, as in
            `Scheduler.load_state_dict`. With "restart" another run begins, with the weights of the snapshot and what
            its optimizer has gathered: schedule, record, early stopping, data order and random state begin anew, by
            `seed`. Its `History.made` has an "origin": the updates and epochs that were done, and the checkpoint.
        compiled: make each update one compiled graph. That takes some seconds first, so it pays for a small model that
            is trained for tens of thousands of updates. The numbers differ from the eager run's by rounding.
        distributed: train in all processes of torch's default process group, which must be there; each of them calls
            `run` with the same arguments. `batch_size` is that of each. All get the same history. Observers of the
            first process alone are told anything, and its snapshot is what is resumed.
        stop: asked after every update; when it says True, in any process, the run ends there.

    Raises:
        StoppedError: when `stop` said so; observers were told before.
        ProcessLostError: when another process of a distributed run is gone.
        DivergedError: when a training loss isn't finite; observers have got the history of that epoch.
        InputError: for what can't be trained, for a snapshot that doesn't fit, and for "restart" without one.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> history = lrkit.run(task, "warmup(2) >> linear(to=0)")
    >>> history.lr[:4].tolist(), history.epochs[-1].train_loss < 0.1
    ([0.25, 0.5, 0.5, 0.45], True)
    """
    plan = parse(schedule) if isinstance(schedule, str) else plain(schedule)
    check_seed(seed)
    place = choose_device(device)
    ranks = _ranks(place, compiled=compiled) if distributed else Ranks()
    watchers = tuple(observers) if ranks.first else ()
    with seeded(seed, place), ExitStack() as last, _closing(watchers):
        state = RunState(task, plan, lr=lr, seed=seed, place=place, policy=policy, compiled=compiled, ranks=ranks)
        last.enter_context(closing(state))  # after the observers, which may want a last snapshot
        _restore(state, ranks.from_first(resume), policy)
        for watcher in watchers:
            watcher.start(state.setup)
        while not state.finished():
            state.model.train()
            for batches in state.updates():
                state.update(batches)
                for watcher in watchers:
                    watcher.step(state.steps)
                if ranks.any(stop()):
                    _end_early(state.steps, watchers, ranks)
                if state.diverged():
                    break
            history = state.end_epoch()
            for watcher in watchers:
                watcher.epoch(history)
            _refuse_divergence(history, ranks)
        return state.record.history()


@contextmanager
def _closing(watchers: Iterable[Observer]) -> Iterator[None]:
    """Tell them that the run is over, however it ended."""
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.close()


def _ranks(place: torch.device, *, compiled: bool) -> Ranks:
    if compiled:
        raise InputError("compiled=True is for a run in one process, so it can't be given with distributed=True")
    return Ranks.of_group(place)


def _restore(state: RunState, snapshot: Mapping[str, Any] | None, policy: Policy | None) -> None:
    if snapshot is not None:
        state.restore(snapshot)
    elif policy == "restart":  # random weights in the place of trained ones wouldn't be noticed
        raise InputError(
            "policy 'restart' begins with the weights of a snapshot, and resume has none; give one, such as "
            "RunFolder.checkpoint(folder)"
        )


def _end_early(steps: int, watchers: Iterable[Observer], ranks: Ranks) -> NoReturn:
    for watcher in watchers:
        watcher.stopped()
    ranks.wait()  # for what the first one's observers write: torchrun ends it as soon as another ends with an error
    raise StoppedError(f"the run was stopped after {steps} updates")


def _refuse_divergence(history: History, ranks: Ranks) -> None:
    found = history.diverged
    if found is not None:
        ranks.wait()
        loss = history.losses[found.step]
        raise DivergedError(f"the training loss became {loss} at step {found.step}, with learning rate {found.lr:.6g}")


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
        raise InputError(
            f"device must be one that works here, such as 'cpu', not {str(device)!r}: {first_line(error)}"
        ) from None
    return place

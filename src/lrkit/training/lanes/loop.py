"""Many runs at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.history import History
from lrkit.training.lanes.alone import train_alone
from lrkit.training.lanes.choice import Choice, choose
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.lanes.processes import WorkerDiedError, start_method, threads_each, train_in_processes
from lrkit.training.lanes.together import train_together
from lrkit.training.lanes.work import Checkpoint, Drop, Histories, NoCheckpoint, Work
from lrkit.training.loop import choose_device
from lrkit.training.preparation import Length, batches_of, length_of, made_of
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["run_lanes"]

_OF_A_LANE = ("schedule", "policy", "lr", "named_lr", "seed")  # of what `History.made` says


def _keep_all(histories: Histories) -> Iterable[int]:
    return ()


def run_lanes(
    task: Task,
    lanes: Iterable[Lane],
    *,
    backend: str = "auto",
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    folder: LanesFolder | None = None,
    observers: Iterable[LanesObserver] = (),
    drop: Drop = _keep_all,
    stop: Callable[[], bool] = lambda: False,
) -> list[History]:
    """Train many runs of a task, and record each as `run` would have.

    Lanes of one seed have the same initial weights, batches, and random numbers in the model, so what differs between
    them comes from their schedules and hyper-parameters alone.

    Args:
        task: of all lanes; its model is used as it is.
        lanes: what each has of its own.
        backend: "compiled" and "eager" train lanes as one batched computation (`torch.func.vmap`, compiled or not),
            "sequential" one after another, "processes" as many at once as there are cores, each with `run`; "auto"
            measures for some seconds which is the fastest here. What is chosen, and why, stands in each history's
            `made["lanes"]`.
        memory: what lanes may need together: bytes, or text such as "4GB" or "50%" of what is free, the default. Lanes
            that are batched go in groups that fit; they are trained one group after another.
        device: where to train; by default a GPU if there is one.
        folder: keeps what is recorded on disk. Where it resumes, lanes that have ended aren't trained again, those
            under way go on from their checkpoints, and backend and device are those that it began with.
        observers: are told what happens.
        drop: is given the histories of lanes that have finished an epoch, by their numbers, and says which end there.
            With "compiled" and "eager" it sees a whole group at once, else one lane at a time, in a process of its own
            with "processes".
        stop: asked after every update; when it says True, all ends there.

    Returns:
        The history of each lane, whole, or up to where it diverged (`history.diverged`) or was dropped.

    Raises:
        StoppedError: when `stop` said so; the folder has what was done.
        InputError: for lanes that can't be trained; `UnbatchableError` where they can't be batched and that was asked
            for: it names the module and the operation.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> lanes = [lrkit.Lane("linear(to=0)", lr=lr) for lr in (0.1, 0.5, 500.0)]
    >>> histories = lrkit.run_lanes(task, lanes, backend="eager")
    >>> [history.epochs[-1].train_loss < 0.2 for history in histories], histories[2].diverged is not None
    ([False, True, False], True)
    """
    watchers = (*(() if folder is None else (folder,)), *observers)
    with _closing(watchers):
        wanted, before = _checked(task, lanes), {} if folder is None else folder.before
        place = choose_device(before.get("device") if device is None else device)
        work = Work(task, wanted, place, {}, drop, stop)
        choice, length = _gone_on(work, before) if before else choose(work, backend, memory)
        work = replace(work, made=choice.made)
        setup = _set_up(work, choice, length, folder)
        telling = _Telling(watchers, setup)
        for watcher in watchers:
            watcher.start(setup)
        _train(work, choice, telling, folder)
        return [telling.histories[number] for number in range(len(wanted))]


def _gone_on(work: Work, before: Mapping[str, Any]) -> tuple[Choice, Length]:
    """As it was chosen when it began; the length is that of the task now, to be held against the one recorded."""
    with seeded(0, work.place):
        batches = batches_of(work.task, work.task.train, "train", work.place, 0)
    return Choice.from_dict(before), length_of(work.task, batches.count)


def _set_up(work: Work, choice: Choice, length: Length, folder: LanesFolder | None) -> LanesSetup:
    """What is known before the first update."""
    made = made_of(work.task, work.lanes[0].plan, length, lr=0.0, named_lr=None, seed=0, place=work.place, policy=None)
    common = {name: value for name, value in made.items() if name not in _OF_A_LANE}
    if choice.backend == "processes":
        common["threads"] = threads_each(start_method(work), len(work.lanes))
    done, ended = (0, {}) if folder is None else (folder.lane_steps, dict(folder.histories))
    return LanesSetup(work.lanes, length.steps, choice, done, task=common, ended=ended)


def _train(work: Work, choice: Choice, telling: "_Telling", folder: LanesFolder | None) -> None:
    """Train the groups that haven't ended."""
    left = [group for group in choice.groups if not telling.histories.keys() >= set(group)]

    def checkpoint(group: Sequence[int]) -> Checkpoint:
        return NoCheckpoint() if folder is None else folder.checkpoint(group[0])

    if choice.backend == "processes":
        try:
            train_in_processes(work, [each for [each] in left], telling, {each[0]: checkpoint(each) for each in left})
        except WorkerDiedError as error:
            kept = "nothing is kept without a folder" if folder is None else f"what has ended is kept in {folder.path}"
            raise WorkerDiedError(f"{error}; {kept}") from None
        return
    for group in left:
        if choice.backend == "sequential":
            train_alone(work, group[0], telling, checkpoint(group))
        else:
            train_together(work, group, telling, checkpoint(group), compiled=choice.backend == "compiled")


class _Telling:
    """Passes on to observers what happens, and keeps the histories of lanes that have ended."""

    def __init__(self, watchers: Sequence[LanesObserver], setup: LanesSetup) -> None:
        self.histories: dict[int, History] = dict(setup.ended)
        self._watchers = watchers
        self._lane_steps = setup.steps_done

    def step(self, lane_steps: int) -> None:
        self._lane_steps += lane_steps
        for watcher in self._watchers:
            watcher.step(self._lane_steps)

    def epoch(self, histories: Histories) -> None:
        if news := self._news(histories):
            for watcher in self._watchers:
                watcher.epoch(news)

    def ended(self, histories: Histories) -> None:
        if news := self._news(histories):
            self.histories.update(news)
            for watcher in self._watchers:
                watcher.ended(news)

    def _news(self, histories: Histories) -> Histories:
        """Without lanes that had ended before: a group that goes on from its checkpoint ends them again."""
        return {number: history for number, history in histories.items() if number not in self.histories}


@contextmanager
def _closing(watchers: Iterable[LanesObserver]) -> Iterator[None]:
    """Tell them that it is over, however it ended."""
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.close()


def _checked(task: object, lanes: Iterable[Any]) -> list[Lane]:
    if not isinstance(task, Task):
        raise InputTypeError(f"run_lanes trains an lrkit.Task, not {shown(task)} ({type(task).__name__})")
    found = [lanes] if isinstance(lanes, Lane) else list(lanes)
    if not found:
        raise InputError("run_lanes needs at least one lane")
    for each in found:
        if not isinstance(each, Lane):
            raise InputTypeError(f"run_lanes trains lanes, lrkit.Lane(schedule, lr=…), not {shown(each)}")
    return found

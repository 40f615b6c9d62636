"""Many runs at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training.history import History
from lrkit.training.lanes.alone import train_alone
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.lanes.processes import WorkerDiedError, start_method, threads_each, train_in_processes
from lrkit.training.lanes.work import Checkpoint, Drop, Histories, NoCheckpoint, Work
from lrkit.training.loop import choose_device
from lrkit.training.preparation import batches_of, length_of, made_of
from lrkit.training.task import Task

__all__ = ["run_lanes"]

_BACKENDS = ("auto", "sequential", "processes")
_OF_A_LANE = ("schedule", "policy", "lr", "seed")  # of what `History.made` says


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

    Where the folder resumes, lanes that have ended aren't trained again, those under way go on from their checkpoints,
    and the backend and the device are those that it began with.
    """
    watchers = (*(() if folder is None else (folder,)), *observers)
    with _closing(watchers):
        wanted, before = _checked(lanes), {} if folder is None else folder.before
        place = choose_device(before.get("device") if device is None else device)
        way = _way(backend, len(wanted), before)
        made = {"backend": way.backend, "reason": way.reason}
        work = Work(task, wanted, place, made, drop, stop)
        setup = _set_up(work, way, folder)
        telling = _Telling(watchers, setup)
        for watcher in watchers:
            watcher.start(setup)
        _train(work, way, telling, folder)
        return [telling.histories[number] for number in range(len(wanted))]


@dataclass(frozen=True)
class _Way:
    """What trains the lanes, why that, and which of them together."""

    backend: str
    reason: str
    groups: Sequence[Sequence[int]]


def _way(backend: str, lanes: int, before: Mapping[str, Any]) -> _Way:
    if backend not in _BACKENDS:
        raise unknown("backend", backend, _BACKENDS)
    if before:
        return _Way(before["backend"], before["reason"], before["groups"])
    groups = [[number] for number in range(lanes)]
    if backend == "auto":
        return _Way("sequential", "nothing else was asked for", groups)
    return _Way(backend, "it was asked for", groups)


def _set_up(work: Work, way: _Way, folder: LanesFolder | None) -> LanesSetup:
    """What is known before the first update."""
    task, place = work.task, work.place
    length = length_of(task, batches_of(task, task.train, "train", place, 0).count)
    made = made_of(task, work.lanes[0].plan, length, lr=0.0, seed=0, place=place, policy=None)
    common = {name: value for name, value in made.items() if name not in _OF_A_LANE}
    if way.backend == "processes":
        common["threads"] = threads_each(start_method(work), len(work.lanes))
    done, ended = (0, {}) if folder is None else (folder.lane_steps, dict(folder.histories))
    return LanesSetup(
        work.lanes, length.steps, way.backend, way.reason, way.groups, done, work.made, task=common, ended=ended
    )


def _train(work: Work, way: _Way, telling: "_Telling", folder: LanesFolder | None) -> None:
    """Train the groups that haven't ended."""
    left = [group for group in way.groups if not telling.histories.keys() >= set(group)]

    def checkpoint(group: Sequence[int]) -> Checkpoint:
        return NoCheckpoint() if folder is None else folder.checkpoint(group[0])

    if way.backend == "processes":
        try:
            train_in_processes(work, [each for [each] in left], telling, {each[0]: checkpoint(each) for each in left})
        except WorkerDiedError as error:
            kept = "nothing is kept without a folder" if folder is None else f"what has ended is kept in {folder.path}"
            raise WorkerDiedError(f"{error}; {kept}") from None
        return
    for group in left:
        train_alone(work, group[0], telling, checkpoint(group))


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


def _checked(lanes: Iterable[Any]) -> list[Lane]:
    found = list(lanes)
    if not found:
        raise InputError("run_lanes needs at least one lane")
    for each in found:
        if not isinstance(each, Lane):
            raise InputTypeError(f"run_lanes trains lanes, lrkit.Lane(schedule, lr=…), not {shown(each)}")
    return found

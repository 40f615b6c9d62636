"""Many runs at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.history import History
from lrkit.training.lanes.alone import train_alone
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.observer import LanesObserver, LanesSetup
from lrkit.training.lanes.together import train_together
from lrkit.training.lanes.work import Drop, Histories, NoCheckpoint, Work
from lrkit.training.loop import choose_device
from lrkit.training.task import Task

__all__ = ["run_lanes"]


def run_lanes(
    task: Task,
    lanes: Iterable[Lane],
    *,
    backend: str = "auto",
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    observers: Iterable[LanesObserver] = (),
    drop: Drop = lambda histories: (),
    stop: Callable[[], bool] = lambda: False,
) -> list[History]:
    """Train many runs of a task, and record each as `run` would have."""
    wanted, place, watchers = _checked(lanes), choose_device(device), tuple(observers)
    made = {"backend": backend, "reason": "it was asked for"}
    work = Work(task, wanted, place, made, drop, stop)
    groups = [[number] for number in range(len(wanted))]
    with _closing(watchers):
        telling = _Telling(watchers)
        for watcher in watchers:
            watcher.start(LanesSetup(wanted, 0, "sequential", "it was asked for", groups, 0, made))
        if backend in ("eager", "compiled"):
            train_together(work, range(len(wanted)), telling, NoCheckpoint(), compiled=backend == "compiled")
        else:
            for group in groups:
                train_alone(work, group[0], telling, NoCheckpoint())
        return [telling.histories[number] for number in range(len(wanted))]


class _Telling:
    """Passes on to observers what happens, and keeps the histories of lanes that have ended."""

    def __init__(self, watchers: Sequence[LanesObserver], lane_steps: int = 0) -> None:
        self.histories: dict[int, History] = {}
        self._watchers = watchers
        self._lane_steps = lane_steps

    def step(self, lane_steps: int) -> None:
        self._lane_steps += lane_steps
        for watcher in self._watchers:
            watcher.step(self._lane_steps)

    def epoch(self, histories: Histories) -> None:
        for watcher in self._watchers:
            watcher.epoch(histories)

    def ended(self, histories: Histories) -> None:
        self.histories.update(histories)
        for watcher in self._watchers:
            watcher.ended(histories)


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

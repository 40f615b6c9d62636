"""What a worker process does: it trains the lanes that it is given with `run`, and reports to its parent."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from lrkit.schedules.errors import InputError
from lrkit.training.carried import pack
from lrkit.training.lanes.alone import train_alone
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.work import Checkpoint, Drop, Histories, Work
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task
from lrkit.training.task_source import TaskSource

__all__ = ["Order", "portable", "serve"]

_FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP")  # a terminal sends them to all; the parent tells its workers


@dataclass(frozen=True)
class Order:
    """What a worker is given once; where it isn't forked, pickled."""

    task: Task | TaskSource
    lanes: Sequence[Lane]
    place: torch.device
    made: Mapping[str, Any]
    drop: Drop
    checkpoints: Mapping[int, Checkpoint]
    threads: int

    @classmethod
    def of(cls, work: Work, checkpoints: Mapping[int, Checkpoint], *, threads: int, forked: bool) -> "Order":
        """For this work."""
        task = work.task if forked else portable(work)
        return cls(task, work.lanes, work.place, work.made, work.drop, checkpoints, threads)

    def work(self, stop: Callable[[], bool]) -> Work:
        """The work, which is to end when `stop` says so."""
        task = self.task if isinstance(self.task, Task) else self.task.load()
        return Work(task, self.lanes, self.place, self.made, self.drop, stop)


def serve(order: Order, stopping: Any, pipe: "Connection[Any, Any]") -> None:
    """Train the lanes that come through the pipe, until None comes."""
    for name in _FOR_THE_PARENT:
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(order.threads)
    work: Work | None = None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has died
        while (lane := pipe.recv()) is not None:
            try:
                work = work or order.work(lambda: bool(stopping.value))
                train_alone(work, lane, _ThroughPipe(pipe), order.checkpoints[lane])
            except StoppedError:
                pipe.send(("stopped", None))
            except BaseException as error:  # noqa: BLE001 (sys.exit of a task too)
                pipe.send(("failed", pack(error)))
            else:
                pipe.send(("done", None))


def _end_with_parent() -> None:
    """End at once when the parent has died: its folder is free then, and nobody listens."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@dataclass(frozen=True)
class _ThroughPipe:
    """A report to the parent."""

    pipe: "Connection[Any, Any]"

    def step(self, lane_steps: int) -> None:
        self.pipe.send(("step", lane_steps))

    def epoch(self, histories: Histories) -> None:
        self.pipe.send(("epoch", dict(histories)))

    def ended(self, histories: Histories) -> None:
        self.pipe.send(("ended", dict(histories)))


# --- where processes aren't forked -------------------------------------------------------------------


def portable(work: Work) -> Task | TaskSource:
    """The task, or where it comes from, as another process can be given it.

    Raises:
        InputError: when it can be given neither, or the lanes or `drop` can't.
    """
    for what, value in (("the lanes", work.lanes), ("drop", work.drop)):
        if not _can_be_pickled(value):
            raise InputError(f"the backend 'processes' has to pickle {what} here, and can't: lambdas can't be")
    if _can_be_pickled(work.task):
        return work.task
    source = {name: value for name, value in (work.task.source or {}).items() if name != "sha256"}
    if isinstance(source.get("task"), str):
        return TaskSource(**source)
    raise InputError(
        "the backend 'processes' needs a task that can be pickled here (functions of a module, no lambdas), or one "
        "that was loaded by its name, such as file.py:task"
    )


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.Pickler(_Nowhere()).dump(value)
    except Exception:  # noqa: BLE001 (pickle raises three types, and objects their own)
        return False
    return True


class _Nowhere:
    """A file that keeps nothing, since tasks hold data."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes

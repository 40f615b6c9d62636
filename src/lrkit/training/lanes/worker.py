"""What a worker process does: it trains the lanes that it is given with `run`, and reports to its parent."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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

__all__ = ["FOR_THE_PARENT", "Order", "portable", "serve"]

_PLAIN = (int, float, str, bool, type(None))
# A terminal sends them to all processes; the parent tells its workers what they are to do.
FOR_THE_PARENT = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True)
class _Named:
    """A task by where it comes from, and the plain values that it has now."""

    source: TaskSource
    values: Mapping[str, Any]

    def load(self) -> Task:
        return replace(self.source.load(), **self.values)


@dataclass(frozen=True)
class Order:
    """What a worker is given once; where it isn't forked, pickled."""

    task: Task | _Named
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
    for number in FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_PARENT)
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


def portable(work: Work) -> Task | _Named:
    """The task, or where it comes from, as another process can be given it.

    Raises:
        InputError: when it can be given neither, or the lanes or `drop` can't.
    """
    for what, value in (("the lanes", work.lanes), ("drop", work.drop)):
        if not _can_be_pickled(value):
            raise InputError(f"the backend 'processes' has to pickle {what} here, and can't: lambdas can't be")
    source = {name: value for name, value in (work.task.source or {}).items() if name != "sha256"}
    if isinstance(source.get("task"), str):  # its functions are of a file, which others know when they have loaded it
        plain = {name: value for name, value in vars(work.task).items() if isinstance(value, _PLAIN)}
        return _Named(TaskSource(**source), plain)
    if _can_be_pickled(work.task):
        return work.task
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

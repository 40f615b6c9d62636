"""Lanes in worker processes, each trained with `run`."""

import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from lrkit.schedules.errors import InputError
from lrkit.training.carried import unpack
from lrkit.training.lanes.work import Checkpoint, Histories, Report, Work
from lrkit.training.lanes.worker import FOR_THE_PARENT, Order, portable, serve
from lrkit.training.loop import StoppedError

__all__ = ["WorkerDiedError", "cores", "start_method", "threads_each", "train_in_processes"]

_ASK_EVERY = 0.1  # seconds between two questions whether all is to end
_PATIENCE = 10.0  # seconds that a worker with nothing left to do may take to end


class WorkerDiedError(RuntimeError):
    """A worker process was killed, or ended by itself, while it trained a lane."""


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_method(work: Work) -> str:
    """How worker processes are started for this work: forked where the platform can, since tasks hold lambdas.

    Raises:
        InputError: where they can't be.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        portable(work)
        return "spawn"
    if work.place.type != "cpu":
        raise InputError(
            f"the backend 'processes' trains on the CPU, since a forked process can't use a GPU, not on {work.place}"
        )
    return "fork"


def threads_each(method: str, lanes: int) -> int:
    """Threads of a worker: after a fork more than one may hang, since the parent's are not there."""
    return 1 if method == "fork" else max(1, cores() // min(lanes, cores()))


def train_in_processes(
    work: Work, numbers: Sequence[int], report: Report, checkpoints: Mapping[int, Checkpoint]
) -> None:
    """Train each lane with `run`, as many at once as there are cores; whichever worker is free takes the next one.

    Whatever ends it early, lanes under way are saved first: in their checkpoints.

    Raises:
        StoppedError: when `work.stop` said so.
        WorkerDiedError: when a worker was killed.
        Exception: what a task raised in a worker, with its notes, its traceback there as its cause.
    """
    method = start_method(work)
    threads = threads_each(method, len(work.lanes))  # whatever is left of them, so that it is the same to the bit
    order = Order.of(work, checkpoints, threads=threads, forked=method == "fork")
    crew = _Crew(numbers, report, work.stop)
    try:
        crew.hire(min(len(numbers), cores()), order, method)
        crew.train()
    finally:
        crew.dismiss()
    if crew.failure is not None:
        raise crew.failure
    if crew.unfinished:
        done, count = len(numbers) - crew.unfinished, len(numbers)
        raise StoppedError(f"the lanes were stopped when {done} of {count} had ended")


# --- in the parent -----------------------------------------------------------------------------------


@dataclass(eq=False)
class _Worker:
    """A process, the pipe to it, and the lane that it trains."""

    process: Any  # each start method has a class of its own
    pipe: "Connection[Any, Any]"
    number: int | None = None

    def tell(self, number: int | None) -> None:
        """Give it a lane, or let it go."""
        self.number = number
        with suppress(OSError):  # it has died: that is noticed when it is listened to
            self.pipe.send(number)


class _Crew:
    """Gives lanes to workers, and passes on what they report."""

    def __init__(self, numbers: Iterable[int], report: Report, stop: Callable[[], bool]) -> None:
        self.failure: BaseException | None = None
        self._left = deque(numbers)
        self._given_up = 0
        self._report, self._stop = report, stop
        self._workers: list[_Worker] = []

    @property
    def unfinished(self) -> int:
        """How many lanes haven't ended, once all is over."""
        return len(self._left) + self._given_up

    def hire(self, count: int, order: Order, method: str) -> None:
        """Start workers."""
        context: Any = multiprocessing.get_context(method)
        if method == "fork":  # the first optimizer imports torch's compiler, which takes a second: not in each worker
            torch.optim.SGD([torch.zeros(1)], lr=0.1)
        self._stopping = context.RawValue("b", 0)  # without a lock, which a killed worker might hold
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(order, self._stopping, there))
            with _held_back(), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of the parent's threads: a worker uses none
                process.start()
                self._workers.append(_Worker(process, here))
            there.close()  # so that the worker alone has it, and its death is noticed
            self._next(self._workers[-1])

    def train(self) -> None:
        """Until no worker has a lane any more."""
        while busy := [each for each in self._workers if each.number is not None]:
            if not self._stopping.value and self._stop():
                self._stopping.value = 1
            ready = wait([each.pipe for each in busy], timeout=_ASK_EVERY)
            for worker in busy:
                if worker.pipe in ready:
                    try:
                        kind, content = worker.pipe.recv()
                    except (EOFError, OSError):
                        kind, content = "died", None
                    self._heard(worker, kind, content)

    def _heard(self, worker: _Worker, kind: str, content: Any) -> None:
        if kind == "step":
            self._report.step(content)
        elif kind == "epoch":
            self._report.epoch(_again(content))
        elif kind == "ended":
            self._report.ended(_again(content))
        elif kind == "done":
            self._next(worker)
        else:
            self._given_up += 1
            if kind != "stopped":
                self._fail(unpack(content) if kind == "failed" else _death(worker))
            worker.tell(None)

    def _next(self, worker: _Worker) -> None:
        worker.tell(self._left.popleft() if self._left and not self._stopping.value else None)

    def _fail(self, error: BaseException) -> None:
        """Of several, the first is told; the others are made to stop."""
        self.failure = self.failure or error
        self._stopping.value = 1

    def dismiss(self) -> None:
        """Leave no process behind: those that have a lane are killed, the others end by themselves."""
        for worker in self._workers:
            if worker.number is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
            worker.process.close()
            worker.pipe.close()


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals back until the new process ignores them, or it would do what its parent does with them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _again(histories: Histories) -> Histories:
    """Histories that came through a pipe: made anew, since arrays come out of it writable."""
    return {number: replace(history) for number, history in histories.items()}


def _death(worker: _Worker) -> WorkerDiedError:
    worker.process.join(_PATIENCE)
    code = worker.process.exitcode
    how = f"ended with exit status {code}"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        how = f"was killed ({name}{', perhaps since memory ran out' if name == 'SIGKILL' else ''})"
    return WorkerDiedError(f"the worker process that trained lane {worker.number} {how}")

"""The contenders that are lrkit."""

import math
import tempfile
from dataclasses import replace

import lrkit
from job import Clock, Job
from lrkit.training import tasks

__all__ = ["compiled", "eager"]


def eager(job: Job, clock: Clock) -> float:
    """The `run` of lrkit, with a run folder, as `lrkit train mnist` has it."""
    return _run(job, clock, compiled=False)


def compiled(job: Job, clock: Clock) -> float:
    """The same with `compiled=True`, as `lrkit train mnist --compile` has it."""
    return _run(job, clock, compiled=True)


def _run(job: Job, clock: Clock, *, compiled: bool) -> float:
    class Ticks(lrkit.Observer):
        over = False

        def step(self, steps: int) -> None:
            self.over = clock.tick(steps)

    task = replace(tasks.get("mnist", data=job.data), epochs=job.epochs)
    ticks = Ticks()
    with tempfile.TemporaryDirectory() as folder:
        observers = [lrkit.RunFolder(folder), ticks]
        try:
            history = lrkit.run(
                task,
                tasks.DEFAULT_SCHEDULE,
                device="cpu",
                observers=observers,
                compiled=compiled,
                stop=lambda: ticks.over,
            )
        except lrkit.StoppedError:
            return math.nan
    return history.epochs[-1].metrics["accuracy"]

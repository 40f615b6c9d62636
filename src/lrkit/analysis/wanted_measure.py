"""What schedules are to be compared by, known before anything is trained."""

from collections.abc import Mapping

import torch

from lrkit.analysis.comparison import Measure
from lrkit.analysis.comparisons import measure_of
from lrkit.analysis.terms import Terms
from lrkit.schedules.errors import unknown
from lrkit.training.data_order import ALL
from lrkit.training.preparation import make_model, take, valid_batches
from lrkit.training.pure_update import Measured
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["wanted_measure"]


def wanted_measure(
    task: Task, name: str | None, mode: str | None, before: Terms | None, place: torch.device
) -> Measure:
    """The measure that is asked for, else what the folder has, else the loss.

    Args:
        task: with validation data; where a `forward` says what it measures, a batch of these is measured to find out.
        name: of the measure.
        mode: "min" or "max".
        before: the terms that the folder has.
        place: the device.

    Raises:
        InputError: for a measure that the task doesn't have.
    """
    if before is not None and (name is None or name == before.measure.name):
        name, mode = before.measure.name, before.measure.mode if mode is None else mode
    name = "loss" if name is None else name
    if name != "loss" and name not in (known := _known(task, place)):
        raise unknown("measure", str(name), ["loss", *known])
    return measure_of(name, mode)


def _known(task: Task, place: torch.device) -> list[str]:
    if task.forward is None:
        return [*(task.loss if isinstance(task.loss, Mapping) else ()), *task.metrics]
    return _forward_measures(task, place)


@torch.no_grad()
def _forward_measures(task: Task, place: torch.device) -> list[str]:
    """The names that a `forward` gives to what it measures: of one batch, and the caller's random state stays."""
    with seeded(0, place):
        measured = Measured(make_model(task, place).eval(), task)
        batches = valid_batches(task, place, ALL)
        taken = [] if batches is None else take(batches.epoch(0), 1, "valid")
        return [name for batch in taken for name in measured(batch, with_metrics=True)[2]]

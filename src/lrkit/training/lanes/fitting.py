"""Whether lanes can be trained at all: asked before the first of them is."""

from collections.abc import Iterable

import torch

from lrkit.training.lanes.lane import Lane
from lrkit.training.preparation import Length, make_model, make_optimizer, with_rate
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["refuse_misfits"]


def refuse_misfits(task: Task, lanes: Iterable[Lane], length: Length, place: torch.device) -> None:
    """Bind each schedule, with each choice of hyper-parameters, to an optimizer that isn't used.

    Raises:
        InputError: for a schedule that doesn't fit into the length, and for a hyper-parameter that the optimizer lacks.
    """
    kinds = {(str(lane.plan), *lane.hypers): lane for lane in lanes}
    with seeded(0, place):
        model = make_model(task, place)
        for lane in kinds.values():
            optimizer = make_optimizer(lane.of(task), model)
            with_rate(lane.plan).bind(optimizer, lr=lane.lr, steps=length.steps, **length.sizes)

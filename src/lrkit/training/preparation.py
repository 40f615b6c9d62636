"""What a task is made into to be trained: model, optimizer, batches, length, and the record of how it was made."""

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from lrkit.schedules import Plan, Plans, Target, constant
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.blame import blame, blaming
from lrkit.training.data import Batches, make_batches
from lrkit.training.data_order import ALL, ORDER
from lrkit.training.optimizer_step import require_plain_step
from lrkit.training.randomness import random_state, seeded, set_random_state
from lrkit.training.task import Task

__all__ = [
    "Length",
    "batches_of",
    "length_of",
    "made_of",
    "make_model",
    "make_optimizer",
    "surroundings",
    "take",
    "test_batches",
    "updates_of",
    "valid_batches",
    "with_rate",
]


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        steps: updates in all.
        epoch_steps: updates in an epoch, None for data without a length.
        epochs: passes through the data, the last one perhaps cut short; None where that isn't known.
        step_samples: samples in an update.
    """

    steps: int
    epoch_steps: int | None
    epochs: int | None
    step_samples: int

    @property
    def sizes(self) -> dict[str, Any]:
        """What lengths in epochs and samples are resolved with."""
        return {"epoch_steps": self.epoch_steps, "step_samples": self.step_samples}


def length_of(task: Task, batches: int | None, processes: int = 1) -> Length:
    """The length of a task whose training data has that many batches, in each of so many processes.

    Raises:
        InputError: where the data has no length, and the task no number of steps.
    """
    epoch_steps = None if batches is None else -(-batches // task.accumulate)
    if task.steps is not None:
        steps = task.steps
    elif epoch_steps is not None and task.epochs is not None:
        steps = task.epochs * epoch_steps
    else:
        error = InputError("the training data has no length, so the task needs steps= instead of epochs=")
        blame(error, "its length")
        raise error
    epochs = None if epoch_steps is None else math.ceil(steps / epoch_steps)
    return Length(steps, epoch_steps, epochs, task.batch_size * task.accumulate * processes)


def made_of(
    task: Task,
    plan: Plan | Plans,
    length: Length,
    *,
    lr: float,
    named_lr: float | None,
    seed: int,
    place: torch.device,
    policy: str | None,
) -> dict[str, Any]:
    """How a run is made, for the record; its rate is that of the first group, whoever has set it."""
    return {
        "task": task.name,
        "source": None if task.source is None else dict(task.source),
        "schedule": str(plan),
        "policy": policy,
        "lr": lr,
        "named_lr": named_lr,
        "seed": seed,
        "steps": length.steps,
        "epochs": length.epochs,
        **length.sizes,
        "batch_size": task.batch_size,
        "accumulate": task.accumulate,
        "precision": task.precision,
        "data_order": ORDER,
        **surroundings(place),
    }


def surroundings(place: torch.device) -> dict[str, Any]:
    """Where and with what a run is made, for the record."""
    return {
        "device": str(place),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),  # which is a string of a kind that no checkpoint of plain data takes
        "numpy": np.__version__,
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def with_rate(plan: Plan | Plans) -> Plan | Plans:
    """The plans, with a constant learning rate where there is none for it."""
    if isinstance(plan, Plan) or plan.get("lr") is not None:
        return plan
    return Plans.of({Target("lr"): constant(), **dict(plan.parts)})


def make_model(task: Task, place: torch.device) -> nn.Module:
    """The model on its device."""
    with blaming("model()"):
        model: object = task.model()
        if not isinstance(model, nn.Module):
            raise InputTypeError(f"model() must return a torch.nn.Module, not {type(model).__name__}")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise InputError("the model has no trainable parameter")
    return model.to(place)


def make_optimizer(task: Task, model: nn.Module) -> Optimizer:
    """The optimizer of the model's parameters, which can make an update without a closure."""
    with blaming("optimizer(parameters)"):
        optimizer: object = task.optimizer(model.parameters())
        if not isinstance(optimizer, Optimizer):
            raise InputTypeError(f"optimizer(parameters) must return a torch optimizer, not {type(optimizer).__name__}")
        require_plain_step(optimizer)
        return optimizer


def batches_of(
    task: Task, data: Any, name: str, place: torch.device, seed: int | None, *, share: slice = ALL
) -> Batches:
    """The batches of training data, with a seed, or of data that is only measured, without: this process's share."""
    with blaming(f"the data of {name}"):
        return make_batches(
            data,
            task.batch_size if seed is not None else task.valid_batch_size,
            place,
            seed=seed,
            in_memory=task.in_memory,
            workers=task.workers,
            collate=task.collate,
            name=name,
            share=share,
        )


def valid_batches(task: Task, place: torch.device, share: slice) -> Batches | None:
    """The batches of the validation data; None where there are none."""
    return None if task.valid is None else batches_of(task, task.valid, "valid", place, None, share=share)


def test_batches(task: Task, place: torch.device, share: slice) -> Batches | None:
    """The batches of the test data; None where there are none. To read them draws from no random stream of the run."""
    if task.test is None:
        return None
    with seeded(0, place):
        return batches_of(task, task.test, "test", place, None, share=share)


def updates_of(
    batches: Batches, epoch: int, *, accumulate: int, done: int, place: torch.device
) -> Iterator[Sequence[Any]]:
    """What is left of an epoch after some updates: for each update the batches that make it."""
    before = random_state(place)
    found = batches.epoch(epoch, skip=done * accumulate)
    if done:
        set_random_state(before, place)  # as if what was skipped hadn't been read again
    while group := take(found, accumulate):
        yield group


def take(batches: Iterator[Any], count: int, name: str = "train") -> Sequence[Any]:
    """The next batches, fewer at the end."""
    try:
        return list(islice(batches, count))
    except Exception as error:
        blame(error, f"the data of {name}")
        raise

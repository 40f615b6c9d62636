"""What `run` does with the first batches, so that lanes can be held against it before they are trained."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame, blaming
from lrkit.training.lanes.stack import Stack
from lrkit.training.lanes.update import BatchedUpdate, UnbatchableError, naming
from lrkit.training.optimizer_step import sparse_gradient
from lrkit.training.pure_update import Measured, PureUpdate, Tensors, apart, clipped
from lrkit.training.randomness import random_state, same_random_state, set_random_state
from lrkit.training.task import Task, sample_count

__all__ = ["Reference"]


@dataclass(frozen=True)
class Reference:
    """The gradients of one lane, as autograd gives them; nothing of it is left in the model or in random state.

    Attributes:
        gradients: by name, of the parameters that get any.
        draws: whether the model or the loss draws random numbers.
    """

    gradients: Tensors
    draws: bool

    @classmethod
    def of(cls, task: Task, model: nn.Module, batches: Sequence[Any], place: torch.device) -> "Reference":
        """Those of the mean loss over all samples of the batches.

        Raises:
            InputError: where there is nothing to train.
            UnbatchableError: for a model that can't be copied, and for sparse gradients.
        """
        before, own = random_state(place), _copied(model)
        measured = Measured(own, task)
        total, samples = torch.zeros((), device=place), 0
        with torch.enable_grad():
            for batch in batches:
                loss, n, _ = measured(batch)
                count = sample_count(n)
                total, samples = total + loss * count, samples + count
            mean = total / samples
            if not mean.requires_grad:
                error = InputError("the loss doesn't depend on any trainable parameter, so there is nothing to train")
                blame(error, "the loss")
                raise error
            mean.backward()
        if (sparse := sparse_gradient(own)) is not None:
            raise UnbatchableError(f"lanes can't be batched: the parameter {sparse!r} has sparse gradients")
        gradients = {name: each.grad for name, each in own.named_parameters() if each.grad is not None}
        if task.clip_norm is not None:
            gradients = clipped(gradients, task.clip_norm)
        draws = not same_random_state(before, random_state(place))
        set_random_state(before, place)
        return cls(gradients, draws)

    def check(self, task: Task, model: nn.Module, optimizer: Optimizer, stack: Stack, batches: Sequence[Any]) -> None:
        """See that lanes can be batched, and that the first would have these gradients; rounding doesn't count.

        With random numbers they may differ, since those may be dealt out in another order.

        Raises:
            UnbatchableError: where it can't be batched, or would have others: what a hook does, or a loss that holds
                parameters itself, isn't in the computation.
        """
        place = next(iter(stack.parameters.values())).device
        own, before = _copied(model), random_state(place)
        trial = Stack(stack.parameters, {name: each.clone() for name, each in stack.buffers.items()}, {})
        update = BatchedUpdate(PureUpdate(task, own, optimizer), list(self.gradients), (), compiled=False)
        with torch.no_grad(), naming(own), blaming("the batched update"):
            found, *_ = update.gradients(trial, batches)
        set_random_state(before, place)
        if not self.draws and apart({name: each[0, 0] for name, each in found.items()}, self.gradients) > 0.01:
            raise UnbatchableError(
                "lanes would have other gradients than the task: a hook changes them, or the loss uses parameters that "
                "don't come through the model"
            )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model).train()
    except Exception as error:
        raise UnbatchableError(f"lanes can't be batched: the model can't be copied ({error})") from error

"""The tensors of many lanes, stacked: the first dimension is the seed's, the second the lane's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from lrkit.training.pure_update import Tensors

__all__ = ["Stack", "loose_tensors", "stack_batches"]


@dataclass
class Stack:
    """Parameters, buffers and the optimizers' states of lanes, each tensor of shape (seeds, lanes of a seed, …).

    What is the same number for all lanes, the count of updates in Adam's state, has no dimensions.

    Attributes:
        parameters: by their names in the model.
        buffers: likewise.
        states: of each parameter that is trained, under torch's names; empty before the first update.
    """

    parameters: Tensors
    buffers: Tensors
    states: dict[str, Tensors]

    @classmethod
    def of(cls, models: Sequence[nn.Module], lanes: int) -> "Stack":
        """So many lanes with the initial weights of each model."""
        parameters = [dict(model.named_parameters()) for model in models]
        buffers = [dict(model.named_buffers()) for model in models]
        return cls(_stacked(parameters, lanes), _stacked(buffers, lanes), {})

    @property
    def size(self) -> tuple[int, int]:
        """How many seeds, and lanes of each."""
        seeds, lanes = next(iter(self.parameters.values())).shape[:2]
        return seeds, lanes

    def chosen(self, seeds: Tensor, lanes: Tensor) -> "Stack":
        """The lanes at some places only: for each new place (i, j) the old one is (seeds[i, j], lanes[i, j])."""

        def choose(tensors: Tensors) -> Tensors:
            return {name: each[seeds, lanes] if each.ndim else each for name, each in tensors.items()}

        states = {name: choose(each) for name, each in self.states.items()}
        return Stack(choose(self.parameters), choose(self.buffers), states)

    def lane(self, seed: int, lane: int) -> tuple[Tensors, Tensors]:
        """Parameters and buffers of one lane."""
        parameters = {name: each[seed, lane] for name, each in self.parameters.items()}
        return parameters, {name: each[seed, lane] for name, each in self.buffers.items()}


def stack_batches(updates: Sequence[Any]) -> Sequence[Any]:
    """The batches of an update of several seeds, stacked."""
    stacked: Sequence[Any] = tree_map(lambda *each: torch.stack(each), *updates)
    return stacked


def loose_tensors(model: nn.Module) -> bool:
    """Whether modules hold tensors that are neither parameters nor buffers: those can't be stacked."""
    return any(isinstance(each, Tensor) for module in model.modules() for each in vars(module).values())


def _stacked(models: Sequence[Mapping[str, Any]], lanes: int) -> Tensors:
    names = models[0]
    return {
        name: torch.stack([each[name].detach() for each in models])
        .unsqueeze(1)
        .repeat(1, lanes, *[1] * names[name].ndim)
        for name in names
    }

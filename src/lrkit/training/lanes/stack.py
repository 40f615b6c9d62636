"""The tensors of many lanes, stacked: the first dimension is the seed's, the second the lane's."""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from lrkit.training.pure_update import Tensors

__all__ = ["Stack", "held_outside", "stack_batches"]


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

    @classmethod
    def joined(cls, stacks: Sequence["Stack"]) -> "Stack":
        """The lanes of several stacks beside each other."""
        if len(stacks) == 1:
            return stacks[0]
        first = stacks[0]

        def join(parts: Sequence[Tensors]) -> Tensors:
            return {
                name: torch.cat([each[name] for each in parts], 1) if one.ndim else one
                for name, one in parts[0].items()
            }

        states = {name: join([each.states[name] for each in stacks]) for name in first.states}
        return cls(join([each.parameters for each in stacks]), join([each.buffers for each in stacks]), states)

    def split(self, count: int) -> list["Stack"]:
        """The lanes in so many stacks of one size, each with tensors of its own."""
        if count == 1:
            return [self]
        width = self.size[1] // count

        def cut(tensors: Tensors, number: int) -> Tensors:
            columns = slice(number * width, (number + 1) * width)
            return {name: (each[:, columns] if each.ndim else each).clone() for name, each in tensors.items()}

        return [
            Stack(
                cut(self.parameters, number),
                cut(self.buffers, number),
                {name: cut(state, number) for name, state in self.states.items()},
            )
            for number in range(count)
        ]

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


def held_outside(model: nn.Module) -> str | None:
    """A digest of what a model is beside the values of parameters and buffers; None where that can't be told.

    Models with the same digest are the same computation, whatever their seeds.
    """
    named = (*model.named_parameters(), *model.named_buffers())
    tensors = [(name, each.shape, each.dtype, each.requires_grad) for name, each in named]
    held = [(name, type(each), _attributes(each)) for name, each in model.named_modules()]
    try:
        return hashlib.sha256(pickle.dumps((tensors, held))).hexdigest()
    except Exception:  # noqa: BLE001 (whatever can't be pickled: a function that was made inside another, say)
        return None


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: each for name, each in vars(module).items() if name not in ("_parameters", "_buffers", "_modules")}


def _stacked(models: Sequence[Mapping[str, Any]], lanes: int) -> Tensors:
    names = models[0]
    return {
        name: torch.stack([each[name].detach() for each in models])
        .unsqueeze(1)
        .repeat(1, lanes, *[1] * names[name].ndim)
        for name in names
    }

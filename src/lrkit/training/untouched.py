"""What training and measuring must not change: it is refused, or put back."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lrkit.schedules.errors import InputError
from lrkit.training.randomness import seeded

__all__ = ["USES_THE_MODEL", "Bystanders", "modes_kept", "unnoticed", "untouched"]

USES_THE_MODEL = "the loss uses the model itself, not the copy that is trained; forward(model, batch) gets that"


class Bystanders:
    """Parameters that a loss leads to and that aren't trained, such as those of a critic, and their gradients before.

    They are left out of no backward pass, since torch's reentrant checkpoints allow none that is of some inputs only.
    """

    def __init__(self) -> None:
        self._before: dict[int, tuple[Tensor, Tensor | None, Tensor | None]] = {}

    def look(self, loss: Tensor, trained: Collection[int]) -> None:
        """Remember the gradients of those that the loss leads to, and that were never seen before."""
        for each in _leaves(loss):
            if id(each) not in trained and id(each) not in self._before:
                self._before[id(each)] = each, each.grad, None if each.grad is None else each.grad.clone()

    def put_back(self) -> None:
        """Give them the gradients that they had."""
        for each, gradient, value in self._before.values():
            if gradient is not None and value is not None:
                gradient.copy_(value)
            each.grad = gradient
        self._before.clear()


@contextmanager
def untouched(model: nn.Module, bystanders: Bystanders) -> Iterator[None]:
    """Leave the model as it is: gradients of its own parameters are refused, before they get there.

    Afterwards buffers have the values that they had, and bystanders the gradients.

    Raises:
        InputError: when a loss leads to the model's own parameters.
    """

    def refuse(gradient: Tensor) -> None:
        raise InputError(USES_THE_MODEL)

    parameters = [each for each in model.parameters() if each.requires_grad]
    before = [each._backward_hooks for each in parameters]
    handles = []
    with _buffers_kept(model):
        try:
            handles += [each.register_hook(refuse) for each in parameters]
            yield
        finally:
            for handle in handles:
                handle.remove()
            for each, hooks in zip(parameters, before, strict=True):
                each._backward_hooks = hooks
            bystanders.put_back()


@contextmanager
def unnoticed(model: nn.Module, place: torch.device) -> Iterator[None]:
    """Measure something that a run must not notice: random state, buffers and modes are put back.

    Inside, random state is the same each time, whatever was drawn before.
    """
    with seeded(0, place), modes_kept(model), _buffers_kept(model):
        yield


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put each module back into training or evaluation, as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    buffers = [_Buffer(module, name) for module in model.modules() for name in module._buffers]
    try:
        yield
    finally:
        for buffer in buffers:
            buffer.put_back()


class _Buffer:
    """A buffer of a module as it is now."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self._module, self._name, self._tensor = module, name, module._buffers[name]
        self._value = None if self._tensor is None else self._tensor.detach().clone()

    def put_back(self) -> None:
        """Give the module the same tensor with the same values; one that didn't change isn't written to."""
        self._module._buffers[self._name] = self._tensor
        if self._tensor is None or self._value is None:
            return
        # compared, since torch's count of changes leaves out those that a batch norm makes
        if self._tensor.layout is not torch.strided or not torch.equal(self._tensor, self._value):
            with torch.no_grad():
                self._tensor.copy_(self._value)


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """What gradients of the loss come to."""
    waiting: list[Any] = [loss.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            yield node.variable
        waiting += [each for each, _ in node.next_functions]

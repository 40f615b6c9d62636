"""Copies of a model and its optimizers, as they are under way in somebody's own loop."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from lrkit.schedules.errors import InputError
from lrkit.training.blame import first_line
from lrkit.training.hyper import place, read, write
from lrkit.training.optimizer_step import blaming_step

__all__ = ["Copies"]


class Copies:
    """Makes copies of a model and its optimizers, as they are when it is asked.

    Attributes:
        trained: the identities of the last copy's parameters.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._hooks = [tuple((each._backward_hooks or {}).values()) for each in model.parameters()]
        self.trained: frozenset[int] = frozenset()

    def model(self) -> nn.Module:
        """With hooks, without gradients; in training each module is as it is now, unless the whole is in evaluation."""
        try:
            copied = copy.deepcopy(self._model, _results(self._model))
        except Exception as error:
            raise InputError(f"the model can't be copied: {first_line(error)}") from error
        for each, hooks in zip(copied.parameters(), self._hooks, strict=True):
            each.grad = None
            for hook in hooks if each.requires_grad else ():  # torch doesn't copy those
                each.register_hook(hook)
        self.trained = frozenset(map(id, copied.parameters()))
        still = [name for name, module in copied.named_modules() if not module.training]
        if self._model.training and still:
            copied.__dict__["train"] = MethodType(_Train(still), copied)
        return copied

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Of the same class, with the same groups and state, of a copy's parameters."""
        memo: dict[int, Any] = {id(own): other for own, other in zip(self._model.parameters(), parameters, strict=True)}
        try:
            copied = [_copied_optimizer(each, memo) for each in self._optimizers]
        except Exception as error:
            raise InputError(f"the optimizer can't be copied: {first_line(error)}") from error
        _settle_rates([group for each in copied for group in each.param_groups])
        return copied[0] if len(copied) == 1 else _Several(copied)


@dataclass(frozen=True)
class _Train:
    """`Module.train` that leaves some modules in evaluation, such as frozen batch norms."""

    still: Sequence[str]

    def __call__(self, model: nn.Module, mode: bool = True) -> nn.Module:
        type(model).train(model, mode)
        for name in self.still:
            model.get_submodule(name).training = False
        return model


class _Several(Optimizer):
    """Several optimizers that make their updates together: its param groups are theirs."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        super().__init__([{"params": list(group["params"])} for each in optimizers for group in each.param_groups], {})
        self.param_groups = [group for each in optimizers for group in each.param_groups]
        self._optimizers = optimizers

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # an update without a closure gives nothing
        """One update of each."""
        for each in self._optimizers:
            with blaming_step(each):
                each.step()


def _copied_optimizer(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """Without its hooks, and without what others have put in the place of its methods."""
    copied = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():  # torch copies its own attributes only
        shadows = callable(value) and hasattr(type(optimizer), name)
        if name not in vars(copied) and not shadows:
            setattr(copied, name, copy.deepcopy(value, memo))
    return copied


def _settle_rates(groups: Sequence[dict[str, Any]]) -> None:
    """Rates as they are now, or as they began where one is 0 now; without the notes of schedulers."""
    now = [read(group, "lr") for group in groups]
    initial = [float(group.get("initial_lr", rate)) for group, rate in zip(groups, now, strict=True)]
    for group, rate in zip(groups, now if all(now) else initial, strict=True):
        write(group, place(group, "lr"), rate)
        for name in [name for name in group if name.startswith("initial_") or name == "lrkit"]:
            del group[name]


def _results(model: nn.Module) -> dict[int, Any]:
    """For a copy: the values of tensors that were computed, and that modules keep, which torch doesn't copy.

    Such as the weight that an old `weight_norm` or `prune` computes, or an output that a module remembers.
    """
    kept = (each for module in model.modules() for each in tree_leaves(vars(module)) if isinstance(each, Tensor))
    return {id(each): each.detach().clone() for each in kept if each.grad_fn is not None}

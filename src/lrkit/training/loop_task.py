"""A task of what somebody's own loop has: it trains copies, and leaves what it copies alone."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.blame import describe, first_line
from lrkit.training.loop_copies import Copies
from lrkit.training.optimizer_step import require_plain_step
from lrkit.training.passes import Passes
from lrkit.training.task import Task
from lrkit.training.untouched import USES_THE_MODEL, Bystanders

__all__ = ["OwnForward", "loop_task"]

OwnForward: TypeAlias = Callable[[nn.Module, Any], Tensor | tuple[Tensor, int, Mapping[str, Tensor | float]]]


def loop_task(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    loader: Iterable[Any],
    loss: Callable[[Any, Any], Tensor] | None,
    *,
    forward: OwnForward | None,
    valid: Iterable[Any] | None,
    accumulate: int,
    clip_norm: float | None,
    precision: Literal["float32", "bfloat16", "float16"],
    steps: int,
    bystanders: Bystanders,
) -> Task:
    """The task; each of its runs begins with copies of model, optimizer and loaders as they are then.

    Its optimizer begins with a state, which lanes that are batched wouldn't have: train it with `run`. Bystanders are
    told each loss before its gradients are computed.

    Raises:
        InputError, InputTypeError: for what can't be copied, and for what isn't a model, an optimizer, a loader.
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError(f"model must be a torch.nn.Module, not {shown(model)}; lrkit.find_task takes a task")
    original: nn.Module = getattr(model, "_orig_mod", model)  # of a compiled one: same parameters
    _check_model(original)
    optimizers = _checked(original, optimizer)
    if (loss is None) == (forward is None):
        raise InputError(f"give either loss or forward, not {'neither' if loss is None else 'both'}")
    for name, function in (("loss", loss), ("forward", forward)):
        if isinstance(function, type):
            raise InputTypeError(f"{name} must be a function, not the class {function.__name__}; make one of it first")
        if function is not None and not callable(function):
            raise InputTypeError(f"{name} must be a function, not {shown(function)}")
    copies = Copies(original, optimizers)
    passes = [Passes(data, name) for name, data in (("loader", loader), ("valid", valid)) if data is not None]
    watch = _Watch(copies, bystanders)
    return Task(
        model=_Start(copies, passes),
        optimizer=copies.optimizer,
        loss=None if loss is None else _Loss(_frozen(loss, original) if isinstance(loss, nn.Module) else loss, watch),
        forward=None if forward is None else _Forward(forward, watch),
        train=passes[0],
        valid=None if valid is None else passes[1],
        batch_size=1,
        valid_batch_size=1,
        collate=_the_only_one,
        accumulate=accumulate,
        clip_norm=clip_norm,
        precision=precision,
        steps=steps,
        name=type(original).__name__,
    )


@dataclass(frozen=True)
class _Forward:
    """A task's forward from one that may give the loss alone: then batches count alike."""

    function: OwnForward
    watch: "_Watch"

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        found: object = self.function(model, batch)
        made = (found, 1, {}) if isinstance(found, Tensor) else found
        if not isinstance(made, tuple) or len(made) != 3 or not isinstance(made[2], Mapping):
            raise InputTypeError(
                f"forward must return the mean loss alone, or (mean loss, samples, metrics), not {describe(found)}"
            )
        self.watch(made[0])
        return made


@dataclass(frozen=True)
class _Loss:
    """A loss that is watched."""

    function: Callable[[Any, Any], Tensor]
    watch: "_Watch"

    def __call__(self, output: Any, target: Any) -> Tensor:
        found = self.function(output, target)
        self.watch(found)
        return found


@dataclass(frozen=True)
class _Watch:
    """Tells the bystanders of each loss what is being trained."""

    copies: Copies
    bystanders: Bystanders

    def __call__(self, loss: object) -> None:
        if isinstance(loss, Tensor):
            self.bystanders.look(loss, self.copies.trained)


@dataclass(frozen=True)
class _Start:
    """The factory that each run begins with: a copy of the model, and loaders as they are now."""

    copies: Copies
    passes: Sequence[Passes]

    def __call__(self) -> nn.Module:
        for each in self.passes:
            each.begin()
        return self.copies.model()


def _check_model(model: nn.Module) -> None:
    """See that it can be copied and trained as it is."""
    if any(isinstance(each, torch.jit.ScriptModule) for each in model.modules()):
        raise InputTypeError("model must not be scripted or traced, which can't be copied; give what it is made of")
    tensors = list(chain(model.parameters(), model.buffers()))
    if any(nn.parameter.is_lazy(each) for each in tensors):
        raise InputError("the model has lazy modules that haven't seen a batch yet; pass one through it first")
    devices = sorted({str(each.device) for each in tensors})
    if len(devices) > 1:
        raise InputError(f"the model must be on one device, not on {' and '.join(devices)}")


def _checked(model: nn.Module, given: Optimizer | Sequence[Optimizer]) -> Sequence[Optimizer]:
    """The optimizers, which have only parameters of the model, each once."""
    optimizers = [given] if isinstance(given, Optimizer) else given
    if (
        not isinstance(optimizers, list | tuple)
        or not optimizers
        or not all(isinstance(o, Optimizer) for o in optimizers)
    ):
        raise InputTypeError(f"optimizer must be a torch optimizer or a list of them, not {shown(given)}")
    for each in optimizers:
        require_plain_step(each)
    own = {id(each) for each in model.parameters()}
    if not any(each.requires_grad for each in model.parameters()):
        raise InputError("the model has no trainable parameter")
    held = [id(each) for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]
    if set(held) - own:
        raise InputError("the optimizer has a parameter that isn't the model's; put what is trained into one module")
    if len(held) > len(set(held)):
        raise InputError("the optimizers share a parameter, and each must have its own")
    if any(each._post_accumulate_grad_hooks for each in model.parameters()):
        raise InputError("the model's parameters have hooks that act on gradients in place, which can't be copied")
    return optimizers


def _frozen(loss: nn.Module, model: nn.Module) -> nn.Module:
    """A copy, so that its buffers and gradients stay as they are."""
    memo: dict[int, Any] = {}
    try:
        copied = copy.deepcopy(loss, memo)
    except Exception as error:
        raise InputError(f"the loss can't be copied: {first_line(error)}") from error
    if any(id(each) in memo for each in model.parameters()):  # those would be copied, and stay as they are
        raise InputError(USES_THE_MODEL)
    return copied.requires_grad_(False)


def _the_only_one(batches: list[Any]) -> Any:
    return batches[0]

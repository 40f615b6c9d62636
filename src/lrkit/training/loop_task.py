"""A task of what somebody's own loop has: it trains copies, and leaves what it copies alone."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.hyper import place, read, write
from lrkit.training.passes import Passes
from lrkit.training.task import Task

__all__ = ["OwnForward", "loop_task", "untouched"]

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
) -> Task:
    """The task; each of its runs begins with copies of the model and the optimizer as they are then.

    Its optimizer begins with a state, which lanes that are batched wouldn't have: train it with `run`.

    Raises:
        InputError, InputTypeError: for what can't be copied, and for what isn't a model, an optimizer, a loader.
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError(f"model must be a torch.nn.Module, not {shown(model)}; lrkit.find_task takes a task")
    original: nn.Module = getattr(model, "_orig_mod", model)  # of a compiled one: same parameters
    optimizers = _checked(original, optimizer)
    if (loss is None) == (forward is None):
        raise InputError(f"give either loss or forward, not {'neither' if loss is None else 'both'}")
    for name, function in (("loss", loss), ("forward", forward)):
        if function is not None and not callable(function):
            raise InputTypeError(f"{name} must be a function, not {shown(function)}")
    copies = _Copies(original, optimizers)
    return Task(
        model=copies.model,
        optimizer=copies.optimizer,
        loss=_frozen(loss) if isinstance(loss, nn.Module) else loss,
        forward=None if forward is None else _Forward(forward),
        train=Passes(loader, "loader"),
        valid=None if valid is None else Passes(valid, "valid"),
        batch_size=1,
        valid_batch_size=1,
        collate=_the_only_one,
        accumulate=accumulate,
        clip_norm=clip_norm,
        precision=precision,
        steps=steps,
        name=type(original).__name__,
    )


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Refuse gradients of the model's own parameters inside the block, before they get there.

    Raises:
        InputError: when a loss leads to them.
    """

    def refuse(gradient: Tensor) -> None:
        raise InputError(
            "the loss uses the model itself, not the copy that is trained; forward(model, batch) gets that"
        )

    parameters = [each for each in model.parameters() if each.requires_grad]
    before = [each._backward_hooks for each in parameters]
    handles = []
    try:
        handles += [each.register_hook(refuse) for each in parameters]
        yield
    finally:
        for handle in handles:
            handle.remove()
        for each, hooks in zip(parameters, before, strict=True):
            each._backward_hooks = hooks


class _Copies:
    """Makes copies of a model and its optimizers, as they are when it is asked."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._hooks = [tuple((each._backward_hooks or {}).values()) for each in model.parameters()]

    def model(self) -> nn.Module:
        """With hooks, without gradients; in training each module is as it is now, unless the whole is in evaluation."""
        try:
            copied = copy.deepcopy(self._model)
        except Exception as error:
            raise InputError(f"the model can't be copied: {_first_line(error)}") from error
        for each, hooks in zip(copied.parameters(), self._hooks, strict=True):
            each.grad = None
            for hook in hooks if each.requires_grad else ():  # torch doesn't copy those
                each.register_hook(hook)
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
            raise InputError(f"the optimizer can't be copied: {_first_line(error)}") from error
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
            each.step()


@dataclass(frozen=True)
class _Forward:
    """A task's forward from one that may give the loss alone: then batches count alike."""

    function: OwnForward

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        found = self.function(model, batch)
        return (found, 1, {}) if isinstance(found, Tensor) else found


def _copied_optimizer(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """Without its hooks, and without what others have put in the place of its methods."""
    copied = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():  # torch copies its own attributes only
        if name not in vars(copied) and not callable(value):
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


def _checked(model: nn.Module, given: Optimizer | Sequence[Optimizer]) -> Sequence[Optimizer]:
    """The optimizers, which have only parameters of the model, each once."""
    optimizers = [given] if isinstance(given, Optimizer) else given
    if (
        not isinstance(optimizers, list | tuple)
        or not optimizers
        or not all(isinstance(o, Optimizer) for o in optimizers)
    ):
        raise InputTypeError(f"optimizer must be a torch optimizer or a list of them, not {shown(given)}")
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


def _frozen(loss: nn.Module) -> nn.Module:
    """A copy, so that its buffers and gradients stay as they are."""
    return copy.deepcopy(loss).requires_grad_(False)


def _the_only_one(batches: list[Any]) -> Any:
    return batches[0]


def _first_line(error: Exception) -> str:
    return " ".join((str(error).splitlines() or [type(error).__name__])[0].split()).rstrip(".")

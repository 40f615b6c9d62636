"""A whole update as one compiled graph: forward, backward, clipping, and the optimizer's rule."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.rules import hyper_of, rule_of
from lrkit.training.task import Task

__all__ = ["CompiledUpdate"]

_Tensors = dict[str, Tensor]


class CompiledUpdate:
    """Does what an update does, for batches shaped like those of the update that it has learnt from.

    That one is eager: it says which parameters get gradients, and makes the optimizer's state. Batches of another shape
    stay eager too. The numbers of a param group enter as tensors, so a new rate compiles nothing anew.

    Attributes:
        count: updates made so far.

    Raises:
        InputError: for an optimizer that there is no rule for, a gradient scaler, and a task that torch can't compile.
    """

    def __init__(self, task: Task, model: nn.Module, optimizer: Optimizer) -> None:
        if task.precision == "float16":
            raise InputError("a compiled update has no gradient scaler: use bfloat16, or train without compile")
        self.count = 0
        self._task = task
        self._model = model
        self._optimizer = optimizer
        self._rule = rule_of(optimizer)
        self._learnt: str | None = None  # what `_key` was
        self._used: list[str] = []  # parameters that get gradients
        self._samples: list[int] = []  # of each batch
        self._numbers: list[dict[str, Tensor]] = []  # of each param group, as the graph reads them
        self._graph: Any = None

    def learn(self, batches: Sequence[Any], samples: Sequence[int]) -> None:
        """Note what an eager update was like, and the samples of each batch, while its gradients are still there."""
        if self._learnt is None:
            self._learnt = self._key(batches)
            self._used = [name for name, each in self._model.named_parameters() if each.grad is not None]
            self._samples = list(samples)

    def fits(self, batches: Sequence[Any]) -> bool:
        """Whether the update is like the one that was learnt from."""
        return self._learnt is not None and self._key(batches) == self._learnt

    def __call__(self, batches: Sequence[Any]) -> tuple[Tensor, int]:
        """Make the update, between the optimizer's hooks; returns the mean loss and the number of samples.

        The scheduler's clock is one of the hooks. `Optimizer.profile_hook_step` would run them too, for a tenth of a
        small model's update.
        """
        for hook in (*_global_optimizer_pre_hooks.values(), *self._optimizer._optimizer_step_pre_hooks.values()):
            hook(self._optimizer, (), {})
        loss = self._run(batches)
        for hook in (*self._optimizer._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()):
            hook(self._optimizer, (), {})
        self.count += 1
        return loss, sum(self._samples)

    def state(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {"learnt": self._learnt, "used": self._used, "samples": self._samples, "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as before."""
        self._learnt, self._used = state["learnt"], list(state["used"])
        self._samples, self.count = list(state["samples"]), state["count"]

    def _key(self, batches: Sequence[Any]) -> str:
        """The shapes of the batches, and which hyper-parameters are off: torch keeps no state for those."""
        off = (
            f"{index}.{name}"
            for index, group in enumerate(self._optimizer.param_groups)
            for name, value in _numbers_of(group)
            if value == 0 and name != "lr"
        )
        return ";".join([*map(_shape, batches), *off])

    def _run(self, batches: Sequence[Any]) -> Tensor:
        if self._graph is None:
            self._prepare()
        for group, numbers in zip(self._optimizer.param_groups, self._numbers, strict=True):
            for name, value in _numbers_of(group):
                if name in numbers:
                    numbers[name].fill_(value)
        try:
            with torch.no_grad():
                loss: Tensor = self._graph(self._numbers, list(batches))
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.CppCompileError) as error:
            refusal = InputError(f"the task can't be compiled ({_reason(error)}); train it without compile")
            blame(refusal, "the compiled update")
            raise refusal from error
        except RuntimeError as error:
            with torch.no_grad():
                for batch in batches:  # what is wrong with a batch, a label out of range say, is said with its place
                    self._task.measure(self._model, batch, with_metrics=False)
            blame(error, "the compiled update", batches=list(batches))
            raise
        return loss

    def _prepare(self) -> None:
        self._numbers = [
            {
                name: torch.tensor(value, dtype=torch.float64)
                for name, value in _numbers_of(group)
                if value or name == "lr"
            }
            for group in self._optimizer.param_groups
        ]
        self._graph = torch.compile(
            self._update_function(),
            fullgraph=True,
            dynamic=False,
            options={"guard_filter_fn": _watched, "cpp_wrapper": True},
        )

    def _update_function(self) -> Any:
        """The update as a function of numbers and batches; it changes parameters, buffers and state in place."""
        optimizer, rule = self._optimizer, self._rule
        measured = _Measured(self._model, self._task)
        used: _Tensors = {f"model.{name}": each for name, each in self._model.named_parameters() if name in self._used}
        buffers = {f"model.{name}": each for name, each in self._model.named_buffers()}
        group_of = {id(each): index for index, group in enumerate(optimizer.param_groups) for each in group["params"]}
        trained = {name: group_of[id(each)] for name, each in used.items() if id(each) in group_of}
        states = {name: _tensors(optimizer.state[used[name]]) for name in trained}
        settings = [hyper_of(group) for group in optimizer.param_groups]
        clip_norm, samples = self._task.clip_norm, self._samples

        def loss_of(parameters: _Tensors, held: _Tensors, batch: Any) -> tuple[Tensor, _Tensors]:
            loss: Tensor = torch.func.functional_call(measured, (parameters, held), (batch,))
            return loss, held

        differentiate = torch.func.grad_and_value(loss_of, has_aux=True)

        def gradients_of(batches: list[Any]) -> Iterator[tuple[_Tensors, Tensor]]:
            for batch in batches:
                gradients, (loss, after) = differentiate(used, buffers, batch)
                for name, buffer in buffers.items():
                    buffer.copy_(after[name])
                yield gradients, loss

        def update(numbers: list[dict[str, Tensor]], batches: list[Any]) -> Tensor:
            gradients, loss = _mean(list(gradients_of(batches)), samples)
            if clip_norm is not None:
                gradients = _clipped(gradients, clip_norm)
            for name, index in trained.items():
                parameter, state = used[name], states[name]
                new, changed = rule.update(parameter, gradients[name], state, {**settings[index], **numbers[index]})
                parameter.copy_(new)
                for key, each in changed.items():
                    state[key].copy_(each)
            return loss

        # torch keeps graphs with a function's code: a copy, so that no other run's graph is taken for this one's.
        return FunctionType(update.__code__.replace(), update.__globals__, "update", None, update.__closure__)


class _Measured(nn.Module):
    """A task's mean loss as a module, so that its parameters can be given from outside."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.device = next(model.parameters()).device.type

    def forward(self, batch: Any) -> Tensor:
        if self.task.precision == "float32":
            return self.task.measure(self.model, batch, with_metrics=False)[0]
        with torch.autocast(self.device, dtype=getattr(torch, self.task.precision)):
            return self.task.measure(self.model, batch, with_metrics=False)[0]


def _numbers_of(group: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The hyper-parameters that are numbers and may change."""
    for name, value in hyper_of(group).items():
        if type(value) is float or isinstance(value, Tensor):
            yield name, float(value)


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: each for name, each in state.items() if isinstance(each, Tensor)}


def _mean(results: Sequence[tuple[_Tensors, Tensor]], samples: Sequence[int]) -> tuple[_Tensors, Tensor]:
    """Gradients and loss of all samples together."""
    if len(results) == 1:
        return results[0]
    whole = sum(samples)
    loss = torch.stack([loss * n for (_, loss), n in zip(results, samples, strict=True)]).sum() / whole
    gradients = {
        name: torch.stack([each[name] * n for (each, _), n in zip(results, samples, strict=True)]).sum(dim=0) / whole
        for name in results[0][0]
    }
    return gradients, loss


def _clipped(gradients: _Tensors, norm: float) -> _Tensors:
    """As `torch.nn.utils.clip_grad_norm_` does it."""
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    factor = (norm / (whole + 1e-6)).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}


def _shape(value: Any) -> str:
    """The types and shapes of all tensors in a batch, and its other values."""
    if isinstance(value, Tensor):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{_shape(each)}' for name, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({','.join(map(_shape, value))})"
    return _shape(vars(value)) if hasattr(value, "__dict__") else repr(value)


def _watched(guards: Sequence[Any]) -> list[bool]:
    """Which of the graph's assumptions are checked before each update: the values of the task's own variables.

    Shapes were checked already; parameters, and torch's own workings, stay what they are. Checking all of them takes
    about as long as a small model's forward pass.
    """
    return [
        guard.guard_type in ("CONSTANT_MATCH", "EQUALS_MATCH")
        and "torch" not in guard.name
        and "__mro__" not in guard.name
        for guard in guards
    ]


def _reason(error: Exception) -> str:
    """Torch's explanation in short: its first sentence, and the place in the code that was being traced."""
    inner = getattr(error, "inner_exception", error)  # a backend's
    text = str(error) if inner is error else f"{type(inner).__name__}: {inner}"
    places = re.findall(r'File "(.+)", line (\d+), in', text)
    at = f", at {places[-1][0]}:{places[-1][1]}" if places else ""
    return f"{text.strip().splitlines()[0].rstrip('.:')}{at}"

"""A whole update as one compiled graph: forward, backward, clipping, and the optimizer's rule."""

import re
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.pure_update import Learned, PureUpdate, Tensors, numbers_of, state_of
from lrkit.training.task import Task

__all__ = ["CompiledUpdate"]


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
        self._pure = PureUpdate(task, model, optimizer)
        self._learned: Learned | None = None
        self._learned_key = ""
        self._numbers: list[dict[str, Tensor]] = []  # of each param group, as the graph reads them
        self._graph: Any = None

    def learn(self, batches: Sequence[Any], samples: Sequence[int]) -> None:
        """Note what an eager update was like, and the samples of each batch, while its gradients are still there."""
        if self._learned is None:
            used = tuple(name for name, each in self._model.named_parameters() if each.grad is not None)
            self._learned, self._learned_key = Learned(used, tuple(samples)), self._key(batches)

    def fits(self, batches: Sequence[Any]) -> bool:
        """Whether the update is like the one that was learnt from."""
        return self._learned is not None and self._key(batches) == self._learned_key

    def __call__(self, batches: Sequence[Any]) -> tuple[Tensor, int]:
        """Make the update, between the optimizer's hooks; returns the mean loss and the number of samples.

        The scheduler's clock is one of the hooks. `Optimizer.profile_hook_step` would run them too, for a tenth of a
        small model's update.
        """
        assert self._learned is not None
        for hook in (*_global_optimizer_pre_hooks.values(), *self._optimizer._optimizer_step_pre_hooks.values()):
            hook(self._optimizer, (), {})
        loss = self._run(batches)
        for hook in (*self._optimizer._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()):
            hook(self._optimizer, (), {})
        self.count += 1
        return loss, sum(self._learned.samples)

    def state(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        learned = None if self._learned is None else {name: list(each) for name, each in vars(self._learned).items()}
        return {"learned": learned, "key": self._learned_key, "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as before."""
        if state["learned"] is not None:
            self._learned = Learned(**{name: tuple(each) for name, each in state["learned"].items()})
        self._learned_key, self.count = state["key"], state["count"]

    def _key(self, batches: Sequence[Any]) -> str:
        """The shapes of the batches, and which hyper-parameters are off: torch keeps no state for those."""
        off = (
            f"{index}.{name}"
            for index, group in enumerate(self._optimizer.param_groups)
            for name, value in numbers_of(group)
            if value == 0 and name != "lr"
        )
        return ";".join([*map(_shape, batches), *off])

    def _run(self, batches: Sequence[Any]) -> Tensor:
        if self._graph is None:
            self._prepare()
        for group, numbers in zip(self._optimizer.param_groups, self._numbers, strict=True):
            for name, value in numbers_of(group):
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
                for name, value in numbers_of(group)
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
        assert self._learned is not None
        pure = self._pure.for_batches(self._learned)
        parameters: Tensors = dict(self._model.named_parameters())
        buffers = dict(self._model.named_buffers())
        states = {name: state_of(self._optimizer, parameters[name]) for name in self._learned.used}

        def update(numbers: list[dict[str, Tensor]], batches: list[Any]) -> Tensor:
            new_parameters, new_buffers, new_states, loss = pure(parameters, buffers, states, numbers, batches)
            _copy_into(parameters, new_parameters)
            _copy_into(buffers, new_buffers)
            for name, state in states.items():
                _copy_into(state, new_states[name])
            return loss

        # torch keeps graphs with a function's code: a copy, so that no other run's graph is taken for this one's.
        return FunctionType(update.__code__.replace(), update.__globals__, "update", None, update.__closure__)


def _copy_into(tensors: Tensors, new: Tensors) -> None:
    for name, each in tensors.items():
        if new[name] is not each:
            each.copy_(new[name])


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

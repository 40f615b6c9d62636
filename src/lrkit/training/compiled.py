"""A whole update as one compiled graph: forward, backward, clipping, and the optimizer's rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame, blaming
from lrkit.training.graph import compile_graph, reason_of, refusing, shape_of
from lrkit.training.pure_update import PureUpdate, Tensors, apart, numbers_of, state_of
from lrkit.training.randomness import random_state, set_random_state
from lrkit.training.rules import hyper_of
from lrkit.training.task import Task

__all__ = ["CompiledUpdate", "copy_into"]


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
        self._parameters = list(model.parameters())
        self._used: list[str] | None = None  # the parameters that get gradients
        self._key = ""  # of the update that was learnt from
        self._numbers: list[dict[str, Tensor]] = []  # of each param group, as the graph reads them
        self._held: list[dict[str, float]] = []  # the same, as they were written
        self._graph: Any = None

    @contextmanager
    def learning(self, batches: Sequence[Any], place: torch.device) -> Iterator[None]:
        """Learn from the eager gradients that are computed inside, and see that the compiled update would give them.

        Raises:
            InputError: where it wouldn't: what a hook does, or a loss that holds parameters itself, isn't in the graph.
        """
        if self._used is not None:
            yield
            return
        before = random_state(place)
        buffers = {name: each.clone() for name, each in self._model.named_buffers()}
        yield
        after = random_state(place)
        eager = {name: each.grad for name, each in self._model.named_parameters() if each.grad is not None}
        set_random_state(before, place)
        with blaming("the compiled update"):
            self._compare(eager, self._pure_gradients(list(eager), buffers, batches))
        set_random_state(after, place)
        self._used, self._key = list(eager), self._key_of(batches)

    def _compare(self, eager: Mapping[str, Tensor], pure: Tensors) -> None:
        """Refuse a task whose gradients aren't what the pure update gives; rounding doesn't count."""
        if apart(pure, eager) > 0.01:
            raise InputError(
                "the compiled update would have other gradients than the task: a hook changes them, or the loss uses "
                "parameters that don't come through the model; train it without compile"
            )

    def _pure_gradients(self, used: list[str], buffers: Tensors, batches: Sequence[Any]) -> Tensors:
        try:
            with torch.no_grad():
                gradients, *_ = self._pure.gradients(used, dict(self._model.named_parameters()), buffers, batches)
        except RuntimeError as error:  # what torch.func can't differentiate
            raise InputError(f"the task can't be compiled ({reason_of(error)}); train it without compile") from error
        return gradients

    def fits(self, batches: Sequence[Any]) -> bool:
        """Whether the update is like the one that was learnt from."""
        return self._used is not None and self._key_of(batches) == self._key

    def __call__(self, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Make the update, between the optimizer's hooks; returns the mean loss and the number of samples.

        The scheduler's clock is one of the hooks. `Optimizer.profile_hook_step` would run them too, for a tenth of a
        small model's update.
        """
        for hook in (*_global_optimizer_pre_hooks.values(), *self._optimizer._optimizer_step_pre_hooks.values()):
            hook(self._optimizer, (), {})
        loss, samples = self._run(batches)
        for hook in (*self._optimizer._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()):
            hook(self._optimizer, (), {})
        self.count += 1
        return loss, samples

    def state(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {"used": self._used, "key": self._key, "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as before."""
        self._used, self._key, self.count = state["used"], state["key"], state["count"]

    def _key_of(self, batches: Sequence[Any]) -> str:
        """What a graph is made for: shapes, what is trained, and where momentum is off, since torch keeps none then."""
        trained = "".join("01"[each.requires_grad] for each in self._parameters)
        off = "".join("01"[bool(group.get("momentum", 0))] for group in self._optimizer.param_groups)
        return f"{shape_of(batches)}{trained} {off}"

    def _run(self, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        if self._graph is None:
            self._prepare()
        for group, numbers, held in zip(self._optimizer.param_groups, self._numbers, self._held, strict=True):
            for name, value in numbers_of(group):
                if name in held and value != held[name]:
                    numbers[name].fill_(value)
                    held[name] = value
        try:
            with torch.no_grad(), refusing("train it without compile"):
                result: tuple[Tensor, Tensor] = self._graph(self._numbers, list(batches))
        except RuntimeError as error:
            with torch.no_grad():
                for batch in batches:  # what is wrong with a batch, a label out of range say, is said with its place
                    self._task.measure(self._model, batch, with_metrics=False)
            blame(error, "the compiled update", batches=list(batches))
            raise
        return result

    def _prepare(self) -> None:
        self._held = [
            {name: value for name, value in numbers_of(group) if value != 0 or name != "momentum"}
            for group in self._optimizer.param_groups
        ]
        self._numbers = [
            {name: torch.tensor(value, dtype=torch.float64) for name, value in held.items()} for held in self._held
        ]
        self._graph = compile_graph(self._update_function())

    def _update_function(self) -> Callable[..., Any]:
        """The update as a function of numbers and batches; it changes parameters, buffers and state in place."""
        assert self._used is not None
        pure, used = self._pure, self._used
        parameters: Tensors = dict(self._model.named_parameters())
        buffers = dict(self._model.named_buffers())
        states = {name: state_of(self._optimizer, parameters[name]) for name in used}
        settings = [hyper_of(group) for group in self._optimizer.param_groups]

        def update(numbers: list[dict[str, Tensor]], batches: list[Any]) -> tuple[Tensor, Tensor]:
            hypers = [{**fixed, **moving} for fixed, moving in zip(settings, numbers, strict=True)]
            updated = pure(batches, used=used, parameters=parameters, buffers=buffers, states=states, hypers=hypers)
            copy_into(parameters, updated.parameters)
            copy_into(buffers, updated.buffers)
            for name, state in states.items():
                copy_into(state, updated.states[name])
            return updated.loss, updated.samples

        return update


def copy_into(tensors: Tensors, new: Tensors) -> None:
    """Change tensors, by name, to new values."""
    for name, each in tensors.items():
        if new[name] is not each:
            each.copy_(new[name])

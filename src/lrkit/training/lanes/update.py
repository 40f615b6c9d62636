"""One update of many lanes: gradients by `torch.func.vmap`, then the optimizer's rule on whole stacks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only

from lrkit.schedules.errors import InputError
from lrkit.training.compiled import copy_into
from lrkit.training.graph import compile_graph, refusing, shape_of
from lrkit.training.lanes.rates import Numbers
from lrkit.training.lanes.stack import Stack
from lrkit.training.pure_update import PureUpdate, Tensors

__all__ = ["BatchedUpdate", "UnbatchableError", "naming"]


class UnbatchableError(InputError):
    """Lanes of this task can't be trained as one batched computation."""


class BatchedUpdate:
    """`PureUpdate` for a whole stack.

    Random numbers are drawn once for all lanes, as each of them would draw them alone: lanes of one seed share them.

    Args:
        pure: the update of one lane.
        used: the parameters that get gradients.
        fixed: of each param group, the hyper-parameters that are the same for all lanes.
        graphs: where compiled updates are kept, so that other groups of the same task find them.
        compiled: make one graph of it, for batches like those of the first compiled update; others stay eager.

    Attributes:
        compile_seconds: how long it took to compile, in all.
        key: what the batches of a seed look like that are compiled for.
    """

    def __init__(
        self,
        pure: PureUpdate,
        used: Sequence[str],
        fixed: Sequence[Mapping[str, Any]],
        *,
        graphs: dict[Any, Any] | None = None,
        compiled: bool,
    ) -> None:
        self.compile_seconds = 0.0
        self.key: str | None = None
        self._pure = pure
        self._used = used
        self._fixed = fixed
        self._compiled = compiled
        self._graphs = {} if graphs is None else graphs
        self._graph: Any = None
        self._shapes: dict[int, str] = {}
        self._size: tuple[int, int] | None = None  # of the stacks that the graph is for

    def __call__(self, stack: Stack, numbers: Numbers, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Make the update; returns the mean loss and the number of samples, of shape (seeds, lanes).

        Batches have a first dimension of seeds where there are several.
        """
        if self._compiled and stack.states and self._fits(batches, stack.size[0]):
            return self._run_graph(stack, numbers, batches)
        with torch.no_grad():
            parameters, buffers, states, loss, samples = self._updated(stack, numbers, batches)
        stack.parameters, stack.buffers, stack.states = parameters, buffers, states
        return loss, samples

    def state(self) -> dict[str, Any]:
        """What an update that goes on must know."""
        return {"used": list(self._used), "key": self.key}

    def gradients(self, stack: Stack, batches: Sequence[Any]) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        """Gradients, buffers afterwards, loss and number of samples of all lanes."""
        # The fused attention of a CPU has no rule for lanes: torch would go through them one by one.
        with sdpa_kernel(SDPBackend.MATH):
            return self._gradients(stack, batches)

    def _gradients(self, stack: Stack, batches: Sequence[Any]) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        lanes = torch.vmap(self._lane, in_dims=(0, 0, None), randomness="same")
        if stack.size[0] > 1:
            found: tuple[Tensors, Tensors, Tensor, Tensor]
            found = torch.vmap(lanes, randomness="same")(stack.parameters, stack.buffers, batches)
            return found
        parameters = {name: each[0] for name, each in stack.parameters.items()}
        buffers = {name: each[0] for name, each in stack.buffers.items()}
        gradients, buffers, loss, samples = lanes(parameters, buffers, batches)
        return (
            {name: each[None] for name, each in gradients.items()},
            {name: each[None] for name, each in buffers.items()},
            loss[None],
            samples[None],
        )

    def _lane(self, parameters: Tensors, buffers: Tensors, batches: Sequence[Any]) -> Any:
        return self._pure.clipped_gradients(self._used, parameters, buffers, batches)

    def _updated(self, stack: Stack, numbers: Numbers, batches: Sequence[Any]) -> Any:
        gradients, buffers, loss, samples = self.gradients(stack, batches)
        parameters, states = dict(stack.parameters), dict(stack.states)
        for name in self._used:
            index = self._pure.group_of[name]
            if index is not None:
                inner = [1] * (parameters[name].ndim - 2)
                moving = {hyper: each.reshape(*each.shape, *inner) for hyper, each in numbers[index].items()}
                parameters[name], states[name] = self._pure.rule.update(
                    parameters[name], gradients[name], states.get(name, {}), {**self._fixed[index], **moving}
                )
        return parameters, buffers, states, loss, samples

    # --- compiled ---------------------------------------------------------------------------------

    def _fits(self, batches: Sequence[Any], seeds: int) -> bool:
        """Whether the batches of each seed are those that it is compiled for; their shape is the whole's, by seeds."""
        shape = shape_of(batches)
        if seeds not in self._shapes:
            own = shape if seeds == 1 else shape_of(tree_map_only(Tensor, itemgetter(0), list(batches)))
            self.key = self.key or own
            if own != self.key:
                return False
            self._shapes[seeds] = shape
        return shape == self._shapes[seeds]

    def _run_graph(self, stack: Stack, numbers: Numbers, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        if stack.size == self._size:
            return self._call(stack, numbers, batches)
        began = time.perf_counter()
        key = (stack.size, self.key, tuple(self._used), repr(self._fixed))
        self._graph = self._graphs.setdefault(key, compile_graph(self._in_place(), fallback_random=True))
        self._size = stack.size
        result = self._call(stack, numbers, batches)
        self.compile_seconds += time.perf_counter() - began
        return result

    def _call(self, stack: Stack, numbers: Numbers, batches: Sequence[Any]) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), refusing("choose another backend"):
            result: tuple[Tensor, Tensor] = self._graph(
                stack.parameters, stack.buffers, stack.states, numbers, list(batches)
            )
        return result

    def _in_place(self) -> Callable[..., Any]:
        """The update as a function that changes the stack's tensors."""
        updated = self._updated

        def update(parameters: Any, buffers: Any, states: Any, numbers: Any, batches: Any) -> Any:
            parameters_after, buffers_after, states_after, loss, samples = updated(
                Stack(parameters, buffers, states), numbers, batches
            )
            copy_into(parameters, parameters_after)
            copy_into(buffers, buffers_after)
            for name, state in states.items():
                copy_into(state, states_after[name])
            return loss, samples

        return update


@contextmanager
def naming(model: nn.Module) -> Iterator[None]:
    """Say which module and operation it is that can't be batched.

    Raises:
        UnbatchableError: in the place of torch's errors.
    """
    inside: list[tuple[str, nn.Module]] = []
    handles = []
    for name, module in model.named_modules():
        enter = partial(_enter, inside, name)
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(lambda *_: _leave(inside))]
    try:
        yield
    except Exception as error:
        raise UnbatchableError(f"{_place(inside)} can't be batched: {_operation(error)}") from error
    finally:
        for handle in handles:
            handle.remove()


def _enter(inside: list[tuple[str, nn.Module]], name: str, module: nn.Module, _: Any) -> None:
    inside.append((name, module))


def _leave(inside: list[tuple[str, nn.Module]]) -> None:
    inside.pop()


def _place(inside: Sequence[tuple[str, nn.Module]]) -> str:
    if not inside:
        return "the loss, or what is outside the model,"
    name, module = inside[-1]
    kind = type(module).__name__
    return f"the module {name!r} ({kind})" if name else f"the model ({kind})"


def _operation(error: Exception) -> str:
    """The explanation in short: its first sentence, with the error's type where it isn't one of torch's."""
    first = " ".join(str(error).split(". ")[0].split()).removeprefix("vmap: ").rstrip(".")
    if isinstance(error, RuntimeError | NotImplementedError) and first:
        return first
    return f"{type(error).__name__}{first and ': '}{first}"

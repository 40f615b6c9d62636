"""A function of tensors as one compiled graph."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame

__all__ = ["compile_graph", "reason_of", "refusing", "shape_of"]


def compile_graph(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The function, to be compiled at its first call; later arguments must have the same shapes.

    Args:
        function: its code is copied, since torch keeps graphs with it: so no other graph is taken for this one.
        options: of torch's compiler.
    """
    assert isinstance(function, FunctionType)
    own = FunctionType(function.__code__.replace(), function.__globals__, "update", None, function.__closure__)
    settings = {"guard_filter_fn": _watched, "cpp_wrapper": True, **options}
    compiled: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=False, options=settings)
    return compiled


@contextmanager
def refusing(advice: str) -> Iterator[None]:
    """Say in a sentence what torch can't compile, and what to do instead."""
    try:
        yield
    except torch._dynamo.exc.FailOnRecompileLimitHit as error:
        refusal = InputError(
            "the task can't be compiled: a value that its model or loss looks at is another at every update; "
            f"keep it in a buffer, or {advice}"
        )
        blame(refusal, "the compiled update")
        raise refusal from error
    except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.CppCompileError) as error:
        refusal = InputError(f"the task can't be compiled ({reason_of(error)}); {advice}")
        blame(refusal, "the compiled update")
        raise refusal from error


def shape_of(value: Any, seen: dict[int, int] | None = None) -> str:
    """The types, shapes and strides of all tensors in a batch, which of them are the same one, and its other values."""
    seen = {} if seen is None else seen
    if isinstance(value, Tensor):
        number = seen.setdefault(id(value), len(seen))
        return f"{number}{value.dtype}{tuple(value.shape)}{value.stride()}"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{shape_of(each, seen)}' for name, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({','.join([shape_of(each, seen) for each in value])})"
    return shape_of(vars(value), seen) if hasattr(value, "__dict__") else repr(value)


_TORCHS = ("__import_torch", "__import__('torch')", "__builtins_dict", "__mro__")


def _watched(guards: Sequence[Any]) -> list[bool]:
    """Which of the graph's assumptions are checked before each update: the values of the task's own variables.

    Shapes were checked already; parameters, and torch's own workings, stay what they are. Checking all of them takes
    about as long as a small model's forward pass.
    """
    return [
        guard.guard_type in ("CONSTANT_MATCH", "EQUALS_MATCH", "SEQUENCE_LENGTH")
        and not any(inner in guard.name for inner in _TORCHS)
        for guard in guards
    ]


def reason_of(error: Exception) -> str:
    """Torch's explanation in short: its first sentence, and the place in the code that was being traced."""
    inner = getattr(error, "inner_exception", error)  # a backend's
    text = str(error) if inner is error else f"{type(inner).__name__}: {inner}"
    places = re.findall(r'File "(.+)", line (\d+), in', text)
    at = f", at {places[-1][0]}:{places[-1][1]}" if places else ""
    return f"{text.strip().splitlines()[0].rstrip('.:')}{at}"

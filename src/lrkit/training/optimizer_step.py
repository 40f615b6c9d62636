"""What `run`, lanes and `find` ask of an optimizer's `step()`, and what is said where it can't be called as they do."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.blame import blame, first_line

__all__ = ["blaming_step", "require_clippable", "require_plain_step", "sparse_gradient"]


def require_plain_step(optimizer: Optimizer) -> None:
    """See that `optimizer.step()` can be called with nothing.

    Raises:
        InputError: for an optimizer whose step needs a closure, or anything else.
    """
    _, *parameters = inspect.signature(type(optimizer).step).parameters.values()
    for each in parameters:
        is_one = each.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if is_one and each.default is inspect.Parameter.empty:
            raise _needs(optimizer, each.name)


@contextmanager
def blaming_step(optimizer: Optimizer) -> Iterator[None]:
    """Blame the optimizer for what its step raises, and say in a sentence what it lacks.

    Raises:
        InputError: where the step needs a closure although its signature doesn't say so, or refuses sparse gradients.
    """
    try:
        yield
    except (InputError, InputTypeError):
        raise
    except Exception as error:
        refusal = _refusal(optimizer, error)
        blame(refusal or error, "the optimizer's step()")
        if refusal is not None:
            raise refusal from error
        raise


def sparse_gradient(model: nn.Module) -> str | None:
    """The first parameter whose gradient is sparse now; None without one."""
    named = model.named_parameters()
    return next((name for name, each in named if each.grad is not None and each.grad.is_sparse), None)


def require_clippable(model: nn.Module) -> None:
    """See that torch can clip the model's gradients.

    Raises:
        InputError: where one of them is sparse.
    """
    name = sparse_gradient(model)
    if name is not None:
        error = InputError(
            f"clip_norm can't clip sparse gradients, which the parameter {name!r} has; leave clip_norm out, or make "
            "its module with sparse=False"
        )
        blame(error, "clip_norm")
        raise error


def _needs(optimizer: Optimizer, name: str) -> InputError:
    return InputError(
        f"{type(optimizer).__name__}.step() needs a value for {name}, which run, lanes and find don't give; bind the "
        "schedule in a loop of your own: plan.bind(optimizer, steps=...)"
    )


def _refusal(optimizer: Optimizer, error: Exception) -> InputError | None:
    """What the optimizer lacks; None where the error is of another kind."""
    kind = type(optimizer)
    if "closure" in inspect.signature(kind.step).parameters:
        # Only the text of such an error says what it is about: each optimizer raises one of its own.
        calls_none = isinstance(error, TypeError) and str(error) == "'NoneType' object is not callable"
        if calls_none or "closure" in f"{type(error).__name__} {error}".lower():
            return _needs(optimizer, "closure")
    given = (each.grad for group in optimizer.param_groups for each in group["params"])
    if isinstance(error, RuntimeError) and any(each is not None and each.is_sparse for each in given):
        return InputError(
            f"{kind.__name__} can't make an update with gradients of which some are sparse, as those of an "
            f"Embedding(sparse=True): {first_line(error)}; torch.optim.SGD and Adagrad take both kinds"
        )
    return None

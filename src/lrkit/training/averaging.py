"""Optimizers that keep two sets of weights: those that gradients are taken at, and their average, which is measured."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.wrapping import chain_of

__all__ = ["Measurement", "averaging_of", "begin_training", "measuring"]

_FIXED = ("momentum", "beta1")


@runtime_checkable
class _Averaging(Protocol):
    """An optimizer that puts either set into the parameters, such as those of the package schedulefree."""

    def train(self) -> Any:
        """Put those there that are trained."""

    def eval(self) -> Any:
        """Put their average there."""


def averaging_of(optimizer: Any) -> Any:
    """The optimizer that keeps an average: this one, or one that it is put around.

    A wrapper that was never set up as an optimizer, such as Accelerate's, only passes on what is asked of it.
    """
    for each in chain_of(optimizer):
        passes_on = isinstance(each, Optimizer) and not hasattr(each, "_optimizer_step_pre_hooks")
        if isinstance(each, _Averaging) and not passes_on:
            return each
    return None


def begin_training(optimizer: Optimizer, scheduled: Iterable[str]) -> None:
    """Have the weights that are trained in the parameters; of other optimizers nothing changes.

    Args:
        optimizer: any.
        scheduled: the hyper-parameters that a schedule moves.

    Raises:
        InputError: for a schedule of what the average is computed from.
    """
    averaging = averaging_of(optimizer)
    if averaging is None:
        return
    for hyper in _FIXED:
        if hyper in scheduled:
            name = type(averaging).__name__
            raise InputError(f"{hyper} can't be scheduled with {name}, which finds the average of its weights by it")
    averaging.train()


@contextmanager
def measuring(optimizer: Optimizer) -> Iterator[None]:
    """Have the average in the parameters; of other optimizers nothing changes.

    Afterwards the weights that are trained are there again, bit for bit: `train()` alone would compute them anew, with
    rounding, and so what is measured would change what is trained.

    Args:
        optimizer: any, such as one of the package schedulefree.

    >>> import lrkit, torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> with lrkit.measuring(optimizer):
    ...     pass
    """
    averaging = averaging_of(optimizer)
    if averaging is None:
        yield
        return
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    before = [each.detach().clone() for each in parameters]
    averaging.eval()
    try:
        yield
    finally:
        averaging.train()
        with torch.no_grad():
            for each, value in zip(parameters, before, strict=True):
                each.copy_(value)


class Measurement:
    """`measuring` for those who are told when it begins and when it ends, as a trainer's handlers are.

    Told twice that it begins, it has begun once: so a test after the training finds the average where it is.

    Args:
        optimizer: any.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._open: ExitStack | None = None

    def begin(self) -> None:
        """Have the average in the parameters."""
        if self._open is None:
            self._open = ExitStack()
            self._open.enter_context(measuring(self.optimizer))

    def end(self) -> None:
        """Have the weights that are trained there again, bit for bit."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def is_open(self) -> bool:
        """Whether the average is in the parameters."""
        return self._open is not None

"""Optimizers around optimizers, as trainers make them."""

from torch.optim import Optimizer

__all__ = ["unwrapped"]


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer that makes the updates, where a trainer has put another around it.

    A wrapper that was never set up as an optimizer, such as Accelerate's, can't have hooks; what it wraps can.

    >>> import torch
    >>> class Around(torch.optim.Optimizer):
    ...     def __init__(self, optimizer):
    ...         self.optimizer = optimizer
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    >>> unwrapped(Around(optimizer)) is optimizer, unwrapped(optimizer) is optimizer
    (True, True)
    """
    while not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            break
        optimizer = inner
    return optimizer

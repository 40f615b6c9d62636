"""What Lightning has measured, and what its batches are made of."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lrkit.trainers.extras import extra

with extra("lightning"):
    from lightning.pytorch import Trainer

__all__ = ["measured", "sample_count"]


def measured(trainer: Trainer) -> dict[str, Any]:
    """The metrics that the validation which ends now has logged.

    `trainer.callback_metrics` has older ones too: those of training, and of a validation before.
    """
    results = trainer._results
    return {} if results is None else dict(results.metrics(on_step=False)["callback"])


def sample_count(batch: Any) -> int:
    """The first size of the first tensor in a batch of mappings, lists and tuples; 1 where there is none.

    >>> import torch
    >>> sample_count({"x": torch.zeros(3, 2), "y": torch.zeros(3)}), sample_count(["a", "b"])
    (3, 1)
    """
    return next(_sizes(batch), 1)


def _sizes(batch: Any) -> Iterator[int]:
    """Not by torch's trees, which take longer than all else that is recorded of an update."""
    if isinstance(batch, Tensor):
        if batch.ndim:
            yield len(batch)
    elif isinstance(batch, Mapping | list | tuple):
        for each in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _sizes(each)

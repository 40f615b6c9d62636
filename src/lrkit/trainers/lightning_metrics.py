"""What Lightning has measured, and what its batches are made of."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

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
    """The first size of the first tensor in a batch; 1 where there is none.

    >>> import torch
    >>> sample_count({"x": torch.zeros(3, 2), "y": torch.zeros(3)}), sample_count(["a", "b"])
    (3, 1)
    """
    return next((len(each) for each in tree_leaves(batch) if isinstance(each, Tensor) and each.ndim), 1)

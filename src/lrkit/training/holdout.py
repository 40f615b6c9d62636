"""Training data of which a random part is held out, so that what is chosen by it needs no test data."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from lrkit.schedules.errors import InputError
from lrkit.schedules.lengths import round_half_up
from lrkit.schedules.shares import as_number
from lrkit.training.data import sample_count_of
from lrkit.training.data_order import shuffled
from lrkit.training.randomness import check_seed
from lrkit.training.task import Task

__all__ = ["hold_out"]


def hold_out(task: Task, share: float = 1 / 6, seed: int = 0) -> Task:
    """The task with a random part of its training data as `valid`; what was `valid` is its `test`.

    round half up(share · n) of the n samples are held out, at least one and at most all but one; both parts are in the
    original order. A task that has both `valid` and `test` is returned as it is; one with `test` alone keeps it. A
    dataset is not copied, tensors are. What a dataset does to its items at random, it does to the held-out part too.

    Args:
        task: with a length in epochs it becomes shorter, since its epochs do; its `source` says what was held out.
        share: of the training data, between 0 and 1.
        seed: of the choice; it moves no other random stream.

    Raises:
        InputError, InputTypeError: for a share or seed out of bounds, and for training data that can't be split.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 12)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=5, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> held = lrkit.hold_out(task, share=0.25)
    >>> len(held.train[0]), len(held.valid[0]), held.test
    (9, 3, None)
    """
    share = as_number(share, "share", low=0.0, high=1.0, low_open=True, high_open=True)
    check_seed(seed)
    if task.valid is not None and task.test is not None:
        return task
    count = _count(task.train)
    part = min(max(1, round_half_up(Fraction(share).limit_denominator(10**9) * count)), count - 1)
    order = shuffled(count, seed, 0)  # epochs are counted from 1, so that none has this order
    return replace(
        task,
        train=_part(task.train, order[part:].sort().values),
        valid=_part(task.train, order[:part].sort().values),
        test=task.valid if task.test is None else task.test,
        source=_source(task.source, share, seed),
    )


def _count(data: Any) -> int:
    """How many samples there are to be split."""
    count = sample_count_of(data, "train")
    if count is None:
        if not isinstance(data, Sized) or not hasattr(data, "__getitem__") or isinstance(data, IterableDataset):
            raise InputError(
                "no part of train can be held out, since it has no length or no items by number "
                f"({type(data).__name__}): give the task valid and test itself"
            )
        count = len(data)
    if count < 2:
        raise InputError(f"train must have at least 2 samples for a part of it to be held out, not {count}")
    return count


def _part(data: Any, rows: Tensor) -> Any:
    """Some samples, as the same kind of data."""
    if isinstance(data, Tensor):
        return data[rows]
    if isinstance(data, TensorDataset):
        return TensorDataset(*(each[rows] for each in data.tensors))
    if isinstance(data, tuple | list) and all(isinstance(each, Tensor) for each in data):
        return tuple(each[rows] for each in data)
    if type(data) is Subset:  # or tensors would be copied for each of the two
        return _part(data.dataset, torch.as_tensor(list(data.indices))[rows])
    return Subset(data, rows.tolist())


def _source(source: Mapping[str, Any] | None, share: float, seed: int) -> Mapping[str, Any] | None:
    """Where the task comes from, and what was held out of it; nothing for a task that comes from nowhere."""
    if source is None:
        return None
    before: Sequence[Any] = source.get("held_out", ())
    return {**source, "held_out": [*before, {"share": share, "seed": seed}]}

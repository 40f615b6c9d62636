"""Batches of a task's data, in an order that depends on the seed and the epoch alone."""

import copy
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.blame import blame
from lrkit.training.data_order import ALL, part_of, shuffled
from lrkit.training.loader_batches import LoaderBatches

__all__ = ["TOGETHER", "Batches", "TensorBatches", "make_batches", "sample_count_of"]

TOGETHER = 4_000_000  # bytes of the batches that are gathered at once: one gather is faster than many small ones


class Batches(Protocol):
    """Data that can be passed through, batch by batch."""

    @property
    def count(self) -> int | None:
        """Batches in an epoch; None for data without a length."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Any]:
        """The batches of an epoch, on the run's device, without the first `skip`."""


def make_batches(
    data: Any,
    batch_size: int,
    device: torch.device,
    *,
    seed: int | None = None,
    in_memory: bool = False,
    workers: int = 0,
    collate: Callable[[list[Any]], Any] | None = None,
    name: str = "train",
    share: slice = ALL,
) -> Batches:
    """Batches of any data: from tensors by indexing where they are in memory, else through a DataLoader.

    Args:
        data: a tensor or tuple of tensors, a `TensorDataset` (or a `Subset` of one), or any other dataset.
        batch_size: samples in a batch; the last one may be smaller.
        device: where batches go.
        seed: shuffles anew each epoch; None keeps the data's own order.
        in_memory: read any dataset once and keep it as tensors.
        workers: processes of the DataLoader.
        collate: makes a batch of a list of items; by default torch's `default_collate`.
        name: what errors call the data.
        share: which samples of the order are this process's.
    """
    if isinstance(data, Sized) and len(data) == 0:
        raise InputError(f"{name} has no samples")
    tensors = _tensors(data)
    if tensors is None and in_memory:
        tensors = _read_all(data, name)
    if tensors is not None:
        if _common_length(tensors, name) == 0:
            raise InputError(f"{name} has no samples")
        return TensorBatches(tensors, batch_size, device, seed, share)
    if not isinstance(data, Dataset) and not hasattr(data, "__getitem__"):
        raise InputTypeError(f"{name} must be tensors or a dataset, not {type(data).__name__}")
    options = {"batch_size": batch_size, "num_workers": workers, "collate_fn": collate}
    return LoaderBatches(data, device, seed, options, share)


def sample_count_of(data: Any, name: str) -> int | None:
    """How many samples the data has; None where they aren't tensors in memory.

    Raises:
        InputError: for tensors of different lengths.
    """
    if isinstance(data, Subset):
        return None if sample_count_of(data.dataset, name) is None else len(data)
    tensors = _tensors(data)
    return None if tensors is None else _common_length(tensors, name)


def _common_length(tensors: Sequence[Tensor], name: str) -> int:
    counts = [len(each) for each in tensors]
    if len(set(counts)) > 1:
        raise InputError(f"{name} has tensors of different lengths: {', '.join(map(str, counts))}")
    return counts[0]


class TensorBatches:
    """Batches of tensors that are in memory: no random stream is drawn from to read them."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        device: torch.device,
        seed: int | None,
        share: slice = ALL,
    ) -> None:
        self.tensors = tuple(tensor.to(device) for tensor in tensors)
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self.share = share
        self.count = -(-part_of(len(self.tensors[0]), share) // batch_size)
        self._together = max(1, TOGETHER // max(1, batch_size * sum(tensor[0].nbytes for tensor in self.tensors)))

    def reseeded(self, seed: int) -> "TensorBatches":
        """The same tensors in the order of another seed."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def epoch(self, number: int, skip: int = 0) -> Iterator[Any]:
        """The batches of an epoch, without the first `skip`."""
        begin = skip * self.batch_size
        if self.seed is None:
            rows = [tensor[self.share][begin:] for tensor in self.tensors]
            if len(rows[0]):
                yield from zip(*(each.split(self.batch_size) for each in rows), strict=True)
            return
        order = shuffled(len(self.tensors[0]), self.seed, number)[self.share][begin:].to(self.device)
        for rows in order.split(self._together * self.batch_size):
            if len(rows):
                parts = (tensor.index_select(0, rows).split(self.batch_size) for tensor in self.tensors)
                yield from zip(*parts, strict=True)


def _tensors(data: Any) -> Sequence[Tensor] | None:
    """The data as tensors, where it is tensors already."""
    if isinstance(data, Tensor):
        return (data,)
    if isinstance(data, tuple | list) and data and all(isinstance(each, Tensor) for each in data):
        return data
    if isinstance(data, TensorDataset):
        return data.tensors
    if isinstance(data, Subset):
        whole = _tensors(data.dataset)
        rows = torch.as_tensor(list(data.indices))
        return None if whole is None else tuple(tensor[rows] for tensor in whole)
    return None


def _read_all(data: Any, name: str) -> Sequence[Tensor]:
    if not isinstance(data, Sized):
        raise InputError(f"{name} has no length, so it can't be kept in memory")
    try:
        items = default_collate([data[index] for index in range(len(data))])  # type: ignore[index]  # else it raises
    except Exception as error:
        blame(error, f"{name}, being read into memory")
        raise
    tensors = _tensors(items)
    if tensors is None:
        raise InputTypeError(f"{name} can be kept in memory when its items are tuples of tensors or numbers")
    return tensors

"""Batches that a DataLoader reads: of any dataset, with a length or without."""

import copy
import itertools
import signal
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from lrkit.training.data_order import ALL, part_of, shuffled

__all__ = ["LoaderBatches"]


class LoaderBatches:
    """Batches of any dataset.

    Args:
        data: map-style, or iterable.
        device: where batches go.
        seed: shuffles anew each epoch; None keeps the data's own order.
        options: of the DataLoader.
        share: which samples of the order, or of what an iterable gives, are this process's.
    """

    def __init__(
        self, data: Any, device: torch.device, seed: int | None, options: dict[str, Any], share: slice = ALL
    ) -> None:
        self.device = device
        self.seed = seed
        self.share = share
        self.shared = share != ALL
        self.options = {**options, "worker_init_fn": _leave_signals_to_the_run if self.shared else _leave_interrupts}
        sized, iterable = isinstance(data, Sized), isinstance(data, IterableDataset)
        self.sampled = sized and not iterable
        self.count = -(-part_of(len(data), share) // options["batch_size"]) if sized else None
        self.data: Any = _Part(data, share) if iterable and self.shared else data

    def epoch(self, number: int, skip: int = 0) -> Iterator[Any]:
        """The batches of an epoch, without the first `skip`."""
        # A generator of its own, or the DataLoader would draw from the one that dropout uses.
        own = torch.Generator().manual_seed(self._own_seed(number))
        options = {**self.options, "generator": own}
        if self.sampled and self.seed is not None:
            order = shuffled(len(self.data), self.seed, number)[self.share]
            if not options["num_workers"]:  # workers have random streams of their own, which reading again moves on
                order, skip = order[skip * options["batch_size"] :], 0
            options["sampler"] = order.tolist()
        elif self.sampled and self.shared:
            options["sampler"] = range(len(self.data))[self.share]
        batches = iter(DataLoader(self.data, **options))
        for _ in itertools.islice(batches, skip):
            pass  # read, since that moves the workers' streams on
        return (_to(batch, self.device) for batch in batches)

    def _own_seed(self, number: int) -> int:
        """What the random streams of workers follow from: in each process of several another."""
        seed = self.seed or 0
        if not self.share.start:
            return seed + number
        return int(np.random.SeedSequence([seed, number, self.share.start]).generate_state(1)[0])


class _Part(IterableDataset[Any]):
    """The items of an iterable dataset that are this process's."""

    def __init__(self, data: Any, share: slice) -> None:
        self.data, self.share = data, share

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.data, self.share.start, None, self.share.step)


def _leave_interrupts(_: int) -> None:
    """Ctrl-C reaches every process of a terminal; a worker that died of it couldn't serve the update under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave_signals_to_the_run(_: int) -> None:
    """The same of SIGTERM, which torchrun sends to a process and all that it has started."""
    _leave_interrupts(_)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _to(batch: Any, device: torch.device) -> Any:
    """The batch with all its tensors on the device."""
    if hasattr(type(batch), "to"):  # not of the batch itself: dicts with items as attributes are common
        return batch.to(device)
    if isinstance(batch, dict):
        return _moved(batch, device)
    if isinstance(batch, tuple | list):
        moved = [_to(each, device) for each in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch


def _moved(batch: dict[Any, Any], device: torch.device) -> dict[Any, Any]:
    """A dict of the same type."""
    if type(batch) is dict:
        return {name: _to(each, device) for name, each in batch.items()}
    found = copy.copy(batch)
    if getattr(batch, "__dict__", None) is batch:  # one whose items are its attributes
        found.__dict__ = found
    for name, each in batch.items():
        found[name] = _to(each, device)
    return found

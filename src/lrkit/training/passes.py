"""Passes through somebody's loader that leave the loader as it is."""

import copy
from collections.abc import Iterable, Iterator
from itertools import chain
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.blame import first_line

__all__ = ["Passes"]


_COPIED = ("dataset", "sampler", "batch_sampler", "generator", "_iterator")  # or left out, of what a DataLoader holds


class Passes(IterableDataset[Any]):
    """A dataset whose items are the ready batches of a loader: each iteration is a new pass.

    The loader is copied first, its iterator left out, its data shared where they are tensors or arrays. Each pass
    seeds its order from torch's random stream, so that runs of different seeds have different orders wherever the
    loader's order is random.

    Args:
        loader: a `DataLoader`, a list of batches, or anything else that a new pass can be made through.
        name: what errors call it.

    Raises:
        InputTypeError: for an iterator, which could be passed through only once, and that by its owner.
        InputError: for a loader that can't be copied.

    >>> [len(batch) for batch in Passes(DataLoader(range(5), batch_size=2), "loader")]
    [2, 2, 1]
    """

    def __init__(self, loader: Iterable[Any], name: str) -> None:
        if isinstance(loader, Iterator):
            raise InputTypeError(
                f"{name} must be what a new pass can be made through, such as a DataLoader, not an iterator"
            )
        if not hasattr(loader, "__iter__") or isinstance(loader, Tensor | dict | str):
            raise InputTypeError(f"{name} must be a DataLoader or a list of batches, not {shown(loader)}")
        self._given, self._name = loader, name
        self._loader, self._fresh = self._twin(), True

    def begin(self) -> None:
        """Copy the loader anew for another run: what its sampler or dataset draws for itself is then the same again."""
        if not self._fresh:
            self._loader, self._fresh = self._twin(), True

    def _twin(self) -> Any:
        loader = self._given
        return _twin(loader, self._name) if isinstance(loader, DataLoader) else _copied(loader, self._name)

    def __iter__(self) -> Iterator[Any]:
        self._fresh = False
        loader = self._loader
        if isinstance(loader, DataLoader):
            for each in _with_orders(loader):
                if isinstance(getattr(each, "generator", None), torch.Generator):
                    each.generator.manual_seed(_drawn())
        batches = iter(loader)
        try:
            first = next(batches)
        except StopIteration:
            raise InputError(f"{self._name} has no batches") from None
        return chain([first], batches)


def _twin(loader: DataLoader[Any], name: str) -> DataLoader[Any]:
    """A loader of the same data without the iterator, samplers and generators of the first."""
    held = [each for each, value in vars(loader).items() if each not in _COPIED and isinstance(value, Iterator)]
    if held:
        raise InputError(f"{name} keeps an iterator in {held[0]!r}, whose batches it would take; give a DataLoader")
    found = copy.copy(loader)
    memo = {id(loader.dataset): loader.dataset}
    if not loader.num_workers:  # workers read copies in any case
        memo[id(loader.dataset)] = _copied_data(loader.dataset)
    own: dict[str, Any] = {"dataset": memo[id(loader.dataset)], "_iterator": None, "persistent_workers": False}
    for part in ("sampler", "batch_sampler", "generator"):
        _share(vars(loader).get(part), memo)
        try:
            own[part] = copy.deepcopy(vars(loader).get(part), memo)
        except Exception as error:
            raise InputError(f"{name}'s {part} can't be copied: {first_line(error)}") from error
    if not loader.num_workers:
        own["collate_fn"] = _copied_or_itself(loader.collate_fn, memo)
    vars(found).update(own)  # a loader refuses to be given some of them in any other way
    return found


def _with_orders(loader: DataLoader[Any]) -> list[Any]:
    """Those that have a generator: loader and samplers."""
    batches = loader.batch_sampler
    return [loader, loader.sampler, batches, getattr(batches, "sampler", None)]


def _copied(loader: Any, name: str) -> Any:
    memo: dict[int, Any] = {}
    _share(loader, memo)
    try:
        return copy.deepcopy(loader, memo)
    except Exception as error:
        raise InputError(f"{name} can't be copied, so give a DataLoader: {first_line(error)}") from error


def _copied_data(dataset: Any) -> Any:
    """A copy with the same tensors and arrays, since a generator of its own moves; itself where it can't be copied."""
    memo: dict[int, Any] = {}
    _share(dataset, memo)
    try:
        return copy.deepcopy(dataset, memo)
    except Exception as error:
        if isinstance(dataset, IterableDataset):  # to read it may be to take its items from whoever has it
            raise InputError(f"the loader's dataset can't be copied: {first_line(error)}") from error
        return dataset  # with an open file, say: to read its items by number is to leave them there


def _copied_or_itself(collate: Any, memo: dict[int, Any]) -> Any:
    """A copy, since a generator of its own moves; itself where it can't be copied."""
    _share(collate, memo)
    try:
        return copy.deepcopy(collate, memo)
    except Exception:  # noqa: BLE001 (a foreign object may raise anything)
        return collate


def _share(value: Any, memo: dict[int, Any]) -> None:
    """Let a copy have the same tensors and arrays."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, str | bytes | int | float | type | ModuleType | FunctionType):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor | np.ndarray):
            memo[id(each)] = each
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list | tuple | set):
            waiting += each
        elif id(each) not in memo:
            waiting += vars(each).values() if hasattr(each, "__dict__") else []


def _drawn() -> int:
    return int(torch.randint(2**62, ()))

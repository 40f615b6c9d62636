"""Losses and metrics of many lanes over validation and test data."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.data import Batches
from lrkit.training.data_order import ALL
from lrkit.training.lanes.stack import Stack
from lrkit.training.preparation import take, test_batches, valid_batches
from lrkit.training.pure_update import Measured, Tensors
from lrkit.training.randomness import random_state, set_random_state
from lrkit.training.record import Means
from lrkit.training.task import Task, sample_count
from lrkit.training.untouched import modes_kept, unnoticed

__all__ = ["Validation"]

_Place: TypeAlias = tuple[int, int]  # in a stack
_Measures: TypeAlias = tuple[Tensor, Tensor, Tensors]  # mean loss, number of samples, metrics, each of all lanes


class Validation:
    """What is measured of the lanes of a group after an epoch.

    Args:
        task: whose validation and test data it is; they are read here.
        measured: the task's measures; its module is in evaluation mode meanwhile.
        place: the device.
    """

    def __init__(self, task: Task, measured: Measured, place: torch.device) -> None:
        self._model, self._device = measured.model, place
        valid, test = valid_batches(task, place, ALL), test_batches(task, place, ALL)
        self._valid = None if valid is None else _Measurement(measured, valid, "valid")
        self._test = None if test is None else _Measurement(measured, test, "test")

    def of_valid(self, stack: Stack, places: Collection[_Place], *, aside: bool) -> Mapping[_Place, Means]:
        """The means over the validation data; `aside` from what lanes do alone, it draws no random number of theirs."""
        if self._valid is None or not places:
            return {}
        before = random_state(self._device)
        with modes_kept(self._model):
            self._model.eval()
            found = self._valid(stack, places)
        if aside:
            set_random_state(before, self._device)
        return found

    def of_test(self, stack: Stack, places: Collection[_Place]) -> Mapping[_Place, Means]:
        """The means over the test data; nothing that comes later can tell that they were measured."""
        if self._test is None or not places:
            return {}
        own = replace(stack, buffers={name: each.clone() for name, each in stack.buffers.items()})
        with unnoticed(self._model, self._device):
            self._model.eval()
            return self._test(own, places)


class _Measurement:
    """Measures stacks over some data: all lanes at once, or one by one where a metric can't be batched."""

    def __init__(self, measured: Measured, batches: Batches, name: str) -> None:
        self._measured, self._batches, self._name = measured, batches, name
        self._batched = True

    @torch.no_grad()
    def __call__(self, stack: Stack, places: Collection[_Place]) -> Mapping[_Place, Means]:
        """The means of loss and metrics over all samples, of the lanes at the places."""
        sums: dict[str, Tensor] = {}
        counts: Tensor | None = None
        batches = self._batches.epoch(0)
        while taken := take(batches, 1, self._name):
            loss, samples, metrics = self._measured_batch(stack, taken[0], places)
            sample_count(int(samples.min()))
            counts = samples if counts is None else counts + samples
            for name, value in {**metrics, "": loss}.items():
                part = value.double() * samples
                sums[name] = part if name not in sums else sums[name] + part
        if counts is None:
            error = InputError(f"{self._name} has no samples")
            blame(error, f"the data of {self._name}")
            raise error
        means = {name: (each / counts).reshape(stack.size).cpu() for name, each in sums.items()}
        loss = means.pop("")
        return {at: (float(loss[at]), {name: float(each[at]) for name, each in means.items()}) for at in places}

    def _measured_batch(self, stack: Stack, batch: Any, places: Collection[_Place]) -> _Measures:
        if self._batched:
            place = next(iter(stack.parameters.values())).device
            before = random_state(place)
            try:
                return self._together(stack, batch)
            except Exception:  # noqa: BLE001 (what is wrong with the task itself is said below)
                self._batched = False
                set_random_state(before, place)
        return self._one_by_one(stack, batch, places)

    def _together(self, stack: Stack, batch: Any) -> _Measures:
        parameters = {name: each.flatten(0, 1) for name, each in stack.parameters.items()}
        buffers = {name: each.flatten(0, 1) for name, each in stack.buffers.items()}
        lanes = torch.vmap(self._measured.measures, in_dims=(0, 0, None), randomness="same")
        with sdpa_kernel(SDPBackend.MATH), _without_fast_path():
            found: _Measures = lanes(parameters, buffers, batch)
        return found

    def _one_by_one(self, stack: Stack, batch: Any, places: Collection[_Place]) -> _Measures:
        seeds, lanes = stack.size
        device = next(iter(stack.parameters.values())).device
        before = random_state(device)
        found = {}
        for place in places:
            set_random_state(before, device)  # each lane draws what it would draw alone
            found[place] = self._measured.measures(*stack.lane(*place), batch)
        some = next(iter(found.values()))
        filled = [found.get((seed, lane), some) for seed in range(seeds) for lane in range(lanes)]
        losses, samples, metrics = zip(*filled, strict=True)
        stacked = {name: torch.stack([each[name] for each in metrics]) for name in metrics[0]}
        return torch.stack(losses), torch.stack(samples), stacked


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Torch's attention as operations that have rules for lanes: in evaluation mode it would be one without."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

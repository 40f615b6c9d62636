"""Losses and metrics of many lanes over validation data."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.lanes.stack import Stack
from lrkit.training.pure_update import Measured, Tensors
from lrkit.training.randomness import random_state, set_random_state
from lrkit.training.task import sample_count

__all__ = ["Measurement"]

_Measures: TypeAlias = tuple[Tensor, Tensor, Tensors]  # mean loss, number of samples, metrics, each of all lanes


class Measurement:
    """Measures stacks: all lanes at once, or one by one where a metric can't be batched.

    Args:
        measured: the task's measures; its module is in evaluation mode meanwhile.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._batched = True

    @torch.no_grad()
    def __call__(
        self, stack: Stack, batches: Iterable[Any], places: Collection[tuple[int, int]]
    ) -> tuple[Tensor, Tensors]:
        """The means over all samples: the loss, and metrics by name, float64 of shape (seeds, lanes).

        Those of the lanes at the places; at others there may be anything.
        """
        sums: dict[str, Tensor] = {}
        counts: Tensor | None = None
        for batch in batches:
            loss, samples, metrics = self._measured_batch(stack, batch, places)
            sample_count(int(samples.min()))
            counts = samples if counts is None else counts + samples
            for name, value in {**metrics, "": loss}.items():
                part = value.double() * samples
                sums[name] = part if name not in sums else sums[name] + part
        if counts is None:
            error = InputError("valid has no samples")
            blame(error, "the data of valid")
            raise error
        means = {name: (each / counts).reshape(stack.size) for name, each in sums.items()}
        return means.pop(""), means

    def _measured_batch(self, stack: Stack, batch: Any, places: Collection[tuple[int, int]]) -> _Measures:
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

    def _one_by_one(self, stack: Stack, batch: Any, places: Collection[tuple[int, int]]) -> _Measures:
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

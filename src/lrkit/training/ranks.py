"""The processes that train one run together, and all that they say to each other."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lrkit.schedules.errors import InputError
from lrkit.training.blame import first_line
from lrkit.training.randomness import seed_streams

__all__ = ["ProcessLostError", "Ranks"]

T = TypeVar("T")

_CPU = torch.device("cpu")


class ProcessLostError(RuntimeError):
    """Another process of a run is gone, or doesn't answer any more."""


class Ranks:
    """All processes of a run, seen from one of them. One that is alone says nothing, and nothing is changed for it.

    What one process asks the others here, all have to ask at the same place.

    Args:
        rank: the number of this process.
        count: how many there are.
        place: the device that it trains on, where what is said is put.

    Raises:
        ProcessLostError: from every method, when another process is gone.

    >>> ranks = Ranks()
    >>> ranks.alone, ranks.any(True), ranks.from_first("runs/mine"), list(range(5))[ranks.share]
    (True, True, 'runs/mine', [0, 1, 2, 3, 4])
    >>> list(range(5))[Ranks(1, 2).share]
    [1, 3]
    """

    def __init__(self, rank: int = 0, count: int = 1, place: torch.device = _CPU) -> None:
        self.rank, self.count, self._place = rank, count, place

    @classmethod
    def of_group(cls, place: torch.device) -> "Ranks":
        """Those of the default process group.

        Raises:
            InputError: when there is none.
        """
        if not (dist.is_available() and dist.is_initialized()):
            raise InputError(
                "distributed=True needs a process group, and there is none: call torch.distributed.init_process_group "
                "in every process first, as docs/trainers/distributed.md shows"
            )
        return cls(dist.get_rank(), dist.get_world_size(), place)

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Which rows of anything are this process's: every `count`-th one."""
        return slice(self.rank, None, self.count)

    # --- what they agree on -----------------------------------------------------------------------

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        if self.alone:
            return value
        told = torch.tensor([value], dtype=torch.int32, device=self._place)
        with _answering():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told.item())

    def wait(self) -> None:
        """Go on when all are here."""
        self.any(False)

    def from_first(self, value: T) -> T:
        """What the first process has: anything that can be pickled."""
        if self.alone:
            return value
        told = [value if self.first else None]
        with _answering():
            dist.broadcast_object_list(told, 0)
        return told[0]  # type: ignore[return-value]  # it is the first one's, a T

    def gather(self, value: T) -> list[T]:
        """What each process has, in their order: anything that can be pickled."""
        if self.alone:
            return [value]
        told: list[Any] = [None] * self.count
        with _answering():
            dist.all_gather_object(told, value)
        return told

    def check_same(self, made: Mapping[str, Any]) -> None:
        """See that all were asked for the same run.

        Raises:
            InputError: where they weren't.
        """
        for other, theirs in enumerate(self.gather(dict(made))):
            name = next((name for name, value in made.items() if theirs[name] != value), None)
            if name is not None:
                raise InputError(
                    f"all processes have to train the same, but {name} is {made[name]!r} in process {self.rank} and "
                    f"{theirs[name]!r} in process {other}"
                )

    # --- what they train --------------------------------------------------------------------------

    @torch.no_grad()
    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Give each tensor the values that it has in the first process."""
        if self.alone:
            return
        dense = [each.detach() for each in tensors if each.layout is torch.strided]
        if not dense:
            return
        told = torch.cat([each.contiguous().reshape(-1).view(torch.uint8) for each in dense])  # of any types, at once
        with _answering():
            dist.broadcast(told, 0)
        for each, part in zip(dense, told.split([each.nbytes for each in dense]), strict=True):
            value = (
                part.clone().view(each.dtype).view(each.shape)
            )  # cloned, since a view of another type must be aligned
            if not torch.equal(each, value):
                each.copy_(value)

    @torch.no_grad()
    def mean_gradients(self, parameters: Sequence[Tensor], loss: Tensor, samples: int) -> tuple[Tensor, int]:
        """Make sums over the samples of each process into means over those of all.

        A parameter that has a gradient in some processes gets one in all; one that has it in none keeps none.

        Args:
            parameters: they hold the gradients of the sum of the losses.
            loss: that sum.
            samples: how many they are; 0 where this process had none.

        Returns:
            the mean loss, and the number of samples, of all processes.

        Raises:
            InputError: where there are none in all.
        """
        if self.alone:
            _check_samples(samples)
            for each in parameters:
                if each.grad is not None:
                    each.grad /= samples
            return loss / samples, samples
        kind = reduce(torch.promote_types, (each.dtype for each in parameters), torch.float32)
        held = [torch.zeros_like(each) if each.grad is None else _dense(each.grad) for each in parameters]
        tail = [samples, *(each.grad is not None for each in parameters)]
        told = torch.cat(
            [
                *(each.reshape(-1).to(kind) for each in held),
                loss.reshape(1).to(kind),
                torch.tensor(tail, dtype=kind, device=loss.device),
            ]
        )
        with _answering():
            dist.all_reduce(told)
        whole, *used = told[-len(tail) :].tolist()
        _check_samples(whole)
        told /= whole
        for each, has, part in zip(
            parameters, used, told.split([*map(Tensor.numel, held), 1, len(tail)]), strict=False
        ):
            if has and each.grad is None:
                each.grad = part.view_as(each).to(each.dtype)
            elif each.grad is not None:
                each.grad.copy_(part.view_as(each))
        return told[-len(tail) - 1].to(loss.dtype), round(whole)

    def reseed(self, seed: int, step: int) -> None:
        """Seed what an update draws, in all processes but the first, so that their random masks differ.

        The streams of the first go on, and are in its checkpoints; those of the others follow from the run's seed and
        the update, and so are the same after a run was resumed.
        """
        if self.rank:
            seed_streams(self.seed_of(seed, step))

    def seed_of(self, seed: int, number: int) -> int:
        """A seed of this process's own, for anything that is counted."""
        return int(np.random.SeedSequence([seed, self.rank, number]).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def _answering() -> Iterator[None]:
    """Say of an error of torch's what it means: there is no type of its own for a process that is gone."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[\S*\]\s*", "", first_line(error)).split(". ")[0]
        raise ProcessLostError(f"another process of the run is gone, or doesn't answer ({reason})") from error


def _check_samples(count: float) -> None:
    if not count:
        raise InputError(
            "forward's n, the number of samples, must be at least 1 in one of the batches of an update, and is 0 in all"
        )


def _dense(gradient: Tensor) -> Tensor:
    if gradient.layout is not torch.strided:
        raise InputError("sparse gradients can't be added up between processes: make the embedding with sparse=False")
    return gradient

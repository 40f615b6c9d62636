"""What the first lane tells before its first update: whether lanes can be batched, and which of them go together."""

import copy
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils._pytree import tree_leaves

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.data import TOGETHER, TensorBatches
from lrkit.training.data_order import ALL
from lrkit.training.lanes.footprint import estimate
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.memory import fitting
from lrkit.training.lanes.reference import Reference
from lrkit.training.lanes.stack import Stack, held_outside, stack_batches
from lrkit.training.lanes.update import UnbatchableError
from lrkit.training.lanes.work import Work
from lrkit.training.preparation import (
    batches_of,
    length_of,
    make_model,
    make_optimizer,
    take,
    test_batches,
    updates_of,
    valid_batches,
    with_rate,
)
from lrkit.training.pure_update import Measured
from lrkit.training.randomness import random_state, same_random_state, seeded, set_random_state
from lrkit.training.rules import rule_of

__all__ = ["Trial", "TriedOut"]

Momentum: TypeAlias = Literal["none", "some", "to zero"]

_LOOKS = 8  # updates that are looked at, and
_CHANCES = 40  # how often, where the model draws random numbers
_LOOKING = 1.0  # seconds at most


class Trial:
    """The first lane before its first update: what can be learnt from it; nothing is changed by that.

    Attributes:
        length: of each lane.

    Raises:
        InputError: for a lane that doesn't fit the task.
    """

    def __init__(self, work: Work) -> None:
        task, place, first = work.task, work.place, work.lanes[0]
        self._work = work
        with seeded(first.seed, place):
            self._model = make_model(task, place)
            self._optimizer = make_optimizer(first.of(task), self._model)
            before = random_state(place)
            self._data = batches_of(task, task.train, "train", place, first.seed)
            self._valid = valid_batches(task, place, ALL)
            self._test = test_batches(task, place, ALL)
            self._reading_draws = not same_random_state(before, random_state(place))
            self.length = length_of(task, self._data.count)
            self._random = random_state(place)
            self._kinds = [self._kind(lane) for lane in work.lanes]

    def _kind(self, lane: Lane) -> tuple[Momentum, ...]:
        """What becomes of the momentum in each param group: torch keeps nothing where there is none."""
        length = self.length
        optimizer = make_optimizer(lane.of(self._work.task), self._model)  # not kept, since it may be large
        scheduler = with_rate(lane.plan).bind(optimizer, lr=lane.lr, steps=length.steps, **length.sizes)
        scheduler.trust_count()
        scheduled = {index for hyper, index in scheduler.upcoming(1) if hyper == "momentum"}
        found: list[Momentum] = []
        for index, group in enumerate(optimizer.param_groups):
            if index in scheduled and "momentum" in group:
                found.append("to zero" if 0 in scheduler.upcoming(length.steps)["momentum", index] else "some")
            else:
                found.append("some" if group.get("momentum", 0) else "none")
        scheduler.release()
        return tuple(found)

    @cached_property
    def _updates(self) -> list[Sequence[Any]]:
        """The batches of the first updates."""
        task, place = self._work.task, self._work.place
        with seeded(0, place):
            set_random_state(self._random, place)
            found = updates_of(self._data, 1, accumulate=task.accumulate, done=0, place=place)
            updates = list(islice(found, _LOOKS))
        if not updates:
            error = InputError("train has no samples")
            blame(error, "the data of train")
            raise error
        return updates

    def try_out(self) -> "TriedOut":
        """Compute gradients as `run` does, and as lanes would.

        Raises:
            UnbatchableError: where lanes can't be one computation.
        """
        self._refuse_what_is_left_out()
        task, place = self._work.task, self._work.place
        most = max(range(len(self._kinds)), key=lambda number: self._kinds[number].count("some"))  # that is kept
        with seeded(0, place):
            reference = Reference.of(task, self._model, self._updates[0], place)
            self._require_the_same_gradients(reference)
            with _as_unbatchable():
                stack = Stack.of([self._model], 2)
                reference.check(task, self._model, self._optimizer, stack, self._updates[0])
                mixes = self._can_mix(reference)
            measured = self._measured()  # what is raised there isn't about lanes
            with _as_unbatchable():
                optimizer = make_optimizer(self._work.lanes[most].of(task), self._model)
                need = estimate(task, self._model, optimizer, self._updates[0][0], measured, place=place)
        return TriedOut(need.per_lane, mixes)

    def _measured(self) -> list[Any]:
        """A batch of each data that is measured after epochs."""
        data = (("valid", self._valid), ("test", self._test))
        return [batch for name, each in data if each is not None for batch in take(each.epoch(0), 1, name)]

    def _refuse_what_is_left_out(self) -> None:
        """See that all that takes part in an update would be part of the one computation."""
        task, optimizer = self._work.task, self._optimizer
        if task.precision == "float16":
            raise UnbatchableError("lanes in float16 can't be batched, since each needs a gradient scaler of its own")
        if any(lane.averaging is not None for lane in self._work.lanes):
            raise UnbatchableError("lanes can't be batched: there is no rule for schedule-free averaging")
        try:
            rule_of(optimizer)
        except InputError as error:
            raise UnbatchableError(f"lanes can't be batched: {error}") from None
        own = {id(each) for each in self._model.parameters()}
        if any(id(each) not in own for group in optimizer.param_groups for each in group["params"]):
            raise UnbatchableError("lanes can't be batched: the optimizer has parameters that the model hasn't")
        if _hooks(self._model, optimizer):
            raise UnbatchableError(
                "lanes can't be batched: a hook of a parameter or of the optimizer would be left out"
            )
        for number, kind in enumerate(self._kinds):
            if "to zero" in kind:
                raise UnbatchableError(f"lanes can't be batched: the momentum of lane {number} becomes zero on the way")

    def _require_the_same_gradients(self, reference: Reference) -> None:
        """See that the same parameters get gradients at every update: one that gets none isn't updated at all."""
        end = time.perf_counter() + _LOOKING
        for number in range(1, _CHANCES if reference.draws else len(self._updates)):
            batches = self._updates[number % len(self._updates)]
            with seeded(1000 + number, self._work.place):
                other = Reference.of(self._work.task, self._model, batches, self._work.place)
            if differing := sorted(other.gradients.keys() ^ reference.gradients.keys()):
                raise UnbatchableError(
                    f"lanes can't be batched: whether the parameter {differing[0]!r} gets a gradient depends on the "
                    "batch, or is left to chance"
                )
            if time.perf_counter() > end:
                return

    def _can_mix(self, reference: Reference) -> bool:
        """Whether lanes of several seeds can be one computation, each with batches of its own."""
        seeds = {lane.seed for lane in self._work.lanes}
        if len(seeds) == 1 or self._reading_draws or reference.draws or not isinstance(self._data, TensorBatches):
            return False
        if not isinstance(self._valid, TensorBatches | None) or self._validation_draws() or not self._alike(seeds):
            return False
        stack, batches = Stack.of([self._model, self._model], 2), stack_batches([self._updates[0], self._updates[0]])
        try:
            reference.check(self._work.task, self._model, self._optimizer, stack, batches)
        except UnbatchableError:  # torch has losses that it can't batch twice over
            return False
        return True

    def _validation_draws(self) -> bool:
        if self._valid is None:
            return False
        place, measured = self._work.place, Measured(copy.deepcopy(self._model).eval(), self._work.task)
        before = random_state(place)
        with torch.no_grad():
            measured(next(iter(self._valid.epoch(0))), with_metrics=True)
        return not same_random_state(before, random_state(place))

    def _alike(self, seeds: Collection[int]) -> bool:
        """Whether the models of all seeds are the same but for the values of parameters and buffers."""
        digests = set()
        for seed in seeds:
            with seeded(seed, self._work.place):
                digests.add(held_outside(make_model(self._work.task, self._work.place)))
        return len(digests) == 1 and None not in digests

    def groups(self, tried: "TriedOut", limit: int) -> list[list[int]]:
        """Which lanes go together: those that are the same computation, as many as fit.

        Seeds go together where each has as many lanes, the data are tensors in memory, the model draws nothing, and
        torch can batch over seeds too.
        """
        lanes = self._work.lanes
        rows: dict[tuple[Any, int], list[int]] = {}
        for number, lane in enumerate(lanes):
            rows.setdefault((self._kinds[number], lane.seed), []).append(number)
        size = _bytes_of(self._updates[0])
        whole = sum(each.nbytes for each in self._data.tensors) if isinstance(self._data, TensorBatches) else 0
        per_seed = min(max(TOGETHER, size), whole) + 2 * size  # batches gathered ahead, and those of an update stacked
        found: list[list[int]] = []
        for (_, count), together in _of_one_size(rows).items():
            seeds = limit // (tried.bytes_per_lane * count + per_seed)  # each seed has batches of its own
            if tried.mixes and seeds > 1:
                parts = -(-len(together) // seeds)
                most = -(-len(together) // parts)
                found += [list(chain.from_iterable(together[i : i + most])) for i in range(0, len(together), most)]
            else:
                for row in together:
                    found += fitting({number: lanes[number].seed for number in row}, tried.bytes_per_lane, limit)
        return found


class TriedOut(NamedTuple):
    """What is known of lanes that can be one computation.

    Attributes:
        bytes_per_lane: the memory that a lane needs.
        mixes: whether lanes of several seeds can be one computation too, each seed with batches of its own.
    """

    bytes_per_lane: int
    mixes: bool


@contextmanager
def _as_unbatchable() -> Iterator[None]:
    """Whatever is raised, since what `run` does with the same batches has been seen to work."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        first = " ".join(str(error).split(". ")[0].split()).rstrip(".")
        raise UnbatchableError(f"lanes can't be batched: {type(error).__name__}{first and ': '}{first}") from error


def _hooks(model: nn.Module, optimizer: Optimizer) -> bool:
    """Whether somebody else takes part in an update."""
    of_all = (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)
    of_one = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    of_parameters = ((each._backward_hooks, each._post_accumulate_grad_hooks) for each in model.parameters())
    return any(chain(of_all, of_one, *of_parameters))


def _bytes_of(updates: Sequence[Any]) -> int:
    return sum(each.nbytes for each in tree_leaves(updates) if isinstance(each, Tensor))


def _of_one_size(rows: Mapping[tuple[Any, int], list[int]]) -> dict[tuple[Any, int], list[list[int]]]:
    """Seeds' lanes by what they compute and how many they are."""
    found: dict[tuple[Any, int], list[list[int]]] = {}
    for (kind, _), row in rows.items():
        found.setdefault((kind, len(row)), []).append(row)
    return found

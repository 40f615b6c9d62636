"""What the first lane tells before its first update: whether lanes can be batched, and which of them go together."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from lrkit.schedules.errors import InputError
from lrkit.training.blame import blame
from lrkit.training.data import TensorBatches
from lrkit.training.lanes.footprint import estimate
from lrkit.training.lanes.memory import fitting
from lrkit.training.lanes.reference import Reference
from lrkit.training.lanes.stack import Stack, loose_tensors, stack_batches
from lrkit.training.lanes.update import UnbatchableError
from lrkit.training.lanes.work import Work
from lrkit.training.preparation import (
    batches_of,
    length_of,
    make_model,
    make_optimizer,
    take,
    updates_of,
    with_rate,
)
from lrkit.training.randomness import random_state, same_random_state, seeded, set_random_state
from lrkit.training.rules import rule_of

__all__ = ["Trial"]

_CHANCES = 8  # updates that are looked at where the model draws random numbers


class Trial:
    """The first lane before its first update: what can be learnt from it; nothing is changed by that."""

    def __init__(self, work: Work) -> None:
        task, place, first = work.task, work.place, work.lanes[0]
        self._work = work
        with seeded(first.seed, place):
            self.model = make_model(task, place)
            self.optimizers = [make_optimizer(each.of(task), self.model) for each in work.lanes]
            before = random_state(place)
            self.data = batches_of(task, task.train, "train", place, first.seed)
            self._valid = None if task.valid is None else batches_of(task, task.valid, "valid", place, None)
            self._reading_draws = not same_random_state(before, random_state(place))
            self.length = length_of(task, self.data.count)
            updates = updates_of(self.data, 1, accumulate=task.accumulate, done=0, place=place)
            self.batches: Sequence[Any] = next(updates, [])
            if not self.batches:
                error = InputError("train has no samples")
                blame(error, "the data of train")
                raise error
            self._random = random_state(place)
        self._kinds = [self._kind(number) for number in range(len(work.lanes))]

    def _kind(self, number: int) -> tuple[bool, ...]:
        """For each param group whether it has a momentum: torch keeps nothing where it is zero, another computation."""
        lane, optimizer, length = self._work.lanes[number], self.optimizers[number], self.length
        plan = with_rate(lane.plan)
        scheduler = plan.bind(optimizer, lr=lane.lr, steps=length.steps, **length.sizes)
        scheduled = {index: ("momentum", index) for hyper, index in scheduler.upcoming(1) if hyper == "momentum"}
        found = []
        for index, group in enumerate(optimizer.param_groups):
            if index in scheduled and "momentum" in group:
                values = scheduler.upcoming(length.steps)[scheduled[index]]
                if 0 in values:
                    self._zero = number
                found.append(True)
            else:
                found.append(bool(group.get("momentum", 0)))
        scheduler.release()
        return tuple(found)

    _zero: int | None = None  # a lane whose momentum becomes zero on the way
    _mixes = False

    def require_batchable(self) -> None:
        """See that lanes can be one computation.

        Raises:
            UnbatchableError: where they can't.
        """
        task, place, optimizer = self._work.task, self._work.place, self.optimizers[0]
        if task.precision == "float16":
            raise UnbatchableError("lanes in float16 can't be batched, since each needs a gradient scaler of its own")
        try:
            rule_of(optimizer)
        except InputError as error:
            raise UnbatchableError(f"lanes can't be batched: {error}") from None
        own = {id(each) for each in self.model.parameters()}
        if any(id(each) not in own for group in optimizer.param_groups for each in group["params"]):
            raise UnbatchableError("lanes can't be batched: the optimizer has parameters that the model hasn't")
        if _hooks(self.model, optimizer):
            raise UnbatchableError(
                "lanes can't be batched: a hook of a parameter or of the optimizer would be left out"
            )
        if self._zero is not None:
            raise UnbatchableError(f"lanes can't be batched: the momentum of lane {self._zero} becomes zero on the way")
        with seeded(0, place):
            set_random_state(self._random, place)
            reference = Reference.of(task, self.model, self.batches, place)
            self._require_the_same_gradients(reference)
            reference.check(task, self.model, optimizer, Stack.of([self.model], 2), self.batches)
            self._mixes = self._can_mix(reference)

    def _can_mix(self, reference: Reference) -> bool:
        """Whether lanes of several seeds can be one computation, each with batches of its own."""
        alike = isinstance(self.data, TensorBatches) and not self._reading_draws
        several = len({lane.seed for lane in self._work.lanes}) > 1
        if not (several and alike) or reference.draws or loose_tensors(self.model):
            return False
        stack, batches = Stack.of([self.model, self.model], 2), stack_batches([self.batches, self.batches])
        try:
            reference.check(self._work.task, self.model, self.optimizers[0], stack, batches)
        except UnbatchableError:  # torch has losses that it can't batch twice over
            return False
        return True

    def _require_the_same_gradients(self, reference: Reference) -> None:
        """See that it isn't left to chance which parameters get gradients: one that gets none isn't updated at all."""
        for seed in range(_CHANCES if reference.draws else 0):
            with seeded(seed, self._work.place):
                other = Reference.of(self._work.task, self.model, self.batches, self._work.place)
            if differing := sorted(other.gradients.keys() ^ reference.gradients.keys()):
                what = f"whether the parameter {differing[0]!r} gets a gradient"
                raise UnbatchableError(f"lanes can't be batched: it is left to chance {what}")

    def bytes_per_lane(self) -> int:
        """The memory that a lane needs."""
        task, place = self._work.task, self._work.place
        valid_batch = None
        if self._valid is not None:
            with seeded(0, place):
                found = take(self._valid.epoch(0), 1, "valid")
            valid_batch = found[0] if found else None
        most = max(range(len(self._kinds)), key=lambda number: sum(self._kinds[number]))  # a momentum is kept in memory
        return estimate(task, self.model, self.optimizers[most], self.batches[0], valid_batch, place=place).per_lane

    def groups(self, per_lane: int, limit: int) -> list[list[int]]:
        """Which lanes go together: those that are the same computation, as many as fit.

        Seeds go together where each has as many lanes, the data are tensors in memory, the model draws nothing, and
        torch can batch over seeds too.
        """
        lanes = self._work.lanes
        rows: dict[tuple[Any, int], list[int]] = {}
        for number, lane in enumerate(lanes):
            rows.setdefault((self._kinds[number], lane.seed), []).append(number)
        most = limit // per_lane
        found: list[list[int]] = []
        for (_, count), together in _alike(rows).items():
            if self._mixes and count <= most:
                seeds = max(1, most // count)
                parts = -(-len(together) // seeds)
                size = -(-len(together) // parts)
                found += [list(chain.from_iterable(together[i : i + size])) for i in range(0, len(together), size)]
            else:
                for row in together:
                    found += fitting({number: lanes[number].seed for number in row}, per_lane, limit)
        return found


def _hooks(model: nn.Module, optimizer: Optimizer) -> bool:
    """Whether somebody else takes part in an update."""
    of_all = (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)
    of_one = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    of_parameters = ((each._backward_hooks, each._post_accumulate_grad_hooks) for each in model.parameters())
    return any(chain(of_all, of_one, *of_parameters))


def _alike(rows: Mapping[tuple[Any, int], list[int]]) -> dict[tuple[Any, int], list[list[int]]]:
    """Seeds' lanes by what they compute and how many they are."""
    found: dict[tuple[Any, int], list[list[int]]] = {}
    for (kind, _), row in rows.items():
        found.setdefault((kind, len(row)), []).append(row)
    return found

"""The moving parts of lanes that are trained as one computation: `RunState`'s twin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from lrkit.training.data import Batches, TensorBatches
from lrkit.training.history import History, best_of
from lrkit.training.hyper import read
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.layout import Layout
from lrkit.training.lanes.parts import Parts
from lrkit.training.lanes.rates import Rates
from lrkit.training.lanes.reference import Reference
from lrkit.training.lanes.stack import Stack, held_outside, stack_batches
from lrkit.training.lanes.update import BatchedUpdate, UnbatchableError
from lrkit.training.lanes.validation import Validation
from lrkit.training.lanes.work import Work
from lrkit.training.preparation import (
    batches_of,
    length_of,
    made_of,
    make_model,
    make_optimizer,
    updates_of,
    with_rate,
)
from lrkit.training.pure_update import PureUpdate
from lrkit.training.randomness import random_state, seeded, set_random_state
from lrkit.training.record import Record
from lrkit.training.run_state import CHECK_EVERY
from lrkit.training.scheduler import Scheduler
from lrkit.training.task import sample_count

__all__ = ["LaneGroup", "Member"]


@dataclass
class Member:
    """A lane in a group.

    Attributes:
        number: among all lanes.
        optimizer: for its param groups only; it makes no update.
        made: what its history says of how it was made.
    """

    number: int
    lane: Lane
    optimizer: Optimizer
    scheduler: Scheduler
    record: Record
    made: dict[str, Any]


class LaneGroup:
    """Lanes under way, in one stack: all at the same update. Random state must be seeded around it.

    Lanes of one seed see the same batches, and the same random numbers inside the model; those of other seeds have
    batches of their own. With several seeds the data must be tensors in memory, and the model draw nothing.

    Attributes:
        members: the lanes, also those that have ended.
        active: indices of members that are under way.
        steps: updates done.
        epochs: epochs finished.
    """

    def __init__(self, work: Work, numbers: Sequence[int], *, compiled: bool) -> None:
        self._work, self._task, self._place, self._compiled = work, work.task, work.place, compiled
        seeds = list(dict.fromkeys(work.lanes[number].seed for number in numbers))
        self._models: list[nn.Module] = []
        optimizers: dict[int, Optimizer] = {}
        for seed in seeds:
            with seeded(seed, self._place) if self._models else nullcontext():
                self._models.append(make_model(self._task, self._place))
                for number in numbers:
                    if work.lanes[number].seed == seed:
                        optimizers[number] = make_optimizer(work.lanes[number].of(self._task), self._models[-1])
        self._batches = dict(zip(seeds, self._training_data(seeds), strict=True))  # after the model, as `run` does it
        self._length = length_of(self._task, self._batches[seeds[0]].count)
        self.members = [self._member(number, optimizer) for number, optimizer in optimizers.items()]
        self.active = set(range(len(self.members)))
        lanes_of = {seed: [i for i, each in enumerate(self.members) if each.lane.seed == seed] for seed in seeds}
        layout = Layout.of(list(lanes_of.values()))
        self._parts = Parts(layout, [Stack.of(self._models, len(layout.rows[0]))])
        optimizers_in_order, schedulers = zip(*((each.optimizer, each.scheduler) for each in self.members), strict=True)
        self._rates = Rates(optimizers_in_order, schedulers, layout, self._place)
        self._pure = PureUpdate(self._task, self._models[0], self.members[0].optimizer)
        self._validation = Validation(self._task, self._pure.measured, self._place)
        self._update: BatchedUpdate | None = None
        self.steps = self.epochs = self._in_epoch = 0
        self._fresh: list[tuple[Tensor, Tensor]] = []  # losses and samples that aren't in the records yet

    def _training_data(self, seeds: Sequence[int]) -> list[Batches]:
        """Batches in the order of each seed, of the same tensors."""
        first = batches_of(self._task, self._task.train, "train", self._place, seeds[0])
        if len(seeds) == 1:
            return [first]
        if not isinstance(first, TensorBatches):
            raise UnbatchableError("lanes of several seeds can share a group only where the data are tensors in memory")
        return [first, *(first.reseeded(seed) for seed in seeds[1:])]

    def _member(self, number: int, optimizer: Optimizer) -> Member:
        lane, task, length = self._work.lanes[number], self._task, self._length
        plan = with_rate(lane.plan)
        base = read(optimizer.param_groups[0], "lr") if lane.lr is None else lane.lr
        made = made_of(task, plan, length, lr=base, named_lr=lane.lr, seed=lane.seed, place=self._place, policy=None)
        made |= {"compiled": self._compiled, **lane.hypers, "lanes": dict(self._work.made)}
        scheduler = plan.bind(optimizer, lr=lane.lr, steps=length.steps, **length.sizes)
        scheduler.trust_count()
        return Member(number, lane, optimizer, scheduler, Record(made), made)

    # --- going on ---------------------------------------------------------------------------------

    @property
    def steps_left(self) -> int:
        """Updates to come."""
        return self._length.steps - self.steps

    def updates(self) -> Iterator[Sequence[Any]]:
        """What is left of the epoch under way: for each update the batches that make it, stacked for several seeds."""
        self._models[0].train()
        streams = {
            seed: updates_of(
                self._batches[seed],
                self.epochs + 1,
                accumulate=self._task.accumulate,
                done=self._in_epoch,
                place=self._place,
            )
            for seed in self._seeds()
        }
        while self.active and self.steps < self._length.steps:
            groups = {seed: next(stream, None) for seed, stream in streams.items()}  # rows may become fewer meanwhile
            rows = [groups[seed] for seed in self._seeds()]
            if rows[0] is None:
                return
            yield rows[0] if len(rows) == 1 else stack_batches(rows)

    def _seeds(self) -> list[int]:
        """That of each row of the stack."""
        return [self.members[index].lane.seed for index in self._parts.layout.firsts]

    def update(self, batches: Sequence[Any]) -> None:
        """One update of every lane."""
        if self._update is None:
            self._update = self._learnt(batches)
        parts = zip(self._parts.stacks, self._rates.next(self.steps_left), strict=True)
        found = [self._update(stack, numbers, batches) for stack, numbers in parts]
        losses, samples = zip(*found, strict=True)
        self._fresh.append((torch.cat(losses, dim=1), torch.cat(samples, dim=1)))
        self.steps += 1
        self._in_epoch += 1

    def _learnt(self, batches: Sequence[Any]) -> BatchedUpdate:
        """The update, once it is known which parameters get gradients, and that it would do what `run` does."""
        several = len(self._parts.layout.rows) > 1
        first = [tree_map_only(Tensor, itemgetter(0), each) for each in batches] if several else batches
        reference = Reference.of(self._task, self._models[0], first, self._place)
        if several and reference.draws:
            raise UnbatchableError("lanes of several seeds can't share a group: the model draws random numbers")
        reference.check(self._task, self._models[0], self.members[0].optimizer, self._parts.whole, batches)
        if self._compiled and not reference.draws:  # each part would draw for itself
            self._arrange(self._parts.divided())
        return self._batched(list(reference.gradients))

    def _batched(self, used: Sequence[str]) -> BatchedUpdate:
        identity = held_outside(self._models[0])
        graphs = {} if identity is None else self._work.graphs.setdefault(identity, {})
        return BatchedUpdate(self._pure, used, self._rates.fixed, graphs=graphs, compiled=self._compiled)

    def diverged(self) -> list[int]:
        """Those that have a loss in this epoch that isn't finite; looked at now and then."""
        if self._in_epoch % CHECK_EVERY:
            return []
        self._settle()
        return [index for index in sorted(self.active) if not self.members[index].record.is_finite()]

    def _settle(self) -> None:
        """Bring records and schedulers to where the updates are."""
        lrs = self._rates.drain()
        if not self._fresh:
            return
        losses = torch.stack([loss for loss, _ in self._fresh]).float().cpu()
        samples = torch.stack([count for _, count in self._fresh]).cpu().numpy()
        self._fresh = []
        sample_count(int(samples.min()))
        for index, (row, column) in self._parts.layout.places().items():
            if index in self.active:
                record = self.members[index].record
                record.extend(lrs[:, index], losses[:, row, column].clone(), samples[:, row, column])

    # --- epochs -----------------------------------------------------------------------------------

    def end_epoch(self, only: Iterable[int] | None = None) -> dict[int, History]:
        """Measure, record, and report to controllers; for all lanes under way, or before the epoch's end for some.

        Returns the histories by members' indices.
        """
        self._settle()
        if self._compiled and self._update is not None:
            for member in self.members:
                member.made["lanes"]["compile_seconds"] = self._update.compile_seconds
        indices = sorted(self.active) if only is None else list(only)
        places = self._parts.layout.places()
        sound = [places[index] for index in indices if self.members[index].record.is_finite()]
        alone = only is None and len(self._parts.layout.rows) == 1
        stack = self._parts.whole
        valid = self._validation.of_valid(stack, sound, aside=not alone)
        test = self._validation.of_test(stack, sound)
        found = {}
        for index in indices:
            member, at = self.members[index], places[index]
            valid_loss, metrics = valid.get(at, (None, {}))
            found[index] = history = member.record.end_epoch((valid_loss, metrics), test.get(at, (None, {})))
            train_loss = history.epochs[-1].train_loss
            loss = train_loss if valid_loss is None else valid_loss
            member.scheduler.step({**metrics, "loss": loss, "train_loss": train_loss})
        if only is None:
            self.epochs, self._in_epoch = self.epochs + 1, 0
        return found

    def finished(self, index: int) -> bool:
        """Whether a lane has nothing left to do at the end of an epoch."""
        task, epochs = self._task, self.members[index].record.epochs
        if self.steps >= self._length.steps or (self._length.epochs is not None and len(epochs) >= self._length.epochs):
            return True
        return task.early_stopping is not None and len(epochs) - (best_of(epochs) or 0) >= task.early_stopping

    # --- parting ----------------------------------------------------------------------------------

    def part_with(self, indices: Iterable[int]) -> None:
        """Go on without some lanes; the stack gets smaller once it can be half of what it is, and that pays."""
        self._settle()
        self.active -= set(indices)
        if not self.active:
            return
        parts = self._parts.without_others(self.active, steps_left=self.steps_left, compiled=self._compiled)
        if parts is not self._parts:
            self._arrange(parts)

    def _arrange(self, parts: Parts) -> None:
        self._parts = parts
        self._rates.arrange(parts.layout, len(parts.stacks))

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that the lanes under way need to go on from here: plain data and tensors, no code."""
        self._settle()
        lanes = {
            str(self.members[index].number): {
                "scheduler": self.members[index].scheduler.state_dict(),
                "record": self.members[index].record.state(),
            }
            for index in sorted(self.active)
        }
        return {
            "grid": [[self.members[index].number for index in row] for row in self._parts.layout.rows],
            "parts": len(self._parts.stacks),
            **vars(self._parts.whole),
            "lanes": lanes,
            "random": random_state(self._place),
            "lane_steps": self._length.steps * (len(self.members) - len(self.active)) + self.steps * len(self.active),
            "progress": {"steps": self.steps, "epochs": self.epochs, "in_epoch": self._in_epoch},
            "update": None if self._update is None else self._update.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        index_of = {member.number: index for index, member in enumerate(self.members)}
        layout = Layout(tuple(tuple(index_of[number] for number in row) for row in state["grid"]))
        self.active = {index_of[int(number)] for number in state["lanes"]}
        to_place = partial(tree_map_only, Tensor, lambda each: each.to(self._place))
        stack = Stack(*(to_place(state[name]) for name in ("parameters", "buffers", "states")))
        for number, each in state["lanes"].items():
            member = self.members[index_of[int(number)]]
            member.scheduler.load_state_dict(dict(each["scheduler"]))
            member.record.restore(each["record"], self._place)
        self._arrange(Parts(layout, stack.split(state["parts"])))
        progress = state["progress"]
        self.steps, self.epochs, self._in_epoch = progress["steps"], progress["epochs"], progress["in_epoch"]
        if state["update"] is not None:
            self._update = self._batched(state["update"]["used"])
            self._update.key = state["update"]["key"]
        set_random_state(state["random"], self._place)

"""The moving parts of a run: what one update does, what an epoch's end does, and all that a checkpoint needs."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import IterableDataset

from lrkit.schedules import Plan, Plans
from lrkit.schedules.errors import InputError
from lrkit.training.averaging import begin_training, measuring
from lrkit.training.blame import blame, blaming
from lrkit.training.compiled import CompiledUpdate
from lrkit.training.history import History, best_of
from lrkit.training.hyper import read
from lrkit.training.measurement import Measurement
from lrkit.training.observer import Setup
from lrkit.training.optimizer_step import blaming_step, require_clippable, sparse_gradient
from lrkit.training.preparation import (
    batches_of,
    length_of,
    made_of,
    make_model,
    make_optimizer,
    test_batches,
    updates_of,
    valid_batches,
    with_rate,
)
from lrkit.training.randomness import random_state, set_random_state
from lrkit.training.ranks import Ranks
from lrkit.training.record import Means, Record
from lrkit.training.scheduler_state import Policy
from lrkit.training.task import Task
from lrkit.training.untouched import unnoticed

__all__ = ["CHECK_EVERY", "RunState"]

# What processes that train together have to be asked for alike.
_ALIKE = ("schedule", "lr", "seed", "steps", "epoch_steps", "batch_size", "accumulate", "precision")

CHECK_EVERY = 500  # updates between two looks for a loss that isn't finite: each look waits for the device


class RunState:
    """Model, optimizer, scheduler, data and record of a run under way; random state must be seeded around it."""

    def __init__(
        self,
        task: Task,
        plan: Plan | Plans,
        *,
        lr: float | None,
        seed: int,
        place: torch.device,
        policy: Policy | None = None,
        compiled: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        plan = with_rate(plan)
        self.task = task
        self.place = place
        self.policy = policy
        self.ranks = Ranks() if ranks is None else ranks
        self._seed = seed
        self.model = make_model(task, place)
        self._parameters = list(self.model.parameters())
        self._measurement = Measurement(task, self.model, place, self.ranks)
        self.optimizer = make_optimizer(task, self.model)
        self.compiled = _make_compiled(task, self.model, self.optimizer) if compiled else None
        self.train = batches_of(task, task.train, "train", place, seed, share=self.ranks.share)
        self.valid = valid_batches(task, place, self.ranks.share)
        self.test = test_batches(task, place, self.ranks.share)
        self.scaler = torch.amp.GradScaler(place.type, enabled=task.precision == "float16")
        base = read(self.optimizer.param_groups[0], "lr") if lr is None else lr
        length = length_of(task, self.train.count, self.ranks.count)
        kept = None if policy == "restart" else policy  # a run that has begun anew goes on as any other
        made = made_of(task, plan, length, lr=base, named_lr=lr, seed=seed, place=place, policy=kept)
        self.setup = Setup(
            length.steps,
            length.epoch_steps,
            length.epochs,
            plan,
            plan.over(length.steps, **length.sizes),
            {**made, "compiled": compiled, **({} if self.ranks.alone else {"processes": self.ranks.count})},
            self.snapshot,
        )
        self.scheduler = plan.bind(self.optimizer, lr=lr, steps=length.steps, policy=policy, **length.sizes)
        self.scheduler.trust_count()  # a task's optimizer may bring moments
        begin_training(self.optimizer, {hyper for hyper, _ in self.scheduler.upcoming(1)})
        self.record = Record(self.setup.made)
        self._begin_alike()

    def _begin_alike(self) -> None:
        """See that all processes train the same, from the same weights."""
        made = {name: self.setup.made[name] for name in _ALIKE}
        self.ranks.check_same({**made, "the number of parameters": sum(map(Tensor.numel, self._parameters))})
        self.ranks.copy_first(chain(self._trained(), self.model.buffers()))

    # --- going on ---------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Updates done."""
        return self.scheduler.steps

    def finished(self) -> bool:
        """Whether the last epoch was closed and nothing is left to do."""
        if self.record.updates_in_epoch or not self.record.epochs:
            return False
        done, task = len(self.record.epochs), self.task
        if self.steps >= self.setup.steps or (self.setup.epochs is not None and done >= self.setup.epochs):
            return True
        return task.early_stopping is not None and done - (best_of(self.record.epochs) or 0) >= task.early_stopping

    def updates(self) -> Iterator[Sequence[Any]]:
        """What is left of the epoch under way: for each update the batches that make it.

        In the last update a process may have none, where others have some.
        """
        groups = updates_of(
            self.train,
            len(self.record.epochs) + 1,
            accumulate=self.task.accumulate,
            done=self.record.updates_in_epoch,
            place=self.place,
        )
        for number in count(self.record.updates_in_epoch):
            if self.steps >= self.setup.steps:
                return
            self.ranks.reseed(self._seed, self.steps)
            group = next(groups, ())
            if not self._anybody_has(group, number):
                return
            yield group

    def _anybody_has(self, group: Sequence[Any], number: int) -> bool:
        """Whether any process has batches for the update with that number in the epoch; asked where unknown."""
        if self.ranks.alone or self.setup.epoch_steps is None or isinstance(self.task.train, IterableDataset):
            return self.ranks.any(bool(group))
        return number < self.setup.epoch_steps

    def update(self, batches: Sequence[Any]) -> None:
        """One optimizer update, recorded with the rates that it used."""
        self.ranks.copy_first(self.model.buffers())
        self.scheduler.sync()  # somebody may have set another rate, or added a group
        lrs = [read(group, "lr") for group in self.optimizer.param_groups]
        if self.compiled is not None and self.compiled.fits(batches):
            self.record.update(lrs, *self.compiled(batches))
            return
        with nullcontext() if self.compiled is None else self.compiled.learning(batches, self.place):
            loss, samples = self._gradients(batches)
            if self.compiled is not None:
                _require_dense(self.model)
        if self.task.clip_norm is not None:
            require_clippable(self.model)
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.task.clip_norm)
        before = self.scheduler.steps
        with blaming_step(self.optimizer):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        for parameter in self._held():
            parameter.grad = None
        if self.scheduler.steps > before:  # not one that the gradient scaler skipped
            self.record.update(lrs, loss, samples)

    def _held(self) -> Iterator[Tensor]:
        """The model's parameters and the optimizer's: it may have some of them only, or others too; many twice."""
        return chain(self._parameters, *(group["params"] for group in self.optimizer.param_groups))

    def _trained(self) -> list[Tensor]:
        """The same, each once."""
        return list({id(each): each for each in self._held()}.values())

    @torch.enable_grad()
    def _gradients(self, batches: Sequence[Any]) -> tuple[Tensor, int]:
        """Leave the gradients of the mean loss over all samples of the batches; return that loss, and their number."""
        if len(batches) == 1 and self.ranks.alone:
            loss, n = self._measurement.training_loss(batches[0])
            self.scaler.scale(loss).backward()
            return loss.detach(), n
        total, samples = torch.zeros((), device=self.place), 0
        for batch in batches:
            loss, n = self._measurement.training_loss(batch, least=0)
            if not n:
                continue  # a mean over nothing, which may be NaN
            self.scaler.scale(loss * n).backward()
            total = total + loss.detach() * n
            samples += n
        return self.ranks.mean_gradients(self._trained(), total, samples)

    def diverged(self) -> bool:
        """Whether a loss of this epoch isn't finite; looked at now and then."""
        return self.record.updates_in_epoch % CHECK_EVERY == 0 and not self.record.is_finite()

    def end_epoch(self) -> History:
        """Measure, record, and report to a controller, which never sees the test data."""
        if self.compiled is not None:
            self.setup.made["compiled_updates"] = self.compiled.count
        self.ranks.reseed(self._seed, self.steps)
        sound = self.record.is_finite()  # what has diverged isn't measured: a metric may not bear it
        valid_loss, metrics = self._validated() if sound else (None, {})
        history = self.record.end_epoch((valid_loss, metrics), self._tested() if sound else (None, {}))
        train_loss = history.epochs[-1].train_loss
        loss = train_loss if valid_loss is None else valid_loss
        self.scheduler.step({**metrics, "loss": loss, "train_loss": train_loss})
        return history

    def _validated(self) -> Means:
        if self.valid is None:
            return None, {}
        with measuring(self.optimizer):
            return self._measurement.means(self.valid, "valid")

    def _tested(self) -> Means:
        if self.test is None:
            return None, {}
        with unnoticed(self.model, self.place), measuring(self.optimizer):
            return self._measurement.means(self.test, "test")

    def close(self) -> None:
        """Let go of what is large, since the snapshot in the setup keeps this object until the next garbage collection.

        There is no snapshot afterwards.
        """
        self.scheduler.release()
        del self.model, self._parameters, self._measurement, self.optimizer, self.scheduler, self.compiled
        del self.train, self.valid, self.test

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that the run needs to go on from here: plain data and tensors, no code."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "compiled": None if self.compiled is None else self.compiled.state(),
            "random": random_state(self.place),
            "record": self.record.state(),
            "finite": self.record.is_finite(),
            **({"origin": self.setup.made["origin"]} if "origin" in self.setup.made else {}),
        }

    def _require_size(self, state: Mapping[str, Any]) -> None:
        """Refuse a snapshot of updates with other batches: what is left of an epoch can't be told then."""
        before = (state["scheduler"].get("horizon") or {}).get("step_samples")
        now = self.setup.made.get("step_samples")
        if self.policy != "restart" and before is not None and now is not None and now != before:
            raise InputError(
                f"the snapshot's updates took {before} samples each, and those of this task take {now}; "
                "give the task the batch size and accumulation that it had, or begin anew with policy 'restart'"
            )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; with policy "restart" begin with its weights and the optimizer's and scaler's state.

        Raises:
            InputError: when the weights or the optimizer's state don't fit, or the schedule or horizon differs and no
                policy was named.
        """
        with _fitting():
            self.model.load_state_dict(state["model"])
            self._require_size(state)
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch would train with its tensors
            self.scheduler.load_state_dict(dict(state["scheduler"]), policy=self.policy)
            self.scaler.load_state_dict(dict(state["scaler"]))
        made = self.setup.made
        made["schedule"] = str(self.scheduler.plan)  # "keep" may have changed it, and the rate
        made["lr"], made["named_lr"] = self.scheduler.base_lrs[0], self.scheduler.state_dict()["lr"]
        if self.policy == "restart":
            with _fitting():
                made["origin"] = _origin_of(state)
            self.setup = dataclasses.replace(self.setup, restarted=True)
            return
        with _fitting():
            if "origin" in state:
                made["origin"] = dict(state["origin"])
            if self.compiled is not None and state["compiled"] is not None:
                self.compiled.restore(state["compiled"])
            self.record.restore(state["record"], self.place)
            set_random_state(state["random"], self.place)
        done = self.record.history() if self.record.epochs else None
        self.setup = dataclasses.replace(self.setup, steps_done=self.steps, history=done)


def _origin_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a snapshot says of the run that it was taken from; which file it is, where it was read from one."""
    file = {name: state[name] for name in ("folder", "checkpoint") if name in state}
    return {**file, "steps": state["scheduler"]["steps"], "epochs": len(state["record"]["epochs"])}


@contextmanager
def _fitting() -> Iterator[None]:
    """Say that the checkpoint doesn't fit, whatever is wrong with what is in it."""
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"the checkpoint doesn't fit the task: {reason}") from None


def _make_compiled(task: Task, model: nn.Module, optimizer: Optimizer) -> CompiledUpdate:
    with blaming("the compiled update"):
        return CompiledUpdate(task, model, optimizer)


def _require_dense(model: nn.Module) -> None:
    name = sparse_gradient(model)
    if name is not None:
        error = InputError(f"a compiled update has no sparse gradients, which {name!r} has; train it without compile")
        blame(error, "the compiled update")
        raise error

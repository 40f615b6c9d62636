"""How many updates a trainer of Lightning will make."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from lrkit.schedules.errors import InputError
from lrkit.trainers.extras import extra

with extra("lightning"):
    from lightning.fabric.utilities.data import sized_len
    from lightning.fabric.utilities.types import _Stateful
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["AtStart", "Length", "accumulation", "length", "updates"]

_SHARED = (
    "max_steps counts the updates of all optimizers together in manual optimization; give max_epochs, or give steps"
)


class Length(NamedTuple):
    """Updates in all, and in an epoch where epochs are alike; why there is none in all; and how many are done."""

    steps: int | None
    epoch_steps: int | None
    why: str = ""
    done: int = 0


class AtStart(Callback):
    """Does something when training begins, once other callbacks have found a batch size."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self.ended = False

    @property
    def state_key(self) -> str:
        """Its own, so that it is nobody else's."""
        return f"{type(self).__qualname__}{id(self)}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do it, once."""
        if not self.ended:
            self.ended = True
            self._begin()


def updates(trainer: Trainer) -> tuple[int, int | None]:
    """Updates that a trainer will make in all, and in an epoch; None for these where epochs differ.

    An epoch's last update may have fewer batches than the others; `limit_train_batches`, `max_steps`, and an
    accumulation that changes from epoch to epoch are counted. Of a trainer that has trained before, and doesn't go on
    from a checkpoint, only what is left is counted. In manual optimization it is one update for each batch.

    Raises:
        InputError: where the trainer has no length.
    """
    found = length(trainer)
    if found.steps is None:
        raise InputError(found.why)
    return found.steps, found.epoch_steps


def length(trainer: Any, *, restored: bool = False, begun: bool = False) -> Length:
    """The same, without a complaint where there is no length.

    Args:
        trainer: that fits.
        restored: whether its progress is that of the checkpoint from which it goes on: then the length is what it has
            done and what is left, by the batches and the accumulation that it has now.
        begun: whether it has its data already, and reads from it.
    """
    fit, resumed = trainer.fit_loop, trainer.ckpt_path is not None
    epochs, most, trial = trainer.max_epochs, trainer.max_steps, bool(trainer.fast_dev_run)
    fit.setup_data()
    batches = trainer.num_training_batches
    full = _full_length(fit) if trial else None
    rest = _full_length(fit) if restored and _goes_on(fit) else None
    if resumed and not begun:
        fit._combined_loader = None  # or Lightning wouldn't tell a loader that can go on where it was
    if not batches:
        return Length(None, None, "the trainer has no training batches, so there is nothing to schedule")
    if trial:  # as if nothing were limited: its one or two updates say nothing of the training that is tried
        each = math.ceil(max(full or 1, batches) / accumulation(trainer, 0))
        return Length(each, each)
    before = 0 if resumed else fit.epoch_progress.current.processed
    within, module = 0, trainer.lightning_module
    done = _done(trainer) if restored else 0
    if restored:
        before, within = _begun(trainer, batches, rest)
    end = math.inf if epochs is None or epochs == -1 else max(epochs, before + (not restored))
    left = math.inf if most == -1 else max(most - (0 if resumed and not restored else trainer.global_step), 1)
    shared = most != -1 and module is not None and not module.automatic_optimization
    if math.isinf(batches):
        why = "the training data has no length; give the trainer max_steps or limit_train_batches, or give steps"
        steps, each_epoch = math.inf, None
    else:
        why = "the trainer has no length with max_epochs=-1; give it max_epochs or max_steps, or give steps"
        steps, each_epoch = _count(trainer, batches, before, end, left)
    if shared or math.isinf(min(steps, left)):
        return Length(None, each_epoch, _SHARED if shared else why, done)
    return Length(done + int(max(min(steps - within, left), 0)), each_epoch, done=done)


def _done(trainer: Any) -> int:
    """Updates that a trainer has made: in manual optimization it is one for each batch."""
    if trainer.lightning_module.automatic_optimization:
        return int(trainer.global_step)
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def _begun(trainer: Any, batches: float, held: int | None) -> tuple[int, int]:
    """The epochs that are over, and the updates that a trainer won't make of the next, by what a checkpoint says.

    Args:
        trainer: that goes on.
        batches: that an epoch has now.
        held: batches that a loader has, where it goes on where it was; None where it begins anew.
    """
    batch, begun = trainer.fit_loop.epoch_loop.batch_progress, trainer.fit_loop.epoch_progress.current.ready
    seen, before = batch.current.ready, begun if batch.is_last_batch else max(begun - 1, 0)
    within_batch = batch.total.completed < batch.total.processed  # it was saved before its batch was over
    if batch.is_last_batch and not within_batch:
        return before, 0
    each = accumulation(trainer, before)
    if seen < batches:
        return before, seen // each
    size = math.ceil(batches / each)
    if not within_batch:
        return before, size
    if batch.is_last_batch or held is None:  # Lightning goes through the whole epoch again
        return before, 0
    return before, size - math.ceil(min(batches, max(held - seen, 0)) / each)


def _count(trainer: Trainer, batches: float, first: int, end: float, most: float) -> tuple[float, int | None]:
    """Updates from the first epoch to the end, or until there are enough; and in each where they are alike."""
    settled = max([first, *(epoch for each in _growing(trainer) for epoch in each.epochs)])  # alike from here on
    total, sizes, epoch = 0.0, set(), first
    while epoch < end and total < most:
        sizes.add(size := math.ceil(batches / accumulation(trainer, epoch)))
        if epoch >= settled:
            total += size * (end - epoch)
            break
        total, epoch = total + size, epoch + 1
    return total, sizes.pop() if len(sizes) == 1 else None


def accumulation(trainer: Trainer, epoch: int) -> int:
    """Batches in an update of that epoch."""
    growing = _growing(trainer)
    return int(growing[0].get_accumulate_grad_batches(epoch) if growing else trainer.accumulate_grad_batches)


def _growing(trainer: Any) -> list[Any]:
    return [each for each in trainer.callbacks if hasattr(each, "get_accumulate_grad_batches")]


def _goes_on(fit: Any) -> bool:
    """Whether the data goes on where it was when a checkpoint was saved."""
    loaders = [] if fit._combined_loader is None else fit._combined_loader.flattened
    return bool(loaders) and all(isinstance(each, _Stateful) for each in loaders)


def _full_length(fit: Any) -> int | None:
    """Batches of the loader, whatever limits them."""
    loaders = [] if fit._combined_loader is None else fit._combined_loader.flattened
    return max((sized_len(each) or 0 for each in loaders), default=None)

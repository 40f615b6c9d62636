"""lrkit with Accelerate: a schedule whose length is counted from the loader, whatever the number of processes."""

from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.data import IterableDataset

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.trainers.extras import extra
from lrkit.trainers.plans import as_plan
from lrkit.training.binding import bind as bind_plan
from lrkit.training.progress import Progress, epochs_left
from lrkit.training.scheduler import Conflict, Policy, Scheduler
from lrkit.training.scheduler_state import SchedulerState

with extra("accelerate"):
    from accelerate import Accelerator
    from accelerate.data_loader import BatchSamplerShard, DataLoaderStateMixin

__all__ = ["bind"]


def bind(
    accelerator: Accelerator,
    schedule: Plan | Plans | str,
    optimizer: Optimizer,
    loader: Any = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    policy: Policy | None = None,
    on_conflict: Conflict = "warn",
) -> Scheduler:
    """Let a schedule or controller set the rates; its length is what the training will have in updates.

    An update is one of the optimizer, whatever the number of processes and of batches that it accumulates. Optimizer
    and loader may be prepared or not. `accelerator.prepare(scheduler)` is allowed and not needed: the optimizer's state
    has the scheduler's, so `save_state` and `load_state` have it in any case.

    Args:
        accelerator: which prepares optimizer and loader, or has prepared them.
        schedule: a plan, or its text.
        optimizer: whose updates count.
        loader: the training data, by which epochs and lengths in epochs are counted.
        epochs: how often it is gone through in all. Of a training that goes on, those that are left have the updates
            that an epoch has now.
        steps: the updates, instead of epochs.
        lr: the base of every group, by default its own.
        policy: what to do when a state was made with another schedule, horizon or `lr`: "keep", "stretch", "replace" or
            "restart", as in `Scheduler.load_state_dict`.
        on_conflict: what to do when somebody else sets a rate: "warn", "refuse" or "yield", as in `Plan.bind`.

    Raises:
        InputError: when the length can't be counted.

    >>> import torch, lrkit
    >>> from accelerate import Accelerator
    >>> accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.zeros(36, 1), batch_size=8)
    >>> bind(accelerator, "linear(to=0)", optimizer, loader, epochs=4).horizon.steps  # 5 batches make 3 updates
    12
    """
    given: object = accelerator
    if not isinstance(given, Accelerator):
        raise InputTypeError(f"accelerator must be an Accelerator, not {type(given).__name__}")
    if epochs is not None and steps is not None:
        raise InputError(f"give epochs or steps, not both: epochs is {shown(epochs)}, steps is {shown(steps)}")
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise InputError(f"epochs must be a whole number of at least 1, not {shown(epochs)}")
    if epochs is not None and loader is None:
        raise InputError(f"epochs={epochs} can't be counted without the loader")
    if loader is not None and epochs is None and steps is None:
        raise InputError("loader is given without epochs= or steps=")
    epoch_steps = None
    if loader is not None:
        counted, epoch_steps = _updates(accelerator, _batches(accelerator, loader), epochs or 0)
        steps = steps if epochs is None else counted

    def measure(saved: SchedulerState | None, named: Policy | None) -> Progress | None:
        """Of a training that goes on, the epochs that are left count, with the updates that one has now."""
        left = None if saved is None or not (epochs and epoch_steps) else epochs_left(saved, epochs, epoch_steps)
        if saved is None or left is None or named == "restart":
            return None
        return Progress(saved.steps, Horizon(max(saved.steps + left, 1), epoch_steps))

    horizon = None if steps is None else Horizon(steps, epoch_steps)
    return bind_plan(
        as_plan(schedule), optimizer, horizon, lr=lr, policy=policy, on_conflict=on_conflict, measure=measure
    )


def _updates(accelerator: Accelerator, batches: int, epochs: int) -> tuple[int, int | None]:
    """The updates of so many epochs, and of one of them where all have the same number."""
    each = accelerator.gradient_accumulation_steps
    if accelerator.gradient_state.sync_with_dataloader:  # the last batch of an epoch makes an update in any case
        epoch_steps = -(-batches // each)
        return epochs * epoch_steps, epoch_steps
    return epochs * batches // each, None if batches % each else batches // each


def _batches(accelerator: Accelerator, loader: Any) -> int:
    """How many batches each process will get in an epoch."""
    try:
        count = len(loader)
    except TypeError:
        raise InputError("loader has no length; give steps= and leave it out") from None
    if accelerator.num_processes == 1:
        return count
    if not isinstance(loader, DataLoaderStateMixin):
        if isinstance(loader.dataset, IterableDataset) or accelerator.torch_device_mesh is not None:
            raise InputError("loader must be prepared before what each process gets of it can be counted")
        count = len(
            BatchSamplerShard(
                loader.batch_sampler,
                accelerator.num_processes,
                accelerator.process_index,
                split_batches=accelerator.split_batches,
                even_batches=accelerator.even_batches,
            )
        )
    if not accelerator.even_batches:
        counts = accelerator.gather(torch.tensor([count], device=accelerator.device)).tolist()
        if min(counts) != max(counts):
            raise InputError(f"the processes have different numbers of batches, {shown(counts)}; give steps=")
    return count

"""A learning rate for a training in Lightning, before it begins."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from lrkit.analysis.finder import find
from lrkit.schedules.errors import InputError, InputTypeError, unknown
from lrkit.trainers.extras import extra
from lrkit.trainers.lightning_length import accumulation
from lrkit.training.hyper import place, read, write
from lrkit.training.scheduler import scheduler_of

if TYPE_CHECKING:
    from lrkit.analysis.finding import Finding

with extra("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities import rank_zero_info

__all__ = ["Finder"]


class Finder(Callback):
    """Finds a learning rate before training begins, with copies of the module, and has the optimizer use it.

    The rate becomes the base of the first param group, the others keep their ratios to it, and the schedule stays what
    it is: lrkit's has another base, torch's are scaled. Nothing else has changed when training begins. It does nothing
    where training goes on from a checkpoint, and in a `fast_dev_run`.

    Copies are trained by `training_step`, which has no trainer there, and whose `self.log` does nothing; with the
    trainer's device, precision, accumulation and clipping by norm.

    Args:
        otherwise: what to do where the losses support no rate: "raise" an error, or "keep" the rate there is.
        forward: in the place of `training_step`: `forward(module, batch)` gives the mean loss; the module is a copy.
        **options: of `lrkit.find`, such as `low`, `high`, `steps`, `seeds`, `method`.

    Attributes:
        finding: what was found, with its curve; None before.

    >>> from lightning.pytorch import Trainer
    >>> finder = Finder(seeds=2)
    >>> trainer = Trainer(callbacks=[finder], logger=False, enable_checkpointing=False, accelerator="cpu")
    """

    def __init__(
        self,
        *,
        otherwise: Literal["raise", "keep"] = "raise",
        forward: Callable[[Any, Any], Tensor] | None = None,
        **options: Any,
    ) -> None:
        if otherwise not in ("raise", "keep"):
            raise unknown("otherwise", str(otherwise), ["raise", "keep"])
        own = inspect.signature(find).parameters
        fixed = {"model", "optimizer", "loader", "loss", "forward", "accumulate", "clip_norm", "precision"}
        for name in options:
            if name not in own or name in fixed:
                raise unknown("option", name, sorted(set(own) - fixed))
        self._otherwise, self._forward, self._options = otherwise, forward, options
        self.finding: Finding | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find a rate, and have it used."""
        if _is_trial(trainer):
            return
        optimizer = _optimizer_of(trainer, pl_module)
        bound = scheduler_of(optimizer)
        if trainer.ckpt_path is not None:
            if bound is not None:
                bound.rebase(bound.base_lrs)  # so that a checkpoint with a rate that was found is no surprise
            return
        schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
        for each in schedulers:
            _require_scalable(each)
        if bound is not None:
            bound.rebase(bound.base_lrs)  # or it is said too late that it can't be
        trainer.fit_loop.setup_data()
        groups = optimizer.param_groups
        bases = [float(group.get("initial_lr", read(group, "lr"))) for group in groups]
        forward = _Forward(trainer, self._forward or _training_step(pl_module))
        with _rates(optimizer, bases):
            self.finding = finding = find(
                pl_module,
                optimizer,
                _loader_of(trainer),
                forward=forward,
                accumulate=accumulation(trainer, trainer.current_epoch),
                clip_norm=trainer.gradient_clip_val,
                **self._options,
            )
        rate = trainer.strategy.broadcast(finding.suggestion)
        if rate is not None:
            first = next(base for base in bases if base > 0)
            _use(optimizer, schedulers, bases, [rate if base == first else base * (rate / first) for base in bases])
            between = "" if finding.interval is None else ", between {:.3g} and {:.3g}".format(*finding.interval)
            rank_zero_info(f"lrkit found the learning rate {rate:.3g}{between}")
        elif self._otherwise == "raise":
            raise InputError(f"the losses support no learning rate: {finding.reason}; give one, or otherwise='keep'")
        else:
            rank_zero_info(f"lrkit found no learning rate: {finding.reason}; the one there is stays")


class _Forward:
    """A forward for `find`, as the trainer would make it."""

    def __init__(self, trainer: Trainer, step: Callable[[Any, Any], Any]) -> None:
        self._trainer, self._step = trainer, step

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        precision = self._trainer.precision_plugin
        # without a gradient scaler, float16 would hide where the loss explodes
        halved = "16-" in str(precision.precision) and "bf16" not in str(precision.precision)
        batch = self._trainer.strategy.batch_to_device(precision.convert_input(batch), dataloader_idx=0)
        with nullcontext() if halved else precision.train_step_context():
            found = self._step(model, batch)
        loss = found.get("loss") if isinstance(found, dict) else found
        if not isinstance(loss, Tensor):
            raise InputTypeError(f"training_step must return a loss, or a dict with 'loss', not {type(found).__name__}")
        return loss


def _training_step(module: LightningModule) -> Callable[[Any, Any], Any]:
    names = list(inspect.signature(module.training_step).parameters)
    if "dataloader_iter" in names:
        raise InputError("training_step takes the loader's iterator, which the Finder can't give; give it forward=")

    def step(copied: Any, batch: Any) -> Any:
        copied.__dict__.update(log=_ignore, log_dict=_ignore)
        try:
            return copied.training_step(batch, 0) if len(names) > 1 else copied.training_step(batch)
        except (RuntimeError, AttributeError) as error:  # the second from what is asked of None
            if getattr(copied, "_trainer", None) is None and "rainer" in str(error):
                raise InputError(
                    "training_step needs its trainer, which copies don't have: give Finder forward="
                ) from error
            raise

    return step


def _ignore(*_: Any, **__: Any) -> None:
    """What a copy logs."""


def _is_trial(trainer: Any) -> bool:
    return bool(trainer.fast_dev_run)


def _loader_of(trainer: Trainer) -> Any:
    loader: Any = trainer.train_dataloader
    if isinstance(loader, dict | tuple | list) and any(hasattr(each, "dataset") for each in _values(loader)):
        raise InputError("the Finder is for one train loader, and there are several; use lrkit.find")
    return loader


def _values(loaders: Any) -> Any:
    return loaders.values() if isinstance(loaders, dict) else loaders


def _optimizer_of(trainer: Trainer, module: LightningModule) -> Optimizer:
    if not module.automatic_optimization or len(trainer.optimizers) != 1:
        raise InputError("the Finder is for automatic optimization with one optimizer; use lrkit.find elsewhere")
    if trainer.gradient_clip_val is not None and str(trainer.gradient_clip_algorithm or "norm") not in (
        "norm",
        "GradClipAlgorithmType.NORM",
    ):
        raise InputError("the Finder can clip gradients by norm only, not with gradient_clip_algorithm='value'")
    return trainer.optimizers[0]


@contextmanager
def _rates(optimizer: Optimizer, rates: Sequence[float]) -> Iterator[None]:
    """Have the groups at these rates, so that a warm-up under way isn't taken for the rate."""
    groups = optimizer.param_groups
    before = [read(group, "lr") for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        write(group, place(group, "lr"), rate)
    try:
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            write(group, place(group, "lr"), rate)


def _use(optimizer: Optimizer, schedulers: Sequence[Any], bases: Sequence[float], wanted: list[float]) -> None:
    """Give all groups new bases, and their schedulers whatever these know of them."""
    bound = scheduler_of(optimizer)
    if bound is not None:
        bound.rebase(wanted)
        return
    for group, base, other in zip(optimizer.param_groups, bases, wanted, strict=True):
        now = read(group, "lr")
        write(group, place(group, "lr"), other if now == base else now * other / base)  # as a warm-up has begun
        if "initial_lr" in group:
            group["initial_lr"] = other
    for each in schedulers:
        _rebase(each, wanted)


def _require_scalable(scheduler: LRScheduler) -> None:
    if isinstance(scheduler, OneCycleLR | CyclicLR):
        raise InputError(f"{type(scheduler).__name__} has a rate of its own; use lrkit.one_cycle or lrkit.triangular")
    for each in getattr(scheduler, "_schedulers", []):
        _require_scalable(each)


def _rebase(scheduler: Any, bases: list[float]) -> None:
    """Tell one of torch's schedulers its bases."""
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = list(bases)
    if hasattr(scheduler, "_last_lr"):
        scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]
    for each in getattr(scheduler, "_schedulers", []):
        _rebase(each, bases)

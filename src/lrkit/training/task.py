"""A task: all that a run needs but the schedule."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.lengths import as_length
from lrkit.schedules.shares import as_number

__all__ = ["Forward", "Metric", "Task", "accuracy"]

Metric: TypeAlias = Callable[[Any, Any], Tensor]
Forward: TypeAlias = Callable[[nn.Module, Any], tuple[Tensor, int, Mapping[str, Tensor]]]


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of samples whose highest output is the target; output (n, classes), target (n,).

    >>> import torch
    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    tensor(0.5000)
    """
    return (output.argmax(dim=-1) == target).float().mean()


@dataclass(frozen=True, kw_only=True)
class Task:
    """Model, data, loss, optimizer, batch size and length.

    Attributes:
        model: a factory; it is called once a run, after seeding.
        train: the training data: a tuple of tensors, a `TensorDataset`, or any dataset of `torch.utils.data`.
        optimizer: a factory that takes the model's parameters; the rate that it sets is the base of schedules.
        loss: `loss(output, target)`, the mean over the batch; not needed with a `forward` of your own.
        batch_size: samples in a batch.
        epochs: the length in passes through the data, or
        steps: the length in optimizer updates; needed for data without a length.
        valid: data that is only measured, after every epoch.
        metrics: means over the validation data by name, each `metric(output, target)`, the mean over a batch.
        forward: `forward(model, batch) -> (mean loss, n, metrics)` for batches that aren't (input, target) pairs.
        accumulate: batches whose gradients make one update; the result is that of one batch with all samples.
        valid_batch_size: samples measured at once; it changes nothing but speed.
        in_memory: read every item of a dataset once and keep it as tensors. Tensors and `TensorDataset` always are;
            for other datasets you must say so, since keeping the items of a dataset that augments them at random
            would freeze the augmentation.
        workers: processes that read a dataset which isn't kept in memory.
        clip_norm: the largest norm of the gradient; longer ones are scaled down to it.
        precision: "float32", or mixed precision in "bfloat16" or "float16" (with a gradient scaler).
        early_stopping: end after that many epochs without a better validation loss (else training loss).
        name: for the record.
    """

    model: Callable[[], nn.Module]
    train: Any
    optimizer: Callable[[Iterable[Any]], Optimizer]
    loss: Callable[[Any, Any], Tensor] | None = None
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    valid: Any = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    forward: Forward | None = None
    accumulate: int = 1
    valid_batch_size: int = 1000
    in_memory: bool = False
    workers: int = 0
    clip_norm: float | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    early_stopping: int | None = None
    name: str = "task"

    def __post_init__(self) -> None:
        for name in ("model", "optimizer"):
            if not callable(getattr(self, name)):
                raise InputTypeError(
                    f"{name} must be a factory (a function that makes it), not {getattr(self, name)!r}"
                )
        for name in ("batch_size", "accumulate", "valid_batch_size", "epochs", "steps", "early_stopping"):
            value = getattr(self, name)
            if value is not None or name in ("batch_size", "accumulate", "valid_batch_size"):
                _whole(value, name)
        if self.clip_norm is not None:
            as_number(self.clip_norm, "clip_norm", low=0.0, low_open=True)
        if self.precision not in get_args(Task.__annotations__["precision"]):
            raise InputError(f"precision must be 'float32', 'bfloat16' or 'float16', not {self.precision!r}")
        if (self.epochs is None) == (self.steps is None):
            raise InputError(
                f"a task's length is either epochs or steps, not {'neither' if self.epochs is None else 'both'}"
            )
        if (self.loss is None) == (self.forward is None):
            raise InputError(f"a task has either loss or forward, not {'neither' if self.loss is None else 'both'}")
        if self.forward is not None and self.metrics:
            raise InputError("metrics come from forward where there is one; give either metrics or forward")

    def measure(self, model: nn.Module, batch: Any, *, with_metrics: bool) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        """Mean loss, number of samples, and metrics of a batch: `forward`, or its default for (input, target)."""
        if self.forward is not None:
            return self.forward(model, batch)
        assert self.loss is not None
        inputs, target = _pair(batch)
        output = model(inputs)
        metrics = {name: metric(output, target) for name, metric in self.metrics.items()} if with_metrics else {}
        return self.loss(output, target), len(inputs), metrics


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputTypeError(
            f"a batch must be an (input, target) pair where the task has no forward, not {type(batch).__name__}"
        )
    return batch[0], batch[1]


def _whole(value: object, name: str) -> None:
    if isinstance(value, str) or not isinstance(as_length(value, name), int):
        raise InputTypeError(f"{name} must be a whole number, not {value!r}")

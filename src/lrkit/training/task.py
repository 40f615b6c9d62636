"""A task: all that a run needs but the schedule."""

from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.shares import as_count, as_positive
from lrkit.training.blame import blame, describe

__all__ = ["Forward", "Metric", "Task", "accuracy", "sample_count"]

Metric: TypeAlias = Callable[[Any, Any], Tensor | float]
Loss: TypeAlias = Callable[[Any, Any], Tensor]
Forward: TypeAlias = Callable[[nn.Module, Any], tuple[Tensor, int, Mapping[str, Tensor | float]]]


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
        loss: `loss(output, target)`, the mean over the batch; or several by name, whose sum is minimised and each of
            which is measured too; not needed with a `forward` of your own.
        batch_size: samples in a batch.
        epochs: the length in passes through the data, or
        steps: the length in optimizer updates; needed for data without a length.
        valid: data that is only measured, after every epoch; controllers and early stopping go by it.
        test: data that is measured as `valid` is, and that nothing goes by: a run is the same to the bit without it.
            Whatever is random in measuring it draws the same numbers after each epoch.
        metrics: means over the validation and test data by name, each `metric(output, target)`, the mean over a batch,
            a number.
        forward: `forward(model, batch) -> (mean loss, n, metrics)` for batches that aren't (input, target) pairs; n is
            how many samples the means are over; where it is 0, as for a batch or a process's share without a single
            masked token, the batch counts as nothing, but an update needs one sample at least.
        collate: makes a batch of a list of items; by default torch's `default_collate`. Batches of your own type are
            brought to the device by their method `to(device)`.
        accumulate: batches whose gradients make one update; the result is that of one batch with all samples.
        valid_batch_size: samples of `valid` and `test` measured at once; it changes nothing but speed.
        in_memory: read every item of a dataset once and keep it as tensors. Tensors and `TensorDataset` always are;
            for other datasets you must say so, since keeping the items of a dataset that augments them at random
            would freeze the augmentation.
        workers: processes that read a dataset which isn't kept in memory.
        clip_norm: the largest norm of the gradient; longer ones are scaled down to it.
        precision: "float32", or mixed precision in "bfloat16" or "float16" (with a gradient scaler).
        early_stopping: end after that many epochs without a better validation loss (else training loss).
        name: for the record.
        source: where the task came from, for the record; JSON-able.
    """

    model: Callable[[], nn.Module]
    train: Any
    optimizer: Callable[[Iterable[Any]], Optimizer]
    loss: Loss | Mapping[str, Loss] | None = None
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    valid: Any = None
    test: Any = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    forward: Forward | None = None
    collate: Callable[[list[Any]], Any] | None = None
    accumulate: int = 1
    valid_batch_size: int = 1000
    in_memory: bool = False
    workers: int = 0
    clip_norm: float | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    early_stopping: int | None = None
    name: str = "task"
    source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("model", "optimizer"):
            if not callable(getattr(self, name)):
                raise InputTypeError(
                    f"{name} must be a factory (a function that makes it), not {getattr(self, name)!r}"
                )
        for name in ("batch_size", "accumulate", "valid_batch_size", "epochs", "steps", "early_stopping"):
            value = getattr(self, name)
            if value is not None or name in ("batch_size", "accumulate", "valid_batch_size"):
                as_count(value, name, low=1)
        if self.clip_norm is not None:
            as_positive(self.clip_norm, "clip_norm")
        if self.precision not in get_args(Task.__annotations__["precision"]):
            raise InputError(f"precision must be 'float32', 'bfloat16' or 'float16', not {self.precision!r}")
        if (self.epochs is None) == (self.steps is None):
            raise InputError(
                f"a task's length is either epochs or steps, not {'neither' if self.epochs is None else 'both'}"
            )
        self._check_measures()

    def _check_measures(self) -> None:
        if (self.loss is None) == (self.forward is None):
            raise InputError(f"a task has either loss or forward, not {'neither' if self.loss is None else 'both'}")
        if isinstance(self.loss, Mapping) and not self.loss:
            raise InputError("loss has no loss in it")
        if self.forward is not None and self.metrics:
            raise InputError("metrics come from forward where there is one; give either metrics or forward")

    def measure(self, model: nn.Module, batch: Any, *, with_metrics: bool) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        """Mean loss, number of samples, and metrics of a batch: `forward`, or its default for (input, target).

        What a `forward` says of the samples is given as it is, since a graph can't look at it: see `sample_count`.

        Raises:
            InputError, InputTypeError: for a batch that is no pair where the task has no forward, for what isn't a
                scalar loss or metric, and for a forward that returns something else.
        """
        if self.forward is not None:
            return self._own_forward(model, batch, with_metrics=with_metrics)
        inputs, target = _pair(batch)
        try:
            output = model(inputs)
        except Exception as error:
            blame(error, "the model", input=inputs)
            raise
        part = "the loss"
        try:
            loss, losses = self._loss(output, target)
            metrics: dict[str, Tensor] = {}
            if with_metrics:
                metrics.update(losses)
                for name, metric in self.metrics.items():
                    part = f"the metric {name!r}"
                    metrics[name] = _number(metric(output, target), part)
        except Exception as error:
            blame(error, part, output=output, target=target)
            raise
        return loss, _length(inputs), metrics

    def _loss(self, output: Any, target: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the several that it is the sum of."""
        if isinstance(self.loss, Mapping):
            losses = {name: _scalar(loss(output, target), f"the loss {name!r}") for name, loss in self.loss.items()}
            return torch.stack(list(losses.values())).sum(), losses
        assert self.loss is not None
        return _scalar(self.loss(output, target), "the loss"), {}

    def _own_forward(
        self, model: nn.Module, batch: Any, *, with_metrics: bool
    ) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        assert self.forward is not None
        try:
            result: object = self.forward(model, batch)
        except Exception as error:
            blame(error, "forward", batch=batch)
            raise
        if not isinstance(result, tuple) or len(result) != 3 or not isinstance(result[2], Mapping):
            raise InputTypeError(f"forward must return (mean loss, n, metrics), not {describe(result)}")
        loss, n, metrics = result
        if with_metrics:
            metrics = {name: _number(value, f"the metric {name!r}") for name, value in metrics.items()}
        return _scalar(loss, "the loss"), n, metrics


def sample_count(n: Any, *, least: Literal[0, 1] = 1) -> int:
    """How many samples a mean is over, as a `forward` says it: an int, or a tensor with one whole number.

    Args:
        n: as it was said.
        least: how many it must be.

    Raises:
        InputError, InputTypeError: for anything else.

    >>> import torch
    >>> sample_count(32), sample_count(torch.tensor([True, True, False]).sum())
    (32, 2)
    """
    value = n.item() if isinstance(n, Tensor) and n.numel() == 1 else n
    if isinstance(n, Tensor) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        error = InputError if isinstance(value, int | float) else InputTypeError
        got = describe(value) if isinstance(value, Tensor) else shown(value)
        raise error(f"forward's n, the number of samples, must be a whole number of at least {least}, not {got}")
    return int(value)


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputTypeError(
            f"a batch must be an (input, target) pair where the task has no forward, not {type(batch).__name__}"
        )
    return batch[0], batch[1]


def _length(inputs: Any) -> int:
    """How many samples there are: as many as the first tensor has, else as its length says, else one."""
    tensor = _first_tensor(inputs)
    if tensor is not None:
        return len(tensor) if tensor.ndim else 1
    return len(inputs) if isinstance(inputs, Sized) else 1


def _first_tensor(inputs: Any) -> Tensor | None:
    if isinstance(inputs, Tensor):
        return inputs
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple | list) else ()
    return next((found for each in parts if (found := _first_tensor(each)) is not None), None)


def _scalar(loss: Any, name: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise InputTypeError(f"{name} must be one number in a tensor, the mean over the batch, not {describe(loss)}")
    return loss if loss.ndim == 0 else loss.reshape(())


def _number(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.reshape(())
    if not isinstance(value, Real):
        raise InputTypeError(f"{name} must be one number, the mean over the batch, not {describe(value)}")
    return torch.tensor(value, dtype=torch.float64)

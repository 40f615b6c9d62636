"""How much memory a lane needs, measured before anything is trained."""

import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lrkit.training.pure_update import Measured, PureUpdate, Tensors, Updated
from lrkit.training.randomness import seeded
from lrkit.training.rules import hyper_of, rule_of
from lrkit.training.task import Task
from lrkit.training.untouched import modes_kept

__all__ = ["Bytes", "estimate"]

_LANES = 2  # measured at once: torch vectorises one lane in another way than many
_SLACK = 1.6  # what the process grows by for each byte in use: blocks that were freed are too small for those to come


@dataclass(frozen=True)
class Bytes:
    """What a lane has in memory, in bytes.

    Attributes:
        parameters: parameters and buffers.
        states: the optimizer's.
        gradients: of the parameters that are trained.
        activations: the most that an update needs beside the gradients: what is kept on the way forward, what flows
            back, and then the new parameters and states, made beside the old ones.
        validation: the most that is in use while a batch of validation or test data is measured.
    """

    parameters: int
    states: int
    gradients: int
    activations: int
    validation: int

    @property
    def per_lane(self) -> int:
        """About how much the process grows by a lane: 1.6 · (parameters + states + the most that comes to them).

        That is gradients and activations, or validation.

        >>> Bytes(parameters=100, states=100, gradients=100, activations=500, validation=400).per_lane
        1280
        """
        return int(_SLACK * (self.parameters + self.states + max(self.gradients + self.activations, self.validation)))


def estimate(
    task: Task, model: nn.Module, optimizer: Optimizer, batch: Any, measured: Sequence[Any] = (), *, place: torch.device
) -> Bytes:
    """Measure what a lane needs: the tensors in use during one update, or while a batch is measured.

    Nothing stays behind: neither model nor optimizer is changed, and random state is left as it was. Batches don't
    count, since lanes share them.

    Args:
        task: what is trained.
        model: the task's, on the device.
        optimizer: the task's, with the hyper-parameters that decide what it keeps, such as a momentum.
        batch: of the training data.
        measured: a batch of the validation data, and one of the test data; none where there are none.
        place: the device.

    Raises:
        InputError: for an optimizer that there is no rule for.
        RuntimeError: torch's, for a model that it can't vectorise.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.Adam(p))
    >>> model = task.model()
    >>> estimate(task, model, task.optimizer(model.parameters()), (x[:16], x[:16]), place=torch.device("cpu"))
    Bytes(parameters=8, states=24, gradients=8, activations=..., validation=0)
    """
    trained = _states(model, optimizer)
    gradients = sum(each.nbytes for name, each in model.named_parameters() if name in trained)
    with _without_a_trace(model, place):
        update = _update(task, model, optimizer, batch, list(trained))
        validation = max((_validation(task, model, each) for each in measured), default=0)
    held = [*model.parameters(), *model.buffers()]
    return Bytes(
        parameters=sum(each.nbytes for each in held),
        states=sum(trained.values()),
        gradients=gradients,
        activations=max(0, update - gradients),
        validation=validation,
    )


def _states(model: nn.Module, optimizer: Optimizer) -> dict[str, int]:
    """Bytes that the optimizer keeps of each parameter that it trains: what its rule gives for one element."""
    rule = rule_of(optimizer)
    names = {id(each): name for name, each in model.named_parameters() if each.requires_grad}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in names:
                one = parameter.new_ones(1)
                kept = rule.update(one, one, {}, hyper_of(group))[1].values()
                sizes = (each.element_size() * (parameter.numel() if each.ndim else 1) for each in kept)
                found[names[id(parameter)]] = sum(sizes)
    return found


def _update(task: Task, model: nn.Module, optimizer: Optimizer, batch: Any, used: list[str]) -> int:
    pure, hypers = PureUpdate(task, model, optimizer), [hyper_of(group) for group in optimizer.param_groups]
    model.train()

    def update(parameters: Tensors, buffers: Tensors) -> Updated:
        batches = [batch] * task.accumulate
        return pure(batches, used=used, parameters=parameters, buffers=buffers, states={}, hypers=hypers)

    return _peak(update, model)


def _validation(task: Task, model: nn.Module, batch: Any) -> int:
    measured = Measured(model, task)
    model.eval()
    try:
        with torch.no_grad():
            return _peak(lambda parameters, buffers: measured.given(parameters, buffers, batch)[0], model)
    except Exception:  # noqa: BLE001 (it can't be batched: then one lane after another is measured)
        return 0


def _peak(function: Any, model: nn.Module) -> int:
    """The most bytes in use during a function of parameters and buffers, for each lane."""
    parameters, buffers = (
        {name: torch.stack([each.detach()] * _LANES) for name, each in named}
        for named in (model.named_parameters(), model.named_buffers())
    )
    with sdpa_kernel(SDPBackend.MATH), _Meter() as meter:  # as lanes are trained
        torch.func.vmap(function, randomness="different")(parameters, buffers)
    peak: int = meter.peak
    return -(-peak // _LANES)


class _Meter(TorchDispatchMode):
    """Counts the bytes of tensors that come to be inside the block, while they are in use."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # a base class of torch's
        self.peak: int = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self._meet((args, kwargs), made_here=False)  # or a view of what came from outside would count
        result = func(*args, **(kwargs or {}))
        self._meet(result, made_here=True)
        return result

    def _meet(self, tensors: Any, *, made_here: bool) -> None:
        for each in tree_leaves(tensors):
            if not isinstance(each, Tensor) or each.layout is not torch.strided:
                continue
            storage = each.untyped_storage()
            if id(storage) not in self._known:
                size = storage.nbytes() if made_here else 0
                self._known.add(id(storage))
                weakref.finalize(storage, self._leave, id(storage), size)
                self._now += size
                self.peak = max(self.peak, self._now)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


@contextmanager
def _without_a_trace(model: nn.Module, place: torch.device) -> Iterator[None]:
    """Leave random state and the modes of modules as they were, and no warnings: training will say them."""
    with seeded(0, place), modes_kept(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training will say them
        yield

"""What an update does, as a pure function of tensors: that is what can be compiled."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.training.rules import Hyper, Rule, hyper_of, rule_of
from lrkit.training.task import Task

__all__ = ["Measured", "PureUpdate", "Tensors", "Updated", "apart", "clipped", "numbers_of", "state_of"]

Tensors: TypeAlias = dict[str, Tensor]
# Named, since torch can't compile a subscript in an annotation.
_LossAndMore: TypeAlias = tuple[Tensor, tuple[Tensors, Tensor]]


class Measured(nn.Module):
    """A task's measures as a module, to be given parameters and buffers from outside."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.device = next(model.parameters()).device.type

    def forward(self, batch: Any, with_metrics: bool = False) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        """Mean loss, number of samples, and metrics, in the task's precision."""
        if self.task.precision == "float32":
            return self.task.measure(self.model, batch, with_metrics=with_metrics)
        with torch.autocast(self.device, dtype=getattr(torch, self.task.precision)):
            return self.task.measure(self.model, batch, with_metrics=with_metrics)

    def given(self, parameters: Tensors, buffers: Tensors, batch: Any) -> tuple[Tensor, Tensor, Tensors]:
        """Loss and number of samples with these parameters and buffers, and the buffers after it."""
        held = _held(parameters, buffers)
        loss, samples, _ = torch.func.functional_call(self, held, (batch,))
        return loss, torch.as_tensor(samples), {name: held[f"model.{name}"] for name in buffers}

    def measures(self, parameters: Tensors, buffers: Tensors, batch: Any) -> tuple[Tensor, Tensor, Tensors]:
        """Loss, number of samples and metrics with these parameters and buffers."""
        loss, samples, metrics = torch.func.functional_call(self, _held(parameters, buffers), (batch, True))
        return loss, torch.as_tensor(samples), {name: torch.as_tensor(each) for name, each in metrics.items()}


def _held(parameters: Tensors, buffers: Tensors) -> Tensors:
    return {f"model.{name}": each for name, each in {**parameters, **buffers}.items()}


class PureUpdate:
    """The update of a task as a function of tensors.

    Parameters and buffers go by their names in the model, states (torch's, of the optimizer) by the parameter's name.

    Attributes:
        measured: the task's measures with parameters from outside.
        rule: the optimizer's.
        group_of: the param group of each parameter, None for one that the optimizer doesn't have.

    Raises:
        InputError: for an optimizer that there is no rule for.
    """

    def __init__(self, task: Task, model: nn.Module, optimizer: Optimizer) -> None:
        self.measured = Measured(model, task)
        self.rule: Rule = rule_of(optimizer)
        self._clip_norm = task.clip_norm
        group_of = {id(each): index for index, group in enumerate(optimizer.param_groups) for each in group["params"]}
        self.group_of = {name: group_of.get(id(each)) for name, each in model.named_parameters()}

    def __call__(
        self,
        batches: Sequence[Any],
        *,
        used: Sequence[str],
        parameters: Tensors,
        buffers: Tensors,
        states: Mapping[str, Tensors],
        hypers: Sequence[Hyper],
    ) -> "Updated":
        """The update.

        Args:
            batches: those that make one update.
            used: the parameters that get gradients.
            parameters: all of them.
            buffers: the model's.
            states: of each parameter that is trained; empty before the first update.
            hypers: of each param group, numbers or tensors, as `hyper_of` has them.
        """
        gradients, buffers, loss, samples = self.clipped_gradients(used, parameters, buffers, batches)
        after, states_after = dict(parameters), dict(states)
        for name in used:
            index = self.group_of[name]
            if index is not None:
                after[name], states_after[name] = self.rule.update(
                    parameters[name], gradients[name], states.get(name, {}), hypers[index]
                )
        return Updated(after, buffers, states_after, loss, samples)

    def clipped_gradients(
        self, used: Sequence[str], parameters: Tensors, buffers: Tensors, batches: Sequence[Any]
    ) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        """The same as `gradients`, clipped as the task says."""
        gradients, buffers, loss, samples = self.gradients(used, parameters, buffers, batches)
        if self._clip_norm is not None:
            gradients = clipped(gradients, self._clip_norm)
        return gradients, buffers, loss, samples

    def gradients(
        self, used: Sequence[str], parameters: Tensors, buffers: Tensors, batches: Sequence[Any]
    ) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        """The gradients of the mean loss over all samples, the buffers after it, that loss, the number of samples."""
        first, *others = batches
        gradients, buffers, loss, samples = self._differentiate(used, parameters, buffers, first)
        if not others:
            return gradients, buffers, loss, samples
        sums, total = {name: each * samples for name, each in gradients.items()}, loss * samples
        for batch in others:
            gradients, buffers, loss, count = self._differentiate(used, parameters, buffers, batch)
            sums = {name: each + gradients[name] * count for name, each in sums.items()}
            total, samples = total + loss * count, samples + count
        return {name: each / samples for name, each in sums.items()}, buffers, total / samples, samples

    def _differentiate(
        self, used: Sequence[str], parameters: Tensors, buffers: Tensors, batch: Any
    ) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        fixed = {name: each for name, each in parameters.items() if name not in used}

        def loss_of(moving: Tensors, held: Tensors) -> _LossAndMore:
            loss, samples, after = self.measured.given({**fixed, **moving}, held, batch)
            return loss, (after, samples)

        moving = {name: parameters[name] for name in used}
        gradients, (loss, (after, samples)) = torch.func.grad_and_value(loss_of, has_aux=True)(moving, buffers)
        return gradients, after, loss, samples


class Updated(NamedTuple):
    """What an update gives."""

    parameters: Tensors
    buffers: Tensors
    states: dict[str, Tensors]
    loss: Tensor
    samples: Tensor


def numbers_of(group: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The hyper-parameters of a param group that are numbers and may change."""
    for name, value in hyper_of(group).items():
        if type(value) is float or isinstance(value, Tensor):
            yield name, float(value)


def state_of(optimizer: Optimizer, parameter: Tensor) -> Tensors:
    """The optimizer's state of a parameter."""
    return {name: each for name, each in optimizer.state[parameter].items() if isinstance(each, Tensor)}


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The distance of gradients from those that are wanted, as a share of their norm.

    >>> apart({"weight": torch.tensor([3.0, 4.5])}, {"weight": torch.tensor([3.0, 4.0])})
    0.1
    """
    norm = _norm(wanted.values())
    distance = _norm(found[name] - each for name, each in wanted.items())
    return distance / norm if norm else distance


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(each.abs().double().square().sum()) for each in tensors))


def clipped(gradients: Tensors, norm: float) -> Tensors:
    """As `torch.nn.utils.clip_grad_norm_` does it."""
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    factor = (norm / (whole + 1e-6)).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}

"""What an update does, as a pure function of tensors: for updates that are compiled, or made for many lanes at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.training.rules import Rule, hyper_of, rule_of
from lrkit.training.task import Task

__all__ = ["Learned", "Measured", "PureUpdate", "Tensors", "numbers_of", "state_of"]

Tensors: TypeAlias = dict[str, Tensor]
Numbers: TypeAlias = Sequence[Mapping[str, Any]]
_LossAndBuffers: TypeAlias = tuple[Tensor, Tensors]  # named, since torch can't compile a subscript in an annotation


class Measured(nn.Module):
    """A task's measurement as a module, so that the model's parameters and buffers can be given from outside."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.device = next(model.parameters()).device.type

    def forward(self, batch: Any, *, with_metrics: bool = False) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        """What `Task.measure` gives, in the task's precision."""
        if self.task.precision == "float32":
            return self.task.measure(self.model, batch, with_metrics=with_metrics)
        with torch.autocast(self.device, dtype=getattr(torch, self.task.precision)):
            return self.task.measure(self.model, batch, with_metrics=with_metrics)

    def given(
        self, parameters: Tensors, buffers: Tensors, batch: Any, *, with_metrics: bool = False
    ) -> tuple[tuple[Tensor, int, Mapping[str, Tensor]], Tensors]:
        """The measurement with these parameters and buffers, and the buffers after it."""
        held = {f"model.{name}": each for name, each in {**parameters, **buffers}.items()}
        result = torch.func.functional_call(self, held, (batch,), {"with_metrics": with_metrics})
        return result, {name: held[f"model.{name}"] for name in buffers}


@dataclass(frozen=True)
class Learned:
    """What an eager update shows, and a pure one must know before.

    Attributes:
        used: the parameters that get gradients.
        samples: of each batch of the update.
    """

    used: tuple[str, ...]
    samples: tuple[int, ...]


class PureUpdate:
    """The update of a task: `(parameters, buffers, states, numbers, batches) -> (parameters, buffers, states, loss)`.

    Parameters and buffers go by their names in the model, states (torch's, of the optimizer) by the parameter's name,
    numbers are the hyper-parameters of each param group: what isn't among them is as it is in the optimizer.

    Raises:
        InputError: for an optimizer that there is no rule for.
    """

    def __init__(self, task: Task, model: nn.Module, optimizer: Optimizer) -> None:
        self._measured = Measured(model, task)
        self._rule: Rule = rule_of(optimizer)
        self._clip_norm = task.clip_norm
        self._settings = [hyper_of(group) for group in optimizer.param_groups]
        group_of = {id(each): index for index, group in enumerate(optimizer.param_groups) for each in group["params"]}
        self._group_of = {name: group_of.get(id(each)) for name, each in model.named_parameters()}

    def for_batches(self, learned: Learned) -> Callable[..., tuple[Tensors, Tensors, dict[str, Tensors], Tensor]]:
        """The function, for batches with as many samples as those that were learned from."""

        def update(
            parameters: Tensors, buffers: Tensors, states: dict[str, Tensors], numbers: Numbers, batches: Sequence[Any]
        ) -> tuple[Tensors, Tensors, dict[str, Tensors], Tensor]:
            results = []
            for batch in batches:
                gradients, loss, buffers = self._differentiate(learned.used, parameters, buffers, batch)
                results.append((gradients, loss))
            gradients, loss = _mean(results, learned.samples)
            if self._clip_norm is not None:
                gradients = _clipped(gradients, self._clip_norm)
            after, states_after = dict(parameters), dict(states)
            for name, index in self._trained(learned.used):
                hyper = {**self._settings[index], **numbers[index]}
                after[name], states_after[name] = self._rule.update(
                    parameters[name], gradients[name], states.get(name, {}), hyper
                )
            return after, buffers, states_after, loss

        return update

    def _differentiate(
        self, used: Sequence[str], parameters: Tensors, buffers: Tensors, batch: Any
    ) -> tuple[Tensors, Tensor, Tensors]:
        fixed = {name: each for name, each in parameters.items() if name not in used}

        def loss_of(moving: Tensors, held: Tensors) -> _LossAndBuffers:
            (loss, _, _), after = self._measured.given({**fixed, **moving}, held, batch)
            return loss, after

        moving = {name: parameters[name] for name in used}
        gradients, (loss, after) = torch.func.grad_and_value(loss_of, has_aux=True)(moving, buffers)
        return gradients, loss, after

    def _trained(self, used: Sequence[str]) -> Iterator[tuple[str, int]]:
        """The parameters that the optimizer changes, and their groups."""
        for name in used:
            index = self._group_of[name]
            if index is not None:
                yield name, index


def numbers_of(group: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The hyper-parameters of a param group that are numbers and may change."""
    for name, value in hyper_of(group).items():
        if type(value) is float or isinstance(value, Tensor):
            yield name, float(value)


def state_of(optimizer: Optimizer, parameter: Tensor) -> Tensors:
    """The optimizer's state of a parameter."""
    return {name: each for name, each in optimizer.state[parameter].items() if isinstance(each, Tensor)}


def _mean(results: Sequence[tuple[Tensors, Tensor]], samples: Sequence[int]) -> tuple[Tensors, Tensor]:
    """Gradients and loss of all samples together."""
    if len(results) == 1:
        return results[0]
    whole = sum(samples)
    loss = torch.stack([loss * n for (_, loss), n in zip(results, samples, strict=True)]).sum() / whole
    gradients = {
        name: torch.stack([each[name] * n for (each, _), n in zip(results, samples, strict=True)]).sum(dim=0) / whole
        for name in results[0][0]
    }
    return gradients, loss


def _clipped(gradients: Tensors, norm: float) -> Tensors:
    """As `torch.nn.utils.clip_grad_norm_` does it."""
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    factor = (norm / (whole + 1e-6)).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in gradients.items()}

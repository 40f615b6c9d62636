"""A lane: one of many runs of a task, told by what is its own."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from torch.optim import Optimizer

from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.shares import as_number
from lrkit.training.hyper import place, write
from lrkit.training.randomness import check_seed
from lrkit.training.schedule_free import ScheduleFree
from lrkit.training.task import Task

__all__ = ["Averaging", "Lane", "told"]

Averaging: TypeAlias = Literal["schedule_free"]


def told(schedule: str, averaging: str | None) -> str:
    """A schedule and what goes with it, as tables say it.

    >>> told("warmup(5%)", "schedule_free")
    'warmup(5%) with schedule-free averaging'
    """
    return schedule if averaging is None else f"{schedule} with {averaging.replace('_', '-')} averaging"


@dataclass(frozen=True)
class Lane:
    """What one run of a task has of its own; what is None is as the task has it.

    It means `run(lane.of(task), lane.schedule, lr=lane.lr, seed=lane.seed)`. Each hyper-parameter but the rate is that
    of all param groups; where a schedule moves it, it is the base.

    Attributes:
        schedule: a plan, plans for several hyper-parameters, or the text of either.
        lr: the base; by default the rate that the task's optimizer sets.
        seed: of the initial weights, the data order, and everything random in the model and the data.
        momentum: of SGD and RMSprop; of Adam and its relatives the first of the betas.
        dampening: of SGD.
        weight_decay: of all.
        beta1: of Adam and its relatives, as `beta2` and `eps`.
        beta2: see `beta1`.
        eps: see `beta1`; also of RMSprop and Adagrad.
        alpha: of RMSprop.
        lr_decay: of Adagrad.
        momentum_decay: of NAdam.
        averaging: "schedule_free" trains with the schedule-free counterpart of the task's optimizer, by the package
            schedulefree: what is measured is an average of the weights. Hyper-parameters are those of the counterpart.

    Raises:
        InputError, InputTypeError: for a text that is no schedule, a value that is no number of at least 0, and an
            averaging that there isn't.

    >>> Lane("warmup(5%) >> linear(to=0)", lr=0.1, seed=3).hypers
    {}
    >>> Lane(momentum=0.8).hypers
    {'momentum': 0.8}
    """

    schedule: Plan | Plans | str = "constant()"
    lr: float | None = None
    seed: int = 0
    momentum: float | None = None
    dampening: float | None = None
    weight_decay: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    alpha: float | None = None
    lr_decay: float | None = None
    momentum_decay: float | None = None
    averaging: Averaging | None = None

    def __post_init__(self) -> None:
        if isinstance(self.schedule, str):
            object.__setattr__(self, "schedule", parse(self.schedule))
        object.__setattr__(self, "schedule", plain(self.schedule))
        schedule: object = self.schedule
        if not isinstance(schedule, Plan | Plans):
            raise InputTypeError(f"a lane's schedule must be a plan or the text of one, not {shown(schedule)}")
        check_seed(self.seed)
        for name in ("lr", *_HYPERS):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_number(value, name, low=0.0))
                if name in ("beta1", "beta2") and not value < 1:
                    raise InputError(f"{name} must be less than 1, not {value}")
        if self.averaging is not None:
            self._check_averaging()

    def _check_averaging(self) -> None:
        if self.averaging not in get_args(Averaging):
            raise unknown("averaging", str(self.averaging), get_args(Averaging))
        for name in ("momentum", "beta1"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise InputError(f"{name} must be above 0 and below 1 with averaging, not {value}")

    @property
    def plan(self) -> Plan | Plans:
        """The schedule, which is a value even where it was given as text."""
        assert not isinstance(self.schedule, str)
        return self.schedule

    @property
    def hypers(self) -> dict[str, float]:
        """The hyper-parameters that are the lane's own, but the rate."""
        return {name: value for name in _HYPERS if (value := getattr(self, name)) is not None}

    @property
    def of_its_own(self) -> dict[str, Any]:
        """What the lane trains with in the place of what the task has: the hyper-parameters, and averaging."""
        return self.hypers if self.averaging is None else {**self.hypers, "averaging": self.averaging}

    def of(self, task: Task) -> Task:
        """The task with the lane's hyper-parameters in its optimizer, which refuses those that it doesn't have.

        Where the lane averages, the optimizer is the counterpart that does.

        >>> import torch
        >>> from lrkit.training.tasks import get
        >>> Lane(momentum=0.8).of(get("mnist-cnn")).optimizer([torch.ones(1)]).param_groups[0]["momentum"]
        0.8
        """
        optimizer = task.optimizer if self.averaging is None else ScheduleFree(task.optimizer)
        if self.hypers:
            optimizer = _With(optimizer, self.hypers)
        return task if optimizer is task.optimizer else dataclasses.replace(task, optimizer=optimizer)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the schedule as text, and what is the lane's own.

        >>> Lane("linear(to=0)", lr=0.1, momentum=0.8).to_dict()
        {'schedule': 'linear(to=0)', 'lr': 0.1, 'seed': 0, 'momentum': 0.8}
        """
        own = {name: value for name in ("lr", "seed") if (value := getattr(self, name)) is not None}
        return {"schedule": str(self.schedule), **own, **self.of_its_own}


_NO_HYPERS = ("schedule", "lr", "seed", "averaging")
_HYPERS = tuple(field.name for field in dataclasses.fields(Lane) if field.name not in _NO_HYPERS)


@dataclass(frozen=True)
class _With:
    """An optimizer factory that sets hyper-parameters in what another one makes."""

    factory: Callable[[Iterable[Any]], Optimizer]
    hypers: Mapping[str, float]

    def __call__(self, parameters: Iterable[Any]) -> Optimizer:
        optimizer = self.factory(parameters)
        for group in getattr(optimizer, "param_groups", ()):
            for name, value in self.hypers.items():
                try:
                    write(group, place(group, name), value)
                except InputError as error:
                    raise InputError(f"a lane's {name} can't be set: {error}") from None
        return optimizer

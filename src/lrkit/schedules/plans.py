"""Several hyper-parameters, each with a plan of its own, in all param groups or in some."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.lengths import Horizon
from lrkit.schedules.loops import Controller
from lrkit.schedules.metric import LOSS
from lrkit.schedules.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from torch.optim import Optimizer

    from lrkit.training.scheduler import Conflict, Policy, Scheduler

__all__ = ["Plans", "Target", "as_plans", "gather"]

_WORD = re.compile(r"[A-Za-z_]\w*")


class Target(NamedTuple):
    """What a plan sets: a hyper-parameter, in one param group (by index or name) or, with None, in all others.

    >>> print(Target("lr"), Target("lr", 0), Target("weight_decay", "head"), Target("lr", "my head"))
    lr lr[0] weight_decay[head] lr['my head']
    """

    hyper: str
    group: int | str | None = None

    def __str__(self) -> str:
        if self.group is None:
            return self.hyper
        bare = isinstance(self.group, int) or _WORD.fullmatch(self.group)
        return f"{self.hyper}[{self.group if bare else repr(self.group)}]"


@dataclass(frozen=True, init=False, repr=False)
class Plans:
    """A plan for each of several hyper-parameters: `lr: linear(to=0); momentum: linear(to=0.5)`.

    Like a plan it is a value: it can be printed, compared, hashed, pickled, and bound to an optimizer.

    Args:
        hypers: a plan for each hyper-parameter: `lr`, `momentum` (the first of `betas` where there is no momentum),
            `beta1`, `beta2`, `weight_decay`, or any other number that the optimizer's param groups have.
        groups: for some param groups, by index or by the group's `name`, a plan for `lr` or a mapping like `hypers`.

    Attributes:
        parts: pairs of `Target` and plan, in the order in which they are printed.

    Raises:
        InputError: for a name that can't be one, and when there is no plan at all.
        InputTypeError: for what isn't a plan.

    >>> from lrkit import constant, linear, parse
    >>> plans = Plans({"momentum": linear(to=0.5), "lr": linear(to=0)}, groups={"head": constant(0.1)})
    >>> plans
    lr: linear(to=0); lr[head]: constant(0.1); momentum: linear(to=0.5)
    >>> parse(str(plans)) == plans
    True
    """

    parts: tuple[tuple[Target, Plan], ...]

    def __init__(
        self,
        hypers: Mapping[str, Plan],
        groups: Mapping[int | str, Plan | Mapping[str, Plan]] | None = None,
    ) -> None:
        found = {Target(hyper): plan for hyper, plan in _mapping(hypers, "hypers").items()}
        for group, own in ({} if groups is None else _mapping(groups, "groups")).items():
            each = {"lr": own} if isinstance(own, Plan) else _mapping(own, f"groups[{shown(group)}]")
            found |= {Target(hyper, group): plan for hyper, plan in each.items()}
        self._set(found)

    @classmethod
    def of(cls, parts: Mapping[Target, Plan]) -> Self:
        """The same from plans by target."""
        made = cls.__new__(cls)
        made._set(parts)
        return made

    def _set(self, parts: Mapping[Target, Plan]) -> None:
        for target, plan in parts.items():
            _check(target, plan)
        if not parts:
            raise InputError("there must be a plan for at least one hyper-parameter")
        object.__setattr__(self, "parts", tuple(sorted(parts.items(), key=lambda part: _order(part[0]))))

    def get(self, hyper: str, group: int | str | None = None) -> Plan | None:
        """The plan for a hyper-parameter, in one group or in all that have none of their own; None without one."""
        return dict(self.parts).get(Target(hyper, group))

    @property
    def simplest(self) -> "Plan | Plans":
        """The plan itself where it is for `lr` and there is no other."""
        return self.parts[0][1] if len(self.parts) == 1 and self.parts[0][0] == Target("lr") else self

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Those of the plans that are controllers: they wait for a metric."""
        return tuple(plan for _, plan in self.parts if isinstance(plan, Controller))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that controllers go by, however deep they lie; "loss" for those that name none.

        >>> from lrkit import parse, plateau
        >>> Plans({"lr": parse("warmup(5) >> plateau(metric=f1, mode=max)"), "momentum": plateau()}).metrics
        ('f1', 'loss')
        """
        return tuple(dict.fromkeys(name for _, plan in self.parts for name in _metrics(plan)))

    def sets(self, hyper: str) -> bool:
        """Whether there is a plan for a hyper-parameter, in any group."""
        return any(target.hyper == hyper for target, _ in self.parts)

    def over(
        self,
        steps: int,
        *,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
    ) -> Self:
        """The same plans with every length in steps; arguments and errors as in `Plan.over`.

        >>> from lrkit import linear
        >>> Plans({"lr": linear(to=0), "momentum": linear("50%", to=0.5)}).over(100)
        lr: linear(100, to=0); momentum: linear(50, to=0.5)
        """
        return self.of(
            {
                target: plan.over(steps, epoch_steps=epoch_steps, step_tokens=step_tokens, step_samples=step_samples)
                for target, plan in self.parts
            }
        )

    def bind(
        self,
        optimizer: "Optimizer",
        *,
        lr: float | None = None,
        steps: int | None = None,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
        later: "Collection[int | str]" = (),
        policy: "Policy | None" = None,
        on_conflict: "Conflict" = "warn",
    ) -> "Scheduler":
        """Let these plans set the optimizer's hyper-parameters from now on.

        What no plan is for, `lr` included, is left alone. Arguments and errors are those of `Plan.bind`.

        >>> import torch, lrkit
        >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.01)
        >>> scheduler = lrkit.parse("lr: linear(to=0); weight_decay: linear(to=0); beta2: constant()").bind(
        ...     optimizer, steps=2)
        >>> optimizer.step()
        >>> [optimizer.param_groups[0][name] for name in ("lr", "weight_decay", "betas")]
        [0.05, 0.005, (0.9, 0.999)]
        """
        import lrkit  # the top level knows every layer; binding needs torch and lives in training

        if steps is not None:
            horizon = Horizon(steps, epoch_steps, step_tokens, step_samples)
        elif (epoch_steps, step_tokens, step_samples) == (None, None, None):
            horizon = None
        else:
            raise InputError("epoch_steps, step_tokens and step_samples are given without steps, the horizon")
        return lrkit.bind(self, optimizer, horizon, lr=lr, later=later, policy=policy, on_conflict=on_conflict)

    def plot(
        self,
        *others: "Plan | Plans",
        steps: int | None = None,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
        base: "float | Sequence[float] | Mapping[str, float]" = 1.0,
        out: "str | Path | None" = None,
    ) -> "Figure":
        """Draw these plans, a panel for each hyper-parameter; arguments and errors are those of `Plan.plot`.

        The base is of the learning rate; the other hyper-parameters have the base 1.

        >>> from lrkit import one_cycle
        >>> figure = Plans({"lr": one_cycle(), "momentum": one_cycle().momentum()}).plot(steps=1000)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['share of the base', 'momentum (base 1)']
        """
        import lrkit  # as in `bind`: drawing needs matplotlib and lives in output

        return lrkit.plot([self, *others], Horizon(steps, epoch_steps, step_tokens, step_samples), base=base, out=out)

    def __str__(self) -> str:
        return "; ".join(f"{target}: {plan}" for target, plan in self.parts)

    def __repr__(self) -> str:
        return str(self)


def as_plans(plan: Plan | Plans) -> Plans:
    """A plan for `lr` as plans, and plans as they are: the inverse of `Plans.simplest`."""
    return plan if isinstance(plan, Plans) else Plans({"lr": plan})


def gather(
    lr: Plan,
    momentum: Plan | None,
    hypers: Mapping[str, Plan] | None,
    groups: Mapping[int | str, Plan | Mapping[str, Plan]] | None,
) -> Plans:
    """What `Plan.bind` is given, as one value."""
    others = {} if hypers is None else dict(_mapping(hypers, "hypers"))
    given = {"lr": lr} if momentum is None else {"lr": lr, "momentum": momentum}
    for name in given.keys() & others.keys():
        raise InputError(f"hypers has {name}, which is given already")
    return Plans({**given, **others}, groups)


def _metrics(value: object) -> Iterator[str]:
    if isinstance(value, Controller) and hasattr(value, "metric"):
        yield LOSS if value.metric is None else value.metric
    parts = [each for _, each in value._items()] if isinstance(value, Plan) else value
    for each in parts if isinstance(parts, list | tuple) else ():
        yield from _metrics(each)


def _mapping(value: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    given: object = plain(value)
    if not isinstance(given, Mapping):
        raise InputTypeError(f"{name} must be a mapping from names to plans, not {shown(given)}")
    return {key: plain(each) for key, each in given.items()}


def _check(target: Target, plan: object) -> None:
    hyper, group = target
    if not isinstance(hyper, str) or not _WORD.fullmatch(hyper):
        raise InputError(f"a hyper-parameter's name must be a word such as lr or weight_decay, not {shown(hyper)}")
    is_index = isinstance(group, int) and not isinstance(group, bool) and group >= 0
    if not (group is None or isinstance(group, str) or is_index):
        raise InputError(f"a param group is named by its index from 0 on or by its name, not {shown(group)}")
    if not isinstance(plan, Plan):
        raise InputTypeError(f"{target} takes a schedule or controller, not {shown(plan)}")


def _order(target: Target) -> tuple[bool, str, int, str]:
    """Lr before the others, all groups before single ones, indices before names."""
    hyper, group = target
    rank = -1 if group is None else group if isinstance(group, int) else 1 << 62
    return hyper != "lr", hyper, rank, group if isinstance(group, str) else ""

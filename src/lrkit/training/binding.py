"""A plan bound to an optimizer: it owns the rates, and its clock is the optimizer's own updates."""

import math
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrkit.schedules import Controller, Horizon, Plan, Schedule, parse
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.metric import Metric
from lrkit.schedules.shares import as_number
from lrkit.training.hyper import read, write

__all__ = ["BoundController", "BoundSchedule", "Policy", "Scheduler", "bind"]

Key: TypeAlias = tuple[str, int | str | None]  # a hyper-parameter, and one group's index or name, or None for all
Policy: TypeAlias = Literal["keep", "stretch", "replace"]

FORMAT = 1
_MARK = "lrkit"  # the key in a saved param group under which the optimizer carries the scheduler's state
_AHEAD = 512  # values are computed this many steps at a time
_bound_to: "weakref.WeakKeyDictionary[Optimizer, Scheduler]" = weakref.WeakKeyDictionary()


def bind(
    plan: Plan,
    optimizer: Optimizer,
    horizon: Horizon | None = None,
    *,
    lr: float | None = None,
    momentum: Schedule | None = None,
    groups: Mapping[int | str, Schedule] | None = None,
    policy: Policy | None = None,
) -> "Scheduler":
    """What `plan.bind(optimizer, ...)` does; the arguments are described there.

    >>> import torch, lrkit
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> lrkit.bind(lrkit.linear(4, to=0), optimizer).get_last_lr()
    [0.1]
    """
    given: object = optimizer
    if not isinstance(given, Optimizer):
        raise InputTypeError(f"optimizer must be a torch optimizer, not {type(given).__name__}")
    plans: dict[Key, Plan] = {("lr", None): plan}
    if momentum is not None:
        plans["momentum", None] = momentum
    for key, own in (groups or {}).items():
        _check_group(optimizer, key, own)
        plans["lr", key] = own
    cls = BoundController if isinstance(plan, Controller) else BoundSchedule
    return cls(optimizer, plans, horizon, lr=lr, policy=policy)


class Scheduler(LRScheduler):
    """A plan bound to an optimizer: the clock, the writing, the state; made by `plan.bind(optimizer)`.

    It passes for torch's `LRScheduler` with those who check, and shares none of its workings.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        plans: Mapping[Key, Plan],
        horizon: Horizon | None,
        *,
        lr: float | None,
        policy: Policy | None,
    ) -> None:
        self.optimizer = optimizer
        self._lr = None if lr is None else as_number(lr, "lr", low=0.0)
        self._plans = dict(plans)
        self._horizon = horizon
        self._policy = policy
        self._count = 0
        self._bases: dict[str, list[float]] = {hyper: [] for hyper, _ in plans}
        self._ahead: dict[str, list[list[float]]] = {}
        self._ahead_from = 0
        self._state: dict[str, Any] | None = None
        self._resolve()
        self._hooks: list[Any] = []
        previous = _bound_to.get(optimizer)
        self._adopt_groups(previous)
        if not self._resume_from_mark():
            self.sync()
        if previous is not None:
            previous.release()
        self._attach()

    # --- what is scheduled ------------------------------------------------------------------------

    def _resolve(self) -> None:
        self._resolved = {key: _over(plan, self._horizon) for key, plan in self._plans.items()}
        for plan in self._resolved.values():
            plan.require_resolved()  # refused here and not at the first update
        main = self._resolved["lr", None]
        self._state = main.init() if isinstance(main, Controller) else None
        self._ahead = {}

    def _plan_for(self, hyper: str, index: int) -> Plan:
        name = self.optimizer.param_groups[index].get("name")
        for key in (index, name):
            if key is not None and (hyper, key) in self._resolved:
                return self._resolved[hyper, key]
        return self._resolved[hyper, None]

    def _adopt_groups(self, previous: "Scheduler | None" = None) -> None:
        """Take note of the bases of groups that aren't known yet."""
        for hyper, bases in self._bases.items():
            for index in range(len(bases), len(self.optimizer.param_groups)):
                group = self.optimizer.param_groups[index]
                held = read(group, hyper)
                initial = group.get(f"initial_{hyper}")
                if hyper == "lr" and self._lr is not None:
                    base = self._lr
                elif initial is not None and (
                    _MARK in self.optimizer.param_groups[0]
                    or (previous is not None and previous._still_stands(hyper, index, held))
                ):
                    base = float(initial)
                else:
                    base = held
                group[f"initial_{hyper}"] = base
                bases.append(base)
        self._ahead = {}

    def _still_stands(self, hyper: str, index: int, held: float) -> bool:
        """Whether a group holds what was last written, up to the rounding of a float32 tensor."""
        known = index < len(self._bases.get(hyper, []))
        return known and math.isclose(held, self._value(hyper, index), rel_tol=1e-6)

    # --- clock ------------------------------------------------------------------------------------

    def _attach(self) -> None:
        optimizer = self.optimizer
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
            optimizer.register_state_dict_post_hook(self._on_save),
            optimizer.register_load_state_dict_post_hook(self._on_load),
        ]
        _bound_to[optimizer] = self

    def release(self) -> None:
        """Leave the optimizer: its rates stay as they are."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if _bound_to.get(self.optimizer) is self:
            del _bound_to[self.optimizer]

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if len(optimizer.param_groups) > len(self._bases["lr"]):
            self._adopt_groups()
            self.sync()

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A fused optimizer under a gradient scaler decides itself whether to skip the update.
        skipped = getattr(optimizer, "found_inf", None)
        if skipped is not None and bool(skipped):
            return
        self._count += 1
        self.sync()

    def sync(self) -> None:
        """Write the values of the next update into the optimizer's groups."""
        for hyper, bases in self._bases.items():
            for index in range(len(bases)):
                write(self.optimizer.param_groups[index], hyper, self._value(hyper, index))

    def _value(self, hyper: str, index: int) -> float:
        """The value for update `steps`; a block of them is computed at once, since evaluation is vectorised."""
        offset = self._count - self._ahead_from
        if not self._ahead or not 0 <= offset < _AHEAD:
            self._look_ahead()
            offset = 0
        return self._ahead[hyper][index][offset]

    def _look_ahead(self) -> None:
        t = np.arange(self._count, self._count + _AHEAD)
        self._ahead_from = self._count
        self._ahead = {
            hyper: [self._values(self._plan_for(hyper, index), t, base) for index, base in enumerate(bases)]
            for hyper, bases in self._bases.items()
        }

    def _values(self, plan: Plan, t: Any, base: float) -> list[float]:
        if isinstance(plan, Controller):
            assert self._state is not None
            return list(plan.value(self._state, t, base).tolist())
        assert isinstance(plan, Schedule)
        return list(plan.value(t, base).tolist())

    # --- what trainers call and read --------------------------------------------------------------

    def step(self, metrics: Metric | None = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Report a metric to a controller; else nothing but `sync`, since the clock is the optimizer's updates.

        Trainers call it with what torch's schedulers take; `epoch` isn't looked at, nor is a metric by a schedule.
        Several metrics are reported by name, `{"loss": 0.3, "accuracy": 0.9}`: each controller takes its own.

        Raises:
            InputTypeError: when a controller's metric is no number.
            InputError: when a controller's metric isn't among those that are reported.
        """
        controller = self._resolved["lr", None]
        if isinstance(controller, Controller) and metrics is not None:
            assert self._state is not None
            self._state = controller.update(self._state, metrics, self._count)
            self._ahead = {}
        self.sync()

    @property
    def steps(self) -> int:
        """Updates done so far; update `steps` comes next."""
        return self._count

    @property
    def last_epoch(self) -> int:  # type: ignore[override]  # an attribute in torch, read by trainers
        """Updates done, under the name that trainers read."""
        return self._count

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]  # an attribute in torch, read by trainers
        """The base of each group."""
        return list(self._bases["lr"])

    def get_last_lr(self) -> list[float | Tensor]:
        """The rate of each group, as the next update will use it."""
        return [read(group, "lr") for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain data: step count, controller state, the schedule as written, horizon, bases, format version."""
        return {
            "format": FORMAT,
            "steps": self._count,
            "schedules": self._written(),
            "horizon": self._horizon_dict(),
            "controller": self._state,
            "bases": {hyper: list(bases) for hyper, bases in self._bases.items()},
        }

    def _written(self) -> dict[str, str]:
        return {_name(key): str(plan) for key, plan in self._plans.items()}

    def _horizon_dict(self) -> dict[str, int] | None:
        if self._horizon is None:
            return None
        return {name: int(value) for name, value in asdict(self._horizon).items() if value is not None}

    def load_state_dict(self, state_dict: dict[str, Any], *, policy: Policy | None = None) -> None:
        """Go on where the state was taken.

        Args:
            state_dict: what `state_dict` returned.
            policy: needed when the state was made with another schedule or another horizon:
                "keep" goes on with the saved schedule over the saved horizon, "stretch" with the saved schedule
                over the horizon that is bound now, "replace" with the schedule and horizon that are bound now.

        Raises:
            InputError: for a state that isn't lrkit's, has a newer format or other param groups, or that was made
                with another schedule or horizon while no policy is named.
        """
        self._check_state(state_dict, policy)
        same = state_dict["schedules"] == self._written() and state_dict["horizon"] == self._horizon_dict()
        if not same:
            self._reconcile(state_dict, policy)
        for hyper, bases in state_dict["bases"].items():
            if hyper in self._bases and not (hyper == "lr" and self._lr is not None):
                self._bases[hyper] = list(bases)
        for hyper, bases in self._bases.items():
            for group, base in zip(self.optimizer.param_groups, bases, strict=True):
                group[f"initial_{hyper}"] = base
        self._count = state_dict["steps"]
        if self._state is not None and state_dict["schedules"] == self._written():
            self._state = state_dict["controller"]
        self._ahead = {}
        self.sync()

    def _check_state(self, state: Any, policy: Policy | None) -> None:
        if policy is not None and policy not in get_args(Policy):
            raise InputError(f"policy must be one of {', '.join(map(repr, get_args(Policy)))}, not {policy!r}")
        needed = {"format", "steps", "schedules", "horizon", "controller", "bases"}
        if not isinstance(state, dict) or not needed <= set(state):
            raise InputError(
                "this is not the state of a schedule that lrkit bound; torch's are read by lrkit.torch_names"
            )
        if state["format"] > FORMAT:
            raise InputError(f"this state has format {state['format']}, this lrkit reads formats up to {FORMAT}")
        saved, here = len(state["bases"]["lr"]), len(self.optimizer.param_groups)
        if saved != here:
            raise InputError(f"this state is of an optimizer with {saved} param groups, this one has {here}")

    def _reconcile(self, state: dict[str, Any], policy: Policy | None) -> None:
        """Take over what the policy takes from the saved state."""
        if policy is None:
            saved = _describe(state["schedules"], state["horizon"])
            here = _describe(self._written(), self._horizon_dict())
            raise InputError(
                f"this state was made with {saved}, and {here} is bound; name the policy: 'keep' (the saved schedule "
                "and horizon), 'stretch' (the saved schedule over the new horizon) or 'replace' (the new)"
            )
        if policy == "replace":
            return
        self._plans = {_key(name): parse(text) for name, text in state["schedules"].items()}
        if policy == "keep":
            self._horizon = None if state["horizon"] is None else Horizon(**state["horizon"])
        elif self._horizon is None:
            raise InputError("policy 'stretch' needs the new horizon: bind with steps=")
        self._resolve()

    def _on_save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        """Let the optimizer's own state carry the clock, for those who save nothing else."""
        state_dict["param_groups"][0][_MARK] = self.state_dict()

    def _on_load(self, optimizer: Optimizer) -> None:
        self._resume_from_mark()

    def _resume_from_mark(self) -> bool:
        """Go on from the state that a restored optimizer carries; it keeps it while it is refused."""
        saved = self.optimizer.param_groups[0].get(_MARK)
        if saved is None:
            return False
        self.load_state_dict(saved, policy=self._policy)
        del self.optimizer.param_groups[0][_MARK]
        return True


class BoundSchedule(Scheduler):
    """A schedule bound to an optimizer."""


class BoundController(Scheduler, ReduceLROnPlateau):
    """A controller bound to an optimizer. It passes for torch's `ReduceLROnPlateau` with those who check."""


def _over(plan: Plan, horizon: Horizon | None) -> Plan:
    if horizon is None:
        return plan
    sizes: dict[str, Any] = asdict(horizon)
    return plan.over(sizes.pop("steps"), **sizes)


def _check_group(optimizer: Optimizer, key: int | str, plan: Plan) -> None:
    groups = optimizer.param_groups
    names = [group["name"] for group in groups if "name" in group]
    if key not in names and key not in range(len(groups)):
        known = f"0 to {len(groups) - 1}" + (f", {', '.join(map(repr, names))}" if names else "")
        raise InputError(f"groups has no group {key!r}; there are {known}")
    if not isinstance(plan, Schedule):
        raise InputTypeError(f"groups takes a schedule for group {key!r}, not {plan!r}")


def _name(key: Key) -> str:
    """The key of a plan in the state: `lr`, `momentum`, `lr/0` (group by index), `lr/@head` (by name)."""
    hyper, group = key
    if group is None:
        return hyper
    return f"{hyper}/{group}" if isinstance(group, int) else f"{hyper}/@{group}"


def _key(name: str) -> Key:
    hyper, _, group = name.partition("/")
    if not group:
        return hyper, None
    return hyper, group[1:] if group.startswith("@") else int(group)


def _describe(schedules: Mapping[str, str], horizon: Mapping[str, int] | None) -> str:
    written = "; ".join(text if name == "lr" else f"{name}: {text}" for name, text in schedules.items())
    return f"'{written}' over {horizon['steps']} steps" if horizon else f"'{written}'"

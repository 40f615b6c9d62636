"""A scheduler's state: plain data with a version, and what to do when it was made with something else."""

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, TypeAlias, TypeGuard, get_args

from lrkit.schedules import Horizon, Plan, Plans, State, Target, from_json, parse, to_json
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.horizons import same_over

__all__ = ["Policy", "SchedulerState", "check_policy", "horizon_dict", "json_of", "reconcile"]

Policy: TypeAlias = Literal["keep", "stretch", "replace"]

FORMAT = 3


@dataclass(frozen=True)
class SchedulerState:
    """Where a scheduler is.

    Attributes:
        steps: updates done.
        schedules: the plans as they were written, by target.
        horizon: what lengths were measured against.
        controllers: the states of the controllers, by target.
        bases: by hyper-parameter, the base of each group; None where the group's is not scheduled.
        json: the JSON of the plans whose text isn't the whole of them, by target; older states have none.
        yielded: hyper-parameters, each with the index of a group, that are left to others; older states have none.
    """

    steps: int
    schedules: dict[str, str]
    horizon: dict[str, int] | None
    controllers: dict[str, State]
    bases: dict[str, list[float | None]]
    json: dict[str, str] = field(default_factory=dict)
    yielded: list[tuple[str, int]] = field(default_factory=list)

    def require_groups(self, count: int) -> None:
        """Refuse a state of another number of param groups."""
        for bases in self.bases.values():
            if len(bases) != count:
                raise InputError(f"this state is of an optimizer with {len(bases)} param groups, this one has {count}")

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON; it shares nothing with the scheduler."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, state: object) -> Self:
        """The state again.

        Raises:
            InputError: when it isn't lrkit's, of a newer format, or has something in it that no scheduler saves.
        """
        if not isinstance(state, dict) or type(state.get("format")) is not int:
            raise InputError(_FOREIGN)
        if not 1 <= state["format"] <= FORMAT:
            raise InputError(
                f"this state has format {state['format']}, this lrkit reads formats up to {FORMAT}, from 1"
            )
        current = {"json": {}, "yielded": []} | (_from_format_1(state) if state["format"] == 1 else state)
        names = [each.name for each in fields(cls)]
        if not set(names) <= set(current):
            raise InputError(_FOREIGN)
        for name, (sound, what) in _SOUND.items():
            if not sound(current[name]):
                raise InputError(f"the {name} of this state must be {what}, not {shown(current[name])}")
        return cls(**{name: copy.deepcopy(current[name]) for name in names})


_FOREIGN = "this is not the state of a schedule that lrkit bound; torch's are read by lrkit.torch_names"


def _from_format_1(state: Mapping[str, Any]) -> dict[str, Any]:
    """Format 1 had one controller, and wrote `lr/0` and `lr/@head` for `lr[0]` and `lr[head]`."""
    schedules, written = {}, state.get("schedules")
    if not _is_dict_of(written, str):
        raise InputError(f"the schedules of this state must be texts by hyper-parameter, not {shown(written)}")
    for name, text in written.items():
        hyper, _, group = name.partition("/")
        if not (hyper and (group.startswith("@") or group.isdecimal() or "/" not in name)):
            raise InputError(f"the schedules of this state must be for lr, lr/0 or lr/@head, not for {shown(name)}")
        target = Target(hyper, (group[1:] if group.startswith("@") else int(group)) if group else None)
        schedules[str(target)] = text
    controller = state.get("controller")
    return {**state, "schedules": schedules, "controllers": {} if controller is None else {"lr": controller}}


def _is_dict_of(value: Any, kind: type) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, kind) for k, v in value.items())


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_horizon(value: Any) -> bool:
    names = {each.name for each in fields(Horizon)}
    return value is None or (
        _is_dict_of(value, int) and "steps" in value and set(value) <= names and all(map(_is_size, value.values()))
    )


def _is_size(value: Any) -> bool:
    return _is_count(value) and value > 0


def _are_bases(value: Any) -> bool:
    return _is_dict_of(value, list) and all(
        each is None or _is_base(each) for bases in value.values() for each in bases
    )


def _are_yielded(value: Any) -> bool:
    pairs = isinstance(value, list) and all(isinstance(each, list | tuple) and len(each) == 2 for each in value)
    return pairs and all(isinstance(hyper, str) and _is_count(index) for hyper, index in value)


def _is_base(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_SOUND: dict[str, tuple[Callable[[Any], bool], str]] = {
    "steps": (_is_count, "a whole number of at least 0"),
    "schedules": (lambda value: _is_dict_of(value, str), "texts by hyper-parameter"),
    "horizon": (_is_horizon, "None, or whole numbers above 0 for steps, epoch_steps, step_tokens and step_samples"),
    "controllers": (lambda value: _is_dict_of(value, dict), "the states of controllers by hyper-parameter"),
    "json": (lambda value: _is_dict_of(value, str), "texts by hyper-parameter"),
    "yielded": (_are_yielded, "pairs of a hyper-parameter and the index of a group"),
    "bases": (_are_bases, "lists of finite numbers or None by hyper-parameter"),
}


def check_policy(policy: Policy | None) -> None:
    """Refuse a policy that doesn't exist."""
    if policy is not None and policy not in get_args(Policy):
        raise InputError(f"policy must be one of {', '.join(map(repr, get_args(Policy)))}, not {policy!r}")


def horizon_dict(horizon: Horizon | None) -> dict[str, int] | None:
    """A horizon as plain data."""
    if horizon is None:
        return None
    return {name: int(value) for name, value in asdict(horizon).items() if value is not None}


def reconcile(
    state: SchedulerState, plans: Plans, horizon: Horizon | None, policy: Policy | None
) -> tuple[Plans, Horizon | None]:
    """The plans and the horizon to go on with, of those that were saved and those that are bound.

    No policy is needed for another horizon over which the plans give the same.

    Raises:
        InputError: when they differ and no policy is named, or the policy can't be followed.
    """
    written = {str(target): str(plan) for target, plan in plans.parts}
    if state.schedules == written and state.horizon == horizon_dict(horizon):
        return plans, horizon
    if policy is None and _is_of(state, plans, written) and same_over(plans, _saved_horizon(state), horizon):
        return plans, horizon
    if policy is None:
        here = horizon_dict(horizon)
        raise InputError(
            f"this state was made with {_describe(state.schedules, state.horizon, here)}, and "
            f"{_describe(written, here, state.horizon)} is bound; name the policy: 'keep' (the saved schedule "
            "and horizon), 'stretch' (the saved schedule over the new horizon) or 'replace' (the new)"
        )
    if policy == "replace":
        return plans, horizon
    if policy == "stretch" and horizon is None:
        raise InputError("policy 'stretch' needs the new horizon: bind with steps=")
    bound = {str(target): (target, plan) for target, plan in plans.parts}
    parts = dict(
        bound[name] if text == written.get(name) else _read(name, text, state.json.get(name))
        for name, text in state.schedules.items()
    )
    if policy == "keep":
        horizon = _saved_horizon(state)
    return Plans.of(parts), horizon


def _saved_horizon(state: SchedulerState) -> Horizon | None:
    return None if state.horizon is None else Horizon(**state.horizon)


def _is_of(state: SchedulerState, plans: Plans, written: Mapping[str, str]) -> bool:
    """Whether a state was made with these plans for certain: Python functions can't be compared."""
    if state.schedules != written:
        return False
    try:
        for _, plan in plans.parts:
            to_json(plan)
    except InputTypeError:  # it holds a Python function
        return False
    return json_of(plans) == state.json


def json_of(plans: Plans) -> dict[str, str]:
    """The JSON of the plans that their text can't be read back to, such as tables; none of those with a function."""
    found = {}
    for target, plan in plans.parts:
        try:
            whole = parse(str(plan)) == plan
        except InputError:
            whole = False
        if not whole:
            with contextlib.suppress(InputTypeError):  # a plan that holds a Python function has no JSON
                found[str(target)] = to_json(plan)
    return found


def _read(name: str, text: str, json: str | None) -> tuple[Target, Plan]:
    """A plan that was saved, and its target."""
    try:
        plans = parse(f"{name}: {text if json is None else 'constant()'}")
        assert isinstance(plans, Plans)
        (target, plan), *_ = plans.parts
        read = plan if json is None else from_json(json)
    except InputError as error:
        why = str(error).splitlines()[0]
        raise InputError(
            f"the saved schedule {shown(text)} can't be made from the state (no state holds a Python function), so "
            f"bind it again, or else only 'replace' is left: {why}"
        ) from None
    if not isinstance(read, Plan):
        raise InputError(f"the json of this state must be of one plan for each hyper-parameter, not {shown(json)}")
    return target, read


def _describe(schedules: Mapping[str, str], horizon: Mapping[str, int] | None, other: Mapping[str, int] | None) -> str:
    """Schedules over a horizon: its steps, and what else differs from the other horizon."""
    plain = list(schedules) == ["lr"]
    written = schedules["lr"] if plain else "; ".join(f"{name}: {text}" for name, text in schedules.items())
    if horizon is None:
        return f"'{written}'"
    differ = {name: size for name, size in horizon.items() if name != "steps" and size != (other or {}).get(name)}
    sizes = [f"{horizon['steps']} steps", *(f"{name}={size}" for name, size in differ.items())]
    return f"'{written}' over {', '.join(sizes)}"

"""A scheduler's state: plain data with a version, and what to do when it was made with something else."""

import contextlib
import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, Self, TypeAlias, TypeGuard, get_args

from lrkit.schedules import Horizon, Plan, Plans, State, Target, from_json, parse, to_json
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.horizons import goes_on, moved, offset_of

__all__ = ["Done", "Policy", "SchedulerState", "check_policy", "horizon_dict", "json_of", "reconcile"]

Policy: TypeAlias = Literal["keep", "stretch", "replace", "restart"]

FORMAT = 3


@dataclass(frozen=True)
class Done:
    """How much was trained, in what lengths are measured in; None where the size of a step wasn't known.

    >>> Done().after(50, Horizon(100, step_tokens=1000)).after(12, Horizon(75, step_tokens=2000)).tokens
    74000.0
    """

    epochs: float | None = 0.0
    tokens: float | None = 0.0
    samples: float | None = 0.0

    def after(self, steps: int, horizon: Horizon | None) -> "Done":
        """After so many more updates."""

        def more(before: float | None, size: int | Fraction | None, each: Callable[[Any], float]) -> float | None:
            return before if not steps else None if before is None or size is None else before + steps * each(size)

        horizon = Horizon() if horizon is None else horizon
        return Done(
            more(self.epochs, horizon.epoch_steps, lambda size: float(1 / Fraction(size))),
            more(self.tokens, horizon.step_tokens, float),
            more(self.samples, horizon.step_samples, float),
        )


@dataclass(frozen=True)
class SchedulerState:
    """Where a scheduler is.

    Attributes:
        steps: updates done.
        done: epochs, tokens and samples, as far as the horizons say how large a step was.
        schedules: the plans as they were written, by target.
        horizon: what lengths were measured against.
        offsets: by target, what is added to the step, where the size of a step has changed since the training began.
        controllers: the states of the controllers, by target.
        bases: by hyper-parameter, the base of each group; None where the group's is not scheduled.
        lr: the rate that was named, by `lr=` or a trainer's argument.
        default: the rate that the optimizer was made with, for groups that don't name theirs.
        anew: whether it was begun anew in a training that had made updates, which its trainer counts.
        json: the JSON of the plans whose text isn't the whole of them, by target.
        yielded: hyper-parameters, each with the index of a group, that are left to others.
    """

    steps: int
    done: dict[str, float | None]
    schedules: dict[str, str]
    horizon: dict[str, int] | None
    offsets: dict[str, float]
    controllers: dict[str, State]
    bases: dict[str, list[float | None]]
    lr: float | None
    default: float | None
    anew: bool
    json: dict[str, str]
    yielded: list[tuple[str, int]]

    def require_groups(self, count: int) -> None:
        """Refuse a state of another number of param groups."""
        for bases in self.bases.values():
            if len(bases) != count:
                raise InputError(f"this state is of an optimizer with {len(bases)} param groups, this one has {count}")
        if any(index >= count for _, index in self.yielded):
            raise InputError(f"the yielded of this state must be of its {count} param groups, not {self.yielded}")

    def in_order(self, order: Sequence[int]) -> Self:
        """The state with its groups in another order: that which stood at `order[i]` stands at i."""
        bases = {hyper: [each[index] for index in order] for hyper, each in self.bases.items()}
        return replace(self, bases=bases, yielded=[(hyper, order.index(index)) for hyper, index in self.yielded])

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON; it shares nothing with the scheduler."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, state: object) -> Self:
        """The state again.

        Raises:
            InputError: when it isn't lrkit's, of another format, or has something in it that no scheduler saves.
        """
        if not isinstance(state, Mapping) or type(state.get("format")) is not int:
            raise InputError(_FOREIGN)
        if state["format"] != FORMAT:
            raise InputError(f"this state has format {state['format']}, this lrkit reads format {FORMAT}")
        names = [each.name for each in fields(cls)]
        if not set(names) <= set(state):
            raise InputError(_FOREIGN)
        for name, (sound, what) in _SOUND.items():
            if not sound(state[name]):
                raise InputError(f"the {name} of this state must be {what}, not {shown(state[name])}")
        return cls(**{name: copy.deepcopy(state[name]) for name in names})


_FOREIGN = "this is not the state of a schedule that lrkit bound; torch's are read by lrkit.torch_names"


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
    return _is_dict_of(value, list) and all(_is_base_or_none(each) for bases in value.values() for each in bases)


def _are_yielded(value: Any) -> bool:
    pairs = isinstance(value, list) and all(isinstance(each, list | tuple) and len(each) == 2 for each in value)
    return pairs and all(isinstance(hyper, str) and _is_count(index) for hyper, index in value)


def _is_base(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_base_or_none(value: Any) -> bool:
    return value is None or _is_base(value)


_DONE = {each.name for each in fields(Done)}

_SOUND: dict[str, tuple[Callable[[Any], bool], str]] = {
    "steps": (_is_count, "a whole number of at least 0"),
    "done": (
        lambda value: _is_dict_of(value, object) and set(value) == _DONE and all(map(_is_base_or_none, value.values())),
        "numbers or None for epochs, tokens and samples",
    ),
    "offsets": (
        lambda value: _is_dict_of(value, object) and all(map(_is_base, value.values())),
        "finite numbers by hyper-parameter",
    ),
    "lr": (_is_base_or_none, "a finite number or None"),
    "default": (_is_base_or_none, "a finite number or None"),
    "anew": (lambda value: isinstance(value, bool), "True or False"),
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
) -> tuple[Plans, Horizon | None, dict[str, float]]:
    """The plans, the horizon and the offsets to go on with, of those that were saved and those that are bound.

    No policy is needed for another horizon over which the plans give the same, or go on as they were with steps of
    another size.

    Raises:
        InputError: when they differ and no policy is named, or the policy can't be followed.
    """
    written = {str(target): str(plan) for target, plan in plans.parts}
    if state.schedules == written and state.horizon == horizon_dict(horizon):
        return plans, horizon, state.offsets
    if policy is None and not (_is_of(state, plans, written) and _goes_on(state, plans, horizon)):
        here = horizon_dict(horizon)
        raise InputError(
            f"this state was made with {_describe(state.schedules, state.horizon, here)}, and "
            f"{_describe(written, here, state.horizon)} is bound; name the policy: 'keep' (the saved schedule "
            "and horizon), 'stretch' (the saved schedule over the new horizon), 'replace' (the new) or 'restart' (the "
            "new, from its beginning)"
        )
    if policy == "stretch" and horizon is None:
        raise InputError("policy 'stretch' needs the new horizon: bind with steps=")
    if policy in ("keep", "stretch"):
        bound = {str(target): (target, plan) for target, plan in plans.parts}
        plans = Plans.of(
            dict(
                bound[name] if text == written.get(name) else _read(name, text, state.json.get(name))
                for name, text in state.schedules.items()
            )
        )
    if policy == "keep":
        return plans, _saved_horizon(state), state.offsets
    return plans, horizon, _offsets(state, plans, horizon)


def _goes_on(state: SchedulerState, plans: Plans, horizon: Horizon | None) -> bool:
    before = _saved_horizon(state)
    return all(
        goes_on(plan, before, state.offsets.get(str(target), 0.0), state.steps, horizon) for target, plan in plans.parts
    )


def _offsets(state: SchedulerState, plans: Plans, horizon: Horizon | None) -> dict[str, float]:
    """What is to be added to the step of each plan, so that it goes on where it is."""
    before, found = _saved_horizon(state), {}
    for target, plan in plans.parts:
        name = str(target)
        if state.schedules.get(name) == str(plan):
            offset = moved(plan, before, state.offsets.get(name, 0.0), state.steps, horizon)
            if offset is None:
                raise InputError(
                    f"'{plan}' can't go on where it is: a step or an epoch has another size than it had, and "
                    "a part of it mixes lengths for which that matters with others; only 'keep' and 'restart' are left"
                )
            found[name] = offset
        else:
            found[name] = offset_of(plan, state.done, state.steps, horizon)
    return {name: offset for name, offset in found.items() if offset}


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

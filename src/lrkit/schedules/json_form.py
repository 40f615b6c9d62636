"""The JSON form of a plan: whole, exact, and with a version."""

import json
from dataclasses import fields
from typing import Any

import numpy as np

from lrkit.schedules.algebra import chain, multiply
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.lengths import Length
from lrkit.schedules.names import KINDS, MAKERS
from lrkit.schedules.plan import Plan, show
from lrkit.schedules.plans import Plans, Target
from lrkit.schedules.shares import Absolute

__all__ = ["from_json", "to_json"]

VERSION = 1
_DEEPEST = 200  # two for each plan, one for a list
_COMPOSITIONS = {"sequence": chain, "product": multiply}


def to_json(plan: Plan | Plans) -> str:
    """A plan, or plans for several hyper-parameters, as JSON text: `from_json(to_json(plan)) == plan`.

    >>> from lrkit import warmup
    >>> to_json(warmup("5%"))
    '{"lrkit": 1, "plan": {"kind": "warmup", "steps": "5%"}}'
    """
    plan = plain(plan)
    if isinstance(plan, Plan):
        return json.dumps({"lrkit": VERSION, "plan": _encode(plan)})
    parts = [{"hyper": hyper, "group": group, "plan": _encode(each)} for (hyper, group), each in plan.parts]
    return json.dumps({"lrkit": VERSION, "plans": parts})


def from_json(text: str) -> Plan | Plans:
    """Read a plan, or plans for several hyper-parameters, from the JSON form.

    Raises:
        InputError: when it isn't JSON, not a plan, of an unknown kind, or written by a newer version.
    """
    if not isinstance(text, str | bytes):
        raise InputTypeError(f"a schedule's JSON must be a str, not {shown(text)}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # also for bytes that are no text, and numbers of too many digits
        raise InputError(f"a schedule's JSON can't be read: {error}") from None
    known = isinstance(found, dict) and {"plan", "plans"} & set(found)
    if not known or type(found.get("lrkit")) is not int or found["lrkit"] < 1:
        raise InputError('a schedule\'s JSON must look like {"lrkit": 1, "plan": {...}}')
    if found["lrkit"] > VERSION:
        raise InputError(f"this JSON has format {found['lrkit']}, this lrkit reads formats up to {VERSION}")
    try:
        return _decode_plans(found["plans"]) if "plans" in found else _decode_plan(found["plan"])
    except InputTypeError as error:
        raise InputError(str(error)) from None


def _decode_plan(value: Any) -> Plan:
    plan = _decode(value)
    if not isinstance(plan, Plan):
        raise InputError(f'"plan" must be a schedule, not {shown(value)}')
    return plan


def _decode_plans(value: Any) -> Plans:
    if not isinstance(value, list) or not all(map(_is_part, value)):
        raise InputError(
            f'"plans" must be a list of {{"hyper": "lr", "group": null, "plan": {{...}}}}, not {shown(value)}'
        )
    parts = {Target(str(each["hyper"]), each["group"]): _decode_plan(each["plan"]) for each in value}
    if len(parts) < len(value):
        raise InputError(f'"plans" has two plans for the same hyper-parameter and group: {shown(value)}')
    return Plans.of(parts)


def _is_part(value: Any) -> bool:
    keys = {"hyper", "group", "plan"}
    return isinstance(value, dict) and set(value) == keys and not isinstance(value["group"], list | dict)


def _encode(value: Any) -> Any:
    if isinstance(value, Plan):
        return {"kind": value.kind} | {name: _encode(each) for name, each in value._items()}
    if isinstance(value, Absolute):
        return {"absolute": value.value}
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if callable(value):
        raise InputTypeError(f"a Python function can't be written as JSON: {show(value)}")
    return str(value) if isinstance(value, Length) else value


def _decode(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise InputError(f"a schedule's JSON may be nested {_DEEPEST // 2} plans deep, not deeper")
    if isinstance(value, list):
        return tuple(_decode(each, depth + 1) for each in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"absolute"}:
        return Absolute(value["absolute"])
    arguments = {name: _decode(each, depth + 2) for name, each in value.items() if name != "kind"}
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise InputError(f'"kind" must be the name of a kind, not {shown(kind)}')
    if kind in _COMPOSITIONS:
        return _compose(kind, arguments)
    if kind in KINDS:
        return _make(kind, arguments)
    raise unknown("kind", kind, [*KINDS, *_COMPOSITIONS])


def _compose(kind: str, arguments: dict[str, Any]) -> Plan:
    parts = arguments.get("parts")
    if set(arguments) != {"parts"} or not isinstance(parts, tuple) or len(parts) < 2:
        raise InputError(f"a {kind} must have a list of at least two parts, not {shown(arguments)}")
    if not all(isinstance(part, Plan) for part in parts):
        raise InputError(f"every part of a {kind} must be a schedule, not {shown(parts)}")
    return _COMPOSITIONS[kind](*parts)


def _make(kind: str, arguments: dict[str, Any]) -> Plan:
    known = [field.name for field in fields(KINDS[kind])]
    for name in arguments:
        if name not in known:
            raise unknown(f"argument of {kind}", name, known)
    try:
        plan: Plan = MAKERS[kind](**arguments)
    except InputTypeError:
        raise
    except TypeError as error:  # a required argument is missing
        raise InputError(f"{kind}: {error}") from None
    return plan

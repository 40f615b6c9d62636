"""Schedules as trainers' users give them."""

from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputTypeError, shown

__all__ = ["as_plan"]


def as_plan(schedule: Plan | Plans | str) -> Plan | Plans:
    """A plan, or the plan that a text says.

    Raises:
        InputError, InputTypeError: for a text that can't be read, and for anything else.

    >>> as_plan("linear(to=0)")
    linear(to=0)
    """
    given: object = plain(schedule)
    if isinstance(given, str):
        return parse(given)
    if not isinstance(given, Plan | Plans):
        raise InputTypeError(f"schedule must be a plan of lrkit or its text, not {shown(given)}")
    return given

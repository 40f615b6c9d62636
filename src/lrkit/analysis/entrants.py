"""Who takes part in a comparison: schedules by their names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from lrkit.analysis.lineups import LINEUPS
from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training.preparation import Length

__all__ = ["Schedules", "entrants"]

Schedules: TypeAlias = str | Plan | Plans | Sequence[Plan | Plans | str] | Mapping[str, Plan | Plans | str]


def entrants(schedules: Schedules, length: Length) -> dict[str, Plan | Plans]:
    """Schedules by name: a plan, a text or the name of a line-up, several of these, or a mapping from names to plans.

    Raises:
        InputError, InputTypeError: for what is none of these, for a name or schedule that is there twice, and for one
            that doesn't fit the length.

    >>> list(entrants(["linear(to=0)", "constant()"], Length(100, 20, 5, 32)))
    ['linear(to=0)', 'constant()']
    >>> entrants("tutorial", Length(100, 20, 5, 32))["MultiStepLR"]
    every(1ep, milestones(at=[2, 3]))
    """
    found: dict[str, Plan | Plans] = {}
    for name, given in _named(schedules, length):
        plan = parse(given) if isinstance(given, str) else given
        if not isinstance(plan, Plan | Plans):
            raise InputTypeError(f"schedules must be plans or the texts of plans, not {shown(given)}")
        called = str(plan) if name is None else name
        if called in found:
            raise InputError(f"schedules has {shown(called)} twice; each has a name of its own")
        if plan in found.values():
            other = next(each for each, there in found.items() if there == plan)
            raise InputError(f"schedules {shown(other)} and {shown(called)} are the same schedule")
        plan.over(length.steps, **length.sizes)
        found[called] = plan
    return found


def _named(schedules: object, length: Length) -> Iterable[tuple[str | None, object]]:
    if isinstance(schedules, Mapping):
        for name in schedules:
            if not isinstance(name, str) or not name.strip():
                raise InputTypeError(f"the names of schedules must be texts, not {shown(name)}")
        return schedules.items()
    given = [schedules] if isinstance(schedules, str | Plan | Plans) else schedules
    if not isinstance(given, Iterable):
        raise InputTypeError(f"schedules must be plans, their texts, or names of line-ups, not {shown(schedules)}")
    return [pair for each in given for pair in _one_or_lineup(each, length)]


def _one_or_lineup(given: object, length: Length) -> Iterable[tuple[str | None, object]]:
    if not isinstance(given, str) or "(" in given:
        return [(None, given)]
    if given not in LINEUPS:
        raise unknown("line-up", given, LINEUPS)
    if length.epochs is None:
        raise InputError(f"the line-up {given!r} counts in epochs, and the training data has no length")
    return LINEUPS[given](length.epochs).items()

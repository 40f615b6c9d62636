"""Who takes part in a comparison: schedules by their names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch.nn.modules.batchnorm import _NormBase

from lrkit.analysis.entrant import Entrant
from lrkit.analysis.lineups import LINEUPS
from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training.lanes.lane import Averaging, Lane
from lrkit.training.preparation import Length, make_model, make_optimizer
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["Schedules", "entrants", "parted"]

One: TypeAlias = str | Plan | Plans | Entrant
Schedules: TypeAlias = One | Sequence[One] | Mapping[str, One]


def entrants(schedules: Schedules, length: Length) -> dict[str, Entrant]:
    """Schedules by name: a plan, a text or the name of a line-up, several of these, or a mapping from names to plans.

    Raises:
        InputError, InputTypeError: for what is none of these, for a name or schedule that is there twice, and for one
            that doesn't fit the length.

    >>> list(entrants(["linear(to=0)", "constant()"], Length(100, 20, 5, 32)))
    ['linear(to=0)', 'constant()']
    >>> print(entrants("tutorial", Length(100, 20, 5, 32))["MultiStepLR"])
    every(1ep, milestones(at=[2, 3]))
    """
    found: dict[str, Entrant] = {}
    for name, given in _named(schedules, length):
        one = _one(given)
        called = str(one) if name is None else name
        if called in found:
            raise InputError(f"schedules has {shown(called)} twice; each has a name of its own")
        if one in found.values():
            other = next(each for each, there in found.items() if there == one)
            raise InputError(f"schedules {shown(other)} and {shown(called)} are the same schedule")
        one.plan.over(length.steps, **length.sizes)
        found[called] = one
    return found


def parted(
    entered: Mapping[str, Entrant], task: Task, place: torch.device
) -> tuple[dict[str, Entrant], dict[str, str]]:
    """Those that a task can be trained with; of the others why not, by name."""
    obstacles = {
        averaging: None if averaging is None else _obstacle(averaging, task, place)
        for averaging in {each.averaging for each in entered.values()}
    }
    fitting = {name: each for name, each in entered.items() if obstacles[each.averaging] is None}
    left_out = {name: why for name, each in entered.items() if (why := obstacles[each.averaging]) is not None}
    return fitting, left_out


def _obstacle(averaging: Averaging, task: Task, place: torch.device) -> str | None:
    """Why a task can't be trained with an average, or not be measured as it should; None where it can."""
    with seeded(0, place):
        model = make_model(task, place)
        try:
            make_optimizer(Lane(averaging=averaging).of(task), model)
        except InputError as error:
            return str(error)
    if any(isinstance(each, _NormBase) and each.track_running_stats for each in model.modules()):
        return "the model's batch normalisation would have the statistics of other weights than the average"
    return None


def _one(given: object) -> Entrant:
    plan = parse(given) if isinstance(given, str) else plain(given)
    if isinstance(plan, Entrant):
        return plan
    if not isinstance(plan, Plan | Plans):
        raise InputTypeError(f"schedules must be plans or the texts of plans, not {shown(given)}")
    return Entrant(plan)


def _named(schedules: object, length: Length) -> Iterable[tuple[str | None, object]]:
    schedules = plain(schedules)
    if isinstance(schedules, Mapping):
        for name in schedules:
            if not isinstance(name, str) or not name.strip():
                raise InputTypeError(f"the names of schedules must be texts, not {shown(name)}")
        return schedules.items()
    given = [schedules] if isinstance(schedules, str | Plan | Plans | Entrant) else schedules
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

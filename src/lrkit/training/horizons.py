"""Whether plans give the same values over two horizons."""

from dataclasses import replace

from lrkit.schedules import Horizon, Plan, Plans, constant, greedy, plateau
from lrkit.schedules.bounds import Clip, ControlledClip
from lrkit.schedules.errors import InputError
from lrkit.schedules.product import InProduct
from lrkit.schedules.sequence import InSequence
from lrkit.schedules.shifts import ControlledShift, Shift

__all__ = ["same_over"]

# They give the same at every step, past their end too, however long they are.
_UNMEASURED: tuple[type[Plan], ...] = (constant, plateau, greedy)


def same_over(plans: Plans, one: Horizon | None, other: Horizon | None) -> bool:
    """Whether plans give the same at every step, past the ends too, and for every metric, over two horizons.

    Only what is certain counts: each length must come to the same steps, but for that of a last part whose values
    don't depend on it.

    >>> from lrkit import parse
    >>> plans = Plans({"lr": parse("warmup(5) >> plateau()")})
    >>> same_over(plans, Horizon(20), Horizon(30)), same_over(plans, None, Horizon(30))
    (True, True)
    >>> same_over(Plans({"lr": parse("warmup(5%) >> plateau()")}), Horizon(20), Horizon(40))
    False
    """
    try:
        return _resolved(plans, one) == _resolved(plans, other)
    except InputError:  # it doesn't fit one of them
        return False


def _resolved(plans: Plans, horizon: Horizon | None) -> Plans:
    whole = plans if horizon is None else plans.over(**vars(horizon))
    return Plans.of({target: _endless(plan) for target, plan in whole.parts})


def _endless(plan: Plan) -> Plan:
    """The plan without the length of its last part, where that part's values don't depend on it."""
    if type(plan) in _UNMEASURED:
        return replace(plan, **{"steps": None})
    if isinstance(plan, InSequence):
        return replace(plan, parts=(*plan.parts[:-1], _endless(plan.parts[-1])))
    if isinstance(plan, InProduct):
        return replace(plan, parts=tuple(map(_endless, plan.parts)))
    if isinstance(plan, Clip | ControlledClip | Shift | ControlledShift):
        return replace(plan, plan=_endless(plan.plan))
    return plan

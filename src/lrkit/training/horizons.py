"""Going on over another horizon: whether a plan gives the same over it, and where in the plan that is."""

from collections.abc import Mapping
from dataclasses import fields, replace
from fractions import Fraction

from lrkit.schedules import Horizon, Plan, constant, greedy, plateau
from lrkit.schedules.bounds import Clip, ControlledClip
from lrkit.schedules.callables import FromCallable
from lrkit.schedules.errors import InputError
from lrkit.schedules.lengths import Length, round_half_up
from lrkit.schedules.points import Table
from lrkit.schedules.product import InProduct
from lrkit.schedules.sequence import InSequence
from lrkit.schedules.shifts import ControlledShift, Shift

__all__ = ["excess", "goes_on", "moved", "offset_of", "resolve", "same_over"]

# They give the same at every step, past their end too, however long they are.
_UNMEASURED: tuple[type[Plan], ...] = (constant, plateau, greedy)

_SIZES = {"ep": "epoch_steps", "tok": "step_tokens", "samples": "step_samples"}
_CONSUMED = {"tok", "samples"}  # what a step takes some of, whatever is trained

_MOST = 10**15  # steps

# The fields that hold lengths; an int in any other field counts something else.
_LENGTHS = {"steps", "every", "timescale", "bound", "up", "down", "at", "period", "later", "earlier"}


def resolve(plan: Plan, horizon: Horizon | None, offset: float = 0.0) -> Plan:
    """The plan with its lengths in steps, for a clock that is ahead of the updates by an offset.

    >>> from lrkit import parse
    >>> resolve(parse("linear(to=0)"), Horizon(75), -25.0)
    linear(50, to=0)
    """
    return plan if horizon is None else plan.over(**vars(_seen(horizon, offset)))


def _seen(horizon: Horizon, offset: float) -> Horizon:
    """The horizon by such a clock."""
    if not offset or horizon.steps is None:
        return horizon
    return replace(horizon, steps=max(1, round_half_up(horizon.steps + Fraction(offset))))


def same_over(plan: Plan, one: Horizon | None, other: Horizon | None) -> bool:
    """Whether a plan gives the same at every step, past the ends too, and for every metric, over two horizons.

    Only what is certain counts: each length must come to the same steps, but for that of a last part whose values
    don't depend on it.

    >>> from lrkit import parse
    >>> plan = parse("warmup(5) >> plateau()")
    >>> same_over(plan, Horizon(20), Horizon(30)), same_over(plan, None, Horizon(30))
    (True, True)
    >>> same_over(parse("warmup(5%) >> plateau()"), Horizon(20), Horizon(40))
    False
    """
    try:
        return _endless(resolve(plan, one)) == _endless(resolve(plan, other))
    except InputError:  # it doesn't fit one of them
        return False


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


# --- steps of another size ------------------------------------------------------------------------------


def goes_on(plan: Plan, before: Horizon | None, offset: float, steps: int, after: Horizon | None) -> bool:
    """Whether a plan goes on over another horizon as it was, after so many updates.

    It gives the same; or its lengths in tokens or samples are as they were, and a step takes more or less of them. What
    is left of the training must then be what was left, within one step, where the plan depends on that.

    >>> from lrkit import parse
    >>> before, after = Horizon(100, step_tokens=1000), Horizon(75, step_tokens=2000)
    >>> [goes_on(parse(text), before, 0.0, 50, after) for text in ("linear(100ktok, to=0)", "linear(to=0)")]
    [True, False]
    """
    if before is None or after is None:
        return same_over(plan, before, after)
    if _ratio(plan, before, after) == 1:
        return same_over(plan, _seen(before, offset), _seen(after, offset))
    if not _units(plan) & _CONSUMED:
        return False  # epochs of another length are another training
    found = _places(plan, before, offset, steps, after)
    if found is None:
        return False
    (place, end), ratio = found, _ratio(plan, before, after)
    assert after.steps is not None
    assert ratio is not None
    if abs(after.steps - steps - (end - place)) <= max(ratio, Fraction(1)):
        return True
    seen = _seen(after, float(place - steps))
    return same_over(plan, replace(seen, steps=max(1, round_half_up(end))), seen)


def moved(plan: Plan, before: Horizon | None, offset: float, steps: int, after: Horizon | None) -> float | None:
    """What is to be added to the step from now on, so that a plan goes on where it is, after so many updates.

    Of a sequence, the parts that are over keep what they took, each in its own unit, and so does what is done of the
    part under way. None where that mixes units, of which a step takes another share now.

    >>> from lrkit import parse
    >>> before, after = Horizon(100, step_tokens=1000), Horizon(75, step_tokens=2000)
    >>> moved(parse("linear(100ktok, to=0)"), before, 0.0, 50, after)  # 50 updates are done, as much as 25 are now
    -25.0
    >>> moved(parse("warmup(10) >> linear(90ktok, to=0)"), before, 0.0, 50, after)
    -20.0
    """
    if before is None or after is None or _ratio(plan, before, after) == 1:
        return offset
    found = _places(plan, before, offset, steps, after)
    return None if found is None else float(found[0] - steps)


def _places(plan: Plan, before: Horizon, offset: float, steps: int, after: Horizon) -> tuple[Fraction, Fraction] | None:
    """Where the training stands in the plan, in steps as they are now, and where it would have ended."""
    rest = _ratio(plan, before, after)
    seen = _seen(before, offset)
    if rest is None or seen.steps is None:
        return None
    try:
        resolved = resolve(plan, before, offset)
    except InputError:
        return None
    whole, parts = (plan.parts, _parts(resolved)) if isinstance(plan, InSequence) else ((plan,), (resolved,))
    position, end = steps + Fraction(offset), Fraction(seen.steps)
    place = until = begin = zero = Fraction(0)
    for number, (part, own) in enumerate(zip(whole, parts, strict=True), 1):
        length = max(end, position) - begin if number == len(parts) else Fraction(own.length or 0)
        factor = _factor(part, before, after, rest)
        if factor is None:
            return None
        place += min(max(position - begin, zero), length) * factor
        until += min(max(end - begin, zero), length) * factor
        begin += length
    return place, until


def excess(plan: Plan, horizon: Horizon) -> int:
    """By how many steps a plan with lengths in tokens or samples is longer than a horizon.

    >>> from lrkit import parse
    >>> excess(parse("linear(100ktok, to=0)"), Horizon(75, step_tokens=1000))
    25
    """
    if not _units(plan) & _CONSUMED or horizon.steps is None:
        return 0
    short, least = 0, int(horizon.steps)  # least - short halves until the first number of steps into which it fits
    while not _fits(plan, replace(horizon, steps=least)):
        if least > _MOST:
            return 0  # it isn't the horizon that is wrong
        short, least = least, 2 * least
    while short and least - short > 1:
        middle = (short + least) // 2
        short, least = (short, middle) if _fits(plan, replace(horizon, steps=middle)) else (middle, least)
    return least - int(horizon.steps)


def _fits(plan: Plan, horizon: Horizon) -> bool:
    try:
        resolve(plan, horizon)
    except InputError:
        return False
    return True


def offset_of(plan: Plan, done: Mapping[str, float | None], steps: int, horizon: Horizon | None) -> float:
    """What is to be added to the step for a plan that is new after so many updates: so that what is done counts.

    >>> from lrkit import parse
    >>> offset_of(parse("linear(100ktok, to=0)"), {"tokens": 50_000.0}, 50, Horizon(75, step_tokens=2000))
    -25.0
    """
    units = _units(plan) - {"%"}
    for unit, name in (("ep", "epochs"), ("tok", "tokens"), ("samples", "samples")):
        size, amount = None if horizon is None else getattr(horizon, _SIZES[unit]), done.get(name)
        if units == {unit} and size is not None and amount is not None:
            return float((Fraction(amount) * size if unit == "ep" else Fraction(amount) / size) - steps)
    return 0.0


def _parts(plan: Plan) -> tuple[Plan, ...]:
    assert isinstance(plan, InSequence)
    return plan.parts


def _ratio(plan: Plan, before: Horizon, after: Horizon) -> Fraction | None:
    """How many of the new steps one of the old is, in what the plan counts in; None where that isn't one number."""
    ratios = {_scale(unit, before, after) for unit in _units(plan) & set(_SIZES)} or {Fraction(1)}
    return ratios.pop() if len(ratios) == 1 else None


def _factor(plan: Plan, before: Horizon, after: Horizon, rest: Fraction) -> Fraction | None:
    """The same for a part, whatever it counts in; what has no unit of its own is a share of the whole."""
    factors = {rest if unit == "%" else _scale(unit, before, after) for unit in _units(plan)} or {rest}
    return factors.pop() if len(factors) == 1 else None


def _scale(unit: str, before: Horizon, after: Horizon) -> Fraction | None:
    if unit not in _SIZES:
        return Fraction(1)
    one: Fraction | None = getattr(before, _SIZES[unit])
    other: Fraction | None = getattr(after, _SIZES[unit])
    if one is None or other is None:
        return None
    return Fraction(other) / one if unit == "ep" else Fraction(one) / other


def _units(plan: Plan) -> set[str]:
    """What its lengths are in: `step`, `%`, `ep`, `tok`, `samples`."""
    found = {"step"} if isinstance(plan, Table | FromCallable) else set()
    for field in fields(plan):
        value = getattr(plan, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Plan):
                found |= _units(each)
            elif isinstance(each, Length):
                found.add(each.unit)
            elif field.name in _LENGTHS and type(each) is int and each > 0:
                found.add("step")
    return found

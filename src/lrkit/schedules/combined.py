"""`>>` and `*` as functions, for configurations that name what they call and for lists of plans."""

from collections.abc import Callable, Iterable

from lrkit.schedules.algebra import chain, multiply
from lrkit.schedules.configs import plain
from lrkit.schedules.loops import operand
from lrkit.schedules.plan import Plan
from lrkit.schedules.text import parse

__all__ = ["product", "sequence"]


def sequence(*plans: Plan | str | Iterable[Plan | str]) -> Plan:
    """The plans in sequence, as `a >> b >> c` makes them.

    Args:
        plans: at least two schedules or controllers, or their texts; or one list of them.

    Raises:
        InputError: for fewer than two, and for a text that can't be read.
        InputTypeError: for anything else.

    >>> from lrkit import cosine, warmup
    >>> sequence(warmup("5%"), cosine(to=0))
    warmup(5%) >> cosine(to=0)
    >>> sequence(["warmup(5%)", "cosine(to=0)"]) == sequence(warmup("5%"), cosine(to=0))
    True
    """
    return _combined("sequence", chain, plans)


def product(*plans: Plan | str | Iterable[Plan | str]) -> Plan:
    """The product of the plans, as `a * b * c` makes it: the first carries the base, the others are multipliers.

    Args:
        plans: at least two schedules or controllers, or their texts; or one list of them.

    Raises:
        InputError: for fewer than two, for a text that can't be read, and for absolute values in a multiplier.
        InputTypeError: for anything else.

    >>> from lrkit import staircase, warmup
    >>> product(staircase(every=100, factor=0.5), warmup(10))
    staircase(every=100, factor=0.5) * warmup(10)
    """
    return _combined("product", multiply, plans)


def _combined(name: str, combine: Callable[..., Plan], plans: tuple[object, ...]) -> Plan:
    given = [plain(each) for each in plans]
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = [plain(each) for each in given[0]]
    return combine(*(operand(name, parse(each) if isinstance(each, str) else each) for each in given))

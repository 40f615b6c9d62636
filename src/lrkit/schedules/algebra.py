"""What `>>` and `*` make: a sequence or a product, flattened, and a controller when a part of it is one."""

import itertools
from collections.abc import Sequence as Series

from lrkit.schedules.composition import Composition
from lrkit.schedules.loops import Schedule
from lrkit.schedules.plan import Plan
from lrkit.schedules.product import ControlledProduct, InProduct, Product
from lrkit.schedules.sequence import ControlledSequence, InSequence, Sequence

__all__ = ["chain", "multiply"]


def chain(*plans: Plan) -> Plan:
    """The plans one after the other, flattened."""
    parts = _flatten(plans, InSequence)
    if all(isinstance(part, Schedule) for part in parts):
        return Sequence(parts)
    return ControlledSequence(parts)


def multiply(*plans: Plan) -> Plan:
    """The product of the plans, flattened."""
    parts = _flatten(plans, InProduct)
    if all(isinstance(part, Schedule) for part in parts):
        return Product(parts)
    return ControlledProduct(parts)


def _flatten(plans: Series[Plan], composition: type[Composition]) -> tuple[Plan, ...]:
    """The plans, those of the same composition replaced by their parts (both are associative)."""
    return tuple(itertools.chain.from_iterable(p.parts if isinstance(p, composition) else (p,) for p in plans))

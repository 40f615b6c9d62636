"""What every kind that isn't composed of others has: checked fields, and the helpers of its formula."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.lengths import LengthLike, as_length
from lrkit.schedules.loops import Schedule
from lrkit.schedules.shares import ShareLike, as_positive, as_share, at_base

__all__ = ["Leaf", "as_choice", "as_list", "entry_or", "half_cosine", "held", "inside", "lerp", "whole_steps"]


# What a field must be, by its name; None is allowed where it is the default.
_CHECKS: tuple[tuple[tuple[str, ...], Callable[[object, str], object]], ...] = (
    (("steps", "every", "timescale", "bound"), as_length),
    (("start", "to"), as_share),
    (("factor", "exponent"), as_positive),
)


@dataclass(frozen=True, repr=False)
class Leaf(Schedule):
    """A schedule that isn't composed of others: it checks its fields and has a shape."""

    needs_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        optional = {field.name for field in fields(self) if field.default is None}
        for names, check in _CHECKS:
            for name in names:
                value = getattr(self, name, None)
                if hasattr(self, name) and not (value is None and name in optional):
                    self._set(name, check(value, name))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, object]:
        for name, value in self._items():
            if callable(value):
                raise InputTypeError(f"{self} can't be pickled, because {name} is a Python function")
        return vars(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def _open(self) -> str | None:
        if self.needs_steps and getattr(self, "steps", None) is None:
            return "its length, which was left out"
        return super()._open()


def entry_or(share: ShareLike | None, base: Array, entry: Array) -> Array:
    """Where a ramp or decay begins: at its named start, else where the segment before ended."""
    return entry if share is None else at_base(share, base)


def lerp(start: Array, to: Array, position: Array) -> Array:
    """From `start` at position 0 to `to` at 1, exact at both ends."""
    return start * (1.0 - position) + to * position


def half_cosine(x: Array | float) -> Array:
    """Half a period of a cosine, from 1 at 0 to 0 at 1."""
    return (1.0 + np.cos(np.pi * x)) / 2.0


def whole_steps(length: LengthLike | None) -> int:
    """A length that `over` has made an int; `require_resolved` has made sure of that."""
    assert isinstance(length, int)
    return length


def held(t: Array, steps: LengthLike | None) -> Array:
    """The step, held at the end of the length: what a ramp or decay reaches there is its end value."""
    return t if steps is None else np.minimum(t, whole_steps(steps))


def inside(t: Array, steps: LengthLike | None) -> Array:
    """The step, held at the last one: what falls at the very end belongs to the next segment."""
    return t if steps is None else np.minimum(t, whole_steps(steps) - 1)


def as_list(value: object, name: str, what: str) -> tuple[object, ...]:
    """The items of a list, or of anything else that has some; text is one thing and not many."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return tuple(value)  # type: ignore[arg-type]  # what is no list is refused below
    except TypeError:
        raise InputTypeError(f"{name} must be a list of {what}, not {shown(value)}") from None


def as_choice(value: object, name: str, allowed: Iterable[str]) -> str:
    """One of the words that are allowed."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise InputError(f"{name} must be {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {shown(value)}")
    return value

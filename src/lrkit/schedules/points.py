"""Points: kinds whose values are listed."""

import functools
import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, as_choice, as_list, inside, whole_steps
from lrkit.schedules.lengths import Horizon, Length, LengthLike, as_length, require_ascending
from lrkit.schedules.plan import State
from lrkit.schedules.shapes import BENDS, through
from lrkit.schedules.shares import ShareLike, as_share

__all__ = ["Piecewise", "Table"]


@dataclass(frozen=True, repr=False)
class Piecewise(Leaf):
    """A line through points.

    value(at[i]) = values[i]; before the first point the first value, past the last the last, and between two of them
    the first of the two (between="hold"), a straight line ("linear") or half a period of a cosine ("cosine")

    It is absolute: it doesn't begin where the segment before ended.

    Args:
        steps: how long it lasts.
        at: the steps of the points, as lengths or 0. They ascend; where two are the same the value jumps.
        values: what the value is there, shares of the base or `absolute(...)`.
        between: "hold", "linear" or "cosine".

    Source: optax's piecewise_interpolate_schedule, whose values multiply up; these don't.

    >>> Piecewise(at=[2, 4], values=[1, 0.5])(range(6)).tolist()
    [1.0, 1.0, 1.0, 0.75, 0.5, 0.5]
    >>> Piecewise(at=[0, 2, 4], values=[1, 0.5, 0.2], between="hold")(range(6)).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.2, 0.2]
    """

    kind: ClassVar[str] = "piecewise"
    example: ClassVar[str] = "piecewise(at=[0, 20%, 60%, 100%], values=[0.2, 1, 0.6, 0])"

    steps: LengthLike | None = None
    _: KW_ONLY
    at: Iterable[LengthLike]
    values: Iterable[ShareLike]
    between: Literal["hold", "linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        at = tuple(_place(each) for each in as_list(self.at, "at", "steps"))
        values = tuple(as_share(each, "values") for each in as_list(self.values, "values", "shares"))
        if len(at) != len(values) or not at:
            raise InputError(f"at and values must be as many, at least one, not {len(at)} and {len(values)}")
        require_ascending(at, "at")
        as_choice(self.between, "between", BENDS)
        self._set("at", at)
        self._set("values", values)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        points = [(whole_steps(at), value) for at, value in zip(self.at, self.values, strict=True)]
        if self.between == "hold":
            t = inside(t, self.steps)
        return through(t, base, points, self.between, until=math.inf if self.steps is None else whole_steps(self.steps))


@dataclass(frozen=True, repr=False, eq=False)
class Table(Leaf):
    """A value for each step.

    value(t) = values[t] · base for t < n = len(values), then the last one

    Text has only the length and a digest of the values, which `parse` refuses; JSON has them whole. It is absolute: it
    doesn't begin where the segment before ended.

    Args:
        values: finite numbers that aren't negative, shares of the base; kept as a read-only float64 array.
        steps: how long it lasts, by default as long as there are values.

    >>> Table([1, 0.5, 0.2])([0, 1, 2, 3]).tolist()
    [1.0, 0.5, 0.2, 0.2]
    >>> Table([1, 0.5, 0.2])
    table(3, sha256_3bc92d21)
    """

    kind: ClassVar[str] = "table"
    example: ClassVar[str] = "every(1ep, table([0.2, 1, 0.6, 0.8, 0.5, 0.6, 0.3, 0.4, 0.1, 0.2]))"

    values: ArrayLike
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("values", _as_values(self.values))
        if self.steps == self._array.size:
            self._set("steps", None)

    @property
    def _array(self) -> Array:
        assert isinstance(self.values, np.ndarray)
        return self.values

    @functools.cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._array.astype("<f8").tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.steps == other.steps and np.array_equal(self._array, other._array)

    def __hash__(self) -> int:
        return hash((self._digest, self.steps))

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self.values, self.steps)  # made anew, since a pickled array comes back writable

    def __str__(self) -> str:
        steps = "" if self.steps is None else f", steps={self.steps}"
        return f"table({self._array.size}, sha256_{self._digest[:8]}{steps})"

    def _items(self) -> Iterator[tuple[str, Any]]:
        yield "values", self.values
        if self.steps is not None:
            yield "steps", self.steps

    def _measure(self, horizon: Horizon) -> Fraction | None:
        return Fraction(self._array.size) if self.steps is None else horizon.measure(self.steps)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        last = self._array.size - 1
        index = np.minimum(inside(t, self.steps), last).astype(np.int64)
        return base * self._array[index]


def _as_values(values: ArrayLike) -> Array:
    """A read-only copy, checked."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # a ragged list, or a tensor that isn't on the CPU
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        raise InputTypeError(f"values must be a list of numbers, not {shown(values)} ({type(values).__name__})")
    array = array.astype(np.float64) + 0.0  # -0.0 becomes 0.0, so that equal values hash alike
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"values must be a list of at least one number, not an array of shape {array.shape}")
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        raise InputError(f"values must be finite and at least 0, not {array[wrong[0]]} at step {wrong[0]}")
    array.setflags(write=False)
    return array


def _place(value: object) -> int | Length:
    """The step of a point: a length, or 0."""
    is_start = isinstance(value, int | np.integer) and not isinstance(value, bool) and value == 0
    return 0 if is_start else as_length(value, "at")

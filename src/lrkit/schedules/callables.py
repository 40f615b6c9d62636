"""Schedules that a Python function gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, inside
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import State

__all__ = ["FromCallable", "ask"]


@dataclass(frozen=True, repr=False)
class FromCallable(Leaf):
    """What a function of the step gives, as a share of the base (torch's LambdaLR).

    value(t) = function(t) · base

    It can't be written as text or JSON, nor pickled, since it holds a Python function: a kind, a composition or a
    `table` can. It is absolute: it doesn't begin where the segment before ended.

    Args:
        function: gives a finite number that isn't negative. It is asked for an array of steps at once, as floats; if it
            doesn't answer with an array of the same shape, or fails as functions of one number do, then for one step at
            a time, an int where the step is whole. It may be asked for any step, before that is reached.
        steps: how long it lasts; then it stays at what it was in the last step.

    Source: torch's LambdaLR.

    >>> FromCallable(lambda t: 1 / (1 + t))([0, 1, 3]).tolist()
    [1.0, 0.5, 0.25]
    >>> FromCallable(lambda t: [1.0, 0.3][t], steps=2)([0, 1, 2]).tolist()
    [1.0, 0.3, 0.3]
    """

    kind: ClassVar[str] = "from_callable"

    function: Callable[..., object]
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise InputTypeError(
                f"function must be a Python function, which text can't hold, not {shown(self.function)}"
            )

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        return base * ask(self.function, inside(t, self.steps), str(self))


def ask(function: Callable[..., object], t: Array, who: str, counted: str = "step") -> Array:
    """What a function gives at each step: asked for all of them at once if it can, else one at a time.

    Raises:
        InputError: when it gives a number that is negative or not finite.
        InputTypeError: when it doesn't give a number.
    """
    if t.size == 0:
        return t
    # Never one alone, which some functions that can't take arrays would take for a number; and a copy.
    several = np.resize(t, max(2, t.size))
    with np.errstate(all="ignore"):  # what isn't finite is refused below
        try:
            found = function(several)
        except (TypeError, ValueError, LookupError):
            found = None
    if isinstance(found, np.ndarray) and found.shape == several.shape and found.dtype.kind in "biuf":
        values = found[: t.size].astype(np.float64)
    else:
        values = np.array([_number(function, int(x) if x.is_integer() else float(x), who, counted) for x in t])
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        at, value = t[wrong[0]], values[wrong[0]]
        raise InputError(f"{who} must give finite numbers that aren't negative, not {value} at {counted} {at:.15g}")
    return values


def _number(function: Callable[..., object], at: float, who: str, counted: str) -> float:
    value = function(at)
    try:
        return float(value)  # type: ignore[arg-type]  # what has no float in it is refused below
    except (TypeError, ValueError):
        raise InputTypeError(f"{who} must give numbers, not {shown(value)} at {counted} {at}") from None

"""Cycles: kinds that go up and down, once or again and again. They inherit nothing from the segment before."""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import numpy as np

from lrkit.schedules.callables import ask
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, as_choice, held, inside, lerp, whole_steps
from lrkit.schedules.lengths import Horizon, Length, LengthLike, as_length
from lrkit.schedules.plan import State
from lrkit.schedules.shapes import through
from lrkit.schedules.shares import Absolute, ShareLike, as_number, as_share, at_base, power, show_number

__all__ = ["OneCycle", "Triangular", "cycle_at"]

_UP = Length(Fraction(30), "%")


@dataclass(frozen=True, repr=False)
class Triangular(Leaf):
    """Straight up to the peak and straight down again, cycle after cycle (torch's CyclicLR).

    value(t) = low + (peak - low) · rise(t) · amplitude(t), where rise goes from 0 to 1 in `up` steps and back to 0 in
    `down` steps, and amplitude is factor^(cycles done) for per="cycle", factor^t for per="step"

    torch's mode `triangular` is the default, `triangular2` is factor=0.5, `exp_range` is per="step" with gamma as the
    factor. Where `low` lies above the peak and the amplitude grows past 1, the value stops at 0. The momentum that goes
    with it is `.momentum()`, in text `momentum: triangular_momentum(up, down)`.

    Args:
        up: how long it rises.
        down: how long it falls, by default as long as it rises.
        low: where each cycle starts and ends.
        peak: how high the first one goes.
        factor: what the amplitude is multiplied by, once a cycle or once a step.
        per: "cycle" or "step", what `factor` and `scale` count, from 0.
        scale: a function of the cycle or step that gives the amplitude instead of `factor`. A schedule that has one
            can't be written as text or JSON, nor pickled.
        steps: how long the whole lasts; by default it cycles for ever.

    Source: cyclical learning rates (arXiv 1506.01186), which advises a `low` of a third or a quarter.

    >>> Triangular(2, low=0.5)(range(6)).tolist()
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    >>> Triangular(1, 3, low=0, factor=0.5)(range(6)).round(3).tolist()
    [0.0, 1.0, 0.667, 0.333, 0.0, 0.5]
    """

    kind: ClassVar[str] = "triangular"
    example: ClassVar[str] = "triangular(10%, low=0.2, factor=0.7)"
    positional: ClassVar[int] = 2

    up: LengthLike
    down: LengthLike | None = None
    _: KW_ONLY
    low: ShareLike = 0.25
    peak: ShareLike = 1.0
    factor: float = 1.0
    per: Literal["cycle", "step"] = "cycle"
    scale: Callable[..., object] | None = None
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("up", as_length(self.up, "up"))
        if self.down is not None:
            self._set("down", as_length(self.down, "down"))
        for name in ("low", "peak"):
            self._set(name, as_share(getattr(self, name), name))
        as_choice(self.per, "per", ("cycle", "step"))
        if self.scale is not None and not callable(self.scale):
            raise InputTypeError(f"scale must be a Python function, which text can't hold, not {shown(self.scale)}")
        if self.scale is not None and self.factor != 1:
            raise InputError(f"triangular takes either factor= or scale=, not both (factor={self.factor})")

    def momentum(self, low: float = 0.8, high: float = 0.9) -> Self:
        """The schedule that momentum follows meanwhile: `high` where the rate is low, `low` at its peak.

        >>> Triangular(2).momentum()(range(5)).round(3).tolist()
        [0.9, 0.85, 0.8, 0.85, 0.9]
        """
        lowest, highest = _momenta(low, high)
        return replace(self, low=highest, peak=lowest)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        up = whole_steps(self.up)
        down = up if self.down is None else whole_steps(self.down)
        cycle, since = cycle_at(t, self.steps, up + down)
        rise = np.where(since < up, since / up, (up + down - since) / down)
        value = lerp(at_base(self.low, base), at_base(self.peak, base), rise * self._amplitude(t, cycle))
        return np.maximum(value, 0.0)

    def _amplitude(self, t: Array, cycle: Array) -> Array:
        if self.scale is not None:
            counted = cycle if self.per == "cycle" else inside(t, self.steps)
            return ask(self.scale, counted, "scale", self.per)
        return power(self.factor, cycle if self.per == "cycle" else held(t, self.steps))


@dataclass(frozen=True, repr=False)
class OneCycle(Leaf):
    """Up from `start` to the peak, and down to `to`: one cycle for the whole training (torch's OneCycleLR).

    value(t) goes from `start` at step 0 to `peak` at step `up`, and on to `to` at step n = steps; with three phases it
    goes back to `start` at step 2 · up and from there to `to`. Between them it follows half a cosine wave or a line.

    torch's curve reaches its end at its last step, total - 1, and turns at pct_start · total - 1, which may lie between
    two steps: it is `one_cycle(total - 1, turn=pct_start * total - 1, start=1 / div_factor,
    to=1 / div_factor / final_div_factor)`. With a turn before step 0 the last phase is all there is, as if it had begun
    there; with one so late that three phases don't fit, the end cuts them off.

    The momentum that goes with it is `.momentum()`, in text `momentum: one_cycle_momentum()`.

    Args:
        steps: how long the cycle lasts.
        up: how long it rises; `"30%"` is a share of the cycle, not of the whole schedule.
        start: where it starts.
        peak: how high it goes.
        to: where it ends.
        shape: "cosine" or "linear".
        three_phase: come back to `start` as fast as it rose, before falling to `to`.
        turn: the step of the peak as a number, instead of `up`.

    Source: super-convergence (arXiv 1708.07120); defaults are torch's.

    >>> OneCycle(10, up=4, shape="linear", start=0.2, to=0.1)(range(0, 11, 2)).round(3).tolist()
    [0.2, 0.6, 1.0, 0.7, 0.4, 0.1]
    >>> torchs = OneCycle(99, turn=0.3 * 100 - 1)
    >>> torchs([0, 29, 99]).round(7).tolist()
    [0.04, 1.0, 4e-06]
    """

    kind: ClassVar[str] = "one_cycle"
    example: ClassVar[str] = "one_cycle()"
    always: ClassVar[tuple[str, ...]] = ("up",)  # its default is a length, which `over` resolves
    needs_steps: ClassVar[bool] = True

    steps: LengthLike | None = None
    _: KW_ONLY
    up: LengthLike | None = _UP
    start: ShareLike = 0.04
    peak: ShareLike = 1.0
    to: ShareLike = 4e-6
    shape: Literal["cosine", "linear"] = "cosine"
    three_phase: bool = False
    turn: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start", "peak", "to"):
            self._set(name, as_share(getattr(self, name), name))
        as_choice(self.shape, "shape", ("cosine", "linear"))
        if not isinstance(self.three_phase, bool):
            raise InputTypeError(f"three_phase must be True or False, not {shown(self.three_phase)}")
        if self.turn is None:
            self._set("up", as_length(self.up, "up"))
        elif self.up in (None, _UP):
            self._set("up", None)
            self._set("turn", as_number(self.turn, "turn"))
        else:
            raise InputError(f"one_cycle takes either up= or turn=, not both (up={self.up}, turn={self.turn})")
        self._check_fit()

    def _check_fit(self) -> None:
        if not isinstance(self.steps, int):
            return
        if self.turn is not None and self.turn > self.steps:
            raise InputError(f"turn must be at most steps, {self.steps}, not {show_number(self.turn)}")
        up = self._rises()
        if up is not None and up * (2 if self.three_phase else 1) > self.steps:
            needed = f"2 · {up} = {2 * up}" if self.three_phase else up
            raise InputError(f"up={self.up} needs {needed} steps, but the cycle has {self.steps}")

    def _rises(self) -> int | None:
        """How many steps `up` is where that is known: a share of a cycle whose length is known is."""
        if isinstance(self.steps, int) and isinstance(self.up, Length) and self.up.unit == "%":
            return Horizon(self.steps).steps_in(self.up)
        return self.up if isinstance(self.up, int) else None

    def _open(self) -> str | None:
        return None if isinstance(self.steps, int) and self._rises() is not None else super()._open()

    def momentum(self, low: float = 0.85, high: float = 0.95) -> Self:
        """The schedule that momentum follows meanwhile: from `high` to `low` at the peak and back.

        >>> OneCycle(10, up=5).momentum()([0, 5, 10]).tolist()
        [0.95, 0.85, 0.95]
        """
        lowest, highest = _momenta(low, high)
        return replace(self, start=highest, peak=lowest, to=highest)

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in super()._items() if (name, value) != ("up", None))

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        return super()._resolve(replace(horizon, steps=steps), steps)  # the horizon of `up` is the cycle

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        steps = whole_steps(self.steps)
        turn = float(whole_steps(self._rises())) if self.turn is None else self.turn
        points = [(0.0, self.start), (turn, self.peak), (2 * turn, self.start), (float(steps), self.to)]
        if not self.three_phase:
            del points[2]
        first = max(i for i, (at, _) in enumerate(points) if at <= 0)
        last = min(i for i, (at, _) in enumerate(points) if at >= steps)
        return through(t, base, points[first : last + 1], self.shape, until=steps)


def _momenta(low: float, high: float) -> tuple[Absolute, Absolute]:
    """The two ends of momentum, which doesn't scale with a base."""
    lowest, highest = (
        as_number(value, name, low=0.0, high=1.0, high_open=True) for value, name in ((low, "low"), (high, "high"))
    )
    if lowest > highest:
        raise InputError(f"low must be at most high, but {show_number(lowest)} > {show_number(highest)}")
    return Absolute(lowest), Absolute(highest)


def cycle_at(t: Array, steps: LengthLike | None, period: int, limit: int | None = None) -> tuple[Array, Array]:
    """Which of the equal cycles each step is in, and how many steps it is from where that began.

    The end of the whole, and of the last cycle, belongs to the cycle that ends there.
    """
    at = held(t, steps)
    cycle = np.floor(at / period)
    if steps is not None:
        cycle = np.minimum(cycle, (whole_steps(steps) - 1) // period)
    if limit is not None:
        cycle = np.minimum(cycle, limit - 1)
    return cycle, np.maximum(at - cycle * period, 0.0)

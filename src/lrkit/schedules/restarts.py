"""Warm restarts: cycles that fall, jump back to the peak, and may grow."""

import functools
import itertools
import math
from dataclasses import KW_ONLY, dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import ClassVar, Self

import numpy as np

from lrkit.schedules.cycles import cycle_at
from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, half_cosine, held, lerp, whole_steps
from lrkit.schedules.lengths import Horizon, Length, LengthLike, as_length
from lrkit.schedules.plan import State
from lrkit.schedules.shares import ShareLike, as_count, as_number, as_positive, as_share, at_base, power

__all__ = ["CosineRestarts"]

_LEAST_GROWTH = 1.001  # so that few cycles reach the last step that a float can count
_LAST_STEP = 2**53


@dataclass(frozen=True, repr=False)
class CosineRestarts(Leaf):
    """Half a cosine wave down, then back up at once and again (SGDR; torch's CosineAnnealingWarmRestarts).

    value(t) = to + (decay^i · base - to) · (1 + cos(π · (t - begin) / n)) / 2 in cycle i, which has the length
    n = period · growth^i and begins where the one before ended

    Lengths are exact and not rounded: with growth=1.5, cycles of 10, 15 and 22.5 steps begin at steps 0, 10 and 25, and
    the fourth at 47.5. timm's `cycle_mul` and `cycle_decay` are `growth` and `decay`.

    Args:
        period: how long the first cycle lasts; a share with a limit is rounded down, so that all the cycles fit.
        growth: what the length is multiplied by from cycle to cycle: 1, or at least 1.001.
        to: where every cycle ends.
        decay: what the peak is multiplied by from cycle to cycle.
        limit: how many cycles there are; then it stays at `to`. By default there is no end to them.
        steps: how long the whole lasts, by default as long as `limit` cycles, or for ever.

    Source: SGDR (arXiv 1608.03983).

    >>> CosineRestarts(2, growth=2, decay=0.5, limit=2)(range(8)).round(3).tolist()
    [1.0, 0.5, 0.5, 0.427, 0.25, 0.073, 0.0, 0.0]
    """

    kind: ClassVar[str] = "cosine_restarts"
    example: ClassVar[str] = "cosine_restarts(15%, growth=1.5, decay=0.8)"

    period: LengthLike
    _: KW_ONLY
    growth: float = 1.0
    to: ShareLike = 0.0
    decay: float = 1.0
    limit: int | None = None
    steps: LengthLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("period", as_length(self.period, "period"))
        self._set("to", as_share(self.to, "to"))
        self._set("growth", as_number(self.growth, "growth", low=1.0))
        if 1.0 < self.growth < _LEAST_GROWTH:
            raise InputError(f"growth must be 1, or at least {_LEAST_GROWTH}, not {self.growth}")
        self._set("decay", as_positive(self.decay, "decay"))
        if self.limit is not None:
            self._set("limit", as_count(self.limit, "limit", low=1))

    def _total(self) -> Fraction:
        """How many periods the cycles last together."""
        assert self.limit is not None
        return Fraction(self.limit if self.growth == 1 else _begins(self.growth, 1, self.limit)[-1])

    def _measure(self, horizon: Horizon) -> Fraction | None:
        if self.steps is not None or self.limit is None:
            return super()._measure(horizon)
        measure = horizon.measure(self.period) * self._total()
        return measure if isinstance(self.period, Length) else Fraction(math.ceil(measure))

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        resolved = super()._resolve(horizon, steps)
        if self.steps is not None or self.limit is None or not isinstance(self.period, Length):
            return resolved
        # Rounded down, so that the last cycle reaches its end too.
        return replace(resolved, period=max(1, math.floor(steps / self._total())))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        period = whole_steps(self.period)
        if self.growth == 1:
            cycle, since = cycle_at(t, self.length, period, self.limit)
            position = since / period
        else:
            cycle, position = _growing_cycle_at(t, self.length, _begins_and_lengths(self.growth, period, self.limit))
        to = at_base(self.to, base)
        return lerp(to, base * power(self.decay, cycle), half_cosine(np.minimum(position, 1.0)))


def _growing_cycle_at(t: Array, steps: int | None, cycles: tuple[Array, Array]) -> tuple[Array, Array]:
    """Which of the growing cycles each step is in, and at which position from 0 to 1 (past 1 after the last)."""
    begins, lengths = cycles
    at = held(t, steps)
    index = np.searchsorted(begins, at, side="right") - 1
    if steps is not None:
        index = np.minimum(index, np.searchsorted(begins, steps, side="left") - 1)
    return index.astype(np.float64), (at - begins[index]) / lengths[index]


@functools.lru_cache
def _begins_and_lengths(growth: float, period: int, limit: int | None) -> tuple[Array, Array]:
    begins = _begins(growth, period, limit)
    lengths = [after - before for before, after in itertools.pairwise(begins)]
    return np.array(begins[:-1], dtype=np.float64), np.array(lengths, dtype=np.float64)


def _begins(growth: float, period: int, limit: int | None) -> list[Decimal]:
    """Where each cycle begins, and where the last one ends.

    In decimals, with the growth as it is written: in binary a growth of 1.1 would make a restart at step 210 that isn't
    one. Beyond the last step that a float can count there are no more cycles.
    """
    begins, length = [Decimal(0)], Decimal(period)
    with localcontext(prec=60):
        factor = Decimal(repr(growth))
        while begins[-1] < _LAST_STEP and (limit is None or len(begins) <= limit):
            begins.append(begins[-1] + length)
            length *= factor
    return begins

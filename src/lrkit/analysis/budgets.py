"""What more steps would buy, and how long to cool down from where a training stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.analysis.ending import Ending, as_law, foresee
from lrkit.analysis.laws.curve import as_rates
from lrkit.analysis.laws.fitted import FittedLaw, as_level
from lrkit.analysis.nearest_schedule import rates_of
from lrkit.analysis.optimisation import best_schedule, budget
from lrkit.schedules.cooldowns import Cooldown
from lrkit.schedules.errors import InputError
from lrkit.schedules.leaf import as_list
from lrkit.schedules.shares import as_count, as_positive

__all__ = ["Budget", "CooldownLengths", "CooldownRow", "cooldown_lengths", "more_steps"]

_FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_LENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the steps so far, or of those that are left


@dataclass(frozen=True)
class Budget:
    """A number of steps, and what it would give.

    Attributes:
        factor: times the steps that were asked about.
        steps: of the training.
        schedule: as text.
        ending: the predicted final loss.
        gain: how much lower that is than with the steps that were asked about; negative where it is higher.
    """

    factor: float
    steps: int
    schedule: str
    ending: Ending
    gain: float

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        return {
            "factor": self.factor,
            "steps": self.steps,
            "schedule": self.schedule,
            **self.ending.to_dict(),
            "gain": self.gain,
        }


def more_steps(
    law: FittedLaw,
    steps: int,
    *,
    peak: float | None = None,
    schedule: str | None = None,
    factors: Sequence[float] = _FACTORS,
    level: float = 0.95,
) -> tuple[Budget, ...]:
    """What a schedule would reach with fewer and with more steps, the fewest first.

    Args:
        law: from `fit_law`.
        steps: what the others are compared with.
        peak: the rate that the schedule's shares are of; by default the highest that was fitted.
        schedule: as text, with lengths that are shares of the run; by default `best_schedule(...).nearest`.
        factors: times `steps`.
        level: of the intervals.

    >>> import numpy as np
    >>> from lrkit.analysis.laws.catalogue import LAWS
    >>> from lrkit.analysis.laws.curve import LossCurve
    >>> from lrkit.analysis.laws.fitted import World
    >>> values = {"L0": 2.5, "A": 0.6, "alpha": 0.4, "B": 120.0, "C": 2.0, "beta": 0.5, "gamma": 0.6}
    >>> curve = LossCurve(np.array([100, 200]), np.array([3.5, 3.3]), np.full(200, 3e-3))
    >>> law = FittedLaw(LAWS["multi_power"], values, (curve,), (World(LAWS["multi_power"], values),))
    >>> [(each.steps, round(each.gain, 4)) for each in more_steps(law, 200, schedule="linear(to=0)", factors=(1, 2))]
    [(200, 0.0), (400, 0.267)]

    Raises:
        InputError: for numbers that can't be, a schedule that doesn't fit into one of the budgets, and a law without
            worlds.
        InputTypeError: for what is no fitted law or no number.
    """
    law, level = as_law(law), as_level(level)
    count, base, _ = budget(law, steps, peak, 0)
    wanted = sorted({as_positive(each, "factors") for each in as_list(factors, "factors", "numbers")})
    if not wanted:
        raise InputError("factors must have at least one number, not none")
    text = best_schedule(law, count, peak=base, level=level).nearest if schedule is None else schedule
    now = foresee(law, rates_of(text, count, base), level)
    rows = []
    for factor in wanted:
        total = max(1, round(factor * count))
        ending = foresee(law, rates_of(text, total, base), level)
        rows.append(Budget(factor, total, text, ending, now.final_loss - ending.final_loss))
    return tuple(rows)


@dataclass(frozen=True)
class CooldownRow:
    """A cooldown from where a training stands.

    Attributes:
        length: how many steps the rate falls for.
        held: how many steps it stays where it is before that.
        schedule: what comes, as text, for `lrkit.parse`; its base is the rate now.
        ending: the predicted final loss.
        staying: the predicted loss after as many steps at the rate now.
    """

    length: int
    held: int
    schedule: str
    ending: Ending
    staying: float

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        return {
            "length": self.length,
            "held": self.held,
            "schedule": self.schedule,
            **self.ending.to_dict(),
            "staying": self.staying,
        }


@dataclass(frozen=True)
class CooldownLengths:
    """How a training would end, by how long it cools down.

    Attributes:
        steps: how many it has had so far.
        rate: where it stands.
        peak: the highest rate so far.
        extra: how many steps are left for staying and cooling down together; None where each cooldown begins now.
        level: of the intervals.
        rows: the shortest cooldown first.
    """

    steps: int
    rate: float
    peak: float
    extra: int | None
    level: float
    rows: tuple[CooldownRow, ...]

    @property
    def best(self) -> CooldownRow:
        """The row with the lowest predicted loss."""
        return min(self.rows, key=lambda each: each.ending.final_loss)

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        return {
            "steps": self.steps,
            "rate": self.rate,
            "peak": self.peak,
            "extra": self.extra,
            "level": self.level,
            "rows": [each.to_dict() for each in self.rows],
            "best": self.best.to_dict(),
        }


def cooldown_lengths(
    law: FittedLaw,
    rates_so_far: ArrayLike,
    lengths: Sequence[int] | None = None,
    *,
    extra: int | None = None,
    shape: str = "linear",
    level: float = 0.95,
) -> CooldownLengths:
    """How a training would end if it cooled down to 0 from where it stands, for several lengths of the cooldown.

    Without `extra` each cooldown begins now, so that a longer one has more steps; with it all end after as many steps,
    and the rate stays where it is until the cooldown.

    Args:
        law: from `fit_law`.
        rates_so_far: shape (updates,), of every update from the first on; the last is where the training stands.
        lengths: steps; by default 5, 10, 20, 30, 50 and 100 % of `extra`, or without it of those so far. Longer ones
            than `extra` are left out.
        extra: steps that are left.
        shape: of the cooldown, as `lrkit.cooldown` has it.
        level: of the intervals.

    >>> import numpy as np
    >>> from lrkit.analysis.laws.catalogue import LAWS
    >>> from lrkit.analysis.laws.curve import LossCurve
    >>> from lrkit.analysis.laws.fitted import World
    >>> values = {"L0": 2.5, "A": 0.6, "alpha": 0.4, "B": 120.0, "C": 2.0, "beta": 0.5, "gamma": 0.6}
    >>> curve = LossCurve(np.array([100, 200]), np.array([3.5, 3.3]), np.full(200, 3e-3))
    >>> law = FittedLaw(LAWS["multi_power"], values, (curve,), (World(LAWS["multi_power"], values),))
    >>> cooldown_lengths(law, np.full(200, 3e-3), [10, 100], extra=100).best.schedule
    'cooldown(100, to=0, shape=linear)'

    Raises:
        InputError: for numbers that can't be, and for a law without worlds.
        InputTypeError: for what is no fitted law or no number.
    """
    law, level, so_far = as_law(law), as_level(level), as_rates(rates_so_far)
    rate, count = float(so_far[-1]), len(so_far)
    if not rate:
        raise InputError("rates_so_far must end above 0, so that there is something to cool down from, not at 0")
    left = None if extra is None else as_count(extra, "extra", low=1)
    if lengths is None:
        asked = [max(1, round(share * (left or count))) for share in _LENGTHS]
    else:
        asked = [as_count(each, "lengths", low=1) for each in as_list(lengths, "lengths", "steps")]
        if not asked:
            raise InputError("lengths must have at least one number, not none")
    wanted = sorted({each for each in asked if left is None or each <= left})
    if not wanted:
        raise InputError(f"lengths must have one of at most extra={left} steps, not {asked}")
    rows = []
    for length in wanted:
        held = 0 if left is None else left - length
        fall = Cooldown(length, to=0.0, shape=shape)  # type: ignore[arg-type]  # it checks the shape itself
        rates = np.concatenate([so_far, np.full(held, rate), _fall(fall, length, rate)])
        text = f"constant(steps={held}) >> {fall}" if held else str(fall)
        staying = np.concatenate([so_far, np.full(held + length, rate)])
        rows.append(
            CooldownRow(
                length,
                held,
                text,
                foresee(law, rates, level),
                float(law.predict(staying, [len(staying)])[0]),
            )
        )
    return CooldownLengths(count, rate, float(so_far.max()), left, level, tuple(rows))


def _fall(cooldown: Cooldown, length: int, rate: float) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.asarray(cooldown.value(np.arange(length), base=rate), dtype=np.float64)
    return values

"""The rates of a run that didn't record them, by the schedule that it had; lengths by what is known of a run."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules import Plan, Schedule, parse
from lrkit.schedules.errors import InputError
from lrkit.schedules.lengths import NeedsSizeError

__all__ = ["computed_rates", "over_updates"]

P = TypeVar("P", bound=Plan)


def computed_rates(
    schedule: str | None, base: float, steps: int, epoch_steps: int | None, updates: int | None = None
) -> NDArray[np.float64]:
    """What a schedule, by default a constant, gives the first updates, by default all of its steps, shape (updates,).

    >>> computed_rates("warmup(50%)", 0.2, 4, None).tolist(), computed_rates("warmup(50%)", 0.2, 4, None, 1).tolist()
    ([0.1, 0.2, 0.2, 0.2], [0.1])

    Raises:
        InputError: for what isn't a schedule of the rate alone, or doesn't fit so many steps.
    """
    plan = parse(schedule or "constant()")
    if not isinstance(plan, Schedule):
        raise InputError(f"schedule must be one of the rate alone, known beforehand, not {str(plan)!r}")
    at = np.arange(steps if updates is None else updates)
    rates: NDArray[np.float64] = np.asarray(over_updates(plan, steps, epoch_steps).value(at, base))
    return rates


def over_updates(plan: P, steps: int, epoch_steps: int | None) -> P:
    """A plan with all lengths in updates, of a run of which nothing else is known.

    >>> over_updates(parse("warmup(1ep)"), 10, 4)
    warmup(4)

    Raises:
        InputError: for what doesn't fit so many steps, and lengths in a unit whose size isn't known.
    """
    try:
        resolved = plan.over(steps, epoch_steps=epoch_steps)
    except NeedsSizeError as error:
        if error.size == "epoch_steps":
            raise InputError(
                f"the length {error.length} is in epochs; say epoch_steps=, how many updates an epoch has"
            ) from None
        raise InputError(
            f"the length {error.length} must be in steps or percent: how much an update consumes isn't known"
        ) from None
    resolved.require_resolved()
    return resolved

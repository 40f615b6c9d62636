"""The rates of a run that didn't record them, by the schedule that it had."""

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules import Schedule, parse
from lrkit.schedules.errors import InputError

__all__ = ["computed_rates"]


def computed_rates(schedule: str | None, base: float, steps: int, epoch_steps: int | None) -> NDArray[np.float64]:
    """What a schedule, by default a constant, gives every update, shape (steps,).

    >>> computed_rates("warmup(50%)", 0.2, 4, None).tolist()
    [0.1, 0.2, 0.2, 0.2]

    Raises:
        InputError: for what isn't a schedule of the rate alone, or doesn't fit so many steps.
    """
    plan = parse(schedule or "constant()")
    if not isinstance(plan, Schedule):
        raise InputError(f"schedule must be one of the rate alone, known beforehand, not {str(plan)!r}")
    lengths = {} if epoch_steps is None else {"epoch_steps": epoch_steps}
    rates: NDArray[np.float64] = np.asarray(plan.over(steps, **lengths).value(np.arange(steps), base))
    return rates

"""Schedules as text, as proposals: the rate of every update."""

from collections.abc import Sequence

import numpy as np

from lrkit.analysis.prediction import Proposal
from lrkit.output.import_command import by_options
from lrkit.schedules import Schedule, parse
from lrkit.schedules.errors import InputError, shown
from lrkit.schedules.plans import as_plans
from lrkit.training.records.computed import over_updates

__all__ = ["MOST_STEPS", "propose"]

MOST_STEPS = 20_000_000


def propose(texts: Sequence[str], steps: int, peak: float, epoch_steps: int | None = None) -> list[Proposal]:
    """A proposal for each text, called after it; what is given twice is there once.

    Args:
        texts: schedules.
        steps: how many updates each has.
        peak: the base.
        epoch_steps: how many updates an epoch has, for lengths such as 10ep.

    Raises:
        InputError: for what can't be read, doesn't fit, or isn't known before it is trained, such as a plateau.

    >>> [made] = propose(["warmup(50%) >> linear(to=0)"], 4, 0.2)
    >>> made.name, made.schedule, made.learning_rates.tolist()
    ('warmup(50%) >> linear(to=0)', 'warmup(50%) >> linear(to=0)', [0.1, 0.2, 0.2, 0.1])
    """
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"--steps must be from 1 to {MOST_STEPS}, not {steps}")
    return [_propose(text, steps, peak, epoch_steps) for text in dict.fromkeys(texts)]


def _propose(text: str, steps: int, peak: float, epoch_steps: int | None) -> Proposal:
    given = parse(text)
    plan = as_plans(given).get("lr")
    if plan is None:
        raise InputError(f"--schedule must have one for the learning rate, not {shown(text)}")
    with by_options():
        resolved = over_updates(plan, steps, epoch_steps)
    if not isinstance(resolved, Schedule):
        raise InputError(
            f"--schedule must be known before it is trained: what {shown(text)} does depends on the losses on the way, "
            "so its rates can't be told"
        )
    rates = np.asarray(resolved.value(np.arange(steps), peak), dtype=np.float64)
    if not (np.isfinite(rates).all() and (rates >= 0).all() and rates.any()):
        raise InputError(f"--schedule must have rates from 0 on, and one above 0: those of {shown(text)} aren't")
    return Proposal(text, rates, str(given))

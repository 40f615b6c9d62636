"""How a training would end: its predicted final loss, how sure that is, and what of it the fit hasn't seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.validity import beyond
from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["Ending", "as_law", "foresee"]


@dataclass(frozen=True)
class Ending:
    """What a law says of the end of a training.

    Attributes:
        final_loss: after the last update.
        low, high: the interval of it.
        beyond: what of the rates lies outside of what the fit saw, in sentences; empty where nothing does.
    """

    final_loss: float
    low: float
    high: float
    beyond: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        return {"final_loss": self.final_loss, "interval": [self.low, self.high], "beyond": list(self.beyond)}


def foresee(law: FittedLaw, rates: NDArray[np.float64], level: float) -> Ending:
    """How a training with these rates of every update would end."""
    end = [len(rates)]
    loss = float(law.predict(rates, end)[0])
    low, high = (float(each[0]) for each in law.interval(rates, end, level=level))
    outside = beyond(rates, law.curves) if law.curves else ()
    if loss <= 0:
        outside += (f"The law gives it a loss of {loss:.3g}, which no training has.",)
    return Ending(loss, low, high, outside)


def as_law(law: object) -> FittedLaw:
    """A fitted law that knows of rates, and can say how sure it is.

    Raises:
        InputTypeError: for what is none.
        InputError: for one without worlds, and a baseline.
    """
    if not isinstance(law, FittedLaw):
        raise InputTypeError(f"law must be a fitted law, as from fit_law, not {shown(law)} ({type(law).__name__})")
    law.require_worlds()
    if not law.law.response:
        raise InputError(f"law must be one that knows of rates, so not {law.law.name}: for it all schedules are alike")
    return law

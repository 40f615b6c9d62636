"""Fitting laws to curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrkit.analysis.laws.bootstrap import resample
from lrkit.analysis.laws.catalogue import CANDIDATES, LAWS
from lrkit.analysis.laws.recorded_curves import as_curve
from lrkit.analysis.laws.fitted import FittedLaw, World
from lrkit.analysis.laws.problem import Optimum, Problem, problem_of
from lrkit.schedules.errors import InputError, unknown
from scipy.stats import qmc

__all__ = ["fit_law"]

_STARTS = 4


def fit_law(curves: Sequence[Any], law: str = "auto", *, seed: int = 0) -> FittedLaw:
    """The law that describes curves."""
    given = tuple(as_curve(each, number) for number, each in enumerate(curves, 1))
    if not given:
        raise InputError("curves must have at least one")
    if law != "auto" and law not in LAWS:
        raise unknown("law", law, list(LAWS))
    names = CANDIDATES if law == "auto" else (law,)
    fits = {name: fit(problem_of(LAWS[name], given)) for name in names}
    return fits
    

def fit(problem: Problem, starts: int = _STARTS) -> Optimum:
    """The best of fits from several starts, the first in the middle, others spread by a Sobol sequence."""
    size = len(problem.law.parameters)
    places = qmc.Sobol(size, scramble=False).random(8)[1:]  # the first is the corner, the second the middle
    order = places[:starts]
    found = [problem.solve(problem.place(problem.law.start(problem.scales, at))) for at in order]
    return min(found, key=lambda each: each.cost)

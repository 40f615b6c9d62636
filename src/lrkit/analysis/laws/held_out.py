"""How well a law predicts a curve that it wasn't fitted to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrkit.analysis.laws.problem import Optimum, Problem

__all__ = ["ENOUGH", "Choice", "choose", "doubt_ahead_of", "doubt_of", "held_out_error"]

ENOUGH = 3  # curves: with two left a law can be fitted
_HELD = 6  # curves that are held out at most
_ALIKE = 2.0  # errors held out that differ by less than this factor don't tell laws apart, with so few curves


@dataclass(frozen=True)
class Choice:
    """The law that is taken, and others that can't be told from it.

    Attributes:
        name: of the law.
        alike: names of the others.
        reasons: in sentences.
    """

    name: str
    alike: tuple[str, ...]
    reasons: tuple[str, ...]


def held_out_error(problem: Problem, optimum: Optimum) -> float:
    """The mean relative error over curves, each predicted from a fit to the others; of many, over some."""
    errors = []
    for number in range(0, len(problem.paths), -(-len(problem.paths) // _HELD)):
        rest = problem.without(number)
        errors.append(problem.errors(rest.solve(optimum.place).place)[number])
    return float(np.mean(errors))


def doubt_of(errors: Mapping[str, float], name: str, fitted: Sequence[float]) -> float:
    """The law's own relative error as a standard deviation: √(π/2) times the mean absolute error.

    Args:
        errors: held out, by the names of laws; empty where no curve could be held out.
        name: of the law.
        fitted: the mean relative errors of the fit itself, by curve: where nothing was held out, twice their mean is
            taken.
    """
    mean = errors[name] if name in errors else 2 * float(np.mean(fitted))
    return math.sqrt(math.pi / 2) * mean


def doubt_ahead_of(problem: Problem, optimum: Optimum, doubt: float) -> float:
    """The root mean square, over curves, of how far off their ends are, fitted to their first thirds.

    Where these have too few points to say, it is twice the law's own doubt: who knows less is less sure.
    """
    errors = problem.errors_ahead(optimum)
    return float(np.sqrt((errors**2).mean())) if len(errors) else 2 * doubt


def choose(errors: Mapping[str, float], how: str) -> Choice:
    """The first of the laws, in the order given, whose error isn't clearly worse than the best.

    Args:
        errors: by name.
        how: what they were measured by, for the reasons.

    >>> choose({"feedback": 0.0012, "multi_power": 0.001, "annealing": 0.004}, "Held out").alike
    ('multi_power',)
    """
    best = min(errors, key=lambda name: errors[name])
    alike = [name for name, error in errors.items() if error <= _ALIKE * errors[best]]
    table = ", ".join(f"{name} {100 * error:.2f} %" for name, error in errors.items())
    reasons = [f"{how}, laws err by: {table}."]
    if alike[0] == best:
        reasons.append(f"{best} errs least.")
    else:
        reasons.append(
            f"{best} errs least, by less than a factor of {_ALIKE:g}, which so few curves can't tell from chance: "
            f"{alike[0]} is taken, the first of them."
        )
    return Choice(alike[0], tuple(alike[1:]), tuple(reasons))

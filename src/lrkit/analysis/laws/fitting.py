"""Fitting laws to curves: starts, choice, worlds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from lrkit.analysis.laws.bootstrap import resample
from lrkit.analysis.laws.catalogue import CANDIDATES, LAWS
from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.determination import advise, free_parameters
from lrkit.analysis.laws.fit_warnings import warn
from lrkit.analysis.laws.fitted import FittedLaw, World
from lrkit.analysis.laws.held_out import ENOUGH, Choice, choose, doubt_ahead_of, doubt_of, held_out_error
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.problem import Optimum, Problem, problem_of
from lrkit.analysis.laws.recorded_curves import as_curve
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.shares import as_count

__all__ = ["fit_law"]

_PLACES = 64  # where the sum is looked at
_STARTS, _TRIAL = 6, 12  # from where it is minimised, the best of these, for so many evaluations;
_FINISHED = 2  # then the best of them to the end
_WORLDS = 32  # of the law that is taken
_OTHER_WORLDS = 10  # of each that can't be told from it
_MOST_APART = 100.0  # the peaks of two runs of one task
_AUTO = "auto"
_MEASURED = ("steps", "losses", "learning_rates")


def fit_law(curves: Sequence[Any], law: str | Law = _AUTO, *, worlds: int = _WORLDS, seed: int = 0) -> FittedLaw:
    """The law that describes curves, with its values, and how sure they are.

    Minimises Huber's loss of log L − log loss over about 48 points of each curve (fewer of more than four curves), by
    trust-region least squares with exact derivatives, from the best of many starts. What parameters are expected to be
    counts a little, so that what the curves don't determine stays sensible. With three curves or more a law is chosen
    by how well it predicts each from the others, of more than six some of them.

    Args:
        curves: each a `LossCurve`, a `History`, or (steps, losses, learning rates), the rates of every step from the
            first on, warmup included. Losses of the warmup are left out; but for a `LossCurve`, so are those of the
            first 2 % of the updates.
        law: a law, or the name of one in `lrkit.analysis.laws.catalogue.LAWS`; "auto" to choose.
        worlds: how often the law is fitted anew for its uncertainty, to curves and points with random weights; 0 for
            none, which is fast and gives no intervals.
        seed: of the random weights.

    Raises:
        InputError: for no curve, an unknown law, and curves that no law can be fitted to.
        InputTypeError: for what is no curve, and no law.

    >>> rates = np.full(2000, 0.1)
    >>> steps = np.arange(100, 2000, 100)
    >>> losses = 2 + 3 * (0.1 * steps) ** -0.5
    >>> fitted = fit_law([(steps, losses, rates)], "power", worlds=0)
    >>> round(float(fitted.predict(rates, [2000])[0]), 2)
    2.21
    """
    given = _curves(curves)
    worlds, seed = as_count(worlds, "worlds"), as_count(seed, "seed")
    with _one_thread():
        return _fitted(_laws(law), given, worlds, np.random.default_rng(seed))


def _curves(given: object) -> tuple[LossCurve, ...]:
    """Curves with names of their own."""
    if not isinstance(given, list | tuple):
        raise InputTypeError(f"curves must be a list of curves, not {shown(given)}")
    if not given:
        raise InputError("curves must have at least one")
    curves = [as_curve(each, number) for number, each in enumerate(given, 1)]
    for one, other in combinations(curves, 2):
        if all(np.array_equal(getattr(one, each), getattr(other, each)) for each in _MEASURED):
            raise InputError(f"curves must be of runs of their own: {one.name} and {other.name} are the same")
    peaks = sorted(each.peak for each in curves)
    if peaks[-1] > _MOST_APART * peaks[0]:
        raise InputError(
            f"curves must have rates in one unit: one has the peak {peaks[0]:g}, and another {peaks[-1]:g}"
        )
    named: list[LossCurve] = []
    for each in curves:
        taken = {other.name for other in named}
        names = (each.name, *(f"{each.name} ({number})" for number in range(2, len(curves) + 2)))
        named.append(replace(each, name=next(name for name in names if name not in taken)))
    return tuple(named)


def _fitted(laws: Sequence[Law], curves: tuple[LossCurve, ...], worlds: int, rng: np.random.Generator) -> FittedLaw:
    problems = {each.name: problem_of(each, curves) for each in laws}
    optima = {name: _minimise(problem) for name, problem in problems.items()}
    enough = len(curves) >= ENOUGH
    held = {name: held_out_error(problem, optima[name]) for name, problem in problems.items() if enough}
    fitted = {name: problem.errors(optima[name].place) for name, problem in problems.items()}
    choice = _choice(held, fitted, len(curves))
    problem, optimum, errors = problems[choice.name], optima[choice.name], fitted[choice.name]
    drawn: list[World] = []
    if worlds:
        others = -(-worlds * _OTHER_WORLDS // _WORLDS)
        for name in (choice.name, *choice.alike):
            count = worlds if name == choice.name else others
            drawn += resample(problems[name], optima[name], count, rng)
    free = free_parameters(problem, optimum)
    doubt = doubt_of(held, choice.name, errors)
    return FittedLaw(
        law=problem.law,
        parameters=problem.values(optimum.place),
        curves=curves,
        worlds=tuple(drawn),
        errors={each.name: error for each, error in zip(curves, errors, strict=True)},
        doubt=doubt,
        doubt_ahead=doubt_ahead_of(problem, optimum, doubt) if worlds else 0.0,
        free=free,
        advice=advise(free, problem, curves),
        chosen=choice.reasons,
        warnings=tuple(warn(problem, errors, curves)),
    )


def _minimise(problem: Problem) -> Optimum:
    """The best of minimisations from the most promising of many places, which a Sobol sequence spreads."""
    size = len(problem.law.parameters)
    places = qmc.Sobol(size, scramble=False).random(2 * _PLACES)[1 : _PLACES + 1]  # the first is a corner
    starts = [problem.place(problem.law.start(problem.scales, at)) for at in places]
    promising = [starts[0], *sorted(starts[1:], key=problem.cost)[: _STARTS - 1]]
    tried = sorted((problem.solve(start, most=_TRIAL) for start in promising), key=lambda each: each.cost)
    return min((problem.solve(each.place) for each in tried[:_FINISHED]), key=lambda each: each.cost)


def _laws(law: object) -> list[Law]:
    if isinstance(law, Law):
        return [law]
    if law == _AUTO:
        return [LAWS[name] for name in CANDIDATES]
    if not isinstance(law, str):
        raise InputTypeError(f"law must be the name of one, or a Law, not {shown(law)}")
    if law not in LAWS:
        raise unknown("law", law, [_AUTO, *LAWS])
    return [LAWS[law]]


def _choice(held: Mapping[str, float], fitted: Mapping[str, Sequence[float]], curves: int) -> Choice:
    """By curves held out, where there are enough; else by the fit itself, and all others count as uncertainty."""
    if len(fitted) == 1:
        [name] = fitted
        return Choice(name, (), (f"The law {name} was asked for.",))
    if held:
        return choose(held, "Predicting each curve from the others")
    found = choose({name: float(np.mean(errors)) for name, errors in fitted.items()}, "Describing what was fitted")
    few = "One curve is" if curves == 1 else "Two curves are"
    reason = f"{few} too few to hold one out, so what the other laws say counts as uncertainty."
    return Choice(found.name, tuple(name for name in fitted if name != found.name), (reason, *found.reasons))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Arrays are small here: several threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

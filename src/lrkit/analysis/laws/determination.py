"""Which parameters the curves determine, and which run would say more of the others."""

from collections.abc import Sequence

import numpy as np

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.problem import Optimum, Problem
from lrkit.analysis.wording import listed

__all__ = ["advise", "free_parameters"]

_ALIKE = 4.0  # neighbouring points err alike: so many count as one
_TIMES = 10.0  # as uncertain as this many times what is expected beforehand: the curves say next to nothing
_WIDE = 0.1  # the same, in logarithms, of what isn't expected anywhere, such as L0
_SUDDEN = 0.2  # of the peak, within a hundredth of the run


def free_parameters(problem: Problem, optimum: Optimum) -> tuple[str, ...]:
    """The parameters of which the curves say next to nothing, by the slopes of the fitted losses.

    The standard deviation of each, others being free too, is read from the inverse of JᵀJ, J being the Jacobian of the
    logarithms of the losses at the optimum, without what is expected beforehand.
    """
    slopes = optimum.jacobian / (problem.scale / 1.5) / np.sqrt(_ALIKE)
    size = np.sqrt((slopes**2).sum(axis=0))
    seen = size > 1e-6 * size.max()
    scaled = slopes[:, seen] / size[seen]
    deviation = np.full(len(size), np.inf)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    deviation[seen] = np.sqrt((vectors**2 / np.maximum(values, 1e-14)).sum(axis=1)) / size[seen]
    found = []
    for name, sigma, spread in zip(problem.law.parameters, deviation, problem.spreads, strict=True):
        if sigma > _TIMES * (spread if np.isfinite(spread) else _WIDE):
            found.append(name)
    return tuple(found)


def advise(free: Sequence[str], problem: Problem, curves: Sequence[LossCurve]) -> str | None:
    """The run that would say most of what is free; None where nothing is."""
    if not free:
        return None
    response = [name for name in free if name in problem.law.response]
    peak = max(each.peak for each in curves)
    if response and not any(_falls(each) for each in curves):
        return (
            f"No run's rate falls, so nothing says what that wins: one that stays at {peak:.3g} for the first half, "
            f"and goes on at once at a third of it, would narrow down {listed(response)}."
        )
    if response and not any(_drops(each) for each in curves):
        return (
            "Rates fall only slowly, so what falling wins can't be told from what time does: a run that stays at "
            f"{peak:.3g} for the first half, and goes on at once at a third of it, would narrow down "
            f"{listed(response)}."
        )
    if any(each.warmup < len(each.learning_rates) - 1 and not _falls(each) for each in curves):
        return f"Another run of other length, whose rate falls to another end, would narrow down {listed(free)}."
    return f"A run whose rate stays at {peak:.3g} after the warmup would narrow down {listed(free)}."


def _falls(curve: LossCurve) -> bool:
    """Whether losses were measured after the rate had fallen by a tenth of the peak."""
    rates = curve.learning_rates[: curve.steps[-1]]
    return bool(len(rates)) and float(rates.max() - rates[int(rates.argmax()) :].min()) > 0.1 * curve.peak


def _drops(curve: LossCurve) -> bool:
    """Whether the rate falls at once, with losses measured after that."""
    rates = curve.learning_rates[: curve.steps[-1]]
    apart = max(1, len(rates) // 100)
    return len(rates) > apart and float((rates[:-apart] - rates[apart:]).max()) > _SUDDEN * curve.peak

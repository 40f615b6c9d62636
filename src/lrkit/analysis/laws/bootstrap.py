"""Other values that curves allow: fits to curves and points that count more or less."""

from dataclasses import replace

import numpy as np

from lrkit.analysis.laws.fitted import World
from lrkit.analysis.laws.problem import Optimum, Problem

__all__ = ["resample"]

_BLOCK = 6  # neighbouring points err alike, so they are weighted alike
_EVALUATIONS, _TOLERANCE = 40, 1e-3  # refits differ by more than that


def resample(problem: Problem, optimum: Optimum, count: int, rng: np.random.Generator) -> list[World]:
    """Refits with random weights of runs and of blocks of points (Bayesian bootstrap), from where a fit ended.

    What is expected of parameters is drawn anew each time too, so what the curves don't determine differs from world to
    world as much as it is uncertain.

    Args:
        problem: that was solved.
        optimum: its solution.
        count: how many.
        rng: where chance comes from.
    """
    known = np.isfinite(problem.spreads)
    blocks = _blocks(problem.runs)
    worlds = []
    for _ in range(count):
        runs = rng.gamma(2.0, 0.5, size=len(problem.paths))  # mean 1: none is lost altogether
        parts = rng.exponential(size=int(blocks.max()) + 1)
        weights = runs[problem.runs] * parts[blocks]
        moved = rng.normal(size=len(problem.middles)) * np.where(known, problem.spreads, 0.0)
        drawn = replace(problem, weights=weights / weights.mean(), middles=problem.middles + moved)
        refit = drawn.solve(optimum.place, most=_EVALUATIONS, tolerance=_TOLERANCE)
        worlds.append(World(problem.law, problem.values(refit.place)))
    return worlds


def _blocks(runs: np.ndarray) -> np.ndarray:
    """Which block each point is of, shape (points,): blocks don't reach across runs."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(runs)) + 1])
    within = np.arange(len(runs)) - first[runs]
    new = (within % _BLOCK == 0).astype(np.int64)
    return np.cumsum(new) - 1

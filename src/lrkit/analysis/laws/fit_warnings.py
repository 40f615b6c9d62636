"""What of curves a law doesn't describe, in sentences."""

from collections.abc import Iterator, Sequence

import numpy as np

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.problem import Problem
from lrkit.analysis.wording import listed

__all__ = ["warn"]

_BAD, _TIMES = 0.02, 3.0  # a mean relative error, if it is as many times the noise
_LATE, _RISEN = 0.2, 2.0  # the share of points at the end; times the noise of their mean


def warn(problem: Problem, errors: Sequence[float], curves: Sequence[LossCurve]) -> Iterator[str]:
    """Curves that the fit is far from, and losses that rise in the end.

    Args:
        problem: that was solved.
        errors: the mean relative error of the fit, of each curve.
        curves: likewise.
    """
    noise = problem.scale / 1.5
    far = [each.name for each, error in zip(curves, errors, strict=True) if error > max(_BAD, _TIMES * noise)]
    if far:
        yield (
            f"The law doesn't describe {listed(far)}: it is off by {100 * max(errors):.1f} % on average there, with "
            f"noise of {100 * noise:.1f} %. Don't trust what it predicts."
        )
    rising = [each.name for number, each in enumerate(curves) if _rises(problem, number)]
    if rising:
        yield f"The loss of {listed(rising)} rises in the end, while the rate doesn't: no law here knows of that."


def _rises(problem: Problem, run: int) -> bool:
    """Whether the last points are above some before them, by more than noise, without the rate having risen."""
    logs, path = problem.logs[problem.runs == run], problem.paths[run]
    size = max(2, int(_LATE * len(logs)))
    means = [float(logs[begin : begin + size].mean()) for begin in range(0, len(logs) - size + 1, size)]
    rates = path.rates[np.minimum(path.points, len(path.rates) - 1)]
    if len(means) < 3 or rates[-size:].max() > rates[len(rates) // 2 :].min() * 1.05:
        return False
    return bool(means[-1] - min(means) > max(0.005, _RISEN * problem.scale / np.sqrt(size)))

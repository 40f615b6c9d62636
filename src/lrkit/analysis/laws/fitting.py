"""Fitting laws to curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.fitted import FittedLaw, World
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.rate_path import RatePath, trace
from lrkit.analysis.laws.recorded_curves import as_curve
from lrkit.schedules.errors import InputError, unknown

__all__ = ["fit_law"]

_HUBER = 1e-3  # of the logarithm of the loss: beyond, an error counts linearly


def fit_law(curves: Sequence[Any], law: str = "auto", *, seed: int = 0) -> FittedLaw:
    """The law that describes curves."""
    given = tuple(as_curve(each, number) for number, each in enumerate(curves, 1))
    if not given:
        raise InputError("curves must have at least one")
    if law != "auto" and law not in LAWS:
        raise unknown("law", law, list(LAWS))
    chosen = LAWS["multi_power" if law == "auto" else law]
    rng = np.random.default_rng(seed)
    paths = [trace(each.learning_rates, each.steps) for each in given]
    logs = torch.as_tensor(np.log(np.concatenate([each.losses for each in given])))
    best = min(
        (_refine(chosen, start, paths, logs) for start in chosen.starts(given, 4, rng)), key=lambda each: each[1]
    )
    values = _as_values(chosen, best[0])
    spread = [World(chosen, _as_values(chosen, best[0] + rng.normal(size=len(best[0])) * 1e-3)) for _ in range(50)]
    return FittedLaw(chosen, values, given, tuple(spread))


def _refine(
    law: Law, start: NDArray[np.float64], paths: Sequence[RatePath], logs: Tensor
) -> tuple[NDArray[np.float64], float]:
    signed = torch.tensor([name in law.signed for name in law.parameters])

    def residuals(fitted: Tensor) -> Tensor:
        numbers = torch.where(signed, fitted, fitted.exp())
        values = dict(zip(law.parameters, numbers, strict=True))
        losses = torch.cat([law.losses(values, path) for path in paths])
        return losses.clamp(min=1e-6).log() - logs

    jacobian = torch.func.jacfwd(residuals)
    inside = np.where(signed.numpy(), start, np.log(np.maximum(start, 1e-300)))
    found = least_squares(
        lambda at: residuals(torch.as_tensor(at)).numpy(),
        inside,
        jac=lambda at: jacobian(torch.as_tensor(at)).numpy(),
        loss="huber",
        f_scale=_HUBER,
        x_scale="jac",
        max_nfev=60,
    )
    return found.x, float(found.cost)


def _as_values(law: Law, fitted: NDArray[np.float64]) -> dict[str, float]:
    return {
        name: float(value if name in law.signed else np.exp(value))
        for name, value in zip(law.parameters, fitted, strict=True)
    }

"""Laws that know nothing of the rate: what the others must beat."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.law import Expected, Law
from lrkit.analysis.laws.rate_path import RatePath
from lrkit.analysis.laws.scales import Scales

__all__ = ["Exponential", "Power"]


class Power(Law):
    """L = L0 + A·t^−α, t being the updates so far as a share of the longest run that was fitted."""

    name = "power"
    formula = "L0 + A·t^-α"
    source = "a baseline"
    parameters = ("L0", "A", "alpha")
    units = ("steps",)

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        return values["L0"] + values["A"] * (path.steps.clamp(min=1.0) / values["steps"]) ** -values["alpha"]

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        floor, alpha = scales.floor(at[0]), 0.2 + 0.6 * at[1]
        return {"L0": floor, "A": scales.amplitude(floor, alpha), "alpha": alpha}

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        return {"alpha": Expected(0.5, 0.7)}


class Exponential(Law):
    """L = L0 + A·exp(−t/T), t being the updates so far, and T too as a share of the longest run that was fitted."""

    name = "exponential"
    formula = "L0 + A·exp(-t/T)"
    source = "a baseline"
    parameters = ("L0", "A", "T")
    units = ("steps",)

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        return values["L0"] + values["A"] * torch.exp(-path.steps / values["steps"] / values["T"])

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        floor = scales.lowest * (0.9 + 0.1 * at[0])
        return {"L0": floor, "A": max(scales.first - floor, 1e-3 * scales.first), "T": 0.05 * 10 ** at[1]}

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        return {"T": Expected(0.2, 1.0)}

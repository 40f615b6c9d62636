"""The annealing law."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.law import Expected, Law
from lrkit.analysis.laws.rate_path import RatePath
from lrkit.analysis.laws.scales import Scales

__all__ = ["Annealing"]


class Annealing(Law):
    """L = L0 + A·S1^−α − C·S2, with S2 = Σ_i m_i and m_i = λ·m_{i−1} + (η_{i−1} − η_i).

    S1 is the sum of the rates η of all updates so far. S2, the annealing area, sums a momentum of the falls of the
    rate after the warmup: a fall of Δη that is n updates ago gives Δη·(1 − λ^n)/(1 − λ). The paper fixes λ; here it is
    fitted as the memory 1/(1 − λ), in updates.

    Source: Tissue et al. 2024, Scaling Law with Learning Rate Annealing, arXiv 2408.11029.
    """

    name = "annealing"
    formula = "L0 + A·S1^-α - C·S2, S2 of the momentum λ = 1 - 1/memory"
    source = "arXiv 2408.11029"
    parameters = ("L0", "A", "alpha", "C", "memory")
    response = ("C", "memory")

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        memory = values["memory"].clamp(min=1 + 1e-6)
        area = -torch.expm1(path.steps_since * torch.log1p(-1 / memory)) * memory
        progress = values["A"] * path.progress ** -values["alpha"]
        return values["L0"] + progress + values["C"] * path.respond(path.warmed_rates, area)

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        floor, alpha = scales.floor(at[0]), 0.2 + 0.6 * at[1]
        memory = max(2.0, scales.steps * 10 ** (-2.5 + 2 * at[3]))
        return {
            "L0": floor,
            "A": scales.amplitude(floor, alpha) * scales.sum**alpha,
            "alpha": alpha,
            "C": scales.won(at[2]) / scales.peak / memory,
            "memory": memory,
        }

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        memory = max(2.0, 0.04 * scales.steps)
        return {
            "alpha": Expected(0.5, 0.7),
            "C": Expected(0.05 * scales.lowest / scales.peak / memory, 1.5),
            "memory": Expected(memory, 1.5),
        }

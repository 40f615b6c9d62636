"""The multi-power law."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.law import Expected, Law
from lrkit.analysis.laws.rate_path import LEAST_RATE, RatePath
from lrkit.analysis.laws.scales import Scales

__all__ = ["MultiPower"]


class MultiPower(Law):
    """L = L0 + A·(S1 + SW)^−α − B·Σ_k (η_{k−1} − η_k)·[1 − (C·η_k^−γ·S_k + 1)^−β].

    S1 + SW is the sum of the rates of all updates so far, those of the warmup (SW) included; k runs over the changes of
    the rate η after the warmup, and S_k is the sum of the rates since. A power for the progress along the valley; and
    for each fall of the rate a power for what is won by it, at first fast, then ever more slowly.

    Source: Luo et al. 2025, A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, arXiv
    2503.12811.
    """

    name = "multi_power"
    formula = "L0 + A·(S1 + SW)^-α - B·Σ(η[k-1] - η[k])·(1 - (C·η[k]^-γ·S[k] + 1)^-β)"
    source = "arXiv 2503.12811"
    parameters = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
    signed = frozenset({"gamma"})
    response = ("B", "C", "beta", "gamma")

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        speed = values["C"] * path.block_rates.clamp(min=LEAST_RATE * path.peak) ** -values["gamma"]
        won = -torch.expm1(-values["beta"] * torch.log1p(speed * path.sums_since))
        progress = values["A"] * path.progress ** -values["alpha"]
        return values["L0"] + progress + values["B"] * path.respond(path.warmed_rates, won)

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        floor, alpha, beta, gamma = scales.floor(at[0]), 0.2 + 0.6 * at[1], 0.2 + 0.6 * at[2], 0.2 + 0.6 * at[3]
        return {
            "L0": floor,
            "A": scales.amplitude(floor, alpha) * scales.sum**alpha,
            "alpha": alpha,
            "B": scales.won(at[4]) / scales.peak,
            "C": 10 ** (1 + 3 * at[5]) / scales.sum * scales.peak**gamma,
            "beta": beta,
            "gamma": gamma,
        }

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        return {
            "alpha": Expected(0.5, 0.7),
            "B": Expected(0.05 * scales.lowest / scales.peak, 1.5),
            "C": Expected(300 / scales.sum * scales.peak**0.5, 2.0),
            "beta": Expected(0.5, 0.5),
            "gamma": Expected(0.5, 0.3),
        }

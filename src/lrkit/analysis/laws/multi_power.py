"""The multi-power law."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.rate_path import RatePath
from lrkit.analysis.laws.scales import scales_of

__all__ = ["MultiPower"]


class MultiPower(Law):
    """L = L0 + A·S^−α − B·Σ_k (η_{k−1} − η_k)·[1 − (C·η_k^−γ·S_k + 1)^−β].

    S is the sum of rates over the updates so far, warmup included; k runs over the changes of the rate after the warmup, and S_k is
    the sum since. A power for the progress along the valley, and for each fall of the rate a power for what is won by it: at first
    fast, then ever more slowly.

    Source: Luo et al. 2025, A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, arXiv 2503.12811.
    """

    name = "multi_power"
    formula = "L0 + A·S^-α - B·Σ(η[k-1] - η[k])·(1 - (C·η[k]^-γ·S[k] + 1)^-β)"
    source = "arXiv 2503.12811"
    parameters = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
    signed = frozenset({"gamma"})

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        warmed = path.warmed
        levels = torch.cat([path.edge_rates[warmed].expand(warmed), path.edge_rates[warmed:]])
        tiny = 1e-6 * path.edge_rates.max()
        speed = values["C"] * path.block_rates.clamp(min=tiny) ** -values["gamma"]
        won = -torch.expm1(-values["beta"] * torch.log1p(speed * path.sums_since))
        sums = path.sums.clamp(min=tiny)
        return values["L0"] + values["A"] * sums ** -values["alpha"] + values["B"] * path.respond(levels, won)

    def starts(self, curves: Sequence[LossCurve], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        scales = scales_of(curves)
        found = []
        for number in range(count):
            at = rng.uniform(size=6) if number else np.array([0.8, 0.4, 0.4, 0.5, 0.4, 0.4])
            floor, alpha = scales.lowest * (0.5 + 0.48 * at[0]), 0.15 + 0.85 * at[1]
            gamma, beta = at[2], 0.1 + at[3]
            won = (scales.first - scales.lowest) * 10 ** (-1.5 + 1.3 * at[4]) / scales.peak
            speed = 10 ** (0.3 + 2.2 * at[5]) / scales.sum * scales.peak**gamma
            found.append([floor, scales.amplitude(floor, alpha), alpha, won, speed, beta, gamma])
        return np.array(found)

"""Convolution laws: noise that rates bring in, and that is forgotten in intrinsic time."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.law import Expected, Law
from lrkit.analysis.laws.rate_path import LEAST_RATE, RatePath
from lrkit.analysis.laws.scales import Scales

__all__ = ["Convolution", "Feedback"]

_SOURCE = "the form of arXiv 2509.19189, with a free exponent of the noise"


class Convolution(Law):
    """L = L0 + A·τ^−α + B·∫ K(τ − σ)·u(σ) dσ, with u = η^δ.

    The intrinsic time τ is the sum of the rates η of all updates so far. The first two terms are what full-batch
    training would give; the third is the noise that updates bring in, u at the time σ, of which a share K is left when
    τ − σ has passed. Form taken: the kernel K(x) = β·C·(1 + C·x)^−(1+β) of a power-law spectrum, here with its integral
    1 − (1 + C·x)^−β over the changes of u, which is the same. Rates are shares of the highest one that was fitted, τ of
    the largest sum that was fitted; so A and B are losses. In theory δ = 1 (SGD at small rates); trainings with Adam
    ask for less, and it is expected around 0.7. Unlike in the multi-power law a warmup counts, rising rates cost what
    falling ones win, and L0 is what is left without noise.

    Source: Li et al. 2025, Functional Scaling Laws in Kernel Regression, arXiv 2509.19189 (kernel and intrinsic time).
    """

    name = "convolution"
    formula = "L0 + A·τ^-α + B·Σ Δ(η^δ)·(1 - (1 + C·Δτ)^-β)"
    source = _SOURCE
    parameters = ("L0", "A", "alpha", "B", "C", "beta", "delta")
    response = ("B", "C", "beta", "delta")
    units = ("peak", "sum")

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        level = (path.edge_rates / values["peak"]).clamp(min=LEAST_RATE) ** values["delta"]
        return _losses(values, path, level, path.progress)

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        return _start(scales, at)

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        return _expected(scales)


class Feedback(Law):
    """L = L0 + A·(τ − τ0)^−α + B·∫ K(τ − σ)·u(σ) dσ, with u = η^δ·(1 + w·τ^−α).

    The convolution law with noise that shrinks as the training gets on: gradients are noisier while there is more
    left to learn. The functional scaling law has the noise σ² + e(τ), e being the excess loss A·τ^−α: w is A/σ², the
    share of the excess at the end of the longest run that was fitted. The excess is held before half of the sum of
    rates at which the first loss was fitted. τ0, as a share of that sum, is what the rates of the warmup weren't worth.

    Source: Li et al. 2025, Functional Scaling Laws in Kernel Regression, arXiv 2509.19189 (σ² + e).
    """

    name = "feedback"
    formula = "L0 + A·(τ - τ0)^-α + B·Σ Δ(η^δ·(1 + w·τ^-α))·(1 - (1 + C·Δτ)^-β)"
    source = _SOURCE
    parameters = ("L0", "A", "alpha", "B", "C", "beta", "delta", "w", "tau0")
    signed = frozenset({"tau0"})
    response = ("B", "C", "beta", "delta", "w")
    units = ("peak", "sum", "first_sum")

    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """See the class."""
        level = (path.edge_rates / values["peak"]).clamp(min=LEAST_RATE) ** values["delta"]
        excess = (torch.maximum(path.edge_sums, values["first_sum"] / 2) / values["sum"]) ** -values["alpha"]
        worth = torch.maximum(path.sums - values["tau0"] * values["first_sum"], values["first_sum"] / 100)
        return _losses(values, path, level * (1 + values["w"] * excess), worth)

    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """See `Law`."""
        return {**_start(scales, at), "w": 0.1 * 6.25 ** at[7], "tau0": 0.0}

    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """See `Law`."""
        return {**_expected(scales), "w": Expected(0.25, 0.5), "tau0": Expected(0.0, 0.2)}


def _losses(values: Mapping[str, Tensor], path: RatePath, level: Tensor, worth: Tensor) -> Tensor:
    """The law with a level of noise at each edge; the first rate is a change too, from none."""
    time = values["sum"]

    def left(since: Tensor) -> Tensor:
        return -torch.expm1(-values["beta"] * torch.log1p(values["C"] / time * since))

    noise = level[:, :1] * left(path.sums) + path.respond(level, left(path.sums_since))
    return values["L0"] + values["A"] * (worth / time) ** -values["alpha"] + values["B"] * noise


def _start(scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
    floor, alpha = scales.floor(at[0]), 0.2 + 0.6 * at[1]
    return {
        "L0": floor,
        "A": scales.amplitude(floor, alpha),
        "alpha": alpha,
        "B": scales.won(at[2]),
        "C": 10 ** (1.3 + 3 * at[3]),
        "beta": 0.2 + 0.3 * at[4],
        "delta": 0.5 + 0.4 * at[5],
    }


def _expected(scales: Scales) -> dict[str, Expected]:
    return {
        "alpha": Expected(0.5, 0.7),
        "B": Expected(0.05 * scales.lowest, 1.5),
        "C": Expected(700.0, 1.5),
        "beta": Expected(0.35, 0.5),
        "delta": Expected(0.7, 0.2),
    }

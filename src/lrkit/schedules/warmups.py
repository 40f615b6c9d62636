"""Warmups: kinds whose first update isn't wasted where they start."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np

from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, as_choice, inside, lerp, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import State
from lrkit.schedules.shapes import BENDS
from lrkit.schedules.shares import ShareLike, as_number, at_base

__all__ = ["RAdamWarmup", "UntunedWarmup", "Warmup"]

# How much of the way from start to `to` is done at position x: 1 at 1.
_SHAPES: dict[str, Callable[[Array], Array]] = {
    "linear": BENDS["linear"],
    "cosine": BENDS["cosine"],
    "exponential": lambda x: np.expm1(-2.0 * x) / np.expm1(-2.0),
}


@dataclass(frozen=True, repr=False)
class Warmup(Leaf):
    """A rise whose first update isn't wasted at `start`.

    value(t) = start + (to - start) · shape((t + 1) / n) for t < n = steps, then `to`

    Args:
        steps: how long it lasts.
        start: where it comes from, a share of the base or `absolute(...)`.
        to: where it goes.
        shape: "linear": x; "cosine": (1 - cos(π · x)) / 2; "exponential": (1 - exp(-2 · x)) / (1 - exp(-2)), which
            rises fast and then approaches `to`, with a time constant of half its length.

    Source: the usual warmup of transformer training (arXiv 1706.03762), one step earlier, so that update 0 moves
    and update n - 1 has the full rate. The time constant is the one at which an exponential warmup holds back as
    much as a linear one (arXiv 1910.04209).

    >>> Warmup(4)([0, 1, 2, 3, 4]).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> Warmup(4, shape="cosine")([0, 1, 2, 3]).round(3).tolist()
    [0.146, 0.5, 0.854, 1.0]
    >>> Warmup(4, shape="exponential")([0, 1, 2, 3]).round(3).tolist()
    [0.455, 0.731, 0.898, 1.0]
    """

    kind: ClassVar[str] = "warmup"
    example: ClassVar[str] = "warmup(20%) >> constant()"

    steps: LengthLike
    _: KW_ONLY
    start: ShareLike = 0.0
    to: ShareLike = 1.0
    shape: Literal["linear", "cosine", "exponential"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        as_choice(self.shape, "shape", _SHAPES)

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        x = np.minimum((t + 1.0) / whole_steps(self.steps), 1.0)
        return lerp(at_base(self.start, base), at_base(self.to, base), _SHAPES[self.shape](x))


@dataclass(frozen=True, repr=False)
class UntunedWarmup(Leaf):
    """The warmup that Adam's second-moment average asks for: it follows from beta2 and has nothing to tune.

    value(t) = base · min(1, (1 - beta2) · (t + 1) / 2), or base · (1 - exp(-(1 - beta2) · (t + 1)))

    It is a multiplier for a schedule that goes on behind it, as in `cosine(to=0) * untuned_warmup()`; the exponential
    one comes close to 1 and never reaches it.

    Args:
        steps: how long it lasts; then it holds what its last update had.
        beta2: the optimizer's second beta, at least 0 and below 1.
        shape: "linear", over 2 / (1 - beta2) steps, or "exponential", with a time constant of 1 / (1 - beta2) steps.

    Source: arXiv 1910.04209; pytorch_warmup's UntunedLinearWarmup and UntunedExponentialWarmup, which round both
    numbers of steps down.

    >>> UntunedWarmup(beta2=0.5)([0, 1, 2, 3, 4]).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> UntunedWarmup(beta2=0.5, shape="exponential")([0, 1, 7]).round(3).tolist()
    [0.393, 0.632, 0.982]
    """

    kind: ClassVar[str] = "untuned_warmup"
    example: ClassVar[str] = "untuned_warmup(beta2=0.995)"

    steps: LengthLike | None = None
    _: KW_ONLY
    beta2: float = 0.999
    shape: Literal["linear", "exponential"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("beta2", as_number(self.beta2, "beta2", low=0.0, high=1.0, high_open=True))
        as_choice(self.shape, "shape", ("linear", "exponential"))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        elapsed = (1.0 - self.beta2) * (inside(t, self.steps) + 1.0)
        return base * (np.minimum(elapsed / 2.0, 1.0) if self.shape == "linear" else -np.expm1(-elapsed))


@dataclass(frozen=True, repr=False)
class RAdamWarmup(Leaf):
    """RAdam's rectification as a warmup of any Adam: small while the second-moment average rests on few gradients.

    value(t) = base · √((ρ - 4)(ρ - 2) · ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) · ρ)), ρ = ρ∞ - 2k · beta2^k / (1 - beta2^k),
    ρ∞ = 2 / (1 - beta2) - 1

    k counts the updates, but step 0 has the first k at which ρ is above 4 (5, where beta2 is above 0.8): at those
    before, RAdam steps without the average, and a multiplier of 0 would waste them. It is a multiplier for a schedule
    that goes on behind it, as in `cosine(to=0) * radam_warmup()`, and not for RAdam itself, which has it built in.

    Args:
        steps: how long it lasts; then it holds what its last update had.
        beta2: the optimizer's second beta, above 0.6 (below, ρ is never above 4) and below 1.

    Source: RAdam (arXiv 1908.03265); as a multiplier, arXiv 1910.04209 and pytorch_warmup's RAdamWarmup.

    >>> RAdamWarmup(beta2=0.99)([0, 10, 100, 1000]).round(3).tolist()
    [0.054, 0.218, 0.648, 1.0]
    """

    kind: ClassVar[str] = "radam_warmup"
    example: ClassVar[str] = "radam_warmup(beta2=0.995)"

    steps: LengthLike | None = None
    _: KW_ONLY
    beta2: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("beta2", as_number(self.beta2, "beta2", low=0.6, high=1.0, low_open=True, high_open=True))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        limit = 2.0 / (1.0 - self.beta2) - 1.0
        skipped = np.argmax(self._freedom(np.arange(1.0, 201.0), limit) > 4.0)
        rho = self._freedom(inside(t, self.steps) + 1.0 + skipped, limit)
        rectified = (rho - 4.0) / (limit - 4.0) * ((rho - 2.0) / (limit - 2.0)) * (limit / rho)
        return base * np.sqrt(np.clip(rectified, 0.0, 1.0))

    def _freedom(self, k: Array, limit: float) -> Array:
        """The degrees of freedom ρ of the second-moment average after `k` updates."""
        return limit - 2.0 * k / np.expm1(-k * math.log(self.beta2))

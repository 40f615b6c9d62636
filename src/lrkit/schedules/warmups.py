"""Warmups: kinds whose first update isn't wasted where they start."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np

from lrkit.schedules.leaf import Leaf, as_choice, travel, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import Array, State
from lrkit.schedules.shares import ShareLike, at_base

__all__ = ["Warmup"]

# What is left of the way from start to `to` at position x, from 1 at 0 to 0 at 1.
_SHAPES: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: 1.0 - x,
    "cosine": lambda x: (1.0 + np.cos(np.pi * x)) / 2.0,
    "exponential": lambda x: np.expm1(2.0 - 2.0 * x) / np.expm1(2.0),
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
        return travel(at_base(self.start, base), at_base(self.to, base), _SHAPES[self.shape](x))

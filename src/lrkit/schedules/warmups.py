"""Warmups: kinds whose first update isn't wasted where they start."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from lrkit.schedules.leaf import Leaf, lerp, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import Array, State
from lrkit.schedules.shares import ShareLike, at_base

__all__ = ["Warmup"]


@dataclass(frozen=True, repr=False)
class Warmup(Leaf):
    """A linear rise whose first update isn't wasted at `start`.

    value(t) = start + (to - start) · (t + 1) / n for t < n = steps, then `to`

    Source: the usual warmup of transformer training (arXiv 1706.03762), one step earlier, so that update 0 moves
    and update n - 1 has the full rate.

    >>> Warmup(4)([0, 1, 2, 3, 4]).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    kind: ClassVar[str] = "warmup"

    steps: LengthLike
    _: KW_ONLY
    start: ShareLike = 0.0
    to: ShareLike = 1.0

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        position = np.minimum((t + 1.0) / whole_steps(self.steps), 1.0)
        return lerp(at_base(self.start, base), at_base(self.to, base), position)

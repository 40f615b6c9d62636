"""Noise: a multiplier that is drawn anew for each step, and yet is a function of the step."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.evaluation import Array
from lrkit.schedules.leaf import Leaf, as_choice, inside, whole_steps
from lrkit.schedules.lengths import LengthLike
from lrkit.schedules.plan import State
from lrkit.schedules.shares import as_number

__all__ = ["Noise"]


@dataclass(frozen=True, repr=False)
class Noise(Leaf):
    """A random factor around 1, to multiply a schedule with: `linear(to=0) * noise(scale=0.1)`.

    value(t) = max(0, 1 + scale · z) · base, where z is drawn for the step by hashing `seed` and floor(t / every)

    The draws don't depend on one another, so any step can be asked without the ones before it. It is absolute: it
    doesn't begin where the segment before ended.

    Args:
        steps: how long it lasts; then it stays at the last draw.
        scale: how strong it is, relative to the value.
        distribution: of z: "uniform" between -1 and 1, or "normal" with a standard deviation of 1.
        every: how long a draw is kept.
        seed: a whole number; another seed gives other draws.

    Source: the hash is SplitMix64 (Steele, Lea and Flood, 2014), normal draws are Box and Muller's.

    >>> noise = Noise(scale=0.1, seed=3)
    >>> noise([0, 1, 2]).round(4).tolist(), round(noise(2), 4)
    ([0.9434, 0.9796, 0.9955], 0.9955)
    """

    kind: ClassVar[str] = "noise"
    example: ClassVar[str] = "linear(to=0) * noise(scale=0.2, every=20)"

    steps: LengthLike | None = None
    _: KW_ONLY
    scale: float
    distribution: Literal["uniform", "normal"] = "uniform"
    every: LengthLike = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("scale", as_number(self.scale, "scale", low=0.0))
        as_choice(self.distribution, "distribution", _DRAWS)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
            raise InputTypeError(f"seed must be a whole number, not {shown(self.seed)}")
        if not 0 <= self.seed < 2**53:
            raise InputError(f"seed must be at least 0 and below 2^53, not {self.seed}")
        self._set("seed", int(self.seed))

    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        period = np.floor(np.minimum(inside(t, self.steps), _LAST_STEP) / whole_steps(self.every))
        z = _DRAWS[self.distribution](self.seed, period.astype(np.uint64))
        return base * np.maximum(1.0 + self.scale * z, 0.0)


_LAST_STEP = 2.0**62
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer: every bit of the result depends on every bit of the number."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _fraction(seed: int, index: NDArray[np.uint64]) -> Array:
    """A number between 0 and 1, exclusive, for each index."""
    key = _mix(np.array([(seed + _GOLDEN) % _WORD], dtype=np.uint64))
    word = _mix(_mix(index * np.uint64(_GOLDEN) + key) ^ key)
    fraction: Array = ((word >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52
    return fraction


def _uniform(seed: int, index: NDArray[np.uint64]) -> Array:
    return 2.0 * _fraction(seed, index) - 1.0


def _normal(seed: int, index: NDArray[np.uint64]) -> Array:
    one, other = (_fraction(seed, index * np.uint64(2) + np.uint64(k)) for k in (0, 1))
    z: Array = np.sqrt(-2.0 * np.log(one)) * np.cos(2.0 * np.pi * other)
    return z


_DRAWS: dict[str, Callable[[int, NDArray[np.uint64]], Array]] = {"uniform": _uniform, "normal": _normal}

"""The machine's limit for a lane-step of lanes.py: what can't be left out, each part as fast as torch has it.

Two parts, measured apart; a lane-step can't take less than both together, unless memory is moved while products are
computed:

- products: the batched matrix products at their real shapes, `torch.bmm` into outputs that exist: three forward,
  three for the weights' gradients, two for those of the layers' inputs, 6.9 million floating-point operations for a
  lane. The first layer's input is the same for all lanes, so its two products can be one large one; the faster counts.
- traffic: parameters, momentum and gradients, each read once and written once, at the memory bandwidth of arrays
  of that size: `a = b + s c` over three arrays as large as these, twice.
"""

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from job import BATCH, SIZES

if TYPE_CHECKING:
    from lane_contenders import Race
    from pulse import Pulse

__all__ = ["operations", "products", "traffic"]

Call = Callable[[], object]


def products(race: "Race", pulse: "Pulse") -> None:
    """The matrix products of an update of all lanes, again and again."""
    calls = [min(forms, key=_seconds) if len(forms) > 1 else forms[0] for forms in _products(race.lanes)]
    while True:
        for call in calls:
            call()
        pulse.beat(race.lanes)


def traffic(race: "Race", pulse: "Pulse") -> None:
    """The memory traffic of an update of all lanes, again and again."""
    numbers = race.lanes * sum(inputs * outputs + outputs for inputs, outputs in itertools.pairwise(SIZES))
    held, other, more = (torch.rand(numbers) for _ in range(3))
    while True:
        for _ in range(2):
            torch.add(other, more, alpha=0.5, out=held)
        pulse.beat(race.lanes)


def operations() -> int:
    """Floating-point operations of the products of a lane-step.

    >>> operations()
    6877184
    """
    weights = [inputs * outputs for inputs, outputs in itertools.pairwise(SIZES)]
    return 2 * BATCH * (2 * sum(weights) + sum(weights[1:]))


def _products(lanes: int) -> list[list[Call]]:
    """For each product the ways to compute it."""
    found: list[list[Call]] = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        shared = layer == 0
        x, slopes = torch.rand(1 if shared else lanes, BATCH, inputs), torch.rand(lanes, BATCH, outputs)
        weights = torch.rand(lanes, outputs, inputs)
        forward = _Product(x.expand(lanes, -1, -1), weights.mT)
        gradient = _Product(slopes.mT, x.expand(lanes, -1, -1))
        if shared:
            wide = _Product(x, weights.flatten(0, 1).t()[None])
            wide_gradient = _Product(torch.rand(BATCH, lanes * outputs).t()[None], x)
            found += [[forward, wide], [gradient, wide_gradient]]
        else:
            found += [[forward], [gradient], [_Product(slopes, weights)]]
    return found


class _Product:
    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left, self.right = left, right
        self.out = torch.empty(left.shape[0], left.shape[1], right.shape[2])

    def __call__(self) -> None:
        if len(self.out) == 1:
            torch.mm(self.left[0], self.right[0], out=self.out[0])
        else:
            torch.bmm(self.left, self.right, out=self.out)


def _seconds(call: Call) -> float:
    """The least that it takes."""
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)

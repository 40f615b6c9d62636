"""torch's schedulers, each beside the same schedule of lrkit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

import lrkit

__all__ = ["BASE", "PAIRS", "Pair"]

BASE = 0.1  # the peak rate of every pair


@dataclass(frozen=True)
class Pair:
    """A schedule that torch has too.

    Attributes:
        name: torch's.
        kinds: lrkit's kinds that are in it.
        plan: lrkit's, over n steps.
        build: torch's scheduler over n steps, from torch's module or another with the same names.
        per_call: whether the second benchmark has it.
    """

    name: str
    kinds: tuple[str, ...]
    plan: Callable[[int], lrkit.Schedule]
    build: Callable[[Any, Optimizer, int], Any]
    per_call: bool = False


PAIRS = [
    Pair(
        "StepLR",
        ("staircase",),
        lambda n: lrkit.parse(f"staircase(every={n // 10}, factor=0.5)"),
        lambda torch_, optimizer, n: torch_.StepLR(optimizer, n // 10, 0.5),
        per_call=True,
    ),
    Pair(
        "MultiStepLR",
        ("milestones",),
        lambda n: lrkit.parse(f"milestones(at=[{n // 2}, {3 * n // 4}], factor=0.1)"),
        lambda torch_, optimizer, n: torch_.MultiStepLR(optimizer, [n // 2, 3 * n // 4], 0.1),
    ),
    Pair(
        "ConstantLR",
        ("constant",),
        lambda n: lrkit.parse(f"constant(0.5, steps={n // 2}) >> constant()"),
        lambda torch_, optimizer, n: torch_.ConstantLR(optimizer, 0.5, n // 2),
    ),
    Pair(
        "LinearLR",
        ("linear",),
        lambda n: lrkit.parse(f"linear({n}, to=0.1)"),
        lambda torch_, optimizer, n: torch_.LinearLR(optimizer, 1.0, 0.1, n),
    ),
    Pair(
        "ExponentialLR",
        ("exponential",),
        lambda n: lrkit.parse(f"exponential(factor={1 - 5 / n})"),
        lambda torch_, optimizer, n: torch_.ExponentialLR(optimizer, 1 - 5 / n),
    ),
    Pair(
        "PolynomialLR",
        ("polynomial",),
        lambda n: lrkit.parse(f"polynomial({n}, to=0, exponent=2)"),
        lambda torch_, optimizer, n: torch_.PolynomialLR(optimizer, n, 2.0),
    ),
    Pair(
        "CosineAnnealingLR",
        ("cosine",),
        lambda n: lrkit.parse(f"cosine({n}, to=0.1)"),
        lambda torch_, optimizer, n: torch_.CosineAnnealingLR(optimizer, n, 0.1 * BASE),
        per_call=True,
    ),
    Pair(
        "CosineAnnealingWarmRestarts",
        ("cosine_restarts",),
        lambda n: lrkit.parse(f"cosine_restarts({max(n // 1000, 2)}, growth=2)"),
        lambda torch_, optimizer, n: torch_.CosineAnnealingWarmRestarts(optimizer, max(n // 1000, 2), 2),
    ),
    Pair(
        "CyclicLR",
        ("triangular",),
        lambda n: lrkit.parse(f"triangular({n // 100}, low=0.25)"),
        lambda torch_, optimizer, n: torch_.CyclicLR(optimizer, 0.25 * BASE, BASE, n // 100, cycle_momentum=False),
    ),
    Pair(
        "OneCycleLR",
        ("one_cycle",),
        lambda n: lrkit.parse(f"one_cycle({n - 1}, turn={0.3 * n - 1})"),
        lambda torch_, optimizer, n: torch_.OneCycleLR(optimizer, BASE, total_steps=n, cycle_momentum=False),
    ),
    Pair(
        "SequentialLR",
        ("warmup",),
        lambda n: lrkit.parse(f"warmup({n // 20}) >> cosine({n - n // 20})"),
        lambda torch_, optimizer, n: torch_.SequentialLR(
            optimizer,
            [
                torch_.LinearLR(optimizer, 20 / n, 1.0, n // 20 - 1),
                torch_.CosineAnnealingLR(optimizer, n - n // 20),
            ],
            [n // 20],
        ),
        per_call=True,
    ),
    Pair(
        "ChainedScheduler",
        (),
        lambda n: lrkit.parse(f"linear({n}, to=0.1) * exponential(factor={1 - 5 / n})"),
        lambda torch_, optimizer, n: torch_.ChainedScheduler(
            [torch_.LinearLR(optimizer, 1.0, 0.1, n), torch_.ExponentialLR(optimizer, 1 - 5 / n)]
        ),
        per_call=True,
    ),
    Pair(
        "LambdaLR",
        ("from_callable",),
        lambda n: lrkit.from_callable(lambda t: 1 / (1 + t)),
        lambda torch_, optimizer, n: torch_.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
    ),
]

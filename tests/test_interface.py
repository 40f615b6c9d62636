"""What the interface carries without change: kinds of one's own, written as a user would."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import lrkit
from lrkit import Schedule, absolute
from lrkit.schedules.shares import at_base


@dataclass(frozen=True, repr=False)
class Restarts(Schedule):
    """Cosine warm restarts: a whole cycle ends at `to`, not at the next peak."""

    kind: ClassVar[str] = "restarts"

    steps: int | str | None = None
    _: KW_ONLY
    cycle: int
    to: object = 0.0

    def _curve(self, t, base, entry, state):
        position = t / self.cycle
        if self.steps is not None:
            position = np.where(t >= self.steps, self.steps / self.cycle, position)
            inside = np.where((t >= self.steps) & (position % 1 == 0), 1.0, position % 1)
        else:
            inside = position % 1
        low = at_base(self.to, base)
        return low + (base - low) * (1 + np.cos(np.pi * inside)) / 2


@dataclass(frozen=True, repr=False)
class FromCallable(Schedule):
    """torch's LambdaLR."""

    kind: ClassVar[str] = "from_callable"

    function: Callable
    steps: int | None = None

    def _curve(self, t, base, entry, state):
        return base * np.array([self.function(int(each)) for each in t])


def sgd(*lrs):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def held(optimizer, key="lr"):
    optimizer.step()
    return [group[key] for group in optimizer.param_groups]


def test_warm_restarts_with_an_absolute_floor_in_a_sequence():
    plan = lrkit.warmup(5) >> Restarts(20, cycle=10, to=absolute(0.01)) >> lrkit.linear(10, to=0)
    for base in (0.1, 5.0):
        values = plan.value(range(40), base)
        assert values[5] == values[15] == pytest.approx(base)
        assert values[10] == pytest.approx((base + 0.01) / 2)
        assert values[25] == pytest.approx(0.01)
        assert values[30] == pytest.approx(0.005)


def test_warm_restarts_are_torchs():
    optimizer = sgd(0.1, 2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, eta_min=0.01)
    curve = Restarts(cycle=10, to=absolute(0.01))
    for t in range(35):
        np.testing.assert_allclose(theirs.get_last_lr(), curve.value(t, [0.1, 2.0]), rtol=0, atol=1e-12)
        optimizer.step()
        theirs.step()


def test_a_callable_and_a_chain():
    plan = FromCallable(lambda t: 1 / (t + 1)) * lrkit.staircase(every=3, factor=0.5) * lrkit.warmup(2)
    optimizer = sgd(0.4)
    plan.bind(optimizer)
    seen = [optimizer.param_groups[0]["lr"]] + [held(optimizer)[0] for _ in range(3)]
    np.testing.assert_allclose(seen, [0.4 * 0.5, 0.4 / 2, 0.4 / 3, 0.4 / 4 * 0.5])


def test_one_cycle_with_momentum_going_the_other_way():
    rate = lrkit.linear("30%", start=0.04, to=1) >> lrkit.linear(to=0.0004)
    momentum = lrkit.linear("30%", start=0.95 / 0.9, to=0.85 / 0.9) >> lrkit.linear(to=0.95 / 0.9)
    optimizer = sgd(0.1)
    rate.bind(optimizer, steps=10, momentum=momentum)
    lrs, momenta = [], []
    for _ in range(10):
        lrs.append(optimizer.param_groups[0]["lr"])
        momenta.append(held(optimizer, "momentum")[0])
    assert int(np.argmax(lrs)) == 3
    assert min(momenta) == pytest.approx(0.85)
    assert momenta[-1] == pytest.approx(0.95)


def test_plateau_inside_a_sequence_with_a_floor_for_groups_of_different_bases():
    plan = lrkit.parse("warmup(2) >> plateau(6, patience=0, factor=0.1, floor=absolute(0.05)) >> linear(to=0)")
    optimizer = sgd(0.1, 2.0)
    scheduler = plan.bind(optimizer, steps=12)
    for _ in range(8):
        optimizer.step()
        scheduler.step(1.0)
    assert held(optimizer) == pytest.approx([0.05 * 0.75, 0.05 * 0.75])

"""Cycles: torch's curves over whole horizons, exact restarts, and the momentum that goes the other way."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import lrkit
from lrkit import InputError, InputTypeError, absolute

BASES = [0.1, 2.0]


def sgd(bases=BASES):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": base} for base in bases]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def held(optimizer, scheduler, count):
    """The rate and the momentum of each group at each step: two arrays of (count, groups)."""
    lrs, momenta = [], []
    for _ in range(count):
        lrs.append([group["lr"] for group in optimizer.param_groups])
        momenta.append([group["momentum"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(lrs), np.array(momenta)


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


# --- triangular ------------------------------------------------------------------------------------


def slow_start(cycle):
    return 1 - 1 / (cycle + 2)


@pytest.mark.parametrize(("up", "down"), [(5, 5), (1, 1), (7, 3), (3, 17)])
@pytest.mark.parametrize(
    ("torchs", "ours"),
    [
        ({}, {}),
        ({"mode": "triangular2"}, {"factor": 0.5}),
        ({"mode": "exp_range", "gamma": 0.97}, {"factor": 0.97, "per": "step"}),
        ({"scale_fn": lambda cycle: slow_start(cycle - 1)}, {"scale": slow_start}),
        (
            {"scale_fn": lambda t: 1 / (1 + t / 9), "scale_mode": "iterations"},
            {"scale": lambda t: 1 / (1 + t / 9), "per": "step"},
        ),
    ],
)
def test_triangular_is_torchs_cyclic_lr(up, down, torchs, ours):
    optimizer = sgd()
    scheduler = theirs.CyclicLR(optimizer, 0.02, BASES, up, down, base_momentum=0.8, max_momentum=0.95, **torchs)
    lrs, momenta = held(optimizer, scheduler, 400)
    schedule = lrkit.triangular(up, down, low=absolute(0.02), **ours)
    same(schedule.value(np.arange(400)[:, None], BASES), lrs)
    same(schedule.momentum(low=0.8, high=0.95)(np.arange(400)), momenta[:, 0])


def test_a_triangle_ends_where_the_cycle_that_it_cuts_is():
    schedule = lrkit.triangular(2, low=0.5, factor=0.5, steps=4) >> lrkit.linear(10)
    assert schedule([0, 2, 3, 4]).tolist() == [0.5, 1, 0.75, 0.5]
    assert lrkit.triangular(2, low=0.5, steps=7)([6, 7, 8]).tolist() == [1, 0.75, 0.75]


def test_the_amplitude_may_come_from_a_function_for_arrays_or_for_single_numbers():
    by_array = lrkit.triangular(2, low=0, scale=lambda cycle: np.exp(-cycle))
    by_number = lrkit.triangular(2, low=0, scale=lambda cycle: math.exp(-cycle))
    by_list = lrkit.triangular(2, low=0, scale=lambda cycle: [1.0, math.exp(-1)][cycle], steps=8)
    same(by_array(range(8)), by_number(range(8)))
    same(by_list(range(8)), by_number(range(8)))


def test_a_schedule_with_a_function_says_what_it_cannot():
    schedule = lrkit.warmup(3) >> lrkit.triangular(2, scale=slow_start)
    assert str(schedule) == "warmup(3) >> triangular(2, scale=slow_start)"
    with pytest.raises(InputError, match="scale must be a Python function, which text can't hold, not 'slow_start'"):
        lrkit.parse(str(schedule))
    with pytest.raises(InputTypeError, match="a Python function can't be written as JSON: slow_start"):
        lrkit.to_json(schedule)
    with pytest.raises(InputTypeError, match="can't be pickled, because scale is a Python function"):
        pickle.dumps(schedule)


# --- cosine_restarts -------------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "growth"), [(10, 1), (1, 1), (7, 2), (1, 2), (3, 3), (10, 3), (4, 5)])
def test_cosine_restarts_is_torchs(period, growth):
    optimizer = sgd()
    scheduler = theirs.CosineAnnealingWarmRestarts(optimizer, period, growth, eta_min=0.02)
    lrs, _ = held(optimizer, scheduler, 1500)
    same(lrkit.cosine_restarts(period, growth=growth, to=absolute(0.02)).value(np.arange(1500)[:, None], BASES), lrs)


def test_restarts_are_exact_where_torchs_closed_form_is_not():
    restart = 10 * (3**5 - 1) // 2
    optimizer = sgd()
    scheduler = theirs.CosineAnnealingWarmRestarts(optimizer, 10, 3)
    optimizer.step()
    scheduler.step(restart)
    assert scheduler.get_last_lr() == pytest.approx([0, 0])  # log(243, 3) = 4.999...
    assert lrkit.cosine_restarts(10, growth=3).value(restart, BASES).tolist() == BASES


def slow_restarts(t, period, growth, *, to, decay, limit):
    """The definition (timm's too), in fractions: walk from cycle to cycle."""
    begin, length, peak = Fraction(0), Fraction(period), 1.0
    for _ in range(limit):
        if t < begin + length:
            return to + (peak - to) * (1 + math.cos(math.pi * float((t - begin) / length))) / 2
        begin, length, peak = begin + length, length * growth, peak * decay
    return to


@pytest.mark.parametrize("growth", ["1", "1.1", "1.5", "2", "1.001", "3.7"])
@pytest.mark.parametrize("decay", [1.0, 0.7])
@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_cosine_restarts_is_its_definition(growth, decay, limit):
    schedule = lrkit.cosine_restarts(100, growth=float(growth), to=0.1, decay=decay, limit=limit)
    t = np.arange(1100)
    same(schedule(t), [slow_restarts(int(x), 100, Fraction(growth), to=0.1, decay=decay, limit=limit) for x in t])


def test_a_growth_that_binary_cannot_hold_restarts_where_the_decimals_do():
    assert lrkit.cosine_restarts(100, growth=1.1)([0, 100, 210, 331]).tolist() == [1, 1, 1, 1]


def test_as_long_as_its_cycles():
    assert lrkit.cosine_restarts(10, limit=3).length == 30
    assert lrkit.cosine_restarts(10, growth=1.5, limit=3).length == 48  # 47.5, and all of it
    assert lrkit.cosine_restarts(10, growth=1.2, limit=3).length == 37  # 36.4
    plan = (lrkit.cosine_restarts("10%", growth=2, to=0.1, limit=3) >> lrkit.linear(to=0)).over(1000)
    assert str(plan) == "cosine_restarts(100, growth=2, to=0.1, limit=3, steps=700) >> linear(300, to=0)"
    assert plan([699, 700, 850]) == pytest.approx([0.1, 0.1, 0.05], abs=1e-4)
    assert lrkit.cosine_restarts(10, steps=20)([19.999, 20, 10**9]) == pytest.approx([0, 0, 0], abs=1e-7)
    assert lrkit.cosine_restarts(10, growth=2, steps=30)(30) == 0
    assert lrkit.cosine_restarts(10, growth=2, limit=2, steps=100)([29, 30, 31]).round(2).tolist() == [0.01, 0, 0]


@pytest.mark.parametrize("horizon", [7, 100, 101, 999])
@pytest.mark.parametrize("percent", [10, 16.6, 33])
@pytest.mark.parametrize("growth", [1, 1.1, 2])
def test_cycles_that_are_shares_of_the_horizon_end_at_their_end(horizon, percent, growth):
    limit = 3 if growth == 1 else 2
    restarts = lrkit.cosine_restarts(f"{percent}%", growth=growth, to=0.1, limit=limit).over(horizon)
    total = horizon * percent / 100 * (limit if growth == 1 else 1 + growth)
    assert restarts.length == max(1, math.floor(total + 0.5))
    assert restarts(restarts.length) == 0.1 or horizon == 7
    assert restarts.period >= int(horizon * percent / 100) - 1


# --- one_cycle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [3, 7, 101, 1000])
@pytest.mark.parametrize("pct_start", [0.0, 0.013, 0.25, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_is_torchs(total, pct_start, shape, three_phase):
    optimizer = sgd()
    scheduler = theirs.OneCycleLR(
        optimizer, BASES, total, pct_start=pct_start, anneal_strategy=shape[:3] if shape == "cosine" else shape,
        three_phase=three_phase, div_factor=10, final_div_factor=100,
    )  # fmt: skip  # more to a line reads better
    lrs, momenta = held(optimizer, scheduler, total - 1)
    lrs = np.append(lrs, [scheduler.get_last_lr()], 0)
    momenta = np.append(momenta, [[group["momentum"] for group in optimizer.param_groups]], 0)
    ours = lrkit.one_cycle(
        total - 1, turn=pct_start * total - 1, start=0.1, to=1e-3, shape=shape, three_phase=three_phase
    )
    same(ours.value(np.arange(total)[:, None], BASES), lrs)
    same(ours.momentum()(np.arange(total)), momenta[:, 0])


def test_one_cycle_holds_its_end_where_torch_goes_below_zero():
    optimizer = sgd([0.1])
    scheduler = theirs.OneCycleLR(optimizer, 0.1, 10, anneal_strategy="linear")
    held(optimizer, scheduler, 10)
    assert scheduler.get_last_lr()[0] < 0
    assert lrkit.one_cycle(9, turn=2, shape="linear").value([9, 10], 0.1).tolist() == [4e-7, 4e-7]


def test_one_cycle_covers_its_steps():
    schedule = lrkit.one_cycle(100, up=30, start=0.2, to=0.1)
    assert schedule([0, 30, 100, 101, 10**9]).tolist() == [0.2, 1, 0.1, 0.1, 0.1]
    assert schedule(15) == pytest.approx(0.6)
    three = lrkit.one_cycle(100, up=30, start=0.2, to=0, three_phase=True, shape="linear")
    assert three([0, 15, 30, 45, 60, 80, 100]) == pytest.approx([0.2, 0.6, 1, 0.6, 0.2, 0.1, 0])


def test_a_share_of_up_is_a_share_of_the_cycle():
    plan = (lrkit.one_cycle("50%") >> lrkit.linear(to=0)).over(1000)
    assert str(plan) == "one_cycle(500, up=150) >> linear(500, to=0)"


@pytest.mark.parametrize("up", ["30%", "33.3%", "0.1%", "100%"])
def test_a_share_of_a_cycle_whose_length_is_known_is_known(up):
    plan = lrkit.one_cycle(100, up=up)
    assert plan(range(120)).tolist() == plan.over(100)(range(120)).tolist()
    assert lrkit.parse(str(plan)) == lrkit.from_json(lrkit.to_json(plan)) == plan
    assert plan.momentum()(0) == 0.95
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert plan.bind(optimizer).get_last_lr() == [plan(0, 0.1)]
    with pytest.raises(InputError, match="because of the length 1ep"):
        lrkit.one_cycle("1ep", up=3)(0)
    with pytest.raises(InputError, match="needs 2 · 60 = 120 steps, but the cycle has 100"):
        lrkit.one_cycle(100, up="60%", three_phase=True)


def test_the_momentum_that_goes_with_a_cycle_has_a_name_in_text():
    plans = lrkit.parse("lr: one_cycle(up=40%); momentum: one_cycle_momentum(up=40%)")
    assert plans.get("momentum") == lrkit.one_cycle(up="40%").momentum()
    cycle = lrkit.triangular(2, 3, factor=0.5)
    assert lrkit.parse("triangular_momentum(2, 3, factor=0.5)") == cycle.momentum()
    assert lrkit.triangular_momentum(2, low=0.5, high=0.6) == lrkit.triangular(2).momentum(0.5, 0.6)
    assert lrkit.one_cycle_momentum(9, turn=2) == lrkit.one_cycle(9, turn=2).momentum()
    with pytest.raises(InputError, match="low must be at most high"):
        lrkit.parse("one_cycle_momentum(low=0.9, high=0.5)")


def test_momentum_follows_the_rate_in_a_bound_optimizer():
    schedule = lrkit.one_cycle(up="40%", shape="linear")
    optimizer = sgd([0.1])
    schedule.bind(optimizer, steps=10, momentum=schedule.momentum(low=0.5, high=0.9))
    momenta = []
    for _ in range(10):
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
    assert momenta == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, *(0.5 + 0.4 / 6 * i for i in range(1, 6))])
    assert lrkit.one_cycle_momentum(up="40%", shape="linear") == schedule.momentum()
    assert str(schedule.momentum()) == (
        "one_cycle(up=40%, start=absolute(0.95), peak=absolute(0.85), to=absolute(0.95), shape=linear)"
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrkit.triangular(0), "up must be positive"),
        (lambda: lrkit.triangular(1.0), "up must be a whole number of steps"),
        (lambda: lrkit.triangular(1, "x"), "down must be a whole number of steps"),
        (lambda: lrkit.triangular(1, low=-1), "low must be finite and at least 0"),
        (lambda: lrkit.triangular(1, per="epoch"), "per must be 'cycle' or 'step', not 'epoch'"),
        (lambda: lrkit.triangular(1, factor=0), "factor must be finite and above 0"),
        (lambda: lrkit.triangular(1, scale=3), "scale must be a Python function"),
        (lambda: lrkit.triangular(1, scale=abs, factor=0.5), "either factor= or scale=, not both"),
        (lambda: lrkit.triangular(1, scale=lambda _: -1)(3), "scale must give finite numbers .* not -1.0 at cycle 1"),
        (lambda: lrkit.triangular(1, scale=lambda _: "a", per="step")(3), "scale must give numbers, not 'a' at step 3"),
        (lambda: lrkit.triangular(1).momentum(0.9, 0.8), "low must be at most high, but 0.9 > 0.8"),
        (lambda: lrkit.cosine_restarts("0%"), "period must be positive"),
        (lambda: lrkit.cosine_restarts(5, growth=0.5), "growth must be finite and at least 1"),
        (lambda: lrkit.cosine_restarts(5, growth=1.0001), "growth must be 1, or at least 1.001, not 1.0001"),
        (lambda: lrkit.cosine_restarts(5, decay=0), "decay must be finite and above 0"),
        (lambda: lrkit.cosine_restarts(5, limit=0), "limit must be at least 1, not 0"),
        (lambda: lrkit.cosine_restarts(5, limit=1.5), "limit must be a whole number, not 1.5"),
        (lambda: lrkit.cosine_restarts(5, to=None), "to must be a number"),
        (lambda: lrkit.cosine_restarts(50, limit=3).over(100), "needs 150 steps, but the horizon is 100"),
        (lambda: lrkit.one_cycle(10, up=11), "up=11 needs 11 steps, but the cycle has 10"),
        (lambda: lrkit.one_cycle(10, up=6, three_phase=True), "up=6 needs 2 · 6 = 12 steps, but the cycle has 10"),
        (lambda: lrkit.one_cycle(10, turn=10.5), "turn must be at most steps, 10, not 10.5"),
        (lambda: lrkit.one_cycle(10, up=3, turn=3), "either up= or turn=, not both"),
        (lambda: lrkit.one_cycle(10, up=None), "up must be a whole number of steps"),
        (lambda: lrkit.one_cycle(10, shape="cos"), "shape must be 'cosine' or 'linear', not 'cos'"),
        (lambda: lrkit.one_cycle(10, three_phase=1), "three_phase must be True or False, not 1"),
        (lambda: lrkit.one_cycle(10).momentum(high=1.0), "high must be finite and at least 0 and below 1"),
        (lambda: lrkit.one_cycle()(0), "call over"),
        (lambda: lrkit.triangular(3)(math.inf), r"triangular\(3\) has no finite value at step inf"),
    ],
)
def test_bad_arguments_get_one_sentence(make, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)

"""Plateau: torch's behaviour where torch is right, and its place in sequences and products."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit import torch_names

OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.floats(0.05, 0.95),
        "patience": st.integers(0, 4),
        "threshold": st.floats(0, 0.5),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "cooldown": st.integers(0, 3),
        "eps": st.sampled_from([0.0, 1e-8, 1e-2]),
    }
)


def sgd(lr=0.1):
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)


@given(OPTIONS, st.sampled_from([0, 1e-3, 0.05]), st.lists(st.floats(0, 10), max_size=60))
def test_plateau_is_torchs_for_metrics_that_are_not_negative(options, floor, metrics):
    optimizer = sgd()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=floor, **options)
    ours = lrkit.plateau(floor=lrkit.absolute(floor), **options)
    named_optimizer = sgd()
    named = torch_names.ReduceLROnPlateau(named_optimizer, min_lr=floor, **options)
    state = ours.init()
    for t, metric in enumerate(metrics):
        theirs.step(metric)
        named.step(metric)
        state = ours.update(state, metric, t)
        assert ours.value(state, t, 0.1) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        assert named_optimizer.param_groups[0]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        assert (named.num_bad_epochs, named.cooldown_counter) == (theirs.num_bad_epochs, theirs.cooldown_counter)


def test_defect_torchs_relative_threshold_takes_a_stalled_negative_metric_for_an_improving_one():
    optimizer = sgd()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    named_optimizer = sgd()
    named = torch_names.ReduceLROnPlateau(named_optimizer, patience=0)
    ours = lrkit.plateau(patience=0)
    state = ours.init()
    for _ in range(5):
        theirs.step(-1.0)
        named.step(-1.0)
        state = ours.update(state, -1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert ours.value(state, 0, 0.1) == pytest.approx(0.1 * 0.1**4)
    assert named_optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**4)


def test_nan_is_never_better():
    plan = lrkit.plateau(patience=1)
    state = plan.init()
    for metric in (math.nan, math.nan, math.nan):
        state = plan.update(state, metric)
    assert state["best"] is None
    assert state["reductions"] == 1


def test_in_a_sequence_a_controller_sees_only_the_metrics_of_its_segment():
    plan = lrkit.parse("warmup(10) >> plateau(20, patience=0, factor=0.5) >> linear(10, to=0)")
    state = plan.init()
    for t in (5, 10):  # made by the warmup's updates
        state = plan.update(state, 1.0, t)
    assert state["parts"][1]["best"] is None
    for t in (15, 20, 30):
        state = plan.update(state, 1.0, t)
    assert plan.value(state, [9, 10, 29, 30, 35, 40]).tolist() == [1, 0.25, 0.25, 0.25, 0.125, 0]
    later = plan.update(state, 1.0, 31)
    assert later == state


def test_in_a_product_every_controller_sees_every_metric():
    plan = lrkit.plateau(patience=0, factor=0.5) * lrkit.linear(10, to=0)
    state = plan.init()
    for _ in range(3):
        state = plan.update(state, 1.0)
    assert plan.value(state, 5, base=2.0) == pytest.approx(2.0 * 0.25 * 0.5)


def test_a_controller_that_is_not_last_needs_a_length():
    plan = lrkit.plateau() >> lrkit.linear(10)
    with pytest.raises(lrkit.InputError, match=r"the length of plateau\(\), which was left out"):
        plan.value(plan.init(), 0)


def test_update_leaves_the_old_state_as_it_was():
    plan = lrkit.warmup(2) >> lrkit.plateau(patience=0)
    first = plan.update(plan.init(), 1.0, 3)
    before = repr(first)
    plan.update(first, 1.0, 4)
    assert repr(first) == before

"""Bounds, repetition and shifting: each against a slow readable twin, and nested in one another."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, InputTypeError, absolute
from plans import leaves, positive, schedules, simple, steps

T = np.arange(0, 400)


# --- clip ------------------------------------------------------------------------------------------


@given(simple, positive, positive.map(absolute), st.sampled_from([0.01, 1.0, 20.0]))
def test_clip_is_the_minimum_of_the_maximum(plan, low, high, base):
    clipped = lrkit.clip(plan, low=low, high=high)
    wanted = np.minimum(np.maximum(plan.value(T, base), low * base), high.value)
    np.testing.assert_array_equal(clipped.value(T, base), wanted)
    assert clipped.length == plan.length


def test_what_follows_begins_at_the_value_that_was_clipped():
    plan = lrkit.clip(lrkit.linear(10, to=0), low=0.4) >> lrkit.linear(10, to=0)
    assert plan([9, 10, 15]).tolist() == [0.4, 0.4, 0.2]


def test_a_bound_holds_what_would_outgrow_a_float():
    assert lrkit.clip(lrkit.exponential(factor=2), high=3)([0, 1, 2, 5000]).tolist() == [1, 2, 3, 3]


def test_where_bounds_cross_for_a_base_the_upper_one_decides():
    plan = lrkit.clip(lrkit.linear(10, to=0), low=absolute(0.01), high=0.5)
    assert plan.value(10, [0.0, 0.002, 1.0]).tolist() == [0.0, 0.001, 0.01]


def test_clip_around_a_sequence_with_a_controller_is_a_controller():
    plan = lrkit.clip(lrkit.warmup(2) >> lrkit.plateau(patience=0, factor=0.1), low=0.05)
    assert isinstance(plan, lrkit.Controller)
    state = plan.init()
    for t in (2, 3, 4, 5, 6):
        state = plan.update(state, 1.0, t)
    assert plan.value(state, [0, 1, 2], base=2.0).tolist() == [1.0, 2.0, 0.1]


# --- repeat ----------------------------------------------------------------------------------------


def ends_of(first, stretch, cycles):
    """Where cycles end, exactly: the stretch is the decimal number that it prints as."""
    total, length, ends = Fraction(0), Fraction(first), [0]
    for _ in range(cycles):
        total += length
        length *= Fraction(str(stretch))
        ends.append(math.floor(total + Fraction(1, 2)))
    return ends


def repeated(plan, ends, decay, t, base):
    """One step of a repetition, as its definition says."""
    for index, (begin, end) in enumerate(itertools.pairwise(ends)):
        if begin <= t < end:
            return plan((t - begin) * ends[1] / (end - begin), base * decay**index)
    raise AssertionError(t)


@given(simple, st.integers(1, 5), st.sampled_from([1, 1.05, 1.5, 2, 2.5]), st.sampled_from([1, 0.5, 0.9]))
def test_repeat_is_its_cycles_one_after_the_other(plan, cycles, stretch, decay):
    again = plan.repeat(cycles, stretch=stretch, decay=decay)
    ends = ends_of(plan.length, stretch, cycles)
    assert again.length == ends[-1]
    t = np.arange(min(ends[-1], 300))
    wanted = [repeated(plan, ends, decay, each, 0.3) for each in t]
    np.testing.assert_allclose(again(t, 0.3), wanted, rtol=1e-13, atol=0)


@given(simple, st.integers(1, 12))
def test_unstretched_cycles_are_the_plan_to_the_bit(plan, cycles):
    np.testing.assert_array_equal(plan.repeat(cycles)(np.arange(plan.length * cycles)), np.tile(_values(plan), cycles))


def _values(plan):
    return plan(np.arange(plan.length))


@given(st.integers(1, 6), st.sampled_from([1, 1.1, 1.5, 2, 3]), st.integers(30, 100_000))
def test_cycles_without_a_length_share_the_steps(cycles, stretch, total):
    shares = sum(Fraction(str(stretch)) ** i for i in range(cycles))
    if total < shares:
        with pytest.raises(InputError, match="don't fit"):
            lrkit.linear(to=0).repeat(cycles, stretch=stretch).over(total)
        return
    plan = lrkit.linear(to=0).repeat(cycles, stretch=stretch).over(total)
    ends = ends_of(Fraction(total) / shares, stretch, cycles)
    begins = np.array(ends[:-1])
    assert plan.length == ends[-1] == total
    assert plan(begins).tolist() == [1.0] * cycles
    ramp_ends = plan(np.array(ends[1:]) - 1)
    assert (ramp_ends < plan(begins)).all() or total < 2 * shares
    assert plan(total) == 0.0


def test_inside_repeat_the_horizon_is_the_cycle():
    plan = lrkit.parse("warmup(100) >> repeat(warmup(5%) >> constant() >> linear(50%, to=0), cycles=3)").over(700)
    assert str(plan.parts[1].plan) == "warmup(10) >> constant(steps=90) >> linear(100, to=0)"
    nested = lrkit.parse("repeat(repeat(linear(to=0), cycles=4) >> constant(0, steps=20%), cycles=5)").over(1000)
    assert str(nested.plan) == "repeat(linear(40, to=0), cycles=4) >> constant(0, steps=40)"


def test_without_cycles_it_repeats_until_the_end_wherever_that_is():
    endless = lrkit.linear(100, to=0).repeat()
    assert endless([0, 50, 100, 150, 10**9 + 50]).tolist() == [1, 0.5, 1, 0.5, 0.5]
    assert endless.over(250)([249, 250, 300]).tolist() == pytest.approx([0.51, 0.5, 0.5])
    stairs = lrkit.staircase(100, every=10, factor=0.5).repeat()
    assert stairs.over(250)([239, 240, 249, 250, 300]).tolist() == [0.125, 0.0625, 0.0625, 0.0625, 0.0625]


def test_repeat_of_a_cosine_like_ramp_is_torchs_warm_restarts():
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    position = lrkit.linear(10, to=0).repeat(stretch=2)  # 1 - T_cur / T_i
    for t in range(160):
        ours = 0.1 * (1 + math.cos(math.pi * (1 - position(t)))) / 2
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        theirs.step()


def test_decay_lowers_the_base_and_leaves_absolute_values():
    plan = lrkit.linear(4, to=absolute(0.01)).repeat(3, decay=0.5)
    assert plan.value([0, 4, 8, 12], 1.0).tolist() == [1.0, 0.5, 0.25, 0.01]


def test_cycles_begin_at_the_base_and_what_follows_where_they_ended():
    plan = lrkit.linear(10, to=0.5) >> lrkit.linear(10, to=0.2).repeat(2) >> lrkit.linear(10, to=0)
    assert plan([9, 10, 20, 30]).tolist() == pytest.approx([0.55, 1, 1, 0.2])


def test_a_million_steps_and_a_million_cycles_at_once():
    t = np.arange(1_000_000)
    assert lrkit.linear(1).repeat(1_000_000)(t).sum() == 1_000_000
    slowly = lrkit.linear(10, to=0).repeat(stretch=1.0001)
    np.testing.assert_array_equal(slowly(t)[::99_999], [slowly(int(each)) for each in t[::99_999]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("repeat(linear(100), cycles=3)", r"needs 3 · 100 = 300 steps, but the horizon is 250"),
        ("repeat(linear(40), cycles=3, stretch=2)", r"needs 40 \+ 80 \+ 160 = 280 steps, but the horizon is 250"),
        ("warmup(50) >> repeat(linear(100), cycles=3)", r"needs 50 \+ 3 · 100 = 350 steps"),
        ("warmup(60) * repeat(linear(100), cycles=3)", r"needs 3 · 100 = 300 steps"),
        ("clip(warmup(60) >> linear(200), low=0.1)", r"needs 60 \+ 200 = 260 steps, but the horizon is 250"),
        ("shift(linear(200), later=60)", r"needs 60 \+ 200 = 260 steps, but the horizon is 250"),
        ("shift(linear(300), earlier=20)", r"needs 300 - 20 = 280 steps, but the horizon is 250"),
        ("repeat(warmup(50%) >> linear(60%), cycles=2)", r"needs 62.5 \+ 75 = 137.5 steps a cycle"),
        ("repeat(linear(126), cycles=2, steps=250)", "needs 126 steps a cycle, but the first of 2 cycles"),
        ("repeat(warmup(60) >> linear(), cycles=5)", "needs 60 of 50 steps, which leaves nothing for linear"),
        ("repeat(linear(), cycles=251)", "251 cycles of .* don't fit into 250 steps"),
        ("repeat(linear())", r"cycles must be given, because linear\(to=0\) in .* says no length in steps"),
        ("repeat(warmup(5%) >> linear(95%))", "cycles must be given"),
        ("shift(linear(), later=250)", r"needs 250 of 250 steps, which leaves nothing for linear\(to=0\)"),
        ("shift(linear(10%), earlier=10%)", r"earlier must leave something of .* 25 - 25 = 0 steps"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_arithmetic(text, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        lrkit.parse(text).over(250)
    assert "\n" not in str(caught.value).split("\n  ")[0]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrkit.plateau(10).repeat(3), r"plateau\(10\) is a controller, which moves when a metric"),
        (lambda: lrkit.repeat(4), "repeat takes a schedule, not 4, as its plan"),
        (lambda: lrkit.linear(10).repeat(0), "cycles must be at least 1, not 0"),
        (lambda: lrkit.linear(10).repeat(2.0), "cycles must be a whole number"),
        (lambda: lrkit.linear(10).repeat(2, stretch=0.9), "stretch must be finite and at least 1, not 0.9"),
        (lambda: lrkit.linear(10).repeat(2, decay=0), "decay must be finite and above 0 and at most 1"),
        (lambda: lrkit.linear(10).repeat(10**16), "cycles must make at most 2[*][*]53 steps"),
        (lambda: lrkit.linear(10).repeat(3000, stretch=2), "cycles must make at most 2[*][*]53 steps"),
        (lambda: lrkit.clip(lrkit.linear(10)), "clip needs low=, high= or both"),
        (lambda: lrkit.clip(lrkit.linear(10), low=0.5, high=0.4), "low must be at most high, but 0.5 is above 0.4"),
        (lambda: lrkit.clip(lrkit.linear(10), low=-1), "low must be finite and at least 0"),
        (lambda: lrkit.clip(3, low=0), "clip takes a schedule or a controller, not 3"),
        (lambda: lrkit.linear(9) * lrkit.clip(lrkit.linear(9), low=absolute(1)), "absolute values mean nothing"),
        (lambda: lrkit.linear(9) * lrkit.linear(9, to=absolute(1)).repeat(2), "absolute values mean nothing"),
        (lambda: lrkit.shift(lrkit.linear(10)), "either later= or earlier=, not neither"),
        (lambda: lrkit.shift(lrkit.linear(10), later=1, earlier=1), "either later= or earlier=, not both"),
        (lambda: lrkit.shift(lrkit.linear(10), later=-1), "later must be positive, not -1"),
        (lambda: lrkit.shift(lrkit.linear(10), earlier=10), "earlier must leave something"),
    ],
)
def test_bad_arguments_get_one_sentence(make, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


# --- shift -----------------------------------------------------------------------------------------


@given(simple, steps)
def test_shifted_later_it_holds_its_first_value_until_then(plan, by):
    shifted = lrkit.shift(plan, later=by)
    np.testing.assert_array_equal(shifted(T), plan(np.maximum(T - by, 0)))
    assert shifted.length == plan.length + by


@given(simple, steps)
def test_shifted_earlier_it_is_as_if_so_many_steps_were_done(plan, by):
    if by >= plan.length:
        with pytest.raises(InputError, match="earlier must leave something"):
            lrkit.shift(plan, earlier=by)
        return
    shifted = lrkit.shift(plan, earlier=by)
    np.testing.assert_array_equal(shifted(T), plan(T + by))
    assert shifted.length == plan.length - by


def test_what_takes_what_remains_ends_where_the_segment_ends():
    assert str(lrkit.parse("shift(linear(to=0), later=5%)").over(100)) == "shift(linear(95, to=0), later=5)"
    assert str(lrkit.parse("shift(linear(to=0), earlier=5%)").over(100)) == "shift(linear(105, to=0), earlier=5)"


def test_a_shifted_controller_does_not_see_what_is_reported_before_it_begins():
    plan = lrkit.shift(lrkit.plateau(patience=0, factor=0.5), later=10)
    state = plan.init()
    for t in (5, 10):
        state = plan.update(state, 1.0, t)
    assert state == plan.init()
    for t in (11, 12):
        state = plan.update(state, 1.0, t)
    assert plan.value(state, 12) == 0.5
    with pytest.raises(InputTypeError, match="update needs t"):
        plan.update(state, 1.0)


def test_a_sequence_with_a_controller_can_begin_earlier():
    plan = lrkit.shift(lrkit.warmup(10) >> lrkit.plateau(patience=0, factor=0.5), earlier=6)
    state = plan.init()
    for t in (4, 5, 6):  # the first was made by the warmup's last update
        state = plan.update(state, 1.0, t)
    assert plan.value(state, [0, 3, 6]).tolist() == pytest.approx([0.7, 1.0, 0.5])


# --- nested ----------------------------------------------------------------------------------------


@given(schedules, st.integers(0, 3))
def test_over_gives_exactly_the_steps_however_deep_what_remains_is(inner, depth):
    total = 3 * inner.length + 40
    plan = lrkit.linear(to=0) if depth == 0 else lrkit.constant() >> inner
    if depth > 1:
        plan = lrkit.clip(lrkit.shift(plan, later="3%") * lrkit.warmup(5), high=1)
    if depth > 2:
        plan = lrkit.warmup("1.5%") >> plan.repeat(2) if total > 4 * inner.length + 60 else lrkit.warmup("1.5%") >> plan
    resolved = plan.over(total)
    assert resolved.length == total
    assert resolved.over(total) == resolved
    assert np.isfinite(resolved(np.arange(total))).all()


@given(leaves(steps), st.integers(1, 7), st.sampled_from([1, 1.3]))
def test_resolving_a_repetition_twice_changes_nothing(leaf, cycles, stretch):
    plan = lrkit.warmup("1.5ep") >> leaf.repeat(cycles, stretch=stretch) >> lrkit.warmup("0.5ep")
    once = plan.over(100_000, epoch_steps=3)
    assert once.over(100_000) == once
    assert once.length == leaf.repeat(cycles, stretch=stretch).length + 6


def test_a_product_takes_what_remains_when_a_factor_does():
    plan = lrkit.warmup(10) >> lrkit.staircase(every=30, factor=0.5) * lrkit.linear(5, start=0.1, to=1)
    resolved = plan.over(100)
    np.testing.assert_array_equal(resolved(T[:100]), plan(T[:100]))
    with pytest.raises(InputError, match=r"linear\(50, to=0\) in .* needs 50 steps, but there are 40"):
        (lrkit.constant() * lrkit.linear(50)).over(40)


def test_the_same_part_twice_begins_where_it_ended_the_first_time():
    half = lrkit.linear(10, to=0.5)
    assert (half >> half)([10, 15, 20]).tolist() == [0.5, 0.5, 0.5]


def test_a_part_sees_no_entry_but_its_own():
    plan = lrkit.linear(2, start=0, to=1) >> lrkit.exponential(2, to=0.25) >> lrkit.constant(0.3)
    assert plan(range(6)).tolist() == [0, 0.5, 1, 0.5, 0.3, 0.3]  # a step's own 0 is no start of what falls after it
    assert [plan(t) for t in range(6)] == plan(range(6)).tolist()


def test_nested_as_deep_as_text_may_be():
    plan = lrkit.linear(4, to=0)
    for _ in range(15):
        plan = lrkit.clip(lrkit.shift(plan, later=1).repeat(1), low=0.1)
    assert lrkit.parse(str(plan)) == plan
    assert lrkit.from_json(lrkit.to_json(plan)) == plan
    assert plan([0, 15, 17, 19, 30]).tolist() == [1, 1, 0.5, 0.1, 0.1]


# --- the operators as functions --------------------------------------------------------------------


def test_a_sequence_and_a_product_are_the_operators():
    warmup, cosine, step = lrkit.warmup(5), lrkit.cosine(10, to=0), lrkit.staircase(every=3)
    assert lrkit.sequence(warmup, cosine, step) == warmup >> cosine >> step
    assert lrkit.product(step, warmup, cosine) == step * warmup * cosine
    for plans in ([[warmup, "cosine(10, to=0)"]], [(warmup, cosine)], ["warmup(5)", cosine]):
        assert lrkit.sequence(*plans) == warmup >> cosine
        assert lrkit.product(*plans) == warmup * cosine
    assert lrkit.sequence(warmup >> step, cosine) == warmup >> step >> cosine
    assert lrkit.sequence("warmup(5) >> plateau()", cosine) == warmup >> lrkit.plateau() >> cosine


@pytest.mark.parametrize("name", ["sequence", "product"])
def test_what_is_no_plan_is_refused_as_by_the_operators(name):
    combine = getattr(lrkit, name)
    with pytest.raises(
        InputTypeError, match=rf"{name} takes a schedule or a controller, such as constant\(0\.5\) .* not 3"
    ):
        combine(lrkit.warmup(5), 3)
    with pytest.raises(InputTypeError, match=rf"{name} takes a schedule or a controller, .*, not lr: constant"):
        combine(lrkit.warmup(5), "lr: constant(); momentum: constant()")
    for plans, count in (([], 0), ([[]], 0), ([lrkit.warmup(5)], 1), ([["warmup(5)"]], 1)):
        with pytest.raises(InputError, match=f"a {name} needs at least two parts, not {count}"):
            combine(*plans)
    with pytest.raises(InputError, match="unknown kind 'warmpu', did you mean 'warmup'"):
        combine("warmpu(5)", "constant()")

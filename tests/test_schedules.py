"""What a schedule is: the conventions, and the laws that hold for every kind and composition."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, InputTypeError, absolute
from plans import RELATIVE, controllers, schedules

T = np.arange(0, 400)


# --- laws ------------------------------------------------------------------------------------------


@given(schedules)
def test_one_step_at_a_time_is_the_same_as_all_at_once(schedule):
    assert [schedule(int(t), 0.3) for t in T[:150]] == schedule(T[:150], 0.3).tolist()


@given(schedules)
def test_text_json_and_pickle_give_the_same_schedule_back(schedule):
    assert lrkit.parse(str(schedule)) == schedule
    assert lrkit.from_json(lrkit.to_json(schedule)) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule
    assert hash(lrkit.parse(str(schedule))) == hash(schedule)


@given(controllers)
def test_text_json_and_pickle_give_the_same_controller_back(controller):
    assert lrkit.parse(str(controller)) == controller
    assert lrkit.from_json(lrkit.to_json(controller)) == controller
    assert pickle.loads(pickle.dumps(controller)) == controller


@pytest.mark.parametrize("text", RELATIVE)
def test_a_plan_with_lengths_in_units_prints_as_it_was_written(text):
    plan = lrkit.parse(text)
    assert str(plan) == text
    assert repr(plan) == text
    assert lrkit.from_json(lrkit.to_json(plan)) == plan


@given(schedules, st.floats(1e-4, 10))
def test_values_are_finite_and_never_negative_and_hold_past_the_end(schedule, base):
    values = schedule(np.append(T, 10**9), base)
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    if schedule.length is not None:
        assert schedule(schedule.length, base) == schedule(10**12, base)


@given(schedules, st.lists(st.floats(1e-3, 5), min_size=1, max_size=3))
def test_value_is_elementwise_in_base_too(schedule, bases):
    together = schedule.value(T[:50, None], bases)
    assert together.shape == (50, len(bases))
    for column, base in enumerate(bases):
        np.testing.assert_array_equal(together[:, column], schedule.value(T[:50], base))


@given(schedules, schedules, schedules)
def test_sequence_and_product_are_associative_and_flat(a, b, c):
    assert (a >> b) >> c == a >> (b >> c)
    assert len((a >> (b >> c)).parts) == sum(len(p.parts) if p.kind == "sequence" else 1 for p in (a, b, c))


@given(schedules, schedules)
def test_a_sequence_is_its_first_part_until_the_second_begins(a, b):
    chained = a >> b
    n = a.length
    np.testing.assert_array_equal(chained(np.arange(n), 0.1), a(np.arange(n), 0.1))


# --- conventions -----------------------------------------------------------------------------------


def test_a_ramp_has_its_start_at_0_and_would_reach_its_end_at_n():
    ramp = lrkit.linear(10, to=0.5)
    assert ramp(0) == 1.0
    assert ramp(9) == pytest.approx(0.55)
    assert ramp(10) == 0.5


def test_a_warmup_does_not_waste_its_first_update():
    assert lrkit.warmup(4)(range(5)).tolist() == [0.25, 0.5, 0.75, 1, 1]
    assert lrkit.warmup(4, start=0.2)(0) == pytest.approx(0.2 + 0.8 / 4)
    assert lrkit.warmup(1)(0) == 1.0


def test_a_part_begins_where_the_one_before_ended():
    chained = lrkit.linear(10, to=0.1) >> lrkit.linear(10, to=0)
    assert chained(10) == pytest.approx(0.1)
    assert chained(15) == pytest.approx(0.05)


def test_constants_inherit_nothing():
    assert (lrkit.linear(10, to=0.1) >> lrkit.constant(0.6))(10) == 0.6


def test_a_staircase_ends_on_its_last_stair():
    chained = lrkit.staircase(20, every=10, factor=0.1) >> lrkit.linear(10, to=0)
    assert chained(19) == pytest.approx(0.1)
    assert chained(20) == pytest.approx(0.1)


def test_absolute_end_points_do_not_scale_with_the_base():
    schedule = lrkit.linear(10, to=absolute(1e-3)) >> lrkit.linear(10, to=0)
    np.testing.assert_allclose(schedule.value(10, [0.1, 10.0]), 1e-3, rtol=1e-15)
    np.testing.assert_allclose(schedule.value(15, [0.1, 10.0]), 5e-4, rtol=1e-15)


def test_in_a_product_the_first_carries_the_base_and_the_others_start_at_1():
    schedule = lrkit.constant(0.5) >> lrkit.linear(10, to=0)
    with pytest.raises(InputError, match="over"):
        schedule(0)
    product = lrkit.constant(0.5, steps=4) >> lrkit.linear(10, to=0.1) * lrkit.linear(5, to=0.5)
    assert product(4, 2.0) == pytest.approx(1.0)
    assert product(9, 2.0) == pytest.approx(2.0 * 0.3 * 0.5)


def test_every_holds_a_value_for_a_period():
    schedule = lrkit.every("1ep", lrkit.linear(to=0)).over(10, epoch_steps=4)
    assert str(schedule) == "every(4, linear(3, to=0), steps=10)"
    np.testing.assert_allclose(schedule(range(12)), [1] * 4 + [2 / 3] * 4 + [1 / 3] * 4)


def test_lengths_in_every_unit():
    text = "warmup(10%) >> constant(steps=1ep) >> constant(0.5, steps=2ktok) >> constant(0.2, steps=30samples)"
    plan = lrkit.parse(text).over(100, epoch_steps=7, step_tokens=200, step_samples=2)
    assert [part.length for part in plan.parts] == [10, 7, 10, 15]


def test_what_remains_can_stand_anywhere():
    plan = lrkit.parse("warmup(5%) >> constant() >> linear(20%)").over(1000)
    assert str(plan) == "warmup(50) >> constant(steps=750) >> linear(200, to=0)"


@given(st.integers(3, 10_000), st.lists(st.integers(1, 99), min_size=2, max_size=3))
def test_cumulative_ends_are_rounded_half_up_and_nothing_becomes_0(total, percents):
    if sum(percents) > 100 or total < 100:
        return
    plan = lrkit.parse(" >> ".join(f"constant(steps={p}%)" for p in percents)).over(total)
    ends = np.cumsum([part.length for part in plan.parts])
    wanted = [math.floor(sum(percents[: i + 1]) * total / 100 + 0.5) for i in range(len(percents))]
    assert ends.tolist() == wanted


def test_a_tiny_share_is_one_step():
    assert lrkit.parse("warmup(0.01%) >> linear()").over(100).parts[0].length == 1


def test_resolving_twice_changes_nothing():
    for text in RELATIVE:
        once = lrkit.parse(text).over(10_000, epoch_steps=100, step_tokens=2048, step_samples=32)
        assert once.over(10_000) == once


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("warmup(600) >> linear(500)", r"needs 600 \+ 500 = 1100 steps, but the horizon is 1000"),
        ("warmup(60%) >> linear(50%)", r"needs 600 \+ 500 = 1100 steps, but the horizon is 1000"),
        ("warmup(100%) >> linear()", r"needs 1000 of 1000 steps, which leaves nothing for linear\(to=0\)"),
        ("constant() >> linear()", "only one part of a sequence can take what remains"),
        ("linear(1001)", "needs 1001 steps, but the horizon is 1000"),
        ("warmup(10ep)", "the length 10ep needs epoch_steps"),
        ("warmup(1Mtok)", "the length 1Mtok needs step_tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_arithmetic(text, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.parse(text).over(1000)


@pytest.mark.parametrize("text", ["linear()", "warmup(5%)", "exponential(to=0.1)", "every(1ep, constant())"])
def test_calling_an_unresolved_schedule_names_over(text):
    with pytest.raises(InputError, match=r"over\(steps"):
        lrkit.parse(text)(0)


@pytest.mark.parametrize("length", [1.0, 0.5, True, None, [3], 1j, float("nan")])
def test_a_bare_float_is_no_length(length):
    with pytest.raises(InputTypeError, match="steps must be a whole number of steps"):
        lrkit.warmup(length)


@pytest.mark.parametrize("length", [0, -1, "0%", "5", "ten", "-5%", "5 %%", "1kep", "1k%", "5k", "1.5M", "1.5", ""])
def test_a_length_is_positive_and_in_a_known_unit(length):
    if length == "5":
        assert lrkit.warmup(length) == lrkit.warmup(5)
        return
    with pytest.raises(InputError, match="steps must be"):
        lrkit.warmup(length)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
def test_numbers_are_finite_and_not_negative(bad):
    for make in (
        lambda: lrkit.linear(10, to=bad),
        lambda: lrkit.constant(bad),
        lambda: lrkit.warmup(10, start=bad),
        lambda: lrkit.exponential(factor=bad),
        lambda: lrkit.staircase(every=10, factor=bad),
        lambda: lrkit.milestones(at=[1], factor=bad),
        lambda: absolute(bad),
        lambda: lrkit.plateau(threshold=bad),
    ):
        with pytest.raises(InputError, match="must be finite"):
            make()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrkit.milestones(at=[]), "at least one"),
        (lambda: lrkit.milestones(at=[30, 10]), "at must ascend, but 30 stands before 10"),
        (lambda: lrkit.milestones(at="10"), "at must be a list"),
        (lrkit.exponential, "either to= or factor=, not neither"),
        (lambda: lrkit.exponential(10, to=0.1, factor=0.9), "not both"),
        (lambda: lrkit.exponential(10, to=0), "to must be finite and above 0"),
        (lambda: lrkit.every(3, lrkit.plateau()), "is a controller"),
        (lambda: lrkit.every(3, 4), "every takes a schedule, not 4"),
        (lambda: lrkit.constant() * lrkit.linear(3, to=absolute(1)), "a multiplier has no base"),
        (lambda: lrkit.plateau(mode="up"), "mode must be 'min' or 'max', not 'up'"),
        (lambda: lrkit.plateau(factor=1.0), "factor must be finite and above 0 and below 1"),
        (lambda: lrkit.plateau(patience=-1), "patience must be at least 0"),
        (lambda: lrkit.plateau(patience=1.5), "patience must be a whole number"),
        (lambda: lrkit.linear(10, to="0"), "to must be a number"),
        (lambda: lrkit.linear(10).over(0), "steps must be positive, not 0"),
        (lambda: lrkit.linear(10).over(10.0), "steps must be a whole number"),
    ],
)
def test_bad_arguments_get_one_sentence(make, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_growth_past_what_a_float_holds_names_the_step():
    with pytest.raises(InputError, match=r"exponential\(factor=2\) has no finite value at step 1024"):
        lrkit.exponential(factor=2)(range(2000))


@pytest.mark.parametrize(("t", "base"), [("a", 1.0), (0, "b"), ([None, "x"], 1.0)])
def test_steps_and_bases_are_numbers(t, base):
    with pytest.raises(InputTypeError, match="must be a number or an array of numbers"):
        lrkit.linear(10)(t, base)


@pytest.mark.parametrize("plan", [lrkit.constant(), lrkit.plateau(5), lrkit.constant(steps=2) >> lrkit.linear(2)])
@pytest.mark.parametrize("given", [3, 0.5, "linear()", None, math.exp, np.ones(2)])
def test_composing_with_something_else_says_what_can_be(plan, given):
    for mark, compose in ((">>", operator.rshift), (r"\*", operator.mul)):
        with pytest.raises(InputTypeError, match=rf"^{mark} takes a schedule or a controller, such as constant\(0.5\)"):
            compose(plan, given)
    with pytest.raises(TypeError):
        lrkit.constant() * 0.5


def test_a_million_steps_at_once():
    values = lrkit.parse("warmup(5%) >> linear(to=0)").over(1_000_000)(np.arange(1_000_000))
    assert values.shape == (1_000_000,)
    assert values.max() == 1.0

"""Rules of the finder: a rate where the curve supports one, else the reason why not, whatever the noise."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import finder
from lrkit import InputError, InputTypeError
from lrkit.analysis.curves import Curve
from lrkit.analysis.descents import Reason, diagnose, find_descent
from lrkit.analysis.finder_rules import RULES, halfway, minimum_tenth, slide, steepest, valley
from lrkit.analysis.suggestions import suggest
from published_rules import PUBLISHED

RATES = np.geomspace(1e-7, 10, 100)
CENTRE = 1e-2
SEEDS = range(10)


def descent(rates=RATES, *, centre=CENTRE, noise=0.0, seed=0, explosion=100.0):
    """The formula of the benchmark: it falls by 2 as a logistic around the centre, and explodes."""
    setting = finder.Setting(centre, rates[0], rates[-1], len(rates), noise, explosion=explosion)
    assert np.allclose(setting.rates, rates)
    return setting.losses(seed)


def noise(seed, count=100):
    return np.random.default_rng(seed).standard_normal(count)


def within(factor, rates, centre=CENTRE):
    return all(rate is not None and centre / factor <= rate <= centre * factor for rate in rates)


# --- where others fail ---------------------------------------------------------------------------------


def test_noise():
    assert within(1.02, [halfway(RATES, descent())])
    assert within(1.15, [halfway(RATES, descent(noise=0.03, seed=seed)) for seed in SEEDS])
    assert within(2, [halfway(RATES, descent(noise=0.1, seed=seed)) for seed in SEEDS])


@pytest.mark.parametrize("period", [2, 5, 9])
def test_an_oscillating_loss(period):
    wave = 0.3 * np.sin(2 * np.pi * np.arange(len(RATES)) / period)
    assert within(1.5, [halfway(RATES, wave + descent(noise=0.03, seed=seed)) for seed in SEEDS])


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("height", [2.0, 20.0, 1e6])
def test_spikes_at_the_start(count, height):
    spikes = np.where(np.arange(len(RATES)) < count, height, 0.0)
    assert within(1.3, [halfway(RATES, spikes + descent(noise=0.03, seed=seed)) for seed in SEEDS])


@pytest.mark.parametrize("places", [[40], [55, 56], [30, 50, 60, 70]])
def test_spikes_elsewhere(places):
    losses = descent(noise=0.03)
    losses[places] = 1e4
    assert within(1.2, [halfway(RATES, losses)])


def test_a_transient_at_the_start():
    transient = 10 * np.exp(-np.arange(len(RATES)) / 3)
    assert within(1.3, [halfway(RATES, transient + descent(noise=0.03, seed=seed)) for seed in SEEDS])


def test_negative_losses():
    assert within(1.15, [halfway(RATES, descent(noise=0.03, seed=seed) - 50) for seed in SEEDS])


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_nan_at_once(lost):
    for count in (0, 1, 5):
        losses = np.where(np.arange(len(RATES)) < count, 2.3, lost)
        assert diagnose(RATES, losses) is Reason.DIVERGED
        assert all(rule(RATES, losses) is None for rule in RULES.values())


def test_an_explosion_at_once():
    assert diagnose(RATES, 2.3 + (np.arange(len(RATES)) - 2.0).clip(0) ** 4) is Reason.DIVERGED


def test_a_seed_that_diverges_later_is_read_up_to_there():
    losses = descent(noise=0.03)
    losses[RATES > 0.3] = math.nan
    assert within(1.2, [halfway(RATES, losses)])
    assert find_descent(RATES, losses).exploded


def test_losses_that_are_missing_in_between():
    losses = descent(noise=0.03)
    losses[[0, 20, 55, 56]] = math.nan
    assert within(1.15, [halfway(RATES, losses)])


def test_a_loss_that_never_diverges():
    assert within(1.2, [halfway(RATES, descent(noise=0.03, seed=seed, explosion=math.inf)) for seed in SEEDS])
    assert not find_descent(RATES, descent(explosion=math.inf)).exploded


def test_a_minimum_at_the_edge():
    to_the_centre = RATES[RATES <= CENTRE]
    for seed in SEEDS:
        losses = descent(noise=0.01, seed=seed)[: len(to_the_centre)]
        assert diagnose(to_the_centre, losses) is Reason.FALLING_AT_END
        assert halfway(to_the_centre, losses) is None
    assert minimum_tenth(to_the_centre, descent()[: len(to_the_centre)]) is None


def test_a_range_that_begins_in_the_descent():
    for seed in SEEDS:
        losses = descent(noise=0.01, seed=seed)[RATES >= CENTRE]
        assert diagnose(RATES[RATES >= CENTRE], losses) is Reason.FALLING_AT_START


def test_a_descent_that_is_broken_off_by_an_explosion_stays_clear_of_it():
    losses = np.where(RATES < 0.1, -2 * np.sqrt(RATES / 0.1), 50.0)
    assert 0.01 < halfway(RATES, losses) <= 0.1 / 4 * 1.01


def test_smoothing_does_not_lag():
    for rates in (RATES, np.geomspace(1e-7, 10, 300)):
        step = rates[1] / rates[0]
        assert within(1.02, [halfway(rates, descent(rates))])
        assert within(step, [steepest(rates, descent(rates))])
        assert not within(2, [PUBLISHED["fastai steep"](rates, descent(rates))])


@pytest.mark.parametrize("lowest", [1e-3, 1e-5, 1e-12])
def test_a_short_and_a_long_plateau_before(lowest):
    rates = np.geomspace(lowest, 10, 100)
    assert within(1.2, [halfway(rates, descent(rates, noise=0.03, seed=seed)) for seed in SEEDS])


def test_a_plateau_in_the_middle():
    losses = 2 - 1 / (1 + 1e-4 / RATES) - 1 / (1 + 1e-2 / RATES)
    assert within(1.5, [halfway(RATES, losses)], centre=1e-3)


def test_nothing_but_a_plateau():
    for seed in range(30):
        assert diagnose(RATES, 2.3 + 0.1 * noise(seed)) is Reason.NO_DESCENT
        assert diagnose(RATES, 2.3 + 0.1 * noise(seed) + np.maximum(0, RATES - 1) ** 2) in {
            Reason.NO_DESCENT,
            Reason.DIVERGED,
        }
    for constant in (0.0, 2.3, -1e9):
        assert diagnose(RATES, np.full(len(RATES), constant)) is Reason.NO_DESCENT


def test_noise_with_a_memory_is_not_taken_for_a_descent():
    remembered = [finder.remembering(np.random.default_rng(seed), 200) for seed in range(30)]
    found = [diagnose(np.geomspace(1e-7, 10, 200), losses) for losses in remembered]
    assert sum(reason is None for reason in found) <= 3


def test_a_loss_that_only_rises():
    for seed in SEEDS:
        assert diagnose(RATES, np.log(RATES) + 0.1 * noise(seed)) in {Reason.NO_DESCENT, Reason.DIVERGED}


@pytest.mark.parametrize("count", [9, 12, 25])
def test_few_points(count):
    rates = np.geomspace(1e-7, 10, count)
    assert within(2, [halfway(rates, descent(rates, noise=0.03, seed=seed)) for seed in SEEDS])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_points(count):
    rates = np.geomspace(1e-7, 10, count)
    assert diagnose(rates, np.linspace(2, 1, count)) is Reason.TOO_FEW
    assert all(rule(rates, np.linspace(2, 1, count)) is None for rule in RULES.values())


def test_an_explosion_of_the_last_point_alone():
    rates = np.geomspace(1e-7, 2, 80)
    losses = descent(rates, noise=0.03)
    assert losses[-1] > 5 > losses[-2]
    assert within(1.15, [halfway(rates, losses)])
    assert find_descent(rates, losses).exploded


def test_a_linear_ramp():
    rates = np.linspace(1e-3, 0.5, 200)
    losses = 2.3 - 2 / (1 + 1e-2 / rates) + 0.06 * noise(0, 200)
    assert within(1.3, [halfway(rates, losses)])


# --- what can't matter ---------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-1e3, 1e3),
    level=st.sampled_from([0.0, 0.03, 0.1]),
)
@settings(max_examples=15, deadline=None)
def test_scale_and_offset_of_the_loss_change_nothing(seed, scale, offset, level):
    losses = descent(noise=level, seed=seed)
    for rule in (halfway, steepest, minimum_tenth, slide):
        assert rule(RATES, scale * (losses + offset)) == pytest.approx(rule(RATES, losses), rel=1e-4)


@given(seed=st.integers(0, 1000), factor=st.floats(1e-6, 1e6), level=st.sampled_from([0.0, 0.03, 0.1]))
@settings(max_examples=15, deadline=None)
def test_other_units_of_the_rate_change_the_answer_alike(seed, factor, level):
    losses = descent(noise=level, seed=seed)
    for rule in RULES.values():
        assert rule(factor * RATES, losses) == pytest.approx(factor * rule(RATES, losses), rel=1e-4)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
@example([0.0, 0.0, 0.0, 0.0, 0.0, 1e100, -1.0, 1.0])  # explodes for good where its median is above its start already
@settings(max_examples=100, deadline=None)
def test_any_losses_give_a_rate_of_the_range_or_a_reason(losses):
    rates = np.geomspace(1e-5, 1, len(losses))
    found = diagnose(rates, np.array(losses))
    rate = halfway(rates, np.array(losses))
    assert (found is None) == (rate is not None)
    assert rate is None or 1e-6 < rate < 10
    for rule in (steepest, valley, minimum_tenth, slide):
        other = rule(rates, np.array(losses))
        assert other is None or (math.isfinite(other) and other > 0)


# --- known answers -------------------------------------------------------------------------------------


def test_the_aim_is_reached_by_the_default_and_by_no_other_library():
    found = [
        finder.measure(finder.Setting(centre, 1e-7, 10.0, 100, 0.03), finder.CONTENDERS, seeds=10)
        for centre in (1e-4, 1e-2, 1.0)
    ]
    reached = {name for name in finder.CONTENDERS if finder.judge([cells[name] for cells in found])[2]}
    assert "lrkit halfway" in reached
    assert not reached & PUBLISHED.keys()


@pytest.mark.parametrize("variant", sorted(finder.VARIANTS.keys() - {"explosion at 3", "explosion at 1000"}))
def test_the_default_does_not_depend_on_the_formula(variant):
    cells = [
        finder.measure(finder.VARIANTS[variant](finder.Setting(centre, 1e-7, 10.0, 150, 0.03)), {"it": halfway}, 10)
        for centre in (1e-4, 1e-2)
    ]
    off, share, _ = finder.judge([each["it"] for each in cells])
    assert off <= 1.3
    assert share >= 0.95


def test_near_an_explosion_the_default_stays_a_factor_4_below_it():
    for explosion in (2.0, 3.0):
        found = [halfway(RATES, descent(noise=0.03, seed=seed, explosion=explosion)) for seed in SEEDS]
        assert all(0.15 < rate / (explosion * CENTRE) < 0.4 for rate in found)


def test_far_from_an_explosion_the_default_is_a_150th_of_where_the_loss_is_back():
    for explosion in (400.0, 1000.0):
        found = [halfway(RATES, descent(noise=0.03, seed=seed, centre=1e-3, explosion=explosion)) for seed in SEEDS]
        assert within(1.1, found, math.sqrt(2) * explosion * 1e-3 / 150)


@pytest.mark.parametrize("rule", [steepest, valley, minimum_tenth, slide])
def test_rules_find_nothing_on_a_constant_loss(rule):
    assert rule(RATES, np.full(100, 2.3)) is None


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_a_fall_over_the_whole_range_is_not_halfway_done_in_its_middle(level):
    losses = -np.log(RATES) + level * noise(0) * 18
    assert diagnose(RATES, losses) in (Reason.FALLING_AT_START, Reason.FALLING_AT_END)


def test_rules_on_a_curve_without_noise():
    losses = np.where(RATES < 1, -np.log(RATES / 1e-4).clip(0), 1e3)
    assert valley(RATES, losses) == pytest.approx(1e-2, rel=0.3)
    assert minimum_tenth(RATES, losses) == pytest.approx(0.1, rel=0.3)
    assert 1e-2 < slide(RATES, losses) < 1
    assert 1e-4 < steepest(RATES, losses) < 1


# --- curves --------------------------------------------------------------------------------------------


def test_a_curve_is_immutable_and_a_copy():
    rates, losses = [0.1, 1.0], np.array([[2.0, 1.0]])
    curve = Curve(rates, losses)
    losses[0, 0] = 7
    assert curve.losses.tolist() == [[2.0, 1.0]]
    for array in (curve.rates, curve.losses, curve.typical):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_equal_curves():
    curve = Curve([0.1, 1.0], [2.0, math.nan])
    assert curve == Curve([0.1, 1.0], [[2.0, math.nan]])
    assert hash(curve) == hash(Curve([0.1, 1.0], [[2.0, math.nan]]))
    assert curve != Curve([0.1, 1.0], [2.0, 1.0])
    assert curve != Curve([0.1, 2.0], [2.0, math.nan])
    assert curve != "curve"


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        ([], [[]], "rates must be a list of at least one number, not of shape (0,)"),
        ([[1.0]], [1.0], "rates must be a list of at least one number, not of shape (1, 1)"),
        ([0.0, 1.0], [1.0, 1.0], "rates must be positive, finite and increasing, not [0.0, 1.0]"),
        ([1.0, 1.0], [1.0, 1.0], "rates must be positive, finite and increasing, not [1.0, 1.0]"),
        ([1.0, math.inf], [1.0, 1.0], "rates must be positive, finite and increasing, not [1.0, inf]"),
        ([1.0, math.nan], [1.0, 1.0], "rates must be positive, finite and increasing, not [1.0, nan]"),
        ([1.0, 2.0], [1.0], "losses must be of shape (seeds, 2) as there are rates, not (1, 1)"),
        ([1.0, 2.0], np.zeros((0, 2)), "losses must be of shape (seeds, 2) as there are rates, not (0, 2)"),
        ([1.0, 2.0], [[1.0, 2.0], [1.0]], "losses must be numbers, not [[1.0, 2.0], [1.0]]"),
        (["low", "high"], [1.0, 2.0], "rates must be numbers, not ['low', 'high']"),
    ],
)
def test_what_is_no_curve(rates, losses, message):
    with pytest.raises(InputError) as caught:
        Curve(rates, losses)
    assert str(caught.value) == message


def test_the_typical_seed_is_finite_while_most_seeds_are():
    lost = math.nan
    assert Curve([1, 2, 3], [[1, 1, 1], [2, 2, lost], [4, lost, lost]]).typical.tolist() == [2, 2, math.inf]
    assert Curve([1, 2], [[1, 1e308], [2, 1.5e308]]).typical.tolist() == [1.5, 1.25e308]


# --- suggestions ---------------------------------------------------------------------------------------


def several(count=3, level=0.03):
    return np.stack([descent(noise=level, seed=seed) for seed in range(count)])


def test_a_suggestion_and_its_interval():
    found = suggest(Curve(RATES, several()))
    low, high = found.interval
    assert within(1.1, [found.suggestion])
    assert low <= CENTRE <= high < 1.5 * low
    assert found.reason is None
    assert list(found.rules) == list(RULES)
    assert found.rules[found.default].value == found.suggestion == halfway(RATES, found.curve.typical)


def test_intervals_hold_what_they_should():
    held = 0
    for trial in range(20):
        losses = np.stack([descent(noise=0.1, seed=100 * trial + seed) for seed in range(3)])
        low, high = suggest(Curve(RATES, losses), rules={"halfway": halfway}, bootstrap=40).interval
        held += low <= CENTRE <= high
    assert held >= 16


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("explosion", [1.5, 3.0, 10.0])
def test_a_suggestion_is_within_its_interval_also_near_an_explosion(count, explosion):
    losses = np.stack([descent(noise=0.05, seed=seed, explosion=explosion) for seed in range(count)])
    found = suggest(Curve(RATES, losses), bootstrap=30)
    for each in found.rules.values():
        assert each.low is None or each.low <= each.value <= each.high
    assert found.interval is not None


def test_spikes_at_the_start_leave_the_interval_narrow():
    spikes = np.where(np.arange(100) < 8, 1e3, 0.0)
    low, high = suggest(Curve(RATES, spikes + several()), rules={"halfway": halfway}, bootstrap=40).interval
    assert within(1.5, [low, high])


def test_more_seeds_and_less_noise_make_intervals_narrower():
    def width(count, level):
        low, high = suggest(Curve(RATES, several(count, level)), rules={"halfway": halfway}, bootstrap=40).interval
        return math.log(high / low)

    assert width(9, 0.1) < width(1, 0.1)
    assert width(3, 0.01) < width(3, 0.1)


def test_the_order_of_seeds_does_not_matter():
    losses = several(4)
    once, again = (suggest(Curve(RATES, each), bootstrap=20).to_dict() for each in (losses, losses[[2, 0, 3, 1]]))
    assert {**once, "curve": None} == {**again, "curve": None}


def test_the_same_seed_gives_the_same_intervals():
    curve = Curve(RATES, several())
    intervals = [suggest(curve, bootstrap=20, seed=seed).interval for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_some_seeds_diverge_early():
    losses = several(5)
    losses[0, 3:] = math.nan
    losses[1, RATES > 3e-3] = math.inf
    assert within(1.2, [suggest(Curve(RATES, losses), bootstrap=20).suggestion])


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (np.full(100, math.nan), Reason.DIVERGED),
        (np.full(100, 2.3), Reason.NO_DESCENT),
        (2 - 1 / (1 + 1e2 / RATES), Reason.FALLING_AT_END),
        (2 - 1 / (1 + 1e-9 / RATES), Reason.FALLING_AT_START),
    ],
)
def test_where_there_is_no_suggestion_there_is_a_reason(losses, reason):
    found = suggest(Curve(RATES, losses), bootstrap=10)
    assert (found.suggestion, found.interval, found.reason) == (None, None, reason)
    assert all(each.reason is reason for each in found.rules.values())


def test_another_rule_may_decide():
    curve = Curve(RATES, several())
    found = suggest(curve, default="steepest", bootstrap=0)
    assert found.suggestion == steepest(RATES, curve.typical)
    assert found.interval is None
    own = suggest(curve, rules={"third": lambda rates, losses: float(rates[2])}, default="third", bootstrap=3)
    assert own.suggestion == RATES[2]
    assert own.interval == pytest.approx((RATES[2], RATES[2]))


def test_a_suggestion_as_json():
    for losses in (several(), np.full((2, 100), math.nan)):
        found = json.loads(json.dumps(suggest(Curve(RATES, losses), bootstrap=5).to_dict(), allow_nan=False))
        assert list(found) == ["suggestion", "interval", "reason", "default", "rules", "curve"]
        assert found["rules"]["steepest"].keys() == {"value", "interval", "reason"}
        assert len(found["curve"]["losses"][0]) == len(found["curve"]["rates"]) == 100


def test_arguments_that_are_not_allowed():
    curve = Curve(RATES, several())
    with pytest.raises(InputError, match="unknown rule 'halfwy', did you mean 'halfway'"):
        suggest(curve, default="halfwy")
    with pytest.raises(InputError, match="bootstrap must be at least 0, not -1"):
        suggest(curve, bootstrap=-1)
    with pytest.raises(InputTypeError, match=r"bootstrap must be an int, not 2\.0"):
        suggest(curve, bootstrap=2.0)

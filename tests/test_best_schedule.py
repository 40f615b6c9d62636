"""The schedule that a law says is best, the nearest one with a name, cooldowns from here, and what more steps buy."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import lrkit
from lrkit.analysis.bent_path import slope
from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.fitted import FittedLaw, World
from lrkit.analysis.laws.multi_power import MultiPower
from lrkit.analysis.optimisation import budget
from lrkit.output.best_schedule_table import best_lines, budget_lines, cooldown_lines

STEPS, PEAK, WARMUP = 1000, 3e-3, 50
VALUES = {"L0": 2.5, "A": 0.6, "alpha": 0.4, "B": 120.0, "C": 2.0, "beta": 0.5, "gamma": 0.6}

SIZES = {"peak": PEAK, "sum": 3.0, "first_sum": 0.1, "steps": 1000.0}
SENSIBLE = {
    "multi_power": VALUES,
    "annealing": {"L0": 2.5, "A": 0.6, "alpha": 0.4, "C": 2.0, "memory": 40.0},
    "convolution": {"L0": 2.5, "A": 0.3, "alpha": 0.4, "B": 0.2, "C": 700.0, "beta": 0.35, "delta": 0.7},
    "feedback": {
        "L0": 2.5,
        "A": 0.3,
        "alpha": 0.4,
        "B": 0.2,
        "C": 700.0,
        "beta": 0.35,
        "delta": 0.7,
        "w": 0.25,
        "tau0": 0.1,
    },
    "power": {"L0": 2.5, "A": 0.3, "alpha": 0.4},
    "exponential": {"L0": 2.5, "A": 0.3, "T": 0.2},
}


def rates_of(text, steps=STEPS, peak=PEAK):
    return np.asarray(lrkit.parse(text).over(steps)(np.arange(steps), peak))


def law_of(values=VALUES, *, spread=0.05, texts=("constant()", "cosine(to=0.1)")):
    """A law with these values, its curves exact, its worlds a little apart from it."""
    rng = np.random.default_rng(1)
    worlds = tuple(
        World(MultiPower(), {name: value * np.exp(spread * rng.normal()) for name, value in values.items()})
        for _ in range(4)
    )
    at = np.arange(60, STEPS + 1, 20)
    curves = []
    for text in texts:
        rates = rates_of(f"warmup({WARMUP}) >> {text}")
        losses = FittedLaw(MultiPower(), values, ()).predict(rates, at)
        curves.append(LossCurve(at, losses, rates, name=text))
    return FittedLaw(MultiPower(), values, tuple(curves), worlds)


@pytest.fixture(scope="module")
def law():
    return law_of()


@pytest.fixture(scope="module")
def best(law):
    return lrkit.best_schedule(law, STEPS)


def final(law, rates):
    return float(law.predict(rates, [len(rates)])[0])


# The best rates


def test_peak_and_warmup_are_those_of_the_fitted_curves(best):
    assert (best.steps, best.peak, best.warmup) == (STEPS, PEAK, WARMUP)
    rising = best.learning_rates[:WARMUP]
    np.testing.assert_allclose(rising, PEAK * np.arange(1, WARMUP + 1) / WARMUP, rtol=1e-12)


def test_rates_lie_between_0_and_the_peak_and_never_rise_after_the_warmup(best):
    rates = best.learning_rates
    assert rates.shape == (STEPS,)
    assert rates.min() >= 0
    assert rates.max() == pytest.approx(PEAK, rel=1e-12)
    assert np.diff(rates[WARMUP:]).max() <= 0


@pytest.mark.parametrize(
    "text",
    [
        "constant()", "linear(to=0)", "cosine(to=0)", "cosine(to=0.1)", "constant() >> cooldown(20%, to=0)",
        "constant() >> linear(20%, to=0)", "rex(to=0)", "exponential(to=0.05)", "polynomial(to=0, exponent=2)",
        "constant() >> cosine(40%, to=0.01)", "staircase(every=25%, factor=0.3)", "inverse_sqrt(timescale=10%)",
    ],
)  # fmt: skip  # more to a line reads better
def test_nothing_that_one_would_write_is_predicted_to_end_lower(law, best, text):
    assert best.final_loss < final(law, rates_of(f"warmup(5%) >> {text}"))


def test_no_family_that_was_tried_is_expected_to_end_lower(best):
    assert len(best.tried) >= 10
    assert all(best.expected_loss <= each.expected_loss for each in best.tried)
    assert all(best.final_loss <= each.final_loss + 1e-5 for each in best.tried)


def test_no_small_change_of_it_ends_lower(law, best):
    """Shorter, longer, steeper and flatter falls, each still allowed."""
    after = best.learning_rates[WARMUP:] / PEAK
    x = np.linspace(0, 1, len(after))
    others = [after**0.8, after**1.25, np.interp(x**1.1, x, after), np.interp(x**0.9, x, after)]
    for other in others:
        rates = np.concatenate([best.learning_rates[:WARMUP], PEAK * other])
        assert best.final_loss < final(law, rates) + 1e-5


def test_its_loss_and_interval_are_what_the_law_says_of_its_rates(law, best):
    assert best.final_loss == final(law, best.learning_rates)
    low, high = law.interval(best.learning_rates, [STEPS])
    assert best.ending.low == min(low[0], best.final_loss)
    assert best.ending.high == max(high[0], best.final_loss)


def test_what_was_never_fitted_is_marked(law, best):
    assert any("falls to" in sentence for sentence in best.beyond)


def test_where_nothing_is_won_by_falling_the_rate_stays():
    best = lrkit.best_schedule(law_of(VALUES | {"B": 0.0}), 400, warmup=20)
    np.testing.assert_allclose(best.learning_rates[20:], PEAK, rtol=1e-12)
    assert best.nearest == "warmup(5%) >> constant()"
    assert best.nearest_distance == pytest.approx(0, abs=1e-12)


def test_a_peak_and_no_warmup_may_be_asked_for(law):
    best = lrkit.best_schedule(law, 100, peak=0.009, warmup=0)
    assert best.learning_rates[0] == best.learning_rates.max() == 0.009
    assert "warmup" not in best.nearest
    assert any("peak rate is 3 times" in sentence for sentence in best.beyond)


def test_the_fewest_steps_that_are_allowed_have_a_schedule(law):
    for warmup in (None, 10):
        best = lrkit.best_schedule(law, 20, warmup=warmup)
        assert best.warmup == (warmup or 2)
        assert len(rates_of(best.nearest, 20)) == len(best.learning_rates) == 20


def test_a_law_that_knows_nothing_of_rates_is_refused(law):
    values = SENSIBLE["power"] | SIZES
    blind = FittedLaw(LAWS["power"], values, law.curves, (World(LAWS["power"], values),))
    for ask in (lambda: lrkit.best_schedule(blind, 200), lambda: lrkit.cooldown_lengths(blind, np.full(50, PEAK))):
        with pytest.raises(lrkit.InputError, match="law must be one that knows of rates, so not power"):
            ask()


def test_a_warmup_from_0_is_as_long_as_one_that_ends_at_the_peak(law):
    """Rates t/40 of the peak, and (t + 1)/40 of it."""
    for first in (0, 1):
        rates = PEAK * np.minimum(1.0, (np.arange(STEPS) + first) / 40)
        curve = LossCurve(np.array([100, 200]), np.array([3.0, 2.9]), rates)
        assert budget(replace(law, curves=(curve,)), STEPS, None, None)[2] == 40


# The nearest schedule with a name


def test_the_nearest_schedule_reads_back_as_what_was_predicted(law, best):
    rates = rates_of(best.nearest)
    assert str(lrkit.parse(best.nearest)) == best.nearest
    assert best.nearest_loss == final(law, rates)
    assert best.nearest_distance == pytest.approx(np.abs(rates - best.learning_rates).mean() / PEAK, rel=1e-12)


def test_the_nearest_schedule_is_nearly_as_good_and_has_the_fewest_numbers(best):
    constant = best.tried[0]
    assert constant.schedule == "warmup(5%) >> constant()"
    lowest = min(each.expected_loss for each in best.tried)
    width = best.named_ending.high - best.named_ending.low
    near = max(min(0.1 * width, 0.05 * (constant.expected_loss - lowest)), 1e-4 * lowest)
    assert best.named.expected_loss <= lowest + 1.1 * near
    simpler = [each for each in best.tried if each.parameters < best.named.parameters]
    assert simpler
    assert all(each.expected_loss > lowest + 0.9 * near for each in simpler)


def test_a_family_is_searched_as_well_as_by_trying_all(law):
    sure = replace(law, worlds=(World(law.law, law.parameters),))  # what is expected is what is predicted
    (linear,) = [
        each for each in lrkit.best_schedule(sure, STEPS).tried if each.schedule.startswith("warmup(5%) >> linear")
    ]
    for to in (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9):
        assert linear.final_loss <= final(sure, rates_of(f"warmup(5%) >> linear(to={to})")) + 1e-4


# More steps, and cooldowns from here


def test_more_steps_buy_what_the_law_says(law, best):
    rows = lrkit.more_steps(law, STEPS, schedule=best.nearest, factors=(4, 0.5, 1))
    assert [each.steps for each in rows] == [500, 1000, 4000]
    for each in rows:
        assert each.ending.final_loss == final(law, rates_of(best.nearest, each.steps))
        assert each.gain == pytest.approx(best.nearest_loss - each.ending.final_loss, abs=1e-12)
    assert rows[0].gain < rows[1].gain == 0 < rows[2].gain
    assert any("4 times the steps" in sentence for sentence in rows[2].ending.beyond)
    assert not any("the steps" in sentence for sentence in rows[1].ending.beyond)


def test_more_steps_take_the_nearest_schedule_by_default_and_a_search_gives_the_same_twice(law, best):
    rows = lrkit.more_steps(law, STEPS, factors=[1])
    assert rows[0].schedule == best.nearest
    assert rows[0].ending == best.named_ending


def test_cooldowns_from_here(law):
    so_far = rates_of(f"warmup({WARMUP}) >> constant()", 800)
    found = lrkit.cooldown_lengths(law, so_far)
    assert [each.length for each in found.rows] == [40, 80, 160, 240, 400, 800]
    for each in found.rows:
        fall = PEAK * (1 - np.arange(each.length) / each.length)
        assert each.ending.final_loss == final(law, np.concatenate([so_far, fall]))
        assert each.staying == final(law, np.concatenate([so_far, np.full(each.length, PEAK)]))
        assert np.array_equal(np.asarray(lrkit.parse(each.schedule)(np.arange(each.length), PEAK)), fall)


def test_how_long_to_cool_down_in_the_steps_that_are_left(law):
    so_far = rates_of(f"warmup({WARMUP}) >> constant()", 800)
    found = lrkit.cooldown_lengths(law, so_far, [10, 200, 500, 900], extra=500)
    assert [(each.length, each.held) for each in found.rows] == [(10, 490), (200, 300), (500, 0)]
    assert found.best.ending.final_loss == min(each.ending.final_loss for each in found.rows)
    one = found.rows[1]
    rest = np.asarray(lrkit.parse(one.schedule)(np.arange(500), PEAK))
    assert one.ending.final_loss == pytest.approx(final(law, np.concatenate([so_far, rest])), rel=1e-12)
    steep = lrkit.cooldown_lengths(law, so_far, [200], extra=500, shape="one_minus_sqrt")
    assert steep.rows[0].ending.final_loss != one.ending.final_loss


# What comes out


def test_all_fit_into_json(law, best):
    found = json.loads(json.dumps(best.to_dict()))
    assert found["nearest"]["schedule"] == best.nearest
    assert found["final_loss"] == best.final_loss
    assert [each["step"] for each in found["rates"]] == [each.step for each in best.points]
    rows = lrkit.more_steps(law, STEPS, schedule=best.nearest, factors=[2])
    assert json.loads(json.dumps(rows[0].to_dict()))["gain"] == rows[0].gain
    cooled = lrkit.cooldown_lengths(law, np.full(200, PEAK), extra=50)
    assert json.loads(json.dumps(cooled.to_dict()))["best"]["length"] == cooled.best.length


def test_between_the_rows_of_the_table_the_best_rates_are_nearly_straight(best):
    points = best.points
    line = np.interp(np.arange(STEPS), [each.step for each in points], [each.rate for each in points])
    assert np.abs(line - best.learning_rates).max() <= 0.01 * PEAK
    assert 4 <= len(points) <= 20
    assert points[0].step == 0
    assert points[-1].step == STEPS - 1
    assert WARMUP in [each.step for each in points]
    assert all(each.rate == best.learning_rates[each.step] for each in points)
    assert all(each.peak_share == each.rate / PEAK for each in points)


def test_the_tables_say_what_is_best_and_what_to_type(law, best):
    text = "\n".join(best_lines(best))
    assert f'--schedule "{best.nearest}" --lr 0.003 --steps 1000' in text
    assert f"predicted final loss: {best.final_loss:.5f} (95 % interval" in text
    assert "beyond what was fitted (the best rates" in text
    bought = budget_lines(lrkit.more_steps(law, STEPS, schedule="warmup(5%) >> constant()", factors=(1, 4)))
    assert bought[0] == "schedule: warmup(5%) >> constant()"
    assert not bought[2].endswith("beyond")
    assert bought[3].endswith("beyond")
    cooled = cooldown_lines(lrkit.cooldown_lengths(law, rates_of("warmup(50) >> constant()", 400), [40], extra=100))
    assert any(line.startswith("best for 100 more steps: stay for 60, then cool down for 40: ") for line in cooled)


# Wrong input


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps must be at least 20, not 0"),
        ({"steps": 19}, "steps must be at least 20, not 19"),
        ({"peak": -1.0}, "peak must be finite and above 0, not -1.0"),
        ({"peak": 0}, "peak must be finite and above 0, not 0.0"),
        ({"warmup": -1}, "warmup must be at least 0, not -1"),
        ({"warmup": 100}, "warmup must be at most half of the 100 steps, 50, not 100"),
        ({"level": 1.0}, "level must be finite and above 0 and below 1, not 1.0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(law, given, message):
    with pytest.raises(lrkit.InputError, match=message):
        lrkit.best_schedule(law, **({"steps": 100} | given))


def test_what_is_no_law_and_a_law_without_worlds_are_refused(law):
    with pytest.raises(lrkit.InputTypeError, match="law must be a fitted law"):
        lrkit.best_schedule("multi_power", 100)
    with pytest.raises(lrkit.InputTypeError, match="steps must be a whole number"):
        lrkit.best_schedule(law, "100")
    with pytest.raises(lrkit.InputError, match="law must have worlds"):
        lrkit.best_schedule(FittedLaw(law.law, law.parameters, law.curves), 100)
    with pytest.raises(lrkit.InputError, match="peak and warmup must be given"):
        lrkit.best_schedule(FittedLaw(law.law, law.parameters, (), law.worlds), 100)


def test_budgets_and_cooldowns_that_cannot_be_are_refused(law):
    with pytest.raises(lrkit.InputError, match="factors must be finite and above 0, not 0"):
        lrkit.more_steps(law, 100, factors=[0])
    with pytest.raises(lrkit.InputError, match="factors must have at least one number"):
        lrkit.more_steps(law, 100, factors=[])
    with pytest.raises(lrkit.InputError, match="schedule must be one of one rate"):
        lrkit.more_steps(law, 100, schedule="plateau()")
    with pytest.raises(lrkit.InputError, match="rates_so_far must end above 0"):
        lrkit.cooldown_lengths(law, [1e-3, 0.0])
    with pytest.raises(lrkit.InputError, match=r"lengths must have one of at most extra=5 steps, not \[10\]"):
        lrkit.cooldown_lengths(law, np.full(100, 1e-3), [10], extra=5)
    with pytest.raises(lrkit.InputError, match="shape"):
        lrkit.cooldown_lengths(law, np.full(100, 1e-3), [10], shape="round")


# What the optimiser is told


@pytest.mark.parametrize("name", sorted(LAWS))
def test_losses_and_gradients_of_rates_on_straight_lines(name):
    """The path with gradients has the loss of the path that laws are fitted with, and the slope of its differences."""
    one, given = LAWS[name], SENSIBLE[name] | SIZES
    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in given.items()}
    knots = np.concatenate([[0], np.linspace(49, 999, 31).astype(int)])
    bent = PEAK * np.concatenate([[0.02], np.linspace(1, 0.1, 31) ** 0.7])

    def loss(path):
        return one.losses(values, path)[-1, 0]

    found, gradient = slope(loss, knots, bent)
    rates = np.interp(np.arange(STEPS), knots, bent)
    assert found == pytest.approx(FittedLaw(one, given, ()).predict(rates, [STEPS])[0], rel=1e-4)
    for place in (5, 15, 25, 31):
        change = np.zeros(32)
        change[place] = 1e-5 * PEAK
        difference = slope(loss, knots, bent + change)[0] - slope(loss, knots, bent - change)[0]
        assert gradient[place] == pytest.approx(difference / (2e-5 * PEAK), rel=1e-4, abs=1e-6)

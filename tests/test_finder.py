"""Finding a learning rate for a task: what is measured, and what comes out."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from find_cases import QUICK, X, Y, refused, squares, task
from lrkit import InputError, InputTypeError

pytestmark = pytest.mark.usefixtures("quick_intervals")

# --- the ramp ------------------------------------------------------------------------------------


def test_a_ramps_rates_go_from_low_to_high_in_even_factors():
    curve = lrkit.find_task(task(), **QUICK).curve
    assert len(curve.rates) == 40
    assert curve.rates[[0, -1]] == pytest.approx([1e-4, 100])
    np.testing.assert_allclose(np.diff(np.log(curve.rates)), np.log(1e6) / 39)


def test_who_stops_it_while_rules_read_the_curve_gets_no_finding():
    asked = []
    lrkit.find_task(task(), **QUICK, backend="sequential", stop=lambda: bool(asked.append(None)))
    count = iter(range(len(asked)))
    with pytest.raises(lrkit.StoppedError):
        lrkit.find_task(task(), **QUICK, backend="sequential", stop=lambda: next(count) == len(asked) - 1)


def test_a_linear_ramps_rates_go_in_even_steps():
    curve = lrkit.find_task(task(), **{**QUICK, "low": 0.01, "high": 10.0}, growth="linear").curve
    np.testing.assert_allclose(curve.rates, np.linspace(0.01, 10, 40))


def test_a_loss_is_what_the_update_with_its_rate_led_to():
    curve = lrkit.find_task(task(), **{**QUICK, "high": 10.0}).curve
    plan = lrkit.exponential(39, start=1e-4 / 0.5, to=10 / 0.5)
    history = lrkit.run(dataclasses.replace(task(valid=None), epochs=None, steps=41), plan, seed=1)
    np.testing.assert_array_equal(history.lr[:40], curve.rates)
    np.testing.assert_array_equal(history.losses[1:].astype(float), curve.losses[1])


def test_a_rate_is_found_where_descent_by_hand_has_it(monkeypatch):
    monkeypatch.undo()  # no quick interval here: it is looked at
    finding = lrkit.find_task(task(), low=1e-4, high=100.0)
    assert finding.reason is None
    low, high = finding.interval
    assert low <= finding.suggestion <= high
    rates = finding.curve.rates
    left = np.cumprod((1 - rates * 2 / 3) ** 2)  # of the loss, whose curvature is 2/3 by the weight
    halfway = rates[np.flatnonzero(left < 0.5)[0]]
    assert halfway / 1.5 < finding.suggestion < 1.5 * halfway


def test_the_same_search_finds_the_same_and_another_range_of_seeds_another_curve():
    one, other = lrkit.find_task(task(), **QUICK), lrkit.find_task(task(), **QUICK)
    assert one.curve == other.curve
    assert one.suggestion == other.suggestion
    assert len({each.tobytes() for each in one.curve.losses}) == 2


@pytest.mark.parametrize("backend", ["eager", "processes"])
def test_lanes_of_any_backend_give_the_curve(backend):
    wanted = lrkit.find_task(task(), **QUICK, backend="sequential")
    found = lrkit.find_task(task(), **QUICK, backend=backend)
    early = wanted.curve.rates < 0.5
    np.testing.assert_allclose(found.curve.losses[:, early], wanted.curve.losses[:, early], rtol=1e-4)
    assert found.made["lanes"]["backend"] == backend


@pytest.mark.parametrize("backend", ["sequential", "eager"])
def test_held_out_loss_is_that_of_a_batch_that_is_not_trained_on(backend):
    """Its data say 2·x + 5, training 2·x: where training is good, it is 25."""
    odd = task(valid=(X, 2 * X + 5), train=(X, 2 * X))
    finding = lrkit.find_task(odd, **QUICK, signal="valid", backend=backend)
    good = (finding.curve.rates > 0.3) & (finding.curve.rates < 0.6)
    np.testing.assert_allclose(finding.curve.losses[:, good], 25, rtol=0.15)
    assert finding.made["signal"] == "valid"


def test_held_out_loss_is_measured_in_evaluation_mode():
    modes = []

    class Watching(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    lrkit.find_task(task(model=lambda: Watching(1, 1)), **QUICK, signal="valid", backend="sequential")
    assert modes[-4:] == [True, False, True, False]


def two_groups(seen):
    """A factory of optimizers with rates 0.2 and 0.02, which note the rates of each update."""

    def optimizer(parameters):
        weight, bias = parameters
        made = torch.optim.SGD([{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}], lr=1.0)
        made.register_step_post_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
        return made

    return optimizer


def test_param_groups_keep_their_ratios():
    seen = []
    finding = lrkit.find_task(task(optimizer=two_groups(seen)), **QUICK, backend="sequential")
    first, second = np.array(seen).T
    np.testing.assert_allclose(second, first / 10)
    assert finding.made["ratios"] == pytest.approx([1, 0.1])


def test_a_curve_for_each_group_moves_that_group_alone():
    seen = []
    finding = lrkit.find_task(task(optimizer=two_groups(seen)), **QUICK, groups="each", backend="sequential")
    assert [each.made["group"] for each in finding.groups] == [0, 1]
    weight, bias = np.array(seen).T
    weight_alone, bias_alone = bias == 0.02, weight == 0.2
    assert np.all(weight_alone | bias_alone | np.isclose(weight, 10 * bias))
    for each, rates in zip(finding.groups, (weight[weight_alone], bias[bias_alone]), strict=True):
        used = each.curve.rates[np.isfinite(each.curve.losses).any(axis=0)]
        assert set(used[1:].round(12)) <= set(rates.round(12))
        assert not np.array_equal(each.curve.losses, finding.curve.losses)


def test_with_adam_a_rate_is_found_where_steps_of_its_size_by_hand_have_it():
    finding = lrkit.find_task(task(optimizer=torch.optim.Adam), low=1e-5, high=3.0)
    way = np.cumsum(finding.curve.rates)  # each step is as long as the rate; the weight has 1 to 3 to go
    first, last = (finding.curve.rates[np.flatnonzero(way > (1 - 0.5**0.5) * each)[0]] for each in (1, 3))
    assert first / 1.2 < finding.suggestion < 1.2 * last


# --- the range -----------------------------------------------------------------------------------


def test_the_range_widens_upwards_where_the_loss_still_falls():
    finding = lrkit.find_task(task(), low=1e-6, high=0.05)
    assert [each["reason"] for each in finding.made["widened"]][-1] in ("still falling at the edge", "no descent seen")
    assert finding.curve.rates[-1] == pytest.approx(finding.made["high"])
    assert finding.made["high"] > 0.05
    assert finding.suggestion is not None


def test_the_range_widens_downwards_where_it_diverges_at_once():
    steep = task(train=(1e4 * X, Y), valid=None)  # stable below 3e-8
    finding = lrkit.find_task(steep, low=1e-2, high=1.0)
    assert finding.made["widened"][0]["reason"] == "diverged at once"
    assert finding.suggestion < 1e-7


def test_a_range_that_widens_takes_at_most_four_times_the_steps():
    finding = lrkit.find_task(task(), low=1.0, high=1.0001, steps=40, seeds=1)
    assert finding.made["widened"]
    assert len(finding.curve.rates) <= 160


def test_a_linear_range_that_widens_moves_up():
    finding = lrkit.find_task(task(), low=1e-4, high=1e-3, growth="linear", seeds=1)
    assert finding.made["widened"]
    assert finding.made["high"] / finding.made["low"] <= 1000.1
    np.testing.assert_allclose(np.diff(finding.curve.rates, 2), 0, atol=1e-12)


def test_where_there_is_no_descent_it_says_so():
    flat = task(train=(X, Y), loss=lambda output, target: 0 * output.mean() + target.mean(), valid=None)
    finding = lrkit.find_task(flat, **QUICK)
    assert finding.suggestion is None
    assert finding.interval is None
    assert finding.reason == "no descent seen"
    assert finding.made["low"] >= 1e-12
    assert finding.made["high"] <= 1e4


def test_what_diverges_is_no_error():
    finding = lrkit.find_task(task(), low=1e-4, high=1e4, steps=100, seeds=1)
    assert not np.isfinite(finding.curve.losses[0, -1]) or finding.curve.losses[0, -1] > 1e3
    assert json.loads(json.dumps(finding.to_dict(), allow_nan=False))["suggestion"] == finding.suggestion


def test_a_finding_says_how_it_was_made():
    finding = lrkit.find_task(task(), **QUICK)
    made = finding.made
    assert (made["seeds"], made["steps"], made["low"], made["high"]) == ([0, 1], 40, 1e-4, 100.0)
    assert made["torch"] == torch.__version__
    assert made["lanes"]["backend"] == "sequential"
    assert finding == lrkit.find_task(task(), **QUICK)  # but for the time
    assert finding != lrkit.find_task(task(), **{**QUICK, "seeds": 1})
    assert finding.__hash__ is None
    written = json.loads(json.dumps(finding.to_dict(), allow_nan=False))
    assert {"suggestion", "interval", "rules", "curve", "reason", "method", "made"} <= written.keys()


# --- the race ------------------------------------------------------------------------------------


RACE = {"method": "race", "low": 1e-3, "high": 10.0, "steps": 20, "seeds": 3}


def test_a_race_trains_each_rate_by_itself_and_takes_the_lowest_held_out_loss():
    finding = lrkit.find_task(task(), **RACE)
    curve = finding.curve
    assert finding.made["signal"] == "valid"
    at = int(np.argmin(curve.typical))
    shorter = dataclasses.replace(task(), epochs=None, steps=20)
    history = lrkit.run(shorter, "constant()", lr=float(curve.rates[at]), seed=2)
    assert curve.losses[2, at] == pytest.approx(history.epochs[-1].valid_loss, rel=1e-5)
    assert abs(np.log10(finding.suggestion / curve.rates[at])) < 0.5
    assert finding.interval[0] <= finding.suggestion <= finding.interval[1]


def test_a_race_is_refined_around_the_best():
    curve = lrkit.find_task(task(), **RACE).curve
    assert len(curve.rates) == 9 + 6
    best = int(np.argmin(curve.typical))
    assert np.diff(np.log10(curve.rates))[best - 1] == pytest.approx(1 / 8)


def test_a_race_says_which_rates_cannot_be_told_apart():
    finding = lrkit.find_task(task(), **RACE)
    best = finding.curve.rates[np.argmin(finding.curve.typical)]
    assert best in finding.alike
    assert min(finding.curve.rates) not in finding.alike
    assert lrkit.find_task(task(), **{**RACE, "seeds": 1}).alike == ()


def test_a_race_takes_a_rate_that_every_seed_survives():
    class Uneven(nn.Linear):
        """Four times as steep for the one seed of three whose weight begins below 0."""

        def __init__(self):
            super().__init__(1, 1)
            self.scale = 4.0 if self.weight < 0 else 1.0

        def forward(self, x):
            return self.scale * super().forward(x)

    def loss(output, target):
        found = squares(output, target)
        return torch.where(found > 1e3, torch.nan, found)

    uneven = task(model=Uneven, train=(X, 2 * X), loss=loss)
    finding = lrkit.find_task(uneven, **RACE)
    ended = np.isfinite(finding.curve.losses)
    assert (ended.sum(axis=0) == 2).any()
    assert finding.curve.typical[~ended.all(axis=0)].min() < finding.curve.typical[ended.all(axis=0)].min()
    assert finding.made["seeds_diverged"] == 0
    assert finding.alike
    assert all(ended[:, finding.curve.rates == rate].all() for rate in finding.alike)
    assert finding.suggestion < finding.curve.rates[~ended.all(axis=0)].min()


def test_a_race_without_held_out_data_takes_the_last_tenth_of_training_losses():
    bare = task(valid=None)
    finding = lrkit.find_task(bare, **RACE)
    history = lrkit.run(dataclasses.replace(bare, epochs=None, steps=20), "constant()", lr=1e-3, seed=0)
    assert finding.curve.losses[0, 0] == pytest.approx(history.losses[-2:].mean(), rel=1e-6)


def test_a_race_widens_where_the_best_is_at_the_edge():
    finding = lrkit.find_task(task(), **{**RACE, "low": 1e-5, "high": 1e-3})
    assert finding.made["widened"][0] == {"low": 1e-5, "high": 1e-3, "reason": "the best rate is at the edge"}
    assert finding.suggestion > 1e-2


def test_a_race_with_a_schedule_and_groups():
    def optimizer(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}], lr=1.0)

    grouped = task(optimizer=optimizer)
    finding = lrkit.find_task(grouped, **RACE, schedule="linear(to=0)")
    shorter = dataclasses.replace(grouped, epochs=None, steps=20)
    history = lrkit.run(shorter, lrkit.constant(1e-3 / 0.2) * lrkit.linear(to=0))
    assert finding.curve.losses[0, 0] == pytest.approx(history.epochs[-1].valid_loss, rel=1e-6)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "rmap"}, "unknown method 'rmap', did you mean 'ramp'? Known: race, ramp"),
        ({"low": 0.0}, "low must be finite and above 0, not 0.0"),
        ({"low": 1.0, "high": 0.1}, "low must be less than high, not 1 and 0.1"),
        ({"high": 1e308}, "high must be between 1e-30 and 1e+30, not 1e+308"),
        ({"low": 1e-40}, "low must be between 1e-30 and 1e+30, not 1e-40"),
        (
            {"growth": "linear"},
            "growth='linear' needs a range of at most 3 decades, not 1e-07 to 10, of which it would see the last one "
            "alone: set low to 0.01 or more, or use growth='exponential'",
        ),
        ({"steps": 5}, "steps must be at least 10, not 5"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"signal": "valid"}, "signal='valid' needs validation data, and the task has none"),
        ({"signal": ""}, "unknown signal ''. Known: train, valid"),
        ({"growth": "fast"}, "unknown growth 'fast'. Known: exponential, linear"),
        ({"method": "race", "groups": "each"}, "groups='each' is for a ramp; a race moves all param groups together"),
        ({"schedule": "linear(to=0)"}, "schedule is for a race; in a ramp the rate grows"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_trained(changes, sentence):
    def untrained():
        raise AssertionError

    refused(
        (InputError, InputTypeError), sentence, lambda: lrkit.find_task(task(model=untrained, valid=None), **changes)
    )


def test_a_search_needs_gradients_and_data():
    with torch.inference_mode():
        sentence = "a learning rate can't be found under torch.inference_mode(), which allows no gradients"
        refused(InputError, sentence, lambda: lrkit.find_task(task(), **QUICK))

"""From a fitted law to predictions: ranks, odds, words, and what lies outside of what was fitted."""

import json
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

import lrkit
from lrkit import Proposal, predict
from lrkit.analysis.validity import beyond
from prediction_cases import PEAK, RUNS, STEPS, VALUES, law_with_worlds, rates, true_law

ASKED = {
    "linear": "warmup(5) >> linear(to=0.1)",
    "constant": "warmup(5) >> constant()",
    "late": "warmup(5) >> constant() >> linear(15, to=0.1)",
}


def proposal(text, name=None, steps=STEPS, peak=PEAK):
    return Proposal(name or text, rates(text, steps, peak), text)


@pytest.fixture(scope="module")
def law():
    return law_with_worlds()


@pytest.fixture(scope="module")
def found(law):
    return predict(law, [proposal(text, name) for name, text in ASKED.items()])


# --- numbers ------------------------------------------------------------------------------------------


def test_schedules_are_ranked_by_what_the_law_says_of_their_last_update(law, found):
    ends = {name: float(law.predict(rates(text), [STEPS])[0]) for name, text in ASKED.items()}
    assert [each.name for each in found.forecasts] == sorted(ends, key=ends.get)
    for each in found.forecasts:
        assert each.final_loss == pytest.approx(ends[each.name], rel=1e-12)
        assert each.low < each.final_loss < each.high
        low, high = law.interval(each.proposal.learning_rates, [STEPS])
        assert (each.low, each.high) == pytest.approx((low[0], high[0]))


def test_a_forecast_has_a_curve_from_where_losses_were_measured_to_the_end(found):
    for each in found.forecasts:
        assert each.steps[0] == min(curve.steps[0] for curve in found.law.curves)
        assert each.steps[-1] == STEPS
        assert (np.diff(each.steps) > 0).all()
        assert ((each.lows <= each.losses) & (each.losses <= each.highs)).all()
        assert (each.losses[-1], each.lows[-1], each.highs[-1]) == (each.final_loss, each.low, each.high)


def test_a_long_curve_has_some_hundred_points_and_more_after_a_drop(law):
    text = "constant(1, steps=10000) >> constant(0.1)"
    [forecast] = predict(law, [proposal(text, steps=20_000)]).forecasts
    assert 200 < len(forecast.steps) < 400
    assert np.sum((forecast.steps >= 10_000) & (forecast.steps <= 10_100)) >= 5


def test_the_odds_are_those_of_a_normal_distribution_around_the_predicted_difference(law, found):
    predicted = {name: law.predict(rates(text), [STEPS])[0] for name, text in ASKED.items()}
    ends = {name: law.draws(rates(text), [STEPS])[:, 0] for name, text in ASKED.items()}
    for (a, b), probability in found.odds.items():
        difference = predicted[b] - predicted[a]
        deviation = np.sqrt(np.mean((ends[b] - ends[a] - difference) ** 2))
        assert probability == pytest.approx(
            NormalDist(difference, deviation).cdf(np.inf) - NormalDist(difference, deviation).cdf(0)
        )
        assert found.probability(a, b) == probability
        assert found.probability(b, a) == pytest.approx(1 - probability)
    assert found.probability("linear", "linear") == 0.5
    assert len(found.odds) == 3


def test_a_difference_is_surer_than_the_losses(found):
    for each in found.pairs:
        a, b = (next(f for f in found.forecasts if f.name == name) for name in (each.a, each.b))
        assert each.difference == pytest.approx(b.final_loss - a.final_loss)
        assert each.low <= each.difference <= each.high
        assert each.high - each.low < (a.high - a.low) + (b.high - b.low)


def test_the_same_schedule_twice_is_even_and_said_to_be_the_same(law):
    found = predict(law, [proposal(ASKED["linear"], "one"), proposal(ASKED["linear"], "other")])
    assert found.odds == {("one", "other"): pytest.approx(0.5)}
    assert "one and other are predicted to end with the same loss." in found.verdict


def test_a_higher_level_is_a_wider_interval(law):
    widths = []
    for level in (0.5, 0.95):
        [each] = predict(law, [proposal(ASKED["linear"])], level=level).forecasts
        widths.append(each.high - each.low)
    assert widths[0] < widths[1]


# --- words --------------------------------------------------------------------------------------------


def test_the_verdict_names_the_best_and_what_it_beats(found):
    best = found.forecasts[0]
    numbers = f"{best.final_loss:.3f} ({best.low:.3f} to {best.high:.3f})"
    assert found.verdict == (
        f"{best.name} is predicted to end lowest, at {numbers}.",
        "It beats linear and constant with more than 99 %.",
    )


def test_schedules_whose_difference_may_be_0_cant_be_told_apart(law):
    near = [proposal("warmup(5) >> linear(to=0.1)", "a"), proposal("warmup(5) >> linear(to=0.1001)", "b")]
    wide = replace(law, worlds=law_with_worlds(spread=0.3).worlds)
    found = predict(wide, [*near, proposal(ASKED["constant"], "c")])
    for pair in found.pairs:
        said = [each for each in found.verdict if each.startswith(f"{pair.a} and {pair.b} can't be told apart")]
        assert bool(said) == (pair.low <= 0 <= pair.high)
    far = predict(law_with_worlds(spread=1e-4), [near[0], proposal(ASKED["constant"], "c")])
    assert far.pairs[0].told_apart
    assert not any("told apart" in each for each in far.verdict)


def test_two_worlds_that_disagree_cant_tell(law):
    up, down = ({**VALUES, "gamma": gamma, "B": amount} for gamma, amount in ((0.5, 3.0), (0.5, 1e-9)))
    worlds = [type(law.worlds[0])(law.law, values) for values in (up, down) for _ in range(10)]
    asked = [proposal("warmup(5) >> linear(to=0.1)", "falls"), proposal("warmup(5) >> constant()", "stays")]
    found = predict(true_law(law.curves, worlds), asked)
    [pair] = found.pairs
    assert (pair.a, pair.b) == ("falls", "stays")
    assert 0.5 < pair.probability < 0.975
    [said] = [each for each in found.verdict if "can't be told apart" in each]
    assert said.startswith("falls and stays can't be told apart: the first ends lower with ")
    assert "the interval of the difference is -" in said


def test_what_the_curves_leave_open_is_said_with_the_run_that_would_settle_it(law):
    open_law = replace(law, free=("C", "gamma"), advice="A run whose rate drops at once would determine them.")
    assert predict(open_law, []).verdict == (
        "C and gamma aren't determined by what was fitted.",
        "A run whose rate drops at once would determine them.",
    )


def test_one_schedule_is_predicted_by_itself(law):
    found = predict(law, [proposal(ASKED["linear"], "linear")])
    assert found.pairs == ()
    assert found.verdict[0].startswith("linear is predicted to end at 2.")


# --- what lies outside --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "steps", "peak", "said"),
    [
        ("warmup(5) >> linear(to=0.1)", STEPS, PEAK, []),
        ("warmup(5) >> linear(to=0.1)", STEPS, 1.04 * PEAK, []),
        (
            "warmup(5) >> linear(to=0.1)",
            STEPS,
            2 * PEAK,
            ["Its peak rate is 2 times the highest that was fitted; laws don't"],
        ),
        ("warmup(5) >> constant()", STEPS, 0.4 * PEAK, ["Its peak rate is 0.4 times the lowest peak that was fitted."]),
        ("warmup(5) >> constant()", 3 * STEPS, PEAK, []),
        ("warmup(5) >> constant()", 256, PEAK, ["It has 3.2 times the steps of the longest run."]),
        (
            "warmup(5) >> constant()",
            7,
            PEAK,
            ["It ends after 7 steps; the first loss that was fitted is that after 8."],
        ),
        ("warmup(5) >> linear(to=0)", STEPS, PEAK, ["Its rate falls to almost 0; the lowest that was fitted is 0.01"]),
        ("constant()", STEPS, PEAK, ["It has no warmup; all runs that were fitted have one."]),
        ("warmup(30) >> constant()", STEPS, PEAK, ["Its warmup is 6 times as long as the longest that was"]),
        ("warmup(5) >> linear(30, to=0.3) >> linear(to=0.9)", STEPS, PEAK, ["Its rate rises again after the warmup; "]),
    ],
)
def test_what_the_fit_has_not_seen_is_marked(law, text, steps, peak, said):
    marks = beyond(rates(text, steps, peak), law.curves)
    assert len(marks) == len(said)
    for mark, begin in zip(marks, said, strict=True):
        assert mark.startswith(begin)
        assert mark.endswith(".")
    [forecast] = predict(law, [proposal(text, steps=steps, peak=peak)]).forecasts
    assert forecast.beyond == marks


def test_the_verdict_says_which_lie_outside(law):
    asked = [proposal(ASKED["linear"], "in"), proposal("constant()", "out"), proposal("linear(to=0)", "away")]
    found = predict(law, asked)
    assert "2 of the 3 lie outside of what the fit saw, so their intervals may be too narrow." in found.verdict
    assert predict(law, asked[1:]).verdict[-1] == (
        "Both lie outside of what the fit saw, so their intervals may be too narrow."
    )
    one = predict(law, asked[:2]).verdict
    assert "out lies outside of what the fit saw, so its interval may be too narrow." in one


def test_a_loss_that_no_training_has_is_marked(law):
    wild = replace(law, parameters={**VALUES, "B": 200.0})
    [found] = predict(wild, [proposal(ASKED["linear"], "wild")]).forecasts
    assert found.low < found.final_loss < 0
    assert found.final_loss < found.high
    assert found.beyond == (f"The law gives it a loss of {found.final_loss:.3g}, which no training has.",)


def test_what_speaks_against_a_law_is_in_the_verdict(law):
    warned = predict(replace(law, warnings=("Don't trust it.",)), [proposal(ASKED["linear"], "linear")])
    assert "Don't trust it." in warned.verdict
    assert warned.to_dict()["warnings"] == ["Don't trust it."]


# --- as JSON ------------------------------------------------------------------------------------------


def test_the_dictionary_has_all_but_the_curves_over_the_steps(law):
    known = replace(law, errors={"constant": 0.001}, chosen=("It was the only one.",), free=("C",), advice="Run it.")
    found = predict(known, [proposal(text, name) for name, text in ASKED.items()], level=0.9)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["lrkit_prediction"] == 1
    assert (data["law"], data["parameters"], data["level"]) == ("multi_power", VALUES, 0.9)
    assert (data["formula"], data["source"]) == (law.law.formula, law.law.source)
    assert (data["errors"], data["chosen"]) == ({"constant": 0.001}, ["It was the only one."])
    assert (data["free"], data["advice"]) == (["C"], "Run it.")
    assert [each["name"] for each in data["curves"]] == list(RUNS)
    assert data["curves"][0] == {"name": "constant", "points": 16, "steps": STEPS, "peak": PEAK, "notes": []}
    assert [each["name"] for each in data["candidates"]] == [each.name for each in found.forecasts]
    for entry, each in zip(data["candidates"], found.forecasts, strict=True):
        assert entry == {
            "name": each.name,
            "schedule": ASKED[each.name],
            "steps": STEPS,
            "peak": PEAK,
            "final_loss": each.final_loss,
            "interval": [each.low, each.high],
            "beyond": [],
        }
    assert {(each["a"], each["b"]): each["probability"] for each in data["odds"]} == found.odds
    assert data["verdict"] == list(found.verdict)


# --- wrong input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"level": 1.0}, lrkit.InputError, "level must be finite and above 0 and below 1, not 1.0"),
        ({"level": "high"}, lrkit.InputTypeError, "level must be a number, not 'high' (str)"),
        ({"proposals": ["linear()"]}, lrkit.InputTypeError, "proposals must be Proposal each, not 'linear()' (str)"),
        ({"proposals": [proposal("constant()", "a")] * 2}, lrkit.InputError, "distinct names: 'a' is there 2 times"),
        (
            {"proposals": proposal("constant()", "a")},
            lrkit.InputTypeError,
            "proposals must be a list of Proposal, not Proposal(name='a'",
        ),
        ({"law": true_law(law_with_worlds().curves)}, lrkit.InputError, "law must have worlds, as from fit_law"),
    ],
)
def test_wrong_input_is_one_sentence(law, change, error, sentence):
    given = {"law": law, "proposals": [proposal("constant()")], **change}
    with pytest.raises(error) as raised:
        predict(given.pop("law"), given.pop("proposals"), **given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (("a", np.array([0.1, -1.0])), lrkit.InputError, "learning_rates must be finite and not negative, not -1 at"),
        (("a", 0.1), lrkit.InputError, "learning_rates must have one for every step, not the shape ()"),
        (("a", []), lrkit.InputError, "learning_rates must have one for every step, not the shape (0,)"),
        (("a", "linear()"), lrkit.InputTypeError, "learning_rates must be numbers, not 'linear()'"),
        ((None, [0.1]), lrkit.InputTypeError, "name must be text, not None"),
        (("a", [0.1], lrkit.linear()), lrkit.InputTypeError, "schedule must be text, or None, not linear("),
    ],
)
def test_a_proposal_says_what_it_cant_be(given, error, sentence):
    with pytest.raises(error) as raised:
        Proposal(*given)
    assert sentence in str(raised.value)


def test_rates_may_be_a_list_and_proposals_may_come_one_by_one(law):
    listed = predict(law, [Proposal("a", [1e-3] * 50), Proposal("b", [2e-3] * 50)])
    assert json.loads(json.dumps(listed.to_dict()))["candidates"][0]["peak"] in (1e-3, 2e-3)
    one_by_one = predict(law, (Proposal(name, np.full(50, rate)) for name, rate in (("a", 1e-3), ("b", 2e-3))))
    assert one_by_one.to_dict() == listed.to_dict()
    assert len(one_by_one.forecasts) == 2


def test_an_unknown_name_lists_the_known(found):
    with pytest.raises(lrkit.InputError, match="unknown schedule 'linaer', did you mean 'linear'"):
        found.probability("linaer", "late")

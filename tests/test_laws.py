"""Laws against slow twins of their formulas, fits against curves that laws made, and against measured ones."""

import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

import lrkit
from lrkit import FittedLaw, InputError, InputTypeError, LossCurve, fit_law
from lrkit.analysis.laws.catalogue import CANDIDATES, LAWS
from lrkit.analysis.laws.fitted import World
from lrkit.analysis.laws.problem import problem_of
from lrkit.analysis.laws.rate_path import trace

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import predict as measured

PEAK = 0.1
UNITS = {"peak": PEAK, "sum": 40.0, "first_sum": 2.0, "steps": 400.0}
VALUES = {
    "multi_power": {"L0": 2.0, "A": 0.8, "alpha": 0.5, "B": 3.0, "C": 2.0, "beta": 0.5, "gamma": 0.5},
    "annealing": {"L0": 2.0, "A": 0.8, "alpha": 0.5, "C": 0.1, "memory": 30.0},
    "convolution": {"L0": 2.0, "A": 0.2, "alpha": 0.5, "B": 0.2, "C": 300.0, "beta": 0.4, "delta": 0.7},
    "feedback": {"L0": 2.0, "A": 0.2, "alpha": 0.5, "B": 0.2, "C": 300.0, "beta": 0.4, "delta": 0.7,
                 "w": 0.3, "tau0": 0.1},
    "power": {"L0": 2.0, "A": 0.2, "alpha": 0.5},
    "exponential": {"L0": 2.0, "A": 1.0, "T": 0.2},
}  # fmt: skip  # more to a line reads better
SCHEDULES = {
    "constant": "constant()",
    "warmup and cosine": "warmup(20) >> cosine(to=0.1)",
    "a sudden drop": "warmup(20) >> constant(1, steps=180) >> constant(0.3)",
    "a late fall to 0": "warmup(20) >> constant() >> linear(20%, to=0)",
    "restarts": "warmup(20) >> cosine_restarts(period=190)",
    "stairs": "warmup(20) >> staircase(every=60, factor=0.5)",
}


def rates(text, steps=400, peak=PEAK):
    return lrkit.parse(text).over(steps).value(np.arange(steps), peak)


def law_of(name, units=UNITS):
    law = LAWS[name]
    return FittedLaw(law, VALUES[name] | {unit: units[unit] for unit in law.units}, ())


# --- slow twins ---------------------------------------------------------------------------------------


def warmed(eta):
    """The rates, as if the warmup had been at its end's rate."""
    first = int(np.argmax(eta[: 1 + next((t for t in range(1, len(eta)) if eta[t] < eta[t - 1]), len(eta)) - 1]))
    return np.concatenate([np.full(first, eta[first]), eta[first:]])


def slow_multi_power(v, eta, t):
    level = warmed(eta)
    won = 0.0
    for k in range(1, min(t, len(eta) - 1) + 1):
        since = eta[k:t].sum()
        won += (level[k - 1] - level[k]) * (
            1 - (v["C"] * max(level[k], 1e-6 * PEAK) ** -v["gamma"] * since + 1) ** -v["beta"]
        )
    return v["L0"] + v["A"] * eta[:t].sum() ** -v["alpha"] - v["B"] * won


def slow_annealing(v, eta, t):
    level, decay = warmed(eta), 1 - 1 / v["memory"]
    momentum = area = 0.0
    for k in range(1, min(t, len(eta) - 1) + 1):
        momentum = decay * momentum + (level[k - 1] - level[k])
        area += momentum if k < t else 0.0
    return v["L0"] + v["A"] * eta[:t].sum() ** -v["alpha"] - v["C"] * area


def slow_convolution(v, eta, t, w=0.0, tau0=0.0):
    sums = np.concatenate([[0.0], np.cumsum(eta)]) / v["sum"]
    excess = np.maximum(sums[: len(eta)], v.get("first_sum", 0.0) / 2 / v["sum"])
    noise = np.maximum(eta / v["peak"], 1e-6) ** v["delta"] * (1 + (w * excess ** -v["alpha"] if w else 0.0))
    before, total = 0.0, 0.0
    for k in range(min(t, len(eta) - 1) + 1):
        total += (noise[k] - before) * (1 - (1 + v["C"] * (sums[t] - sums[k])) ** -v["beta"])
        before = noise[k]
    return v["L0"] + v["A"] * (sums[t] - tau0) ** -v["alpha"] + v["B"] * total


SLOW = {
    "multi_power": slow_multi_power,
    "annealing": slow_annealing,
    "convolution": slow_convolution,
    "feedback": lambda v, eta, t: slow_convolution(v, eta, t, v["w"], v["tau0"] * v["first_sum"] / v["sum"]),
    "power": lambda v, eta, t: v["L0"] + v["A"] * (t / v["steps"]) ** -v["alpha"],
    "exponential": lambda v, eta, t: v["L0"] + v["A"] * np.exp(-t / v["steps"] / v["T"]),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_its_formula_summed_over_all_updates(name, schedule):
    law, eta = law_of(name), rates(schedule)
    steps = np.array([25, 60, 150, 200, 201, 210, 300, 340, 390, 400])
    slow = np.array([SLOW[name](law.parameters, eta, int(t)) for t in steps])
    np.testing.assert_allclose(law.predict(eta, steps), slow, rtol=5e-4)  # blocks are two updates long here


@pytest.mark.parametrize("name", LAWS)
def test_slopes_of_all_points_at_once_are_those_of_each(name):
    law = law_of(name)
    steps = np.array([30, 100, 200, 350, 400])
    curves = [LossCurve(steps, 2 + 4 / steps, rates(SCHEDULES[each])) for each in ("a late fall to 0", "restarts")]
    problem = problem_of(law.law, curves)
    place = problem.place(law.parameters)
    for slope, small in zip(problem.slopes(place).T, 1e-6 * np.eye(len(place)), strict=True):
        apart = problem.log_losses(place + small) - problem.log_losses(place - small)
        np.testing.assert_allclose(slope, apart / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shape", ["(9,)", "(9, 7)", "(1, 1)"])
def test_a_law_that_gives_no_row_for_each_point_is_refused(shape):
    class Wrong(type(LAWS["power"])):
        def losses(self, values, path):
            right = super().losses(values, path)
            return {"(9,)": right[:, 0], "(9, 7)": right.expand(9, 7), "(1, 1)": right[:1]}[shape]

    steps = np.arange(40, 401, 40)[:9]
    curve = LossCurve(steps, 2 + 4 / steps, rates("constant()"))
    with pytest.raises(InputError) as raised:
        fit_law([curve], Wrong(), worlds=0)
    assert str(raised.value) == f"law power must give losses of the shape (9, 1), a row for each point, not {shape}"


# --- predicting ---------------------------------------------------------------------------------------


def test_a_prediction_has_the_shape_of_the_rates_or_of_the_steps():
    law, eta = law_of("feedback"), rates("warmup(5%) >> cosine(to=0.1)", 20_000)
    curve = law.predict(eta)
    assert curve.shape == eta.shape
    steps = np.arange(500, 20_000, 70)
    np.testing.assert_allclose(curve[steps], law.predict(eta, steps), rtol=2e-4)
    assert law.predict(eta, [20_000])[0] < law.predict(eta, [19_999])[0] < law.predict(eta, [19_000])[0]
    assert law.predict(eta, [20_000, 5, 20_000]).tolist() == law.predict(eta, [20_000, 5, 20_000])[[2, 1, 0]].tolist()


def test_rates_that_turn_at_every_step_are_followed_by_their_mean():
    law = law_of("convolution")
    turning, even = np.tile([0.08, 0.06], 10_000), np.full(20_000, 0.07)
    assert len(trace(turning, np.array([20_000])).edges) < 2500
    np.testing.assert_allclose(law.predict(turning)[100:], law.predict(even)[100:], rtol=1e-3)


@pytest.mark.parametrize("name", LAWS)
def test_a_training_that_has_hardly_begun_has_a_loss_too_whatever_else_is_asked(name):
    law = law_of(name)
    eta = np.concatenate([np.zeros(10), rates("warmup(5%) >> constant()", 4000)])
    first = law.predict(eta, [0, 1, 20])
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first, law.predict(eta, [0, 1, 20, 4000])[:3], rtol=1e-3)
    assert np.isfinite(law.predict([PEAK])).all()


@pytest.mark.parametrize("name", LAWS)
def test_rates_with_noise_in_their_last_digits_are_followed(name):
    law, eta = law_of(name), rates("warmup(5%) >> constant(1, steps=45%) >> constant(0.1)", 8000)
    noisy = eta * (1 + 1e-7 * np.random.default_rng(0).normal(size=len(eta)))
    steps = [3900, 4001, 4010, 4100, 8000]
    np.testing.assert_allclose(law.predict(noisy, steps), law.predict(eta, steps), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "steps", "sentence"),
    [
        ([], None, "learning_rates must have one for every step"),
        ([0.1, -0.1], None, "learning_rates must be finite and not negative, not -0.1 at step 1"),
        ([0.1, np.nan], None, "learning_rates must be finite and not negative, not nan at step 1"),
        ([0.0, 0.0], None, "learning_rates must not be all 0"),
        ([0.1, 0.1], [3], "steps must be from 0 to 2, the number of rates"),
        ([0.1, 0.1], [0.5], "steps must be whole numbers, at least one"),
        ([0.1, 0.1], [], "steps must be whole numbers, at least one"),
        ([0.1, 0.1], [np.inf], "steps must be whole numbers, at least one"),
        ([0.1, 0.1], torch.ones(1, requires_grad=True), "steps must be whole numbers, not tensor"),
    ],
)
def test_what_cant_be_predicted_is_refused(given, steps, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        law_of("power").predict(given, steps)


def test_how_sure_it_is_takes_worlds():
    for ask in (law_of("power").interval, law_of("power").draws):
        with pytest.raises(InputError, match="law must have worlds, as from fit_law"):
            ask([0.1, 0.1])
    with pytest.raises(InputError, match="level must be finite and above 0 and below 1, not 95"):
        law_of("power").interval([0.1, 0.1], level=95)


# --- fits to curves that laws made --------------------------------------------------------------------

MADE = (
    "warmup(5%) >> constant()",
    "warmup(5%) >> cosine(to=0.1)",
    "warmup(5%) >> constant(1, steps=45%) >> constant(0.3)",
)
LONG = {"peak": PEAK, "sum": 400.0, "first_sum": 20.0, "steps": 4000.0}


def made_by(law, text, *, noise=5e-4, steps=4000, points=60, peak=PEAK):
    at = np.unique(np.linspace(0.06 * steps, steps, points).astype(int))
    eta = rates(text, steps, peak)
    chance = np.random.default_rng(len(text)).normal(size=len(at))
    return LossCurve(at, law.predict(eta, at) * np.exp(noise * chance), eta, name=text)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_recovered_from_three_curves(name):
    true = law_of(name, LONG)
    found = fit_law([made_by(true, text) for text in MADE], name, worlds=0)
    for text, steps in (
        ("warmup(5%) >> constant() >> linear(20%, to=0.1)", 4000),
        ("warmup(5%) >> cosine(to=0.1)", 8000),
    ):
        eta = rates(text, steps)
        np.testing.assert_allclose(found.predict(eta, [steps]), true.predict(eta, [steps]), rtol=3e-3)


@pytest.fixture(scope="module")
def true():
    return law_of("feedback", LONG)


@pytest.fixture(scope="module")
def curves(true):
    return [made_by(true, text) for text in MADE]


@pytest.fixture(scope="module")
def found(curves):
    return fit_law(curves, "feedback", worlds=6)


def test_a_few_losses_that_are_far_off_change_little(curves, found):
    rng = np.random.default_rng(0)
    wrong = [
        replace(each, losses=each.losses * np.where(rng.uniform(size=len(each.losses)) < 0.05, 1.5, 1))
        for each in curves
    ]
    assert any((a.losses != b.losses).any() for a, b in zip(curves, wrong, strict=True))
    eta = rates("warmup(5%) >> linear(to=0)", 4000)
    expected = found.predict(eta, [4000])
    np.testing.assert_allclose(fit_law(wrong, "feedback", worlds=0).predict(eta, [4000]), expected, rtol=3e-3)


def test_units_of_rates_and_losses_dont_matter(curves, found):
    other = [LossCurve(each.steps, 3 * each.losses, 10 * each.learning_rates, name=each.name) for each in curves]
    eta = rates("warmup(5%) >> linear(to=0)", 4000)
    scaled = fit_law(other, "feedback", worlds=0).predict(10 * eta, [1000, 4000])
    np.testing.assert_allclose(scaled, 3 * found.predict(eta, [1000, 4000]), rtol=1e-3)


def test_the_same_seed_gives_the_same_and_another_other_worlds(curves, found):
    torch_state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()
    again, other = (fit_law(curves, "feedback", worlds=6, seed=seed) for seed in (0, 1))
    assert again.parameters == other.parameters == found.parameters
    assert again.worlds == found.worlds
    assert other.worlds != found.worlds
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.get_num_threads() == threads


def test_a_difference_is_surer_the_more_alike_two_schedules_are(found):
    doubtful = replace(found, doubt=0.01)
    eta = rates("warmup(5%) >> constant() >> linear(20%, to=0.1)", 4000)
    near, far = eta.copy(), rates("warmup(5%) >> cosine(to=0.1)", 4000)
    near[-100:] *= 0.9
    deviations = [doubtful.difference(doubtful.end(eta), doubtful.end(other))[1] for other in (eta, near, far)]
    assert deviations[0] == 0 < deviations[1] < deviations[2]


def test_what_is_longer_than_all_runs_is_less_sure(found):
    law = replace(found, doubt=0.0, doubt_ahead=0.01, worlds=(World(found.law, found.parameters),))
    for times, sigma in ((0.5, 0.0), (1, 0.0), (3, 0.01), (9, 0.02)):
        eta = rates(MADE[0], int(times * 4000))
        deviation = law.deviation(eta, [len(eta)]) / law.predict(eta, [len(eta)])
        assert deviation == pytest.approx(sigma, rel=1e-3, abs=1e-9)
    ends = [law.end(rates(text, steps)) for text, steps in ((MADE[0], 12_000), (MADE[1], 12_000), (MADE[0], 4000))]
    assert law.difference(ends[0], ends[1])[1] == 0  # both alike
    assert law.difference(ends[0], ends[2])[1] == pytest.approx(0.01 * (ends[0].loss + ends[2].loss) / 2)


def test_the_doubt_ahead_is_what_the_first_thirds_say_of_the_ends(curves, found):
    """The runs follow the law, so they say it within their noise; one that doesn't hold on gives itself away."""
    assert 0 < found.doubt_ahead < 0.01
    fallen = [replace(each, losses=each.losses * np.where(each.steps > 2000, 0.8, 1.0)) for each in curves]
    assert fit_law(fallen, "feedback", worlds=1).doubt_ahead > 10 * found.doubt_ahead
    short = replace(curves[0], steps=curves[0].steps[-12:], losses=curves[0].losses[-12:])
    few = fit_law([short], "feedback", worlds=1)
    assert few.doubt_ahead == 2 * few.doubt > 0  # too few points to say


# --- what curves say, and what they don't -------------------------------------------------------------


def test_what_one_constant_run_leaves_open_is_named_with_the_run_that_would_say_it(curves):
    alone = fit_law(curves[:1], "feedback", worlds=0)
    assert {"B", "C", "delta"} <= set(alone.free)
    assert (
        "one that stays at 0.1 for the first half, and goes on at once at a third of it, would narrow down"
        in alone.advice
    )


def test_what_one_run_leaves_open_is_as_uncertain_as_it_was_expected_to_be(curves):
    """A constant rate says little of B, and schedules that fall need it."""
    alone = fit_law(curves[:1], "feedback", worlds=12)
    assert np.std([np.log(each.values["B"]) for each in alone.worlds]) > 0.3
    falls, stays = rates(MADE[1], 4000), rates(MADE[0], 4000)
    widths = [np.diff(np.log(np.ravel(alone.interval(each, [4000]))))[0] for each in (stays, falls)]
    assert widths[1] > 5 * widths[0]


def test_a_law_without_a_response_is_determined_by_one_run(true):
    alone = fit_law([made_by(law_of("power", LONG), MADE[0])], "power", worlds=0)
    assert (alone.free, alone.advice) == ((), None)


def test_losses_that_rise_in_the_end_and_a_curve_that_no_law_describes_are_named(true):
    rising, stepped = made_by(true, MADE[0]), made_by(true, MADE[1])
    late = np.maximum(0, rising.steps / 4000 - 0.5)
    rising = replace(rising, losses=rising.losses * (1 + late), name="rising")
    stepped = replace(stepped, losses=np.where(stepped.steps < 2000, 1.5, 1.0) * stepped.losses, name="stepped")
    assert any(
        each.startswith("The loss of rising rises in the end")
        for each in fit_law([rising], "feedback", worlds=0).warnings
    )
    assert any(
        each.startswith("The law doesn't describe stepped")
        for each in fit_law([stepped], "feedback", worlds=0).warnings
    )


def test_losses_that_spike_make_neither_the_law_nor_the_interval_doubtful(curves, found):
    losses = curves[0].losses.copy()
    losses[[9, 30]] *= 1.5
    spiked = fit_law([replace(curves[0], losses=losses), *curves[1:]], "feedback", worlds=0)
    assert spiked.doubt < 3 * found.doubt
    assert spiked.warnings == ()


def test_of_one_or_two_curves_a_law_is_taken_that_describes_them():
    true = law_of("annealing", LONG)
    found = fit_law([made_by(true, text, noise=1e-5) for text in MADE[1:]], worlds=1)
    assert found.chosen[1].startswith("Describing what was fitted, laws err by: feedback ")
    assert found.law.name == "annealing"
    assert {world.law.name for world in found.worlds} == set(CANDIDATES)


@pytest.mark.parametrize(("count", "words"), [(1, "One curve is too few"), (2, "Two curves are too few")])
def test_with_few_curves_no_law_is_chosen_and_others_count_as_uncertainty(curves, count, words):
    few = fit_law(curves[:count], worlds=2)
    assert few.chosen[0].startswith(words)
    assert {world.law.name for world in few.worlds} == set(CANDIDATES)


def test_a_law_that_predicts_others_better_is_chosen():
    true = law_of("annealing", LONG)
    found = fit_law([made_by(true, text, noise=1e-5) for text in MADE], worlds=1)
    assert found.law.name == "annealing"
    assert found.chosen[0].startswith("Predicting each curve from the others, laws err by: feedback ")
    assert found.chosen[1] == "annealing errs least."


def test_curves_may_be_of_any_kind(true, curves):
    steps, losses, eta = curves[0].steps, curves[0].losses, curves[0].learning_rates
    history = lrkit.History((), eta[:, None].copy(), true.predict(eta).astype(np.float32), {"name": "mine"})
    again = replace(curves[0], losses=1.001 * losses)
    found = fit_law([curves[0], again, (steps[1:], losses[1:], eta), history], "power", worlds=0)
    assert [each.name for each in found.curves] == [MADE[0], f"{MADE[0]} (2)", "curve 3", "curve 4 (mine)"]
    assert set(found.errors) == {each.name for each in found.curves}


def test_of_numbers_the_warmup_is_left_out(curves):
    eta = curves[0].learning_rates
    steps = np.arange(0, 4000, 100)
    [found] = fit_law([(steps, 2 + 1 / (1 + steps), eta)], "power", worlds=0).curves
    assert found.steps[0] == 200  # where the warmup ends
    left_out = "2 points are left out, before the end of the warmup at step 199: laws begin after it."
    assert found.notes == (left_out,)
    [found] = fit_law([LossCurve(steps, 2 + 1 / (1 + steps), eta)], "power", worlds=0).curves
    assert (found.steps[0], found.notes) == (200, (left_out,))


ALONE = LossCurve(np.arange(1, 9), np.linspace(3, 2, 8), np.full(8, 0.1))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"curves": []}, InputError, "curves must have at least one"),
        ({"curves": "mine"}, InputTypeError, "curves must be a list of curves, not 'mine'"),
        ({"curves": [ALONE, ALONE]}, InputError, "curves must be of runs of their own: run and run are the same"),
        ({"curves": [3]}, InputTypeError, "curves must be each a LossCurve, a History or"),
        ({"curves": [([1, 2], [2.0, 1.0], [0.1, 0.1])]}, InputError, "curve 1 must have at least 8 training losses"),
        ({"law": "powr"}, InputError, "unknown law 'powr', did you mean 'power'"),
        ({"law": 3}, InputTypeError, "law must be the name of one, or a Law, not 3"),
        ({"law": ["power"]}, InputTypeError, "law must be the name of one, or a Law"),
        ({"seed": -1}, InputError, "seed must be at least 0, not -1"),
        ({"seed": "a"}, InputTypeError, "seed must be a whole number, not 'a'"),
        ({"worlds": -1}, InputError, "worlds must be at least 0, not -1"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(curves, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        fit_law(**{"curves": curves, "law": "power", **arguments})


def test_rates_in_different_units_are_refused(curves):
    other = LossCurve(curves[1].steps, curves[1].losses, 1000 * curves[1].learning_rates, name="other")
    with pytest.raises(InputError, match=r"rates in one unit: one has the peak 0\.1, and another 100"):
        fit_law([curves[0], other])


# --- measured curves of a language model --------------------------------------------------------------


@pytest.fixture(scope="module")
def llm():
    folder = measured.DATA / "llm_100M"
    return {name: measured.read(folder, name) for name in measured.SCHEDULES}


@pytest.fixture(scope="module")
def fitted(llm):
    return fit_law([llm[name] for name in measured.FITTED], worlds=8)


def test_six_schedules_are_predicted_from_three_better_than_published(llm, fitted):
    scores = measured.average([measured.score(fitted, llm[name]) for name in llm if name not in measured.FITTED])
    *_, mean, worst = measured.PUBLISHED["llm_100M"]
    assert scores.mean < 0.6 * mean
    assert scores.worst < 0.7 * worst
    assert scores.covered > 0.85
    assert fitted.law.name == "feedback"
    assert fitted.free == ()


def test_final_losses_that_differ_are_ranked_right(llm, fitted):
    right, pairs = measured.ranked(fitted, list(llm.values()))
    assert right == pairs > 30


def test_the_probability_says_who_ends_lower(llm, fitted):
    proposals = [lrkit.Proposal(name, llm[name].learning_rates[: llm[name].steps[-1]]) for name in llm]
    found = lrkit.predict(fitted, proposals)
    for a, b in combinations(llm, 2):
        ends = llm[a].losses[-1], llm[b].losses[-1]
        if abs(ends[0] - ends[1]) > 0.01 * ends[0]:
            assert (found.probability(a, b) > 0.9) == (ends[0] < ends[1])

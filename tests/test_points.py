"""Values that are listed, given by a function or drawn; and the recipes."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

import lrkit
from lrkit import InputError, InputTypeError, absolute
from plans import levels

T = np.arange(100)


# --- piecewise -------------------------------------------------------------------------------------


def test_before_the_first_point_the_first_value_and_past_the_last_the_last():
    for between in ("hold", "linear", "cosine"):
        line = lrkit.piecewise(at=[10, 20], values=[1, 0.5], between=between)
        assert line([0, 9, 10, 20, 21, 10**9]).tolist() == [1, 1, 1, 0.5, 0.5, 0.5]
        assert lrkit.piecewise(at=[5], values=[0.3], between=between)([0, 5, 9]).tolist() == [0.3] * 3


@given(st.lists(st.integers(1, 90), min_size=2, max_size=6, unique=True).map(sorted), st.data())
def test_a_line_through_points_is_numpys(at, data):
    values = data.draw(st.lists(st.floats(0, 2), min_size=len(at), max_size=len(at)))
    line = lrkit.piecewise(at=at, values=values)
    np.testing.assert_allclose(line(T, 0.3), np.interp(T, at, np.multiply(values, 0.3)), rtol=0, atol=1e-15)


@given(st.lists(st.tuples(st.integers(0, 60), levels), min_size=2, max_size=5), st.sampled_from(["linear", "cosine"]))
def test_a_line_is_the_ramps_between_its_points(points, between):
    at, values = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    line = lrkit.piecewise(at=at, values=values, between=between)
    ramp = {"linear": lrkit.linear, "cosine": lrkit.cosine}[between]
    for i in range(len(at) - 1):
        if at[i] < at[i + 1]:
            inside = np.arange(at[i], at[i + 1])
            wanted = ramp(at[i + 1] - at[i], start=values[i], to=values[i + 1])(inside - at[i], 0.3)
            np.testing.assert_allclose(line(inside, 0.3), wanted, rtol=0, atol=1e-15)


def test_two_points_at_one_step_are_a_jump():
    line = lrkit.piecewise(at=[0, 10, 10, 20], values=[1, 1, 0.5, 0])
    assert line([9, 10, 15]).tolist() == [1, 0.5, 0.25]


def test_it_ends_with_the_limit_from_the_left():
    held = lrkit.piecewise(10, at=[0, 10], values=[1, 0.5], between="hold") >> lrkit.linear(10, to=0)
    assert held([9, 10, 15]).tolist() == [1, 1, 0.5]
    jumping = lrkit.piecewise(10, at=[0, 10, 10], values=[1, 0.8, 0.1])
    assert jumping([5, 10, 11]).tolist() == [0.9, 0.8, 0.8]
    assert lrkit.piecewise(5, at=[0, 10], values=[1, 0])([5, 6]).tolist() == [0.5, 0.5]


def test_points_in_units_are_resolved():
    line = lrkit.piecewise(at=[0, "1ep", "50%"], values=[0.1, 1, 0]).over(100, epoch_steps=8)
    assert str(line) == "piecewise(100, at=[0, 8, 50], values=[0.1, 1, 0])"
    with pytest.raises(InputError, match="at must ascend, but 80 stands before 50"):
        lrkit.piecewise(at=[0, "10ep", "50%"], values=[0.1, 1, 0]).over(100, epoch_steps=8)


# --- table -----------------------------------------------------------------------------------------


def test_a_table_has_a_value_for_each_step_and_holds_the_last():
    table = lrkit.table([1, 0.5, 0.25])
    assert table([0, 1, 2, 3, 10**9], 0.1).tolist() == [0.1, 0.05, 0.025, 0.025, 0.025]
    assert table.length == 3
    assert (table >> lrkit.linear(4, to=0))([2, 3, 5]).tolist() == [0.25, 0.25, 0.125]
    assert lrkit.table([1, 0.5, 0.25], steps=2)([1, 2]).tolist() == [0.5, 0.5]


def test_a_table_is_a_value():
    numbers = np.linspace(1, 0, 50)
    table = lrkit.table(numbers)
    numbers[0] = 7
    assert table(0) == 1
    with pytest.raises(ValueError, match="read-only"):
        table.values[0] = 7
    assert table == lrkit.table(np.linspace(1, 0, 50).tolist())
    assert table == lrkit.table(torch.from_numpy(np.linspace(1, 0, 50)))
    assert lrkit.table([0.0]) == lrkit.table([-0.0])
    assert hash(lrkit.table([0.0])) == hash(lrkit.table([-0.0]))
    assert table != lrkit.table(np.linspace(1, 0, 51))
    assert table != lrkit.table(np.linspace(1, 0, 50), steps=60)
    assert table != lrkit.constant()


@pytest.mark.parametrize("steps", [None, 20, "50%"])
def test_a_table_survives_json_and_pickle_whole(steps):
    plan = lrkit.warmup(3) >> lrkit.table(np.random.default_rng(0).random(50), steps)
    for back in (lrkit.from_json(lrkit.to_json(plan)), pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        assert back == plan
        assert hash(back) == hash(plan)
        assert not back.parts[1].values.flags.writeable


def test_text_has_a_digest_of_a_table_and_parse_refuses_it():
    table = lrkit.table([1, 0.5, 0.2])
    assert str(table) == repr(table) == "table(3, sha256_3bc92d21)"
    assert str(lrkit.table([1, 0.5], "50%").over(10)) == "table(2, sha256_7ded3217, steps=5)"
    for text in (str(table), "table(3)", "warmup(3) >> table(2, sha256_aa, steps=5)"):
        with pytest.raises(InputError, match="has its length and a digest, not its values; its JSON form has them"):
            lrkit.parse(text)
    assert lrkit.parse("table([1, 0.5, 0.2], steps=50%)") == lrkit.table([1, 0.5, 0.2], "50%")


def test_a_table_that_is_too_long_is_refused():
    with pytest.raises(InputError, match=r"table\(50, .*\) needs 50 steps, but the horizon is 40"):
        lrkit.table(np.ones(50)).over(40)
    assert lrkit.table(np.ones(50)).over(50) == lrkit.table(np.ones(50))


# --- from_callable ---------------------------------------------------------------------------------


def test_a_callable_is_torchs_lambda_lr():
    def function(epoch):
        return 0.95**epoch if epoch < 30 else 0.01

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    scheduler = theirs.LambdaLR(optimizer, function)
    ours = lrkit.from_callable(function)
    for t in range(60):
        assert ours(t, 0.3) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-14)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    "function",
    [
        lambda t: 1 / (1 + t),
        lambda t: np.cos(t / 9) ** 2,
        lambda t: math.exp(-t / 30),
        lambda t: 0.5,
        lambda t: 1 if t < 10 else 0.1,
        lambda t: [1, 0.5][t % 2],
        lambda t: {0: 1.0}.get(t, 0.5),
        lambda t: np.float32(1 / (t + 1)),
        lambda t: torch.tensor(1 / (t + 1)),
        lambda t: Steps(t).share,
    ],
)
def test_functions_of_arrays_and_of_single_numbers(function):
    schedule = lrkit.from_callable(function)
    together = schedule(T, 0.3)
    assert together.tolist() == [schedule(int(t), 0.3) for t in T]
    np.testing.assert_allclose(together, [0.3 * float(function(int(t))) for t in T], rtol=1e-6)
    assert schedule([]).shape == (0,)


class Steps:
    def __init__(self, t):
        self.share = 1.0 if t == 0 else 1 / t


def test_thousands_of_steps_are_asked_for_at_once():
    asked = []

    def function(t):
        asked.append(np.size(t))
        return 1 / (1 + t)

    lrkit.from_callable(function)(np.arange(1_000_000))
    assert sum(asked) == 1_000_000
    assert min(asked) > 500


def test_a_callable_that_has_a_length_is_asked_for_its_steps_only():
    plan = lrkit.from_callable(lambda t: [1.0, 0.5, 0.25][t], 3) >> lrkit.linear(5, to=0)
    assert plan([0, 2, 3]).tolist() == [1.0, 0.25, 0.25]


def test_a_callable_says_what_it_cannot():
    def halving(t):
        return 0.5**t

    schedule = lrkit.warmup(3) >> lrkit.from_callable(halving)
    assert str(schedule) == "warmup(3) >> from_callable(halving)"
    assert str(lrkit.from_callable(lambda t: t)) == "from_callable(lambda)"
    for text in (str(schedule), "from_callable(lambda)"):
        with pytest.raises(InputError, match="function must be a Python function, which text can't hold"):
            lrkit.parse(text)
    with pytest.raises(InputTypeError, match="a Python function can't be written as JSON: halving"):
        lrkit.to_json(schedule)
    with pytest.raises(InputTypeError, match="can't be pickled, because function is a Python function"):
        pickle.dumps(schedule)
    assert copy.deepcopy(schedule) == copy.copy(schedule) == schedule


# --- noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_noise_has_the_distribution_it_names(distribution):
    z = (lrkit.noise(scale=0.1, distribution=distribution)(np.arange(100_000)) - 1) / 0.1
    deviation = {"uniform": math.sqrt(1 / 3), "normal": 1.0}[distribution]
    within = {"uniform": 0.5, "normal": math.erf(0.5 / math.sqrt(2))}[distribution]
    assert abs(z.mean()) < 4 * deviation / math.sqrt(100_000)
    assert z.std() == pytest.approx(deviation, rel=0.01)
    assert (abs(z) < 0.5).mean() == pytest.approx(within, abs=0.01)
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(z[lag:], z[:-lag])[0, 1]) < 4 / math.sqrt(100_000)
    if distribution == "uniform":
        assert abs(z).max() < 1


def test_other_seeds_give_other_draws():
    draws = [lrkit.noise(scale=0.5, seed=seed)(np.arange(10_000)) for seed in (0, 1, 2, 2**53 - 1)]
    assert (abs(np.corrcoef(draws)[np.triu_indices(4, 1)]) < 4 / math.sqrt(10_000)).all()
    assert len(np.unique(draws)) == 40_000


def test_any_step_can_be_asked_without_the_ones_before():
    noise = lrkit.noise(scale=0.5, distribution="normal", seed=5)
    some = np.random.default_rng(0).integers(0, 10**15, 1000)
    assert [noise(int(t)) for t in some] == noise(some).tolist()


def test_noise_multiplies_and_never_goes_below_zero():
    schedule = lrkit.linear(100, to=0) * lrkit.noise(scale=3, distribution="normal", every=10)
    values = schedule(T, 0.1)
    assert (values >= 0).all()
    assert (values == 0).any()
    factors = values / lrkit.linear(100, to=0)(T, 0.1)
    np.testing.assert_allclose(factors.reshape(10, 10), factors[::10, None].repeat(10, 1))
    assert str(lrkit.noise(scale=0.1, every="1ep").over(100, epoch_steps=7)) == "noise(100, scale=0.1, every=7)"


# --- recipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "recipe", "composition"),
    [
        ("warmup_cosine(5%)", lrkit.warmup_cosine("5%"), "warmup(5%) >> cosine(to=0)"),
        ("warmup_cosine(1ep, to=0.1)", lrkit.warmup_cosine("1ep", to=0.1), "warmup(1ep) >> cosine(to=0.1)"),
        ("wsd(5%, 20%)", lrkit.wsd("5%", "20%"), "warmup(5%) >> constant() >> cooldown(20%, to=0)"),
        (
            "wsd(10, 20, to=absolute(0.001), shape=linear)",
            lrkit.wsd(10, 20, to=absolute(0.001), shape="linear"),
            "warmup(10) >> constant() >> cooldown(20, to=absolute(0.001), shape=linear)",
        ),
        ("linear_to_zero(10%)", lrkit.linear_to_zero("10%"), "warmup(10%) >> linear(to=0)"),
        (
            "infinite(1%, 60%, 0.55, None, 15%)",
            lrkit.infinite("1%", "60%", 0.55, None, "15%"),
            "warmup(1%) >> cosine(60%, to=0.55) >> constant(0.55) >> exponential(15%, to=0.1)",
        ),
        ("noam(4000)", lrkit.noam(4000), "warmup(4000) >> inverse_sqrt(timescale=4000)"),
        ("budgeted()", lrkit.budgeted(), "linear(to=0)"),
        ("budgeted(100)", lrkit.budgeted(100), "linear(100, to=0)"),
    ],
)
def test_a_recipe_is_its_composition(text, recipe, composition):
    assert lrkit.parse(text) == recipe == lrkit.parse(composition)
    assert str(recipe) == composition


def test_wsd_stays_at_the_peak_until_it_cools_down():
    values = lrkit.wsd("5%", "20%").over(1000)([0, 49, 500, 800, 850, 1000])
    assert values == pytest.approx([1 / 50, 1, 1, 1, 0.5, 0], rel=1e-14)


def test_infinite_has_four_phases():
    schedule = lrkit.infinite(10, 20, 0.5, 30, 40, to=0.05)
    assert schedule([9, 10, 20, 30, 59, 60, 80, 100]) == pytest.approx(
        [1, 1, 0.75, 0.5, 0.5, 0.5, 0.05**0.5 / 2**0.5, 0.05]
    )


def test_noam_is_the_papers_one_update_later_on_the_way_down():
    def paper(number, warmup):
        return warmup**0.5 * min(number**-0.5, number * warmup**-1.5)

    values = lrkit.noam(40)(range(300))
    assert values[:40] == pytest.approx([paper(t + 1, 40) for t in range(40)])
    assert values[40:] == pytest.approx([paper(t, 40) for t in range(40, 300)])


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrkit.piecewise(at=[], values=[]), "as many, at least one, not 0 and 0"),
        (lambda: lrkit.piecewise(at=[1, 2], values=[1]), "as many, at least one, not 2 and 1"),
        (lambda: lrkit.piecewise(at=[2, 1], values=[1, 1]), "at must ascend, but 2 stands before 1"),
        (lambda: lrkit.piecewise(at=["2ep", "1ep"], values=[1, 1]), "at must ascend, but 2ep stands before 1ep"),
        (lambda: lrkit.piecewise(at="10", values=[1]), "at must be a list of steps, not '10'"),
        (lambda: lrkit.piecewise(at=[1], values=1), "values must be a list of shares, not 1"),
        (lambda: lrkit.piecewise(at=[1.0], values=[1]), "at must be a whole number of steps"),
        (lambda: lrkit.piecewise(at=[-1], values=[1]), "at must be positive, not -1"),
        (lambda: lrkit.piecewise(at=[1], values=[-1]), "values must be finite and at least 0"),
        (lambda: lrkit.piecewise(at=[1], values=[1], between="spline"), "between must be 'hold', .* not 'spline'"),
        (lambda: lrkit.table([]), "at least one number, not an array of shape"),
        (lambda: lrkit.table([[1, 2]]), r"at least one number, not an array of shape \(1, 2\)"),
        (lambda: lrkit.table(0.5), r"at least one number, not an array of shape \(\)"),
        (lambda: lrkit.table("abc"), "values must be a list of numbers, not 'abc'"),
        (lambda: lrkit.table(["1", "0.5"]), r"values must be a list of numbers, not \['1', '0.5'\] \(list\)"),
        (lambda: lrkit.table([1, [2]]), r"values must be a list of numbers, not \[1, \[2\]\]"),
        (lambda: lrkit.table([absolute(1)]), "values must be a list of numbers"),
        (lambda: lrkit.table([1, -0.5]), "values must be finite and at least 0, not -0.5 at step 1"),
        (lambda: lrkit.table([math.nan]), "values must be finite and at least 0, not nan at step 0"),
        (lambda: lrkit.table([1], 0.5), "steps must be a whole number"),
        (lambda: lrkit.constant() * lrkit.piecewise(at=[1], values=[absolute(1)]), "a multiplier has no base"),
        (lambda: lrkit.from_callable(3), "function must be a Python function, .* not 3"),
        (lambda: lrkit.from_callable(lambda t: -t)(range(5)), r"from_callable\(lambda\) must .*, not -1.0 at step 1"),
        (lambda: lrkit.from_callable(lambda t: 1 / t)([1, 0]), "must give finite numbers .*, not inf at step 0"),
        (lambda: lrkit.from_callable(lambda t: math.nan)(3), "must give finite numbers .*, not nan at step 3"),
        (lambda: lrkit.from_callable(lambda t: "x")(3), "must give numbers, not 'x' at step 3"),
        (lambda: lrkit.from_callable(lambda t: None)(3), "must give numbers, not None at step 3"),
        (lambda: lrkit.noise(scale=-1), "scale must be finite and at least 0"),
        (
            lambda: lrkit.noise(scale=1, distribution="cauchy"),
            "distribution must be 'uniform' or 'normal', not 'cauchy'",
        ),
        (lambda: lrkit.noise(scale=1, seed=-1), r"seed must be at least 0 and below 2\^53, not -1"),
        (lambda: lrkit.noise(scale=1, seed=1.5), "seed must be a whole number, not 1.5"),
        (lambda: lrkit.noise(scale=1, every=0), "every must be positive"),
        (lambda: lrkit.wsd(5, 10, shape="round"), "shape must be"),
        (lambda: lrkit.infinite(1, 1, 0.5, 1, 1, to=0), "to must be finite and above 0"),
        (lambda: lrkit.linear(10)(math.nan), "t must be a number or an array of numbers, not nan"),
    ],
)
def test_bad_arguments_get_one_sentence(make, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_error_inside_a_function_is_the_functions_own():
    with pytest.raises(KeyError):
        lrkit.from_callable(lambda t: {}[t])(3)

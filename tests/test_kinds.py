"""The kinds of schedule: each against the formula, the library or the paper that it comes from."""

import math

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import lrkit
from lrkit import InputError, InputTypeError, absolute
from lrkit.schedules.names import KINDS
from plans import EXAMPLES

RAMPS = ("linear", "cosine", "polynomial", "exponential", "cooldown", "rex", "tanh")
DECAYS = ("staircase", "milestones", "inverse_sqrt", "inverse_time", "power")


def of_kinds(*kinds):
    return [text for text in EXAMPLES if text.split("(")[0] in kinds]


# --- every kind ------------------------------------------------------------------------------------


def test_there_is_an_example_of_every_kind_of_schedule():
    kinds = {text.split("(")[0] for text in EXAMPLES}
    without_text = {"table", "from_callable"}
    assert kinds | without_text == {kind for kind, cls in KINDS.items() if issubclass(cls, lrkit.Schedule)}


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_prints_as_it_was_written(text):
    assert str(lrkit.parse(text)) == text


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_value_does_not_depend_on_how_many_are_asked_for_at_once(text):
    schedule, steps = lrkit.parse(text.replace("(40", "(400").replace("100", "1000")), np.arange(420)
    whole = schedule(steps, 0.3)
    for size in (1, 2, 3, 5, 7, 9, 33):  # numpy works in vectors of up to 8, and on what remains
        parts = [schedule(steps[i : i + size], 0.3) for i in range(0, len(steps), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("base", [1.0, 0.3, 7e-5])
@pytest.mark.parametrize("text", of_kinds(*RAMPS, "warmup"))
def test_a_ramp_reaches_its_end_to_the_bit_and_stays(text, base):
    ramp = lrkit.parse(text)
    if getattr(ramp, "to", None) is None:
        return
    assert ramp([40, 41, 10**9], base).tolist() == [ramp.to * base] * 3
    assert ramp(39, base) > ramp.to * base or ramp.kind == "warmup"


@pytest.mark.parametrize("text", of_kinds(*RAMPS, "hyperbolic", *DECAYS))
def test_what_names_no_start_begins_where_the_segment_before_ended(text):
    curve = lrkit.parse(text)
    joined = lrkit.constant(0.7, steps=5) >> curve
    if "lowered_linear" in text:
        assert [joined(4), joined(5)] == [0.7, pytest.approx(0.1 + 0.8 * (0.7 - 0.1))]
        return
    assert joined(5, 0.3) == 0.7 * 0.3
    assert curve(0, 0.3) == 0.3
    assert lrkit.parse(text[:-1] + ", start=0.2)")(0, 0.3) == 0.2 * 0.3


@pytest.mark.parametrize("text", of_kinds(*RAMPS, "hyperbolic", *DECAYS))
def test_a_fall_never_rises(text):
    assert (np.diff(lrkit.parse(text)(range(50))) <= 0).all()


@pytest.mark.parametrize("text", of_kinds("warmup", "untuned_warmup", "radam_warmup"))
def test_a_warmup_never_falls_and_moves_from_the_first_update_on(text):
    values = lrkit.parse(text)(range(50))
    assert values[0] > 0
    assert (np.diff(values) >= 0).all()
    assert values[39] == values[40] == values[49]


@pytest.mark.parametrize("text", of_kinds(*RAMPS, "hyperbolic"))
def test_a_ramp_can_rise_from_zero_and_stays_between_its_ends(text):
    if "to=" not in text:
        return
    values = lrkit.parse(text.replace("to=0.1", "to=1.5")[:-1] + ", start=0.5)")(range(50))
    assert (np.diff(values) >= 0).all()
    assert 0.5 <= values[0] <= values[-1] <= 1.5


# --- ramps -----------------------------------------------------------------------------------------


def closed_form(scheduler, t):
    scheduler.last_epoch = t
    return scheduler._get_closed_form_lr()


def optimizer(*lrs):
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs])


@pytest.mark.parametrize("length", [1, 2, 100])
@pytest.mark.parametrize("end", [0.0, 1e-3])
def test_cosine_is_torchs(length, end):
    scheduler = theirs.CosineAnnealingLR(optimizer(0.1, 2.0), T_max=length, eta_min=end)
    ours = lrkit.cosine(length, to=absolute(end))
    for t in range(length + 1):
        np.testing.assert_allclose(ours(t, [0.1, 2.0]), closed_form(scheduler, t), rtol=0, atol=1e-15)


@pytest.mark.parametrize("length", [1, 2, 100])
@pytest.mark.parametrize("exponent", [0.9, 1.0, 2.0])
def test_polynomial_is_torchs(length, exponent):
    scheduler = theirs.PolynomialLR(optimizer(0.1, 2.0), total_iters=length, power=exponent)
    ours = lrkit.polynomial(length, to=0, exponent=exponent)
    for t in range(length + 20):
        np.testing.assert_allclose(ours(t, [0.1, 2.0]), closed_form(scheduler, t), rtol=0, atol=1e-15)


@pytest.mark.parametrize("k", [0.5, 1.5])
def test_k_decay_is_timms(k):
    def twin(t, n, low, high):
        return low + 0.5 * (high - low) * (1 + math.cos(math.pi * t**k / n**k))

    wanted = [twin(t, 100, 0.01, 0.3) for t in range(100)]
    ours = lrkit.cosine(100, to=absolute(0.01), k=k)
    np.testing.assert_allclose(ours(range(100), 0.3), wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "middle"),
    [
        ("cosine(10, to=0)", 0.5),
        ("cosine(10, to=0, exponent=3)", 1 / 8),
        ("cosine(10, to=0, k=2)", (1 + math.sqrt(1 / 2)) / 2),
        ("polynomial(10, to=0)", 1 / 4),
        ("polynomial(10, to=0, exponent=0.5)", math.sqrt(1 / 2)),
        ("rex(10, to=0)", 2 / 3),
        ("rex(10, to=0.4)", 0.8),
        ("cooldown(10, to=0)", 1 - math.sqrt(1 / 2)),
        ("cooldown(10, to=0, shape=linear)", 1 / 2),
        ("cooldown(10, to=0, shape=one_minus_sqrt)", 1 - math.sqrt(1 / 2)),
        ("cooldown(10, to=0, shape=sqrt)", math.sqrt(1 / 2)),
        ("cooldown(10, to=0, shape=square)", 3 / 4),
        ("cooldown(10, to=0, shape=lowered_linear)", 0.35),
        ("cooldown(10, to=0.2, shape=lowered_linear, factor=0.5)", 0.2 + 0.8 * 0.25),
        ("tanh(10, to=0, lower=-1, upper=1)", 1 / 2),
        ("tanh(10, to=0, lower=-6, upper=3)", (math.tanh(3) + math.tanh(1.5)) / (math.tanh(3) + math.tanh(6))),
        ("hyperbolic(10, to=0, bound=10)", 1 / 2),
        ("hyperbolic(10, to=0, bound=20)", 1 - (math.sqrt(3 / 4) - math.sqrt(5 / 16))),
        ("warmup(10, shape=cosine)", 1 / 2),
        ("warmup(10, shape=exponential)", (1 - math.exp(-1)) / (1 - math.exp(-2))),
    ],
)
def test_the_middle_is_what_the_formula_gives(text, middle):
    schedule = lrkit.parse(text)
    assert schedule(4 if schedule.kind == "warmup" else 5) == pytest.approx(middle, rel=1e-14)


def test_tanh_is_htd_up_to_the_stretch():
    def htd(x):
        return (1 - math.tanh(-6 + 9 * x)) / 2

    positions = np.linspace(0, 1, 101)
    stretched = lrkit.tanh(100, to=htd(1), start=htd(0))
    np.testing.assert_allclose(stretched(range(101)), [htd(x) for x in positions], rtol=0, atol=1e-14)


def test_a_tanh_far_out_is_an_exponential_and_keeps_its_digits():
    ours = lrkit.tanh(10, to=0, lower=30, upper=40)(range(10))
    np.testing.assert_allclose(
        ours, [math.expm1(-2 * (10 - t)) / math.expm1(-20) * math.exp(-2 * t) for t in range(10)]
    )


def test_hyperbolic_is_the_papers():
    def twin(t, n, bound, first, infimum):
        def h(t):
            return math.sqrt((n - t) / bound * (2 - (n + t) / bound))

        return first + (first - infimum) * (h(t) - h(0))

    wanted = [twin(t, 100, 250, 0.3, 1e-3) for t in range(101)]
    ours = lrkit.hyperbolic(100, to=absolute(1e-3), bound=250)
    np.testing.assert_allclose(ours(range(101), 0.3), wanted, rtol=0, atol=1e-15)


def test_hyperbolic_begins_alike_whatever_its_length_and_reaches_its_end_at_the_bound():
    drops = [1 - lrkit.hyperbolic(n, to=0, bound=1000)(10) for n in (500, 700, 1000)]
    assert max(drops) / min(drops) < 1.2
    assert [1 - lrkit.linear(n, to=0)(10) for n in (500, 1000)] == pytest.approx([0.02, 0.01])
    ends = [lrkit.hyperbolic(n, to=0.1, bound=1000)(n) for n in (500, 700, 1000)]
    assert ends[0] > ends[1] > ends[2] == 0.1


# --- decays ----------------------------------------------------------------------------------------


def test_inverse_sqrt_behind_a_warmup_is_transformers_one_update_later():
    def twin(step, num_warmup_steps, timescale):
        if step < num_warmup_steps:
            return step / num_warmup_steps
        return 1 / math.sqrt((step + timescale - num_warmup_steps) / timescale)

    ours = lrkit.warmup(30) >> lrkit.inverse_sqrt(timescale=50)
    falling = range(30, 500)
    np.testing.assert_allclose(ours(falling), [twin(t, 30, 50) for t in falling], rtol=1e-15)
    np.testing.assert_allclose(ours(range(29)), [twin(t + 1, 30, 50) for t in range(29)], rtol=1e-15)


def test_inverse_sqrt_as_long_as_its_warmup_is_the_root_of_the_step():
    schedule = lrkit.warmup(4000) >> lrkit.inverse_sqrt(timescale=4000)
    assert schedule([4000, 16_000, 40_000]).tolist() == pytest.approx([1, 1 / 2, math.sqrt(1 / 10)], rel=1e-15)


def test_inverse_time_and_power_are_their_formulas():
    steps = range(200)
    ours = lrkit.inverse_time(timescale=30)(steps)
    np.testing.assert_allclose(ours, [1 / (1 + t / 30) for t in steps], rtol=1e-15)
    ours = lrkit.power(timescale=30, exponent=0.75)(steps)
    np.testing.assert_allclose(ours, [(1 + t / 30) ** -0.75 for t in steps], rtol=1e-15)


def test_power_with_a_scale_is_the_power_scheduler():
    peak, batch, tokens = 0.02, 128, 128 * 4096

    def twin(t, a=4.0, b=-0.51):
        return min(peak, batch * a * (tokens * (t + 1)) ** b)

    ours = lrkit.power(exponent=0.51, scale=batch * 4.0 * tokens**-0.51 / peak)
    steps = np.arange(0, 100_000, 97)
    np.testing.assert_allclose(ours(steps, peak), [twin(t) for t in steps.tolist()], rtol=1e-13)
    assert ours([0, 100_000], peak).tolist() == [peak, pytest.approx(twin(100_000))]


def test_a_decay_with_a_length_holds_what_it_reached():
    joined = lrkit.inverse_time(10, timescale=10) >> lrkit.linear(10, to=0)
    assert joined([9, 10, 15]).tolist() == pytest.approx([10 / 19, 1 / 2, 1 / 4])


def test_scales_of_time_are_lengths():
    plan = lrkit.parse("inverse_sqrt(timescale=10%) * power(exponent=1, timescale=2ep)")
    assert (
        str(plan.over(200, epoch_steps=7)) == "inverse_sqrt(200, timescale=20) * power(200, exponent=1, timescale=14)"
    )
    assert str(lrkit.parse("hyperbolic(to=0, bound=200%)").over(50)) == "hyperbolic(50, to=0, bound=100)"


# --- warmups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_untuned_warmups_are_the_papers(beta2):
    steps = range(3000)
    linear = [min(1.0, (1 - beta2) / 2 * (t + 1)) for t in steps]
    np.testing.assert_allclose(lrkit.untuned_warmup(beta2=beta2)(steps), linear, rtol=1e-15)
    exponential = [1 - math.exp(-(1 - beta2) * (t + 1)) for t in steps]
    ours = lrkit.untuned_warmup(beta2=beta2, shape="exponential")
    np.testing.assert_allclose(ours(steps), exponential, rtol=1e-12)


@pytest.mark.parametrize("beta2", [0.65, 0.9, 0.99, 0.999])
def test_radam_warmup_is_the_rectification_from_where_it_is_defined(beta2):
    limit = 2 / (1 - beta2) - 1

    def rho(k):
        return limit - 2 * k * beta2**k / (1 - beta2**k)

    def rectification(k):
        return math.sqrt((rho(k) - 4) * (rho(k) - 2) * limit / ((limit - 4) * (limit - 2) * rho(k)))

    first = next(k for k in range(1, 1000) if rho(k) > 4)
    assert first == 5 or beta2 < 0.8
    wanted = [rectification(t + first) for t in range(2000)]
    np.testing.assert_allclose(lrkit.radam_warmup(beta2=beta2)(range(2000)), wanted, rtol=1e-9)


def test_warmups_that_follow_from_beta2_multiply_what_goes_on_behind_them():
    schedule = lrkit.parse("cosine(to=0) * untuned_warmup(beta2=0.9)").over(100)
    assert schedule(9) == pytest.approx(lrkit.cosine(100, to=0)(9) / 2)
    assert schedule(50) == lrkit.cosine(100, to=0)(50)


# --- extremes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("extreme", [5e-324, 1e-9, 1e9, 1.7e308])
@pytest.mark.parametrize("length", [1, 2, 10**15])
def test_extreme_arguments_give_finite_values(extreme, length):
    steps = np.append(np.arange(100), 10.0 ** np.arange(3, 18))
    for schedule in (
        lrkit.cosine(length, exponent=extreme),
        lrkit.cosine(length, k=extreme),
        lrkit.polynomial(length, start=0, to=2, exponent=extreme),
        lrkit.power(length, timescale=1, exponent=extreme),
        lrkit.power(length, scale=extreme, exponent=0.5),
        lrkit.power(length, scale=0.5, exponent=extreme),
        lrkit.tanh(length, lower=-100, upper=min(100, -100 + extreme * 1e9)) if extreme > 1e-20 else lrkit.rex(length),
        lrkit.tanh(length, lower=0, upper=min(100, extreme)),
        lrkit.hyperbolic(length, bound=10**17),
        lrkit.hyperbolic(length, bound=length),
    ):
        values = schedule(steps, 0.3)
        assert np.isfinite(values).all()
        assert (values >= 0).all()


@pytest.mark.parametrize("beta2", [np.nextafter(0.6, 1), 0.61, 0.99999999, np.nextafter(1, 0)])
def test_extreme_betas_give_values_between_0_and_1(beta2):
    for schedule in (
        lrkit.radam_warmup(beta2=beta2),
        lrkit.untuned_warmup(beta2=beta2),
        lrkit.untuned_warmup(beta2=beta2, shape="exponential"),
    ):
        values = schedule(np.append(np.arange(100), 10**12))
        assert ((values >= 0) & (values <= 1)).all()


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_exponents_and_scales_are_finite_and_above_0(bad):
    for make in (
        lambda: lrkit.cosine(10, exponent=bad),
        lambda: lrkit.cosine(10, k=bad),
        lambda: lrkit.polynomial(10, exponent=bad),
        lambda: lrkit.power(timescale=10, exponent=bad),
        lambda: lrkit.power(scale=bad, exponent=1),
        lambda: lrkit.cooldown(10, shape="lowered_linear", factor=bad),
    ):
        with pytest.raises(InputError, match="must be finite and above 0"):
            make()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lrkit.power(exponent=1), "either timescale= or scale=, not neither"),
        (lambda: lrkit.power(exponent=1, timescale=3, scale=1), "either timescale= or scale=, not both"),
        (lambda: lrkit.inverse_sqrt(timescale=0.5), "timescale must be a whole number of steps"),
        (lambda: lrkit.inverse_time(timescale=0), "timescale must be positive, not 0"),
        (lambda: lrkit.tanh(10, lower=4), "lower must be below upper, 3, not 4"),
        (lambda: lrkit.tanh(10, upper=101), "upper must be finite and at least -100 and at most 100, not 101"),
        (lambda: lrkit.hyperbolic(10, bound=9), "bound must be at least the length, 10 steps, not 9"),
        (lambda: lrkit.hyperbolic(bound=9).over(10), "bound must be at least the length, 10 steps, not 9"),
        (lambda: lrkit.hyperbolic(10, bound=20.0), "bound must be a whole number of steps"),
        (lambda: lrkit.warmup(3, shape="round"), "shape must be 'linear', 'cosine' or 'exponential', not 'round'"),
        (lambda: lrkit.cooldown(3, shape=None), "shape must be 'linear', .* or 'lowered_linear', not None"),
        (lambda: lrkit.cooldown(3, shape="lowered_linear", factor=1.1), "factor must be .* at most 1, not 1.1"),
        (lambda: lrkit.cooldown(3, factor=0.5), "factor is for shape='lowered_linear', not for shape='one_minus_sqrt'"),
        (lambda: lrkit.untuned_warmup(shape="cosine"), "shape must be 'linear' or 'exponential', not 'cosine'"),
        (lambda: lrkit.untuned_warmup(beta2=1), "beta2 must be finite and at least 0 and below 1, not 1.0"),
        (lambda: lrkit.radam_warmup(beta2=0.6), "beta2 must be finite and above 0.6 and below 1, not 0.6"),
        (lambda: lrkit.radam_warmup(beta2="0.9"), "beta2 must be a number"),
        (lambda: lrkit.cosine()(0), "its length, which was left out: call over"),
    ],
)
def test_bad_arguments_get_one_sentence(make, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)

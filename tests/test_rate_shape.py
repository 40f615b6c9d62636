"""What rates look like, with jitter, at the limits, and what follows from it."""

import numpy as np
import pytest

import lrkit
from lrkit import LossCurve
from lrkit.analysis.laws.rate_shape import jumps_of, warmup_length, warmup_of
from lrkit.analysis.laws.thinning import huber_scale, thin
from lrkit.analysis.validity import beyond

PEAK = 3e-4


def rates(text, steps, peak=PEAK):
    return lrkit.parse(text).over(steps).value(np.arange(steps), peak)


def jittered(eta, size=1e-3, seed=0):
    return eta * (1 + size * np.random.default_rng(seed).normal(size=len(eta)))


def curve_of(eta):
    steps = np.arange(len(eta) // 20, len(eta) + 1, max(1, len(eta) // 100))
    return LossCurve(steps, 3 + 2 * np.cumsum(eta / PEAK)[steps - 1] ** -0.5, eta)


@pytest.mark.parametrize("text", ["constant()", "cosine(to=0.1)", "constant() >> linear(20%, to=0)"])
@pytest.mark.parametrize("size", [0, 1e-8, 1e-4, 1e-3])
def test_a_warmup_ends_where_it_ends_also_where_rates_jitter(text, size):
    eta = jittered(rates(f"warmup(2000) >> {text}", 20_000), size)
    assert warmup_of(eta) == pytest.approx(1999, abs=1 if size < 1e-5 else 2000 * 15 * size)


def test_a_warmup_has_as_many_updates_as_its_schedule_says():
    for length in (1, 2, 30, 500):
        assert warmup_length(rates(f"warmup({length}) >> cosine()", 1000)) == (length if length > 1 else 0)
    from_zero = np.concatenate([PEAK * np.arange(40) / 40, np.full(60, PEAK)])
    assert warmup_length(from_zero) == 40


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("warmup(300) >> constant()", False),
        ("warmup(310) >> constant()", True),
        ("warmup(33) >> constant()", False),
        ("warmup(30) >> constant()", True),
        ("constant()", True),
    ],
)
def test_three_times_a_warmup_is_near_and_no_more(text, marked):
    fitted = [curve_of(rates("warmup(100) >> constant()", 1000))]
    assert bool(beyond(rates(text, 1000), fitted)) == marked


@pytest.mark.parametrize("steps", [50, 1000])
def test_a_run_whose_first_rate_alone_is_0_has_no_warmup(steps):
    eta = rates("constant()", steps)
    eta[0] = 0.0
    for asked in (eta, rates("constant()", steps)):
        assert beyond(asked, [curve_of(eta)]) == beyond(asked, [curve_of(rates("constant()", steps))]) == ()
    assert beyond(rates("warmup(20%) >> constant()", steps), [curve_of(eta)])[0].startswith("It has a warmup")


def test_jitter_is_no_rise():
    restarts = rates("cosine_restarts(period=50%, to=0.3)", 8000)
    for fitted in (rates("constant()", 8000), jittered(rates("constant()", 8000))):
        assert beyond(restarts, [curve_of(fitted)])[-1].startswith("Its rate rises again")
    assert beyond(jittered(rates("constant()", 8000)), [curve_of(rates("constant()", 8000))]) == ()


def test_a_jump_may_take_two_updates_but_a_slope_and_noise_are_none():
    level = np.ones(100)
    level[50:], level[50] = 0.1, 0.6
    assert jumps_of(level).tolist() == [50, 51]
    for none in (np.linspace(1, 0, 30), rates("warmup(20) >> cosine()", 300), np.tile([1.0, 0.8], 50), np.ones(1)):
        assert jumps_of(none).tolist() == []
    noisy = jittered(rates("constant(1, steps=11750) >> constant(0.3)", 24_000), 8e-3)
    assert jumps_of(noisy).tolist() == [11_750]


def test_blocks_of_a_record_dont_reach_across_a_drop_whatever_the_noise():
    """Each change of more than 2 % is taken for a jump here, and is one of hundreds."""
    eta = jittered(rates("constant(1, steps=11750) >> constant(0.3)", 24_000), 0.1)
    losses = np.where(np.arange(24_000) <= 11_750, 4.0, 2.0)
    record = lrkit.History((), eta[:, None], losses, {"lr": PEAK})
    assert set(lrkit.loss_curve(record, skip=0, warmup=0).losses) == {4.0, 2.0}


def test_means_of_noisy_losses_dont_reach_across_a_drop():
    """A loss at the step of the drop is from before it."""
    eta = rates("constant(1, steps=11750) >> constant(0.3)", 24_000)
    steps = np.arange(1, 24_001)
    losses = np.where(steps <= 11_750, 4.0, 2.0) * (1 + 0.02 * np.random.default_rng(0).normal(size=24_000))
    _, means = thin(LossCurve(steps, losses, eta), 1)
    assert np.abs(np.where(means > 3, means / 4, means / 2) - 1).max() < 0.01


def test_losses_with_few_digits_are_as_noisy_as_their_rounding(tmp_path):
    steps = np.arange(10, 5001, 10)
    losses = 3.2 + 0.3 * (steps / 5000) ** -0.1
    written = (losses + 0.002 * np.random.default_rng(0).normal(size=500)).round(2)
    at, means = thin(LossCurve(steps, written, np.full(5000, PEAK)), 1)
    assert huber_scale([written]) == pytest.approx(1.5 * 0.01 / 12**0.5 / 3.5, rel=0.05)
    assert np.abs(means / np.interp(at, steps, losses) - 1)[3:].mean() < 5e-4  # a digit is 3e-3
    file = tmp_path / "run.csv"
    rows = [f"{step},{PEAK},{loss:.2f}" for step, loss in zip(steps, written, strict=True)]
    file.write_text("\n".join(["step,lr,loss", *rows]))
    recorded = lrkit.loss_curve(lrkit.read_history(file), skip=0)  # in single precision
    assert huber_scale([recorded.losses]) == pytest.approx(huber_scale([written]), rel=1e-3)


def test_a_short_warmup_is_that_of_a_prefix_too():
    eta = rates("warmup(240) >> cosine(to=0.1)", 24_000)
    assert (
        beyond(eta[:23_000], [curve_of(eta)])
        == beyond(rates("warmup(240) >> constant()", 12_000), [curve_of(eta)])
        == ()
    )

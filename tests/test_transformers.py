"""transformers' names as plans: the rates of the real package, for arguments of every kind."""

import numpy as np
import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SchedulerType, get_scheduler

import lrkit
from lrkit import InputError, InputTypeError, from_transformers

BASE = 0.1


def live(name, arguments):
    """The real scheduler and its optimizer."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=BASE)
    common = {key: arguments[key] for key in ("num_warmup_steps", "num_training_steps") if key in arguments}
    specific = {key: value for key, value in arguments.items() if key not in {*common, "lr"}}
    return optimizer, get_scheduler(name, optimizer, **common, scheduler_specific_kwargs=specific)


def their_rates(name, arguments, steps):
    _, scheduler = live(name, arguments)
    return np.array([BASE * scheduler.lr_lambdas[0](t) for t in range(steps)])


cycles = st.sampled_from([0, 0.25, 0.3, 0.5, 0.75, 1, 1.5, 2, 2.5, 3])
whole_cycles = st.sampled_from([0, 0.5, 1])
shares = st.sampled_from([0.0, 0.01, 0.3, 1.0])
warmups = st.integers(0, 12)
shapes = st.sampled_from(["linear", "cosine", "1-sqrt"])
COMMON = {"num_warmup_steps": warmups, "num_training_steps": st.integers(1, 40)}
SPECIFIC = {
    "linear": [{}],
    "cosine": [{}, {"num_cycles": cycles}],
    "cosine_with_restarts": [{}, {"num_cycles": st.integers(1, 5)}],
    "polynomial": [{}, {"lr_end": st.sampled_from([0.0, 1e-3]), "power": st.sampled_from([0.5, 1.0, 2.0, 3])}],
    "constant": [{}],
    "constant_with_warmup": [{}],
    "inverse_sqrt": [{}, {"timescale": st.integers(1, 50)}],
    "cosine_with_min_lr": [{"min_lr_rate": shares, "num_cycles": cycles}, {"min_lr": st.sampled_from([0.0, 0.03])}],
    "cosine_warmup_with_min_lr": [
        {"min_lr_rate": shares, "num_cycles": cycles},
        {"min_lr_rate": shares, "warmup_lr_rate": shares},
        {"min_lr": st.sampled_from([0.0, 0.03]), "warmup_lr_rate": shares},
    ],
    "warmup_stable_decay": [
        {
            "num_decay_steps": warmups,
            "num_training_steps": st.integers(24, 40),
            "warmup_type": shapes,
            "decay_type": shapes,
            "min_lr_ratio": shares,
            "num_cycles": cycles,
        },
        {"num_decay_steps": warmups, "num_stable_steps": warmups},
    ],
}
CASES = [(name, specific) for name, sets in SPECIFIC.items() for specific in sets]


@pytest.mark.parametrize(("name", "specific"), CASES)
@settings(max_examples=40)
@given(data=st.data())
def test_the_rates_are_transformers(name, specific, data):
    strategies = {**COMMON, **specific}
    if "num_stable_steps" in specific:
        del strategies["num_training_steps"]
    arguments = data.draw(st.fixed_dictionaries(strategies))
    plan = from_transformers(name, **arguments)
    steps = arguments.get("num_training_steps", 60)
    np.testing.assert_allclose(plan(np.arange(steps), BASE), their_rates(name, arguments, steps), rtol=0, atol=1e-12)


CONTROLLERS = {name: parity.TRANSFORMERS[name] for name in ("reduce_lr_on_plateau", "greedy")}


@pytest.mark.parametrize(("name", "arguments"), [(name, each) for name, sets in CONTROLLERS.items() for each in sets])
def test_controllers_move_as_transformers_do(name, arguments):
    optimizer, scheduler = live(name, arguments)
    plan = from_transformers(name, **arguments)
    state, seen = plan.init(), set()
    for t in range(400):
        metric = np.sin(t / 9) + (t % 7) / 5
        scheduler.step(metric)
        state = plan.update(state, metric, t + 1)
        assert plan.value(state, t + 1, BASE) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        seen.add(optimizer.param_groups[0]["lr"])
    assert len(seen) > 3


def test_every_name_of_transformers_is_among_them():
    names = {each.value for each in SchedulerType}
    assert set(SPECIFIC) | set(CONTROLLERS) == set(parity.TRANSFORMERS) == names


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        (
            "cosine",
            {"num_warmup_steps": 10, "num_training_steps": 110},
            "linear(10, to=1, start=0) >> cosine(100, to=0)",
        ),
        (
            "cosine",
            {"num_warmup_steps": 0, "num_training_steps": 100, "num_cycles": 2},
            "repeat(cosine(25, to=0) >> cosine(25, to=1), steps=100)",
        ),
        (
            "cosine_with_restarts",
            {"num_warmup_steps": 10, "num_training_steps": 110, "num_cycles": 4},
            "linear(10, to=1, start=0) >> cosine_restarts(25, limit=4)",
        ),
        (
            "cosine_warmup_with_min_lr",
            {"num_warmup_steps": 11, "num_training_steps": 110, "min_lr": 1e-3, "warmup_lr_rate": 0.1},
            "linear(10, to=1, start=0.1) >> cosine(99, to=absolute(0.001))",
        ),
        (
            "warmup_stable_decay",
            {"num_warmup_steps": 10, "num_training_steps": 110, "num_decay_steps": 20, "decay_type": "1-sqrt"},
            "linear(10, to=1, start=0) >> constant(steps=80) >> cooldown(20, to=0) >> constant(0)",
        ),
        ("inverse_sqrt", {"num_warmup_steps": 0}, "inverse_sqrt(timescale=10000)"),
        ("reduce_lr_on_plateau", {"min_lr": 1e-5}, "plateau(floor=absolute(1e-05))"),
        (SchedulerType.CONSTANT, {"num_warmup_steps": 10, "num_training_steps": 110}, "constant()"),
    ],
)
def test_a_name_becomes_its_formula(name, arguments, text):
    plan = from_transformers(name, **arguments)
    assert str(plan) == text
    assert lrkit.parse(text) == plan


def test_a_floor_is_absolute_in_every_group():
    plan = from_transformers("cosine_with_min_lr", num_warmup_steps=0, num_training_steps=10, min_lr=0.01)
    assert plan(10, [0.1, 5.0]).tolist() == [0.01, 0.01]


def test_past_the_training_it_holds_where_transformers_turns_up_again():
    arguments = {"num_warmup_steps": 0, "num_training_steps": 10}
    assert from_transformers("cosine", **arguments)(20, BASE) == 0.0
    assert their_rates("cosine", arguments, 21)[20] == pytest.approx(BASE)


def test_defect_transformers_puts_some_restarts_at_the_bottom():
    arguments = {"num_warmup_steps": 0, "num_training_steps": 44, "num_cycles": 22}
    ours, theirs = (
        from_transformers("cosine_with_restarts", **arguments)(range(44), BASE),
        their_rates("cosine_with_restarts", arguments, 44),
    )
    assert np.flatnonzero(abs(ours - theirs) > 1e-12).tolist() == [30]
    assert ours[30] == ours[28] == BASE
    assert theirs[30] == pytest.approx(0.0, abs=1e-12)
    assert theirs[28] == BASE


N = {"num_warmup_steps": 10, "num_training_steps": 100}


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("cosin", N, "unknown scheduler of transformers 'cosin', did you mean 'cosine'\\? Known: constant, "),
        ("cosine", {"num_warmup_steps": 10}, "cosine needs num_training_steps"),
        (
            "cosine",
            {**N, "power": 2.0},
            "cosine doesn't take power; it takes num_warmup_steps, num_training_st",
        ),
        ("constant", {"power": 2.0}, "constant doesn't take power; it takes nothing"),
        ("linear", {**N, "num_warmup_steps": 0.1}, "num_warmup_steps must be a whole number, not 0.1 .float."),
        ("linear", {**N, "num_warmup_steps": -1}, "num_warmup_steps must be at least 0, not -1"),
        ("linear", {**N, "num_training_steps": 0}, "num_training_steps must be at least 1, not 0"),
        ("polynomial", {**N, "power": 0.0}, "power must be finite and above 0, not 0"),
        ("cosine", {**N, "num_cycles": "2"}, "num_cycles must be a number, not '2'"),
        ("cosine_with_min_lr", N, "give either min_lr or min_lr_rate, not neither"),
        ("cosine_with_min_lr", {**N, "min_lr": 0.1, "min_lr_rate": 0.1}, "give either min_lr or min_lr_rate, not both"),
        (
            "cosine_with_min_lr",
            {**N, "min_lr": 0.1, "num_cycles": 0.7},
            "num_cycles=0.7 in 90 steps turns between two steps, .* and min_lr is absolute: give min_lr_rate instead",
        ),
        (
            "warmup_stable_decay",
            {"num_warmup_steps": 1, "num_decay_steps": 1},
            "needs num_training_steps or num_s",
        ),
        (
            "warmup_stable_decay",
            {**N, "num_decay_steps": 95},
            r"10 \+ 95 steps of warmup and decay doesn't fit into num_training_steps=100",
        ),
        (
            "warmup_stable_decay",
            {**N, "num_decay_steps": 5, "warmup_type": "sqrt"},
            "warmup_type must be 'linear', ",
        ),
    ],
)
def test_what_cannot_be_imported_says_why(name, arguments, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as raised:
        from_transformers(name, **arguments)
    assert "\n" not in str(raised.value)

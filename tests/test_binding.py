"""A plan bound to an optimizer: the clock, groups, state, and what passes for torch's schedulers."""

import copy
import itertools
import json
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

import lrkit
from lrkit import InputError, InputTypeError, ScheduleWarning
from plans import controllers, schedules


def weight():
    return torch.nn.Parameter(torch.ones(1))


def sgd(*lrs, **options):
    return torch.optim.SGD([{"params": [weight()], "lr": lr} for lr in lrs or (0.1,)], lr=1.0, **options)


def update(optimizer):
    """One update; returns the rates that it used."""
    used = [float(group["lr"]) for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["params"][0].grad = torch.zeros(1)
    optimizer.step()
    return used


# --- law 1: s(t) is what the bound optimizer holds when update t runs ---------------------------------


@given(schedules, st.lists(st.floats(1e-3, 2), min_size=1, max_size=3))
def test_update_t_uses_the_value_at_t(schedule, bases):
    optimizer = sgd(*bases)
    schedule.bind(optimizer)
    for t in range(40):
        assert update(optimizer) == [schedule(t, base) for base in bases]


@given(controllers, st.lists(st.floats(-1, 1), min_size=30, max_size=30))
@settings(max_examples=50)
def test_update_t_uses_what_the_controller_says_for_the_metrics_so_far(controller, metrics):
    optimizer = sgd(0.1, 3.0)
    scheduler = controller.bind(optimizer)
    state = controller.init()
    for t, metric in enumerate(metrics):
        assert update(optimizer) == controller.value(state, t, [0.1, 3.0]).tolist()
        scheduler.step(metric)
        state = json.loads(json.dumps(controller.update(state, metric, t + 1)))


def test_a_report_that_decides_nothing_costs_no_evaluation():
    asked = []

    def one(t):
        asked.append(t)
        return 0 * t + 1

    factors = lrkit.from_callable(one, steps=20) * lrkit.plateau(20, patience=2, factor=0.5)
    scheduler = lrkit.clip(factors >> lrkit.greedy(), high=1.0).bind(sgd())
    update(scheduler.optimizer)
    evaluations = []
    for metric in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9):  # the third bad one is one too many
        asked.clear()
        scheduler.step(metric)
        evaluations.append(len(asked) > 0)
    assert evaluations == [False, False, False, False, True, False]
    assert update(scheduler.optimizer) == [0.05]


def test_blocks_of_values_join_without_a_seam():
    schedule = lrkit.linear(3000, to=0)
    optimizer = sgd()
    schedule.bind(optimizer)
    assert list(itertools.chain(*(update(optimizer) for _ in range(3000)))) == schedule(range(3000), 0.1).tolist()


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_calls_of_step_cannot_shift_the_clock(calls):
    schedule = lrkit.warmup(5) >> lrkit.linear(10)
    optimizer = sgd()
    scheduler = schedule.bind(optimizer)
    for t in range(15):
        assert update(optimizer) == [schedule(t, 0.1)]
        for _ in range(calls):
            scheduler.step()


@pytest.mark.parametrize("fused", [False, True])
def test_an_update_that_a_gradient_scaler_skips_does_not_count(fused):
    optimizer = torch.optim.SGD([weight()], lr=0.1, fused=fused)
    scheduler = lrkit.linear(10).bind(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    parameter = optimizer.param_groups[0]["params"][0]
    for gradient, steps in ((float("inf"), 0), (1.0, 1), (float("nan"), 1), (1.0, 2)):
        optimizer.zero_grad()
        scaler.scale((parameter * gradient).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scheduler.steps == steps


# --- bases, groups, hyper-parameters -------------------------------------------------------------------


def test_lr_sets_the_base_of_every_group():
    optimizer = sgd(0.1, 0.2)
    scheduler = lrkit.constant(0.5).bind(optimizer, lr=3)
    assert scheduler.get_last_lr() == [1.5, 1.5]
    assert scheduler.base_lrs == [3.0, 3.0]


def test_binding_anew_starts_from_the_base_where_the_last_value_still_stands():
    optimizer = sgd(0.1, 0.2)
    lrkit.linear(10, to=0).bind(optimizer)
    for _ in range(5):
        update(optimizer)
    optimizer.param_groups[1]["lr"] = 7.0  # somebody else's word counts
    scheduler = lrkit.constant(0.5).bind(optimizer)
    assert scheduler.base_lrs == [0.1, 7.0]
    assert update(optimizer) == [0.05, 3.5]
    assert update(optimizer) == [0.05, 3.5]
    assert scheduler.steps == 2


def test_binding_anew_knows_its_own_value_in_a_float32_tensor():
    optimizer = torch.optim.Adam([weight()], lr=torch.tensor(0.1), foreach=False)
    lrkit.linear(7, to=0).bind(optimizer)
    update(optimizer)
    assert lrkit.constant().bind(optimizer).base_lrs == [pytest.approx(0.1)]


def test_a_released_optimizer_keeps_its_rate():
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    scheduler.release()
    assert update(optimizer) == update(optimizer) == [pytest.approx(0.09)]


def test_groups_have_schedules_of_their_own_by_index_or_name():
    optimizer = torch.optim.SGD(
        [{"params": [weight()]}, {"params": [weight()]}, {"params": [weight()], "name": "head"}], lr=1.0
    )
    lrkit.constant(0.5).bind(optimizer, groups={1: lrkit.linear(4), "head": lrkit.constant(0.1)})
    assert [update(optimizer) for _ in range(2)] == [[0.5, 1.0, 0.1], [0.5, 0.75, 0.1]]


def test_a_group_that_is_added_later_is_scheduled():
    optimizer = sgd(0.1)
    lrkit.linear(10).bind(optimizer)
    update(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 1.0})
    seen = []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append([g["lr"] for g in o.param_groups]))
    update(optimizer)
    update(optimizer)
    assert seen == [[pytest.approx(0.09), pytest.approx(0.9)], [pytest.approx(0.08), pytest.approx(0.8)]]


ADDED = {
    "a checkpoint": lambda o, s: o.state_dict(),
    "state": lambda o, s: s.state_dict(),
    "bases": lambda o, s: s.base_lrs,
    "rates": lambda o, s: s.get_last_lr(),
    "step": lambda o, s: s.step(),
    "sync": lambda o, s: s.sync(),
    "a metric": lambda o, s: s.step(1.0),
}


@pytest.mark.parametrize("what", ADDED)
def test_whatever_comes_first_after_a_group_was_added_meets_it(what):
    optimizer = sgd(0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 1.0})
    ADDED[what](optimizer, scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.09), 0.9]
    assert scheduler.base_lrs == [0.1, 1.0]


@pytest.mark.parametrize("saved", ["both", "scheduler", "optimizer", "optimizer before binding", "copy", "pickle"])
def test_a_checkpoint_between_a_new_group_and_its_first_update_is_gone_on_from(saved):
    def begin(*lrs):
        optimizer = sgd(*lrs)
        return optimizer, lrkit.linear(10, to=0).bind(optimizer)

    optimizer, scheduler = begin(0.1)
    update(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 1.0})
    if saved in ("copy", "pickle"):
        pair = optimizer, scheduler
        other, again = copy.deepcopy(pair) if saved == "copy" else pickle.loads(pickle.dumps(pair))
    elif saved == "optimizer before binding":
        other = sgd(9.0, 9.0)
        other.load_state_dict(optimizer.state_dict())
        again = lrkit.linear(10, to=0).bind(other)
    else:
        other, again = begin(9.0, 9.0)
        loads = [lambda: other.load_state_dict(optimizer.state_dict())] if saved != "scheduler" else []
        loads += [lambda: again.load_state_dict(scheduler.state_dict())] if saved != "optimizer" else []
        with pytest.warns(ScheduleWarning, match="was made with lr 9 and its state with lr 0.1"):
            loads[0]()
        for load in loads[1:]:  # it is said once
            load()
    assert again.base_lrs == scheduler.base_lrs == [0.1, 1.0]
    for _ in range(9):
        assert update(other) == update(optimizer)


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: torch.optim.Adam(p, lr=0.1)]
)
def test_momentum_has_a_schedule_of_its_own(make):
    optimizer = make([weight()])
    lrkit.linear(10).bind(optimizer, momentum=lrkit.linear(10, to=0.5))
    update(optimizer)
    group = optimizer.param_groups[0]
    assert group.get("momentum", group.get("betas", [0])[0]) == pytest.approx(0.9 * 0.95)


def test_a_tensor_rate_is_written_in_place():
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([weight()], lr=rate, capturable=False, foreach=False)
    held = optimizer.param_groups[0]["lr"]
    lrkit.linear(10).bind(optimizer)
    update(optimizer)
    assert optimizer.param_groups[0]["lr"] is held
    assert float(held) == pytest.approx(0.09)


# --- state -----------------------------------------------------------------------------------------------

PLANS = ["warmup(5%) >> linear(to=0)", "warmup(10) >> plateau(patience=1, factor=0.5)"]


def start(text, optimizer=None, steps=100):
    optimizer = optimizer or sgd(0.1, 0.4, momentum=0.9)
    return optimizer, lrkit.parse(text).bind(optimizer, steps=steps)


def train(optimizer, scheduler, count):
    used = []
    for _ in range(count):
        used.append(update(optimizer))
        if scheduler.steps % 5 == 0:
            scheduler.step(1.0)
    return used


@pytest.mark.parametrize("text", PLANS)
@pytest.mark.parametrize("at", [0, 1, 3, 37, 60, 99])
@pytest.mark.parametrize("saved", ["both", "scheduler", "optimizer", "optimizer before binding", "scheduler first"])
def test_resumed_at_any_step_is_never_interrupted(text, at, saved, tmp_path):
    whole = train(*start(text), 100)
    optimizer, scheduler = start(text)
    train(optimizer, scheduler, at)
    torch.save((optimizer.state_dict(), scheduler.state_dict()), tmp_path / "checkpoint")
    train(optimizer, scheduler, 7)  # what is saved must not move on
    for_optimizer, for_scheduler = torch.load(tmp_path / "checkpoint", weights_only=True)
    if saved == "optimizer before binding":
        optimizer = sgd(9.0, 9.0, momentum=0.9)
        optimizer.load_state_dict(for_optimizer)
        held = [group["lr"] for group in optimizer.param_groups]
        optimizer, scheduler = start(text, optimizer)
        assert [group["lr"] for group in optimizer.param_groups] == held
    else:
        optimizer, scheduler = start(text)
        if saved == "scheduler first":
            scheduler.load_state_dict(for_scheduler)
        if saved in ("both", "optimizer", "scheduler first"):
            optimizer.load_state_dict(for_optimizer)
        if saved in ("both", "scheduler"):
            scheduler.load_state_dict(for_scheduler)
    assert train(optimizer, scheduler, 100 - at) == whole[at:]


def test_state_is_plain_data_with_a_version():
    _, scheduler = start(PLANS[0])
    state = scheduler.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert state["format"] == 3
    assert state["schedules"] == {"lr": PLANS[0]}
    assert state["horizon"] == {"steps": 100}


@pytest.mark.parametrize(
    ("policy", "rate"),
    [
        ("keep", 0.1 * 50 / 95),
        ("stretch", 0.1 * (190 - 40) / 190),
        ("replace", 0.05),
    ],
)
def test_another_schedule_or_horizon_needs_a_policy(policy, rate):
    optimizer, scheduler = start("warmup(5%) >> linear(to=0)")
    train(optimizer, scheduler, 50)
    state = scheduler.state_dict()
    other = lrkit.constant(0.5).bind(sgd(0.1, 0.4), steps=200)
    with pytest.raises(
        InputError, match=r"'warmup\(5%\) >> linear\(to=0\)' over 100 steps, and 'constant\(0.5\)' over 200"
    ):
        other.load_state_dict(state)
    other.load_state_dict(state, policy=policy)
    assert other.get_last_lr()[0] == pytest.approx(rate)
    assert other.steps == 50


LONG = lrkit.milestones(at=list(range(1, 4000)), factor=0.99)  # longer than a text may be


@pytest.mark.parametrize(
    "plan",
    [
        lrkit.table([1, 0.5, 0.2]),
        lrkit.warmup(2) >> lrkit.table([1, 0.5]),
        LONG,
        lrkit.Plans({"lr": lrkit.linear(9), "momentum": lrkit.table([1, 0.5])}, groups={0: lrkit.table([1, 0.3])}),
    ],
)
@pytest.mark.parametrize("policy", ["keep", "stretch"])
def test_the_state_has_plans_whole_that_text_cannot_hold(plan, policy):
    optimizer = sgd(momentum=0.9)
    state = json.loads(json.dumps(plan.bind(optimizer, steps=10).state_dict()))
    other = lrkit.constant(0.5).bind(sgd(momentum=0.9), steps=20)
    other.load_state_dict(state, policy=policy)
    assert other.plan == plan
    assert json.loads(json.dumps(other.state_dict()))["json"] == state["json"]


def test_what_text_can_hold_is_saved_once():
    assert lrkit.linear(3).bind(sgd()).state_dict()["json"] == {}


def test_no_state_holds_a_function():
    plan = lrkit.from_callable(lambda t: 1 / (t + 1))
    state = plan.bind(sgd()).state_dict()
    with pytest.raises(InputError, match=r"no state holds a Python function.*bind it again, or else only 'replace'"):
        lrkit.constant(0.5).bind(sgd(), steps=20).load_state_dict(state, policy="keep")
    plan.bind(sgd(), steps=20).load_state_dict(state, policy="keep")


def test_an_optimizer_from_another_schedule_needs_a_policy_too():
    optimizer, scheduler = start(PLANS[0])
    train(optimizer, scheduler, 50)
    fresh = sgd(0.1, 0.4)
    fresh.load_state_dict(optimizer.state_dict())
    with pytest.raises(InputError, match="name the policy"):
        lrkit.constant(0.5).bind(fresh)
    assert lrkit.constant(0.5).bind(fresh, policy="replace").get_last_lr() == [0.05, 0.2]


def adam(lr, beta, steps):
    """An optimizer with a state of its own after some updates, and its scheduler."""
    optimizer = torch.optim.Adam([weight()], lr=lr, betas=(beta, 0.99), weight_decay=lr / 10)
    scheduler = lrkit.linear(100, to=0).bind(optimizer)
    for _ in range(steps):
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        optimizer.step()
    return optimizer, scheduler


def without_a_rate():
    state = adam(0.5, 0.8, 7)[0].state_dict()
    for name in ("lrkit", "lr"):
        del state["param_groups"][0][name]
    return state


def spoilt(state, **changes):
    """An optimizer's state with another mark in its first group."""
    group = state["param_groups"][0]
    mark = json.loads(group["lrkit"])
    group["lrkit"] = json.dumps(mark | {"state": mark["state"] | changes, "steps": changes.get("steps", mark["steps"])})
    return state


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (lambda: spoilt(adam(0.5, 0.8, 7)[0].state_dict(), schedules={"lr": "constant(0.5)"}), "name the policy"),
        (lambda: spoilt(adam(0.5, 0.8, 7)[0].state_dict(), format=9), "has format 9"),
        (lambda: spoilt(adam(0.5, 0.8, 7)[0].state_dict(), bases={"lr": [1.0, 2.0]}), "2 param groups"),
        (without_a_rate, "no lr to schedule"),
    ],
)
def test_a_state_that_is_refused_on_the_way_into_the_optimizer_changes_nothing(state, sentence):
    optimizer, scheduler = adam(0.1, 0.9, 3)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(InputError, match=sentence):
        optimizer.load_state_dict(state())
    assert optimizer.state_dict() == before
    assert scheduler.plan == lrkit.linear(100, to=0)
    assert scheduler.steps == 3


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (torch.optim.lr_scheduler.StepLR(sgd(), 3).state_dict(), "not the state of a schedule that lrkit bound"),
        (None, "not the state"),
        ({**lrkit.constant().bind(sgd()).state_dict(), "format": 4}, "format 4, this lrkit reads format 3"),
        (lrkit.constant().bind(sgd(1, 2)).state_dict(), "2 param groups, this one has 1"),
    ],
)
def test_a_foreign_state_is_refused(state, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.constant().bind(sgd()).load_state_dict(state)


PLATEAU = "plateau(factor=0.5, patience=1)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        *((({"format": value}), "this state has format") for value in (0, 1, 2, 4, -3)),
        ({"format": True}, "not the state"),
        *(({"steps": value}, "the steps of this state must be a whole") for value in (-5, "x", True, 2.0, None)),
        *(
            ({"schedules": value}, "the schedules of this state must be texts")
            for value in ([1], 5, {"lr": 5}, {1: "x"})
        ),
        *(({"json": value}, "the json of this state must be texts") for value in (5, {"lr": 5})),
        *(({"bases": value}, "the bases of this state must be") for value in (5, {"lr": 5}, {"lr": ["x"]}, {0: [1.0]})),
        *(
            ({"horizon": value}, "the horizon of this state must be")
            for value in (5, {"foo": 3}, {"steps": 0}, {"steps": 1.5}, {"steps": 3, "foo": 3}, {"epoch_steps": 3})
        ),
        *(({"controllers": value}, "the controllers of this state must be") for value in (5, {"lr": None})),
        *(
            ({"controllers": value}, r"state must be like what init\(\) of plateau gives")
            for value in (
                {},
                {"lr": {}},
                {"lr": {"best": None}},
                {"lr": {"best": "x", "bad_epochs": 0, "cooldown": 0, "reductions": 0}},
                {"lr": {"best": 0.5, "bad_epochs": 0, "cooldown": 0, "reductions": -1}},
            )
        ),
        *(
            ({"done": value}, "the done of this state must be")
            for value in (None, {}, {"epochs": 1.0}, {"tokens": "x"})
        ),
        ({"anew": 1}, "the anew of this state must be True or False"),
        ({"yielded": [["lr", 5]]}, "the yielded of this state must be of its 1 param groups"),
        *(({"offsets": value}, "the offsets of this state must be") for value in (None, [1.0], {"lr": "x"})),
        *(
            ({name: value}, f"the {name} of this state must be")
            for name in ("lr", "default")
            for value in ("x", math.inf)
        ),
    ],
)
def test_a_malformed_state_is_refused_in_one_sentence_and_changes_nothing(changes, sentence):
    optimizer = sgd()
    scheduler = lrkit.parse(PLATEAU).bind(optimizer)
    update(optimizer)
    scheduler.step(1.0)
    before, held = scheduler.state_dict(), copy.deepcopy(optimizer.state_dict())
    state = scheduler.state_dict() | {"steps": 7} | changes
    marked = spoilt(copy.deepcopy(held), **json.loads(json.dumps(state)))
    marked["param_groups"][0]["lr"] = 5.0
    roads = [(scheduler.load_state_dict, state), (optimizer.load_state_dict, marked)]
    for load, bad in roads if json.loads(json.dumps(state)) == state else roads[:1]:  # else JSON makes it sound
        with pytest.raises(InputError, match=sentence) as caught:
            load(bad)
        assert "\n" not in str(caught.value)
        assert scheduler.state_dict() == before
        assert optimizer.state_dict() == held


# --- passing for torch's ---------------------------------------------------------------------------------


def test_bound_plans_pass_for_torchs_schedulers():
    bound = lrkit.linear(10).bind(sgd())
    assert isinstance(bound, LRScheduler)
    assert not isinstance(bound, ReduceLROnPlateau)
    assert isinstance(lrkit.plateau().bind(sgd()), ReduceLROnPlateau)
    assert (bound.last_epoch, bound.base_lrs, bound.get_last_lr()) == (0, [0.1], [0.1])


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        (lambda: lrkit.linear(3).bind("adam"), "optimizer must be a torch optimizer, not str"),
        (lambda: lrkit.linear().bind(sgd()), r"call over\(steps\)"),
        (lambda: lrkit.linear().bind(sgd(), epoch_steps=3), "without steps, the horizon"),
        (lambda: lrkit.linear(3).bind(sgd(), lr=-1), "lr must be finite and at least 0"),
        (lambda: lrkit.linear(3).bind(sgd(), groups={3: lrkit.constant()}), "no group 3; there are 0 to 0"),
        (lambda: lrkit.linear(3).bind(sgd(), groups={"head": lrkit.constant()}), "no group 'head'"),
        (
            lambda: lrkit.linear(3).bind(torch.optim.Adagrad([weight()]), momentum=lrkit.constant()),
            "has no momentum to schedule",
        ),
        (lambda: lrkit.plateau().bind(sgd()).step("x"), "metric must be a number"),
        (lambda: (lrkit.warmup(3) >> lrkit.plateau()).update({"parts": [None, None]}, 1.0), "update needs t"),
    ],
)
def test_bad_bindings_get_one_sentence(bind, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        bind()


# --- another horizon over which the rates are the same ------------------------------------------------

AROUND = ["{}", "warmup(10%) >> {}", "{} * warmup(1ep)", "shift({}, later=3)", "clip({}, high=0.9)"]
CORES = [
    "constant(0.5)",
    "constant(0.5, steps=50%)",
    "plateau(patience=0)",
    "greedy(patience=0, factor=0.8)",
    "plateau(5, patience=0) >> plateau(patience=1)",
    "plateau(50%, patience=0) >> constant(0.5)",
    "linear(10, to=0)",
    "linear(to=0.2)",
    "staircase(every=4, factor=0.5)",
    "every(1ep, linear(to=0))",
    "noise(scale=0.1)",
    "repeat(linear(5, to=0.5), cycles=2)",
]
HORIZONS = [None, lrkit.Horizon(20, 4), lrkit.Horizon(21, 4), lrkit.Horizon(40, 5)]


def bind_over(plan, horizon):
    return plan.bind(sgd(0.1, 3.0), **({} if horizon is None else vars(horizon)))


def rates_to_come(scheduler, metrics):
    rates = []
    for metric in metrics:
        rates.append(scheduler.get_last_lr())
        scheduler.advance(1)
        scheduler.step(metric)
    return rates


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("around", AROUND)
def test_a_horizon_that_needs_no_policy_has_the_same_rates_past_its_end_too(around, core):
    metrics = [(step * 7 % 11) / 10 for step in range(45)]
    plan = lrkit.parse(around.format(f"({core})" if "*" in around and ">>" in core else core))
    for one, other in itertools.permutations(HORIZONS, 2):
        try:
            saved, bound = bind_over(plan, one), bind_over(plan, other)
        except InputError:  # it needs a horizon
            continue
        rates_to_come(saved, metrics[:7])
        try:
            bound.load_state_dict(saved.state_dict())
        except InputError:  # a policy is needed, which is always allowed
            continue
        assert bound.horizon == other
        assert rates_to_come(bound, metrics[7:]) == rates_to_come(saved, metrics[7:])


@pytest.mark.parametrize(
    "text",
    [
        "constant()",
        "warmup(5) >> plateau()",
        "clip(shift(warmup(5) >> greedy(), later=2), high=0.9)",
        "warmup(5) >> linear(10, to=0)",
        "lr: warmup(5) >> plateau(); momentum: constant(0.5)",
        "constant(0.5, steps=50%)",
    ],
)
def test_a_longer_horizon_needs_no_policy_where_nothing_depends_on_it(text):
    plan = lrkit.parse(text)
    saved, bound = plan.bind(sgd(momentum=0.5), steps=20), plan.bind(sgd(momentum=0.5), steps=40)
    rates_to_come(saved, [0.5] * 16)
    bound.load_state_dict(saved.state_dict())
    assert (bound.steps, bound.horizon.steps) == (16, 40)
    assert bound.state_dict()["controllers"] == saved.state_dict()["controllers"]


def test_a_horizon_still_needs_one_where_a_schedule_depends_on_it_or_cannot_be_compared():
    points = [0.1 * step for step in range(50)]
    for plan, differs in [
        (lrkit.parse("warmup(5%) >> plateau()"), True),
        (lrkit.parse("staircase(every=4, factor=0.5)"), True),
        (lrkit.parse("lr: constant(); momentum: linear(to=0)"), True),
        (lrkit.from_callable(lambda step: 0.5) * lrkit.constant(), True),
        (lrkit.table(points) >> lrkit.constant(), False),
    ]:
        state = plan.bind(sgd(momentum=0.5), steps=100).state_dict()
        bound = plan.bind(sgd(momentum=0.5), steps=200)
        if differs:
            with pytest.raises(InputError, match="name the policy"):
                bound.load_state_dict(state)
        else:
            bound.load_state_dict(state)
    other = lrkit.table([*points[:-20], *[0.3] * 20]) >> lrkit.constant()
    with pytest.raises(InputError, match="name the policy"):
        other.bind(sgd(), steps=200).load_state_dict(state)


# --- a scheduler that was released ------------------------------------------------------------------


def test_what_was_released_or_superseded_writes_nothing_any_more():
    optimizer = sgd(0.1)
    first = lrkit.parse("lr: warmup(10); momentum: constant(0.5)").bind(optimizer)
    alone = copy.deepcopy(first.state_dict())
    second = lrkit.parse("constant(0.5)").bind(optimizer)
    holds = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}

    def unchanged():
        return {name: value for name, value in optimizer.param_groups[0].items() if name != "params"} == holds

    for act in (first.step, first.sync, first.get_last_lr, lambda: first.step(0.3), lambda: first.advance(3)):
        act()
        assert unchanged()
    assert first.steps == 3
    first.load_state_dict({**alone, "steps": 7})
    assert first.steps == 7
    assert first.state_dict()["steps"] == 7
    assert unchanged()
    second.release()
    second.step()
    optimizer.param_groups[0]["lr"] = 0.7
    second.step()
    second.load_state_dict(second.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.7
    optimizer.add_param_group({"params": [weight()], "lr": 0.9})
    second.step()
    assert second.base_lrs == [0.1]
    assert optimizer.param_groups[1] == {**optimizer.param_groups[1], "lr": 0.9}
    assert "initial_lr" not in optimizer.param_groups[1]


def test_a_copy_of_what_was_released_writes_nothing_either():
    optimizer = sgd(0.1)
    scheduler = lrkit.parse("warmup(10)").bind(optimizer)
    scheduler.release()
    for copied in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        copied.optimizer.param_groups[0]["lr"] = 0.7
        copied.step()
        assert copied.get_last_lr() == [0.7]

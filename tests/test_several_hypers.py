"""Schedules for any hyper-parameter of any param group: the laws, over optimizers of several kinds."""

import copy
import gc
import io
import json
import pickle
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, InputTypeError, Plans
from optimizers import HYPERS, OPTIONS, cases, expected, held, make, mixed_cases


def kinds():
    return pytest.mark.parametrize("kind", sorted(OPTIONS))


# --- law 1: s(t) is what the optimizer holds when update t runs, in every group --------------------------------------


@given(cases())
def test_update_t_uses_the_value_at_t(case):
    optimizer = case.make()
    bases = held(optimizer)
    case.plans.bind(optimizer)
    for t in range(25):
        assert held(optimizer) == expected(case, bases, t)
        optimizer.step()


@given(mixed_cases, st.lists(st.floats(-1, 1), min_size=20, max_size=20))
@settings(max_examples=50)
def test_every_controller_is_told_the_metric(case, metrics):
    optimizer = case.make()
    bases = held(optimizer)
    scheduler = case.plans.bind(optimizer)
    states = {plan: plan.init() for _, plan in case.plans.parts if isinstance(plan, lrkit.Controller)}
    for t, metric in enumerate(metrics):
        assert held(optimizer) == expected(case, bases, t, states.get)
        optimizer.step()
        scheduler.step(metric)
        states = {plan: plan.update(state, metric, t + 1) for plan, state in states.items()}


# --- law 2: resumed anywhere is never interrupted --------------------------------------------------------------------


def train(optimizer, scheduler, count):
    found = []
    for _ in range(count):
        found.append(held(optimizer))
        optimizer.step()
        if scheduler.steps % 3 == 0:
            scheduler.step(1.0)
    return found


SAVED = ["both", "scheduler", "optimizer", "optimizer before binding", "scheduler first"]


def resume(case, saved, for_optimizer, for_scheduler):
    if saved == "optimizer before binding":
        optimizer = case.make()
        optimizer.load_state_dict(for_optimizer)
        before = held(optimizer)
        scheduler = case.plans.bind(optimizer)
        assert held(optimizer) == before
        return optimizer, scheduler
    optimizer = case.make()
    scheduler = case.plans.bind(optimizer)
    if saved in ("scheduler", "scheduler first"):
        scheduler.load_state_dict(for_scheduler)
    if saved != "scheduler":
        optimizer.load_state_dict(for_optimizer)
    if saved == "both":
        scheduler.load_state_dict(for_scheduler)
    return optimizer, scheduler


@given(mixed_cases, st.integers(0, 20), st.sampled_from(SAVED))
@settings(max_examples=60)
def test_resumed_anywhere_is_never_interrupted(case, at, saved):
    optimizer = case.make()
    whole = train(optimizer, case.plans.bind(optimizer), 25)
    optimizer = case.make()
    scheduler = case.plans.bind(optimizer)
    train(optimizer, scheduler, at)
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), scheduler.state_dict()), file)
    train(optimizer, scheduler, 3)
    states = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert train(*resume(case, saved, *states), 25 - at) == whole[at:]


# --- which hyper-parameter, which group, which base ------------------------------------------------------------------


@kinds()
def test_the_base_of_each_hyper_parameter_is_what_its_group_holds(kind):
    optimizer = make(kind)
    before = held(optimizer)
    others = {hyper: lrkit.constant(0.5) for hyper in HYPERS[kind] if hyper != "lr"}
    lrkit.constant(0.5).bind(optimizer, hypers=others)
    assert held(optimizer) == {key: 0.5 * value for key, value in before.items()}
    assert optimizer.param_groups[0]["weight_decay"] == 0


def test_what_no_plan_is_for_is_left_alone():
    optimizer = make("SGD")
    scheduler = Plans({"momentum": lrkit.linear(10, to=0)}).bind(optimizer)
    optimizer.param_groups[0]["lr"] = 7.0
    optimizer.step()
    assert [group["lr"] for group in optimizer.param_groups] == [7.0, 0.3, 0.1]
    assert [group["momentum"] for group in optimizer.param_groups] == [pytest.approx(0.81)] * 3
    assert scheduler.base_lrs == [7.0, 0.3, 0.1]


def test_momentum_goes_by_both_of_its_names():
    adam, sgd = make("Adam"), make("SGD")
    for optimizer in (adam, sgd):
        lrkit.constant().bind(optimizer, momentum=lrkit.constant(0.5))
    assert adam.param_groups[0]["betas"] == (0.45, 0.99)
    assert sgd.param_groups[0]["momentum"] == 0.45


def test_the_index_of_a_group_goes_before_its_name():
    optimizer = make("SGD")
    lrkit.constant().bind(optimizer, groups={2: lrkit.constant(0.5), "head": lrkit.constant(0.25)})
    assert optimizer.param_groups[2]["lr"] == 0.05


def test_a_group_has_plans_for_several_of_its_hyper_parameters():
    optimizer = make("SGD")
    own = {"momentum": lrkit.constant(0.5), "weight_decay": lrkit.linear(4, to=0)}
    lrkit.constant().bind(optimizer, groups={"head": own})
    optimizer.step()
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9, 0.45]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0.02, 0.03]


@pytest.mark.parametrize("tensor_rates", [False, True])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_group_that_comes_later_has_its_own_base_and_schedule(steps, tensor_rates):
    optimizer = make("AdamW", tensor_rates, groups=2)
    plan = lrkit.linear(10, to=0)
    scheduler = plan.bind(
        optimizer, momentum=plan, groups={"head": {"weight_decay": plan}, 2: lrkit.constant(0.5)}, later=["head", 2]
    )
    for _ in range(steps):
        optimizer.step()
    late = torch.tensor(1.0, dtype=torch.float64) if tensor_rates else 1.0
    for name in ("head", "tail"):
        group = {"params": [torch.nn.Parameter(torch.ones(1))], "name": name, "lr": late, "weight_decay": 0.4}
        optimizer.add_param_group(group)
    seen = []
    optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(held(optimizer)))
    optimizer.step()
    now = 1 - steps / 10
    assert [seen[0]["lr", i] for i in range(4)] == pytest.approx([0.1 * now, 0.3 * now, 0.5, now])
    assert [seen[0]["weight_decay", i] for i in range(4)] == pytest.approx([0, 0.02, 0.4 * now, 0.4])
    assert [seen[0]["beta1", i] for i in range(4)] == pytest.approx([0.9 * now] * 4)
    assert scheduler.base_lrs == [0.1, 0.3, 1.0, 1.0]


def test_a_later_group_starts_from_the_rate_that_the_optimizer_was_made_with():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5), foreach=False)
    lrkit.linear(10, to=0).bind(optimizer)
    optimizer.step()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    optimizer.step()
    assert [float(group["lr"]) for group in optimizer.param_groups] == [pytest.approx(0.4), pytest.approx(0.4)]


def test_a_group_that_was_taken_away_is_said():
    optimizer = make("SGD")
    lrkit.linear(10).bind(optimizer)
    optimizer.param_groups.pop()
    with pytest.raises(InputError, match="1 of 3 param groups of the optimizer were removed"):
        optimizer.step()


def test_binding_after_updates_begins_at_step_0():
    optimizer = make("SGD")
    for _ in range(3):
        optimizer.step()
    scheduler = lrkit.linear(4, to=0).bind(optimizer)
    assert (scheduler.steps, optimizer.param_groups[0]["lr"]) == (0, 0.1)


@pytest.mark.parametrize("released", [False, True])
@kinds()
def test_binding_anew_starts_from_the_bases_where_the_last_values_still_stand(kind, released):
    optimizer = make(kind)
    before = held(optimizer)
    hypers = {hyper: lrkit.linear(10, to=0.5) for hyper in HYPERS[kind] if hyper != "lr"}
    scheduler = lrkit.linear(10, to=0).bind(optimizer, hypers=hypers)
    for _ in range(3):
        optimizer.step()
    if released:
        scheduler.release()
    optimizer.param_groups[1]["lr"] = 7.0  # somebody else's word counts
    lrkit.constant().bind(optimizer, hypers={hyper: lrkit.constant() for hyper in hypers})
    assert held(optimizer) == before | {("lr", 1): 7.0}
    assert scheduler.steps == 3


# --- tensors, several optimizers -------------------------------------------------------------------------------------


def test_groups_that_share_a_tensor_get_one_each():
    rate, betas = torch.tensor(0.1), (torch.tensor(0.9), torch.tensor(0.99))
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(2)]
    optimizer = torch.optim.Adam(groups, lr=rate, betas=betas, foreach=False, capturable=True)
    lrkit.linear(10, to=0).bind(optimizer, hypers={"beta2": lrkit.constant(0.5)}, groups={1: lrkit.constant()})
    optimizer.step()
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.09, 0.1])
    assert [float(group["betas"][1]) for group in optimizer.param_groups] == pytest.approx([0.495, 0.495])
    assert [float(group["betas"][0]) for group in optimizer.param_groups] == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("tensor_rates", [False, True])
def test_optimizers_never_disturb_each_other(tensor_rates):
    plan = lrkit.linear(10, to=0)
    rate = torch.tensor(0.1) if tensor_rates else 0.1
    optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=rate) for _ in range(2)]
    generator, critic = (plan.bind(optimizer, steps=10) for optimizer in optimizers)
    for turn in range(1, 4):
        for _ in range(3):
            optimizers[1].step()
        optimizers[0].step()
        assert (generator.steps, critic.steps) == (turn, 3 * turn)
        assert [float(o.param_groups[0]["lr"]) for o in optimizers] == pytest.approx(
            [0.1 * (1 - turn / 10), 0.1 * (1 - 3 * turn / 10)]
        )


def test_nothing_holds_on_to_an_optimizer():
    optimizer = make("SGD")
    scheduler = lrkit.linear(10).bind(optimizer)
    scheduler.release()
    lrkit.linear(10).bind(optimizer)
    gone = weakref.ref(optimizer)
    del optimizer, scheduler
    gc.collect()
    assert gone() is None


# --- values that are computed ahead ----------------------------------------------------------------------------------


class Listed(lrkit.Schedule):
    """Values from a list that ends; a user's own kind."""

    kind = "listed"
    calls = 0

    def _curve(self, t, base, entry, state):
        type(self).calls += 1
        return base * torch.tensor([[1.0, 0.5, 0.25][int(each)] for each in t], dtype=torch.float64).numpy()


def test_a_step_that_never_comes_needs_no_value():
    optimizer = make("SGD", groups=1)
    Listed().bind(optimizer)
    for value in (0.1, 0.05, 0.025):
        assert optimizer.param_groups[0]["lr"] == value
        if value > 0.025:
            optimizer.step()
    with pytest.raises(IndexError):
        optimizer.step()


def test_groups_with_one_plan_are_evaluated_at_once():
    class Counted(Listed):
        calls = 0

        def _curve(self, t, base, entry, state):
            type(self).calls += 1
            return base

    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.1 + index % 7} for index in range(200)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    Counted().bind(optimizer)
    for _ in range(100):
        optimizer.step()
    assert Counted.calls <= 4


# --- state -----------------------------------------------------------------------------------------------------------

OLD = "lr: warmup(5%) >> linear(to=0); lr[head]: constant(0.5); momentum: linear(to=0.5)"
NEW = "lr: plateau(patience=0); lr[0]: constant(0.1); weight_decay: linear(to=0)"


def bound(text, steps, kind="SGD", **options):
    optimizer = make(kind)
    return optimizer, lrkit.parse(text).bind(optimizer, steps=steps, **options)


def test_the_state_has_every_plan_base_and_controller():
    _, scheduler = bound(NEW, 100)
    scheduler.step(1.0)
    state = scheduler.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert state["schedules"] == {"lr": "plateau(patience=0)", "lr[0]": "constant(0.1)", "weight_decay": "linear(to=0)"}
    assert state["bases"] == {"lr": [0.1, 0.3, 0.1], "weight_decay": [0.0, 0.02, 0.04]}
    assert state["controllers"] == {"lr": {"best": 1.0, "bad_epochs": 0, "cooldown": 0, "reductions": 0}}


POLICIES = {  # what the groups hold at step 50: rates, momenta, weight decays
    "keep": ([0.1 * 50 / 95, 0.3 * 50 / 95, 0.05], [0.9 * 0.75] * 3, [0, 0.02, 0.04]),
    "stretch": ([0.1 * 150 / 190, 0.3 * 150 / 190, 0.05], [0.9 * 0.875] * 3, [0, 0.02, 0.04]),
    "replace": ([0.01, 0.3, 0.1], [0.9] * 3, [0, 0.015, 0.03]),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("saved", "named"),
    [*((saved, "bind") for saved in SAVED), ("scheduler", "load"), ("scheduler first", "load")],
)
def test_a_policy_covers_every_hyper_parameter_and_group(policy, saved, named):
    optimizer, scheduler = bound(OLD, 100)
    for _ in range(50):
        optimizer.step()
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    at_bind, at_load = [{"policy": policy} if named == each else {} for each in ("bind", "load")]
    optimizer = make("SGD")
    if saved == "optimizer before binding":
        optimizer.load_state_dict(states[0])
    other = lrkit.parse(NEW).bind(optimizer, steps=200, **at_bind)
    if saved.startswith("scheduler"):
        other.load_state_dict(states[1], **at_load)
    if saved in ("both", "optimizer", "scheduler first"):
        optimizer.load_state_dict(states[0])
    if saved == "both":
        other.load_state_dict(states[1])
    values = held(optimizer)
    found = tuple([values[hyper, i] for i in range(3)] for hyper in ("lr", "momentum", "weight_decay"))
    assert found == tuple(pytest.approx(each) for each in POLICIES[policy])
    assert other.steps == 50


def test_a_refused_state_changes_nothing():
    optimizer, scheduler = bound(OLD, 100)
    optimizer.step()
    other_optimizer, other = bound("linear(to=0)", 50, kind="Adam")
    other_optimizer.step()
    before, state = held(other_optimizer), other.state_dict()
    refused = {**scheduler.state_dict(), "schedules": {"lr": "linear(to=0)", "dampening": "constant()"}}
    for policy in (None, "keep", "stretch"):  # the last two: Adam has no dampening
        with pytest.raises(InputError):
            other.load_state_dict(refused, policy=policy)
        assert (held(other_optimizer), other.state_dict()) == (before, state)
    other_optimizer.step()
    assert other.steps == 2


def test_a_saved_schedule_that_cannot_be_read_leaves_replace():
    _, scheduler = bound("linear(to=0)", 100)
    state = {**scheduler.state_dict(), "schedules": {"lr": "from_callable(<lambda>)"}}
    with pytest.raises(InputError, match="bind it again, or else only 'replace' is left"):
        scheduler.load_state_dict(state, policy="keep")
    scheduler.load_state_dict(state, policy="replace")


def test_a_refusal_says_what_differs():
    _, scheduler = bound("every(1ep, exponential(factor=0.9))", 100, epoch_steps=10)
    _, other = bound("every(1ep, exponential(factor=0.9))", 100, epoch_steps=20)
    with pytest.raises(InputError, match=r"over 100 steps, epoch_steps=10, and .* over 100 steps, epoch_steps=20 "):
        other.load_state_dict(scheduler.state_dict())


def test_a_controllers_state_survives_another_horizon():
    _, scheduler = bound("plateau(patience=0, factor=0.5)", 100)
    for _ in range(3):
        scheduler.step(1.0)
    optimizer, other = bound("plateau(patience=0, factor=0.5)", 200)
    other.load_state_dict(scheduler.state_dict(), policy="stretch")
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_the_optimizers_own_checkpoint_without_a_clock_leaves_the_schedule_in_charge():
    optimizer, scheduler = bound(OLD, 100)
    for _ in range(10):
        optimizer.step()
    before = held(optimizer)
    optimizer.load_state_dict(make("SGD").state_dict())
    assert (held(optimizer), scheduler.steps) == (before, 10)


# --- copies ----------------------------------------------------------------------------------------------------------


def by_pickle(objects):
    return pickle.loads(pickle.dumps(objects))


def by_torch(objects):
    file = io.BytesIO()
    torch.save(objects, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


@pytest.mark.parametrize("how", [copy.deepcopy, by_pickle, by_torch])
@given(mixed_cases)
@settings(max_examples=15)
def test_a_copy_of_optimizer_and_scheduler_goes_on_by_itself(how, case):
    optimizer = case.make()
    scheduler = case.plans.bind(optimizer)
    train(optimizer, scheduler, 7)
    other, copied = how((optimizer, scheduler))
    assert copied.optimizer is other
    expected_rest = train(other, copied, 10)
    assert (scheduler.steps, copied.steps) == (7, 17)
    assert train(optimizer, scheduler, 10) == expected_rest


def test_a_copy_of_a_released_scheduler_is_released():
    optimizer, scheduler = bound("linear(to=0)", 10)
    scheduler.release()
    other, copied = copy.deepcopy((optimizer, scheduler))
    other.step()
    assert copied.steps == 0


def test_a_copy_of_the_optimizer_alone_is_not_bound():
    optimizer, scheduler = bound("linear(to=0)", 10)
    optimizer.step()
    copy.deepcopy(optimizer).step()
    assert scheduler.steps == 1


# --- bad input -------------------------------------------------------------------------------------------------------

half = lrkit.constant(0.5)


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        (
            lambda: half.bind(make("Adam"), hypers={"dampening": half}),
            "no dampening to schedule; its groups have beta1",
        ),
        (lambda: half.bind(make("Adam"), hypers={"amsgrad": half}), "no amsgrad to schedule"),
        (lambda: half.bind(make("Adam"), hypers={"betas": half}), "no betas to schedule; its groups have beta1, beta2"),
        (lambda: half.bind(make("Adam"), hypers={"params": half}), "no params to schedule"),
        (lambda: half.bind(make("SGD"), hypers={"beta1": half}), "no beta1 to schedule"),
        (lambda: half.bind(make("Adam"), momentum=half, hypers={"beta1": half}), "momentum are one and the same"),
        (lambda: half.bind(make("Adam"), momentum=half, hypers={"momentum": half}), "momentum, which is given already"),
        (lambda: half.bind(make("Adam"), hypers={"lr": half}), "hypers has lr, which is given already"),
        (lambda: half.bind(make("Adam"), momentum=0.5), "momentum takes a schedule or controller, not 0.5"),
        (lambda: half.bind(make("Adam"), hypers=half), "hypers must be a mapping"),
        (lambda: half.bind(make("Adam"), groups={"head": 0.1}), r"groups\['head'\] must be a mapping"),
        (lambda: half.bind(make("Adam"), groups={"haed": half}), "no group 'haed'; there are 0 to 2, 'head'"),
        (lambda: half.bind(make("Adam"), groups={-1: half}), "from 0 on or by its name, not -1"),
        (lambda: half.bind(make("Adam"), groups={True: half}), "from 0 on or by its name, not True"),
        (
            lambda: half.bind(make("Adam"), later=["tail"]),
            "later names the group 'tail', for which",
        ),
        (lambda: half.bind(make("Adam"), later=5), "later must be a list of param groups, each by .*, not 5"),
        (lambda: half.bind(make("Adam"), later="tail"), "later must be a list of param groups, each by .*, not 'tail'"),
        (lambda: Plans({"momentum": half}).bind(make("Adam"), lr=0.1), r"'momentum: constant\(0.5\)' has none"),
        (lambda: Plans({}), "at least one hyper-parameter"),
        (lambda: Plans({"weight decay": half}), "must be a word such as lr or weight_decay"),
        (lambda: half.bind(make("Adam"), policy="merge"), "policy must be one of 'keep', 'stretch', 'replace'"),
    ],
)
def test_bad_bindings_get_one_sentence(bind, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        bind()


def test_a_binding_that_is_refused_leaves_the_one_before():
    optimizer, scheduler = bound("linear(to=0)", 10)
    with pytest.raises(InputError):
        half.bind(optimizer, groups={"haed": half})
    with pytest.raises(InputError):
        half.bind(optimizer, hypers={"beta2": half})
    optimizer.step()
    assert scheduler.steps == 1
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.09)

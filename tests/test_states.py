"""States by any road, in any order, into whatever has changed: the rates are right, or it is said."""

import copy
import json
import pickle
import warnings
from collections import defaultdict

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

import lrkit
from lrkit import InputError, ScheduleWarning
from lrkit.training.scheduler import scheduler_of

FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


class NoHooks(torch.optim.AdamW):
    """An optimizer whose loading is its own and runs no hooks, as that of bitsandbytes."""

    def load_state_dict(self, state_dict):
        groups, values = copy.deepcopy((state_dict["param_groups"], state_dict["state"]))
        state = defaultdict(dict)
        for group, own in zip(groups, self.param_groups, strict=True):
            for name, parameter in zip(group["params"], own["params"], strict=True):
                if name in values:
                    state[parameter] = values[name]
            group["params"] = own["params"]
        self.__setstate__({"state": state, "param_groups": groups})


class InPlace(torch.optim.AdamW):
    """An optimizer that loads into the groups that it has."""

    def load_state_dict(self, state_dict):
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})


class Part:
    """A model with its optimizer."""

    def __init__(self, kind=torch.optim.AdamW, lr=0.1, rates=None):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
        groups = [{"params": list(each.parameters())} for each in self.model]
        for group, rate in zip(groups, rates or (), strict=False):
            group["lr"] = rate
        self.optimizer = kind(groups, lr=lr)

    def update(self):
        used = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.model(torch.ones(1, 1)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return used

    def updates(self, count):
        return [self.update()[0] for _ in range(count)]


# --- roads --------------------------------------------------------------------------------------------------------


def by_state_dict(one, other, folder):
    other.optimizer.load_state_dict(copy.deepcopy(one.optimizer.state_dict()))


def by_file(one, other, folder):
    torch.save(one.optimizer.state_dict(), folder / "optimizer.pt")
    other.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))


def by_names(one, other, folder):
    """As torch.distributed.checkpoint has it, by the names of parameters."""
    state = copy.deepcopy(get_optimizer_state_dict(one.model, one.optimizer))
    set_optimizer_state_dict(other.model, other.optimizer, state)


def flattened(one, other, folder):
    state = copy.deepcopy(get_optimizer_state_dict(one.model, one.optimizer, options=FLAT))
    set_optimizer_state_dict(other.model, other.optimizer, state, options=FLAT)


def by_distributed_checkpoint(one, other, folder):
    saved = {"optimizer": get_optimizer_state_dict(one.model, one.optimizer, options=FLAT)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch.distributed isn't initialized
        dcp.save(saved, checkpoint_id=folder / "dcp")
        loaded = {"optimizer": get_optimizer_state_dict(other.model, other.optimizer, options=FLAT)}
        dcp.load(loaded, checkpoint_id=folder / "dcp")
    set_optimizer_state_dict(other.model, other.optimizer, loaded["optimizer"], options=FLAT)


def by_hand(one, other, folder):
    """Groups that are replaced, with no word to anybody."""
    saved = copy.deepcopy(one.optimizer.state_dict()["param_groups"])
    for group, own in zip(saved, other.optimizer.param_groups, strict=True):
        group["params"] = own["params"]
    other.optimizer.param_groups = saved


ROADS = [by_state_dict, by_file, by_names, flattened, by_distributed_checkpoint, by_hand]
BEFORE = [by_state_dict, by_file, by_names, by_hand]  # those that keep the mark without a plan bound: see below
LINEAR = lrkit.linear(to=0)


def trained(updates=4, kind=torch.optim.AdamW, steps=10, plan=LINEAR, **options):
    part = Part(kind)
    scheduler = plan.bind(part.optimizer, steps=steps, **options)
    part.updates(updates)
    return part, scheduler


def linear(start, end=10, base=0.1):
    return pytest.approx([base * (1 - t / end) for t in range(start, end)])


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("order", ["optimizer", "optimizer, scheduler", "scheduler, optimizer", "scheduler"])
def test_what_is_resumed_is_what_was_never_interrupted(road, order, tmp_path):
    one, before = trained()
    other = Part()
    scheduler = LINEAR.bind(other.optimizer, steps=10)
    for what in order.split(", "):
        if what == "optimizer":
            road(one, other, tmp_path)
        else:
            scheduler.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert other.updates(6) == linear(4)
    assert scheduler.steps == 10


@pytest.mark.parametrize("road", BEFORE)
def test_a_state_may_be_loaded_before_a_plan_is_bound(road, tmp_path):
    one, _ = trained()
    other = Part()
    road(one, other, tmp_path)
    scheduler = LINEAR.bind(other.optimizer, steps=10)
    assert scheduler.steps == 4
    assert other.updates(6) == linear(4)


def test_a_flattened_state_loaded_before_a_plan_is_bound_is_said(tmp_path):
    """torch asks a flattened state for the entries alone that the groups have, so the mark doesn't come along."""
    one, _ = trained()
    other = Part()
    flattened(one, other, tmp_path)
    LINEAR.bind(other.optimizer, steps=10)
    with pytest.warns(ScheduleWarning, match="of 4 updates by its own count, says nothing of lrkit"):
        other.update()


@pytest.mark.parametrize("kind", [NoHooks, InPlace])
def test_an_optimizer_that_loads_in_its_own_way_is_resumed(kind):
    one, _ = trained(kind=kind)
    other = Part(kind)
    scheduler = LINEAR.bind(other.optimizer, steps=10)
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    assert scheduler.steps == 4
    assert other.updates(6) == linear(4)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, NoHooks])
@pytest.mark.parametrize("road", [by_state_dict, flattened])
def test_another_horizon_is_refused_on_any_road_before_anything_is_loaded(kind, road, tmp_path):
    one, _ = trained(kind=kind)
    other = Part(kind)
    scheduler = LINEAR.bind(other.optimizer, steps=20)
    other.updates(2)
    before = copy.deepcopy(other.optimizer.state_dict())
    with pytest.raises(
        InputError, match=r"over 10 steps, and 'linear\(to=0\)' over 20 steps is bound; name the policy"
    ):
        road(one, other, tmp_path)
    assert str(other.optimizer.state_dict()) == str(before)
    assert scheduler.steps == 2


def test_groups_that_come_in_another_order_keep_their_bases():
    """torch.distributed.checkpoint finds groups by the names of their parameters."""
    one = Part(rates=[0.1, 0.4])
    LINEAR.bind(one.optimizer, steps=10, on_conflict="yield")
    one.updates(3)
    one.optimizer.param_groups[1]["lr"] = 0.9
    one.update()
    state = copy.deepcopy(get_optimizer_state_dict(one.model, one.optimizer))
    other = Part(rates=[0.1, 0.4])
    other.optimizer.param_groups.reverse()
    scheduler = LINEAR.bind(other.optimizer, steps=10, on_conflict="yield")
    set_optimizer_state_dict(other.model, other.optimizer, state)
    assert scheduler.base_lrs == [0.4, 0.1]
    assert scheduler.yielded == [("lr", 0)]
    assert other.update() == pytest.approx([0.9, 0.06])


# --- marks that are missing, and that contradict ------------------------------------------------------------------


def mixed(change):
    one, _ = trained()
    state = one.optimizer.state_dict()
    change(state["param_groups"])
    return state


def earlier(groups):
    groups[1] = {**trained(2)[0].optimizer.state_dict()["param_groups"][1], "params": groups[1]["params"]}


def twice(groups):
    groups[1] = {**groups[0], "params": groups[1]["params"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (earlier, "some param groups of this state were saved after 4 updates, and some after 2"),
        (twice, "the 2 param groups of this state weren't saved together: by their marks they were groups 0, 0"),
        (
            lambda groups: groups[1].pop("lrkit"),
            "param group 1 of this state has no mark of lrkit, and another one has",
        ),
        (lambda groups: groups[0].update(lrkit=""), "param group 0 of this state has no mark"),
        (lambda groups: groups[0].update(lrkit="{"), "the mark of lrkit in this state's param groups is damaged"),
        (lambda groups: groups[0].update(lrkit={"format": 3}), "the mark of lrkit .* is damaged"),
        (lambda groups: groups[0].update(lrkit="[1]"), "the mark of lrkit .* is damaged"),
    ],
)
@pytest.mark.parametrize("bound", [False, True])
def test_marks_that_contradict_are_refused(change, sentence, bound):
    other = Part()
    if bound:
        LINEAR.bind(other.optimizer, steps=10)
    with pytest.raises(InputError, match=sentence):  # noqa: PT012  # either of them
        other.optimizer.load_state_dict(mixed(change))
        LINEAR.bind(other.optimizer, steps=10)


def without_lrkit(updates=4, kind=torch.optim.AdamW):
    part = Part(kind)
    part.updates(updates)
    return part


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, NoHooks])
def test_a_state_without_a_mark_is_said_once_before_the_next_update(bound, kind):
    if kind is torch.optim.SGD and not bound:
        pytest.skip("it has no state that would say anything")
    other = Part(kind)
    if bound:
        scheduler = LINEAR.bind(other.optimizer, steps=10)
        other.optimizer.load_state_dict(without_lrkit(kind=kind).optimizer.state_dict())
    else:
        other.optimizer.load_state_dict(without_lrkit(kind=kind).optimizer.state_dict())
        scheduler = LINEAR.bind(other.optimizer, steps=10)
    with pytest.warns(ScheduleWarning, match=r"says nothing of lrkit, so 'linear\(to=0\)' goes on at update 0") as said:
        other.update()
    assert len(said) == 1
    assert other.updates(3) == pytest.approx([0.09, 0.08, 0.07])
    assert scheduler.steps == 4


@pytest.mark.parametrize("how", ["advance", "load", "restart", "replace", "nothing was done"])
def test_nothing_is_said_where_the_count_is_known(how):
    other = Part()
    policy = how if how in ("restart", "replace") else None
    scheduler = LINEAR.bind(other.optimizer, steps=10, policy=policy)
    if how == "load":
        scheduler.load_state_dict(trained()[1].state_dict())
    state = without_lrkit(0 if how == "nothing was done" else 4).optimizer.state_dict()
    state["state"] = dict(state["state"])
    if how != "nothing was done":
        other.optimizer.load_state_dict(state)
    if how == "advance":
        scheduler.advance(4)
    other.update()
    assert scheduler.steps == {"restart": 1, "nothing was done": 1}.get(how, 5)


@pytest.mark.parametrize("policy", [None, "keep", "stretch", "replace", "restart"])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_the_state_of_a_scheduler_of_torch_is_that_of_a_training_without_lrkit(policy, kind):
    one = Part(kind)
    theirs = torch.optim.lr_scheduler.StepLR(one.optimizer, 1)
    one.updates(4)
    theirs.step()  # once an epoch
    other = Part(kind)
    scheduler = LINEAR.bind(other.optimizer, steps=10, policy=policy)
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    if policy not in ("replace", "restart"):
        with pytest.raises(InputError, match=r"read by lrkit.torch_names; or name the policy, 'replace' or 'restart'"):
            scheduler.load_state_dict(theirs.state_dict())
        return
    scheduler.load_state_dict(theirs.state_dict())
    if (policy, kind) == ("replace", torch.optim.SGD):
        with pytest.warns(ScheduleWarning, match="goes on at update 0; where that is wrong"):
            other.update()
    else:
        assert other.update()[0] == pytest.approx(0.1 if policy == "restart" else 0.06)
    with pytest.raises(InputError, match="not the state of a schedule"):
        scheduler.load_state_dict({"step": 3})


@pytest.mark.parametrize("bound", [False, True])
def test_a_mark_that_is_older_than_its_state_is_said(bound):
    """It stays in the groups of an optimizer that is trained on without lrkit."""
    one, _ = trained()
    between = Part()
    between.optimizer.load_state_dict(one.optimizer.state_dict())
    between.updates(3)
    other = Part()
    if bound:
        LINEAR.bind(other.optimizer, steps=10)
    other.optimizer.load_state_dict(between.optimizer.state_dict())
    if not bound:
        LINEAR.bind(other.optimizer, steps=10)
    with pytest.warns(ScheduleWarning, match="made 7 updates by its own count, and 4 when lrkit's schedule was saved"):
        assert other.update()[0] == pytest.approx(0.06)


@pytest.mark.parametrize("loaded", [False, True])
def test_to_begin_anew_is_over_with_the_first_update(loaded):
    other = Part()
    scheduler = LINEAR.bind(other.optimizer, steps=10, policy="restart")
    if loaded:
        other.optimizer.load_state_dict(without_lrkit().optimizer.state_dict())
    other.updates(3)
    state = copy.deepcopy(other.optimizer.state_dict())
    other.updates(2)
    other.optimizer.load_state_dict(state)
    assert scheduler.steps == 3


def test_an_optimizer_that_was_copied_without_its_scheduler_is_said():
    one, _ = trained()
    model, optimizer = copy.deepcopy((one.model, one.optimizer))
    other = Part()
    other.model, other.optimizer = model, optimizer
    LINEAR.bind(optimizer, steps=10)
    with pytest.warns(ScheduleWarning, match="of 4 updates by its own count"):
        other.update()


# --- copies -------------------------------------------------------------------------------------------------------


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda scheduler: pickle.loads(pickle.dumps(scheduler)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("when", ["bound", "paused", "released"])
def test_a_copy_never_writes_into_the_originals_optimizer(how, when):
    one, scheduler = trained()
    if when == "paused":
        with scheduler.paused():
            copied = COPIES[how](scheduler)
    else:
        if when == "released":
            scheduler.release()
        copied = COPIES[how](scheduler)
    before = [dict(group) for group in one.optimizer.param_groups]
    copied.advance(3)
    copied.step()
    copied.take_back()
    assert [dict(group) for group in one.optimizer.param_groups] == before
    assert copied.steps == 7
    if when != "released":
        assert scheduler_of(one.optimizer) is scheduler
        assert one.updates(6) == linear(4)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_whole_scheduler_comes_with_an_optimizer_of_its_own_and_its_state_goes_anywhere(how):
    one, scheduler = trained()
    copied = COPIES[how](scheduler)
    assert copied.optimizer is not one.optimizer
    other = Part()
    again = LINEAR.bind(other.optimizer, steps=10)
    again.load_state_dict(copied.state_dict())
    assert other.updates(6) == linear(4)


def test_a_copy_that_is_stepped_while_nobody_steps_its_optimizer_is_said():
    one, scheduler = trained()
    copied = pickle.loads(pickle.dumps(scheduler))
    for _ in range(7):
        one.update()
        copied.step()
    with pytest.warns(ScheduleWarning, match="a copy with an optimizer of its own, which makes no updates"):
        copied.step()


# --- what has changed, and the policies ---------------------------------------------------------------------------

SINE = lrkit.cosine(to=0)
CHANGES = {  # what is bound now: the plan, the steps
    "nothing": (LINEAR, 10),
    "the horizon": (LINEAR, 20),
    "the schedule": (SINE, 10),
    "both": (SINE, 20),
}


def expected(change, policy, base=0.1):
    plan, steps = CHANGES[change]
    if policy == "restart":
        return [float(plan.over(steps)(t, base)) for t in range(5)]
    if policy == "keep":
        plan, steps = CHANGES["nothing"]
    if policy == "stretch":
        plan = LINEAR
    return [float(plan.over(steps)(t, base)) for t in range(4, 9)]


@pytest.mark.parametrize("policy", [None, "keep", "stretch", "replace", "restart"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", ["bind, load", "load, bind", "scheduler", "both"])
def test_what_has_changed_and_what_the_policies_do(change, policy, order):
    one, before = trained()
    other = Part()
    plan, steps = CHANGES[change]
    state = copy.deepcopy(one.optimizer.state_dict())

    def go_on():
        if order == "load, bind":
            other.optimizer.load_state_dict(state)
        scheduler = plan.bind(other.optimizer, steps=steps, policy=policy)
        if order in ("bind, load", "both"):
            other.optimizer.load_state_dict(state)
        if order in ("scheduler", "both"):
            scheduler.load_state_dict(before.state_dict())
        return other.updates(5)

    if policy is None and change != "nothing":
        with pytest.raises(InputError, match="name the policy: 'keep'"):
            go_on()
    else:
        assert go_on() == pytest.approx(expected(change, policy))


@pytest.mark.parametrize("order", ["bind, load", "load, bind", "scheduler"])
@pytest.mark.parametrize("policy", [None, "keep", "stretch", "replace", "restart"])
@pytest.mark.parametrize("named", ["lr", "made"])
def test_another_rate(order, policy, named):
    """One that is named needs a policy; an optimizer that was merely made with another goes on with the saved one."""
    one, before = trained()
    other = Part(lr=0.1 if named == "lr" else 0.05)
    state = copy.deepcopy(one.optimizer.state_dict())

    def go_on():
        if order == "load, bind":
            other.optimizer.load_state_dict(state)
        options = {"lr": 0.05} if named == "lr" else {}
        scheduler = LINEAR.bind(other.optimizer, steps=10, policy=policy, **options)
        if order == "bind, load":
            other.optimizer.load_state_dict(state)
        if order == "scheduler":
            scheduler.load_state_dict(before.state_dict())
        return other.updates(5)

    if named == "lr" and policy is None:
        with pytest.raises(InputError, match=r"made with lr 0.1, and lr 0.05 is named now; name the policy: 'keep'"):
            go_on()
        return
    new = policy in ("replace", "restart") or (named == "lr" and policy == "stretch")
    right = pytest.approx(expected("nothing", policy, 0.05 if new else 0.1))
    if named == "made" and policy in (None, "stretch"):
        with pytest.warns(ScheduleWarning, match="made with lr 0.05 and its state with lr 0.1") as said:
            assert go_on() == right
        assert len(said) == 1
    else:
        assert go_on() == right


def test_the_rate_that_was_named_may_be_named_again():
    one = Part()
    LINEAR.bind(one.optimizer, steps=10, lr=0.3)
    one.updates(4)
    for options in ({"lr": 0.3}, {}):
        other = Part(lr=0.3)
        LINEAR.bind(other.optimizer, steps=10, **options).load_state_dict(scheduler_of(one.optimizer).state_dict())
        assert other.updates(6) == linear(4, base=0.3)


def test_of_groups_with_rates_of_their_own_each_is_told_apart():
    one = Part(rates=[0.1, 0.4])
    LINEAR.bind(one.optimizer, steps=10)
    one.updates(5)
    other = Part(rates=[0.1, 0.2])
    LINEAR.bind(other.optimizer, steps=10)
    with pytest.warns(ScheduleWarning, match="made with lr 0.2 and its state with lr 0.4"):
        other.optimizer.load_state_dict(one.optimizer.state_dict())
    assert other.update() == pytest.approx([0.05, 0.2])
    again = Part(rates=[0.1, 0.2])
    LINEAR.bind(again.optimizer, steps=10, policy="replace").load_state_dict(scheduler_of(other.optimizer).state_dict())
    assert again.update() == pytest.approx([0.04, 0.08])


def test_a_fresh_start_keeps_the_moments():
    one, _ = trained()
    other = Part()
    scheduler = (lrkit.warmup(2) >> SINE).bind(other.optimizer, steps=8, policy="restart")
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    for mine, theirs in zip(other.optimizer.state.values(), one.optimizer.state.values(), strict=True):
        assert torch.equal(mine["exp_avg"], theirs["exp_avg"])
        assert mine["step"] == 4
    assert scheduler.steps == 0
    assert other.updates(2) == pytest.approx([0.05, 0.1])
    third = Part()  # and from then on it is a training as any other
    (lrkit.warmup(2) >> SINE).bind(third.optimizer, steps=8)
    third.optimizer.load_state_dict(other.optimizer.state_dict())
    assert third.updates(3) == other.updates(3)


def test_a_fresh_start_forgets_what_a_controller_has_seen():
    plan = lrkit.plateau(patience=0, factor=0.5)
    one = Part()
    scheduler = plan.bind(one.optimizer)
    for _ in range(3):
        one.update()
        scheduler.step(1.0)
    assert scheduler.get_last_lr()[0] == pytest.approx(0.025)
    other = Part()
    again = plan.bind(other.optimizer)
    again.load_state_dict(scheduler.state_dict(), policy="restart")
    assert (again.steps, again.get_last_lr()[0]) == (0, 0.1)


# --- steps of another size ----------------------------------------------------------------------------------------


def tokens(plan, size, steps, state=None, **options):
    part = Part()
    scheduler = lrkit.parse(plan).bind(part.optimizer, steps=steps, step_tokens=size, **options)
    if state is not None:
        part.optimizer.load_state_dict(state)
    return part, scheduler


@pytest.mark.parametrize(
    ("plan", "rate"),
    [  # of the tokens done: what the schedule says, however large steps are
        ("linear(100ktok, to=0)", lambda done: 1 - done / 100_000),
        ("linear(to=0)*linear(100ktok, start=1, to=1)", lambda done: 1 - done / 100_000),
        ("constant(steps=20ktok) >> linear(80ktok, to=0)", lambda done: min(1, 1 - (done - 20_000) / 80_000)),
        ("constant(steps=20ktok) >> linear(to=0)", lambda done: min(1, 1 - (done - 20_000) / 80_000)),
        ("constant(steps=20%) >> linear(to=0) >> constant(0, steps=20ktok)", lambda done: None),
        ("exponential(to=0.01)*linear(100ktok, start=1, to=1)", lambda done: 0.01 ** (done / 100_000)),
        ("cosine_restarts(period=20ktok, to=0)", lambda done: None),
    ],
)
@pytest.mark.parametrize("sizes", [(1000, 2000), (2000, 1000), (1000, 250, 4000), (1000, 1250)])
def test_a_schedule_in_tokens_goes_on_as_it_was(plan, rate, sizes):
    """One training with tiny steps says what is right where no formula does."""
    tiny = lrkit.parse(plan).over(100_000, step_tokens=1)
    done, updates, state = 0, 0, None
    for size, end in zip(sizes, [40_000, *[60_000] * (len(sizes) - 2), 100_000], strict=True):
        part, scheduler = tokens(plan, size, updates + (100_000 - done) // size, state)
        while done < end:
            right = rate(done) if rate(done) is not None else float(tiny(done))
            assert part.update()[0] == pytest.approx(0.1 * max(right, 0), abs=1e-9)
            done, updates = done + size, updates + 1
        assert scheduler.steps == updates
        assert scheduler.state_dict()["done"]["tokens"] == done
        state = copy.deepcopy(part.optimizer.state_dict())


@pytest.mark.parametrize("plan", ["linear(to=0)*constant(steps=1ktok)", "constant(steps=20ktok) >> linear(to=0)"])
def test_what_is_left_may_differ_by_a_step(plan):
    """50 000 tokens are left, and 1600 don't divide them."""
    part, _ = tokens(plan, 1000, 100)
    part.updates(50)
    state = part.optimizer.state_dict()
    for left in (31, 32):
        other, _ = tokens(plan, 1600, 50 + left, copy.deepcopy(state))
        rates = other.updates(left)
        assert rates[0] == pytest.approx(0.1 * lrkit.parse(plan).over(100, step_tokens=1000)(50), rel=0.02)
        assert rates[-1] == pytest.approx(rates[0] / left, rel=0.5)
    for left in (28, 36):
        with pytest.raises(InputError, match="name the policy"):
            tokens(plan, 1600, 50 + left, copy.deepcopy(state))


def test_lengths_in_steps_stay_updates():
    plan = "warmup(10) >> linear(90ktok, to=0)"
    part, _ = tokens(plan, 1000, 100)
    part.updates(40)  # 30 updates of the second part, a third of it
    other, _ = tokens(plan, 2000, 70, copy.deepcopy(part.optimizer.state_dict()))
    assert other.updates(30) == pytest.approx([0.1 * (1 - (30 + 2 * t) / 90) for t in range(30)])


def test_within_the_part_in_steps_they_are_updates_too():
    plan = "warmup(10) >> linear(90ktok, to=0)"
    part, _ = tokens(plan, 1000, 100)
    part.updates(4)
    other, _ = tokens(plan, 2000, 55, copy.deepcopy(part.optimizer.state_dict()))
    assert other.updates(8) == pytest.approx([0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.1, 0.1 * (1 - 1 / 45)])


@pytest.mark.parametrize(
    ("plan", "steps"),
    [
        ("linear(to=0)", 75),  # has no length in tokens
        ("constant(steps=20ktok) >> linear(to=0)", 90),  # and the whole is longer than it was
        ("warmup(10) * linear(100ktok, to=0)", 75),  # mixes units at the same time
        ("warmup(2ep) * linear(100ktok, to=0)", 75),
    ],
)
def test_what_does_not_go_on_as_it_was_needs_a_policy(plan, steps):
    part, _ = tokens(plan, 1000, 100, epoch_steps=10)
    part.updates(50)
    state = part.optimizer.state_dict()
    with pytest.raises(InputError, match="name the policy"):
        tokens(plan, 2000, steps, state, epoch_steps=10)
    if "*" not in plan:
        tokens(plan, 2000, steps, state, policy="replace", epoch_steps=10)
        return
    for policy in ("stretch", "replace"):
        with pytest.raises(InputError, match=r"can't go on where it is.*only 'keep' and 'restart' are left"):
            tokens(plan, 2000, steps, state, policy=policy, epoch_steps=10)


@pytest.mark.parametrize("policy", ["stretch", "replace"])
def test_a_schedule_in_epochs_goes_on_at_its_epoch(policy):
    """5 of 10 epochs are done, and an epoch has half as many updates now."""
    one, other = Part(), Part()
    plan = lrkit.parse("linear(10ep, to=0)")
    plan.bind(one.optimizer, steps=100, epoch_steps=10)
    one.updates(50)
    state = copy.deepcopy(one.optimizer.state_dict())
    with pytest.raises(InputError, match="name the policy"):
        plan.bind(Part().optimizer, steps=75, epoch_steps=5).load_state_dict(scheduler_of(one.optimizer).state_dict())
    plan.bind(other.optimizer, steps=75, epoch_steps=5, policy=policy)
    other.optimizer.load_state_dict(state)
    assert other.updates(25) == pytest.approx([0.1 * (1 - t / 50) for t in range(25, 50)])


def test_what_was_begun_anew_is_rolled_back_to_where_it_was():
    one, _ = trained()
    other = Part()
    scheduler = LINEAR.bind(other.optimizer, steps=10, policy="restart")
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    other.updates(3)
    state = copy.deepcopy(other.optimizer.state_dict())
    other.updates(2)
    other.optimizer.load_state_dict(state)
    assert scheduler.steps == 3
    with pytest.raises(InputError, match="name the policy"):  # a policy for one state is none for a later one
        scheduler.load_state_dict(SINE.bind(Part().optimizer, steps=7).state_dict())


@pytest.mark.parametrize("order", ["optimizer, scheduler", "scheduler, optimizer"])
def test_a_policy_that_is_named_late_has_the_new_rate(order):
    one, before = trained()
    other = Part(lr=0.05)
    scheduler = LINEAR.bind(other.optimizer, steps=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScheduleWarning)
        for what in order.split(", "):
            if what == "optimizer":
                other.optimizer.load_state_dict(one.optimizer.state_dict())
            else:
                scheduler.load_state_dict(before.state_dict(), policy="replace")
    assert scheduler.base_lrs == [0.05, 0.05]


@pytest.mark.parametrize("bound", [False, True])
def test_what_is_scheduled_no_more_has_its_base_again(bound):
    one, other = Part(), Part()
    lrkit.parse("lr: linear(to=0); weight_decay: linear(to=0)").bind(one.optimizer, steps=10)
    one.updates(5)
    if bound:
        LINEAR.bind(other.optimizer, steps=10, policy="replace")
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    if not bound:
        LINEAR.bind(other.optimizer, steps=10, policy="replace")
    assert [group["weight_decay"] for group in other.optimizer.param_groups] == [0.01, 0.01]


def test_a_copy_of_an_optimizer_that_was_never_stepped_is_no_surprise():
    one = Part()
    LINEAR.bind(one.optimizer, steps=10)
    other = Part()
    other.model, other.optimizer = copy.deepcopy((one.model, one.optimizer))
    LINEAR.bind(other.optimizer, steps=10)
    assert other.updates(2) == pytest.approx([0.1, 0.09])


def test_another_schedule_in_tokens_goes_on_at_the_tokens_that_are_done():
    part, _ = tokens("linear(100ktok, to=0)", 1000, 100)
    part.updates(50)
    other, _ = tokens("cosine(100ktok, to=0)", 2000, 75, part.optimizer.state_dict(), policy="replace")
    assert other.update()[0] == pytest.approx(0.05)


def test_a_plan_that_does_not_fit_waits_for_a_state_that_says_why():
    part, scheduler = tokens("linear(100ktok, to=0)", 1000, 75)  # 25 updates were made with twice as many
    for act in (part.update, lambda: scheduler.advance(1)):
        with pytest.raises(InputError, match="needs 100 steps, but the horizon is 75"):
            act()
    assert scheduler.steps == 0
    with pytest.raises(InputError, match="needs 100 steps, but the horizon is 75"):
        lrkit.linear(100, to=0).bind(Part().optimizer, steps=75)


def test_samples_go_on_as_tokens_do():
    plan = lrkit.parse("linear(1ksamples, to=0)")
    one, other = Part(), Part()
    plan.bind(one.optimizer, steps=100, step_samples=10)
    one.updates(50)
    plan.bind(other.optimizer, steps=60, step_samples=50)
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    assert other.updates(10) == pytest.approx([0.05 - 0.005 * t for t in range(10)])


# --- all of it at once --------------------------------------------------------------------------------------------


class States(RuleBasedStateMachine):
    """A training that is stopped, moved, changed, copied and resumed, beside what its rates must be."""

    @initialize(kind=st.sampled_from([torch.optim.AdamW, NoHooks]), size=st.sampled_from([None, 1000]))
    def begin(self, kind, size):
        self.kind, self.size, self.lr, self.named = kind, size, 0.1, False
        self.plan, self.steps, self.position = (LINEAR, 40, 0.0) if size is None else (TOKENS, 40, 0.0)
        self.count = 0
        self.part = Part(kind)
        self.scheduler = self.bind(self.part, None)

    def bind(self, part, policy):
        named = {"lr": self.lr} if self.named else {}
        return self.plan.bind(part.optimizer, steps=self.steps, step_tokens=self.size, policy=policy, **named)

    def right(self):
        length = self.steps if self.plan is not TOKENS else 40_000 / self.size
        share = max(1 - self.position / length, 0)
        return self.lr * (
            share if self.plan is not SINE else 0.5 * (1 + torch.tensor(torch.pi * (1 - share)).cos().item())
        )

    @rule(count=st.integers(1, 4))
    def train(self, count):
        for _ in range(count):
            assert self.part.update()[0] == pytest.approx(self.right(), abs=1e-7)
            self.count, self.position = self.count + 1, self.position + 1

    @rule(
        road=st.sampled_from([by_state_dict, by_names, flattened, by_hand]),
        order=st.sampled_from(["load", "both", "reverse"]),
    )
    def move(self, road, order):
        self.go_on(road, order, None)

    @rule()
    def load_and_then_bind(self):
        other = Part(self.kind)
        by_state_dict(self.part, other, None)
        self.part, self.scheduler = other, self.bind(other, None)

    @rule(how=st.sampled_from(["deepcopy", "pickle"]))
    def copy_all(self, how):
        other = Part(self.kind)
        together = (self.part.model, self.part.optimizer, self.scheduler)
        copied = copy.deepcopy(together) if how == "deepcopy" else pickle.loads(pickle.dumps(together))
        other.model, other.optimizer, self.scheduler = copied
        self.part = other

    @rule(how=st.sampled_from(sorted(COPIES)))
    def preview(self, how):
        copied = COPIES[how](self.scheduler)
        copied.advance(5)
        copied.get_last_lr()
        copied.release()

    @precondition(lambda self: self.plan is not TOKENS)
    @rule(
        policy=st.sampled_from(["keep", "stretch", "replace", "restart"]),
        more=st.integers(1, 9),
        other=st.booleans(),
        road=st.sampled_from([by_state_dict, flattened]),
    )
    def change(self, policy, more, other, road):
        before = self.plan, self.steps
        self.steps += more
        self.plan = {LINEAR: SINE, SINE: LINEAR}[self.plan] if other else self.plan
        self.refuse(road)
        self.go_on(road, "both", policy)
        if policy == "keep":
            self.plan, self.steps = before
        elif policy == "stretch":
            self.plan = before[0]
        elif policy == "restart":
            self.count = self.position = 0

    @rule(policy=st.sampled_from(["stretch", "replace", "restart"]), factor=st.sampled_from([0.5, 2.0]))
    def name_another_rate(self, policy, factor):
        self.lr, self.named = self.lr * factor, True
        self.refuse(by_state_dict)
        if policy == "restart" and self.plan is TOKENS:
            self.steps = 40_000 // self.size
        self.go_on(by_state_dict, "both", policy)
        if policy == "restart":
            self.count = self.position = 0

    @precondition(lambda self: self.plan is TOKENS and self.position + 1 < 40_000 / self.size)
    @rule(factor=st.sampled_from([0.5, 2]), road=st.sampled_from([by_state_dict, flattened]))
    def change_the_size(self, factor, road):
        if self.size * factor not in (500, 1000, 2000, 4000):
            return
        left = 40_000 / self.size - self.position
        self.size, self.position = int(self.size * factor), self.position / factor
        self.steps = self.count + max(round(left / factor), 1)
        self.go_on(road, "both", None)

    def refuse(self, road):
        if self.count:
            other = Part(self.kind)
            self.bind(other, None)
            with pytest.raises(InputError, match="name the policy"):
                road(self.part, other, None)

    def go_on(self, road, order, policy):
        other = Part(self.kind)
        scheduler = self.bind(other, policy)
        loads = [lambda: road(self.part, other, None), lambda: scheduler.load_state_dict(self.scheduler.state_dict())]
        for load in {"load": loads[:1], "both": loads, "reverse": loads[::-1]}[order]:
            load()
        self.part, self.scheduler = other, scheduler

    @invariant()
    def the_next_rate_is_right(self):
        if hasattr(self, "scheduler"):
            assert self.scheduler.steps == self.count
            assert self.part.optimizer.param_groups[0]["lr"] == pytest.approx(self.right(), abs=1e-7)
            assert scheduler_of(self.part.optimizer) is self.scheduler


TOKENS = lrkit.parse("linear(40ktok, to=0)")
States.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestStates = States.TestCase

"""Which optimizer a plan is bound to, and who may write what it sets."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, LinearLR, OneCycleLR, StepLR
from torch.optim.swa_utils import SWALR

import lrkit
from lrkit import InputError, InputTypeError, ScheduleWarning, torch_names
from lrkit.training.scheduler import scheduler_of, updates_done


def weight(*shape):
    return torch.nn.Parameter(torch.ones(shape or (1,)))


def sgd(*lrs, **options):
    return torch.optim.SGD([{"params": [weight()], "lr": lr} for lr in lrs or (0.1,)], lr=1.0, **options)


def update(optimizer):
    for group in optimizer.param_groups:
        for each in group["params"]:
            each.grad = torch.ones_like(each)
    optimizer.step()


def used(optimizer, count, step=update):
    """The rates of the first group, as updates use them: read by a hook that comes last, once for each step."""
    found, seen = [], []
    hook = optimizer.register_step_pre_hook(lambda *_: seen.append(float(optimizer.param_groups[0]["lr"])))
    for _ in range(count):
        seen.clear()
        step(optimizer)
        found.append(round(seen[0], 9))
    hook.remove()
    return found


LINEAR = [0.1, 0.09, 0.08, 0.07, 0.06]


# --- optimizers within optimizers -----------------------------------------------------------------------


class Bare(torch.optim.Optimizer):
    """A wrapper that was never set up as an optimizer, by an attribute of any name."""

    def __init__(self, optimizer):
        self.fast_weights, self.param_groups = optimizer, optimizer.param_groups

    def step(self, closure=None):
        return self.fast_weights.step(closure)


class Property(torch.optim.Optimizer):
    """One with hooks of its own, whose groups are a property."""

    def __init__(self, optimizer):
        self.inner = [optimizer]
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = {}, {}
        self._patch_step_function()

    @property
    def param_groups(self):
        return self.inner[0].param_groups

    def step(self, closure=None):
        return self.inner[0].step(closure)


class Sharpness(torch.optim.Optimizer):
    """As sharpness-aware minimisation: its updates are two steps, and `step` is never called."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=lr)

    def first_step(self):
        for group in self.param_groups:
            for each in group["params"]:
                self.state[each]["old"] = each.detach().clone()

    def second_step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for each in group["params"]:
                    each.copy_(self.state[each]["old"])
        self.base_optimizer.step()


class Plain:
    """No optimizer at all, as the wrappers of some trainers."""

    def __init__(self, optimizer):
        self._optimizer = optimizer
        self.param_groups = optimizer.param_groups


@pytest.mark.parametrize("wrap", [Bare, Property, lambda o: Bare(Property(Bare(o)))])
def test_a_wrapper_whose_groups_are_the_same_is_looked_through(wrap):
    inner = sgd()
    optimizer = wrap(inner)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    assert scheduler.optimizer is optimizer
    rates = []
    for _ in range(5):
        rates.append(inner.param_groups[0]["lr"])
        update(optimizer)
    assert rates == pytest.approx(LINEAR)
    assert scheduler_of(optimizer) is scheduler_of(inner) is scheduler
    assert updates_done(optimizer) == 5
    with lrkit.Recorder(optimizer) as recorder:
        assert recorder.optimizer is inner
    lrkit.constant(0.5).bind(inner)
    assert scheduler_of(optimizer) is not scheduler


def test_a_wrapper_that_is_no_optimizer_is_looked_through_too():
    inner = sgd()
    assert lrkit.linear(10, to=0).bind(Plain(inner)).optimizer is inner
    with pytest.raises(InputTypeError, match="must be a torch optimizer, not dict"):
        lrkit.constant().bind({"lr": 0.1})
    other = Plain(inner)
    other.param_groups = [dict(group) for group in inner.param_groups]
    with pytest.raises(InputTypeError, match="not Plain; bind what it has as _optimizer"):
        lrkit.constant().bind(other)


def test_updates_that_are_made_by_other_methods_are_followed_through_the_inner_optimizer():
    optimizer, rates = Sharpness([weight()], lr=0.1), []
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        for each in optimizer.param_groups[0]["params"]:
            each.grad = torch.ones(1)
        optimizer.first_step()
        optimizer.second_step()
        scheduler.step()
    assert rates == pytest.approx(LINEAR)


def test_an_optimizer_that_brings_its_rates_to_copies_of_its_groups_is_bound_itself():
    class Sharded(torch.optim.Optimizer):
        """As torch's ZeroRedundancyOptimizer."""

        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})
            self.optim = torch.optim.SGD([{"params": group["params"]} for group in self.param_groups], lr=lr)

        def step(self, closure=None):
            for own, other in zip(self.param_groups, self.optim.param_groups, strict=True):
                other["lr"] = own["lr"]
            return self.optim.step(closure)

    optimizer = Sharded([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    assert scheduler.optimizer is optimizer
    rates = []
    for _ in range(5):
        update(optimizer)
        rates.append(optimizer.optim.param_groups[0]["lr"])
    assert rates == pytest.approx(LINEAR)
    assert scheduler.steps == 5


def test_an_optimizer_that_steps_others_at_their_own_rates_is_refused_before_an_update():
    class Container(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})
            self.parts = [torch.optim.SGD([each], lr=lr) for each in self.param_groups[0]["params"]]

        def step(self, closure=None):
            for each in self.parts:
                each.step()

    optimizer = Container([weight(), weight()], lr=0.1)
    lrkit.warmup(10).bind(optimizer)
    with pytest.raises(InputError, match=r"Container makes its updates by the SGD that it has as parts, at lr 0.1"):
        update(optimizer)
    assert all(each.item() == 1 for each in optimizer.param_groups[0]["params"])
    for each in optimizer.parts:
        lrkit.warmup(10).bind(each)
    update(optimizer)
    assert [each.item() for each in optimizer.param_groups[0]["params"]] == [pytest.approx(0.99)] * 2


def test_an_optimizer_whose_parameters_are_others_is_refused_until_those_are_bound():
    class Layerwise(torch.optim.Optimizer):
        """As those that make updates in the backward pass: its own parameter is a dummy."""

        def __init__(self, optimizers):
            self.optimizer_dict = optimizers
            super().__init__([torch.zeros(1)], {"lr": 0.1})

        def step(self, closure=None):
            """Nothing."""

    parameters = [weight(), weight()]
    optimizer = Layerwise({each: torch.optim.SGD([each], lr=0.1) for each in parameters})
    with pytest.raises(InputError, match="Layerwise leaves updates to the 2 optimizers that it has as optimizer_dict"):
        lrkit.warmup(10).bind(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1
    for each in optimizer.optimizer_dict.values():
        lrkit.warmup(10).bind(each)
    assert lrkit.warmup(10).bind(optimizer).get_last_lr() == [pytest.approx(0.01)]


def test_an_optimizer_without_a_step_is_refused():
    class Fused(torch.optim.SGD):
        def fused_backward(self, loss, lr):
            """As LOMO's."""

    class Stepless(torch.optim.Optimizer):
        """Its updates are made by something else."""

    with pytest.raises(InputError, match=r"Fused makes its updates in fused_backward\(\), not in step\(\)"):
        lrkit.constant().bind(Fused([weight()]))
    with pytest.raises(InputError, match=r"Stepless makes its updates in another method, not in step\(\)"):
        lrkit.constant().bind(Stepless([weight()], {"lr": 0.1}))


def test_an_optimizer_that_was_not_set_up_is_refused_and_its_parts_are_named():
    class Chain(torch.optim.Optimizer):
        def __init__(self, *optimizers):
            self.parts, self.defaults = optimizers, {}
            self.param_groups = [group for each in optimizers for group in each.param_groups]

        def step(self, closure=None):
            """Those of its parts."""

    with pytest.raises(InputError, match=r"isn't one that hooks see.*bind the optimizers that it has as parts"):
        lrkit.constant().bind(Chain(sgd(), sgd()))


@pytest.mark.parametrize("through_data", [False, True])
def test_updates_that_no_step_makes_are_said_where_the_parameters_show_them(through_data):
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    parameter = optimizer.param_groups[0]["params"][0]

    def another_way():
        with torch.no_grad():
            (parameter.data if through_data else parameter).sub_(0.1)
        scheduler.step()

    another_way()
    another_way()
    with pytest.warns(ScheduleWarning, match=r"parameters change, but SGD.step\(\) was not called.*advance\(1\)"):
        another_way()
    another_way()  # once


@pytest.mark.parametrize("what", ["nothing changes", "weights are loaded", "it is advanced by hand"])
def test_a_schedule_that_waits_is_not_accused(what):
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    for call in range(5):
        scheduler.step()
        if what == "it is advanced by hand" or (what == "weights are loaded" and call == 2):
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0].sub_(0.1)
        if what == "it is advanced by hand":
            scheduler.advance(1)


# --- a bind that fails ----------------------------------------------------------------------------------


def failing(t):
    raise RuntimeError("no value")


FAILURES = {
    "a function that raises": (lrkit.warmup(2) * lrkit.from_callable(failing, steps=9)).bind,
    "a group that isn't there": lambda o: lrkit.warmup(2).bind(o, groups={7: lrkit.constant()}),
    "a hyper-parameter that isn't there": lambda o: lrkit.warmup(2).bind(o, hypers={"beta2": lrkit.constant()}),
    "an open length": lambda o: lrkit.warmup("5%").bind(o),
    "a policy": lambda o: lrkit.warmup(2).bind(o, policy="guess"),
    "a conflict": lambda o: lrkit.warmup(2).bind(o, on_conflict="guess"),
    "a hook": lambda o: lrkit.warmup(2).bind(o),
}


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("what", FAILURES)
def test_a_bind_that_fails_leaves_the_optimizer_as_it_was(what, bound, tensor, monkeypatch):
    shared = torch.tensor(0.1)
    optimizer = torch.optim.SGD([{"params": [weight()]}, {"params": [weight()]}], lr=shared if tensor else 0.1)
    if bound:
        scheduler = lrkit.linear(10, to=0).bind(optimizer)
        update(optimizer)
    groups, defaults = [dict(group) for group in optimizer.param_groups], dict(optimizer.defaults)
    values = [float(group["lr"]) for group in optimizer.param_groups]
    if what == "a hook":
        register, calls = optimizer.register_state_dict_post_hook, []

        def fail_once(hook):
            calls.append(hook)
            if len(calls) == 1:
                raise RuntimeError
            return register(hook)

        monkeypatch.setattr(optimizer, "register_state_dict_post_hook", fail_once)
    with pytest.raises((InputError, RuntimeError, TypeError)):
        FAILURES[what](optimizer)
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        assert group.keys() == before.keys()
        assert all(group[name] is before[name] for name in group)
    assert all(optimizer.defaults[name] is defaults[name] for name in defaults)
    assert [float(group["lr"]) for group in optimizer.param_groups] == values
    monkeypatch.undo()
    update(optimizer)
    if bound:
        assert scheduler_of(optimizer) is scheduler
        assert scheduler.steps == 2
        assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.08, 0.08])
    else:
        assert scheduler_of(optimizer) is None
        assert not optimizer._optimizer_step_pre_hooks


# --- others who write -----------------------------------------------------------------------------------


def by_hand(optimizer):
    optimizer.param_groups[0]["lr"] *= 0.1


def in_place(optimizer):
    optimizer.param_groups[0]["lr"].mul_(0.1)


def by_torch(optimizer):
    StepLR(optimizer, 1, gamma=0.1).step()


WRITERS = {"by hand": by_hand, "torch's scheduler": by_torch, "in place": in_place, "another tensor": by_hand}


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # torch's, of the order
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("synced", [False, True])
def test_what_others_write_between_updates_is_put_back_and_said_once(writer, synced):
    tensor = writer in ("in place", "another tensor")
    optimizer = torch.optim.SGD([{"params": [weight()], "name": "head"}], lr=torch.tensor(0.1) if tensor else 0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    rates = used(optimizer, 2)
    for attempt in range(2):
        WRITERS[writer](optimizer)
        step = scheduler.step if synced else lambda: rates.extend(used(optimizer, 1))
        if attempt:
            step()
        else:
            sentence = (
                r"lr of param group 0 \('head'\) was changed between two updates, from 0.08 to 0.008; "
                r"'linear\(10, to=0\)' sets it, so this update uses 0.08. .*on_conflict='yield'"
            )
            with pytest.warns(ScheduleWarning, match=sentence) as said:
                step()
            assert said[0].filename == __file__
        if synced:
            rates.extend(used(optimizer, 1))
    assert rates == pytest.approx(LINEAR[:4])


def test_each_group_and_each_hyper_parameter_is_said():
    optimizer = sgd(0.1, 0.2, momentum=0.9)
    lrkit.linear(10, to=0).bind(optimizer, momentum=lrkit.constant())
    for group, hyper in itertools.product(optimizer.param_groups, ("lr", "momentum")):
        group[hyper] = 0.5
    with pytest.warns(ScheduleWarning) as said:
        update(optimizer)
    what = sorted(str(each.message).partition(" was ")[0] for each in said)
    assert what == [f"{hyper} of param group {index}" for hyper in ("lr", "momentum") for index in (0, 1)]


def test_onecycle_left_in_the_loop_writes_betas_too():
    optimizer = torch.optim.AdamW([weight()], lr=0.1, betas=(0.9, 0.99))
    lrkit.linear(10, to=0).bind(optimizer, momentum=lrkit.constant(), hypers={"beta2": lrkit.linear(10, to=0.9)})
    other = OneCycleLR(optimizer, 1.0, total_steps=10)
    with pytest.warns(ScheduleWarning) as said:
        update(optimizer)
    other.step()
    update(optimizer)
    assert {str(each.message).partition(" ")[0] for each in said} == {"lr", "momentum"}
    group = optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(0.08)
    assert group["betas"] == pytest.approx((0.9, 0.99 * 0.98))


class Hypergradient(torch.optim.SGD):
    """Changes its own rate at the end of each step."""

    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["lr"] += 0.5


def test_what_is_written_inside_of_a_step_is_said_as_such():
    optimizer = Hypergradient([weight()], lr=0.1)
    lrkit.linear(10, to=0).bind(optimizer)
    sentence = "was changed inside of step.. or by a hook after it, from 0.1 to 0.6; .* the next begins with 0.09"
    with pytest.warns(ScheduleWarning, match=sentence):
        assert used(optimizer, 1) == [0.1]
    assert used(optimizer, 4) == LINEAR[1:]


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("writer", [by_hand, lambda o: StepLR(o, 1, gamma=0.1).step()])
@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # torch's, of the order
def test_what_others_write_can_be_refused_before_anything_moves(writer, tensor):
    optimizer = torch.optim.SGD([weight()], lr=torch.tensor(0.1) if tensor else 0.1, momentum=0.9)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse")
    assert used(optimizer, 2) == pytest.approx(LINEAR[:2])
    writer(optimizer)
    before = optimizer.param_groups[0]["params"][0].clone()
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"between two updates, from 0.08 to 0.008, .*on_conflict='refuse'; leave it"
        ):
            update(optimizer)
        assert torch.equal(optimizer.param_groups[0]["params"][0], before)
        assert scheduler.steps == 2
    with pytest.raises(InputError, match="on_conflict='refuse'"):
        scheduler.step()
    scheduler.release()
    update(optimizer)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.008)


@pytest.mark.parametrize("tensor", [False, True])
def test_what_is_written_inside_of_a_step_is_refused_before_the_next(tensor):
    optimizer = Hypergradient([weight()], lr=torch.tensor(0.1) if tensor else 0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse")
    assert used(optimizer, 1) == [pytest.approx(0.1)]
    with pytest.raises(InputError, match=r"changed inside of step\(\) or by a hook after it, from 0.1 to 0.6"):
        update(optimizer)
    assert scheduler.steps == 1


@pytest.mark.parametrize("tensor", [False, True])
def test_what_others_write_can_be_left_to_them_until_it_is_taken_back(tensor):
    def two():
        return torch.optim.SGD(
            [{"params": [weight()]}, {"params": [weight()]}], lr=torch.tensor(0.1) if tensor else 0.1
        )

    optimizer = two()
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="yield")
    update(optimizer)
    by_hand(optimizer)
    for _ in range(2):
        update(optimizer)
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.009, 0.07])
    assert scheduler.yielded == [("lr", 0)]
    assert scheduler.get_last_lr() == [pytest.approx(0.009), pytest.approx(0.07)]

    other = two()
    resumed = lrkit.linear(10, to=0).bind(other)
    other.load_state_dict(optimizer.state_dict())
    assert resumed.yielded == [("lr", 0)]
    update(other)
    assert [float(group["lr"]) for group in other.param_groups] == pytest.approx([0.009, 0.06])

    for each in (scheduler, resumed):
        each.take_back()
        assert each.yielded == []
        assert each.get_last_lr()[0] == each.get_last_lr()[1]


@pytest.mark.parametrize("made", ["first", "on the way"])
def test_torchs_swa_scheduler_has_the_rate_from_its_first_step_on(made):
    optimizer = sgd()
    scheduler = lrkit.linear(30, to=0).bind(optimizer)
    swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=1) if made == "first" else None
    rates = []
    for epoch in range(6):
        if epoch == 3 and swa is None:
            swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=1)
        rates.append(used(optimizer, 3))
        if epoch >= 3:
            swa.step()
        scheduler.step()
    line = [round(0.1 * (1 - t / 30), 9) for t in range(30)]
    assert rates[:3] == [line[:3], line[3:6], line[6:9]]
    assert rates[3] == (line[9:12] if made == "first" else [line[9]] * 3)
    assert rates[4:] == [[0.05] * 3] * 2
    assert scheduler.steps == 18


def test_an_equal_value_is_nobodys_word():
    optimizer = sgd(momentum=0.9)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse", momentum=lrkit.constant())
    for _ in range(5):
        update(optimizer)
        group = optimizer.param_groups[0]
        group["lr"], group["momentum"] = float(np.float32(group["lr"])), torch.tensor(float(group["momentum"]))
    assert scheduler.get_last_lr() == [pytest.approx(0.05)]
    update(optimizer)
    assert optimizer.param_groups[0]["lr"] == lrkit.linear(10, to=0)(6, 0.1)


def test_a_rate_in_bfloat16_is_its_own():
    optimizer = torch.optim.SGD([weight()], lr=torch.tensor(0.1, dtype=torch.bfloat16))
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse")
    for _ in range(10):
        update(optimizer)
        scheduler.step()
    assert float(optimizer.param_groups[0]["lr"]) == 0


@pytest.mark.parametrize("policy", ["guess", None, 1])
def test_an_unknown_policy_for_conflicts_is_refused(policy):
    with pytest.raises(InputError, match="on_conflict must be one of 'warn', 'refuse', 'yield', not"):
        lrkit.constant().bind(sgd(), on_conflict=policy)


# --- bases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [torch.optim.lr_scheduler, torch_names])
@pytest.mark.parametrize("loaded", [False, True])
def test_after_another_scheduler_the_base_is_where_that_began(module, loaded):
    optimizer = sgd()
    other = module.LinearLR(optimizer, 1.0, 0.0, 10)
    for _ in range(8):
        update(optimizer)
        other.step()
    if loaded:
        state, optimizer = optimizer.state_dict(), sgd(5.0)
        optimizer.load_state_dict(state)
    assert lrkit.cosine(10, to=0).bind(optimizer).base_lrs == [0.1]
    assert lrkit.cosine(10, to=0).bind(optimizer, lr=0.3).base_lrs == [0.3]


def test_bound_then_loaded_from_torchs_checkpoint_the_base_is_the_bound_one():
    source = sgd()
    other = LinearLR(source, 1.0, 0.0, 10)
    for _ in range(8):
        update(source)
        other.step()
    optimizer = sgd()
    scheduler = lrkit.cosine(10, to=0).bind(optimizer)
    optimizer.load_state_dict(source.state_dict())
    assert scheduler.base_lrs == [0.1]
    assert scheduler.get_last_lr() == [0.1]


def test_a_rate_set_by_hand_after_lrkits_schedule_is_the_base():
    optimizer = sgd()
    lrkit.linear(10, to=0).bind(optimizer).release()
    optimizer.param_groups[0]["lr"] = 0.7
    assert lrkit.constant().bind(optimizer).base_lrs == [0.7]


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(1), 1, True and 0.5])
def test_numbers_of_numpy_are_numbers(number):
    optimizer = sgd(number, momentum=np.float32(0.5))
    lrkit.linear(10, to=0).bind(optimizer, momentum=lrkit.linear(10, to=0), lr=np.float32(0.5))
    update(optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.45)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.45)


# --- groups ---------------------------------------------------------------------------------------------


def test_a_group_that_is_added_has_its_rate_at_once():
    optimizer = sgd()
    lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 1.0})
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.09, 0.9])


def test_groups_are_told_apart_by_identity():
    optimizer = sgd(0.1, 0.2)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, groups={0: lrkit.constant()})
    update(optimizer)
    optimizer.param_groups.reverse()
    optimizer.param_groups.insert(0, {**sgd(1.0).param_groups[0], "lr": 1.0})
    update(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.8, 0.2 * 0.8, 0.1])
    assert scheduler.base_lrs == [1.0, 0.2, 0.1]


def test_groups_that_are_replaced_by_copies_are_written():
    optimizer = sgd(0.1, 0.2)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    optimizer.param_groups[:] = [dict(group) for group in optimizer.param_groups]
    update(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.08, 0.16])
    assert scheduler.steps == 2


def test_one_group_of_several_that_is_replaced_is_refused():
    optimizer = sgd(0.1, 0.2)
    lrkit.linear(10, to=0).bind(optimizer)
    optimizer.param_groups[0] = dict(optimizer.param_groups[0])
    with pytest.raises(InputError, match="1 of 2 param groups of the optimizer were removed; bind anew"):
        update(optimizer)


def scaled(*scales, lrs=None, default=0.1):
    groups = [{"params": [weight()], "lr_scale": scale} for scale in scales]
    for group, lr in zip(groups, lrs or (), strict=False):
        group["lr"] = lr
    return torch.optim.AdamW(groups, lr=default)


def test_the_scale_of_a_layer_is_honoured():
    optimizer = scaled(0.25, 0.5, 1.0)
    scheduler = lrkit.linear(4, to=0).bind(optimizer)
    update(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01875, 0.0375, 0.075])
    assert scheduler.base_lrs == [0.1] * 3
    other = scaled(0.25, 0.5, 1.0)
    lrkit.linear(4, to=0).bind(other)
    other.load_state_dict(optimizer.state_dict())
    update(other)
    assert [group["lr"] for group in other.param_groups] == pytest.approx([0.0125, 0.025, 0.05])


def test_a_scale_that_is_in_the_groups_rate_already_isnt_applied_again():
    optimizer = scaled(0.25, 1.0, lrs=(0.025, 0.1))
    lrkit.linear(4, to=0).bind(optimizer)
    update(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01875, 0.075])


def test_a_scale_that_is_no_number_is_refused():
    with pytest.raises(InputTypeError, match="lr_scale of a param group must be a number, not 'half'"):
        lrkit.constant().bind(scaled("half"))


# --- what torch does ------------------------------------------------------------------------------------


def test_defect_a_rate_set_by_hand_lasts_for_one_update_without_a_word():
    def go(bind):
        optimizer = sgd()
        step = bind(optimizer)
        update(optimizer)
        step()
        by_hand(optimizer)
        rates = [optimizer.param_groups[0]["lr"]]
        update(optimizer)
        step()
        return [*rates, optimizer.param_groups[0]["lr"]]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert go(lambda o: LambdaLR(o, lambda t: 1.0).step) == [pytest.approx(0.01), 0.1]
    with pytest.warns(ScheduleWarning, match="was changed between two updates, from 0.1 to 0.01"):
        assert go(lambda o: lrkit.constant().bind(o).step)[1] == 0.1


def test_defect_two_schedulers_on_an_optimizer_bend_each_other_without_a_word():
    optimizer = sgd()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torchs = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10), StepLR(optimizer, 2, gamma=0.1)]
        for _ in range(5):
            update(optimizer)
            for each in torchs:
                each.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5 * 0.01)  # what neither of the two says

    optimizer = sgd()
    lrkit.cosine(10, to=0).bind(optimizer)
    other = StepLR(optimizer, 2, gamma=0.1)

    def step(optimizer):
        update(optimizer)
        other.step()

    with pytest.warns(ScheduleWarning, match="was changed between two updates"):
        assert used(optimizer, 10, step) == [round(0.1 * lrkit.cosine(10, to=0)(t), 9) for t in range(10)]


def test_defect_torchs_schedulers_ignore_the_scale_of_a_layer():
    optimizer = scaled(0.25, 1.0)
    torchs = LinearLR(optimizer, 1.0, 0.0, 4)
    update(optimizer)
    torchs.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.075, 0.075])
    optimizer = scaled(0.25, 1.0)
    lrkit.linear(4, to=0).bind(optimizer)
    update(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01875, 0.075])


@pytest.mark.parametrize("saved", ["optimizer", "scheduler"])
def test_what_others_wrote_is_said_when_a_checkpoint_is_made(saved):
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    by_hand(optimizer)
    with pytest.warns(ScheduleWarning, match="was changed between two updates, from 0.09 to 0.009"):
        (optimizer if saved == "optimizer" else scheduler).state_dict()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.09)


def test_a_wrapper_that_saves_a_state_of_its_own_resumes_the_schedule():
    class Resumable(Sharpness):
        def load_state_dict(self, state_dict):
            super().load_state_dict(state_dict)
            self.base_optimizer.param_groups = self.param_groups

    def made():
        optimizer = Resumable([weight()], lr=0.1)
        return optimizer, lrkit.linear(10, to=0).bind(optimizer)

    def train(optimizer, count):
        rates = []
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
            optimizer.first_step()
            optimizer.second_step()
        return rates

    optimizer, _ = made()
    train(optimizer, 3)
    other, scheduler = made()
    other.load_state_dict(optimizer.state_dict())
    assert train(other, 2)[1] == pytest.approx(0.06)
    assert scheduler.steps == 5


def test_what_isnt_on_the_way_to_the_rate_of_averaging_is_said():
    optimizer = sgd()
    SWALR(optimizer, swa_lr=0.05)
    lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    by_hand(optimizer)
    with pytest.warns(ScheduleWarning, match="was changed between two updates, from 0.09 to 0.009"):
        update(optimizer)


def test_torchs_swa_scheduler_without_annealing_waits_for_its_step():
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=0)  # writes its rate at once
    assert used(optimizer, 3) == pytest.approx(LINEAR[:3])
    swa.step()
    assert used(optimizer, 2) == [0.05, 0.05]
    assert scheduler.yielded == [("lr", 0)]


def test_an_optimizer_that_finds_its_own_rates_is_refused():
    optimizer = torch.optim.Adafactor([weight()])
    optimizer.param_groups[0]["relative_step"] = True
    with pytest.raises(InputError, match="make it with relative_step=False"):
        lrkit.constant().bind(optimizer)


def test_torchs_sequential_scheduler_is_refused_in_a_sentence():
    optimizer = sgd()
    parts = [LambdaLR(optimizer, lambda t: 1.0), lrkit.linear(10, to=0).bind(optimizer)]
    with pytest.raises(InputError, match=r"counts the optimizer's updates, so nobody else sets its clock, .* with >>"):
        torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[3])


def test_a_rate_that_wants_gradients_is_written():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.1, requires_grad=True)
    lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.09)


def test_the_rate_that_is_asked_for_is_the_one_that_the_next_update_uses():
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    by_hand(optimizer)
    with pytest.warns(ScheduleWarning, match="was changed between two updates, from 0.1 to 0.01"):
        assert scheduler.get_last_lr() == [0.1]
    assert used(optimizer, 1) == [0.1]


@pytest.mark.parametrize(
    "parameter",
    [
        lambda: torch.nn.Parameter(torch.ones(1, dtype=torch.complex64)),
        lambda: torch.nn.Parameter(torch.ones(2, device="meta")),
        lambda: torch.nn.Parameter(torch.full((1,), torch.nan)),
        lambda: torch.nn.LazyLinear(1).weight,
    ],
)
def test_whatever_parameters_are_a_schedule_that_waits_is_not_accused(parameter):
    optimizer = torch.optim.SGD([parameter()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse")
    for _ in range(4):
        scheduler.step()


def test_an_advance_that_is_refused_has_changed_nothing():
    optimizer = sgd()
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict="refuse")
    optimizer.param_groups[0]["lr"] = 0.5
    for call in (lambda: scheduler.advance(5), scheduler.sync, scheduler.step):
        with pytest.raises(InputError, match=r"from 0.1 to 0.5"):
            call()
    assert scheduler.steps == 0
    optimizer.param_groups[0]["lr"] = 0.1
    scheduler.advance(5)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_groups_that_are_all_gone_are_said():
    optimizer = sgd()
    lrkit.linear(10, to=0).bind(optimizer)
    optimizer.param_groups.clear()
    with pytest.raises(InputError, match="1 of 1 param groups of the optimizer were removed"):
        optimizer.step()


def test_a_rate_of_inference_mode_is_replaced():
    with torch.inference_mode():
        rate = torch.tensor(0.1)
    optimizer = torch.optim.SGD([weight()], lr=rate)
    lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.09)

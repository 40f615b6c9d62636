"""Trainings with Fabric that are saved and loaded by it: a plan bound to the wrapped optimizer or the raw one."""

import pytest
import torch
from torch import nn

import lrkit
from lrkit import InputError, ScheduleWarning

POLICIES = [None, "keep", "stretch", "replace", "restart"]
ORDERS = ["bind, load", "load, bind", "both", "scheduler"]  # both: the scheduler is in Fabric's state too
LINEAR = lrkit.linear(to=0)


def falling(start, end, length=None, base=0.1):
    length = end if length is None else length
    return pytest.approx([base * max(1 - t / length, 0) for t in range(start, end)], abs=1e-12)


class Training:
    """A model, its optimizer and a scheduler, in Fabric's hands."""

    def __init__(
        self, *, path=None, order="bind, load", raw=False, plan=LINEAR, steps=10, made=0.1, kind="AdamW", **options
    ):
        from lightning.fabric import Fabric

        self.fabric = Fabric(accelerator="cpu", devices=1)
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=made)
        self.model, self.optimizer = self.fabric.setup(model, optimizer)
        self.state = {"model": self.model, "optimizer": self.optimizer}

        def bind():
            self.scheduler = None
            if plan is not None:
                self.scheduler = plan.bind(optimizer if raw else self.optimizer, steps=steps, **options)

        if order == "load, bind" and path is not None:
            self.fabric.load(path, self.state)
        bind()
        if order in ("both", "scheduler"):
            self.state["scheduler"] = self.scheduler
        if path is not None and order == "scheduler":
            self.fabric.load(path, {"scheduler": self.scheduler}, strict=False)
        elif path is not None and order != "load, bind":
            self.fabric.load(path, self.state)

    def updates(self, count):
        used = []
        for _ in range(count):
            used.append(self.optimizer.param_groups[0]["lr"])
            self.fabric.backward(self.model(torch.ones(1, 1)).sum())
            self.optimizer.step()
            self.optimizer.zero_grad()
        return used

    def save(self, path):
        self.fabric.save(path, self.state)
        return path

    @property
    def weights(self):
        return [each.item() for each in self.model.parameters()]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """After 4 of 10 updates: with lrkit, and without."""
    folder = tmp_path_factory.mktemp("fabric")
    for raw in (False, True):
        training = Training(order="both", raw=raw)
        training.updates(4)
        training.save(folder / f"{raw}.ckpt")
    for kind in ("AdamW", "SGD"):
        training = Training(plan=None, kind=kind)
        training.updates(4)
        training.save(folder / f"{kind}.ckpt")
    return folder


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("was_raw", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("policy", POLICIES)
def test_where_nothing_has_changed_no_policy_is_needed(saved, order, raw, was_raw, policy):
    whole = Training()
    whole.updates(10)
    training = Training(path=saved / f"{was_raw}.ckpt", order=order, raw=raw, policy=policy)
    used = training.updates(6)
    assert used == falling(0, 6, 10) if policy == "restart" else used == falling(4, 10)
    if policy != "restart" and order != "scheduler":
        assert training.weights == whole.weights


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("steps", [8, 20])
def test_another_length_needs_a_policy(saved, order, raw, policy, steps):
    make = {"path": saved / "False.ckpt", "order": order, "raw": raw, "steps": steps, "policy": policy}
    if policy is None:
        with pytest.raises(InputError, match=f"over 10 steps, and .* over {steps} steps is bound; name the policy"):
            Training(**make)
        return
    right = {"keep": falling(4, steps, 10), "restart": falling(0, steps - 4, steps)}
    assert Training(**make).updates(steps - 4) == right.get(policy, falling(4, steps))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("how", ["named", "made"])
def test_another_rate(saved, order, policy, how):
    rate = {"lr": 0.05} if how == "named" else {"made": 0.05}
    make = {"path": saved / "False.ckpt", "order": order, "policy": policy, **rate}
    if how == "named" and policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            Training(**make)
        return
    base = 0.05 if policy in ("replace", "restart") or (how, policy) == ("named", "stretch") else 0.1
    if how == "made" and policy in (None, "stretch"):
        with pytest.warns(ScheduleWarning, match=r"made with lr 0\.05 and its state with lr 0\.1") as said:
            training = Training(**make)
        assert len(said) == 1
    else:
        training = Training(**make)
    assert training.updates(6) == (falling(0, 6, 10, base) if policy == "restart" else falling(4, 10, base=base))


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("order", ["bind, load", "load, bind"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_checkpoint_without_lrkit_is_said_and_goes_on_where_a_policy_says(saved, order, raw, policy):
    training = Training(path=saved / "AdamW.ckpt", order=order, raw=raw, policy=policy)
    if policy in ("replace", "restart"):
        assert training.updates(6) == (falling(0, 6, 10) if policy == "restart" else falling(4, 10))
        return
    with pytest.warns(ScheduleWarning, match="of 4 updates by its own count, says nothing of lrkit") as said:
        assert training.updates(6) == falling(0, 6, 10)
    assert len(said) == 1


def test_an_optimizer_that_counts_nothing_is_told_where_it_goes_on(saved):
    make = {"path": saved / "SGD.ckpt", "kind": "SGD"}
    for policy in (None, "replace"):
        with pytest.warns(ScheduleWarning, match=r"says nothing of lrkit, so 'linear\(to=0\)' goes on at update 0"):
            assert Training(policy=policy, **make).updates(6) == falling(0, 6, 10)
    training = Training(policy="replace", **make)
    training.scheduler.advance(4)
    assert training.updates(6) == falling(4, 10)


@pytest.mark.parametrize("order", ORDERS)
def test_what_has_begun_anew_goes_on_without_a_policy(saved, tmp_path, order):
    plan = lrkit.warmup(2) >> LINEAR
    anew = Training(path=saved / "False.ckpt", order="both", plan=plan, steps=6, policy="restart")
    assert anew.updates(3) == pytest.approx([0.05, 0.1, 0.1])
    path = anew.save(tmp_path / "anew.ckpt")
    training = Training(path=path, order=order, plan=plan, steps=6)
    assert training.updates(3) == anew.updates(3) == pytest.approx([0.075, 0.05, 0.025])


@pytest.mark.parametrize("order", ["both", "bind, load"])
def test_a_plateau_goes_on(tmp_path, order):
    plan = lrkit.plateau(patience=1, factor=0.5)

    def go(training, count):
        used = []
        for _ in range(count):
            used += training.updates(1)
            training.scheduler.step(1.0)
        return used

    whole = go(Training(plan=plan), 9)
    first = Training(plan=plan, order="both")
    assert go(first, 4) == whole[:4]
    assert go(Training(plan=plan, path=first.save(tmp_path / "a.ckpt"), order=order), 5) == whole[4:]
    assert len(set(whole)) > 3

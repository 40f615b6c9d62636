"""A run that goes on is a run that was never interrupted: weights, history, rates, to the bit."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import lrkit
from lrkit import InputError, Observer
from lrkit.training.data_order import shuffled
from test_loop import Stream, make

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(70, 6, generator=GENERATOR)
Y = (X.sum(dim=1) > 0).long()


class Augmented(Dataset):
    """Items that differ each time they are read."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index] + random.random() + float(np.random.random()) + torch.rand(()), Y[index]


class Taken(Observer):
    """Takes a snapshot after some update, and the weights at the end."""

    def __init__(self, at=None, when="step"):
        self.at, self.when, self.snapshot, self.weights = at, when, None, None

    def start(self, setup):
        self.take = setup.snapshot

    def step(self, steps):
        if self.when == "step" and steps == self.at:
            self.snapshot = self._copy()

    def epoch(self, history):
        if self.when == "epoch" and len(history.epochs) == self.at:
            self.snapshot = self._copy()
        self.weights = [each.clone() for each in self.take()["model"].values()]

    def _copy(self):
        torch.save(self.take(), path := self.folder / "snapshot")
        return torch.load(path, weights_only=True)


KINDS = {
    "tensors, dropout, momentum": {},
    "batch norm and adam": {
        "model": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)),
        "optimizer": lambda p: torch.optim.Adam(p, lr=0.01),
    },
    "accumulation and clipping": {"batch_size": 4, "accumulate": 4, "clip_norm": 0.5},
    "an optimizer of some parameters": {
        "optimizer": lambda p: torch.optim.SGD(list(p)[2:], lr=0.1, momentum=0.9),
        "clip_norm": 0.05,
    },
    "augmenting dataset": {"train": Augmented(), "valid": Augmented()},
    "augmenting dataset in workers": {"train": Augmented(), "workers": 1, "epochs": 3},
    "stream": {"train": Stream(), "epochs": None, "steps": 20},
    "bfloat16": {"precision": "bfloat16"},
    "float16 with a scaler": {"precision": "float16"},
}
PLANS = ["warmup(3) >> linear(to=0)", "warmup(5) >> plateau(patience=0, factor=0.5, threshold=0.3)"]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("when", "at"), [("step", 1), ("step", 5), ("step", 8), ("epoch", 1), ("epoch", 2)])
def test_resumed_anywhere_is_never_interrupted(tmp_path, kind, plan, when, at):
    task = make(**KINDS[kind])
    taken = Taken(at, when)
    taken.folder = tmp_path
    whole = lrkit.run(task, plan, seed=2, observers=[taken])
    again = Taken()
    resumed = lrkit.run(task, plan, seed=2, observers=[again], resume=taken.snapshot)
    assert resumed == whole
    for one, other in zip(again.weights, taken.weights, strict=True):
        assert torch.equal(one, other)


def test_a_finished_run_goes_no_further(tmp_path):
    taken = Taken(4, "epoch")
    taken.folder = tmp_path
    whole = lrkit.run(make(), PLANS[0], observers=[taken])
    assert lrkit.run(make(), PLANS[0], resume=taken.snapshot) == whole


@pytest.mark.parametrize(("policy", "last"), [("keep", 0.0), ("stretch", 0.5 / 27), ("replace", 0.5 / 27)])
def test_more_epochs_need_a_policy(tmp_path, policy, last):
    taken = Taken(4, "epoch")
    taken.folder = tmp_path
    lrkit.run(make(), PLANS[0], observers=[taken])
    longer = make(epochs=6)
    with pytest.raises(InputError, match=r"over 20 steps, and .* over 30 steps is bound; name the policy"):
        lrkit.run(longer, PLANS[0], resume=taken.snapshot)
    history = lrkit.run(longer, PLANS[0], resume=taken.snapshot, policy=policy)
    assert len(history.epochs) == 6
    assert history.lr[-1] == pytest.approx(last)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": lambda: nn.Linear(6, 2)},
        {"optimizer": lambda p: torch.optim.SGD([{"params": [each]} for each in p], lr=0.1)},
    ],
)
def test_a_snapshot_of_another_model_or_optimizer_is_refused(tmp_path, changes):
    taken = Taken(3)
    taken.folder = tmp_path
    lrkit.run(make(), PLANS[0], observers=[taken])
    with pytest.raises(InputError, match="the checkpoint doesn't fit the task") as caught:
        lrkit.run(make(**changes), PLANS[0], resume=taken.snapshot)
    assert "\n" not in str(caught.value)


def test_early_stopping_ends_after_that_many_epochs_without_a_better_loss():
    stalled = make(loss=lambda output, target: 0 * output.sum() + 1.0, epochs=20, early_stopping=3)
    assert len(lrkit.run(stalled, "constant()").epochs) == 4
    assert len(lrkit.run(dataclasses.replace(stalled, valid=None), "constant()").epochs) == 4


def test_clipping_limits_the_gradient():
    norms = []

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.1)
        made.register_step_pre_hook(
            lambda o, *_: norms.append(torch.cat([p.grad.flatten() for p in o.param_groups[0]["params"]]).norm().item())
        )
        return made

    lrkit.run(make(optimizer=optimizer, clip_norm=0.01), "constant()")
    assert max(norms) <= 0.0101
    assert len(norms) == 20


# --- beginning anew with what was trained ----------------------------------------------------------------


def snapshot_of(tmp_path, task, at=7, plan=PLANS[0], **options):
    taken = Taken(at)
    taken.folder = tmp_path
    lrkit.run(task, plan, observers=[taken], **options)
    return taken.snapshot


def by_hand(task, plan, snapshot, *, seed):
    """The losses and weights of a run that begins with the weights and moments of a snapshot, in plain torch."""
    torch.manual_seed(seed)
    model = task.model()
    optimizer = task.optimizer(model.parameters())
    [base] = {group["lr"] for group in optimizer.param_groups}
    model.load_state_dict(snapshot["model"])
    optimizer.load_state_dict(snapshot["optimizer"])
    schedule, losses = lrkit.parse(plan).over(task.epochs * 5, epoch_steps=5), []
    for epoch in range(1, task.epochs + 1):
        model.train()
        for rows in shuffled(len(X), seed, epoch).split(task.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = schedule(len(losses), base)
            optimizer.zero_grad()
            loss = task.loss(model(X[rows]), Y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, list(model.state_dict().values())


PLAIN = ("tensors, dropout, momentum", "batch norm and adam", "an optimizer of some parameters")


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_restarted_run_is_one_that_begins_with_those_weights_and_moments(tmp_path, kind, seed):
    task = make(**{**KINDS[kind], "clip_norm": None})
    snapshot = snapshot_of(tmp_path, task, seed=2)
    last = Taken()
    history = lrkit.run(task, PLANS[0], seed=seed, observers=[last], resume=snapshot, policy="restart")
    losses, weights = by_hand(task, PLANS[0], snapshot, seed=seed)
    assert history.losses.tolist() == losses
    for one, other in zip(last.weights, weights, strict=True):
        assert torch.equal(one, other)
    assert [len(history.epochs), history.epochs[0].step] == [4, 5]
    assert history.lr.tolist() == lrkit.run(task, PLANS[0]).lr.tolist()
    assert history.losses.tolist() != lrkit.run(task, PLANS[0], seed=seed).losses.tolist()


class TakenAtOnce(Taken):
    """Before the first update."""

    def start(self, setup):
        super().start(setup)
        self.setup, self.snapshot = setup, self._copy()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 1, 8])
def test_a_restarted_run_goes_on_as_any_other(tmp_path, kind, plan, at):
    task = make(**KINDS[kind])
    snapshot = snapshot_of(tmp_path, task)
    taken = Taken(at) if at else TakenAtOnce()
    taken.folder = tmp_path
    whole = lrkit.run(task, plan, seed=2, observers=[taken], resume=snapshot, policy="restart")
    again = TakenAtOnce()
    again.folder = tmp_path
    resumed = lrkit.run(task, plan, seed=2, observers=[again], resume=taken.snapshot)
    assert resumed == whole
    for one, other in zip(again.weights, taken.weights, strict=True):
        assert torch.equal(one, other)
    assert whole.made["origin"] == resumed.made["origin"] == {"steps": 7, "epochs": len(snapshot["record"]["epochs"])}
    assert whole.made["policy"] is resumed.made["policy"] is None
    assert (again.setup.steps_done, again.setup.restarted) == (at, False)


def test_what_began_anew_says_so_and_nothing_else_has_an_origin(tmp_path):
    taken = TakenAtOnce()
    taken.folder = tmp_path
    snapshot = snapshot_of(tmp_path, make())
    lrkit.run(make(), PLANS[1], observers=[taken], resume=snapshot, policy="restart")
    assert (taken.setup.restarted, taken.setup.steps_done, taken.setup.history) == (True, 0, None)
    for policy in (None, "keep", "stretch", "replace"):
        assert "origin" not in lrkit.run(make(), PLANS[0], resume=snapshot, policy=policy).made


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(None, None, 0.5), (0.2, None, 0.5), (0.2, 0.2, 0.2), (0.2, 0.3, 0.3), (None, 0.3, 0.3)],
)
def test_the_rate_of_a_restarted_run_is_the_named_one_or_the_tasks(tmp_path, before, now, expected):
    snapshot = snapshot_of(tmp_path, make(), lr=before)
    history = lrkit.run(make(), "constant()", lr=now, resume=snapshot, policy="restart")
    assert history.lr.tolist() == [expected] * 20
    assert (history.made["lr"], history.made["named_lr"]) == (expected, now)


def test_early_stopping_and_the_gradient_scaler_of_a_restarted_run(tmp_path):
    stalled = make(loss=lambda output, target: 0 * output.sum() + 1.0, epochs=20, early_stopping=3)
    snapshot = snapshot_of(tmp_path, stalled, at=20)
    assert len(lrkit.run(stalled, PLANS[0], resume=snapshot, policy="restart").epochs) == 4
    half, taken = make(precision="float16"), TakenAtOnce()
    taken.folder = tmp_path
    snapshot = snapshot_of(tmp_path, half)
    lrkit.run(half, PLANS[0], observers=[taken], resume=snapshot, policy="restart")
    assert taken.snapshot["scaler"] == snapshot["scaler"] != {}


def test_a_restart_needs_a_snapshot(tmp_path):
    with pytest.raises(InputError, match="'restart' begins with the weights of a snapshot, and resume has none; give"):
        lrkit.run(make(), PLANS[0], policy="restart")
    with pytest.raises(InputError, match="the checkpoint doesn't fit the task"):
        lrkit.run(make(model=lambda: nn.Linear(6, 2)), PLANS[0], resume=snapshot_of(tmp_path, make()), policy="restart")

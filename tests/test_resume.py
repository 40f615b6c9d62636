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

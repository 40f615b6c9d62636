"""What seeds and lanes have to themselves, where it would be easy to share it by mistake."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lrkit
from lane_cases import OPTIMIZERS, Augmented, alone, make, work_of
from lrkit import InputError, Lane
from lrkit.training.lanes.group import LaneGroup
from lrkit.training.lanes.trial import Trial
from lrkit.training.lanes.update import UnbatchableError
from lrkit.training.randomness import seeded
from test_lanes import blown_up

SEEDS = [Lane(lr=0.1, seed=seed) for seed in (0, 1)]


def agree(task, lanes, **options):
    """Each lane ends as `run` would have ended; where that diverges, as its observers have seen it."""
    histories = lrkit.run_lanes(task, lanes, backend="eager", **options)
    for lane, history in zip(lanes, histories, strict=True):
        theirs = alone(task, lane).history
        np.testing.assert_allclose(history.losses, theirs.losses, rtol=1.2e-7, atol=1e-9)
        assert valid_losses(history) == pytest.approx(valid_losses(theirs), rel=1e-7, nan_ok=True)
    return histories


def valid_losses(history):
    return [np.nan if each.valid_loss is None else each.valid_loss for each in history.epochs]


# --- seeds that leave on the way --------------------------------------------------------------------


@pytest.mark.parametrize("wild", [[0], [1], [0, 3], [0, 1, 2]])
def test_seeds_that_diverge_in_mid_epoch_leave_the_batches_of_others_to_them(wild, monkeypatch):
    monkeypatch.setattr("lrkit.training.lanes.group.CHECK_EVERY", 2)
    monkeypatch.setattr("lrkit.training.run_state.CHECK_EVERY", 2)
    task = make(optimizer=OPTIMIZERS["SGD"], batch_size=4, loss=squared)
    lanes = [Lane(lr=1e200 if seed in wild else 0.01, seed=seed) for seed in range(4)]
    histories = agree(task, lanes)
    assert [history.diverged is not None for history in histories] == [seed in wild for seed in range(4)]


def squared(output, target):
    return (output - functional.one_hot(target, 3)).square().mean()  # torch can batch this over seeds too


@pytest.mark.slow
def test_seeds_that_were_dropped_leave_a_stack_that_is_compiled_again(monkeypatch):
    monkeypatch.setattr("lrkit.training.lanes.parts._COMPILE_PAYS", 0)
    work = work_of(make(epochs=6), [Lane(lr=0.1, seed=seed) for seed in range(4)])
    with seeded(0, work.place):
        group = LaneGroup(work, range(4), compiled=True)
        for _ in range(2):
            for batches in group.updates():
                group.update(batches)
            group.end_epoch()
            group.part_with([2, 3])
    [graphs] = work.graphs.values()
    assert [size for size, *_ in graphs] == [(4, 1), (2, 1)]


@pytest.mark.parametrize(("seeds", "kind"), [(1, "Adam"), (3, "SGD")])
def test_many_lanes_go_in_parts_that_share_a_graph_however_many_are_left(seeds, kind, without_inductor):
    task = make(optimizer=OPTIMIZERS[kind], epochs=4, model=lambda: nn.Linear(16, 3).double())
    lanes = [Lane("linear(to=0)", lr=0.001 * 1.1**each, seed=seed) for each in range(48) for seed in range(seeds)]
    work, numbers, sizes = work_of(task, lanes), range(len(lanes)), []
    histories = {}
    with seeded(0, work.place):
        group = LaneGroup(work, numbers, compiled=True)
        for kept in (20, 19, 7, 7):
            for batches in group.updates():
                group.update(batches)
            sizes.append(len(group._parts.stacks))
            histories |= {group.members[index].number: history for index, history in group.end_epoch().items()}
            state = group.snapshot()
            group = LaneGroup(work, numbers, compiled=True)
            group.restore(state)
            group.part_with([i for i in group.active if group.members[i].lane.lr > 0.001 * 1.1 ** (kept - 0.5)])
    [graphs] = work.graphs.values()
    assert len(graphs) == 1
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[3] >= 1
    for number in (0, 6 * seeds + seeds - 1, 19 * seeds, len(lanes) - 1):
        theirs = alone(task, lanes[number]).history
        count = len(histories[number].losses)
        np.testing.assert_allclose(histories[number].losses, theirs.losses[:count], rtol=1e-6, atol=1e-9)


# --- what models hold outside their parameters ------------------------------------------------------


class Shuffled(nn.Module):
    """Reads its inputs in an order of its own."""

    def __init__(self, kind):
        super().__init__()
        order = torch.randperm(16)
        self.order = {"list": order.tolist(), "numpy": order.numpy(), "tensors": [order]}[kind]
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        order = self.order[0] if isinstance(self.order[0], torch.Tensor) else self.order
        return self.linear(x[:, order][:, :8])


def of_random_depth():
    return nn.Sequential(*(nn.Linear(16, 16) for _ in range(random.randint(1, 3))), nn.Linear(16, 3))


@pytest.mark.parametrize(
    "model",
    [
        lambda: Shuffled("list"),
        lambda: Shuffled("numpy"),
        lambda: Shuffled("tensors"),
        of_random_depth,
        lambda: nn.Sequential(nn.Linear(16, random.choice([4, 8])), nn.LazyLinear(3)),
    ],
    ids=["a list", "an array", "tensors in a list", "depth", "width"],
)
def test_what_a_seed_has_decided_about_its_model_stays_its_own(model):
    def made():
        whole = model().double()
        whole(torch.zeros(2, 16, dtype=torch.float64))
        return whole

    agree(make(model=made, optimizer=OPTIMIZERS["SGD"]), [Lane(lr=0.1, seed=seed) for seed in range(4)])


# --- what is drawn while lanes are measured ---------------------------------------------------------


class NoisyAtRest(nn.Linear):
    def forward(self, x):
        return super().forward(x if self.training else x + torch.randn_like(x))


@pytest.mark.parametrize(
    "changes", [{"valid": Augmented()}, {"model": lambda: NoisyAtRest(16, 3).double()}], ids=["the data", "the model"]
)
def test_validation_that_draws_is_that_of_each_seed(changes):
    torch.set_default_dtype(torch.float64)
    try:
        agree(make(optimizer=OPTIMIZERS["SGD"], **changes), SEEDS)
    finally:
        torch.set_default_dtype(torch.float32)


class AlwaysDropping(nn.Linear):
    def forward(self, x):
        return functional.dropout(super().forward(x), 0.3)  # at rest too, which is a common slip


@pytest.mark.parametrize("metric", [lrkit.accuracy, lambda output, target: lrkit.accuracy(output, target).item()])
def test_a_metric_that_can_not_be_batched_draws_nothing_twice(metric):
    lanes = [Lane(lr=0.1), Lane(lr=0.05)]
    agree(
        make(model=lambda: AlwaysDropping(16, 3).double(), optimizer=OPTIMIZERS["SGD"], metrics={"accuracy": metric}),
        lanes,
    )


def refusing_what_is_not_finite(output, target):
    if not bool(output.isfinite().all()):
        raise ValueError("Input contains NaN")
    return 1.0


@pytest.mark.parametrize("backend", ["eager", "sequential", "processes"])
def test_what_has_diverged_is_not_measured(backend):
    task = make(loss=blown_up, metrics={"strict": refusing_what_is_not_finite}, optimizer=OPTIMIZERS["SGD"])
    calm, wild = lrkit.run_lanes(task, [Lane(lr=0.01), Lane(lr=1e200)], backend=backend)
    assert calm.epochs[-1].metrics == {"strict": 1.0}
    assert wild.diverged is not None
    assert (wild.epochs[-1].valid_loss, wild.epochs[-1].metrics) == (None, {})


# --- what is seen before lanes are batched ----------------------------------------------------------


class Branching(nn.Module):
    """Other parameters for other batches."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, x):
        return self.one(x) if x[:, 0].mean() > 0 else self.other(x)


def test_parameters_that_only_some_batches_use_are_noticed():
    task = make(model=lambda: Branching().double())
    with pytest.raises(UnbatchableError, match=r"parameter 'one\.bias' gets a gradient depends on the batch"):
        lrkit.run_lanes(task, SEEDS, backend="eager")
    histories = lrkit.run_lanes(task, SEEDS)
    assert histories[0].made["lanes"]["backend"] in ("sequential", "processes")


class NoCopies(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")


def test_a_model_that_can_not_be_copied_is_trained_by_itself():
    task = make(model=lambda: NoCopies(16, 3).double())
    with pytest.raises(UnbatchableError, match="the model can't be copied"):
        lrkit.run_lanes(task, SEEDS, backend="eager")
    lrkit.run_lanes(task, SEEDS)


def test_complex_parameters_are_for_sgd_alone():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 3, dtype=torch.complex128))

        def forward(self, x):
            return (x.to(self.weight.dtype) @ self.weight).abs()

    agree(replace(make(optimizer=OPTIMIZERS["SGD"]), model=Complex), SEEDS)
    with pytest.raises(InputError, match="the rule of Adam isn't for complex parameters"):
        lrkit.run_lanes(replace(make(optimizer=OPTIMIZERS["Adam"]), model=Complex), SEEDS, backend="eager")


def test_a_batch_without_samples_is_said_as_run_says_it():
    calls = []

    def forward(model, batch):
        calls.append(None)
        inputs, target = batch
        chosen = (target >= 0) if len(calls) < 30 else (target > 5)
        losses = functional.cross_entropy(model(inputs), target, reduction="none")
        return (losses * chosen).sum() / chosen.sum().clamp(min=1), chosen.sum(), {}

    task = make(loss=None, metrics={}, forward=forward, epochs=20)
    with pytest.raises(InputError, match="forward's n, the number of samples, must be a whole number of at least 1"):
        lrkit.run_lanes(task, SEEDS, backend="eager")


def test_the_batches_of_many_seeds_count_as_memory():
    wide = torch.zeros(256, 20_000)
    task = make(
        torch.float32,
        model=lambda: nn.Linear(20_000, 3),
        train=(wide, torch.zeros(256, dtype=torch.int64)),
        valid=None,
        metrics={},
        batch_size=128,
    )
    trial = Trial(work_of(task, [Lane(lr=0.1, seed=seed) for seed in range(8)]))
    tried = trial.try_out()
    sizes = [len(group) for group in trial.groups(tried, 8 * tried.bytes_per_lane + 80_000_000)]
    assert sum(sizes) == 8
    assert max(sizes) <= 2  # a seed has 10 MB of each update ahead, and twice as much where they are stacked


def test_all_backends_say_what_a_lane_has_of_its_own():
    lanes = [Lane(lr=0.1, momentum=0.5), Lane(lr=0.1, momentum=0.8)]
    for backend in ("eager", "sequential"):
        histories = lrkit.run_lanes(make(optimizer=OPTIMIZERS["SGD, momentum"]), lanes, backend=backend)
        assert [history.made["momentum"] for history in histories] == [0.5, 0.8]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_torch_does_not_take_is_said(seed):
    with pytest.raises(InputError, match="seed must be at least 0 and less than 2\\*\\*64, not"):
        Lane(seed=seed)
    with pytest.raises(InputError, match="seed must be at least 0"):
        lrkit.run(make(), "constant()", seed=seed)

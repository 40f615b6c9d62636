"""A compiled update is the update: the same rule, the same record, the same way to go on."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from lrkit import InputError, Observer
from lrkit.training.rules import hyper_of, rule_of
from optimizers import RULED
from test_loop import make
from test_resume import Taken


@pytest.mark.parametrize("name", RULED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rule_does_what_torchs_optimizer_does(name, dtype):
    generator = torch.Generator().manual_seed(1)
    parameter = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=dtype))
    optimizer = RULED[name]([parameter])
    rule, group = rule_of(optimizer), optimizer.param_groups[0]
    value, state = parameter.detach().clone(), {}
    for step in range(20):
        group["lr"] *= 0.97
        gradient = torch.randn(4, 3, generator=generator, dtype=dtype) * 10.0 ** (step % 3)
        parameter.grad = gradient.clone()
        optimizer.step()
        value, state = rule.update(value, gradient, state, hyper_of(group))
        kept = {name: each for name, each in optimizer.state[parameter].items() if isinstance(each, torch.Tensor)}
        assert set(state) == set(kept)
        exact = 1e-13 if dtype == torch.float64 else 1e-6
        torch.testing.assert_close(value, parameter.detach(), rtol=exact, atol=exact)
        value = parameter.detach().clone()
        state = {name: each.clone() for name, each in kept.items()}


@pytest.mark.parametrize(
    ("optimizer", "sentence"),
    [
        (
            torch.optim.Rprop,
            "there is no rule for the optimizer Rprop; there are rules for Adagrad, Adam,",
        ),
        (lambda p: torch.optim.Adam(p, amsgrad=True), "the rule of Adam has no amsgrad=True"),
        (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), "the rule of SGD has no maximize=True"),
    ],
)
def test_what_there_is_no_rule_for_is_refused_before_it_trains(optimizer, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.run(make(optimizer=optimizer), "constant()", compiled=True)


def close(one, other, tolerance):
    assert one.lrs.tolist() == other.lrs.tolist()
    np.testing.assert_allclose(one.losses, other.losses, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(one.epochs, other.epochs, strict=True):
        if theirs.valid_loss is not None:
            assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=tolerance)


NETWORK = {
    "model": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double(),
    "train": tuple(each.double() if each.is_floating_point() else each for each in make().train),
    "valid": tuple(each.double() if each.is_floating_point() else each for each in make().valid),
}


def groups(parameters):
    first, *others = parameters
    return torch.optim.AdamW([{"params": [first], "lr": 0.001, "weight_decay": 0.3}, {"params": others}], lr=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": groups, "clip_norm": 0.5},
        {"accumulate": 2, "batch_size": 8, "optimizer": lambda p: torch.optim.SGD(p, lr=0.1)},
        {"precision": "bfloat16", "model": lambda: nn.Linear(6, 2), "train": make().train, "valid": make().valid},
    ],
    ids=["batch norm, momentum", "param groups, clipping", "accumulation", "bfloat16"],
)
def test_compiled_and_eager_runs_agree(changes):
    task = make(**{**NETWORK, **changes})
    eager, compiled = (lrkit.run(task, "warmup(3) >> linear(to=0)", compiled=each) for each in (False, True))
    close(compiled, eager, 1e-2 if "precision" in changes else 1e-6)
    assert (eager.made["compiled"], compiled.made["compiled"]) == (False, True)
    assert compiled.made["compiled_updates"] == 15  # of 20: all but the first, and each epoch's last, which is smaller


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit(tmp_path):
    task = make(batch_size=10, epochs=3)  # with dropout
    taken = Taken(9)
    taken.folder = tmp_path
    whole = lrkit.run(task, "plateau(patience=0, factor=0.5, threshold=0.3)", compiled=True, observers=[taken])
    again = Taken()
    resumed = lrkit.run(
        task, "plateau(patience=0, factor=0.5, threshold=0.3)", compiled=True, observers=[again], resume=taken.snapshot
    )
    assert resumed == whole
    assert resumed.made["compiled_updates"] == whole.made["compiled_updates"] == 20
    assert all(map(torch.equal, again.weights, taken.weights))
    anew = {"schedule": "linear(to=0)", "resume": taken.snapshot, "policy": "restart"}
    eager, compiled = (lrkit.run(task, compiled=each, **anew) for each in (False, True))
    assert compiled.losses[0] == eager.losses[0]  # the first update is learnt from; the others have other dropout
    assert compiled.made["compiled_updates"] == 20


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=2.0)


class Grown(nn.Linear):
    """Looks at a list that grows."""

    def __init__(self):
        super().__init__(6, 2, dtype=torch.float64)
        self.torch_scales = [1.0]

    def forward(self, inputs):
        return super().forward(inputs) * sum(self.torch_scales)


def masked(model, batch):
    inputs, target = batch
    counts = inputs[:, 0] > 0
    losses = nn.functional.cross_entropy(model(inputs), target, reduction="none")
    return (losses * counts).sum() / counts.sum(), counts.sum(), {}


class Twins(torch.utils.data.Dataset):
    """Batches whose two entries are the same tensor in the first epoch only."""

    reads = 0

    def __len__(self):
        return 64

    def __getitem__(self, index):
        return NETWORK["train"][0][index]

    def collate(self, items):
        self.reads += 1
        both = torch.stack(items)
        return (both, both if self.reads <= 4 else both + 1.0)


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2)).double()
    model[2].weight = model[0].weight
    return model


FAITHFUL = {
    "weight decay from 0": ({"optimizer": adamw}, "lr: constant(); weight_decay: constant(0, steps=9) >> constant(1)"),
    "weight decay to 0": ({"optimizer": adamw}, "lr: constant(); weight_decay: linear(to=0)"),
    "momentum to 0": ({}, "lr: constant(); momentum: constant(1, steps=9) >> constant(0)"),
    "momentum from 0": ({}, "lr: constant(); momentum: constant(0, steps=9) >> constant(1)"),
    "part of the parameters": ({"optimizer": lambda p: torch.optim.SGD(list(p)[2:], lr=0.1)}, "linear(to=0)"),
    "clipped part": ({"optimizer": lambda p: torch.optim.SGD(list(p)[2:], lr=0.1), "clip_norm": 0.3}, "linear(to=0)"),
    "tied weights": ({"model": tied}, "linear(to=0)"),
    "counted by a mask": ({"forward": masked, "loss": None, "metrics": {}, "accumulate": 2}, "linear(to=0)"),
}


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize("case", FAITHFUL)
def test_a_compiled_run_does_what_an_eager_run_does(case):
    changes, plan = FAITHFUL[case]
    task = make(**{**NETWORK, **changes})
    eager, compiled = (lrkit.run(task, plan, compiled=each) for each in (False, True))
    assert compiled.made["compiled_updates"] > 0
    close(compiled, eager, 1e-9)


def observed(task, compiled, change):
    """A run in which something is done to its model after the seventh update."""
    models = []

    class Changes(Observer):
        def step(self, steps):
            if steps == 7:
                change(models[0])

    watched = dataclasses.replace(task, model=lambda: models.append(task.model()) or models[0])
    return lrkit.run(watched, "linear(to=0)", compiled=compiled, observers=[Changes()])


CHANGES = {
    "a layer is frozen": ({}, lambda model: model[0].requires_grad_(False)),
    "a layer is measured": ({}, lambda model: model[1].eval()),
    "a list grows": ({"model": Grown}, lambda model: model.torch_scales.append(0.5)),
}


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize("case", CHANGES)
def test_what_changes_under_way_is_seen(case):
    changes, change = CHANGES[case]
    task = make(**{**NETWORK, **changes})
    close(observed(task, True, change), observed(task, False, change), 1e-9)


@pytest.mark.usefixtures("without_inductor")
def test_batches_that_share_a_tensor_are_not_taken_for_others():
    def history(compiled):
        data = Twins()
        task = make(
            model=lambda: nn.Linear(6, 6, dtype=torch.float64), train=data, valid=None, collate=data.collate,
            loss=nn.functional.mse_loss, metrics={}, batch_size=16,
        )  # fmt: skip  # more to a line reads better
        return lrkit.run(task, "linear(to=0)", compiled=compiled)

    close(history(compiled=True), history(compiled=False), 1e-9)


def hooked():
    model = nn.Linear(6, 2)
    model.weight.register_hook(lambda gradient: gradient * 0)
    return model


def hooked_backwards():
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    model[1].register_full_backward_hook(lambda module, into, out: None)
    return model


class Counting(nn.Linear):
    calls = 0

    def forward(self, inputs):
        self.calls += 1
        return super().forward(inputs) * (1 + 1e-6 * self.calls)


@pytest.mark.usefixtures("without_inductor")
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (hooked, "the compiled update would have other gradients than the task"),
        (hooked_backwards, "the task can't be compiled"),
        (lambda: Counting(6, 2), "a value that its model or loss looks at is another at every update"),
    ],
)
def test_what_would_train_otherwise_is_refused(model, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.run(make(model=model), "constant()", compiled=True)


def test_new_rates_compile_nothing_anew(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **options: compile_(f, fullgraph=True, dynamic=False, backend=backend)
    )
    lrkit.run(make(), "warmup(3) >> linear(to=0)", compiled=True)
    assert len(graphs) == 1


class Scaled(nn.Linear):
    scale = 1.0

    def forward(self, inputs):
        return self.scale * super().forward(inputs)


@pytest.mark.slow
def test_a_value_that_the_model_changes_is_seen():
    def history(compiled):
        class Faded(Observer):
            def step(self, steps):
                model.scale = 0.5 if steps > 10 else 1.0

        model = Scaled(6, 2, dtype=torch.float64)
        return lrkit.run(
            make(**{**NETWORK, "model": lambda: model}), "linear(to=0)", compiled=compiled, observers=[Faded()]
        )

    torch.manual_seed(0)
    eager = history(compiled=False)
    torch.manual_seed(0)
    close(history(compiled=True), eager, 1e-9)


class Branching(nn.Linear):
    def forward(self, inputs):
        output = super().forward(inputs)
        if output.mean() > 0:
            output = output * 2
        return output


def test_what_torch_can_not_compile_is_said_with_its_place():
    with pytest.raises(
        InputError, match=r"the task can't be compiled \(.*, at .*test_compiled.py:\d+\); train it without"
    ):
        lrkit.run(make(model=lambda: Branching(6, 2)), "constant()", compiled=True)


TASK = """
import torch
from test_loop import make

from torch import nn

task = make(epochs=2)
labels = task.train[1].clone()
labels[torch.arange(70) > 60] = 7
late = make(train=(task.train[0], labels), batch_size=1)
unknown = make(optimizer=lambda parameters: torch.optim.Rprop(parameters))
"""


@pytest.mark.slow
def test_the_command_line_compiles_says_so_and_goes_on_compiled(lrkit, tmp_path):
    (tmp_path / "own.py").write_text(TASK)
    status, out, _ = lrkit("train", "own.py", "--compile", "--out", "run")
    assert status == 0
    assert "7 of 10 updates were compiled: those with whole batches" in out
    status, out, err = lrkit("train", "--resume", "run", "--epochs", 3, "--policy", "keep")
    assert status == 0, err
    assert "11 of 15 updates were compiled" in out
    status, _, err = lrkit("train", "--resume", "run", "--compile")
    assert (status, err.count("\n")) == (2, 1)
    assert "--compile can't be given with it" in err
    status, _, err = lrkit("train", "own.py:late", "--compile", "--out", "late")
    assert (status, err.count("\n")) == (2, 1)
    assert "in the loss, given output float32 (1, 2), target int64 (1,) from 7 to 7: IndexError: Target 7" in err
    status, _, err = lrkit("train", "own.py:unknown", "--compile", "--out", "other")
    assert (status, err.count("\n")) == (2, 1)
    assert "own.py:11: there is no rule for the optimizer Rprop; there are rules for Adagrad" in err


def test_a_gradient_scaler_is_refused():
    with pytest.raises(InputError, match="a compiled update has no gradient scaler"):
        lrkit.run(make(precision="float16"), "constant()", compiled=True)


def test_batches_of_other_shapes_stay_eager():
    x, y = make().train
    rows = [(x[i : i + 1 + i % 3].sum(dim=0), y[i]) for i in range(60)]
    task = dataclasses.replace(make(), train=rows, valid=None, epochs=1, batch_size=60)
    assert lrkit.run(task, "constant()", compiled=True).made["compiled_updates"] == 0

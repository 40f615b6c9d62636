"""Finding a learning rate in somebody's own loop: what is measured, and that nothing is left behind."""

import copy
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

import lrkit
from find_cases import QUICK, X, Y, loader, network, refused, squares
from lrkit import InputError, InputTypeError


class Loop:
    """A training under way, with everything that could be disturbed."""

    def __init__(self, **options):
        self.model = network()
        self.model.register_forward_hook(lambda *_: None)
        self.optimizer = torch.optim.Adam(
            [{"params": self.model[0].parameters()}, {"params": self.model[4].parameters(), "lr": 1e-3}], lr=1e-2
        )
        self.scheduler = lrkit.warmup(5).bind(self.optimizer, steps=100)
        self.scaler = torch.amp.GradScaler("cpu")
        self.generator = torch.Generator().manual_seed(7)
        self.loader = loader(generator=self.generator, **options)
        self.iterator = iter(self.loader)
        for _ in range(3):
            self.update()
        squares(self.model(X), Y).backward()  # half of an accumulation
        self.model[1].eval()

    def update(self):
        x, y = next(self.iterator)
        self.optimizer.zero_grad()
        self.scaler.scale(squares(self.model(x), y)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return x

    def state(self):
        numpy_state = np.random.get_state()
        return {
            "weights": {name: each.clone() for name, each in self.model.state_dict().items()},
            "gradients": [None if each.grad is None else each.grad.clone() for each in self.model.parameters()],
            "modes": [each.training for each in self.model.modules()],
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "numpy": (numpy_state[1].tolist(), numpy_state[2:]),
            "python": random.getstate(),
            "hooks": [
                (len(each._forward_hooks), len(each._backward_hooks), len(each._forward_pre_hooks))
                for each in self.model.modules()
            ],
            "parameter_hooks": [each._backward_hooks for each in self.model.parameters()],
            "optimizer_hooks": (
                len(self.optimizer._optimizer_step_pre_hooks),
                len(self.optimizer._optimizer_step_post_hooks),
            ),
            "identities": [id(each) for each in self.model.parameters()],
        }


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same(before, after):
    assert [name for name in before if not same(before[name], after[name])] == []


@pytest.mark.parametrize("method", ["ramp", "race"])
def test_it_leaves_no_trace(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loop, twin = Loop(), Loop()
    before = loop.state()
    lrkit.find(loop.model, loop.optimizer, loop.loader, squares, valid=loader(shuffle=False), method=method, **QUICK)
    assert_same(before, loop.state())
    assert list(tmp_path.iterdir()) == []
    random_state = torch.get_rng_state()
    for _ in range(3):  # the training goes on as it would have, batches too
        x = loop.update()
    torch.set_rng_state(random_state)
    assert torch.equal(x, [twin.update() for _ in range(3)][-1])
    assert_same(loop.state(), {**twin.state(), "identities": loop.state()["identities"]})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_it_leaves_no_trace_when_it_is_broken_off(error):
    loop, calls = Loop(), []

    def breaking(output, target):
        calls.append(None)
        if len(calls) == 20:
            raise error
        return squares(output, target)

    before = loop.state()
    with pytest.raises(error):
        lrkit.find(loop.model, loop.optimizer, loop.loader, breaking, **QUICK)
    assert_same(before, loop.state())


def test_it_leaves_no_trace_when_it_is_stopped():
    loop = Loop()
    before = loop.state()
    with pytest.raises(lrkit.StoppedError):
        lrkit.find(loop.model, loop.optimizer, loop.loader, squares, stop=lambda: True, **QUICK)
    assert_same(before, loop.state())


def test_persistent_workers_keep_their_iterator():
    loop = Loop(num_workers=1, persistent_workers=True)
    twin = Loop(num_workers=1, persistent_workers=True)
    kept = loop.loader._iterator
    lrkit.find(loop.model, loop.optimizer, loop.loader, squares, **{**QUICK, "seeds": 1, "steps": 20})
    assert loop.loader._iterator is kept
    assert torch.equal(next(loop.iterator)[0], next(twin.iterator)[0])


def test_it_begins_with_the_weights_and_the_state_of_now():
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    squares(model(X), Y).backward()
    optimizer.step()
    with torch.no_grad():
        model.weight.fill_(3.0)
    optimizer.state[model.weight]["momentum_buffer"].fill_(-5.0)
    batches = [(X, Y)]
    finding = lrkit.find(model, optimizer, batches, squares, low=0.01, high=0.1, steps=10, seeds=1)
    weight = torch.tensor(3.0, requires_grad=True)
    squares(X * weight, Y).backward()
    first = 3.0 - 0.01 * (0.9 * -5.0 + weight.grad)
    assert finding.curve.losses[0, 0] == pytest.approx(float(squares(X * first, Y)), rel=1e-5)


def test_the_whole_is_the_same_twice():
    loop = Loop()
    one, other = (lrkit.find(loop.model, loop.optimizer, loop.loader, squares, **QUICK) for _ in range(2))
    assert one.curve == other.curve
    assert one.suggestion == other.suggestion


def test_seeds_have_orders_of_their_own_from_the_same_weights():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for each in (loader(), loader(generator=torch.Generator()), loader(shuffle=False, sampler=RandomSampler(X))):
        curve = lrkit.find(model, optimizer, each, squares, **QUICK).curve
        assert not np.array_equal(curve.losses[0], curve.losses[1])


def test_seeds_that_differ_in_nothing_count_as_one():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    finding = lrkit.find(model, optimizer, loader(shuffle=False), squares, **QUICK)
    assert finding.curve.seeds == 1
    assert finding.made["seeds_differ"] is False


def test_batches_of_any_kind_with_a_forward():
    class Words(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            return {"x": X[index], "more": {"y": Y[index]}, "name": str(index)}

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def forward(model, batch):
        return squares(model(batch["x"]), batch["more"]["y"])

    data = DataLoader(Words(), batch_size=8, shuffle=True)
    finding = lrkit.find(model, optimizer, data, forward=forward, valid=data, signal="valid", **QUICK)
    assert np.isfinite(finding.curve.losses[:, 0]).all()


def test_accumulation_is_one_update_of_all_samples():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    small, large = [loader(batch_size=size, shuffle=False) for size in (8, 32)]
    one = lrkit.find(model, optimizer, small, squares, accumulate=4, **QUICK)
    other = lrkit.find(model, optimizer, large, squares, **QUICK)
    np.testing.assert_allclose(one.curve.losses[:, :27], other.curve.losses[:, :27], rtol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(precision):
    types = []

    def loss(output, target):
        types.append(output.dtype)
        return squares(output.float(), target)

    model = network()
    finding = lrkit.find(model, torch.optim.Adam(model.parameters()), loader(), loss, precision=precision, **QUICK)
    assert set(types) == {torch.bfloat16 if precision == "bfloat16" else torch.float32}
    assert finding.made["precision"] == ("bfloat16" if precision == "bfloat16" else "float32")


def test_several_optimizers_move_by_one_multiplier():
    model = network()
    optimizers = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.Adam(model[4].parameters(), lr=0.01)]
    finding = lrkit.find(model, optimizers, loader(), squares, **QUICK)
    assert finding.made["ratios"] == pytest.approx([1, 0.1])
    assert np.isfinite(finding.curve.losses[:, 0]).all()
    assert [each.param_groups[0]["lr"] for each in optimizers] == [0.1, 0.01]


def test_in_a_warmup_that_is_at_zero_ratios_are_those_of_the_bases():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 0.5}])
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0, 0]
    assert lrkit.find(model, optimizer, loader(), squares, **QUICK).made["ratios"] == pytest.approx([1, 0.5])


def test_a_compiled_model_is_measured_as_what_it_was_made_of():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted = lrkit.find(model, optimizer, loader(), squares, **QUICK)
    assert lrkit.find(torch.compile(model), optimizer, loader(), squares, **QUICK).curve == wanted.curve


def test_modules_that_are_kept_in_evaluation_stay_there():
    modes = []

    class Watching(nn.BatchNorm1d):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    model = nn.Sequential(nn.Linear(1, 4), Watching(4), nn.Linear(4, 1)).train()
    model[1].eval()
    lrkit.find(model, torch.optim.SGD(model.parameters(), lr=0.1), loader(), squares, **QUICK)
    assert set(modes) == {False}
    model.eval()  # as after a validation
    modes.clear()
    lrkit.find(model, torch.optim.SGD(model.parameters(), lr=0.1), loader(), squares, **QUICK)
    assert set(modes) == {True}


def test_data_that_is_augmented_at_random():
    class Noisy(Dataset):
        def __init__(self):
            self.own = np.random.default_rng(0)

        def __len__(self):
            return 64

        def __getitem__(self, index):
            noise = self.own.normal() + random.random() + np.random.rand() + float(torch.rand(()))
            return X[index] + 0.01 * noise, Y[index]

    data, model = Noisy(), nn.Linear(1, 1)
    before = data.own.bit_generator.state
    loop = torch.get_rng_state(), random.getstate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one, other = (lrkit.find(model, optimizer, DataLoader(data, batch_size=8), squares, **QUICK) for _ in range(2))
    assert one.curve == other.curve
    assert one.curve.seeds == 2
    assert data.own.bit_generator.state == before
    assert torch.equal(loop[0], torch.get_rng_state())
    assert loop[1] == random.getstate()


def test_hooks_that_change_gradients_act_on_the_copy():
    model = nn.Linear(1, 1)
    for each in model.parameters():
        each.register_hook(lambda gradient: gradient * 0)
    finding = lrkit.find(model, torch.optim.SGD(model.parameters(), lr=0.1), [(X, Y)], squares, **QUICK)
    assert np.ptp(finding.curve.losses) == 0
    assert all(len(each._backward_hooks) == 1 for each in model.parameters())


def test_processes_that_search_at_the_same_time_do_not_meet(tmp_path):
    script = """
import json, lrkit, torch
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
x, model = torch.linspace(-1, 1, 256)[:, None], torch.nn.Linear(1, 1)
loader = DataLoader(TensorDataset(x, 2 * x), batch_size=16, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
finding = lrkit.find(model, optimizer, loader, torch.nn.functional.mse_loss, low=1e-4, high=100, steps=40, seeds=2)
print(json.dumps(finding.to_dict()["curve"]))
"""
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = [json.loads(each.communicate()[0]) for each in both]
    assert one == other
    assert list(tmp_path.iterdir()) == []


# --- what is refused -----------------------------------------------------------------------------


def test_a_loop_that_cannot_be_copied_is_refused():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data, other = loader(), torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    iterator = "loader must be what a new pass can be made through, such as a DataLoader, not an iterator"
    refused(InputTypeError, iterator, lambda: lrkit.find(model, optimizer, iter(data), squares))
    sentence = "the optimizer has a parameter that isn't the model's; put what is trained into one module"
    refused(InputError, sentence, lambda: lrkit.find(model, other, data, squares))
    refused(InputError, "give either loss or forward, not neither", lambda: lrkit.find(model, optimizer, data))
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    sentence = "the optimizer must have a learning rate above 0, since param groups keep their ratios"
    refused(InputError, sentence, lambda: lrkit.find(model, frozen, data, squares))


def test_a_stream_that_cannot_be_copied_is_refused_and_not_taken():
    class Stream(IterableDataset):
        def __init__(self):
            self.items = ((x, y) for x, y in zip(X, Y, strict=True))

        def __iter__(self):
            return self.items

    stream, model = Stream(), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="the loader's dataset can't be copied"):
        lrkit.find(model, optimizer, DataLoader(stream, batch_size=8), squares, **QUICK)
    assert torch.equal(next(stream.items)[0], X[0])


def test_a_loss_that_uses_the_model_itself_is_refused():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def decayed(output, target):
        return squares(output, target) + 0.1 * model.weight.square().sum()

    sentence = "the loss uses the model itself, not the copy that is trained; forward(model, batch) gets that"
    refused(InputError, sentence, lambda: lrkit.find(model, optimizer, loader(), decayed, **QUICK))
    assert model.weight.grad is None
    assert model.weight._backward_hooks is None

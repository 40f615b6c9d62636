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

pytestmark = pytest.mark.usefixtures("quick_intervals")


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


SHORT = {"low": 1e-3, "high": 1.0, "steps": 10, "seeds": 1}


@pytest.mark.filterwarnings("ignore::FutureWarning:torch")  # weight_norm is old; people have it in their models
@pytest.mark.parametrize("wrap", [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm])
def test_weights_that_are_computed_by_a_hook_are_copied(wrap):
    model = wrap(nn.Linear(1, 1))
    before = squares(model(X), Y).item()  # leaves a weight that was computed
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    finding = lrkit.find(model, optimizer, [(X, Y)], squares, **{**SHORT, "low": 1e-9, "high": 1e-8})
    assert finding.curve.losses[0, 0] == pytest.approx(before, rel=1e-3)


def test_outputs_that_a_module_keeps_are_copied():
    class Keeping(nn.Linear):
        def forward(self, x):
            self.last = super().forward(x)
            self.all = {"outputs": [self.last]}
            return self.last

    model = Keeping(1, 1)
    kept = model(X)
    finding = lrkit.find(model, torch.optim.SGD(model.parameters(), lr=0.1), [(X, Y)], squares, **SHORT)
    assert np.isfinite(finding.curve.losses).all()
    assert model.last is kept


def test_an_optimizer_with_a_function_of_its_own():
    class Shrinking(torch.optim.SGD):
        def __init__(self, parameters, lr, shrink):
            super().__init__(parameters, lr=lr)
            self.shrink = shrink

        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                for each in group["params"]:
                    each.data.mul_(self.shrink(group["lr"]))

    model = nn.Linear(1, 1)
    optimizer = Shrinking(model.parameters(), 0.1, lambda rate: 0.0)
    finding = lrkit.find(model, optimizer, [(X, Y)], squares, **SHORT)
    assert finding.curve.losses[0, 0] == pytest.approx(float(Y.square().mean()))


def test_lanes_of_one_seed_see_the_same_though_sampler_data_and_collate_draw_for_themselves():
    class Own(Dataset):
        def __init__(self):
            self.own = np.random.default_rng(0)

        def __len__(self):
            return 64

        def __getitem__(self, index):
            return X[index] + 0.1 * self.own.normal(), Y[index]

    class Order(torch.utils.data.Sampler):
        def __init__(self):
            self.own = np.random.default_rng(0)

        def __len__(self):
            return 64

        def __iter__(self):
            return iter(self.own.permutation(64).tolist())

    class Collate:
        def __init__(self):
            self.own = np.random.default_rng(0)

        def __call__(self, items):
            self.own.normal()
            return torch.utils.data.default_collate(items)

    data, order, collate, seen = Own(), Order(), Collate(), []
    states = [copy.deepcopy(each.own.bit_generator.state) for each in (data, order, collate)]
    model = nn.Linear(1, 1)

    def loss(output, target):
        seen.append(target.sum().item())
        return squares(output, target)

    each = DataLoader(data, batch_size=8, sampler=order, collate_fn=collate)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lrkit.find(model, optimizer, each, loss, method="race", signal="train", **{**SHORT, "steps": 20})
    lanes = np.array(seen).reshape(-1, 20)
    assert len(lanes) > 5
    assert (lanes == lanes[0]).all()
    assert [each.own.bit_generator.state for each in (data, order, collate)] == states


def test_batches_keep_their_types():
    class Attributes(dict):
        __getattr__ = dict.__getitem__

    class Itself(dict):
        def __init__(self, *arguments, **items):
            super().__init__(*arguments, **items)
            self.__dict__ = self

    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for kind in (Attributes, Itself):
        data = DataLoader(range(32), batch_size=8, collate_fn=lambda rows, kind=kind: kind(x=X[rows], y=Y[rows]))
        lrkit.find(model, optimizer, data, forward=lambda model, batch: squares(model(batch.x), batch.y), **SHORT)


def test_other_modules_that_a_loss_leads_to_keep_their_gradients():
    model, critic, judge = (nn.Linear(1, 1) for _ in range(3))
    judge(X).sum().backward()
    before = judge.weight.grad.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def forward(model, batch):
        return squares(model(batch[0]), batch[1]) + 0.01 * (critic(model(batch[0])) + judge(batch[0])).mean()

    lrkit.find(model, optimizer, loader(), forward=forward, **SHORT)
    lrkit.find(model, optimizer, loader(), lambda output, target: squares(critic(output), target), **SHORT)
    assert critic.weight.grad is None
    assert torch.equal(judge.weight.grad, before)


def test_buffers_of_the_model_itself_stay_when_forward_uses_it():
    teacher = network()
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.1)
    held = teacher[1].running_mean
    before = {name: each.clone() for name, each in teacher.named_buffers()}

    def forward(model, batch):
        with torch.no_grad():
            wanted = teacher(batch[0])
        return squares(model(batch[0]), wanted + batch[1])

    lrkit.find(teacher, optimizer, loader(), forward=forward, **SHORT)
    assert_same(before, dict(teacher.named_buffers()))
    assert teacher[1].running_mean is held


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


def test_a_loss_that_holds_the_model_is_refused():
    class Decayed(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, output, target):
            return squares(output, target) + sum(each.square().sum() for each in self.model.parameters())

    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sentence = "the loss uses the model itself, not the copy that is trained; forward(model, batch) gets that"
    refused(InputError, sentence, lambda: lrkit.find(model, optimizer, loader(), Decayed(model), **QUICK))


def test_a_model_that_cannot_be_trained_as_it_is_is_refused():
    def find(model, optimizer=None):
        optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
        return lambda: lrkit.find(model, optimizer, loader(), squares, **QUICK)

    sentence = "the model has lazy modules that haven't seen a batch yet; pass one through it first"
    refused(InputError, sentence, find(nn.LazyLinear(1)))
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, device="meta"))
    refused(InputError, "the model must be on one device, not on cpu and meta", find(model))
    model = nn.Linear(1, 1)
    sentence = (
        "LBFGS.step() needs a value for closure, which run, lanes and find don't give; bind the schedule in a loop of "
        "your own: plan.bind(optimizer, steps=...)"
    )
    refused(InputError, sentence, find(model, torch.optim.LBFGS(model.parameters())))


def test_a_scripted_model_is_refused():
    model = torch.jit.trace(nn.Linear(1, 1), X)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sentence = "model must not be scripted or traced, which can't be copied; give what it is made of"
    refused(InputTypeError, sentence, lambda: lrkit.find(model, optimizer, loader(), squares, **QUICK))


def test_a_loss_or_forward_that_is_none_is_refused():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sentence = "loss must be a function, not the class MSELoss; make one of it first"
    refused(InputTypeError, sentence, lambda: lrkit.find(model, optimizer, loader(), nn.MSELoss, **QUICK))
    sentence = "forward must return the mean loss alone, or (mean loss, samples, metrics), not float"
    refused(
        InputTypeError,
        sentence,
        lambda: lrkit.find(model, optimizer, loader(), forward=lambda model, batch: 1.5, **QUICK),
    )


def test_loaders_without_a_batch_are_refused():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    refused(InputError, "loader has no batches", lambda: lrkit.find(model, optimizer, [], squares, **QUICK))
    refused(
        InputError,
        "valid has no batches",
        lambda: lrkit.find(model, optimizer, loader(), squares, valid=[], signal="valid", **QUICK),
    )


def test_a_loader_that_holds_an_iterator_is_refused():
    class Infinite(DataLoader):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            object.__setattr__(self, "iterator", super().__iter__())

        def __iter__(self):
            for _ in range(len(self)):
                yield next(self.iterator)

    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    infinite = Infinite(loader().dataset, batch_size=16)
    sentence = "loader keeps an iterator in 'iterator', whose batches it would take; give a DataLoader"
    refused(InputError, sentence, lambda: lrkit.find(model, optimizer, infinite, squares, **QUICK))
    assert torch.equal(next(infinite.iterator)[0], X[:16])

"""Finding a learning rate: what is measured, what comes out, and that nothing is left behind."""

import copy
import dataclasses
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import lrkit
from lrkit import InputError, InputTypeError

X = torch.linspace(-1, 1, 256)[:, None]
Y = 2 * X + 0.3 * torch.sin(40 * X)


def squares(output, target):
    return (output - target).square().mean()


def task(**changes):
    made = lrkit.Task(
        model=lambda: nn.Linear(1, 1),
        train=(X, Y),
        valid=(X, 2 * X),
        batch_size=16,
        epochs=3,
        loss=squares,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
    )
    return dataclasses.replace(made, **changes)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def loader(**options):
    return DataLoader(TensorDataset(X, Y), **{"batch_size": 16, "shuffle": True, **options})


QUICK = {"low": 1e-4, "high": 100.0, "steps": 40, "seeds": 2}


# --- the ramp ------------------------------------------------------------------------------------


def test_a_ramps_rates_go_from_low_to_high_in_even_factors():
    curve = lrkit.find_task(task(), **QUICK).curve
    assert len(curve.rates) == 40
    assert curve.rates[[0, -1]] == pytest.approx([1e-4, 100])
    np.testing.assert_allclose(np.diff(np.log(curve.rates)), np.log(1e6) / 39)


def test_a_linear_ramps_rates_go_in_even_steps():
    curve = lrkit.find_task(task(), **{**QUICK, "low": 0.01, "high": 10.0}, growth="linear").curve
    np.testing.assert_allclose(curve.rates, np.linspace(0.01, 10, 40))


def test_a_loss_is_what_the_update_with_its_rate_led_to():
    curve = lrkit.find_task(task(), **{**QUICK, "high": 10.0}).curve
    plan = lrkit.exponential(39, start=1e-4 / 0.5, to=10 / 0.5)
    history = lrkit.run(dataclasses.replace(task(valid=None), epochs=None, steps=41), plan, seed=1)
    np.testing.assert_array_equal(history.lr[:40], curve.rates)
    np.testing.assert_array_equal(history.losses[1:].astype(float), curve.losses[1])


def test_a_rate_is_found_where_descent_by_hand_has_it():
    finding = lrkit.find_task(task(), low=1e-4, high=100.0)
    assert finding.reason is None
    low, high = finding.interval
    assert low <= finding.suggestion <= high
    assert 0.02 < finding.suggestion < 3  # the loss's curvature is 2/3: it is stable below 3


def test_the_same_search_finds_the_same_and_another_range_of_seeds_another_curve():
    one, other = lrkit.find_task(task(), **QUICK), lrkit.find_task(task(), **QUICK)
    assert one.curve == other.curve
    assert one.suggestion == other.suggestion
    assert len({each.tobytes() for each in one.curve.losses}) == 2


@pytest.mark.parametrize("backend", ["eager", "processes"])
def test_lanes_of_any_backend_give_the_curve(backend):
    wanted = lrkit.find_task(task(), **QUICK, backend="sequential")
    found = lrkit.find_task(task(), **QUICK, backend=backend)
    early = wanted.curve.rates < 0.5
    np.testing.assert_allclose(found.curve.losses[:, early], wanted.curve.losses[:, early], rtol=1e-4)
    assert found.made["lanes"]["backend"] == backend


@pytest.mark.parametrize("backend", ["sequential", "eager"])
def test_held_out_loss_is_that_of_a_batch_that_is_not_trained_on(backend):
    """Its data say 2·x + 5, training 2·x: where training is good, it is 25."""
    odd = task(valid=(X, 2 * X + 5), train=(X, 2 * X))
    finding = lrkit.find_task(odd, **QUICK, signal="valid", backend=backend)
    good = (finding.curve.rates > 0.3) & (finding.curve.rates < 0.6)
    np.testing.assert_allclose(finding.curve.losses[:, good], 25, rtol=0.15)
    assert finding.made["signal"] == "valid"


def test_held_out_loss_is_measured_in_evaluation_mode():
    modes = []

    class Watching(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    lrkit.find_task(task(model=lambda: Watching(1, 1)), **QUICK, signal="valid", backend="sequential")
    assert modes[-4:] == [True, False, True, False]


def test_param_groups_keep_their_ratios():
    seen = []

    def optimizer(parameters):
        weight, bias = parameters
        made = torch.optim.SGD([{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}], lr=1.0)
        made.register_step_post_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
        return made

    finding = lrkit.find_task(task(optimizer=optimizer), **QUICK, backend="sequential")
    first, second = np.array(seen).T
    np.testing.assert_allclose(second, first / 10)
    assert finding.made["ratios"] == pytest.approx([1, 0.1])


def test_a_curve_for_each_group_moves_that_group_alone():
    seen = []

    def optimizer(parameters):
        weight, bias = parameters
        made = torch.optim.SGD([{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}], lr=1.0)
        made.register_step_post_hook(lambda o, *_: seen.append([group["lr"] for group in o.param_groups]))
        return made

    finding = lrkit.find_task(task(optimizer=optimizer), **QUICK, groups="each", backend="sequential")
    assert [each.made["group"] for each in finding.groups] == [0, 1]
    weight, bias = np.array(seen).T
    weight_alone, bias_alone = bias == 0.02, weight == 0.2
    assert np.all(weight_alone | bias_alone | np.isclose(weight, 10 * bias))
    for each, rates in zip(finding.groups, (weight[weight_alone], bias[bias_alone]), strict=True):
        assert set(each.curve.rates[1:].round(12)) <= set(rates.round(12))
        assert not np.array_equal(each.curve.losses, finding.curve.losses)


def test_adam_finds_a_rate_too():
    adam = task(optimizer=torch.optim.Adam)
    assert 1e-4 < lrkit.find_task(adam, low=1e-5, high=100.0).suggestion < 10


# --- the range -----------------------------------------------------------------------------------


def test_the_range_widens_upwards_where_the_loss_still_falls():
    finding = lrkit.find_task(task(), low=1e-6, high=0.05)
    assert [each["reason"] for each in finding.made["widened"]][-1] in ("still falling at the edge", "no descent seen")
    assert finding.curve.rates[-1] == pytest.approx(finding.made["high"])
    assert finding.made["high"] > 0.05
    assert finding.suggestion is not None


def test_the_range_widens_downwards_where_it_diverges_at_once():
    steep = task(train=(1e4 * X, Y), valid=None)  # stable below 3e-8
    finding = lrkit.find_task(steep, low=1e-2, high=1.0)
    assert finding.made["widened"][0]["reason"] == "diverged at once"
    assert finding.suggestion < 1e-7


def test_where_there_is_no_descent_it_says_so():
    flat = task(train=(X, Y), loss=lambda output, target: 0 * output.mean() + target.mean(), valid=None)
    finding = lrkit.find_task(flat, **QUICK)
    assert finding.suggestion is None
    assert finding.interval is None
    assert finding.reason == "no descent seen"
    assert finding.made["low"] >= 1e-12
    assert finding.made["high"] <= 1e4


def test_what_diverges_is_no_error():
    finding = lrkit.find_task(task(), low=1e-4, high=1e4, steps=100, seeds=1)
    assert not np.isfinite(finding.curve.losses[0, -1]) or finding.curve.losses[0, -1] > 1e3
    assert json.loads(json.dumps(finding.to_dict(), allow_nan=False))["suggestion"] == finding.suggestion


def test_a_finding_says_how_it_was_made():
    finding = lrkit.find_task(task(), **QUICK)
    made = finding.made
    assert (made["seeds"], made["steps"], made["low"], made["high"]) == ([0, 1], 40, 1e-4, 100.0)
    assert made["torch"] == torch.__version__
    assert made["lanes"]["backend"] == "sequential"
    written = json.loads(json.dumps(finding.to_dict(), allow_nan=False))
    assert {"suggestion", "interval", "rules", "curve", "reason", "method", "made"} <= written.keys()


# --- the race ------------------------------------------------------------------------------------


RACE = {"method": "race", "low": 1e-3, "high": 10.0, "steps": 20, "seeds": 3}


def test_a_race_trains_each_rate_by_itself_and_takes_the_lowest_held_out_loss():
    finding = lrkit.find_task(task(), **RACE)
    curve = finding.curve
    assert finding.made["signal"] == "valid"
    at = int(np.argmin(curve.typical))
    shorter = dataclasses.replace(task(), epochs=None, steps=20)
    history = lrkit.run(shorter, "constant()", lr=float(curve.rates[at]), seed=2)
    assert curve.losses[2, at] == pytest.approx(history.epochs[-1].valid_loss, rel=1e-5)
    assert abs(np.log10(finding.suggestion / curve.rates[at])) < 0.5
    assert finding.interval[0] <= finding.suggestion <= finding.interval[1]


def test_a_race_is_refined_around_the_best():
    curve = lrkit.find_task(task(), **RACE).curve
    assert len(curve.rates) == 9 + 6
    best = int(np.argmin(curve.typical))
    assert np.diff(np.log10(curve.rates))[best - 1] == pytest.approx(1 / 8)


def test_a_race_says_which_rates_cannot_be_told_apart():
    finding = lrkit.find_task(task(), **RACE)
    best = finding.curve.rates[np.argmin(finding.curve.typical)]
    assert best in finding.alike
    assert min(finding.curve.rates) not in finding.alike
    assert lrkit.find_task(task(), **{**RACE, "seeds": 1}).alike == ()


def test_a_race_without_held_out_data_takes_the_last_tenth_of_training_losses():
    bare = task(valid=None)
    finding = lrkit.find_task(bare, **RACE)
    history = lrkit.run(dataclasses.replace(bare, epochs=None, steps=20), "constant()", lr=1e-3, seed=0)
    assert finding.curve.losses[0, 0] == pytest.approx(history.losses[-2:].mean(), rel=1e-6)


def test_a_race_widens_where_the_best_is_at_the_edge():
    finding = lrkit.find_task(task(), **{**RACE, "low": 1e-5, "high": 1e-3})
    assert finding.made["widened"][0] == {"low": 1e-5, "high": 1e-3, "reason": "the best rate is at the edge"}
    assert finding.suggestion > 1e-2


def test_a_race_with_a_schedule_and_groups():
    def optimizer(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}], lr=1.0)

    grouped = task(optimizer=optimizer)
    finding = lrkit.find_task(grouped, **RACE, schedule="linear(to=0)")
    shorter = dataclasses.replace(grouped, epochs=None, steps=20)
    history = lrkit.run(shorter, lrkit.constant(1e-3 / 0.2) * lrkit.linear(to=0))
    assert finding.curve.losses[0, 0] == pytest.approx(history.epochs[-1].valid_loss, rel=1e-6)


# --- in somebody's own loop ----------------------------------------------------------------------


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


def refused(error, sentence, call):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "rmap"}, "unknown method 'rmap', did you mean 'ramp'? Known: race, ramp"),
        ({"low": 0.0}, "low must be finite and above 0, not 0.0"),
        ({"low": 1.0, "high": 0.1}, "low must be less than high, not 1 and 0.1"),
        ({"steps": 5}, "steps must be at least 10, not 5"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"signal": "valid"}, "signal='valid' needs validation data, and the task has none"),
        ({"growth": "fast"}, "unknown growth 'fast'. Known: exponential, linear"),
        ({"method": "race", "groups": "each"}, "groups='each' is for a ramp; a race moves all param groups together"),
        ({"schedule": "linear(to=0)"}, "schedule is for a race; in a ramp the rate grows"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_trained(changes, sentence):
    def untrained():
        raise AssertionError

    refused(
        (InputError, InputTypeError), sentence, lambda: lrkit.find_task(task(model=untrained, valid=None), **changes)
    )


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

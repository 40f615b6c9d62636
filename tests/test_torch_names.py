"""torch's names: the same rates over the whole horizon, the same checkpoints, the same warnings."""

import copy
import functools
import gc
import inspect
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import lrkit
from lrkit import InputError, InputTypeError
from lrkit import torch_names as ours

HORIZON = 100
NAMES = [name for name in theirs.__all__ if name != "LRScheduler"]


def halve(epoch):
    return 0.5**epoch


def shrink(epoch):
    return 0.97 if epoch % 3 else 1.05


def inverse(cycle):
    return 1 / (1 + cycle)


# name, arguments, and other arguments of the same kind, which a checkpoint overrides
CASES = [
    ("LambdaLR", {"lr_lambda": halve}, {"lr_lambda": halve}),
    ("LambdaLR", {"lr_lambda": [halve, lambda epoch: epoch // 3]}, {"lr_lambda": [halve, lambda epoch: epoch // 3]}),
    ("MultiplicativeLR", {"lr_lambda": shrink}, {"lr_lambda": shrink}),
    ("MultiplicativeLR", {"lr_lambda": [shrink, lambda _: 0.9]}, {"lr_lambda": [shrink, lambda _: 0.9]}),
    ("StepLR", {"step_size": 7, "gamma": 0.3}, {"step_size": 2}),
    ("StepLR", {"step_size": 1}, {"step_size": 9}),
    ("MultiStepLR", {"milestones": [3, 11, 30], "gamma": 0.5}, {"milestones": [1]}),
    ("MultiStepLR", {"milestones": [5, 5, 2]}, {"milestones": []}),
    ("MultiStepLR", {"milestones": [0, 4]}, {"milestones": [0]}),
    ("ConstantLR", {}, {"factor": 0.5}),
    ("ConstantLR", {"factor": 0.1, "total_iters": 1}, {"total_iters": 30}),
    ("LinearLR", {}, {"total_iters": 20}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.7, "total_iters": 40}, {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 13}, {}),
    ("ExponentialLR", {"gamma": 0.93}, {"gamma": 0.5}),
    ("ExponentialLR", {"gamma": 1e-5}, {"gamma": 0.5}),
    ("PolynomialLR", {}, {"power": 3}),
    ("PolynomialLR", {"total_iters": 60, "power": 0.9}, {}),
    ("CosineAnnealingLR", {"T_max": 33, "eta_min": 0.02}, {"T_max": 4}),
    ("CosineAnnealingLR", {"T_max": 1}, {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 500.0}, {"T_max": 50, "eta_min": 0.1}),
    ("CosineAnnealingLR", {"T_max": 12.5, "eta_min": 0.003}, {"T_max": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}, {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.003}, {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}, {"T_0": 2}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 6}, {"base_lr": 0.5, "max_lr": 0.6}),
    (
        "CyclicLR",
        {"base_lr": [0.01, 0.2], "max_lr": [0.3, 0.1], "step_size_up": 4, "step_size_down": 9, "mode": "triangular2"},
        {"base_lr": 0.5, "max_lr": 0.6},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 5, "mode": "exp_range", "gamma": 0.98, "cycle_momentum": False},
        {"base_lr": 0.5, "max_lr": 0.6, "cycle_momentum": False},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "scale_fn": inverse, "base_momentum": [0.5, 0.6]},
        {"base_lr": 0.1, "max_lr": 1.0, "scale_fn": inverse},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "scale_fn": inverse, "scale_mode": "iterations"},
        {"base_lr": 0.1, "max_lr": 1.0, "scale_fn": inverse},
    ),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 101}, {"max_lr": 1.0, "total_steps": 7}),
    ("OneCycleLR", {"max_lr": [0.5, 3.0], "epochs": 25, "steps_per_epoch": 5, "pct_start": 0.123}, None),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 101, "anneal_strategy": "linear", "div_factor": 3.0}, None),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 101, "three_phase": True, "final_div_factor": 7.0}, None),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 101, "three_phase": True, "pct_start": 0.8}, None),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 101, "pct_start": 0.0, "cycle_momentum": False}, None),
]
case = pytest.mark.parametrize(("name", "arguments", "others"), CASES)
direction = pytest.mark.parametrize(
    ("source", "target"), [(theirs, ours), (ours, theirs), (ours, ours)], ids=["torch-ours", "ours-torch", "ours-ours"]
)


def sgd(tensor=False):
    lrs = [torch.tensor(0.1, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)] if tensor else [0.1, 2.0]
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def adam():
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 2.0)]
    return torch.optim.Adam(groups)


def held(optimizer):
    return [
        float(value)
        for group in optimizer.param_groups
        for value in (group["lr"], group["betas"][0] if "betas" in group else group["momentum"])
    ]


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def walk(optimizer, scheduler, count=HORIZON, meddle=None):
    """What the groups hold at each update, the first one included."""
    seen = [held(optimizer)]
    for t in range(count):
        optimizer.step()
        scheduler.step()
        if meddle is not None and t == meddle:
            optimizer.param_groups[0]["lr"] *= 0.25
        assert [float(rate) for rate in scheduler.get_last_lr()] == rates(optimizer) or t == meddle
        seen.append(held(optimizer))
    return np.array(seen)


def both(build, make=sgd, **how):
    """What is seen with torch's classes and with ours."""
    walked = []
    for module in (theirs, ours):
        optimizer = make()
        walked.append(walk(optimizer, build(module, optimizer), **how))
    return walked


def assert_same(first, second):
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)


# --- rates ----------------------------------------------------------------------------------------


def test_every_name_of_torchs_module_is_here():
    classes = [name for name, value in vars(theirs).items() if inspect.isclass(value)]
    schedulers = {name for name in classes if issubclass(getattr(theirs, name), theirs.LRScheduler)}
    assert {"LRScheduler", "_LRScheduler", *theirs.__all__} <= schedulers
    assert {*schedulers, "EPOCH_DEPRECATION_WARNING"} <= set(ours.__all__)
    for name in ("LRScheduler", "_LRScheduler", "EPOCH_DEPRECATION_WARNING"):
        assert getattr(ours, name) is getattr(theirs, name)


def test_a_scheduler_of_ones_own_has_the_base_class_of_old():
    class Halving(ours._LRScheduler):
        def get_lr(self):
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    optimizer = sgd()
    scheduler = Halving(optimizer)
    assert isinstance(scheduler, theirs.LRScheduler)
    walk(optimizer, scheduler, count=2)
    assert rates(optimizer) == [0.025, 0.5]


def test_every_scheduler_of_torch_is_here_with_its_signature():
    for name in NAMES:
        our, their = getattr(ours, name), getattr(theirs, name)
        assert issubclass(our, their)
        theirs_by_name = {key: value.default for key, value in inspect.signature(their).parameters.items()}
        if name == "ReduceLROnPlateau":
            theirs_by_name["last_epoch"] = -1  # libraries give it to every class that isn't torch's own plateau
        assert {key: value.default for key, value in inspect.signature(our).parameters.items()} == theirs_by_name


@case
@pytest.mark.parametrize("make", [sgd, functools.partial(sgd, tensor=True), adam], ids=["float", "tensor", "adam"])
@pytest.mark.parametrize("meddle", [None, 4])
def test_the_rates_and_momenta_are_torchs(name, arguments, others, make, meddle):
    assert_same(*both(lambda module, optimizer: getattr(module, name)(optimizer, **arguments), make, meddle=meddle))


@case
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's own: it is deprecated there
def test_step_with_an_epoch_sets_the_curve_there(name, arguments, others):
    found = []
    for module in (theirs, ours):
        optimizer = sgd()
        scheduler = getattr(module, name)(optimizer, **arguments)
        seen = []
        for epoch in (13, None, 5, None, None, 77, 0, None):
            optimizer.step()
            scheduler.step(epoch)
            seen.append([scheduler.last_epoch, *held(optimizer)])
        found.append(seen)
    assert_same(*found)


def test_warm_restarts_take_parts_of_an_epoch():
    found = []
    for module in (theirs, ours):
        optimizer = sgd()
        scheduler = module.CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2, eta_min=0.01)
        seen = []
        for epoch in [*np.arange(0, 40, 0.3), None, 2.5, None, 26, None]:
            scheduler.step(epoch)
            seen.append([scheduler.T_cur, scheduler.T_i, scheduler.last_epoch, *held(optimizer)])
        found.append(seen)
    assert_same(*found)


def test_the_place_of_a_warm_restart_may_be_set_by_hand():
    scheduler = ours.CosineAnnealingWarmRestarts(sgd(), T_0=4)
    scheduler.T_cur = 8
    scheduler.step()
    assert scheduler.T_cur == 1


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("StepLR", {"step_size": 3}, "staircase(every=3)"),
        ("MultiStepLR", {"milestones": [4, 2]}, "milestones(at=[2, 4])"),
        ("ConstantLR", {"factor": 0.5}, "constant(0.5, steps=5) >> constant()"),
        ("LinearLR", {"start_factor": 0.5}, "linear(5, to=1, start=0.5)"),
        ("ExponentialLR", {"gamma": 0.9}, "exponential(factor=0.9)"),
        ("PolynomialLR", {"total_iters": 9, "power": 0.9}, "polynomial(9, to=0, exponent=0.9)"),
        ("CosineAnnealingLR", {"T_max": 50, "eta_min": 0.01}, "cosine(50, to=absolute(0.01))"),
        ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}, "cosine_restarts(5, growth=2, to=absolute(0))"),
        ("CyclicLR", {"base_lr": 0, "max_lr": 1, "mode": "triangular2"}, "triangular(2000, 2000, low=0, factor=0.5)"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "pct_start": 0.5}, "one_cycle(8, turn=3.5)"),
    ],
)
def test_the_curve_is_a_schedule(name, arguments, text):
    optimizer = sgd()
    scheduler = getattr(ours, name)(optimizer, **arguments)
    schedule = scheduler.schedule
    assert str(schedule) == text
    base = 1.0 if name in {"CyclicLR", "OneCycleLR"} else 2.0
    walked = walk(optimizer, scheduler, 8)[:, 2]
    assert_same(walked, schedule(range(9), base))


def test_the_curve_of_a_function_is_a_schedule():
    assert_same(ours.LambdaLR(sgd(), halve).schedule(range(9)), 0.5 ** np.arange(9))
    with pytest.raises(InputError, match="each group has a function of its own"):
        _ = ours.LambdaLR(sgd(), [halve, shrink]).schedule


@pytest.mark.parametrize("name", NAMES)
def test_the_attributes_are_torchs(name):
    arguments = next((arguments for each, arguments, _ in CASES if each == name), {})
    attributes = []
    for module in (theirs, ours):
        optimizer = sgd()
        if name in {"SequentialLR", "ChainedScheduler"}:
            children = [module.ConstantLR(optimizer), module.ExponentialLR(optimizer, 0.9)]
            extra = ([3],) if name == "SequentialLR" else ()
            scheduler = getattr(module, name)(*((optimizer,) if extra else ()), children, *extra)
        else:
            scheduler = getattr(module, name)(optimizer, **arguments)
        for _ in range(6):
            optimizer.step()
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        states = [scheduler.state_dict()]
        states += states[0].pop("_schedulers", [])
        attributes.append([{k: v for k, v in state.items() if k not in {"_last_lr"}} for state in states])
    assert attributes[0] == attributes[1]


# What may be changed while a schedule runs, and where torch heeds it too.
CHANGES = {
    "StepLR": ({"step_size": 7}, lambda s: vars(s).update(step_size=3, gamma=0.5)),
    "MultiStepLR": ({"milestones": [3, 60]}, lambda s: s.milestones.update([45])),
    "ConstantLR": ({"total_iters": 70}, lambda s: vars(s).update(total_iters=50)),
    "LinearLR": ({"start_factor": 0.5, "total_iters": 70}, lambda s: vars(s).update(total_iters=50)),
    "ExponentialLR": ({"gamma": 0.9}, lambda s: vars(s).update(gamma=0.5)),
    "PolynomialLR": ({"total_iters": 70}, lambda s: vars(s).update(power=2.0)),
    "CosineAnnealingLR": ({"T_max": 70}, lambda s: vars(s).update(T_max=50, eta_min=0.01)),
    "CosineAnnealingWarmRestarts": ({"T_0": 30}, lambda s: vars(s).update(T_i=50, eta_min=0.01)),
    "CyclicLR": ({"base_lr": 0.1, "max_lr": 1.0}, lambda s: vars(s).update(total_size=90, step_ratio=0.2)),
    "OneCycleLR": (
        {"max_lr": 1.0, "total_steps": 101},
        lambda s: (s.optimizer.param_groups[1].update(max_lr=3.0), s._schedule_phases[0].update(end_step=50.0)),
    ),
    "LambdaLR": ({"lr_lambda": halve}, lambda s: vars(s).update(lr_lambdas=[inverse, shrink])),
    "MultiplicativeLR": ({"lr_lambda": shrink}, lambda s: vars(s).update(lr_lambdas=[inverse, shrink])),
    "ReduceLROnPlateau": ({"patience": 3}, lambda s: vars(s).update(patience=1, factor=0.5)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("at", [1, 40], ids=["early", "late"])
def test_hyper_parameters_may_be_changed_between_any_two_steps(name, at):
    arguments, change = CHANGES[name]
    found = []
    for module in (theirs, ours):
        optimizer, seen = sgd(), []
        scheduler = getattr(module, name)(optimizer, **arguments)
        for t in range(HORIZON):
            if t == at:
                change(scheduler)
            optimizer.step()
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            seen.append(held(optimizer))
        found.append(seen)
    assert_same(*found)


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR", "CyclicLR"])
def test_a_function_is_called_once_for_each_step_when_its_turn_comes(name):
    calls = []

    def function(epoch):
        calls.append(epoch)
        return 0.5

    arguments = {"base_lr": 0.1, "max_lr": 1.0, "scale_fn": function, "scale_mode": "iterations"}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    scheduler = getattr(ours, name)(optimizer, **(arguments if name == "CyclicLR" else {"lr_lambda": function}))
    calls.clear()
    for _ in range(40):
        optimizer.step()
        scheduler.step()
    assert calls == [*range(1, 41)]


def test_a_scale_that_gives_no_number_is_refused():
    optimizer = sgd()
    scheduler = ours.CyclicLR(optimizer, 0.1, 1.0, scale_fn=lambda cycle: 1, cycle_momentum=False)
    optimizer.step()
    scheduler.step()
    for answer, sentence in (("x", "scale must give numbers, not 'x'"), (-1.0, "scale must give finite numbers")):
        scheduler._scale_fn_custom = scheduler._scale_fn_ref = lambda cycle, answer=answer: answer
        with pytest.raises((InputError, InputTypeError), match=sentence):
            scheduler.step()


def test_a_curve_may_outgrow_floats_at_steps_that_never_come():
    assert_same(*both(lambda module, optimizer: module.StepLR(optimizer, 1, gamma=1e100), count=3))


# --- in each other --------------------------------------------------------------------------------


COMPOSITIONS = {
    "warmup then cosine": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.01, total_iters=5), m.CosineAnnealingLR(o, 40, 0.001)], [5]
    ),
    "four in sequence": lambda m, o: m.SequentialLR(
        o,
        [m.ConstantLR(o, 0.1, 30), m.ExponentialLR(o, 0.9), m.StepLR(o, 4), m.PolynomialLR(o, 30)],
        [3, 20, 21],
    ),
    "those that set rates, in sequence": lambda m, o: m.SequentialLR(
        o,
        [m.LambdaLR(o, halve), m.CosineAnnealingWarmRestarts(o, 7, 2), m.MultiplicativeLR(o, shrink)],
        [10, 50],
    ),
    "the cycles in sequence": lambda m, o: m.SequentialLR(
        o, [m.CyclicLR(o, 0.01, 0.2, 5), m.OneCycleLR(o, 0.5, total_steps=90), m.MultiStepLR(o, [3, 9])], [15, 80]
    ),
    "a milestone at zero, and twice": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o), m.StepLR(o, 3), m.ConstantLR(o), m.ExponentialLR(o, 0.8)], [0, 9, 9]
    ),
    "chained": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, total_iters=9), m.MultiStepLR(o, [20, 40]), m.CosineAnnealingLR(o, 70)]
    ),
    "chained, with a function": lambda m, o: m.ChainedScheduler(
        (m.ExponentialLR(o, 0.99), m.ConstantLR(o, 0.3, 12), m.MultiplicativeLR(o, shrink)), o
    ),
    "chained, in a sequence": lambda m, o: m.SequentialLR(
        o,
        [m.ChainedScheduler([m.LinearLR(o, 0.1, total_iters=5), m.ConstantLR(o, 0.1)]), m.ConstantLR(o, 0.5, 6)],
        [8],
    ),
    "chained twice": lambda m, o: m.ChainedScheduler(
        [m.ChainedScheduler([m.ExponentialLR(o, 0.95), m.LinearLR(o)]), m.StepLR(o, 30)]
    ),
}
composition = pytest.mark.parametrize("build", COMPOSITIONS.values(), ids=COMPOSITIONS)


@composition
@pytest.mark.parametrize("make", [sgd, functools.partial(sgd, tensor=True)], ids=["float", "tensor"])
@pytest.mark.filterwarnings("ignore:Detected call of")  # torch's own, at a chain that begins a sequence
def test_compositions_are_torchs(build, make):
    assert_same(*both(build, make))


@pytest.mark.parametrize("outer", [theirs, ours])
def test_torchs_and_ours_go_together(outer):
    inner = ours if outer is theirs else theirs
    optimizer, other = sgd(), sgd()
    mixed = outer.SequentialLR(optimizer, [inner.LinearLR(optimizer), inner.StepLR(optimizer, 3)], [5])
    torchs = theirs.SequentialLR(other, [theirs.LinearLR(other), theirs.StepLR(other, 3)], [5])
    assert_same(walk(optimizer, mixed), walk(other, torchs))


def test_several_schedulers_on_one_optimizer_compound():
    found = []
    for module in (theirs, ours):
        optimizer = sgd()
        schedulers = [
            module.LinearLR(optimizer, 0.4, 0.9, 4),
            module.CosineAnnealingLR(optimizer, 10, 1e-4),
            module.StepLR(optimizer, 3),
            module.ReduceLROnPlateau(optimizer, patience=2),
        ]
        seen = [held(optimizer)]
        for t in range(30):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step(*([max(1.0, 5.0 - t)] if scheduler is schedulers[-1] else []))
            seen.append(held(optimizer))
        found.append(seen)
    assert_same(*found)


# --- checkpoints ----------------------------------------------------------------------------------


@case
@direction
def test_checkpoints_go_both_ways_and_bring_their_hyper_parameters(name, arguments, others, source, target):
    optimizer, count = sgd(), 34
    scheduler = getattr(source, name)(optimizer, **arguments)
    walk(optimizer, scheduler, count)
    other_optimizer = sgd()
    other = getattr(target, name)(other_optimizer, **(arguments if others is None else others))
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    assert other.state_dict() == scheduler.state_dict()
    assert_same(walk(other_optimizer, other, 60), walk(optimizer, scheduler, 60))


@composition
@direction
@pytest.mark.parametrize("count", [17, 60])
@pytest.mark.filterwarnings("ignore:Detected call of")  # torch's own, at a chain that begins a sequence
def test_checkpoints_of_compositions_go_both_ways(build, source, target, count):
    optimizer, other_optimizer = sgd(), sgd()
    scheduler, other = build(source, optimizer), build(target, other_optimizer)
    walk(optimizer, scheduler, count)
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    assert_same(walk(other_optimizer, other, 30), walk(optimizer, scheduler, 30))


@direction
def test_plateau_checkpoints_go_both_ways(source, target):
    optimizer = sgd()
    scheduler = source.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
    for _ in range(5):
        scheduler.step(1.0)
    other_optimizer = sgd()
    other = target.ReduceLROnPlateau(other_optimizer)
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    for _ in range(7):
        scheduler.step(1.0)
        other.step(torch.tensor(1.0))
        assert rates(other_optimizer) == rates(optimizer)


@pytest.mark.parametrize("weights_only", [True, False])
@case
def test_a_state_is_saved_and_read(name, arguments, others, weights_only, tmp_path):
    optimizer = sgd()
    scheduler = getattr(ours, name)(optimizer, **arguments)
    walk(optimizer, scheduler, 3)
    state = scheduler.state_dict()
    pickle.dumps(state)
    torch.save(state, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=weights_only)
    assert read == state
    scheduler.load_state_dict(read)
    assert scheduler.state_dict() == state


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR"])
def test_the_attributes_of_an_object_that_is_called_are_saved(name):
    class Power:
        def __init__(self, base):
            self.base = base

        def __call__(self, epoch):
            return self.base**epoch

    state = getattr(ours, name)(sgd(), [Power(0.9), halve]).state_dict()
    assert state["lr_lambdas"] == [{"base": 0.9}, None]
    other = getattr(ours, name)(sgd(), [Power(0.5), halve])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].base == 0.9


def test_a_scale_of_ones_own_is_a_function_or_an_object():
    class Scale:
        def __init__(self, by):
            self.by = by

        def __call__(self, cycle):
            return self.by

    def make(scale):
        return ours.CyclicLR(sgd(), 0.1, 1.0, step_size_up=2, scale_fn=scale)

    state = make(Scale(0.5)).state_dict()
    other = make(Scale(0.25))
    other.load_state_dict(state)
    assert other.scale_fn(1) == 0.5
    assert make(inverse).state_dict()["_scale_fn_custom"] is None


def test_a_checkpoint_of_an_old_torch_has_the_annealing_itself():
    optimizer, other_optimizer = sgd(), sgd()
    arguments = {"max_lr": 1.0, "total_steps": 20, "anneal_strategy": "linear"}
    scheduler = ours.OneCycleLR(optimizer, **arguments)
    state = scheduler.state_dict()
    del state["_anneal_func_type"], vars(scheduler)["_anneal_func_type"]
    scheduler.load_state_dict({**state, "anneal_func": theirs.OneCycleLR._annealing_linear})
    assert_same(
        walk(optimizer, scheduler, 19), walk(other_optimizer, ours.OneCycleLR(other_optimizer, **arguments), 19)
    )


@case
def test_last_epoch_resumes(name, arguments, others):
    optimizer = sgd()
    scheduler = getattr(ours, name)(optimizer, **arguments)
    seen = walk(optimizer, scheduler, 60)
    for count in (1, 10, 31):
        optimizer = sgd()
        scheduler = getattr(ours, name)(optimizer, **arguments)
        walk(optimizer, scheduler, count)
        resumed = sgd()
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        scheduler = getattr(ours, name)(resumed, **arguments, last_epoch=count - 1)
        assert scheduler.last_epoch == count
        assert_same(walk(resumed, scheduler, 20), seen[count : count + 21])


def test_last_epoch_needs_an_initial_lr():
    with pytest.raises(KeyError, match=r"param 'initial_lr' is not specified in param_groups\[0\]"):
        ours.StepLR(sgd(), 3, last_epoch=1)


# --- in text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ConstantLR()", "every(1ep, piecewise(at=[0, 5], values=[0.3333333333333333, 1], between=hold))"),
        (
            "LinearLR(start_factor=0.1, total_iters=4)",
            "every(1ep, piecewise(at=[0, 4], values=[0.1, 1]))",
        ),
        ("PolynomialLR(10)", "every(1ep, piecewise(at=[0, 10], values=[1, 0]))"),
        ("PolynomialLR(13, power=0.9)", "every(1ep, polynomial(13, to=0, exponent=0.9))"),
        (
            "CosineAnnealingLR(T_max=12, eta_min=0.01)",
            "every(1ep, piecewise(at=[0, 12], values=[1, absolute(0.01)], between=cosine))",
        ),
        ("CosineAnnealingLR(T_max=90)", "every(1ep, piecewise(at=[0, 90], values=[1, 0], between=cosine))"),
        ("CosineAnnealingWarmRestarts(T_0=3, T_mult=2)", "every(1ep, cosine_restarts(3, growth=2))"),
        ("CyclicLR(base_lr=0.1, max_lr=1, step_size_up=4, step_size_down=2)", None),
        ("CyclicLR(base_lr=0.1, max_lr=1, step_size_up=4, mode=triangular2)", None),
        ("CyclicLR(base_lr=0.1, max_lr=1, step_size_up=4, mode=exp_range, gamma=0.9, cycle_momentum=False)", None),
        ("OneCycleLR(max_lr=1, total_steps=13)", None),
        ("OneCycleLR(max_lr=1, epochs=2, steps_per_epoch=7, anneal_strategy=linear, three_phase=True)", None),
    ],
)
def test_torchs_names_in_text_give_torchs_rates(text, written):
    """Counted in epochs, and in updates where torch's users step after each batch."""
    name, arguments = text[:-1].split("(")
    words = {"triangular2": "'triangular2'", "exp_range": "'exp_range'", "linear": "'linear'"}
    for word, quoted in words.items():
        arguments = arguments.replace(f"={word}", f"={quoted}")
    optimizer = sgd()
    scheduler = eval(f"theirs.{name}(optimizer, {arguments})")
    walked = walk(optimizer, scheduler, 12)[:, 2]
    plan = lrkit.parse(text)
    assert written is None or str(plan) == written
    each = 5 if written else 1
    assert_same(plan.over(13 * each, epoch_steps=5)(range(13 * each), 2.0), np.repeat(walked, each))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("CyclicLR(0.1, 1, mode=up)", "mode must be 'triangular', 'triangular2' or 'exp_range', not 'up'"),
        ("CyclicLR(0.1, 1, cycle_momentum=True)", "CyclicLR is the rate alone in text, and momentum has a schedule"),
        ("OneCycleLR(max_lr=1)", "OneCycleLR needs total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR(max_lr=1, total_steps=9, anneal_strategy=sine)", "anneal_strategy must be 'cos' or 'linear'"),
        ("OneCycleLR(max_lr=1, total_steps=9, div_factor=0)", "div_factor must be finite and above 0"),
    ],
)
def test_torchs_names_in_text_refuse_what_cannot_work(text, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.parse(text)


# --- manners --------------------------------------------------------------------------------------


def test_the_step_order_warning_is_right():
    for build in (lambda o: ours.StepLR(o, 3), lambda o: ours.SequentialLR(o, [ours.StepLR(o, 3)], [])):
        optimizer = sgd()
        scheduler = build(optimizer)
        with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\).* before .*optimizer.step\(\)"):
            scheduler.step()
        optimizer = sgd()
        scheduler = build(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            walk(optimizer, scheduler, 3)


def test_an_epoch_is_deprecated_as_in_torch_and_the_warning_points_at_the_caller():
    for scheduler, arguments in [(ours.StepLR(sgd(), 3), ()), (ours.ReduceLROnPlateau(sgd()), (1.0,))]:
        scheduler.optimizer.step()
        with pytest.warns(UserWarning, match="epoch parameter") as caught:
            scheduler.step(*arguments, epoch=2)
        assert [warning.filename for warning in caught] == [__file__]


def test_get_lr_outside_a_step_warns():
    with pytest.warns(UserWarning, match="get_last_lr"):
        ours.StepLR(sgd(), 3).get_lr()


@case
def test_tensor_rates_are_written_in_place_and_never_shared(name, arguments, others):
    optimizer = sgd(tensor=True)
    tensors = [group["lr"] for group in optimizer.param_groups]
    scheduler = getattr(ours, name)(optimizer, **arguments)
    walk(optimizer, scheduler, 3)
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, tensors, strict=True))
    for group, last, base in zip(optimizer.param_groups, scheduler.get_last_lr(), scheduler.base_lrs, strict=True):
        values = [v for v in (group["lr"], last, base, group["initial_lr"]) if isinstance(v, torch.Tensor)]
        assert len({id(value) for value in values}) == len(values) >= 2


def test_a_dropped_scheduler_is_freed_at_once():
    gc.disable()
    try:
        optimizer = sgd()
        scheduler = ours.CyclicLR(optimizer, 0.1, 1.0)
        optimizer.step()
        scheduler.step()
        dropped = weakref.ref(scheduler)
        del scheduler
        assert dropped() is None
    finally:
        gc.enable()


def test_momentum_needs_an_optimizer_that_has_it():
    optimizer = torch.optim.Rprop([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    for make in (lambda: ours.CyclicLR(optimizer, 1.0, 5.0), lambda: ours.OneCycleLR(optimizer, 1.0, 10)):
        with pytest.raises(ValueError, match="optimizer must support momentum"):
            make()
    assert rates(optimizer) == [0.1]
    assert set(optimizer.param_groups[0]) == set(optimizer.defaults) | {"params"}


def test_a_plateau_is_given_the_last_epoch_by_those_who_give_it_to_each_scheduler():
    new, begun = (ours.ReduceLROnPlateau(sgd(), patience=0, last_epoch=last) for last in (-1, 3))
    assert (new.last_epoch, begun.last_epoch) == (0, 4)
    begun.step(1.0)
    assert (begun.last_epoch, begun.get_last_lr()) == (5, [0.1, 2.0])
    begun.step(1.0)
    assert begun.get_last_lr() == pytest.approx([0.01, 0.2])
    with pytest.raises(InputError, match=r"last_epoch must be a whole number of at least -1, not -2"):
        ours.ReduceLROnPlateau(sgd(), last_epoch=-2)


def test_plateau_has_a_floor_for_each_group():
    optimizer = sgd()
    scheduler = ours.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05, 1.5])
    for _ in range(5):
        scheduler.step(1.0)
    assert rates(optimizer) == [0.05, 1.5]


def test_a_group_that_is_added_to_an_optimizer_with_floors_needs_one():
    optimizer = sgd()
    scheduler = ours.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05, 1.5])
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.1})
    scheduler.step(1.0)
    with pytest.raises(RuntimeError, match="number of param groups"):
        scheduler.step(1.0)


def test_compositions_refuse_what_torch_refuses():
    optimizer, other = sgd(), sgd()
    step = ours.StepLR(optimizer, 3)
    for schedulers, milestones, sentence in [
        ([], [], "at least one scheduler"),
        ([step], [3], "one more than the number of milestone"),
        ([step, ours.ReduceLROnPlateau(optimizer)], [3], "does not support `ReduceLROnPlateau`"),
        ([step, ours.StepLR(other, 3)], [3], "same optimizer"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            ours.SequentialLR(optimizer, schedulers, milestones)
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        ours.ChainedScheduler([ours.ReduceLROnPlateau(optimizer)])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda o: ours.ConstantLR(o, "a"), "factor"),
        (lambda o: ours.LinearLR(o, "a"), "start_factor"),
        (lambda o: ours.LinearLR(o, 0.5, "a"), "end_factor"),
        (lambda o: ours.CosineAnnealingLR(o, "a"), "T_max"),
        (lambda o: ours.CosineAnnealingLR(o, 0.5), "T_max"),
        (lambda o: ours.CosineAnnealingWarmRestarts(o, "a"), "T_0"),
        (lambda o: ours.CosineAnnealingWarmRestarts(o, 3, "a"), "T_mult"),
        (lambda o: ours.CosineAnnealingWarmRestarts(o, 3, 1, "a"), "eta_min"),
        (lambda o: ours.OneCycleLR(o, 0.1, "a"), "total_steps"),
        (lambda o: ours.OneCycleLR(o, 0.1, epochs="a", steps_per_epoch=3), "epochs"),
        (lambda o: ours.OneCycleLR(o, 0.1, epochs=3, steps_per_epoch="a"), "steps_per_epoch"),
        (lambda o: ours.OneCycleLR(o, 0.1, 10, pct_start="a"), "pct_start"),
        (lambda o: ours.OneCycleLR(o, 0.1, 10, base_momentum="a"), "base_momentum"),
        (lambda o: ours.CyclicLR(o, 0.1, 0.2, max_momentum="a"), "max_momentum"),
        (lambda o: ours.MultiStepLR(o, 5), "milestones"),
        (lambda o: ours.MultiStepLR(o, "ab"), "milestones"),
        (lambda o: ours.MultiStepLR(o, [[1]]), "milestones"),
    ],
)
def test_an_argument_that_cannot_work_is_named_before_torch_stumbles_over_it(make, name):
    optimizer = sgd()
    before = dict(optimizer.param_groups[0])
    with pytest.raises((InputError, InputTypeError), match=f"^{name} must be ") as caught:
        make(optimizer)
    assert "\n" not in str(caught.value)
    assert optimizer.param_groups[0] == before


def test_a_cosine_of_parts_of_a_step_has_no_schedule():
    with pytest.raises(InputError, match=r"schedules last whole steps, so with T_max=12.5 there is none"):
        _ = ours.CosineAnnealingLR(sgd(), 12.5).schedule


def test_past_its_total_steps_a_one_cycle_is_refused():
    optimizer = sgd()
    scheduler = ours.OneCycleLR(optimizer, 1.0, total_steps=3)
    walk(optimizer, scheduler, 3)
    with pytest.raises(InputError, match="this is step 4, but total_steps is 3"):
        scheduler.step()

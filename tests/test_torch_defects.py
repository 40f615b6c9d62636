"""Where torch is wrong, ours is right: each test shows torch's value too, and so fails when torch mends it."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

from lrkit import InputError, InputTypeError
from lrkit import torch_names as ours


def sgd(lr=0.1, groups=1):
    params = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(groups)]
    return torch.optim.SGD(params, lr=lr, momentum=0.9)


def walk(scheduler, count, *arguments):
    """The rate of the first group at each update, the first one included."""
    optimizer = scheduler.optimizer
    seen = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(count):
        optimizer.step()
        scheduler.step(*arguments)
        seen.append(float(optimizer.param_groups[0]["lr"]))
    return seen


def add_group(optimizer, lr):
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr})


def close(values):
    return pytest.approx(values, rel=0, abs=1e-12)


# --- the one cycle --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "torchs"),
    [
        ({"anneal_strategy": "linear"}, -0.1428525714285713),
        ({"anneal_strategy": "linear", "three_phase": True}, -0.007995),
        ({"anneal_strategy": "cos"}, 0.0495193679865),
    ],
)
def test_defect_one_cycle_leaves_its_end_at_the_extra_step(arguments, torchs):
    """A loop that steps after each of `total_steps` updates ends below zero, or on the way up again."""
    walked = walk(theirs.OneCycleLR(sgd(), 1.0, total_steps=10, **arguments), 10)
    assert walked[-1] == pytest.approx(torchs, abs=1e-6)
    scheduler = ours.OneCycleLR(sgd(), 1.0, total_steps=10, **arguments)
    assert walk(scheduler, 10) == close([*walked[:-1], walked[-2]])
    assert walked[-2] == close(4e-6)
    assert scheduler.optimizer.param_groups[0]["momentum"] == close(0.95)


@pytest.mark.parametrize(("total_steps", "pct_start"), [(10, 0.1), (2, 0.5), (3, 1 / 3), (1, 1.0)])
def test_defect_one_cycle_divides_by_zero_when_its_warmup_has_one_step(total_steps, pct_start):
    with pytest.raises(ZeroDivisionError):
        theirs.OneCycleLR(sgd(), 1.0, total_steps=total_steps, pct_start=pct_start)
    scheduler = ours.OneCycleLR(sgd(), 1.0, total_steps=total_steps, pct_start=pct_start)
    after = max(1, total_steps - 1)
    fall = [4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * t / after)) / 2 for t in range(total_steps)]
    assert walk(scheduler, total_steps - 1) == close(fall)  # the one step of the warmup is at the peak


def test_defect_one_cycle_divides_by_zero_after_a_cycle_that_only_rises():
    with pytest.raises(ZeroDivisionError):
        walk(theirs.OneCycleLR(sgd(), 1.0, total_steps=5, pct_start=1.0), 5)
    assert walk(ours.OneCycleLR(sgd(), 1.0, total_steps=5, pct_start=1.0), 5)[-2:] == [1.0, 1.0]


# --- lengths and factors that can't work ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("StepLR", {"step_size": 0}, "step_size must be a whole number of at least 1, not 0"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max must be finite and at least 1, not 0"),
        ("LinearLR", {"total_iters": 0}, "total_iters must be a whole number of at least 1, not 0"),
        ("PolynomialLR", {"total_iters": 0}, "total_iters must be a whole number of at least 1, not 0"),
        (
            "CyclicLR",
            {"base_lr": 0.1, "max_lr": 1, "step_size_up": 0},
            "step_size_up must be a whole number of at least 1, not 0",
        ),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "div_factor": 0}, "div_factor must be finite and above 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's own: it is deprecated there
def test_defect_a_length_of_zero_is_a_bare_division_by_zero(name, arguments, sentence):
    with pytest.raises(ZeroDivisionError):  # in LinearLR and PolynomialLR only where an epoch is given
        walk(getattr(theirs, name)(sgd(), **arguments), 1, 1)
    assert_refused(name, arguments, sentence)


@pytest.mark.parametrize(
    ("name", "arguments", "torchs", "sentence"),
    [
        ("StepLR", {"step_size": 2, "gamma": -0.5}, [0.1, 0.1, -0.05, -0.05, 0.025], "gamma must be finite and above"),
        ("StepLR", {"step_size": -2}, [0.1, 0.1, 0.01, 0.01, 0.001], "step_size must be a whole number"),
        ("MultiStepLR", {"milestones": [2], "gamma": -1}, [0.1, 0.1, -0.1, -0.1, -0.1], "gamma must be finite"),
        ("MultiStepLR", {"milestones": [2.5]}, [0.1] * 5, "milestones must be a whole number of at least 0, not 2.5"),
        ("ExponentialLR", {"gamma": -1.0}, [0.1, -0.1, 0.1, -0.1, 0.1], "gamma must be finite and above 0"),
        ("LinearLR", {"total_iters": 0}, [0.1 / 3] * 5, "total_iters must be a whole number"),
        ("ConstantLR", {"total_iters": 0}, [0.1 / 3] * 5, "total_iters must be a whole number"),
        ("PolynomialLR", {"total_iters": 2.5}, [0.1, 0.06, 0.02, 0.02, 0.02], "total_iters must be a whole number"),
        ("CosineAnnealingLR", {"T_max": 2, "eta_min": -0.1}, [0.1, 0, -0.1, 0, 0.1], "eta_min must be finite and at"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2, "eta_min": -0.3}, [0.1, -0.1, 0.1, -0.1, 0.1], "eta_min must be"),
        ("CyclicLR", {"base_lr": -0.1, "max_lr": 0.1, "step_size_up": 2}, [-0.1, 0, 0.1, 0, -0.1], "base_lr must be"),
    ],
)
def test_defect_arguments_that_cannot_work_are_accepted(name, arguments, torchs, sentence):
    assert walk(getattr(theirs, name)(sgd(), **arguments), 4) == close(torchs)
    assert_refused(name, arguments, sentence)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("StepLR", {"step_size": 2.5}, "step_size must be a whole number of at least 1, not 2.5"),
        ("StepLR", {"step_size": "3"}, r"step_size must be a whole number, not '3' \(str\)"),
        ("MultiStepLR", {"milestones": [-1]}, "milestones must be a whole number of at least 0, not -1"),
        ("ExponentialLR", {"gamma": math.nan}, "gamma must be finite"),
        ("ConstantLR", {"factor": math.nan}, "factor must be finite"),
        ("PolynomialLR", {"power": -1}, "power must be finite and above 0"),
        ("LambdaLR", {"lr_lambda": 0.9}, "lr_lambda must be a function of the epoch, not 0.9"),
        ("OneCycleLR", {"max_lr": -1.0, "total_steps": 9}, "max_lr must be finite and at least 0"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": [1.0, math.nan], "step_size_up": 2}, "max_lr must be finite"),
        ("ReduceLROnPlateau", {"factor": -1.0}, "factor must be finite and above 0 and below 1"),
        ("ReduceLROnPlateau", {"min_lr": -1}, "min_lr must be finite and at least 0"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(name, arguments, sentence):
    assert_refused(name, arguments, sentence)


def assert_refused(name, arguments, sentence):
    optimizer = sgd()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises((InputError, InputTypeError), match=sentence):
        getattr(ours, name)(optimizer, **arguments)
    assert optimizer.state_dict() == before


def test_defect_a_constant_of_zero_never_comes_back():
    with pytest.raises(ZeroDivisionError):
        walk(theirs.ConstantLR(sgd(), factor=0.0, total_iters=2), 3)
    assert walk(ours.ConstantLR(sgd(), factor=0.0, total_iters=2), 3) == [0.0, 0.0, 0.1, 0.1]


def test_defect_milestones_of_a_sequence_may_come_in_any_order():
    def build(module):
        optimizer = sgd()
        parts = [module.ExponentialLR(optimizer, 0.5), module.StepLR(optimizer, 2), module.ConstantLR(optimizer)]
        return module.SequentialLR(optimizer, parts, [6, 3])

    assert walk(build(theirs), 4) == close([0.1, 0.05, 0.025, 0.1 / 3, 0.1 / 3])  # StepLR's turn never comes
    with pytest.raises(InputError, match="milestones must ascend, but 6 stands before 3"):
        build(ours)


# --- in each other --------------------------------------------------------------------------------


def warmup_then_decay(module, optimizer):
    parts = [module.LinearLR(optimizer, 0.1, total_iters=3), module.ExponentialLR(optimizer, 0.5)]
    return module.SequentialLR(optimizer, parts, [3])


WARMUP_THEN_DECAY = [0.01, 0.04, 0.07, 0.1, 0.05, 0.025]


@pytest.mark.filterwarnings("ignore:Detected call of")  # torch's own, and as wrong as its rates
def test_defect_a_sequence_that_begins_a_sequence_is_a_step_ahead():
    def build(module):
        optimizer = sgd()
        return module.SequentialLR(optimizer, [warmup_then_decay(module, optimizer), module.StepLR(optimizer, 2)], [6])

    assert walk(build(theirs), 5) == close([0.01, 0.04, 0.1, 0.05, 0.025, 0.0125])
    assert walk(build(ours), 8) == close([*WARMUP_THEN_DECAY, 0.1, 0.1, 0.01])


def test_defect_a_sequence_inside_a_sequence_raises_when_its_turn_comes():
    def build(module):
        optimizer = sgd()
        return module.SequentialLR(optimizer, [module.StepLR(optimizer, 2), warmup_then_decay(module, optimizer)], [4])

    with pytest.raises(NotImplementedError):
        walk(build(theirs), 4)
    assert walk(build(ours), 9) == close([0.1, 0.1, 0.01, 0.01, *WARMUP_THEN_DECAY])


def test_defect_a_chain_inside_a_sequence_raises_when_its_turn_comes():
    def build(module):
        optimizer = sgd()
        chain = module.ChainedScheduler([module.ExponentialLR(optimizer, 0.5), module.ConstantLR(optimizer, 0.1, 2)])
        return module.SequentialLR(optimizer, [module.StepLR(optimizer, 2), chain], [3])

    with pytest.raises(NotImplementedError):
        walk(build(theirs), 3)
    assert walk(build(ours), 6) == close([0.1, 0.1, 0.01, 0.01, 0.005, 0.025, 0.0125])


@pytest.mark.parametrize(
    ("name", "arguments", "first"),
    [
        ("ExponentialLR", {"gamma": 0.5}, 0.05),
        ("PolynomialLR", {"total_iters": 5}, 0.1 / 1.2),
        ("MultiplicativeLR", {"lr_lambda": lambda _: 0.5}, 0.05),
        ("CosineAnnealingLR", {"T_max": 4}, 0.2 / (1 + math.cos(math.pi / 4))),
    ],
)
@pytest.mark.parametrize("inner", ["chain", "sequence"])
def test_defect_a_composition_that_begins_a_sequence_is_a_step_ahead(name, arguments, first, inner):
    """And the order of steps is complained about, though none was taken."""

    def build(module):
        optimizer = sgd()
        part = getattr(module, name)(optimizer, **arguments)
        begin = module.ChainedScheduler([part]) if inner == "chain" else module.SequentialLR(optimizer, [part], [])
        return module.SequentialLR(optimizer, [begin, module.StepLR(optimizer, 2)], [4])

    with pytest.warns(UserWarning, match="before"):
        assert walk(build(theirs), 0) == close([first])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walked = walk(build(ours), 5)
    assert walked[:4] == close(walk(getattr(ours, name)(sgd(), **arguments), 3))
    assert walked[4:] == close([0.1, 0.1])


@pytest.mark.parametrize("sequence_first", [True, False])
def test_defect_a_sequence_inside_a_chain_undoes_the_others(sequence_first):
    def build(module):
        optimizer = sgd()
        if sequence_first:
            parts = [warmup_then_decay(module, optimizer), module.ConstantLR(optimizer, 0.1, total_iters=5)]
        else:
            parts = [module.ConstantLR(optimizer, 0.1, total_iters=5), warmup_then_decay(module, optimizer)]
        return module.ChainedScheduler(parts)

    assert walk(build(theirs), 5)[5] == close(0.25)  # ten times too high, and above the base
    assert walk(build(ours), 5) == close([0.001, 0.004, 0.007, 0.01, 0.005, 0.025])


@pytest.mark.filterwarnings("ignore:Detected call of")  # torch's own, and no fault of the caller
@pytest.mark.parametrize("depth", ["leaves", "nested", "chained"])
def test_defect_a_sequence_resumed_by_last_epoch_starts_over(depth):
    def build(module, optimizer, last_epoch=-1):
        first = module.ExponentialLR(optimizer, 0.8)
        if depth == "chained":
            warmup = module.LinearLR(optimizer, 0.5, total_iters=9)
            first = module.ChainedScheduler([warmup, module.CosineAnnealingLR(optimizer, 9)])
        if depth == "nested":
            first = module.SequentialLR(optimizer, [module.ConstantLR(optimizer, 0.5, 9), first], [2])
        parts = [first, module.CosineAnnealingLR(optimizer, 9)]
        return module.SequentialLR(optimizer, parts, [4], last_epoch=last_epoch)

    walked = walk(build(ours, sgd()), 12)
    for done in (3, 6):
        resumed = sgd()
        resumed.param_groups[0].update(initial_lr=0.1, lr=walked[done])
        assert walk(build(theirs, resumed, done - 1), 12 - done) != close(walked[done:])
        resumed.param_groups[0].update(lr=walked[done])
        assert walk(build(ours, resumed, done - 1), 12 - done) == close(walked[done:])


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "held", "torchs"),
    [
        ("StepLR", {"step_size": 3, "gamma": 0.5}, 0.05, 0.025),
        ("MultiStepLR", {"milestones": [3], "gamma": 0.5}, 0.05, 0.025),
        ("ConstantLR", {"factor": 0.5, "total_iters": 3}, 0.1, 0.2),
    ],
)
def test_defect_resumed_at_a_change_it_is_made_twice(name, arguments, held, torchs):
    def resume(module):
        optimizer = sgd()
        walk(getattr(module, name)(optimizer, **arguments), 3)
        assert optimizer.param_groups[0]["lr"] == close(held)
        restored = sgd()
        restored.load_state_dict(optimizer.state_dict())
        return getattr(module, name)(restored, **arguments, last_epoch=2).get_last_lr()

    assert resume(theirs) == close([torchs])
    assert resume(ours) == close([held])


def test_defect_warm_restarts_that_grow_are_lost_when_resumed_by_last_epoch():
    def resume(module, done):
        optimizer = sgd()
        optimizer.param_groups[0]["initial_lr"] = 0.1
        scheduler = module.CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2, last_epoch=done - 1)
        return walk(scheduler, 30)

    walked = walk(theirs.CosineAnnealingWarmRestarts(sgd(), T_0=3, T_mult=2), 60)
    assert resume(theirs, 8)[0] == close(0.075)
    assert walked[8] == close(0.05 * (1 + math.cos(math.pi * 5 / 6)))
    for done in range(1, 30):
        assert resume(ours, done) == close(walked[done : done + 31])


@pytest.mark.parametrize(("period", "growth", "epoch"), [(1, 3, 121), (2, 3, 242), (10, 3, 1210)])
def test_defect_warm_restarts_are_missed_at_the_restart_itself(period, growth, epoch):
    """torch finds the cycle with a logarithm, which rounds."""
    found = []
    for module in (theirs, ours):
        scheduler = module.CosineAnnealingWarmRestarts(sgd(), T_0=period, T_mult=growth)
        scheduler.step(epoch)
        found += scheduler.get_last_lr()
    assert found == close([0.0, 0.1])
    assert scheduler.schedule(epoch) == 1.0


@pytest.mark.parametrize("module", [theirs, ours])
def test_defect_a_state_restored_without_the_optimizers(module):
    """torch goes on from the rate that a new optimizer has; ours gives it the rate that the state ends with."""
    scheduler = module.StepLR(sgd(), 2, gamma=0.5)
    walk(scheduler, 5)
    other = module.StepLR(sgd(), 2, gamma=0.5)
    other.load_state_dict(scheduler.state_dict())
    assert other.get_last_lr() == close([0.025])
    walked = walk(other, 3)
    assert walked == close([0.1, 0.05, 0.05, 0.025] if module is theirs else [0.025, 0.0125, 0.0125, 0.00625])


def test_a_state_restored_without_the_optimizers_brings_momentum_and_its_parts():
    def build(optimizer):
        parts = [ours.LinearLR(optimizer, 0.1), ours.CyclicLR(optimizer, 0.01, 0.1, 5), ours.StepLR(optimizer, 3)]
        return ours.SequentialLR(optimizer, parts, [5, 30])

    for count in (2, 8, 32):
        scheduler = build(sgd())
        walk(scheduler, count)
        other = build(sgd())
        other.load_state_dict(copy.deepcopy(scheduler.state_dict()))
        held, expected = (each.optimizer.param_groups[0] for each in (other, scheduler))
        assert held["lr"] == expected["lr"]
        assert held["momentum"] == expected["momentum"] or count == 32  # once its cycle has ended, nobody cares
        assert walk(other, 20) == close(walk(scheduler, 20))


def test_a_rate_that_was_changed_after_the_last_step_comes_back_with_the_optimizers_state():
    scheduler = ours.StepLR(sgd(), 2)
    walk(scheduler, 3)
    scheduler.optimizer.param_groups[0]["lr"] = 0.07
    restored = sgd()
    other = ours.StepLR(restored, 2)
    restored.load_state_dict(scheduler.optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    assert restored.param_groups[0]["lr"] == 0.07


def test_defect_a_foreign_state_is_loaded_silently():
    state = theirs.StepLR(sgd(), 7).state_dict()
    torchs = theirs.CosineAnnealingLR(sgd(), 5)
    torchs.load_state_dict(state)
    assert (torchs.T_max, torchs.step_size) == (5, 7)
    scheduler = ours.CosineAnnealingLR(sgd(), 5)
    before = scheduler.state_dict()
    sentence = "not the state of a CosineAnnealingLR: it has gamma, step_size and lacks T_max, eta_min"
    with pytest.raises(InputError, match=sentence):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == before


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    scheduler = warmup_then_decay(ours, sgd())
    before = copy.deepcopy(scheduler.state_dict())
    chain = ours.ChainedScheduler([ours.StepLR(scheduler.optimizer, 3)])
    optimizer = sgd()
    short = ours.SequentialLR(optimizer, [ours.LinearLR(optimizer)], []).state_dict()
    swapped = {**before, "_schedulers": before["_schedulers"][::-1]}
    wide = ours.StepLR(sgd(groups=3), 3).state_dict()
    for target, state, sentence in [
        (scheduler, chain.state_dict(), "not the state of a SequentialLR: .* lacks _milestones"),
        (chain, before, "not the state of a ChainedScheduler: it has _milestones"),
        (scheduler, short, "the state has 1 schedulers, but this SequentialLR 2"),
        (scheduler, swapped, "not the state of a LinearLR: it has gamma and lacks"),
        (chain._schedulers[0], wide, "the state has 3 base_lrs, but the optimizer has 1 param groups"),
        (chain._schedulers[0], {**ours.StepLR(sgd(), 3).state_dict(), "step_size": 0}, "step_size must be a whole"),
        (ours.ReduceLROnPlateau(sgd()), ours.StepLR(sgd(), 3).state_dict(), "not the state of a ReduceLROnPlateau"),
    ]:
        held = copy.deepcopy((target.state_dict(), target.optimizer.state_dict()))
        with pytest.raises(InputError, match=sentence):
            target.load_state_dict(state)
        assert (target.state_dict(), target.optimizer.state_dict()) == held


def test_a_scheduler_of_ones_own_loads_what_it_has():
    class Mine(ours.StepLR):
        def __init__(self, optimizer):
            self.power = 3
            super().__init__(optimizer, 5)

    scheduler = Mine(sgd())
    scheduler.load_state_dict({**Mine(sgd()).state_dict(), "power": 4})
    assert scheduler.power == 4


def test_defect_loading_empties_the_state():
    scheduler = theirs.CyclicLR(sgd(), 0.1, 1.0)
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    with pytest.raises(KeyError, match="_scale_fn_custom"):
        scheduler.load_state_dict(state)
    scheduler = ours.CyclicLR(sgd(), 0.1, 1.0)
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    scheduler.load_state_dict(state)
    assert scheduler.state_dict() == state


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR"])
def test_defect_a_builtin_function_has_no_state(name):
    with pytest.raises(AttributeError, match="__dict__"):
        getattr(theirs, name)(sgd(), math.sqrt).state_dict()
    assert getattr(ours, name)(sgd(), math.sqrt).state_dict()["lr_lambdas"] == [None]


# --- groups and bases -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("LambdaLR", {"lr_lambda": lambda epoch: 0.5**epoch}, ValueError),
        ("MultiplicativeLR", {"lr_lambda": lambda _: 0.5}, ValueError),
        ("CosineAnnealingLR", {"T_max": 2}, ValueError),
        ("CosineAnnealingWarmRestarts", {"T_0": 4}, ValueError),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3}, ValueError),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 30}, KeyError),
    ],
)
def test_defect_a_group_that_is_added_later_breaks_the_scheduler(name, arguments, error):
    scheduler = getattr(theirs, name)(sgd(), **arguments)
    walk(scheduler, 1)
    add_group(scheduler.optimizer, 0.1)
    with pytest.raises(error):
        walk(scheduler, 3)
    scheduler = getattr(ours, name)(sgd(), **arguments)
    walk(scheduler, 1)
    add_group(scheduler.optimizer, scheduler.get_last_lr()[0] if name in {"MultiplicativeLR"} else 0.1)
    walk(scheduler, 6)
    assert scheduler.get_last_lr()[0] == close(scheduler.get_last_lr()[1]) or name == "CosineAnnealingLR"
    first, second = scheduler.optimizer.param_groups
    assert first["momentum"] == second["momentum"]
    other = getattr(ours, name)(sgd(groups=2), **arguments)
    other.load_state_dict(scheduler.state_dict())
    assert len(other.base_lrs) == 2


def test_a_group_that_is_added_later_compounds_from_the_rate_it_came_with():
    scheduler = ours.CosineAnnealingLR(sgd(), 4)
    walk(scheduler, 2)
    add_group(scheduler.optimizer, 0.05)
    walked = []
    for _ in range(6):
        scheduler.optimizer.step()
        scheduler.step()
        walked.append(scheduler.get_last_lr()[1])
    share = (1 + np.cos(np.pi * np.arange(3, 9) / 4)) / 2
    assert walked[:2] == close((0.05 * share / 0.5)[:2].tolist())
    assert walked[2:] == close((0.05 * share)[2:].tolist())  # past the trough its base counts


def test_a_group_that_is_added_to_groups_that_differ_needs_values_of_its_own():
    scheduler = ours.LambdaLR(sgd(groups=2), [lambda _: 1.0, lambda _: 0.5])
    add_group(scheduler.optimizer, 0.1)
    scheduler.optimizer.step()
    with pytest.raises(InputError, match="lr_lambdas has values, and these differ: append the new group's"):
        scheduler.step()
    scheduler = ours.LambdaLR(sgd(groups=2), [lambda _: 1.0, lambda _: 0.5])
    add_group(scheduler.optimizer, 0.1)
    scheduler.lr_lambdas.append(lambda _: 0.25)
    walk(scheduler, 1)
    assert scheduler.get_last_lr() == close([0.1, 0.05, 0.025])


def test_defect_a_stale_initial_lr_is_where_a_cycle_begins():
    def build(module):
        optimizer = sgd(0.5)
        module.CosineAnnealingLR(optimizer, 20)
        return module.CyclicLR(optimizer, base_lr=0.1, max_lr=0.3, step_size_up=2)

    assert walk(build(theirs), 4) == close([0.5, 0.2, 0.3, 0.2, 0.1])
    assert walk(build(ours), 4) == close([0.1, 0.2, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(("mode", "metric"), [("min", -1.0), ("max", -1.0)])
def test_defect_plateau_takes_a_stalled_negative_metric_for_an_improving_one(mode, metric):
    found = []
    for module in (theirs, ours):
        scheduler = module.ReduceLROnPlateau(sgd(), mode, patience=2)
        for _ in range(4):
            scheduler.step(metric)
        found += scheduler.get_last_lr()
    assert found == close([0.1, 0.01])

"""torch's names: the same rates over the whole horizon, the same checkpoints, the same warnings."""

import warnings

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from lrkit import InputError, InputTypeError
from lrkit import torch_names as ours

CASES = [
    ("StepLR", {"step_size": 7, "gamma": 0.3}),
    ("StepLR", {"step_size": 1}),
    ("MultiStepLR", {"milestones": [3, 11, 30], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [5, 5, 2]}),
    ("ExponentialLR", {"gamma": 0.93}),
]
HORIZON = 120


def sgd(tensor=False):
    lrs = [torch.tensor(0.1, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)] if tensor else [0.1, 2.0]
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def walk(optimizer, scheduler, count=HORIZON, meddle=None):
    seen = []
    for t in range(count):
        optimizer.step()
        scheduler.step()
        if meddle is not None and t == meddle:
            optimizer.param_groups[0]["lr"] *= 0.25
        seen.append(rates(optimizer))
    return torch.tensor(seen, dtype=torch.float64)


@pytest.mark.parametrize(("name", "arguments"), CASES)
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("meddle", [None, 4])
def test_the_rates_are_torchs(name, arguments, tensor, meddle):
    walked = []
    for module in (theirs, ours):
        optimizer = sgd(tensor)
        walked.append(walk(optimizer, getattr(module, name)(optimizer, **arguments), meddle=meddle))
    assert (walked[0] - walked[1]).abs().max() <= 1e-12


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_step_with_an_epoch_sets_the_curve_there(name, arguments):
    found = []
    for module in (theirs, ours):
        optimizer = sgd()
        scheduler = getattr(module, name)(optimizer, **arguments)
        optimizer.step()
        with pytest.warns(UserWarning, match="epoch parameter"):
            scheduler.step(13)
        found.append(rates(optimizer))
    assert found[0] == pytest.approx(found[1], abs=1e-12)


@pytest.mark.parametrize(("name", "arguments"), CASES)
@pytest.mark.parametrize("direction", ["torch to lrkit", "lrkit to torch"])
def test_checkpoints_go_both_ways_and_bring_their_hyper_parameters(name, arguments, direction):
    source, target = (theirs, ours) if direction == "torch to lrkit" else (ours, theirs)
    optimizer = sgd()
    scheduler = getattr(source, name)(optimizer, **arguments)
    walk(optimizer, scheduler, 9)
    other_optimizer = sgd()
    other = getattr(target, name)(
        other_optimizer, **{"StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [1]}}.get(name, {"gamma": 0.5})
    )
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    assert torch.equal(walk(other_optimizer, other), walk(optimizer, scheduler)) or torch.allclose(
        walk(other_optimizer, other), walk(optimizer, scheduler), rtol=0, atol=1e-12
    )


def test_last_epoch_resumes_as_torch_does():
    found = []
    for module in (theirs, ours):
        optimizer = sgd()
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        found.append(walk(optimizer, module.StepLR(optimizer, 4, last_epoch=5)))
    assert (found[0] - found[1]).abs().max() <= 1e-12


def test_the_step_order_warning_is_right():
    optimizer = sgd()
    scheduler = ours.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\).* before .*optimizer.step\(\)"):
        scheduler.step()
    optimizer = sgd()
    scheduler = ours.StepLR(optimizer, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walk(optimizer, scheduler, 3)


def test_plateau_checkpoints_go_both_ways():
    for source, target in ((theirs, ours), (ours, theirs)):
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


def test_plateau_has_a_floor_for_each_group():
    optimizer = sgd()
    scheduler = ours.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05, 1.5])
    for _ in range(5):
        scheduler.step(1.0)
    assert rates(optimizer) == [0.05, 1.5]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda o: ours.StepLR(o, 0), "every must be positive, not 0"),
        (lambda o: ours.StepLR(o, 2.5), "every must be a whole number"),
        (lambda o: ours.StepLR(o, 3, gamma=-0.1), "factor must be finite and above 0"),
        (lambda o: ours.MultiStepLR(o, [-1]), "at must be positive"),
        (lambda o: ours.ExponentialLR(o, float("nan")), "factor must be finite"),
        (lambda o: ours.ReduceLROnPlateau(o, factor=1.0), "factor must be finite and above 0 and below 1"),
        (lambda o: ours.ReduceLROnPlateau(o, min_lr=-1), "min_lr must be finite and at least 0"),
    ],
)
def test_defect_torch_accepts_what_cannot_work(make, sentence):
    optimizer = sgd()
    with pytest.raises((InputError, InputTypeError), match=sentence):
        make(optimizer)
    assert rates(optimizer) == [0.1, 2.0]
    assert "initial_lr" not in optimizer.param_groups[0]

"""torch's schedulers as plans: the same rates, by formula where there is one, and the live ones stay as they are."""

import copy
import warnings

import numpy as np
import parity
import pytest
import torch
from torch.optim import lr_scheduler as torchs

import lrkit
from lrkit import InputError, InputTypeError, from_torch, torch_names

TOTAL = 60


def sgd(*lrs, tensor=False):
    rates = [torch.tensor(lr, dtype=torch.float64) if tensor else lr for lr in lrs or (0.1,)]
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in rates], momentum=0.9)


def walk(optimizer, scheduler, total=TOTAL):
    """The rates of each group after 0 to `total` calls of step()."""
    seen = [[float(group["lr"]) for group in optimizer.param_groups]]
    for _ in range(total):
        optimizer.step()
        scheduler.step()
        seen.append([float(group["lr"]) for group in optimizer.param_groups])
    return np.array(seen)


def evaluate(plan, base=0.1, total=TOTAL):
    return plan(np.arange(total + 1), base)


def unordered(build):
    """Torch's own constructor warns of its own call of step()."""

    def quiet(optimizer):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*optimizer.step", category=UserWarning)
            return build(optimizer)

    return quiet


class Halving(torchs.LRScheduler):
    """A scheduler of one's own, with a state of its own."""

    def __init__(self, optimizer):
        self.count = 0
        super().__init__(optimizer)

    def get_lr(self):
        self.count += 1
        return [base / self.count for base in self.base_lrs]


class Composed(torchs.SequentialLR):
    """A composition of one's own."""


# Each with the plan that it becomes.
FORMULAS = [
    (lambda o: torchs.StepLR(o, 7, gamma=0.3), "staircase(every=7, factor=0.3)"),
    (lambda o: torchs.MultiStepLR(o, [30, 9, 9], gamma=0.5), "milestones(at=[9, 9, 30], factor=0.5)"),
    (lambda o: torchs.ExponentialLR(o, 0.93), "exponential(factor=0.93)"),
    (lambda o: torchs.ConstantLR(o, 0.5, 20), "constant(0.5, steps=20) >> constant()"),
    (lambda o: torchs.LinearLR(o, 0.25, total_iters=8), "linear(8, to=1, start=0.25)"),
    (lambda o: torchs.PolynomialLR(o, 40, power=2), "polynomial(40, to=0)"),
    (lambda o: torchs.CosineAnnealingLR(o, 60, eta_min=1e-3), "cosine(60, to=absolute(0.001))"),
    (lambda o: torchs.CosineAnnealingLR(o, 25.0), "repeat(cosine(25, to=0) >> cosine(25, to=1))"),
    (lambda o: torchs.CosineAnnealingWarmRestarts(o, 9, 2), "cosine_restarts(9, growth=2)"),
    (lambda o: torchs.CyclicLR(o, 0.1, 0.4, 5, 8), "triangular(5, 8, low=1, peak=4)"),
    (lambda o: torchs.CyclicLR(o, 0.1, 0.4, 5, mode="triangular2"), "triangular(5, 5, low=1, peak=4, factor=0.5)"),
    (
        lambda o: torchs.CyclicLR(o, 0.1, 0.4, 5, mode="exp_range", gamma=0.9),
        "triangular(5, 5, low=1, peak=4, factor=0.9, per=step)",
    ),
    (
        lambda o: torchs.OneCycleLR(o, 2.5, total_steps=101, pct_start=0.5, final_div_factor=100.0),
        "one_cycle(100, start=1, peak=25, to=0.01, turn=49.5)",
    ),
    (
        lambda o: torchs.SequentialLR(o, [torchs.LinearLR(o, 0.1), torchs.CosineAnnealingLR(o, 55)], [5]),
        "linear(5, to=1, start=0.1) >> cosine(55, to=0, start=1)",
    ),
    (
        lambda o: torchs.SequentialLR(
            o, [torchs.StepLR(o, 4), torchs.LinearLR(o, 0.5), torchs.ExponentialLR(o, 0.9)], [10, 30]
        ),
        "staircase(10, every=4) >> every(1, linear(5, to=1, start=0.5), steps=20) >> exponential(factor=0.9, start=1)",
    ),
    (
        lambda o: torchs.ChainedScheduler([torchs.LinearLR(o, 0.1), torchs.ExponentialLR(o, 0.9)]),
        "linear(5, to=1, start=0.1) * exponential(factor=0.9)",
    ),
    (
        lambda o: torchs.ChainedScheduler([torchs.ChainedScheduler([torchs.StepLR(o, 9)]), torchs.ConstantLR(o, 0.5)]),
        "staircase(every=9) * (constant(0.5, steps=5) >> constant())",
    ),
    (lambda o: torchs.SequentialLR(o, [torchs.StepLR(o, 9)], []), "staircase(every=9)"),
]

# What has no formula, or one that isn't what torch really does.
TABLES = {
    "a function": lambda o: torchs.LambdaLR(o, lambda t: 1 / (t + 1)),
    "a factor": lambda o: torchs.MultiplicativeLR(o, lambda t: 0.9 if t % 3 else 1.1),
    "a function of the cycle": lambda o: torchs.CyclicLR(o, 0.1, 0.4, 5, scale_fn=lambda cycle: 1 / cycle),
    "a length that isn't whole": lambda o: torchs.CosineAnnealingLR(o, 12.5),
    "a constant that never ends": lambda o: torchs.ConstantLR(o, 0.5, total_iters=0),
    "a floor under a product": lambda o: torchs.ChainedScheduler(
        [torchs.CosineAnnealingLR(o, 80, eta_min=0.01), torchs.StepLR(o, 20)]
    ),
    "a function in a sequence": lambda o: torchs.SequentialLR(
        o, [torchs.LinearLR(o, 0.1), torchs.LambdaLR(o, lambda t: 0.9**t)], [5]
    ),
    "a sequence in a sequence, which is a step early": unordered(
        lambda o: torchs.SequentialLR(
            o,
            [torchs.SequentialLR(o, [torchs.LinearLR(o), torchs.ExponentialLR(o, 0.9)], [3]), torchs.StepLR(o, 9)],
            [20],
        )
    ),
    "a chain in a sequence, which has stepped already": unordered(
        lambda o: torchs.SequentialLR(
            o, [torchs.ChainedScheduler([torchs.ExponentialLR(o, 0.9), torchs.StepLR(o, 4)]), torchs.StepLR(o, 9)], [20]
        )
    ),
    "a sequence in a chain, which starts anew": lambda o: torchs.ChainedScheduler(
        [torchs.SequentialLR(o, [torchs.LinearLR(o, 0.1), torchs.ExponentialLR(o, 0.9)], [5]), torchs.StepLR(o, 2)]
    ),
}
ALL = [build for build, _ in FORMULAS] + list(TABLES.values())


@pytest.mark.parametrize(("build", "text"), FORMULAS, ids=[text for _, text in FORMULAS])
def test_a_scheduler_with_a_formula_becomes_it(build, text):
    optimizer = sgd()
    scheduler = build(optimizer)
    plan = from_torch(scheduler, TOTAL)
    assert str(plan) == text
    assert lrkit.parse(text) == plan
    base = optimizer.param_groups[0]["initial_lr"]
    np.testing.assert_allclose(evaluate(plan, base), walk(optimizer, scheduler)[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_what_has_none_becomes_a_table(build):
    optimizer = sgd()
    scheduler = build(optimizer)
    plan = from_torch(scheduler, TOTAL)
    assert plan.kind == "table"
    assert plan.length == TOTAL + 1
    assert lrkit.from_json(lrkit.to_json(plan)) == plan
    np.testing.assert_allclose(evaluate(plan), walk(optimizer, scheduler)[:, 0], rtol=0, atol=1e-12)


def test_every_scheduler_of_torch_is_among_them():
    assert set(parity.TORCH) == set(torchs.__all__) - {"LRScheduler"}


@pytest.mark.parametrize("build", ALL)
def test_the_live_scheduler_and_its_optimizer_stay_as_they_are(build):
    optimizer = sgd(0.1, 0.7)
    scheduler = build(optimizer)
    walk(optimizer, scheduler, 3)

    def look():
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        return (
            copy.deepcopy((groups, scheduler.state_dict(), optimizer.defaults)),
            optimizer.step,
            dict(vars(optimizer)),
        )

    before = look()
    from_torch(scheduler, TOTAL, group=1)
    assert look() == before
    alike = sgd(0.1, 0.7)
    other = build(alike)
    walk(alike, other, 3)
    assert np.array_equal(walk(optimizer, scheduler, 30), walk(alike, other, 30))


@pytest.mark.parametrize("build", ALL)
def test_a_scheduler_that_was_stepped_is_imported_from_its_step_0(build):
    optimizer = sgd()
    scheduler = build(optimizer)
    fresh = from_torch(scheduler, 40)
    walk(optimizer, scheduler, 13)
    optimizer.param_groups[0]["lr"] *= 0.5
    assert from_torch(scheduler, 40) == fresh


DROP_INS = {
    "StepLR": lambda m, o: m.StepLR(o, 10),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [9, 3], gamma=0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.5),
    "LinearLR": lambda m, o: m.LinearLR(o),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 20, 2),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 12, eta_min=1e-3),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 4, 2),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.01, 0.3, 5),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.5, 40),
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda t: 1 / (t + 1)),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda t: 0.9),
    "SequentialLR": lambda m, o: m.SequentialLR(o, [m.LinearLR(o), m.StepLR(o, 6)], [5]),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.LinearLR(o), m.StepLR(o, 6)]),
}


@pytest.mark.parametrize("name", DROP_INS)
def test_a_drop_in_becomes_what_torchs_own_becomes_stepped_already_or_not(name):
    optimizer = sgd(0.1, 0.7)
    scheduler = DROP_INS[name](torch_names, optimizer)
    plan = from_torch(scheduler, 30, group=1)
    assert plan == from_torch(DROP_INS[name](torchs, sgd(0.1, 0.7)), 30, group=1)
    base = optimizer.param_groups[1]["initial_lr"]
    np.testing.assert_allclose(evaluate(plan, base, 13), walk(optimizer, scheduler, 13)[:, 1], rtol=0, atol=1e-12)
    assert from_torch(scheduler, 30, group=1) == plan


def test_every_drop_in_is_imported():
    names = set(torch_names.__all__) - {"_LRScheduler", "LRScheduler", "EPOCH_DEPRECATION_WARNING"}
    assert set(DROP_INS) == names - {"ReduceLROnPlateau"}
    assert from_torch(torch_names.ReduceLROnPlateau(sgd(), patience=2), 30) == lrkit.plateau(patience=2)


def test_a_subclass_of_a_drop_in_is_one_of_ones_own():
    class StepLR(torch_names.StepLR):
        """Has the name, and not the schedule."""

    optimizer = sgd()
    scheduler = StepLR(optimizer, 10)
    assert from_torch(scheduler, 30).kind == "table"
    walk(optimizer, scheduler, 3)
    with pytest.raises(InputError, match="StepLR was stepped already"):
        from_torch(scheduler, 30)


def test_one_that_was_resumed_is_imported_from_step_0_too():
    optimizer = sgd()
    optimizer.param_groups[0]["initial_lr"] = 0.1
    assert from_torch(torchs.StepLR(optimizer, 4, last_epoch=5), 40) == lrkit.staircase(every=4)


def test_its_arguments_are_as_they_are_now():
    scheduler = torchs.StepLR(sgd(), 4)
    scheduler.gamma = 0.7
    assert from_torch(scheduler, 40) == lrkit.staircase(every=4, factor=0.7)


def test_another_scheduler_of_the_same_optimizer_does_not_count():
    optimizer = sgd()
    torchs.LinearLR(optimizer, 0.1)
    assert from_torch(torchs.StepLR(optimizer, 4), 40) == lrkit.staircase(every=4)


def test_each_group_has_its_plan():
    optimizer = sgd(0.1, 2.0)
    scheduler = torchs.LambdaLR(optimizer, [lambda t: 0.9**t, lambda t: 1 / (t + 1)])
    cyclic = torchs.CyclicLR(other := sgd(0.1, 2.0), [0.1, 0.2], [0.4, 2.0], 7)
    for bound, live in ((optimizer, scheduler), (other, cyclic)):
        plans = [from_torch(live, TOTAL, group=group) for group in (0, 1)]
        bases = [group["initial_lr"] for group in bound.param_groups]
        found = np.stack([evaluate(plan, base) for plan, base in zip(plans, bases, strict=True)], axis=1)
        np.testing.assert_allclose(found, walk(bound, live), rtol=0, atol=1e-12)


def test_rates_in_tensors_are_taken_as_floats():
    optimizer = sgd(0.1, tensor=True)
    plan = from_torch(torchs.CosineAnnealingLR(optimizer, 60, eta_min=0.01), TOTAL)
    assert plan == lrkit.cosine(60, to=lrkit.absolute(0.01))
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)


def test_any_optimizer_will_do():
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(
        model.named_parameters(), lr=torch.tensor(0.1), betas=(torch.tensor(0.9), torch.tensor(0.99)), capturable=True
    )
    assert str(from_torch(torchs.OneCycleLR(optimizer, 0.1, total_steps=9), 9)).startswith("one_cycle(8, ")


def test_a_subclass_is_stepped_and_refused_when_that_was_done_already():
    optimizer = sgd()
    scheduler = Halving(optimizer)
    plan = from_torch(scheduler, TOTAL)
    assert plan.kind == "table"
    np.testing.assert_allclose(evaluate(plan), walk(optimizer, scheduler)[:, 0], rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="Halving was stepped already, and only torch's own"):
        from_torch(scheduler, TOTAL)
    optimizer = sgd()
    composed = Composed(optimizer, [torchs.StepLR(optimizer, 3), Halving(optimizer)], [10])
    np.testing.assert_allclose(
        evaluate(from_torch(composed, TOTAL)), walk(optimizer, composed)[:, 0], rtol=0, atol=1e-12
    )
    with pytest.raises(InputError, match="Composed was stepped already"):
        from_torch(composed, TOTAL)


def test_the_plan_bound_to_a_new_optimizer_gives_the_rates_again():
    optimizer, other = sgd(), sgd()
    scheduler = torchs.SequentialLR(
        optimizer, [torchs.LinearLR(optimizer, 0.1), torchs.CosineAnnealingLR(optimizer, 55)], [5]
    )
    from_torch(scheduler, TOTAL).bind(other)
    for expected in walk(optimizer, scheduler)[:, 0]:
        assert other.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-12)
        other.step()


def test_a_plateau_becomes_a_controller_that_has_seen_nothing():
    optimizer = sgd(0.1, 2.0)
    scheduler = torchs.ReduceLROnPlateau(
        optimizer, "max", 0.3, 2, 0.05, "abs", cooldown=3, min_lr=[1e-3, 0.5], eps=1e-6
    )
    scheduler.step(1.0)
    plans = [from_torch(scheduler, 1, group=group) for group in (0, 1)]
    assert str(plans[1]) == (
        "plateau(mode=max, factor=0.3, patience=2, threshold=0.05, threshold_mode=abs, cooldown=3, "
        "floor=absolute(0.5), eps=1e-06)"
    )
    again = torchs.ReduceLROnPlateau(optimizer, "max", 0.3, 2, 0.05, "abs", cooldown=3, min_lr=[1e-3, 0.5], eps=1e-6)
    states = [plan.init() for plan in plans]
    for t, metric in enumerate(np.sin(np.arange(80) / 5), start=1):
        again.step(metric)
        states = [plan.update(state, metric, t) for plan, state in zip(plans, states, strict=True)]
        found = [plan.value(state, t, base) for plan, state, base in zip(plans, states, (0.1, 2.0), strict=True)]
        assert found == pytest.approx(again.get_last_lr(), abs=1e-12)
    assert found == pytest.approx([1e-3, 0.5])


def test_defect_torch_runs_a_one_cycle_past_its_end():
    optimizer = sgd()
    scheduler = torchs.OneCycleLR(optimizer, 2.5, total_steps=20, anneal_strategy="linear")
    plan = from_torch(scheduler, 20)
    theirs = walk(optimizer, scheduler, 20)[:, 0]
    np.testing.assert_allclose(evaluate(plan, total=19), theirs[:20], rtol=0, atol=1e-12)
    assert theirs[20] < -0.1
    assert plan(20, 0.1) == plan(19, 0.1) == pytest.approx(1e-5)


def count_up():
    numbers = iter(range(10**6))
    return lambda t: next(numbers)


def with_plateau(optimizer):
    chained = torchs.ChainedScheduler([torchs.StepLR(optimizer, 3)])
    chained._schedulers = [*chained._schedulers, torchs.ReduceLROnPlateau(optimizer)]
    return chained


def add_group(optimizer, scheduler):
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 1.0})
    return scheduler


class Locked(Halving):
    def __init__(self, optimizer):
        self.lines = open(__file__)  # noqa: PTH123, SIM115 (what can't be copied)
        super().__init__(optimizer)
        self.lines.close()


class OwnPlateau(torchs.ReduceLROnPlateau):
    """A class of one's own that changes nothing."""


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda o: "StepLR", "scheduler must be one of torch's learning-rate schedulers, not 'StepLR'"),
        (lambda o: lrkit.linear(9, to=0).bind(o), "BoundSchedule is lrkit's own; its plan is the one that `bind`"),
        (with_plateau, "ChainedScheduler holds ReduceLROnPlateau, which moves by a metric"),
        (OwnPlateau, "OwnPlateau moves by a metric in a way of its own"),
        (Locked, "Locked can't be copied, so it can't be stepped without touching it: cannot pickle"),
        (
            lambda o: torchs.LambdaLR(o, count_up()),
            "LambdaLR gives other rates each time, so they depend on more",
        ),
        (
            lambda o: torchs.LambdaLR(o, lambda t: 1 - t / 10),
            "LambdaLR gives the rate -0.01 at step 11, and",
        ),
        (
            lambda o: torchs.LambdaLR(o, lambda t: 0.1 / (10 - t)),
            "itself fails at call 10 of step.., with ZeroDiv",
        ),
        (lambda o: torchs.ExponentialLR(o, 1e300), "ExponentialLR gives the rate inf at step 2"),
        (
            lambda o: torchs.OneCycleLR(o, 1.0, total_steps=9),
            "fails at call 10 of step.., with ValueError: Tried to",
        ),
        (
            lambda o: torchs.SequentialLR(
                o, [torchs.StepLR(o, 9), torchs.ChainedScheduler([torchs.StepLR(o, 2), torchs.StepLR(o, 3)])], [4]
            ),
            "SequentialLR itself fails at call 4 of step.., with NotImplementedError",
        ),
    ],
)
def test_what_cannot_be_imported_says_why(build, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence) as raised:
        from_torch(build(sgd()), TOTAL)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"total": 0}, "total must be positive, not 0"),
        ({"total": 2.5}, "total must be a whole number of steps"),
        ({"total": "5%"}, "total must be a number of calls of step.., not '5%'"),
        ({"total": 9, "group": 2}, "group must be from 0 to 1, not 2"),
        ({"total": 9, "group": -1}, "group must be from 0 to 1, not -1"),
        ({"total": 9, "group": "head"}, "group must be the index of a param group, not 'head'"),
    ],
)
def test_wrong_arguments_are_named(arguments, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        from_torch(torchs.StepLR(sgd(0.1, 0.2), 3), **arguments)


def test_groups_without_a_base_are_refused():
    optimizer = sgd()
    with pytest.raises(InputError, match="group 1 has no initial_lr: it was added after StepLR was made"):
        from_torch(add_group(optimizer, torchs.StepLR(optimizer, 3)), TOTAL)
    with pytest.raises(InputError, match="group 0 has the initial_lr 0, of which the rates of CyclicLR are no share"):
        from_torch(torchs.CyclicLR(sgd(), 0.0, 1.0, 5), TOTAL)
    zero = from_torch(torchs.LambdaLR(sgd(0.0), lambda t: 0.9**t), TOTAL)
    assert not evaluate(zero, 0.0).any()

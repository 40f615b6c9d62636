"""Lanes that diverge, end early, go on, or can't be batched; and what is left behind: nothing."""

import copy
import math
import random
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lrkit
from lane_cases import CASES, LANES, MODELS, OPTIMIZERS, Augmented, Kept, Told, X, Y, alone, make, together, work_of
from lrkit import InputError, Lane, LanesFolder, LanesObserver
from lrkit.training.lanes.together import train_together
from lrkit.training.lanes.update import UnbatchableError
from lrkit.training.loop import StoppedError
from lrkit.training.networks import perceptron

# --- divergence -------------------------------------------------------------------------------------


def blown_up(output, target):
    return functional.mse_loss(output, functional.one_hot(target, 3).to(output.dtype))


LATE = {"train": (X.repeat(30, 1), Y.repeat(30)), "batch_size": 2, "epochs": 2, "loss": blown_up}  # 660 in an epoch


@pytest.mark.parametrize(
    ("changes", "rate", "between"),
    [
        ({"loss": blown_up, "epochs": 5}, 1e6, (0, 15)),
        ({"loss": blown_up, "epochs": 5, "valid": None, "metrics": {}}, 1e200, (0, 15)),
        (LATE, "constant(steps=520) >> constant(1e200)", (519, 530)),
        (LATE, "constant(steps=10) >> constant(1e200)", (9, 20)),
    ],
    ids=["at once", "without validation", "late in a long epoch", "early in a long epoch"],
)
def test_a_lane_that_diverges_ends_as_run_does_and_touches_no_other(changes, rate, between):
    task = make(optimizer=OPTIMIZERS["SGD"], **changes)
    wild = Lane(rate, lr=0.01) if isinstance(rate, str) else Lane(lr=rate)
    calm = [Lane("linear(to=0)", lr=0.01), Lane(lr=0.02)]
    told = together(task, [calm[0], wild, calm[1]])
    theirs, mine = alone(task, wild).history, told.histories[1]
    assert mine.diverged == theirs.diverged
    assert between[0] <= mine.diverged.step <= between[1]
    assert len(mine.losses) == len(theirs.losses)
    assert len(mine.epochs) == len(theirs.epochs)
    assert np.array_equal(np.isfinite(mine.losses), np.isfinite(theirs.losses))
    assert np.array_equal(mine.lrs, theirs.lrs)
    assert math.isfinite(mine.epochs[-1].train_loss) is False
    for number, lane in ((0, calm[0]), (2, calm[1])):
        one, other = told.histories[number], alone(task, lane).history
        assert one.diverged is None
        np.testing.assert_allclose(one.losses, other.losses, rtol=1.2e-7, atol=1e-9)
        assert [each.valid_loss for each in one.epochs] == pytest.approx([each.valid_loss for each in other.epochs])
    assert told.lane_steps == 3 * len(told.histories[0].losses)


def test_validation_of_one_that_diverges_moves_no_random_numbers_of_the_others(monkeypatch):
    """It is measured before the epoch's end, with data that draw."""
    torch.set_default_dtype(torch.float64)
    try:
        monkeypatch.setattr("lrkit.training.lanes.group.CHECK_EVERY", 2)
        monkeypatch.setattr("lrkit.training.run_state.CHECK_EVERY", 2)
        task = make(optimizer=OPTIMIZERS["SGD"], train=Augmented(), valid=Augmented(), loss=blown_up)
        lanes = [LANES[0], Lane(lr=1e200), LANES[1]]
        told = together(task, lanes)
        for number in (0, 2):
            theirs = alone(task, lanes[number]).history
            np.testing.assert_allclose(told.histories[number].losses, theirs.losses, rtol=1.2e-7)
        assert told.histories[1].diverged == alone(task, lanes[1]).history.diverged
    finally:
        torch.set_default_dtype(torch.float32)


def test_all_may_diverge():
    lanes = [Lane(lr=1e200), Lane(lr=1e250)]
    histories = lrkit.run_lanes(make(loss=blown_up), lanes, backend="eager")
    assert all(history.diverged for history in histories)


def test_what_is_stopped_while_it_is_measured_ends_there():
    asked = []
    task = make(train=(X.repeat(200, 1), Y.repeat(200)), epochs=50)
    with pytest.raises(StoppedError, match="while it was measured what trains them best"):
        lrkit.run_lanes(task, LANES, stop=lambda: asked.append(None) or len(asked) > 5)


# --- what lanes share, and what is their own --------------------------------------------------------


def test_lanes_of_a_seed_begin_with_the_same_weights_and_see_the_same_batches():
    kept = Kept()
    lanes = [Lane(lr=0.0), Lane(lr=0.1), Lane(lr=0.0, seed=1), Lane(lr=0.1, seed=1)]
    told = together(make(), lanes, kept=kept)
    first = [history.losses[0] for history in told.histories.values()]
    assert first[0] == first[1] != first[2] == first[3]
    still = kept.saved[6]["parameters"]["0.weight"]  # of seed and lane
    assert torch.equal(still[0, 0], kept.saved[1]["parameters"]["0.weight"][0, 0])
    assert not torch.equal(still[0, 0], still[1, 0])
    assert not torch.equal(still[0, 0], still[0, 1])


def test_lanes_of_a_seed_have_the_same_masks():
    task = make(model=MODELS["dropout"]["model"], optimizer=OPTIMIZERS["SGD"])
    one, other = together(task, [Lane(lr=0.0), Lane(lr=0.0)]).histories.values()
    assert one == other
    assert len(set(one.losses.tolist())) == 6


@pytest.mark.parametrize("patience", [1, 2])
def test_each_lane_stops_early_by_itself(patience):
    task = make(epochs=12, early_stopping=patience)
    lanes = [Lane(lr=0.0), Lane(lr=0.05), Lane(lr=3.0)]
    told = together(task, lanes)
    ends = [len(history.epochs) for history in told.histories.values()]
    assert [len(told.histories[n].epochs) for n in range(3)] == [
        len(alone(task, lane).history.epochs) for lane in lanes
    ]
    assert min(ends) == 1 + patience < max(ends)
    assert told.lane_steps == 3 * 36


# --- dropping ---------------------------------------------------------------------------------------


def test_all_may_be_dropped_at_once():
    told = together(make(epochs=5), LANES, drop=lambda histories: histories)
    assert [history.made["dropped"] for history in told.histories.values()] == [True] * 3
    assert [len(history.epochs) for history in told.histories.values()] == [1] * 3


@pytest.mark.parametrize("backend", ["eager", "sequential"])
def test_numbers_of_no_lane_or_of_one_that_has_ended_drop_nothing(backend):
    def drop(histories):
        return [99, -1, 0]

    histories = lrkit.run_lanes(make(epochs=3), LANES, backend=backend, drop=drop)
    assert [history.made.get("dropped") for history in histories] == [True, None, None]
    assert [len(history.epochs) for history in histories] == [1, 3, 3]


# --- going on ---------------------------------------------------------------------------------------

GOING_ON = ["perceptron", "batch norm", "dropout", "own betas and eps", "controllers", "an augmenting dataset", "AdamW"]


def same_weights(one, other):
    """Of the lanes under way, to the bit; those that have ended may still have a place in the stack."""
    assert one["grid"] == other["grid"]
    [row] = one["grid"]
    going = [column for column, number in enumerate(row) if str(number) in one["lanes"]]
    return all(
        torch.equal(each[:, going], other[kind][name][:, going])
        for kind in ("parameters", "buffers")
        for name, each in one[kind].items()
    )


def some_dropped(histories):
    """The first two after an epoch, the fourth after two."""
    done = max((len(each.epochs) for each in histories.values()), default=0)
    return {1: [0, 1], 2: [3]}.get(done, [])


@pytest.mark.parametrize("drop", [lambda histories: (), some_dropped], ids=["all", "some dropped"])
@pytest.mark.parametrize("name", GOING_ON)
def test_lanes_that_go_on_from_anywhere_were_never_interrupted(name, drop):
    case = CASES[name]
    task = make(torch.float32, **{**case.changes, "epochs": 3})
    lanes = [*case.lanes, *(replace(lane, lr=lane.lr / 3) for lane in case.lanes)]
    kept = Kept()
    whole = together(task, lanes, kept=kept, drop=drop)
    for step in range(1, 9):
        told, end = Told(), Kept(at=[9])
        end.snapshot = copy.deepcopy(kept.saved[step])
        train_together(work_of(task, lanes, drop), range(len(lanes)), told, end, compiled=False)
        for number, history in told.histories.items():
            assert history == whole.histories[number], (step, number)
        assert same_weights(end.saved[9], kept.saved[9]), step


def test_several_seeds_go_on_too():
    task = make(torch.float32, epochs=3)
    lanes = [Lane(lane.schedule, lr=lane.lr, seed=seed) for seed in (3, 1) for lane in LANES]
    kept = Kept()
    whole = together(task, lanes, kept=kept, drop=some_dropped)
    for step in range(1, 9):
        told, end = Told(), Kept(at=())
        end.snapshot = copy.deepcopy(kept.saved[step])
        train_together(work_of(task, lanes, some_dropped), range(len(lanes)), told, end, compiled=False)
        assert told.histories == {n: whole.histories[n] for n in told.histories}


def test_a_folder_of_lanes_that_were_stopped_goes_on_to_the_bit(tmp_path):
    task, lanes = make(torch.float32, model=MODELS["dropout"]["model"], epochs=3), list(LANES)
    whole = lrkit.run_lanes(task, lanes, backend="eager")
    updates = iter(range(100))
    with pytest.raises(StoppedError, match="after 5 updates"):
        lrkit.run_lanes(
            task, lanes, backend="eager", folder=LanesFolder(tmp_path / "sweep"), stop=lambda: next(updates) == 4
        )
    again = lrkit.run_lanes(task, lanes, folder=LanesFolder(tmp_path / "sweep", resume=True))
    assert again == whole
    assert again[0].made["lanes"]["backend"] == "eager"


@pytest.mark.slow
def test_compiled_lanes_go_on_to_the_bit():
    task = make(torch.float32, model=MODELS["dropout"]["model"], epochs=3)
    kept, work = Kept(), work_of(task, LANES)
    whole = together(task, LANES, kept=kept, compiled=True, work=work)
    for step in (1, 3, 5):
        told, end = Told(), Kept(at=[9])
        end.snapshot = copy.deepcopy(kept.saved[step])
        train_together(work, range(3), told, end, compiled=True)
        assert told.histories == whole.histories
        assert same_weights(end.saved[9], kept.saved[9])
    assert len(work.graphs) == 1


# --- what can't be batched --------------------------------------------------------------------------


class Looks(nn.Linear):
    """Goes another way for some inputs."""

    def __init__(self, how):
        super().__init__(16, 3)
        self.how = how

    def forward(self, x):
        y = super().forward(x)
        return y * 2 if self.how(y) else y


class LeftOut(nn.Linear):
    """A layer that is left out of every other update."""

    def forward(self, x):
        return super().forward(x) if torch.rand(()) < 0.5 else x  # the same for all lanes of a seed


def within(module):
    return lambda: nn.Sequential(nn.Linear(16, 16), nn.ModuleDict({"deep": module()})["deep"], nn.Linear(3, 3))


class Wild(torch.optim.SGD):
    """An optimizer of the user's own."""


STRANGER = nn.Parameter(torch.ones(2, dtype=torch.float64))


def with_a_stranger(parameters):
    return torch.optim.SGD([*parameters, STRANGER], lr=0.1)


def hooked(register):
    def model():
        made = perceptron([16, 8, 3])
        register(made)
        return made

    return model


def clamped(parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    optimizer.register_step_post_hook(lambda o, *_: [p.data.clamp_(-1, 1) for p in o.param_groups[0]["params"]])
    return optimizer


HOOK = "lanes can't be batched: a hook"
UNBATCHABLE = {
    "random slopes": (
        {"model": lambda: nn.Sequential(nn.Linear(16, 3), nn.RReLU())},
        r"^the module '1' \(RReLU\) can't be batched: .*aten::rrelu_with_noise",
    ),
    "a condition": (
        {"model": within(lambda: Looks(lambda y: y.sum() > 0))},
        r"^the module '1' \(Looks\) can't be batched: .*data-dependent control flow",
    ),
    "an item": (
        {"model": lambda: Looks(lambda y: y.sum().item() > 0)},
        r"^the model \(Looks\) can't be batched: .*\.item\(\)",
    ),
    "a layer left out by chance": (
        {"model": lambda: nn.Sequential(LeftOut(16, 16), nn.Linear(16, 3))},
        "whether the parameter '0.bias' gets a gradient depends on the batch, or is left to chance",
    ),
    "Rprop": ({"optimizer": torch.optim.Rprop}, "can't be batched: there is no rule for the optimizer Rprop"),
    "amsgrad": (
        {"optimizer": lambda p: torch.optim.Adam(p, amsgrad=True)},
        "can't be batched: the rule of Adam has no amsgrad=True",
    ),
    "an optimizer of one's own": ({"optimizer": lambda p: Wild(p, lr=0.1)}, "there is no rule for the optimizer Wild"),
    "a stranger": ({"optimizer": with_a_stranger}, "the optimizer has parameters that the model hasn't"),
    "half precision": ({"precision": "float16"}, "lanes in float16 can't be batched"),
    "a hook of a parameter": (
        {"model": hooked(lambda model: model[0].weight.register_hook(lambda gradient: gradient * 2))},
        HOOK,
    ),
    "a hook of a gradient": (
        {
            "model": hooked(
                lambda model: model[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.clamp_(-1e-3, 1e-3))
            )
        },
        HOOK,
    ),
    "a hook of a module": (
        {"model": hooked(lambda model: model[2].register_full_backward_hook(lambda m, i, o: (i[0],)))},
        "can't be batched",
    ),
    "a hook of the optimizer": ({"optimizer": clamped}, HOOK),
}


@pytest.mark.parametrize("name", UNBATCHABLE)
def test_what_can_not_be_batched_is_said_in_a_sentence(name):
    changes, sentence = UNBATCHABLE[name]
    with pytest.raises(UnbatchableError, match=sentence) as caught:
        lrkit.run_lanes(make(**changes), LANES, backend="eager")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["random slopes", "an item", "amsgrad", "a hook of the optimizer"])
def test_then_auto_takes_what_batches_nothing_and_says_why(name):
    changes, sentence = UNBATCHABLE[name]
    task = make(**changes)
    histories = lrkit.run_lanes(task, LANES)
    made = histories[0].made["lanes"]
    assert made["backend"] in ("sequential", "processes")
    assert re.search(sentence, made["reason"])
    assert histories[1] == alone(task, LANES[1]).history


def share(output, target):
    return float((output.argmax(dim=-1) == target).double().mean())


def by_numpy(output, target):
    return float(np.mean(output.argmax(dim=-1).numpy() == target.numpy()))


def by_list(output, target):
    return sum(one == other for one, other in zip(output.argmax(-1).tolist(), target.tolist(), strict=True)) / len(
        target
    )


@pytest.mark.parametrize("metric", [share, by_numpy, by_list])
@pytest.mark.parametrize("seeds", [[0, 0, 0], [2, 1, 2, 1]])
def test_metrics_that_can_not_be_batched_are_measured_lane_by_lane(metric, seeds):
    task = make(metrics={"share": metric, "accuracy": lrkit.accuracy})
    lanes = [Lane(lr=0.03 * (1 + n), seed=seed) for n, seed in enumerate(seeds)]
    for lane, history in zip(lanes, lrkit.run_lanes(task, lanes, backend="eager"), strict=True):
        theirs = alone(task, lane).history
        for one, other in zip(history.epochs, theirs.epochs, strict=True):
            assert one.metrics == pytest.approx(dict(other.metrics), rel=1e-9)
            assert one.metrics["share"] == pytest.approx(one.metrics["accuracy"], rel=1e-6)


def broken(output, target):
    raise ValueError("no such metric")


def test_a_metric_that_is_wrong_is_said_as_run_says_it():
    task = make(metrics={"wrong": broken})
    with pytest.raises(ValueError, match="no such metric") as mine:
        lrkit.run_lanes(task, LANES, backend="eager")
    with pytest.raises(ValueError, match="no such metric") as theirs:
        lrkit.run(task, "constant()")
    assert mine.value.__notes__ == theirs.value.__notes__


# --- no trace ---------------------------------------------------------------------------------------


def settings():
    """All of the caller's that a sweep could change."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "type": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "attention": [
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        ],
        "autocast": torch.is_autocast_enabled("cpu"),
    }


class Breaks(LanesObserver):
    def __init__(self, when):
        self.when = when

    def step(self, lane_steps):
        if self.when == "step":
            raise ZeroDivisionError

    def epoch(self, histories):
        if self.when == "epoch":
            raise ZeroDivisionError


@pytest.mark.parametrize("backend", ["eager", "sequential", "auto"])
@pytest.mark.parametrize("model", ["attention", "dropout"])
@pytest.mark.parametrize("when", ["never", "step", "epoch"])
def test_nothing_of_the_callers_is_changed(backend, model, when):
    task, before = make(**MODELS[model]), settings()
    for _ in range(2):
        try:
            lrkit.run_lanes(task, LANES, backend=backend, observers=[Breaks(when)])
        except ZeroDivisionError:
            assert when != "never"
        assert settings() == before


@pytest.mark.parametrize("name", UNBATCHABLE)
def test_a_refusal_changes_nothing_either(name):
    before = settings()
    with pytest.raises(InputError):
        lrkit.run_lanes(make(**UNBATCHABLE[name][0]), LANES, backend="eager")
    assert settings() == before


@pytest.mark.parametrize("backend", ["eager", "sequential"])
def test_gradients_may_be_off_where_lanes_are_called(backend):
    task = make()
    whole = lrkit.run_lanes(task, LANES, backend=backend)
    with torch.no_grad():
        assert lrkit.run_lanes(task, LANES, backend=backend) == whole
        assert not torch.is_grad_enabled()


def test_an_optimizer_is_kept_only_while_its_lane_is_trained():
    alive, counts = weakref.WeakSet(), []

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.1)
        alive.add(made)
        counts.append(len(alive))
        return made

    task = make(optimizer=optimizer, epochs=1)
    lrkit.run_lanes(task, [Lane(lr=0.01 * (1 + number)) for number in range(12)], backend="sequential")
    assert len(counts) >= 24
    assert max(counts) <= 4

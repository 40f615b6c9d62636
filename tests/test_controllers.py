"""Plateau and greedy: held against torch and readable twins, what they watch, their place in compositions."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, torch_names
from plans import controllers, greedies

OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.floats(0.05, 0.95),
        "patience": st.integers(0, 4),
        "threshold": st.floats(0, 0.5),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "cooldown": st.integers(0, 3),
        "eps": st.sampled_from([0.0, 1e-8, 1e-2]),
    }
)


def sgd(lr=0.1):
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)


@given(OPTIONS, st.sampled_from([0, 1e-3, 0.05]), st.lists(st.floats(0, 10), max_size=60))
def test_plateau_is_torchs_for_metrics_that_are_not_negative(options, floor, metrics):
    optimizer = sgd()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=floor, **options)
    ours = lrkit.plateau(floor=lrkit.absolute(floor), **options)
    named_optimizer = sgd()
    named = torch_names.ReduceLROnPlateau(named_optimizer, min_lr=floor, **options)
    state = ours.init()
    for t, metric in enumerate(metrics):
        theirs.step(metric)
        named.step(metric)
        state = ours.update(state, metric, t)
        assert ours.value(state, t, 0.1) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        assert named_optimizer.param_groups[0]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        assert (named.num_bad_epochs, named.cooldown_counter) == (theirs.num_bad_epochs, theirs.cooldown_counter)


def test_defect_torchs_relative_threshold_takes_a_stalled_negative_metric_for_an_improving_one():
    optimizer = sgd()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    named_optimizer = sgd()
    named = torch_names.ReduceLROnPlateau(named_optimizer, patience=0)
    ours = lrkit.plateau(patience=0)
    state = ours.init()
    for _ in range(5):
        theirs.step(-1.0)
        named.step(-1.0)
        state = ours.update(state, -1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert ours.value(state, 0, 0.1) == pytest.approx(0.1 * 0.1**4)
    assert named_optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("smoothing", [0, 0.9])
def test_what_is_not_finite_is_never_better(bad, mode, smoothing):
    plan = lrkit.plateau(patience=1, mode=mode, smoothing=smoothing)
    state = plan.init()
    for metric in (bad, bad, bad):
        state = plan.update(state, metric)
    assert state["best"] is None
    assert state["reductions"] == 1
    state = plan.update(plan.update(state, 1.0), bad)
    assert state["best"] == pytest.approx(1.0)


# --- smoothing -------------------------------------------------------------------------------------


@given(OPTIONS, st.floats(0.01, 0.99), st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_smoothing_is_a_plateau_of_the_weighted_mean(options, smoothing, metrics):
    smoothed, plain = lrkit.plateau(smoothing=smoothing, **options), lrkit.plateau(**options)
    state, twin = smoothed.init(), plain.init()
    for n in range(1, len(metrics) + 1):
        state = smoothed.update(state, metrics[n - 1])
        mean = state["average"] / (1 - smoothing**n)
        weights = [smoothing ** (n - i) for i in range(1, n + 1)]
        wanted = sum(w * m for w, m in zip(weights, metrics, strict=False)) / sum(weights)
        assert mean == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        twin = plain.update(twin, mean)
        assert {name: state[name] for name in twin} == twin
    assert json.loads(json.dumps(state)) == state


# --- what is watched -------------------------------------------------------------------------------


def test_of_several_metrics_a_controller_takes_its_own_and_else_the_loss():
    reported = {"loss": 1.0, "accuracy": 0.5, "train_loss": 2.0}
    for name, best in ((None, 1.0), ("accuracy", 0.5), ("train_loss", 2.0)):
        for plan in (lrkit.plateau(metric=name), lrkit.greedy(metric=name)):
            assert plan.update(plan.init(), reported)["best"] == best
            assert plan.update(plan.init(), 7.0)["best"] == 7.0


def test_two_controllers_of_a_product_watch_two_metrics():
    plan = lrkit.parse("plateau(metric=accuracy, mode=max, patience=0, factor=0.5) * greedy(patience=0, factor=0.1)")
    state = plan.init()
    for loss, accuracy in ((1.0, 0.5), (1.1, 0.6), (0.9, 0.6), (0.8, 0.7)):
        state = plan.update(state, {"loss": loss, "accuracy": accuracy})
    assert state["parts"][0]["reductions"] == 1
    assert plan.value(state, 0, base=2.0) == pytest.approx(2.0 * 0.5 * 10)


def test_a_missing_metric_lists_the_known_ones_and_the_closest():
    plan = lrkit.warmup(2) >> lrkit.plateau(metric="acuracy")
    reported = {"loss": 1.0, "accuracy": 0.5}
    assert plan.update(plan.init(), reported, 2) == plan.init()
    with pytest.raises(lrkit.InputError) as caught:
        plan.update(plan.init(), reported, 3)
    assert str(caught.value) == "unknown metric 'acuracy', did you mean 'accuracy'? Known: accuracy, loss"
    with pytest.raises(lrkit.InputError, match=r"unknown metric 'loss'\. Known: top5"):
        lrkit.plateau().update(lrkit.plateau().init(), {"top5": 1.0})


@pytest.mark.parametrize("bad", ["1.0", None, 1j, [1.0, 2.0], {"loss": "low"}, {"loss": None}, torch.ones(2)])
def test_a_metric_is_a_number(bad):
    with pytest.raises(lrkit.InputTypeError, match=r"metric.* must be a number") as caught:
        lrkit.plateau().update(lrkit.plateau().init(), bad)
    assert "\n" not in str(caught.value)


def test_a_bound_controller_is_told_by_name():
    optimizer = sgd()
    scheduler = lrkit.plateau(metric="accuracy", mode="max", patience=0, factor=0.5).bind(optimizer)
    for accuracy in (0.5, 0.4):
        optimizer.step()
        scheduler.step({"loss": 1.0, "accuracy": torch.tensor(accuracy)})
    assert optimizer.param_groups[0]["lr"] == 0.05


@dataclass(frozen=True, repr=False)
class Listener(lrkit.Controller):
    """Keeps what it is told."""

    kind: ClassVar[str] = "listener"
    steps: int | None = None
    told: list = field(default_factory=list)

    def init(self):
        return {}

    def _update(self, state, metric, t):
        self.told.append((metric, t))
        return state

    def _curve(self, t, base, entry, state):
        return entry


def test_run_reports_the_metrics_of_validation_and_both_losses():
    x = torch.linspace(-1, 1, 16)[:, None]
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    for valid in (data, None):
        task = lrkit.Task(
            model=lambda: torch.nn.Linear(1, 2),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
            loss=torch.nn.functional.cross_entropy,
            metrics={"accuracy": lrkit.accuracy} if valid else {},
            train=data,
            valid=valid,
            batch_size=8,
            epochs=2,
        )
        listener = Listener()
        epochs = lrkit.run(task, listener).epochs
        losses = [each.valid_loss if valid else each.train_loss for each in epochs]
        wanted = [{"loss": loss, "train_loss": each.train_loss} for loss, each in zip(losses, epochs, strict=True)]
        for told, each in zip(wanted, epochs, strict=True):
            told.update(each.metrics)
        assert listener.told == [(wanted[0], 2), (wanted[1], 4)]
        assert ("accuracy" in wanted[0]) == bool(valid)
    with pytest.raises(lrkit.InputError, match="unknown metric 'los', did you mean 'loss'"):
        lrkit.run(task, lrkit.plateau(metric="los"))


# --- greedy ----------------------------------------------------------------------------------------


class SlowGreedy:
    """GreedyLR as its authors describe it, step by step on a rate, for a plan that begins at 1."""

    def __init__(self, plan):
        self.plan, self.scale, self.best, self.reports = plan, 1.0, None, []
        self.good = self.bad = self.cooldown = self.warmup = 0

    def better(self, mean):
        if self.best is None:
            return True
        sign = 1 if self.plan.mode == "min" else -1
        margin = self.plan.threshold * (abs(self.best) if self.plan.threshold_mode == "rel" else 1)
        return sign * mean < sign * self.best - margin

    def step(self, metric):
        self.reports.append(metric)
        window = self.reports[-self.plan.window :]
        mean = math.fsum(window) / len(window)
        if self.cooldown or self.warmup:
            self.cooldown, self.warmup = max(self.cooldown - 1, 0), max(self.warmup - 1, 0)
            self.good = self.bad = 0
            return
        if self.better(mean):
            self.best, self.good, self.bad = mean, self.good + 1, 0
        else:
            self.good, self.bad = 0, self.bad + 1
        if self.good > self.plan.patience:
            self.scale, self.warmup, self.good = min(self.scale / self.plan.factor, self.plan.high), self.plan.warmup, 0
        elif self.bad > self.plan.patience:
            self.scale, self.cooldown, self.bad = (
                max(self.scale * self.plan.factor, self.plan.low),
                self.plan.cooldown,
                0,
            )


@given(greedies, st.lists(st.floats(-5, 5), max_size=60), st.sampled_from([1e-3, 0.1, 3.0]))
def test_greedy_is_its_readable_twin(plan, metrics, base):
    twin, state = SlowGreedy(plan), plan.init()
    for t, metric in enumerate(metrics):
        twin.step(metric)
        state = plan.update(state, metric, t)
        assert plan.value(state, t, base) == base * twin.scale
        assert json.loads(json.dumps(state)) == state
        assert len(state["recent"]) <= plan.window


def test_greedy_rises_while_the_loss_falls_and_falls_while_it_rises_negative_or_not():
    for offset in (0.0, -100.0):
        plan = lrkit.greedy(patience=1, factor=0.5, low=0.25, high=4, threshold=0.01, threshold_mode="rel")
        state = plan.init()
        scales = []
        for step in range(12):
            state = plan.update(state, offset - 10 * step if offset else 100 * 0.8**step)
            scales.append(state["scale"])
        assert scales == [1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4]
        for _ in range(12):
            state = plan.update(state, state["best"])
        assert state["scale"] == 0.25


def test_what_is_not_finite_lowers_a_greedy_rate_and_stays_out_of_its_mean():
    plan = lrkit.greedy(patience=0, factor=0.5, window=3)
    state = plan.update(plan.init(), 1.0)
    for bad in (math.nan, math.inf, -math.inf):
        state = plan.update(state, bad)
    assert (state["scale"], state["recent"], state["best"]) == (0.25, [1.0], 1.0)


def test_a_greedy_part_hands_its_value_over():
    plan = lrkit.parse("linear(10, to=0.5) >> greedy(20, patience=0, factor=0.5) >> linear(10, to=0)")
    state = plan.init()
    for t in (10, 15, 20, 31):  # the first and the last aren't its own
        state = plan.update(state, 10.0 - t, t)
    assert plan.value(state, [5, 10, 29, 30, 35, 40], base=2.0).tolist() == [1.5, 4, 4, 4, 2, 0]


# --- compositions ----------------------------------------------------------------------------------


def test_in_a_sequence_a_controller_sees_only_the_metrics_of_its_segment():
    plan = lrkit.parse("warmup(10) >> plateau(20, patience=0, factor=0.5) >> linear(10, to=0)")
    state = plan.init()
    for t in (5, 10):  # made by the warmup's updates
        state = plan.update(state, 1.0, t)
    assert state["parts"][1]["best"] is None
    for t in (15, 20, 30):
        state = plan.update(state, 1.0, t)
    assert plan.value(state, [9, 10, 29, 30, 35, 40]).tolist() == [1, 0.25, 0.25, 0.25, 0.125, 0]
    later = plan.update(state, 1.0, 31)
    assert later == state


def test_in_a_product_every_controller_sees_every_metric():
    plan = lrkit.plateau(patience=0, factor=0.5) * lrkit.linear(10, to=0)
    state = plan.init()
    for _ in range(3):
        state = plan.update(state, 1.0)
    assert plan.value(state, 5, base=2.0) == pytest.approx(2.0 * 0.25 * 0.5)


@pytest.mark.parametrize("kind", ["plateau", "greedy"])
@pytest.mark.parametrize("around", ["{}", "clip({}, low=0.1)", "shift({}, later=3)", "{} * constant(0.5)"])
def test_a_controller_that_is_not_last_needs_a_length(kind, around):
    part = around.format(f"{kind}()")
    plan = lrkit.parse(f"{part} >> linear(10)")
    with pytest.raises(lrkit.InputError, match=re.escape(f"the length of {part}, which was left out")):
        plan.value(plan.init(), 0)
    assert plan.over(30).parts[0].length == 20


def test_update_leaves_the_old_state_as_it_was():
    plan = lrkit.warmup(2) >> lrkit.plateau(patience=0)
    first = plan.update(plan.init(), 1.0, 3)
    before = repr(first)
    plan.update(first, 1.0, 4)
    assert repr(first) == before


@pytest.mark.parametrize("text", ["plateau()", "greedy()", "warmup(3) >> plateau()", "plateau() * greedy()"])
@pytest.mark.parametrize("state", [{}, None, 5, {"parts": 5}, {"parts": []}, {"best": "x"}, {"parts": [{}, {}]}])
def test_a_state_that_is_not_the_controllers_own_gets_one_sentence(text, state):
    plan = lrkit.parse(text)
    with pytest.raises(InputError, match=r"state must be like what init\(\) of \w+ gives") as caught:
        plan.value(state, 5)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"state must be like what init\(\)"):
        plan.update(state, 0.5, 5)


@given(controllers, st.lists(st.floats(allow_nan=False), max_size=10))
def test_every_state_that_a_controller_makes_is_its_own(plan, metrics):
    state = plan.init()
    for t, metric in enumerate(metrics):
        plan.require_own(state)
        state = plan.update(state, metric, t)
    plan.require_own(state)

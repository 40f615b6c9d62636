"""What a lane is: a value that says what one of many runs has of its own."""

import dataclasses
import json
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from lrkit import History, InputError, InputTypeError, Lane, Task
from lrkit.training.history import Divergence

X = torch.linspace(-1, 1, 32)[:, None]


def task(optimizer=lambda p: torch.optim.SGD(p, lr=0.1)):
    return Task(
        model=lambda: nn.Linear(1, 1),
        train=(X, 2 * X),
        loss=nn.functional.mse_loss,
        optimizer=optimizer,
        batch_size=8,
        epochs=2,
    )


def groups(lane, optimizer):
    """The param groups of a lane's optimizer over two groups of parameters."""
    parameters = [{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))], "name": "head"}]
    return lane.of(task(optimizer)).optimizer(parameters).param_groups


# --- a value --------------------------------------------------------------------------------------


def test_a_lane_is_what_the_task_has_unless_it_says_otherwise():
    lane = Lane()
    assert (lane.schedule, lane.lr, lane.seed, lane.hypers) == (lrkit.constant(), None, 0, {})
    of = task()
    assert lane.of(of) is of


@pytest.mark.parametrize("text", ["warmup(5%) >> cosine(to=0.1)", "lr: one_cycle(); momentum: constant()"])
def test_a_schedule_as_text_is_the_schedule_as_a_value(text):
    value = lrkit.parse(text)
    assert Lane(text) == Lane(value)
    assert Lane(text).schedule == Lane(text).plan == value
    assert hash(Lane(text)) == hash(Lane(value))


def test_lanes_are_equal_when_all_they_say_is():
    lane = Lane("linear(to=0)", lr=0.1, seed=3, momentum=0.9)
    assert lane == Lane("linear(to=0)", lr=0.1, seed=3, momentum=0.9)
    changes = [{"schedule": "constant()"}, {"lr": 0.2}, {"lr": None}, {"seed": 4}, {"momentum": 0.8}, {"eps": 0.1}]
    assert all(dataclasses.replace(lane, **change) != lane for change in changes)


def test_numbers_become_floats():
    lane = Lane(lr=np.float32(0.5), weight_decay=0)
    assert (type(lane.lr), type(lane.weight_decay)) == (float, float)
    assert lane == Lane(lr=0.5, weight_decay=0.0)


def test_zero_is_a_value_of_its_own():
    assert Lane(weight_decay=0).hypers == {"weight_decay": 0.0}


def test_a_lane_can_be_pickled():
    lane = Lane("warmup(5%) >> linear(to=0)", lr=0.1, beta2=0.95)
    assert pickle.loads(pickle.dumps(lane)) == lane


def test_a_lane_as_plain_data_says_what_is_its_own():
    lane = Lane("warmup(5%) >> linear(to=0)", lr=0.1, seed=3, momentum=0.9, eps=1e-6)
    data = lane.to_dict()
    assert data == {"schedule": "warmup(5%) >> linear(to=0)", "lr": 0.1, "seed": 3, "momentum": 0.9, "eps": 1e-6}
    assert Lane(**json.loads(json.dumps(data))) == lane
    assert Lane().to_dict() == {"schedule": "constant()", "seed": 0}


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [None, 0.1, ["linear(to=0)"], lrkit.linear, b"linear(to=0)"])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(InputTypeError, match=r"^a lane's schedule must be a plan or the text of one, not "):
        Lane(schedule)


def test_text_that_is_no_schedule_is_refused_as_it_is_everywhere():
    with pytest.raises(InputError, match="did you mean 'linear'"):
        Lane("linaer(to=0)")


@pytest.mark.parametrize("seed", [0.0, "0", None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputTypeError, match=f"^seed must be a whole number, not {seed!r}$"):
        Lane(seed=seed)


HYPERS = [field.name for field in dataclasses.fields(Lane) if field.name not in {"schedule", "seed", "averaging"}]


@pytest.mark.parametrize("name", HYPERS)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_hyper_parameter_is_finite_and_at_least_0(name, value):
    with pytest.raises(InputError, match=f"^{name} must be finite and at least 0, not {value}$"):
        Lane(**{name: value})


@pytest.mark.parametrize("name", HYPERS)
@pytest.mark.parametrize("value", ["0.1", True, [0.1]])
def test_a_hyper_parameter_is_a_number(name, value):
    with pytest.raises(InputTypeError, match=f"^{name} must be a number, not "):
        Lane(**{name: value})


# --- its optimizer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "optimizer", "held"),
    [
        (Lane(momentum=0.8, dampening=0.1), torch.optim.SGD, {"momentum": 0.8, "dampening": 0.1}),
        (Lane(momentum=0.8), torch.optim.Adam, {"betas": (0.8, 0.999)}),
        (Lane(beta1=0.8, beta2=0.95), torch.optim.AdamW, {"betas": (0.8, 0.95)}),
        (Lane(eps=1e-4, weight_decay=0.3), torch.optim.AdamW, {"eps": 1e-4, "weight_decay": 0.3}),
        (Lane(momentum=0.8, alpha=0.9), torch.optim.RMSprop, {"momentum": 0.8, "alpha": 0.9}),
        (Lane(lr_decay=0.1, eps=1e-4), torch.optim.Adagrad, {"lr_decay": 0.1, "eps": 1e-4}),
        (Lane(momentum_decay=0.01, beta2=0.9), torch.optim.NAdam, {"momentum_decay": 0.01, "betas": (0.9, 0.9)}),
    ],
)
def test_a_lanes_hyper_parameters_are_those_of_all_param_groups(lane, optimizer, held):
    for group in groups(lane, optimizer):
        assert {name: group[name] for name in held} == held


def test_what_is_not_the_lanes_own_stays_as_the_task_has_it():
    def optimizer(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)

    for group in groups(Lane(lr=0.5, momentum=0.8), optimizer):
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.8, 0.01)


def test_the_task_itself_is_not_changed():
    of = task()
    Lane(momentum=0.8).of(of)
    assert of.optimizer([nn.Parameter(torch.ones(1))]).param_groups[0]["momentum"] == 0


@pytest.mark.parametrize(
    ("lane", "optimizer", "message"),
    [
        (Lane(beta2=0.9), torch.optim.SGD, "a lane's beta2 can't be set: this optimizer has no beta2 to schedule; "),
        (Lane(momentum=0.9), torch.optim.Adagrad, "a lane's momentum can't be set: this optimizer has no momentum"),
        (Lane(alpha=0.9), torch.optim.Adam, "a lane's alpha can't be set: this optimizer has no alpha"),
    ],
)
def test_a_hyper_parameter_that_the_optimizer_does_not_have_is_refused(lane, optimizer, message):
    with pytest.raises(InputError, match=f"^{message}"):
        groups(lane, optimizer)


def test_a_lane_means_a_run():
    lane = Lane("linear(to=0)", lr=0.3, seed=5, momentum=0.9)
    alone = lrkit.run(task(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)), "linear(to=0)", lr=0.3, seed=5)
    assert lrkit.run(lane.of(task()), lane.plan, lr=lane.lr, seed=lane.seed) == alone


# --- a run that diverged --------------------------------------------------------------------------


def history(*losses):
    lrs = np.array([[0.5 / (step + 1), 9.0] for step in range(len(losses))]).reshape(-1, 2)
    return History((), lrs, np.array(losses, dtype=np.float32), {})


@pytest.mark.parametrize("losses", [(), (1.0,), (3.0, 2.0, 1e38)])
def test_a_run_whose_losses_are_finite_has_not_diverged(losses):
    assert history(*losses).diverged is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_run_diverges_at_its_first_loss_that_is_not_finite_with_the_rate_of_that_update(wrong, step):
    losses = [1.0, 1.0, 1.0, math.nan]
    losses[step] = wrong
    found = history(*losses).diverged
    assert found == Divergence(step=step, lr=0.5 / (step + 1))
    assert (type(found.step), type(found.lr)) == (int, float)


def test_a_run_that_diverges_says_where_and_its_history_too():
    kept = []

    class Keep(lrkit.Observer):
        def epoch(self, history):
            kept.append(history)

    with pytest.raises(lrkit.DivergedError) as caught:
        lrkit.run(task(), "constant()", lr=1e30, observers=[Keep()])
    step, lr = kept[-1].diverged
    assert lr == 1e30
    assert f"at step {step}, with learning rate 1e+30" in str(caught.value)

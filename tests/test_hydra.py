"""Plans in hydra's configurations: what `instantiate` makes of them, and omegaconf's containers as arguments."""

import pytest
import torch

import lrkit
from lrkit import InputTypeError
from lrkit.trainers.plans import as_plan
from plans import EXAMPLES, RELATIVE

COSINE = {"_target_": "lrkit.cosine", "to": 0}
WARMUP = {"_target_": "lrkit.warmup", "steps": "5%"}
WHOLE = {"_target_": "lrkit.sequence", "_args_": [WARMUP, COSINE]}
TEXT = "warmup(5%) >> cosine(to=0)"


@pytest.fixture
def made():
    """Makes what a configuration says, as hydra does: plans in a mapping or a list are omegaconf's then."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    return lambda config: instantiate(OmegaConf.create(config))


@pytest.fixture
def inside(made):
    """A plan as it comes out of a mapping of a configuration."""
    return lambda config: made({"plan": config})["plan"]


def sgd():
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "name": name} for name in ("body", "head")]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def test_functions_make_sequences_and_products_in_a_configuration(made):
    assert str(made(WHOLE)) == TEXT
    assert str(made({"_target_": "lrkit.sequence", "_args_": [[WARMUP, "cosine(to=0)"]]})) == TEXT
    assert str(made({"_target_": "lrkit.product", "_args_": [COSINE, WARMUP]})) == "cosine(to=0) * warmup(5%)"
    repeated = {"_target_": "lrkit.repeat", "plan": WHOLE, "cycles": 3}
    assert made(repeated) == lrkit.parse(TEXT).repeat(3)
    assert made({"_target_": "lrkit.sequence", "_args_": [[repeated, COSINE]]}) == made(repeated) >> lrkit.cosine(to=0)


@pytest.mark.parametrize("text", [*EXAMPLES, *RELATIVE])
def test_every_plan_comes_back_out_of_a_mapping_and_a_list(made, text):
    plan = lrkit.parse(text)
    config = {"_target_": "lrkit.parse", "text": text}
    mapping, several = made({"lr": config}), made([config])
    assert not isinstance(mapping["lr"], lrkit.Plan)
    assert lrkit.Plans(mapping) == lrkit.Plans({"lr": plan})
    assert as_plan(several[0]) == plan


def test_plans_of_a_configuration(made):
    config = {
        "_target_": "lrkit.Plans",
        "hypers": {"lr": WHOLE, "momentum": {"_target_": "lrkit.constant"}},
        "groups": {"head": {"lr": COSINE}, 0: {"_target_": "lrkit.repeat", "plan": COSINE, "cycles": 2}},
    }
    assert (
        str(made(config))
        == f"lr: {TEXT}; lr[0]: repeat(cosine(to=0), cycles=2); lr[head]: cosine(to=0); momentum: constant()"
    )


def test_whatever_takes_plans_takes_those_of_a_configuration(made, inside):
    plan = lrkit.parse(TEXT)
    others = made({"momentum": COSINE})
    scheduler = plan.bind(sgd(), steps=100, hypers=others, groups=made({"head": COSINE}))
    assert str(scheduler.plan) == f"lr: {TEXT}; lr[head]: cosine(to=0); momentum: cosine(to=0)"
    assert lrkit.bind(inside(WHOLE), sgd(), lrkit.Horizon(100)).plan == plan
    cosine, given = lrkit.cosine(to=0), inside(COSINE)
    assert lrkit.warmup(5) >> given == lrkit.warmup(5) >> cosine
    assert lrkit.warmup(5) * given == lrkit.warmup(5) * cosine
    assert lrkit.sequence(lrkit.warmup(5), given) == lrkit.warmup(5) >> cosine
    assert lrkit.repeat(given, 2) == lrkit.repeat(cosine, 2)
    assert lrkit.clip(given, low=0.1) == lrkit.clip(cosine, low=0.1)
    assert lrkit.shift(given, later=3) == lrkit.shift(cosine, later=3)
    assert lrkit.every("1ep", given) == lrkit.every("1ep", cosine)
    assert lrkit.Lane(given) == lrkit.Lane(cosine)
    assert lrkit.from_json(lrkit.to_json(given)) == cosine
    assert lrkit.plot([given], lrkit.Horizon(10)).axes


def test_tasks_are_trained_with_plans_of_a_configuration(made, inside):
    x = torch.linspace(-1, 1, 16)[:, None]
    task = lrkit.Task(
        model=lambda: torch.nn.Linear(1, 1),
        train=(x, 2 * x),
        batch_size=8,
        steps=4,
        loss=torch.nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
    assert lrkit.run(task, inside(COSINE)).lr.tolist() == lrkit.run(task, "cosine(to=0)").lr.tolist()
    compared = lrkit.compare(
        task, made({"falls": COSINE, "stays": {"_target_": "lrkit.constant"}}), rates=[0.1], seeds=2
    )
    assert set(compared.candidates) == {"falls", "stays"}


def test_what_a_configuration_gets_wrong_is_said(made):
    with pytest.raises(InputTypeError, match=r"lr takes a schedule or controller, not 0\.1"):
        lrkit.Plans(made({"lr": 0.1}))
    with pytest.raises(InputTypeError, match=r"hypers must be a mapping from names to plans, not \[cosine\(to=0\)\]"):
        lrkit.Plans(made([COSINE]))
    with pytest.raises(
        InputTypeError, match=r"schedule must be a plan of lrkit or its text, not \{'lr': cosine\(to=0\)\}"
    ):
        as_plan(made({"lr": COSINE}))

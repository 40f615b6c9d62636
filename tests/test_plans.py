"""Plans for several hyper-parameters as one value: text, JSON, composition with a run and the command line."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given

import lrkit as library
from lrkit import InputError, InputTypeError, Plans, Target
from plans import RELATIVE, several
from test_loop import make

half = library.constant(0.5)


@given(several)
def test_text_json_pickle_and_copy_round_trip(plans):
    assert library.parse(str(plans)) == plans
    assert library.from_json(library.to_json(plans)) == plans
    assert pickle.loads(pickle.dumps(plans)) == plans
    assert copy.deepcopy(plans) == plans
    assert hash(copy.deepcopy(plans)) == hash(plans)


def test_a_value_is_frozen_and_does_not_depend_on_the_order_of_what_it_was_given():
    plans = Plans({"lr": half, "eps": half})
    assert plans == Plans({"eps": half, "lr": half}) != Plans({"lr": half})
    with pytest.raises(dataclasses.FrozenInstanceError):
        plans.parts = ()


def test_the_parts_are_in_order():
    given = {Target("eps"): half, Target("lr", "b"): half, Target("lr", 10): half, Target("lr", 9): half}
    plans = Plans.of(given | {Target("lr"): half})
    assert [str(target) for target, _ in plans.parts] == ["lr", "lr[9]", "lr[10]", "lr[b]", "eps"]


@pytest.mark.parametrize(
    ("text", "plans"),
    [
        ("lr: constant(0.5)", Plans({"lr": half})),
        ("lr:constant(0.5);momentum:constant(0.5);", Plans({"lr": half, "momentum": half})),
        ("momentum : constant(0.5)\n; lr: constant(0.5)", Plans({"lr": half, "momentum": half})),
        ("lr[0]: constant(0.5)", Plans.of({Target("lr", 0): half})),
        ("beta2[head]: constant(0.5)", Plans.of({Target("beta2", "head"): half})),
        ("beta2['0']: constant(0.5)", Plans.of({Target("beta2", "0"): half})),
        ('beta2["it\'s"]: constant(0.5)', Plans.of({Target("beta2", "it's"): half})),
        ("lr: StepLR(10)", Plans({"lr": library.parse("StepLR(10)")})),
    ],
)
def test_reads(text, plans):
    assert library.parse(text) == plans


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("lr: ", "expected a schedule", 4),
        ("lr: linear(); lr: linear()", "lr is given twice", 14),
        ("lr: linear(), momentum: linear()", "expected ';' before the next hyper-parameter, found ','", 12),
        ("lr: linear() momentum: linear()", "expected ';' before the next hyper-parameter", 13),
        ("lr: linear(); linear()", "expected ':' after linear", 20),
        ("lr: linear(); 3: linear()", "expected a hyper-parameter such as momentum, found '3'", 14),
        ("lr[: linear()", "expected a param group's index or name, found ':'", 3),
        ("lr[-1]: linear()", "expected a param group's index or name, found '-1'", 3),
        ("lr[0: linear()", "to close the bracket", 4),
        ("linear(): linear()", "expected '>>', '.' or the end", 8),
        ("lr: linear(tu=3)", "unknown argument of linear 'tu'", 11),
    ],
)
def test_points_at_the_place(text, reason, column):
    with pytest.raises(InputError, match=reason) as caught:
        library.parse(text)
    assert str(caught.value).split("\n")[1:] == [f"  {text}", "  " + " " * column + "^"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ("3", '"plans" must be a list'),
        ("[3]", '"plans" must be a list'),
        ('[{"hyper": "lr", "plan": {"kind": "constant"}}]', '"plans" must be a list'),
        ('[{"hyper": "lr", "group": [1], "plan": {"kind": "constant"}}]', '"plans" must be a list'),
        ('[{"hyper": "lr", "group": 1.5, "plan": {"kind": "constant"}}]', "by its name, not 1.5"),
        ('[{"hyper": "lr", "group": null, "plan": 3}]', '"plan" must be a schedule, not 3'),
        ('[{"hyper": 3, "group": null, "plan": {"kind": "constant"}}]', "must be a word"),
        ("[" + ", ".join(['{"hyper": "lr", "group": null, "plan": {"kind": "constant"}}'] * 2) + "]", "two plans for"),
        ("[]", "at least one"),
    ],
)
def test_bad_json_is_refused(parts, reason):
    with pytest.raises(InputError, match=reason):
        library.from_json(f'{{"lrkit": 1, "plans": {parts}}}')


def test_over_resolves_every_plan():
    plans = Plans({f"h{i}": library.parse(text) for i, text in enumerate(RELATIVE)})
    sizes = {"epoch_steps": 100, "step_tokens": 10_000, "step_samples": 50}
    assert dict(plans.over(4000, **sizes).parts) == {t: plan.over(4000, **sizes) for t, plan in plans.parts}


@pytest.mark.parametrize(
    ("make_plans", "sentence"),
    [
        (lambda: Plans({}), "at least one hyper-parameter"),
        (lambda: Plans({"weight decay": half}), "must be a word such as lr or weight_decay, not 'weight decay'"),
        (lambda: Plans({3: half}), "must be a word such as lr or weight_decay, not 3"),
        (lambda: Plans({"lr": "constant()"}), r"lr takes a schedule or controller, not 'constant\(\)'"),
        (lambda: Plans({"lr": half}, groups={"head": {"lr": 3}}), r"lr\[head\] takes a schedule or controller, not 3"),
        (lambda: Plans({"lr": "x" * 999}), "lr takes a schedule or controller, not 'x{39}…x{9}'"),
        (lambda: Plans({"lr": half}, groups="x" * 999), "groups must be a mapping .*, not 'x{39}…x{9}'"),
        (lambda: Plans({"x y" * 999: half}), "must be a word such as lr or weight_decay, not '[xy ]{39}…[xy ]{9}'"),
        (lambda: Plans({"lr": half}, groups=[half]), "groups must be a mapping"),
        (lambda: Plans({"lr": half, "momentum": half}).bind(None, epoch_steps=3), "without steps, the horizon"),
    ],
)
def test_bad_plans_get_one_sentence(make_plans, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        make_plans()


# --- in a run --------------------------------------------------------------------------------------------------------


class Momenta(library.Observer):
    """Keeps the momentum and the weight decay that the optimizer holds after each update."""

    def __init__(self, optimizers):
        self.optimizers, self.seen = optimizers, []

    def step(self, steps):
        group = self.optimizers[-1].param_groups[0]
        self.seen.append((group["momentum"], group["weight_decay"]))


def watched():
    optimizers = []

    def optimizer(parameters):
        optimizers.append(torch.optim.SGD(parameters, lr=0.5, momentum=0.8, weight_decay=0.1))
        return optimizers[-1]

    return make(optimizer=optimizer), Momenta(optimizers)


@pytest.mark.parametrize("lr", [None, 0.2])
@pytest.mark.parametrize("with_rate", [True, False])
def test_a_run_follows_every_plan(lr, with_rate):
    task, momenta = watched()
    text = "momentum: linear(to=0.5); weight_decay: linear(to=0)"
    history = library.run(task, f"lr: linear(to=0); {text}" if with_rate else text, lr=lr, observers=[momenta])
    t = np.arange(20)
    rate = library.linear(20, to=0) if with_rate else half
    np.testing.assert_array_equal(history.lr, rate(t, lr or 0.5) if with_rate else np.full(20, lr or 0.5))
    pairs = [(library.linear(20, to=0.5)(t, 0.8), library.linear(20, to=0)(t, 0.1)) for t in range(1, 21)]
    assert momenta.seen == pairs
    assert history.made["schedule"] == f"lr: {'linear(to=0)' if with_rate else 'constant()'}; {text}"


def test_a_run_that_goes_on_follows_every_plan_as_if_never_interrupted(tmp_path):
    text = "lr: plateau(patience=0); momentum: linear(to=0.5); weight_decay[0]: linear(to=0)"
    task, momenta = watched()
    whole = library.run(task, text, observers=[momenta])
    clock = iter(range(1, 100))
    task, first = watched()
    folder = library.RunFolder(tmp_path / "run")
    with pytest.raises(library.StoppedError):
        library.run(task, text, observers=[first, folder], stop=lambda: next(clock) == 7)
    task, rest = watched()
    folder = library.RunFolder(tmp_path / "run", resume=True)
    assert library.run(task, text, observers=[rest, folder], resume=folder.snapshot) == whole
    assert first.seen + rest.seen == momenta.seen


# --- on the command line ---------------------------------------------------------------------------------------------


def test_train_takes_several_hyper_parameters_and_goes_on(lrkit, tmp_path):
    task = tmp_path / "mine.py"
    task.write_text(
        "import lrkit, torch\n"
        "x = torch.linspace(-1, 1, 64)[:, None]\n"
        "task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,\n"
        "    loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.5))\n"
    )
    text = "lr: linear(to=0); momentum: linear(to=0.5)"
    assert lrkit("train", task, "--schedule", text, "--out", "run", "--quiet") == (0, "", "")
    status, out, _ = lrkit("train", "--resume", "run", "--epochs", 4, "--policy", "stretch", "--json")
    assert status == 0
    assert json.loads(out)["schedule"] == text
    status, _, error = lrkit("train", task, "--schedule", "lr: linear(); dampning: linear()", "--out", "other")
    assert (status, "no dampning to schedule; its groups have dampening, lr" in error) == (2, True)

"""`lrkit find`: a rate with its interval, or why there is none; `lrkit train --lr find`."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("quick_intervals")

TASK = """
import os, signal
import torch, lrkit

x = torch.linspace(-1, 1, 128)[:, None]

task = lrkit.Task(
    model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), loss=torch.nn.functional.mse_loss,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=16, epochs=2,
)

def two_rates(parameters):
    weight, bias = parameters
    return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.01}], lr=0.1)

groups = lrkit.Task(
    model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), loss=torch.nn.functional.mse_loss, optimizer=two_rates,
    batch_size=16, epochs=2,
)

def interrupt(output, target):
    os.kill(os.getpid(), signal.SIGINT)
    return torch.nn.functional.mse_loss(output, target)

stopped = lrkit.Task(
    model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), loss=interrupt,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=16, epochs=2,
)

flat = lrkit.Task(
    model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), loss=lambda output, target: 0 * output.sum() + 1,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=16, epochs=2,
)
"""
RANGE = ("--low", 1e-4, "--high", 100, "--steps", 120, "--backend", "sequential")


@pytest.fixture
def task(tmp_path):
    (tmp_path / "line.py").write_text(TASK)
    return "line.py"


def test_json_has_the_suggestion_its_interval_the_rules_and_the_curve(lrkit, task):
    status, out, err = lrkit("find", task, *RANGE, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    low, high = found["interval"]
    assert 0.01 < low <= found["suggestion"] <= high < 1
    assert found["rules"][found["default"]]["value"] == found["suggestion"]
    assert len(found["curve"]["rates"]) == 120
    assert len(found["curve"]["losses"]) == 3


def test_it_prints_the_rate_every_rule_and_a_chart_and_leaves_no_file(lrkit, task, tmp_path):
    status, out, _ = lrkit("find", task, *RANGE, "--seeds", 1)
    assert status == 0
    assert "by the rule halfway" in out
    for rule in ("steepest", "valley", "minimum_tenth", "slide"):
        assert f"\n{rule} " in out
    assert "█" in out
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".py" and each.name != "__pycache__"] == []


def test_out_draws_a_picture(lrkit, task, tmp_path):
    status, out, _ = lrkit("find", task, *RANGE, "--out", "found.png")
    assert (status, out.splitlines()[-1]) == (0, "picture found.png")
    assert (tmp_path / "found.png").stat().st_size > 5000


def test_groups_each_says_a_rate_for_each_of_them(lrkit, task):
    status, out, _ = lrkit("find", f"{task}:groups", *RANGE, "--seeds", 1, "--groups", "each")
    assert status == 0
    assert "\nparam group 0 alone: " in out
    assert "\nparam group 1 alone: " in out


def test_a_race_trains_with_the_schedule_that_is_named(lrkit, task):
    race = ("--method", "race", "--low", 0.01, "--high", 10, "--steps", 20, "--backend", "sequential")
    status, out, _ = lrkit("find", task, *race, "--schedule", "linear(to=0)", "--json")
    assert status == 0
    assert json.loads(out)["made"]["schedule"] == "linear(to=0)"
    assert ", by a race\n" in lrkit("find", task, *race)[1]


def test_where_nothing_falls_it_says_so_with_status_3(lrkit, task):
    status, out, err = lrkit("find", f"{task}:flat", *RANGE, "--seeds", 1, "--json")
    assert status == 3
    assert "no learning rate found: no descent seen" in err
    assert json.loads(out)["suggestion"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "walk"), "walk"),
        (("--groups", "some"), "unknown groups 'some'"),
        (("--schedule", "linear(to=0)"), "schedule is for a race"),
        (("--low", 1, "--high", 0.1), "--low must be less than --high"),
        (("--out", "nowhere/found.png"), "--out must be in a folder that exists"),
        (("--low", -1), "--low must be"),
        (("--steps", 3), "--steps must be at least 10, not 3"),
        (("--out", "found.txt"), "--out must end in .png, .svg, .pdf"),
        (("--signal", "valid"), "needs validation data"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(lrkit, task, options, words):
    status, out, err = lrkit("find", task, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_train_finds_its_rate_first_and_records_it_as_a_number(lrkit, task, tmp_path):
    status, out, err = lrkit("train", task, "--lr", "find", "--out", "here")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "here" / "finding.json").read_text())
    made = json.loads((tmp_path / "here" / "config.json").read_text())
    assert f"\nlearning rate {found['suggestion']:.3g}" in out
    assert made["lr"] == found["suggestion"]
    assert (tmp_path / "here" / "finding.png").stat().st_size > 5000


def test_train_finds_no_rate_for_groups_that_have_several(lrkit, task, tmp_path):
    status, out, err = lrkit("train", f"{task}:groups", "--lr", "find", "--out", "here")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "they have 0.1, 0.01" in err
    assert not (tmp_path / "here").exists()


def test_another_run_in_the_folder_has_no_finding_of_the_one_before(lrkit, task, tmp_path):
    lrkit("train", task, "--lr", "find", "--out", "here")
    lrkit("train", "--resume", "here")
    assert (tmp_path / "here" / "finding.json").exists()
    assert lrkit("train", task, "--lr", 0.1, "--out", "here", "--overwrite")[0] == 0
    assert not list((tmp_path / "here").glob("finding*"))


def test_ctrl_c_while_a_rate_is_looked_for_leaves_no_folder(lrkit, task, tmp_path):
    status, _, err = lrkit("train", f"{task}:stopped", "--lr", "find", "--out", "here")
    assert status == 130
    assert err.endswith("nothing was trained\n")
    assert not (tmp_path / "here").exists()


def test_a_run_that_goes_on_has_its_rate(lrkit, task):
    status, _, err = lrkit("train", "--resume", "here", "--lr", "find")
    assert status == 2
    assert "--lr find can't be given" in err

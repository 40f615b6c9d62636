"""The command line, as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lrkit import RunFolder
from lrkit.training.tasks import DEFAULT_SCHEDULE
from test_idx import write_folder


@pytest.fixture
def small(tmp_path):
    """A small data set in MNIST's format."""
    return write_folder(tmp_path / "data", n=50)


# --- train -------------------------------------------------------------------------------------------


def test_train_on_mnist_prints_a_line_for_each_epoch_and_leaves_a_run_folder(lrkit, tmp_path):
    status, out, err = lrkit("train", "mnist", "--epochs", 2, "--batch-size", 256, "--out", "run", "--lr", 0.4)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["epoch", "train", "loss", "valid", "loss", "accuracy", "lr", "seconds"]
    assert [line.split()[0] for line in lines[1:3]] == ["1/2", "2/2"]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3].startswith("best epoch 2: loss 0.")
    assert {path.name for path in (tmp_path / "run").iterdir()} - {".lock"} == {
        "best.pt",
        "config.json",
        "curves.png",
        "history.json",
        "last.pt",
        "steps.npz",
    }
    history = RunFolder.load(tmp_path / "run")
    assert history.epochs[-1].metrics["accuracy"] > 0.9
    assert history.lr.tolist() == [0.4] * (2 * 235)


def test_train_json_is_one_object_and_the_same_for_the_same_seed(lrkit, small):
    found = []
    for seed in (1, 1, 2):
        status, out, err = lrkit("train", "mnist", "--epochs", 3, "--data", small, "--json", "--seed", seed)
        assert (status, err) == (0, "")
        result = json.loads(out)
        assert [set(each) for each in result["epochs"]] == [
            {"epoch", "train_loss", "valid_loss", "valid_accuracy", "metrics", "lr", "seconds"}
        ] * 3
        assert all(each["metrics"] == {"accuracy": each["valid_accuracy"]} for each in result["epochs"])
        assert result["best_epoch"] in (1, 2, 3)
        assert result["wall_seconds"] > 0
        assert RunFolder.load(result["run_dir"]).epochs[2].train_loss == result["epochs"][2]["train_loss"]
        found.append([each["train_loss"] for each in result["epochs"]])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("StepLR(step_size=1, gamma=0.1)", [0.1, 0.01, 0.001]),
        ("MultiStepLR(milestones=[1,30], gamma=0.1)", [0.1, 0.01, 0.01]),
        ("ExponentialLR(gamma=0.5)", [0.1, 0.05, 0.025]),
        ("ReduceLROnPlateau(patience=5)", [0.1, 0.1, 0.1]),
        ("staircase(every=1ep, factor=0.1)", [0.1, 0.01, 0.001]),
        ("every(1ep, exponential(factor=0.9))", [0.1, 0.09, 0.081]),
        ("warmup(5%) >> linear(to=0)", [0.1, 0.06, 0.02]),
        ("plateau(patience=0, threshold=10)", [0.1, 0.1, 0.01]),
    ],
)
def test_schedules_as_the_readme_writes_them(lrkit, small, text, rates):
    status, out, _ = lrkit("train", "mnist", "--epochs", 3, "--data", small, "--schedule", text, "--json")
    assert status == 0
    assert [each["lr"] for each in json.loads(out)["epochs"]] == pytest.approx(rates)


def test_train_quiet_prints_nothing(lrkit, small):
    assert lrkit("train", "mnist-wide", "--epochs", 1, "--data", small, "--quiet") == (0, "", "")


def test_a_diverging_run_says_where_and_keeps_its_record(lrkit, small):
    status, _, err = lrkit("train", "mnist", "--epochs", 9, "--data", small, "--lr", 1e30, "--out", "run")
    assert status == 3
    assert "diverged: the training loss became" in err
    assert "with learning rate 1e+30; the history and curves of" in err
    assert err.count("\n") == 1
    assert RunFolder.load("run").epochs


def test_ctrl_c_keeps_what_was_recorded(small, tmp_path):
    command = [sys.executable, "-m", "lrkit", "train", "mnist", "--out", str(tmp_path / "run")]
    command += ["--data", str(small), "--epochs", "100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    try:
        while not (tmp_path / "run" / "history.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "lrkit: interrupted: the history and curves of" in err
    assert "Traceback" not in err
    assert RunFolder.load(tmp_path / "run").epochs
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "name a task (mnist, mnist-wide, mnist-cnn, chars, or file.py:task), or --resume FOLDER"),
        (["train", "mnits"], "unknown task 'mnits', did you mean 'mnist'? Known: chars, mnist, mnist-cnn, mnist-wide"),
        (["trian", "mnist"], "No such command 'trian'"),
        (["train", "mnist", "--epoch", "3"], "No such option: --epoch"),
        (["train", "mnist", "--lr", "fast"], "Invalid value for '--lr'"),
        (["train", "mnist", "--lr", "-1"], "--lr must be finite and above 0, not -1.0"),
        (["train", "mnist", "--lr", "nan"], "--lr must be finite and above 0, not nan"),
        (["train", "mnist", "--lr", "inf"], "--lr must be finite"),
        (["train", "mnist", "--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["train", "mnist", "--batch-size", "0"], "--batch-size must be at least 1, not 0"),
        (["train", "mnist", "--seed", "-1"], "--seed must be between 0"),
        (["train", "mnist", "--data", "nowhere"], "the data folder nowhere does not exist"),
        (["train", "mnist", "--out", "/proc/run"], "the run folder /proc/run can't be made"),
        (["train", "mnist", "--out", "."], "isn't empty"),
        (["train", "mnist", "--device", "tpu9"], "device must be one that works here"),
        (["train", "mnist", "--schedule", "warmup(90%) >> linear(20%)"], "42187.5 + 9375 = 51562.5"),
        (["plot", "linear()", "--total", "0"], "--total must be at least 1"),
        (["plot", "linear()", "--total", "5", "--epochs", "3"], "either --total or --epochs, not both"),
        (["plot", "linear()", "--total", "10000000000"], "at most 20000000 steps"),
        (["plot", "StepLR(3)"], "say how long an epoch is with --epochs and --epoch-steps"),
        (["plot", "linear()", "--out", "x.gif"], "--out must end in .png, .svg, .pdf, not 'x.gif'"),
        (["plot", "linear()", "--out", "no/such/x.png"], "--out must be in a folder that exists, not 'no/such/x.png'"),
        (["plot", "linear()", "--lr", "-3"], "--lr must be finite and above 0"),
        (["plot"], "Missing argument 'SCHEDULE'"),
        (["plot", "linear()", "--at", "soon"], "--at must be a whole number of steps, or text such as '5%'"),
        (["plot", "linear()", "--at", "-1"], "--at must be a whole number of steps"),
        (["plot", "linear()", "--at", "0,,5"], "--at must be a whole number of steps"),
        (
            ["plot", "linear()", "--total", "10", "--at", "11"],
            "--at must be at most 10, where the preview ends",
        ),
        (["plot", "linear()", "--at", "2ep"], "say how long an epoch is with --epochs and --epoch-steps"),
        (["plot", "warmup(2Mtok) >> linear()"], "say how much a step consumes with --step-tokens"),
        (["plot", "linear()", "--step-samples", "0"], "--step-samples must be at least 1, not 0"),
        (["plot", *["linear()"] * 3, "--total", "9999999"], "at most 20000000 steps (6666666 for 3 curves)"),
        (["plot", *[f"constant({n})" for n in range(29)], "--out", "x.png"], "at most 28 curves, not 29"),
        (["schedules", "warmpu"], "unknown schedule 'warmpu', did you mean 'warmup'? Known: ConstantLR"),
        (["plot", "linear(20)", "--total", "10"], "needs 20 steps, but the horizon is 10"),
    ],
)
def test_what_a_person_can_get_wrong_gets_one_line(lrkit, tmp_path, arguments, sentence):
    (tmp_path / "something").write_text("")
    status, _, err = lrkit(*arguments)
    assert status == 2
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["something"]


@pytest.mark.parametrize("command", [["train", "mnist", "--schedule"], ["plot"]])
def test_a_broken_schedule_points_at_the_place(lrkit, command):
    status, _, err = lrkit(*command, "warmup(5%) >> linaer(to=0)")
    assert status == 2
    first, text, mark = err.splitlines()
    assert "unknown kind 'linaer', did you mean 'linear'?" in first
    assert text == "  warmup(5%) >> linaer(to=0)"
    assert mark == "                ^"


# --- plot --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_draws_in_the_terminal_and_a_picture(lrkit, tmp_path, suffix):
    status, out, err = lrkit("plot", "warmup(5%) >> linear(to=0)", "--total", 200, "--out", f"x.{suffix}")
    assert (status, err) == (0, "")
    assert "█" in out
    assert "200 steps" in out
    assert max(map(len, out.splitlines())) <= 100
    assert (tmp_path / f"x.{suffix}").stat().st_size > 1000


def test_plot_json_has_every_steps_rate(lrkit):
    status, out, _ = lrkit("plot", "StepLR(step_size=1)", "--epochs", 2, "--epoch-steps", 3, "--lr", 0.5, "--json")
    assert status == 0
    assert json.loads(out)["lr"] == pytest.approx([0.5] * 3 + [0.05] * 3)


def test_plot_says_what_it_assumed(lrkit):
    assert "over 1000 steps" in lrkit("plot", "linear()")[1]
    assert "100 steps per epoch" in lrkit("plot", "StepLR(3)", "--epochs", 5)[1]
    assert "20 steps" in lrkit("plot", "warmup(20)")[1]
    out = lrkit("plot", "warmup(1ep) >> plateau(patience=3)", "--epochs", 12, "--epoch-steps", 10, "--lr", 0.1)[1]
    assert "shown for one that never improves, reported every epoch" in " ".join(out.split())
    assert "lowest 0.001" in " ".join(out.split())
    assert "reported every step)" in " ".join(lrkit("plot", "plateau()", "--total", 50)[1].split())
    assert "reported every 2 steps)" in " ".join(lrkit("plot", "plateau()", "--total", 200)[1].split())
    assert "1 step\n" in lrkit("plot", "constant()", "--total", 1)[1]


def test_plot_draws_several_schedules_beneath_each_other_over_one_axis(lrkit, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    texts = ["warmup(5%) >> linear(to=0)", "constant(0.5)", "constant(2)"]
    status, out, err = lrkit("plot", *texts, "--total", 200, "--out", "x.png")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line for line in lines if ": from" in line] == [
        "warmup(5%) >> linear(to=0): from 0.1 to 0.005263, highest 1, lowest 0.005263",
        "constant(0.5): from 0.5 to 0.5, highest 0.5, lowest 0.5",
        "constant(2): from 2 to 2, highest 2, lowest 2",
    ]
    assert sum("2 ┤" in line for line in lines) == 3
    halves = lines[lines.index("constant(0.5): from 0.5 to 0.5, highest 0.5, lowest 0.5") + 1 :][:4]
    assert [half.count("█") for half in halves] == [0, 0, 0, 69]
    assert sum("200 steps" in line for line in lines) == 1
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_plot_at_prints_a_table_instead(lrkit):
    status, out, err = lrkit("plot", "linear(to=0)", "--total", 1000, "--at", "0,100", "--at", 999)
    assert (status, err) == (0, "")
    assert out.splitlines() == ["linear(to=0)", "step     lr", "   0      1", " 100    0.9", " 999  0.001"]
    texts = ["linear(to=0)", "warmup(1ep) >> constant()"]
    out = lrkit("plot", *texts, "--epochs", 10, "--epoch-steps", 4, "--lr", 0.5, "--at", "0%, 0.5ep,50%,100%")[1]
    assert out.splitlines() == [
        "1: linear(to=0)",
        "2: warmup(1ep) >> constant()",
        "   at  step  1: lr  2: lr",
        "   0%     0    0.5  0.125",
        "0.5ep     2  0.475  0.375",
        "  50%    20   0.25    0.5",
        " 100%    40      0    0.5",
    ]


def test_plot_json_has_a_list_of_schedules_and_the_keys_of_a_single_one_beside_it(lrkit):
    several = json.loads(lrkit("plot", "linear(to=0)", "constant()", "--total", 4, "--lr", 2, "--json")[1])
    assert several == {
        "steps": 4,
        "epoch_steps": None,
        "base": 2.0,
        "at": None,
        "remarks": [],
        "schedules": [
            {"schedule": "linear(to=0)", "lr": [2.0, 1.5, 1.0, 0.5]},
            {"schedule": "constant()", "lr": [2.0, 2.0, 2.0, 2.0]},
        ],
    }
    single = json.loads(lrkit("plot", "linear(to=0)", "--total", 4, "--lr", 2, "--at", "75%,0", "--json")[1])
    assert single == {
        **several,
        "at": [3, 0],
        "schedules": [{"schedule": "linear(to=0)", "lr": [0.5, 2.0]}],
        "schedule": "linear(to=0)",
        "lr": [0.5, 2.0],
    }


def test_plot_shows_every_hyper_parameter(lrkit, tmp_path):
    text = "lr: linear(to=0); momentum: linear(to=absolute(0.9), start=absolute(0.8))"
    out = lrkit("plot", text, "--total", 100, "--out", "x.png")[1]
    assert [line for line in out.splitlines() if ": from" in line] == [
        "lr: from 1 to 0.01, highest 1, lowest 0.01",
        "momentum: from 0.8 to 0.899, highest 0.899, lowest 0.8",
    ]
    found = json.loads(lrkit("plot", text, "constant()", "--total", 100, "--at", "50%", "--json")[1])["schedules"]
    assert found[0] == {"schedule": text, "lr": [0.5], "momentum": [pytest.approx(0.85)]}
    assert found[1] == {"schedule": "constant()", "lr": [1.0]}
    table = lrkit("plot", text, "--total", 100, "--at", "0")[1]
    assert table.splitlines() == [text, "step  lr  momentum", "   0   1       0.8"]


@pytest.mark.parametrize("command", ["train", "plot"])
def test_help_says_what_torchs_names_count(lrkit, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "400")
    words = " ".join(lrkit(command, "--help")[1].replace("│", " ").split())
    assert "which count epochs, but CyclicLR and OneCycleLR updates" in words
    assert "lrkit schedules lists all" in words


def test_plot_draws_what_moves_and_says_what_stays(lrkit):
    text = "lr: linear(to=0); momentum: constant(0.9)"
    out = lrkit("plot", text, "--total", 10)[1]
    assert (out.count("└"), out.splitlines()[-1]) == (1, "(momentum stays 0.9)")
    assert lrkit("plot", text, "--total", 10, "--at", "0")[1].splitlines()[1:] == [
        "step  lr  momentum",
        "   0   1       0.9",
    ]
    assert json.loads(lrkit("plot", text, "--total", 2, "--json")[1])["momentum"] == [0.9, 0.9]


def test_plot_draws_the_momentum_that_goes_with_one_cycle(lrkit):
    out = lrkit("plot", "lr: one_cycle(); momentum: one_cycle_momentum()", "--total", 100)[1]
    assert "momentum: from 0.95 to 0.9499, highest 0.95, lowest 0.85" in out
    momentum = out[out.index("momentum: from") :]
    assert "     0.95 ┤█" in momentum
    assert "     0.85 ┤" in momentum


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal(lrkit, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    texts = ["lr: linear(to=0); momentum: constant(0.9)", "warmup(5%) >> plateau(patience=5)"]
    for arguments in (["plot", *texts], ["plot", texts[1]], ["schedules"]):
        out = lrkit(*arguments)[1]
        assert max(map(len, out.splitlines())) <= min(columns, 100)


def test_plot_knows_tokens_and_samples(lrkit):
    arguments = ["warmup(2ktok) >> linear(to=0)", "warmup(64samples) >> constant()"]
    out = lrkit("plot", *arguments, "--total", 10, "--step-tokens", 500, "--step-samples", 16, "--at", "1", "--json")[1]
    assert [each["lr"] for each in json.loads(out)["schedules"]] == [[0.5], [0.5]]


# --- help ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], [], ["train", "--help"], ["plot", "--help"], ["schedules", "--help"]]
)
def test_help(lrkit, arguments):
    status, out, err = lrkit(*arguments)
    assert status in (0, 2)
    assert "Usage: lrkit" in out + err


def test_version(lrkit):
    assert lrkit("--version")[:2] == (0, "lrkit 0.1.0\n")


def test_chart_of_a_constant_and_of_zero(lrkit):
    assert lrkit("plot", "constant(0)", "--total", 1)[0] == 0
    assert np.isfinite(json.loads(lrkit("plot", "constant(0)", "--total", 1, "--json")[1])["lr"][0])


def test_the_help_names_the_default_schedule(lrkit):
    assert f"by default {DEFAULT_SCHEDULE}" in " ".join(lrkit("train", "--help")[1].replace("│", " ").split())

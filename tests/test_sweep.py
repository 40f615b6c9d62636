"""`lrkit sweep`: every combination is a lane; a table, a picture, one JSON object."""

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import lrkit as library
from lrkit import EpochRecord, History, Lane, LanesSetup
from lrkit.analysis.sweep import summarise
from lrkit.output.sweep_plot import sweep_figure
from lrkit.output.sweep_progress import SweepProgress
from lrkit.output.sweep_table import as_dict, best_sentence, table
from lrkit.training.lanes.choice import Choice
from lrkit.training.task_source import TaskSource

TASK = """
import torch, lrkit

generator = torch.Generator().manual_seed(0)
x = torch.randn(60, 3, generator=generator)
y = (x.sum(dim=1) > 0).long()

task = lrkit.Task(
    model=lambda: torch.nn.Linear(3, 2), train=(x[:40], y[:40]), valid=(x[40:], y[40:]),
    loss=torch.nn.functional.cross_entropy, metrics={"accuracy": lrkit.accuracy},
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3), batch_size=10, epochs=3,
)

regression = lrkit.Task(
    model=lambda: torch.nn.Linear(3, 1), train=(x, 5 * x[:, :1]), loss=torch.nn.functional.mse_loss,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=20, steps=200,
)
"""


@pytest.fixture
def task(tmp_path):
    (tmp_path / "small.py").write_text(TASK)
    return "small.py"


def sweep_json(lrkit, *arguments, status=0):
    found, out, err = lrkit("sweep", *arguments, "--json")
    assert (found, err if status == 0 else "") == (status, "")
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))


# --- lanes ---------------------------------------------------------------------------------------------


def test_every_combination_is_a_lane_with_the_numbers_of_a_run_of_its_own(lrkit, task):
    schedules = ["constant()", "linear(to=0)"]
    options = [each for text in schedules for each in ("--schedule", text)]
    grids = ["--lr", "0.1,0.5", "--momentum", "0,0.9", "--weight-decay", "0:0.01:2"]
    found = sweep_json(lrkit, task, *options, *grids, "--seeds", 2, "--epochs", 2)
    lanes = found["lanes"]
    wanted = list(itertools.product(schedules, (0.1, 0.5), (0, 0.9), (0, 0.01), (0, 1)))
    names = ("schedule", "lr", "momentum", "weight_decay", "seed")
    assert [tuple(each[name] for name in names) for each in lanes] == wanted
    alone = TaskSource(task, epochs=2).load()
    for each in (lanes[0], lanes[13], lanes[-1]):
        lane = Lane(**{name: each[name] for name in names})
        last = library.run(lane.of(alone), lane.plan, lr=lane.lr, seed=lane.seed).epochs[-1]
        assert (each["train_loss"], each["valid_loss"]) == (last.train_loss, last.valid_loss)
        assert each["valid_accuracy"] == each["metrics"]["accuracy"] == last.metrics["accuracy"]
        assert (each["epochs"], each["steps"], each["diverged"]) == (2, 8, None)


def test_the_defaults_are_the_tasks_rate_trains_schedule_and_one_seed(lrkit, task):
    found = sweep_json(lrkit, task)
    [lane] = found["lanes"]
    assert (lane["schedule"], lane["lr"], lane["seed"]) == ("plateau(patience=5)", 0.3, 0)
    assert not {"momentum", "weight_decay"} & set(lane)
    assert found["best"] == lane
    assert found["lane_count"] == 1


def test_json_says_how_it_was_made(lrkit, task, tmp_path):
    found = sweep_json(lrkit, task, "--lr", "0.1:1:3log", "--lr", "0.1,0.2", "--backend", "sequential", "--out", "here")
    assert [each["lr"] for each in found["lanes"]] == [0.1, 0.316228, 1, 0.2]
    assert (found["task"], found["backend"], found["run_dir"]) == ("small", "sequential", "here")
    assert isinstance(found["reason"], str)
    assert found["lane_steps"] == 4 * 3 * 4
    assert found["lane_steps_per_second"] >= found["lane_steps"] / found["wall_seconds"]
    assert found["source"]["task"].endswith("small.py:task")
    assert json.loads((tmp_path / "here" / "sweep.json").read_text()) == found
    assert (tmp_path / "here" / "sweep.png").stat().st_size > 5000


def test_the_best_is_that_of_the_best_mean_over_seeds(lrkit, task):
    found = sweep_json(lrkit, task, "--lr", "0.01,0.3,1", "--seeds", 3)
    means = {}
    for lane in found["lanes"]:
        beside = [each["valid_loss"] for each in found["lanes"] if each["lr"] == lane["lr"]]
        assert lane["over_seeds"] == {
            "seeds": [0, 1, 2],
            "diverged": 0,
            "mean": pytest.approx(np.mean(beside)),
            "range": [min(beside), max(beside)],
        }
        means[lane["lr"]] = np.mean(beside)
    best = found["best"]
    assert best in found["lanes"]
    assert best["lr"] == min(means, key=means.get)
    assert best["valid_loss"] == best["over_seeds"]["range"][0]


def test_without_validation_the_training_loss_decides_and_what_there_is_none_of_is_null(lrkit, task):
    found = sweep_json(lrkit, f"{task}:regression", "--lr", "0.001,0.1")
    assert found["measure"] == "train_loss"
    assert found["best"]["lr"] == 0.1
    assert {(each["valid_loss"], each["valid_accuracy"]) for each in found["lanes"]} == {(None, None)}


def test_a_lane_that_diverges_is_null_with_its_step_and_rate_and_the_others_go_on(lrkit, task):
    arguments = [f"{task}:regression", "--lr", "0.1,1e30,0.2", "--seeds", 2, "--schedule", "constant()"]
    found = sweep_json(lrkit, *arguments)
    wrong = [each for each in found["lanes"] if each["diverged"]]
    assert [(each["lr"], each["train_loss"], each["over_seeds"]["mean"]) for each in wrong] == [(1e30, None, None)] * 2
    assert all(each["diverged"]["lr"] == 1e30 and 0 < each["diverged"]["step"] < 5 for each in wrong)
    assert (found["diverged"], found["best"]["lr"] < 1) == (2, True)
    status, out, _ = lrkit("sweep", *arguments)
    assert status == 0
    assert "2 of 2 diverged at step " in next(line for line in out.splitlines() if " 1e+30 " in line)


def test_when_all_diverge_the_status_is_that_of_a_run_that_does(lrkit, task):
    found = sweep_json(lrkit, f"{task}:regression", "--lr", "1e30,1e31", status=3)
    assert found["best"] is None
    status, out, err = lrkit("sweep", f"{task}:regression", "--lr", "1e30,1e31", "--schedule", "constant()")
    assert (status, err) == (3, "lrkit: no lane ended with a finite loss: 2 of 2 diverged\n")
    assert "diverged at step " in out


# --- what is printed -------------------------------------------------------------------------------------


def test_a_table_with_the_best_first_a_sentence_and_the_folder(lrkit, task, tmp_path):
    status, out, err = lrkit("sweep", task, "--lr", "0.01,1", "--schedule", "constant()", "--seeds", 2)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("4 lanes of 12 steps; backend ")
    header = next(number for number, line in enumerate(lines) if "schedule" in line)
    columns = ["valid loss", "range of seeds", "seeds", "accuracy", "train loss", "lr", "schedule"]
    assert [column for column in columns if column in lines[header]] == columns
    rows = lines[header + 1 : header + 3]
    assert [row.split()[-2:] for row in rows] == [["1", "constant()"], ["0.01", "constant()"]]
    best, speed, folder = lines[header + 3 :]
    assert best.startswith("best: constant() at learning rate 1: validation loss 0.")
    assert "(mean of 2 seeds, 0." in best
    assert "lane-steps per second" in speed
    assert "runs/small-sweep-" in folder
    [made] = (tmp_path / "runs").iterdir()
    assert {path.name for path in made.iterdir()} >= {"sweep.png", "sweep.json"}


def test_lanes_that_are_trained_together_have_a_line_for_each_epoch(capsys):
    lanes = [Lane("constant()", lr=lr) for lr in (0.1, 0.2, 9.0)]
    progress = SweepProgress()
    progress.start(LanesSetup(lanes, 10, Choice("eager", "it was asked for", [[0, 1, 2]])))
    progress.epoch({0: record(0.5), 1: record(0.25), 2: record(None, diverged=3)})
    progress.ended({2: record(None, diverged=3)})
    progress.step(20)
    progress.epoch({0: record(0.125, epochs=2), 1: record(0.5, epochs=2)})
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "3 lanes of 10 steps; backend eager, since it was asked for",
        "epoch 1, 3 lanes under way; best validation loss so far 0.25000: constant(), lr 0.2, seed 0",
        "epoch 2, 2 lanes under way; best validation loss so far 0.12500: constant(), lr 0.1, seed 0",
    ]


def test_the_best_so_far_is_by_the_last_losses_and_never_one_that_diverged(capsys):
    progress = SweepProgress()
    lanes = [Lane("constant()", lr=lr, weight_decay=0) for lr in (0.1, 0.2)]
    progress.start(LanesSetup(lanes, 10, Choice("eager", "it was asked for", [[0, 1]])))
    progress.epoch({0: record(0.0001), 1: record(0.5)})
    progress.epoch({0: record(0.75, epochs=2), 1: record(0.5, epochs=2)})
    progress.ended({1: record(None, diverged=3)})
    progress.epoch({0: record(0.75, epochs=3)})
    progress.close()
    assert [line.partition("so far ")[2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "1.0000e-04: constant(), lr 0.1, weight decay 0, seed 0",
        "0.50000: constant(), lr 0.2, weight decay 0, seed 0",
        "0.75000: constant(), lr 0.1, weight decay 0, seed 0",
    ]


def test_lanes_that_are_trained_one_by_one_have_a_line_each_or_about_as_many_as_are_asked_for(capsys):
    """A lane that diverged before it was validated doesn't change what the best one's loss is called."""
    ends = [record(0.5), record(None, diverged=3, valid=False), record(0.75), record(0.25), record(0.75)]
    ends[2].made["dropped"] = True
    lanes = [Lane("constant()", seed=seed) for seed in range(len(ends))]
    choice = Choice("sequential", "it was asked for", [[number] for number in range(len(ends))])
    for progress in (SweepProgress(), SweepProgress(3)):
        progress.start(LanesSetup(lanes, 10, choice))
        for number, history in enumerate(ends):
            progress.ended({number: history})
        progress.close()
    assert [line for line in capsys.readouterr().out.splitlines() if "backend" not in line] == [
        "lane 1/5 ended; best validation loss so far 0.50000: constant(), seed 0",
        "lane 2/5 diverged at step 3; best validation loss so far 0.50000: constant(), seed 0",
        "lane 3/5 dropped; best validation loss so far 0.50000: constant(), seed 0",
        "lane 4/5 ended; best validation loss so far 0.25000: constant(), seed 3",
        "lane 5/5 ended; best validation loss so far 0.25000: constant(), seed 3",
        "5 lanes: 2 ended, 1 of them diverged; best validation loss so far 0.50000: constant(), seed 0",
        "5 lanes: 4 ended, 1 of them diverged and 1 dropped; best validation loss so far 0.25000: constant(), seed 3",
        "5 lanes: 5 ended, 1 of them diverged and 1 dropped; best validation loss so far 0.25000: constant(), seed 3",
    ]


def test_small_losses_have_five_significant_digits_everywhere():
    sweep = made(("constant()", 0.1, 0, 0.000123456))
    assert table(sweep)[1].split()[:2] == ["1.2346e-04", "1.2346e-04"]
    assert best_sentence(sweep).endswith("validation loss 1.2346e-04")


def test_quiet_prints_nothing(lrkit, task):
    assert lrkit("sweep", task, "--quiet") == (0, "", "")


def test_help_names_the_grids_and_the_backends(lrkit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    status, out, _ = lrkit("sweep", "--help")
    words = " ".join(out.replace("│", " ").split())
    assert status == 0
    assert "0.001:1:16log" in words
    assert "By default plateau(patience=5)" in words
    for backend in ("compiled", "eager", "sequential", "processes", "auto"):
        assert backend in words


# --- what a person can get wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lr", "fast"], "--lr must be numbers with commas between them, or ranges such as"),
        (["--lr", "0:1:5log"], "--lr must be finite and above 0, not 0.0"),
        (["--lr", "0.1:1:1"], "--lr: the range 0.1:1:1 has one value but two ends"),
        (["--lr", ""], "--lr has no value"),
        (["--lr", "0.1", "--lr", "-1"], "--lr must be finite and above 0, not -1.0"),
        (["--momentum", "0.5,1"], "--momentum must be finite and at least 0 and below 1, not 1.0"),
        (["--weight-decay", "0:1:3log"], "--weight-decay: the range 0:1:3log must have both ends above 0"),
        (["--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--seeds", "two"], "Invalid value for '--seeds'"),
        (["--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["--epochs", "1", "--steps", "1"], "a length is either --epochs or --steps, not both"),
        (["--schedule", "linear()", "--schedule", "linear( )"], "--schedule: linear(to=0) is given twice"),
        (["--backend", "sequentail"], "unknown backend 'sequentail', did you mean 'sequential'? Known: auto, compiled"),
        (["--lr", "0.1:1:1000", "--seeds", "1000"], "a sweep has at most 100000 lanes, not 1000 · 1000 = 1000000"),
        (["--seeds", "100001"], "a sweep has at most 100000 lanes, not 100001\n"),
        (["--seeds", f"1{24 * '0'}", "--lr", "1,2"], f"not 2 · 1{24 * '0'} = 2{24 * '0'}"),
        (["--threads", "99999999999"], "--threads must be at most 1024, not 99999999999"),
        (["--schedule", "warmup(90%) >> linear(20%)"], "10.8 + 2.4 = 13.2"),
        (["--schedule", "constant()", "--schedule", "warmup(90%) >> linear(20%)"], "10.8 + 2.4 = 13.2"),
        (["--schedule", "constant()", "--schedule", "lr: linear(); beta2: linear()"], "this optimizer has no beta2"),
        (["--out", "full"], "full isn't empty"),
        (["--out", "full", "--overwrite"], "has files but no"),
        (["--device", "tpu9"], "device must be one that works here"),
        (["--resume", "full"], "--resume goes on with the sweep as it was made, so a task can't be given with it"),
    ],
)
def test_a_mistake_gets_one_line_before_anything_is_trained(lrkit, task, tmp_path, arguments, sentence):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    status, out, err = lrkit("sweep", task, *arguments, "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert not list((tmp_path / "runs").glob("*"))


def test_a_sweep_needs_a_task(lrkit):
    status, _, err = lrkit("sweep", "--lr", "0.1")
    assert (status, err.count("\n")) == (2, 1)
    assert "name a task (mnist, mnist-wide, mnist-cnn, chars, or file.py:task), or --resume FOLDER" in err
    status, _, err = lrkit("sweep", "--resume", "nowhere")
    assert (status, err) == (2, "lrkit: error: nowhere is not a sweep folder: it has no config.json\n")


# --- what it says, from records ----------------------------------------------------------------------------


def record(loss, lr=0.1, *, diverged=None, valid=True, first=2.0, epochs=1):
    losses = np.full(10, first, dtype=np.float32)
    if diverged is not None:
        losses[diverged:] = np.nan
        loss = float("nan")
    records = tuple(
        EpochRecord(number, 10, loss, loss if valid else None, {}, lr, 1.0) for number in range(1, epochs + 1)
    )
    return History(records, np.full((10, 1), lr), losses, {"lr": lr})


def made(*specifications, **changes):
    """A sweep of (schedule, rate, seed, loss), the loss None for a lane that diverged at step 4."""
    lanes = [Lane(schedule, lr=lr, seed=seed) for schedule, lr, seed, _ in specifications]
    histories = {
        number: record(loss or 0.0, lr, diverged=4 if loss is None else None, **changes)
        for number, (_, lr, _, loss) in enumerate(specifications)
    }
    return summarise(lanes, histories)


def test_configurations_are_ordered_by_their_mean_but_those_that_diverged_come_last():
    sweep = made(
        ("constant()", 0.1, 0, 0.5),
        ("constant()", 0.1, 1, 0.3),
        ("constant()", 1.0, 0, 0.1),
        ("constant()", 1.0, 1, None),
        ("constant()", 9.0, 0, None),
        ("constant()", 9.0, 1, None),
        ("linear(to=0)", 0.1, 0, 0.2),
        ("linear(to=0)", 0.1, 1, 0.5),
    )
    assert [(row.one.schedule, row.one.lr) for row in sweep.rows] == [
        ("linear(to=0)", 0.1),
        ("constant()", 0.1),
        ("constant()", 1.0),
        ("constant()", 9.0),
    ]
    assert [row.mean for row in sweep.rows] == [0.35, 0.4, 0.1, None]
    assert sweep.best.range == (0.2, 0.5)
    assert [each.number for each in sweep.diverged] == [3, 4, 5]
    assert as_dict(sweep)["best"]["seed"] == 0
    assert [line.split("constant()")[1].strip() for line in table(sweep)[2:]] == [
        "",
        "1 of 2 diverged at step 4, rate 1",
        "2 of 2 diverged at step 4, rate 9",
    ]


def test_lanes_that_have_not_ended_are_left_out():
    lanes = [Lane("constant()", lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    sweep = summarise(lanes, {3: record(0.5, 0.2), 0: record(0.7)})
    assert [(row.one.lr, len(row.outcomes)) for row in sweep.rows] == [(0.2, 1), (0.1, 1)]
    nothing = summarise(lanes, {})
    assert (nothing.rows, nothing.best, as_dict(nothing)["lanes"]) == ((), None, [])


def test_a_long_table_says_how_many_more_there_are():
    losses = [(f"constant({number})", 0.1, 0, None if number == 30 else float(number)) for number in range(1, 31)]
    lines = table(made(*losses))
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == "and 10 more, of which 1 diverged"


def test_a_lane_without_a_finite_loss_that_did_not_diverge_is_not_said_to_have():
    lanes = [("constant()", 0.1, 0, 0.5), ("constant()", 0.2, 0, float("nan")), ("constant()", 0.3, 0, None)]
    assert [line.partition("constant()")[2].strip() for line in table(made(*lanes))[1:]] == [
        "",
        "no finite loss",
        "diverged at step 4, rate 0.3",
    ]
    assert legend(sweep_figure(made(*lanes), ""))[-2:] == ["diverged", "no finite loss"]
    [axes] = sweep_figure(made(("constant()", 0.1, 0, 0.5), ("linear(to=0)", 0.1, 0, float("nan"))), "").axes
    assert [text.get_text() for text in axes.texts] == ["no finite loss"]


def test_schedules_with_the_same_beginning_are_told_apart():
    first, second = (f"warmup(5%) >> {'constant(steps=10%) >> ' * 6}linear(to={end})" for end in (0, 0.1))
    sweep = made((first, 0.1, 0, 0.5), (second, 0.1, 0, 0.6), (first, 0.2, 0, 0.7))
    assert [line.split("  ")[-1] for line in table(sweep)[1:]] == [first, second, first]
    assert table(sweep, 80)[4:] == [f"schedule 1: {first}", f"schedule 2: {second}"]
    assert [line.split()[-1] for line in table(sweep, 80)[1:4]] == ["1", "2", "1"]
    assert [text.replace("\n", " ") for text in legend(sweep_figure(sweep, ""))[:2]] == [first, second]


def test_a_table_is_cut_where_it_has_a_width():
    text = "warmup(5%) >> cosine(30%, to=0.1) >> constant(steps=20%) >> linear(to=0)"
    lines = table(made((text, 0.1, 0, 0.5), (text, 0.2, 0, None)), 90)
    assert max(map(len, lines)) == 90
    assert best_sentence(made((text, 0.1, 0, 0.5))) == f"best: {text} at learning rate 0.1: validation loss 0.50000"


# --- pictures ------------------------------------------------------------------------------------------------


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_picture_has_a_line_for_each_schedule_with_a_band_and_crosses_where_it_diverged():
    rates = [0.001, 0.01, 0.1, 1.0]
    losses = [2.0, 0.5, 0.1, None]
    sweep = made(
        *[("constant()", lr, seed, loss) for lr, loss in zip(rates, losses, strict=True) for seed in (0, 1)],
        *[("linear(to=0)", lr, seed, 0.2 + seed / 10) for lr in reversed(rates) for seed in (0, 1)],
    )
    figure = sweep_figure(sweep, "a title")
    [axes] = figure.axes
    first, second = (line for line in axes.get_lines() if line.get_label() in ("constant()", "linear(to=0)"))
    assert first.get_xdata().tolist() == second.get_xdata().tolist() == rates
    assert first.get_ydata().tolist()[:3] == [2.0, 0.5, 0.1]
    assert np.isnan(first.get_ydata()[3])
    assert second.get_ydata() == pytest.approx(0.25)
    assert len(axes.collections) == 2
    crosses = [line for line in axes.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert [(line.get_xdata().tolist(), line.get_color()) for line in crosses] == [([1.0], first.get_color())]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "final validation loss")
    assert legend(figure) == ["constant()", "linear(to=0)", "best: lr 0.1", "diverged"]
    assert axes.get_title() == "a title"


def test_losses_far_above_that_before_training_are_marked_and_do_not_stretch_the_axis():
    sweep = made(("constant()", 0.1, 0, 0.5), ("constant()", 0.2, 0, 0.4), ("constant()", 0.3, 0, 1e9))
    figure = sweep_figure(sweep, "")
    [axes] = figure.axes
    assert 2.0 < axes.get_ylim()[1] < 4.0
    assert axes.get_xscale() == "linear"
    assert legend(figure)[-1] == "worse than before training"
    [marks] = [line for line in axes.get_lines() if line.get_marker() == "^" and len(line.get_xdata())]
    assert marks.get_xdata().tolist() == [0.3]


def test_of_many_lines_the_best_are_drawn():
    lanes = [(f"constant({number})", lr, 0, 0.1 * number) for number in range(2, 32) for lr in (0.1, 0.2)]
    figure = sweep_figure(made(*lanes), "")
    assert legend(figure) == [*(f"constant({number})" for number in range(2, 16)), "best: lr 0.1"]
    assert "the best 14 of 30" in figure.axes[0].get_xlabel()


def test_one_rate_is_drawn_by_schedule_with_a_point_for_each_seed():
    text = "warmup(5%) >> cosine(30%, to=0.1) >> constant(steps=20%) >> linear(to=0)"
    lanes = [(text, 0.1, 0, 0.5), (text, 0.1, 1, 0.7), ("constant()", 0.1, 0, 0.3), ("constant(9)", 0.1, 0, None)]
    [axes] = sweep_figure(made(*lanes), "").axes
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [
        "constant()",
        text,
        "constant(9)",
    ]
    points = [line.get_xdata().tolist() for line in axes.get_lines() if line.get_marker() == "o"]
    assert points == [[0.3], [0.5, 0.7], []]
    assert axes.get_xlabel() == "final validation loss, at learning rate 0.1"
    assert [text.get_text() for text in axes.texts] == ["diverged"]


@pytest.mark.parametrize("losses", [[None], [None, None], [0.5], [0.0, 0.5], [-1.0, 3.0], [1e-30, 1e30]])
@pytest.mark.parametrize("rates", [[0.1], [0.1, 0.2]])
@pytest.mark.parametrize("valid", [True, False])
def test_any_sweep_can_be_drawn(tmp_path, losses, rates, valid):
    sweep = made(*[("constant()", lr, seed, loss) for lr in rates for seed, loss in enumerate(losses)], valid=valid)
    figure = sweep_figure(sweep, "x" * 300)
    figure.savefig(tmp_path / "x.png")
    assert f"final {sweep.measure}" in figure.axes[0].get_ylabel() + figure.axes[0].get_xlabel()


# --- interrupted ---------------------------------------------------------------------------------------------


def interrupt(arguments, folder):
    """Start a sweep, press Ctrl-C when two lanes have ended; what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lrkit", "sweep", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip  # more to a line reads better
    began = time.monotonic()
    seen = (line for line in process.stdout if "so far" in line)
    assert next(seen)
    assert next(seen)
    assert time.monotonic() - began < 60
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    return out, err


def test_a_signal_shows_what_had_ended_and_resume_ends_as_if_there_had_been_none(lrkit, task, tmp_path):
    arguments = [f"{task}:regression", "--lr", "0.1,0.2,0.01:0.05:6log", "--schedule", "linear(to=0)"]
    arguments += ["--steps", "500", "--backend", "sequential"]
    out, err = interrupt([*arguments, "--out", "here"], tmp_path)
    ended = int(err.partition("lrkit: interrupted: ")[2].split()[0])
    assert 2 <= ended < 8
    assert f"{ended} of 8 lanes had ended; what was done is in here; to go on: lrkit sweep --resume here\n" in err
    assert sum(line.endswith("linear(to=0)") for line in out.splitlines()) == ended
    assert "best: linear(to=0) at learning rate " in out
    assert (tmp_path / "here" / "sweep.png").exists()

    status, out, err = lrkit("sweep", "--resume", "here")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "8 lanes of 500 steps; backend sequential, since it was asked for"
    assert re.fullmatch(rf"goes on after \d+ of 4000 lane-steps, where {ended} lanes had ended", out.splitlines()[1])
    resumed = json.loads((tmp_path / "here" / "sweep.json").read_text())
    whole = sweep_json(lrkit, *arguments)
    assert resumed["lanes"] == whole["lanes"]
    assert resumed["lane_steps"] < whole["lane_steps"] == 8 * 500


def test_an_interruption_before_training_began_leaves_nothing(lrkit, tmp_path):
    broken = TASK.replace("model=lambda: torch.nn.Linear(3, 2)", "model=interrupted")
    (tmp_path / "early.py").write_text("def interrupted():\n    raise KeyboardInterrupt\n" + broken)
    status, out, err = lrkit("sweep", "early.py", "--lr", "0.1,0.2", "--backend", "eager", "--out", "here")
    assert (status, out) == (130, "")
    assert err == "lrkit: interrupted before training began; nothing was kept\n"
    assert not (tmp_path / "here").exists()


def test_a_picture_that_can_not_be_written_costs_only_the_picture(lrkit, tmp_path):
    blocking = "def blocking(outputs, targets):\n    pathlib.Path('here/sweep.png').mkdir(exist_ok=True)\n"
    blocking += "    return lrkit.accuracy(outputs, targets)\n"
    text = TASK.replace('"accuracy": lrkit.accuracy', '"accuracy": blocking')
    (tmp_path / "blocked.py").write_text(f"import pathlib\n{blocking}{text}")
    status, out, err = lrkit("sweep", "blocked.py", "--lr", "0.1,0.2", "--backend", "sequential", "--out", "here")
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("lrkit: the picture here/sweep.png can't be written: ")
    assert "best: " in out
    assert out.splitlines()[-1] == "folder here"
    assert json.loads((tmp_path / "here" / "sweep.json").read_text())["best"]


def test_a_sweep_that_ended_is_shown_again(lrkit, task):
    first = sweep_json(lrkit, task, "--lr", "0.1,0.2", "--out", "here")
    again = sweep_json(lrkit, "--resume", "here")
    assert (again["lanes"], again["best"], again["lane_steps"]) == (first["lanes"], first["best"], 0)
    assert again["lane_steps_per_second"] is None
    status, out, _ = lrkit("sweep", "--resume", "here")
    assert (status, "per second" in out, "best: " in out) == (0, False, True)


def test_an_error_in_the_middle_says_how_to_go_on(lrkit, tmp_path):
    failing = "def failing(outputs, targets):\n    raise ValueError('no more')\n"
    (tmp_path / "bad.py").write_text(failing + TASK.replace('"accuracy": lrkit.accuracy', '"accuracy": failing'))
    status, _, err = lrkit("sweep", "bad.py", "--lr", "0.1,0.2", "--backend", "sequential", "--out", "here", "--quiet")
    assert status == 2
    assert err.startswith("lrkit: what was done is in here; to go on: lrkit sweep --resume here\n")
    assert "no more" in err


def test_overwrite_replaces_a_sweep(lrkit, task):
    sweep_json(lrkit, task, "--lr", "0.1,0.2", "--out", "here")
    status, _, err = lrkit("sweep", task, "--out", "here")
    assert (status, err.count("\n")) == (2, 1)
    assert "the sweep folder here isn't empty" in err
    sweep_json(lrkit, task, "--lr", "0.3", "--out", "here", "--overwrite")
    assert [each.seed for each in library.LanesFolder.lanes("here")] == [0]


@pytest.mark.parametrize("option", [["--lr", "1"], ["--seeds", "2"], ["--backend", "eager"], ["--overwrite"]])
def test_resume_takes_the_sweep_as_it_was_made(lrkit, task, option):
    sweep_json(lrkit, task, "--out", "here")
    status, _, err = lrkit("sweep", "--resume", "here", *option)
    assert status == 2
    assert f"--resume goes on with the sweep as it was made, so {option[0]} can't be given with it" in err


@pytest.mark.parametrize(
    "damage",
    [
        *({"groups": groups} for groups in ([["a"]], [[99]], [[0, 1], 3], [], [[0]], [[0, 1], [1]], [[0], [], [1]])),
        *({"lanes": [3]}, {"lanes": []}, {"threads": 0}, {"steps": -3}, {"steps": True}),
    ],
)
def test_a_damaged_configuration_is_said_to_be_so(lrkit, task, tmp_path, damage):
    library.run_lanes(
        TaskSource(task, steps=1).load(), [Lane(), Lane(seed=1)], backend="sequential", folder=library.LanesFolder("it")
    )
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    (tmp_path / "it" / "config.json").write_text(json.dumps({**config, **damage}))
    status, out, err = lrkit("sweep", "--resume", "it")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the sweep in it can't be read: its config.json is damaged" in err


def test_a_damaged_lane_is_said_to_be_so_without_advice_to_unpickle_it(lrkit, task, tmp_path):
    sweep_json(lrkit, task, "--steps", 1, "--backend", "sequential", "--out", "here")
    (tmp_path / "here" / "lanes" / "000.npz").write_bytes(b"nothing of the kind")
    status, _, err = lrkit("sweep", "--resume", "here")
    assert (status, err) == (2, "lrkit: error: the lane in here/lanes/000.npz can't be read: it is damaged\n")


def test_a_sweep_that_was_started_in_python_goes_on_there(lrkit, task):
    made = TaskSource(task).load()
    library.run_lanes(dataclasses.replace(made, source=None), [Lane()], folder=library.LanesFolder("here"))
    status, _, err = lrkit("sweep", "--resume", "here")
    assert (status, err.count("\n")) == (2, 1)
    assert "was started in Python, so go on there: lrkit.run_lanes(task, lanes, folder=lrkit.LanesFolder('here'" in err

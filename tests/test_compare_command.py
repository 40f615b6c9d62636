"""`lrkit compare`: a verdict, a table, a picture, one JSON object; a folder that goes on."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from comparison_cases import LINE_UP, candidate, history
from lrkit import compare_histories
from lrkit.analysis.comparison import Candidate
from lrkit.analysis.tournament import Stage
from lrkit.output.compare_plot import compare_figure
from lrkit.output.compare_progress import CompareProgress
from lrkit.output.compare_table import compare_table
from lrkit.output.comparison_curves import curves_of
from lrkit.output.comparison_numbers import say_values

TASK = """
import torch, lrkit

generator = torch.Generator().manual_seed(0)
x = torch.randn(160, 3, generator=generator)
y = (x.sum(dim=1) + 0.5 * torch.randn(160, generator=generator) > 0).long()

task = lrkit.Task(
    model=lambda: torch.nn.Linear(3, 2), train=(x[:120], y[:120]), valid=(x[120:], y[120:]),
    loss=torch.nn.functional.cross_entropy, metrics={"accuracy": lrkit.accuracy},
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3), batch_size=20, epochs=2,
)

regression = lrkit.Task(
    model=lambda: torch.nn.Linear(3, 1), train=(x, 5 * x[:, :1]), loss=torch.nn.functional.mse_loss,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=20, epochs=2,
)
"""
ROOT = Path(__file__).parents[1]
SMALL = ["--schedule", "constant()", "--schedule", "linear(to=0)", "--lr", "0.1,1", "--backend", "eager"]
FEW = [*SMALL, "--seeds", "2", "--selection-seeds", "1"]


@pytest.fixture
def task(tmp_path):
    (tmp_path / "small.py").write_text(TASK)
    return "small.py"


def compare_json(lrkit, *arguments, status=0):
    found, out, err = lrkit("compare", *arguments, "--json")
    assert (found, err if status == 0 else "") == (status, "")
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))


# --- one JSON object ----------------------------------------------------------------------------------


def test_json_has_the_verdict_and_each_schedule_with_intervals(lrkit, task, tmp_path):
    found = compare_json(lrkit, task, *SMALL, "--seeds", 3, "--out", "here")
    assert found["verdict"].endswith(".")
    schedules = {each["name"]: each for each in found["schedules"]}
    assert set(schedules) == {"constant()", "linear(to=0)"}
    other = schedules.pop(next(name for name in schedules if name != found["reference"]))
    [reference] = schedules.values()
    for each in (reference, other):
        assert each["best_lr"] in (0.1, 1.0)
        assert each["n_seeds"] == 3
        low, high = each["valid_loss"]["interval"]
        assert low < each["valid_loss"]["mean"] < high
        assert 0.5 < each["metrics"]["accuracy"]["mean"] <= 1
    assert reference["difference"] is None
    difference = other["difference"]
    assert difference["mean"] == pytest.approx(other["valid_loss"]["mean"] - reference["valid_loss"]["mean"])
    assert difference["interval"][0] < difference["mean"] < difference["interval"][1]
    assert 0 <= difference["p_value"] <= 1
    assert (found["measure"]["data"], found["made"]["task"], found["run_dir"]) == ("test", "small", "here")
    assert found["wall_seconds"] > 0
    assert json.loads((tmp_path / "here" / "comparison.json").read_text()) == found
    assert {"comparison.png", "report.html"} <= {path.name for path in (tmp_path / "here").iterdir()}


def test_without_schedules_the_tutorial_line_up_is_compared_and_schedules_join_a_line_up(lrkit, task):
    few = ["--lr", "0.3", "--seeds", 1, "--selection-seeds", 1, "--backend", "eager", "--epochs", 4]
    names = {"constant", "StepLR", "MultiStepLR", "ExponentialLR", "plateau"}
    assert {each["name"] for each in compare_json(lrkit, task, *few)["schedules"]} == names
    joined = compare_json(lrkit, task, *few, "--schedules", "tutorial", "--schedule", "linear(to=0)")
    assert {each["name"] for each in joined["schedules"]} == {*names, "linear(to=0)"}


def test_what_is_asked_for_is_what_is_compared(lrkit, task):
    options = ["--reference", "linear(to=0)", "--measure", "accuracy", "--target", 0.5, "--holdout", 0.25, "--steps", 9]
    found = compare_json(lrkit, task, *FEW, *options, "--no-halving", "--batch-size", 10)
    assert (found["reference"], found["target"]) == ("linear(to=0)", 0.5)
    assert found["measure"] == {"name": "accuracy", "mode": "max", "data": "test"}
    assert (found["made"]["steps"], found["made"]["batch_size"], found["made"]["holdout"]) == (9, 10, 0.25)


# --- what is printed ----------------------------------------------------------------------------------


def test_the_verdict_the_table_and_the_folder_are_printed(lrkit, task, tmp_path):
    status, out, err = lrkit("compare", task, *SMALL, "--seeds", 3, "--out", "here")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "search for the best rate of 2 schedules, on held-out data"
    assert "2 schedules, each at its best rate, with fresh seeds" in lines
    verdict = json.loads((tmp_path / "here" / "comparison.json").read_text())["verdict"]
    head = next(number for number, line in enumerate(lines) if line.startswith("schedule "))
    assert " ".join(lines[: head - 1]).endswith(verdict)
    heads = re.split(r"\s{2,}", lines[head])
    assert heads[:5] == [
        "schedule",
        "lr",
        "test loss",
        f"difference to {lines[head].partition('difference to ')[2].split('  ')[0]}",
        "p-value",
    ]
    assert {lines[head + 1].split()[0], lines[head + 2].split()[0]} == {"constant()", "linear(to=0)"}
    assert lines[-1] == "folder here, picture here/comparison.png, report here/report.html"


def test_every_option_is_in_the_docs(lrkit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    status, out, _ = lrkit("compare", "--help")
    assert status == 0
    options = set(re.findall(r"│\s+(--[a-z-]+)", out))
    assert len(options) > 20
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    assert {option for option in options if f"`{option}" not in page} == {"--help"}


def test_quiet_prints_nothing(lrkit, task):
    assert lrkit("compare", task, *FEW, "--quiet") == (0, "", "")


def test_a_new_folder_is_made_below_runs(lrkit, task, tmp_path):
    lrkit("compare", task, *FEW, "--quiet")
    [made] = (tmp_path / "runs").iterdir()
    assert made.name.startswith("small-compare-")


def test_stages_are_told_apart(capsys):
    progress = CompareProgress()
    progress.stage(Stage("selection", lanes=[], schedules=1, before=0))
    progress.stage(Stage("final", lanes=[], schedules=5, before=10))
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "search for the best rate of 1 schedule, on held-out data",
        "5 schedules, each at its best rate, with fresh seeds (10 runs are there already)",
    ]


# --- the table and the picture, of all kinds of comparisons ---------------------------------------------


def made(*, seeds=4, diverged=(), **changes):
    """The line-up of cases; `diverged` are names whose runs do, all of them."""
    each_seed = range(100, 100 + seeds)
    return compare_histories(
        [
            candidate(name, loss, seeds=each_seed, diverged=each_seed if name in diverged else ())
            for name, loss in LINE_UP.items()
        ],
        **changes,
    )


def cells(lines):
    """The first rows as dictionaries by the heads."""
    heads = re.split(r"\s{2,}", lines[0])
    rows = [re.split(r"\s{2,}", line) for line in lines[1 : len(LINE_UP) + 1]]
    return [dict(zip(heads, row, strict=False)) for row in rows]


def test_a_row_says_what_came_out_and_how_sure_that_is():
    found = made(reference="linear(to=0)")
    lines = compare_table(found)
    rows = {row["schedule"]: row for row in cells(lines)}
    assert [row["schedule"] for row in cells(lines)] == [each.name for each in found.standings]
    assert rows["linear(to=0)"]["difference to linear(to=0)"] == "reference"
    standing = found.by_name["constant()"]
    row = rows["constant()"]
    mean, half = map(float, row["test loss"].split(" ± "))
    assert mean == pytest.approx(standing.final["loss"].mean, abs=1e-3)
    assert half == pytest.approx(standing.final["loss"].high - standing.final["loss"].mean, abs=1e-3)
    difference, low, high = map(float, re.findall(r"[+-][\d.]+", row["difference to linear(to=0)"]))
    assert (difference, low, high) == pytest.approx(
        (standing.difference.mean, standing.difference.low, standing.difference.high), abs=1e-3
    )
    assert row["p-value"] == "< 0.001"
    assert row["accuracy"].endswith(" %")
    assert float(row["lost at lr/3"]) > 0
    assert "StepLR: staircase(every=2ep, factor=0.1)" in lines


def test_one_seed_has_no_intervals_and_no_p_values():
    lines = compare_table(made(seeds=1))
    assert not any("±" in line or "p-value" in line or " to +" in line for line in lines)


def test_a_schedule_whose_runs_diverged_says_so_and_comes_last():
    found = made(diverged=["linear(to=0)"])
    lines = compare_table(found)
    assert lines[len(LINE_UP)].startswith("linear(to=0)")
    assert lines[len(LINE_UP)].endswith("4 of 4 diverged")


def test_a_narrow_terminal_has_the_columns_beneath_each_other():
    wide, narrow = compare_table(made()), compare_table(made(), 60)
    assert max(map(len, wide)) > 60
    assert max(len(line) for line in narrow if ": " not in line) <= 60
    heads = [line for line in narrow if line.startswith("schedule ")]
    assert len(heads) > 1
    assert " ".join(" ".join(line.split()[1:]) for line in heads) == " ".join(wide[0].split()[1:])


def test_names_that_are_the_same_when_cut_are_numbered_and_stand_beneath():
    names = [
        "constant() * constant() * constant() * linear(to=0)",
        "constant() * constant() * constant() * linear(to=0.5)",
    ]
    lines = compare_table(compare_histories([candidate(name, 0.1 + number) for number, name in enumerate(names)]), 60)
    assert lines[1].startswith("1 ")
    assert f"schedule 2: {names[1]}" in lines


def test_curves_have_means_with_bands_and_rates_as_they_were_used():
    found = made()
    curves = {each.name: each for each in curves_of(found)}
    assert list(curves) == [each.name for each in found.standings]
    assert [curves[name].number for name in LINE_UP] == [0, 1, 2, 3]
    runs = found.candidates["StepLR"].runs.values()
    band = curves["StepLR"].bands["loss"]
    np.testing.assert_allclose(band.mean, np.mean([[e.test_loss for e in run.epochs] for run in runs], axis=0))
    last = found.by_name["StepLR"].final["loss"]
    assert (band.low[-1], band.high[-1], band.n) == pytest.approx((last.low, last.high, last.n))
    assert band.steps[-1] == 120
    assert set(curves["StepLR"].bands) == {"loss", "accuracy"}
    assert len(curves["StepLR"].rates) == 1
    assert len(curves["plateau"].rates) == 2  # as the metrics steered it
    [rates] = curves["constant()"].rates
    assert (rates.steps[-1], rates.epochs[-1], set(rates.values)) == (120, 6, {0.1})


def test_a_band_ends_where_the_first_run_diverged():
    [found] = [each for each in curves_of(made(diverged=["StepLR"])) if each.name == "StepLR"]
    assert found.bands["loss"].epochs.tolist() == [1, 2, 3]
    assert found.diverged == 4


@pytest.mark.parametrize(
    ("seeds", "diverged", "measure"),
    [(1, [], "loss"), (3, ["linear(to=0)"], "accuracy"), (3, ["linear(to=0)", "StepLR", "plateau"], "loss")],
)
def test_any_comparison_can_be_drawn(tmp_path, seeds, diverged, measure):
    found = made(seeds=seeds, diverged=diverged, measure=measure)
    figure = compare_figure(found, "a title that is long " * 20)
    figure.savefig(tmp_path / "x.png")
    measured, forest, _, _ = figure.axes
    assert figure.get_suptitle().replace("\n", " ") == ("a title that is long " * 20).strip()
    assert measured.get_ylabel().startswith(f"test {measure}")
    assert [label.get_text() for label in forest.get_yticklabels()] == [each.name for each in found.standings]


def test_a_schedule_has_one_colour_in_all_panels_and_dashes_of_its_own():
    figure = compare_figure(made(), "")
    measured, forest, *_ = figure.axes
    lines = {line.get_label(): line.get_color() for line in measured.get_lines()}
    labels = {label.get_text(): label.get_color() for label in forest.get_yticklabels()}
    assert lines == labels
    assert len(set(labels.values())) == len(LINE_UP)
    assert len({repr(line._dash_pattern) for line in measured.get_lines()}) == len(LINE_UP)


def test_bands_are_inside_the_axes_but_those_that_would_flatten_the_means_are_pointed_at():
    axes = compare_figure(made(), "").axes[0]
    bottom, top = axes.get_ylim()
    bands = [each.bands["loss"] for each in curves_of(made())]
    assert bottom < min(band.low.min() for band in bands)
    assert top > max(band.high.max() for band in bands)
    assert "beyond" not in axes.get_title(loc="left")
    runs = {seed: history("constant()", 0.1, seed, final) for seed, final in ((1, 0.1), (2, 3.0))}
    found = compare_histories([Candidate("apart", "constant()", 0.1, runs), candidate("linear(to=0)", 0.1, seeds=runs)])
    axes = compare_figure(found, "").axes[0]
    [wide] = [each.bands["loss"] for each in curves_of(found) if each.name == "apart"]
    assert wide.mean.max() < axes.get_ylim()[1] < wide.high.max() / 2
    assert "beyond the edge" in axes.get_title(loc="left")
    assert {"^", "v"} <= {line.get_marker() for line in axes.get_lines()}


def test_one_schedule_without_a_search_has_no_differences_to_draw():
    alone = compare_histories([candidate("constant()", 0.1)])
    assert len(compare_figure(alone, "").axes) == 3
    assert "difference" not in compare_table(alone)[0]


# --- what a person can get wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--schedules", "tutorail"], "unknown line-up 'tutorail', did you mean 'tutorial'? Known: modern, tutorial"),
        (["--schedule", "linear()", "--schedule", "linear( )"], "'linear(to=0)' twice"),
        (["--schedule", "constant"], "--schedule 'constant' is no schedule, did you mean 'constant()'?"),
        (["--schedule", "tutorial"], "--schedule tutorial is no schedule but a line-up: give --schedules tutorial"),
        (["--schedule", "?"], "--schedule '?' is no schedule; lrkit schedules lists them"),
        (["--schedule", "warmup(90%) >> linear(20%)"], "9 + 2 = 11"),
        (["--lr", "fast"], "--lr must be numbers with commas between them"),
        (["--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--selection-seeds", "0"], "--selection-seeds must be at least 1, not 0"),
        (["--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["--epochs", "1", "--steps", "1"], "a length is either --epochs or --steps, not both"),
        (["--mode", "low"], "unknown mode 'low'"),
        (["--measure", "acuracy"], "acuracy"),
        (["--reference", "cosine()"], "unknown reference 'cosine()'"),
        (["--holdout", "1"], "--holdout must be above 0 and below 1, not 1"),
        (["--backend", "sequentail"], "unknown backend 'sequentail', did you mean 'sequential'?"),
        (["--memory", "plenty"], "memory"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--device", "tpu9"], "device must be one that works here"),
        (["--out", "full"], "full"),
    ],
)
def test_a_mistake_gets_one_line_before_anything_is_trained(lrkit, task, tmp_path, arguments, sentence):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    schedules = [] if "--schedule" in arguments or "--schedules" in arguments else ["--schedule", "constant()"]
    status, out, err = lrkit("compare", task, *schedules, *arguments, "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert not list((tmp_path / "runs").glob("*"))


def test_when_no_schedule_comes_to_its_end_the_status_is_that_of_a_run_that_diverged(lrkit, task):
    arguments = [f"{task}:regression", "--schedule", "constant()", "--lr", "1e30,1e31", "--backend", "eager"]
    status, out, err = lrkit("compare", *arguments, "--quiet")
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("lrkit: ")
    assert "error" not in err


# --- going on -------------------------------------------------------------------------------------------


def interrupt(arguments, folder):
    """Start a comparison, stop it when two lanes have ended; what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lrkit", "compare", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    seen = (line for line in process.stdout if "so far" in line)
    assert next(seen)
    assert next(seen)
    assert time.monotonic() - began < 60
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    return err


def test_the_command_that_an_interruption_names_ends_as_if_there_had_been_none(lrkit, task, tmp_path):
    arguments = [task, "--schedule", "constant()", "--schedule", "linear(to=0)", "--lr", "0.1,0.2,0.5,1"]
    arguments += ["--backend", "sequential", "--epochs", "25", "--seeds", "2", "--selection-seeds", "1", "--no-halving"]
    err = interrupt([*arguments, "--out", "here"], tmp_path)
    command = err.partition("interrupted: what was done is in here; to go on: lrkit ")[2].splitlines()[0]
    assert command
    status, out, err = lrkit(*shlex.split(command))
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "goes on with the comparison in here"
    assert re.search(r"goes on after \d+ of \d+ lane-steps", out)
    resumed = json.loads((tmp_path / "here" / "comparison.json").read_text())
    assert resumed["schedules"] == unlike_seconds(compare_json(lrkit, *arguments)["schedules"], resumed["schedules"])


def unlike_seconds(schedules, others):
    """The schedules, with the times of others."""
    for each, other in zip(schedules, others, strict=True):
        each["reached"]["seconds"] = other["reached"]["seconds"]
    return schedules


def test_what_is_there_is_shown_again_and_extended(lrkit, task):
    first = compare_json(lrkit, task, *FEW, "--out", "here")
    again = compare_json(lrkit, task, *FEW, "--out", "here")
    assert (again["schedules"], again["verdict"]) == (first["schedules"], first["verdict"])
    status, out, _ = lrkit("compare", task, "--backend", "eager", "--seeds", 3, "--out", "here")
    assert status == 0
    assert "(4 runs are there already)" in out
    more = compare_json(lrkit, task, "--schedule", "cosine(to=0)", "--backend", "eager", "--out", "here")
    assert {each["name"]: each["n_seeds"] for each in more["schedules"]} == {
        "constant()": 3,
        "linear(to=0)": 3,
        "cosine(to=0)": 3,
    }
    assert {rate["lr"] for each in more["schedules"] for rate in each["tried"]} == {0.1, 1.0}


def test_the_command_makes_an_extended_comparison_anew(lrkit, task, tmp_path):
    few = ["--lr", "0.3", "--seeds", 1, "--selection-seeds", 1, "--backend", "eager"]
    compare_json(lrkit, task, "--epochs", 3, *few, "--schedules", "tutorial", "--holdout", 0.25, "--out", "here")
    extension = ["--schedule", "linear(to=0)", "--lr", "0.1", "--reference", "StepLR", "--target", 0.5]
    found = compare_json(lrkit, task, "--epochs", 3, *extension, "--seeds", 2, "--backend", "eager", "--out", "here")
    shutil.rmtree(tmp_path / "here")
    anew = compare_json(lrkit, *shlex.split(found["command"])[2:])
    assert (anew["command"], anew["reference"], anew["target"]) == (found["command"], "StepLR", 0.5)
    assert anew["made"]["holdout"] == 0.25
    told = [{each["name"]: (each["best_lr"], each["valid_loss"]) for each in one["schedules"]} for one in (found, anew)]
    assert told[0] == told[1]


def test_the_measure_is_that_of_the_comparison_in_the_folder(lrkit, task):
    compare_json(lrkit, task, *FEW, "--measure", "accuracy", "--out", "here")
    again = compare_json(lrkit, task, "--backend", "eager", "--out", "here")
    assert again["measure"]["name"] == "accuracy"


def test_a_comparison_is_replaced_where_that_is_asked_for(lrkit, task, tmp_path):
    lrkit("compare", task, *FEW, "--out", "here", "--quiet")
    anew = ["--schedule", "cosine(to=0)", "--lr", "0.3", "--seeds", 1, "--backend", "eager", "--overwrite"]
    assert lrkit("compare", task, *anew, "--reference", "sine", "--out", "here")[0] == 2
    assert (tmp_path / "here" / "final-000").exists()
    found = compare_json(lrkit, task, *anew, "--epochs", 1, "--out", "here")
    assert [each["name"] for each in found["schedules"]] == ["cosine(to=0)"]
    assert found["made"]["epochs"] == 1
    assert "--overwrite" not in found["command"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "final-thesis.txt").write_text("precious")
    status, _, err = lrkit("compare", task, *anew, "--out", "mine")
    assert (status, "isn't empty" in err) == (2, True)


def test_a_folder_that_can_not_go_on_is_not_said_to(lrkit, task, tmp_path):
    lrkit("compare", task, *FEW, "--out", "here", "--quiet")
    status, out, err = lrkit("compare", task, *FEW, "--holdout", 0.4, "--out", "here")
    assert (status, out) == (2, "")
    assert "so it can't go on with 0.4" in err
    (tmp_path / "here" / "config.json").write_text("{")
    status, out, err = lrkit("compare", task, *FEW, "--out", "here")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_an_interruption_before_training_began_leaves_nothing(lrkit, tmp_path):
    broken = TASK.replace("model=lambda: torch.nn.Linear(3, 2)", "model=interrupted")
    (tmp_path / "early.py").write_text("def interrupted():\n    raise KeyboardInterrupt\n" + broken)
    status, out, err = lrkit("compare", "early.py", "--out", "here", "--quiet")
    assert (status, out) == (130, "")
    assert err == "lrkit: interrupted before training began; nothing was kept\n"
    assert not (tmp_path / "here").exists()


def test_an_error_in_the_middle_says_how_to_go_on(lrkit, tmp_path):
    failing = "def failing(outputs, targets):\n    raise ValueError('no more')\n"
    (tmp_path / "bad.py").write_text(failing + TASK.replace('"accuracy": lrkit.accuracy', '"accuracy": failing'))
    status, _, err = lrkit("compare", "bad.py", *FEW, "--out", "here", "--quiet")
    assert status == 2
    assert err.startswith("lrkit: what was done is in here; to go on: lrkit compare bad.py ")
    assert "no more" in err


def test_a_picture_that_can_not_be_written_costs_only_the_picture(lrkit, task, tmp_path):
    lrkit("compare", task, *FEW, "--out", "here", "--quiet")
    (tmp_path / "here" / "comparison.png").unlink()
    (tmp_path / "here" / "comparison.png").mkdir()
    status, out, err = lrkit("compare", task, *FEW, "--out", "here")
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("lrkit: the picture here/comparison.png can't be written: ")
    assert out.splitlines()[-1] == "folder here, report here/report.html"


def accuracies(names, epochs, seeds):
    runs = [
        Candidate(text, text, 0.1, {seed: history(text, 0.1, seed, 0.1, epochs=epochs, noise=0.1) for seed in seeds})
        for text in names
    ]
    return compare_histories(runs, measure="accuracy")


def test_a_single_epoch_has_error_bars_for_its_intervals():
    axes = compare_figure(accuracies(["constant()", "linear(to=0)"], 1, range(2)), "").axes[0]
    assert len(axes.containers) == 2
    bottom, top = axes.get_ylim()
    for bar in axes.containers:
        [low, high] = bar.lines[2][0].get_segments()[0][:, 1]
        assert bottom < low < high < top


def test_many_names_stand_beneath_the_curves_and_ticks_are_whole_epochs():
    names = ["constant()", "linear(to=0)", "cosine(to=0)", "warmup(2) >> linear(to=0)", "warmup(3) >> cosine(to=0)"]
    figure = compare_figure(accuracies(names, 4, range(3)), "")
    figure.canvas.draw()
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_legend().get_window_extent().y1 < above.get_window_extent().y0
    assert list(above.get_xticks()) == list(below.get_xticks())
    assert all(tick == int(tick) for tick in above.get_xticks())


def test_intervals_of_accuracies_are_shown_up_to_100_percent():
    found = accuracies(["constant()", "linear(to=0)"], 4, range(2))
    assert max(each.final["accuracy"].high for each in found.standings) > 1
    assert max(each.bands["accuracy"].high.max() for each in curves_of(found)) == 1
    said = say_values("accuracy", [each.final["accuracy"] for each in found.standings])
    assert max(float(each.high) for each in said) == 100

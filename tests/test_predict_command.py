"""`lrkit predict`: a table, a verdict, a picture, one JSON object, from records of a few runs."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from lrkit import LossCurve, predict
from lrkit.analysis.laws.catalogue import LAWS
from lrkit.output.cli import main
from lrkit.output.cli_prediction import LAW_NAMES
from lrkit.output.predict_plot import predict_figure
from lrkit.output.predict_proposals import propose
from lrkit.output.predict_runs import RunOptions, read_runs
from lrkit.output.predict_table import predict_table
from prediction_cases import PEAK, RUNS, STEPS, curve, law_with_worlds, rates, true_law, write_runs

ASKED = ["warmup(5) >> linear(to=0.1)", "warmup(5) >> constant() >> linear(20%, to=0.1)", "constant()"]
LONG = "warmup(5) >> constant(1, steps=30) >> staircase(20, every=5, factor=0.7) >> linear(to=absolute(0.005))"


def run(*arguments):
    """Status, output and errors of the command line; for what several tests look at."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main(list(map(str, arguments)))
    return stopped.value.code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def asked(runs):
    """What the command says as JSON, and its picture."""
    picture = runs[0].with_name("picture.png")
    options = [part for text in ASKED for part in ("--schedule", text)]
    status, out, err = run("predict", *runs, *options, "--warmup", 5, "--level", 0.9, "--json", "--out", picture)
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} in JSON")), picture


@pytest.fixture(scope="module")
def prediction():
    law = replace(law_with_worlds(), errors={"constant": 0.00123}, chosen=("Chosen by name.",))
    return predict(law, propose([*ASKED, LONG], STEPS, PEAK))


@pytest.fixture(scope="module")
def planned(runs):
    """What the command says when it is asked what to do."""
    options = ["--warmup", 5, "--law", "multi_power", "--optimize", "--cooldown", 40, "--schedule", ASKED[0]]
    status, out, err = run("predict", *runs, *options, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


# --- what to do ---------------------------------------------------------------------------------------


def test_the_best_schedule_is_ranked_with_those_that_were_asked_about(planned):
    best, first = planned["best_schedule"], planned["candidates"][0]
    names = {each["name"] for each in planned["candidates"]}
    assert names == {ASKED[0], "the best schedule", best["nearest"]["schedule"]}
    assert first["final_loss"] == pytest.approx(best["final_loss"], rel=2e-4)
    assert (best["steps"], best["peak"]) == (STEPS, PEAK)


def test_more_steps_and_a_cooldown_from_here_are_told(planned):
    assert [each["steps"] for each in planned["more_steps"]] == [40, 80, 120, 160, 240, 320]
    losses = [each["final_loss"] for each in planned["more_steps"]]
    assert losses == sorted(losses, reverse=True)
    assert (planned["cooldown"]["extra"], planned["cooldown"]["steps"]) == (40, planned["curves"][0]["steps"])
    assert all(each["held"] + each["length"] == 40 for each in planned["cooldown"]["rows"])


def test_the_best_schedule_is_printed_ready_for_training(runs):
    status, out, _ = run("predict", *runs, "--warmup", 5, "--law", "annealing", "--optimize", "--cooldown", 0)
    assert status == 0
    assert f"best rates for {STEPS} steps, peak {PEAK}" in out
    [text] = re.findall(r'to train with it: --schedule "(.*)" --lr 0.1 --steps 80', out)
    assert propose([text], STEPS, PEAK)
    assert "cooling down to 0 from 0.1 after" in out


# --- one JSON object ----------------------------------------------------------------------------------


def test_json_has_the_law_and_each_schedule_with_its_interval_the_best_first(asked):
    found, picture = asked
    assert set(found["parameters"]) >= {"L0"}
    assert {"law", "formula", "source", "chosen", "free", "advice", "errors", "odds", "verdict"} <= set(found)
    assert (found["level"], found["picture"]) == (0.9, str(picture))
    assert [each["name"] for each in found["curves"]] == list(RUNS)
    assert max(each["peak"] for each in found["curves"]) == PEAK
    assert {each["name"] for each in found["candidates"]} == set(ASKED)
    losses = [each["final_loss"] for each in found["candidates"]]
    assert losses == sorted(losses)
    for each in found["candidates"]:
        low, high = each["interval"]
        assert low <= each["final_loss"] <= high
        assert (each["schedule"], each["steps"], each["peak"]) == (each["name"], STEPS, pytest.approx(PEAK))
    assert found["verdict"][0].startswith(f"{found['candidates'][0]['name']} is predicted to end lowest, at ")
    [last] = [each for each in found["candidates"] if each["name"] == "constant()"]
    assert last["beyond"] == ["It has no warmup; all runs that were fitted have one."]


def test_the_losses_are_those_of_the_law_that_made_the_runs(asked):
    found, _ = asked
    truth = true_law()
    for each, made in ((each, propose([each["name"]], STEPS, PEAK)[0]) for each in found["candidates"]):
        assert each["final_loss"] == pytest.approx(truth.predict(made.learning_rates, [STEPS])[0], rel=0.01)


def test_the_picture_is_written(asked):
    _, picture = asked
    pixels = matplotlib.image.imread(picture)
    assert min(pixels.shape[:2]) > 500
    assert pixels[..., :3].std() > 0.05  # no white page


# --- what is printed ----------------------------------------------------------------------------------


def test_the_fit_alone_is_shown_without_schedules_also_of_rates_that_were_not_recorded(lrkit, tmp_path):
    made = curve(RUNS["falling"])
    rows = [f"{step},{loss}" for step, loss in zip(made.steps.tolist(), made.losses.tolist(), strict=True)]
    (tmp_path / "bare.csv").write_text("\n".join(["step,loss", *rows]) + "\n")
    status, _, err = lrkit("predict", "bare.csv")
    assert (status, err.count("\n")) == (2, 1)
    options = ["--run-schedule", RUNS["falling"], "--run-lr", PEAK, "--law", "multi_power"]
    status, out, err = lrkit("predict", "bare.csv", *options)
    assert (status, err) == (0, "")
    assert "law multi_power: L0 + " in out
    assert re.search(r"^fitted: L0 = \d", out, re.MULTILINE)
    assert re.search(rf"^bare +16 +{STEPS} +0\.1\b", out, re.MULTILINE)
    assert "predicted" not in out


def test_the_table_has_a_row_for_each_schedule_and_long_texts_go_on_beneath(prediction):
    lines = predict_table(prediction)
    assert max(map(len, lines)) <= 100
    heads = re.split(r"\s{2,}", lines[0].strip())
    assert heads == ["schedule", "steps", "final loss", "95 % interval", "best beats it"]
    rows = [line for line in lines if re.match(r"\d  ", line)]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4]
    for row, each in zip(rows, prediction.forecasts, strict=True):
        assert f"{each.final_loss:.3f}" in row
        assert f"{each.low:.3f} to {each.high:.3f}" in row
        assert ("[1]" in row) == (each.name == "constant()")
    assert "%" not in rows[0]
    assert all(re.search(r"\d %", row) for row in rows[1:])
    assert "[1] It has no warmup; all runs that were fitted have one." in lines
    table = " ".join(" ".join(lines[: lines.index("")]).split())
    assert all(part in table for part in LONG.split(" >> "))


def test_the_verdict_and_the_fit_stand_beneath_the_table(prediction):
    lines = predict_table(prediction)
    blank = lines.index("")
    text = " ".join(lines[blank + 1 :])
    assert text.startswith(" ".join(prediction.verdict))
    assert "Chosen by name." in lines
    assert re.search(r"run +points +steps +peak +fit error", text)
    assert re.search(r"constant +16 +80 +0\.1 +0\.12 %", text)


def test_what_was_done_to_several_runs_is_said_once(prediction):
    first, second, third = prediction.law.curves
    notes = ["5 points are left out.", "Rates were held."]
    curves = (replace(first, notes=tuple(notes)), replace(second, notes=(notes[0],)), third)
    lines = predict_table(predict(replace(prediction.law, curves=curves), []))
    assert lines[-2:] == ["note: constant, falling: 5 points are left out.", "note: constant: Rates were held."]


def test_a_narrow_terminal_still_shows_all(prediction):
    wide, narrow = (" ".join(" ".join(predict_table(prediction, width)).split()) for width in (100, 70))
    assert sorted(re.findall(r"\d\.\d{3}", wide)) == sorted(re.findall(r"\d\.\d{3}", narrow))


def test_every_law_stands_in_the_help_and_in_the_documentation():
    assert set(LAW_NAMES) == set(LAWS)
    table = (Path(__file__).parents[1] / "docs" / "predict.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (L0 .*) \|$", table, re.MULTILINE))
    assert set(rows) == set(LAWS)
    papers = {name: re.findall(r"arXiv (\d+\.\d+)", law.source) for name, law in LAWS.items()}
    assert all(paper in rows[name] or "the same" in rows[name] for name, found in papers.items() for paper in found)


# --- the picture --------------------------------------------------------------------------------------


def test_the_picture_has_a_line_for_each_run_and_each_schedule(prediction):
    above, below = predict_figure(prediction).axes
    labels = [text.get_text() for text in above.figure.legends[0].get_texts()]
    assert labels[:3] == [f"fitted: {name}" for name in RUNS]
    for label, each in zip(labels[3:], prediction.forecasts, strict=True):
        whole = f"predicted: {each.name}"
        assert label == (whole if len(whole) <= 90 else f"{whole[:89]}…")
    dashed = [line for line in below.get_lines() if line.get_linestyle() != "-"]
    assert (len(below.get_lines()), len(dashed)) == (7, 4)
    assert len({line.get_color() for line in below.get_lines()}) == 7


def test_the_first_losses_dont_squash_what_comes_after(prediction):
    above, _ = predict_figure(prediction).axes
    bottom, top = above.get_ylim()
    losses = np.concatenate([each.losses for each in prediction.law.curves])
    assert bottom < losses.min()
    assert top < losses.max()
    for each in prediction.forecasts:
        assert bottom < each.low < each.high < top


def test_what_was_measured_after_all_can_be_drawn_with_it(prediction):
    name = prediction.forecasts[0].name
    figure = predict_figure(prediction, truth={name: curve(name)})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-1].startswith("measured when it was run")


def test_one_curve_alone_and_thousands_of_points_are_drawn(tmp_path):
    steps = np.arange(1, 5001)
    noisy = LossCurve(steps, 2 + 1 / np.sqrt(steps), np.full(5000, PEAK), name="long")
    above, _ = predict_figure(predict(true_law([noisy]), [])).axes
    points = [line for line in above.get_lines() if line.get_marker() == "."]
    assert [len(line.get_xdata()) <= 400 for line in points] == [True]


# --- the runs -----------------------------------------------------------------------------------------


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_runs(tmp_path / folder)[0])
    assert [each.name for each in read_runs(RunOptions(paths=paths))] == list(map(str, paths))
    assert [each.name for each in read_runs(RunOptions(paths=paths[:1]))] == ["constant"]


def test_each_run_may_have_a_schedule_of_its_own(tmp_path):
    paths = []
    for name in ("constant", "falling"):
        rows = "".join(f"{step},{loss}\n" for step, loss in zip(range(5, 81, 5), np.linspace(3, 2, 16), strict=True))
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text("step,loss\n" + rows)
    texts = [RUNS["constant"], RUNS["falling"]]
    found = read_runs(RunOptions(paths=paths, schedules=texts, rates=[PEAK], lengths=[STEPS]))
    for each, text in zip(found, texts, strict=True):
        np.testing.assert_allclose(each.learning_rates, rates(text))


# --- wrong input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--schedule", "plateau(patience=3)"],
            "--schedule must be known before it is trained: what 'plateau(patience=3)'",
        ),
        (
            ["--schedule", "warmup(2ep) >> constant()"],
            "the length 2ep is in epochs; say --epoch-steps, how many updates an epoch has",
        ),
        (["--schedule", "warmup(2Mtok) >> constant()"], "the length 2Mtok must be in steps or percent: how much"),
        (["--schedule", "warmup(90) >> linear(90, to=0)"], "needs 90 + 90 = 180 steps, but the horizon is 80"),
        (["--schedule", "momentum: constant(0.9)"], "--schedule must have one for the learning rate, not 'momentum"),
        (
            ["--schedule", "constant(0)"],
            "--schedule must have rates from 0 on, and one above 0: those of 'constant(0)'",
        ),
        (["--schedule", "constant()", "--steps", "0"], "--steps must be from 1 to 20000000, not 0"),
        (["--schedule", "constant()", "--peak", "-1"], "--peak must be finite and above 0, not -1.0"),
        (["--law", "multi_powr"], "unknown law 'multi_powr', did you mean 'multi_power'? Known: "),
        (["--measure", "train"], "unknown measure 'train', did you mean 'training'? Known: test, training, validation"),
        (["--measure", "test"], "has no test loss"),
        (["--level", "95"], "--level must be finite and above 0 and below 1, not 95.0"),
        (["--seed", "-1"], "--seed must be at least 0, not -1"),
        (["--warmup", "-5"], "--warmup must be at least 0, not -5"),
        (["--out", "picture.jpg"], "--out must end in .png, .svg, .pdf, not 'picture.jpg'"),
        (["--out", "nowhere/picture.png"], "--out must be in a folder that exists, not 'nowhere/picture.png'"),
        (["--lr", "0.1"], "--lr must be the rate's name in records, not 0.1; the base of --schedule is --peak"),
        (["--run-lr", "0.1"], "--run-lr belongs to --run-schedule, which is missing"),
        (["--run-schedule", "constant()"], "--run-schedule needs its base, --run-lr"),
        (["--run-schedule", "constant()", "--run-schedule", "cosine()"], "once for all runs or once for each: 2 for 3"),
        (["--skip", "-1"], "--skip must be at least 0, not -1"),
        (["--cooldown", "-1"], "--cooldown must be at least 0, not -1"),
        (["--cooldown", "20000001"], "--cooldown must be at most 20000000, not 20000001"),
        (["--optimize", "--steps", "5"], "--steps must be at least 20, not 5"),
        (
            ["--law", "power", "--optimize"],
            "--law must be one that knows of rates for --optimize and --cooldown, not power",
        ),
        (["--run-schedule", "plateau()", "--run-lr", "0.1"], "--run-schedule must be one of the rate alone"),
        (["--run-steps", "5"], "--run-steps belongs to --run-schedule, which is missing"),
        (["--law", "exponential", "--cooldown", "0"], "--law must be one that knows of rates for --optimize and"),
        (["--between", "cubic"], "error: --between must be 'linear' or 'hold', not 'cubic'"),
        (["--first-step", "2"], "error: --first-step must be 0 or 1, not 2"),
        (["--epoch-steps", "0"], "error: --epoch-steps must be at least 1, not 0"),
        (["--lr", "rate"], "error: --lr must be something that "),
        (["--lr", "lr", "--lr", "lr"], "error: --lr must name at least one rate, and each once"),
        (["--loss", "nll"], "error: --loss must be something that "),
        (["--step", "count"], "error: --step must be a column of "),
        (["--warmup", "5000"], "error: --warmup must be below 80, the updates that constant recorded, not 5000"),
        (["--run-schedule", "constant()", "--run-lr", "0"], "error: --run-lr must be finite and above 0, not 0.0"),
        (["--run-schedule", "constant()", "--run-lr", "nan"], "error: --run-lr must be finite and above 0, not nan"),
        (
            ["--run-schedule", "warmup(1ep) >> constant()", "--run-lr", "0.1"],
            "error: the length 1ep is in epochs; say --epoch-steps, how many updates an epoch has (for the rates of",
        ),
        (
            ["--run-schedule", "warmup(1ktok)", "--run-lr", "0.1"],
            "error: the length 1ktok must be in steps or percent: how much an update consumes isn't known (for the",
        ),
        (
            ["--run-schedule", "constant()", "--run-lr", "0.1", "--run-steps", "50"],
            "error: --run-steps must be at least 80, the updates that constant recorded, not 50",
        ),
        (
            ["--run-schedule", "constant()", "--run-lr", "0.1", "--run-steps", "0"],
            "--run-steps must be at least 1, not",
        ),
        (["missing.csv"], "missing.csv"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(lrkit, runs, arguments, sentence):
    status, out, err = lrkit("predict", *runs, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_an_interruption_is_told_in_one_line(lrkit, runs, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lrkit.analysis.laws.problem.least_squares", stop)
    assert lrkit("predict", *runs) == (130, "", "lrkit: interrupted: nothing is kept of a fit that hasn't ended\n")


def test_a_cooldown_from_a_rate_that_has_fallen_says_so(lrkit, runs):
    status, out, _ = lrkit("predict", runs[1], runs[0], "--warmup", 5, "--law", "annealing", "--cooldown", 10)
    assert status == 0
    assert re.search(r"cooling down to 0 from 0\.01\d*, to which the rate has fallen from 0\.\d+, after \d+", out)


def test_a_cooldown_from_rate_0_is_refused_before_the_fit(lrkit, runs, tmp_path, monkeypatch):
    def fit(*_, **__):
        raise AssertionError("it was fitted")

    monkeypatch.setattr("lrkit.output.predict_command.fit_law", fit)
    rows = runs[0].read_text().splitlines()
    step, _, loss = rows[-1].split(",")
    (tmp_path / "ended.csv").write_text("\n".join([*rows[:-1], f"{step},0.0,{loss}"]) + "\n")
    assert lrkit("predict", tmp_path / "ended.csv", *runs[1:], "--warmup", 5, "--cooldown", 40) == (
        2,
        "",
        "lrkit: error: --cooldown must be for a first run whose rate ends above 0: that of ended ends at 0\n",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("warmpu(3)", "unknown kind 'warmpu', did you mean 'warmup'?"),
        ("warmup(0)", "lrkit: error: steps must be positive, not 0"),  # those of the warmup
    ],
)
def test_a_schedule_of_the_runs_that_cant_be_read_is_shown_with_its_place(text, sentence, lrkit, runs):
    status, out, err = lrkit("predict", *runs, "--run-schedule", text, "--run-lr", 0.1)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.endswith(f"\n  {text}\n  ^\n")


def test_a_schedule_may_be_longer_than_any_memory(runs):
    [run] = read_runs(RunOptions(paths=runs[:1], schedules=["linear(to=0)"], rates=[PEAK], lengths=[10**15]))
    np.testing.assert_allclose(run.learning_rates, PEAK)


def test_notes_name_options(tmp_path):
    rows = "".join(f"{step},0.1,{loss}\n" for step, loss in zip(range(5, 81, 5), np.linspace(3, 2, 16), strict=True))
    (tmp_path / "run.csv").write_text("step,lr,loss\n" + rows)
    [plain] = read_runs(RunOptions(paths=[tmp_path / "run.csv"]))
    assert any(note.endswith("; say --warmup, for how many updates, if it rose there.") for note in plain.notes)
    [computed] = read_runs(RunOptions(paths=[tmp_path / "run.csv"], schedules=["linear(to=0)"], rates=[0.1]))
    assert any(note.endswith("; say --run-steps where it had more.") for note in computed.notes)


def test_a_folder_is_no_picture(lrkit, runs, tmp_path):
    (tmp_path / "picture.png").mkdir()
    status, out, err = lrkit("predict", *runs, "--out", tmp_path / "picture.png")
    assert (status, out) == (2, "")
    assert "is a folder" in err


def test_a_record_without_rates_says_which_options_give_them(lrkit, tmp_path):
    (tmp_path / "bare.csv").write_text("step,loss\n" + "".join(f"{step},{2 + 1 / step}\n" for step in range(1, 20)))
    status, _, err = lrkit("predict", tmp_path / "bare.csv")
    assert status == 2
    assert "pass --run-schedule and --run-lr (or --lr NAME) (columns: loss)" in err


def test_without_runs_there_is_nothing_to_predict_from(lrkit):
    status, _, err = lrkit("predict")
    assert status == 2
    assert "Missing argument 'RUN...'" in err

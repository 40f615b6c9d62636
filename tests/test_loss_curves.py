"""Recorded runs as the curves that laws are fitted to: which losses, which rates, and what is said of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import lrkit
import record_cases
from lrkit import InputError, InputTypeError
from lrkit.analysis.laws.fitting import fit_law
from lrkit.analysis.laws.recorded_curves import read_curve

PUBLISHED = Path(__file__).parents[1] / "benchmarks/data/loss_curves/llm_25M"


def history(losses, rates, epochs=(), **made):
    losses = np.array(losses, dtype=np.float32)
    rates = np.array(rates, dtype=np.float64)
    rates = rates[:, None] if rates.ndim == 1 else rates
    return lrkit.History(tuple(epochs), rates, losses, made)


def falling(count):
    return 1 + np.arange(1, count + 1) ** -0.5


def epoch(number, step, valid_loss=None, test_loss=None):
    return lrkit.EpochRecord(number, step, 1.0, valid_loss, {}, lr=0.1, seconds=0.0, test_loss=test_loss)


def write(path, rows, names="step,lr,loss"):
    path.write_text("\n".join([names, *(",".join(map(repr, row)) for row in rows)]) + "\n")
    return path


# --- the published curves ----------------------------------------------------------------------------


def published_rates(name, updates):
    """As their README says them."""
    t, kind, last = np.arange(updates), name.split("_")[0], int(name.split("_")[-1])
    if kind == "constant":
        later = np.full(updates, 3e-4)
    elif kind == "cosine":
        later = 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * (t - 2160) / (last - 2160))) / 2
    elif kind == "wsdcon":
        later = np.where(t < 8000, 3e-4, last * 1e-5)
    else:
        part = (t - 20000) / 4000
        later = np.where(t < 20000, 3e-4, 3e-4 * 0.1**part if kind == "wsd" else 3e-4 - 2.7e-4 * part)
    return np.where(t < 2160, 3e-4 * t / 2160, later)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("constant_24000", 1e-12),
        ("wsdcon_3", 1e-12),
        ("wsdcon_9", 1e-12),
        ("wsdcon_18", 1e-12),
        ("cosine_24000", 1e-8),  # a line between rows 128 apart
        ("cosine_72000", 1e-9),
        ("wsd_20000_24000", 8e-6),  # of that, the corner at 20000 lies between two rows
        ("wsdld_20000_24000", 4e-6),
    ],
)
def test_the_rates_of_every_step_of_a_published_curve(name, bound):
    curve = read_curve(PUBLISHED / f"{name}.csv", reading={"first_step": 0}, warmup=2160)
    rows = np.loadtxt(PUBLISHED / f"{name}.csv", delimiter=",", skiprows=1)
    assert curve.steps.tolist() == rows[:, 0].astype(int).tolist()
    np.testing.assert_allclose(curve.losses, rows[:, 2], rtol=1e-7)
    assert len(curve.learning_rates) == rows[-1, 0] + 1
    assert np.abs(curve.learning_rates - published_rates(name, len(curve.learning_rates))).max() < bound
    assert (curve.name, curve.warmup) == (name, 2160)
    assert "rise evenly from 0 to 0.0003 over 2160 updates" in curve.notes[0]


def test_a_jump_between_two_rows_is_none_that_a_line_goes_through():
    file = PUBLISHED / "wsdcon_9.csv"
    line, held = (lrkit.read_history(file, first_step=0, between=each) for each in ("linear", "hold"))
    true = published_rates("wsdcon_9", len(line.lr))
    assert np.abs(line.lr - true)[2160:].max() > 2e-4
    assert np.abs(held.lr - true)[2160:].max() < 1e-12
    for each in (line, held):
        curve = lrkit.loss_curve(each, warmup=2160)
        assert np.abs(curve.learning_rates - true).max() < 1e-12
    notes = lrkit.loss_curve(line, warmup=2160).notes
    assert "between the rows at step 7936 and 8000 the rate jumps from 0.0003 to 9e-05" in notes[1].lower()


def test_a_first_rate_that_nobody_knows_is_held_and_a_note_says_what_to_say():
    read = lrkit.read_history(PUBLISHED / "constant_24000.csv", first_step=0)
    curve = lrkit.loss_curve(read)
    assert set(curve.learning_rates) == {3e-4}
    assert curve.notes == (
        "No rate was recorded before step 2176: that of step 2176, 0.0003, is held; say warmup=, for how many updates, "
        "if it rose there.",
    )
    assert "say warmup=" not in " ".join(lrkit.loss_curve(read, warmup=0).notes)


def test_a_warmup_that_rows_from_step_1_on_hide_is_asked_for(tmp_path):
    schedule = (lrkit.warmup(500) >> lrkit.cosine(to=0.1)).over(10_000)
    rows = [(done, float(schedule(done - 1, 3e-4)), 1 + 10 / done) for done in range(500, 10_001, 500)]
    read = lrkit.read_history(write(tmp_path / "run.csv", rows))
    curve = lrkit.loss_curve(read)
    assert curve.learning_rates[:3].tolist() == [3e-4] * 3
    assert (
        "No rate was recorded before step 499: that of step 499, 0.0003, is held; say warmup=, for how many updates, "
        "if it rose there."
    ) in curve.notes
    said = lrkit.loss_curve(read, warmup=500)
    np.testing.assert_allclose(said.learning_rates[:500], 3e-4 * np.arange(500) / 500, rtol=3e-3)
    assert "say warmup=" not in " ".join(said.notes)


@pytest.mark.parametrize("first", [0, 1])
def test_nothing_is_asked_where_a_row_stands_at_the_first_update(tmp_path, first):
    rows = [(step + first, 0.1 * (1 - step / 1000), 1 + 10 / (step + 1)) for step in range(0, 1000, 50)]
    read = lrkit.read_history(write(tmp_path / "run.csv", rows), first_step=first)
    assert "No rate was recorded" not in " ".join(lrkit.loss_curve(read).notes)


# --- which losses ------------------------------------------------------------------------------------


def test_a_run_of_lrkit_gives_its_losses_after_the_warmup():
    done = lrkit.run(record_cases.task(), "warmup(5) >> cosine(to=0.1)")
    curve = lrkit.loss_curve(done)
    assert curve.steps.tolist() == list(range(4, 30))  # the fifth update has the full rate
    np.testing.assert_array_equal(curve.losses, done.losses[4:].astype(np.float64))
    np.testing.assert_array_equal(curve.learning_rates, done.lr)
    assert curve.notes == ("4 points are left out, before the end of the warmup at step 4: laws begin after it.",)


def test_validation_losses_are_after_the_updates_of_their_records():
    done = lrkit.run(record_cases.task(), "constant()")
    with pytest.raises(
        InputError, match=r"run must have at least 8 validation losses .* not 3: the training loss would do"
    ):
        lrkit.loss_curve(done, measure="validation")
    records = [epoch(k, 10 * k, valid_loss=1 + 1 / k, test_loss=2 + 1 / k) for k in range(1, 11)]
    made = history(falling(100), [0.1] * 100, records)
    for measure, level in (("validation", 1), ("test", 2)):
        curve = lrkit.loss_curve(made, measure=measure)
        assert curve.steps.tolist() == list(range(10, 101, 10))
        np.testing.assert_allclose(curve.losses, [level + 1 / k for k in range(1, 11)])


def test_many_losses_are_averaged_in_blocks_at_their_middle():
    losses = 3 - np.arange(10_000) * 1e-4
    curve = lrkit.loss_curve(history(losses, [0.1] * 10_000), skip=0)
    assert len(curve.steps) == 200
    assert curve.steps[:2].tolist() == [24, 74]  # of updates 0 to 49, and 50 to 99
    np.testing.assert_allclose(curve.losses, 3 - (curve.steps + 0.5) * 1e-4, rtol=1e-6)
    assert curve.notes == ("10000 losses are averaged in 200 blocks, each at its middle.",)


def test_no_block_reaches_across_a_jump_of_the_rate():
    rates = np.where(np.arange(9_000) < 4_321, 0.1, 0.01)
    losses = np.where(np.arange(9_000) <= 4_321, 2, 1)  # the loss of update 4321 is from before it
    curve = lrkit.loss_curve(history(losses, rates))
    assert set(curve.losses) == {1.0, 2.0}
    assert 190 < len(curve.steps) < 210


def test_a_steep_warmup_is_no_jump():
    schedule = (lrkit.warmup(20) >> lrkit.cosine()).over(2000)
    curve = lrkit.loss_curve(history(falling(2000), schedule(np.arange(2000), 0.1)), skip=0)
    assert set(np.diff(curve.steps)) == {9, 10}  # of 1981 losses
    assert len(curve.steps) == 200


def test_the_first_two_percent_are_left_out_or_as_many_as_is_said():
    made = history(falling(100), [0.1] * 100)
    assert [int(lrkit.loss_curve(made, skip=each).steps[0]) for each in (None, 0, 30)] == [2, 0, 30]
    assert lrkit.loss_curve(made).notes == (
        "2 points are left out, before step 2: no law describes the first fall of the loss.",
    )
    assert lrkit.loss_curve(made, skip=1).notes == ("1 point is left out, before step 1.",)
    assert lrkit.loss_curve(made, warmup=40).steps[0] == 40


def test_of_a_sparse_record_the_rows_are_used_and_stay_known_in_a_run_folder(tmp_path):
    rows = [(step, 0.1, round(1 + 10 / step, 1)) for step in [*range(100, 1000, 100), 1050, 1060]]
    read = lrkit.read_history(write(tmp_path / "run.csv", rows), first_step=0)
    assert json.loads(json.dumps(read.made["imported"]["logged"]["loss"])) == [[100, 9, 100], [1050, 2, 10]]
    lrkit.save_history(read, tmp_path / "folder")
    lrkit.write_csv(read, tmp_path / "own.csv")
    for name in ("run.csv", "folder", "own.csv"):
        curve = read_curve(tmp_path / name, reading={"first_step": 0})  # equal neighbours are points of their own
        assert curve.steps.tolist() == [row[0] for row in rows]
        np.testing.assert_allclose(curve.losses, [row[2] for row in rows], rtol=1e-7)


def test_a_mean_over_a_window_belongs_to_its_middle(tmp_path):
    entries = [{"step": step, "loss": 1 + 1 / step, "learning_rate": 0.1} for step in range(10, 101, 10)]
    state = {"log_history": entries, "global_step": 100, "max_steps": 200}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    curve = lrkit.loss_curve(lrkit.read_history(tmp_path))
    assert curve.steps.tolist() == [4, 14, 24, 34, 44, 54, 64, 74, 84, 94]  # of updates 0 to 9, 10 to 19, ...


def test_epochs_are_windows_too(tmp_path):
    rows = [(number, 0.1 / (1 + number), 1 + 1 / (1 + number)) for number in range(10)]
    file = write(tmp_path / "run.csv", rows, "epoch,lr,loss")
    curve = lrkit.loss_curve(lrkit.read_history(file, epoch_steps=100))
    assert curve.steps.tolist() == list(range(49, 1000, 100))
    assert curve.learning_rates[[0, 99, 100]].tolist() == [0.1, 0.1, 0.05]
    assert curve.notes == ()


def test_what_a_run_that_went_on_from_before_has_replaced_is_not_used(tmp_path):
    rows = [(step, 0.1, 1 + 10 / (step + 1)) for step in range(0, 500, 50)]
    again = [(step, 0.1, 5.0) for step in range(300, 1000, 50)]
    curve = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "run.csv", rows + again)), skip=0)
    assert curve.steps.tolist() == list(range(0, 1000, 50))
    assert (curve.losses == 5).tolist() == [step >= 300 for step in range(0, 1000, 50)]
    assert curve.notes == ("The record goes back from step 450 to 300: later rows replace earlier ones.",)
    more = [(step, 0.1, 4.0) for step in range(800, 1200, 50)]
    read = lrkit.read_history(write(tmp_path / "run.csv", rows + again + more))
    assert read.made["imported"]["restarts"] == [[450, 300], [950, 800]]
    twice = [(step, 0.1, 4.0) for step in (*range(300, 400, 50), *range(320, 600, 50))]
    soon = lrkit.read_history(write(tmp_path / "twice.csv", rows + twice))
    assert soon.made["imported"]["restarts"] == [[450, 300], [350, 320]]
    lrkit.save_history(read, tmp_path / "folder")
    for each in (lrkit.loss_curve(read, skip=0), read_curve(tmp_path / "folder", skip=0)):
        assert (
            "The record goes back 2 times, first from step 450 to 300: later rows replace earlier ones." in each.notes
        )


def test_a_row_of_the_first_update_tells_it_though_it_has_no_loss(tmp_path):
    file = tmp_path / "run.csv"
    rows = [f"{step},{0.1 - step / 1e5},{'' if step == 0 else 1 + 10 / step}" for step in range(0, 2001, 100)]
    file.write_text("\n".join(["step,lr,loss", *rows]) + "\n")
    curve = lrkit.loss_curve(lrkit.read_history(file), skip=0)
    assert curve.notes == ()
    assert curve.steps.tolist() == list(range(100, 2001, 100))
    assert curve.learning_rates[[0, 100, 2000]] == pytest.approx([0.1, 0.099, 0.08])


# --- which rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", ["linear", "hold"])
def test_a_warmup_in_rows_rises_from_the_first_update_on(tmp_path, between):
    schedule = (lrkit.warmup(100) >> lrkit.constant()).over(1000)
    rows = [(step, float(schedule(step, 0.1)), 1 + 10 / step) for step in range(9, 1000, 10)]
    curve = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "run.csv", rows), first_step=0, between=between))
    np.testing.assert_allclose(curve.learning_rates, schedule(np.arange(1000), 0.1)[: len(curve.learning_rates)])
    assert (curve.warmup, curve.steps[0]) == (99, 99)
    told = "The rates of the warmup up to step 99 are interpolated between rows, not held."
    assert (told in curve.notes) == (between == "hold")
    assert "No rate was recorded before step 9: it is taken to rise evenly until there, as it does afterwards." in (
        curve.notes
    )


def test_rates_of_a_schedule_over_the_whole_run(tmp_path):
    file = write(tmp_path / "run.csv", [(step, 1 + 10 / (step + 1)) for step in range(0, 900, 10)], "step,loss")
    wanted = lrkit.parse("warmup(10%) >> cosine(to=0.1)").over(1000)(np.arange(891), 0.2)
    curve = read_curve(file, reading={"lr": 0.2}, schedule="warmup(10%) >> cosine(to=0.1)", steps=1000)
    np.testing.assert_array_equal(curve.learning_rates, wanted)
    assert curve.notes[0] == "The rates are those of warmup(10%) >> cosine(to=0.1) at 0.2 over 1000 updates."
    shorter = read_curve(file, reading={"lr": 0.2}, schedule="linear(to=0)")
    assert shorter.learning_rates[-1] == pytest.approx(0.2 / 891)
    assert "say steps= where it had more" in shorter.notes[0]
    constant = read_curve(file, reading={"lr": 0.2})
    assert set(constant.learning_rates) == {0.2}
    with pytest.raises(InputError, match="steps must be at least 891, the updates that run recorded, not 500"):
        read_curve(file, reading={"lr": 0.2}, schedule="linear(to=0)", steps=500)


def test_what_the_first_step_is_taken_to_be_is_told(tmp_path):
    rows = [(step, 0.1, 1 + 10 / step) for step in range(10, 200, 10)]
    notes = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "run.csv", rows))).notes
    assert "The record's step 1 is taken for the first update, which is step 0 here." in notes


def test_a_warmup_that_the_recorded_rates_contradict_is_told():
    rates = lrkit.parse("warmup(100) >> constant()").over(1000)(np.arange(1000), 0.1)
    notes = [lrkit.loss_curve(history(falling(1000), rates), warmup=count).notes for count in (100, 400)]
    assert not any("rise for" in each for each in notes[0])
    assert notes[1][0] == "The rates rise for 99 updates, not 400: losses before step 400 are left out."


def test_a_schedule_replaces_rates_that_a_record_has_and_that_is_told(tmp_path):
    done = lrkit.run(record_cases.task(), "linear(to=0)", observers=[lrkit.RunFolder(tmp_path / "own")])
    lrkit.write_csv(done, tmp_path / "run.csv")
    for path in (tmp_path / "own", tmp_path / "run.csv"):
        curve = read_curve(path, reading={"lr": 0.5}, schedule="constant()")
        assert set(curve.learning_rates) == {0.5}
        assert any(each.startswith("The rates that were recorded are others: at step ") for each in curve.notes)


def test_a_schedule_that_the_recorded_rates_contradict_is_told():
    done = lrkit.run(record_cases.task(), "linear(to=0)")
    same, other = (lrkit.loss_curve(done, schedule=each) for each in ("linear(to=0)", "linear(to=0.5)"))
    np.testing.assert_allclose(same.learning_rates, done.lr)
    assert [note for note in same.notes if "others" in note] == []
    assert "The rates that were recorded are others: at step 29" in other.notes[1]
    by_epochs = lrkit.loss_curve(done, schedule=lrkit.staircase(every="1ep", factor=0.1))
    assert by_epochs.learning_rates[[9, 10, 29]].round(6).tolist() == [0.2, 0.02, 0.002]


@pytest.mark.parametrize(
    "schedule",
    [
        lrkit.cosine(1000).repeat(),
        lrkit.staircase(every=500, factor=0.1),
        lrkit.piecewise(at=[1000, 2000], values=[0.5, 1], between="hold"),
    ],
)
def test_jumps_at_rows_are_found_whichever_way_they_go(tmp_path, schedule):
    true = schedule.over(4000)(np.arange(4000), 0.1)
    steps = [*range(0, 4000, 20)]
    for left_out in ([], range(2300, 2400, 20)):  # a gap is as steep as what is beside it
        rows = [(step, float(true[step]), 1 + 10 / (step + 1)) for step in steps if step not in left_out]
        curve = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "run.csv", rows), first_step=0))
        assert np.abs(curve.learning_rates - true[: len(curve.learning_rates)]).max() < 2e-3


def test_gaps_restarts_and_groups_are_told(tmp_path):
    steps = [*range(0, 300, 10), *range(900, 1000, 10)]
    rows = [(step, 0.1 * (1 - step / 1000), 1 + 10 / (step + 1)) for step in steps]
    gap = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "run.csv", rows)))
    assert "There is a gap from step 290 to 900; rates in it are interpolated." in gap.notes
    fallen = [(step, 0.1 if step < 300 else 0.03, loss) for step, _, loss in rows]
    dropped = lrkit.loss_curve(lrkit.read_history(write(tmp_path / "dropped.csv", fallen), first_step=0))
    assert "There is a gap from step 290 to 900; rates in it are held." in dropped.notes
    assert set(dropped.learning_rates[:900]) == {0.1}
    restarts = lrkit.loss_curve(history(falling(100), lrkit.cosine(50).repeat().over(100)(np.arange(100), 0.1)))
    assert "The rate rises again after the warmup, first by step 50" in restarts.notes[0]
    groups = lrkit.loss_curve(history(falling(50), np.tile([0.1, 0.01], (50, 1))))
    assert groups.notes[0] == "The rates are those of the first of 2 param groups."
    assert set(groups.learning_rates) == {0.1}


# --- what no law can be fitted to --------------------------------------------------------------------


def test_a_run_that_diverged_is_used_up_to_there():
    losses = falling(100)
    losses[60:] = math.nan
    curve = lrkit.loss_curve(history(losses, [0.1] * 100))
    assert curve.steps[-1] == 59
    assert curve.notes[0] == "The run diverged: from step 60 on no loss is finite."
    losses[30] = math.nan
    both = lrkit.loss_curve(history(losses, [0.1] * 100))
    assert both.notes[:2] == (curve.notes[0], "Losses that aren't finite are left out: 1, the first at step 30.")
    assert both.steps.tolist() == [step for step in curve.steps if step != 30]
    losses[60:] = 1
    losses[70] = math.inf
    assert 70 not in lrkit.loss_curve(history(losses, [0.1] * 100)).steps


def test_a_real_run_that_diverges_at_once_is_refused():
    task = record_cases.task()
    stopped = lrkit.run_lanes(task, [lrkit.Lane(lrkit.constant(), lr=1e6)])[0]
    assert stopped.diverged is not None
    with pytest.raises(InputError, match=r"wild must have at least 8 training losses .* diverged"):
        lrkit.loss_curve(stopped, name="wild")


GOOD = history(falling(100), [0.1] * 100)


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        (GOOD, {"measure": "validation"}, "run has no validation loss; another measure is training"),
        (GOOD, {"measure": "loss"}, "unknown measure 'loss'"),
        (GOOD, {"skip": -1}, "skip must be at least 0, not -1"),
        (GOOD, {"skip": 95}, "run must have at least 8 training losses to fit a law to, not 5"),
        (GOOD, {"warmup": 100}, "warmup must be below 100, the updates that run recorded, not 100"),
        (GOOD, {"warmup": -1}, "warmup must be at least 0, not -1"),
        (GOOD, {"steps": 200}, "steps must be left out where no schedule is given"),
        (GOOD, {"lr": 0.0}, "lr must be finite and above 0, not 0.0"),
        (GOOD, {"schedule": "plateau(factor=0.5)"}, "schedule must be one of the rate alone"),
        (GOOD, {"schedule": "linear(200, to=0)"}, r"\(for the rates of run\)"),
        (history(falling(100) - 1.2, [0.1] * 100), {}, "losses must be positive, .*run has a training loss of"),
        (history(falling(100), [0.0] * 100), {}, "learning rates must not be all 0, as those of run are"),
        (history(falling(100), [-0.1] * 100), {}, "finite and not negative: run has -0.1 at step 0"),
        (history(falling(100), np.linspace(0, 1, 100)), {}, "no law can be fitted to run: its rate only rises"),
        (history([], np.zeros((0, 1))), {}, "run has no update"),
        (history([2.0], [0.1]), {}, "run must have at least 8 training losses to fit a law to, not [01]: a longer run"),
    ],
)
def test_it_says_why(made, options, sentence):
    with pytest.raises(InputError, match=sentence):
        lrkit.loss_curve(made, **options)


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        ([1, 2], {}, "history must be a History"),
        (GOOD, {"warmup": 1.5}, "warmup must be a whole number, not 1.5"),
        (GOOD, {"skip": "2%"}, "skip must be a whole number, not '2%'"),
        (GOOD, {"lr": "0.1"}, "lr must be a number"),
        (GOOD, {"schedule": 3}, "schedule must be a schedule or its text, not 3"),
        (GOOD, {"name": 3}, "name must be text, not 3"),
    ],
)
def test_it_says_of_which_type(made, options, sentence):
    with pytest.raises(InputTypeError, match=sentence):
        lrkit.loss_curve(made, **options)


def test_numbers_of_numpy_are_numbers():
    rates = lrkit.parse("warmup(10) >> constant()").over(100)(np.arange(100), 0.1)
    made = history(falling(100), rates)
    whole = {"warmup": 10, "skip": 12, "steps": 200, "epoch_steps": 50}
    plain = lrkit.loss_curve(made, schedule="every(1ep, linear(to=0))", lr=0.5, **whole)
    same = lrkit.loss_curve(
        made,
        schedule="every(1ep, linear(to=0))",
        lr=np.float32(0.5),
        **{name: np.int64(number) for name, number in whole.items()},
    )
    np.testing.assert_array_equal(same.learning_rates, plain.learning_rates)
    assert (same.steps.tolist(), same.notes) == (plain.steps.tolist(), plain.notes)
    alone = fit_law([made], "power", worlds=np.int64(2), seed=np.int64(3))
    assert alone.worlds == fit_law([made], "power", worlds=2, seed=3).worlds


THREE = np.arange(1, 4)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"losses": np.ones((3, 1))}, InputError, "losses must be numbers in one dimension: .* the shape (3, 1)"),
        ({"losses": 2.0}, InputError, "losses must be numbers in one dimension: those of run have the shape ()"),
        ({"losses": "high"}, InputTypeError, "losses must be numbers, not 'high'"),
        (
            {"losses": torch.ones(3, requires_grad=True)},
            InputTypeError,
            "losses must be numbers without a gradient, as detach() gives them, not tensor(",
        ),
        (
            {"losses": [torch.tensor(1.0, requires_grad=True)] * 3},
            InputTypeError,
            "losses must be numbers without a gradient, as detach() gives them, not [tensor(",
        ),
        ({"learning_rates": torch.ones(3, requires_grad=True)}, InputTypeError, "learning_rates must be numbers with"),
        ({"steps": torch.ones(3, requires_grad=True)}, InputTypeError, "steps must be numbers without a gradient"),
    ],
)
def test_a_curve_says_what_it_isnt_made_of(given, error, sentence):
    good = {"steps": THREE, "losses": 1 / THREE, "learning_rates": np.full(3, 0.1)}
    with pytest.raises(error, match=sentence.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")) as raised:
        lrkit.LossCurve(**{**good, **given})
    assert "\n" not in str(raised.value)


def test_a_curve_may_be_made_of_tensors():
    curve = lrkit.LossCurve(torch.arange(1, 4), torch.tensor([3.0, 2.0, 1.0]), torch.full((3,), 0.5))
    assert (curve.steps.tolist(), curve.losses.tolist(), curve.peak) == ([1, 2, 3], [3.0, 2.0, 1.0], 0.5)


# --- several -----------------------------------------------------------------------------------------


def test_options_for_records_of_others_are_none_for_those_of_lrkit(tmp_path):
    done = lrkit.run(record_cases.task(), "linear(to=0)", observers=[lrkit.RunFolder(tmp_path / "own")])
    file = write(tmp_path / "run.csv", [(step, 1 + 1 / (step + 1)) for step in range(20)], "count,train")
    reading = {"step": "count", "loss": "train", "lr": 0.3}
    own, other = read_curve(tmp_path / "own", reading=reading), read_curve(file, reading=reading)
    np.testing.assert_array_equal(own.learning_rates, done.lr)
    assert (own.name, other.name, set(other.learning_rates)) == ("own", "run", {0.3})


def test_a_law_is_fitted_to_histories():
    named = history(falling(40), np.linspace(0.1, 0.01, 40), name="falling")
    plain = history(falling(40), [0.1] * 40)
    fitted = fit_law([named, plain, lrkit.loss_curve(plain, skip=4, name="third")], "power", worlds=0)
    assert [each.name for each in fitted.curves] == ["curve 1 (falling)", "curve 2", "third"]
    assert [int(each.steps[0]) for each in fitted.curves] == [1, 1, 4]
    with pytest.raises(InputTypeError, match="curves must be each a LossCurve, a History or"):
        fit_law([3])

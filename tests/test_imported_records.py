"""Records in tables read as histories, lrkit's own there and back, and what `lrkit report` makes of runs."""

import dataclasses
import json
import time

import numpy as np
import pytest

import lrkit
from comparison_cases import candidates, history
from lrkit import EpochRecord, History, InputError, InputTypeError
from lrkit.analysis.comparisons import compare_histories
from record_cases import X, Y, task, train


def table(path, *rows):
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


# --- there and back ------------------------------------------------------------------------------------


def test_a_history_comes_back_from_its_table_to_the_bit(tmp_path):
    truth = lrkit.run(task(test=(X, Y)), "lr: warmup(7) >> cosine(to=0.01); momentum: constant(0.5)", seed=3)
    lrkit.write_csv(truth, tmp_path / "run.csv")
    found = lrkit.read_history(tmp_path / "run.csv")
    assert found == truth
    assert found.made == truth.made
    assert [each.seconds for each in found.epochs] == [each.seconds for each in truth.epochs]


def test_several_groups_and_epochs_with_other_metrics_come_back(tmp_path):
    lrs = np.random.default_rng(0).random((5, 3))
    losses = np.array([1, np.nan, np.inf, 1 / 3, 2e-38], dtype=np.float32)
    epochs = (
        EpochRecord(1, 2, 1.5, None, {}, lr=float(lrs[1, 0]), seconds=0.5),
        EpochRecord(2, 5, float("nan"), 0.1, {"a": 0.3, "loss_of_b": 2.0}, float(lrs[4, 0]), 0.25, 0.7, {"a": 1 / 3}),
    )
    truth = History(epochs, lrs, losses, {"note": 'ä, "b"\n'})
    lrkit.write_csv(truth, tmp_path / "run.csv")
    found = lrkit.read_history(tmp_path / "run.csv")
    assert found == truth
    assert found.made == truth.made


def test_the_table_without_its_first_line_is_known_by_its_names(tmp_path):
    truth = lrkit.run(task(), "linear(to=0)")
    lrkit.write_csv(truth, tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()[1:]
    found = lrkit.read_history(table(tmp_path / "bare.csv", *lines))
    assert np.array_equal(found.lrs, truth.lrs)
    assert np.array_equal(found.losses, truth.losses)
    assert [(each.step, each.valid_loss, each.metrics) for each in found.epochs] == [
        (each.step, each.valid_loss, each.metrics) for each in truth.epochs
    ]


# --- tables of others ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (("step", "loss", "lr", "val_loss"), {}),
        (("Step", "Train/Loss", "Learning_Rate", "eval/loss"), {}),
        (("global_step", "training_loss", "lr-AdamW", "validation_loss"), {}),
        (("t", "objective", "eta", "held"), {"step": "t", "loss": "objective", "lr": "eta", "valid_loss": "held"}),
    ],
)
def test_a_table_by_whatever_names_is_what_lrkit_recorded(tmp_path, names, more):
    rows = []

    def validate(step, loss):
        rows[-1] = f"{rows[-1][:-1]},{loss!r}"

    truth = train(lambda step, loss, rates: rows.append(f"{step},{loss!r},{rates[0]!r},"), valid=validate)
    rows = [row.replace(",,", ",") for row in rows]
    found = lrkit.read_history(table(tmp_path / "log.csv", ",".join(names), *rows), **more)
    assert np.array_equal(found.lrs, truth.lrs)
    assert np.array_equal(found.losses, truth.losses)
    assert [(each.step, each.valid_loss) for each in found.epochs] == [
        (each.step, each.valid_loss) for each in truth.epochs
    ]


@pytest.mark.parametrize(
    ("steps", "first", "count"),
    [([0, 50, 100], 0, 101), ([49, 99, 149], 0, 150), ([50, 100, 150], 1, 150), ([1, 50, 100], 1, 100)],
)
def test_the_distance_of_steps_says_what_the_first_is_called(tmp_path, steps, first, count):
    rows = [f"{step};1.0;{0.1 * (1 + place)}" for place, step in enumerate(steps)]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step;loss;lr", *rows))
    assert (found.made["imported"]["first_step"], len(found.lr)) == (first, count)
    assert found.lr[[step - first for step in steps]] == pytest.approx([0.1, 0.2, 0.3])
    assert found.made["imported"]["filled_in"] == {"loss": count - 3, "lr": count - 3}
    assert len(found.epochs) == 1


def test_rates_are_drawn_or_held_between(tmp_path):
    file = table(tmp_path / "log.csv", "step,loss,lr", "0,1,0.4", "4,1,0.2", "7,1,0.2")
    assert lrkit.read_history(file).lr == pytest.approx([0.4, 0.35, 0.3, 0.25, 0.2, 0.2, 0.2, 0.2])
    assert lrkit.read_history(file, between="hold").lr.tolist() == [0.4] * 4 + [0.2] * 4


def test_a_table_of_epochs_is_counted_in_epochs_or_in_updates(tmp_path):
    file = table(tmp_path / "log.csv", "epoch,loss,lr,val_loss,val_acc", "0,3,0.2,2,0.5", "1,2,0.1,1,0.75")
    bare = lrkit.read_history(file)
    assert (bare.made["imported"]["unit"], bare.losses.tolist()) == ("epochs", [3, 2])
    with pytest.raises(InputError, match=r"how many updates an epoch has in log; pass epoch_steps="):
        lrkit.loss_curve(bare)
    found = lrkit.read_history(file, epoch_steps=3)
    assert found.losses.tolist() == [3, 3, 3, 2, 2, 2]
    assert found.lr.tolist() == [0.2] * 3 + [0.1] * 3
    assert [(each.step, each.valid_loss, each.metrics) for each in found.epochs] == [
        (3, 2.0, {"accuracy": 0.5}),
        (6, 1.0, {"accuracy": 0.75}),
    ]


def test_without_validation_epochs_end_where_their_number_changes(tmp_path):
    rows = [f"{step},{step // 3},1.0,0.1" for step in range(8)]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,epoch,loss,lr", *rows))
    assert [each.step for each in found.epochs] == [3, 6, 8]


def test_what_was_written_again_after_a_resume_counts(tmp_path):
    rows = ["0,4,0.1,", "1,3,0.1,0.9", "2,9,0.1,", "3,9,0.1,0.9", "2,2,0.2,", "3,1,0.2,0.1"]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr,val_loss", *rows))
    assert found.losses.tolist() == [4, 3, 2, 1]
    assert [each.valid_loss for each in found.epochs] == [0.9, 0.1]


def test_steps_that_begin_anew_with_each_epoch_go_on(tmp_path):
    rows = [f"{epoch},{step},{10 - epoch - step / 10},0.1" for epoch in range(3) for step in range(10)]
    found = lrkit.read_history(table(tmp_path / "log.csv", "epoch,iter,loss,lr", *rows))
    assert found.losses.tolist() == pytest.approx([10 - each / 10 for each in range(30)])
    assert [each.step for each in found.epochs] == [10, 20, 30]
    sparse = [f"{epoch},{step},{epoch},0.1" for epoch in (1, 2) for step in (0, 10, 20)]
    file = table(tmp_path / "sparse.csv", "epoch,iter,loss,lr", *sparse)
    with pytest.raises(
        InputError, match=r"how many updates an epoch has \(iter begins anew with each\) in .*; pass epoch_steps="
    ):
        lrkit.read_history(file)
    assert lrkit.read_history(file, epoch_steps=25).losses[[0, 20, 25, 45]].tolist() == [1, 1, 2, 2]


def test_an_epoch_that_a_resume_repeats_isnt_a_new_one(tmp_path):
    rows = ["0,0,4,0.1", "0,1,3,0.1", "1,2,9,0.1", "1,3,9,0.1", "1,2,2,0.1", "1,3,1,0.1"]
    found = lrkit.read_history(table(tmp_path / "log.csv", "epoch,step,loss,lr", *rows))
    assert found.losses.tolist() == [4, 3, 2, 1]


def test_what_is_written_beside_after_a_resume_doesnt_cut_it(tmp_path):
    """Rate and loss have rows of their own, of the same step."""
    rows = []
    for steps, value in (((49, 99, 149), 1.0), ((99, 149, 199), 2.0)):
        for step in steps:
            rows += [f"{step},{value / 10},", f"{step},,{value}"]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,lr,loss", *rows))
    assert found.losses[[49, 50, 99, 100]].tolist() == [1, 2, 2, 2]
    assert found.lr[[49, 99, 149]].tolist() == [0.1, 0.2, 0.2]


@pytest.mark.parametrize(("name", "first"), [("train/global_step", 1), ("trainer/global_step", 0)])
def test_calls_of_wandb_log_arent_updates(tmp_path, name, first):
    rows = [f"{each},{10 * each + first},{each},0.1" for each in range(1, 4)]
    found = lrkit.read_history(table(tmp_path / "log.csv", f"_step,{name},train/loss,train/lr", *rows))
    assert (len(found.lr), found.made["imported"]["first_step"]) == (31, first)


def test_cells_that_stand_for_nothing_are_empty(tmp_path):
    empty = ["None", "null", "N/A", "na", "-", "nan"]
    rows = [f"{step},1,0.1,{'nan' if step < 9 else 0.5},{empty[step % 5]}" for step in range(10)]
    rows[4] = rows[4].replace(",-", ",0.75")
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr,val_loss,val_acc", *rows))
    assert [(each.step, each.valid_loss, each.metrics) for each in found.epochs] == [(10, 0.5, {"accuracy": 0.75})]


@pytest.mark.parametrize("name", ["loss", "Learning Rate", "val_loss"])
def test_text_in_a_column_that_is_read_is_said(tmp_path, name):
    names = {"loss": "1", "Learning Rate": "0.1", "val_loss": "2"}
    good, bad = ",".join(names.values()), ",".join({**names, name: "abc"}.values())
    with pytest.raises(InputError, match=f"row 2 of {name} has 'abc'"):
        lrkit.read_history(table(tmp_path / "log.csv", f"step,{','.join(names)}", f"0,{good}", f"1,{bad}"))


def test_more_names_are_known(tmp_path):
    rows = ["0,1,0.1,0", "1,0.5,0.2,1"]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,total_loss,learning rate,lr_scheduler_step", *rows))
    assert (found.losses.tolist(), found.lr.tolist()) == ([1, 0.5], [0.1, 0.2])


@pytest.mark.parametrize(
    ("validated", "ends"),
    [([0, 99, 199, 299], [1, 100, 200, 300]), ([100, 200, 300], [100, 200, 300]), ([97, 199, 298], [98, 200, 299])],
)
def test_validation_is_read_at_its_update(tmp_path, validated, ends):
    rows = [f"{step},1,0.1,{0.5 if step in validated else ''}" for step in range(300)]
    rows += [f"{step},,,0.5" for step in validated if step >= 300]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr,val_loss", *rows))
    assert [each.step for each in found.epochs] == ends


def test_the_length_of_epochs_that_validation_counts_is_no_silent_guess(tmp_path):
    by_epoch = [f"{epoch},,,0.5," for epoch in range(3)]

    def rows(count, epochs=False):
        return [*(f"{step},1,0.1,,{step // 10 if epochs else ''}" for step in range(count)), *by_epoch]

    head = "step,loss,lr,val_loss,epoch"
    with pytest.raises(
        InputError, match=r"how many updates an epoch has, which val_loss counts in .*; pass epoch_steps="
    ):
        lrkit.read_history(table(tmp_path / "log.csv", head, *rows(28)))
    for more, source, made in (({}, rows(30), "updates by validations"), ({"epoch_steps": 10}, rows(28), "said")):
        found = lrkit.read_history(table(tmp_path / "log.csv", head, *source), **more)
        assert [each.step for each in found.epochs] == [10, 20, 30]
        assert found.made["imported"]["epoch_steps_from"] == made
    found = lrkit.read_history(table(tmp_path / "log.csv", head, *rows(28, epochs=True)))
    assert [each.step for each in found.epochs] == [10, 20, 30]
    assert found.made["imported"]["epoch_steps_from"] == "column of epochs"


def test_rows_in_the_wrong_order_are_put_in_order(tmp_path):
    rows = [f"{step},{10 - step},0.1" for step in reversed(range(10))]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr", *rows))
    assert found.losses.tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_diverged_run_is_read_also_where_validation_ended_before(tmp_path):
    rows = ["0,1.0,0.1,", "1,2.0,0.1,3.0", "2,nan,0.1,", "3,nan,0.1,"]
    found = lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr,val_loss", *rows))
    assert found.diverged == (2, 0.1)
    lrkit.save_history(found, tmp_path / "run")
    assert lrkit.RunFolder.load(tmp_path / "run") == found


def test_a_line_that_was_broken_off_is_left_out(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss,lr\n0,1,0.1\n1,1,0.1\n2,1")
    assert len(lrkit.read_history(tmp_path / "log.csv").lr) == 2


def test_a_long_table_is_read_quickly(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("step,loss,lr\n" + "".join(f"{step},0.5,0.1\n" for step in range(100_000)))
    began = time.process_time()
    assert len(lrkit.read_history(file).lr) == 100_000
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("rows", "more", "sentence"),
    [
        ([], {}, "is empty"),
        (["step,loss,lr"], {}, "has a heading and no row"),
        (["loss,lr", "1,2"], {}, r"which column counts steps or epochs in .*; pass step=\.\.\. \(columns: loss, lr\)"),
        (["step,lr", "1,2"], {}, r"which column is the training loss in .*; pass loss=\.\.\. .*\(columns: lr\)"),
        (["step,loss", "1,2"], {}, r"which column is the learning rate in .*; pass lr=\.\.\. .*\(columns: loss\)"),
        (
            ["step,loss,lr-A,lr-B", "1,2,3,4"],
            {},
            r"which of several learning rates is meant in .*; pass lr=.*\(to choose from: lr-A, lr-B\)",
        ),
        (["step,loss,lr", "1,2,3"], {"loss": "los"}, r"loss must be something .* not 'los' \(columns: loss, lr\)"),
        (["step,loss,lr", "1,2,3"], {"metrics": {"f1": "f1"}}, "metrics must be something .* not 'f1'"),
        (["step,loss,lr", "1,2,3"], {"step": "t"}, "step must be a column of .* not 't'"),
        (["step,loss,lr", "1.5,2,3"], {}, r"step must count in whole numbers, and .* has 1\.5 in row 1"),
        (["step,loss,lr", "a,2,3"], {}, "step must count in whole numbers"),
        (["step,loss,lr", "1,2,3,4"], {}, "row 1 of .* has 4 cells below 3 names"),
        (["step,loss,lr", "1,2,nan"], {}, "no finite learning rate"),
        (["step,loss,lr", "1,2,3"], {"between": "cubic"}, "between must be 'linear' or 'hold', not 'cubic'"),
        (["step,loss,lr", "1,2,3"], {"lr": []}, "lr must name at least one rate"),
        (["step,loss,lr", "1,2,3"], {"lr": ["lr", "lr"]}, "lr must name at least one rate, and each once"),
        (["step,loss,lr", "1,2,3"], {"lr": -1.0}, r"lr must be finite and not negative, not -1\.0"),
        (["step,loss,lr", "1,2,3"], {"seed": -3}, "seed must not be negative, not -3"),
        (["step,loss,lr", "1,2,-3"], {}, r"has a negative learning rate, -3\.0"),
        (["step,loss,loss,lr", "1,2,3,4"], {}, "has two columns with the name loss"),
        (["step;loss;lr", "1;0,5;0,1"], {}, r"row 1 of loss has '0,5' \(decimals need a point"),
        (["step,loss,lr", "1,2,3"], {"first_step": 2}, "first_step must be 0 or 1, not 2"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, rows, more, sentence):
    file = table(tmp_path / "log.csv", *rows)
    with pytest.raises(InputError, match=sentence) as error:
        lrkit.read_history(file, **more)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("epoch_steps", "a"), ("lr", True), ("seed", "1"), ("lr", [1.0])])
def test_arguments_of_another_type_are_refused(tmp_path, name, value):
    with pytest.raises(InputTypeError, match=f"{name} must be a "):
        lrkit.read_history(table(tmp_path / "log.csv", "step,loss,lr", "0,1,2"), **{name: value})


def test_a_rate_before_the_first_that_was_logged_is_said(tmp_path):
    state = {"global_step": 4, "max_steps": 9, "log_history": [{"step": 4, "loss": 1.0, "learning_rate": 0.1}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    said = lrkit.read_history(tmp_path).made["imported"]
    assert said["lr_before_the_first"] == "the first that was logged, held"
    assert "lr_ahead" in said["lr_note"]
    assert lrkit.read_history(tmp_path, lr_ahead=True).made["imported"]["lr_note"] is None
    with pytest.raises(InputError, match="step must be a column of"):
        lrkit.read_history(tmp_path, step="t")


def test_what_is_no_record_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        lrkit.read_history(tmp_path / "none")
    with pytest.raises(InputError, match="has no record of a run"):
        lrkit.read_history(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\0\1")
    with pytest.raises(InputError, match="is a binary file, not a record"):
        lrkit.read_history(tmp_path / "model.bin")
    (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(InputError, match="is an empty JSON object"):
        lrkit.read_history(tmp_path)
    with pytest.raises(InputTypeError, match="path must be a file or a folder, not 3"):
        lrkit.read_history(3)
    for name in ("version_0", "version_1"):
        (tmp_path / "logs" / name).mkdir(parents=True)
        table(tmp_path / "logs" / name / "metrics.csv", "step,loss,lr", "0,1,2")
    with pytest.raises(InputError, match=r"several runs, so name one of them: .*version_0, .*version_1"):
        lrkit.read_history(tmp_path / "logs")
    newer = table(tmp_path / "own.csv", '# lrkit {"lrkit_csv": 9, "made": {}}', "step,lr,train_loss")
    with pytest.raises(InputError, match="has format 9, this lrkit reads up to 1"):
        lrkit.read_history(newer)
    lrkit.save_history(history("constant()", 0.1, 0, 0.5), tmp_path / "run")
    with pytest.raises(InputError, match="loss is for records of others"):
        lrkit.read_history(tmp_path / "run", loss="loss")
    with pytest.raises(InputError, match="at least one epoch"):
        lrkit.write_csv(History((), np.zeros((0, 1)), np.zeros(0, np.float32), {}), tmp_path / "no.csv")


# --- the command line ----------------------------------------------------------------------------------


def test_import_writes_a_run_folder_and_says_what_it_read(lrkit, tmp_path):
    from lrkit import RunFolder

    table(tmp_path / "log.csv", "step,loss,lr,val_loss,top1", "1,1,0.4,,", "3,0.5,0.2,0.7,0.9")
    arguments = ["--metric", "accuracy=top1", "--schedule", "linear(to=0)", "--seed", 3, "--name", "mine"]
    status, out, err = lrkit("import", "log.csv", "--out", "run", *arguments)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "4 updates in 1 record, read as CSV",
        "loss: loss (2 points)",
        "learning rate: lr (2 points)",
        "validation loss: val_loss (1 point)",
        "accuracy: top1 (1 point)",
        "loss: 2 of 4 updates were filled in",
        "lr: 2 of 4 updates were filled in",
        "run folder run",
    ]
    found = RunFolder.load("run")
    assert found.lr == pytest.approx([0.4, 0.4, 0.3, 0.2])
    assert (found.made["schedule"], found.made["seed"], found.made["name"]) == ("linear(to=0)", 3, "mine")
    assert lrkit("import", "log.csv", "--out", "run")[0] == 2
    status, out, _ = lrkit("import", "log.csv", "--out", "run", "--overwrite", "--json")
    assert (status, json.loads(out)["updates"]) == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import", "none.csv", "--out", "run"], "there is no file or folder none.csv"),
        (["import", "log.csv", "--out", "run", "--metric", "x"], "--metric must be a name and what it is called"),
        (["export", "log.csv"], "say what to write: --csv FILE, --tensorboard DIR, or both"),
        (["export", "log.csv", "--csv", "out.txt"], "--csv must end in .csv, not 'out.txt'"),
        (["report", "log.csv", "log.csv", "--name", "one"], "--name must be given for each run or for none"),
    ],
)
def test_wrong_commands_are_one_sentence(lrkit, tmp_path, arguments, sentence):
    table(tmp_path / "log.csv", "step,loss,lr", "1,1,0.4")
    status, out, err = lrkit(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"lrkit: error: {sentence}")
    assert err.count("\n") == 1


# --- report --------------------------------------------------------------------------------------------


def reported(lrkit, *arguments):
    status, out, err = lrkit("report", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_runs_of_one_schedule_and_rate_are_seeds_of_a_candidate(lrkit, tmp_path):
    from lrkit import save_history

    paths = []
    for each in candidates():
        for seed, found in each.runs.items():
            paths.append(f"{each.name.split('(')[0]}-{seed}")
            save_history(found, tmp_path / paths[-1])
    found = reported(lrkit, *paths, "--reference", "plateau(patience=1)")
    assert {each["schedule"]: each["n_seeds"] for each in found["schedules"]} == {
        each.schedule: len(each.runs) for each in candidates()
    }
    truth = compare_histories(candidates(), reference="plateau")
    expected = {each.schedule: each.difference and each.difference.mean for each in truth.standings}
    assert {
        each["schedule"]: each["difference"] and each["difference"]["mean"] for each in found["schedules"]
    } == expected
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "comparison.png").exists()
    assert not any("no seed" in note for note in found["notes"])


def test_unknown_schedules_are_called_after_their_records(lrkit, tmp_path):
    for name, last in (("fast", 0.5), ("slow", 0.7)):
        folder = tmp_path / name / "version_0"
        folder.mkdir(parents=True)
        rows = [f"{step},{last},0.1,{last if step % 4 == 3 else ''}" for step in range(8 if name == "fast" else 12)]
        table(folder / "metrics.csv", "step,train_loss,lr-SGD,val_loss", *rows)
    found = reported(lrkit, "fast", "slow")
    assert {each["name"] for each in found["schedules"]} == {"fast/version_0", "slow/version_0"}
    notes = " ".join(found["notes"])
    for part in ("different numbers of updates, from 8 to 12", "have no seed on record", "of the same task"):
        assert part in notes
    found = reported(lrkit, "fast", "slow", "--name", "one", "--name", "one")
    assert [(each["name"], each["n_seeds"]) for each in found["schedules"]] == [("one", 2)]
    page = (tmp_path / "report.html").read_text()
    assert "Over the updates" in page
    assert "lrkit report fast slow --name one --name one" in page


def test_runs_without_a_seed_are_paired_with_the_seeds_there_are(lrkit, tmp_path):
    from lrkit import save_history

    for name, seeds, text in (("a", (1, 4), "constant()"), ("b", (None, None), "linear(to=0)")):
        for place, seed in enumerate(seeds):
            found = history(text, 0.1, place, 0.5)
            made = {key: value for key, value in found.made.items() if key != "seed"}
            made |= {} if seed is None else {"seed": seed}
            save_history(dataclasses.replace(found, made=made), tmp_path / f"{name}{place}")
    names = [part for name in "aabb" for part in ("--name", name)]
    found = reported(lrkit, "a0", "a1", "b0", "b1", *names, "--reference", "a")
    [b] = [each for each in found["schedules"] if each["name"] == "b"]
    assert b["difference"]["n"] == 2
    assert "2 of 4 runs have no seed on record: runs without a seed are paired in the order given" in found["notes"][0]


def test_runs_that_share_no_seed_are_said_not_to_be_compared(lrkit, tmp_path):
    from lrkit import save_history

    for name, seed in (("constant()", 1), ("linear(to=0)", 2)):
        save_history(history(name, 0.1, seed, 0.5), tmp_path / f"run{seed}")
    found = reported(lrkit, "run1", "run2", "--reference", "constant()")
    assert "linear(to=0) and constant() have no seed in common, so no difference can be told." in found["verdict"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("import", "log.csv", "--out", "run"),
            "training loss in log.csv; pass --loss NAME (several are summed, as in --loss a+b) (columns: lr, odd)",
        ),
        (
            ("report", "log.csv"),
            "training loss in log.csv; pass --loss NAME (several are summed, as in --loss a+b) (columns: lr, odd)",
        ),
        (
            ("report", "epochs.csv", "steps.csv"),
            "how many updates an epoch has (steps.csv counts updates) in epochs.csv; pass --epoch-steps N (the updates "
            "in an epoch)",
        ),
        (
            ("import", "epochs.csv", "--out", "run", "--between", "cubic"),
            "error: --between must be 'linear' or 'hold', not 'cubic'",
        ),
        (("report", "epochs.csv", "--first-step", "2"), "error: --first-step must be 0 or 1, not 2"),
        (
            ("import", "log.csv", "--out", "run", "--loss", "odd", "--lr", "0.1", "--schedule", "warmup(1ep)"),
            "error: the length 1ep is in epochs; say --epoch-steps, how many updates an epoch has",
        ),
        (
            ("export", "log.csv", "--csv", "new.csv"),
            "(columns: lr, odd): lrkit import takes these options and writes a run folder",
        ),
    ],
)
def test_commands_name_their_own_options(lrkit, tmp_path, arguments, sentence):
    table(tmp_path / "log.csv", "step,odd,lr", "0,1,0.1", "1,2,0.1")
    table(tmp_path / "epochs.csv", "epoch,loss,lr", "0,1,0.1", "1,2,0.1")
    table(tmp_path / "steps.csv", "step,loss,lr", "0,1,0.1", "1,2,0.1")
    status, _, err = lrkit(*arguments)
    assert status == 2
    assert err.endswith(f"{sentence}\n")


def test_one_run_alone_has_a_page(lrkit, tmp_path):
    table(tmp_path / "log.csv", "step,loss,lr", *[f"{step},{1 / (step + 1)},0.1" for step in range(20)])
    status, out, _ = lrkit("report", "log.csv")
    assert status == 0
    assert out.splitlines()[:2] == [
        "log.csv: loss loss (20 points), lr lr (20 points)",
        "log at learning rate 0.1 has a mean training loss of 0.1799.",
    ]
    assert "One schedule" in (tmp_path / "report.html").read_text()


def test_runs_with_and_without_test_data_are_compared_without(lrkit, tmp_path):
    from lrkit import save_history

    for seed in (0, 1):
        save_history(history("constant()", 0.1, seed, 0.5), tmp_path / f"a{seed}")
        other = history("linear(to=0)", 0.1, seed, 0.4)
        epochs = tuple(dataclasses.replace(each, test_loss=None, test_metrics={}) for each in other.epochs)
        save_history(dataclasses.replace(other, epochs=epochs), tmp_path / f"b{seed}")
    found = reported(lrkit, "a0", "a1", "b0", "b1", "--measure", "accuracy")
    assert found["schedules"][0]["name"] == "linear(to=0)"
    assert "Not all runs have test data, so all are compared without." in found["notes"]
    status, _, err = lrkit("report", "a0", "a0")
    assert status == 2
    assert "a0 and a0 are both runs of constant() with seed 0" in err


def test_comparisons_and_runs_arent_mixed(lrkit, tmp_path):
    from lrkit import save_history

    save_history(history("constant()", 0.1, 0, 0.5), tmp_path / "run")
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "config.json").write_text('{"lrkit_comparison_folder": 1}')
    status, _, err = lrkit("report", "compared", "run")
    assert (status, err) == (
        2,
        "lrkit: error: comparisons and runs can't be joined: compared is a comparison, and run is none\n",
    )

"""What records mustn't be wrong about in silence: clocks, summaries, several runs, what comes after training."""

import json

import numpy as np
import pytest

import lrkit as package
from log_forms import HF, LAST_EVALUATE, TOTAL, events, hf, lines, put
from lrkit import InputError
from lrkit.output.import_command import summarise


def read(folder, path, *rows, **options):
    return package.read_history(put(folder, path, lines(*rows)), **options)


def said(history):
    return "; ".join(history.made["imported"]["said"])


# --- which column ------------------------------------------------------------------------------------


def test_a_mean_of_the_whole_training_is_no_curve(tmp_path):
    rows = ["0,,0.1", "1,2.0,0.1", "2,1.0,0.1"]
    found = read(tmp_path, "a.csv", "step,loss,lr,train_loss", *(f"{row}," for row in rows), "2,,,1.5")
    assert found.losses.tolist() == [2, 2, 1]
    assert "loss (2 points) is taken for the training loss, not train_loss (1)" in said(found)
    with pytest.raises(InputError, match="train_loss has a single point, which is no curve"):
        read(tmp_path, "b.csv", "step,train_loss,lr,val_loss", *(f"{step},,0.1,1" for step in range(4)), "3,1.5,,")


def test_the_table_of_a_trainer_leaves_out_its_totals(tmp_path):
    names = ["loss", "learning_rate", "epoch", "step", "eval_loss", "train_runtime", "train_loss"]
    rows = [",".join(str(row.get(name, "")) for name in names) for row in hf(TOTAL, LAST_EVALUATE)]
    found = read(tmp_path, "log.csv", ",".join(names), *rows)
    assert found.losses[HF["at"]].tolist() == HF["losses"]
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(20, 2.1), (40, 1.8)]
    assert found.made["imported"]["after_training"]["eval_loss"] == {"step": 40, "value": 1.7}
    assert "what was measured after training is left out: eval_loss 1.7" in said(found)


def test_a_loss_may_be_a_sum(tmp_path):
    head = "step,recon_loss,kl_loss,lr,val_recon_loss,val_kl_loss"
    rows = [f"{step},{2 - step / 4},0.5,0.1,1,{step}" for step in range(4)]
    with pytest.raises(InputError) as error:
        read(tmp_path, "vae.csv", head, *rows)
    assert error.value.arguments == ["loss", "valid_loss"]
    for name in ("recon_loss", "kl_loss", "val_recon_loss", "val_kl_loss"):
        assert name in str(error.value)
    chosen = {"loss": "recon_loss+kl_loss", "valid_loss": "val_recon_loss + val_kl_loss"}
    found = read(tmp_path, "vae.csv", head, *rows, **chosen)
    assert found.losses.tolist() == [2.5, 2.25, 2, 1.75]
    assert [each.valid_loss for each in found.epochs] == [1, 2, 3, 4]
    left = read(tmp_path, "vae.csv", head, *rows, loss="recon_loss", valid_loss="none")
    assert [each.valid_loss for each in left.epochs] == [None]
    assert "not read: kl_loss, val_recon_loss, val_kl_loss" in said(left)
    with pytest.raises(InputError, match=r"loss must be something that .* has, not 'recon'"):
        read(tmp_path, "vae.csv", head, *rows, loss="recon+kl_loss")


def test_losses_of_several_sets_are_asked_about(tmp_path):
    rows = [{"eval_news_loss": 2.2, "step": 20}, {"eval_code_loss": 1.2, "step": 20}]
    file = put(tmp_path, "trainer_state.json", json.dumps({"global_step": 40, "log_history": [*hf()[:2], *rows]}))
    with pytest.raises(InputError, match=r"to choose from: eval_news_loss, eval_code_loss"):
        package.read_history(file)
    assert package.read_history(file, valid_loss="eval_code_loss").epochs[0].valid_loss == 1.2


def test_a_single_loss_of_an_unknown_name_is_taken_and_said(tmp_path):
    found = read(tmp_path, "a.csv", "step,hinge_loss,lr", "0,2,0.1", "1,1,0.1")
    assert found.losses.tolist() == [2, 1]
    assert said(found) == "hinge_loss is taken for the training loss, the only one"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("train_lr", "train_min_lr"), ["train_lr"]),
        (("base_lr", "lr"), ["lr"]),
        (("x/lr0", "x/lr1"), ["x/lr0", "x/lr1"]),
        (("learningRate", "momentum"), ["learningRate"]),
        (("lr-AdamW/pg1", "lr-AdamW/pg2", "lr-AdamW/pg1-momentum"), ["lr-AdamW/pg1", "lr-AdamW/pg2"]),
        (("opt/lr", "loss_lr_scale"), ["opt/lr"]),
        (("LR", "lr_scheduler_step"), ["LR"]),
    ],
)
def test_rates_are_known_by_their_words(tmp_path, names, chosen):
    found = read(
        tmp_path, "a.csv", f"step,loss,{','.join(names)}", f"0,1{',0.5' * len(names)}", f"1,1{',0.3' * len(names)}"
    )
    assert found.made["imported"]["names"]["lr"] == chosen


def test_a_refusal_names_all_that_is_missing_at_once(tmp_path, lrkit):
    rows = [f"{fold},{step},1,2" for fold in (0, 1) for step in range(4)]
    with pytest.raises(InputError) as error:
        read(tmp_path, "all.csv", "fold,step,a_loss,b_loss", *rows)
    assert error.value.arguments == ["run", "loss", "lr"]
    _, _, err = lrkit("import", "all.csv", "--out", "run")
    assert err.count("\n") == 1
    for option in ("--run NAME", "--loss NAME", "--lr NAME"):
        assert option in err


# --- which clock -------------------------------------------------------------------------------------


def test_the_count_that_goes_back_less_is_the_step(tmp_path):
    rows = [
        f"{epoch},{step},{epoch * 100 + step},{2 - epoch / 4},0.1" for epoch in range(3) for step in (0, 25, 50, 75)
    ]
    found = read(tmp_path, "a.csv", "epoch,step,global_step,loss,lr", *rows)
    assert len(found.lr) == 276
    assert [each.step for each in found.epochs] == [100, 200, 276]
    assert found.losses[[0, 100, 200]].tolist() == [2, 1.75, 1.5]


def test_rates_and_validation_may_count_epochs_beside_updates(tmp_path):
    scalars = [("train/loss", 2 - step / 100, step) for step in range(100)]
    scalars += [("lr", lr, epoch) for epoch, lr in enumerate((0.1, 0.1, 0.01, 0.01))]
    events(tmp_path / "run", [*scalars, *(("val/loss", 1.5, epoch) for epoch in range(4))])
    found = package.read_history(tmp_path / "run")
    assert np.array_equal(found.lr, np.repeat(np.float32([0.1, 0.01]), 50))
    assert [each.step for each in found.epochs] == [25, 50, 75, 100]
    assert "lr counts epochs, of 25 updates each" in said(found)
    assert found.made["imported"]["between"] == "hold"


@pytest.mark.parametrize("place", [0, 99])
def test_rates_that_were_logged_once_an_epoch_are_held_within_it(tmp_path, place):
    rows = []
    for epoch, lr in enumerate((0.1, 0.1, 0.01, 0.01)):
        own = [(epoch * 100 + place, f"{lr},,")]
        own += [(epoch * 100 + step, f",{2 - epoch / 4},") for step in (49, 99)] + [(epoch * 100 + 99, ",,1.5")]
        rows += [f"{epoch},{step},{cells}" for step, cells in sorted(own)]
    found = read(tmp_path, "metrics.csv", "epoch,step,lr-SGD,train_loss,val_loss", *rows)
    assert np.array_equal(found.lr, np.repeat([0.1, 0.01], 200))
    assert "lr-SGD was logged once an epoch, and is held within it" in said(found)
    drawn = package.read_history(tmp_path / "metrics.csv", between="linear")
    assert not np.array_equal(drawn.lr, found.lr)


@pytest.mark.parametrize("measured", ["Loss/val", "Loss/test", "Accuracy/val"])
def test_steps_that_may_be_epochs_are_asked_about(tmp_path, measured):
    scalars = [(tag, 2 - epoch / 10, epoch) for tag in ("Loss/train", measured) for epoch in range(8)]
    events(tmp_path / "run", [*scalars, *(("LR", 0.1 - epoch / 100, epoch) for epoch in range(8))])
    with pytest.raises(InputError, match="whether its steps count epochs") as error:
        package.read_history(tmp_path / "run")
    assert error.value.arguments == ["epoch_steps"]
    found = package.read_history(tmp_path / "run", epoch_steps=5)
    assert [each.step for each in found.epochs] == [5 * count for count in range(1, 9)]
    assert found.lr[[0, 4, 5, 39]] == pytest.approx([0.1, 0.1, 0.09, 0.03])
    assert len(package.read_history(tmp_path / "run", epoch_steps=1).lr) == 8


def test_kerass_batches_are_the_updates_of_its_epochs(tmp_path):
    batches = [("batch_loss", 2 - batch / 40, batch) for batch in range(40)]
    epochs = [("epoch_loss", 9.0, epoch) for epoch in range(4)]
    epochs += [("epoch_learning_rate", 0.1 / 2**epoch, epoch) for epoch in range(4)]
    events(tmp_path / "logs" / "train", [*batches, *epochs])
    events(tmp_path / "logs" / "validation", [("epoch_loss", 2 - epoch / 4, epoch) for epoch in range(4)])
    found = package.read_history(tmp_path / "logs")
    assert found.losses.tolist() == pytest.approx([2 - batch / 40 for batch in range(40)])
    assert found.lr.tolist() == pytest.approx(np.repeat([0.1, 0.05, 0.025, 0.0125], 10).tolist())
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(10, 2), (20, 1.75), (30, 1.5), (40, 1.25)]


def test_a_table_that_begins_late_keeps_its_place(tmp_path):
    late = read(tmp_path, "keras.csv", "epoch,loss,lr,val_loss", "10,2,0.2,2.2", "11,1.5,0.1,2", epoch_steps=4)
    assert [each.step for each in late.epochs] == [44, 48]
    assert late.lr[[0, 43, 44]].tolist() == [0.2, 0.2, 0.1]
    assert "its first epoch is 10, counted from 0" in said(late)
    assert [each.step for each in package.read_history(tmp_path / "keras.csv", epoch_steps=4, first_step=1).epochs] == [
        40,
        44,
    ]
    steps = read(tmp_path, "steps.csv", "step,loss,lr", *(f"{step},1,0.1" for step in range(2160, 2300, 10)))
    assert len(steps.lr) == 2290
    assert "its first row is after 2160 updates" in said(steps)


def test_epochs_of_validation_are_counted_with_those_of_training(tmp_path):
    rows = [f"{epoch},{2 - epoch / 10},0.1,{1.5 if epoch % 5 == 0 else ''}" for epoch in range(1, 11)]
    found = read(tmp_path, "a.csv", "epoch,loss,lr,val_loss", *rows, epoch_steps=2)
    assert [each.step for each in found.epochs] == [10, 20]


@pytest.mark.parametrize("progress", [True, False])
def test_epochs_before_the_first_row_are_counted(tmp_path, progress):
    rows = [
        (epoch + step / 100 if progress else epoch, epoch * 100 + step) for epoch in (3, 4, 5) for step in (50, 100)
    ]
    found = read(
        tmp_path, "a.csv", "step,epoch,loss,lr", *(f"{step},{epoch},1,0.1" for epoch, step in rows), first_step=1
    )
    assert [each.step for each in found.epochs] == [100, 200, 300, 400, 500, 600]


# --- whose rates -------------------------------------------------------------------------------------


def state(folder, rates, planned, version=None):
    rows = [{"loss": 1.0, "learning_rate": lr, "epoch": step / 100, "step": step} for step, lr in rates]
    if version:
        put(folder, "config.json", json.dumps({"transformers_version": version}))
    return put(
        folder,
        "trainer_state.json",
        json.dumps({"global_step": rates[-1][0], "max_steps": planned, "log_history": rows}),
    )


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("shape", ["warmup", "decay", "cosine", "version"])
def test_the_next_updates_rate_is_told_by_the_record_itself(tmp_path, shape, ahead):
    """Trainer's schedules are 0 at the first update and after the last; before 4.51 it logged the next one's rate."""

    def rate(update):
        if shape == "warmup":
            return 1e-3 * min(update / 60, 1)
        if shape == "cosine":
            return 1e-3 * (min(update / 7, 1) if update < 7 else (1 + np.cos(np.pi * (update - 7) / 193)) / 2)
        return 1e-3 * (1 - update / 200) if shape == "decay" else 1e-3 * (1 - (update / 200) ** 2)

    logged = [(step, rate(step if ahead else step - 1)) for step in range(20, 161, 20)]
    version = None if shape != "version" else "4.45.2" if ahead else "4.57.1"
    found = package.read_history(state(tmp_path, logged, 200, version))
    assert found.made["imported"]["lr_ahead"] is ahead
    assert found.made["imported"]["lr_note"] is None
    assert [found.lr[step if ahead else step - 1] for step, _ in logged[:-1]] == [lr for _, lr in logged[:-1]]


def test_events_and_tables_of_wandb_tell_it_too(tmp_path):
    logged = [(step, 1e-3 * min(step / 60, 1), step / 50) for step in range(20, 161, 20)]
    names = ("train/learning_rate", "train/epoch", "train/loss")
    events(
        tmp_path / "run",
        [(name, value, step) for step, *row in logged for name, value in zip(names, [*row, 1], strict=True)],
    )
    table = put(
        tmp_path,
        "wandb.csv",
        lines(
            f"_step,train/global_step,{','.join(names)}",
            *(f"{place},{step},{lr},{epoch},1" for place, (step, lr, epoch) in enumerate(logged)),
        ),
    )
    for record in (tmp_path / "run", table):
        found = package.read_history(record)
        assert found.lr[20] == pytest.approx(logged[0][1])
        assert "rates are those of the next update" in said(found)


def test_where_rates_dont_show_whose_they_are_it_is_said(tmp_path):
    logged = [(step, 1e-3 * (1 - (step / 200) ** 2)) for step in range(20, 161, 20)]
    found = package.read_history(state(tmp_path, logged, 200))
    assert "doesn't show whether rates are those that were used" in said(found)
    constant = package.read_history(state(tmp_path, [(step, 1e-3) for step in range(20, 161, 20)], 200))
    assert constant.made["imported"]["lr_note"] is None


# --- several runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "labels"),
    [("fold", ["0", "1"]), ("run", ["owl", "cat"]), ("batch_size", ["32", "64"]), ("optimizer", ["sgd", "adam"])],
)
@pytest.mark.parametrize("interleaved", [True, False])
def test_a_column_that_tells_runs_apart_is_asked_about(tmp_path, column, labels, interleaved):
    rows = [
        (step, label, f"{label},{step},{2 - step / 10 + labels.index(label)},0.1")
        for label in labels
        for step in range(6)
    ]
    if interleaved:
        rows.sort(key=lambda row: row[0])
    file = put(tmp_path, "runs.csv", lines(f"{column},step,loss,lr", *(row for *_, row in rows)))
    with pytest.raises(InputError, match=rf"which of 2 runs is meant \(told apart by {column}\)") as error:
        package.read_history(file)
    assert list(error.value.missing[0].choices) == labels
    chosen = package.read_history(file, run=labels[1])
    assert chosen.losses.tolist() == pytest.approx([3 - step / 10 for step in range(6)])
    assert chosen.made["name"] == f"runs-{labels[1]}"
    every = package.read_histories(file)
    assert list(every) == labels
    assert every[labels[1]] == chosen
    with pytest.raises(InputError, match=r"run must be one of those in .* not 'none'"):
        package.read_history(file, run="none")


def test_several_columns_may_tell_runs_apart_together(tmp_path):
    rows = [f"{model},{seed},{step},1,0.1" for model in "ab" for seed in (0, 1) for step in range(4)]
    found = package.read_histories(put(tmp_path, "a.csv", lines("model,seed,step,loss,lr", *rows)))
    assert list(found) == ["a/0", "a/1", "b/0", "b/1"]


def test_folds_are_runs_also_where_their_count_goes_on(tmp_path):
    rows = [f"{step // 4},{step},1,0.1" for step in range(12)]
    assert list(package.read_histories(put(tmp_path, "a.csv", lines("fold,step,loss,lr", *rows)))) == ["0", "1", "2"]


def test_a_record_that_goes_back_to_its_first_step_has_several_runs(tmp_path):
    rows = [f"{step},{start - step / 10},0.1" for start in (2, 3) for step in range(6)]
    file = put(tmp_path, "a.csv", lines("step,loss,lr", *rows))
    with pytest.raises(InputError, match=r"which of 2 runs is meant \(it goes back to its first step\)"):
        package.read_history(file)
    assert package.read_history(file, run="2").losses[0] == 3
    for start in (2, 3):
        events(tmp_path / "run", [(tag, start - step / 10, step) for step in range(6) for tag in ("loss", "lr")])
    assert [each.losses[0] for each in package.read_histories(tmp_path / "run").values()] == [2, 3]


@pytest.mark.parametrize("column", ["", "attempt,"])
def test_a_resume_is_one_run_and_said(tmp_path, column):
    rows = [(1, step) for step in range(30)] + [(2, step) for step in range(20, 50)]
    told = [f"{number},{step},{number},0.1" if column else f"{step},{number},0.1" for number, step in rows]
    found = read(tmp_path, "a.csv", f"{column}step,loss,lr", *told)
    assert found.losses[[19, 20, 49]].tolist() == [1, 2, 2]
    assert "the record goes back from step 29 to 20" in said(found)
    assert "loss: loss (50 of 60 points)" in summarise(found)


def test_a_heading_that_is_repeated_begins_another_run(tmp_path):
    rows = ["0,1,0.1", "1,2,0.1"]
    found = package.read_histories(put(tmp_path, "a.csv", lines("step,loss,lr", *rows, "step,loss,lr", *rows)))
    assert list(found) == ["1", "2"]
    assert "its heading stands 1 more time among its rows" in said(found["1"])


def test_points_that_repeat_a_step_are_said(tmp_path):
    found = read(tmp_path, "a.csv", "step,loss,lr", "0,2,0.1", "0,3,0.1", "1,1,0.1")
    assert (found.losses.tolist(), said(found)) == ([3, 1], "1 of 3 points of loss repeat a step: the last one counts")


def test_exported_charts_of_several_runs_name_them(tmp_path):
    head = '"Step","owl-1 - loss","owl-1 - loss__MIN","cat-2 - loss","cat-2 - loss__MIN"'
    file = put(
        tmp_path,
        "chart.csv",
        lines(head, *(f'"{step}","{2 - step / 10}","0","{3 - step / 10}","0"' for step in range(4))),
    )
    with pytest.raises(InputError, match="owl-1, cat-2") as error:
        package.read_history(file)
    assert error.value.arguments == ["run", "lr"]
    found = package.read_history(file, run="cat-2", lr=0.1)
    assert found.losses.tolist() == pytest.approx([3, 2.9, 2.8, 2.7])
    assert "loss__MIN" in said(found)


def test_commands_read_one_run_or_all(lrkit, tmp_path):
    put(
        tmp_path,
        "folds.csv",
        lines("fold,step,loss,lr", *(f"{fold},{step},{2 - step / 9},0.1" for fold in (0, 1) for step in range(9))),
    )
    assert lrkit("import", "folds.csv", "--out", "one", "--run", "1")[0] == 0
    assert package.RunFolder.load(tmp_path / "one") == package.read_history(tmp_path / "folds.csv", run="1")
    status, out, _ = lrkit("import", "folds.csv", "--out", "every", "--run", "all")
    assert (status, out.count("run folder every/")) == (0, 2)
    assert package.RunFolder.load(tmp_path / "every" / "0").made["name"] == "folds-0"
    status, out, _ = lrkit("report", "folds.csv", "--run", "all", "--name", "a", "--name", "a", "--json")
    found = json.loads(out)
    assert (status, [each["n_seeds"] for each in found["schedules"]]) == (0, [2])
    assert len(found["read"]) == 2
    for command in ("report", "predict"):
        status, _, err = lrkit(command, "folds.csv")
        assert (status, err.count("\n")) == (2, 1)
        assert "which of 2 runs is meant (told apart by fold) in folds.csv; pass --run NAME" in err


# --- before and after training -----------------------------------------------------------------------


def test_what_lightning_measures_outside_of_fit_is_no_epoch(tmp_path):
    rows = [
        "0,0,,2.9,,",
        "0,1,2.0,,,0.1",
        "0,3,1.5,,,0.1",
        "0,3,,1.7,,",
        "1,7,1.0,,,0.1",
        "1,7,,1.3,,",
        "2,8,,0.9,,",
        "2,8,,,1.1,",
    ]
    found = read(tmp_path, "metrics.csv", "epoch,step,train_loss,val_loss,test_loss,lr-SGD", *rows)
    assert [(each.step, each.valid_loss, each.test_loss) for each in found.epochs] == [(4, 1.7, None), (8, 1.3, None)]
    assert "what was measured before training is left out: val_loss 2.9" in said(found)
    assert "what was measured after training is left out: val_loss 0.9, test_loss 1.1" in said(found)
    assert "validation loss: val_loss (2 of 4 points)" in summarise(found)
    assert found.made["imported"]["before_training"]["val_loss"]["value"] == 2.9


def test_lightnings_events_leave_out_the_same(tmp_path):
    put(tmp_path / "run", "hparams.yaml", "lr: 0.1\n")
    rows = [(step, step // 4, 2 - step / 8) for step in range(8)]
    events(tmp_path / "run", [("val_loss", 2.9, 0), ("epoch", 0, 0)])
    fitted = [
        (tag, value, step) for step, epoch, loss in rows for tag, value in (("train_loss", loss), ("epoch", epoch))
    ]
    fitted[8:8] = [("val_loss", 1.7, 3), ("epoch", 0, 3)]
    events(
        tmp_path / "run", [*fitted, ("val_loss", 1.3, 7), ("epoch", 1, 7), ("val_loss", 0.9, 8), ("test_loss", 1.1, 8)]
    )
    found = package.read_history(tmp_path / "run")
    assert [(each.step, each.valid_loss, each.test_loss) for each in found.epochs] == [
        (4, pytest.approx(1.7), None),
        (8, pytest.approx(1.3), None),
    ]
    assert set(found.lr.tolist()) == {0.1}


def test_what_was_measured_before_the_first_update_is_said(tmp_path):
    rows = ["0,,,3.0", *(f"{step},{3 - step / 10},0.1,{2.5 if step % 2 == 0 else ''}" for step in range(1, 5))]
    found = read(tmp_path, "a.csv", "step,loss,lr,val_loss", *rows)
    assert [each.step for each in found.epochs] == [2, 4]
    assert found.made["imported"]["before_training"] == {"val_loss": {"step": -1, "value": 3.0}}
    assert "what was measured before the first update is left out: val_loss 3" in said(found)


def test_an_evaluation_after_the_totals_isnt_the_final_loss_in_events_either(tmp_path):
    scalars = [("train/loss", 3 - step / 10, step) for step in (10, 20)] + [
        ("train/learning_rate", 0.1, step) for step in (10, 20)
    ]
    events(tmp_path / "run", [*scalars, ("eval/loss", 1.9, 20), ("train/train_runtime", 9.0, 20)])
    events(tmp_path / "run", [("eval/loss", 1.6, 20)])
    assert [each.valid_loss for each in package.read_history(tmp_path / "run").epochs] == [pytest.approx(1.9)]


# --- what lies beside --------------------------------------------------------------------------------


def test_a_rate_that_isnt_logged_is_looked_for_in_a_configuration(tmp_path):
    table = ["epoch,step,train_loss", "0,49,2.0", "0,99,1.5"]
    put(tmp_path, "hparams.yaml", "lr: 1e-2\nweight_decay: 0.1\nscheduler: null\n")
    found = read(tmp_path, "metrics.csv", *table)
    assert set(found.lr.tolist()) == {0.01}
    assert "no rate was logged, and hparams.yaml beside has lr 0.01: held throughout" in said(found)
    put(tmp_path, "hparams.yaml", "optim:\n  lr: 0.01\nscheduler: cosine\n")
    with pytest.raises(InputError, match=r"hparams.yaml beside has optim/lr 0.01, scheduler cosine"):
        read(tmp_path, "metrics.csv", *table)


def test_rows_say_of_which_data_they_are(tmp_path):
    rows = [{"mode": "train", "iter": step, "loss": 2 - step / 10, "lr": 0.1} for step in range(1, 5)]
    rows.insert(2, {"mode": "val", "iter": 1, "loss": 1.9})  # the count of validation's own batches
    found = package.read_history(
        put(tmp_path, "log.jsonl", lines(*map(json.dumps, [*rows, {"mode": "val", "iter": 1, "loss": 1.5}])))
    )
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(2, 1.9), (4, 1.5)]
    assert found.losses.tolist() == pytest.approx([1.9, 1.8, 1.7, 1.6])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "cp1252"])
def test_text_is_read_however_a_shell_wrote_it(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("step,loss,lr,größe\n0,2,0.1,1\n1,1,0.1,1\n".encode(encoding))
    assert package.read_history(tmp_path / "a.csv").losses.tolist() == [2, 1]


def test_progress_within_an_epoch_is_a_step(tmp_path):
    batches = [
        f"Train: {epoch} [{batch:4d}/10 ({batch * 10}%)]  Loss: {2 - epoch:.3f} ({2:.3g})  LR: 1.0e-02"
        for epoch in (0, 1)
        for batch in (0, 5, 9)
    ]
    found = read(tmp_path, "timm.log", *batches)
    assert (len(found.lr), found.losses[[0, 9, 10, 19]].tolist()) == (20, [2, 2, 1, 1])
    samples = [
        f"Train Epoch: {epoch} [{batch * 64}/60000 (0%)]\tLoss: {2 - epoch / 2:.6f}"
        for epoch in (1, 2)
        for batch in (0, 400, 800)
    ]
    with pytest.raises(InputError) as error:
        read(tmp_path, "mnist.log", *samples)
    assert error.value.arguments == ["lr", "epoch_steps"]
    assert len(read(tmp_path, "mnist.log", *samples, lr=0.1, epoch_steps=938).lr) == 938 + 801


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "is a pointer of Git LFS"),
        ("events.out.tfevents.1", "version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        ("a.json", "", "is empty"),
        ("a.json", "[1, 2, 3]", "is a JSON list with a number in it"),
        ("a.json", "[]", "is an empty JSON list"),
        ("a.json", '"text"', "is no JSON"),
        ("a.json", "hello", "is no JSON"),
        ("a.json", '{"log_history": [{"step": 1, "lo', "is cut off: its JSON ends in the middle"),
        ("a.json", '{"train_loss": 0.5, "epoch": 3}', "one value for each name is a summary"),
        ("a.json", '{"a": [{"x": 1}], "b": [{"x": 1}]}', r"several lists of rows \(a, b\)"),
        (
            "trainer_state.json",
            '{"log_history": [{"step": 1, "loss": 1}], "global_step": "x"}',
            "global_step is no whole number",
        ),
        ("a.jsonl", "nothing\nhere\n", "is no JSON"),
        ("a.txt", "nothing to see here\n", "no lines that say a step or an epoch and a loss"),
        ("a.csv", "1,2,3\n4,5,6\n", "has no heading"),
        ("a.wandb", ":W&B\x00\x01", r"is a local file of Weights & Biases.*\.to_csv"),
        ("a.csv.gz", "\x1f\x8b", "is compressed"),
    ],
)
def test_what_is_something_else_is_said_as_what_it_is(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=sentence) as error:
        package.read_history(tmp_path / name)
    assert "\n" not in str(error.value)


def test_lines_that_were_cut_off_are_left_out_and_said(tmp_path):
    rows = [json.dumps({"step": step, "loss": 1.0, "lr": 0.1}) for step in range(3)]
    file = put(tmp_path, "a.jsonl", "\n".join(rows)[:-5])
    found = package.read_history(file)
    assert (len(found.lr), said(found)) == (2, "its last line was cut off")


def test_damaged_events_are_read_up_to_the_damage(tmp_path):
    events(tmp_path / "run", [(tag, 2 - step / 10, step) for step in range(9) for tag in ("loss", "lr")])
    [file] = (tmp_path / "run").glob("*")
    data = bytearray(file.read_bytes())
    whole = len(package.read_history(tmp_path / "run").lr)
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = package.read_history(tmp_path / "run")
    assert len(found.lr) < whole
    assert "is damaged after" in said(found)


# --- forms that are easily taken for another ---------------------------------------------------------


def test_nothing_in_a_row_of_validation_is_no_divergence(tmp_path):
    rows = [f"{step},{2 - step / 10},nan,0.1" for step in range(4)]
    rows[2:2] = ["1,nan,1.5,nan"]
    found = read(tmp_path, "a.csv", "step,loss,val_loss,lr", *rows, "3,nan,1.25,nan")
    assert found.losses.tolist() == pytest.approx([2, 1.9, 1.8, 1.7])
    assert [each.valid_loss for each in found.epochs] == [1.5, 1.25]
    diverged = read(tmp_path, "b.csv", "step,loss,val_loss,lr", *rows[:3], "2,nan,nan,0.1", "3,nan,nan,0.1")
    assert diverged.diverged.step == 2


def test_rows_of_one_epoch_without_a_step_may_be_updates(tmp_path):
    rows = ["0.5,0,", "0.4,0,", ",0,0.45", "0.3,1,", "0.2,1,", ",1,0.25"]
    file = put(tmp_path, "metrics.csv", lines("loss,epoch,val_loss", *rows))
    with pytest.raises(InputError, match="step='rows' takes each row for an update"):
        package.read_history(file)
    found = package.read_history(file, step="rows", lr=0.1)
    assert found.losses.tolist() == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(2, 0.45), (4, 0.25)]


def test_tables_as_pandas_writes_them_into_json_are_read(tmp_path):
    columns = {"step": {"0": 0, "1": 1}, "loss": {"0": 2.0, "1": 1.0}, "lr": {"0": 0.1, "1": 0.1}}
    rows = {str(step): {"step": step, "loss": 2.0 - step, "lr": 0.1} for step in range(2)}
    for number, document in enumerate((columns, rows)):
        assert package.read_history(put(tmp_path, f"{number}.json", json.dumps(document))).losses.tolist() == [2, 1]


def test_the_time_of_each_row_isnt_the_time_since_the_begin(tmp_path):
    rows = [f"{epoch},1,0.1,{10.5 + epoch / 100}" for epoch in range(3)]
    assert [each.seconds for each in read(tmp_path, "a.csv", "epoch,loss,lr,time", *rows).epochs] == [0, 0, 0]
    rows = [f"{epoch},1,0.1,{10 * (epoch + 1)}" for epoch in range(3)]
    assert [each.seconds for each in read(tmp_path, "b.csv", "epoch,loss,lr,time", *rows).epochs][1:] == [10, 10]


def test_lines_of_a_text_log_belong_to_the_heading_before(tmp_path):
    rows = []
    for epoch in range(3):
        rows += [
            f"Epoch {epoch}:",
            f"  train: loss={2 - epoch / 4} acc=0.5",
            f"  val: loss={2.5 - epoch / 4} acc=0.5",
            "  lr: 0.1",
        ]
    found = read(tmp_path, "a.log", *rows)
    assert found.losses.tolist() == [2, 1.75, 1.5]
    assert [each.valid_loss for each in found.epochs] == [2.5, 2.25, 2]


def test_the_console_of_a_trainer_has_its_totals_too(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "step"} for row in hf(TOTAL, LAST_EVALUATE)]
    found = read(tmp_path, "a.log", *map(str, rows), epoch_steps=20)
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(20, 2.1), (40, 1.8)]
    assert "what was measured after training is left out: eval_loss 1.7" in said(found)
    assert "steps follow from fractions of epochs" in said(found)
    assert "doesn't show whether rates" in said(found)


def test_settings_at_the_begin_of_a_log_are_no_rows(tmp_path):
    settings = ["INFO:__main__:  epochs: 2", "INFO:__main__:  learning_rate: 0.5", "INFO:__main__:  max_steps: None"]
    rows = [f"INFO:__main__:Epoch 1, Step {step}: loss={2 - step / 10:.2f}, lr={0.1:.2e}" for step in range(4)]
    found = read(tmp_path, "a.log", *settings, *rows)
    assert found.losses.tolist() == pytest.approx([2, 1.9, 1.8, 1.7])
    assert found.made["imported"]["names"]["lr"] == ["lr"]


def test_steps_of_a_trainers_console_are_those_of_its_progress_bar(tmp_path):
    out = ["Map: 100%|####| 5200/5200 [00:01<00:00, 9.9it/s]\n"]
    rows = hf(TOTAL)
    for step in range(1, 41):
        out.append(f"\r {step}%|#   | {step}/40 [00:01<00:10,  1.2it/s]")
        for row in (row for row in rows if row["step"] == step):
            if "eval_loss" in row:
                out += [f"\r 20%|#  | {count}/5 [00:00<00:01]" for count in range(1, 6)]
            printed = {
                name: round(value, 2) if name == "epoch" else value for name, value in row.items() if name != "step"
            }
            out.append(f"      {printed}\n\r {step}%|#   | {step}/40 [00:01<00:10,  1.2it/s]")
    found = package.read_history(put(tmp_path, "train.log", "".join(out)))
    assert found.losses[HF["at"]].tolist() == HF["losses"]
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(20, 2.1), (40, 1.8)]
    assert len(found.lr) == 40


def test_lines_of_a_steps_number_and_of_its_loss_go_together(tmp_path):
    rows = []
    for step in range(1, 5):
        rows += [f"current step: {step}th step", f"batch loss:{3 - step / 4}"]
    assert read(tmp_path, "a.log", *rows, lr=0.1).losses.tolist() == [2.75, 2.5, 2.25, 2]


def test_headings_in_rules_are_read(tmp_path):
    rows = []
    for epoch in (0, 1):
        rows += [
            f"=====epoch {epoch}",
            *(f"iteration: {step} loss: {3 - epoch} loss_l: 1.0 lr=1e-1" for step in (1, 2, 3)),
        ]
    found = read(tmp_path, "a.log", *rows)
    assert (found.losses.tolist(), [each.step for each in found.epochs]) == ([3, 3, 3, 2, 2, 2], [3, 6])


def test_progress_bars_with_a_loss_count_the_batches_of_their_epochs(tmp_path):
    bars = []
    for epoch in (0, 1):
        for batch in range(6):
            loss = f", loss={2 - epoch - batch / 10:.3f}, lr=0.1" if batch else ""
            bars.append(f"\rEpoch {epoch}: {20 * batch}%|##   | {batch}/5 [00:05<00:05, 90.1it/s{loss}]")
        bars.append("\n")
    found = package.read_history(put(tmp_path, "train.log", "".join(bars)))
    assert found.losses.tolist() == pytest.approx([1.9, 1.8, 1.7, 1.6, 1.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert [each.step for each in found.epochs] == [5, 10]


def test_what_is_said_of_an_epoch_after_its_steps_is_at_its_end(tmp_path):
    rows = []
    for epoch in (1, 2):
        rows += [f"Epoch {epoch}", *(f"Iter {step} | train_loss {3 - epoch} | lr 1e-3" for step in (10, 20))]
        rows += [f">>> Epoch {epoch} done: val_loss {2.5 - epoch / 4}"]
    found = read(tmp_path, "a.log", *rows, epoch_steps=25)
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(25, 2.25), (50, 2)]
    assert found.losses[[9, 19, 34, 44]].tolist() == [2, 2, 1, 1]

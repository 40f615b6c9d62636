"""What a run leaves: the run folder, and what is read from a record."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from lrkit import EpochRecord, History, InputError, Observer, RunFolder, Task, best_epoch, reductions

X = torch.linspace(-1, 1, 40)[:, None]


def task(**changes):
    options = {
        "model": lambda: nn.Linear(1, 1),
        "train": (X, 2 * X),
        "loss": nn.functional.mse_loss,
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batch_size": 10,
        "epochs": 3,
    }
    return Task(**(options | changes))


class StopAt(Observer):
    def __init__(self, step):
        self.at = step

    def step(self, steps):
        if steps == self.at:
            raise KeyboardInterrupt


def test_a_run_folder_gives_the_history_back(tmp_path):
    history = lrkit.run(task(), "linear()", observers=[RunFolder(tmp_path / "new" / "run")])
    loaded = RunFolder.load(tmp_path / "new" / "run")
    assert loaded == history
    assert loaded.made == history.made
    config = json.loads((tmp_path / "new" / "run" / "config.json").read_text())
    assert config["lrkit_run"] == 1
    assert config["schedule"] == "linear(to=0)"


@pytest.mark.parametrize("step", [5, 7, 8])
def test_a_broken_off_run_keeps_its_finished_epochs(tmp_path, step):
    whole = lrkit.run(task(), "linear()")
    with pytest.raises(KeyboardInterrupt):
        lrkit.run(task(), "linear()", observers=[RunFolder(tmp_path), StopAt(step)])
    kept = RunFolder.load(tmp_path)
    assert kept.epochs == whole.epochs[:1]
    assert np.array_equal(kept.lrs, whole.lrs[:4])
    assert {p.name for p in tmp_path.iterdir()} - {".lock"} == {
        "best.pt",
        "config.json",
        "history.json",
        "last.pt",
        "steps.npz",
    }


def test_arrays_that_got_further_than_the_text_are_cut(tmp_path):
    history = lrkit.run(task(), "linear()", observers=[RunFolder(tmp_path)])
    text = json.loads((tmp_path / "history.json").read_text())
    text["epochs"].pop()
    (tmp_path / "history.json").write_text(json.dumps(text))
    assert np.array_equal(RunFolder.load(tmp_path).losses, history.losses[:8])


def test_what_is_not_finite_is_null_in_json(tmp_path):
    with pytest.raises(lrkit.DivergedError):
        lrkit.run(task(valid=(X, X)), "constant()", lr=1e30, observers=[RunFolder(tmp_path)])
    written = json.loads((tmp_path / "history.json").read_text(), parse_constant=pytest.fail)
    assert written["epochs"][0]["train_loss"] is None
    assert np.isnan(RunFolder.load(tmp_path).epochs[0].train_loss)


def test_a_folder_is_overwritten_only_when_asked_and_only_a_run(tmp_path):
    lrkit.run(task(), "linear()", observers=[RunFolder(tmp_path)])
    with pytest.raises(InputError, match="isn't empty"):
        RunFolder(tmp_path)
    lrkit.run(task(epochs=1), "linear()", observers=[RunFolder(tmp_path, overwrite=True)])
    assert len(RunFolder.load(tmp_path).epochs) == 1
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="has files but no run"):
        RunFolder(mine, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "dear"
    with pytest.raises(InputError, match="can't be made"):
        RunFolder(mine / "thesis.txt")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "is not a run folder"),
        (lambda f: (f / "history.json").unlink(), "broken off before its first epoch ended"),
        (lambda f: (f / "history.json").write_text("{"), "can't be read"),
        (lambda f: (f / "history.json").write_text("{}"), "not a history of lrkit"),
        (lambda f: (f / "history.json").write_text('{"lrkit_history": 2}'), "format 2, this lrkit reads up to 1"),
        (lambda f: (f / "steps.npz").write_bytes(b"PK"), "can't be read"),
        (lambda f: (f / "steps.npz").unlink(), "can't be read"),
    ],
)
def test_a_damaged_run_folder_is_refused(tmp_path, spoil, sentence):
    lrkit.run(task(), "linear()", observers=[RunFolder(tmp_path)])
    spoil(tmp_path)
    with pytest.raises(InputError, match=sentence):
        RunFolder.load(tmp_path)


def record(losses=(), rates=(), valid=True):
    count = max(1, len(losses))
    epochs = tuple(
        EpochRecord(i + 1, (i + 1) * len(rates) // count, loss, loss if valid else None, {}, 0.1, 1.0)
        for i, loss in enumerate(losses)
    )
    return History(epochs, np.array(rates, dtype=float).reshape(-1, 1), np.zeros(len(rates), np.float32), {})


@pytest.mark.parametrize("valid", [True, False])
def test_the_best_epoch_is_the_first_with_the_lowest_loss(valid):
    assert best_epoch(record([3.0, 1.0, float("nan"), 1.0], valid=valid)) == 2
    assert best_epoch(record([float("nan")], valid=valid)) is None
    assert best_epoch(record()) is None


def test_reductions_are_falls_at_once():
    rates = [0.1] * 300 + [0.05] * 300 + [0.049] * 300
    assert [(r.step, r.before, r.after) for r in reductions(record(rates=rates))] == [(300, 0.1, 0.05)]
    assert reductions(record(rates=[0.1])) == ()
    for steps in (100, 5000):
        assert reductions(record(rates=lrkit.linear(steps)(range(steps)))) == ()
    assert reductions(record(rates=[0.0] * 5)) == ()
    halved = lrkit.linear(1000, to=0.5) * lrkit.milestones(at=[400], factor=0.5)
    assert [r.step for r in reductions(record(rates=halved(range(1000))))] == [400]
    assert reductions(record(rates=0.5 ** np.arange(50.0))) == ()

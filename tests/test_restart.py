"""A run that begins with another one's weights and moments, and one that goes on at another rate."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lrkit
from lrkit import InputError, RunFolder
from lrkit.output.signals import StopRequest
from test_loop import make

LINEAR = "linear(to=0)"


def adam(**changes):
    return make(optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01), **changes)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The folder of a run."""
    path = tmp_path_factory.mktemp("origin") / "run"
    lrkit.run(adam(), LINEAR, seed=3, observers=[RunFolder(path)])
    return path


def digest(path):
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(path.iterdir())}


def test_another_rate_in_python(origin, tmp_path):
    snapshot = RunFolder.checkpoint(origin)
    with pytest.raises(InputError, match=r"made with lr 0\.01, and lr 0\.02 is named now; name the policy"):
        lrkit.run(adam(epochs=5), LINEAR, resume=snapshot, lr=0.02)
    history = lrkit.run(adam(epochs=5), LINEAR, resume=snapshot, lr=0.02, policy="stretch")
    assert history.lr[20:].tolist() == pytest.approx([0.02 * (1 - t / 25) for t in range(20, 25)])
    assert (history.made["lr"], history.made["named_lr"]) == (0.02, 0.02)
    kept = lrkit.run(adam(epochs=5), LINEAR, resume=snapshot, lr=0.02, policy="keep")
    assert (kept.made["lr"], kept.made["named_lr"]) == (0.01, None)


# --- from the command line ------------------------------------------------------------------------------


TASK = """
import lrkit, torch
x = torch.linspace(-1, 1, 64)[:, None]
task = lrkit.Task(
    model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3, loss=torch.nn.functional.mse_loss,
    optimizer=lambda p: torch.optim.SGD([{"params": [next(p)], "lr": 0.2}, {"params": list(p)}], lr=0.1, momentum=0.9),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, lrkit):
    """A run of 12 updates, in a folder `old` of the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("task.py").write_text(TASK)
    assert lrkit("train", "task.py", "--schedule", LINEAR, "--out", "old", "--quiet")[0] == 0
    return Path("old")


def rates(path):
    return RunFolder.load(path).lrs.tolist()


def test_a_new_folder_that_names_its_origin(folder, lrkit):
    before = digest(folder)
    status, out, _ = lrkit("train", "--resume", folder, "--policy", "restart", "--out", "new", "--lr", "0.5")
    assert status == 0
    assert f"starts at step 0 of 12 with the weights and optimizer state of {folder.resolve()} at step 12" in out
    assert digest(folder) == before
    config = RunFolder.config("new")
    assert config["origin"] == {"folder": str(folder.resolve()), "checkpoint": "last", "steps": 12, "epochs": 3}
    assert rates("new") == pytest.approx(np.outer(1 - np.arange(12) / 12, [0.5, 0.5]))
    assert lrkit("train", "--resume", "new", "--epochs", "4", "--policy", "stretch", "--quiet")[0] == 0
    assert rates("new")[12:] == pytest.approx(np.outer(1 - np.arange(12, 16) / 16, [0.5, 0.5]))
    assert RunFolder.config("new")["origin"] == config["origin"]


def test_broken_off_it_goes_on_with_nothing_else_said(folder, lrkit, monkeypatch):
    anew = ["--resume", folder, "--policy", "restart", "--quiet", "--out"]
    assert lrkit("train", *anew, "whole")[0] == 0
    with monkeypatch.context() as patch:
        calls = iter(range(100))
        patch.setattr(StopRequest, "__call__", lambda self: next(calls) == 4)
        status, _, errors = lrkit("train", *anew, "new")
    assert status == 130
    assert "to go on: lrkit train --resume new" in errors
    assert lrkit("train", "--resume", "new", "--quiet") == (0, "", "")
    assert RunFolder.load("new") == RunFolder.load("whole")
    assert RunFolder.config("new")["origin"] == RunFolder.config("whole")["origin"]


def test_what_was_started_in_python_begins_anew_there(origin, lrkit):
    status, _, errors = lrkit("train", "--resume", origin, "--policy", "restart")
    assert status == 2
    assert f"resume=lrkit.RunFolder.checkpoint({str(origin)!r}), policy='restart')" in errors


def test_a_folder_is_found_and_the_seed_may_be_another(folder, lrkit):
    status, out, _ = lrkit("train", "--resume", folder, "--policy", "restart", "--seed", "7", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["run_dir"].startswith("runs/")
    assert (found["seed"], found["origin"]["steps"], len(found["epochs"])) == (7, 12, 3)
    assert rates(found["run_dir"]) == rates(folder)  # of both groups


@pytest.mark.parametrize(
    ("policy", "after"),
    [
        ("keep", [[0, 0]] * 4),
        ("stretch", np.outer(1 - np.arange(12, 16) / 16, [0.3, 0.3])),
        ("replace", np.outer(1 - np.arange(12, 16) / 16, [0.3, 0.3])),
    ],
)
def test_another_rate(folder, lrkit, policy, after):
    more = ["--resume", folder, "--lr", "0.3", "--epochs", "4"]
    status, _, errors = lrkit("train", *more)
    assert status == 2
    assert "made with lr 0.2, and lr 0.3 is named now; name the policy: 'keep'" in errors
    assert lrkit("train", *more, "--policy", policy, "--quiet")[0] == 0
    assert rates(folder)[12:] == pytest.approx(np.array(after))
    config = RunFolder.config(folder)
    assert (config["lr"], config["named_lr"]) == ((0.2, None) if policy == "keep" else (0.3, 0.3))
    assert lrkit("train", "--resume", folder)[0] == 0
    status, _, errors = lrkit("train", "--resume", folder, "--lr", "0.1")
    assert status == 2, "a policy that was named before is none for another rate"


def test_the_rate_that_a_run_has_needs_no_word(folder, lrkit):
    assert lrkit("train", "task.py", "--schedule", LINEAR, "--out", "named", "--lr", "0.4", "--quiet")[0] == 0
    assert lrkit("train", "--resume", "named", "--lr", "0.4")[0] == 0
    assert lrkit("train", "--resume", "named", "--epochs", "4", "--policy", "keep", "--quiet")[0] == 0
    assert lrkit("train", "--resume", "named", "--lr", "0.4", "--quiet") == (0, "", "")  # the policy holds


def test_param_groups_with_rates_of_their_own_go_on_with_them(folder, lrkit):
    assert rates(folder)[0] == [0.2, 0.1]
    assert lrkit("train", "--resume", folder, "--epochs", "4", "--policy", "replace", "--quiet")[0] == 0
    assert rates(folder)[12:] == pytest.approx(np.outer(1 - np.arange(12, 16) / 16, [0.2, 0.1]))
    for name in ("last.pt", "best.pt", "history.json", "steps.npz"):
        (folder / name).unlink()  # as if it was killed before its first checkpoint
    assert lrkit("train", "--resume", folder, "--quiet")[0] == 0
    assert rates(folder)[0] == [0.2, 0.1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--resume", "old", "--policy", "restart", "--out", "old"], "so --out must be another folder"),
        (
            ["--resume", "old", "--policy", "restart", "--out", "old", "--overwrite"],
            "so --out must be another folder",
        ),
        (["--resume", "old", "--policy", "restart", "--lr", "find"], "so --lr find can't be given with it"),
        (["--resume", "old", "--policy", "restart", "--data", "."], "so --data can't be given with it"),
        (["--resume", "old", "--out", "new"], "so --out can't be given with it"),
        (["--resume", "old", "--seed", "1"], "so --seed can't be given with it"),
        (["--resume", "none", "--policy", "restart"], "none is not a run folder"),
        (["task.py", "--policy", "restart"], "--policy is for a run that goes on with --resume"),
        (["--resume", "old", "--policy", "again"], "--policy must be keep, stretch, replace, restart, not 'again'"),
    ],
)
def test_what_is_asked_wrongly_is_said(folder, lrkit, arguments, sentence):
    before = digest(folder)
    status, _, errors = lrkit("train", *arguments)
    assert (status, errors.count("\n")) == (2, 1)
    assert sentence in errors
    assert digest(folder) == before
    assert sorted(each.name for each in Path().iterdir() if each.is_dir() and each.name != "__pycache__") == ["old"]


def test_a_run_without_a_checkpoint_has_nothing_to_begin_with(folder, lrkit):
    (folder / "last.pt").unlink()
    status, _, errors = lrkit("train", "--resume", folder, "--policy", "restart", "--out", "new")
    assert status == 2
    assert "the run in old has no checkpoint yet, so no other run can begin with its weights" in errors
    assert not Path("new").exists()

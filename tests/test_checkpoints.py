"""What lies on disk is enough to go on from, at whatever moment the process dies."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from crashes import KilledError, crash_at
from lrkit import InputError, Observer, RunFolder
from lrkit.training.checkpoint import Pace, load_checkpoint
from test_loop import make

PLAN = "warmup(3) >> plateau(patience=0, factor=0.5, threshold=0.3)"


class StopAfter(Observer):
    def __init__(self, steps):
        self.at = steps

    def step(self, steps):
        if steps == self.at:
            raise KilledError


def train(path, task=None, *observers, **options):
    """Train in a folder, going on with what is there."""
    there = (path / "config.json").exists()
    folder = RunFolder(path, resume=there, overwrite=not there, checkpoint_every=2)
    return lrkit.run(task or make(), PLAN, observers=[folder, *observers], resume=folder.snapshot, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the history of a run that was never interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, train(path)


def same_weights(one, other, which):
    first, second = (RunFolder.checkpoint(path, which)["model"] for path in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_crash_at_any_write_point_loses_nothing(tmp_path, monkeypatch):
    expected, task = tmp_path / "whole", make(epochs=2)
    with monkeypatch.context() as patch:
        points = crash_at(patch, 0)
        history = train(expected, task)
    assert points[0] > 50
    for event in range(1, points[0] + 1):
        path = tmp_path / str(event)
        with monkeypatch.context() as patch:
            crash_at(patch, event)
            with pytest.raises(KilledError):
                train(path, task)
        if (path / "config.json").exists() and (path / "history.json").exists():
            kept = RunFolder.load(path).epochs
            assert kept == history.epochs[: len(kept)]
        assert train(path, task) == RunFolder.load(path) == history
        assert same_weights(path, expected, "last"), event
        assert same_weights(path, expected, "best"), event


def restart(path, snapshot, *, overwrite=False):
    """Begin with the weights of a snapshot, or go on with what has begun so."""
    if (path / "config.json").exists() and not overwrite:
        return train(path, make(epochs=2))
    folder = RunFolder(path, overwrite=overwrite, checkpoint_every=2)
    return lrkit.run(make(epochs=2), PLAN, observers=[folder], resume=snapshot, policy="restart")


def test_a_crash_at_any_write_point_of_a_restarted_run_never_leaves_it_with_other_weights(tmp_path, monkeypatch, whole):
    expected, snapshot, without = tmp_path / "whole", RunFolder.checkpoint(whole[0]), 0
    with monkeypatch.context() as patch:
        points = crash_at(patch, 0)
        history = restart(expected, snapshot)
    for event in range(1, points[0] + 1):
        path = tmp_path / str(event)
        with monkeypatch.context() as patch:
            crash_at(patch, event)
            with pytest.raises(KilledError):
                restart(path, snapshot)
        if (path / "config.json").exists() and not (path / "last.pt").exists():
            without += 1
            with pytest.raises(InputError, match=f"those of {whole[0]}; begin it once more with policy 'restart'"):
                restart(path, snapshot)
            assert restart(path, snapshot, overwrite=True) == history
        else:
            assert restart(path, snapshot) == history
        assert same_weights(path, expected, "last"), event
        assert RunFolder.config(path)["origin"] == history.made["origin"]
    assert 0 < without < 10


def test_a_restarted_run_takes_no_other_runs_place(tmp_path, whole):
    snapshot = RunFolder.checkpoint(whole[0])
    del snapshot["folder"]
    train(tmp_path / "other")
    before = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    for _ in range(2):  # the folder isn't left locked
        folder = RunFolder(tmp_path / "other", resume=True)
        with pytest.raises(InputError, match=r"makes another run, so the one in .*other isn't written over; give run"):
            lrkit.run(make(), PLAN, observers=[folder], resume=snapshot, policy="restart")
    assert {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()} == before


def test_a_run_that_goes_on_in_another_folder_does_so_from_there_too(tmp_path, whole):
    calls = iter(range(1, 100))
    with pytest.raises(lrkit.StoppedError):
        lrkit.run(make(), PLAN, observers=[RunFolder(tmp_path / "one")], stop=lambda: next(calls) == 7)
    with pytest.raises(KilledError):
        lrkit.run(
            make(),
            PLAN,
            observers=[RunFolder(tmp_path / "two"), StopAfter(8)],
            resume=RunFolder.checkpoint(tmp_path / "one"),
        )
    assert RunFolder.checkpoint(tmp_path / "two")["scheduler"]["steps"] == 7
    assert train(tmp_path / "two") == whole[1]


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 20])
def test_a_run_that_dies_between_checkpoints_ends_as_if_it_had_not(tmp_path, whole, steps):
    with pytest.raises(KilledError):
        train(tmp_path, None, StopAfter(steps))
    assert train(tmp_path) == whole[1]


def test_history_is_cut_to_the_checkpoint(tmp_path, whole):
    path, history = whole
    for name in ("config.json", "last.pt", "best.pt", "history.json", "steps.npz"):
        (tmp_path / name).write_bytes((path / name).read_bytes())
    with pytest.raises(KilledError):
        lrkit.run(make(), PLAN, observers=[RunFolder(tmp_path / "other", checkpoint_every=2), StopAfter(8)])
    (tmp_path / "last.pt").write_bytes((tmp_path / "other" / "last.pt").read_bytes())

    class Look(Observer):
        def start(self, setup):
            self.seen = RunFolder.load(tmp_path)
            self.steps = setup.steps_done

    look = Look()
    assert train(tmp_path, None, look) == history
    assert look.steps == 8
    assert look.seen.epochs == history.epochs[:1]
    assert len(look.seen.losses) == 5


def test_the_best_checkpoint_is_of_the_best_epoch(tmp_path):
    losses = iter([0.5] * 5 + [0.3] * 5 + [0.4] * 5 + [0.6] * 5)
    task = make(loss=lambda output, target: 0 * output.sum() + next(losses), valid=None)
    train(tmp_path, task)
    assert [len(RunFolder.checkpoint(tmp_path, which)["record"]["epochs"]) for which in ("last", "best")] == [4, 2]


def test_a_checkpoint_gives_its_weights_to_any_model(tmp_path, whole):
    model = make().model()
    model.load_state_dict(RunFolder.checkpoint(whole[0], "best")["model"])
    lrkit.run(make(), PLAN, resume=RunFolder.checkpoint(whole[0], "best"))


def test_a_loss_that_is_not_finite_is_not_saved(tmp_path):
    task = make(model=lambda: nn.Linear(6, 2), loss=lambda o, t: (o**4).mean())
    with pytest.raises(lrkit.DivergedError):
        lrkit.run(task, "constant()", lr=1000.0, observers=[RunFolder(tmp_path, checkpoint_every=1)])
    losses = RunFolder.load(tmp_path).losses
    record = RunFolder.checkpoint(tmp_path)["record"]
    kept = torch.cat([record["losses"], record["fresh"]])
    assert torch.isfinite(kept).all()
    assert kept.tolist() == losses[: len(kept)].tolist()
    assert not np.isfinite(losses[len(kept)])


# --- files that are no checkpoint ----------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/lrkit-evil",)


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def flip(path):
    data = bytearray(path.read_bytes())
    data[data.index(b"linear") if b"linear" in data else len(data) // 2] ^= 1
    path.write_bytes(data)


def change(path, **parts):
    torch.save(torch.load(path) | parts, path)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"optimizer": {}}, "the checkpoint doesn't fit the task: it has no 'param_groups'"),
        ({"scheduler": {}}, "this is not the state of a schedule that lrkit bound"),
        ({"record": {}}, "the checkpoint doesn't fit the task: it has no 'epochs'"),
        ({"record": {"epochs": [{}]}}, "the checkpoint doesn't fit the task: "),
        ({"random": {}}, "the checkpoint doesn't fit the task: it has no 'torch'"),
        ({"random": {"torch": 3}}, "the checkpoint doesn't fit the task: "),
    ],
)
def test_a_checkpoint_with_something_else_in_it_is_refused_in_one_sentence(tmp_path, whole, parts, sentence):
    path = tmp_path / "last.pt"
    path.write_bytes((whole[0] / "last.pt").read_bytes())
    change(path, **parts)
    with pytest.raises(InputError, match=sentence) as caught:
        lrkit.run(make(), PLAN, resume=load_checkpoint(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (Path.unlink, "there is no checkpoint"),
        (lambda path: path.write_bytes(b""), "is damaged, or not a checkpoint"),
        (lambda path: path.write_text("dear diary"), "is damaged, or not a checkpoint"),
        (cut, "is damaged, or not a checkpoint"),
        (flip, "is damaged"),
        (lambda path: torch.save({"model": {}}, path), "is not a checkpoint of lrkit"),
        (lambda path: torch.save([1], path), "is not a checkpoint of lrkit"),
        (lambda path: torch.save({"lrkit_checkpoint": 2}, path), "has format 2, this lrkit reads up to 1"),
        (lambda path: torch.save({"lrkit_checkpoint": 1, "model": Evil()}, path), r"is refused: .* \(posix.system\)"),
        (
            lambda path: torch.save({"lrkit_checkpoint": 1, "model": {}}, path),
            "it lacks optimizer, scheduler, sc",
        ),
        (lambda path: change(path, record=None), "is incomplete: it lacks record"),
        (lambda path: path.write_bytes(pickle.dumps({"lrkit_checkpoint": 1})), "is damaged, or not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, whole, spoil, sentence):
    path = tmp_path / "last.pt"
    path.write_bytes((whole[0] / "last.pt").read_bytes())
    spoil(path)
    with pytest.raises(InputError, match=sentence) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/lrkit-evil").exists()
    (tmp_path / "config.json").write_bytes((whole[0] / "config.json").read_bytes())
    if path.exists():
        before = path.read_bytes()
        for _ in range(2):  # the folder isn't left locked
            with pytest.raises(InputError, match=sentence):
                RunFolder(tmp_path, resume=True)
        assert path.read_bytes() == before


def test_every_flipped_bit_of_the_data_is_noticed(tmp_path, whole):
    good = (whole[0] / "last.pt").read_bytes()
    weights = load_checkpoint(whole[0] / "last.pt")["model"]["0.weight"].numpy().tobytes()
    start = good.index(weights)
    path = tmp_path / "last.pt"
    for offset in range(0, len(weights), 7):
        bad = bytearray(good)
        bad[start + offset] ^= 4
        path.write_bytes(bad)
        with pytest.raises(InputError, match="is damaged: the checksum"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "is not a run folder"),
        ("{", "can't be read"),
        ("[]", "is not the configuration of a run"),
        ('{"lrkit_run": 9}', "has format 9, this lrkit reads up to 1"),
    ],
)
def test_what_is_no_run_can_not_go_on(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        RunFolder(tmp_path, resume=True)


# --- disks and others ----------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path, whole):
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import lrkit
from pathlib import Path
from crashes import KilledError, crash_at
from test_loop import make
class Fill(lrkit.Observer):
    def step(self, steps):
        if steps == 11:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    folder = lrkit.RunFolder({str(tmp_path)!r}, checkpoint_every=2)
    lrkit.run(make(), {PLAN!r}, observers=[folder, Fill()])
except lrkit.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path}/last.pt can't be written: File too large; what was there before")
    assert not list(tmp_path.glob(".*.new"))
    assert len(RunFolder.load(tmp_path).epochs) == 2
    assert train(tmp_path) == whole[1]


def test_a_folder_that_can_not_be_written_to_is_said():
    with pytest.raises(InputError, match="has files but no run"):
        RunFolder("/proc/self", overwrite=True)
    with pytest.raises(InputError, match="can't be made"):
        RunFolder("/proc/run")


def test_two_processes_on_one_folder(tmp_path, whole):
    code = f"""
import lrkit, sys
folder = lrkit.RunFolder({str(tmp_path / "run")!r})
print("locked", flush=True)
sys.stdin.readline()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    for options in ({}, {"overwrite": True}):
        with pytest.raises(InputError, match="is in use by another process"):
            RunFolder(tmp_path / "run", **options)
    other.send_signal(signal.SIGKILL)  # a process that dies leaves no lock behind
    other.communicate()
    assert train(tmp_path / "run") == whole[1]


def test_a_run_that_never_started_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError):
        lrkit.run(make(model=lambda: 1 / 0), PLAN, observers=[RunFolder(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_overwriting_waits_until_there_is_something_to_write(tmp_path, whole):
    train(tmp_path)
    with pytest.raises(ZeroDivisionError):
        lrkit.run(make(model=lambda: 1 / 0), PLAN, observers=[RunFolder(tmp_path, overwrite=True)])
    assert RunFolder.load(tmp_path) == whole[1]


# --- stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 5, 8, 20])
def test_a_run_that_is_asked_to_stop_finishes_the_update_and_saves(tmp_path, whole, at):
    calls = iter(range(1, 100))
    folder = RunFolder(tmp_path, checkpoint_every=None)
    with pytest.raises(lrkit.StoppedError, match=f"stopped after {at} updates"):
        lrkit.run(make(), PLAN, observers=[folder], stop=lambda: next(calls) == at)
    assert RunFolder.checkpoint(tmp_path)["scheduler"]["steps"] == at
    assert train(tmp_path) == whole[1]


def test_how_often(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("lrkit.training.checkpoint.time.monotonic", lambda: clock[0])
    pace = Pace("2min")
    clock[0] = 119.0
    assert not pace.due(1)
    clock[0] = 120.0
    assert pace.due(1)
    pace.saved()
    assert not pace.due(1)
    assert not Pace(None).due(1)
    assert [Pace(text)._seconds for text in ("90s", "1h")] == [90.0, 3600.0]
    for wrong in (0, -3, 2.5, "often", "5 minutes", "0s"):
        with pytest.raises(InputError, match="checkpoint_every must be a number of updates, or a time"):
            Pace(wrong)


def test_config_and_history_say_how_it_was_made(whole):
    path, history = whole
    config = json.loads((path / "config.json").read_text())
    assert {name: config[name] for name in history.made} == json.loads(json.dumps(dict(history.made)))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000

"""Several processes train one run: like one with batches of the whole size, however they end."""

import dataclasses
import doctest
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import distributed_worker as worker
import lrkit as kit
from lrkit import InputError, RunFolder
from lrkit.training import ranks

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes wrote, of all cases: to start them takes longer than to train."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "own.py").write_text(worker.OWN)
    running = [
        subprocess.Popen([sys.executable, worker.__file__, str(rank), str(folder)], env=ENVIRONMENT, cwd=folder)
        for rank in range(2)
    ]
    assert [each.wait(timeout=150) for each in running] == [0, 0]
    found = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]
    return [*found, torch.load(folder / "lost.pt")]


def same(one, other):
    assert one["history"] == other["history"]
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name]), name


def numbers(epoch):
    """Of an epoch, but for its time; those that aren't there are -1."""
    losses = [-1 if each is None else each for each in (epoch.train_loss, epoch.valid_loss, epoch.test_loss)]
    return [epoch.step, *losses, *epoch.metrics.values(), *epoch.test_metrics.values()]


@pytest.mark.parametrize("name", worker.EQUAL)
def test_two_processes_are_one_with_batches_of_twice_the_size(results, name):
    task, plan = worker.EQUAL[name]
    alone = worker.train(dataclasses.replace(task, batch_size=2 * task.batch_size), plan)
    first, second, _ = results
    same(first[name], second[name])
    two, one = first[name]["history"], alone["history"]
    np.testing.assert_array_equal(two.lrs, one.lrs)
    np.testing.assert_allclose(two.losses, one.losses, rtol=2e-5)
    for each, expected in zip(two.epochs, one.epochs, strict=True):
        assert numbers(each) == pytest.approx(numbers(expected), rel=2e-5)
    for key, value in alone["weights"].items():
        torch.testing.assert_close(first[name]["weights"][key], value, rtol=1e-4, atol=1e-5)


def test_the_record_says_how_many_processes_there_were(results):
    made = results[0]["tensors, an uneven last batch"]["history"].made
    assert {name: made[name] for name in ("processes", "batch_size", "epoch_steps", "step_samples")} == {
        "processes": 2,
        "batch_size": 8,
        "epoch_steps": 5,
        "step_samples": 16,
    }
    assert "processes" not in kit.run(worker.make(), worker.WARM).made


@pytest.mark.parametrize("name", [*worker.RESUMED, "restarted"])
def test_resumed_is_never_interrupted(results, name):
    for found in results[:2]:
        same(found[name]["again"], found[name]["whole"])
    first, second = (found[name]["whole"] for found in results[:2])
    assert first["history"] == second["history"]


def test_all_begin_anew_with_the_weights_of_a_snapshot(results):
    history = results[1]["restarted"]["again"]["history"]
    assert history.made["origin"] == {"steps": 7, "epochs": 1}
    assert history.lr[0] == pytest.approx(0.05)
    for found in results[:2]:
        assert "resume has none" in found["no snapshot"][1]


def test_only_observers_of_the_first_process_are_told(results):
    assert [found["dropout and batch norm"]["told"] for found in results[:2]] == [1, 0]


def test_random_masks_differ_between_processes_and_updates(results):
    first, second = (found["masks"] for found in results[:2])
    assert len(first) == len(second) == 20
    assert len(torch.cat([first, second]).unique(dim=0)) > 25  # of 64 that there are; alike they would be 20 at most


def test_when_one_process_wants_to_stop_all_do_after_the_same_update(results):
    assert [found["stopped"] for found in results[:2]] == [("StoppedError", "the run was stopped after 7 updates")] * 2


def test_a_loss_that_is_not_finite_ends_all(results):
    (name, sentence), second = (found["diverged"] for found in results[:2])
    assert name == "DivergedError"
    assert sentence.startswith("the training loss became ")
    assert second == (name, sentence)


def test_a_process_that_is_gone_is_said(results):
    name, sentence = results[2]
    assert name == "ProcessLostError"
    assert sentence.startswith("another process of the run is gone, or doesn't answer (")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("other seeds", "all processes have to train the same, but seed is 0 in process 0 and 1 in process 1"),
        ("sparse", "sparse gradients can't be added up between processes: make the embedding with sparse=False"),
        ("compiled", "compiled=True is for a run in one process, so it can't be given with distributed=True"),
    ],
)
def test_what_several_processes_cant_train_is_refused(results, name, sentence):
    assert results[0][name] == ("InputError", sentence)
    assert results[1][name][0] == "InputError"


def test_without_a_process_group_it_is_refused():
    with pytest.raises(InputError, match="distributed=True needs a process group, and there is none: call torch"):
        kit.run(worker.make(), worker.WARM, distributed=True)


def test_examples_in_docstrings():
    found = doctest.testmod(ranks)
    assert (found.attempted > 0, found.failed) == (True, 0)


# --- the command line ---------------------------------------------------------------------------------

TRAIN = ("train", "own.py:task", "--schedule", worker.OWN_SCHEDULE)


def start(folder, *arguments, **environment):
    """`lrkit` under torchrun, in a folder with a task."""
    (folder / "own.py").write_text(worker.OWN)
    for name in ("go", "paused0", "paused1"):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lrkit"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        cwd=folder,
    )


def finish(process):
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    return out, err


def wait_for(process, *paths):
    while not all(path.exists() for path in paths):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def said(err):
    """What lrkit said, without what torchrun says; a traceback of its own would name the package."""
    assert "lrkit/training/" not in err
    return [line for line in err.splitlines() if line.startswith("lrkit: ")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that died in its second epoch with its second process; what was said."""
    folder = tmp_path_factory.mktemp("killed")
    process = start(folder, *TRAIN, "--out", "run", "--checkpoint-every", 4, PAUSE="15")
    wait_for(process, folder / "paused0", folder / "paused1")
    os.kill(int((folder / "pid1").read_text()), signal.SIGKILL)
    (folder / "go").touch()
    _, err = process.communicate(timeout=150)
    shutil.copytree(folder / "run", folder / "copy")
    return folder / "run", err


@pytest.fixture(scope="module")
def stopped(killed):
    """The same run, which went on and was stopped by SIGTERM to torchrun."""
    path, _ = killed
    process = start(path.parent, "train", "--resume", "run", PAUSE="12")
    wait_for(process, path.parent / "paused0", path.parent / "paused1")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    (path.parent / "go").touch()
    _, err = process.communicate(timeout=150)
    return path, err, RunFolder.checkpoint(path)["scheduler"]["steps"]


@pytest.mark.slow
def test_when_a_process_is_killed_one_message_says_what_happened_and_how_to_go_on(killed):
    path, err = killed
    [line] = [line for line in said(err) if "stopping" not in line]
    assert line.startswith("lrkit: error: another process of the run is gone, or doesn't answer (")
    assert line.endswith("is in run; to go on: torchrun --nproc-per-node 2 -m lrkit train --resume run")
    assert RunFolder.checkpoint(path.parent / "copy")["scheduler"]["steps"] == 12


@pytest.mark.slow
def test_sigterm_to_torchrun_stops_all_after_the_same_update_with_a_checkpoint(stopped):
    _, err, steps = stopped
    assert said(err)[-1].endswith("to go on: torchrun --nproc-per-node 2 -m lrkit train --resume run")
    assert len(said(err)) == 2
    assert steps == 12 + 12


@pytest.fixture(scope="module")
def finished(stopped):
    """The same run, which went on to its end."""
    path, _, _ = stopped
    return path, *finish(start(path.parent, "train", "--resume", "run"))


@pytest.mark.slow
def test_killed_and_stopped_it_ends_as_if_it_had_never_been(results, finished):
    path, whole = finished[0], results[0]["own"]
    assert RunFolder.load(path) == whole["history"]
    model = RunFolder.checkpoint(path)["model"]
    assert all(torch.equal(model[name], each) for name, each in whole["weights"].items())


@pytest.mark.slow
def test_only_the_first_process_prints_and_writes(finished):
    path, out, err = finished
    assert [line.split()[0] for line in out.splitlines()] == ["goes", "epoch", "3/4", "4/4", "best", "run"]
    assert said(err) == []
    assert {each.name for each in path.iterdir()} >= {"best.pt", "config.json", "curves.png", "history.json", "last.pt"}
    assert RunFolder.config(path)["processes"] == 2


@pytest.mark.slow
def test_one_process_goes_on_with_batches_of_the_whole_size(lrkit, killed, tmp_path):
    path = shutil.copytree(killed[0].parent / "copy", tmp_path / "copy")
    status, _, err = lrkit("train", "--resume", path)
    assert status == 2
    assert "2 processes with batches of 5, 10 samples at once; with 1 process it goes on with --batch-size 10" in err
    assert lrkit("train", "--resume", path, "--batch-size", 7)[0] == 2
    before = RunFolder.checkpoint(path)["record"]
    assert lrkit("train", "--resume", path, "--batch-size", 10)[0] == 0
    history = RunFolder.load(path)
    assert len(history.epochs) == 4
    assert len(history.losses) == 36
    assert history.losses[:9].tolist() == before["losses"].tolist()
    assert history.losses[9:12].tolist() == before["fresh"].tolist()
    assert RunFolder.config(path)["batch_size"] == 10
    assert "processes" not in RunFolder.config(path)


def statuses_and_errors(folder, *arguments, **environment):
    """Of two processes that nobody ends when the other has failed; the store that torchrun has is here."""
    (folder / "own.py").write_text(worker.OWN)
    store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "lrkit", *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **environment, **meeting, "WORLD_SIZE": "2", "RANK": str(rank)},
            cwd=folder,
        )
        for rank in range(2)
    ]
    errors = [each.communicate(timeout=150)[1] for each in running]
    return [each.returncode for each in running], errors


@pytest.mark.slow
def test_an_error_in_one_process_is_said_once_and_ends_the_other(tmp_path):
    statuses, (first, second) = statuses_and_errors(tmp_path, *TRAIN, FAILS="1")
    assert statuses == [4, 2]
    assert first == ""
    assert second.startswith(f"lrkit: error: {tmp_path / 'own.py'}:")
    assert second.endswith("ZeroDivisionError: nothing by nothing\n")


@pytest.mark.slow
def test_an_error_of_the_first_process_is_said_once_and_ends_the_other(tmp_path):
    statuses, (first, second) = statuses_and_errors(tmp_path, *TRAIN, "--out", ".")
    assert statuses == [2, 4]
    assert first == "lrkit: error: the run folder . isn't empty; choose another, or overwrite the run in it\n"
    assert second == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sweep", "mnist"), "lrkit sweep is for one process, and torchrun started 2: start it without"),
        (("compare", "mnist"), "lrkit compare is for one process, and torchrun started 2: start it without"),
        (("report", "runs"), "lrkit report is for one process, and torchrun started 2: start it without"),
        (("find", "mnist"), "lrkit find is for one process, and torchrun started 2: start it without"),
        (("train", "mnist", "--lr", "find"), "--lr find is for one process, and torchrun started 2: find a rate with"),
        (("train", "mnist", "--compile"), "--compile is for one process, and torchrun started 2: a run that is"),
    ],
)
def test_what_is_for_one_process_is_refused_under_torchrun(lrkit, monkeypatch, arguments, sentence):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    status, out, err = lrkit(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"lrkit: error: {sentence}")
    assert len(err.splitlines()) == 1

"""Real processes, really killed, at random moments."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch

from lrkit import RunFolder
from lrkit.output.cli import main

TASK = """
import torch
from torch import nn
import lrkit

generator = torch.Generator().manual_seed(0)
x = torch.randn(2000, 20, generator=generator)
y = x.square().sum(dim=1, keepdim=True) / 20

task = lrkit.Task(
    model=lambda: nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)),
    train=(x, y), valid=(x[:500], y[:500]), loss=nn.functional.mse_loss,
    optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01), batch_size=10, epochs=8,
)
"""
EPOCHS = 8
SCHEDULE = "warmup(5%) >> plateau(patience=0, threshold=0.2, factor=0.5)"


def start(*arguments):
    command = [sys.executable, "-m", "lrkit", "train", *map(str, arguments), "--checkpoint-every", "37"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def start_or_resume(task, folder):
    if (folder / "config.json").exists():
        return start("--resume", folder)
    return start(f"{task}:task", "--schedule", SCHEDULE, "--out", folder, "--overwrite")


def finish(*arguments):
    """Train to the end, in this process: another than the one that was killed, and its imports are there already."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["train", *map(str, arguments), "--checkpoint-every", "37", "--quiet"])
    finally:
        torch.set_num_threads(threads)
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = tmp_path_factory.mktemp("task") / "own.py"
    path.write_text(TASK)
    return path


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """A run that was never interrupted, and about how long it trains."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    finish(f"{task}:task", "--schedule", SCHEDULE, "--out", folder)
    return folder, time.monotonic() - began


def wait_for(path, process, since=0.0):
    while not path.exists() or path.stat().st_mtime_ns <= since:
        if process.poll() is not None:
            return
        time.sleep(0.005)


def epochs_in(folder):
    return len(RunFolder.load(folder).epochs) if (folder / "history.json").exists() else 0


def same(folder, expected):
    assert RunFolder.load(folder) == RunFolder.load(expected)
    for which in ("last", "best"):
        one, other = (RunFolder.checkpoint(path, which)["model"] for path in (folder, expected))
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_killed_at_random_moments_it_ends_as_if_it_had_never_been(task, whole, tmp_path, request):
    expected, seconds = whole
    wanted = request.config.getoption("--kills")
    delays = random.Random(1)
    kills = finished = 0
    while kills < wanted:
        folder = tmp_path / str(finished)
        config = folder / "config.json"
        before = config.stat().st_mtime_ns if config.exists() else 0
        process = start_or_resume(task, folder)
        wait_for(config, process, before)
        time.sleep(delays.uniform(0, seconds / 2))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if kills == wanted or epochs_in(folder) == EPOCHS:
            finish("--resume", folder)
            same(folder, expected)
            finished += 1
    print(f"\n{kills} kills in {finished} runs; each ended with the weights, history and rates of a run left alone")  # noqa: T201 (the soak reports)


def test_a_signal_finishes_the_update_saves_and_says_how_to_go_on(task, whole, tmp_path):
    folder = tmp_path / "my run"
    process = start_or_resume(task, folder)
    wait_for(folder / "history.json", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in err
    command = err.strip().splitlines()[-1].split("to go on: ")[1]
    assert shlex.split(command) == ["lrkit", "train", "--resume", str(folder)]
    done = RunFolder.checkpoint(folder)["scheduler"]["steps"]
    assert 200 <= done < 1600
    assert (folder / "curves.png").stat().st_size > 10_000
    finish(*shlex.split(command)[2:])
    same(folder, whole[0])


def test_a_restarted_run_that_is_killed_at_once_goes_on_with_its_origins_weights(task, whole, tmp_path):
    anew = ["--resume", whole[0], "--policy", "restart", "--out"]
    finish(*anew, tmp_path / "expected")
    folder = tmp_path / "killed"
    process = start(*anew, folder)
    wait_for(folder / "last.pt", process)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    assert not (folder / "history.json").exists()
    finish("--resume", folder)
    same(folder, tmp_path / "expected")


def test_a_signal_that_is_ignored_stays_ignored():
    code = """
import os, signal
from lrkit.output.signals import stop_on_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stop_on_signals() as request:
    os.kill(os.getpid(), signal.SIGHUP)
    assert not request()
    os.kill(os.getpid(), signal.SIGTERM)
    assert request.signal == signal.SIGTERM
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_changed_task_file_is_said(lrkit, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(TASK)
    assert lrkit("train", own, "--epochs", 1, "--out", "run")[::2] == (0, "")
    assert lrkit("train", "--resume", "run")[::2] == (0, "")
    own.write_text(TASK + "# a word\n")
    assert f"{own} has changed since the run began" in lrkit("train", "--resume", "run")[2]

"""Lanes in worker processes: the same to the bit, and nothing is lost or left behind however it ends."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

import lrkit
from lrkit import InputError, Lane, LanesFolder, LanesObserver, StoppedError
from lrkit.output.failures import explain
from lrkit.training.blame import blamed
from lrkit.training.holdout import hold_out
from lrkit.training.lanes.processes import WorkerDiedError
from lrkit.training.task_source import TaskSource
from test_loop import Pairs, Stream, make
from test_resume import Augmented

PLAN = "warmup(3) >> plateau(patience=0, factor=0.5, threshold=0.3)"
LANES = [Lane(PLAN, lr=0.1 * (3 + n), seed=n) for n in range(5)]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    assert multiprocessing.active_children() == []
    with suppress(ChildProcessError):  # there is no child at all
        assert os.waitpid(-1, os.WNOHANG)[0] == 0  # no zombie either


def train(task, lanes=LANES, **options):
    return lrkit.run_lanes(task, lanes, backend="processes", **options)


def only_in_lane(seed, act, factory):
    """A factory that does something else first in the worker that trains the lane with this seed."""

    def make_it(*arguments):
        if torch.initial_seed() == seed and multiprocessing.parent_process() is not None:
            act()
        return factory(*arguments)

    return make_it


# --- the same ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": Pairs()},
        {"train": Augmented(), "workers": 1, "epochs": 1},
        {"train": Stream(), "epochs": None, "steps": 12},
        {
            "model": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)),
            "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        },
    ],
)
def test_it_is_what_one_after_another_gives_to_the_bit(changes):
    task = make(**changes)
    histories = train(task)
    assert histories == lrkit.run_lanes(task, LANES, backend="sequential")
    assert histories == [lrkit.run(task, lane.schedule, lr=lane.lr, seed=lane.seed) for lane in LANES]
    assert histories[0].made["threads"] == 1
    assert histories[0].made["lanes"]["backend"] == "processes"
    with pytest.raises(ValueError, match="read-only"):
        histories[0].losses[0] = 0


def test_it_trains_after_the_caller_used_several_threads():
    torch.set_num_threads(2)
    _ = torch.randn(500, 500) @ torch.randn(500, 500)
    threaded = train(make())
    torch.set_num_threads(1)
    assert threaded == lrkit.run_lanes(make(), LANES)


def test_observers_are_told_of_every_lane():
    class Watch(LanesObserver):
        def start(self, setup):
            self.groups, self.epochs, self.all, self.steps = setup.choice.groups, {}, {}, [0]

        def step(self, lane_steps):
            self.steps.append(lane_steps)

        def epoch(self, histories):
            self.epochs |= {number: self.epochs.get(number, 0) + 1 for number in histories}

        def ended(self, histories):
            self.all |= histories

    watch = Watch()
    histories = train(make(), observers=[watch])
    assert watch.groups == [[number] for number in range(5)]
    assert watch.epochs == dict.fromkeys(range(5), 4)
    assert watch.all == dict(enumerate(histories))
    assert watch.steps == sorted(watch.steps)
    assert watch.steps[-1] == 100


def test_what_is_asked_of_drop_is_asked_with_each_lane_alone_in_its_worker(tmp_path):
    def drop(histories):
        [(number, history)] = histories.items()
        (tmp_path / f"{number}-{len(history.epochs)}").write_text(str(os.getpid()))
        return [number] if number % 2 and len(history.epochs) == 2 else []

    histories = train(make(), drop=drop)
    assert [len(history.epochs) for history in histories] == [4, 2, 4, 2, 4]
    assert [history.made.get("dropped", False) for history in histories] == [False, True, False, True, False]
    assert len(list(tmp_path.iterdir())) == 16
    assert str(os.getpid()) not in {path.read_text() for path in tmp_path.iterdir()}


def test_a_lane_that_diverges_ends_and_the_others_go_on():
    task = make(model=lambda: nn.Linear(6, 2), loss=lambda output, target: (output**4).mean())
    lanes = [Lane(lr=1000.0), Lane(lr=0.01), Lane(lr=0.02)]
    histories = train(task, lanes)
    assert [history.diverged is None for history in histories] == [False, True, True]
    assert histories == lrkit.run_lanes(task, lanes)


# --- errors --------------------------------------------------------------------------------------------

TASK_FILE = """
import sys
import torch
import lrkit

class OwnError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

def loss(output, target):
    if torch.initial_seed() == 2:
        ACT
    return torch.nn.functional.mse_loss(output, target)

def model():
    return torch.nn.Linear(1, 1)

def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)

x = torch.linspace(-1, 1, 64)[:, None]
task = lrkit.Task(model=model, train=(x, 2 * x), loss=loss, optimizer=optimizer, batch_size=16, epochs=3)
"""
IN_THE_LOSS = "in the loss, given output float32 (16, 1), target float32 (16, 1): "


def from_file(path, act="pass"):
    path.write_text(TASK_FILE.replace("ACT", act))
    return TaskSource(f"{path}:task").load()


@pytest.mark.parametrize(
    ("act", "kind", "sentence"),
    [
        ("raise KeyError('seven')", KeyError, f"{IN_THE_LOSS}KeyError: 'seven'"),
        ("open('/nowhere')", FileNotFoundError, f"{IN_THE_LOSS}FileNotFoundError: "),
        ("return 3", lrkit.InputTypeError, "the loss must be one number in a tensor"),
        ("sys.exit(4)", SystemExit, "the task ended the program, with sys.exit(4)"),
        ("raise OwnError(3, 4)", RuntimeError, f"{IN_THE_LOSS}RuntimeError: OwnError: 3 and 4"),
    ],
)
def test_an_error_of_the_task_is_the_same_with_its_place(tmp_path, act, kind, sentence):
    file = tmp_path / "own.py"
    task = from_file(file, act)
    with pytest.raises(kind) as caught:
        train(task)
    assert type(caught.value) is kind
    line = 1 + TASK_FILE.splitlines().index("        ACT")
    told = explain(caught.value, file)
    assert told.partition(": ")[2].startswith(sentence)
    if act != "return 3":
        assert told.startswith(f"{file}:{line}: ")
        assert "Traceback (most recent call last)" in str(caught.value.__cause__)
    if kind is not SystemExit:
        assert blamed(caught.value).startswith("the loss, given output")


def test_what_has_ended_or_was_under_way_is_kept_when_a_task_fails(tmp_path):
    whole = lrkit.run_lanes(from_file(tmp_path / "own.py"), LANES)
    with pytest.raises(ZeroDivisionError):
        train(from_file(tmp_path / "own.py", "1 / 0"), folder=LanesFolder(tmp_path / "sweep"))
    kept = LanesFolder.load(tmp_path / "sweep")
    assert kept[2] is None
    assert sum(history is not None for history in kept) >= 1
    task = from_file(tmp_path / "own.py")
    assert lrkit.run_lanes(task, LANES, folder=LanesFolder(tmp_path / "sweep", resume=True)) == whole


@pytest.mark.parametrize(
    ("act", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"was killed \(SIGKILL, perhaps since memory ran out\)"),
        (lambda: os.kill(os.getpid(), signal.SIGUSR1), r"was killed \(SIGUSR1\)"),
        (lambda: os._exit(3), "ended with exit status 3"),
    ],
)
def test_a_worker_that_dies_is_said_with_its_lane_and_loses_nothing(tmp_path, act, how):
    task = make(optimizer=only_in_lane(3, act, make().optimizer))
    sentence = f"the worker process that trained lane 3 {how}; what has ended is kept in {tmp_path}"
    with pytest.raises(WorkerDiedError, match=sentence) as caught:
        train(task, folder=LanesFolder(tmp_path))
    assert explain(caught.value, None) == str(caught.value)
    kept = LanesFolder.load(tmp_path)
    assert kept[3] is None
    assert sum(history is not None for history in kept) >= 2
    assert train(make(), folder=LanesFolder(tmp_path, resume=True)) == lrkit.run_lanes(make(), LANES)


def test_without_a_folder_it_is_said_that_nothing_is_kept():
    task = make(model=only_in_lane(0, lambda: os._exit(1), make().model))
    with pytest.raises(WorkerDiedError, match="lane 0 ended with exit status 1; nothing is kept without a folder"):
        train(task)


# --- stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("waits", "epochs"), [((0, 1), 1), ((1, 3), 9), ((4, 3), 17)])
def test_a_sweep_that_is_asked_to_stop_saves_what_is_under_way(tmp_path, waits, epochs):
    seen, asked = [], tmp_path / "asked"

    class Watch(LanesObserver):
        def epoch(self, histories):
            seen.extend(histories)

    def drop(histories):  # a lane waits, so that all can't be over before
        [(number, history)] = histories.items()
        while (number, len(history.epochs)) == waits and not asked.exists():
            time.sleep(0.2)
        return []

    def stop():
        if len(seen) >= epochs:
            asked.touch()
        return asked.exists()

    folder = LanesFolder(tmp_path / "sweep")
    with pytest.raises(StoppedError, match=r"the lanes were stopped when \d of 5 had ended"):
        train(make(), folder=folder, observers=[Watch()], drop=drop, stop=stop)
    folder = LanesFolder(tmp_path / "sweep", resume=True)
    assert 5 * epochs <= folder.lane_steps < 100
    assert train(make(), folder=folder) == lrkit.run_lanes(make(), LANES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_an_observer_raises_leaves_no_process(tmp_path, error):
    class Raise(LanesObserver):
        def epoch(self, histories):
            raise error

    with pytest.raises(error):
        train(make(epochs=1000), folder=LanesFolder(tmp_path, checkpoint_every=7), observers=[Raise()])
    lanes = LANES[:2]
    path = tmp_path / "small"
    with pytest.raises(error):
        train(make(), lanes, folder=LanesFolder(path, checkpoint_every=7), observers=[Raise()])
    assert train(make(), lanes, folder=LanesFolder(path, resume=True)) == lrkit.run_lanes(make(), lanes)


# --- real processes, really killed ---------------------------------------------------------------------

PROGRAM = """
import os, sys, time
sys.path.insert(0, TESTS)
import lrkit
from lrkit.output.signals import stop_on_signals
from test_lanes_processes import LANES
from test_loop import make

class Watch(lrkit.LanesObserver):
    def start(self, setup):
        print("started", flush=True)

def slowly(histories):
    time.sleep(0.05)  # so that it isn't over before it is killed, however many cores there are
    return []

path = sys.argv[1]
there = os.path.exists(f"{path}/config.json")
folder = lrkit.LanesFolder(path, resume=there, checkpoint_every=23)
try:
    with stop_on_signals() as request:
        how = {"backend": "processes", "folder": folder, "observers": [Watch()], "drop": slowly, "stop": request}
        lrkit.run_lanes(make(epochs=30), LANES, **how)
except lrkit.StoppedError as error:
    print(error)
    sys.exit(130)
""".replace("TESTS", repr(str(Path(__file__).parent)))


def start(path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout.readline() == "started\n"
    return process


def of_session(session):
    """Processes that are in it, dead or alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(") ")[2].split()[3]) == session:
                found.append(int(path.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def gone(session):
    until = time.monotonic() + 10
    while of_session(session) and time.monotonic() < until:
        time.sleep(0.01)
    return not of_session(session)


def test_killed_again_and_again_it_ends_as_if_it_had_never_been(tmp_path):
    delays = random.Random(1)
    for _ in range(2):
        process = start(tmp_path)
        time.sleep(delays.uniform(0.1, 0.6))  # of 1.5 s or more
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert gone(process.pid)
    histories = train(make(epochs=30), folder=LanesFolder(tmp_path, resume=True))
    assert histories == lrkit.run_lanes(make(epochs=30), LANES) == LanesFolder.load(tmp_path)


def test_ctrl_c_saves_what_every_worker_has_under_way(tmp_path):
    process = start(tmp_path)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert out.startswith("the lanes were stopped when ")
    assert err.count("lrkit: stopping after this update") == 1
    assert gone(process.pid)
    folder = LanesFolder(tmp_path, resume=True)
    assert folder.lane_steps > 0
    assert train(make(epochs=30), folder=folder) == lrkit.run_lanes(make(epochs=30), LANES)


# --- where it can't be done ----------------------------------------------------------------------------


def test_a_device_that_a_fork_can_not_use_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="'processes' trains on the CPU, since a forked process can't use a GPU, not on"
    ):
        train(make(train=(torch.zeros(4, 6), torch.zeros(4))), device="meta", folder=LanesFolder(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_where_nothing_is_forked_a_task_comes_from_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr("lrkit.training.lanes.processes.cores", lambda: 1)
    with pytest.raises(InputError, match="needs a task that can be pickled here"):
        train(make())
    with pytest.raises(InputError, match="has to pickle drop here, and can't"):
        train(make(), drop=lambda histories: ())
    task = hold_out(from_file(tmp_path / "own.py"))  # a worker holds the same part out
    histories = train(task, LANES[:2], folder=LanesFolder(tmp_path / "sweep"))
    assert histories[0].epochs[-1].valid_loss is not None
    assert histories == lrkit.run_lanes(task, LANES[:2])


def test_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(InputError, match="unknown backend 'procesess', did you mean 'processes'"):
        lrkit.run_lanes(make(), LANES, backend="procesess")

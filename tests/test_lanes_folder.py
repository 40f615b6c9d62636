"""What a sweep leaves on disk is enough to go on from, at whatever moment the process dies."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

import lrkit
from crashes import KilledError, crash_at
from lrkit import InputError, Lane, LanesFolder, LanesObserver, LanesSetup, RunFolder
from lrkit.training.lanes.choice import Choice
from test_loop import make

PLAN = "warmup(3) >> plateau(patience=0, factor=0.5, threshold=0.3)"
LANES = [
    Lane(PLAN, lr=0.3, seed=1),
    Lane("linear(to=0)", seed=2, momentum=0.5),
]
TASK = make(epochs=2)
STEPS = 10


class DieAfter(LanesObserver):
    """Dies when so many lane-steps are done, epochs have ended, or lanes have."""

    def __init__(self, what, count=1):
        self.what, self.left = what, count

    def _count(self, what, number=1):
        self.left -= number if what == self.what else 0
        if what == self.what and self.left <= 0:
            raise KilledError

    def epoch(self, histories):
        self._count("epoch")

    def ended(self, histories):
        self._count("ended")


def train(path, *observers, task=TASK, lanes=LANES, every=4, **options):
    """Train in a folder, going on with what is there."""
    there = (path / "config.json").exists()
    folder = LanesFolder(path, resume=there, overwrite=not there, checkpoint_every=every)
    return lrkit.run_lanes(task, lanes, folder=folder, observers=observers, **options)


@pytest.fixture(scope="module")
def whole():
    return lrkit.run_lanes(TASK, LANES)


def test_a_crash_at_any_write_point_loses_nothing(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        points = crash_at(patch, 0)
        train(tmp_path / "count", every=6, backend="sequential")  # which "auto" chooses too, with much ado
    assert points[0] > 40
    for event in range(1, points[0] + 1):
        path = tmp_path / str(event)
        with monkeypatch.context() as patch:
            crash_at(patch, event)
            with pytest.raises(KilledError):
                train(path, every=6, backend="sequential")
        if (path / "config.json").exists():
            kept = LanesFolder.load(path)
            assert all(one is None or one == other for one, other in zip(kept, whole, strict=True)), event
        assert train(path, backend="sequential") == LanesFolder.load(path) == whole, event
        assert not list((path / "under_way").iterdir()), event
        assert not list(path.rglob(".*.new")), event


def test_a_crash_while_another_sweep_is_overwritten_mixes_nothing(tmp_path, monkeypatch):
    task, others = make(epochs=1), [dataclasses.replace(lane, lr=0.01) for lane in LANES]
    whole, before = lrkit.run_lanes(task, LANES), lrkit.run_lanes(task, others)

    def overwrite(path, event):
        train(path, task=task, lanes=others, backend="sequential")
        folder = LanesFolder(path, overwrite=True)
        with monkeypatch.context() as patch:
            count = crash_at(patch, event)
            with pytest.raises(KilledError):
                lrkit.run_lanes(task, LANES, folder=folder, observers=[DieAfter("epoch")])
        return count[0]

    points = overwrite(tmp_path / "count", 0)
    for event in range(1, points + 1):
        path = tmp_path / str(event)
        overwrite(path, event)
        now = LanesFolder.lanes(path)
        assert train(path, task=task, lanes=now) == (whole if now == LANES else before)


@pytest.mark.parametrize("what", ["epoch", "ended"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_sweep_that_dies_goes_on_where_it_was(tmp_path, whole, what, count):
    with pytest.raises(KilledError):
        train(tmp_path, DieAfter(what, count))
    assert train(tmp_path) == whole


def test_lanes_that_have_ended_are_not_trained_again(tmp_path, whole):
    seeds = []

    def model():
        seeds.append(torch.initial_seed())
        return TASK.model()

    class Watch(LanesObserver):
        def start(self, setup):
            self.before, self.ended_before, self.told = setup.steps_done, setup.ended, []

        def step(self, lane_steps):
            self.done = lane_steps

        def ended(self, histories):
            self.told += histories

    with pytest.raises(KilledError):
        train(tmp_path, DieAfter("epoch", 3))
    assert [history is None for history in LanesFolder.load(tmp_path)] == [False, True]
    watch = Watch()
    assert train(tmp_path, watch, task=dataclasses.replace(TASK, model=model)) == whole
    assert seeds == [2]
    assert (watch.before, watch.done) == (STEPS + 4, 2 * STEPS)
    assert (watch.ended_before, watch.told) == ({0: whole[0]}, [1])


@pytest.mark.parametrize("at", [1, 3, 5, 10, 11, 14])
def test_a_sweep_that_is_asked_to_stop_saves_what_is_under_way(tmp_path, whole, at):
    calls = iter(range(1, 100))
    with pytest.raises(lrkit.StoppedError):
        train(tmp_path, backend="sequential", stop=lambda: next(calls) == at, every=None)
    kept = LanesFolder(tmp_path, resume=True)
    kept.close()
    assert kept.lane_steps == at
    assert train(tmp_path) == whole


@pytest.mark.parametrize("at", [3, 5, 8])
def test_lanes_that_are_trained_together_go_on_together(tmp_path, at):
    lanes = [Lane("linear(to=0)", lr=0.1), Lane(PLAN, lr=0.3), Lane(lr=0.2)]

    def drop(histories):
        return [2]

    whole = lrkit.run_lanes(TASK, lanes, backend="eager", drop=drop)
    calls = iter(range(1, 100))
    with pytest.raises(lrkit.StoppedError):
        train(tmp_path, lanes=lanes, backend="eager", drop=drop, stop=lambda: next(calls) == at)
    ended = [history is not None for history in LanesFolder.load(tmp_path)]
    assert ended == [False, False, at > 5]
    assert train(tmp_path, lanes=lanes, drop=drop) == whole == LanesFolder.load(tmp_path)
    assert LanesFolder.config(tmp_path)["groups"] == [[0, 1, 2]]
    assert not list((tmp_path / "under_way").iterdir())


def test_what_is_not_finite_is_kept_as_it_is_and_not_gone_on_from(tmp_path):
    task = make(model=lambda: nn.Linear(6, 2), loss=lambda output, target: (output**4).mean(), epochs=2)
    lanes = [Lane(lr=1000.0), Lane(lr=0.01)]
    whole = lrkit.run_lanes(task, lanes)
    assert [history.diverged is None for history in whole] == [False, True]
    assert not math.isfinite(whole[0].epochs[0].train_loss)
    with pytest.raises(KilledError):
        train(tmp_path, DieAfter("epoch"), task=task, lanes=lanes, every=1)
    kept = LanesFolder(tmp_path, resume=True)
    kept.close()
    assert kept.lane_steps < whole[0].diverged.step + 1
    assert train(tmp_path, task=task, lanes=lanes) == whole == LanesFolder.load(tmp_path)


def test_a_lane_that_was_dropped_stays_dropped(tmp_path):
    whole = lrkit.run_lanes(TASK, LANES, drop=lambda histories: histories)
    assert [len(history.epochs) for history in whole] == [1, 1]

    class Unwritten(LanesFolder):
        def ended(self, histories):
            raise KilledError

    folder = Unwritten(tmp_path, checkpoint_every=1)
    with pytest.raises(KilledError):
        lrkit.run_lanes(TASK, LANES, folder=folder, drop=lambda histories: histories)
    assert train(tmp_path, drop=lambda histories: histories) == whole
    assert [history.made["dropped"] for history in LanesFolder.load(tmp_path)] == [True, True]


CHOICE = Choice("eager", "it was asked for", [[0, 1], [2, 3]])


def test_the_checkpoint_of_a_group_goes_when_all_of_it_has_ended(tmp_path, whole):
    folder = LanesFolder(tmp_path)
    folder.start(LanesSetup([*LANES, *LANES], STEPS, CHOICE, task=SAMPLE))
    for first in (0, 2):
        folder.checkpoint(first).save({"weights": torch.arange(3), "lane_steps": 12})
    folder.ended({0: whole[0]})
    folder.close()
    again = LanesFolder(tmp_path, resume=True)
    assert again.lane_steps == 24
    assert again.checkpoint(0).snapshot["weights"].tolist() == [0, 1, 2]
    again.start(LanesSetup([*LANES, *LANES], STEPS, CHOICE, task=SAMPLE))
    again.ended({1: whole[1]})
    again.close()
    assert [path.name for path in (tmp_path / "under_way").iterdir()] == ["002.pt"]
    last = LanesFolder(tmp_path, resume=True)
    assert last.lane_steps == 2 * STEPS + 12
    last.close()


SAMPLE = {"threads": 1, "task": "task", "steps": STEPS, "device": "cpu"}


# --- what is in it -------------------------------------------------------------------------------------


def test_the_configuration_says_what_is_trained_and_how(tmp_path, whole):
    histories = train(tmp_path)
    config = LanesFolder.config(tmp_path)
    for name in ("task", "source", "steps", "epochs", "batch_size", "precision", "device", "threads", "torch", "numpy"):
        assert config[name] == histories[0].made[name]
    assert (config["backend"], config["groups"]) == ("sequential", [[0], [1]])
    assert histories[0].made["lanes"] == {
        name: config[name] for name in ("backend", "reason", "microseconds", "bytes_per_lane")
    }
    assert [{**each, "schedule_json": None} for each in config["lanes"]] == [
        {**lane.to_dict(), "schedule_json": None} for lane in LANES
    ]


def test_a_table_survives_and_a_function_is_said(tmp_path):
    lanes = [Lane(lrkit.table([0.5, 1.0, 0.25]), beta1=0.5), Lane(lrkit.from_callable(lambda t: 1.0))]
    task = make(epochs=1, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01))
    train(tmp_path / "one", task=task, lanes=lanes[:1])
    assert LanesFolder.lanes(tmp_path / "one") == lanes[:1]
    histories = train(tmp_path / "two", task=task, lanes=lanes[1:])
    assert train(tmp_path / "two", task=task, lanes=lanes[1:]) == histories
    with pytest.raises(InputError, match=r"lane 0 .* can't be read: its schedule from_callable.* a Python function"):
        LanesFolder.lanes(tmp_path / "two")


# --- what can't go on ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "lanes", "sentence"),
    [
        (TASK, LANES[:1], "has 2 lanes, so it can't go on with 1"),
        (TASK, [LANES[0], dataclasses.replace(LANES[1], seed=3)], r"lane 1 of the sweep .*'seed': 2.*'seed': 3"),
        (TASK, [dataclasses.replace(LANES[0], lr=0.4), LANES[1]], "lane 0 of the sweep"),
        (make(epochs=3), LANES, "takes 10 updates, so it can't go on with a task that takes 15"),
        (make(batch_size=35), LANES, "takes 10 updates, so it can't go on with a task that takes 8"),
    ],
)
def test_another_sweep_is_refused_and_nothing_is_changed(tmp_path, task, lanes, sentence):
    with pytest.raises(KilledError):
        train(tmp_path, DieAfter("epoch", 3))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for _ in range(2):  # the folder isn't left locked
        with pytest.raises(InputError, match=sentence) as caught:
            train(tmp_path, task=task, lanes=lanes)
        assert "\n" not in str(caught.value)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def spoil(name, data):
    def change(path):
        (path / name).write_bytes(data((path / name).read_bytes()))

    return change


def changed(**values):
    return spoil("config.json", lambda text: json.dumps(json.loads(text) | values).encode())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: (path / "config.json").unlink(), "is not a sweep folder: it has no config.json"),
        (spoil("config.json", lambda data: data[:-5]), "config.json can't be read"),
        (changed(lrkit_lanes=9), "the sweep in .* has format 9, this lrkit reads up to 1"),
        (changed(lrkit_lanes=None), "is not the configuration of a sweep"),
        (changed(groups=3, device=None), "its config.json lacks groups, device, or has it wrong"),
        (changed(threads=None, microseconds=None), "its config.json lacks threads, microseconds, or has it wrong"),
        (spoil("lanes/000.npz", lambda data: data[:-50]), r"the lane in .*000.npz can't be read"),
        (spoil("lanes/000.npz", lambda data: data.replace(b"epochs", b"apochs")), r"000.npz can't be read: Bad CRC"),
        (spoil("under_way/001.pt", lambda data: data[:-50]), r"the checkpoint .*001.pt is damaged"),
        (spoil("under_way/001.pt", lambda data: b""), r"the checkpoint .*001.pt is damaged"),
    ],
)
def test_what_is_damaged_is_said_in_one_sentence_before_anything_is_trained(tmp_path, change, sentence):
    with pytest.raises(KilledError):
        train(tmp_path, DieAfter("epoch", 3))
    change(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=sentence) as caught:
            LanesFolder(tmp_path, resume=True)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_that_is_not_of_a_run_is_said_by_what_it_lacks(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, DieAfter("epoch", 1))
    path = tmp_path / "under_way" / "000.pt"
    torch.save({"lrkit_checkpoint": 1, "weights": {}}, path)
    with pytest.raises(InputError, match="the checkpoint doesn't fit the task: it has no 'model'"):
        train(tmp_path)


def test_folders_of_something_else_are_left_alone(tmp_path):
    lrkit.run(TASK, "constant()", observers=[RunFolder(tmp_path / "run")])
    with pytest.raises(InputError, match="has files but no sweep, so nothing in it is overwritten"):
        LanesFolder(tmp_path / "run", overwrite=True)
    with pytest.raises(InputError, match="is not the configuration of a sweep"):
        LanesFolder(tmp_path / "run", resume=True)
    train(tmp_path / "sweep")
    with pytest.raises(InputError, match="has files but no run, so nothing in it is overwritten"):
        RunFolder(tmp_path / "sweep", overwrite=True)
    with pytest.raises(InputError, match="isn't empty; choose another, or overwrite the sweep in it"):
        LanesFolder(tmp_path / "sweep")
    with pytest.raises(InputError, match="checkpoint_every must be"):
        LanesFolder(tmp_path / "new", checkpoint_every="often")
    assert not (tmp_path / "new").exists()


def test_one_process_at_a_time(tmp_path, whole):
    first = LanesFolder(tmp_path / "sweep")
    with pytest.raises(InputError, match=r"the sweep folder .* is in use by another process"):
        LanesFolder(tmp_path / "sweep")
    first.close()
    assert train(tmp_path / "sweep") == whole


@pytest.mark.parametrize("wrong", [{"lanes": []}, {"task": make(train=())}, {"backend": "sequentail"}, {"device": "x"}])
def test_a_sweep_that_never_started_leaves_no_folder(tmp_path, wrong):
    arguments = {"task": TASK, "lanes": LANES, **wrong}
    task, lanes = arguments.pop("task"), arguments.pop("lanes")
    with pytest.raises(ValueError, match=r".") as caught:
        lrkit.run_lanes(task, lanes, folder=LanesFolder(tmp_path / "new" / "sweep"), **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_overwriting_waits_until_there_is_something_to_write(tmp_path, whole):
    train(tmp_path)
    with pytest.raises(InputError, match="did you mean 'sequential'"):
        lrkit.run_lanes(TASK, LANES, backend="sequentail", folder=LanesFolder(tmp_path, overwrite=True))
    assert LanesFolder.load(tmp_path) == whole
    lrkit.run_lanes(TASK, LANES[:1], folder=LanesFolder(tmp_path, overwrite=True))
    assert LanesFolder.load(tmp_path) == whole[:1]

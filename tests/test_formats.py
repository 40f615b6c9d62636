"""What any version wrote is read by this one, and gone on with: `formats/` has a frozen fixture for each format."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import lrkit as package
from formats import make
from lrkit import LanesFolder, Recorder, RunFolder, compare, from_json, read_history, run, run_lanes, to_json, write_csv
from lrkit.analysis.comparison_folder import read_terms
from lrkit.analysis.reading import read_tournament

WRITTEN_ONLY = {"best_schedule", "comparison", "finding", "prediction"}  # results: nothing of lrkit's reads them
SIZES = {"epoch_steps": 4, "step_samples": 8}
RATES = [0.1 / 3, 0.2 / 3, *[0.1] * 6, *[0.05] * 4]  # of the run


def every(kind):
    """All fixtures of a kind, also those of older formats; each test has a copy."""
    return pytest.mark.parametrize("folder", make.folders(kind), ids=lambda path: path.name, indirect=True)


@pytest.fixture
def folder(request, tmp_path):
    shutil.copy(make.HERE / "task.py", tmp_path)
    return Path(shutil.copytree(request.param, tmp_path / "copy"))


@pytest.fixture
def task():
    return make.load_task()


def close(found, expected):
    """Losses, which another version of torch may round in another way."""
    return np.allclose(found, expected, rtol=0, atol=1e-5, equal_nan=True)


def assert_alike(found, expected):
    """The same rates to the bit, the same losses but for rounding."""
    assert np.array_equal(found.lrs, expected.lrs)
    assert close(found.losses, expected.losses)
    for one, other in zip(found.epochs, expected.epochs, strict=True):
        assert (one.epoch, one.step, one.lr) == (other.epoch, other.step, other.lr)
        assert close(list(one.reported.values()), list(other.reported.values()))


# --- the fixtures themselves ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", make.KINDS)
def test_a_format_that_has_changed_has_a_fixture(kind):
    newest = make.folders(kind)[-1]
    found = make.numbers(newest)
    assert found <= make.CURRENT.items(), f"{newest.name} has other formats: add a fixture, as CONTRIBUTING.md says"
    own = make.KINDS[kind]
    assert (own, int(re.search(r"\d+", newest.name)[0])) == (own, dict(found)[own])


def test_every_format_is_in_a_fixture():
    source = Path(package.__file__).parent
    modules = [path for path in source.rglob("*.py") if re.search(r"^(FORMAT|VERSION) = \d", path.read_text(), re.M)]
    read = [path.name for path in modules if path.stem not in WRITTEN_ONLY]
    assert len(read) == len(make.CURRENT), f"formats/make.py must know the format of each of {read}"
    found = {name for kind in make.KINDS for name, _ in make.numbers(make.folders(kind)[-1])}
    assert found == set(make.CURRENT)


def test_no_fixture_says_where_it_was_made():
    for path in make.HERE.glob("*_*/**/*.json"):
        assert not re.search(r'"(/|[A-Z]:)', path.read_text()), path


# --- schedules -----------------------------------------------------------------------------------------


@every("plan")
def test_a_plan(folder):
    plans = from_json((folder / "plan.json").read_text())
    assert plans == make.PLANS == from_json(to_json(plans))
    assert list(map(str, dict(plans.parts))) == ["lr", "momentum", "weight_decay"]


SCHEDULER = {
    "steps": 9,
    "done": {"epochs": 2.25, "tokens": 12_000.0, "samples": None},
    "schedules": {
        "lr": "warmup(8ktok) >> plateau(factor=0.5, patience=0)",
        "momentum": "table(6, sha256_179dade5)",
        "weight_decay": "linear(40ktok, to=0)",
    },
    "horizon": {"steps": 25, "epoch_steps": 4, "step_tokens": 2000},
    "offsets": {"lr": -3.0, "weight_decay": -3.0},
    "controllers": {"lr": {"parts": [None, {"best": 1.0, "bad_epochs": 0, "cooldown": 0, "reductions": 1}]}},
    "bases": {"lr": [0.1, 0.05], "momentum": [0.9, 0.9], "weight_decay": [0.01, 0.01]},
    "lr": None,
    "default": 0.1,
    "json": {
        "momentum": '{"lrkit": 1, "plan": {"kind": "table", "values": [1.0, 0.8, 0.6, 0.4, 0.2, 0.1]}}',
    },
    "yielded": [("momentum", 1)],
}


def assert_goes_on(scheduler, optimizer):
    """Of the scheduler whose state is above: what it is now, and what the next updates use."""
    state = scheduler.state_dict()
    assert {name: state[name] for name in SCHEDULER} == SCHEDULER
    assert scheduler.get_last_lr() == [0.05, 0.025]
    scheduler.step({"loss": 3.0})  # worse again
    for step in (9, 10, 11):
        decay = 0.01 * (1 - (step - 3) / 20)
        expected = [0.025, 0.9 * 0.1, decay], [0.0125, 0.3, decay]
        for group, values in zip(optimizer.param_groups, expected, strict=True):
            found = [group[name] for name in ("lr", "momentum", "weight_decay")]
            assert np.allclose(found, values, rtol=1e-12, atol=0)
        make.update(optimizer)


@every("scheduler")
def test_a_scheduler(folder):
    state = json.loads((folder / "scheduler.json").read_text())
    optimizer = make.make_optimizer()
    scheduler = make.bind_anew(optimizer)
    scheduler.load_state_dict(state)
    optimizer.param_groups[1]["momentum"] = 0.3  # the optimizer's own state would have brought it
    assert_goes_on(scheduler, optimizer)


@every("scheduler")
@pytest.mark.parametrize("bound", ["before", "after"])
def test_an_optimizer_that_carries_a_scheduler(folder, bound):
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    optimizer = make.make_optimizer()
    scheduler = make.bind_anew(optimizer) if bound == "before" else None
    optimizer.load_state_dict(state)
    scheduler = scheduler or make.bind_anew(optimizer)
    buffers = [each["momentum_buffer"].tolist() for each in optimizer.state.values()]
    assert buffers == [[0.5568739175796509] * 2, [-0.6542323231697083] * 2]
    assert_goes_on(scheduler, optimizer)


# --- records -------------------------------------------------------------------------------------------


@every("recorder")
def test_a_recorder(folder):
    optimizer = make.make_optimizer()
    package.linear(to=0).bind(optimizer, steps=8)
    make.update(optimizer, 4)
    with Recorder(optimizer) as recorder:
        recorder.load_state_dict(torch.load(folder / "recorder.pt", weights_only=True))
        assert (recorder.steps, recorder.updates_in_epoch) == (4, 1)
        make.record_loop(recorder, 1)
        history = recorder.epoch(valid_loss=0.25)
    first, second = history.epochs
    assert vars(first) == {
        "epoch": 1,
        "step": 3,
        "train_loss": 0.5666666706403096,
        "valid_loss": 0.5,
        "metrics": {"distance": 0.25},
        "lr": 0.1 * 0.75,
        "seconds": 0.25,
        "test_loss": 0.75,
        "test_metrics": {"distance": 0.125},
    }
    assert (second.epoch, second.step, second.valid_loss, second.lr) == (2, 5, 0.25, 0.05)
    assert second.train_loss == pytest.approx((7 / 4 + 8 / 5) / 15)
    assert np.allclose(history.lrs, np.outer(1 - np.arange(5) / 8, [0.1, 0.05]), rtol=1e-12, atol=0)
    assert np.array_equal(history.losses, np.float32([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]))
    made = {"task": "a loop", "seed": 7, "schedule": "linear(to=0)", "lr": 0.1, "steps": 8, "mine": [1, None]}
    assert {name: history.made[name] for name in made} == made


EPOCHS = [  # of the table and the events
    {"epoch": 1, "step": 4, "train_loss": 2.7216758131980896, "valid_loss": 1.9840143918991089, "lr": 0.0625},
    {"epoch": 2, "step": 8, "train_loss": 1.796174705028534, "valid_loss": 1.6295987367630005, "lr": 0.0125},
]
LOSSES = np.float32([3.2157743, 4.04001665, 1.5072403, 2.12367201, 1.37941885, 1.62455213, 1.51797521, 2.66275263])


@every("table")
def test_a_table(folder, tmp_path):
    history = read_history(folder / "run.csv")
    assert history.lrs.tolist() == np.outer(1 - np.arange(8) / 8, [0.1, 0.05]).tolist()
    assert np.array_equal(history.losses, LOSSES)
    for record, expected, distance in zip(history.epochs, EPOCHS, [1.2047762870788574, 1.09178626537323], strict=True):
        assert {name: getattr(record, name) for name in expected} == expected
        assert (record.metrics, record.test_metrics) == ({"distance": distance}, {"distance": distance})
        assert (record.test_loss, record.seconds) == (record.valid_loss, 0.25)
    assert (history.made["schedule"], history.made["seed"]) == ("linear(to=0)", 3)
    write_csv(history, tmp_path / "again.csv")
    assert read_history(tmp_path / "again.csv") == history


@every("events")
def test_events(folder):
    history = read_history(folder)
    assert np.array_equal(history.lrs, np.outer(1 - np.arange(8) / 8, [0.1, 0.05]).astype(np.float32))
    assert np.array_equal(history.losses, LOSSES)
    for record, expected, distance in zip(history.epochs, EPOCHS, [1.2047762870788574, 1.09178626537323], strict=True):
        found = {name: np.float32(getattr(record, name)) for name in expected}
        assert found == {name: np.float32(value) for name, value in expected.items()}
        assert (record.metrics, record.test_metrics) == ({"distance": distance}, {"distance": distance})
        assert (record.test_loss, record.seconds) == (record.valid_loss, 0.25)
    assert (history.made["schedule"], history.made["seed"]) == ("linear(to=0)", 3)


# --- folders -------------------------------------------------------------------------------------------

MADE = {  # what runs of the task say of it
    "task": "line",
    "steps": 12,
    "epochs": 3,
    **SIZES,
    "batch_size": 8,
    "accumulate": 1,
    "precision": "float32",
    "device": "cpu",
    "threads": 1,
    "started": "2025-01-01T00:00:00+00:00",
}
FIRST = [0.5542211532592773, 0.8255380988121033, 0.6857550740242004, 0.7988044023513794]  # losses of the run


@every("run")
def test_what_a_run_has_recorded(folder, task):
    config = RunFolder.config(folder)
    expected = {**MADE, "source": task.source, "schedule": make.SCHEDULE, "lr": 0.1, "seed": 5, "policy": None}
    assert {name: config[name] for name in expected} == {**expected, "schedule": str(package.parse(make.SCHEDULE))}
    history = RunFolder.load(folder)
    assert (history.lrs.tolist(), history.losses.tolist()) == ([[rate] for rate in RATES[:4]], FIRST)
    [epoch] = history.epochs
    assert vars(epoch) == {
        "epoch": 1,
        "step": 4,
        "train_loss": 0.7160796821117401,
        "valid_loss": 0.3643648624420166,
        "metrics": {"distance": 0.5160524845123291},
        "lr": 0.1,
        "seconds": 0.25,
        "test_loss": None,
        "test_metrics": {},
    }
    assert history.made == {name: value for name, value in config.items() if name != "lrkit_run"}


@every("run")
def test_the_checkpoints_of_a_run(folder):
    last, best = RunFolder.checkpoint(folder), RunFolder.checkpoint(folder, "best")
    assert [each.item() for each in best["model"].values()] == [1.0121906995773315, -0.9432734847068787]
    assert [each.item() for each in last["model"].values()] == [1.1886181831359863, -1.0271958112716675]
    assert last["record"]["lrs"].tolist() == [[rate] for rate in RATES[:6]]
    assert last["record"]["fresh"].tolist() == [0.3118988275527954, 0.11389020830392838]
    assert (last["scheduler"]["steps"], best["scheduler"]["steps"]) == (6, 4)


@every("run")
@pytest.mark.parametrize("way", ["python", "command line"])
def test_a_run_goes_on(folder, task, way, lrkit):
    whole = run(task, make.SCHEDULE, seed=5)
    assert whole.lr.tolist() == RATES
    if way == "python":
        there = RunFolder(folder, resume=True)
        run(task, make.SCHEDULE, seed=5, observers=[there], resume=there.snapshot)
    else:
        status, _, errors = lrkit("train", "--resume", folder, "--quiet")
        assert status == 0, errors
        assert "has changed" not in errors
    found = RunFolder.load(folder)
    assert_alike(found, whole)
    group = RunFolder.checkpoint(folder)["optimizer"]["param_groups"][0]
    assert (group["lr"], group["momentum"]) == (0.025, pytest.approx(0.25))


LANES = {"alone": make.ALONE, "together": make.TOGETHER}
BACKENDS = {"alone": "sequential", "together": "eager"}
ENDED = {"alone": [0], "together": [1]}
LANE_STEPS = {"alone": 12 + 6, "together": 12 + 2 * 6}


@every("lanes")
@pytest.mark.parametrize("how", LANES)
def test_lanes(folder, task, how):
    path, lanes = folder / how, LANES[how]
    config = LanesFolder.config(path)
    expected = {**MADE, "source": task.source, "backend": BACKENDS[how], "reason": "it was asked for"}
    assert {name: config[name] for name in expected} == expected
    assert LanesFolder.lanes(path) == lanes
    before = LanesFolder.load(path)
    assert [number for number, history in enumerate(before) if history is not None] == ENDED[how]
    keep = LanesFolder(path, resume=True)
    assert keep.lane_steps == LANE_STEPS[how]
    whole = run_lanes(task, lanes, backend=BACKENDS[how])
    found = run_lanes(task, lanes, folder=keep)
    for number, (one, other) in enumerate(zip(found, whole, strict=True)):
        assert_alike(one, other)
        assert number not in ENDED[how] or one == before[number]
    assert LanesFolder.load(path) == found


@every("lanes")
def test_lanes_that_have_ended(folder):
    kept, _ = LanesFolder.load(folder / "alone")
    assert kept.lr.tolist() == (0.1 * np.array([1, 0.8, 0.6, 0.4, 0.2, *[0.1] * 7])).tolist()
    assert [each.train_loss for each in kept.epochs] == [0.8791136741638184, 0.5841120406985283, 0.49492160230875015]
    assert [each.valid_loss for each in kept.epochs] == [0.5901036262512207, 0.4973613917827606, 0.44517308473587036]
    assert {name: kept.made[name] for name in ("lr", "seed", "schedule")} == {
        "lr": 0.1,
        "seed": 1,
        "schedule": "table(6, sha256_179dade5)",
    }
    _, diverged, _ = LanesFolder.load(folder / "together")
    assert (diverged.diverged.step, diverged.diverged.lr, len(diverged.epochs)) == (1, 1e30, 1)
    assert np.array_equal(
        diverged.losses, np.float32([1.8747397661209106, math.inf, math.nan, math.nan]), equal_nan=True
    )


@every("comparison")
def test_a_comparison_is_reported(folder):
    terms, seconds = read_terms(folder)
    assert {name: str(one) for name, one in terms.schedules.items()} == {
        "flat": "constant()",
        "down": "linear(to=0)",
        "averaged": "warmup(10%) with schedule-free averaging",
    }
    assert (terms.rates, terms.seeds, terms.selection_seeds) == ((0.05, 0.1), 2, 1)
    assert (terms.holdout, terms.reference, terms.target, terms.left_out) == (1 / 6, "flat", None, {})
    assert (terms.measure.name, terms.measure.mode) == ("loss", "min")
    assert (terms.task["task"], terms.task["samples"]) == ("line", {"train": 27, "valid": 5, "test": 8})
    assert seconds == 15.25
    reading = read_tournament(folder)
    assert reading.late == {"down": "linear(to=0)", "averaged": "warmup(10%) with schedule-free averaging"}
    [standing] = reading.compare().standings
    assert (standing.name, standing.best_lr, standing.n_seeds) == ("flat", 0.1, 1)
    assert standing.final["loss"].mean == 0.09185579419136047
    assert [(each.lr, each.value) for each in standing.tried] == [
        (0.05, 0.6850699782371521),
        (0.1, 0.14694872498512268),
    ]


@every("comparison")
def test_a_comparison_goes_on(folder, task):
    whole = compare(task, **make.COMPARED)
    stages = []
    found = compare(task, **make.COMPARED, folder=folder, on_stage=lambda stage: stages.append(stage.name))
    assert stages == ["final", "final"]  # the one that was interrupted, and that of those that average
    assert list(found.candidates) == list(whole.candidates) == ["flat", "down", "averaged"]
    for name, expected in whole.candidates.items():
        one = found.candidates[name]
        assert (one.lr, one.schedule, list(one.runs)) == (expected.lr, expected.schedule, [0, 1])
        for seed, history in expected.runs.items():
            assert_alike(one.runs[seed], history)
        for rate, runs in expected.tried.items():
            for seed, history in runs.items():
                assert_alike(one.tried[rate][seed], history)

"""The benchmarks run: in a tiny setting, and without the other libraries that they compare with."""

import json
import math
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import compare
import contenders
import first_job
import found_rates
import grid_runs
import job
import lane_report
import lane_runs
import lanes
import lrkit
import overhead
import pairs
import predict_optimised
import predict_own
import predict_runs
import predict_speed
import pulse
import races
import records
import schedules
import timing
from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.fitted import FittedLaw, World
from lrkit.analysis.lineups import LINEUPS
from lrkit.schedules.names import KINDS
from lrkit.training.idx import MNIST_FOLDER, load_folder

OWN = ["tutorial", "dataloader", "tensors", "lrkit"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The beginning of MNIST, as a folder in its format."""
    folder = tmp_path_factory.mktemp("data")
    for split, name, count in [("train", "train", 1600), ("test", "t10k", 500)]:
        images, labels = (array[:count] for array in load_folder(MNIST_FOLDER, split))
        header = struct.pack(">4i", 0x803, *images.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 0x801, len(labels))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.astype("uint8").tobytes())
    return folder


@pytest.mark.parametrize("name", OWN)
def test_a_contender_learns(name, data):
    assert contenders.CONTENDERS[name].train(job.Job(2, data), job.Clock()) > 0.3


@pytest.mark.parametrize("name", OWN)
def test_a_contender_is_timed_between_two_updates(name, data):
    clock = job.Clock(2, 6)
    assert math.isnan(contenders.CONTENDERS[name].train(job.Job(2, data), clock))
    assert 1 < clock.microseconds < 1e6


def test_a_contender_that_needs_what_is_not_installed_stays_out():
    contender = contenders.Contender("x", "other", "other.train", needs="not_installed_here")
    assert contender.missing() == "not_installed_here isn't installed (pip install 'lrkit[bench]')"


def test_the_whole_process_is_timed(data):
    run = first_job.measure_whole("lrkit", job.Job(2, data))
    assert run["cold"] == run["warm"] > 0
    assert run["accuracy"] > 0.3
    assert run["updates"] == 100


def test_the_report_compares_within_rounds():
    runs = {
        "dataloader": [{"cold": 10.0, "warm": 10.0, "accuracy": 0.979}],
        "lrkit": [{"cold": 5.0, "warm": 4.0, "accuracy": 0.98}],
    }
    text = first_job.report({"steady": {"dataloader": [2.0, 30.0], "lrkit": [1.0, 20.0]}, "whole": runs}, 25)
    assert "| f. lrkit | 10 (1 to 20) | 0.58 |" in text
    assert "| f. lrkit | 5.0 | 0.50 | 4.0 | 0.40 | 98.00 % |" in text
    assert "lie 0.10 points apart: no more" in text


def test_the_report_says_when_compiling_pays():
    eager = {"cold": 20.0, "warm": 20.0, "accuracy": 0.98, "updates": 100_000}
    compiled = {"cold": 25.0, "warm": 12.0, "accuracy": 0.98, "updates": 100_000}
    found = {
        "steady": {"lrkit": [200.0], "lrkit-compiled": [100.0]},
        "whole": {"lrkit": [eager], "lrkit-compiled": [compiled]},
    }
    assert "150,000 cold (15.0 s to begin with), 20,000 warm (2.0 s to begin with)" in first_job.report(found, 25)


def test_whole_schedules_are_every_kind_and_those_of_torch():
    found = schedules.whole(steps=2000, repeats=1)
    assert set(KINDS) <= {each.name for each in found} | {kind for pair in pairs.PAIRS for kind in pair.kinds}
    paired = [each for each in found if each.torch_seconds is not None]
    assert len(paired) >= 12
    assert all(each.apart < 1e-12 for each in paired)


def test_calls_are_timed_and_reported(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["schedules.py", "--calls", "--rounds", "1", "--json"])
    monkeypatch.setattr(schedules, "BLOCK", 40)
    schedules.main()
    taken = json.loads(capsys.readouterr().out)["calls"]
    assert [each["groups"] for each in taken] == [1, 200] * 4
    assert all(set(each["times"]) == {"plain", "hooked", "hook", "bound", "torch", "torch_names"} for each in taken)
    text = schedules.report([], [schedules.Calls(**each) for each in taken], 40)
    assert "| SequentialLR | 200 |" in text


def test_rounds_are_taken_in_turn():
    order = []
    timing.interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]


def test_contenders_with_many_lanes_are_measured_in_turn(data, tmp_path):
    names = ["sequential", "loops", "products", "traffic"]
    found = lanes.measure_steady(names, [2], data, rounds=2, seconds=0.1, caches=tmp_path)
    assert found["notes"] == {}
    assert list(found["times"]) == names
    assert all(len(runs["2"]) == 2 and 0.1 < min(runs["2"]) < 1e6 for runs in found["times"].values())


def test_a_contender_that_fails_is_left_out_and_says_why(tmp_path):
    entry = races.Entry([["-c", "import sys; sys.exit('no such thing')"]])
    assert races.race({"other": entry}, rounds=1, seconds=0.1, caches=tmp_path) == ({}, {"other": "no such thing"})


def test_a_held_process_does_nothing_until_it_is_measured(tmp_path):
    beats = (
        "import sys, time, pathlib, pulse\n"
        "own = pulse.Pulse(pathlib.Path(sys.argv[2]))\n"
        "while True: time.sleep(0.01); own.beat(4)"
    )
    racer = pulse.Racer([["-c", beats]], tmp_path / "own", {"PYTHONPATH": str(Path(pulse.__file__).parent)})
    try:
        racer.wait()
        before = (tmp_path / "own" / str(racer.pids[0])).read_bytes()
        time.sleep(0.1)
        assert (tmp_path / "own" / str(racer.pids[0])).read_bytes() == before
        assert 2500 < racer.measure(0.2) < 100_000
    finally:
        racer.end()


def test_lanes_tell_what_auto_chooses_and_when_the_first_updates_are_done(data):
    assert lane_runs.chosen("mnist", 2, data)["backend"] in lane_runs.BACKENDS
    assert 0 < lane_runs.first("mnist", 2, data, "sequential")["seconds"] < 60


def test_the_report_of_lanes_compares_within_rounds():
    times = {name: {"32": [each, 10 * each]} for name, each in [("compiled", 6.0), ("products", 2.0), ("traffic", 1.0)]}
    models = {
        "times": {"cnn 8": {"sequential": [8.0, 9.0], "processes": [10.0, 6.0], "eager": [4.0, 3.0]}},
        "chosen": {"cnn 8": {"backend": "eager", "reason": "the fastest"}},
    }
    found = {
        "machine": "a machine",
        "steady": {"times": times, "notes": {"jax 32": "no such thing"}},
        "models": models,
        "compile": {"cnn": {"lanes": 8, "eager": 0.5, "cold": 20.0, "warm": "refused"}},
        "memory": {"cnn": {"eager": {"measured": 2e6, "estimate": 3e6}, "compiled": "refused"}},
    }
    text = lane_report.report(found)
    assert "| the machine's limit | 16.5 (3.0 to 30.0) |" in text
    assert "| lrkit, compiled / the machine's limit | 2.00 |" in text
    assert (
        "| small CNN, batch 128 | 8 |  | 3.5 (3.0 to 4.0) | 8.5 (8.0 to 9.0) | 8.0 (6.0 to 10.0) | eager | 0.50 |"
        in text
    )
    assert "| small CNN, batch 128 | 8 | 0.5 | 20.0 | refused |" in text
    assert "| small CNN, batch 128 | eager | 2.00 | 3.00 |" in text
    assert "- jax 32: no such thing" in text


@pytest.mark.usefixtures("quick_intervals")
def test_what_a_found_rate_is_worth_is_held_against_a_sweep():
    x = torch.linspace(-1, 1, 256)[:, None]
    task = lrkit.Task(
        model=lambda: torch.nn.Linear(1, 1),
        train=(x, 2 * x),
        valid=(x[::3], 2 * x[::3] + 0.1),  # of which 0.01 can't be learned
        loss=torch.nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batch_size=16,
        epochs=5,
        name="line",
    )
    worth = found_rates.measure(task, "ramp", seeds=2)
    assert [row.one.lr for row in worth.swept] == pytest.approx([0.1 * factor for factor in found_rates.FACTORS])
    assert worth.best.one.lr > 0.1
    assert worth.ratio == pytest.approx(worth.found.mean / 0.01, rel=1e-3)
    assert f"| line | {worth.finding.suggestion:.3g} (" in found_rates.report({"line": worth})


# --- a whole comparison -----------------------------------------------------------------------------


def test_torchs_schedulers_are_those_of_the_line_up():
    for epochs in (1, 3, 5, 25):
        for name, text in LINEUPS["tutorial"](epochs).items():
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
            scheduler = grid_runs.SCHEDULERS[name](optimizer, epochs)
            if name == "plateau":
                assert f"patience={scheduler.patience})" in text
                continue
            plan = lrkit.parse(text).over(10 * epochs, epoch_steps=10)
            for epoch in range(epochs):
                # the line-up has three digits of the factor
                assert optimizer.param_groups[0]["lr"] == pytest.approx(plan(10 * epoch), rel=1e-2)
                optimizer.step()
                scheduler.step()


@pytest.mark.slow
def test_a_comparison_is_measured_with_lrkit_and_without(data, monkeypatch):
    for module in (compare, grid_runs):
        monkeypatch.setattr(module, "RATES", (0.03, 0.1))
        monkeypatch.setattr(module, "SEEDS", (101,))
    one = job.Job(1, data)
    found = {name: [each] for name, each in compare.measure("lrkit", one, sample=2).items()}
    told = grid_runs.plain(data, 1)
    assert told["runs"] == 5 * 2 + 5 * 3
    found["plain"] = [{"seconds": told["seconds"], "told": told}]
    text = compare.report(found, 1)
    assert "| lrkit compare, warm caches |" in text
    assert text.count("| ExponentialLR |") == 1


@pytest.mark.parametrize("how", ["usual", "lrkit", "recorded"])
def test_what_a_schedule_costs_in_a_loop_is_measured(how):
    assert 1 < overhead.measure("plain", how, 20) < 1e6


def test_what_a_recorder_costs_by_itself_is_measured():
    assert 0 < overhead.recorder_cost(rounds=3, updates=200) < 1000


def test_the_report_of_trainers_compares_within_rounds():
    times = {
        "plain: usual": [100.0, 300.0, 200.0],
        "plain: once more": [100.0, 303.0, 198.0],
        "plain: lrkit": [110.0, 330.0, 220.0],
        "plain: recorded": [120.0, 360.0, 240.0],
    }
    assert "| plain | 200 (100 to 300) | 1.000 | 1.100 | 1.200 |" in overhead.report(times)


# --- predictions ------------------------------------------------------------------------------------


@pytest.fixture
def law():
    """With values that fit no training in particular, and two worlds around it."""
    law = LAWS["multi_power"]
    values = {"L0": 0.5, "A": 1.0, "alpha": 0.5, "B": 5.0, "C": 1.0, "beta": 0.5, "gamma": 0.5}
    return FittedLaw(law, values, (), tuple(World(law, {**values, "L0": at}) for at in (0.49, 0.51)))


def recorded(law, factors=(0.99, 1.01)):
    """Trainings that a law describes, but for a factor of each seed."""
    found = {}
    for name, (schedule, steps) in predict_runs.schedules(1200).items():
        rates = 0.1 * lrkit.parse(schedule).over(steps)(np.arange(steps))
        losses = np.stack([factor * law.predict(rates) for factor in factors])
        found[name] = predict_own.Recorded(rates, losses, losses[:, -1])
    return found


def test_trainings_for_predictions_are_recorded_once(data, tmp_path):
    setting = predict_runs.Setting("mnist", 32, 40, 1)
    runs = {name: history for name, _, history in predict_runs.histories(setting, tmp_path, data)}
    assert set(predict_runs.FITTED) < set(runs)
    assert [len(each.losses) for each in runs.values()] == [40] * 7 + [80]
    assert all(each.lr.max() == 0.1 and each.lr[1] == 0.1 and each.lr[0] == 0.05 for each in runs.values())
    assert runs["drop_0.3"].lr[[19, 20, 39]] == pytest.approx([0.1, 0.03, 0.03])
    again = {name: history for name, _, history in predict_runs.histories(setting, tmp_path, data)}
    assert [each.made["started"] for each in again.values()] == [each.made["started"] for each in runs.values()]
    task = predict_runs.task_of(predict_runs.SETTINGS["mnist"], 20, data)  # another length than was recorded
    assert len(predict_runs.train(task, "constant()", 0, tmp_path / "constant-0").losses) == 20


def test_predictions_are_held_against_what_was_measured(law):
    runs = recorded(law)
    whole = predict_own.held_against(law, runs["wsd_linear"])
    assert whole.mean < 1e-3
    assert whole.error == pytest.approx(0, abs=1e-3)
    assert whole.inside
    alone = predict_own.held_against(law, runs["wsd_linear"], 0)
    assert alone.error == pytest.approx(1 / 0.99 - 1, abs=1e-3)
    assert alone.mean == pytest.approx(1 / 0.99 - 1, rel=0.1)
    held = {name: predict_own.held_against(law, each) for name, each in runs.items()}
    found = predict_own.together(held, runs)
    assert (found.inside, found.right, found.valid_right) == (5, found.pairs, found.valid_pairs)
    assert found.pairs > 0


def test_predictions_of_own_trainings_are_reported(law):
    text = predict_own.report("mnist", recorded(law), {"auto": law, "multi_power": law}, [law, law])
    assert text.count("(fitted) |") == 3
    assert "| wsd_linear | 0.0" in text
    assert "| auto (multi_power) | 0.0" in text
    assert "2 seeds. multi_power: L0 = 0.5," in text


def test_the_best_schedule_is_held_against_others(law, data, tmp_path):
    schedules = {"optimised": lrkit.table([0.5, *[1.0] * 19]), "wsd": lrkit.wsd("5%", "20%")}
    runs = predict_optimised.measure(
        predict_runs.task_of(predict_runs.SETTINGS["mnist"], 20, data), schedules, 2, tmp_path
    )
    apart = (runs["optimised"].finals - runs["wsd"].finals).mean()
    held = {name: predict_own.held_against(law, each) for name, each in runs.items()}
    text = predict_optimised.report(runs, held)
    assert f"| `wsd` | {apart:+.4f} (" in text
    assert f"| optimised | {runs['optimised'].finals.mean():.4f} (" in text


def test_predictions_are_timed_and_reported(law):
    taken = predict_speed.ask(law, 1, [3000])
    assert all(0 < each["3000"] < 10 for each in taken.values())
    sizes = {"law": "multi_power", "fit": 2.0, "fit_all": 5.0, "imports_bytes": 2e8, "bytes": 4e8}
    text = predict_speed.report([{**sizes, **taken, "final": {"3000": 0.002}}])
    assert "| final loss | 2.0 |" in text
    assert "takes 2.0 s (multi_power), to all nine 5.0 s" in text
    assert "most 400 MB in use, of which 200 MB" in text


def test_readings_of_records_are_timed_and_reported(tmp_path):
    records.write(tmp_path, 200, 50, 1)
    taken = {name: [records.measure(name, tmp_path)] for name in records.READERS}
    assert [each["updates"] for (each,) in taken.values()] == [100, 100, 50]
    taken["report"] = [{"seconds": 1.0}]
    text = records.report(taken, {name: name for name in taken})
    assert "| report | 1.00 |" in text
    assert "times as fast as by TensorBoard's reader" in text

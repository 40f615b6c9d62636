"""`lrkit.compare`: each schedule at its own best rate, chosen on held-out data; halving, folders, extensions."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import lrkit
from comparison_cases import told
from crashes import KilledError, crash_at
from lrkit import InputError, InputTypeError, LanesObserver
from lrkit.analysis import comparison_folder
from lrkit.analysis.reading import join, read_tournament
from lrkit.training.held_folder import HeldFolder
from lrkit.training.networks import perceptron
from lrkit.training.tasks import get

RATES = [0.01, 0.03, 0.1, 0.3, 1.0]


def regression(epochs=3, *, noise=0.05, count=120, dimensions=4, seed=2, batch_size=20):
    """Directions of different steepness: high rates explode early, and annealing schedules come back from it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + 60, dimensions, generator=generator) * torch.logspace(0, -1, dimensions)
    y = x @ torch.randn(dimensions, 1, generator=generator) + noise * torch.randn(len(x), 1, generator=generator)
    return lrkit.Task(
        model=lambda: nn.Linear(dimensions, 1),
        train=(x[:count], y[:count]),
        valid=(x[count:], y[count:]),
        loss=nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batch_size=batch_size,
        epochs=epochs,
    )


def classes(optimizer, seed, epochs=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 6, generator=generator)
    y = (x[:, 0] * x[:, 1] + x[:, 2] + 0.3 * torch.randn(400, generator=generator) > 0).long()
    return lrkit.Task(
        model=lambda: perceptron((6, 16, 2)),
        train=(x[:300], y[:300]),
        valid=(x[300:], y[300:]),
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": lrkit.accuracy},
        optimizer=optimizer,
        batch_size=16,
        epochs=epochs,
    )


def digits(count=1000):
    task = get("mnist")
    images, labels = task.train
    return replace(
        task,
        model=lambda: perceptron((784, 32, 10)),
        train=(images[:count], labels[:count]),
        valid=(images[-500:], labels[-500:]),
        epochs=5,
    )


TASKS = {
    "steep regression": lambda: regression(5, dimensions=8),
    "noisy regression": lambda: regression(8, noise=0.5, dimensions=8, seed=0),
    "SGD": lambda: classes(lambda p: torch.optim.SGD(p, lr=0.1), 1),
    "AdamW": lambda: classes(lambda p: torch.optim.AdamW(p, lr=0.003), 2),
    "digits": digits,
}
SHAPES = [
    "constant()",
    "one_cycle()",
    "warmup(5%) >> linear(to=0)",
    "warmup(5%) >> cosine(to=0)",
    "plateau(patience=0)",
]


class Count(LanesObserver):
    """Keeps which lanes were trained, by stage."""

    def __init__(self):
        self.stages, self.lanes = [], {}

    def stage(self, stage):
        self.stages.append(stage.name)
        self._of_stage = self.lanes.setdefault(stage.name, [])

    def start(self, setup):
        self._lanes = setup.lanes

    def ended(self, histories):
        self._of_stage += [
            (str(lane.schedule), lane.lr, lane.seed) for lane in (self._lanes[number] for number in histories)
        ]


def compare(task, schedules, **options):
    """The comparison, and what was trained for it."""
    count = Count()
    options = {"backend": "eager", **options}  # the choice of "auto" takes longer than such small tasks
    found = lrkit.compare(task, schedules, observers=[count], on_stage=count.stage, **options)
    return found, count


def same(first, second):
    return told(first) == told(second) and first.candidates == second.candidates


# --- halving -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_halving_chooses_the_rates_of_the_full_grid(tmp_path, name):
    task = TASKS[name]()
    halved, _ = compare(task, SHAPES, seeds=1, folder=tmp_path)
    full, _ = compare(task, SHAPES, seeds=1, folder=tmp_path, halving=False)  # trains what was dropped anew, to its end
    for each, whole in zip(halved.candidates.values(), full.candidates.values(), strict=True):
        assert (each.name, each.lr) == (whole.name, whole.lr)
        assert len(each.tried) == 8
        for rate, runs in each.tried.items():
            for seed, history in runs.items():  # what goes on has its whole horizon
                assert history.lrs.tolist() == whole.tried[rate][seed].lrs[: len(history.lrs)].tolist()
    assert full.made["halving"]["saved"] == 0
    assert halved.made["halving"]["lane_epochs"] < 2 / 3 * full.made["halving"]["lane_epochs"]


@pytest.mark.parametrize("backend", ["sequential", "processes"])
def test_halving_lane_by_lane_chooses_so_too(backend):
    task = TASKS["SGD"]()
    halved, _ = compare(task, SHAPES[:2], seeds=1, backend=backend)
    full, _ = compare(task, SHAPES[:2], seeds=1, halving=False)
    assert [each.lr for each in halved.candidates.values()] == [each.lr for each in full.candidates.values()]
    assert halved.made["halving"]["saved"] > 0


def test_a_rate_with_a_diverged_seed_is_chosen_only_where_there_is_no_other():
    task = regression()
    found, _ = compare(task, ["constant()"], seeds=1, rates=[0.001, 1e30])
    assert found.candidates["constant()"].lr == 0.001
    found, _ = compare(task, {"low": "constant(0.001)", "high": "constant(1e30)"}, seeds=1, rates=[1.0, 2.0])
    assert found.candidates["high"].lr is None
    assert found.candidates["high"].runs == {}
    assert found.reference == "low"
    with pytest.raises(lrkit.NothingEndedError, match="no schedule came to its end at any rate"):
        compare(task, ["constant()"], seeds=1, rates=[1e30])


# --- what is fair --------------------------------------------------------------------------------------


def test_schedules_share_seeds_and_those_of_the_search_are_others():
    found, _ = compare(regression(), ["constant()", "linear(to=0)"], seeds=3, rates=RATES)
    searched = {seed for each in found.candidates.values() for runs in each.tried.values() for seed in runs}
    for seed in range(3):
        first = {float(each.runs[seed].losses[0]) for each in found.candidates.values()}
        assert len(first) == 1
    assert len({float(history.losses[0]) for history in found.candidates["constant()"].runs.values()}) == 3
    assert all(set(each.runs) == {0, 1, 2} for each in found.candidates.values())
    assert len(searched) == 2
    assert searched.isdisjoint(range(1000))


def test_no_choice_sees_the_test_data():
    task = regression()
    x, y = task.valid
    schedules = ["plateau(patience=0, factor=0.5)", "linear(to=0)"]
    honest, _ = compare(task, schedules, seeds=2, rates=RATES)
    contrary, _ = compare(replace(task, valid=(x, -10 * y)), schedules, seeds=2, rates=RATES)
    assert contrary.reference == honest.reference
    for name, each in honest.candidates.items():
        other = contrary.candidates[name]
        assert other.lr == each.lr
        for seed, history in each.runs.items():
            assert (other.runs[seed].lrs == history.lrs).all()
            assert other.runs[seed].epochs[-1].valid_loss == history.epochs[-1].valid_loss
            assert other.runs[seed].epochs[-1].test_loss > 2 * history.epochs[-1].test_loss
    assert honest.made["samples"] == {"train": 100, "valid": 20, "test": 60}


def test_nothing_is_held_out_of_a_task_with_validation_and_test_data(tmp_path):
    task = replace(TINY, test=TINY.valid)
    asked = {"seeds": 1, "rates": [0.1], "folder": tmp_path / "a"}
    found, _ = compare(task, ["constant()"], **asked)
    assert (found.made["holdout"], found.made["samples"]["train"]) == (None, 40)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["holdout"] is None
    assert same(compare(task, [], **asked)[0], found)
    assert read_tournament(tmp_path / "a").terms.holdout is None
    with pytest.raises(InputError, match="holdout must be left out"):
        compare(task, ["constant()"], holdout=0.3)


def test_rates_can_be_chosen_by_a_metric():
    task = TASKS["SGD"]()
    found, _ = compare(task, ["constant()"], seeds=1, measure="accuracy")
    best = max(
        (sum(run.epochs[-1].metrics["accuracy"] for run in runs.values()), -rate)
        for rate, runs in found.candidates["constant()"].tried.items()
        if all(len(run.epochs) == 5 for run in runs.values())
    )
    assert found.candidates["constant()"].lr == -best[1]
    assert (found.measure.name, found.measure.mode) == ("accuracy", "max")


def test_the_rates_by_default_are_around_the_tasks_own():
    found, _ = compare(regression(epochs=1), ["constant()"], seeds=1)
    assert list(found.candidates["constant()"].tried) == [0.001, 0.00316228, 0.01, 0.0316228, 0.1, 0.316228, 1, 3.16228]


def test_a_measure_that_a_forward_does_not_have_is_said_before_anything_is_kept(tmp_path):
    def forward(model, batch):
        x, y = batch
        return nn.functional.mse_loss(model(x), y), len(x), {"gap_loss": (model(x) - y).abs().mean()}

    task = replace(TINY, loss=None, forward=forward)
    found, _ = compare(task, ["constant()"], seeds=1, rates=[0.1], measure="gap_loss")
    assert found.measure.mode == "min"
    before = torch.get_rng_state()
    with pytest.raises(InputError, match="unknown measure 'gab_loss', did you mean 'gap_loss'"):
        lrkit.compare(
            task,
            ["constant()"],
            measure="gab_loss",
            folder=tmp_path / "new",
            on_stage=lambda stage: pytest.fail(f"{stage.name} began"),
        )
    assert not (tmp_path / "new").exists()
    assert torch.equal(torch.get_rng_state(), before)


# --- line-ups ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 25])
@pytest.mark.parametrize("name", ["tutorial", "modern"])
def test_a_line_up_fits_the_length(name, epochs):
    found, _ = compare(regression(epochs), name, seeds=1, selection_seeds=1, rates=[0.1])
    assert len(found.candidates) == {"tutorial": 5, "modern": 6}[name]
    moved = {each.name for each in found.candidates.values() if len(set(each.runs[0].lr)) > 1}
    if epochs >= 3:
        assert moved >= set(found.candidates) - {"constant", "plateau", "schedule_free"}


def test_the_tutorials_arguments_are_those_of_tutorials():
    found, _ = compare(regression(25, count=24), "tutorial", seeds=1, selection_seeds=1, rates=[0.1])
    assert {name: each.schedule for name, each in found.candidates.items()} == {
        "constant": "constant()",
        "StepLR": "every(1ep, staircase(every=10))",
        "MultiStepLR": "every(1ep, milestones(at=[12, 18]))",
        "ExponentialLR": "every(1ep, exponential(factor=0.912))",
        "plateau": "plateau(patience=2)",
    }


# --- a folder ------------------------------------------------------------------------------------------

TINY = regression(2, count=40, batch_size=16)
ASKED = {"schedules": ["constant()", "plateau(factor=0.5, patience=0)"], "seeds": 2, "rates": [0.003, 0.03, 0.3]}


@pytest.fixture(scope="module")
def whole():
    return lrkit.compare(TINY, **ASKED, backend="eager")


@pytest.mark.parametrize(("backend", "moments"), [("eager", range(1, 13)), ("sequential", range(1, 80, 9))])
def test_an_interrupted_comparison_goes_on_as_if_it_had_not_been(tmp_path, backend, moments):
    def asked_to_stop(after):
        asked = iter(range(after))
        return lambda: next(asked, None) is None

    uninterrupted = lrkit.compare(TINY, **ASKED, backend=backend)
    for after in moments:
        path = tmp_path / str(after)
        with pytest.raises(lrkit.StoppedError):
            lrkit.compare(TINY, **ASKED, backend=backend, folder=path, stop=asked_to_stop(after), checkpoint_every=2)
        assert same(lrkit.compare(TINY, **ASKED, backend=backend, folder=path), uninterrupted), after


def test_a_crash_at_any_write_point_loses_nothing(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        points = crash_at(patch, 0)
        lrkit.compare(TINY, **ASKED, backend="eager", folder=tmp_path / "count", checkpoint_every=3)
    assert points[0] > 100
    for event in range(1, points[0] + 1, 19):
        path = tmp_path / str(event)
        with monkeypatch.context() as patch:
            crash_at(patch, event)
            with pytest.raises(KilledError):
                lrkit.compare(TINY, **ASKED, backend="eager", folder=path, checkpoint_every=3)
        assert same(lrkit.compare(TINY, **ASKED, backend="eager", folder=path), whole), event
        assert not list(path.rglob(".*.new")), event


def test_an_extension_trains_only_what_is_missing(tmp_path):
    asked = {"folder": tmp_path, "backend": "sequential"}
    first, count = compare(TINY, **ASKED, **asked)
    assert {stage: len(lanes) for stage, lanes in count.lanes.items()} == {"selection": 12, "final": 4}
    again, count = compare(TINY, **ASKED, **asked)
    assert (same(again, first), count.stages) == (True, [])
    more, count = compare(TINY, [], seeds=4, **asked)
    assert count.stages == ["final"]
    assert sorted({seed for _, _, seed in count.lanes["final"]}) == [2, 3]
    assert more.candidates["constant()"].runs[1] == first.candidates["constant()"].runs[1]
    further, count = compare(TINY, ["linear(to=0)"], **asked)
    assert list(further.candidates) == [*ASKED["schedules"], "linear(to=0)"]
    assert {schedule for lanes in count.lanes.values() for schedule, _, _ in lanes} == {"linear(to=0)"}
    assert set(further.candidates["linear(to=0)"].runs) == {0, 1, 2, 3}
    wider, count = compare(TINY, [], rates=[0.1], **asked)
    assert {rate for _, rate, _ in count.lanes["selection"]} == {0.1}
    assert list(wider.candidates["linear(to=0)"].tried) == [0.003, 0.03, 0.1, 0.3]
    extended = lrkit.compare(
        TINY, list(further.candidates), seeds=4, rates=wider.made["rates"], backend="sequential", halving=False
    )
    assert [each.lr for each in extended.candidates.values()] == [each.lr for each in wider.candidates.values()]
    assert [each.runs for each in extended.candidates.values()] == [each.runs for each in wider.candidates.values()]


def test_what_was_dropped_is_trained_where_halving_is_switched_off(tmp_path):
    halved, _ = compare(TINY, **ASKED, folder=tmp_path)
    assert halved.made["halving"]["saved"] > 0
    full, count = compare(TINY, [], folder=tmp_path, halving=False)
    assert full.made["halving"]["saved"] == 0
    assert 0 < len(count.lanes["selection"]) < 12
    assert same(full, lrkit.compare(TINY, **ASKED, halving=False))


def test_the_records_alone_say_the_same(tmp_path, whole):
    lrkit.compare(TINY, **ASKED, backend="eager", folder=tmp_path)
    reading = read_tournament(tmp_path)
    assert same(reading.compare(), whole)
    assert reading.compare(target=0.5).target == 0.5
    assert reading.compare(reference="constant()").reference == "constant()"
    assert math.isfinite(reading.made["seconds"])


@pytest.mark.parametrize("text", ["every(1ep, staircase(every=2))", "StepLR(step_size=2)", " StepLR( 2 )"])
def test_the_reference_may_be_any_text_of_a_schedule(text):
    found, _ = compare(TINY, ["constant()", "StepLR(step_size=2)"], seeds=1, rates=[0.1], reference=text)
    assert found.reference == "every(1ep, staircase(every=2))"


def test_terms_are_read_while_the_folder_is_held(tmp_path, monkeypatch):
    lrkit.compare(TINY, ["constant()"], seeds=1, rates=[0.1], folder=tmp_path)
    read = comparison_folder.read_terms

    def read_held(path):
        with pytest.raises(InputError, match="in use by another process"):
            HeldFolder(path, "comparison", "lrkit_comparison_folder", overwrite=True)
        return read(path)

    monkeypatch.setattr(comparison_folder, "read_terms", read_held)
    assert lrkit.compare(TINY, [], folder=tmp_path).reference == "constant()"


def test_what_makes_runs_less_alike_is_said(tmp_path):
    task = replace(
        TINY,
        optimizer=lambda parameters: torch.optim.SGD(
            [{"params": [each], "lr": lr} for each, lr in zip(parameters, (0.1, 0.2), strict=True)]
        ),
        source={"task": "task.py:task", "sha256": "1"},
    )
    asked = {"rates": [0.1], "folder": tmp_path}
    found, _ = compare(task, ["constant()"], seeds=1, **asked)
    groups = "The param groups of the task have different rates; here all have the rate that is tried."
    assert found.notes[0] == groups
    compare(replace(task, source={**task.source, "sha256": "2"}), [], seeds=2, **asked)
    notes = read_tournament(tmp_path).compare().notes
    assert notes[:2] == (groups, "Runs were made with different versions of the task's file.")


def test_the_search_may_have_been_made_with_another_version_of_the_tasks_file(tmp_path):
    task = replace(TINY, source={"task": "task.py:task", "sha256": "1"})
    changed = replace(TINY, source={"task": "task.py:task", "sha256": "2"})
    ended = []

    class Ended(LanesObserver):
        def ended(self, histories):
            ended.extend(histories)

    asked = {"seeds": 1, "selection_seeds": 1, "rates": [0.1], "backend": "eager", "folder": tmp_path}
    with pytest.raises(lrkit.StoppedError):
        lrkit.compare(task, ["constant()"], **asked, observers=[Ended()], stop=lambda: bool(ended))
    found, _ = compare(changed, ["constant()"], **asked)
    assert "Runs were made with different versions of the task's file." in found.notes


def test_several_comparisons_are_joined(tmp_path):
    rates = {"rates": [0.1, 0.3]}
    lrkit.compare(TINY, {"flat": "constant()", "down": "linear(to=0)"}, seeds=2, folder=tmp_path / "a", **rates)
    lrkit.compare(TINY, {"flat": "constant()", "down": "cosine(to=0)"}, seeds=3, folder=tmp_path / "b", **rates)
    joined = join([read_tournament(tmp_path / "a"), read_tournament(tmp_path / "b")]).compare()
    assert {each.name: each.n_seeds for each in joined.standings} == {"flat": 3, "down": 2, "down (2)": 3}
    lrkit.compare(regression(2), ["constant()"], seeds=1, folder=tmp_path / "c", **rates)
    with pytest.raises(InputError, match="different trainings can't be joined: steps is 6 in one, 10 in another"):
        join([read_tournament(tmp_path / "a"), read_tournament(tmp_path / "c")])


def test_what_another_folder_has_is_not_left_out_of_several(tmp_path):
    rates = {"rates": [0.1], "backend": "eager", "selection_seeds": 1, "seeds": 1}
    lrkit.compare(TINY, ["constant()"], folder=tmp_path / "a", **rates)
    with pytest.raises(lrkit.StoppedError):
        lrkit.compare(TINY, ["linear(to=0)", "cosine(to=0)"], folder=tmp_path / "a", stop=lambda: True, backend="eager")
    lrkit.compare(TINY, ["linear(to=0)"], folder=tmp_path / "b", **rates)
    notes = join([read_tournament(tmp_path / "a"), read_tournament(tmp_path / "b")]).compare().notes
    assert [each for each in notes if "left out" in each] == [
        "cosine(to=0) is left out: its final runs haven't been trained."
    ]


def test_schedules_that_are_the_same_over_the_length_are_said_to_be():
    schedules = ["constant()", "linear(to=0)", "staircase(every=1000)", "plateau(patience=1000)"]
    schedules += ["lr: constant(); momentum: constant(0.9)", lrkit.from_callable(lambda step: 1 / (1 + step))]
    found, _ = compare(TINY, schedules, seeds=2, selection_seeds=1, rates=[0.1], backend="sequential")
    assert [each for each in found.notes if "same schedule" in each] == [
        "constant(), staircase(every=1000) and plateau(patience=1000) are the same schedule over this length."
    ]


def test_what_has_not_ended_is_said_or_left_out(tmp_path):
    with pytest.raises(InputError, match="is not a comparison folder"):
        read_tournament(tmp_path / "none")
    with pytest.raises(lrkit.StoppedError):
        lrkit.compare(TINY, **ASKED, folder=tmp_path / "a", stop=lambda: True)
    with pytest.raises(InputError, match="no schedule has a final run yet"):
        read_tournament(tmp_path / "a")
    lrkit.compare(TINY, **ASKED, folder=tmp_path / "a")
    with pytest.raises(lrkit.StoppedError):
        lrkit.compare(TINY, ["linear(to=0)"], folder=tmp_path / "a", stop=lambda: True)
    found = read_tournament(tmp_path / "a").compare()
    assert list(found.candidates) == ASKED["schedules"]
    assert "linear(to=0) is left out: its final runs haven't been trained." in found.notes


def test_a_damaged_or_foreign_folder_is_refused_in_a_sentence(tmp_path):
    lrkit.compare(TINY, ["constant()"], seeds=1, rates=[0.1], folder=tmp_path / "a")
    config = tmp_path / "a" / "config.json"
    written = json.loads(config.read_text())
    for change, message in (
        ({"rates": None}, "damaged"),
        ({"averaging": None}, "damaged"),
        ({"left_out": None}, "damaged"),
        ({"schedules": {"constant()": {"lrkit": 1}}}, "a schedule's JSON must look like"),
        ({"lrkit_comparison_folder": 99}, "has format 99, this lrkit reads up to 1"),
    ):
        config.write_text(json.dumps({**written, **change}))
        with pytest.raises(InputError, match=message):
            read_tournament(tmp_path / "a")
    config.write_text(json.dumps(written))
    next((tmp_path / "a" / "final-000" / "lanes").glob("*.npz")).write_bytes(b"PK")
    with pytest.raises(InputError, match="can't be read"):
        read_tournament(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="isn't empty"):
        lrkit.compare(TINY, ["constant()"], folder=tmp_path / "b")
    with pytest.raises(InputError, match="a is of"):
        lrkit.compare(TINY, ["constant()"], folder=tmp_path / "c", reference="a is of")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": replace(TINY, name="other")}, "has task 'task', so it can't go on with 'other'"),
        ({"task": replace(TINY, epochs=4)}, "has steps 6, so it can't go on with 12"),
        ({"task": replace(TINY, batch_size=8)}, "has steps 6, so it can't go on with 10"),
        ({"holdout": 0.2}, "has holdout 0.16666666666666666, so it can't go on with 0.2"),
        ({"schedules": {"constant()": "linear(to=0)"}}, r"calls constant\(\) 'constant\(\)', so linear\(to=0\) needs"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, change, message):
    lrkit.compare(TINY, ["constant()"], seeds=1, rates=[0.1], folder=tmp_path)
    asked = {"task": TINY, "schedules": ["constant()"], **change}
    with pytest.raises(InputError, match=message):
        lrkit.compare(**asked, folder=tmp_path)


# --- what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": 3}, "task must be an lrkit.Task, not 3"),
        ({"schedules": []}, "schedules has no schedule in it"),
        ({"schedules": "tutorail"}, "unknown line-up 'tutorail', did you mean 'tutorial'"),
        ({"schedules": 3}, "schedules must be plans, their texts, or names of line-ups, not 3"),
        ({"schedules": [3]}, "schedules must be plans or the texts of plans, not 3"),
        ({"schedules": ["linear(to=0)", "linear(to=0)"]}, r"schedules has 'linear\(to=0\)' twice"),
        ({"schedules": {"a": "linear(to=0)", "b": "linear(to=0)"}}, "schedules 'a' and 'b' are the same schedule"),
        ({"schedules": {"": "linear(to=0)"}}, "the names of schedules must be texts, not ''"),
        ({"schedules": ["warmup(1000) >> linear(to=0)"]}, "1000"),
        ({"reference": "cosine"}, r"unknown reference 'cosine'. Known: constant\(\), linear\(to=0\)"),
        ({"measure": "acuracy"}, "unknown measure 'acuracy'"),
        ({"mode": "low"}, "mode must be 'min' or 'max', not 'low'"),
        ({"rates": []}, "rates has no learning rate in it"),
        ({"rates": 0.1}, "rates must be learning rates, not 0.1"),
        ({"rates": [0.1, -1]}, "a rate must be finite and above 0, not -1.0"),
        ({"rates": ["high"]}, "a rate must be a number, not 'high'"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"seeds": 2_000_000}, "seeds must be at most 1000000, not 2000000"),
        ({"selection_seeds": 1.5}, "selection_seeds must be a whole number, not 1.5"),
        ({"holdout": 1.5}, "holdout must be finite and above 0 and below 1, not 1.5"),
        ({"target": "low"}, "target must be a number, not 'low'"),
        ({"backend": "quick"}, "unknown backend 'quick'"),
        ({"memory": "much"}, "memory"),
        ({"checkpoint_every": "often"}, "often"),
        ({"device": "tpu"}, "device must be one that works here"),
        ({"schedules": [lrkit.from_callable(lambda step: 1.0)]}, "holds a Python function, which can't be written"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, change, message):
    asked = {"task": TINY, "schedules": ["constant()", "linear(to=0)"], "folder": tmp_path / "new", **change}
    with pytest.raises((InputError, InputTypeError), match=message) as refused:
        lrkit.compare(**asked, on_stage=lambda stage: pytest.fail(f"{stage.name} began"))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "new").exists()

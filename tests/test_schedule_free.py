"""Schedule-free averaging: two sets of weights, of which one is trained and the other measured."""

import dataclasses
import json
import sys

import pytest
import schedulefree
import torch
from torch import nn

import lrkit
from comparison_cases import told
from lrkit import InputError, Lane, LanesFolder, Observer, StoppedError
from lrkit.analysis.comparison_folder import read_terms
from lrkit.analysis.entrant import Entrant
from lrkit.analysis.reading import join, read_tournament
from lrkit.training.averaging import begin_training
from lrkit.training.data import make_batches
from lrkit.training.networks import perceptron

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(60, 5, generator=GENERATOR)
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).long()
OPTIMIZERS = {
    "SGD": lambda p: schedulefree.SGDScheduleFree(p, lr=0.5, weight_decay=0.01),
    "AdamW": lambda p: schedulefree.AdamWScheduleFree(p, lr=0.05),
    "RAdam": lambda p: schedulefree.RAdamScheduleFree(p, lr=0.05),
}
PLAN = "warmup(4)"


def make(optimizer=OPTIMIZERS["SGD"], **changes):
    given = {
        "model": lambda: perceptron((5, 8, 2)),
        "train": (X[:40], Y[:40]),
        "valid": (X[40:], Y[40:]),
        "test": (X[40:] + 0.1, Y[40:]),
        "loss": nn.functional.cross_entropy,
        "optimizer": optimizer,
        "batch_size": 8,
        "epochs": 4,
    }
    return lrkit.Task(**{**given, **changes})


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.3, momentum=0.5, nesterov=True, weight_decay=0.02)


class Weights(Observer):
    """Those that a snapshot has after each update."""

    def __init__(self):
        self.seen = []

    def start(self, setup):
        self._snapshot = setup.snapshot

    def step(self, steps):
        self.seen.append({name: value.clone() for name, value in self._snapshot()["model"].items()})


class Taken(Observer):
    """A snapshot after an update, and after the end of the epoch where it is the last one."""

    def __init__(self, at, path):
        self._at, self._path = at, path

    def start(self, setup):
        self._snapshot = setup.snapshot

    def step(self, steps):
        if steps == self._at:
            torch.save(self._snapshot(), self._path)

    def epoch(self, history):
        self.step(history.epochs[-1].step)


# --- run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_measuring_changes_nothing(kind):
    def weights(**changes):
        seen = Weights()
        history = lrkit.run(make(OPTIMIZERS[kind], **changes), PLAN, observers=[seen])
        return seen.seen, history.losses.tolist()

    measured, unmeasured = weights(), weights(valid=None, test=None)
    assert measured[1] == unmeasured[1]
    for one, other in zip(measured[0], unmeasured[0], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("at", [1, 5, 10, 13])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_resumed_anywhere_is_never_interrupted(tmp_path, kind, at):
    task, path = make(OPTIMIZERS[kind]), tmp_path / "snapshot.pt"
    whole = lrkit.run(task, PLAN, observers=[Taken(at, path)])
    assert lrkit.run(task, PLAN, resume=torch.load(path)) == whole


@pytest.mark.parametrize("at", [1, 13])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restarted_run_goes_on_with_the_average(tmp_path, kind, at):
    task, path, again = make(OPTIMIZERS[kind]), tmp_path / "snapshot.pt", tmp_path / "again.pt"
    lrkit.run(task, PLAN, observers=[Taken(13, path)])
    before = torch.load(path)
    whole = lrkit.run(task, PLAN, observers=[Taken(at, again)], resume=before, policy="restart")
    after = torch.load(again)
    assert lrkit.run(task, PLAN, resume=after) == whole
    updates = [each["optimizer"]["param_groups"][0]["k"] for each in (before, after)]
    assert updates == [13, 13 + at]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_is_a_hand_written_loop(kind):
    task = make(OPTIMIZERS[kind])
    history = lrkit.run(task, PLAN, seed=7)
    torch.manual_seed(7)
    model = task.model()
    optimizer = task.optimizer(model.parameters())
    base = optimizer.param_groups[0]["lr"]
    batches = make_batches(
        task.train, 8, torch.device("cpu"), seed=7, in_memory=True, workers=0, collate=None, name="train"
    )
    losses, step = [], 0
    for epoch in range(1, 5):
        optimizer.train()
        for inputs, targets in batches.epoch(epoch):
            optimizer.param_groups[0]["lr"] = base * min(1.0, (step + 1) / 4)
            step += 1
            optimizer.zero_grad()
            task.loss(model(inputs), targets).backward()
            optimizer.step()
        optimizer.eval()
        with torch.no_grad():
            losses.append([float(task.loss(model(inputs), targets)) for inputs, targets in (task.valid, task.test)])
    found = [(record.valid_loss, record.test_loss) for record in history.epochs]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(losses), rtol=1e-5, atol=1e-6)


def test_an_average_is_not_what_is_trained():
    """What the test before rests on: here the two sets of weights are far apart."""
    weights, task = Weights(), make()
    history = lrkit.run(task, PLAN, observers=[weights])
    model = task.model()
    model.load_state_dict(weights.seen[-1])
    with torch.no_grad():
        trained = float(task.loss(model(X[40:]), Y[40:]))
    assert abs(trained - history.epochs[-1].valid_loss) > 1e-3


def test_what_the_average_is_computed_from_can_not_be_scheduled():
    with pytest.raises(InputError, match="momentum can't be scheduled with SGDScheduleFree"):
        lrkit.run(make(), "lr: constant(); momentum: linear(to=0.5)")


def test_it_can_not_be_compiled_or_batched():
    with pytest.raises(InputError, match="no rule for the optimizer SGDScheduleFree"):
        lrkit.run(make(), PLAN, compiled=True)
    lanes = [Lane(PLAN, lr=rate) for rate in (0.1, 0.3)]
    mixed = [lanes[0], dataclasses.replace(lanes[1], averaging="schedule_free")]
    for task, these in ((make(), lanes), (make(sgd), mixed)):
        with pytest.raises(lrkit.UnbatchableError, match="lanes can't be batched: there is no rule for"):
            lrkit.run_lanes(task, these, backend="eager")
        found = lrkit.run_lanes(task, these)
        assert "can't be batched" in found[0].made["lanes"]["reason"]
        alone = [lrkit.run(lane.of(task), lane.plan, lr=lane.lr) for lane in these]
        assert [each.losses.tolist() for each in found] == [each.losses.tolist() for each in alone]


# --- lanes ---------------------------------------------------------------------------------------------


def groups(lane, optimizer):
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    made = lane.of(make(optimizer)).optimizer(parameters)
    return type(made), made.param_groups


def two(kind, *options):
    """An optimizer factory with two groups."""
    return lambda p: kind([{"params": [each], **own} for each, own in zip(p, options, strict=True)])


def test_groups_keep_their_values():
    lane = Lane(averaging="schedule_free")
    rates = {"lr": 0.1, "weight_decay": 0.3, "momentum": 0.2}, {"lr": 0.2, "dampening": 0.5, "name": "head"}
    kind, (first, second) = groups(lane, two(torch.optim.SGD, *rates))
    assert kind is schedulefree.SGDScheduleFree
    assert (first["lr"], first["weight_decay"], first["momentum"]) == (0.1, 0.3, 0.9)
    assert (second["lr"], second["weight_decay"], second["name"]) == (0.2, 0, "head")
    for adam in (torch.optim.Adam, torch.optim.AdamW):
        own = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}, {"lr": torch.tensor(0.25), "weight_decay": 0.5}
        kind, (first, second) = groups(lane, two(adam, *own))
        assert kind is schedulefree.AdamWScheduleFree
        assert (first["lr"], first["betas"], first["eps"]) == (0.1, (0.8, 0.95), 1e-6)
        assert (second["lr"], second["betas"], second["weight_decay"]) == (0.25, (0.9, 0.999), 0.5)


def test_a_lanes_hyper_parameters_are_those_of_the_counterpart():
    _, (first, second) = groups(
        Lane(averaging="schedule_free", momentum=0.8), two(torch.optim.SGD, {"lr": 1.0}, {"lr": 2.0})
    )
    assert first["momentum"] == second["momentum"] == 0.8


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (torch.optim.Adagrad, "no counterpart of the optimizer Adagrad; it has of SGD, Adam, AdamW"),
        (OPTIMIZERS["SGD"], "no counterpart of the optimizer SGDScheduleFree"),
        (lambda p: torch.optim.SGD(p, maximize=True), "no counterpart of SGD with maximize=True"),
        (lambda p: torch.optim.Adam(p, betas=(0.0, 0.9)), "needs a first beta above 0, and that of Adam is 0"),
    ],
)
def test_what_has_no_counterpart_is_refused(optimizer, message):
    with pytest.raises(InputError, match=message):
        lrkit.run_lanes(make(optimizer), [Lane(averaging="schedule_free")])


def test_what_no_lane_can_have_is_refused():
    with pytest.raises(InputError, match="unknown averaging 'schedulefree', did you mean 'schedule_free'"):
        Lane(averaging="schedulefree")
    with pytest.raises(InputError, match="momentum must be above 0 and below 1 with averaging, not 0"):
        Lane(averaging="schedule_free", momentum=0)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(InputError, match=r"pip install 'lrkit\[schedulefree\]'"):
        lrkit.run_lanes(make(sgd), [Lane(averaging="schedule_free")])


def test_lanes_in_a_folder_go_on(tmp_path):
    lanes = [Lane(PLAN, lr=rate, averaging="schedule_free") for rate in (0.1, 0.3, 1.0)]
    whole = lrkit.run_lanes(make(sgd), lanes, backend="sequential")
    clock = iter(range(25))
    with pytest.raises(StoppedError):
        lrkit.run_lanes(
            make(sgd), lanes, backend="sequential", folder=LanesFolder(tmp_path), stop=lambda: next(clock, None) is None
        )
    assert LanesFolder.lanes(tmp_path) == lanes
    found = lrkit.run_lanes(make(sgd), LanesFolder.lanes(tmp_path), folder=LanesFolder(tmp_path, resume=True))
    assert [each.epochs for each in found] == [each.epochs for each in whole]
    assert found[0].made["averaging"] == "schedule_free"


# --- comparisons ---------------------------------------------------------------------------------------

ASKED = {"seeds": 2, "selection_seeds": 1, "rates": [0.1, 0.3], "backend": "eager"}
TASK = make(sgd, test=None, epochs=2)
MODERN = ["warmup_cosine", "one_cycle", "linear_to_zero", "wsd", "plateau"]


@pytest.fixture(scope="module")
def modern():
    return lrkit.compare(TASK, "modern", **ASKED)


def test_the_line_up_has_it_and_the_others_are_still_batched(modern):
    assert set(modern.candidates) == {*MODERN, "schedule_free"}
    assert modern.by_name["schedule_free"].schedule == "warmup(5%) with schedule-free averaging"
    assert not any("left out" in note for note in modern.notes)
    for name, candidate in modern.candidates.items():
        for history in (*candidate.runs.values(), *candidate.tried[0.1].values()):
            averaged = name == "schedule_free"
            assert (history.made["lanes"]["backend"] == "eager") != averaged
            assert history.made.get("averaging") == ("schedule_free" if averaged else None)
    lr = modern.by_name["schedule_free"].best_lr
    lane = Lane("warmup(5%)", lr=lr, seed=0, averaging="schedule_free")
    split = lrkit.training.holdout.hold_out(TASK, 1 / 6, seed=0)
    assert modern.candidates["schedule_free"].runs[0].epochs == lrkit.run(lane.of(split), lane.plan, lr=lr).epochs


@pytest.fixture(scope="module")
def looks(modern):
    """How often it is asked whether to stop."""
    asked = []
    lrkit.compare(TASK, "modern", **ASKED, stop=lambda: asked.append(1) is not None)
    return len(asked)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_an_interrupted_comparison_goes_on(tmp_path, modern, looks, share):
    clock = iter(range(int(share * looks)))
    with pytest.raises(StoppedError):
        lrkit.compare(TASK, "modern", **ASKED, folder=tmp_path, stop=lambda: next(clock, None) is None)
    assert told(lrkit.compare(TASK, "modern", **ASKED, folder=tmp_path)) == told(modern)


def test_a_folder_is_extended_shown_and_joined(tmp_path, lrkit, monkeypatch, modern):
    compare = sys.modules["lrkit"].compare
    compare(TASK, "modern", **ASKED, folder=tmp_path / "one")
    assert told(read_tournament(tmp_path / "one").compare()) == told(modern)
    terms, _ = read_terms(tmp_path / "one")
    assert terms.schedules["schedule_free"].averaging == "schedule_free"
    lanes = [json.loads(file.read_text())["lanes"] for file in sorted((tmp_path / "one").glob("final-*/config.json"))]
    assert [{each.get("averaging") for each in stage} for stage in lanes] == [{None}, {"schedule_free"}]

    compare(TASK, ["warmup(5%)"], **ASKED, folder=tmp_path / "two")
    beside = compare(TASK, terms.schedules, **ASKED, folder=tmp_path / "two")
    assert len(beside.candidates) == 7
    found = join([read_tournament(tmp_path / name) for name in ("one", "two")]).compare()
    assert {*MODERN, "schedule_free", "warmup(5%)"} == set(found.candidates)
    assert found.by_name["warmup(5%)"].final != found.by_name["schedule_free"].final

    status, out, _ = lrkit("report", str(tmp_path / "one"))
    assert status == 0
    assert "schedule_free: warmup(5%) with schedule-free averaging" in out
    monkeypatch.setitem(sys.modules, "schedulefree", None)  # what is there needs no package
    again = compare(TASK, "modern", **ASKED, folder=tmp_path / "one")
    assert told(again) == told(modern)


def test_without_the_package_it_is_left_out_until_there_is(tmp_path, monkeypatch, modern):
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "schedulefree", None)
        found = lrkit.compare(TASK, "modern", **ASKED, folder=tmp_path)
        assert set(found.candidates) == set(MODERN)
        [note] = [note for note in found.notes if "left out" in note]
        assert note.startswith("schedule_free is left out: schedule-free averaging needs the package")
        assert note.endswith("pip install 'lrkit[schedulefree]'.")
        assert told(read_tournament(tmp_path).compare()) == told(found)
        assert note in lrkit.compare(TASK, {}, folder=tmp_path, backend="eager").notes
        with pytest.raises(InputError, match="reference schedule_free is left out, since"):
            lrkit.compare(TASK, "modern", **ASKED, reference="schedule_free")
    assert told(lrkit.compare(TASK, "modern", **ASKED, folder=tmp_path)) == told(modern)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (make(torch.optim.Adagrad, epochs=1), "no counterpart of the optimizer Adagrad"),
        (
            make(sgd, epochs=1, model=lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))),
            "batch normalisation would have the statistics of other weights",
        ),
    ],
)
def test_a_task_that_it_does_not_fit_goes_without(task, why):
    found = lrkit.compare(task, "modern", **ASKED)
    assert set(found.candidates) == set(MODERN)
    assert any(note.startswith("schedule_free is left out: ") and why in note for note in found.notes)
    with pytest.raises(InputError, match=why):
        lrkit.compare(task, Entrant(lrkit.constant(), "schedule_free"), **ASKED)


class Around(torch.optim.Optimizer):
    """A wrapper that was never set up, as Accelerate's: it passes on what is asked of it."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    def train(self):
        if hasattr(self.optimizer, "train"):
            self.optimizer.train()

    def eval(self):
        if hasattr(self.optimizer, "eval"):
            self.optimizer.eval()


class Bare(torch.optim.Optimizer):
    """Another, which knows nothing of averages."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups


@pytest.mark.parametrize("wrap", [Around, Bare])
def test_an_average_is_found_within_a_wrapper(wrap):
    import schedulefree

    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = schedulefree.SGDScheduleFree([parameter], lr=0.5)
    wrapped = wrap(optimizer)
    begin_training(wrapped, ["lr"])
    for _ in range(3):
        parameter.grad = torch.ones(1)
        optimizer.step()
    trained = parameter.item()
    with lrkit.measuring(wrapped):
        assert parameter.item() != trained
    assert parameter.item() == trained
    with pytest.raises(InputError, match="momentum can't be scheduled with SGDScheduleFree"):
        begin_training(wrapped, ["momentum"])


def test_a_wrapper_that_only_passes_on_keeps_no_average():
    wrapped = Around(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5, momentum=0.9))
    begin_training(wrapped, ["lr", "momentum"])

"""Test data are measured as validation data are, and nothing else of a run can tell that they are there."""

import copy
import dataclasses
import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import lrkit
from lrkit import DivergedError, InputError, Lane, LanesFolder, Observer, RunFolder, StoppedError
from lrkit.training.blame import blamed
from lrkit.training.data import sample_count_of
from lrkit.training.holdout import hold_out
from lrkit.training.task_source import TaskSource
from test_loop import Pairs, Stream, X, Y, make
from test_resume import Augmented

TEST = (X[40:] + 0.1, 1 - Y[40:])  # nothing like the validation data: what went by it would be seen
PLATEAU = "warmup(3) >> plateau(patience=0, factor=0.5, threshold=0.3)"


def drawing(output, target):
    """A metric that draws from each random stream."""
    noise = torch.rand(()) + random.random() + float(np.random.random())
    return lrkit.accuracy(output, target) + noise


class Counting(nn.Module):
    """A model whose buffer counts all batches that it sees, and that depends on it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs):
        self.seen += 1
        return self.linear(inputs) * (1 + 0.01 * self.seen)


class Ends(Observer):
    """What there is after each epoch: snapshots, and the modes of modules."""

    def __init__(self):
        self.snapshots, self.modes = [], []

    def model(self, factory):
        self.made = factory()
        return self.made

    def start(self, setup):
        self.take = setup.snapshot

    def epoch(self, history):
        snapshot = self.take()
        self.snapshots.append(copy.deepcopy({name: snapshot[name] for name in snapshot if name != "record"}))
        self.modes.append([module.training for module in self.made.modules()])


def watched(task, **options):
    ends = Ends()
    task = dataclasses.replace(task, model=lambda factory=task.model: ends.model(factory))
    return lrkit.run(task, PLATEAU, observers=[ends], **options), ends


def without_test(history):
    epochs = tuple(dataclasses.replace(each, test_loss=None, test_metrics={}) for each in history.epochs)
    return dataclasses.replace(history, epochs=epochs)


def the_same(one, other):
    mine, theirs = tree_leaves(one), tree_leaves(other)
    return len(mine) == len(theirs) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(mine, theirs, strict=True)
    )


def numbers(history):
    """Test numbers, each epoch a row."""
    return [[each.test_loss, *each.test_metrics.values()] for each in history.epochs]


# --- a run --------------------------------------------------------------------------------------------

KINDS = {
    "a controller": {},
    "early stopping": {"early_stopping": 1, "epochs": 9},
    "without validation": {"valid": None},
    "a metric that draws": {"metrics": {"drawing": drawing}},
    "a forward that draws": {
        "loss": None,
        "metrics": {},
        "forward": lambda model, batch: (
            nn.functional.cross_entropy(model(batch[0] + torch.rand(())), batch[1]),
            len(batch[0]),
            {},
        ),
    },
    "a buffer that counts": {"model": Counting},
    "a layer in evaluation": {"model": lambda: nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.2).eval()), "valid": None},
    "an augmenting dataset": {"test": Augmented()},
    "an augmenting dataset in memory": {"test": Augmented(), "in_memory": True},
    "an augmenting dataset in workers": {"test": Augmented(), "workers": 1, "epochs": 2},
    "a stream": {"test": Stream()},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_the_same_to_the_bit_without_test_data(kind):
    task = make(**{"test": TEST, **KINDS[kind]})
    history, ends = watched(task)
    plain, plain_ends = watched(dataclasses.replace(task, test=None))
    assert all(each.test_loss is not None for each in history.epochs)
    assert all(each.test_loss is None and each.test_metrics == {} for each in plain.epochs)
    assert without_test(history) == plain
    assert the_same(ends.snapshots, plain_ends.snapshots)
    assert ends.modes == plain_ends.modes


def test_it_is_measured_as_validation_data_are():
    task = make(test=(X[:33], Y[:33]), valid_batch_size=10)
    histories = [
        lrkit.run(task, PLATEAU),
        *lrkit.run_lanes(task, [Lane(PLATEAU, lr=lr) for lr in (0.1, 0.5)], backend="eager"),
    ]
    for each in [each for history in histories for each in history.epochs]:
        assert (each.test_loss, each.test_metrics) == (each.valid_loss, each.metrics)
        assert each.reported == {"loss": each.valid_loss, **each.metrics}


def test_what_is_random_in_measuring_it_is_the_same_after_each_epoch():
    task = make(
        test=TEST, metrics={"noise": lambda output, target: drawing(output, target) - lrkit.accuracy(output, target)}
    )
    epochs = lrkit.run(task, "constant()").epochs
    assert len({each.metrics["noise"] for each in epochs}) == len(epochs)
    assert max(each.test_metrics["noise"] for each in epochs) == pytest.approx(
        epochs[0].test_metrics["noise"], abs=1e-6
    )


@pytest.mark.usefixtures("without_inductor")
def test_a_compiled_run_is_the_same_to_the_bit_without_test_data():
    task = make(test=TEST, metrics={"drawing": drawing}, epochs=2)
    history, ends = watched(task, compiled=True)
    plain, plain_ends = watched(dataclasses.replace(task, test=None), compiled=True)
    assert without_test(history) == plain
    assert the_same(ends.snapshots, plain_ends.snapshots)
    assert all(each.test_loss is not None for each in history.epochs)


@pytest.mark.parametrize("at", [3, 10, 12])
def test_a_run_that_goes_on_keeps_its_test_numbers(tmp_path, at):
    task = make(test=TEST, metrics={"drawing": drawing})
    folder = RunFolder(tmp_path / "run", checkpoint_every=1)
    steps = iter(range(at))
    with pytest.raises(StoppedError):
        lrkit.run(task, PLATEAU, observers=[folder], stop=lambda: next(steps, None) is None)
    folder = RunFolder(tmp_path / "run", resume=True)
    assert lrkit.run(task, PLATEAU, observers=[folder], resume=folder.snapshot) == lrkit.run(task, PLATEAU)


class Torn(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise OSError("the tape is torn")


class Empty(IterableDataset):
    def __iter__(self):
        return iter(())


def trains(task):
    lrkit.run(task, "constant()")


def trains_lanes(task):
    lrkit.run_lanes(task, [Lane(), Lane(lr=0.1)], backend="eager")


@pytest.mark.parametrize("train", [trains, trains_lanes])
@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (Torn(), OSError, "the tape is torn"),
        (Empty(), InputError, "test has no samples"),
        ((X[:0], Y[:0]), InputError, "test has no samples"),
        ((X, Y[:3]), InputError, "test has tensors of different lengths: 70, 3"),
        (3, TypeError, "test must be tensors or a dataset, not int"),
    ],
)
def test_what_is_wrong_with_it_is_said_of_it(train, data, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        train(make(test=data))
    assert blamed(raised.value) == "the data of test"


@pytest.mark.usefixtures("quick_intervals")
def test_a_finder_leaves_it_alone():
    task = make(test=Torn())
    for options in ({"method": "ramp"}, {"method": "ramp", "signal": "valid"}, {"method": "race"}):
        lrkit.find_task(task, steps=10, seeds=1, low=0.01, high=1.0, backend="sequential", **options)


# --- lanes --------------------------------------------------------------------------------------------

LANES = [Lane(PLATEAU, lr=lr, seed=seed) for seed in (0, 1) for lr in (0.1, 0.4)]


def unbatchable_on_test(output, target):
    """A metric that torch can batch over the validation data only."""
    return lrkit.accuracy(output, target) if len(target) == 33 else float((output.argmax(-1) == target).float().mean())


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as worker processes have
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("backend", ["eager", "sequential", "processes"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metrics": {"drawing": drawing}},
        {"model": Counting},
        {"model": lambda: nn.Linear(6, 2), "metrics": {"accuracy": unbatchable_on_test}},  # seeds share a group
        {"valid": None, "test": Augmented(), "early_stopping": 2},
    ],
    ids=["a controller", "a metric that draws", "a buffer that counts", "not batched", "without validation"],
)
def test_lanes_are_the_same_to_the_bit_without_test_data_and_measure_what_run_does(backend, changes):
    task = make(**{"test": TEST, **changes})
    histories = lrkit.run_lanes(task, LANES, backend=backend)
    plain = lrkit.run_lanes(dataclasses.replace(task, test=None), LANES, backend=backend)
    assert [without_test(each) for each in histories] == plain
    for lane, history in zip(LANES, histories, strict=True):
        alone = lrkit.run(task, lane.schedule, lr=lane.lr, seed=lane.seed)
        np.testing.assert_allclose(numbers(history), numbers(alone), rtol=1e-3 if backend == "eager" else 0)


@pytest.mark.usefixtures("without_inductor")
def test_compiled_lanes_too():
    task = make(test=TEST, metrics={"drawing": drawing}, epochs=2)
    histories = lrkit.run_lanes(task, LANES[:2], backend="compiled")
    plain = lrkit.run_lanes(dataclasses.replace(task, test=None), LANES[:2], backend="compiled")
    assert [without_test(each) for each in histories] == plain
    assert None not in [each.test_loss for history in histories for each in history.epochs]


@pytest.mark.parametrize("backend", ["eager", "sequential"])
def test_a_lane_that_has_diverged_has_no_test_numbers_for_that_epoch(backend):
    task = make(
        test=TEST, loss=lambda output, target: output.square().mean(), optimizer=lambda p: torch.optim.SGD(p, lr=1)
    )
    calm, wild = lrkit.run_lanes(task, [Lane(lr=0.01), Lane("constant(steps=7) >> constant(1e30)")], backend=backend)
    assert None not in [each.test_loss for each in calm.epochs]
    assert wild.epochs[0].test_loss is not None
    assert (wild.epochs[-1].test_loss, wild.epochs[-1].test_metrics) == (None, {})
    with pytest.raises(DivergedError):
        lrkit.run(task, "constant(1e30)")


@pytest.mark.parametrize("backend", ["eager", "sequential"])
def test_lanes_that_go_on_keep_their_test_numbers(tmp_path, backend):
    task = make(test=TEST, metrics={"drawing": drawing})
    steps = iter(range(13))
    with pytest.raises(StoppedError):
        lrkit.run_lanes(
            task, LANES[:2], backend=backend, folder=LanesFolder(tmp_path), stop=lambda: next(steps, None) is None
        )
    gone_on = lrkit.run_lanes(task, LANES[:2], folder=LanesFolder(tmp_path, resume=True))
    assert gone_on == lrkit.run_lanes(task, LANES[:2], backend=backend)
    assert list(LanesFolder(tmp_path, resume=True).histories.values()) == gone_on


def test_it_counts_in_the_memory_of_a_lane_where_its_batches_are_larger():
    task = make(valid=(X[:4], Y[:4]), batch_size=1)

    def need(test):
        history, *_ = lrkit.run_lanes(dataclasses.replace(task, test=test, epochs=1), LANES[:2], backend="eager")
        return history.made["lanes"]["bytes_per_lane"]

    assert need(None) == need((X[:4], Y[:4])) < need((X, Y))


# --- on the command line ------------------------------------------------------------------------------

OWN = """
import lrkit, torch
from torch import nn

generator = torch.Generator().manual_seed(0)
x = torch.randn(60, 4, generator=generator)
y = (x.sum(dim=1) > 0).long()
task = lrkit.Task(
    model=lambda: nn.Linear(4, 2), train=(x, y), valid=(x[:20], y[:20]),
    loss=nn.functional.cross_entropy, metrics={"accuracy": lrkit.accuracy, "share": lambda output, target: 0.5},
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), batch_size=10, epochs=2,
)
tested = lrkit.Task(**{**vars(task), "test": (x[:30], y[:30])})
"""


def test_train_says_test_numbers_where_there_are_some(lrkit, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    _, out, _ = lrkit("train", "own.py", "--json")
    assert not any(name.startswith("test") for name in json.loads(out)["epochs"][0])
    _, out, _ = lrkit("train", "own.py:tested", "--json")
    for each in json.loads(out)["epochs"]:
        assert each["test_metrics"] == {"accuracy": each["test_accuracy"], "share": 0.5}
        assert 0 < each["test_loss"] < 2
    _, out, _ = lrkit("train", "own.py:tested")
    assert "; on the test data loss 0." in out
    _, out, _ = lrkit("train", "own.py")
    assert "test" not in out.split("run folder")[0]


# --- a held-out part ----------------------------------------------------------------------------------


def rows(part):
    """Which samples of X a part has, whatever kind of data it is."""
    if isinstance(part, TensorDataset):
        inputs = part.tensors[0]
    elif isinstance(part, tuple):
        inputs = part[0]
    else:
        inputs = torch.stack([part[index][0] for index in range(len(part))])
    return [int((each == X).all(dim=1).nonzero()) for each in inputs]


WHOLE = range(len(X))
DATA = {
    "tensors": ((X, Y), WHOLE, tuple),
    "TensorDataset": (TensorDataset(X, Y), WHOLE, TensorDataset),
    "Subset of tensors": (Subset(TensorDataset(X, Y), range(3, 50)), range(3, 50), TensorDataset),
    "map-style": (Pairs(), WHOLE, Subset),
    "Subset": (Subset(Pairs(), range(3, 50)), range(3, 50), Subset),
    "list": (list(zip(X, Y, strict=True)), WHOLE, Subset),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_sixth_is_held_out_and_the_rest_keeps_its_order(kind):
    train, there, expected = DATA[kind]
    task = make(train=train)
    held = hold_out(task)
    assert isinstance(held.train, expected)
    assert isinstance(held.valid, expected)
    assert held.test is task.valid
    assert len(rows(held.valid)) == round(len(there) / 6)
    assert rows(held.train) == sorted(rows(held.train))
    assert sorted(rows(held.train) + rows(held.valid)) == list(there)
    assert (sample_count_of(held.train, "train") is None) == (expected is Subset)
    history = lrkit.run(held, "constant()")
    assert len(history.losses) == 4 * -(-len(rows(held.train)) // 16)
    assert history.epochs[-1].test_loss != history.epochs[-1].valid_loss


def test_the_seed_chooses_the_part_and_moves_no_other_random_stream():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    parts = [rows(hold_out(make(), seed=seed).valid) for seed in (0, 0, 1, 2**64 - 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert parts[0] == parts[1]
    assert len({tuple(each) for each in parts}) == 3
    together = np.concatenate([rows(hold_out(make(), share=0.3, seed=seed).valid) for seed in range(40)])
    counts = np.bincount(together, minlength=70)  # each of 70 is held out 12 times of 40 on average
    assert counts.min() >= 2
    assert counts.max() <= 24


@pytest.mark.parametrize(
    ("samples", "share", "part"),
    [(9, 1 / 6, 2), (60000, 1 / 6, 10000), (7, 1 / 6, 1), (2, 1e-9, 1), (2, 0.999, 1), (10, 0.999, 9), (5, 0.5, 3)],
)
def test_it_is_rounded_half_up_with_at_least_one_sample_in_each_part(samples, share, part):
    held = hold_out(make(train=(torch.zeros(samples, 6), torch.zeros(samples, dtype=torch.long))), share)
    assert (len(held.valid[0]), len(held.train[1])) == (part, samples - part)


def test_what_a_task_has_itself_stays():
    both = make(test=TEST)
    assert hold_out(both) is both
    tested = hold_out(make(test=TEST, valid=None))
    assert tested.test is TEST
    assert len(tested.valid[0]) == 12
    assert hold_out(make(valid=None)).test is None


def test_a_length_in_steps_stays():
    assert len(lrkit.run(hold_out(make(epochs=None, steps=13)), "constant()").losses) == 13


@pytest.mark.parametrize(
    ("changes", "given", "error", "sentence"),
    [
        ({}, {"share": 0}, ValueError, "share must be finite and above 0 and below 1, not 0.0"),
        ({}, {"share": 1.0}, ValueError, "share must be finite and above 0 and below 1, not 1.0"),
        ({}, {"share": "a sixth"}, TypeError, "share must be a number, not 'a sixth'"),
        ({}, {"seed": -1}, ValueError, "seed must be at least 0"),
        ({"train": Stream()}, {}, ValueError, r"no part of train can be .* \(Stream\): give the task valid and test"),
        ({"train": (X, Y[:9])}, {}, ValueError, "train has tensors of different lengths: 70, 9"),
        ({"train": (X[:1], Y[:1])}, {}, ValueError, "train must have at least 2 samples .*, not 1"),
    ],
)
def test_what_can_not_be_held_out_gets_a_sentence(changes, given, error, sentence):
    with pytest.raises(error, match=sentence):
        hold_out(make(**changes), **given)


def test_a_task_knows_what_was_held_out_and_goes_on_with_it(lrkit, tmp_path):
    from lrkit import run  # the fixture has the package's name

    (tmp_path / "own.py").write_text(OWN)
    task = hold_out(TaskSource("own.py", epochs=3).load(), share=0.25, seed=4)
    steps = iter(range(6))
    with pytest.raises(StoppedError):
        run(
            task,
            "constant()",
            observers=[RunFolder(tmp_path / "run", checkpoint_every=1)],
            stop=lambda: next(steps, None) is None,
        )
    status, out, err = lrkit("train", "--resume", "run", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["source"]["held_out"] == [{"share": 0.25, "seed": 4}]
    assert [each["test_loss"] for each in found["epochs"]] == [
        each.test_loss for each in run(task, "constant()").epochs
    ]
    assert found["epochs"][0]["valid_loss"] != found["epochs"][0]["test_loss"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["source"]["held_out"] = 0.25
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    status, _, err = lrkit("train", "--resume", "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "held_out must be a list of shares and seeds" in err

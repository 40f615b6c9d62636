"""The loop: reproducible, recorded as it was, and the same however the data comes."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import lrkit
from lrkit import DivergedError, InputError, InputTypeError, Observer, Task
from lrkit.training.data_order import shuffled

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(70, 6, generator=GENERATOR)
Y = (X.sum(dim=1) > 0).long()


class Pairs(Dataset):
    """A map-style dataset of the user's own."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], Y[index]


class Stream(IterableDataset):
    """Data without a length."""

    def __iter__(self):
        yield from zip(X, Y, strict=True)


def make(**changes):
    task = Task(
        model=lambda: nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.2), nn.Linear(5, 2)),
        train=(X, Y),
        valid=(X[:33], Y[:33]),
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": lrkit.accuracy},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9),
        batch_size=16,
        epochs=4,
    )
    return dataclasses.replace(task, **changes)


def test_same_seed_same_history_to_the_bit_and_another_seed_another():
    first, again, other = (lrkit.run(make(), "linear(to=0)", seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert not np.array_equal(first.losses, other.losses)


def test_the_callers_random_state_is_left_alone():
    before = torch.get_rng_state()
    lrkit.run(make(), "constant()", seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ZeroDivisionError):
        lrkit.run(make(model=lambda: 1 / 0), "constant()")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("text", ["warmup(3) >> linear(to=0)", "every(1ep, exponential(factor=0.5))"])
def test_the_recorded_rate_is_the_one_that_the_optimizer_used(text):
    seen = []

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.5)
        made.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
        return made

    history = lrkit.run(make(optimizer=optimizer), text, lr=0.2)
    schedule = lrkit.parse(text).over(20, epoch_steps=5)
    assert history.lr.tolist() == seen == schedule(range(20), 0.2).tolist()
    assert [record.lr for record in history.epochs] == history.lr[4::5].tolist()
    assert [record.step for record in history.epochs] == [5, 10, 15, 20]


def test_every_param_group_is_recorded():
    def optimizer(parameters):
        first, *others = parameters
        return torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": others}], lr=0.4)

    history = lrkit.run(make(optimizer=optimizer), "linear(to=0)")
    assert history.lrs.shape == (20, 2)
    np.testing.assert_allclose(history.lrs[:, 1], 4 * history.lrs[:, 0])


def test_losses_and_metrics_are_means_over_samples():
    task = make(model=lambda: nn.Linear(6, 2), optimizer=lambda p: torch.optim.SGD(p, lr=0.0), valid_batch_size=10)
    history = lrkit.run(task, "constant()", seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Linear(6, 2)
    assert history.epochs[0].train_loss == pytest.approx(nn.functional.cross_entropy(model(X), Y).item(), rel=1e-6)
    valid = nn.functional.cross_entropy(model(X[:33]), Y[:33])
    assert history.epochs[0].valid_loss == pytest.approx(valid.item(), rel=1e-6)
    assert history.epochs[0].metrics["accuracy"] == pytest.approx(lrkit.accuracy(model(X[:33]), Y[:33]).item())
    assert history.losses.shape == (20,)


@pytest.mark.parametrize(
    "data",
    [TensorDataset(X, Y), Pairs(), Subset(TensorDataset(X, Y), range(70)), [(x, y) for x, y in zip(X, Y, strict=True)]],
    ids=["TensorDataset", "map-style", "Subset", "list"],
)
@pytest.mark.parametrize("in_memory", [False, True])
def test_the_same_data_in_another_form_gives_the_same_history(data, in_memory):
    assert lrkit.run(make(train=data, in_memory=in_memory), "linear()") == lrkit.run(make(), "linear()")


def test_a_subset_is_that_subset():
    rows = list(range(0, 70, 2))
    assert lrkit.run(make(train=Subset(TensorDataset(X, Y), rows)), "linear()") == lrkit.run(
        make(train=(X[rows], Y[rows])), "linear()"
    )


def test_data_without_a_length_needs_steps():
    history = lrkit.run(make(train=Stream(), epochs=None, steps=13), "linear(to=0)")
    assert [record.step for record in history.epochs] == [5, 10, 13]
    with pytest.raises(InputError, match="has no length, so the task needs steps="):
        lrkit.run(make(train=Stream()), "constant()")


def test_steps_cut_the_last_epoch_short():
    history = lrkit.run(make(epochs=None, steps=7), "linear(to=0)")
    assert [record.step for record in history.epochs] == [5, 7]
    assert history.lr.tolist() == lrkit.linear(7)(range(7), 0.5).tolist()


def test_accumulated_batches_are_one_large_batch():
    double = {
        "model": lambda: nn.Linear(6, 2).double(),
        "train": (X.double(), Y),
        "valid": None,
    }
    large = lrkit.run(make(**double, batch_size=24), "linear()")
    small = lrkit.run(make(**double, batch_size=8, accumulate=3), "linear()")
    np.testing.assert_allclose(small.losses, large.losses, rtol=1e-6)
    np.testing.assert_array_equal(small.lr, large.lr)


def test_the_order_depends_on_seed_and_epoch_alone():
    assert torch.equal(shuffled(50, 3, 7), shuffled(50, 3, 7))
    orders = {tuple(shuffled(50, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_a_controller_is_told_the_validation_loss():
    stalled = make(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    history = lrkit.run(stalled, "plateau(patience=0, factor=0.5)", lr=0.0)
    assert history.lr.tolist() == [0.0] * 20
    task = make(loss=lambda output, target: 0 * output.sum() + 1.0)
    history = lrkit.run(task, "plateau(patience=0, factor=0.5)")
    assert [record.lr for record in history.epochs] == [0.5, 0.5, 0.25, 0.125]
    without = lrkit.run(dataclasses.replace(task, valid=None), "plateau(patience=0, factor=0.5)")
    assert [record.lr for record in without.epochs] == [0.5, 0.5, 0.25, 0.125]
    assert without.epochs[0].valid_loss is None
    assert without.epochs[0].metrics == {}


def test_a_forward_of_the_tasks_own():
    rows = [{"features": x, "label": y} for x, y in zip(X, Y, strict=True)]

    def forward(model, batch):
        output = model(batch["features"])
        loss = nn.functional.cross_entropy(output, batch["label"])
        return loss, len(output), {"accuracy": lrkit.accuracy(output, batch["label"])}

    own = make(train=rows, valid=rows[:33], loss=None, metrics={}, forward=forward)
    assert lrkit.run(own, "linear()") == lrkit.run(make(), "linear()")


def test_a_diverging_run_names_step_and_rate_and_keeps_its_record():
    class Last(Observer):
        history = None

        def epoch(self, history):
            self.history = history

    last = Last()
    task = make(model=lambda: nn.Linear(6, 2), loss=lambda o, t: (o**4).mean())
    with pytest.raises(
        DivergedError, match=r"the training loss became (nan|inf) at step \d+, with learning rate 1000"
    ) as e:
        lrkit.run(task, "constant()", lr=1000.0, observers=[last])
    step = int(str(e.value).split("step ")[1].split(",")[0])
    assert np.isfinite(last.history.losses[:step]).all()
    assert not np.isfinite(last.history.losses[step])


def test_observers_are_told_in_order():
    told = []

    class Witness(Observer):
        def start(self, setup):
            told.append((setup.steps, setup.epoch_steps, setup.epochs, str(setup.resolved)))

        def step(self, steps):
            told.append(steps)

        def epoch(self, history):
            told.append(f"epoch {len(history.epochs)}")

    lrkit.run(make(epochs=2), "linear(to=0)", observers=[Witness()])
    assert told == [(10, 5, 2, "linear(10, to=0)"), 1, 2, 3, 4, 5, "epoch 1", 6, 7, 8, 9, 10, "epoch 2"]


def test_an_observer_may_keep_a_last_snapshot_when_it_is_closed():
    kept = []

    class Last(Observer):
        def start(self, setup):
            self.setup = setup

        def close(self):
            kept.append(self.setup.snapshot())

    with pytest.raises(lrkit.StoppedError):
        lrkit.run(make(), "linear(to=0)", observers=[Last()], stop=lambda: True)
    rest = lrkit.run(make(), "linear(to=0)", resume=kept[0])
    assert rest == lrkit.run(make(), "linear(to=0)")


def test_the_record_says_how_it_was_made():
    made = lrkit.run(make(), "warmup(2) >> linear(to=0)", seed=9, device="cpu").made
    assert made["schedule"] == "warmup(2) >> linear(to=0)"
    assert (made["lr"], made["seed"], made["device"], made["steps"]) == (0.5, 9, "cpu", 20)
    assert made["torch"] == torch.__version__


def test_arrays_of_a_history_can_not_be_changed():
    history = lrkit.run(make(), "linear()")
    with pytest.raises(ValueError, match="read-only"):
        history.lrs[0] = 3


def test_the_model_trains_in_train_mode_and_is_measured_in_eval_mode():
    seen = []

    class Spy(nn.Linear):
        def forward(self, inputs):
            seen.append((self.training, torch.is_grad_enabled(), len(inputs)))
            return super().forward(inputs)

    lrkit.run(make(model=lambda: Spy(6, 2), epochs=1), "constant()")
    assert seen == [(True, True, 16)] * 4 + [(True, True, 6), (False, False, 33)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": None}, "either epochs or steps, not neither"),
        ({"steps": 3}, "either epochs or steps, not both"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"batch_size": -1}, "batch_size must be at least 1, not -1"),
        ({"batch_size": None}, "batch_size must be a whole number"),
        ({"accumulate": 0}, "accumulate must be at least 1, not 0"),
        ({"loss": None}, "either loss or forward, not neither"),
        ({"model": nn.Linear(6, 2).weight}, "model must be a factory"),
        ({"forward": lambda m, b: None}, "either loss or forward, not both"),
    ],
)
def test_a_bad_task_is_refused_when_it_is_made(changes, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({"train": (X[:0], Y[:0])}, {}, "train has no samples"),
        ({"train": []}, {}, "train has no samples"),
        ({"train": (X, Y[:3])}, {}, "train has tensors of different lengths: 70, 3"),
        ({"train": DataLoader(TensorDataset(X, Y))}, {}, "train must be tensors or a dataset, not DataLoader"),
        ({"valid": (X[:0], Y[:0])}, {}, "valid has no samples"),
        ({"train": (X, Y, Y)}, {}, "a batch must be an .input, target. pair"),
        ({}, {"device": "nonsense"}, "device must be one that works here"),
        ({}, {"device": "cuda:99"}, "device must be one that works here"),
        ({}, {"lr": -1.0}, "lr must be finite and at least 0"),
    ],
)
def test_what_can_not_be_trained_gets_one_sentence(changes, options, sentence):
    with pytest.raises((InputError, InputTypeError), match=sentence):
        lrkit.run(make(**changes), "constant()", **options)

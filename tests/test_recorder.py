"""A recorder in a loop of one's own leaves the history that `run` leaves."""

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from lrkit import InputError, InputTypeError

X = torch.linspace(-1, 1, 72)[:, None]


def make_model():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def task(**options):
    return lrkit.Task(
        model=make_model,
        train=data(),
        loss=nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        batch_size=16,
        epochs=3,
        **options,
    )


def data():
    return X, 2 * X


def train(recorder, model, optimizer, *, epochs=3, accumulate=1, late=False):
    """The loop of `run`, with its data order."""
    from lrkit.training.data import make_batches

    batches = make_batches(data(), 16, torch.device("cpu"), seed=0)
    for epoch in range(1, epochs + 1):
        each = list(batches.epoch(epoch))
        for begin in range(0, len(each), accumulate):
            group = each[begin : begin + accumulate]
            total = sum(len(x) for x, _ in group)
            for number, (x, y) in enumerate(group):
                loss = nn.functional.mse_loss(model(x), y)
                (loss * len(x) / total).backward()
                if not late or number < len(group) - 1:
                    recorder.loss(loss, len(x))
            optimizer.step()
            if late:
                recorder.loss(loss, len(x))
            optimizer.zero_grad()
        recorder.epoch()
    return recorder.history()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_history_is_that_of_a_run(accumulate, late):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps = 3 * -(-5 // accumulate)
    lrkit.linear(to=0).bind(optimizer, steps=steps)
    with lrkit.Recorder(optimizer, told="after" if late else "before") as recorder:
        found = train(recorder, model, optimizer, accumulate=accumulate, late=late)
    run = lrkit.run(task(accumulate=accumulate), "linear(to=0)")
    assert np.array_equal(found.lrs, run.lrs)
    assert np.allclose(found.losses, run.losses, rtol=1e-5)
    assert [each.step for each in found.epochs] == [each.step for each in run.epochs]
    assert [each.train_loss for each in found.epochs] == pytest.approx([each.train_loss for each in run.epochs])
    assert (found.made["schedule"], found.made["lr"], found.made["steps"]) == ("linear(to=0)", 0.1, steps)


def test_it_goes_on_from_its_state_and_is_read_from_its_folder(tmp_path):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = lrkit.Recorder(optimizer, seed=3, made={"note": "mine"})
    before = train(recorder, model, optimizer, epochs=1)
    state = recorder.state_dict()
    recorder.close()
    with lrkit.Recorder(optimizer) as other:
        other.load_state_dict(state)
        assert other.history() == before
        assert other.steps == 5
        train(other, model, optimizer, epochs=1)
        other.save(tmp_path / "mine")
        with pytest.raises(InputError, match="isn't empty"):
            other.save(tmp_path / "mine")
        other.save(tmp_path / "mine", overwrite=True)
        found = lrkit.RunFolder.load(tmp_path / "mine")
    assert found == other.history()
    assert len(found.epochs) == 2
    assert (found.made["seed"], found.made["note"], found.made["schedule"]) == (3, "mine", "unknown")


def test_a_record_does_not_replace_a_run(tmp_path):
    lrkit.run(task(), "linear(to=0)", observers=[lrkit.RunFolder(tmp_path / "run")])
    with pytest.raises(InputError, match="has a run with checkpoints"):
        lrkit.save_history(lrkit.RunFolder.load(tmp_path / "run"), tmp_path / "run", overwrite=True)


def test_after_close_nothing_is_recorded():
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lrkit.Recorder(optimizer) as recorder:
        pass
    optimizer.step()
    assert recorder.steps == 0


def test_a_rate_in_a_tensor_is_recorded_as_it_was():
    model = make_model()
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias], "lr": torch.tensor(0.25)}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    lrkit.linear(to=0).bind(optimizer, steps=2)
    with lrkit.Recorder(optimizer) as recorder:
        for _ in range(2):
            recorder.loss(model(X).sum())
            optimizer.step()
        assert recorder.epoch().lrs.tolist() == [[0.5, 0.25], [0.25, 0.125]]


def test_what_is_wrong_is_said():
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputTypeError, match="optimizer must be a torch optimizer, not Linear"):
        lrkit.Recorder(model)
    with pytest.raises(InputError, match="told must be 'before' or 'after', not 'late'"):
        lrkit.Recorder(optimizer, told="late")
    with lrkit.Recorder(optimizer) as recorder:
        with pytest.raises(InputError, match="no update was recorded in this epoch"):
            recorder.epoch()
        with pytest.raises(InputError, match="not the state of a recorder"):
            recorder.load_state_dict({})
        with pytest.raises(InputError, match="format 9, this lrkit reads up to 1"):
            recorder.load_state_dict({**recorder.state_dict(), "lrkit_recorder": 9})
        with pytest.raises(InputError, match="no loss was told"):
            optimizer.step()


def test_its_state_is_plain_data(tmp_path):
    model = make_model()
    recorder = lrkit.Recorder(torch.optim.SGD(model.parameters(), lr=0.1))
    train(recorder, model, recorder.optimizer, epochs=1)
    torch.save(recorder.state_dict(), tmp_path / "state")
    assert torch.load(tmp_path / "state", weights_only=True)["made"] == recorder.history().made


def test_it_finds_the_optimizer_within_a_wrapper():
    class Around(torch.optim.Optimizer):
        """As Accelerate's: it was never set up as an optimizer."""

        def __init__(self, optimizer):
            self.optimizer = optimizer

    optimizer = torch.optim.SGD(make_model().parameters(), lr=0.1)
    assert lrkit.Recorder(Around(Around(optimizer))).optimizer is optimizer
    assert lrkit.linear(4, to=0).bind(Around(optimizer)).optimizer is optimizer

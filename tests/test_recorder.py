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


def make_bound(plan="linear(to=0)", steps=8, **options):
    optimizer = torch.optim.SGD(make_model().parameters(), lr=0.1)
    return optimizer, lrkit.parse(plan).bind(optimizer, steps=steps, **options)


def update(recorder, loss=0.5, **options):
    recorder.loss(loss, **options)
    recorder.optimizer.step()


@pytest.mark.parametrize("how", ["state", "history"])
def test_the_record_says_what_a_policy_has_put_in_the_place_of_the_saved_schedule(how):
    optimizer, scheduler = make_bound()
    recorder = lrkit.Recorder(optimizer, made={"note": "mine"})
    update(recorder)
    history = recorder.epoch()
    again, bound = make_bound("constant(0.5)", 12)
    there = lrkit.Recorder(again, task="other")
    there.resume(history) if how == "history" else there.load_state_dict(recorder.state_dict())
    bound.load_state_dict(scheduler.state_dict(), policy="replace")
    update(there)
    made = there.epoch().made
    assert (made["schedule"], made["steps"], made["policy"]) == ("constant(0.5)", 12, "replace")
    assert (made["note"], made["task"], made["lr"]) == ("mine", "task", 0.1)


def test_without_a_scheduler_the_record_keeps_the_rate_that_it_began_with():
    optimizer = torch.optim.SGD(make_model().parameters(), lr=0.1)
    recorder = lrkit.Recorder(optimizer)
    update(recorder)
    optimizer.param_groups[0]["lr"] = 0.01
    recorder.load_state_dict(recorder.state_dict())
    update(recorder)
    assert recorder.epoch().made["lr"] == 0.1


@pytest.mark.parametrize(
    ("loss", "samples", "error", "message"),
    [
        (torch.ones(3), 3, InputError, r"loss must be one number.*shape \(3,\)"),
        (torch.ones(0), 3, InputError, "loss must be one number"),
        ("much", 3, InputTypeError, "loss must be a number"),
        (np.ones(3), 3, InputTypeError, "loss must be a number"),
        (0.5, 0, InputError, "samples must be a whole number of at least 1, not 0"),
        (0.5, -2, InputError, "samples must be"),
        (0.5, float("nan"), InputError, "samples must be"),
        (0.5, "3", InputTypeError, "samples must be"),
    ],
)
def test_a_loss_that_cannot_be_one_is_refused_when_it_is_told(loss, samples, error, message):
    optimizer, _ = make_bound()
    recorder = lrkit.Recorder(optimizer)
    with pytest.raises(error, match=message):
        recorder.loss(loss, samples)
    update(recorder, torch.tensor([0.25]), samples=np.int64(4))
    assert recorder.epoch().losses.tolist() == [0.25]


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    optimizer, _ = make_bound()
    recorder = lrkit.Recorder(optimizer)
    update(recorder)
    state = recorder.state_dict()
    two = torch.optim.SGD([{"params": [each]} for each in make_model().parameters()], lr=0.1)
    with pytest.raises(InputError, match="of 1 param groups, and the optimizer has 2"):
        lrkit.Recorder(two).load_state_dict(state)
    for damage, message in [
        ({}, "its made are None"),
        ({**state, "epochs": None}, "its epochs are None"),
        ({**state, "epochs": [{"epoch": 1}]}, "its epochs"),
        ({**state, "lrs": state["lrs"][:0]}, "rates of 0 updates out of 1"),
        ({**state, "samples": []}, "damaged"),
    ]:
        with pytest.raises(InputError, match=message):
            recorder.load_state_dict({"lrkit_recorder": 1, **damage})
    assert recorder.steps == 1


def test_what_json_cannot_hold_is_refused_at_once():
    optimizer, _ = make_bound()
    with pytest.raises(InputTypeError, match="its 'x' is tensor"):
        lrkit.Recorder(optimizer, made={"x": torch.ones(1)})
    with pytest.raises(InputTypeError, match="made must be a mapping"):
        lrkit.Recorder(optimizer, made=[1])

"""TensorBoard's events: those of others read, lrkit's own written, with its real reader and writer."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import lrkit
from lrkit import InputError
from record_cases import EPOCHS, STEPS, X, Y, task, train

MEASURED = ("metrics", "test_metrics")


@pytest.fixture
def writer(tmp_path):
    """Makes writers of events into one folder."""
    from torch.utils.tensorboard import SummaryWriter

    made = []

    def make(**options):
        made.append(SummaryWriter(str(tmp_path / "events"), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def scalars(folder):
    """Steps and values by tag, and times, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


# --- events of others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_events_of_a_plain_loop_are_what_lrkit_recorded(writer, tmp_path, first):
    events = writer()

    def observe(step, loss, rates):
        events.add_scalar("Loss/train", loss, step + first)
        for group, lr in enumerate(rates):
            events.add_scalar(f"lr/group_{group}", lr, step + first)

    truth = train(observe, groups=2, valid=lambda step, loss: events.add_scalar("Loss/val", loss, step))
    events.close()
    found = lrkit.read_history(tmp_path / "events")
    assert np.array_equal(found.lrs, truth.lrs.astype(np.float32))
    assert np.array_equal(found.losses, truth.losses)
    assert [each.step for each in found.epochs] == [each.step for each in truth.epochs]
    assert [each.valid_loss for each in found.epochs] == pytest.approx([each.valid_loss for each in truth.epochs])
    assert all(each.seconds >= 0 for each in found.epochs)
    assert (found.made["imported"]["first_step"], found.made["name"]) == (first, "events")


def test_validation_by_epoch_beside_updates_is_known(writer, tmp_path):
    events, count = writer(), iter(range(EPOCHS))
    truth = train(
        lambda step, loss, rates: events.add_scalar("train/loss", loss, step),
        valid=lambda _, loss: events.add_scalar("valid/loss", loss, next(count)),
    )
    events.close()
    found = lrkit.read_history(tmp_path / "events", lr=0.2, schedule="cosine(to=0)")
    assert [each.step for each in found.epochs] == [10, 20, 30]
    assert np.allclose(found.lr, truth.lr)
    assert found.made["imported"]["epoch_steps"] == 10


def test_after_a_resume_what_was_written_later_counts(writer, tmp_path):
    """The run broke off at update 17, and went on from a checkpoint at 10: TensorBoard has both."""
    first = writer()
    for step in range(17):
        first.add_scalar("loss", 1.0, step, walltime=100 + step)
        first.add_scalar("lr", 0.1, step, walltime=100.5 + step)
        if step in (9, 16):
            first.add_scalar("val_loss", 1.0, step + 1, walltime=100 + step)
    first.close()
    second = writer(filename_suffix=".later")
    for step in range(10, 15):
        second.add_scalar("loss", 2.0, step, walltime=200 + step)
        second.add_scalar("lr", 0.2, step, walltime=200.5 + step)
    second.add_scalar("val_loss", 2.0, 15, walltime=230)
    second.close()
    found = lrkit.read_history(tmp_path / "events")
    assert found.losses.tolist() == [1.0] * 10 + [2.0] * 5
    assert found.made["imported"]["points"] == {"loss": 15, "lr": 15, "val_loss": 2}
    assert found.lr.tolist() == pytest.approx([0.1] * 10 + [0.2] * 5)
    assert [(each.step, each.valid_loss) for each in found.epochs] == [(10, 1.0), (15, 2.0)]


def test_scalars_that_are_kept_as_tensors_are_read_too(writer, tmp_path):
    events = writer()
    for step in range(4):
        events.add_scalar("loss", 4.0 - step, step, new_style=True)
        events.add_scalar("lr", 0.1, step, new_style=True)
    events.close()
    assert lrkit.read_history(tmp_path / "events").losses.tolist() == [4, 3, 2, 1]


def test_transformers_events_are_those_of_its_state(tmp_path, writer):
    """Its callback writes the step after the update, which is seen from the steps."""
    events = writer()
    truth = train(
        lambda step, loss, rates: (
            events.add_scalar("train/loss", loss, step + 1),
            events.add_scalar("train/learning_rate", rates[0], step + 1),
        ),
        valid=lambda step, loss: events.add_scalar("eval/loss", loss, step),
    )
    events.add_scalar("train/train_loss", 0.5, STEPS)
    events.add_scalar("train/epoch", 3.0, STEPS)
    events.close()
    found = lrkit.read_history(tmp_path / "events")
    assert np.array_equal(found.lrs, truth.lrs.astype(np.float32))
    assert found.epochs[-1].step == STEPS


def test_what_cant_be_read_is_one_sentence(writer, tmp_path):
    events = writer()
    events.add_text("note", "nothing else")
    events.close()
    with pytest.raises(InputError, match="no scalars"):
        lrkit.read_history(tmp_path / "events")
    other = tmp_path / "damaged"
    other.mkdir()
    (other / "events.out.tfevents.1").write_bytes(b"not events" * 9)
    with pytest.raises(InputError, match=r"damaged has events of TensorBoard and no scalars|can't be read"):
        lrkit.read_history(other)


# --- lrkit's own ---------------------------------------------------------------------------------------


def same(found, truth):
    """Equal but for single precision."""
    assert np.array_equal(found.lrs, truth.lrs.astype(np.float32))
    assert np.array_equal(found.losses, truth.losses)
    assert [each.step for each in found.epochs] == [each.step for each in truth.epochs]
    for one, other in zip(found.epochs, truth.epochs, strict=True):
        assert one.valid_loss == pytest.approx(other.valid_loss)
        assert one.metrics == pytest.approx(other.metrics)
        assert one.test_loss == (other.test_loss if other.test_loss is None else pytest.approx(other.test_loss))
        assert one.test_metrics == pytest.approx(other.test_metrics)


def test_what_lrkit_wrote_is_read_again(tmp_path):
    truth = lrkit.run(task(test=(X, Y)), "warmup(5) >> linear(to=0)")
    lrkit.write_tensorboard(truth, tmp_path)
    found = lrkit.read_history(tmp_path)
    same(found, truth)
    assert (found.made["schedule"], found.made["seed"]) == (truth.made["schedule"], 0)
    times = [event.wall_time for event in scalars(tmp_path)["train/loss"]]
    assert times == sorted(times)
    assert times[-1] - times[0] == pytest.approx(sum(each.seconds for each in truth.epochs), rel=0.2)


def single(value):
    return None if value is None else float(np.float32(value))


@pytest.mark.parametrize("with_valid", [True, False])
def test_what_lrkit_wrote_is_read_by_its_tags_without_a_guess(tmp_path, with_valid):
    """Names that a guess would change or leave out, an uneven last batch, and test data without validation."""
    names = ("acc", "F1", "top/1", "box_loss", "time", "seconds_per_step", "epoch", "step")
    lrs = np.linspace(0.3, 0.1, 18).reshape(9, 2)
    losses = np.linspace(1, 2, 9, dtype=np.float32)
    epochs = tuple(
        lrkit.EpochRecord(
            number + 1,
            end,
            1.1 + number / 3,
            number / 7 if with_valid else None,
            {name: place + number / 3 for place, name in enumerate(names)} if with_valid else {},
            float(np.float32(lrs[end - 1, 0])),
            0.5,
            number / 11,
            {name: place + number / 13 for place, name in enumerate(names)},
        )
        for number, end in enumerate((3, 6, 8, 9))
    )
    lrkit.write_tensorboard(lrkit.History(epochs, lrs, losses, {"seed": 3}), tmp_path)
    found = lrkit.read_history(tmp_path)
    expected = tuple(
        dataclasses.replace(
            each,
            **{name: single(getattr(each, name)) for name in ("train_loss", "valid_loss", "test_loss")},
            **{name: {key: single(value) for key, value in getattr(each, name).items()} for name in MEASURED},
        )
        for each in epochs
    )
    assert found.epochs == expected
    assert np.array_equal(found.lrs, lrs.astype(np.float32))
    assert np.array_equal(found.losses, losses)
    assert [each.seconds for each in found.epochs] == pytest.approx([0.5] * 4, abs=0.01)
    assert found.made["seed"] == 3


def test_a_second_history_hides_the_first(tmp_path):
    long, short = (lrkit.run(task(), "linear(to=0)"), lrkit.run(task(), "cosine(to=0)", seed=1))
    lrkit.write_tensorboard(long, tmp_path)
    lrkit.write_tensorboard(short, tmp_path)
    same(lrkit.read_history(tmp_path), short)


def test_the_observer_writes_every_epoch_and_goes_on_with_a_run(tmp_path):
    folder, events = tmp_path / "run", tmp_path / "events"
    clock = iter(range(1, 100))
    with pytest.raises(lrkit.StoppedError):
        lrkit.run(
            task(),
            "linear(to=0)",
            observers=[lrkit.RunFolder(folder), lrkit.TensorBoard(events)],
            stop=lambda: next(clock) == 25,
        )
    assert len(scalars(events)["train/loss"]) == 20
    there = lrkit.RunFolder(folder, resume=True)
    observers = [there, lrkit.TensorBoard(events)]
    truth = lrkit.run(task(), "linear(to=0)", observers=observers, resume=there.snapshot)
    same(lrkit.read_history(events), truth)
    found = scalars(events)
    assert {tag for tag, points in found.items() if len(points) == STEPS} == {"train/loss", "lr"}
    assert [event.step for event in found["valid/loss"]] == [9, 19, 29]


def test_files_of_events_are_of_different_seconds(tmp_path):
    """Their names end in a number that counts writers, and are sorted as text: of one second, 10 is before 9."""
    for text in ("constant()", "linear(to=0)"):
        truth = lrkit.run(task(), text)
        lrkit.write_tensorboard(truth, tmp_path)
    first, second = sorted(tmp_path.iterdir(), key=lambda each: each.stat().st_mtime_ns)
    assert int(first.name.split(".")[3]) < int(second.name.split(".")[3])
    same(lrkit.read_history(tmp_path), truth)


def test_train_writes_events_and_export_does(lrkit, tmp_path):
    from lrkit import read_history

    (tmp_path / "tiny.py").write_text("import record_cases\ntask = record_cases.task()\n")
    assert lrkit("train", "tiny.py", "--out", "run", "--tensorboard", "live", "--quiet")[0] == 0
    status, out, _ = lrkit("export", "run", "--tensorboard", "later", "--csv", "run.csv", "--json")
    assert status == 0
    assert json.loads(out) == {"updates": 30, "epochs": 3, "csv": "run.csv", "tensorboard": "later"}
    truth = read_history("run")
    assert read_history("run.csv") == truth
    same(read_history("live"), truth)
    same(read_history("later"), truth)


def test_without_tensorboard_the_extra_is_named(tmp_path):
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    hide = "import sys; sys.modules['tensorboard'] = sys.modules['tensorboard.backend'] = None"
    call = f"from lrkit.output.cli import main; main(['export', {str(tmp_path)!r}, '--csv', 'x.csv'])"
    done = subprocess.run([sys.executable, "-c", f"{hide}; {call}"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'lrkit[tensorboard]'" in done.stderr
    assert done.stderr.count("\n") == 1

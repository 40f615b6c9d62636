"""What was logged, however often and counted from where, comes back at its update, or the record is refused."""

import json
import random
from dataclasses import dataclass

import numpy as np
import pytest

import lrkit
from log_forms import events, lines, put
from lrkit.training.records.missing import MissingChoiceError

SEEDS = range(60)
SHAPES = {
    "cosine": lambda done, length, total: 0.1 * (1 + np.cos(np.pi * done / total)) / 2,
    "constant": lambda done, length, total: 0.1,
    "by epoch": lambda done, length, total: 0.1 * 0.5 ** (done // length),
    "linear": lambda done, length, total: 0.1 * (1 - done / total),
}


@dataclass(frozen=True)
class Run:
    """A training that is made up: `length` updates in an epoch, logged at every `every`-th update."""

    length: int
    epochs: int
    every: int
    first: int
    shape: str

    @property
    def total(self):
        return self.length * self.epochs

    def loss(self, update):
        return round(3 - 2 * update / self.total + 0.01 * (update * 7919 % 13), 6)

    def lr(self, update):
        return float(SHAPES[self.shape](update, self.length, self.total))

    def valid(self, done):
        return 2.5 - done // self.length / 16

    def logged(self, at):
        """At the end of each stretch of updates, or at its begin."""
        return [update for update in range(self.total) if (update + (at == "end")) % self.every == 0]

    def ends(self, update):
        return (update + 1) % self.length == 0


def made_up(seed):
    chance = random.Random(seed)
    length, epochs = chance.choice([7, 10, 25, 50, 100, 313]), chance.choice([2, 3, 5, 8])
    every = chance.choice([each for each in (1, 5, 10, 50) if 3 * each <= length * epochs])
    return Run(length, epochs, every, chance.choice([0, 1]), chance.choice(list(SHAPES)))


def holds(run, record, logged, *, valid=True, rated=None, **options):
    """Whether the record was read; its numbers are those of the run then."""
    try:
        found = lrkit.read_history(record, **options)
    except MissingChoiceError:
        return False
    assert found.losses[logged].tolist() == pytest.approx([run.loss(each) for each in logged], rel=1e-6)
    rated = [each for each in (logged if rated is None else rated) if each < len(found.lr)]
    assert found.lr[rated].tolist() == pytest.approx([run.lr(each) for each in rated], rel=1e-6, abs=1e-9)
    if valid:
        done = [(number + 1) * run.length for number in range(run.epochs)]
        assert [(each.step, each.valid_loss) for each in found.epochs] == [(each, run.valid(each)) for each in done]
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_by_updates(seed, tmp_path):
    run = made_up(seed)
    for at in ("end", "begin"):
        logged = run.logged(at)
        rows = []
        for update in range(run.total):
            rows += [f"{update + run.first},{run.loss(update)},{run.lr(update)},"] if update in logged else []
            rows += [f"{update + run.first},,,{run.valid(update + 1)}"] if run.ends(update) else []
        inside = [each for each in logged if each < run.total]
        assert holds(run, put(tmp_path, "a.csv", lines("step,loss,lr,val_loss", *rows)), inside)


@pytest.mark.parametrize("seed", SEEDS)
def test_lightnings_table(seed, tmp_path):
    run, rows = made_up(seed), []
    logged = run.logged("end")
    for update in range(run.total):
        epoch = update // run.length
        if update in logged:
            rows += [f",{update},,,{run.lr(update)}", f"{epoch},{update},{run.loss(update)},,"]
        rows += [f"{epoch},{update},,{run.valid(update + 1)},"] if run.ends(update) else []
    rows += [f"{run.epochs},{run.total},,9.0,"]  # validate() afterwards
    assert holds(run, put(tmp_path, "metrics.csv", lines("epoch,step,train_loss,val_loss,lr-SGD", *rows)), logged)


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_within_epochs(seed, tmp_path):
    run, rows, logged = made_up(seed), [], []
    for update in range(run.total):
        epoch, within = divmod(update, run.length)
        if within % run.every == 0:
            logged.append(update)
            rows.append(f"{epoch + run.first},{within + run.first},{run.loss(update)},{run.lr(update)},")
        rows += [f"{epoch + run.first},,,,{run.valid(update + 1)}"] if run.ends(update) else []
    file = put(tmp_path, "a.csv", lines("epoch,iter,loss,lr,val_loss", *rows))
    assert holds(run, file, logged) is (run.every == 1)
    assert holds(run, file, logged, epoch_steps=run.length)


@pytest.mark.parametrize("seed", SEEDS)
def test_epochs_alone(seed, tmp_path):
    run = made_up(seed)
    begins = [number * run.length for number in range(run.epochs)]
    rows = [
        f"{number + run.first},{run.loss(each)},{run.valid(each + run.length)},{run.lr(each)}"
        for number, each in enumerate(begins)
    ]
    file = put(tmp_path, "a.csv", lines("epoch,train_loss,val_loss,lr", *rows))
    assert holds(run, file, begins, epoch_steps=run.length)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_state_of_transformers(seed, tmp_path):
    run, rows = made_up(seed), []
    logged = run.logged("end")
    for update in range(run.total):
        done = {"epoch": (update + 1) / run.length, "step": update + 1}
        rows += [{"loss": run.loss(update), "learning_rate": run.lr(update), **done}] if update in logged else []
        rows += [{"eval_loss": run.valid(update + 1), **done}] if run.ends(update) else []
    rows += [{"train_runtime": 1.0, "train_loss": 9.0, **done}, {"eval_loss": 9.0, **done}]
    text = json.dumps({"global_step": run.total, "max_steps": run.total, "log_history": rows})
    assert holds(run, put(tmp_path, "trainer_state.json", text), logged)
    assert holds(run, put(tmp_path, "log_history.jsonl", lines(*map(json.dumps, rows))), logged)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_text_log(seed, tmp_path):
    run, rows = made_up(seed), ["Using device: cuda", "learning_rate: 0.1"]
    logged = run.logged("begin")
    for update in range(run.total):
        step = f"Epoch {update // run.length + 1}/{run.epochs} | step {update + run.first}/{run.total}"
        told = f"loss: {run.loss(update)} | lr: {run.lr(update):.10e} | 12.3 ms"
        rows += [f"[2024-01-01 10:00:{update % 60:02d}] {step} | {told}"] if update in logged else []
        rows += [f"step {update + run.first}: val_loss={run.valid(update + 1)} acc=55.5%"] if run.ends(update) else []
    assert holds(run, put(tmp_path, "train.log", lines(*rows)), logged)


@pytest.mark.parametrize("seed", SEEDS[::6])
def test_events_with_epochs_beside_updates(seed, tmp_path):
    run, scalars = made_up(seed), []
    logged, by_epoch = run.logged("begin"), run.shape == "by epoch"
    for update in range(run.total):
        epoch = update // run.length + run.first
        scalars += [("train/loss", run.loss(update), update + run.first)] if update in logged else []
        if not by_epoch and update in logged:
            scalars.append(("lr", run.lr(update), update + run.first))
        if run.ends(update):
            scalars += [
                ("val/loss", run.valid(update + 1), epoch),
                *([("lr", run.lr(update), epoch)] if by_epoch else []),
            ]
    events(tmp_path / "run", scalars)
    rated = range(run.total) if by_epoch else logged
    counted = run.length if run.every > 1 or by_epoch else None
    assert holds(run, tmp_path / "run", logged, rated=rated, epoch_steps=counted) or counted is None

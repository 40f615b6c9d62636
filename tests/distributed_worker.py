"""Trains in two processes, and writes what came out: `python distributed_worker.py RANK FOLDER`, once for each rank."""

import dataclasses
import io
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

import lrkit
from lrkit import DivergedError, InputError, Observer, ProcessLostError, StoppedError, Task
from lrkit.training.task_source import TaskSource

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(71, 6, generator=GENERATOR)
Y = (X.sum(dim=1) > 0).long()
MODELS = []  # those that were made, so that the weights of every process can be seen
MASKS = []


class Pairs(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], Y[index]


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class Augmented(Dataset):
    """Items that differ each time they are read."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index] + random.random() + float(np.random.random()) + torch.rand(()), Y[index]


class Noisy(IterableDataset):
    def __iter__(self):
        for x, y in zip(X, Y, strict=True):
            yield x + random.random() + torch.rand(()), y


class Rarely(nn.Module):
    """A part for few rows, so that many batches give it no gradient; and a part that is never used."""

    def __init__(self):
        super().__init__()
        self.always, self.rarely, self.never = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x):
        rare = x[:, 0] > 1.2
        output = self.always(x)
        return output.index_add(0, rare.nonzero()[:, 0], self.rarely(x[rare])) if rare.any() else output


class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.5), nn.Linear(6, 2)

    def forward(self, x):
        mask = self.dropout(torch.ones(6))
        if self.training:
            MASKS.append(mask)
        return self.linear(x * mask)


def smooth():
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def lively():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.3, momentum=0.9)


def gentle(parameters):
    return torch.optim.SGD(parameters, lr=0.02)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.5)


def weighted(model, batch):
    """A loss whose mean is over another number than that of the rows."""
    x, y = batch
    weights = 1 + (x[:, 1] > 0).long()
    losses = nn.functional.cross_entropy(model(x), y, reduction="none")
    return (losses * weights).sum() / weights.sum(), weights.sum(), {}


def masked(model, batch):
    """A mean over some rows: at times over none, and then NaN."""
    x, y = batch
    few = x[:, 0] > 0.2
    return nn.functional.cross_entropy(model(x[few]), y[few]), few.sum(), {}


def make(**changes):
    task = Task(
        model=smooth,
        train=(X, Y),
        valid=(X[:33], Y[:33]),
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": lrkit.accuracy},
        optimizer=sgd,
        batch_size=8,
        epochs=4,
    )
    return dataclasses.replace(task, **changes)


WARM = "warmup(64samples) >> linear(to=0)"
EQUAL = {  # like one process with batches of twice the size
    "tensors, an uneven last batch": (make(), WARM),
    "a last batch of one sample": (make(train=(X[:65], Y[:65]), valid=(X[:1], Y[:1])), WARM),
    "fewer samples than processes": (make(train=(X[:1], Y[:1])), "constant()"),
    "accumulation": (make(batch_size=4, accumulate=2), WARM),
    "clipped": (make(clip_norm=0.05), WARM),
    "float64": (make(model=lambda: smooth().double(), train=(X.double(), Y), valid=(X.double(), Y)), WARM),
    "a dataset": (make(train=Pairs(), valid=Pairs(), test=Pairs()), WARM),
    "a dataset in workers": (make(train=Pairs(), workers=1, epochs=1), WARM),
    "without a length": (make(train=Stream(), valid=Stream(), epochs=None, steps=13), WARM),
    "without validation data": (make(valid=None), "plateau(patience=0, factor=0.5)"),
    "parts that are used rarely and never": (make(model=Rarely, optimizer=adamw), WARM),
    "its own number of samples": (make(loss=None, metrics={}, forward=weighted), WARM),
    "shares without a sample": (
        make(loss=None, metrics={}, forward=masked, batch_size=4, valid=(X, Y), valid_batch_size=4, optimizer=gentle),
        "constant()",
    ),
    "a controller": (make(epochs=8), "plateau(patience=0, factor=0.5, threshold=0.1)"),
    "early stopping": (
        make(loss=lambda output, target: 0 * output.sum() + 1.0, epochs=9, early_stopping=2),
        "constant()",
    ),
}
RESUMED = {
    "dropout and batch norm": (make(model=lively, epochs=3), 7),
    "at the end of an epoch": (make(model=lively, epochs=3), 5),
    "an augmenting dataset": (make(model=lively, train=Augmented(), valid=Augmented(), epochs=3), 7),
    "an augmenting dataset in workers": (make(model=lively, train=Augmented(), workers=1, epochs=2), 7),
    "a noisy stream": (make(model=lively, train=Noisy(), valid=Noisy(), epochs=None, steps=13), 7),
    "float16 with a scaler": (make(model=lively, precision="float16", accumulate=2), 7),
}


# The task of a user, who trains it from the command line.
OWN = """
import os, time
from pathlib import Path
import torch
from torch import nn
import lrkit

RANK = os.environ.get("RANK", "0")
PAUSE = int(os.environ.get("PAUSE", "-1"))  # before the loss of which update to wait until it is told to go on
Path(f"pid{RANK}").write_text(str(os.getpid()))
x = torch.randn(90, 20, generator=torch.Generator().manual_seed(0))
y = x.square().sum(dim=1, keepdim=True) / 20
count = 0

def loss(output, target):
    global count
    count += torch.is_grad_enabled()
    if count == PAUSE and torch.is_grad_enabled():
        Path(f"paused{RANK}").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    if RANK == os.environ.get("FAILS"):
        raise ZeroDivisionError("nothing by nothing")
    return nn.functional.mse_loss(output, target)

task = lrkit.Task(
    model=lambda: nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)),
    train=(x, y), valid=(x[:33], y[:33]), loss=loss, batch_size=5, epochs=4,
    optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
)
"""
OWN_SCHEDULE = "warmup(5%) >> plateau(patience=0, threshold=0.2, factor=0.5)"


def kept(task):
    """The same task, whose model can be seen afterwards."""
    MODELS.clear()

    def model():
        MODELS.append(task.model())
        return MODELS[-1]

    return dataclasses.replace(task, model=model)


def weights():
    return {name: each.clone() for name, each in MODELS[-1].state_dict().items()}


def train(task, plan, **options):
    history = lrkit.run(kept(task), plan, **options)
    return {"history": history, "weights": weights()}


class Taken(Observer):
    """Takes a snapshot after some update."""

    def __init__(self, at):
        self.at, self.snapshot, self.told = at, None, 0

    def start(self, setup):
        self.take, self.told = setup.snapshot, self.told + 1

    def step(self, steps):
        if steps == self.at:
            file = io.BytesIO()
            torch.save(self.take(), file)
            file.seek(0)
            self.snapshot = torch.load(file, weights_only=True)


def resume(task, at):
    taken = Taken(at)
    whole = train(task, WARM, distributed=True, observers=[taken], seed=2)
    again = train(task, WARM, distributed=True, resume=taken.snapshot, seed=2)
    return {"whole": whole, "again": again, "told": taken.told}


def restart(task, at):
    """With the weights of a run that was broken off, and broken off in turn; only the first process has snapshots."""
    origin, taken = Taken(at), Taken(at)
    train(task, WARM, distributed=True, observers=[origin])
    whole = train(
        task, WARM, distributed=True, observers=[taken], resume=origin.snapshot, policy="restart", seed=2, lr=0.2
    )
    again = train(task, WARM, distributed=True, resume=taken.snapshot, seed=2, lr=0.2)
    return {"whole": whole, "again": again, "told": taken.told}


def error_of(call):
    try:
        call()
    except (InputError, DivergedError, StoppedError, ProcessLostError) as error:
        return type(error).__name__, str(error)
    return None


def stop_in_the_second(rank):
    """One process wants to stop, after its seventh update."""
    count = iter(range(1, 100))
    return error_of(lambda: lrkit.run(make(), WARM, distributed=True, stop=lambda: next(count) == 7 and rank == 1))


def die_in_the_second(rank):
    def stop():
        if rank == 1:
            os._exit(0)
        return False

    return error_of(lambda: lrkit.run(make(), WARM, distributed=True, stop=stop))


def main(rank, folder):
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    results = {name: train(task, plan, distributed=True) for name, (task, plan) in EQUAL.items()}
    results |= {name: resume(task, at) for name, (task, at) in RESUMED.items()}
    results["restarted"] = restart(make(model=lively, epochs=3), 7)
    results["no snapshot"] = error_of(lambda: lrkit.run(make(), WARM, distributed=True, policy="restart"))
    results["own"] = train(TaskSource("own.py:task").load(), OWN_SCHEDULE, distributed=True)
    train(make(model=Mask), WARM, distributed=True)
    results["masks"] = torch.stack(MASKS)
    results["stopped"] = stop_in_the_second(rank)
    results["other seeds"] = error_of(lambda: lrkit.run(make(), WARM, distributed=True, seed=rank))
    embedding = make(model=lambda: nn.EmbeddingBag(5, 2, sparse=True), train=(Y[:, None], Y), valid=None)
    exploding = make(loss=lambda output, target: output.square().sum(), model=lambda: nn.Linear(6, 2))
    results["diverged"] = error_of(lambda: lrkit.run(exploding, "constant()", lr=1e9, distributed=True))
    results["sparse"] = error_of(lambda: lrkit.run(embedding, WARM, distributed=True))
    results["compiled"] = error_of(lambda: lrkit.run(make(), WARM, distributed=True, compiled=True))
    torch.save(results, folder / f"{rank}.pt")
    torch.save(die_in_the_second(rank), folder / "lost.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

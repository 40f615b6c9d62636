"""Tasks of every kind that lanes are held against `run` with, and ways to look inside both."""

import copy
import random
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset

import lrkit
from lrkit import DivergedError, Lane, Observer, Task
from lrkit.training.lanes.group import LaneGroup
from lrkit.training.lanes.together import train_together
from lrkit.training.lanes.work import Work
from lrkit.training.networks import CharTransformer, convolutional, perceptron
from lrkit.training.randomness import same_random_state, seeded
from optimizers import RULED

CPU = torch.device("cpu")
GENERATOR = torch.Generator().manual_seed(7)
X = torch.randn(44, 16, generator=GENERATOR, dtype=torch.float64)
Y = (X[:, :4].sum(dim=1) > 0).long() + (X[:, 4] > 1).long()
TEXT = torch.randint(0, 7, (44, 6), generator=GENERATOR)
NEXT = (TEXT * 3 + 1) % 7
LANES = (
    Lane("warmup(2) >> linear(to=0)", lr=0.1),
    Lane("constant()", lr=0.02),
    Lane("cosine(to=0.1)", lr=0.05),
)

# --- models -----------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Torch's attention over the features, four at a time."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        parts = x.unflatten(1, (4, 4))
        return self.head((parts + self.attention(parts, parts, parts, need_weights=False)[0]).flatten(1))


class Tied(nn.Module):
    """The same matrix as embedding and as output."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.inner = nn.Linear(5, 5)
        self.out = nn.Linear(5, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, text):
        return self.out(torch.tanh(self.inner(self.embedding(text))))


class Unused(nn.Module):
    """Has a parameter that gets no gradient, and a frozen one."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)
        self.used = perceptron([16, 8, 3])
        self.used[0].weight.requires_grad_(False)

    def forward(self, x):
        return self.used(x)


def normalised():
    # No bias before the norm: it would have a gradient of nothing but rounding, which Adam divides by itself.
    return nn.Sequential(nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def by_character(output, target):
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


CHARACTERS = {"train": (TEXT, NEXT), "valid": (TEXT[:20], NEXT[:20]), "loss": by_character, "metrics": {}}

MODELS = {
    "perceptron": {"model": lambda: perceptron([16, 12, 3])},
    "batch norm": {"model": normalised},
    "layer norm": {"model": lambda: nn.Sequential(nn.Linear(16, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))},
    "embedding": {"model": lambda: nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7)), **CHARACTERS},
    "attention": {"model": Attention},
    "transformer": {"model": lambda: CharTransformer(7, 6, width=8, heads=2, layers=1), **CHARACTERS},
    "convolution": {"model": lambda: convolutional(4, 4, 3)},
    "dropout": {"model": lambda: nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))},
    "tied weights": {"model": Tied, **CHARACTERS},
    "unused and frozen": {"model": Unused},
}

# --- optimizers -------------------------------------------------------------------------------------


def grouped(parameters):
    first, *others = parameters
    return torch.optim.AdamW([{"params": [first], "lr": 0.003, "weight_decay": 0.3}, {"params": others}], lr=0.01)


def of_some(parameters):
    return torch.optim.SGD(list(parameters)[2:], lr=0.1, momentum=0.9)


OPTIMIZERS = {
    **RULED,
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD, a tensor as rate": lambda p: torch.optim.SGD(p, lr=torch.tensor(0.05), momentum=0.9),
    "param groups": grouped,
    "some parameters only": of_some,
}
ADAPTIVE = ("Adam", "AdamW", "RMSprop", "RMSprop, momentum", "Adamax", "NAdam", "NAdam, decoupled", "param groups")
SMALL = tuple(replace(lane, lr=lane.lr / 10) for lane in LANES)

# --- what else a task can be ------------------------------------------------------------------------


class Augmented(Dataset):
    """Items that differ each time they are read."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        noise = random.random() + float(np.random.random()) + torch.rand(())
        return (X[index] + noise / 4).to(torch.get_default_dtype()), Y[index]


class Stream(IterableDataset):
    """Data without a length."""

    def __iter__(self):
        yield from zip(X.to(torch.get_default_dtype()), Y, strict=True)


def masked(model, batch):
    """A loss over some of the samples only, and how many those are."""
    x, target = batch
    mask = (x[:, 0] > -1).to(x.dtype)
    losses = functional.cross_entropy(model(x), target, reduction="none")
    return (losses * mask).sum() / mask.sum(), mask.sum(), {"first": losses[0]}


def smoothed(output, target):
    return functional.cross_entropy(output, target, label_smoothing=0.1)


def square(output, target):
    return 0.1 * (output**2).mean()


FEATURES = {
    "clipping": {"clip_norm": 0.3},
    "clipping what the optimizer hasn't": {"clip_norm": 0.3, "optimizer": of_some},
    "label smoothing": {"loss": smoothed},
    "accumulation": {"batch_size": 11, "accumulate": 2},
    "accumulation, uneven": {"batch_size": 6, "accumulate": 3, "model": MODELS["dropout"]["model"]},
    "accumulation, batch norm, clipping": {"batch_size": 6, "accumulate": 3, "model": normalised, "clip_norm": 0.3},
    "several losses": {"loss": {"cross": functional.cross_entropy, "square": square}},
    "a forward of its own": {"loss": None, "metrics": {}, "forward": masked, "batch_size": 11, "accumulate": 2},
    "steps": {"epochs": None, "steps": 7},
    "a stream": {"train": Stream(), "valid": Stream(), "epochs": None, "steps": 8},
    "an augmenting dataset": {"train": Augmented(), "valid": Augmented(), "model": MODELS["dropout"]["model"]},
    "an augmenting dataset, kept": {"train": Augmented(), "valid": Augmented(), "in_memory": True},
    "no validation": {"valid": None, "metrics": {}},
}


@dataclass(frozen=True)
class Case:
    """A task's changes, and lanes."""

    changes: dict[str, Any]
    lanes: tuple[Lane, ...] = LANES


CASES = {
    **{name: Case(changes) for name, changes in MODELS.items()},
    **{
        name: Case({"optimizer": optimizer}, SMALL if name in ADAPTIVE else LANES)
        for name, optimizer in OPTIMIZERS.items()
    },
    **{name: Case(changes) for name, changes in FEATURES.items()},
    "own momentum and more": Case(
        {}, tuple(replace(lane, momentum=0.5 + 0.2 * n, weight_decay=0.1 * n) for n, lane in enumerate(LANES))
    ),
    "own betas and eps": Case(
        {"optimizer": OPTIMIZERS["NAdam"]},
        tuple(
            replace(
                lane, beta1=0.7 + 0.1 * n, beta2=0.9 + 0.03 * n, eps=10.0 ** (n - 8), momentum_decay=0.001 * (1 + n)
            )
            for n, lane in enumerate(SMALL)
        ),
    ),
    "own weight decay, batch norm, clipping": Case(
        {"model": normalised, "optimizer": OPTIMIZERS["AdamW"], "clip_norm": 0.3},
        tuple(replace(lane, weight_decay=0.1 * n) for n, lane in enumerate(SMALL)),
    ),
    "momentum schedules": Case(
        {},
        (
            Lane("lr: one_cycle(); momentum: one_cycle_momentum()", lr=0.1),
            Lane("momentum: linear(to=0.5); weight_decay: linear(to=0)", lr=0.02, weight_decay=0.3),
            LANES[0],
        ),
    ),
    "controllers": Case(
        {"epochs": 4},
        (
            Lane("plateau(patience=0, factor=0.5, threshold=0.3)", lr=0.1),
            Lane("warmup(2) >> greedy(patience=0, factor=0.7)", lr=0.05),
            Lane("plateau(patience=0, factor=0.1, metric=accuracy, mode=max)", lr=0.2),
        ),
    ),
}


def make(dtype=torch.float64, **changes) -> Task:
    """A task with three updates in an epoch, the last of which is of fewer samples."""
    model = changes.pop("model", MODELS["perceptron"]["model"])
    task = Task(
        model=lambda: model().to(dtype),
        train=(X, Y),
        valid=(X[:20], Y[:20]),
        loss=functional.cross_entropy,
        metrics={"accuracy": lrkit.accuracy},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        batch_size=16,
        epochs=2,
        valid_batch_size=8,
    )
    task = replace(task, **changes)
    return replace(task, train=_cast(task.train, dtype), valid=_cast(task.valid, dtype))


def _cast(data, dtype):
    if not isinstance(data, tuple):
        return data
    return tuple(each.to(dtype) if each.is_floating_point() else each for each in data)


# --- a lane alone -----------------------------------------------------------------------------------


class Watched(Observer):
    """Snapshots of a run before its first update and after each, and its history as far as it came."""

    def __init__(self):
        self.snapshots, self.history = [], None

    def start(self, setup):
        self._take = setup.snapshot
        self.step(0)

    def step(self, steps):
        self.snapshots.append(copy.deepcopy(self._take()))

    def epoch(self, history):
        self.history = history


class Last(Watched):
    """Keeps the snapshot after the last epoch only."""

    def step(self, steps):
        """Keep nothing."""

    def epoch(self, history):
        self.history, self.snapshots = history, [self._take()]


def alone(task, lane, watch=None):
    """What `run` gives for a lane, and what it went through."""
    watch = Last() if watch is None else watch
    with suppress(DivergedError):  # its history is wanted all the same
        lrkit.run(lane.of(task), lane.schedule, lr=lane.lr, seed=lane.seed, observers=[watch])
    return watch


# --- lanes together ---------------------------------------------------------------------------------


class Told:
    """A report that keeps what it is told."""

    def __init__(self):
        self.histories, self.epochs, self.lane_steps = {}, [], 0

    def step(self, lane_steps):
        self.lane_steps += lane_steps

    def epoch(self, histories):
        self.epochs.append(dict(histories))

    def ended(self, histories):
        self.histories.update(histories)


@dataclass
class Kept:
    """A checkpoint in memory; `at` are the updates after which it is saved, None stands for all."""

    at: Any = None
    snapshot: Any = None
    saved: dict[int, Any] = field(default_factory=dict)

    def due(self, steps):
        return self.at is None or steps in self.at

    def save(self, snapshot):
        self.saved[snapshot["progress"]["steps"]] = copy.deepcopy(snapshot)


def work_of(task, lanes, drop=lambda histories: (), stop=lambda: False):
    return Work(task, list(lanes), CPU, {}, drop, stop)


def together(task, lanes, *, compiled=False, kept=None, drop=lambda histories: (), work=None):
    """All lanes in one group; returns what was told."""
    told = Told()
    work = work_of(task, lanes, drop) if work is None else work
    train_together(work, range(len(lanes)), told, Kept(at=()) if kept is None else kept, compiled=compiled)
    return told


def group_snapshot(snapshots, names, buffers):
    """What a group's snapshot is, from one of `run` for each lane of a seed."""
    first = snapshots[0]
    assert all(same_random_state(first["random"], each["random"]) for each in snapshots)
    models = [each["model"] for each in snapshots]
    optimizers = [each["optimizer"]["state"] for each in snapshots]
    record = first["record"]
    states = {
        name: {
            key: _stack([each[index][key] for each in optimizers], models[0][name].ndim)
            for key, value in optimizers[0][index].items()
            if isinstance(value, torch.Tensor)
        }
        for index, name in names.items()
        if optimizers[0].get(index)
    }
    return {
        "grid": [list(range(len(snapshots)))],
        "parts": 1,
        "parameters": {name: _stack([each[name] for each in models]) for name in models[0] if name not in buffers},
        "buffers": {name: _stack([each[name] for each in models]) for name in buffers},
        "states": states,
        "lanes": {
            str(n): {"scheduler": each["scheduler"], "record": each["record"]} for n, each in enumerate(snapshots)
        },
        "random": first["random"],
        "progress": {
            "steps": len(record["lrs"]),
            "epochs": len(record["epochs"]),
            "in_epoch": len(record["fresh"]),
        },
        "update": None,
    }


def _stack(tensors, dimensions=None):
    """Along the lanes, with a dimension for the seed; a number that is the same for all has none."""
    if dimensions is not None and tensors[0].ndim == 0 and dimensions:
        if all(torch.equal(tensors[0], each) for each in tensors):
            return tensors[0].clone()
        return torch.stack(tensors).reshape(1, -1, *[1] * dimensions)
    return torch.stack(tensors)[None]


class Forced:
    """A group that makes single updates from states of `run`."""

    def __init__(self, task, lanes, *, compiled=False, work=None):
        with seeded(lanes[0].seed, CPU):
            self.group = LaneGroup(work_of(task, lanes) if work is None else work, range(len(lanes)), compiled=compiled)
        model = task.model()
        optimizer = lanes[0].of(task).optimizer(model.parameters())
        name_of = {id(each): name for name, each in model.named_parameters()}
        held = [each for group in optimizer.param_groups for each in group["params"]]
        self.names = {index: name_of[id(each)] for index, each in enumerate(held)}
        self.buffers = [name for name, _ in model.named_buffers()]
        self._tied = set(model.state_dict()) - {name for name, _ in model.named_parameters()} - set(self.buffers)

    def of(self, snapshots):
        """The group's snapshot for those of `run`."""
        found = group_snapshot(snapshots, self.names, self.buffers)
        for name in self._tied:
            del found["parameters"][name]
        return found

    def after(self, snapshots):
        """The group's snapshot one update after those of `run`."""
        with seeded(0, CPU):
            self.group.restore(copy.deepcopy(self.of(snapshots)))
            if (batches := next(self.group.updates(), None)) is None:
                self.group.end_epoch()
                batches = next(self.group.updates())
            self.group.update(batches)
            return self.group.snapshot()


def distance(found, wanted):
    """How far apart tensors of several names are at most, relative to the largest number among them."""
    assert found.keys() == wanted.keys()
    size = max((float(each.double().abs().max()) for each in wanted.values()), default=0.0)
    apart = [float((found[name].double() - each.double()).abs().max()) for name, each in wanted.items()]
    return max(apart, default=0.0) / size if size else max(apart, default=0.0)


def kinds_of(snapshot):
    """Parameters, buffers and each kind of optimizer state of a group's snapshot, each by parameters' names."""
    kinds = {"parameters": snapshot["parameters"], "buffers": snapshot["buffers"]}
    for name, state in snapshot["states"].items():
        for key, each in state.items():
            kinds.setdefault(key, {})[name] = each
    return kinds

"""The contenders of compare.py: the same search and the same final runs without lrkit's lanes.

The job is a tournament on MNIST: 50,000 of the training images to train on, 10,000 held out, the perceptron of job.py
in batches of 32. Five schedules are tried at eight rates with three seeds, the held-out loss after the last epoch
chooses each schedule's rate, and three fresh seeds at that rate are measured on the test images.

    python benchmarks/grid_runs.py plain               # all of it, in two processes; JSON
    python benchmarks/grid_runs.py ray --sample 6      # some runs of it as Ray Tune trains them with Lightning; JSON
"""

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedulers

from job import BATCH, VALID_BATCH, Job, read
from torch_loops import network

__all__ = ["FINAL_SEEDS", "PROCESSES", "RATES", "SCHEDULERS", "SEEDS", "Data", "Run", "plain", "runs_to_select"]

RATES = tuple(float(f"{0.1 * 10 ** (half / 2):.6g}") for half in range(-4, 4))
SEEDS, FINAL_SEEDS = (101, 102, 103), (1, 2, 3)
PROCESSES = 2

SCHEDULERS: Mapping[str, Callable[[Optimizer, int], Any]] = {  # as lrkit's line-up "tutorial" has them
    "constant": lambda optimizer, epochs: torch_schedulers.ConstantLR(optimizer, factor=1.0),
    "StepLR": lambda optimizer, epochs: torch_schedulers.StepLR(optimizer, step_size=max(1, round(0.4 * epochs))),
    "MultiStepLR": lambda optimizer, epochs: torch_schedulers.MultiStepLR(optimizer, milestones=_milestones(epochs)),
    "ExponentialLR": lambda optimizer, epochs: torch_schedulers.ExponentialLR(optimizer, gamma=0.1 ** (1 / epochs)),
    "plateau": lambda optimizer, epochs: torch_schedulers.ReduceLROnPlateau(optimizer, patience=epochs // 10),
}


def _milestones(epochs: int) -> list[int]:
    half = max(1, epochs // 2)
    return [half, max(half + 1, 3 * epochs // 4)]


@dataclass(frozen=True)
class Run:
    """One training."""

    schedule: str
    rate: float
    seed: int
    epochs: int


@dataclass(frozen=True)
class Data:
    """Images in [0, 1] and labels of each part.

    Attributes:
        train: what is trained on.
        held_out: what chooses rates, and steers plateaus.
        test: what final runs are measured on.
    """

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, folder: Path) -> "Data":
        """Of a folder in MNIST's format."""
        (images, labels), test = (_tensors(folder, split) for split in ("train", "test"))
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        held, kept = order[: len(order) // 6], order[len(order) // 6 :]
        return cls((images[kept], labels[kept]), (images[held], labels[held]), test)


def _tensors(folder: Path, split: Any) -> tuple[Tensor, Tensor]:
    images, labels = read(split, Job(data=folder))
    return torch.from_numpy(images).float() / 255, torch.from_numpy(labels)


def runs_to_select(epochs: int) -> list[Run]:
    """All runs of the search."""
    return [Run(*each, epochs) for each in product(SCHEDULERS, RATES, SEEDS)]


# --- plain loops, two at a time -------------------------------------------------------------------------


def plain(folder: Path, epochs: int) -> dict[str, Any]:
    """The whole job: seconds, and for each schedule its rate and the test losses of its final runs."""
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES, _prepare, (folder,)) as pool:
        runs = runs_to_select(epochs)
        held_out = dict(zip(runs, pool.map(_held_out_loss, runs, chunksize=1), strict=True))
        best = {name: _best_rate(name, held_out) for name in SCHEDULERS}
        final = [Run(name, best[name], seed, epochs) for name in SCHEDULERS for seed in FINAL_SEEDS]
        losses = dict(zip(final, pool.map(_test_loss, final, chunksize=1), strict=True))
    schedules = {
        name: {"best_lr": best[name], "losses": [loss for run, loss in losses.items() if run.schedule == name]}
        for name in SCHEDULERS
    }
    return {"seconds": time.perf_counter() - began, "runs": len(runs) + len(final), "schedules": schedules}


def _best_rate(name: str, losses: Mapping[Run, float]) -> float:
    def mean(rate: float) -> float:
        found = [loss for run, loss in losses.items() if (run.schedule, run.rate) == (name, rate)]
        return statistics.mean(found) if all(map(math.isfinite, found)) else math.inf

    return min(RATES, key=mean)


def _prepare(folder: Path) -> None:
    """What a process needs for all of its runs."""
    global _DATA  # noqa: PLW0603 (how a pool's initializer hands something to its calls)
    torch.set_num_threads(1)
    _DATA = Data.of(folder)


_DATA: Data


def _held_out_loss(run: Run) -> float:
    return _train(run, _DATA.held_out)


def _test_loss(run: Run) -> float:
    return _train(run, _DATA.test)


def _train(run: Run, measured: tuple[Tensor, Tensor]) -> float:
    """The loss after the last epoch; the held-out part steers the plateau, and is measured after each epoch."""
    torch.manual_seed(run.seed)
    model = network()
    optimizer = SGD(model.parameters(), lr=run.rate)
    scheduler = SCHEDULERS[run.schedule](optimizer, run.epochs)
    images, labels = _DATA.train
    loss = math.nan
    for _ in range(run.epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            output = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            output.backward()
            optimizer.step()
        if not math.isfinite(output.item()):
            return math.nan
        loss = _measure(model, _DATA.held_out)
        if run.schedule == "plateau":
            scheduler.step(loss)
        else:
            scheduler.step()
    return loss if measured is _DATA.held_out else _measure(model, measured)


@torch.no_grad()
def _measure(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    batches = zip(*(each.split(VALID_BATCH) for each in data), strict=True)
    losses = [nn.functional.cross_entropy(model(images), labels, reduction="sum") for images, labels in batches]
    return float(torch.stack(losses).sum()) / len(data[0])


# --- the command line --------------------------------------------------------------------------------


def main() -> None:
    """Do what is asked for, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=("plain", "ray"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Job.data)
    parser.add_argument("--sample", type=int, default=6, help="runs that Ray Tune trains (6)")
    options = parser.parse_args()
    if options.contender == "plain":
        found = plain(options.data, options.epochs)
    else:
        from ray_runs import ray_tune

        found = ray_tune(options.data, options.epochs, options.sample)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Trainings for predict_own.py: two of the built-in tasks with eight schedules each, several seeds, recorded.

A law is fitted to three of the schedules, which have the same peak, and predicts the other five. All warm up for as
many updates; `drop` stays at the peak until half of the run and then falls at once, `cosine_long` is twice as long.
Runs of a seed begin with the same weights and see the same batches. What has been recorded is not trained again.

    nice python benchmarks/predict_runs.py          # mnist and chars: about half an hour on one core
    python benchmarks/predict_runs.py mnist --folder elsewhere
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import lrkit
from lrkit.training import tasks
from lrkit.training.idx import MNIST_FOLDER
from timing import say

__all__ = ["FITTED", "FOLDER", "SETTINGS", "Setting", "histories", "schedules", "task_of", "train"]

FOLDER = Path("runs/predict")
FITTED = ("constant", "cosine", "drop_0.3")
_WARMUP = 20  # a run is that many times as long


@dataclass(frozen=True)
class Setting:
    """How a task is trained.

    Attributes:
        batch_size: samples in a batch.
        steps: updates, of which a twentieth are the warmup.
        seeds: how many.
    """

    batch_size: int
    steps: int
    seeds: int


# The text's batches are a quarter of the usual ones: an update is fast, and 1200 of them are less than 1.5 passes.
SETTINGS = {"mnist": Setting(32, 3000, 4), "chars": Setting(8, 1200, 3)}


def schedules(steps: int) -> dict[str, tuple[str, int]]:
    """The text of each schedule, and how many updates it is for; those of `FITTED` first.

    >>> schedules(1500)["wsd_linear"]
    ('warmup(75) >> constant() >> cooldown(20%, to=0.1, shape=linear)', 1500)
    """
    tails = {
        "constant": "constant()",
        "cosine": "cosine(to=0.1)",
        "drop_0.3": "constant(steps=45%) >> constant(0.3)",
        "wsd_linear": "constant() >> cooldown(20%, to=0.1, shape=linear)",
        "wsd_exponential": "constant() >> exponential(20%, to=0.1)",
        "drop_0.1": "constant(steps=45%) >> constant(0.1)",
        "linear_to_0": "linear(to=0)",
    }
    found = {name: (f"warmup({steps // _WARMUP}) >> {tail}", steps) for name, tail in tails.items()}
    return found | {"cosine_long": (found["cosine"][0], 2 * steps)}


def task_of(name: str, batch_size: int, steps: int, data: Path = MNIST_FOLDER) -> lrkit.Task:
    """The built-in task in this length, at the rate that it has by default."""
    task = tasks.get(name, data=data if name == "mnist" else None)
    return replace(task, batch_size=batch_size, epochs=None, steps=steps)


def train(task: lrkit.Task, schedule: lrkit.Schedule | str, seed: int, folder: Path) -> lrkit.History:
    """The history of a run: what the folder has, else trained and recorded there."""
    if (folder / "history.json").is_file():
        history = lrkit.RunFolder.load(folder)
        wanted = {"schedule": str(schedule), "seed": seed, "steps": task.steps, "batch_size": task.batch_size}
        if all(history.made[name] == value for name, value in wanted.items()):
            return history
    history = lrkit.run(task, schedule, seed=seed, device="cpu")
    lrkit.save_history(history, folder, overwrite=True)
    return history


def histories(
    name: str, setting: Setting, folder: Path, data: Path = MNIST_FOLDER
) -> Iterator[tuple[str, int, lrkit.History]]:
    """Each run of a task, with the name of its schedule and its seed; all of a seed before those of the next."""
    for seed in range(setting.seeds):
        for schedule, (text, steps) in schedules(setting.steps).items():
            began = time.perf_counter()
            task = task_of(name, setting.batch_size, steps, data)
            history = train(task, text, seed, folder / name / f"{schedule}-{seed}")
            last = history.epochs[-1]
            say(
                f"{name} {schedule} {seed}: {history.losses[-steps // 20 :].mean():.4f}, "
                f"validated {last.valid_loss:.4f}, {time.perf_counter() - began:.0f} s"
            )
            yield schedule, seed, history


def main() -> None:
    """Train what isn't recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(SETTINGS), help="mnist, chars")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--data", type=Path, default=MNIST_FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the numbers depend on it, in the last digits
    for name in options.tasks:
        for _ in histories(name, SETTINGS[name], options.folder, options.data):
            pass


if __name__ == "__main__":
    main()

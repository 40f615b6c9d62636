"""Trainings for predict_own.py: two of the built-in tasks with eight schedules each, several seeds, recorded.

A law is fitted to three of the schedules, which have the same peak, and predicts the other five. All warm up for as
many updates; `drop` stays at the peak until half of the run and then falls at once, `cosine_long` is twice as long.
Runs of a seed begin with the same weights and see the same batches. What has been recorded is not trained again.

    nice python benchmarks/predict_runs.py          # all: about an hour on one core
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
        task: which.
        batch_size: samples in a batch.
        steps: updates, of which a twentieth are the warmup.
        seeds: how many.
        skip: the updates in the beginning that laws aren't held against; None for those that lrkit leaves out itself.
    """

    task: str
    batch_size: int
    steps: int
    seeds: int
    skip: int | None = None


# The transformer first learns how often characters follow each other, and its loss stands still; only after some 600
# updates does it learn more, and the loss falls anew. No law describes that, so it is left out of the longer runs. The
# batches are a quarter of the usual ones, since an update is fast then.
SETTINGS = {
    "mnist": Setting("mnist", 32, 3000, 4),
    "chars": Setting("chars", 8, 3000, 3, skip=1000),
    "chars_short": Setting("chars", 8, 1200, 3),
}


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


def task_of(setting: Setting, steps: int, data: Path = MNIST_FOLDER) -> lrkit.Task:
    """The task in this length, at the rate that it has by default."""
    task = tasks.get(setting.task, data=None if setting.task == "chars" else data)
    return replace(task, batch_size=setting.batch_size, epochs=None, steps=steps)


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


def histories(setting: Setting, folder: Path, data: Path = MNIST_FOLDER) -> Iterator[tuple[str, int, lrkit.History]]:
    """Each run of a setting, with the name of its schedule and its seed; all of a seed before those of the next."""
    for seed in range(setting.seeds):
        for schedule, (text, steps) in schedules(setting.steps).items():
            began = time.perf_counter()
            history = train(task_of(setting, steps, data), text, seed, folder / f"{schedule}-{seed}")
            last = history.epochs[-1]
            say(
                f"{folder.name} {schedule} {seed}: {history.losses[-steps // 20 :].mean():.4f}, "
                f"validated {last.valid_loss:.4f}, {time.perf_counter() - began:.0f} s"
            )
            yield schedule, seed, history


def main() -> None:
    """Train what isn't recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), help=", ".join(SETTINGS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--data", type=Path, default=MNIST_FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the numbers depend on it, in the last digits
    for name in options.settings:
        for _ in histories(SETTINGS[name], options.folder / name, options.data):
            pass


if __name__ == "__main__":
    main()

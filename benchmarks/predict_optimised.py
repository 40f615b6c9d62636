"""The schedule that a law says is best, trained for real, against warmup_cosine and wsd at equal budget and peak.

The law is fitted to the three schedules of predict_runs.py, to the mean over their seeds; what isn't recorded is
trained. Then the best schedule for as many steps, and the two others, are trained with seeds that the law hasn't seen,
the same for all three.

    python benchmarks/predict_optimised.py          # of the character transformer, five seeds
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import lrkit
from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.paired import mean_of
from lrkit.training.idx import MNIST_FOLDER
from predict_own import PACKAGES, Held, Recorded, fit, gather, held_against, read
from predict_runs import FITTED, FOLDER, SETTINGS, task_of, train
from timing import machine, markdown, say

__all__ = ["BEST", "contenders", "measure", "report"]

BEST = "optimised"
FIRST_SEED = 100  # those of the runs that the law was fitted to are below


def contenders(law: FittedLaw, steps: int, peak: float) -> tuple[dict[str, lrkit.Schedule], str]:
    """The schedules by name, and the nearest named one to the best."""
    best = lrkit.best_schedule(law, steps, peak=peak)
    others = {"warmup_cosine": lrkit.warmup_cosine("5%"), "wsd": lrkit.wsd("5%", "20%")}
    return {BEST: lrkit.table(best.learning_rates / peak), **others}, best.nearest


def measure(task: lrkit.Task, schedules: Mapping[str, lrkit.Schedule], seeds: int, folder: Path) -> dict[str, Recorded]:
    """The runs of each schedule; all schedules of a seed before those of the next."""
    found: dict[str, list[lrkit.History]] = {each: [] for each in schedules}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for each, schedule in schedules.items():
            found[each].append(train(task, schedule, seed, folder / f"{each}-{seed}"))
            say(f"{task.name} {each} {seed}: {gather(found[each]).finals[-1]:.4f}")
    return {each: gather(runs) for each, runs in found.items()}


def report(runs: Mapping[str, Recorded], held: Mapping[str, Held]) -> str:
    """What each came to beside what the law says, and the best one's differences from the others."""
    ends = markdown(
        ["schedule", "final training loss", "predicted", "error", "validation loss"],
        [
            [
                f"`{name}`" if name != BEST else name,
                _mean(each.finals),
                f"{held[name].predicted:.4f} ({held[name].low:.4f} to {held[name].high:.4f})",
                f"{100 * held[name].error:+.2f} %",
                _mean(each.valid),
            ]
            for name, each in runs.items()
        ],
    )
    best = runs[BEST]
    apart = markdown(
        [f"{BEST} minus", "training loss", "predicted", "validation loss"],
        [
            [
                f"`{name}`",
                _difference(best.finals - each.finals),
                f"{held[BEST].predicted - held[name].predicted:+.4f}",
                _difference(best.valid - each.valid),
            ]
            for name, each in runs.items()
            if name != BEST
        ],
    )
    return f"{ends}\n\n{apart}"


def _mean(values: NDArray[np.float64]) -> str:
    found = mean_of(values.tolist())
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"


def _difference(values: NDArray[np.float64]) -> str:
    found = mean_of(values.tolist())
    return f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def main() -> None:
    """Fit, search, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="?", choices=list(SETTINGS), default="chars")
    parser.add_argument("--law", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--data", type=Path, default=MNIST_FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting, folder = SETTINGS[options.setting], options.folder / options.setting
    recorded = read(setting, folder, options.data)
    law = fit(recorded, options.law)
    peak = float(recorded[FITTED[0]].rates.max())
    schedules, nearest = contenders(law, setting.steps, peak)
    say(f"{law.law.name}; the nearest with a name is {nearest}")
    task = task_of(setting, setting.steps, options.data)
    runs = measure(task, schedules, options.seeds, folder / BEST)
    held = {name: held_against(law, each) for name, each in runs.items()}
    print(f"{options.setting}, {options.seeds} seeds, law {law.law.name}; nearest with a name: `{nearest}`\n")
    print(report(runs, held), end="\n\n")
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

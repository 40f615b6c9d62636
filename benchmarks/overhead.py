"""What lrkit costs inside other trainers: microseconds per step with the trainer's usual scheduler, and with lrkit's.

Each training (see overhead_trainings.py) is run in turn in every round: with its usual scheduler, with the usual one
once more, with lrkit's, and with lrkit's and a recorder; what is timed lies between two updates, so imports, set-up
and the end are left out. Ratios are medians of the ratios within each round, and "once more" shows what noise is.

What a recorder costs is measured by itself too, since it is less than that noise: on an optimizer whose step does
nothing, updates with and without `Recorder` in turn.

    python benchmarks/overhead.py                            # about ten minutes, on a quiet machine
    python benchmarks/overhead.py --only plain,ignite --rounds 5 --steps 300
"""

import argparse
import functools
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

import lrkit
from job import Clock
from overhead_trainings import TRAININGS, How
from schedules import Still
from timing import interleave, machine, markdown, median_ratio, say, spread

__all__ = ["measure", "recorder_cost", "report"]

PACKAGES = (
    "torch", "lightning", "transformers", "accelerate", "pytorch-ignite", "skorch", "lrkit",
)  # fmt: skip  # more to a line reads better
VARIANTS: dict[str, How] = {"usual": "usual", "once more": "usual", "lrkit": "lrkit", "recorded": "recorded"}


def measure(name: str, how: How, steps: int) -> float:
    """Microseconds per step of a training, over all but the first fifth of its updates."""
    clock = Clock(max(1, steps // 5), steps)
    gc.collect()  # what the training before has left
    TRAININGS[name](how, steps, clock)
    return clock.microseconds


def recorder_cost(rounds: int = 15, updates: int = 2000) -> float:
    """Microseconds that `Recorder` adds to an update: the median of the differences within each round."""
    loss, found = torch.ones(3, requires_grad=True).sum(), []
    for _ in range(rounds):
        optimizer = Still()
        plain = _time(optimizer.step, updates)
        with lrkit.Recorder(optimizer) as recorder:
            found.append(_time(lambda: (recorder.loss(loss, 32), optimizer.step()), updates) - plain)  # noqa: B023  # called at once
    return statistics.median(found)


def _time(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e6


def report(times: Mapping[str, Sequence[float]]) -> str:
    """The table, of times by "trainer: variant"."""
    rows = []
    for name in dict.fromkeys(key.partition(": ")[0] for key in times):
        usual = times[f"{name}: usual"]
        ratios = [f"{median_ratio(times[f'{name}: {each}'], usual):.3f}" for each in list(VARIANTS)[1:]]
        rows.append([name, spread(usual, 0), *ratios])
    return markdown(["", "usual, µs per step", "once more", "lrkit", "lrkit and recorder"], rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="trainers, separated by commas")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    names = list(TRAININGS) if options.only is None else options.only.split(",")
    times: dict[str, list[float]] = {}
    for name in names:
        say(name)
        measures = {
            f"{name}: {variant}": functools.partial(measure, name, how, options.steps)
            for variant, how in VARIANTS.items()
        }
        for each in measures.values():
            each()  # the first of its kind is slower
        times |= interleave(measures, options.rounds)
    print(machine(PACKAGES))
    print()
    print(report(times))
    print(f"\nA recorder by itself: {recorder_cost():.1f} µs an update")


if __name__ == "__main__":
    main()

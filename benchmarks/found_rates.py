"""What a rate that was found is worth: its final validation loss beside the best of a full sweep.

Each task is searched as `lrkit find TASK` does; then the rate that is suggested, and a grid of rates around the task's
own, each by a factor 2 from the next, are trained to the end with the task's length and the schedule that `lrkit train`
uses, with each of the seeds. What is compared is the mean over seeds of the last epoch's validation loss.

    python benchmarks/found_rates.py                        # mnist, mnist-cnn, chars: about an hour on two cores
    python benchmarks/found_rates.py examples/spirals.py:task --method race
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import lrkit
from lrkit.analysis.finder import Method
from lrkit.analysis.finding import Finding
from lrkit.analysis.sweep import Row, summarise
from lrkit.training import tasks
from lrkit.training.task import Task
from lrkit.training.task_source import TaskSource
from timing import machine, markdown, say

TASKS = ("mnist", "mnist-cnn", "chars")
FACTORS = tuple(2.0**power for power in range(-4, 5))
PACKAGES = ("torch", "numpy", "lrkit")


@dataclass(frozen=True)
class Worth:
    """A task's finding, and the trainings that it is held against.

    Attributes:
        finding: with a suggestion.
        found: the rows of the suggestion.
        swept: those of the grid, by rate.
    """

    finding: Finding
    found: Row
    swept: Sequence[Row]

    @property
    def best(self) -> Row:
        """Of the grid, the row with the lowest mean loss among those without failures."""
        return min((row for row in self.swept if not row.failed), key=lambda row: row.mean or 0.0)

    @property
    def ratio(self) -> float:
        """The loss of what was found, by the best one."""
        assert self.found.mean is not None
        assert self.best.mean is not None
        return self.found.mean / self.best.mean


def measure(task: Task, method: Method, seeds: int) -> Worth:
    """Find a rate, and train with it and with the grid."""
    finding = lrkit.find_task(task, method=method)
    say(f"{task.name}: {finding.suggestion}, {finding.interval}, {finding.reason}")
    assert finding.suggestion is not None, finding.reason
    own = finding.made["base"]
    rates = [finding.suggestion, *(own * factor for factor in FACTORS)]
    lanes = [lrkit.Lane(tasks.DEFAULT_SCHEDULE, lr=rate, seed=seed) for rate in rates for seed in range(seeds)]
    rows = {row.one.lr: row for row in summarise(lanes, dict(enumerate(lrkit.run_lanes(task, lanes)))).rows}
    for rate in rates:
        say(f"{task.name}: {rate:.4g} {rows[rate].losses}")
    return Worth(finding, rows[finding.suggestion], [rows[rate] for rate in sorted(rates[1:])])


def report(found: dict[str, Worth]) -> str:
    """What was found beside the best of the sweep; and the sweep, each mean by the best one."""
    header = ["task", "found (5–95 %)", "its loss", "best of the sweep", "its loss", "found / best"]
    table = markdown(header, [_row(name, each) for name, each in found.items()])
    factors = markdown(
        ["rate / task's own", *(f"{factor:g}" for factor in FACTORS)],
        [[name, *(_share(row, each.best) for row in each.swept)] for name, each in found.items()],
    )
    return f"{table}\n\nLosses of the sweep, as multiples of the best one:\n\n{factors}"


def _row(name: str, worth: Worth) -> list[str]:
    low, high = worth.finding.interval or (float("nan"), float("nan"))
    rate = f"{worth.finding.suggestion:.3g} ({low:.2g} to {high:.2g})"
    return [name, rate, _loss(worth.found), f"{worth.best.one.lr:.3g}", _loss(worth.best), f"{worth.ratio:.2f}"]


def _loss(row: Row) -> str:
    low, high = row.range or (float("nan"), float("nan"))
    return f"{row.mean:.4f} ({low:.4f} to {high:.4f})"


def _share(row: Row, best: Row) -> str:
    if row.mean is None or best.mean is None or row.failed:
        return f"{len(row.failed)} diverged"
    return f"{row.mean / best.mean:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=TASKS, help="built in, or file.py:task")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", choices=("ramp", "race"), default="ramp")
    options = parser.parse_args()
    found = {name: measure(TaskSource(name).load(), options.method, options.seeds) for name in options.tasks}
    print(report(found))
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

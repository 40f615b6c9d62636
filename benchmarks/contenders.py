"""The contenders of first_job.py: one job, written the way each library's users write it; job.py says which job.

Each is a function of the job and a clock, and returns the validation accuracy after the last epoch.

    python benchmarks/contenders.py tensors --epochs 25         # the whole job
    python benchmarks/contenders.py tensors --window 100 1000   # microseconds per step between these two updates
"""

import argparse
import importlib
import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path

from job import Clock, Job

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True)
class Contender:
    """One of those that are compared.

    Attributes:
        letter: short for `--only`.
        title: what the table says.
        home: module and function that does the job; imported when it is asked for, each in a process of its own.
        compiles: whether its first run fills a cache that its second run finds.
        needs: a package beyond torch.
        command: what `lrkit` is told where the whole job is a command.
    """

    letter: str
    title: str
    home: str
    compiles: bool = False
    needs: str | None = None
    command: tuple[str, ...] | None = None

    def train(self, job: Job, clock: Clock) -> float:
        """Do the job; returns the accuracy in the end, or something else where the clock has ended it before."""
        module, function = self.home.split(".")
        accuracy: float = getattr(importlib.import_module(module), function)(job, clock)
        return accuracy

    def missing(self) -> str | None:
        """Why it can't take part here, or None when it can."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} isn't installed (pip install 'lrkit[bench]')"
        return None


CONTENDERS = {
    "tutorial": Contender("a", "tutorial: DataLoader, each image converted", "torch_loops.tutorial"),
    "dataloader": Contender("b", "DataLoader over a TensorDataset", "torch_loops.dataloader"),
    "tensors": Contender("c", "eager loop over tensors", "torch_loops.tensors"),
    "lightning": Contender("d", "Lightning", "lightning_module.module", needs="lightning"),
    "jax": Contender("e", "JAX, an epoch as one scan", "jax_scan.scan", compiles=True, needs="jax"),
    "lrkit": Contender("f", "lrkit", "lrkit_run.eager", command=("train", "mnist")),
    "lrkit-compiled": Contender(
        "g", "lrkit, compiled", "lrkit_run.compiled", compiles=True, command=("train", "mnist", "--compile")
    ),
}


def main() -> None:
    """Let one contender do the job, and print its accuracy and microseconds per step as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--epochs", type=int, default=Job.epochs)
    parser.add_argument("--data", type=Path, default=Job.data)
    parser.add_argument("--window", type=int, nargs=2, default=(math.inf, math.inf), metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    clock = Clock(*options.window)
    accuracy = CONTENDERS[options.contender].train(Job(options.epochs, options.data), clock)
    print(json.dumps({"accuracy": accuracy, "microseconds": clock.microseconds}))


if __name__ == "__main__":
    main()

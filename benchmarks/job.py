"""The job of first_job.py, which lanes.py has too: what is trained, on what, and the clock that times it.

MNIST, a perceptron 784-64-32-10, batches of 32 in a new order each epoch, SGD at 0.1, cross entropy, and the rate cut
to a tenth when the validation loss has stalled for more than five epochs. After each epoch the 10,000 test images are
passed through in batches of 1000. All begin with torch's default initialisation, on the CPU.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrkit.training.idx import MNIST_FOLDER, Split, load_folder

__all__ = ["BATCH", "PATIENCE", "RATE", "SIZES", "VALID_BATCH", "Clock", "Job", "read"]

BATCH, VALID_BATCH, RATE, PATIENCE = 32, 1000, 0.1, 5
SIZES = (784, 64, 32, 10)


@dataclass(frozen=True)
class Job:
    """How much of it is done, and on which images.

    Attributes:
        epochs: passes through the training images.
        data: a folder in MNIST's format with images of 28 x 28 pixels, a multiple of 32 of them to train on.
        rate: of SGD, as `momentum`; the loops of torch and Lightning take another.
        momentum: see `rate`.
        validate: whether each epoch ends with validation, and the rate is cut by it; see `rate`.
    """

    epochs: int = 25
    data: Path = MNIST_FOLDER
    rate: float = RATE
    momentum: float = 0.0
    validate: bool = True


class Clock:
    """Takes the time between two updates of a training, and then ends it; by default it never does."""

    def __init__(self, first: float = math.inf, last: float = math.inf) -> None:
        self.first, self.last = first, last
        self.microseconds = math.nan  # per step

    def tick(self, steps: int) -> bool:
        """Told the number of updates done after each of them; True when the measurement is over."""
        if steps == self.first:
            self.start()
        return steps == self.last and self.stop(steps - int(self.first))

    def start(self) -> None:
        """Begin to take the time."""
        self._began = time.perf_counter()

    def stop(self, steps: int) -> bool:
        """End it, after so many updates; True where this is what was wanted."""
        self.microseconds = (time.perf_counter() - self._began) / steps * 1e6
        return self.last < math.inf


def read(split: Split, job: Job) -> tuple[Any, Any]:
    """The images of a split, uint8 of shape (n, 784), and labels."""
    images, labels = load_folder(job.data, split)
    return images.reshape(len(images), -1).copy(), labels  # a copy that may be written to, as torch wants it

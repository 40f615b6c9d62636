"""Events for TensorBoard while `run` trains."""

import time
from pathlib import Path
from typing import Any

from lrkit.training.history import History
from lrkit.training.observer import Observer, Setup
from lrkit.training.records.tensorboard_events import open_writer, write_epochs

__all__ = ["TensorBoard"]


class TensorBoard(Observer):
    """Writes what `write_tensorboard` writes while `lrkit.run` trains: after every epoch, the epoch.

    A run that goes on from a checkpoint goes on here too: what was written beyond it is hidden. A new run hides what
    another left in the folder.

    Args:
        folder: it is made where it doesn't exist.

    Raises:
        InputError: when the run begins, for a folder that can't be written to.
        ImportError: where TensorBoard isn't installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._done = 0
        self._time = 0.0

    def start(self, setup: Setup) -> None:
        """Begin a file of events after the epochs that are finished."""
        before = setup.history
        self._done = 0 if before is None else len(before.epochs)
        self._writer = open_writer(self.folder, purge_step=0 if before is None else before.epochs[-1].step)
        self._time = time.time()

    def epoch(self, history: History) -> None:
        """Write the epoch."""
        self._time = write_epochs(self._writer, history, self._done, self._time, time.time())
        self._done = len(history.epochs)

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

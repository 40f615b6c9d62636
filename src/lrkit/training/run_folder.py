"""A run folder: what a run leaves on disk, readable and resumable whatever happens next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lrkit.schedules.errors import InputError
from lrkit.training.checkpoint import Pace, load_checkpoint, save_checkpoint
from lrkit.training.files import fresh_name
from lrkit.training.held_folder import CONFIG, HeldFolder
from lrkit.training.history import History, best_epoch
from lrkit.training.observer import Observer, Setup
from lrkit.training.record_folder import KEY, RECORDS, read_made, read_record, write_made, write_record

__all__ = ["RunFolder"]

_RESULTS = ("last.pt", "best.pt", *RECORDS, "curves.png")
_FOUND = ("finding.json", "finding.png")  # where the rate of the run was found first
_LEFTOVERS = tuple(map(fresh_name, (CONFIG, *_RESULTS, *_FOUND)))


class RunFolder(Observer):
    """Keeps a run in a folder.

    `config.json` is written before the first update; `last.pt` (a checkpoint), `steps.npz` and `history.json` after
    every epoch; `best.pt` when an epoch was the best so far; `last.pt` also in between. Each file is replaced as a
    whole, the checkpoint first: it has the history up to where it was made, and a run that goes on from it cuts the
    files to that.

    Args:
        path: the folder; it is made where it doesn't exist.
        overwrite: replace a run that is there.
        resume: go on with the run that is there: give `snapshot` to `run` as its `resume`. Policy "restart" makes
            another run, which needs a folder of its own.
        checkpoint_every: how often `last.pt` is written within an epoch: a number of updates, a time ("90s", "10min",
            "2h"), or None for never.

    Attributes:
        path: the folder.
        snapshot: what a run goes on from; None where it was broken off before its first checkpoint, and for a new run.

    Raises:
        InputError: when the folder can't be made or written to, another process uses it, it has something in it that
            isn't to be overwritten, or no run that could go on.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        checkpoint_every: int | str | None = "5min",
    ) -> None:
        self.path = Path(path)
        self.resume = resume
        self.snapshot: dict[str, Any] | None = None
        self._pace = Pace(checkpoint_every)
        self._setup: Setup | None = None
        made = self.config(path) if resume else {}
        self._held = HeldFolder(self.path, "run", KEY, leftovers=_LEFTOVERS, overwrite=overwrite or resume)
        if resume:
            try:
                self.snapshot = self._last(made)
            except InputError:
                self.close()
                raise

    def _last(self, made: Mapping[str, Any]) -> dict[str, Any] | None:
        if (self.path / "last.pt").exists():
            return self.checkpoint(self.path)
        if "origin" in made:  # with other weights it would be another run
            origin = made["origin"].get("folder", "another run")
            raise InputError(
                f"the run in {self.path} was broken off before it had the weights that it was to begin with, those of "
                f"{origin}; begin it once more with policy 'restart', and overwrite {self.path}"
            )
        return None

    # --- while the run goes on --------------------------------------------------------------------

    def start(self, setup: Setup) -> None:
        """Write the configuration; take away what isn't of this run, or lies beyond where it goes on.

        Raises:
            InputError: where a run that begins with the weights of another one would take the place of a run here.
        """
        if setup.restarted and (self.resume or setup.made["origin"].get("folder") == str(self.path.resolve())):
            raise InputError(
                f"policy 'restart' makes another run, so the one in {self.path} isn't written over; give run() "
                f"RunFolder(...) of a new folder, and resume=RunFolder.checkpoint({str(self.path)!r})"
            )
        self._setup = setup
        results, found = () if self.snapshot else _RESULTS, () if self.resume else _FOUND
        for name in (*_LEFTOVERS, *results, *found):
            (self.path / name).unlink(missing_ok=True)
        write_made(self.path, setup.made)
        if not self.snapshot and (setup.restarted or setup.steps_done):
            self.save()  # it didn't begin here, so a run that is broken off now would go on with other weights
        if setup.history is not None:
            write_record(self.path, setup.history)
            if setup.steps_done == setup.history.epochs[-1].step:  # it may have ended just before this was written
                self._keep_best(setup.history)

    def step(self, steps: int) -> None:
        """Save a checkpoint when one is due."""
        if self._pace.due(steps):
            self.save()

    def epoch(self, history: History) -> None:
        """Save a checkpoint and the history so far."""
        self.save()
        write_record(self.path, history)
        self._keep_best(history)

    def stopped(self) -> None:
        """Save a checkpoint."""
        self.save()

    def close(self) -> None:
        """Let others use the folder; take it away again if it is new and no run was started in it."""
        self._held.release(used=self._setup is not None)

    def save(self) -> None:
        """Write `last.pt`, unless a loss isn't finite: then the one before stays."""
        self._save("last.pt")
        self._pace.saved()

    def _save(self, name: str) -> None:
        assert self._setup is not None
        snapshot = self._setup.snapshot()
        if snapshot["finite"]:
            save_checkpoint(self.path / name, snapshot)

    def _keep_best(self, history: History) -> None:
        """Write `best.pt` if the epoch that has just ended is the best."""
        if best_epoch(history) == len(history.epochs):
            self._save("best.pt")

    # --- afterwards -------------------------------------------------------------------------------

    @staticmethod
    def load(path: str | Path) -> History:
        """The history that a run has recorded.

        Raises:
            InputError: when there is no run, none of its epochs was finished, or its files can't be read.
        """
        return read_record(path)

    @staticmethod
    def config(path: str | Path) -> dict[str, Any]:
        """How the run was made: what `History.made` says.

        Raises:
            InputError: when there is no run, or its configuration can't be read or is of a newer format.
        """
        return read_made(path)

    @staticmethod
    def checkpoint(path: str | Path, which: Literal["last", "best"] = "last") -> dict[str, Any]:
        """A checkpoint of the run: its "model" is the model's state_dict, and `run(..., resume=)` goes on from it.

        Its "folder" and "checkpoint" say where it was read.

        Raises:
            InputError: when it is missing, damaged, something else, or of a newer format.
        """
        state = load_checkpoint(Path(path) / f"{which}.pt")
        return {**state, "folder": str(Path(path).resolve()), "checkpoint": which}

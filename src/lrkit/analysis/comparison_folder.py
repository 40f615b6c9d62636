"""The folder of a tournament: its terms, and beside them the folders of what was trained."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lrkit.schedules.errors import InputError
from lrkit.training.held_folder import CONFIG, HeldFolder, has_key, read_config, write_json

if TYPE_CHECKING:
    from lrkit.analysis.terms import Terms  # with torch, which whoever only looks at folders does without

__all__ = ["ComparisonFolder", "is_comparison", "read_terms"]

FORMAT = 1
_KEY = "lrkit_comparison_folder"


class ComparisonFolder:
    """Holds a folder against other processes, and keeps the terms in its `config.json`: use it in a `with`.

    Args:
        path: the folder.
        overwrite: whether a comparison that is there is replaced.

    Attributes:
        path: the folder.
        before: the terms that are there already; None in a new folder, and where they are replaced.

    Raises:
        InputError: when the folder can't be made or written to, is in use, has something else in it, or terms that
            can't be read.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.before: Terms | None = None
        self._seconds = 0.0
        self._terms: Terms | None = None
        self._held = HeldFolder(self.path, "comparison", _KEY, overwrite=(self.path / CONFIG).is_file())
        try:
            if not overwrite and (self.path / CONFIG).is_file():
                self.before, self._seconds = read_terms(self.path)
        except InputError:
            self._held.release(used=False)
            raise

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    @property
    def seconds(self) -> float:
        """How long it has been trained, in all."""
        return self._seconds + time.perf_counter() - self._began

    def clear(self, terms: "Terms") -> None:
        """Take away what was trained, since other terms replace those that it was trained under.

        Raises:
            InputError: for terms that can't be written; what was trained is still there.
        """
        from lrkit.analysis.kept_lanes import STAGES

        terms.to_dict()
        for stage in STAGES:
            for folder in self.path.glob(f"{stage}-*"):
                shutil.rmtree(folder)

    def keep(self, terms: "Terms") -> None:
        """Write the terms."""
        write_json(self.path / CONFIG, {_KEY: FORMAT, **terms.to_dict(), "seconds": self.seconds})
        self._terms = terms

    def __exit__(self, *_: object) -> None:
        """Note how long it was trained, and let others use the folder; take it away if it is new and wasn't used."""
        try:
            if self._terms is not None:
                self.keep(self._terms)
        finally:
            self._held.release(used=self._terms is not None)


def is_comparison(path: Path) -> bool:
    """Whether a folder is one of `lrkit.compare`, whatever its version, and even where it is damaged."""
    return has_key(path, _KEY)


def read_terms(path: Path) -> tuple["Terms", float]:
    """The terms of the tournament in a folder, and how many seconds it was trained.

    Raises:
        InputError: where there is none, or it can't be read.
    """
    from lrkit.analysis.terms import Terms

    config = read_config(path, "comparison", _KEY, FORMAT)
    try:
        return Terms.from_dict(config), float(config["seconds"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"the comparison in {path} can't be read: its {CONFIG} is damaged: {why}") from None

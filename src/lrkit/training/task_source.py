"""Where a task comes from: a built-in name, a file, or a module; enough to find it again."""

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training import tasks
from lrkit.training.holdout import hold_out
from lrkit.training.task import Task

__all__ = ["TaskSource"]


@dataclass(frozen=True)
class TaskSource:
    """A task by name, and what is changed in it.

    Attributes:
        task: a built-in name, "path/file.py:name", "path/file.py" (the name is `task`), or "package.module:name"; what
            it names is a `Task`, or a function without arguments that returns one.
        data: a folder of data, for built-in tasks that take one.
        epochs: the length instead of the task's, or
        steps: the length in updates.
        batch_size: instead of the task's.
        folder: where a module is looked for first; by default the working folder.
        held_out: what `hold_out` is given, the share and the seed, each time that it is called.
    """

    task: str
    data: str | None = None
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    folder: str | None = None
    held_out: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        given: object = self.held_out
        if not isinstance(given, list | tuple) or not all(
            isinstance(each, Mapping) and each.keys() == {"share", "seed"} for each in given
        ):
            raise InputError(
                f"held_out must be a list of shares and seeds, as [{{'share': 0.25, 'seed': 0}}], not {shown(given)}"
            )

    @property
    def name(self) -> str:
        """What the task is called where it stands."""
        place, name = _split(self.task)
        return name or place

    @property
    def file(self) -> Path | None:
        """The file that the task stands in; None for a built-in one, and for a module that isn't found."""
        place, _ = _split(self.task)
        if place.endswith(".py"):
            return Path(place).absolute()
        module = sys.modules.get(place) if ":" in self.task else None
        return None if module is None or module.__file__ is None else Path(module.__file__)

    @property
    def _folder(self) -> str:
        return str(Path.cwd()) if self.folder is None else self.folder

    def load(self) -> Task:
        """The task; its `source` says all that is needed to load it again, and the hash of its file.

        Raises:
            InputError: when there is no such task.
            Exception: whatever the file raises while it is imported.
        """
        if self.epochs is not None and self.steps is not None:
            raise InputError("a length is either --epochs or --steps, not both")
        task = self._find()
        changes: dict[str, Any] = {}
        if self.epochs is not None or self.steps is not None:
            changes |= {"epochs": self.epochs, "steps": self.steps}
        if self.batch_size is not None:
            changes["batch_size"] = self.batch_size
        task = dataclasses.replace(task, **changes, source=self.record(task))
        for each in self.held_out:
            task = hold_out(task, **each)
        return task

    def record(self, task: Task) -> dict[str, Any]:
        """This source as JSON-able data, with the whole path and the hash of the file, before anything is held out."""
        written = {name: value for name, value in vars(self).items() if name != "held_out"}
        if self.data is not None:
            written["data"] = str(Path(self.data).absolute())
        own = dict(task.source or {})
        if self.file is not None:
            name = _split(self.task)[1]
            if self.task.split(":")[0].endswith(".py"):
                written["task"] = f"{self.file}:{name}"
            else:
                written["folder"] = self._folder
            own = {"sha256": hashlib.sha256(self.file.read_bytes()).hexdigest()}
        return written | own

    def _find(self) -> Task:
        place, name = _split(self.task)
        if not name:
            return tasks.get(place, data=self.data)
        if self.data is not None:
            raise InputError(f"--data is for built-in tasks; {self.task} says itself what it trains on")
        module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place, self._folder)
        if not hasattr(module, name):
            known = [each for each, value in vars(module).items() if isinstance(value, Task)]
            raise unknown(f"task in {place}", name, known) if known else InputError(f"{place} has no task {name!r}")
        found: object = getattr(module, name)
        made = found() if callable(found) else found
        if not isinstance(made, Task):
            raise InputTypeError(
                f"{self.task} must be an lrkit.Task or a function that returns one, not {type(made).__name__}"
            )
        called = Path(place).stem if name == "task" else name
        return dataclasses.replace(made, name=called) if made.name == "task" else made


def _split(text: str) -> tuple[str, str]:
    """The place and the name; no name for a built-in task."""
    place, colon, name = text.rpartition(":")
    if not colon:
        place, name = text, "task" if text.endswith(".py") else ""
    elif not place or not name.isidentifier():
        raise InputError(f"a task is a built-in name, 'file.py:task' or 'package.module:task', not {text!r}")
    return place, name


def _from_file(path: Path) -> ModuleType:
    """The module in a file; its folder is searched for imports, as for a script."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    path = path.absolute()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"lrkit_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, or nothing that it defines could be pickled
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_module(name: str, folder: str) -> ModuleType:
    """A module by its name, also one below the folder, as `python -m` finds it."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"there is no module {name}, neither in {folder} nor installed") from None
        raise

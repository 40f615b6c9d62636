"""What went wrong in a user's task, in one sentence with the place in the user's file."""

import ast
import re
import sysconfig
import traceback
from pathlib import Path

import lrkit
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.blame import blamed
from lrkit.training.carried import traceback_elsewhere
from lrkit.training.lanes.processes import WorkerDiedError

__all__ = ["explain"]

_NOT_THE_USERS = tuple(
    str(Path(path).resolve())
    for path in (str(Path(lrkit.__file__).parent), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)
_IN_A_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\nOriginal (?=Traceback)")


def explain(error: Exception | SystemExit, file: Path | None, name: str = "task") -> str | None:
    """One sentence; None for what is neither bad input nor of the task: a fault of lrkit's own.

    Args:
        error: what a task raised while it was loaded or trained.
        file: the task's file; None for a built-in task.
        name: what the task is called in it.
    """
    if isinstance(error, WorkerDiedError):  # of no line of the task
        return str(error)
    part = blamed(error)
    theirs = part is not None or _users_line(error, file) is not None or isinstance(error, SyntaxError)
    ours = isinstance(error, InputError | InputTypeError)
    if not theirs:
        return str(error) if ours else None
    place = _place(error, file, name)
    at = f"{place}: " if place else ""
    if isinstance(error, SystemExit):
        return f"{at}the task ended the program, with sys.exit({shown(error.code)})"
    kind, text = _said(error)
    if ours:
        return f"{at}{text}"
    within = f"in {part}: " if part else ""
    first = text.strip().splitlines()[:1]
    return f"{at}{within}{': '.join([kind, *first])}"


def _said(error: Exception) -> tuple[str, str]:
    """The type and the message."""
    if isinstance(error, SyntaxError):
        return type(error).__name__, error.msg
    trace = _workers_traceback(error)
    if trace is None:
        return type(error).__name__, str(error)
    kind, _, text = next(line for line in trace.splitlines()[1:] if not line.startswith(" ")).partition(": ")
    return kind.rpartition(".")[2], text


def _workers_traceback(error: BaseException) -> str | None:
    """What a worker process of a DataLoader wrote down: the exception that it raised is here as text only."""
    text = str(error)
    found = _IN_A_WORKER.match(text)
    return None if found is None else text[max(found.end(), text.rfind("\nTraceback (most recent call last):\n") + 1) :]


def _place(error: BaseException, file: Path | None, name: str) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    line = _users_line(error, file)
    if line is not None:
        return line
    return None if file is None else f"{file}{_definition(file, name)}"


def _users_line(error: BaseException, file: Path | None) -> str | None:
    """The innermost line of the task's file that was at work, else of any code that isn't a library's."""
    places = [(frame.filename, str(frame.lineno)) for frame in traceback.extract_tb(error.__traceback__)]
    for text in (traceback_elsewhere(error), _workers_traceback(error) or ""):
        places += re.findall(r'^  File "(.+)", line (\d+), in ', text, re.MULTILINE)
    theirs = [
        place
        for place in places
        if not place[0].startswith("<") and not str(Path(place[0]).resolve()).startswith(_NOT_THE_USERS)
    ]
    own = [place for place in theirs if file is not None and Path(place[0]) == file]
    best = (own or theirs)[-1:]
    return ":".join(best[0]) if best else None


def _definition(file: Path, name: str) -> str:
    """Where the task is made, as `:line`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return f":{node.lineno}"
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return f":{node.lineno}"
    return ""

"""What went wrong in a user's task, in one sentence with the place in the user's file."""

import ast
import sysconfig
import traceback
from pathlib import Path

import lrkit
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.blame import blamed

__all__ = ["explain"]

_NOT_THE_USERS = tuple(
    str(Path(path).resolve())
    for path in (str(Path(lrkit.__file__).parent), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)


def explain(error: Exception, file: Path | None, name: str = "task") -> str | None:
    """One sentence; None for what is neither bad input nor of the task: a fault of lrkit's own.

    Args:
        error: what a task raised while it was loaded or trained.
        file: the task's file; None for a built-in task.
        name: what the task is called in it.
    """
    part = blamed(error)
    theirs = part is not None or _users_line(error, file) is not None or isinstance(error, SyntaxError)
    ours = isinstance(error, InputError | InputTypeError)
    if not theirs:
        return str(error) if ours else None
    place = _place(error, file, name)
    at = f"{place}: " if place else ""
    if ours:
        return f"{at}{error}"
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().splitlines()
    within = f"in {part}: " if part else ""
    return f"{at}{within}{type(error).__name__}{f': {text[0]}' if text else ''}"


def _place(error: Exception, file: Path | None, name: str) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    line = _users_line(error, file)
    if line is not None:
        return line
    return None if file is None else f"{file}{_definition(file, name)}"


def _users_line(error: Exception, file: Path | None) -> str | None:
    """The innermost line of the task's file that was at work, else of any code that isn't a library's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not str(Path(frame.filename).resolve()).startswith(_NOT_THE_USERS)
    ]
    own = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    best = (own or frames)[-1:]
    return f"{best[0].filename}:{best[0].lineno}" if best else None


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

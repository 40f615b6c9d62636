"""Which part of a task was at work when an exception came: a note on it, for whoever reads the traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

__all__ = ["blame", "blamed", "blaming", "describe", "first_line"]

_MARK = "lrkit: in "


def blame(error: Exception, part: str, **given: Any) -> None:
    """Note the part of the task, and what it was given; of nested parts the innermost stays first."""
    shapes = ", ".join(f"{name} {describe(value)}" for name, value in given.items())
    error.add_note(f"{_MARK}{part}{f', given {shapes}' if shapes else ''}")


@contextmanager
def blaming(part: str) -> Iterator[None]:
    """Blame the part for what is raised inside."""
    try:
        yield
    except Exception as error:
        blame(error, part)
        raise


def blamed(error: BaseException) -> str | None:
    """The part that was noted, with what it was given."""
    notes = getattr(error, "__notes__", ())
    return next((note.removeprefix(_MARK) for note in notes if note.startswith(_MARK)), None)


def first_line(error: BaseException) -> str:
    r"""The first line of what an error says, or its type where it says nothing, without a full stop.

    >>> first_line(RuntimeError("no such device.\nfurther lines")), first_line(KeyError())
    ('no such device', 'KeyError')
    """
    return " ".join((str(error).splitlines() or [type(error).__name__])[0].split()).rstrip(".")


def describe(value: Any) -> str:
    """A value in a few words: a tensor's type, shape, and the range of its whole numbers.

    >>> import torch
    >>> describe(torch.tensor([3, 0, 12])), describe({"x": torch.zeros(2, 1), "n": 3})
    ('int64 (3,) from 0 to 12', '{x: float32 (2, 1), n: int}')
    """
    if isinstance(value, Tensor):
        text = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        whole = not value.dtype.is_floating_point and not value.dtype.is_complex
        if whole and value.numel() and value.device.type == "cpu":
            text += f" from {int(value.min())} to {int(value.max())}"
        return text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {describe(each)}" for name, each in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(describe, value))})"
    return type(value).__name__

"""An exception that goes from one process to another, with its notes and the traceback that it had there."""

import pickle
import traceback

__all__ = ["ElsewhereError", "pack", "traceback_elsewhere", "unpack"]


class ElsewhereError(Exception):
    """The cause of an exception that was raised in another process: the traceback there, as text."""

    def __str__(self) -> str:
        return f"in another process:\n\n{self.args[0]}"


def pack(error: BaseException) -> bytes:
    """The exception as bytes; one that can't be pickled becomes a RuntimeError that names its type."""
    text = "".join(traceback.format_exception(error))
    try:
        packed = pickle.dumps((error, text))
        same = type(pickle.loads(packed)[0]) is type(error)  # one with arguments of its own may be written but not read
    except Exception:  # noqa: BLE001 (whatever the exception's own methods raise)
        same = False
    if same:
        return packed
    other = RuntimeError(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        other.add_note(note)
    return pickle.dumps((other, text))


def unpack(packed: bytes) -> BaseException:
    """The exception again.

    >>> error = unpack(pack(ValueError("seven")))
    >>> error, "ValueError: seven" in traceback_elsewhere(error)
    (ValueError('seven'), True)
    """
    error: BaseException
    error, text = pickle.loads(packed)
    error.__cause__ = ElsewhereError(text)
    return error


def traceback_elsewhere(error: BaseException) -> str:
    """The traceback that an exception had in another process; nothing for one of this process."""
    return str(error.__cause__.args[0]) if isinstance(error.__cause__, ElsewhereError) else ""

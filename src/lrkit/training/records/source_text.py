"""The text of a file, whatever shell or tool wrote it; what is no text is said as what it is."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrkit.schedules.errors import InputError

__all__ = ["beginning", "lines_of", "reading_text", "refuse_pointer", "require_text", "text_of"]

_HEAD = 65_536  # bytes that tell what a file is
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_KNOWN = (  # what begins so, in words, and the way out
    (b"\x1f\x8b", "is compressed (gzip); unpack it first"),
    (b"PK\x03\x04", "is a ZIP archive (as .xlsx and PyTorch's files are), not a record; unpack or export it as .csv"),
    (b"PAR1", "is a Parquet file; export it as .csv, with pandas: read_parquet(...).to_csv(...)"),
    (b"SQLite format 3\x00", "is an SQLite database without the tables of MLflow or trackio"),
    (b"\x89HDF", "is an HDF5 file, not a record"),
    (b"\x89PNG", "is a picture, not a record"),
    (b":W&B", "is a local file of Weights & Biases, which only its own tools read; export the run as .csv, with "
              "wandb.Api().run('entity/project/id').history(samples=1000000).to_csv('run.csv')"),
)  # fmt: skip  # a line of each


def require_text(path: Path) -> str:
    """The encoding of a file's text.

    Raises:
        InputError: for a file that is empty or isn't text, and Git LFS pointers.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if not head.strip(b"\x00 \t\r\n"):
        raise InputError(f"{path} is empty")
    known = next((what for begin, what in _KNOWN if head.startswith(begin)), None)
    if known is not None:
        raise InputError(f"{path} {known}")
    refuse_pointer(path, head)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _unmarked(head)
    if encoding is None:
        raise InputError(f"{path} is a binary file, not a record that is known")
    return encoding


def refuse_pointer(path: Path, head: bytes) -> None:
    """Say what Git LFS leaves in the place of a file.

    Raises:
        InputError: for that.
    """
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a pointer of Git LFS, not the record itself; run git lfs pull to fetch it")


def _unmarked(head: bytes) -> str | None:
    """The encoding of text without a mark at its begin; None for what is no text."""
    if b"\x00" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        half = len(head) // 2
        encoding = "utf-16-le" if odd > even else "utf-16-be"
        text = head[: 2 * half].decode(encoding, errors="replace")
        plain = sum(each.isprintable() or each.isspace() for each in text)
        return encoding if max(odd, even) > 0.4 * half and plain > 0.95 * half else None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        odd_bytes = sum(byte < 32 and byte not in b"\t\n\r\f\x1b\b" for byte in head)
        return "cp1252" if odd_bytes <= 0.01 * len(head) else None
    return "utf-8"


@contextmanager
def reading_text(path: Path) -> Iterator[None]:
    """Say what can't be read.

    Raises:
        InputError: for text that breaks off into something else, and a file that goes away.
    """
    try:
        yield
    except UnicodeError:
        raise InputError(f"{path} is no text throughout; it may be damaged") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, with their ends.

    Raises:
        InputError: for what isn't text.
    """
    encoding = require_text(path)
    with reading_text(path), path.open(encoding=encoding, errors=_errors(encoding), newline="") as file:
        yield from file


def text_of(path: Path) -> str:
    """All of a file's text.

    Raises:
        InputError: for what isn't text.
    """
    encoding = require_text(path)
    with reading_text(path):
        return path.read_text(encoding=encoding, errors=_errors(encoding))


def _errors(encoding: str) -> str:
    return "replace" if encoding == "cp1252" else "strict"


def beginning(path: Path, characters: int = 4096) -> str:
    """The first characters of a file's text, without blanks before them.

    Raises:
        InputError: for what isn't text.
    """
    encoding = require_text(path)
    with reading_text(path), path.open(encoding=encoding, errors=_errors(encoding)) as file:
        return file.read(characters).lstrip("\ufeff \t\r\n")

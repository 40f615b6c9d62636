"""The rows of anybody's table: commas, semicolons, tabs or blanks between cells."""

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.records.rows import NOTHING, Column, Rows, number_of, numbers_of
from lrkit.training.records.source_text import lines_of

__all__ = ["is_table", "read_table"]

_CHUNK = 20_000  # rows that are cells at a time
_DELIMITERS = ",;\t"

Part = Column | list[str]  # numbers or, where a cell is none, the cells


def is_table(text: str) -> bool:
    r"""Whether text begins as a table does: a line of names, and one of as many cells with a number among them.

    >>> is_table("step,loss\n0,1.5\n"), is_table("step:0, loss:1.5\nstep:1, loss:1.2\n")
    (True, False)
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")][:2]
    if len(lines) < 2 or any(mark in lines[0] for mark in ":="):
        return False
    mark = _delimiter(lines[0])
    names, cells = (next(csv.reader([line], delimiter=mark)) for line in lines)
    numbers = [number_of(cell) is not None for cell in cells]
    return len(names) > 1 and len(names) == len(cells) and any(numbers) and not any(map(_is_number, names))


def _delimiter(line: str) -> str:
    found = max(_DELIMITERS, key=line.count)
    return found if found in line else " "


def _is_number(cell: str) -> bool:
    return number_of(cell) is not None


def read_table(path: Path) -> Rows:
    """The columns of a table; a last line that was broken off is left out, and so are headings that are repeated.

    Raises:
        InputError: for what is no table.
    """
    source = _Lines(lines_of(path))
    try:
        head = next(iter(source), None)
        if head is None:
            raise InputError(f"the table {path} is empty")
        mark = _delimiter(head)
        reader = csv.reader(itertools.chain([head], source), delimiter=mark, skipinitialspace=True)
        names = [" ".join(cell.split()) for cell in next(reader)]
        if mark == " " and len(names) > 1 and names[-1] == "":
            names.pop()
        _check_names(path, names)
        parts, repeated, count = _parts(path, names, reader, source)
    except csv.Error as error:
        raise InputError(f"{path} can't be read as a table: {error}") from None
    if not count:
        raise InputError(f"the table {path} has a heading and no row")
    said = [f"its heading stands {repeated} more time{'s' if repeated > 1 else ''} among its rows"] if repeated else []
    return _rows(str(path), names, parts, count, said)


class _Lines:
    """The lines of a table without comments and blank ones; knows whether the last had an end."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.whole = True
        self._lines = iter(lines)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if line[0] not in "#\n\r" and not line.isspace():
                self.whole = line[-1] in "\r\n"
                yield line


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(names) > 1 and all(map(_is_number, filter(None, names))) and any(names):
        raise InputError(f"{path} has no heading: its first line must have the names of the columns")
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise InputError(f"{path} has two columns with the name {name}")
        seen.add(name)


def _parts(
    path: Path, names: list[str], reader: Iterator[list[str]], source: _Lines
) -> tuple[list[list[Part]], int, int]:
    """The columns in parts, how often the heading is repeated, and the number of rows."""
    parts: list[list[Part]] = [[] for _ in names]
    repeated = count = 0
    width = len(names)
    while chunk := list(itertools.islice(reader, _CHUNK)):
        if len(chunk) < _CHUNK and not source.whole and len(chunk[-1]) < width:
            chunk.pop()  # it was broken off
        if any(len(row) != width or row[0] == names[0] for row in chunk):
            whole = len(chunk)
            chunk = [row for row in chunk if [cell.strip() for cell in row] != names]
            repeated += whole - len(chunk)
            chunk = [_fitted(path, row, width, count + at) for at, row in enumerate(chunk)]
        if chunk:
            count += len(chunk)
            for part, cells in zip(parts, zip(*chunk, strict=True), strict=True):
                column = numbers_of(cells)
                part.append([cell.strip() for cell in cells] if column is None else column)
    return parts, repeated, count


def _fitted(path: Path, row: list[str], width: int, at: int) -> list[str]:
    while len(row) > width and not row[-1].strip():
        row.pop()
    if len(row) > width:
        raise InputError(f"row {at + 1} of {path} has {len(row)} cells below {width} names")
    return row + [""] * (width - len(row))


def _rows(path: str, names: Sequence[str], parts: Sequence[list[Part]], count: int, said: Sequence[str]) -> Rows:
    numbers: dict[str, Column] = {}
    words: dict[str, Sequence[str | None]] = {}
    for place, (name, part) in enumerate(zip(names, parts, strict=True)):
        called = name or ("(row)" if place == 0 else "")
        if not called:
            continue
        if any(isinstance(each, list) for each in part):
            cells = [cell for each in part for cell in _cells(each)]
            words[called] = [cell if cell.lower() not in NOTHING else None for cell in cells]
            continue
        columns = [each for each in part if isinstance(each, Column)]
        column = Column(
            np.concatenate([each.values for each in columns]), np.concatenate([each.there for each in columns])
        )
        if len(column):
            numbers[called] = column
    return Rows(path, "CSV", count, numbers, words, said=tuple(said))


def _cells(part: Part) -> list[str]:
    if isinstance(part, list):
        return part
    return [f"{value:g}" if there else "" for value, there in zip(part.values, part.there, strict=True)]

"""Rows with names: what tables, lines of JSON and text logs come down to, however the rows were found."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import shown

__all__ = ["NOTHING", "Column", "Rows", "number_of", "numbers_of", "rows_of_dicts"]

NOTHING = {"", "none", "null", "n/a", "na", "-"}
_MOST_LISTED = 32  # numbers of a list in a row that become columns, as the rates of param groups
_CLOCK = re.compile(r"(?:(\d+) days?, )?(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class Column:
    """Numbers by row, both arrays of shape (rows,).

    Attributes:
        values: NaN where there is none.
        there: the rows that have one.
    """

    values: NDArray[np.float64]
    there: NDArray[np.bool_]

    def at(self, rows: NDArray[Any]) -> "Column":
        """At these rows, or where this is true."""
        return Column(self.values[rows], self.there[rows])

    def __len__(self) -> int:
        return int(self.there.sum())

    @property
    def is_whole(self) -> bool:
        """Whether all numbers that there are are whole."""
        return bool((np.isfinite(self.known) & (self.known == np.floor(self.known))).all())

    @property
    def known(self) -> NDArray[np.float64]:
        """The numbers that there are."""
        return self.values[self.there]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with names.

    Attributes:
        path: where they were found.
        format: in words.
        count: how many there are.
        numbers: columns of numbers, by name.
        words: columns with something else, by name; None where a row has nothing.
        totals: what a column counts up to, where rows say so, as in `step 10/100`.
        counted: whether each row is an epoch, where no column counts.
        said: what was left out, or changed, in sentences.
    """

    path: str
    format: str
    count: int
    numbers: Mapping[str, Column]
    words: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    counted: bool = False
    said: tuple[str, ...] = ()

    def at(self, keep: NDArray[np.bool_]) -> "Rows":
        """The rows where this is true."""
        places = np.flatnonzero(keep).tolist()
        numbers = {name: each.at(keep) for name, each in self.numbers.items()}
        words: dict[str, Sequence[str | None]] = {}
        for name, cells in self.words.items():
            kept = [cells[place] for place in places]
            column = numbers_of([cell or "" for cell in kept])
            if column is None:
                words[name] = kept
            else:
                numbers[name] = column
        numbers = {name: each for name, each in numbers.items() if len(each)}
        return dataclasses.replace(self, count=len(places), numbers=numbers, words=words)

    def with_columns(self, numbers: Mapping[str, Column], *said: str) -> "Rows":
        """With these columns of numbers instead."""
        return dataclasses.replace(self, numbers=numbers, said=(*self.said, *said))

    def saying(self, *said: str) -> "Rows":
        """With sentences added."""
        return dataclasses.replace(self, said=(*self.said, *said))

    @property
    def wrong(self) -> dict[str, str]:
        """What the columns that aren't all numbers have instead, by name."""
        found = {}
        for name, cells in self.words.items():
            row, cell = next((row, cell) for row, cell in enumerate(cells) if cell and number_of(cell) is None)
            comma = " (decimals need a point, not a comma)" if number_of(cell.replace(",", ".")) is not None else ""
            found[name] = f"row {row + 1} of {name} has {shown(cell)}{comma}"
        return found


def number_of(value: object) -> float | None:
    """A number, also where it is written as text; None for what is none.

    >>> number_of("1e-3"), number_of(True), number_of("0:01:05"), number_of("abc")
    (0.001, None, 65.0, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        times = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
        if times is None:
            return None
        days, hours, minutes, seconds = (float(each or 0) for each in times.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def numbers_of(cells: Sequence[str]) -> Column | None:
    """The numbers of a column of text; None for a column with something else in it."""
    try:
        values = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        return _with_gaps(cells)
    if any("_" in cell for cell in cells):  # Python's digits may be grouped so, nobody's records
        return None
    return Column(values, np.ones(len(cells), dtype=bool))


def _with_gaps(cells: Sequence[str]) -> Column | None:
    known: dict[str, float | None] = {"": None}
    values = np.full(len(cells), math.nan)
    there = np.zeros(len(cells), dtype=bool)
    for place, cell in enumerate(cells):
        if not cell or cell in known:
            continue
        bare = cell.strip()
        number = None if bare.lower() in NOTHING else number_of(bare)
        if number is None:
            if bare.lower() not in NOTHING:
                return None
            known[cell] = None
            continue
        values[place], there[place] = number, True
    return Column(values, there)


def rows_of_dicts(path: str, kind: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> "Rows":
    """Rows of mappings of names to numbers; what stands in a mapping or a short list inside gets a name of its own."""
    places: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    for place, row in enumerate(rows):
        for name, value in _flat(row):
            places.setdefault(name, []).append(place)
            values.setdefault(name, []).append(value)
    numbers: dict[str, Column] = {}
    words: dict[str, Sequence[str | None]] = {}
    for name, found in values.items():
        read = [number_of(value) for value in found]
        cells = [str(value) for value in found]
        if all(number is not None or cell.strip().lower() in NOTHING for number, cell in zip(read, cells, strict=True)):
            column = Column(np.full(len(rows), math.nan), np.zeros(len(rows), dtype=bool))
            for place, number in zip(places[name], read, strict=True):
                if number is not None:
                    column.values[place], column.there[place] = number, True
            if len(column):
                numbers[name] = column
        elif all(isinstance(value, str | bool) or number_of(value) is not None for value in found):
            text: list[str | None] = [None] * len(rows)
            for place, cell in zip(places[name], cells, strict=True):
                text[place] = cell if cell.strip().lower() not in NOTHING else None
            words[name] = text
    return Rows(path, kind, len(rows), numbers, words, **more)


def _flat(row: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        called = " ".join(f"{before}{name}".split())
        if isinstance(value, Mapping):
            if depth < 4:
                yield from _flat(value, f"{called}/", depth + 1)
        elif isinstance(value, list):
            if len(value) <= _MOST_LISTED and all(number_of(each) is not None for each in value):
                yield from ((called if len(value) == 1 else f"{called}/{at}", each) for at, each in enumerate(value))
        elif value is not None:
            yield called, value

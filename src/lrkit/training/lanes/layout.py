"""Which lane is where in a stack: a row for each seed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Lanes, by index, in rows of one length; where a row has fewer of its own, its first stands there again.

    Attributes:
        rows: of each seed.
    """

    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], width: int = 0) -> "Layout":
        """Rows that are filled up to the longest, or to a width.

        >>> Layout.of([[0, 1, 2], [3]]).rows
        ((0, 1, 2), (3, 3, 3))
        """
        width = max(width, *map(len, rows))
        return cls(tuple((*row, *[row[0]] * (width - len(row))) for row in rows))

    @property
    def size(self) -> int:
        """How many places there are."""
        return len(self.rows) * len(self.rows[0])

    @property
    def firsts(self) -> list[int]:
        """A lane of each row."""
        return [row[0] for row in self.rows]

    def places(self) -> dict[int, tuple[int, int]]:
        """Row and column of each lane; of those that stand there twice the first place.

        >>> Layout(((4, 5), (6, 6))).places()
        {4: (0, 0), 5: (0, 1), 6: (1, 0)}
        """
        found: dict[int, tuple[int, int]] = {}
        for row, lanes in enumerate(self.rows):
            for column, lane in enumerate(lanes):
                found.setdefault(lane, (row, column))
        return found

    def without_others(self, kept: Collection[int], width: int | None = None) -> "Layout":
        """The lanes that are kept, closer together: both dimensions are powers of two, or the rows as many as before.

        With a width of parts, there are as many rows as before, and columns for whole parts.

        >>> Layout.of([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]).without_others([0, 2, 4, 11]).rows
        ((0, 2, 4, 0), (11, 11, 11, 11))
        >>> Layout.of([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]).without_others([0, 2, 4], 2).rows
        ((0, 2, 4, 0), (0, 2, 4, 0))
        """
        rows = [own for row in self.rows if (own := [lane for lane in dict.fromkeys(row) if lane in kept])]
        count = len(self.rows) if width or len(rows) == len(self.rows) else _power_of_two(len(rows))
        rows += rows[:1] * (count - len(rows))
        longest = max(map(len, rows))
        return Layout.of(rows, -(-longest // width) * width if width else _power_of_two(longest))


def _power_of_two(count: int) -> int:
    """The least that is at least the count.

    >>> [_power_of_two(count) for count in (1, 3, 4, 5)]
    [1, 4, 4, 8]
    """
    return 1 << (count - 1).bit_length()

"""Words that several verdicts need."""

from collections.abc import Sequence

__all__ = ["listed"]


def listed(parts: Sequence[str]) -> str:
    """Parts as an English list.

    >>> listed(["A"]), listed(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

"""Which updates of a record of others have a value of their own: short where they are evenly apart."""

import numpy as np
from numpy.typing import NDArray

from lrkit.training.history import History

__all__ = ["as_spans", "logged_updates"]


def as_spans(updates: NDArray[np.int64]) -> list[list[int]]:
    """Rising numbers as [first, count, distance] of those that are evenly apart.

    >>> as_spans(np.array([0, 1, 2, 10, 20, 25]))
    [[0, 3, 1], [10, 2, 10], [25, 1, 1]]
    """
    spans, at, last = [], 0, len(updates) - 1
    turns = np.append(np.flatnonzero(np.diff(updates, n=2)) + 1, last)
    while at <= last:
        end = last if at == last else int(turns[np.searchsorted(turns, at, side="right")])
        distance = int(updates[at + 1] - updates[at]) if end > at else 1
        spans.append([int(updates[at]), end - at + 1, distance])
        at = end + 1
    return spans


def logged_updates(history: History, name: str) -> NDArray[np.int64] | None:
    """The updates at which this was logged, by its recorded name; None where every update was, or it isn't known."""
    spans = (history.made.get("imported") or {}).get("logged", {}).get(name)
    if spans is None:
        return None
    found = np.concatenate([first + distance * np.arange(count) for first, count, distance in spans])
    return found[found < len(history.lrs)].astype(np.int64)

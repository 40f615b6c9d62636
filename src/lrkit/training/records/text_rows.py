"""The rows in text logs: `name: value`, `name=value` or `name value` in lines that repeat, whoever prints them."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrkit.schedules.errors import InputError
from lrkit.training.records.rows import Rows, number_of, rows_of_dicts
from lrkit.training.records.source_text import lines_of
from lrkit.training.records.words import counts_steps, is_clock, is_loss, is_rate, side_in, words_of

__all__ = ["PROGRESS", "read_text", "rows_of_text"]

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FINITE = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_OTHERWISE = r"(?:(?<=[:=])|(?<=[:=]\s)|(?<=loss\s))[-+]?(?:nan|inf(?:inity)?)\b"  # a word, but after a sign or a loss
_NUMBER = re.compile(
    rf"(?<![\w.+/-])(?P<value>{_FINITE}|{_OTHERWISE})"
    r"(?:\s*/\s*(?P<total>\d+))?(?P<unit>\s?(?:ms|s|sec|%)(?![\w/])|(?:st|nd|rd|th)\b)?(?!\w|[:.]\d)",
    re.IGNORECASE,
)
_CUT = re.compile(r"[,;|()\[\]{}<>\t]|\s{2,}|\s-+>?\s|:\s+(?=\S)|=\s+(?=\S)")
_LABEL = re.compile(r"[A-Za-z_][\w./@-]*(?: [A-Za-z_#][\w./@-]*){0,4}")
_WRAPPED = re.compile(r"\b(?:tensor|float|array|float32|float64)\(")
_WORD = re.compile(r"(?<![\w./-])[A-Za-z]+(?![\w./])")
_OBJECT = re.compile(r"\{.*\}")
_AT = ("at", "after", "@", "for", "in")
PROGRESS = "progress"  # what is counted up to a total without a name
_BAR = re.compile(r"\|\s*(\d{1,15})/(\d{1,15}) \[\d")  # of tqdm
_MOST_LINE = 5000  # characters of a line that are looked at
_MOST_WORDS = 4


@dataclass
class _Found:
    rows: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, set[int]] = field(default_factory=dict)


def read_text(path: Path) -> Rows:
    """The rows of a text log.

    Raises:
        InputError: for text in which no lines repeat with names and numbers.
    """
    found = rows_of_text(lines_of(path))
    if not found.rows:
        raise InputError(
            f"{path} has no lines that say a step or an epoch and a loss, as `step: 10 loss: 2.5`; save the record as "
            ".csv, with a column for each"
        )
    totals = {name: next(iter(each)) for name, each in found.totals.items() if len(each) == 1}
    return rows_of_dicts(str(path), "text log", _after_the_settings(found.rows), totals=totals)


def _after_the_settings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows from the first on whose names come again, or with a loss: before it a log lists its settings, each once."""
    often = Counter(frozenset(row) for row in rows)
    firsts = (place for place, row in enumerate(rows) if often[frozenset(row)] > 1 or any(map(is_loss, row)))
    return rows[next(firsts, 0) :]


def rows_of_text(lines: Iterable[str]) -> _Found:
    """The lines that have a step, an epoch, a loss or a rate, as rows, and what counts go up to.

    >>> lines = ["step 0/90 | train loss 2.5 | lr 1.0e-3", "saved model.pt", "step 10/90 | train loss 2.0 | lr 9e-4"]
    >>> rows_of_text(lines).rows
    [{'step': 0.0, 'train loss': 2.5, 'lr': 0.001}, {'step': 10.0, 'train loss': 2.0, 'lr': 0.0009}]
    """
    found = _Found()
    counting = False
    bars = _Bars()
    for line in lines:
        bars.see(line[:_MOST_LINE], len(found.rows))
        row, totals = _row_of(line[:_MOST_LINE])
        names = [name for name in row if name]
        clocked = any(map(is_clock, names))
        told = any(is_loss(name) or is_rate(name) for name in names)
        if not clocked and not (counting and told):
            continue
        counting = True
        for name, total in totals.items():
            found.totals.setdefault(name, set()).add(total)
        found.rows.append(row)
    for row, step in zip(found.rows, bars.steps(found.rows), strict=False):
        row["step"] = step
    return found


class _Bars:
    """The progress bars of tqdm between rows: they have the steps that transformers' console doesn't print."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[int, int]] = {}  # by total: what a bar showed first after so many rows
        self.last: dict[int, int] = {}

    def see(self, line: str, rows: int) -> None:
        """Take notice of a bar in a line."""
        for match in _BAR.finditer(line):
            count, total = int(match[1]), int(match[2])
            self.seen.setdefault(total, {}).setdefault(rows, count)
            self.last[total] = max(count, self.last.get(total, 0))

    def steps(self, rows: list[dict[str, Any]]) -> list[int]:
        """The step of every row, by the bar that goes with their epochs; nothing where there is none.

        What a bar shows right after a row is its step: the bar is drawn anew then.
        """
        known = (number_of(row.get("epoch")) for row in rows)
        epochs = [each for each in known if each is not None]
        if not rows or len(epochs) < len(rows) or any(counts_steps(name) is not None for row in rows for name in row):
            return []
        for total, shown in self.seen.items():
            steps = [shown.get(place + 1, 0) for place in range(len(rows))]
            steps[-1] = steps[-1] or self.last[total]
            for place in range(len(rows) - 2, -1, -1):  # of rows without a bar between them the later one's counts
                steps[place] = steps[place] or steps[place + 1]
            length = steps[-1] / epochs[-1] if epochs[-1] else 0
            if len(set(steps)) > 1 and all(
                abs(step - epoch * length) <= max(0.02 * length, 1) for step, epoch in zip(steps, epochs, strict=True)
            ):
                return steps
        return []


def _row_of(line: str) -> tuple[dict[str, Any], dict[str, int]]:
    line = line.rstrip("\r\n").rsplit("\r", 1)[-1]  # a progress bar writes over itself
    text = _WRAPPED.sub("", _COLOURS.sub("", line))
    inside = _object_in(text)
    if inside is not None:
        return inside, {}
    row: dict[str, Any] = {}
    totals: dict[str, int] = {}
    side, between = None, ""
    for before, label, value, total in _pairs(text):
        between += f" {before}"
        name, own_side = _named(label)
        side = side or own_side
        if name in row:
            continue
        row[name] = value
        if total is not None:
            totals[name] = total
    side = side or _side_beside(between)
    if side is None:
        return row, totals
    return {_sided(name, side): value for name, value in row.items()}, {
        _sided(name, side): value for name, value in totals.items()
    }


def _sided(name: str, side: str) -> str:
    """A name with the side that its line is about, where it says none and isn't what counts."""
    if name == PROGRESS or is_clock(name) or side_in(name) or is_rate(name):
        return name
    return f"{side}/{name}"


def _object_in(text: str) -> dict[str, Any] | None:
    """The JSON object, or Python's dict, that a line ends with."""
    match = _OBJECT.search(text)
    if match is None:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(match[0])
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, dict) and all(isinstance(name, str) for name in found):
            return found
    return None


def _pairs(text: str) -> Iterator[tuple[str, str, float, int | None]]:
    """What stands before a label, the label, its number, and what that counts up to.

    A number up to another without a name of its own is the progress within what was named before, as in
    `Train Epoch: 1 [640/60000 (1%)]` and in tqdm's bars.
    """
    end = 0
    for match in _NUMBER.finditer(text):
        gap = text[end : match.start()]
        end = match.end()
        label = _label(gap)
        value = number_of(match["value"].replace(",", ""))
        total = None if match["total"] is None else int(match["total"][:18])
        if label is not None and side_in(label) and len(words_of(label)) == 1:  # `Train: 3 [ 50/1251`: the third epoch
            label = PROGRESS if gap.rstrip().endswith("[") else "epoch"
            gap += f" {label}"
        elif label is None and total is not None and (not gap.strip(" [") or gap.rstrip().endswith("|")):
            gap, label = f"{gap}{PROGRESS}", PROGRESS
        if label is None or value is None:
            continue
        unit = (match["unit"] or "").strip().lower()
        yield gap[: gap.rindex(label)], label, value / 1000 if unit == "ms" else value, total


def _label(text: str) -> str | None:
    """The words right before a number; None where something else stands there."""
    bare = text.rstrip()
    bare = bare[:-1].rstrip() if bare.endswith((":", "=")) else bare.rstrip("[(").rstrip().rstrip(":=").rstrip()
    words = _CUT.split(bare)[-1].strip(" *#.'\"`=~>-").split(" ")[-_MOST_WORDS:]
    candidates = (" ".join(words[begin:]) for begin in range(len(words)))
    return next((each for each in candidates if _LABEL.fullmatch(each)), None)


def _named(label: str) -> tuple[str, str | None]:
    """A column's name, and the side that a label like "validation loss at iteration" speaks of beside."""
    words = label.split(" ")
    last = words[-1]
    of_it = len(words) > 1 and (words[-2].lower() in _AT or all(map(side_in, words[:-1])))
    if of_it and is_clock(last) and counts_steps(label) is None:
        return last, side_in(" ".join(words[:-1]))
    return label, None


def _side_beside(text: str) -> str | None:
    """The side that a line is about by words outside of its names, as `[val]` or `Validation:`."""
    sides = {side for word in _WORD.findall(text) if (side := side_in(word)) is not None}
    return sides.pop() if len(sides) == 1 else None

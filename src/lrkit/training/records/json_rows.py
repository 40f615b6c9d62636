"""The rows in JSON: a row on each line, a list of rows, a list for each name, or what transformers' Trainer keeps."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lrkit.schedules.errors import InputError
from lrkit.training.records.rows import Rows, number_of, rows_of_dicts
from lrkit.training.records.source_text import lines_of, text_of

__all__ = ["read_json"]

_MOST_DEPTH = 4
_WRAPPING = ("history", "log", "logs", "metrics", "params")  # names that say nothing of what is in them
_FEWEST_NUMBERS = 2


def read_json(path: Path) -> tuple[Rows, Mapping[str, Any]]:
    """The rows of a JSON document or of lines of JSON, and what a document says beside them.

    Raises:
        InputError: for JSON that is something else, says what.
    """
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _of_lines(path), {}
    text = text_of(path)
    try:
        document = json.loads(text)
    except RecursionError:
        raise InputError(f"{path} is JSON nested too deep for a record") from None
    except ValueError as error:
        return _of_broken(path, text, error), {}
    return _of_document(path, document)


# --- lines -------------------------------------------------------------------------------------------


def _of_lines(path: Path) -> Rows:
    rows: list[Mapping[str, Any]] = []
    wrong: list[int] = []
    last = 0
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        last = number
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            rows.append(found)
        else:
            wrong.append(number)
    if not rows:
        raise InputError(f"{path} has no line that is a JSON object with names and numbers")
    said = []
    if wrong and wrong[-1] == last:
        wrong.pop()
        said.append("its last line was cut off")
    if len(wrong) > len(rows):
        raise InputError(f"{path} is neither a JSON document nor lines of JSON: line {wrong[0]} isn't JSON")
    if wrong:
        said.append(f"{len(wrong)} line{'s are' if len(wrong) > 1 else ' is'} no JSON object, first line {wrong[0]}")
    return rows_of_dicts(str(path), "JSON lines", rows, said=tuple(said))


def _of_broken(path: Path, text: str, error: ValueError) -> Rows:
    """What is no document may be lines; else it is damaged."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        if isinstance(json.loads(first), dict):
            return _of_lines(path)
    except (ValueError, RecursionError):
        pass
    place = getattr(error, "pos", 0)
    if place >= len(text.rstrip()) - 1 or "Unterminated" in str(error):
        raise InputError(f"{path} is cut off: its JSON ends in the middle") from None
    line = getattr(error, "lineno", 1)
    raise InputError(f"{path} is no valid JSON: line {line} has something else") from None


# --- documents ---------------------------------------------------------------------------------------


def _of_document(path: Path, document: Any) -> tuple[Rows, Mapping[str, Any]]:
    if isinstance(document, dict) and isinstance(document.get("log_history"), list):
        rows, kind = _rows_in(path, document["log_history"]), "transformers trainer_state.json"
        return rows_of_dicts(str(path), kind, rows), document
    if isinstance(document, list):
        return rows_of_dicts(str(path), "JSON rows", _rows_in(path, document)), {}
    if not isinstance(document, dict):
        raise InputError(f"{path} is JSON of {_kind_of(document)}, not rows with names and numbers")
    if (numbered := _rows_by_number(document)) is not None:
        return rows_of_dicts(str(path), "JSON rows", numbered), {}
    lists = dict(_lists_in(document))
    if lists:
        return _of_lists(path, lists), {}
    inside = list(_tables_in(document))
    if len(inside) == 1:
        return rows_of_dicts(str(path), "JSON rows", _rows_in(path, inside[0][1])), {}
    if inside:
        names = ", ".join(name for name, _ in inside)
        raise InputError(f"{path} has several lists of rows ({names}); save the one that is the record as a file")
    if not document:
        raise InputError(f"{path} is an empty JSON object")
    names = ", ".join(list(map(str, document))[:8])
    raise InputError(f"{path} is a single JSON object ({names}): one value for each name is a summary, not a record")


def _rows_by_number(document: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The rows of a table by columns or by rows, each with numbered entries, as pandas writes it; None for another."""
    inside = list(document.values())
    if not inside or not all(isinstance(each, dict) and each for each in inside):
        return None
    if all(name.isdecimal() for name in document):
        return inside
    if not all(name.isdecimal() for each in inside for name in each):
        return None
    numbers = sorted({number for each in inside for number in each}, key=int)
    return [{name: each[number] for name, each in document.items() if number in each} for number in numbers]


def _rows_in(path: Path, found: Sequence[Any]) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = [row for row in found if isinstance(row, dict)]
    if len(rows) < len(found):
        other = next(row for row in found if not isinstance(row, dict))
        raise InputError(f"{path} is a JSON list with {_kind_of(other)} in it, not rows with names and numbers")
    if not rows:
        raise InputError(f"{path} is an empty JSON list: nothing was logged")
    return rows


def _kind_of(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "a single value"
    kinds = ((int | float, "a number"), (str, "text"), (list, "a list"), (dict, "an object"))
    return next((what for kind, what in kinds if isinstance(value, kind)), "something else")


def _lists_in(document: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """Lists of numbers by name; those in an object inside are named after it, but for `history` and its like."""
    for name, value in document.items():
        if isinstance(value, list):
            if value and all(each is None or number_of(each) is not None for each in value):
                yield f"{before}{name}", value
        elif isinstance(value, dict) and depth < _MOST_DEPTH:
            yield from _lists_in(value, before if name in _WRAPPING else f"{before}{name}/", depth + 1)


def _tables_in(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for name, value in document.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            yield name, value


def _of_lists(path: Path, lists: Mapping[str, Sequence[Any]]) -> Rows:
    """Lists of one length are columns; others are left out, and said."""
    lengths = [len(each) for each in lists.values()]
    count = max(set(lengths), key=lambda length: (lengths.count(length), length))
    if count < _FEWEST_NUMBERS and len(lists) < _FEWEST_NUMBERS:
        raise InputError(f"{path} is JSON with a single list of one number, not a record")
    others = [name for name, each in lists.items() if len(each) != count]
    columns = {name: each for name, each in lists.items() if len(each) == count}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    said = [f"lists of another length than {count}: {', '.join(others)}"] if others else []
    return rows_of_dicts(str(path), "JSON lists", rows, counted=True, said=tuple(said))

"""The errors that bad input gets, and the sentences they are made of."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "InputTypeError", "unknown"]


class InputError(ValueError):
    """An argument has a value that isn't allowed; the message is one sentence that says what is."""


class InputTypeError(TypeError):
    """An argument is of a type that isn't allowed; the message is one sentence that says what is."""


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that doesn't exist: it lists the known ones and the closest match.

    >>> print(unknown("kind", "warmpu", ["warmup", "linear"]))
    unknown kind 'warmpu', did you mean 'warmup'? Known: linear, warmup
    """
    names = sorted(known)
    lowered = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    hint = f", did you mean {lowered[close[0]]!r}?" if close else "."
    return InputError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}")

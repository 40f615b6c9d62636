"""The errors that bad input gets, and the sentences they are made of."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "InputTypeError", "shown", "unknown"]

_LONGEST = 60  # characters of a value that an error quotes


class InputError(ValueError):
    """An argument has a value that isn't allowed; the message is one sentence that says what is."""


class InputTypeError(TypeError):
    """An argument is of a type that isn't allowed; the message is one sentence that says what is."""


def shown(value: object) -> str:
    """A value as an error quotes it: on one line, and cut where it is long.

    >>> shown("x" * 100), shown(10**5000)
    ("'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxx'", 'an int')
    """
    try:
        text = " ".join(map(str.strip, repr(value).splitlines()))
    except Exception:  # noqa: BLE001 (a foreign repr may raise anything; that of an int does beyond 4300 digits)
        name = type(value).__name__
        return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 20]}…{text[-10:]}"


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that doesn't exist: it lists the known ones and the closest match.

    >>> print(unknown("kind", "warmpu", ["warmup", "linear"]))
    unknown kind 'warmpu', did you mean 'warmup'? Known: linear, warmup
    """
    names = sorted(known)
    lowered = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), lowered, n=1)
    hint = f", did you mean {lowered[close[0]]!r}?" if close else "."
    return InputError(f"unknown {what} {shown(name)}{hint} Known: {', '.join(names)}")

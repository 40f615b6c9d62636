"""The errors that bad input gets, the warning that a schedule gives, and the sentences they are made of."""

import difflib
import sys
import warnings
from collections.abc import Iterable

__all__ = ["InputError", "InputTypeError", "ScheduleWarning", "shown", "unknown", "warn_user"]

_LONGEST = 60  # characters of a value that an error quotes


class InputError(ValueError):
    """An argument has a value that isn't allowed; the message is one sentence that says what is."""


class InputTypeError(TypeError):
    """An argument is of a type that isn't allowed; the message is one sentence that says what is."""


class ScheduleWarning(UserWarning):
    """A rate isn't the schedule's, or wouldn't have been; the message says why, and what to do."""


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


def warn_user(text: str, category: type[Warning]) -> None:
    """Warn at the line of the caller's own code, outside of lrkit and torch."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ("lrkit", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)

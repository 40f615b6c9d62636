"""The error for a record that doesn't say enough: everything that must be passed, at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrkit.schedules.errors import InputError

__all__ = ["Missing", "MissingChoiceError", "listed"]

_MOST_LISTED = 20
_PASSED = {
    "loss": "loss=... (several are summed, as in loss='a+b')",
    "valid_loss": "valid_loss=... (or 'none')",
    "lr": "lr=... (its name, or a number as the base of schedule=)",
    "run": "run=... (or 'all', which reads each as a run of its own)",
    "epoch_steps": "epoch_steps=... (the updates in an epoch)",
}


@dataclass(frozen=True)
class Missing:
    """One thing that a record doesn't say.

    Attributes:
        argument: the argument of `read_history` that says it.
        question: what could not be told, as in "which column is the learning rate".
        choices: what there is to choose from, where that isn't every column.
    """

    argument: str
    question: str
    choices: Sequence[str] = ()


class MissingChoiceError(InputError):
    """A record can't be read without being told more.

    Attributes:
        path: the record.
        missing: what has to be passed.
        columns: what the record has.

    >>> print(MissingChoiceError("a.csv", [Missing("step", "which column counts steps")], ["t", "loss"]))
    could not tell which column counts steps in a.csv; pass step=... (columns: loss, t)
    """

    def __init__(self, path: str, missing: Sequence[Missing], columns: Iterable[str]) -> None:
        self.path, self.missing, self.columns = path, tuple(missing), sorted(columns)
        super().__init__(self.sentence())

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.missing, self.columns)

    @property
    def arguments(self) -> list[str]:
        """What has to be passed."""
        return [each.argument for each in self.missing]

    def sentence(self, passed: Mapping[str, str] | None = None) -> str:
        """The message.

        Args:
            passed: how each argument is passed here, as a command's options are; by default as Python's.
        """
        names = {**_PASSED, **(passed or {})}
        questions = _enumerated([each.question for each in self.missing])
        told = [names.get(each.argument, f"{each.argument}=...") for each in self.missing]
        ask = self.columns and not all(each.choices for each in self.missing)
        listing = [listed("columns", self.columns)] if ask else []
        alone = len(self.missing) == 1
        listing += [
            listed("to choose from" if alone else each.argument, each.choices) for each in self.missing if each.choices
        ]
        there = f" ({'; '.join(listing)})" if listing else ""
        return f"could not tell {questions} in {self.path}; pass {_enumerated(told)}{there}"


def listed(what: str, names: Iterable[str]) -> str:
    """What there is, for an error.

    >>> listed("columns", ["loss", "lr"]), listed("columns", [])
    ('columns: loss, lr', 'it has no columns of numbers')
    """
    known = [" ".join(name.split()) for name in names]
    if not known:
        return f"it has no {what} of numbers"
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    return f"{what}: {', '.join(known[:_MOST_LISTED])}{more}"


def _enumerated(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

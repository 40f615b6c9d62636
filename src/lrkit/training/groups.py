"""The param groups of an optimizer, told apart by identity, since others add, move and replace them."""

import operator
from collections.abc import Sequence
from typing import TypeVar

from lrkit.schedules.errors import InputError
from lrkit.training.hyper import Group

__all__ = ["KnownGroups"]

T = TypeVar("T")


class KnownGroups:
    """The groups that a scheduler knows, with the numbers by which they came, wherever they stand in the list."""

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self.groups = list(groups)
        self.numbers = list(range(len(groups)))

    def are(self, groups: Sequence[Group]) -> bool:
        """Whether an optimizer has these groups, in this order."""
        known = self.groups
        if len(groups) != len(known) or groups[0] is not known[0]:
            return False
        return len(known) == 1 or all(map(operator.is_, groups, known))

    def after(self, groups: Sequence[Group]) -> "KnownGroups":
        """What is known once an optimizer has other groups: new ones among them, or new dicts for all.

        Raises:
            InputError: where some were removed.
        """
        found, numbers = KnownGroups(), self._numbers()
        found.groups = list(groups)
        if not any(id(each) in numbers for each in groups) and len(groups) == len(self.groups):
            found.numbers = list(self.numbers)  # all are new, as after loading
            return found
        gone = len(numbers.keys() - {id(each) for each in groups})
        if gone:
            raise InputError(f"{gone} of {len(self.groups)} param groups of the optimizer were removed; bind anew")
        more = iter(range(len(self.groups), len(groups)))
        found.numbers = [numbers[id(each)] if id(each) in numbers else next(more) for each in groups]
        return found

    def beyond(self, before: "KnownGroups") -> list[int]:
        """Where the groups stand that came since."""
        return [index for index, number in enumerate(self.numbers) if number >= len(before.groups)]

    def aligned(self, values: Sequence[T | None], to: "KnownGroups") -> list[T | None]:
        """Values of these groups, in the order of others; None for those that are new."""
        by_number = dict(zip(self.numbers, values, strict=False))
        return [by_number.get(number) for number in to.numbers]

    def _numbers(self) -> dict[int, int]:
        return {id(group): number for group, number in zip(self.groups, self.numbers, strict=True)}

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

    def __init__(self, groups: Sequence[Group], numbers: Sequence[int] | None = None) -> None:
        self.groups = list(groups)
        self.numbers = list(range(len(groups)) if numbers is None else numbers)
        self.only = self.groups[0] if len(groups) == 1 else None  # one is looked at quickly

    def are(self, groups: Sequence[Group]) -> bool:
        """Whether an optimizer has these groups, in this order."""
        return len(groups) == len(self.groups) and all(map(operator.is_, groups, self.groups))

    def are_replaced_by(self, groups: Sequence[Group]) -> bool:
        """Whether as many others are there in their place, as after loading."""
        known = set(map(id, self.groups))
        return len(groups) == len(self.groups) and not any(id(each) in known for each in groups)

    def after(self, groups: Sequence[Group]) -> "KnownGroups":
        """What is known once an optimizer has other groups: new ones among them, or new dicts for all.

        Raises:
            InputError: where some were removed.
        """
        numbers = {id(group): number for group, number in zip(self.groups, self.numbers, strict=True)}
        if self.are_replaced_by(groups):
            return KnownGroups(groups, self.numbers)  # all are new, as after loading
        gone = len(numbers.keys() - {id(each) for each in groups})
        if gone:
            raise InputError(f"{gone} of {len(self.groups)} param groups of the optimizer were removed; bind anew")
        more = iter(range(len(self.groups), len(groups)))
        return KnownGroups(groups, [numbers[id(each)] if id(each) in numbers else next(more) for each in groups])

    def beyond(self, before: "KnownGroups") -> list[int]:
        """Where the groups stand that came since."""
        return [index for index, number in enumerate(self.numbers) if number >= len(before.groups)]

    def aligned(self, values: Sequence[T | None], to: "KnownGroups") -> list[T | None]:
        """Values of these groups, in the order of others; None for those that are new."""
        by_number = dict(zip(self.numbers, values, strict=False))
        return [by_number.get(number) for number in to.numbers]

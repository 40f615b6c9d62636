"""Which plan sets which hyper-parameter of which param group, and from which base."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from lrkit.schedules import Target
from lrkit.schedules.errors import InputError, shown
from lrkit.schedules.leaf import as_list
from lrkit.training.hyper import Group, place, read

__all__ = ["Bases", "Written", "require_groups", "settle", "slots", "stands", "target_for"]

Bases: TypeAlias = dict[str, list[float | None]]  # by hyper-parameter, for each group; None where no plan sets it
Written: TypeAlias = Mapping[tuple[str, int], float]  # values by hyper-parameter and group


def target_for(hyper: str, index: int, group: Group, targets: Collection[Target]) -> Target | None:
    """Whose plan sets a hyper-parameter of a group: the one for its index, for its name, for all groups, or none."""
    keys = (index, group.get("name"), None)
    return next((Target(hyper, key) for key in keys if (hyper, key) in targets), None)


def require_groups(groups: Sequence[Group], targets: Collection[Target], later: Collection[int | str]) -> None:
    """Refuse plans for groups that don't exist, unless they may be added later."""
    to_come = as_list(later, "later", "param groups, each by its index or name")
    names = [group["name"] for group in groups if "name" in group]
    keys = {target.group: None for target in targets if target.group is not None}
    for key in keys:
        if key not in to_come and key not in names and key not in range(len(groups)):
            known = ", ".join([f"0 to {len(groups) - 1}", *map(repr, names)])
            raise InputError(f"groups has no group {shown(key)}; there are {known} (later= names groups to come)")
    for named in to_come:
        if named not in keys:
            raise InputError(f"later names the group {shown(named)}, for which there is no schedule")


def settle(
    groups: Sequence[Group],
    targets: Collection[Target],
    *,
    lr: float | None,
    known: Sequence[Bases],
    standing: Written,
    resumed: bool,
) -> Bases:
    """The bases: `lr`, those that are known, and for the rest what the groups hold.

    A group that still holds what is `standing` there from an earlier binding, or that was resumed, has its `initial_`
    value as its base.

    Raises:
        InputError: when a group has no such hyper-parameter, or has it under two names.
    """

    def base(hyper: str, index: int) -> float | None:
        group = groups[index]
        if target_for(hyper, index, group, targets) is None:
            return None
        if hyper == "lr" and lr is not None:
            return lr
        for bases in known:
            if hyper in bases and index < len(bases[hyper]) and bases[hyper][index] is not None:
                return bases[hyper][index]
        held, initial = read(group, hyper), group.get(f"initial_{hyper}")
        came_from = resumed or stands(held, standing.get((hyper, index)))
        return float(initial) if initial is not None and came_from else held

    hypers = dict.fromkeys(target.hyper for target in targets)
    found = {hyper: [base(hyper, index) for index in range(len(groups))] for hyper in hypers}
    taken: dict[tuple[int, str, int | None], str] = {}
    for hyper, index, _ in slots(found):
        other = taken.setdefault((index, *place(groups[index], hyper)), hyper)
        if other != hyper:
            raise InputError(f"{other} and {hyper} are one and the same in this optimizer; schedule one of them")
    return found


def slots(bases: Bases) -> Iterator[tuple[str, int, float]]:
    """Hyper-parameter, group and base of everything that is scheduled."""
    for hyper, each in bases.items():
        yield from ((hyper, index, base) for index, base in enumerate(each) if base is not None)


def stands(held: float, written: float | None) -> bool:
    """Whether a group holds what was written, up to the rounding of a float32 tensor."""
    return written is not None and math.isclose(held, written, rel_tol=1e-6)

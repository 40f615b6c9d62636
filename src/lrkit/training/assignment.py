"""Which plan sets which hyper-parameter of which param group, and from which base."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

from lrkit.schedules import Target
from lrkit.schedules.errors import InputError, shown
from lrkit.schedules.leaf import as_list
from lrkit.schedules.shares import as_number
from lrkit.training.hyper import Group, is_close, is_number, place, read
from lrkit.training.outlook import Slot

__all__ = ["Bases", "Written", "assign", "require_groups", "settle", "slots"]

Bases: TypeAlias = dict[str, list[float | None]]  # by hyper-parameter, for each group; None where no plan sets it
Written: TypeAlias = Sequence[tuple[Group, str, float]]  # what was written last into a group's hyper-parameter


def _target_for(hyper: str, number: int, group: Group, targets: Collection[Target]) -> Target | None:
    """Whose plan sets a hyper-parameter of a group: the one for its number, for its name, for all groups, or none."""
    keys = (number, group.get("name"), None)
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
    numbers: Sequence[int],
    targets: Collection[Target],
    *,
    lr: float | None,
    known: Sequence[Bases],
    standing: Written,
) -> Bases:
    """The bases: `lr`, those that are known, and for the rest what the groups have.

    That is their `initial_` value, where a scheduler has left one, torch's or ours, in this process or before a
    checkpoint; but what they hold, where that isn't what is known to be `standing` there: somebody has set it since.

    Args:
        groups: of the optimizer.
        numbers: of the groups, by which plans are for them.
        targets: of the plans.
        lr: the base that is given.
        known: bases from before, in the order in which they count.
        standing: what an earlier binding wrote last.

    Raises:
        InputError: when a group has no such hyper-parameter, or has it under two names.
    """

    def base(hyper: str, index: int) -> float | None:
        group = groups[index]
        if _target_for(hyper, numbers[index], group, targets) is None:
            return None
        if hyper == "lr" and group.get("relative_step") is True:
            raise InputError(
                "this optimizer finds its own rates with relative_step=True; make it with relative_step=False"
            )
        if hyper == "lr" and lr is not None:
            return lr
        for bases in known:
            if hyper in bases and index < len(bases[hyper]) and bases[hyper][index] is not None:
                return bases[hyper][index]
        now, initial = read(group, hyper), group.get(f"initial_{hyper}")
        written = next((value for own, name, value in standing if own is group and name == hyper), None)
        return float(initial) if initial is not None and (written is None or is_close(now, written)) else now

    hypers = dict.fromkeys(target.hyper for target in targets)
    found = {hyper: [base(hyper, index) for index in range(len(groups))] for hyper in hypers}
    taken: dict[tuple[int, str, int | None], str] = {}
    for hyper, index, _ in slots(found):
        other = taken.setdefault((index, *place(groups[index], hyper)), hyper)
        if other != hyper:
            raise InputError(f"{other} and {hyper} are one and the same in this optimizer; schedule one of them")
    return found


def assign(
    groups: Sequence[Group],
    numbers: Sequence[int],
    targets: Collection[Target],
    bases: Bases,
    default: Any,
) -> list[Slot]:
    """Everything that is set, each with its plan, place and base.

    Args:
        groups: of the optimizer.
        numbers: of the groups.
        targets: of the plans.
        bases: of all that is scheduled.
        default: its own rate, by which a scale is recognised; None where the base was given.
    """
    found = []
    for hyper, index, base in slots(bases):
        group = groups[index]
        target = _target_for(hyper, numbers[index], group, targets)
        if target is not None:
            scale = _scale_of(hyper, group, base, default)
            found.append(Slot(target, group, numbers[index], place(group, hyper), base, scale))
    return found


def _scale_of(hyper: str, group: Group, base: float, default: Any) -> float:
    """What a value is multiplied by in a group: for the rate its `lr_scale`, as timm's groups for layer decay have it.

    Not where the group's own rate is the optimizer's default with that scale in it already.
    """
    if hyper != "lr" or "lr_scale" not in group:
        return 1.0
    scale = as_number(group["lr_scale"], "lr_scale of a param group", low=0.0)
    return 1.0 if is_number(default) and is_close(base, float(default) * scale) else scale


def slots(bases: Bases) -> Iterator[tuple[str, int, float]]:
    """Hyper-parameter, group and base of everything that is scheduled."""
    for hyper, each in bases.items():
        yield from ((hyper, index, base) for index, base in enumerate(each) if base is not None)

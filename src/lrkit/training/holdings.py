"""What a scheduler has written into param groups, and what happens where somebody else writes there too."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from torch import Tensor

from lrkit.schedules.errors import InputError, ScheduleWarning, shown, warn_user
from lrkit.training.hyper import Group, as_float, fill, held, is_close, is_number, version_of, write
from lrkit.training.outlook import Key, Outlook, Slot, Track

__all__ = ["Conflict", "Holdings", "check_on_conflict"]

Conflict: TypeAlias = Literal["warn", "refuse", "yield"]

# Slots of a track that hold plain floats, as nearly all do: the track, their entry, they themselves, and their groups.
# No named tuple, since each update takes it apart.
_Plain: TypeAlias = tuple[Track, str, list[Slot], list[Group]]

_BETWEEN, _INSIDE = "between two updates,", "inside of step() or by a hook after it,"
_SWA = "swa_lr"  # torch's SWALR puts it into the groups whose rates it sets


class _Stray(NamedTuple):
    """A slot that doesn't hold what was last written there."""

    slot: Slot
    last: float
    value: float  # what it must have now


class _Watched:
    """A slot that is a tensor, or stands within a tuple: what was written there.

    It is compared by identity and, of a tensor, by how often it was written to: so no device is waited for.
    """

    def __init__(self, track: Track, slot: Slot) -> None:
        self.track, self.slot, self.last = track, slot, track.last
        self._object: Any = held(slot.group, *slot.where)
        self._version = version_of(self._object) if isinstance(self._object, Tensor) else None
        if not is_close(self._object, track.last):  # somebody else's, that is still to be refused
            self._object = None

    def stands(self) -> bool:
        """Whether nobody has written since."""
        now = held(self.slot.group, *self.slot.where)
        return now is self._object and (self._version is None or self._version == version_of(now))

    def advance(self, value: float) -> _Stray | None:
        """Write a value where the last one stands."""
        if not self.stands():
            return _Stray(self.slot, self.last, value)
        self.last = value
        if self._version is None:
            write(self.slot.group, self.slot.where, value)
            self._object = value
        else:
            fill(self._object, value)
            self._version = version_of(self._object)
        return None


class Holdings:
    """Writes the values of an outlook into param groups, and sees where somebody else has written.

    The objects that were written are kept, and what a slot holds is compared with them by identity; only where that
    differs are values looked at, to a relative 1e-6.

    Args:
        outlook: the values.
        on_conflict: what to do where somebody else has written.
        plan: what is bound, for messages.
        yielded: what is left to others; more is added.
        said: what was warned of; more is added.
        yields_when: tells whether what others write now is left to them, whatever `on_conflict` is, which is said.
    """

    def __init__(
        self,
        outlook: Outlook,
        on_conflict: Conflict,
        *,
        plan: str,
        yielded: set[Key],
        said: set[Any],
        yields_when: Callable[[], bool] | None = None,
    ) -> None:
        self.outlook = outlook
        self.yielded, self._said, self.yields_when = yielded, said, yields_when
        self._on_conflict, self._plan = on_conflict, plan
        self._inside: dict[Slot, float] = {}  # what was changed inside of a step, to be refused before the next
        self._sort()

    def _sort(self) -> None:
        """Tell the slots apart that hold a plain float."""
        self._plain: list[_Plain] = []
        self._watched: list[_Watched] = []
        for track in self.outlook.tracks:
            entry, position = track.slots[0].where
            own = [each for each in track.slots if each.key not in self.yielded]
            plain = [each for each in own if position is None and type(each.group[entry]) is float]
            if plain:
                self._plain.append((track, entry, plain, [each.group for each in plain]))
            if len(plain) < len(own):
                rest = set(own) - set(plain)
                self._watched += [_Watched(track, each) for each in own if each in rest]
        self._sets_rates = any(each.slot.target.hyper == "lr" for each in self._watched) or any(
            slots[0].target.hyper == "lr" for _, _, slots, _ in self._plain
        )

    # --- writing ------------------------------------------------------------------------------------

    def write(self, step: int, *, copied: bool = False) -> None:
        """Write the values of a step, whatever is there; but where this is a copy, only where they stood."""
        offset = self.outlook.offset(step)
        for track in self.outlook.tracks:
            track.last = track.values[offset]
            for each in track.slots:
                stood = not copied or is_close(held(each.group, *each.where), track.last)
                if stood and each.key not in self.yielded:
                    write(each.group, each.where, track.last)
        self._sort()

    def advance(self, step: int) -> None:
        """Write the values of a step in the place of those that were written last."""
        outlook = self.outlook
        offset = step - outlook.begin if outlook.begin <= step < outlook.end else outlook.offset(step)
        strays: list[_Stray] | None = None
        for track, entry, slots, groups in self._plain:
            last, value = track.last, track.values[offset]
            for group in groups:
                if group[entry] is last:
                    group[entry] = value
                else:
                    strays = strays or []
                    strays += [_Stray(each, last, value) for each in slots if each.group is group]
            track.last = value
        for watched in self._watched:
            watched.track.last = value = watched.track.values[offset]
            stray = watched.advance(value)
            if stray is not None:
                strays = [*(strays or []), stray]
        if strays is not None:
            self._resolve(strays, _INSIDE, begun=True)

    # --- looking ------------------------------------------------------------------------------------

    def untouched(self, groups: Sequence[Group]) -> bool:
        """Before a step: whether all that was written stands, and the step is an update for certain."""
        for track, entry, _, members in self._plain:
            last = track.last
            for group in members:
                if group[entry] is not last:
                    return False
        for each in self._watched:
            if not each.stands():
                return False
        return self._sets_rates or not _is_zero(groups[0].get("lr", 1.0))

    def check(self, groups: Sequence[Group], *, begun: bool) -> bool:
        """Before a step, where that isn't so: settle it, and say whether the step is an update.

        Raises:
            InputError: where somebody else has written, and that is to be refused; then nothing has changed.
        """
        strays = self._strays()
        if self._is_pretence(groups, strays):
            return False
        if strays:
            self._resolve(strays, _BETWEEN, begun=begun)
        return True

    def settle(self, groups: Sequence[Group], *, begun: bool) -> None:
        """Between two steps: see that what was written stands; raises as `check`.

        Args:
            groups: of the optimizer.
            begun: whether an update was made since the optimizer was bound, or its state loaded.
        """
        if not self.untouched(groups) and (strays := self._strays()):
            self._resolve(strays, _BETWEEN, begun=begun)

    def _strays(self) -> list[_Stray]:
        strays = [_Stray(each.slot, each.last, each.last) for each in self._watched if not each.stands()]
        for track, entry, slots, _ in self._plain:
            strays += [_Stray(each, track.last, track.last) for each in slots if each.group[entry] is not track.last]
        return strays

    @staticmethod
    def _is_pretence(groups: Sequence[Group], strays: Sequence[_Stray]) -> bool:
        """Whether a step only makes the optimizer's state, as libraries do, at a rate of 0 that isn't the schedule's.

        There is no gradient then. Where there is one, a rate of 0 is like any other that somebody has set.
        """
        rates = [group["lr"] for group in groups if "lr" in group]
        if not rates or not all(map(_is_zero, rates)):
            return False
        if strays and not any(each.slot.target.hyper == "lr" for each in strays):
            return False
        return not any(_moves(each.grad) for group in groups for each in group["params"])

    # --- conflicts ----------------------------------------------------------------------------------

    def _resolve(self, strays: Sequence[_Stray], cause: str, *, begun: bool) -> None:
        """Have the slots hold the schedule's values, or leave them to others, or refuse."""
        own: list[_Stray] = []
        left: list[Slot] = []
        found: list[_Stray] = []
        for each in strays:
            slot, equal = each.slot, is_close(held(each.slot.group, *each.slot.where), each.last)
            # SWALR writes when it is made already, which may be long before it is used.
            averaging = slot.target.hyper == "lr" and _SWA in slot.group and _is_towards(each.last, slot.group)
            if averaging and begun:
                left.append(slot)
            elif averaging or equal:
                own.append(each)
            else:
                found.append(each)
        told: list[tuple[_Stray, str]] = []
        new = [each for each in found if (cause, each.slot.key) not in self._said]
        if self._on_conflict == "yield":
            left += [each.slot for each in found]
        elif found and self.yields_when is not None and self.yields_when():
            left += [each.slot for each in found]
            told = [(each, self._farewell(each, cause)) for each in new]
        elif self._on_conflict == "warn":
            own += found
            told = [(each, self._warning(each, cause)) for each in new]  # while the other's value is there
        elif found and cause == _BETWEEN:
            raise InputError(self._refusal(found[0]))
        else:
            self._inside |= {each.slot: each.last for each in found}
        for each in own:
            write(each.slot.group, each.slot.where, each.value)
            self._inside.pop(each.slot, None)
        self.yielded |= {each.key for each in left}
        self._sort()
        self._said |= {(cause, each.slot.key) for each, _ in told}
        for _, text in told:
            warn_user(text, ScheduleWarning)

    def _warning(self, stray: _Stray, cause: str) -> str:
        after = "so this update uses" if cause == _BETWEEN else "though it may have been used; the next begins with"
        return (
            f"{self._change(stray, cause)}; '{self._plan}' sets it, {after} {stray.value:g}. To keep what others "
            "write, bind with on_conflict='yield'; with 'refuse' it is an error"
        )

    def _farewell(self, stray: _Stray, cause: str) -> str:
        change = self._change(stray, cause)
        return f"{change}; another scheduler has taken the place of '{self._plan}', so the value is left to it"

    def _refusal(self, stray: _Stray) -> str:
        cause = _INSIDE if stray.slot in self._inside else _BETWEEN
        stray = stray._replace(last=self._inside.get(stray.slot, stray.last))
        return (
            f"{self._change(stray, cause)}, and '{self._plan}' sets it, with on_conflict='refuse'; leave it to the "
            "schedule, or bind with on_conflict='yield' to keep what others write"
        )

    @staticmethod
    def _change(stray: _Stray, cause: str) -> str:
        slot = stray.slot
        name = f" ({slot.group['name']!r})" if "name" in slot.group else ""
        now = held(slot.group, *slot.where)
        new = f"{as_float(now):g}" if is_number(now) else shown(now)
        return (
            f"{slot.target.hyper} of param group {slot.number}{name} was changed {cause} from {stray.last:g} to {new}"
        )


def check_on_conflict(on_conflict: object) -> None:
    """Refuse what is no policy for conflicts."""
    if on_conflict not in get_args(Conflict):
        known = ", ".join(map(repr, get_args(Conflict)))
        raise InputError(f"on_conflict must be one of {known}, not {shown(on_conflict)}")


def _is_zero(rate: Any) -> bool:
    """Whether a rate is 0, but for those on a device that would have to be waited for."""
    return is_number(rate) and not (isinstance(rate, Tensor) and rate.device.type != "cpu") and as_float(rate) == 0


def _is_towards(last: float, group: Group) -> bool:
    """Whether a rate is on the way from the last one to that of averaging, as SWALR's rates are."""
    now, target = as_float(group["lr"]), as_float(group[_SWA])
    return min(last, target) * (1 - 1e-6) <= now <= max(last, target) * (1 + 1e-6)


def _moves(gradient: Tensor | None) -> bool:
    if gradient is None:
        return False
    return bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any())

"""The learning rate of every update of a recorded run, and what had to be filled in for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.rate_shape import ROUNDED, rises_again, warmup_of
from lrkit.schedules import Schedule, parse
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.shares import as_count, as_positive
from lrkit.training.history import History
from lrkit.training.records.computed import computed_rates
from lrkit.training.records.logged import logged_updates

__all__ = ["RatesSaid", "rates_of"]

_GAP = 10  # times the usual distance of rows
_JUMP = 0.02  # of the peak, between two rows: less is none, or a number written with few digits
_STEEP = 10  # times as steep as before and after: a jump
_AGREES = 0.01  # of the peak
_WARMUP_AGREES = 0.02  # of the updates: rows are that far apart


@dataclass(frozen=True, kw_only=True)
class RatesSaid:
    """What a caller says of the rates; `recorded_curves.loss_curve` says what each means."""

    warmup: int | None = None
    schedule: str | Schedule | None = None
    lr: float | None = None
    steps: int | None = None
    epoch_steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("warmup", 0), ("steps", 1), ("epoch_steps", 1)):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_count(given, name, low=least))
        if self.lr is not None:
            object.__setattr__(self, "lr", as_positive(self.lr, "lr"))
        if self.schedule is not None and not isinstance(self.schedule, str | Schedule):
            raise InputTypeError(f"schedule must be a schedule or its text, not {shown(self.schedule)}")
        if isinstance(self.schedule, str):
            parse(self.schedule)  # here, so that the mark under a text that is wrong ends the message
        if not self.computed and self.steps is not None:
            raise InputError(f"steps must be left out where no schedule is given, not {self.steps}")

    @property
    def computed(self) -> bool:
        """Whether the rates are to be those of a schedule."""
        return self.schedule is not None or self.lr is not None


def rates_of(history: History, said: RatesSaid, name: str) -> tuple[NDArray[np.float64], list[str]]:
    """The rate of every update in the first param group, shape (updates,), and notes of what was done for it.

    Raises:
        InputError: for rates that no law can be fitted to, and a schedule that doesn't fit.
    """
    if said.warmup is not None and said.warmup >= len(history.lrs):
        raise InputError(
            f"warmup must be below {len(history.lrs)}, the updates that {name} recorded, not {said.warmup}"
        )
    notes = [*_read_so(history), *_counted(history)]
    if said.computed:
        rates, found = _by_schedule(history, said, name)
        notes += found
    else:
        if history.lrs.shape[1] > 1 and (history.lrs != history.lrs[:, :1]).any():
            notes.append(f"The rates are those of the first of {history.lrs.shape[1]} param groups.")
        rates = np.array(history.lr, dtype=np.float64)
        bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
        if len(bad):
            raise InputError(
                f"learning rates must be finite and not negative: {name} has {rates[bad[0]]:g} at step {bad[0]}"
            )
        notes += _filled_in(history, rates, said.warmup)
    if not rates.any():
        raise InputError(f"learning rates must not be all 0, as those of {name} are")
    notes += [*_contradicted(rates, said.warmup), *_rises(rates, said.warmup)]
    return rates, notes


def _counted(history: History) -> Iterator[str]:
    """What the record calls the first update, where it isn't 0."""
    first = (history.made.get("imported") or {}).get("first_step", 0)
    if first:
        yield f"The record's step {first} is taken for the first update, which is step 0 here."


def _read_so(history: History) -> Iterator[str]:
    """How a record of others was read, where that wasn't certain."""
    imported = history.made.get("imported") or {}
    for said in imported.get("said", []):
        if said != imported["begins_late"]:  # `_before` says what is done about it
            yield f"{said[0].upper()}{said[1:]}."


def _contradicted(rates: NDArray[np.float64], warmup: int | None) -> Iterator[str]:
    """Where a warmup that was said isn't the one that was recorded."""
    rising = warmup_of(rates)
    if warmup is not None and abs(rising - warmup) > _WARMUP_AGREES * len(rates):
        yield f"The rates rise for {rising} updates, not {warmup}: losses before step {warmup} are left out."


# --- by a schedule -----------------------------------------------------------------------------------


def _by_schedule(history: History, said: RatesSaid, name: str) -> tuple[NDArray[np.float64], list[str]]:
    made, updates = history.made, len(history.lrs)
    imported = made.get("imported")
    planned = made.get("steps") if imported is None else None  # of a record of others these are the updates recorded
    steps = said.steps or (planned if isinstance(planned, int) and planned >= updates else updates)
    if steps < updates:
        raise InputError(f"steps must be at least {updates}, the updates that {name} recorded, not {steps}")
    base = said.lr if said.lr is not None else made.get("lr")
    base = float(base) if isinstance(base, int | float) and base > 0 else float(history.lr.max())
    length = said.epoch_steps or (imported or made).get("epoch_steps")
    text = None if said.schedule is None else str(said.schedule)
    try:
        rates = computed_rates(text, base, steps, length if isinstance(length, int) else None, updates)
    except InputError as error:
        raise InputError(f"{error} (for the rates of {name})") from error
    assumed = "" if said.steps or planned == steps else ", the updates that were recorded; say steps= where it had more"
    notes = [f"The rates are those of {text or 'a constant'} at {base:g} over {steps} updates{assumed}."]
    return rates, notes + _disagreement(history, rates)


def _disagreement(history: History, rates: NDArray[np.float64]) -> list[str]:
    """Where the rates that were recorded are others."""
    names = _rate_names(history.made)
    if not names:
        return []
    logged = logged_updates(history, names[0])
    where = np.arange(len(rates)) if logged is None else logged
    apart = np.abs(history.lr[where] - rates[where])
    if not len(where) or apart.max() <= _AGREES * rates.max():
        return []
    at = int(where[apart.argmax()])
    return [f"The rates that were recorded are others: at step {at} {history.lr[at]:g}, not {rates[at]:g}."]


def _rate_names(made: Mapping[str, Any]) -> list[str]:
    """What the rates of a record of others are called; "lr" of lrkit's own; none where they were computed."""
    if "imported" not in made:
        return ["lr"]
    names = made["imported"]["names"]["lr"]
    return list(names) if isinstance(names, list) else []


# --- as recorded -------------------------------------------------------------------------------------


def _filled_in(history: History, rates: NDArray[np.float64], warmup: int | None) -> list[str]:
    """Rates before the first that was recorded are put in; says what was put in there and between rows."""
    names = _rate_names(history.made)
    if not names:
        base, schedule = float(rates.max()), history.made.get("schedule")
        text = "a constant" if schedule in (None, "unknown") else str(schedule)
        return [f"The rates are those of {text} at {base:g} over {len(rates)} updates, all that were recorded."]
    logged = logged_updates(history, names[0])
    if logged is None or not len(logged):
        return []
    between = history.made["imported"]["between"]
    return [*_before(rates, logged, warmup), *_between(rates, logged, between)]


def _before(rates: NDArray[np.float64], logged: NDArray[np.int64], warmup: int | None) -> Iterator[str]:
    first = int(logged[0])
    falls = np.flatnonzero(np.diff(rates[logged]) <= ROUNDED * rates.max())
    risen = int(logged[falls[0]]) if len(falls) else int(logged[-1])
    if risen > first:  # a warmup, in stairs where rows are held
        line = np.interp(np.arange(first, risen), logged, rates[logged])
        if not np.allclose(line, rates[first:risen]):
            yield f"The rates of the warmup up to step {risen} are interpolated between rows, not held."
        rates[first:risen] = line
    if first == 0:
        return
    unknown = f"No rate was recorded before step {first}"
    if warmup:
        peak, rising = rates[warmup], min(first, warmup)
        rates[:rising] = peak * np.arange(rising) / warmup
        held = f", held until step {first}" if first > warmup else ""
        yield f"{unknown}: the rate is taken to rise evenly from 0 to {peak:g} over {warmup} updates{held}."
    elif warmup is None and risen > first:
        rates[:first] = rates[first] * np.arange(1, first + 1) / (first + 1)
        yield f"{unknown}: it is taken to rise evenly until there, as it does afterwards."
    elif first > 1:
        hint = "" if warmup == 0 else "; say warmup=, for how many updates, if it rose there"
        yield f"{unknown}: that of step {first}, {rates[first]:g}, is held{hint}."


def _between(rates: NDArray[np.float64], logged: NDArray[np.int64], between: str) -> Iterator[str]:
    distances = np.diff(logged)
    if not len(distances):
        return
    jumps = list(_at_once(rates, logged)) if between == "linear" else []
    gaps = np.flatnonzero(distances > _GAP * np.median(distances))
    if len(gaps):
        widest = gaps[distances[gaps].argmax()]
        inside = rates[logged[widest] : logged[widest + 1]]
        held = (inside == inside[0]).all() and inside[0] != rates[logged[widest + 1]]
        count = "a gap" if len(gaps) == 1 else f"{len(gaps)} gaps, the widest"
        how = "held" if held or between == "hold" else "interpolated"
        yield f"There is {count} from step {logged[widest]} to {logged[widest + 1]}; rates in it are {how}."
    yield from jumps


def _at_once(rates: NDArray[np.float64], logged: NDArray[np.int64]) -> Iterator[str]:
    """Where a rate changes much faster between two rows than before and after, it has jumped: that is no slope."""
    distances = np.diff(logged)
    changes = np.abs(np.diff(rates[logged]))
    slopes = changes / distances
    inside = np.arange(1, len(slopes) - 1)
    beside = np.maximum(slopes[:-2], slopes[2:])
    jumps = inside[(changes[1:-1] > _JUMP * rates.max()) & (slopes[1:-1] > _STEEP * beside) & (distances[1:-1] > 1)]
    if not len(jumps):
        return
    for at in jumps:
        rates[logged[at] : logged[at + 1]] = rates[logged[at]]
    begin, end = logged[jumps[0]], logged[jumps[0] + 1]
    more = f"; so at {len(jumps)} places" if len(jumps) > 1 else ""
    yield (
        f"Between the rows at step {begin} and {end} the rate jumps from {rates[begin]:g} to {rates[end]:g}: it is "
        f"taken to stay until step {end}{more}."
    )


def _rises(rates: NDArray[np.float64], warmup: int | None) -> list[str]:
    """Whether the rate rises again once it has stopped to."""
    risen = rises_again(rates, warmup or warmup_of(rates))
    if risen is None:
        return []
    return [
        f"The rate rises again after the warmup, first by step {risen}: the laws were made for rates that only fall."
    ]

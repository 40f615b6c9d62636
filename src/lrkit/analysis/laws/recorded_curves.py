"""From recorded runs to the curves that laws are fitted to; what is filled in, averaged or left out is said."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.rate_shape import warmup_of
from lrkit.analysis.laws.recorded_points import Measure, Measured, as_measure, averaged, measured
from lrkit.analysis.laws.recorded_rates import RatesSaid, rates_of
from lrkit.schedules import Schedule
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.shares import as_count
from lrkit.training.history import History
from lrkit.training.records.missing import Missing, MissingChoiceError
from lrkit.training.records.reading import is_own, read_history

__all__ = ["as_curve", "loss_curve", "read_curve"]

_FEWEST = 8
_FALL = 0.02  # of the updates: the first fall of the loss is faster than any law


def loss_curve(
    history: History,
    *,
    measure: Measure = "training",
    warmup: int | None = None,
    skip: int | None = None,
    schedule: str | Schedule | None = None,
    lr: float | None = None,
    steps: int | None = None,
    epoch_steps: int | None = None,
    name: str | None = None,
) -> LossCurve:
    """The curve of a recorded run that a law can be fitted to.

    Laws don't describe the warmup and the first fall of the loss: points before the warmup's end and in the first 2 %
    of the updates are left out. Training losses of every update are averaged in about 200 blocks, which don't reach
    across jumps of the rate; the rows of a sparse record are used as they are. The curve's `notes` say what was done.

    Args:
        history: lrkit's own, or of others by `read_history`.
        measure: which losses: "training", "validation" or "test".
        warmup: how many updates the warmup has, where the rates don't show it. Before the first rate that was recorded
            the rate of update t is then t / warmup of that at its end; else the first that was recorded is held.
        skip: leave out the points before so many updates, instead of 2 % of them.
        schedule: what gives the rates of all updates, instead of those that were recorded.
        lr: the base of the schedule (without one a constant); by default the one recorded, else the highest rate.
        steps: how many updates the whole schedule has; by default as many as were planned or, where that isn't known,
            recorded.
        epoch_steps: how many updates an epoch has, for lengths in epochs; by default as recorded.
        name: what the curve is called in messages; by default the run's name.

    Raises:
        InputError: for a run that no law can be fitted to, with the reason, and options that can't be.
        InputTypeError: for what is no history, and options of another type.

    >>> losses, rates = 1 + np.arange(1, 101, dtype=np.float32) ** -0.5, np.linspace(0.1, 0, 100)[:, None]
    >>> curve = loss_curve(History((), rates, losses, {}), name="short")
    >>> len(curve.steps), int(curve.steps[0]), curve.notes
    (98, 2, ('2 points are left out, before step 2: no law describes the first fall of the loss.',))
    """
    given: object = history
    if not isinstance(given, History):
        raise InputTypeError(f"history must be a History, not {shown(history)}")
    measure = as_measure(measure)
    skip = None if skip is None else as_count(skip, "skip")
    if name is not None and not isinstance(name, str):
        raise InputTypeError(f"name must be text, not {shown(name)}")
    called = name or str(history.made.get("name") or "run")
    said = RatesSaid(warmup=warmup, schedule=schedule, lr=lr, steps=steps, epoch_steps=epoch_steps)
    if not len(history.losses):
        raise InputError(f"{called} has no update")
    if (history.made.get("imported") or {}).get("unit") == "epochs":  # laws are of updates
        raise MissingChoiceError(called, [Missing("epoch_steps", "how many updates an epoch has")], [])
    rates, notes = rates_of(history, said, called)
    points, wrong = measured(history, measure, called)
    points, early = _described(points, rates, said.warmup, skip)
    _require_enough(points, rates, measure, called, [*wrong, *early])
    points, blocks = averaged(points, history, measure, rates)
    _require_positive(points, called, measure)
    return LossCurve(*points, rates, name=called, notes=(*notes, *wrong, *early, *blocks))


def _described(
    points: Measured, rates: NDArray[np.float64], warmup: int | None, skip: int | None
) -> tuple[Measured, list[str]]:
    """The points that laws are about."""
    steps, losses = points
    warmed = warmup_of(rates) if warmup is None else warmup
    fall = math.ceil(_FALL * len(rates)) if skip is None else skip
    first = max(warmed, fall)
    count = int((steps < first).sum())
    if not count:
        return points, []
    left_out = "point is left out" if count == 1 else "points are left out"
    if warmed >= fall:
        note = f"{count} {left_out}, before the end of the warmup at step {first}: laws begin after it."
    elif skip is None:
        note = f"{count} {left_out}, before step {first}: no law describes the first fall of the loss."
    else:
        note = f"{count} {left_out}, before step {first}."
    return (steps[steps >= first], losses[steps >= first]), [note]


def _require_enough(
    points: Measured, rates: NDArray[np.float64], measure: str, name: str, left_out: Sequence[str]
) -> None:
    if len(points[0]) >= _FEWEST:
        return
    if len(rates) > 1 and (np.diff(rates) > 0).all():
        raise InputError(f"no law can be fitted to {name}: its rate only rises, and laws are of what comes afterwards")
    better = "a longer run, or one that logs more often" if measure == "training" else "the training loss"
    why = f" ({' '.join(left_out).rstrip('.')})" if left_out else ""
    raise InputError(
        f"{name} must have at least {_FEWEST} {measure} losses to fit a law to, not {len(points[0])}: {better} would "
        f"do{why}"
    )


def _require_positive(points: Measured, name: str, measure: str) -> None:
    steps, losses = points
    low = np.flatnonzero(losses <= 0)
    if len(low):
        raise InputError(
            f"losses must be positive, since laws are fitted to their logarithm: {name} has a {measure} loss of "
            f"{losses[low[0]]:g} at step {steps[low[0]]}"
        )


def as_curve(given: object, number: int) -> LossCurve:
    """A curve of one, of a recorded run, or of (steps, losses, learning rates), without what no law describes.

    Args:
        given: what a caller has.
        number: which it is, for its name.

    Raises:
        InputTypeError: for what is none of these.
        InputError: for what no law can be fitted to.
    """
    if isinstance(given, LossCurve):
        return _stripped(given, 0)
    if isinstance(given, History):
        own = given.made.get("name")
        return loss_curve(given, name=f"curve {number} ({own})" if own else f"curve {number}")
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise InputTypeError(
            f"curves must be each a LossCurve, a History or (steps, losses, learning rates), not {shown(given)}"
        )
    steps, losses, learning_rates = given
    return _stripped(LossCurve(steps, losses, learning_rates, name=f"curve {number}"), None)


def _stripped(curve: LossCurve, skip: int | None) -> LossCurve:
    """Without the losses of the warmup, and before so many updates; by default the first 2 %."""
    points, notes = _described((curve.steps, curve.losses), curve.learning_rates, None, skip)
    _require_enough(points, curve.learning_rates, "training", curve.name, notes)
    return replace(curve, steps=points[0], losses=points[1], notes=(*curve.notes, *notes))


def _read(path: Path, arguments: Mapping[str, Any], schedule: str | None) -> History:
    """A record, with the rates that it has, and with those of the schedule only where it has none."""
    if is_own(path):
        return read_history(path)
    if schedule is not None:
        with suppress(InputError):  # it has no rates, or what is wrong with it otherwise is told next
            return read_history(path, **{**arguments, "lr": None})
    return read_history(path, **{**arguments, "schedule": schedule})


def read_curve(
    path: Path,
    *,
    reading: Mapping[str, Any] | None = None,
    measure: Measure = "training",
    warmup: int | None = None,
    skip: int | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    name: str | None = None,
) -> LossCurve:
    """The curve of a recorded run, in a folder or a file.

    Args:
        path: what `read_history` takes.
        reading: what else it takes, for records of others: of lrkit's own nothing has to be said.
        measure: as in `loss_curve`.
        warmup: likewise.
        skip: likewise.
        schedule: what gives the rates, with the number in `reading["lr"]` as its base; a note says where others were
            recorded.
        steps: how many updates the schedule has.
        name: what the curve is called; by default after the run, its folder or file.

    Raises:
        InputError: for what can't be read, and runs that no law can be fitted to; the message names the run.
    """
    arguments = dict(reading or {})
    history = _read(path, arguments, schedule)
    place = path.resolve()
    called = name or str(history.made.get("name") or (place.name if place.is_dir() else place.stem))
    if schedule is None:
        return loss_curve(history, measure=measure, warmup=warmup, skip=skip, name=called)
    base = arguments.get("lr")
    return loss_curve(
        history,
        measure=measure,
        warmup=warmup,
        skip=skip,
        schedule=schedule,
        lr=None if base is None or isinstance(base, str | list | tuple) else float(base),
        steps=steps,
        epoch_steps=arguments.get("epoch_steps"),
        name=called,
    )

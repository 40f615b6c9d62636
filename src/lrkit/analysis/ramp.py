"""The range test: the rate grows while lanes train, and the loss says from where to where it is any good."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrkit.analysis.curves import Array, Curve
from lrkit.analysis.descents import Reason, diagnose
from lrkit.analysis.finding import Finding
from lrkit.analysis.search import Rates, Search, Train, made_of_search, of_different_seeds, padded
from lrkit.analysis.suggestions import suggest
from lrkit.schedules import Plans, Schedule, absolute, constant, exponential, linear
from lrkit.schedules.errors import InputError
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.work import Histories
from lrkit.training.preparation import batches_of, take
from lrkit.training.randomness import seeded
from lrkit.training.task import Task
from lrkit.training.untouched import modes_kept

__all__ = ["run_ramp"]

_WIDENINGS = 4  # at most
_FARTHER = 100.0  # by how much
_LEAST_DECADES = 2.0  # that steps are spread over when it is told how many a wider range needs, and
_MOST_STEPS = 4  # times those that were asked for
_HELD_OUT = 4  # training batches that the held-out one is as long as, at most
_EXPLODED = 50.0  # times what the loss has fallen by, above where it began
_GROWN = 10.0  # times what it began with, at least


def run_ramp(task: Task, search: Search, train: Train, *, each_group: bool = False) -> Finding:
    """Let the rate grow from low to high, for each seed, and read a rate off the losses.

    rate(t) = low · (high / low)^(t / (steps - 1)), or low + (high - low) · t / (steps - 1); its loss is that of the
    next batch, which is measured with the weights that update t made.

    Args:
        task: what is trained.
        search: the range.
        train: trains lanes.
        each_group: for each param group by itself too, while the others keep their rates.
    """
    rates = Rates.of(task, search.place)
    measured = _measured(task, search)
    found = _widening(measured, search, rates, train, None)
    if not each_group:
        return found
    groups = range(len(rates.bases))
    return replace(found, groups=tuple(_widening(measured, search, rates, train, index) for index in groups))


def _widening(task: Task, search: Search, rates: Rates, train: Train, group: int | None) -> Finding:
    """The finding, in a range that becomes wider as long as the curve doesn't support a rate."""
    widened: list[Mapping[str, Any]] = []
    first = search
    while True:
        curve, history = _curve(task, search, rates, train, group)
        reason = diagnose(curve.rates, curve.typical)
        other = None if reason is None else _wider(reason, curve, search)
        if reason is None or other is None or len(widened) == _WIDENINGS:
            break
        widened.append({"low": search.low, "high": search.high, "reason": reason})
        search = replace(other, steps=_steps(first, other))
    made = {**made_of_search(search, rates, history, widened), "growth": search.growth, "group": group}
    made["seeds_differ"] = curve.seeds == len(search.seeds)
    return Finding(**vars(suggest(curve)), method="ramp", made=made)


def _wider(reason: Reason, curve: Curve, search: Search) -> Search | None:
    """Where to look next; None where that would show nothing new."""
    low, high = search.low, search.high
    match reason:
        case Reason.FALLING_AT_END:
            high *= _FARTHER
        case Reason.FALLING_AT_START:
            low /= _FARTHER
        case Reason.DIVERGED:
            low, high = low / _FARTHER**2, low * 10
        case Reason.NO_DESCENT:
            low, high = low / _FARTHER, high * (_FARTHER if np.isfinite(curve.typical[-1]) else 1.0)
        case _:
            return None
    other = search.between(low, high, up=high > search.high)
    return None if (other.low, other.high) == (search.low, search.high) else other


def _steps(first: Search, other: Search) -> int:
    """Of a wider range: as many for each decade as were asked for, within bounds."""
    wanted = round(first.steps * other.decades / max(first.decades, _LEAST_DECADES))
    return min(max(first.steps, wanted), _MOST_STEPS * first.steps)


def _curve(task: Task, search: Search, rates: Rates, train: Train, group: int | None) -> tuple[Curve, History]:
    """Losses after updates with growing rates, of each seed; of one where all are the same to the bit."""
    grows = _growing(search, 1.0 if group is not None else rates.base, at=absolute if group is not None else float)
    plan: Schedule | Plans = grows if group is None else Plans({"lr": constant()}, groups={group: grows})
    one_more = replace(task, steps=search.steps + 1, epochs=None)  # its loss is what the last rate led to
    histories = train(one_more, [Lane(plan, seed=seed) for seed in search.seeds], drop=_exploded)
    values = grows.over(search.steps + 1).value(np.arange(search.steps), rates.base)
    losses = np.array([padded(history.losses[1:], search.steps) for history in histories])
    return Curve(values, of_different_seeds(losses)), histories[0]


def _growing(search: Search, base: float, *, at: Any) -> Schedule:
    """The rate from low to high, in shares of the base, or absolute."""
    kind = exponential if search.growth == "exponential" else linear
    return kind(search.steps - 1, start=at(search.low / base), to=at(search.high / base))


def _exploded(histories: Histories) -> list[int]:
    """Lanes far above where they began: nothing is to be seen there any more."""
    return [number for number, history in histories.items() if _has_exploded(history.losses.astype(np.float64))]


def _has_exploded(losses: Array) -> bool:
    few = max(5, len(losses) // 20)
    medians = [float(np.median(part)) for part in np.array_split(losses, max(1, len(losses) // few))]
    first, last, spread = medians[0], medians[-1], float(np.median(np.abs(losses[:few] - medians[0])))
    return last > first + max(_EXPLODED * max(first - min(medians), spread), _GROWN * abs(first))


# --- held-out loss -----------------------------------------------------------------------------------


def _measured(task: Task, search: Search) -> Task:
    """The task with the loss that is asked for, and nothing to measure after epochs."""
    bare = replace(task, valid=None, test=None, early_stopping=None)
    if search.signal == "train":
        return bare
    size = min(task.valid_batch_size, _HELD_OUT * task.batch_size)
    with seeded(0, search.place):
        batches = batches_of(replace(task, batch_size=size), task.valid, "valid", search.place, 0).epoch(1)
        taken = take(batches, 1, "valid")
    if not taken:
        raise InputError("valid has no samples")
    return replace(bare, loss=None, metrics={}, forward=_HeldOut(bare, taken[0]))


@dataclass(frozen=True)
class _HeldOut:
    """A forward with the gradient of the training loss, and the value of the loss of a batch that isn't trained on.

    So each update records the held-out loss, whatever trains the lanes.
    """

    task: Task
    batch: Any

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        loss, n, _ = self.task.measure(model, batch, with_metrics=False)
        with modes_kept(model), torch.no_grad():
            model.eval()
            held_out, *_ = self.task.measure(model, self.batch, with_metrics=False)
        return loss - loss.detach() + held_out, n, {}

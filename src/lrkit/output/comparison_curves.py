"""What pictures of a comparison draw: measures over epochs with bands, and rates as they were used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrkit.analysis.comparison import Candidate, Comparison
from lrkit.output.plots import in_epochs, thin
from lrkit.schedules.evaluation import Array
from lrkit.training.history import History

__all__ = ["Band", "Curves", "Rates", "at_end_of", "axis_of", "curves_of"]


@dataclass(frozen=True, eq=False)
class Band:
    """A measure over the epochs, for one schedule; all arrays are of one shape, (epochs,).

    It ends where the first of the runs has no finite value any more.

    Attributes:
        epochs: 1-based.
        steps: updates done at their ends.
        places: where they are on the axis that is drawn: one of these.
        mean: over seeds.
        low, high: the 95 % interval of the mean at this epoch, by Student's t; the mean itself for a single seed.
        n: seeds.
    """

    epochs: Array
    steps: Array
    places: Array
    mean: Array
    low: Array
    high: Array
    n: int


@dataclass(frozen=True, eq=False)
class Rates:
    """The learning rates of a run, thinned for a picture: a value holds until the next.

    Attributes:
        steps: 0-based; the last is one past the run's end.
        epochs: the same, counted in epochs.
        places: where they are on the axis that is drawn: one of these.
        values: the rate of the update at each step.
    """

    steps: Array
    epochs: Array
    places: Array
    values: Array


@dataclass(frozen=True, eq=False)
class Curves:
    """What is drawn of one schedule.

    Attributes:
        name: of the candidate.
        number: its place in the order that schedules were given in, for its colour and dashes, as in
            `plots.distinct_style(number)`.
        bands: by the measure's name, "loss" first, then the metrics; of the data that the comparison measures.
        training: of the training loss; None where no run finished an epoch.
        rates: of its runs, each series once: one where no metric steered them, up to one for each seed else.
        diverged: how many of its runs did.
    """

    name: str
    number: int
    bands: Mapping[str, Band]
    training: Band | None
    rates: Sequence[Rates]
    diverged: int


def curves_of(comparison: Comparison) -> tuple[Curves, ...]:
    """What is drawn of each schedule, in the order of the standings, the best first."""
    numbers = {name: number for number, name in enumerate(comparison.candidates)}
    by_update = axis_of(comparison) != "epoch"
    return tuple(
        _curves(comparison.candidates[each.name], numbers[each.name], each.diverged, by_update=by_update)
        for each in comparison.standings
    )


def axis_of(comparison: Comparison) -> str:
    """What measures are drawn over: epochs, or updates for runs whose records aren't at the same places."""
    return "epoch" if comparison.made.get("axis") is None else "update"


def at_end_of(comparison: Comparison) -> str:
    """When final measures were taken, in words."""
    return "after the last epoch" if axis_of(comparison) == "epoch" else "at the end of the record"


def _curves(candidate: Candidate, number: int, diverged: int, *, by_update: bool) -> Curves:
    histories = [candidate.runs[seed] for seed in sorted(candidate.runs)]
    names = dict.fromkeys(name for each in histories for epoch in each.epochs for name in epoch.reported)
    bands = {
        name: _band(histories, [[epoch.reported.get(name) for epoch in each.epochs] for each in histories], by_update)
        for name in names
    }
    if (band := bands.get("accuracy")) is not None:  # as far as there are such accuracies
        bands["accuracy"] = replace(band, low=np.maximum(band.low, 0.0), high=np.minimum(band.high, 1.0))
    training = _band(histories, [[epoch.train_loss for epoch in each.epochs] for each in histories], by_update)
    return Curves(
        name=candidate.name,
        number=number,
        bands={name: band for name, band in bands.items() if band is not None},
        training=training,
        rates=_rates(histories, by_update),
        diverged=diverged,
    )


def _band(histories: Sequence[History], values: Sequence[Sequence[float | None]], by_update: bool) -> Band | None:
    """Of values by seed and epoch; None where there is no epoch that all runs have a finite value of."""
    from scipy import special

    shared = min((len(each) for each in values), default=0)
    table = np.array([each[:shared] for each in values], dtype=np.float64).reshape(len(values), shared)
    finite = np.isfinite(table).all(axis=0)
    end = shared if finite.all() else int(finite.argmin())
    if not end:
        return None
    table, records, n = table[:, :end], histories[0].epochs[:end], len(values)
    mean = table.mean(axis=0)
    half = special.stdtrit(n - 1, 0.975) * table.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(end)
    epochs, steps = (
        np.array([getattr(each, what) for each in records], dtype=np.float64) for what in ("epoch", "step")
    )
    return Band(
        epochs=epochs,
        steps=steps,
        places=steps if by_update else epochs,
        mean=mean,
        low=mean - half,
        high=mean + half,
        n=n,
    )


def _rates(histories: Sequence[History], by_update: bool) -> tuple[Rates, ...]:
    different: list[History] = []
    for each in histories:
        if len(each.lrs) and not any(np.array_equal(each.lr, other.lr) for other in different):
            different.append(each)
    return tuple(_thinned(each, by_update) for each in different)


def _thinned(history: History, by_update: bool) -> Rates:
    rates, positions = history.lr, in_epochs(history)
    keep = thin(rates)
    steps = np.append(keep, len(rates)).astype(np.float64)
    epochs = np.append(positions[keep], float(history.epochs[-1].epoch))
    return Rates(
        steps=steps,
        epochs=epochs,
        places=steps if by_update else epochs,
        values=np.append(rates[keep], rates[-1]),
    )

"""Comparisons: the histories of candidates in, which schedule is better out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from lrkit.analysis.comparison import Candidate, Comparison, Measure, NothingEndedError, Standing
from lrkit.analysis.paired import compare_pairs
from lrkit.analysis.standings import final_values, measured, sound, stand, tried_value
from lrkit.analysis.verdicts import say_verdict
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.shares import as_number
from lrkit.training.history import History

__all__ = ["compare_histories", "measure_of"]

_FEW = 5  # seeds, below which a t-test leans on what it assumes


def compare_histories(
    candidates: Iterable[Candidate],
    *,
    reference: str | None = None,
    measure: str = "loss",
    mode: Literal["min", "max"] | None = None,
    target: float | None = None,
    notes: Sequence[str] = (),
    made: Mapping[str, Any] | None = None,
) -> Comparison:
    """Which schedule is better, from runs that have been recorded.

    Runs are compared by what `EpochRecord.reported` says after the last epoch: on the test data, where there are some.
    Differences to the reference are paired by seed, as lanes of one seed have the same weights and batches.

    Args:
        candidates: the schedules; at least one must have a run that came to its end.
        reference: the name of the schedule that the others are compared with; by default the one that was best in the
            search for its rate, among those whose runs all came to their end: so it is settled before results are
            seen; without such a search the first.
        measure: "loss", or the name of a metric.
        mode: whether "min" or "max" is better; needed for a metric that is neither a loss nor an accuracy.
        target: of the measure, to say when runs get there; by default the worst of the final means.
        notes: sentences that a reader must know, beside those that are found here.
        made: how the runs were made.

    Raises:
        InputError: for names that aren't known or stand twice, and where no run came to its end.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    >>> def candidate(text):
    ...     return lrkit.Candidate(text, text, 0.1, {seed: lrkit.run(task, text, seed=seed) for seed in range(5)})
    >>> found = lrkit.compare_histories([candidate("constant()"), candidate("linear(to=0)")])
    >>> print(found.verdict[0])
    constant() is better than linear(to=0) (by 0.26, p = 0.026).
    """
    named = _named(candidates)
    ended = sound(history for each in named.values() for history in each.runs.values())
    if not ended:
        raise NothingEndedError("there is nothing to compare: no run came to its end with a finite loss")
    names = measured(named.values())
    if measure not in names:
        raise unknown("measure", str(measure), names)
    how = replace(measure_of(measure, mode), data=_data(ended))
    favourite = _reference(named, how, reference)
    aim = _worst(named.values(), how) if target is None else as_number(target, "target")
    standings = [stand(each, how, names, aim) for each in named.values()]
    standings = sorted(_with_differences(standings, named, how, favourite), key=lambda each: _order(each, how))
    return Comparison(
        measure=how,
        reference=favourite,
        standings=tuple(standings),
        target=aim,
        verdict=tuple(say_verdict(standings, favourite, how)),
        notes=(*notes, *_notes(standings, named, how)),
        made=dict(made or {}),
        candidates=named,
    )


def measure_of(name: str, mode: str | None) -> Measure:
    """A measure by its name, on test data; losses are to be low and accuracies high, others have to say it.

    Raises:
        InputError: where they don't, and for another mode.

    >>> measure_of("accuracy", None).mode
    'max'
    """
    if mode not in (None, "min", "max"):
        raise InputError(f"mode must be 'min' or 'max', not {mode!r}")
    if mode is None:
        if name.endswith("loss"):
            return Measure(name, "min")
        if not name.endswith("accuracy"):
            raise InputError(f"mode must be said for the measure {name!r}: 'min' or 'max', whichever is better")
        return Measure(name, "max")
    return Measure(name, "min" if mode == "min" else "max")


def _data(histories: Sequence[History]) -> Literal["test", "validation", "training"]:
    """What the runs are measured on, all on the same."""
    last = [each.epochs[-1] for each in histories]
    if all(each.test_loss is not None for each in last):
        return "test"
    if any(each.test_loss is not None for each in last):
        raise InputError("runs that are compared must all have test data, or none of them")
    return "validation" if all(each.valid_loss is not None for each in last) else "training"


def _named(candidates: Iterable[Any]) -> dict[str, Candidate]:
    found: dict[str, Candidate] = {}
    for each in candidates:
        if not isinstance(each, Candidate):
            raise InputTypeError(f"compare_histories takes candidates, lrkit.Candidate(name, …), not {shown(each)}")
        if each.name in found:
            raise InputError(f"candidates must have different names, and two are called {each.name!r}")
        found[each.name] = each
    return found


def _reference(named: Mapping[str, Candidate], measure: Measure, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in named:
            raise unknown("reference", wanted, named)
        return wanted
    sign = 1.0 if measure.mode == "min" else -1.0
    whole = {name: each for name, each in named.items() if _is_whole(each, measure)} or named
    values = {name: value for name, each in whole.items() if (value := tried_value(each, measure)) is not None}
    return min(values, key=lambda name: sign * values[name]) if values else next(iter(whole))


def _is_whole(candidate: Candidate, measure: Measure) -> bool:
    """Whether all of its runs came to their end."""
    return bool(candidate.runs) and len(final_values(candidate, measure)) == len(candidate.runs)


def _worst(candidates: Iterable[Candidate], measure: Measure) -> float | None:
    """The worst of the final means of those whose runs all came to their end; what the others are as good as early."""
    whole = [each for each in candidates if _is_whole(each, measure)]
    means = [float(np.mean(list(final_values(each, measure).values()))) for each in whole]
    if not means:
        return None
    return max(means) if measure.mode == "min" else min(means)


def _with_differences(
    standings: Sequence[Standing], named: Mapping[str, Candidate], measure: Measure, reference: str
) -> list[Standing]:
    """The standings with their differences to the reference, where neither has runs that failed."""
    values = {name: final_values(each, measure) for name, each in named.items() if _is_whole(each, measure)}
    base = values.pop(reference, {})
    pairs = {
        name: np.array([each[seed] - base[seed] for seed in shared])
        for name, each in values.items()
        if (shared := sorted(each.keys() & base.keys()))
    }
    differences = dict(zip(pairs, compare_pairs(list(pairs.values())), strict=True))
    return [replace(each, difference=differences.get(each.name)) for each in standings]


def _order(each: Standing, measure: Measure) -> tuple[bool, int, float]:
    if not each.final:
        return True, each.diverged, 0.0
    mean = each.final[measure.name].mean
    return False, each.diverged, mean if measure.mode == "min" else -mean


# --- what a reader must know -------------------------------------------------------------------------


def _notes(standings: Sequence[Standing], named: Mapping[str, Candidate], measure: Measure) -> list[str]:
    notes = [
        f"The best rate of {each.name}, {each.best_lr:.6g}, is the {each.at_edge} that was tried: a better one may lie "
        "beyond."
        for each in standings
        if each.at_edge is not None
    ]
    if measure.data != "test" and any(each.tried for each in standings):
        notes.append(f"There are no test data: the {measure} that chose the rates is reported too, which flatters all.")
    seeds = {frozenset(each.runs) for each in named.values() if each.runs}
    if len(seeds) > 1:
        notes.append("The schedules have runs of different seeds: differences are over those that both have.")
    fewest = min((len(each) for each in seeds), default=0)
    if len(named) > 1 and 1 < fewest < _FEW:
        notes.append(
            f"With {fewest} seeds, intervals and p-values lean on the assumption that results of seeds are normally "
            "distributed."
        )
    if fewest > 1 and all(_alike(each, measure) for each in named.values()):
        notes.append("Seeds change nothing in this task, so intervals have no width and say nothing of other data.")
    return notes


def _alike(candidate: Candidate, measure: Measure) -> bool:
    return len(set(final_values(candidate, measure).values())) <= 1

"""What there is of a tournament: read from runs, or from a folder's records alone, and joined with others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.analysis.comparison import Candidate, Comparison, NothingEndedError
from lrkit.analysis.comparison_folder import read_terms
from lrkit.analysis.comparisons import compare_histories
from lrkit.analysis.kept_lanes import KeptLanes, Runs, StageName
from lrkit.analysis.selection import best_rate
from lrkit.analysis.standings import is_dropped
from lrkit.analysis.terms import Terms, plan_of
from lrkit.schedules import Plans
from lrkit.schedules.errors import InputError, shown
from lrkit.training.history import History

__all__ = ["Reading", "chosen_rates", "join", "read_tournament", "reading_of"]

_OF_A_LANE = ("schedule", "policy", "lr", "seed", "epochs", "dropped", "compiled", "averaging", "lanes", "started")


@dataclass(frozen=True)
class Reading:
    """What a comparison is made from.

    Attributes:
        terms: what it was held under.
        candidates: schedules with final runs, and those that have none since no rate came to the end.
        made: how it was made; JSON-able.
        late: the texts, by name, of schedules whose final runs haven't been trained.
    """

    terms: Terms
    candidates: Sequence[Candidate]
    made: Mapping[str, Any]
    late: Mapping[str, str]

    def compare(self, *, reference: str | None = None, target: float | None = None) -> Comparison:
        """The comparison, with another reference or target where one is given."""
        terms = self.terms if reference is None else replace(self.terms, reference=reference).checked()
        names = [each.name for each in self.candidates]
        return compare_histories(
            self.candidates,
            reference=terms.reference if terms.reference in names else None,
            measure=terms.measure.name,
            mode=terms.measure.mode,
            target=terms.target if target is None else target,
            notes=tuple(self._notes()),
            made=self.made,
        )

    def _notes(self) -> Iterator[str]:
        """What is left out, which schedules are the same, and what makes runs less alike than they should be."""
        there = {each.name for each in self.candidates}
        missing = {**self.terms.left_out, **dict.fromkeys(self.late, "its final runs haven't been trained")}
        for name in sorted(missing.keys() - there):
            yield f"{name} is left out: {missing[name]}."
        for names in _same(self.candidates):
            yield f"{', '.join(names[:-1])} and {names[-1]} are the same schedule over this length."
        if len(set(self.terms.task["ratios"])) > 1:
            yield "The param groups of the task have different rates; here all have the rate that is tried."
        made = [history.made for each in self.candidates for history in _histories(each)]
        for what, values in (
            ("versions of the task's file", {(each["source"] or {}).get("sha256") for each in made}),
            ("versions of torch", {each["torch"] for each in made}),
            ("devices", {each["device"] for each in made}),
        ):
            if len(values) > 1:
                yield f"Runs were made with different {what}."


def _histories(candidate: Candidate) -> list[History]:
    """The final runs, and those of the search."""
    return [history for runs in (candidate.runs, *candidate.tried.values()) for history in runs.values()]


def _same(candidates: Iterable[Candidate]) -> list[list[str]]:
    """The names of those whose rates were the same at every update of all seeds that they share, at least two each."""
    groups: list[list[Candidate]] = []
    for each in candidates:
        group = next((group for group in groups if _have_same_rates(group[0], each)), None)
        if group is None:
            groups.append([each])
        else:
            group.append(each)
    return [[each.name for each in group] for group in groups if len(group) > 1]


def _have_same_rates(first: Candidate, second: Candidate) -> bool:
    shared = first.runs.keys() & second.runs.keys()
    if not shared or any(isinstance(plan_of(each.schedule), Plans) for each in (first, second)):
        return False  # several plans move more than the rate
    pairs = [(first.runs[seed], second.runs[seed]) for seed in shared]
    return all(
        np.array_equal(one.lrs, other.lrs) and one.made.get("averaging") == other.made.get("averaging")
        for one, other in pairs
    )


def chosen_rates(terms: Terms, runs: Runs) -> dict[str, float | None]:
    """By schedule the best rate in the search, over all seeds that there are."""
    return {name: best_rate(_tried(str(one), runs), terms.measure) for name, one in terms.schedules.items()}


def _tried(schedule: str, runs: Runs) -> dict[float, dict[int, History]]:
    found: dict[float, dict[int, History]] = defaultdict(dict)
    for key in sorted(runs):
        if key.schedule == schedule:
            found[key.lr][key.seed] = runs[key]
    return dict(found)


def reading_of(terms: Terms, runs: Mapping[StageName, Runs], seconds: float) -> Reading:
    """What runs say; final runs at rates that aren't the best any more are left out.

    Raises:
        NothingEndedError: where no schedule came to its end.
        InputError: where no final run has been trained yet.
    """
    best = chosen_rates(terms, runs["selection"])
    candidates, late = [], {}
    for name, one in terms.schedules.items():
        rate = best[name]
        finals = {} if rate is None else _tried(str(one), runs["final"]).get(rate, {})
        tried = _tried(str(one), runs["selection"])
        if not finals and (rate is not None or not tried):
            late[name] = str(one)
        else:
            candidates.append(Candidate(name, str(one), rate, finals, tried))
    if not any(each.runs for each in candidates):
        if not late:
            raise NothingEndedError(
                "no schedule came to its end at any rate, so there is nothing to compare; try lower rates"
            )
        raise InputError("no schedule has a final run yet, so there is nothing to compare")
    return Reading(terms, candidates, _made(terms, runs, seconds), late)


def read_tournament(path: str | Path) -> Reading:
    """What a folder of `lrkit.compare` has, from its records alone: no task is loaded, and nothing trained.

    Raises:
        InputError: where there is no such folder, it can't be read, or no final run has ended.
    """
    terms, seconds = read_terms(Path(path))
    kept = KeptLanes(Path(path))
    runs: dict[StageName, Runs] = dict(kept.runs)
    if kept.unfinished is not None and kept.unfinished[0] == "selection":
        settled = runs["selection"].items()
        runs["selection"] = {key: history for key, history in settled if key not in kept.unsettled}
    try:
        return reading_of(terms, runs, seconds)
    except InputError as error:
        raise InputError(f"the comparison in {path} can't be shown: {error}") from None


# --- several -----------------------------------------------------------------------------------------


def join(readings: Iterable[Reading]) -> Reading:
    """Several comparisons of one task as one.

    Schedules of the same name, text and rate have their seeds united; where a seed is there twice the first counts.
    Others of a name that is there already are called "name (2)" and so on.

    Raises:
        InputError: where there is none, or they are of different tasks, held-out shares or measures.
    """
    given = list(readings)
    if not given:
        raise InputError("there is no comparison to join")
    first, *others = given
    found = {each.name: each for each in first.candidates}
    for other in others:
        _refuse_other_task(first.terms, other.terms)
        for candidate in other.candidates:
            _add(found, candidate)
    made = {**first.made, "joined": [dict(each.made) for each in (first, *others)]} if others else first.made
    there = {each.schedule for each in found.values() if each.runs}
    late = {name: text for each in given for name, text in each.late.items() if text not in there}
    return replace(first, candidates=tuple(found.values()), made=made, late=late)


def _refuse_other_task(first: Terms, other: Terms) -> None:
    same = {**first.task, "holdout": first.holdout, **vars(first.measure)}
    for name, value in {**other.task, "holdout": other.holdout, **vars(other.measure)}.items():
        if same.get(name) != value:
            raise InputError(
                f"comparisons of different trainings can't be joined: {name.replace('_', ' ')} is "
                f"{shown(same.get(name))} in one, {shown(value)} in another"
            )


def _add(found: dict[str, Candidate], candidate: Candidate) -> None:
    """Put a candidate to the others: into the one that it is the same as, or beside it."""
    name, number = candidate.name, 1
    while name in found:
        there = found[name]
        if (there.schedule, there.lr) == (candidate.schedule, candidate.lr):
            found[name] = replace(
                there, runs={**candidate.runs, **there.runs}, tried=_united(there.tried, candidate.tried)
            )
            return
        number += 1
        name = f"{candidate.name} ({number})"
    found[name] = replace(candidate, name=name)


def _united(
    first: Mapping[float, Mapping[int, History]], second: Mapping[float, Mapping[int, History]]
) -> dict[float, dict[int, History]]:
    rates = sorted({*first, *second})
    return {rate: {**second.get(rate, {}), **first.get(rate, {})} for rate in rates}


# --- how it was made ---------------------------------------------------------------------------------


def _made(terms: Terms, runs: Mapping[StageName, Runs], seconds: float) -> dict[str, Any]:
    """How it was made; JSON-able."""
    last = next(reversed(list(runs["final"].values()))).made
    common = {name: value for name, value in last.items() if name not in _OF_A_LANE}
    ended, dropped = _lane_epochs(terms, runs["selection"].values())
    return {
        **common,
        "epochs": terms.task["epochs"],
        "samples": dict(terms.task["samples"]),
        "holdout": terms.holdout,
        "rates": list(terms.rates),
        "seeds": {"selection": list(terms.seeds_to_select), "final": list(terms.final_seeds)},
        "backends": {stage: _backends(each.values()) for stage, each in runs.items()},
        "halving": {"lane_epochs": ended, "saved": dropped},
        "seconds": seconds,
    }


def _backends(histories: Iterable[History]) -> list[dict[str, Any]]:
    """What trained them, and why that."""
    found = {(each.made["lanes"]["backend"], each.made["lanes"]["reason"]): None for each in histories}
    return [{"backend": backend, "reason": reason} for backend, reason in found]


def _lane_epochs(terms: Terms, histories: Iterable[History]) -> tuple[int, int]:
    """Epochs that were trained in the search for rates, and how many more it would have been without halving."""
    trained = saved = 0
    for history in histories:
        trained += len(history.epochs)
        if is_dropped(history):
            saved += (terms.task["epochs"] or len(history.epochs)) - len(history.epochs)
    return trained, saved

"""Runs that were recorded one by one, whoever trained them, as a comparison."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lrkit.analysis.comparison import Candidate, Comparison
from lrkit.analysis.comparisons import compare_histories
from lrkit.schedules.errors import InputError, unknown
from lrkit.training.history import History
from lrkit.training.records.missing import Missing, MissingChoiceError

__all__ = ["RecordedRun", "compare_runs"]

_UNKNOWN = (None, "unknown", "task")  # what a task is called where nobody said
_SHOWN = ("schedule", "lr", "seed", "steps", "trainer", "task", "device", "torch", "started", "hyper_parameters")


@dataclass(frozen=True)
class RecordedRun:
    """A run that is compared.

    Attributes:
        path: where it was read.
        history: what was recorded.
        name: what its candidate is to be called; None for its schedule, else the run's own name.
    """

    path: str
    history: History
    name: str | None = None

    @property
    def schedule(self) -> str | None:
        """As text; None where it isn't known."""
        found = self.history.made.get("schedule")
        return None if found in (None, "unknown") else str(found)

    @property
    def lr(self) -> float:
        """The base; where it wasn't recorded the highest rate that was used."""
        base = self.history.made.get("lr")
        value = float(self.history.lr.max()) if base is None else float(base)
        return float(f"{value:.6g}")  # as single precision leaves it, and as it is shown

    @property
    def own_name(self) -> str:
        """What it is called where nothing else says."""
        return str(self.history.made.get("name") or self.path)


def compare_runs(
    runs: Sequence[RecordedRun],
    *,
    reference: str | None = None,
    measure: str = "loss",
    mode: Literal["min", "max"] | None = None,
    target: float | None = None,
) -> Comparison:
    """Which schedule was better, of runs with their schedules.

    Runs of one name are one candidate, else those of one schedule and rate, with their seeds; a run of an unknown
    schedule is one by itself. Runs without a seed get the seeds of the other candidates that are free, the lowest
    first, then the lowest free numbers: so as many as can be have a partner.

    Args:
        runs: at least one.
        reference: the name of the candidate that the others are compared with; by default the first.
        measure: "loss", or the name of a metric.
        mode: whether "min" or "max" is better.
        target: of the measure, to say when runs get there.

    Raises:
        InputError: where there is none, two of a candidate have one seed, or none came to its end.
    """
    if not runs:
        raise InputError("there is no run to compare")
    given = _measured_alike(runs)
    groups = _grouped(given)
    candidates = [
        _candidate(name, group, _seeds([run for other in groups if other != name for run in groups[other]]))
        for name, group in groups.items()
    ]
    names = [each.name for each in candidates]
    if reference is not None and reference not in names:
        raise unknown("reference", reference, names)
    in_epochs = _require_one_unit(given)
    by_update = _differ_in_epochs(given) or (not in_epochs and any("imported" in each.history.made for each in given))
    return compare_histories(
        candidates,
        reference=reference,
        measure=measure,
        mode=mode,
        target=target,
        notes=(*(["Records count epochs alone, so each step here is an epoch."] if in_epochs else []), *_notes(runs)),
        made={
            "task": _task(given),
            "axis": "update" if by_update else None,
            "filled_in": any(_filled(each.history.made) for each in given),
            "runs": [{"record": each.path, **_shown(each.history.made)} for each in given],
        },
    )


# --- candidates --------------------------------------------------------------------------------------


def _grouped(runs: Sequence[RecordedRun]) -> dict[str, list[RecordedRun]]:
    """Runs by the name of their candidate."""
    groups: dict[tuple[str, str | float | None], list[RecordedRun]] = defaultdict(list)
    for each in runs:
        if each.name is not None:
            groups["name", each.name].append(each)
        elif each.schedule is not None:
            groups[each.schedule, each.lr].append(each)
        else:
            groups["record", each.path].append(each)
    short = {key: _short_name(key[0] == "record", each[0]) for key, each in groups.items()}
    count = Counter(short.values())
    named: dict[str, list[RecordedRun]] = {}
    for key, group in groups.items():
        name = short[key]
        if count[name] > 1:
            name = group[0].path if key[0] == "record" else f"{name} at {group[0].lr:.6g}"
        while name in named:
            name = f"{name} ({len(named)})"
        named[name] = group
    return named


def _short_name(alone: bool, run: RecordedRun) -> str:
    if run.name is not None:
        return run.name
    return run.own_name if alone or run.schedule is None else run.schedule


def _seeds(runs: Sequence[RecordedRun]) -> list[int]:
    """Those on record, the lowest first."""
    return sorted({int(seed) for each in runs if (seed := each.history.made.get("seed")) is not None})


def _candidate(name: str, runs: Sequence[RecordedRun], others: Sequence[int]) -> Candidate:
    """Of its runs; those without a seed get one of the others', so that they have a partner, else a free number."""
    found: dict[int, RecordedRun] = {}
    for each in runs:
        seed = each.history.made.get("seed")
        if seed is None:
            continue
        if int(seed) in found:
            raise InputError(
                f"{found[int(seed)].path} and {each.path} are both runs of {name} with seed {seed}; give one of them, "
                "or each a --name"
            )
        found[int(seed)] = each
    wanted = dict.fromkeys([*others, *range(len(runs) + len(others))])
    free = (number for number in wanted if number not in found)
    for each in runs:
        if each.history.made.get("seed") is None:
            found[next(free)] = each
    first = runs[0]
    rates = {each.lr for each in runs}
    return Candidate(
        name,
        first.schedule or "unknown schedule",
        first.lr if len(rates) == 1 else None,
        {seed: found[seed].history for seed in sorted(found)},
    )


def _measured_alike(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs, without what they have of test or validation data where not all have some at their ends."""
    found = list(runs)
    for loss, metrics in (("test_loss", "test_metrics"), ("valid_loss", "metrics")):
        if len(_having(found, loss)) > 1:
            found = [replace(each, history=_without(each.history, loss, metrics)) for each in found]
    return found


def _having(runs: Sequence[RecordedRun], loss: str) -> set[bool]:
    """Whether runs have this loss in the end: those that came to it."""
    ended = [each.history for each in runs if each.history.epochs and each.history.diverged is None]
    return {getattr(each.epochs[-1], loss) is not None for each in ended}


def _without(history: History, loss: str, metrics: str) -> History:
    nothing: dict[str, Any] = {loss: None, metrics: {}}
    return replace(history, epochs=tuple(replace(each, **nothing) for each in history.epochs))


def _differ_in_epochs(runs: Sequence[RecordedRun]) -> bool:
    return len({tuple(epoch.step for epoch in each.history.epochs) for each in runs}) > 1


def _require_one_unit(runs: Sequence[RecordedRun]) -> bool:
    """Whether updates stand for epochs, in all runs or none.

    Raises:
        InputError: where only some do.
    """
    units = {(each.history.made.get("imported") or {}).get("unit", "updates"): each.path for each in runs}
    if len(units) > 1:
        question = f"how many updates an epoch has ({units['updates']} counts updates)"
        raise MissingChoiceError(units["epochs"], [Missing("epoch_steps", question)], [])
    return "epochs" in units


# --- what a reader must know -------------------------------------------------------------------------


def _task(runs: Sequence[RecordedRun]) -> str | None:
    tasks = dict.fromkeys(str(task) for each in runs if (task := each.history.made.get("task")) not in _UNKNOWN)
    return next(iter(tasks)) if len(tasks) == 1 else None


def _notes(runs: Sequence[RecordedRun]) -> Iterator[str]:
    made = [each.history.made for each in runs]
    lengths = sorted({len(each.history.lrs) for each in runs})
    if len(lengths) > 1:
        yield (
            f"Runs have different numbers of updates, from {lengths[0]} to {lengths[-1]}: a longer training isn't a "
            "better schedule."
        )
    tasks = list(dict.fromkeys(str(each["task"]) for each in made if each.get("task") not in _UNKNOWN))
    if len(tasks) > 1:
        yield f"Runs are of different tasks: {', '.join(tasks)}."
    elif any(each.get("task") in _UNKNOWN for each in made) and len(runs) > 1:
        yield "Nothing says that all runs are of the same task, model and data: that is for you to know."
    for what in ("test", "validation"):
        if len(_having(runs, f"{what.removesuffix('ation')}_loss")) > 1:
            yield f"Not all runs have {what} data, so all are compared without."
    if len(runs) > 1 and (missing := [each.path for each in runs if each.history.made.get("seed") is None]):
        yield (
            f"{len(missing)} of {len(runs)} runs have no seed on record: runs without a seed are paired in the order "
            "given, with the others' seeds from the lowest."
        )
    if any(_filled(each) for each in made):
        yield (
            "Of records that aren't lrkit's own, what lies between two points that were logged is filled in: rates as "
            "drawn, and training losses."
        )
    for what in ("torch", "device", "trainer"):
        if len({each.get(what) for each in made if each.get(what) is not None}) > 1:
            yield f"Runs were made with different {'versions of torch' if what == 'torch' else f'{what}s'}."


def _filled(made: Mapping[str, Any]) -> bool:
    return any((made.get("imported") or {}).get("filled_in", {}).values())


def _shown(made: Mapping[str, Any]) -> dict[str, Any]:
    """How a run was made, as far as it matters here."""
    found = {name: made[name] for name in _SHOWN if made.get(name) not in (None, "unknown")}
    imported = made.get("imported")
    if imported:
        filled = ", ".join(f"{count} of {name}" for name, count in imported["filled_in"].items() if count)
        found |= {
            "read as": imported["format"],
            "names": {name: each for name, each in imported["names"].items() if each},
            "points": imported["points"],
            "filled in": filled or "nothing",
            **({"said": "; ".join(said)} if (said := imported.get("said")) else {}),
        }
    return found

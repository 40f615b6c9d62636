"""The tables of lanes.py, in markdown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lane_contenders import CONTENDERS
from lane_costs import MANY
from lane_runs import BACKENDS, MODELS
from timing import markdown, median_ratio, spread

__all__ = ["report"]

RATIOS = [("compiled", "limit"), ("compiled", "jax"), ("loop", "compiled"), ("lightning", "compiled")]
RATIO_LANES = ("32", "128")
LIMIT = ("products", "traffic")

Times = Mapping[str, Mapping[str, Sequence[float]]]


def report(found: Mapping[str, Any]) -> str:
    """All tables of what was measured."""
    parts = [found["machine"]]
    if "steady" in found:
        parts += _steady(found["steady"]["times"])
    if "models" in found:
        parts += _models(found["models"])
    if "compile" in found:
        parts += _compile(found["compile"])
    if "memory" in found:
        parts += _memory(found["memory"])
    notes = [*_notes(found.get("steady", {})), *_notes(found.get("models", {}))]
    return "\n\n".join([*parts, *(["\n".join(["Left out:", "", *notes])] if notes else [])])


def _notes(part: Mapping[str, Any]) -> list[str]:
    return [f"- {name}: {note}" for name, note in part.get("notes", {}).items()]


# --- the perceptron ----------------------------------------------------------------------------------


def _steady(measured: Times) -> list[str]:
    times = {**measured, **_limit(measured)}
    columns = list(next(iter(times.values()), ()))
    rows = [[_title(name), *(_cell(runs.get(count)) for count in columns)] for name, runs in times.items()]
    pairs = [pair for pair in RATIOS if set(pair) <= set(times)]
    shared = [count for count in RATIO_LANES if count in columns]
    ratios = [
        [f"{_title(one)} / {_title(other)}", *(_ratio(times[one].get(n), times[other].get(n)) for n in shared)]
        for one, other in pairs
    ]
    head = f"Microseconds per lane-step, steady state, {_rounds(times)}, by the number of lanes:"
    parts = [head, markdown(["lanes", *columns], rows)]
    if ratios and shared:
        parts += ["Ratios, medians within rounds:", markdown(["lanes", *shared], ratios)]
    return parts


def _limit(times: Times) -> dict[str, dict[str, list[float]]]:
    """Products and traffic together, where both were measured."""
    if not set(LIMIT) <= set(times):
        return {}
    one, other = (times[name] for name in LIMIT)
    return {
        "limit": {
            count: [sum(both) for both in zip(one[count], other[count], strict=True)] for count in one if count in other
        }
    }


def _title(name: str) -> str:
    return "the machine's limit" if name == "limit" else CONTENDERS[name].title


def _cell(runs: Sequence[float] | None) -> str:
    if runs is None:
        return ""
    return spread(runs, 1 if median(runs) < 100 else 0)


def _ratio(one: Sequence[float] | None, other: Sequence[float] | None) -> str:
    return f"{median_ratio(one, other):.2f}" if one and other else ""


def _rounds(times: Times) -> str:
    count = max((len(runs) for each in times.values() for runs in each.values()), default=0)
    return "one round" if count == 1 else f"median (and range) of {count} rounds"


# --- other models ------------------------------------------------------------------------------------


def _models(part: Mapping[str, Any]) -> list[str]:
    rows, reasons = [], []
    for key, times in part["times"].items():
        model, lanes = key.split()
        chosen = part["chosen"][key]
        rows.append(
            [
                MODELS[model].title,
                lanes,
                *(_cell(times.get(backend)) for backend in BACKENDS),
                chosen["backend"],
                _against_plain(times, chosen["backend"]),
            ]
        )
        reasons.append(f"- {MODELS[model].title}, {lanes} lanes: {chosen['reason']}")
    header = ["", "lanes", *BACKENDS, "auto chose", "auto / better of sequential and processes"]
    head = f"Other models, microseconds per lane-step, {_rounds(part['times'])}; `auto` takes as long as what it chose:"
    return [head, markdown(header, rows), "\n".join(["Why `auto` chose it:", "", *reasons])]


def _against_plain(times: Mapping[str, Sequence[float]], chosen: str) -> str:
    plain = [times[name] for name in ("sequential", "processes") if name in times]
    if chosen not in times or not plain:
        return ""
    better = [min(each) for each in zip(*plain, strict=True)]
    return _ratio(times[chosen], better)


# --- what it costs -----------------------------------------------------------------------------------


def _compile(part: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        [MODELS[name].title, str(row["lanes"]), *(_seconds(row[kind]) for kind in ("eager", "cold", "warm"))]
        for name, row in part.items()
    ]
    head = (
        "Seconds from the call of `run_lanes` until its third update; cold with an empty cache, warm with what it left:"
    )
    return [head, markdown(["", "lanes", "eager", "compiled, cold", "compiled, warm"], rows)]


def _seconds(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"


def _memory(part: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        [MODELS[name].title, backend, *_megabytes(row)] for name, each in part.items() for backend, row in each.items()
    ]
    head = f"Memory per lane, megabytes: a process with {MANY} lanes beyond one with a single lane, by {MANY - 1}:"
    return [head, markdown(["", "backend", "measured", "lrkit's estimate"], rows)]


def _megabytes(row: Mapping[str, Any] | str) -> list[str]:
    if isinstance(row, str):
        return [row, ""]
    estimate = row["estimate"]
    return [f"{row['measured'] / 1e6:.2f}", "" if estimate is None else f"{estimate / 1e6:.2f}"]

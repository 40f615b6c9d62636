"""The table of a sweep, and the same as JSON."""

import math
from typing import Any

from lrkit.analysis.sweep import Outcome, Row, Sweep
from lrkit.output.cells import column, fitted, percent, show_loss
from lrkit.schedules.shares import show_number

__all__ = ["as_dict", "best_sentence", "table"]

_MOST_ROWS = 20
_LEAST_WIDTH = 24  # of a schedule's text


def table(sweep: Sweep, width: int | None = None) -> list[str]:
    """The lines of the table, the best configuration first; how many more there are at the end.

    Schedules are cut where lines would be wider; where they couldn't be told apart then, they have numbers, and stand
    whole beneath the table.
    """
    rows = sweep.rows[:_MOST_ROWS]
    several = any(len(row.outcomes) > 1 for row in sweep.rows)
    columns = [column("valid loss" if sweep.validated else "train loss", [show_loss(row.mean) for row in rows])]
    if several:
        columns.append(column("range of seeds", [_range(row) for row in rows]))
        columns.append(column("seeds", [str(len(row.outcomes)) for row in rows]))
    if any("accuracy" in each.metrics for each in sweep.outcomes):
        columns.append(column("accuracy", [percent(row.metric("accuracy")) for row in rows]))
    if sweep.validated:
        columns.append(column("train loss", [show_loss(row.train_loss) for row in rows]))
    columns.append(column("lr", [f"{row.one.lr:.6g}" for row in rows]))
    columns += [
        column(name.replace("_", " "), [show_number(row.one.hypers[name]) for row in rows])
        for name in sweep.outcomes[0].hypers
    ]
    texts = [row.one.schedule for row in rows]
    notes = ["", *map(_note, rows)]
    beneath: list[str] = []
    if width is not None:
        left = width - sum(len(column[0]) + 2 for column in columns) - (max(map(len, notes)) + 2 if any(notes) else 0)
        texts, beneath = fitted(texts, max(_LEAST_WIDTH, left))
    texts = ["schedule", *texts]
    columns += [[f"{text:<{max(map(len, texts))}}" for text in texts], notes]
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    if rest := sweep.rows[_MOST_ROWS:]:
        diverged = sum(any(each.diverged is not None for each in row.outcomes) for row in rest)
        lines.append(f"and {len(rest)} more{f', of which {diverged} diverged' if diverged else ''}")
    return lines + beneath


def best_sentence(sweep: Sweep) -> str:
    """Which configuration is best, and how good it is."""
    best = sweep.best
    if best is None:
        return f"no lane ended with a finite loss: {len(sweep.diverged)} of {len(sweep.outcomes)} diverged"
    hypers = "".join(f", {name.replace('_', ' ')} {show_number(value)}" for name, value in best.one.hypers.items())
    share = best.metric("accuracy")
    accuracy = "" if share is None else f", accuracy {percent(share)}"
    seeds = "" if len(best.losses) == 1 else f" (mean of {len(best.losses)} seeds, {_range(best)})"
    return (
        f"best: {best.one.schedule} at learning rate {best.one.lr:.6g}{hypers}: "
        f"{sweep.measure} {show_loss(best.mean)}{seeds}{accuracy}"
    )


def as_dict(sweep: Sweep) -> dict[str, Any]:
    """What is JSON-able: `lanes` with an entry for each, and as `best` the entry of the best configuration's best seed.

    Each entry has the mean and range of its configuration's losses as `over_seeds`.
    """
    rows = {row.one.configuration: row for row in sweep.rows}
    entries = {each.number: _entry(each, rows[each.configuration]) for each in sweep.outcomes}
    best = None if sweep.best is None else sweep.best.best
    return {
        "lanes": list(entries.values()),
        "best": None if best is None else entries[best.number],
        "measure": "valid_loss" if sweep.validated else "train_loss",
        "diverged": len(sweep.diverged),
    }


def _entry(each: Outcome, row: Row) -> dict[str, Any]:
    where = each.diverged
    return {
        "schedule": each.schedule,
        "lr": each.lr,
        **each.hypers,
        "seed": each.seed,
        "train_loss": _finite(each.train_loss),
        "valid_loss": _finite(each.valid_loss),
        "valid_accuracy": _finite(each.metrics.get("accuracy")),
        "metrics": {name: _finite(value) for name, value in each.metrics.items()},
        "epochs": each.epochs,
        "steps": each.steps,
        "diverged": None if where is None else {"step": where.step, "lr": where.lr},
        "over_seeds": {
            "seeds": [other.seed for other in row.outcomes],
            "diverged": sum(other.diverged is not None for other in row.outcomes),
            "mean": row.mean,
            "range": None if row.range is None else list(row.range),
        },
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _range(row: Row) -> str:
    return "-" if row.range is None else " to ".join(map(show_loss, row.range))


def _note(row: Row) -> str:
    """How many of a configuration's seeds diverged, where the earliest of them; how many have no loss otherwise."""
    places = [each.diverged for each in row.failed if each.diverged is not None]
    counts = (len(places), len(row.failed) - len(places))
    diverged, nameless = ("" if len(row.outcomes) == 1 else f"{count} of {len(row.outcomes)} " for count in counts)
    notes = [f"{diverged}diverged at step {min(places).step}, rate {min(places).lr:.6g}"] if places else []
    return "; ".join([*notes, *([f"{nameless}no finite loss"] if counts[1] else [])])

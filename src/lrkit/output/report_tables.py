"""The tables of a comparison's report, as texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrkit.analysis.comparison import Comparison, Difference, Mean, Measure, Sensitivity, Standing, Tried
from lrkit.analysis.verdicts import say_p
from lrkit.output.comparison_curves import Band, Curves, at_end_of, axis_of
from lrkit.output.comparison_numbers import Said, say_values, short, signed, unit_of

__all__ = [
    "Cell",
    "Table",
    "curves_table",
    "made_lists",
    "rates_table",
    "searched_table",
    "summary_remarks",
    "summary_table",
]

_MOST_ROWS = 12  # of a table of curves
_QUARTERS = ("start", "a quarter", "half", "three quarters", "end")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the most important.
        detail: said smaller.
        badge: what it comes to.
        kind: of the badge: "better", "worse", "warning", or none of these.
        number: of the schedule whose line is shown before the text.
    """

    text: str
    detail: str = ""
    badge: str = ""
    kind: str = ""
    number: int | None = None


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with what they are called."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


# --- the schedules -----------------------------------------------------------------------------------


def summary_table(comparison: Comparison, numbers: Mapping[str, int]) -> Table:
    """A row for each schedule, the best first; columns that nobody has a value in are left out."""
    measure = comparison.measure
    standings = comparison.standings
    names = list(dict.fromkeys(name for each in standings for name in each.final))
    names.sort(key=lambda name: name != measure.name)
    data = "" if measure.data == "training" else f"{measure.data} "
    columns: list[tuple[str, list[Cell]]] = [("schedule", [_name(each, comparison, numbers) for each in standings])]
    columns.append(("best rate", [_rate(each) for each in standings]))
    columns.append(("seeds", [_seeds(each) for each in standings]))
    columns += [(f"{data}{name}", _means(name, [each.final.get(name) for each in standings])) for name in names]
    columns.append(("difference to the reference", _differences(comparison)))
    if comparison.target is not None:
        goal = f"until {measure} {short(measure.name, comparison.target)}"
        columns.append((goal, [_reached(each) for each in standings]))
    columns.append(("lost with another rate", [_sensitivity(measure.name, each.sensitivity) for each in standings]))
    kept = [column for column in columns if any(cell.text != "-" for cell in column[1])]
    rows = list(zip(*(cells for _, cells in kept), strict=True))
    return Table(
        f"{at_end_of(comparison).capitalize()}: means over seeds, with 95 % intervals.",
        [head for head, _ in kept],
        rows,
    )


def summary_remarks(comparison: Comparison) -> list[str]:
    """What the table's columns are."""
    differences = [each.difference for each in comparison.standings if each.difference is not None]
    said = []
    if differences:
        points = ", in points of %" if comparison.measure.name == "accuracy" else ""
        said.append(
            f"The reference is {comparison.reference}. Differences are taken seed by seed{points}. Their intervals "
            "hold for all schedules at once, and p is corrected for how many are compared."
        )
    if any(each.sensitivity is not None for each in comparison.standings):
        said.append(
            "Lost with another rate: how much worse it was in the search with a third of the best rate, and with three "
            "times the best rate."
        )
    return said


def _name(each: Standing, comparison: Comparison, numbers: Mapping[str, int]) -> Cell:
    detail = "" if each.schedule == each.name else each.schedule
    badge = "reference" if each.name == comparison.reference else ""
    return Cell(each.name, detail, badge, number=numbers[each.name])


def _rate(each: Standing) -> Cell:
    if each.best_lr is None:
        return Cell("none", badge="no rate came to the end", kind="warning")
    return Cell(f"{each.best_lr:.4g}", badge=f"{each.at_edge} tried" if each.at_edge else "", kind="warning")


def _means(name: str, means: Sequence[Mean | None]) -> list[Cell]:
    """Means with their intervals."""
    cells = []
    for each in say_values(name, means):
        if each is None:
            cells.append(Cell("-"))
        else:
            cells.append(Cell(f"{each.mean}{unit_of(name)}", "" if each.low is None else f"{each.low} to {each.high}"))
    return cells


def _differences(comparison: Comparison) -> list[Cell]:
    rows = comparison.standings
    texts = say_values(comparison.measure.name, [each.difference for each in rows])
    return [
        _no_difference(each, comparison)
        if each.difference is None or text is None
        else _difference(each.difference, text, comparison.measure)
        for each, text in zip(rows, texts, strict=True)
    ]


def _no_difference(each: Standing, comparison: Comparison) -> Cell:
    if each.name == comparison.reference:
        return Cell("reference")
    diverged = each.diverged or comparison.by_name[comparison.reference].diverged
    return Cell("not compared", "since runs diverged" if diverged else "")


def _difference(found: Difference, text: Said, measure: Measure) -> Cell:
    """How large, the interval, how sure; and what that comes to."""
    parts = []
    if text.low is not None and text.high is not None:
        parts.append(f"{_signed(text.low)} to {_signed(text.high)}")
    if found.p_value is not None:
        parts.append(say_p(found.p_value))
    mean, detail = _signed(text.mean), "\n".join(parts)
    if not found.certain:
        return Cell(mean, detail, "can't be told apart")
    kind = "better" if (found.mean < 0) == (measure.mode == "min") else "worse"
    return Cell(mean, detail, kind, kind)


def _signed(text: str) -> str:
    """As it is set in print."""
    return signed(text, minus="−")


def _reached(each: Standing) -> Cell:
    reached = each.reached
    if reached is None:
        return Cell("-")
    if reached.steps is None:
        return Cell("not reached" if reached.n == 0 else f"by {reached.n} of {reached.of}")
    seconds = "" if reached.seconds is None else f"{reached.seconds:.3g} s"
    some = "" if reached.n == reached.of else f"{reached.n} of {reached.of} runs"
    return Cell(f"{reached.steps:.0f} steps", ", ".join(filter(None, [seconds, some])))


def _sensitivity(name: str, sensitivity: Sensitivity | None) -> Cell:
    if sensitivity is None:
        return Cell("-")
    lower = "not known" if sensitivity.lower is None else short(name, sensitivity.lower, 2)
    beyond = "diverged" if sensitivity.higher_diverged else "not known"
    higher = beyond if sensitivity.higher is None else short(name, sensitivity.higher, 2)
    return Cell(f"⅓: {lower}\n3×: {higher}")


def _seeds(each: Standing) -> Cell:
    return Cell(str(each.n_seeds), badge=f"{each.diverged} diverged" if each.diverged else "", kind="warning")


# --- what figures show -------------------------------------------------------------------------------


def curves_table(comparison: Comparison, curves: Sequence[Curves]) -> Table | None:
    """The measure's means after some epochs, the last among them."""
    measure = comparison.measure
    bands = {each.name: each.bands[measure.name] for each in curves if measure.name in each.bands}
    if not bands:
        return None
    last = max(len(band.epochs) for band in bands.values())
    places = sorted({round(place) for place in np.linspace(0, last - 1, min(last, _MOST_ROWS))})
    columns = [_means(measure.name, [_mean_at(band, place) for place in places]) for band in bands.values()]
    word = "epoch" if axis_of(comparison) == "epoch" else "record"
    rows = list(zip([Cell(f"{word} {place + 1}") for place in places], *columns, strict=True))
    return Table(f"{measure}, means with 95 % intervals", ["", *bands], rows)


def _mean_at(band: Band, place: int) -> Mean | None:
    if place >= len(band.mean):
        return None
    mean, low, high = (float(values[place]) for values in (band.mean, band.low, band.high))
    return Mean(mean, low, high, band.n) if band.n > 1 else Mean(mean, None, None, 1)


def searched_table(comparison: Comparison) -> Table | None:
    """The measure on held-out data at each rate of the search."""
    found = {each.name: {rate.lr: rate for rate in each.tried} for each in comparison.standings if each.tried}
    rates = sorted({rate for tried in found.values() for rate in tried})
    name = comparison.measure.name
    rows = [[Cell(f"{rate:.4g}"), *(_tried(name, tried.get(rate)) for tried in found.values())] for rate in rates]
    return Table(f"held-out {name} by learning rate", ["learning rate", *found], rows)


def _tried(name: str, tried: Tried | None) -> Cell:
    if tried is None:
        return Cell("-")
    if tried.state == "diverged" or tried.value is None:
        return Cell(tried.state)
    return Cell(short(name, tried.value), f"dropped after epoch {tried.epochs}" if tried.state == "dropped" else "")


def rates_table(curves: Sequence[Curves]) -> Table:
    """The learning rate at five places of each schedule's first run."""
    rows = []
    for each in curves:
        for rates in each.rates[:1]:
            steps = np.linspace(0, rates.steps[-1] - 1, len(_QUARTERS))
            places = np.searchsorted(rates.steps, steps, side="right") - 1
            rows.append([Cell(each.name), *(Cell(f"{rates.values[place]:.4g}") for place in places)])
    return Table("learning rate on the way", ["schedule", *_QUARTERS], rows)


# --- how it was made ---------------------------------------------------------------------------------


def made_lists(made: Mapping[str, Any]) -> list[list[tuple[str, str]]]:
    """Names and texts, of each comparison that was joined, or each run; what there is nothing of is left out."""
    parts = made.get("joined") or made.get("runs") or [made]
    return [
        [(_plain(name), _lines(value)) for name, value in part.items() if value not in (None, [], {})] for part in parts
    ]


def _lines(value: Any) -> str:
    """What has parts has a line for each."""
    if isinstance(value, Mapping):
        return "\n".join(f"{_plain(name)}: {_said(each)}" for name, each in value.items() if each is not None)
    return _said(value)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(name)} {_said(each)}" for name, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(name: object) -> str:
    return str(name).replace("_", " ")

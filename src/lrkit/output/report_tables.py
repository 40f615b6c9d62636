"""The tables of a comparison's report, as texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrkit.analysis.comparison import Comparison, Difference, Mean, Sensitivity, Standing, Tried
from lrkit.output.comparison_curves import Curves
from lrkit.output.sweep_table import show_loss

__all__ = [
    "Cell",
    "Table",
    "curves_table",
    "made_list",
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
    columns += [(f"{data}{name}", [_mean(name, each.final.get(name)) for each in standings]) for name in names]
    columns.append(
        (
            "difference to the reference",
            [_difference(each.difference, comparison, each.name) for each in standings],
        )
    )
    if comparison.target is not None:
        goal = f"until {measure} {_value(measure.name, comparison.target)}"
        columns.append((goal, [_reached(each) for each in standings]))
    columns.append(("lost with another rate", [_sensitivity(measure.name, each.sensitivity) for each in standings]))
    columns.append(("seeds", [_seeds(each) for each in standings]))
    kept = [column for column in columns if any(cell.text != "-" for cell in column[1])]
    rows = list(zip(*(cells for _, cells in kept), strict=True))
    return Table("After the last epoch: means over seeds, with 95 % intervals.", [head for head, _ in kept], rows)


def summary_remarks(comparison: Comparison) -> list[str]:
    """What the table's columns are."""
    differences = [each.difference for each in comparison.standings if each.difference is not None]
    said = []
    if differences:
        said.append(
            f"The reference is {comparison.reference}. Differences are taken seed by seed; their intervals hold for all "
            "schedules at once, and p is corrected for how many are compared."
        )
    if any(each.sensitivity is not None for each in comparison.standings):
        said.append("Lost with another rate: how much worse it was in the search with a third, and with three times, "
                    "the best rate.")  # fmt: skip
    return said


def _name(each: Standing, comparison: Comparison, numbers: Mapping[str, int]) -> Cell:
    detail = "" if each.schedule == each.name else each.schedule
    badge = "reference" if each.name == comparison.reference else ""
    return Cell(each.name, detail, badge, number=numbers[each.name])


def _rate(each: Standing) -> Cell:
    if each.best_lr is None:
        return Cell("none", badge="no rate came to the end", kind="warning")
    return Cell(f"{each.best_lr:.4g}", badge=f"{each.at_edge} tried" if each.at_edge else "", kind="warning")


def _mean(name: str, mean: Mean | None) -> Cell:
    if mean is None:
        return Cell("-")
    if mean.low is None or mean.high is None:
        return Cell(_value(name, mean.mean))
    return Cell(_value(name, mean.mean), f"{_value(name, mean.low)} to {_value(name, mean.high)}")


def _difference(difference: Difference | None, comparison: Comparison, name: str) -> Cell:
    if difference is None:
        return Cell("reference" if name == comparison.reference else "-")
    measure = comparison.measure
    text = _signed(measure.name, difference.mean)
    parts = []
    if difference.low is not None and difference.high is not None:
        parts.append(f"{_signed(measure.name, difference.low)} to {_signed(measure.name, difference.high)}")
    if difference.p_value is not None:
        parts.append("p < 0.0001" if difference.p_value < 1e-4 else f"p = {difference.p_value:.2g}")
    if not difference.certain:
        return Cell(text, ", ".join(parts), "can't be told apart")
    better = (difference.mean < 0) == (measure.mode == "min")
    return Cell(text, ", ".join(parts), "better" if better else "worse", "better" if better else "worse")


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
    lower = "not tried" if sensitivity.lower is None else _signed(name, sensitivity.lower)
    beyond = "diverged" if sensitivity.higher_diverged else "not tried"
    higher = beyond if sensitivity.higher is None else _signed(name, sensitivity.higher)
    return Cell(f"÷3: {lower}", f"×3: {higher}")


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
    rows = [
        [
            Cell(f"epoch {place + 1}"),
            *(
                _mean(measure.name, Mean(*map(float, (band.mean[place], band.low[place], band.high[place])), band.n))
                if place < len(band.mean)
                else Cell("-")
                for band in bands.values()
            ),
        ]
        for place in places
    ]
    return Table(f"{measure}, means with 95 % intervals", ["", *bands], rows)


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
    return Cell(_value(name, tried.value), f"dropped after epoch {tried.epochs}" if tried.state == "dropped" else "")


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


def made_list(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts; what has parts is one text of them, and what there is nothing of is left out."""
    return [(name.replace("_", " "), _said(value)) for name, value in made.items() if value not in (None, [], {})]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# --- numbers -----------------------------------------------------------------------------------------


def _value(name: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.2f} %" if name == "accuracy" else show_loss(value)


def _signed(name: str, value: float) -> str:
    """With its sign, and the sign that typography has for less."""
    text = _value(name, abs(value))
    return f"{'−' if value < 0 else '+'}{text}"

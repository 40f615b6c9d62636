"""What a prediction prints: the schedules in their order, the verdict, and how the law fits."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from lrkit.analysis.forecast_verdicts import say_odds
from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.prediction import Prediction
from lrkit.analysis.verdicts import show_digits
from lrkit.output.cells import column, percent

__all__ = ["WIDTH", "predict_table", "wrapped"]

WIDTH = 100  # of what isn't printed on a terminal, which has its own
_LEAST_WIDTH = 24  # of a schedule's text
_INDENT = "  "


def predict_table(prediction: Prediction, width: int = WIDTH) -> list[str]:
    """The lines: a row for each schedule, what of it lies outside of the fit, the verdict, the law, the runs."""
    lines: list[str] = []
    if prediction.forecasts:
        lines += [*_ranking(prediction, width), ""]
    for sentence in prediction.verdict:
        lines += wrapped(sentence, width)
    if prediction.verdict:
        lines.append("")
    return [*lines, *_law(prediction, width), *_runs(prediction, width)]


def _ranking(prediction: Prediction, width: int) -> list[str]:
    rows = prediction.forecasts
    marks = {sentence: number for number, sentence in enumerate(_sentences(prediction), 1)}
    halves = [(each.high - each.low) / 2 for each in rows]
    sharpest = min([each for each in halves if each > 0], default=0.0)  # all with as many digits as one needs
    said = [show_digits([each.final_loss, each.low, each.high], sharpest) for each in rows]
    best = rows[0].name
    odds = ["", *(say_odds(prediction.odds[best, each.name]) for each in rows[1:])]
    notes = [" ".join(f"[{marks[sentence]}]" for sentence in each.beyond) for each in rows]
    columns = [
        column("steps", [str(len(each.proposal.learning_rates)) for each in rows]),
        column("final loss", [middle for middle, _, _ in said]),
        column(f"{100 * prediction.level:g} % interval", [f"{low} to {high}" for _, low, high in said]),
    ]
    if len(rows) > 1:
        columns.append(column("best beats it", odds))
    if any(notes):
        columns.append([f"{cell:<{max(map(len, notes))}}" for cell in ("", *notes)])
    ranks = column("", [str(number) for number in range(1, len(rows) + 1)])
    left = width - sum(len(cells[0]) + 2 for cells in columns) - len(ranks[0]) - 2
    texts = [textwrap.wrap(each.name, max(_LEAST_WIDTH, left)) or [""] for each in rows]
    longest = max(len(part) for parts in (["schedule"], *texts) for part in parts)
    lines = []
    for rank, parts, *cells in zip(ranks, [["schedule"], *texts], *columns, strict=True):
        for number, part in enumerate(parts):
            row = [rank, f"{part:<{longest}}", *cells] if not number else [" " * len(rank), part]
            lines.append("  ".join(row).rstrip())
    for sentence, number in marks.items():
        lines += wrapped(f"[{number}] {sentence}", width, "    ")
    return lines


def _sentences(prediction: Prediction) -> list[str]:
    """What lies outside of the fit, each sentence once."""
    return list(dict.fromkeys(sentence for each in prediction.forecasts for sentence in each.beyond))


def _law(prediction: Prediction, width: int) -> list[str]:
    fitted = prediction.law
    values = ", ".join(f"{name} = {fitted.parameters[name]:.4g}" for name in fitted.law.parameters)
    parts = [f"law {fitted.law.name}: {fitted.law.formula} ({fitted.law.source})", f"fitted: {values}", *fitted.chosen]
    return [line for each in parts for line in wrapped(each, width, _INDENT)]


def _runs(prediction: Prediction, width: int) -> list[str]:
    """The runs that were fitted, and how near the fit comes to each."""
    curves, errors = prediction.law.curves, prediction.law.errors
    columns = [
        column("points", [str(len(each.steps)) for each in curves]),
        column("steps", [str(len(each.learning_rates)) for each in curves]),
        column("peak", [f"{each.peak:.4g}" for each in curves]),
    ]
    if errors:
        columns.append(column("fit error", [percent(errors.get(each.name)) for each in curves]))
    left = max(_LEAST_WIDTH, width - sum(len(cells[0]) + 2 for cells in columns))
    names = [textwrap.wrap(name, left) for name in ("run", *(each.name for each in curves))]
    longest = max(len(part) for parts in names for part in parts)
    lines = []
    for parts, cells in zip(names, zip(*columns, strict=True), strict=True):
        for part, rest in zip_longest(parts, ["  ".join(cells)], fillvalue=""):
            lines.append(f"{part:<{longest}}  {rest}".rstrip())
    return [*lines, *(line for each in _notes(curves) for line in wrapped(each, width, _INDENT))]


def _notes(curves: Sequence[LossCurve]) -> list[str]:
    """What was done to the runs before the fit; what is true of several is said once."""
    names: dict[str, list[str]] = {}
    for each in curves:
        for note in each.notes:
            names.setdefault(note, []).append(each.name)
    return [f"note: {', '.join(found)}: {note}" for note, found in names.items()]


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines that are no wider; a number and its % stay together."""
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), width, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]

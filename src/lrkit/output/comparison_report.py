"""The report of a comparison: one HTML page that needs nothing beside it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import lrkit
from lrkit.analysis.comparison import Comparison
from lrkit.output.comparison_curves import Curves, at_end_of, axis_of, curves_of
from lrkit.output.plots import COLOURS
from lrkit.output.report_figures import curves_figure, forest_figure, rates_figure, sensitivity_figure
from lrkit.output.report_plotly import DASHES, Figure, colour
from lrkit.output.report_tables import (
    Table,
    curves_table,
    made_lists,
    rates_table,
    searched_table,
    summary_remarks,
    summary_table,
)
from lrkit.training.files import replace_file

__all__ = ["report_html", "write_report"]

_DARK_INK = "#e8eaed"  # instead of black, where the page is dark
_STROKES = {"solid": "", "dash": "8 5", "dot": "3 3", "dashdot": "8 4 2 4"}


@dataclass(frozen=True)
class _Drawing:
    """A figure with what stands around it; None for the figure where there is nothing to draw."""

    figure: Figure | None
    short: str
    title: str
    caption: str
    table: Table | None


def write_report(comparison: Comparison, path: str | Path, *, command: str | None) -> None:
    """Write the page; what was there before is replaced as a whole.

    Args:
        comparison: what it shows.
        path: of the file.
        command: that makes the comparison again; None where there is none.

    Raises:
        InputError: when the file can't be written.
    """
    text = report_html(comparison, command=command)
    replace_file(Path(path), lambda file: file.write(text.encode()))


def report_html(comparison: Comparison, *, command: str | None) -> str:
    """The page as text: the same for the same comparison."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    files = resources.files("lrkit.output") / "page"
    template, css, script = ((files / name).read_text("utf-8") for name in ("report.html", "report.css", "report.js"))
    plotly = get_plotlyjs()
    curves = curves_of(comparison)
    numbers = {each.name: each.number for each in curves}
    drawings = _drawings(comparison, curves, numbers)
    count = len(comparison.standings)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(
        title=_title(comparison),
        subtitle=f"{count} learning-rate schedule{'s, compared' if count > 1 else ', measured'} by "
        f"{comparison.measure} {at_end_of(comparison)} "
        f"({'lower' if comparison.measure.mode == 'min' else 'higher'} is better)",
        version=lrkit.__version__,
        policy=_policy(plotly, script),
        css=_palette() + css,
        plotly=plotly,
        script=script,
        figures=_for_script([each.figure for each in drawings if each.figure is not None]),
        verdict=comparison.verdict,
        summary=summary_table(comparison, numbers),
        remarks=summary_remarks(comparison),
        schedules=curves,
        drawings=drawings,
        notes=comparison.notes,
        made=made_lists(comparison.made),
        part_name="Comparison" if "joined" in comparison.made else "Run",
        command=command,
        colour=colour,
        dashes=lambda number: _STROKES[DASHES[number % len(DASHES)]],
    )


def _title(comparison: Comparison) -> str:
    task = comparison.made.get("task")
    if len(comparison.standings) == 1:
        return f"One schedule for {task}" if task else "One schedule"
    return f"Which schedule is better for {task}?" if task else "Which schedule is better?"


def _drawings(comparison: Comparison, curves: Sequence[Curves], numbers: Mapping[str, int]) -> list[_Drawing]:
    """The figures that there is something to draw in, in the order of the page."""
    used = "drawn between those that were logged" if comparison.made.get("filled_in") else "as the optimizer saw it"
    where = "after each epoch" if axis_of(comparison) == "epoch" else "where it was measured"
    found = [
        _Drawing(
            curves_figure(comparison, curves),
            "Curves",
            f"Over the {axis_of(comparison)}s",
            f"A line is the mean over seeds of the {comparison.measure} {where}, a band its 95 % interval.",
            curves_table(comparison, curves),
        ),
        _Drawing(
            forest_figure(comparison, numbers),
            "Differences",
            f"Differences to {comparison.reference}",
            "Means over the seeds that both have. The upright line is the reference. A filled mark can be told apart "
            "from it, a ring can't. The intervals hold all true differences at once with 95 %. The table at the top "
            "has the same numbers.",
            None,
        ),
        _Drawing(
            sensitivity_figure(comparison, numbers),
            "Sensitivity",
            "How much the rate matters",
            "From the search for each schedule's rate, on held-out training data. A large ring marks the rate that "
            "was chosen, a small ring one that was dropped as hopeless on the way, a cross one that diverged. What is "
            "worse than all that came to their end is drawn at the edge.",
            searched_table(comparison),
        ),
        _Drawing(
            rates_figure(curves),
            "Shapes",
            "The schedules' shapes",
            f"The learning rate of every update, {used}. Where a metric steers it, seeds differ: each "
            "series is drawn, all but the first thinner.",
            rates_table(curves),
        ),
    ]
    return [each for each in found if each.figure is not None]


def _policy(*scripts: str) -> str:
    """What the browser may do with this page: run these scripts and nothing else, and ask nobody for anything."""
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _palette() -> str:
    """The colours of schedules as the page's own."""
    light = "".join(f"{colour(number)}: {each};" for number, each in enumerate(COLOURS))
    black = colour(COLOURS.index("#000000"))
    return (
        f":root {{{light}}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{:root:not(.printed) {{{black}: {_DARK_INK};}}}}\n"
    )


def _for_script(figures: Sequence[Figure]) -> str:
    """JSON that can't end the script element that it stands in."""
    plain = {each.key: {"data": each.data, "layout": each.layout} for each in figures}
    text = json.dumps(plain, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

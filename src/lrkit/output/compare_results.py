"""What a comparison leaves: lines in the terminal, the picture, and the page."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from lrkit.analysis.comparison import Comparison
from lrkit.output.compare_plot import compare_figure
from lrkit.output.compare_table import compare_table
from lrkit.output.comparison_report import write_report
from lrkit.output.plots import save
from lrkit.output.torchrun import say

__all__ = ["PICTURE", "REPORT", "RESULT", "print_comparison", "write_pages"]

RESULT, PICTURE, REPORT = "comparison.json", "comparison.png", "report.html"


def print_comparison(comparison: Comparison) -> None:
    """The verdict, the table, and what a reader must know."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    notes = [f"note: {each}" for each in comparison.notes]
    for line in [
        *_wrapped(comparison.verdict, width),
        "",
        *compare_table(comparison, width),
        *_wrapped(notes, width),
    ]:
        typer.echo(line)


def _wrapped(sentences: Sequence[str], width: int | None) -> list[str]:
    return [line for each in sentences for line in ([each] if width is None else textwrap.wrap(each, width))]


def write_pages(comparison: Comparison, picture: Path, report: Path, command: str) -> list[str]:
    """Draw the picture and write the page: whatever is wrong with them is said, since the numbers are there.

    Args:
        comparison: what they show.
        picture: its file.
        report: the page's file.
        command: that makes the comparison again.

    Returns:
        What was written, in words.
    """
    task = comparison.made.get("task")
    title = f"{task}: {comparison.verdict[0]}" if task else comparison.verdict[0]
    wanted: list[tuple[str, Path, Callable[[], None]]] = [
        ("picture", picture, lambda: save(compare_figure(comparison, title), picture)),
        ("report", report, lambda: write_report(comparison, report, command=command)),
    ]
    return [f"{what} {path}" for what, path, write in wanted if _written(what, path, write)]


def _written(what: str, path: Path, write: Callable[[], None]) -> bool:
    try:
        write()
    except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the numbers are there)
        say(f"the {what} {path} can't be written: {' '.join(str(error).split())}")
        return False
    return True

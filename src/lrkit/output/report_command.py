"""`lrkit report`: the pages of comparisons anew, from their records alone; several joined as one."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from lrkit.analysis.reading import join, read_tournament
from lrkit.output.compare_results import PICTURE, REPORT, RESULT, print_comparison, write_pages
from lrkit.schedules.errors import InputError

__all__ = ["ReportOptions", "report_comparisons"]

_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class ReportOptions:
    """What a person asked for; `cli_comparison.report` says what each means."""

    folders: Sequence[Path]
    out: Path | None
    json: bool


def report_comparisons(options: ReportOptions) -> None:
    """Read what there is, say what it comes to, and write the picture and the page."""
    report = _place(options)
    picture = report.with_name(PICTURE) if options.out is None else report.with_suffix(".png")
    comparison = join([read_tournament(folder) for folder in options.folders]).compare()
    if options.json:
        paths = {"run_dirs": list(map(str, options.folders)), "report": str(report), "picture": str(picture)}
        typer.echo(json.dumps({**comparison.to_dict(), **paths}, allow_nan=False))
    else:
        print_comparison(comparison)
    written = write_pages(comparison, picture, report, _commands(options))
    if written and not options.json:
        typer.echo(", ".join(written))


def _place(options: ReportOptions) -> Path:
    """Where the page goes: into the folder of one comparison; that of several into the working folder.

    Raises:
        InputError: for what isn't a page, and a folder that doesn't exist.
    """
    if options.out is None:
        return (options.folders[0] if len(options.folders) == 1 else Path()) / REPORT
    if options.out.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--out must end in {' or '.join(_SUFFIXES)}, not {str(options.out)!r}")
    if not options.out.parent.is_dir():
        raise InputError(f"--out must be in a folder that exists, not {str(options.out)!r}")
    return options.out


def _commands(options: ReportOptions) -> str:
    """What made the comparisons, as far as it was written down; and this command, where that isn't all."""
    made = [command for folder in options.folders if (command := _recorded(folder / RESULT)) is not None]
    if len(made) == len(options.folders) == 1:
        return made[0]
    out = [] if options.out is None else ["--out", str(options.out)]
    return "\n".join([*made, shlex.join(["lrkit", "report", *map(str, options.folders), *out])])


def _recorded(result: Path) -> str | None:
    """The command in a result; None where there is no such file, or it has none."""
    try:
        found = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    command = found.get("command") if isinstance(found, dict) else None
    return command if isinstance(command, str) else None

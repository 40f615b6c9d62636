"""`lrkit report`: the pages of comparisons anew, from their records alone; several joined as one."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import typer

from lrkit.analysis.comparison import Comparison
from lrkit.analysis.comparison_folder import is_comparison
from lrkit.analysis.recorded_runs import RecordedRun, compare_runs
from lrkit.output.compare_results import PICTURE, REPORT, RESULT, print_comparison, write_pages
from lrkit.output.import_command import ReadOptions, by_options, read_said
from lrkit.schedules.errors import InputError
from lrkit.training.history import History
from lrkit.training.records.reading import ALL_RUNS, is_own, read_histories, read_history

__all__ = ["ReportOptions", "report_comparisons"]

_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class ReportOptions:
    """What a person asked for; `cli_comparison.report` says what each means."""

    folders: Sequence[Path]
    out: Path | None
    json: bool
    reference: str | None = None
    target: float | None = None
    measure: str | None = None
    mode: str | None = None
    names: Sequence[str] = ()
    read: ReadOptions = field(default_factory=ReadOptions)


def report_comparisons(options: ReportOptions) -> None:
    """Read what there is, say what it comes to, and write the picture and the page."""
    report = _place(options)
    picture = report.with_name(PICTURE) if options.out is None else report.with_suffix(".png")
    comparison, read = _compared(options)
    if options.json:
        paths = {"run_dirs": list(map(str, options.folders)), "report": str(report), "picture": str(picture)}
        typer.echo(json.dumps({**comparison.to_dict(), "read": read, **paths}, allow_nan=False))
    else:
        for line in read:
            typer.echo(line)
        print_comparison(comparison)
    written = write_pages(comparison, picture, report, _commands(options))
    if written and not options.json:
        typer.echo(", ".join(written))


def _compared(options: ReportOptions) -> tuple[Comparison, list[str]]:
    """Comparisons joined, or runs compared; and how records of others were read.

    Raises:
        InputError: for both at once, and options that are for the other.
    """
    comparisons = [folder for folder in options.folders if is_comparison(folder)]
    if not comparisons:
        return _compared_runs(options)
    from lrkit.analysis.reading import join, read_tournament  # with torch, which records of runs do without

    others = [folder for folder in options.folders if folder not in comparisons]
    if others:
        raise InputError(
            f"comparisons and runs can't be joined: {comparisons[0]} is a comparison, and {others[0]} is none"
        )
    for name in ("measure", "mode", "names"):
        if getattr(options, name):
            raise InputError(f"--{name.removesuffix('s')} is for runs, and {comparisons[0]} is a comparison")
    joined = join([read_tournament(folder) for folder in comparisons])
    return joined.compare(reference=options.reference, target=options.target), []


def _compared_runs(options: ReportOptions) -> tuple[Comparison, list[str]]:
    if options.mode not in (None, "min", "max"):
        raise InputError(f"--mode must be min or max, not {options.mode!r}")
    found = [each for path in options.folders for each in _histories(path, options.read)]
    if options.names and len(options.names) != len(found):
        raise InputError(
            f"--name must be given for each run or for none: {len(options.names)} names, {len(found)} runs"
        )
    names: Sequence[str | None] = options.names or [None] * len(found)
    runs = zip(found, names, strict=True)
    with by_options():
        comparison = compare_runs(
            [RecordedRun(path, history, name) for (path, history), name in runs],
            reference=options.reference,
            measure=options.measure or "loss",
            mode=cast("Literal['min', 'max'] | None", options.mode),
            target=options.target,
        )
    return comparison, [said for _, history in found if (said := read_said(history)) is not None]


def _histories(path: Path, read: ReadOptions) -> list[tuple[str, History]]:
    """The runs of a record, by where they are."""
    if is_own(path):
        return [(str(path), read_history(path))]
    with by_options():
        if read.run != ALL_RUNS:
            return [(str(path), read_history(path, **read.arguments()))]
        found = read_histories(path, **read.arguments())
    return [(f"{path}: {name}" if name else str(path), history) for name, history in found.items()]


def _place(options: ReportOptions) -> Path:
    """Where the page goes: into the folder where there is one; that of several or a file into the working folder.

    Raises:
        InputError: for what isn't a page, and a folder that doesn't exist.
    """
    if options.out is None:
        return (options.folders[0] if len(options.folders) == 1 and options.folders[0].is_dir() else Path()) / REPORT
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
    return "\n".join([*made, shlex.join(["lrkit", "report", *map(str, options.folders), *out, *_said(options)])])


def _said(options: ReportOptions) -> list[str]:
    """What else the command was given."""
    names = ("reference", "target", "measure", "mode", "names")
    given = {name.removesuffix("s") if name == "names" else name: getattr(options, name) for name in names}
    said: list[str] = []
    for name, value in {**given, **vars(options.read)}.items():
        if value in (None, [], ()):
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            said.append(option if value else f"--no-{name.replace('_', '-')}")
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                said += [option, str(each)]
    return said


def _recorded(result: Path) -> str | None:
    """The command in a result; None where there is no such file, or it has none."""
    try:
        found = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    command = found.get("command") if isinstance(found, dict) else None
    return command if isinstance(command, str) else None

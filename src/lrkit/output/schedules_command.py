"""`lrkit schedules`: what there is to choose from."""

import json
import shutil
import textwrap
from typing import Any

import typer

from lrkit.output.catalogue import Entry, find, groups, reflow, torchs
from lrkit.output.chart import chart, column_means, sparkline

__all__ = ["list_schedules", "show_schedule"]

_COLUMNS = 40


def list_schedules(*, as_json: bool) -> None:
    """All of them, by group: signature, formula, and the curve of an example."""
    found = groups()
    if as_json:
        typer.echo(json.dumps({"schedules": [_as_dict(entry) for group in found for entry in group.entries]}))
        return
    for group in found:
        typer.echo(f"{group.title.upper()}\n")
        for entry in group.entries:
            typer.echo(_brief(entry) + "\n")
    typer.echo("TORCH'S NAMES\n")
    for each in torchs():
        typer.echo(_wrapped(each.signature, "      ", first="  "))
    typer.echo("\n" + _wrapped("lrkit schedules NAME shows one in full; lrkit plot draws any text.", ""))


def show_schedule(name: str, *, as_json: bool) -> None:
    """One in full: its docstring, an example, and the example's curve."""
    entry = find(name)
    if as_json:
        typer.echo(json.dumps({"schedules": [_as_dict(entry)]}))
        return
    typer.echo(_wrapped(entry.signature, "    "))
    typer.echo(f"\n{reflow(entry.doc, _width())}")
    if entry.preview is not None:
        values = entry.preview.panels[0].curves[0].values
        typer.echo(f"\n{chart(values, width=_width(), x_label=f'{len(values)} steps')}")
        typer.echo(f'lrkit plot "{entry.example}" --epochs 10')
        if entry.preview.remark:
            typer.echo(f"({entry.preview.remark})")


def _brief(entry: Entry) -> str:
    lines = [_wrapped(entry.signature, "      ", first="  "), _wrapped(entry.formula or entry.summary, "    ")]
    if entry.preview is not None:
        curve = sparkline(entry.preview.panels[0].curves[0].values, _COLUMNS)
        side_by_side = f"    {curve}  {entry.example}"
        beneath = f"    {curve}\n{_wrapped(entry.example, '    ')}"
        lines.append(side_by_side if len(side_by_side) <= _width() else beneath)
    return "\n".join(lines)


def _as_dict(entry: Entry) -> dict[str, Any]:
    shown = entry.preview
    return {
        "name": entry.name,
        "group": entry.group,
        "signature": entry.signature,
        "summary": entry.summary,
        "formula": entry.formula,
        "source": entry.source,
        "doc": entry.doc,
        "example": entry.example,
        "curve": None if shown is None else column_means(shown.panels[0].curves[0].values, _COLUMNS).tolist(),
    }


def _wrapped(text: str, indent: str, *, first: str | None = None) -> str:
    start = indent if first is None else first
    return textwrap.fill(text, _width(), initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)


def _width() -> int:
    return min(100, shutil.get_terminal_size((80, 24)).columns)

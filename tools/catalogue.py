"""Write docs/schedules.md and its pictures: every kind of schedule, from the code.

python tools/catalogue.py
"""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

import lrkit
from lrkit.output.catalogue import HORIZON, Entry, Group, about_torchs, groups, torchs
from lrkit.output.plots import COLOURS, save

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "schedules.md"
KNOWN = (
    "warmup(5%) >> cosine(to=0)",
    "warmup(5%) >> constant() >> cooldown(20%, to=0)",
    "one_cycle()",
    "warmup(5%) >> inverse_sqrt(timescale=5%)",
    "staircase(every=30%, factor=0.5)",
    "cosine_restarts(25%, growth=3)",
)
COLUMNS = 3
INTRO = """# Schedules

This page is written by `make docs` from the code. `lrkit schedules` shows the same in a terminal, `lrkit schedules
NAME` one in full, and `lrkit plot` draws any text:

{command}

![Six well-known schedules over 1000 steps](images/schedules.png)

What `t`, `n`, shares and lengths mean, and how schedules compose, is on the page about [conventions](conventions.md).
Signatures are in the text form, where words and lengths stand bare; Python wants quotes around them (`up="30%"`). Every
picture is of the example, over 1000 steps, which are 10 epochs, in shares of the base.
"""


def page() -> str:
    """The page as it should be."""
    command = ["lrkit plot --total 1000 --out docs/images/schedules.png", *(f'    "{text}"' for text in KNOWN)]
    shown = textwrap.indent(" \\\n".join(command), "    ")
    torch = f"## torch's names\n\n{wrapped(f'The text form reads them too. {about_torchs()}')}\n"
    names = "".join(f"{wrapped(f'- `{each.signature}`', '  ')}\n" for each in torchs())
    return "\n".join([INTRO.format(command=shown), *map(section, groups()), torch, names])


def section(group: Group) -> str:
    """A group's heading, its picture and its kinds."""
    picture = f"![The curves of the examples](images/{picture_name(group)})\n"
    return "\n".join([f"## {group.title}\n", f"{group.about}\n", picture, *map(entry_text, group.entries)])


def entry_text(entry: Entry) -> str:
    """Name, signature, formula, what it is, arguments, source, example."""
    parts = [f"### {entry.name}\n", code(entry.signature)]
    if entry.formula:
        parts.append(code(entry.formula))
    parts += [f"{wrapped(paragraph)}\n" for paragraph in [entry.summary, *entry.prose]]
    if entry.arguments:
        parts.append("".join(f"{wrapped(f'- `{name}`: {text}', '  ')}\n" for name, text in entry.arguments.items()))
    if entry.source:
        parts.append(f"{wrapped(f'Source: {entry.source}')}\n")
    if entry.example:
        parts.append(f"Example: `{entry.example}`\n")
    return "\n".join(parts)


def code(text: str) -> str:
    """A block of code, its lines no longer than the page's."""
    lines = textwrap.wrap(text, 110, subsequent_indent="    ", break_on_hyphens=False)
    return "```text\n" + "\n".join(lines) + "\n```\n"


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph, its lines no longer than the page's."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def picture_name(group: Group) -> str:
    """The file of a group's picture."""
    return f"schedules-{group.title.lower()}.png"


def sheet(group: Group) -> Figure:
    """A small picture for every kind of the group."""
    shown = [entry for entry in group.entries if entry.preview is not None]
    examples = [textwrap.fill(entry.example, 40, break_on_hyphens=False) for entry in shown]
    lines = 1 + max(example.count("\n") for example in examples)
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(9, (1.8 + 0.15 * lines) * rows), layout="constrained")
    panes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for number, (axes, entry, example) in enumerate(zip(panes, shown, examples, strict=False)):
        values = entry.preview.panels[0].curves[0].values
        axes.plot(entry.preview.position, values, color=COLOURS[number % len(COLOURS)], drawstyle="steps-post")
        axes.set_ylim(0, max(1.05, 1.05 * values.max()))
        axes.grid(alpha=0.3)
        axes.set_title(entry.name, fontsize=10, fontweight="bold", pad=7 + 11 * lines)
        axes.text(0.5, 1.03, example, transform=axes.transAxes, ha="center", va="bottom", fontsize=7.5)
        axes.tick_params(labelsize=7)
    for axes in panes[len(shown) :]:
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for each in groups():
        save(sheet(each), DOCS / "images" / picture_name(each))
    lrkit.plot([lrkit.parse(text) for text in KNOWN], lrkit.Horizon(HORIZON.steps), out=DOCS / "images/schedules.png")
    print(f"wrote {PAGE.name} and its pictures")

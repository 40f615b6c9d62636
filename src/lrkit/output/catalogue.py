"""What schedules there are: every kind and recipe with its signature, its docstring's parts and an example's curve."""

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrkit.output.preview import Preview, preview
from lrkit.schedules import Horizon, parse, torch_text
from lrkit.schedules.errors import InputError, InputTypeError, unknown
from lrkit.schedules.names import KINDS, MAKERS, RECIPES, TORCH_NAMES
from lrkit.schedules.plan import Plan, show
from lrkit.schedules.product import Product
from lrkit.schedules.sequence import Sequence

__all__ = ["HORIZON", "Entry", "Group", "about_torchs", "find", "groups", "reflow", "torchs"]

# Where the curves of the examples are taken: long enough for every unit.
HORIZON = Horizon(steps=1000, epoch_steps=100, step_tokens=1000, step_samples=32)

# The groups in order, what they have in common, and the modules whose kinds stand there.
_GROUPS = {
    "Ramps": ("They go from where the segment before ended to `to`, over their length.", ("ramps", "cooldowns")),
    "Decays": ("They fall by a rule of the step alone; most need no length.", ("decays",)),
    "Warmups": ("They rise, and their first update isn't wasted where they start.", ("warmups",)),
    "Cycles": ("Up and down, once or again and again.", ("cycles", "restarts")),
    "Points": ("Values that are given: tables, functions of one's own, noise.", ("points", "callables", "noise")),
    "Compositions": (
        "They are made of other schedules.",
        ("algebra", "composition", "sequence", "product", "periods", "repetition", "bounds", "shifts"),
    ),
    "Controllers": ("They depend on a metric too, which is reported while training.", ("controllers",)),
    "Recipes": ("Compositions that have a name, and the momentum that goes with a cycle.", ("recipes",)),
}
_SIGNS = {"sequence": "a >> b", "product": "a * b"}


@dataclass(frozen=True)
class Entry:
    """One kind or recipe.

    Attributes:
        name: as text and Python write it.
        group: the title of the group that it stands in.
        signature: its arguments, with their defaults in the text form.
        doc: its whole docstring.
        example: a text that shows it, or nothing.
    """

    name: str
    group: str
    signature: str
    doc: str
    example: str

    @functools.cached_property
    def _paragraphs(self) -> list[str]:
        return self.doc.split("\n\n")

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return _joined(self._paragraphs[0])

    @property
    def formula(self) -> str:
        """The docstring's paragraph about the value; what a recipe's example stands for; or nothing."""
        if self.name in RECIPES and self.example:
            return f"{self.example} = {parse(self.example)}"
        return next((_joined(each) for each in self._paragraphs[1:] if each.startswith("value")), "")

    @property
    def source(self) -> str:
        """Where it comes from, or nothing."""
        return next((_joined(p).removeprefix("Source: ") for p in self._paragraphs if p.startswith("Source:")), "")

    @property
    def prose(self) -> list[str]:
        """The other paragraphs; not the arguments and the doctest."""
        apart = ("value", "Source:", ">>>")
        rest = self._paragraphs[1:]
        return [_joined(p) for p in rest if not p.startswith(apart) and not re.match(r"[A-Z]\w+:\n", p)]

    @property
    def arguments(self) -> dict[str, str]:
        """What the docstring says about each argument."""
        listed = next((p for p in self._paragraphs if p.startswith("Args:")), "")
        found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", listed, re.MULTILINE)
        return {name: _joined(text) for name, text in found}

    @functools.cached_property
    def preview(self) -> Preview | None:
        """The curve of the example over 1000 steps, 10 epochs; None without one that works, which a test notices."""
        try:
            return preview([parse(self.example)], HORIZON) if self.example else None
        except (InputError, InputTypeError):
            return None


@dataclass(frozen=True)
class Group:
    """Kinds that belong together."""

    title: str
    about: str
    entries: tuple[Entry, ...]


def groups() -> list[Group]:
    """Everything that there is, by group; whatever `names` knows is in it.

    >>> [entry.name for entry in groups()[0].entries][:2]
    ['constant', 'linear']
    """
    kinds: dict[str, type[Plan]] = {"sequence": Sequence, "product": Product, **KINDS}
    found: dict[str, list[Entry]] = {title: [] for title in _GROUPS}
    for name, cls in kinds.items():
        found.setdefault(_title(cls), []).append(_entry(name, MAKERS.get(name, cls), cls.example))
    for name, recipe in RECIPES.items():
        found.setdefault(_title(recipe), []).append(_entry(name, recipe, _first_call(name, recipe)))
    return [
        Group(title, _GROUPS[title][0] if title in _GROUPS else "", tuple(entries))
        for title, entries in found.items()
        if entries
    ]


def find(name: str) -> Entry:
    """The entry of that name; torch's names have one too.

    Raises:
        InputError: for an unknown name; it lists the known ones and the closest.
    """
    entries = {entry.name: entry for group in groups() for entry in group.entries}
    if name in entries:
        return entries[name]
    if name in TORCH_NAMES:
        return _torchs(name)
    raise unknown("schedule", name, [*entries, *TORCH_NAMES])


def torchs() -> list[Entry]:
    """The names of torch that the text form reads."""
    return [_torchs(name) for name in TORCH_NAMES]


def about_torchs() -> str:
    """What they have in common, as their module says it."""
    return inspect.cleandoc(torch_text.__doc__ or "").partition("\n\n")[2]


def reflow(doc: str, width: int) -> str:
    r"""A docstring in lines of at most `width`; doctests stay as they are.

    >>> print(reflow("One two three.\n\nArgs:\n    steps: how long\n        it lasts.", 14))
    One two three.
    <BLANKLINE>
    Args:
        steps: how
            long it
            lasts.
    """
    return "\n\n".join(_reflowed(paragraph, width) for paragraph in doc.split("\n\n"))


def _reflowed(paragraph: str, width: int) -> str:
    if paragraph.startswith(">>>"):
        return paragraph
    lines: list[str] = []
    for line in paragraph.splitlines():
        indent = len(line) - len(line.lstrip())
        # An argument is indented by four, what goes on about it by eight.
        if lines and indent != 4 and not lines[-1].endswith(":"):
            lines[-1] = f"{lines[-1]} {line.lstrip()}"
        else:
            lines.append(line)
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * 8 if line.startswith("    ") else "", break_on_hyphens=False)
        for line in lines
    )


def _entry(name: str, call: Callable[..., Any], example: str) -> Entry:
    signature = _SIGNS.get(name) or f"{name}({_parameters(call)})"
    return Entry(name, _title(call), signature, inspect.getdoc(call) or "", example)


def _torchs(name: str) -> Entry:
    doc = f"torch's {name} as the text form reads it.\n\n{about_torchs()}"
    return Entry(name, "Torch's names", f"{name}({_parameters(TORCH_NAMES[name])})", doc, "")


def _first_call(name: str, recipe: Callable[..., Any]) -> str:
    """The call that a recipe's doctest begins with, as text."""
    doctest = re.search(rf"^>>> ({name}\(.*?\))", inspect.getdoc(recipe) or "", re.MULTILINE)
    return re.sub("[\"']", "", doctest[1]) if doctest else ""


def _parameters(call: Callable[..., Any]) -> str:
    """The arguments as the text form writes them."""
    written: list[str] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        default = "" if parameter.default is parameter.empty else f"={show(parameter.default)}"
        written.append(f"{parameter.name}{default}")
    return ", ".join(written)


def _title(call: Callable[..., Any]) -> str:
    """The group of a kind: that of its module, which also heads a group of its own where it is in none."""
    module = call.__module__.rpartition(".")[2]
    return next((title for title, (_, modules) in _GROUPS.items() if module in modules), module.capitalize())


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())

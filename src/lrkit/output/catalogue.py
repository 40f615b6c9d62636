"""What schedules there are: every kind and recipe with its signature, its docstring's parts and an example's curve."""

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrkit.output.preview import Preview, preview
from lrkit.schedules import Horizon, parse
from lrkit.schedules.algebra import Product, Sequence
from lrkit.schedules.errors import InputError, InputTypeError, unknown
from lrkit.schedules.names import CALLS, KINDS, TORCH_NAMES
from lrkit.schedules.plan import show

__all__ = ["HORIZON", "Entry", "Group", "find", "groups", "reflow", "torchs"]

# Where the curves of the examples are taken: long enough for every unit.
HORIZON = Horizon(steps=1000, epoch_steps=100, step_tokens=1000, step_samples=32)

_TITLES = {
    "ramps": "Ramps",
    "decays": "Decays",
    "cooldowns": "Cooldowns",
    "warmups": "Warmups",
    "cycles": "Cycles",
    "points": "Points",
    "algebra": "Compositions",
    "controllers": "Controllers",
    "recipes": "Recipes",
}
_SIGNS: dict[Callable[..., Any], str] = {Sequence: "a >> b", Product: "a * b"}


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
        """The docstring's paragraph about the value, or nothing."""
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
        """The curve of the example over a thousand steps, ten epochs."""
        return preview([{"lr": parse(self.example)}], HORIZON) if self.example else None


@dataclass(frozen=True)
class Group:
    """Kinds that belong together: those of one module."""

    name: str
    title: str
    about: str
    entries: tuple[Entry, ...]


def groups() -> list[Group]:
    """Everything that there is, by group; whatever `names` knows is in it.

    >>> [entry.name for entry in groups()[0].entries][:2]
    ['constant', 'linear']
    """
    kinds: dict[str, Callable[..., Any]] = {**KINDS, "sequence": Sequence, "product": Product}
    recipes = {name: call for name, call in CALLS.items() if _module(call) == "recipes"}
    found: dict[str, list[Entry]] = {}
    modules: dict[str, str] = {}
    for name, call in {**kinds, **recipes}.items():
        module = _module(call)
        modules[module] = call.__module__
        found.setdefault(module, []).append(_entry(name, call))
    order = sorted(found, key=[*_TITLES, *found].index)
    return [Group(name, _title(name), _about(sys.modules[modules[name]].__doc__), tuple(found[name])) for name in order]


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


def _entry(name: str, call: Callable[..., Any]) -> Entry:
    module = _module(call)
    signature = _SIGNS.get(call) or f"{name}({_parameters(call)})"
    return Entry(name, _title(module), signature, inspect.getdoc(call) or "", _example(name, call))


def _torchs(name: str) -> Entry:
    doc = f"torch's {name} with torch's arguments and defaults, counted in epochs."
    return Entry(name, "Torch's names", f"{name}({_parameters(TORCH_NAMES[name])})", doc, "")


def _example(name: str, call: Callable[..., Any]) -> str:
    """The example that a kind carries; else its name alone, where that means something."""
    own: str = getattr(call, "example", "")
    if own:
        return own
    try:
        parse(f"{name}()").over(1000, epoch_steps=100)
    except (InputError, InputTypeError):
        return ""
    return f"{name}()"


def _parameters(call: Callable[..., Any]) -> str:
    """The arguments as the text form writes them."""
    written: list[str] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        default = "" if parameter.default is parameter.empty else f"={show(parameter.default)}"
        written.append(f"{parameter.name}{default}")
    return ", ".join(written)


def _module(call: Callable[..., Any]) -> str:
    return call.__module__.rpartition(".")[2]


def _title(module: str) -> str:
    return _TITLES.get(module, module.capitalize())


def _about(doc: str | None) -> str:
    """A module's first sentence without the word that is the group's title anyway."""
    sentence = next(iter((doc or "").strip().splitlines()), "").rpartition(": ")[2]
    return sentence[:1].upper() + sentence[1:]


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())

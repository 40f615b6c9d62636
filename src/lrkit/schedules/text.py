"""The text form of a plan, read by a parser that knows the names of kinds and numbers only.

text    := plan | target ':' plan (';' target ':' plan)*
target  := name ['[' (index | name | quoted text) ']']
plan    := product ('>>' product)*
product := atom ('*' atom)*
atom    := '(' plan ')' | name '(' [argument (',' argument)*] ')'
argument := [name '='] value
value   := number | length | word | quoted text | '[' value, ... ']' | plan
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from lrkit.schedules.algebra import chain, multiply
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.lengths import as_length
from lrkit.schedules.names import CALLS
from lrkit.schedules.plan import Plan
from lrkit.schedules.plans import Plans, Target

__all__ = ["parse", "parse_plan"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<length>\d+(?:\.\d+)?(?:%|[kMGT]?(?:ep|tok|samples|steps?))(?![\w.%]))
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.%]))
    | (?P<name>[A-Za-z_]\w*)
    | (?P<quoted>'[^'\n]*'|"[^"\n]*")
    | (?P<mark>>>|[()\[\],=*:;])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.ASCII,
)
_SPACE = re.compile(r"\s*", re.ASCII)
_WORDS = {"None": None, "True": True, "False": False}
_LONGEST = 10_000
_DEEPEST = 50


def parse(text: str) -> Plan | Plans:
    """Read a plan, or plans for several hyper-parameters, from the text form: `parse(str(plan)) == plan`.

    torch's names are read as tutorials write them, counted in epochs.

    Raises:
        InputError: with the text and a mark under the place that is wrong.

    >>> parse("warmup(5%) >> linear(to=0.1)")
    warmup(5%) >> linear(to=0.1)
    >>> parse("StepLR(step_size=10, gamma=0.5)")
    every(1ep, staircase(every=10, factor=0.5))
    >>> parse("momentum: linear(to=0.5); lr: linear(to=0); lr[head]: constant(0.1)")
    lr: linear(to=0); lr[head]: constant(0.1); momentum: linear(to=0.5)
    """
    if not isinstance(text, str):
        raise InputTypeError(f"a schedule's text must be a str, not {shown(text)} ({type(text).__name__})")
    if len(text) > _LONGEST:
        raise InputError(f"a schedule's text may have {_LONGEST} characters, not {len(text)}")
    return _Parser(text).whole()


def parse_plan(text: str) -> Plan:
    """Read one plan; several hyper-parameters are refused."""
    plan = parse(text)
    if isinstance(plan, Plans):
        raise InputError(f"one schedule is wanted here, not schedules for {', '.join(str(t) for t, _ in plan.parts)}")
    return plan


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.depth = 0

    def _tokens(self) -> list[_Token]:
        found, at = [], 0
        while True:
            match = _TOKEN.match(self.text, at)
            if match is None:
                at = _SPACE.match(self.text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
                self.fail(at, f"unexpected {shown(self._word_at(at))}")
            assert match.lastgroup is not None
            found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            if match.lastgroup == "end":
                return found[::-1]
            at = match.end()

    def _word_at(self, at: int) -> str:
        match = re.match(r"[\w.%]+|.", self.text[at:], re.DOTALL)
        return match[0] if match else ""

    def fail(self, at: int, reason: str) -> NoReturn:
        raise InputError(point_at(self.text, at, reason))

    def take(self) -> _Token:
        return self.tokens.pop()

    def next_is(self, mark: str) -> bool:
        return self.tokens[-1].kind == "mark" and self.tokens[-1].text == mark

    def accept(self, mark: str) -> bool:
        found = self.next_is(mark)
        if found:
            self.take()
        return found

    def expect(self, mark: str, after: str) -> None:
        if not self.accept(mark):
            self.fail(self.tokens[-1].at, f"expected {mark!r} {after}, found {self._found()}")

    def _found(self) -> str:
        return shown(self.tokens[-1].text) if self.tokens[-1].kind != "end" else "the end"

    # --- grammar ----------------------------------------------------------------------------------

    def whole(self) -> Plan | Plans:
        if self.tokens[-1].kind == "end":
            self.fail(0, "a schedule's text can't be empty")
        if self.tokens[-1].kind == "name" and self.tokens[-2].text in (":", "["):
            return self.plans()
        plan = self.plan()
        if self.tokens[-1].kind != "end":
            self.fail(self.tokens[-1].at, f"expected '>>', '*' or the end, found {self._found()}")
        return plan

    def plans(self) -> Plans:
        found: dict[Target, Plan] = {}
        while self.tokens[-1].kind != "end":
            at, target = self.tokens[-1].at, self.target()
            if target in found:
                self.fail(at, f"{target} is given twice")
            self.expect(":", f"after {target}")
            found[target] = self.plan()
            if self.tokens[-1].kind != "end":
                self.expect(";", "before the next hyper-parameter")
        return Plans.of(found)

    def target(self) -> Target:
        hyper = self.take()
        if hyper.kind != "name":
            self.fail(hyper.at, f"expected a hyper-parameter such as momentum, found {hyper.text!r}")
        if not self.accept("["):
            return Target(hyper.text)
        group = self.take()
        is_index = group.kind == "number" and re.fullmatch(r"\d{1,9}", group.text)
        if group.kind not in ("name", "quoted") and not is_index:
            self.fail(group.at, f"expected a param group's index or name, found {group.text!r}")
        self.expect("]", "to close the bracket")
        text = group.text[1:-1] if group.kind == "quoted" else group.text
        return Target(hyper.text, int(text) if is_index else text)

    def plan(self) -> Plan:
        return self._operands(">>", self.product, chain)

    def product(self) -> Plan:
        return self._operands("*", self.atom, multiply)

    def _operands(self, mark: str, operand: Callable[[], Plan], compose: Callable[..., Plan]) -> Plan:
        at, parts = self.tokens[-1].at, [operand()]
        while self.accept(mark):
            parts.append(operand())
        if len(parts) == 1:
            return parts[0]
        composed: Plan = self._build(at, lambda: compose(*parts))
        return composed

    def atom(self) -> Plan:
        at = self.tokens[-1].at
        if self.accept("("):
            self._deeper(at)
            plan = self.plan()
            self.depth -= 1
            self.expect(")", "to close the bracket")
            return plan
        if self.tokens[-1].kind != "name":
            self.fail(at, f"expected a schedule such as linear(to=0), found {self._found()}")
        made = self.call()
        if not isinstance(made, Plan):
            self.fail(at, f"expected a schedule, found {made}")
        return made

    def call(self) -> Any:
        name = self.take()
        if name.text not in CALLS:
            self.fail(name.at, str(unknown("kind", name.text, CALLS)))
        self._deeper(name.at)
        self.expect("(", f"after {name.text}")
        positional: list[Any] = []
        named: dict[str, Any] = {}
        while not self.next_is(")"):
            self.argument(name.text, positional, named)
            if not self.accept(","):
                break
        self.expect(")", f"to close {name.text}(")
        self.depth -= 1
        return self._build(name.at, lambda: self._call(name, positional, named))

    def _call(self, name: _Token, positional: list[Any], named: dict[str, Any]) -> Any:
        function = CALLS[name.text]
        try:
            inspect.signature(function).bind(*positional, **named)
        except TypeError as error:
            raise InputError(f"{name.text}: {error}") from None
        return function(*positional, **named)

    def argument(self, call: str, positional: list[Any], named: dict[str, Any]) -> None:
        token = self.tokens[-1]
        is_named = token.kind == "name" and self.tokens[-2].text == "=" and self.tokens[-2].kind == "mark"
        if not is_named:
            if named:
                self.fail(token.at, f"{call}: a value without a name stands after named ones")
            positional.append(self.value())
            return
        self.take()
        self.take()
        known = [p for p in inspect.signature(CALLS[call]).parameters if not p.startswith("_")]
        if token.text not in known:
            self.fail(token.at, str(unknown(f"argument of {call}", token.text, known)))
        if token.text in named:
            self.fail(token.at, f"{call}: {token.text} is given twice")
        named[token.text] = self.value()

    def value(self) -> Any:
        token = self.tokens[-1]
        if token.kind == "number":
            self.take()
            return int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else float(token.text)
        if token.kind == "length":
            self.take()
            return self._build(token.at, lambda: as_length(token.text))
        if token.kind == "quoted":
            return self.take().text[1:-1]
        if self.accept("["):
            return self.items()
        if token.kind == "name" and not (self.tokens[-2].kind == "mark" and self.tokens[-2].text == "("):
            self.take()
            return _WORDS.get(token.text, token.text)
        if token.kind == "name" and token.text == "absolute":
            return self.call()
        return self.plan()

    def items(self) -> tuple[Any, ...]:
        found: list[Any] = []
        self._deeper(self.tokens[-1].at)
        while not self.next_is("]"):
            found.append(self.value())
            if not self.accept(","):
                break
        self.expect("]", "to close the list")
        self.depth -= 1
        return tuple(found)

    def _deeper(self, at: int) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(at, f"a schedule's text may be nested {_DEEPEST} deep, not deeper")

    def _build(self, at: int, make: Callable[[], Any]) -> Any:
        """What `make` returns; its complaint gets the place, once."""
        try:
            return make()
        except (InputError, InputTypeError) as error:
            self.fail(at, str(error))


def point_at(text: str, at: int, reason: str) -> str:
    """A sentence, the text, and a mark under the place; long texts are cut around it."""
    line = "".join(character if character.isprintable() else " " for character in text)
    begin = max(0, at - 60) if len(line) > 100 else 0
    window = line[begin : begin + 100]
    return f"{reason}\n  {window}\n  {' ' * (at - begin)}^"

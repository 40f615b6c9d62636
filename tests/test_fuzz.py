"""Whatever text or JSON is read, it is a plan or an `InputError` that points at the place, soon."""

import json
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrkit
from lrkit import InputError
from lrkit.schedules.names import CALLS, KINDS
from plans import EXAMPLES, RELATIVE, controllers, schedules

SOON = 30.0  # seconds: what takes quadratic or exponential time takes far longer, and a busy machine does not matter
LONGEST = 10_000
VALID = [*EXAMPLES, *RELATIVE]
WORDS = sorted({*CALLS, "lr", "to", "start", "steps", "every", "at", "factor", "low", "high", "cycles", "None", "True"})
NUMBERS = ["0", "1", "-1", "7", ".5", "1.", "1e400", "-1e400", "1e-400", "9" * 18, "9" * 19, "9" * 400, "5%", "0%"]
LENGTHS = [
    "10ep",
    "2Mtok",
    "3ksamples",
    "9" * 18 + "Tep",
    "9" * 30 + "%",
    "0.000000000000000001%",
    "5steps",
    "5q",
    "1_000",
]
MARKS = [">>", ">", "*", "**", "(", ")", "[", "]", ",", "=", "==", " ", "\n", "\t", "'", '"', "'a'", ".", ";", ":", "#"]
STRANGE = [
    "\x00",
    "\ud800",
    "٣",
    "５",
    "é",
    "\u2028",
    "\xa0",
    "\x1b[31m",
    "lambda",
    "__import__('os')",
    "().__class__",
    "{}",
]
soup = st.lists(st.sampled_from(WORDS + NUMBERS + LENGTHS + MARKS * 3 + STRANGE), max_size=40).map("".join)


def read(text):
    """The plan, or None when the text was refused as it should be, at a place in it."""
    began = time.perf_counter()
    try:
        plan = lrkit.parse(text)
    except InputError as error:
        check_mark(text, str(error))
        plan = None
    assert time.perf_counter() - began < SOON
    assert plan is None or isinstance(plan, lrkit.Plan)
    return plan


def check_mark(text, message):
    if len(text) > LONGEST:
        assert message == f"a schedule's text may have {LONGEST} characters, not {len(text)}"
        return
    sentence, shown, mark = message.split("\n")
    assert sentence.isprintable()
    assert shown.isprintable()
    assert len(shown) <= 102
    assert mark.strip() == "^"
    assert mark.index("^") <= len(shown)


@settings(max_examples=400)
@given(soup)
def test_soup_of_tokens(text):
    read(text)


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text(text):
    read(text)


@st.composite
def mutants(draw, texts):
    """A valid text with some places deleted, doubled, swapped, or replaced by something else."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        other = draw(
            st.sampled_from(["", text[begin:end] * 2, text[begin:end][::-1], *NUMBERS, *MARKS, *STRANGE, *WORDS])
        )
        text = text[:begin] + other + text[end:]
    return text


@settings(max_examples=400)
@given(mutants(st.sampled_from(VALID)))
def test_mutants_of_valid_texts(text):
    plan = read(text)
    if plan is not None and not any(name in text for name in ("from_callable", "table")):
        assert lrkit.parse(str(plan)) == plan
        assert lrkit.from_json(lrkit.to_json(plan)) == plan


@settings(max_examples=50)
@given(mutants(schedules.map(str) | controllers.map(str)))
def test_mutants_of_composed_texts(text):
    read(text)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("argument", [*NUMBERS, *LENGTHS, "[]", "[[]]", "None", "max", "''", "linear()", "absolute(1)"])
def test_every_name_with_every_kind_of_argument(name, argument):
    read(f"{name}({argument})")
    read(f"{name}({argument}, {argument})")


@pytest.mark.parametrize(
    "opening", ["(", "[", "every(2, ", "clip(", "repeat(", "milestones(at=[", "linear() * (", "a("]
)
@pytest.mark.parametrize("count", [40, 49, 50, 51, 500, 2000])
def test_deep_nesting(opening, count):
    for text in (opening * count, opening * count + "linear()" + ")" * count, "(" * count + ")" * count):
        if len(text) <= LONGEST:
            read(text)


@pytest.mark.parametrize(
    "text",
    [
        " >> ".join(["linear(1)"] * 700),
        " * ".join(["linear(1)"] * 700),
        ">>".join(["linear()"] * 999),
        "milestones(at=[" + "1," * 4900 + "])",
        "piecewise(at=[" + "1," * 2400 + "], values=[" + "1," * 2400 + "])",
        "linear(" + "to=1," * 1990 + ")",
        "linear(" + "1," * 4990 + ")",
        "linear(steps=" + "9" * 9900 + ")",
        "linear(steps=" + "9" * 9900 + "%)",
        "linear(to=" + "0." + "1" * 9900 + ")",
        "linear(to=1e" + "9" * 9900 + ")",
        "'" + "a" * 9990 + "'",
        "a" * LONGEST,
        " " * LONGEST,
        "(" * LONGEST,
        "9" * LONGEST,
        "x" * (LONGEST + 1),
        "linear()" * 10**6,
        "repeat(linear(1), cycles=" + "9" * 17 + ")",
        "repeat(linear(1), cycles=" + "9" * 17 + ", stretch=1.5)",
        "cosine_restarts(1, growth=1.001, limit=" + "9" * 17 + ")",
        "clip(" * 40 + "(linear(9) >> linear(9)) * linear(9)" + ", high=1)" * 40,
        "(" * 45 + "linear(9)" + " * linear(9))" * 45,
    ],
    ids=lambda text: text[:20],
)
def test_long_texts_are_read_or_refused_soon(text):
    plan = read(text)
    if plan is not None:
        began = time.perf_counter()
        assert len(str(plan)) > LONGEST or lrkit.parse(str(plan)) == plan
        assert time.perf_counter() - began < SOON


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("shift(", " >> linear(2), later=1)"),
        ("shift(", " >> linear(2), earlier=1)"),
        ("repeat(", " >> linear(2), 2)"),
        ("repeat(", " >> linear(2), 1, stretch=2)"),
        ("clip(", " >> linear(2, to=0.5), low=0.01)"),
        ("every(1, ", " >> linear(2))"),
        ("(", " >> linear(2)) * linear(3)"),
        ("constant(steps=2) >> (", ") * linear(3)"),
        ("shift(plateau(2) >> ", ", later=1)"),
    ],
)
def test_a_part_of_a_sequence_is_asked_once_however_deep(opening, closing):
    plan = read(opening * 45 + "linear(3, to=0.5)" + closing * 45)
    began = time.perf_counter()
    steps = [0, 5, 1000, plan.length - 1, plan.length]
    for resolved in (plan, plan.over(plan.length)):
        values = resolved(steps) if isinstance(plan, lrkit.Schedule) else resolved.value(resolved.init(), steps)
        assert np.isfinite(values).all()
    assert time.perf_counter() - began < SOON


def test_nothing_is_evaluated():
    for text in (
        "__import__('os').system('x')",
        "linear(to=__name__)",
        "linear(to=open('x'))",
        "exec('x')",
        "{0!r}",
        "%s",
    ):
        assert read(text) is None


# --- JSON ------------------------------------------------------------------------------------------


def from_json(text):
    """The plan, or None when it was refused in one sentence."""
    began = time.perf_counter()
    try:
        plan = lrkit.from_json(text)
    except InputError as error:
        check_sentence(str(error))
        plan = None
    assert time.perf_counter() - began < SOON
    return plan


def check_sentence(message):
    assert message.isprintable(), message
    assert len(message) < 1000


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["5%", "max", "", "linear", "a\nb", *KINDS, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "steps", "plan", "parts", "absolute", "to", "at"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def places(value, path=()):
    """The path to every value in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def replaced(value, path, other):
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], other)
    return copy


@settings(max_examples=400)
@given(st.data(), st.sampled_from(VALID), values)
def test_json_with_a_value_replaced(data, text, other):
    document = json.loads(lrkit.to_json(lrkit.parse(text)))
    path = data.draw(st.sampled_from(list(places(document))))
    plan = from_json(json.dumps(replaced(document, path, other)))
    if plan is not None:
        assert lrkit.from_json(lrkit.to_json(plan)) == plan


@settings(max_examples=200)
@given(st.sampled_from(VALID), st.integers(0, 2**32))
def test_json_with_characters_changed(text, seed):
    source, written = random.Random(seed), lrkit.to_json(lrkit.parse(text))
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(written))
        written = (
            written[:at]
            + source.choice(['"', "{", "}", "[", "]", ",", ":", "9", "-", "e", "\\", "\x00", ""])
            + written[at + 1 :]
        )
    from_json(written)


@settings(max_examples=100)
@given(values)
def test_any_json(value):
    from_json(json.dumps({"lrkit": 1, "plan": value}))
    from_json(json.dumps(value))


@pytest.mark.parametrize("depth", [90, 110, 300, 900, 5000, 100_000])
def test_deep_json(depth):
    opening, closing = '{"kind": "clip", "low": 1, "plan": ', "}"
    leaf = '{"kind": "linear", "steps": 5}'
    plan = from_json('{"lrkit": 1, "plan": ' + opening * depth + leaf + closing * depth + "}")
    assert (plan is None) == (depth > 100)
    if plan is not None:
        assert lrkit.from_json(lrkit.to_json(plan)) == plan
        assert plan([0, 3]).tolist() == [1, 1]
    from_json("[" * depth)
    from_json('{"lrkit": 1, "plan": ' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize(
    "text", ["1" * 5000, "[" + "1" * 5000 + "]", b"\xff", "\ud800", "NaN", '{"lrkit": true, "plan": {}}']
)
def test_json_that_is_no_plan(text):
    assert from_json(text) is None


@pytest.mark.parametrize("wrong", [None, 3, {}, [1]])
def test_only_text_is_json(wrong):
    with pytest.raises(lrkit.InputTypeError, match="must be a str"):
        lrkit.from_json(wrong)

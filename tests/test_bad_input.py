"""Bad input: whatever a field is given, it makes a plan whose curve is sound, or one sentence that names the field.

The kinds and their fields are read from the registry, so a new kind is tested without being listed here.
"""

import contextlib
import dataclasses
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, InputTypeError
from lrkit.schedules.names import KINDS, MAKERS

HORIZON = 300
SIZES = {"epoch_steps": 7, "step_tokens": 100, "step_samples": 10}
T = np.append(np.arange(HORIZON), [10**6, 10**15])
METRICS = [1.0, 0.5, 0.6, math.nan, -1.0, -1.0, math.inf, 0.7, 0.7]

# What a required field may be given, whatever the kind: the first that is accepted is taken.
SANE = [10, 0.5, [2, 5], [1.0, 0.5], lrkit.linear(8), math.exp]


def fields_of(kind):
    return [field for field in dataclasses.fields(KINDS[kind]) if field.init and not field.name.startswith("_")]


def sane_arguments(kind):
    """The fewest arguments that a kind is content with."""
    required = [f.name for f in fields_of(kind) if f.default is dataclasses.MISSING]
    optional = [f.name for f in fields_of(kind) if f.default is not dataclasses.MISSING]
    for extra in [[], *([name] for name in optional)]:
        for values in itertools.product(SANE, repeat=len(required) + len(extra)):
            arguments = dict(zip([*required, *extra], values, strict=True))
            try:
                MAKERS[kind](**arguments).over(HORIZON, **SIZES)
            except (InputError, InputTypeError):
                continue
            return arguments
    raise AssertionError(f"no sane arguments of {kind} are among {SANE}")


ARGUMENTS = {kind: sane_arguments(kind) for kind in KINDS}
FIELDS = [(kind, field.name) for kind in KINDS for field in fields_of(kind)]


class Hostile:
    """Its repr, and whatever else is asked of it, fails."""

    def __repr__(self):
        raise RuntimeError("no")

    def __bool__(self):
        raise RuntimeError("no")


class Rambling:
    def __repr__(self):
        return "first line\nsecond line" + "x" * 1000


odd_numbers = [
    *[0, -1, 1, 2, -0.0, 0.5, 1.0, 1.5, -0.5, 5e-324, 1e-300, 1e300, 1.7e308, math.nan, math.inf, -math.inf],
    *[2**53, 2**63, 10**18, 10**30, 10**400, -(10**400), 10**5000, -(10**5000)],
    *[True, False, np.True_, np.int64(3), np.uint8(3), np.float32(0.5), np.float64("nan"), np.float16(2)],
    *[Fraction(1, 3), Fraction(10**400), Fraction(-(10**400), 3), Decimal("0.5"), Decimal("nan"), 1j, np.complex128(1)],
]
odd_text = [
    *["", " ", "0", "-1", "5%", "0%", "300%", "5 %", "1e3", "1ep", "2Mtok", "9ksamples", "999999999999999999Tep"],
    *["nan", "None", "max", "loss", "cosine", "linear", "uniform", "a\nb", "it's", "9" * 5000, "\x00", "\ud800", "٣"],
]
odd_arrays = [
    *[(), [], {}, set(), [[]], [1, 0.5], [3, 1], ["5%", 3], [-1], [math.nan], [math.inf], ["a"], [None]],
    *[np.array([]), np.array([1.0, 0.5]), np.array(3), np.array([[1.0]]), np.array(["a"]), np.zeros(3), range(3)],
    *[[[1, 2], [3, 4]], b"abc", {"steps": 3}, [True, False], [10**400], [1j]],
]
odd_things = [
    *[None, ..., object(), int, math.exp, lambda t: -1, lambda t: "x", Hostile(), Rambling(), NotImplemented],
    *[lrkit.absolute(0.3), lrkit.absolute(1e308), lrkit.linear(5), lrkit.linear(), lrkit.plateau()],
    *[lrkit.greedy(9) * lrkit.plateau(), lrkit.constant() >> lrkit.linear(3), lrkit.warmup("5%")],
]
wrong = st.one_of(
    *map(st.sampled_from, (odd_numbers, odd_text, odd_arrays, odd_things)),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-2, 9) | st.floats(-1, 3), max_size=4),
)


@contextlib.contextmanager
def one_sentence(*names):
    """What is refused inside is refused in one sentence that has one of the names in it."""
    try:
        yield
    except (InputError, InputTypeError) as error:
        check_sentence(str(error), names)


def check_sentence(text, names):
    assert text.isprintable(), text
    assert 0 < len(text) < 1000
    assert not names or any(name in text for name in names), text


def check_curve(plan):
    """Resolved, its curve is finite and not negative, wherever it has been and whatever a controller was told."""
    resolved = plan.over(HORIZON, **SIZES)
    for base in (0.1, 0.0):
        if isinstance(resolved, lrkit.Controller):
            state = resolved.init()
            for t, metric in enumerate(METRICS):
                state = resolved.update(state, metric, 30 * t)
                values = resolved.value(state, T, base)
        else:
            values = resolved.value(T, base)
        assert values.shape == T.shape
        assert np.isfinite(values).all()
        assert (values >= 0).all()


def test_every_kind_has_sane_arguments():
    assert set(ARGUMENTS) == set(KINDS) == set(MAKERS)
    for kind, arguments in ARGUMENTS.items():
        check_curve(MAKERS[kind](**arguments))


@pytest.mark.parametrize(("kind", "field"), FIELDS)
@settings(max_examples=60)
@given(value=wrong)
def test_a_field_takes_what_is_sound_and_says_what_is_wrong(kind, field, value):
    plan = None
    with one_sentence(field):
        plan = MAKERS[kind](**{**ARGUMENTS[kind], field: value})
    if plan is not None:
        with one_sentence():
            check_curve(plan)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_fields_that_are_wrong_together_are_refused_in_one_sentence_too(kind, data):
    names = [field.name for field in fields_of(kind)]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=4, unique=True))
    arguments = {**ARGUMENTS[kind], **{name: data.draw(wrong) for name in chosen}}
    with one_sentence():
        check_curve(MAKERS[kind](**arguments))


@given(wrong)
def test_a_horizon_is_sound_or_refused(steps):
    with one_sentence("steps"):
        assert lrkit.warmup("5%").over(steps).steps >= 1
    for name in SIZES:
        with one_sentence(name):
            assert lrkit.warmup("1%").over(100, **{name: steps}) == lrkit.warmup(1)


@given(wrong)
def test_steps_and_bases_are_sound_or_refused(value):
    with one_sentence("t must be"):
        assert np.isfinite(lrkit.linear(10).value(value)).all()
    with one_sentence("base must be", "no finite value"):
        assert np.isfinite(lrkit.linear(10).value(5, value)).all()


@given(wrong)
def test_a_metric_is_sound_or_refused(value):
    for plan in (lrkit.plateau(patience=0), lrkit.greedy(patience=0, window=2), lrkit.plateau(smoothing=0.5)):
        with one_sentence("metric"):
            state = plan.update(plan.update(plan.init(), value), {"loss": value})
            assert 0 <= plan.value(state, 0) < math.inf


@given(wrong)
def test_an_absolute_value_is_sound_or_refused(value):
    with one_sentence("absolute must be"):
        assert lrkit.absolute(value).value >= 0

"""Grids: many values in one text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit import InputError
from lrkit.output.grid import grid

POSITIVE = st.floats(1e-12, 1e12)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["0.1"], [0.1]),
        (["0.01,0.1,1"], [0.01, 0.1, 1]),
        (["1e-3, .5 ,5E-4,+2."], [0.001, 0.5, 0.0005, 2]),
        (["0.001:1:4log"], [0.001, 0.01, 0.1, 1]),
        (["1:0.001:4log"], [1, 0.1, 0.01, 0.001]),
        (["0.001:1:3log"], [0.001, 0.0316228, 1]),
        (["0.1:0.5:5"], [0.1, 0.2, 0.3, 0.4, 0.5]),
        (["0:1:4"], [0, 0.333333, 0.666667, 1]),
        (["0.01,0.1:1:4log"], [0.01, 0.1, 0.215443, 0.464159, 1]),
        (["0.1,1", "0.01", "1,0.1"], [0.1, 1, 0.01]),
        (["0.3:0.3:1"], [0.3]),
        (["0.3:0.3:5log"], [0.3]),
        (["1:1.000002:3"], [1, 1.000001, 1.000002]),
    ],
)
def test_a_grid_has_these_values(texts, values):
    assert list(grid(texts, "--lr")) == values


@given(POSITIVE, POSITIVE, st.integers(2, 40), st.sampled_from(["", "log"]))
def test_a_range_has_its_ends_exactly_and_what_lies_between_evenly(start, end, count, kind):
    if abs(start - end) < 1e-6 * max(start, end):
        end = 2 * start
    values = grid([f"{start!r}:{end!r}:{count}{kind}"], "--lr")
    assert (len(values), values[0], values[-1]) == (count, start, end)
    space = np.geomspace if kind else np.linspace
    np.testing.assert_allclose(values, space(start, end, count), rtol=1e-5)
    assert grid([",".join(map(repr, values))], "--lr") == values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--lr has no value; give numbers such as"),
        ("fast", "not 'fast'"),
        ("0.1,,1", "not ''"),
        ("0.1:1", "not '0.1:1'"),
        ("0.1:1:3:4", "not '0.1:1:3:4'"),
        ("0.1:1:log", "not '0.1:1:log'"),
        ("0.1:1:3lin", "not '0.1:1:3lin'"),
        ("0.1:1:3.5", "not '0.1:1:3.5'"),
        ("1_0", "not '1_0'"),
        ("nan", "not 'nan'"),
        ("inf", "not 'inf'"),
        ("1e999", "--lr must be finite and above 0, not inf"),
        ("-0.1", "--lr must be finite and above 0, not -0.1"),
        ("0", "--lr must be finite and above 0, not 0.0"),
        ("0:1:5log", "--lr must be finite and above 0, not 0.0"),
        ("0.1:1:0", "the range 0.1:1:0 must have between 1 and 10000 values, not 0"),
        ("0.1:1:99999999999", "must have between 1 and 10000 values"),
        ("0.1:1:1", "the range 0.1:1:1 has one value but two ends; name a count of at least 2"),
        ("1:1.0000000000000002:3", "more values than there are floating-point numbers between its ends"),
    ],
)
def test_what_is_no_grid_is_said(text, sentence):
    with pytest.raises(InputError, match="--lr") as caught:
        grid(["0.5", text], "--lr", low_open=True)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_bounds():
    assert grid(["0:0.9:2"], "--momentum", below=1) == (0, 0.9)
    with pytest.raises(InputError, match=r"--momentum must be finite and at least 0 and below 1, not 1\.0"):
        grid(["0.5,1"], "--momentum", below=1)
    with pytest.raises(InputError, match="the range 0:1e-2:5log must have both ends above 0 to be spaced log"):
        grid(["0:1e-2:5log"], "--weight-decay")
    assert math.isclose(grid(["1e-300:1e300:3"], "--lr")[1], 5e299)

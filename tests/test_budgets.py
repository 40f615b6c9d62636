"""What more steps and a cooldown are asked with, where it can't be."""

import numpy as np
import pytest

import lrkit
from prediction_cases import PEAK, law_with_worlds

SO_FAR = np.full(40, PEAK)


@pytest.fixture(scope="module")
def law():
    return law_with_worlds()


@pytest.mark.parametrize(
    ("factors", "error", "sentence"),
    [
        (2, lrkit.InputTypeError, "factors must be a list of numbers, not 2"),
        ("12", lrkit.InputTypeError, "factors must be a list of numbers, not '12'"),
        (["2"], lrkit.InputTypeError, "factors must be a number, not '2' (str)"),
    ],
)
def test_factors_are_a_list_of_numbers(law, factors, error, sentence):
    with pytest.raises(error) as raised:
        lrkit.more_steps(law, 80, schedule="constant()", factors=factors)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("lengths", "extra", "error", "sentence"),
    [
        (10, None, lrkit.InputTypeError, "lengths must be a list of steps, not 10"),
        ([], None, lrkit.InputError, "lengths must have at least one number, not none"),
        ([], 20, lrkit.InputError, "lengths must have at least one number, not none"),
        ((30, 40), 20, lrkit.InputError, "lengths must have one of at most extra=20 steps, not [30, 40]"),
    ],
)
def test_lengths_of_cooldowns_are_a_list_of_steps(law, lengths, extra, error, sentence):
    with pytest.raises(error) as raised:
        lrkit.cooldown_lengths(law, SO_FAR, lengths, extra=extra)
    assert str(raised.value) == sentence


def test_lengths_may_come_one_by_one_and_of_numpy(law):
    found = lrkit.cooldown_lengths(law, SO_FAR, (length for length in np.array([20, 10])))
    assert [each.length for each in found.rows] == [10, 20]
    assert [each.steps for each in lrkit.more_steps(law, np.int64(80), schedule="constant()", factors=np.ones(1))] == [
        80
    ]

"""What is common to lrkit's modules for other trainers."""

import doctest
import importlib

import pytest

from lrkit import InputTypeError
from lrkit.trainers.plans import as_plan


@pytest.mark.parametrize("name", ["extras", "plans"])
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"lrkit.trainers.{name}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_schedule_is_a_plan_or_its_text():
    with pytest.raises(InputTypeError, match=r"schedule must be a plan of lrkit or its text, not 0\.1"):
        as_plan(0.1)

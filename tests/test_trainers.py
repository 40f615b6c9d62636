"""What is common to lrkit's modules for other trainers."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from lrkit import InputTypeError
from lrkit.trainers.plans import as_plan

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["extras", "plans"])
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"lrkit.trainers.{name}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_schedule_is_a_plan_or_its_text():
    with pytest.raises(InputTypeError, match=r"schedule must be a plan of lrkit or its text, not 0\.1"):
        as_plan(0.1)


def rows_of_the_table():
    text = (ROOT / "docs" / "trainers.md").read_text().partition("## What goes wrong without")[2]
    return [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ") and "::" in line]


def test_each_row_of_the_table_of_what_goes_wrong_is_a_test():
    rows = rows_of_the_table()
    assert len({row[0].strip() for row in rows}) >= 6
    for row in rows:
        path, name = row[-1].strip().strip("`").split("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row

"""Records in the forms of many tools: what is read is what was written, and every row of the documented table works."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import lrkit as package
from comparison_cases import history
from log_forms import FORMS

RECORDS = Path(__file__).parents[1] / "docs" / "records.md"
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(lrkit [^`]+)` \|$", RECORDS.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("tool", FORMS)
def test_what_a_tool_wrote_is_read(tool, tmp_path):
    form = FORMS[tool]
    form.write(tmp_path)
    found = package.read_history(tmp_path / form.path, **form.options)
    assert found.losses[form.at].tolist() == pytest.approx(form.losses, rel=1e-6)
    if form.rates:
        assert found.lr[form.at].tolist() == pytest.approx(form.rates, rel=1e-6)
    valid = {each.step: each.valid_loss for each in found.epochs if each.valid_loss is not None}
    assert {step: valid.get(step) for step in form.valid} == pytest.approx(form.valid, rel=1e-6)
    assert bool(valid) == bool(form.valid)
    assert np.isfinite(found.losses).all()


def test_the_documented_table_has_every_form():
    assert {tool for tool, _ in ROWS} == {"lrkit", *FORMS}


@pytest.mark.parametrize(("tool", "command"), ROWS)
def test_every_documented_command_works(lrkit, tmp_path, tool, command):
    if tool == "lrkit":
        package.save_history(history("constant()", 0.1, 0, 0.5), tmp_path / "runs" / "mine")
    else:
        FORMS[tool].write(tmp_path)
    status, out, err = lrkit(*shlex.split(command)[1:])
    assert (status, err) == (0, "")
    assert out

"""The catalogue: every kind of schedule, in the terminal and on the page, with what its docstring says."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import lrkit as library
from lrkit.output.catalogue import find, groups, torchs
from lrkit.schedules.names import CALLS, KINDS, TORCH_NAMES

ROOT = Path(__file__).parent.parent
ENTRIES = {entry.name: entry for group in groups() for entry in group.entries}
SHOWN = [name for name in ENTRIES if name != "from_callable"]  # which text can't hold
TOOL = runpy.run_path(str(ROOT / "tools" / "catalogue.py"))


def test_everything_that_the_text_form_knows_is_in_it():
    named = {*KINDS, *CALLS} - {"absolute"}
    assert named | {"sequence", "product"} == {*ENTRIES, *(entry.name for entry in torchs())}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_kind_says_what_it_is(name):
    entry = ENTRIES[name]
    assert entry.summary.endswith("."), f"{name} needs a docstring that begins with a sentence"
    if name in KINDS:
        assert entry.formula, f"{name} needs a paragraph in its docstring that begins with value(t) ="


@pytest.mark.parametrize("name", SHOWN)
def test_every_kind_that_text_can_hold_has_an_example(name):
    entry = ENTRIES[name]
    assert entry.example, f"{name} needs an example: a text that shows it over 1000 steps"
    assert name in entry.example or name in ("sequence", "product"), f"the example of {name} doesn't show it"
    library.parse(entry.example).over(1000, epoch_steps=100)
    values = entry.preview.panels[0].curves[0].values
    assert len(values) == 1000
    assert np.ptp(values) > 0.1, f"the example of {name} is flat"


def test_an_entry_has_the_parts_of_the_docstring():
    entry = find("cosine")
    assert entry.group == "Ramps"
    assert entry.signature == "cosine(steps=None, *, to=0, start=None, exponent=1, k=1)"
    assert entry.summary == "Half a period of a cosine: flat at both ends, steepest in the middle."
    assert entry.formula.startswith("value(t) = to + (start - to) · ")
    assert entry.source.startswith("SGDR without restarts")
    assert list(entry.arguments) == ["steps", "to", "start", "exponent", "k"]
    assert entry.prose == []
    assert find("plateau").prose[0].startswith("After more than `patience` reports in a row")


def test_torchs_names_have_an_entry_too():
    assert find("StepLR").signature == "StepLR(step_size, gamma=0.1)"
    assert [entry.name for entry in torchs()] == list(TORCH_NAMES)


# --- in the terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [72, 80, 200])
def test_the_list_has_signature_formula_and_a_small_curve_of_each(lrkit, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, err = lrkit("schedules")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= min(columns, 100)
    flat = " ".join(out.split())
    for entry in ENTRIES.values():
        for part in (entry.signature, entry.formula or entry.summary, entry.example):
            assert part in flat
    assert "██████▇▇▇▇▇▆▆▆▆▅▅▅▄▄▄▄▃▃▃▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁" in out
    assert "StepLR(step_size, gamma=0.1)" in flat


@pytest.mark.parametrize("name", [*ENTRIES, *TORCH_NAMES])
def test_one_in_full_has_its_whole_docstring_a_chart_and_an_example(lrkit, name):
    status, out, err = lrkit("schedules", name)
    assert (status, err) == (0, "")
    entry = find(name)
    flat = " ".join(out.split())
    assert entry.signature in flat
    assert " ".join(entry.doc.split()) in flat
    if entry.example:
        assert f'lrkit plot "{entry.example}" --epochs 10' in out
        assert "1000 steps" in out
        assert lrkit("plot", entry.example, "--epochs", 10)[0] == 0


def test_as_json_it_is_always_a_list(lrkit):
    found = json.loads(lrkit("schedules", "--json")[1])["schedules"]
    assert [each["name"] for each in found] == list(ENTRIES)
    (linear,) = json.loads(lrkit("schedules", "linear", "--json")[1])["schedules"]
    assert linear in found
    assert linear["example"] == "linear(to=0)"
    assert linear["curve"] == pytest.approx(np.linspace(1 - 0.012, 0.013, 40))
    assert set(linear) == {"name", "group", "signature", "summary", "formula", "source", "doc", "example", "curve"}


# --- the page ----------------------------------------------------------------------------------------


def test_the_page_is_what_the_code_says():
    written = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
    assert TOOL["page"]() == written, "docs/schedules.md is older than the code: run make docs"


def test_the_page_has_a_picture_for_every_group():
    for group in groups():
        file = ROOT / "docs" / "images" / TOOL["picture_name"](group)
        assert file.read_bytes().startswith(b"\x89PNG"), "run make docs"
        shown = [entry for entry in group.entries if entry.example]
        drawn = [axes for axes in TOOL["sheet"](group).axes if axes.get_lines()]
        assert [axes.get_title() for axes in drawn] == [entry.name for entry in shown]
        for axes, entry in zip(drawn, shown, strict=True):
            np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), entry.preview.panels[0].curves[0].values)

"""The page of a comparison: one file that needs nothing beside it; and `lrkit report`, which makes it from records."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from comparison_cases import LINE_UP, candidate, candidates
from lrkit import InputError
from lrkit.analysis.comparisons import compare_histories
from lrkit.output.cli import main
from lrkit.output.comparison_report import report_html, write_report

HOSTILE = "</script><script>alert('no')</script>&amp;\"<img src=x>"
COMMAND = "lrkit compare small.py --schedule 'linear(to=0)'"
MADE = {"task": "small", "seeds": {"final": [100, 101], "selection": [0]}, "source": None, "seconds": 1.25}


class Page(HTMLParser):
    """What a test asks of a page: elements with their attributes, in order, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in ("meta", "link", "input", "img", "br"):
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag, f"</{tag}> closes another element"

    def handle_data(self, text):
        for each in self._open:
            each["text"] += text

    def all(self, tag, **wanted):
        return [each for each in self.elements if each["tag"] == tag and wanted.items() <= each.items()]

    def figures(self):
        [found] = self.all("script", id="figures")
        return json.loads(found["text"])


def compared_schedules():
    found = [*candidates(), dataclasses.replace(candidate("constant()", 0.13), name=HOSTILE)]
    return compare_histories(found, reference="linear(to=0)", made=MADE)


@pytest.fixture(scope="module")
def comparison():
    return compared_schedules()


@pytest.fixture(scope="module")
def text(comparison):
    return report_html(comparison, command=COMMAND)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


# --- one file ------------------------------------------------------------------------------------------


def test_nothing_is_fetched(page):
    for each in page.elements:
        for name in ("src", "srcset", "href", "action", "data", "poster", "background"):
            value = each.get(name)
            assert value is None or value.startswith(("#", "data:")), f"{each['tag']} asks for {value}"
    [style] = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]


def test_the_policy_lets_the_pages_own_scripts_run_and_nothing_else(page):
    [policy] = (each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    run = [each for each in page.all("script") if "type" not in each]
    digests = [base64.b64encode(hashlib.sha256(each["text"].encode()).digest()).decode() for each in run]
    allowed = " ".join(f"'sha256-{each}'" for each in digests)
    assert len(run) == 2
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src {allowed};" in policy


def test_the_page_is_the_same_for_the_same_comparison_and_not_much_larger_than_plotly(text, tmp_path):
    from plotly.offline import get_plotlyjs

    write_report(compared_schedules(), tmp_path / "page.html", command=COMMAND)
    assert (tmp_path / "page.html").read_bytes().decode() == text
    assert len(text) < len(get_plotlyjs()) + 150_000


def test_a_page_that_cant_be_written_is_one_sentence(comparison, tmp_path):
    with pytest.raises(InputError, match=r"page\.html can't be written"):
        write_report(comparison, tmp_path / "none" / "page.html", command=None)


# --- what is on it -------------------------------------------------------------------------------------


def test_the_verdict_comes_first_then_the_table_then_the_figures(page, comparison):
    sections = [each["id"] for each in page.all("section")]
    assert sections == ["verdict", "table", "curves", "forest", "sensitivity", "rates", "notes", "made", "again"]
    [verdict] = page.all("section", id="verdict")
    assert all(sentence in verdict["text"] for sentence in comparison.verdict)
    [notes] = page.all("section", id="notes")
    assert comparison.notes
    assert all(note in notes["text"] for note in comparison.notes)


def test_every_schedule_is_in_the_table_in_the_toggles_and_in_every_figure_that_can_have_it(page, comparison):
    table = page.all("table")[0]
    names = [each.name for each in comparison.standings]
    rows = [each["text"] for each in page.all("th", scope="row")][: len(names)]
    assert all(row.startswith(name) for row, name in zip(rows, names, strict=True))
    assert all(word in table["text"] for word in ("can't be told apart", "worse", "reference"))
    numbers = {each["data-schedule"] for each in page.all("input", type="checkbox")}
    assert numbers == set(map(str, range(len(names))))
    for key, figure in page.figures().items():
        drawn = {str(trace["meta"]) for trace in figure["data"]}
        reference = str(list(comparison.candidates).index(comparison.reference))
        assert drawn == (numbers - {reference} if key == "forest" else numbers), key


def test_figures_show_the_numbers_of_the_comparison(page, comparison):
    figures = page.figures()
    for standing in comparison.standings:
        number = list(comparison.candidates).index(standing.name)
        traces = {key: [each for each in found["data"] if each["meta"] == number] for key, found in figures.items()}
        band, curve = traces["curves"]
        assert curve["y"][-1] == pytest.approx(standing.final["loss"].mean, rel=1e-5)
        assert band["y"][5:7] == pytest.approx([standing.final["loss"].high, standing.final["loss"].low], rel=1e-5)
        [interval] = traces["forest"] or [None]
        assert (interval is None) == (standing.difference is None)
        if interval is not None:
            high = interval["x"][0] + interval["error_x"]["array"][0]
            assert high == pytest.approx(standing.difference.high, rel=1e-5)
            filled = interval["marker"]["symbol"] == "circle"
            assert filled == standing.difference.certain
        searched = {(x, y) for trace in traces["sensitivity"] for x, y in zip(trace["x"], trace["y"], strict=True)}
        ended = {(rate.lr, float(f"{rate.value:.6g}")) for rate in standing.tried if rate.state == "ended"}
        assert ended
        assert ended <= searched
        assert {x for x, _ in searched} == {rate.lr for rate in standing.tried}
        for trace in traces["rates"]:
            assert max(trace["y"]) == pytest.approx(standing.best_lr)


def test_plateaus_that_fell_at_different_steps_are_drawn_once_each(page, comparison):
    number = list(comparison.candidates).index("plateau")
    series = [each for each in page.figures()["rates"]["data"] if each["meta"] == number]
    assert len(series) == 2


def test_the_page_says_how_it_was_made_and_the_command_to_run_it_again(page, comparison):
    said = dict(zip((each["text"] for each in page.all("dt")), (each["text"] for each in page.all("dd")), strict=True))
    assert said == {"task": "small", "seeds": "final: 100, 101\nselection: 0", "seconds": "1.25"}
    assert page.all("code", id="command")[0]["text"] == COMMAND
    assert not Page(report_html(comparison, command=None)).all("code", id="command")


def test_joined_comparisons_say_each_how_they_were_made(comparison):
    joined = dataclasses.replace(comparison, made={"joined": [MADE, {**MADE, "seconds": 2.0}]})
    page = Page(report_html(joined, command=None))
    assert [each["text"] for each in page.all("dd")][2::3] == ["1.25", "2"]
    assert [each["text"] for each in page.all("h3")] == ["Comparison 1", "Comparison 2"]


def test_names_that_would_do_harm_are_shown_as_they_are(page):
    assert HOSTILE in page.all("table")[0]["text"]
    assert len(page.all("script")) == 3
    assert not page.all("img")
    figures = page.figures()
    assert not re.search("[<>]", json.dumps([each["name"] for each in figures["forest"]["data"]]))
    assert "%{fullData.name}" in figures["curves"]["data"][-1]["hovertemplate"]


# --- for everybody -------------------------------------------------------------------------------------


def test_the_page_can_be_read_without_seeing_it(page):
    assert all(each.get("aria-label") for each in page.all("div", role="img"))
    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 1
    headings = [int(each["tag"][1]) for each in page.elements if re.fullmatch(r"h[1-6]", each["tag"])]
    assert headings[0] == 1
    assert set(headings[1:]) == {2}
    assert all(page.all(landmark) for landmark in ("header", "nav", "main", "footer"))
    places = {each["id"] for each in page.elements if "id" in each}
    assert {each["href"].removeprefix("#") for each in page.all("a")} <= places


def test_an_accuracy_is_in_percent_and_better_is_higher():
    page = Page(report_html(compare_histories(candidates(), reference="constant()", measure="accuracy"), command=None))
    assert page.figures()["forest"]["layout"]["annotations"][-1]["text"] == "better →"
    assert re.search(r"96\.\d+ %", page.all("table")[0]["text"])
    assert "better" in page.all("table")[0]["text"]


def test_a_schedule_whose_runs_diverged_is_said_not_to_be_compared():
    found = compare_histories([candidate(name, 0.1, diverged=[100] if name == "StepLR" else []) for name in LINE_UP])
    text = Page(report_html(found, command=None)).all("table")[0]["text"]
    assert text.count("not compared") == text.count("since runs diverged") == 1


@pytest.mark.parametrize(
    "found",
    [
        [candidate("constant()", 0.2, seeds=[1])],
        [candidate("constant()", 0.2, seeds=[1, 2], diverged=[1, 2]), candidate("linear(to=0)", 0.1, seeds=[1, 2])],
        [dataclasses.replace(each, tried={}) for each in candidates()],
    ],
    ids=["one run", "a schedule that diverged", "no search"],
)
def test_what_there_is_nothing_of_is_left_out(found):
    page = Page(report_html(compare_histories(found), command=None))
    sections = {each["id"] for each in page.all("section")}
    assert set(page.figures()) == sections & {"curves", "forest", "sensitivity", "rates"}
    assert "nan" not in page.all("main")[0]["text"].lower()
    assert {each.name for each in found} == {each["text"] for each in page.all("label")}


# --- lrkit report --------------------------------------------------------------------------------------

TASK = """
import torch, lrkit
x = torch.linspace(-1, 1, 120)[:, None]
task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), valid=(x, 2 * x), batch_size=20, epochs=2,
                  loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two comparisons in folders a and b; the task is gone."""
    path = tmp_path_factory.mktemp("compared")
    (path / "small.py").write_text(TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        for folder, schedule in (("a", "linear(to=0)"), ("b", "cosine(to=0)")):
            few = ["--lr", "0.1,0.3", "--seeds", "2", "--selection-seeds", "1", "--backend", "eager", "--quiet"]
            texts = ["--schedule", "constant()", "--schedule", schedule]
            with pytest.raises(SystemExit) as ended:
                main(["compare", "small.py", *texts, *few, "--out", folder])
            assert ended.value.code == 0
    (path / "small.py").unlink()
    return path


@pytest.fixture
def compared(folders, tmp_path):
    """Copies of them, to change and to add to."""
    return shutil.copytree(folders, tmp_path, dirs_exist_ok=True)


def test_report_makes_the_same_page_from_records_alone(lrkit, compared):
    page, picture = compared / "a" / "report.html", compared / "a" / "comparison.png"
    before = page.read_text()
    page.unlink()
    picture.unlink()
    status, out, err = lrkit("report", "a")
    assert (status, err) == (0, "")
    assert out.endswith("picture a/comparison.png, report a/report.html\n")
    seconds = "<dt>seconds</dt><dd>[^<]*"
    assert re.sub(seconds, "", page.read_text()) == re.sub(seconds, "", before)
    assert picture.exists()
    found = json.loads(lrkit("report", "a", "--json")[1])
    kept = json.loads((compared / "a" / "comparison.json").read_text())
    assert all(found[name] == kept[name] for name in ("verdict", "reference", "schedules", "notes"))


def test_report_joins_several(lrkit, compared):
    status, out, _ = lrkit("report", "a", "b", "--out", "both.html", "--json")
    found = json.loads(out)
    assert status == 0
    assert {each["name"] for each in found["schedules"]} == {"constant()", "linear(to=0)", "cosine(to=0)"}
    page = Page((compared / "both.html").read_text())
    command = page.all("code", id="command")[0]["text"]
    assert command.splitlines()[-1] == "lrkit report a b --out both.html"
    assert [line.split()[:2] for line in command.splitlines()] == [["lrkit", "compare"]] * 2 + [["lrkit", "report"]]
    assert (compared / "both.png").exists()
    lrkit("report", "a", "b")
    assert (compared / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none"], "there is no file or folder none"),
        (["none", "--out", "page.png"], "--out must end in .html or .htm, not 'page.png'"),
        (["none", "--out", "no/page.html"], "--out must be in a folder that exists, not 'no/page.html'"),
    ],
)
def test_report_says_in_one_sentence_what_is_wrong(lrkit, arguments, sentence):
    assert lrkit("report", *arguments) == (2, "", f"lrkit: error: {sentence}\n")
    assert not Path("page.png").exists()

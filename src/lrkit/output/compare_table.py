"""The table of a comparison: schedules by what they end with, and how sure the differences are."""

from collections.abc import Sequence

from lrkit.analysis.comparison import Comparison, Difference, Mean, Standing
from lrkit.analysis.verdicts import say_p
from lrkit.output.cells import column, fitted
from lrkit.output.comparison_numbers import Said, say_values, scale_of, signed, unit_of
from lrkit.schedules.shares import show_number

__all__ = ["compare_table"]

_LEAST_WIDTH = 16  # of a schedule's name
_MOST_SHARE = 0.4  # of a line, for names
_LONGEST_HEAD = 20  # of the reference's name


def compare_table(comparison: Comparison, width: int | None = None) -> list[str]:
    """The lines of the table, the best schedule first.

    Columns that don't fit beside each other stand beneath; long names are cut, or are numbers where they couldn't be
    told apart then.
    """
    rows = comparison.standings
    columns = [column(head, cells) for head, cells in _columns(comparison)]
    names = [each.name for each in rows]
    beneath: list[str] = []
    if width is not None:
        names, beneath = fitted(names, max(_LEAST_WIDTH, int(_MOST_SHARE * width)))
    names = ["schedule", *names]
    longest = max(map(len, names))
    names = [f"{name:<{longest}}" for name in names]
    lines: list[str] = []
    for block in _blocks(columns, None if width is None else width - longest):
        lines += ["  ".join(cells).rstrip() for cells in zip(names, *block, strict=True)]
    texts = [f"{each.name}: {each.schedule}" for each in rows if each.name != each.schedule]
    return [*lines, *beneath, *texts]


def _blocks(columns: Sequence[list[str]], width: int | None) -> list[list[list[str]]]:
    """The columns that fit beside each other, each with two spaces before it."""
    blocks: list[list[list[str]]] = [[]]
    used = 0
    for each in columns:
        taken = len(each[0]) + 2
        if width is not None and blocks[-1] and used + taken > width:
            blocks.append([])
            used = 0
        blocks[-1].append(each)
        used += taken
    return blocks


def _columns(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Heads and cells, without those that would be empty."""
    rows, measure, target = comparison.standings, comparison.measure, comparison.target
    others = [name for name in ("loss", "accuracy") if name != measure.name]
    sensitivities = [each.sensitivity for each in rows]
    parts = "" if measure.name != "accuracy" else ", points of %"
    other = comparison.reference if len(comparison.reference) <= _LONGEST_HEAD else "reference"
    columns = [
        ("lr", [_rate(each.best_lr) for each in rows]),
        (str(measure), _means([each.final.get(measure.name) for each in rows], measure.name)),
        (f"difference to {other}{parts}", _differences(comparison) if len(rows) > 1 else []),
        ("p-value", [_p_value(each.difference) for each in rows]),
        *((name, _means([each.final.get(name) for each in rows], name)) for name in others),
        (f"steps to {_target(target, measure.name)}", [_steps(each) for each in rows]),
        ("lost at lr/3", ["-" if each is None else _lost(each.lower, measure.name) for each in sensitivities]),
        (
            "lost at 3 lr",
            [
                "-" if each is None else _lost(each.higher, measure.name, diverged=each.higher_diverged)
                for each in sensitivities
            ],
        ),
        ("", [_note(each) for each in rows]),
    ]
    return [(head, cells) for head, cells in columns if any(cell not in ("", "-") for cell in cells)]


def _rate(lr: float | None) -> str:
    return "-" if lr is None else f"{lr:.6g}"


def _means(means: Sequence[Mean | None], name: str) -> list[str]:
    """Means with half of their intervals' widths."""
    cells = []
    for each in say_values(name, means):
        if each is None:
            cells.append("-")
        else:
            cells.append((each.mean if each.half is None else f"{each.mean} ± {each.half}") + unit_of(name))
    return cells


def _differences(comparison: Comparison) -> list[str]:
    found = say_values(comparison.measure.name, [each.difference for each in comparison.standings])
    return [
        "reference" if standing.name == comparison.reference else _difference(each)
        for standing, each in zip(comparison.standings, found, strict=True)
    ]


def _difference(found: Said | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return signed(found.mean)
    return f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"


def _p_value(found: Difference | None) -> str:
    if found is None or found.p_value is None:
        return "-"
    return say_p(found.p_value).removeprefix("p ").removeprefix("= ")


def _target(target: float | None, name: str) -> str:
    if target is None:
        return ""
    return f"{100 * target:.4g} %" if name == "accuracy" else f"{target:.3g}"


def _steps(each: Standing) -> str:
    """How many updates it took; how many runs got there where the median of all never did."""
    found = each.reached
    if found is None:
        return "-"
    if found.steps is None:
        return f"{found.n} of {found.of} runs" if found.n else "never"
    return show_number(found.steps)


def _lost(value: float | None, name: str, *, diverged: bool = False) -> str:
    if diverged:
        return "diverged"
    return "-" if value is None else f"{scale_of(name) * value:.2g}"


def _note(each: Standing) -> str:
    if not each.n_seeds:
        return "came to its end at no rate"
    return f"{each.diverged} of {each.n_seeds} diverged" if each.diverged else ""

"""The best schedule for a budget, how long to cool down, and what more steps would buy, as text."""

from collections.abc import Sequence

from lrkit.analysis.best_schedule import BestSchedule
from lrkit.analysis.budgets import Budget, CooldownLengths
from lrkit.analysis.ending import Ending
from lrkit.output.cells import column, percent, show_loss
from lrkit.output.predict_table import WIDTH, wrapped
from lrkit.schedules.shares import show_number

__all__ = ["best_lines", "budget_lines", "cooldown_lines"]


def best_lines(best: BestSchedule, width: int = WIDTH) -> list[str]:
    """The table of the best rates, what is predicted for them, and the nearest schedule that has a name."""
    points = best.points
    lines = [
        f"best rates for {best.steps} steps, peak {best.peak:.6g}, warmup {best.warmup} steps, "
        f"by the law {best.law.law.name}:",
        *_joined(
            column("step", [str(each.step) for each in points]),
            column("of the run", [_whole(each.run_share) for each in points]),
            column("rate", [f"{each.rate:.3e}" for each in points]),
            column("of the peak", [percent(each.peak_share) for each in points]),
        ),
        f"predicted final loss: {_show(best.ending, best.level)}",
        "",
        f"nearest schedule with a name: {best.nearest}",
        f"predicted final loss: {_show(best.named_ending, best.level)}",
        f"its rates differ from the best ones by {percent(best.nearest_distance)} of the peak on average",
        f'to train with it: --schedule "{best.nearest}" --lr {best.peak:.6g} --steps {best.steps}',
    ]
    return [*lines, *_notes([("the best rates", best.ending), ("the schedule with a name", best.named_ending)], width)]


def budget_lines(rows: Sequence[Budget], level: float = 0.95, width: int = WIDTH) -> list[str]:
    """The table of what fewer and more steps would give; rows that go beyond what was fitted are marked."""
    lines = _joined(
        column("steps", [str(each.steps) for each in rows]),
        column("times", [show_number(each.factor) for each in rows]),
        column("final loss", [show_loss(each.ending.final_loss) for each in rows]),
        column(_interval(level), [_ends(each.ending) for each in rows]),
        column("gain", [f"{each.gain:+.5f}" for each in rows]),
        ["", *(_mark(each.ending) for each in rows)],
    )
    schedule = [f"schedule: {rows[0].schedule}"] if rows else []
    return [*schedule, *lines, *_notes([(f"{each.steps} steps", each.ending) for each in rows], width)]


def cooldown_lines(found: CooldownLengths, width: int = WIDTH) -> list[str]:
    """The table of cooldowns, and with a given number of steps left, which is best."""
    rows = found.rows
    lines = [
        f"cooling down to 0 from {found.rate:.6g}{_fallen(found)} after {found.steps} steps:",
        *_joined(
            column("stay", [str(each.held) for each in rows]),
            column("cool down", [str(each.length) for each in rows]),
            column("final loss", [show_loss(each.ending.final_loss) for each in rows]),
            column(_interval(found.level), [_ends(each.ending) for each in rows]),
            column("at a constant rate", [show_loss(each.staying) for each in rows]),
            ["", *(_mark(each.ending) for each in rows)],
        ),
    ]
    if found.extra is not None:
        best = found.best
        lines.append(
            f"best for {found.extra} more steps: stay for {best.held}, then cool down for {best.length}: "
            f"{_show(best.ending, found.level)}"
        )
    return [*lines, *_notes([(f"a cooldown of {each.length} steps", each.ending) for each in rows], width)]


def _fallen(found: CooldownLengths) -> str:
    """That a run stands lower than it was, which is seldom what a cooldown is asked for."""
    return f", to which the rate has fallen from {found.peak:.6g}," if found.rate < 0.99 * found.peak else ""


def _joined(*columns: Sequence[str]) -> list[str]:
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _whole(share: float) -> str:
    return f"{100 * share:.0f} %"


def _interval(level: float) -> str:
    return f"{100 * level:g} % interval"


def _ends(ending: Ending) -> str:
    return f"{show_loss(ending.low)} to {show_loss(ending.high)}"


def _show(ending: Ending, level: float) -> str:
    return f"{show_loss(ending.final_loss)} ({_interval(level)} {_ends(ending)})"


def _mark(ending: Ending) -> str:
    return "beyond" if ending.beyond else ""


def _notes(endings: Sequence[tuple[str, Ending]], width: int) -> list[str]:
    """What lies beyond what was fitted: each sentence once, with all that it is true of."""
    names: dict[str, list[str]] = {}
    for name, ending in endings:
        for sentence in ending.beyond:
            names.setdefault(sentence, []).append(name)
    said = [
        f"beyond what was fitted ({'all' if len(found) == len(endings) > 2 else ', '.join(found)}): {sentence}"
        for sentence, found in names.items()
    ]
    return [line for each in said for line in wrapped(each, width, "  ")]

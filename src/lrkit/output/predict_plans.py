"""What `lrkit predict` adds when it is asked what to do: the best schedule, more steps, a cooldown from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrkit.analysis.best_schedule import BestSchedule
from lrkit.analysis.budgets import Budget, CooldownLengths, cooldown_lengths, more_steps
from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.nearest_schedule import rates_of
from lrkit.analysis.optimisation import best_schedule
from lrkit.analysis.prediction import Proposal
from lrkit.output.best_schedule_table import best_lines, budget_lines, cooldown_lines

__all__ = ["BEST", "Plans", "plan"]

BEST = "the best schedule"


@dataclass(frozen=True, eq=False)
class Plans:
    """What was worked out; None and empty where it wasn't asked for.

    Attributes:
        best: the best schedule for the budget.
        budgets: what fewer and more steps would give.
        cooldown: how long to cool down from where the first run stands.
    """

    best: BestSchedule | None = None
    budgets: tuple[Budget, ...] = ()
    cooldown: CooldownLengths | None = None

    def proposals(self, taken: Sequence[str]) -> list[Proposal]:
        """The best rates and the nearest schedule that has a name, to be ranked with those whose names are taken."""
        best = self.best
        if best is None:
            return []
        found = [Proposal(BEST, best.learning_rates)]
        if best.nearest not in taken:
            found.append(Proposal(best.nearest, rates_of(best.nearest, best.steps, best.peak), best.nearest))
        return found

    def lines(self, width: int) -> list[str]:
        """What is printed, after an empty line each."""
        lines: list[str] = []
        if self.best is not None:
            lines += ["", *best_lines(self.best, width), "", *budget_lines(self.budgets, self.best.level, width)]
        if self.cooldown is not None:
            lines += ["", *cooldown_lines(self.cooldown, width)]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON."""
        found: dict[str, Any] = {}
        if self.best is not None:
            found["best_schedule"] = self.best.to_dict()
            found["more_steps"] = [each.to_dict() for each in self.budgets]
        if self.cooldown is not None:
            found["cooldown"] = self.cooldown.to_dict()
        return found


def plan(law: FittedLaw, steps: int, peak: float, level: float, *, optimize: bool, cooldown: int | None) -> Plans:
    """Work out what is asked for.

    Args:
        law: that was fitted.
        steps: the budget.
        peak: the highest rate.
        level: of the intervals.
        optimize: whether the best schedule is wanted.
        cooldown: how many steps the first run has left, 0 where it is to cool down now; None to leave that out.
    """
    found = Plans()
    if optimize:
        best = best_schedule(law, steps, peak=peak, level=level)
        budgets = more_steps(law, best.steps, peak=best.peak, schedule=best.nearest, level=level)
        found = Plans(best, tuple(budgets))
    if cooldown is not None:
        so_far = law.curves[0].learning_rates
        found = Plans(found.best, found.budgets, cooldown_lengths(law, so_far, extra=cooldown or None, level=level))
    return found

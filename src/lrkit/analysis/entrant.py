"""One that takes part in a comparison: a schedule, and what it is trained with."""

from dataclasses import dataclass

from lrkit.schedules import Plan, Plans
from lrkit.training.lanes.lane import Averaging, Lane, told

__all__ = ["Entrant"]


@dataclass(frozen=True)
class Entrant:
    """A schedule that is compared.

    Attributes:
        plan: the schedule.
        averaging: as of a lane.

    >>> from lrkit import parse
    >>> str(Entrant(parse("constant()"))), str(Entrant(parse("constant()"), "schedule_free"))
    ('constant()', 'constant() with schedule-free averaging')
    """

    plan: Plan | Plans
    averaging: Averaging | None = None

    def __str__(self) -> str:
        return told(str(self.plan), self.averaging)

    def lane(self, lr: float, seed: int) -> Lane:
        """A run of it."""
        return Lane(self.plan, lr=lr, seed=seed, averaging=self.averaging)

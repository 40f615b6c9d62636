"""What a person sees while schedules are compared: which of the two stages it is, and how far that is."""

from collections.abc import Mapping

import typer

from lrkit.analysis.tournament import Stage
from lrkit.output.sweep_progress import SweepProgress
from lrkit.training.history import History
from lrkit.training.lanes.observer import LanesObserver, LanesSetup

__all__ = ["CompareProgress", "stage_line"]

_MOST_LINES = 10  # of a stage whose lanes are trained one by one


def stage_line(stage: Stage) -> str:
    """What a stage is for.

    >>> stage_line(Stage("final", lanes=[], schedules=5, before=10))
    '5 schedules, each at its best rate, with fresh seeds (10 runs are there already)'
    """
    schedules = "1 schedule" if stage.schedules == 1 else f"{stage.schedules} schedules"
    done = f" ({stage.before} runs are there already)" if stage.before else ""
    if stage.name == "selection":
        return f"search for the best rate of {schedules}, on held-out data{done}"
    return f"{schedules}, each at its best rate, with fresh seeds{done}"


class CompareProgress(LanesObserver):
    """What a sweep shows, for each time that lanes are trained, under a line that says what for.

    Its `stage` is for `compare`'s `on_stage`.
    """

    def __init__(self) -> None:
        self._lanes = SweepProgress(_MOST_LINES)

    def stage(self, stage: Stage) -> None:
        """Say what is trained next."""
        typer.echo(stage_line(stage))

    def start(self, setup: LanesSetup) -> None:
        """Say how, and open the bar."""
        self._lanes = SweepProgress(_MOST_LINES)
        self._lanes.start(setup)

    def step(self, lane_steps: int) -> None:
        """Move the bar."""
        self._lanes.step(lane_steps)

    def epoch(self, histories: Mapping[int, History]) -> None:
        """As a sweep."""
        self._lanes.epoch(histories)

    def ended(self, histories: Mapping[int, History]) -> None:
        """As a sweep."""
        self._lanes.ended(histories)

    def close(self) -> None:
        """Take the bar away."""
        self._lanes.close()

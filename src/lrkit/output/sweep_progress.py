"""What a person sees while many lanes are trained: a bar on a terminal, else a line now and then."""

from collections.abc import Mapping
from typing import Any

import typer

from lrkit.analysis.standings import is_dropped
from lrkit.analysis.sweep import loss_of
from lrkit.output.cells import show_loss
from lrkit.schedules.shares import show_number
from lrkit.training.history import History
from lrkit.training.lanes.lane import Lane, told
from lrkit.training.lanes.observer import LanesObserver, LanesSetup

__all__ = ["SweepProgress", "lanes_bar", "opening"]


def opening(setup: LanesSetup) -> str:
    """What is said first: how many lanes, how they are trained, and why so.

    >>> from lrkit.training.lanes.choice import Choice
    >>> print(opening(LanesSetup([Lane(), Lane(seed=1)], 500, Choice("eager", "it was asked for", [[0, 1]]))))
    2 lanes of 500 steps; backend eager, since it was asked for
    """
    count, choice = len(setup.lanes), setup.choice
    lanes = f"{count} lane{'s' if count > 1 else ''} of {setup.steps} steps"
    return f"{lanes}; backend {choice.backend}, since {choice.reason}"


def lanes_bar(setup: LanesSetup) -> Any:
    """A bar of lane-steps, on standard error where that is a terminal."""
    from tqdm.auto import tqdm

    return tqdm(
        total=setup.steps * len(setup.lanes),
        initial=setup.steps_done,
        unit=" lane-steps",
        unit_scale=True,
        leave=False,
        disable=None,
        dynamic_ncols=True,
        mininterval=0.2,
    )


def _whose(lane: Lane) -> str:
    """A lane in a few words.

    >>> _whose(Lane("linear(to=0)", lr=0.1, momentum=0.9, seed=2))
    'linear(to=0), lr 0.1, momentum 0.9, seed 2'
    """
    values = {"lr": lane.lr, **lane.hypers, "seed": float(lane.seed)}
    words = (f"{name.replace('_', ' ')} {show_number(value)}" for name, value in values.items() if value is not None)
    return ", ".join([told(str(lane.schedule), lane.averaging), *words])


def _how(history: History) -> str:
    """What became of a lane."""
    if history.diverged is not None:
        return f"diverged at step {history.diverged.step}"
    return "dropped" if is_dropped(history) else "ended"


class SweepProgress(LanesObserver):
    """A bar on standard error where that is a terminal; else lines on standard output.

    A group of several lanes has a line for each of its epochs; where lanes are trained one by one, each lane has a
    line when it has ended.

    Args:
        most_lines: about how many lines lanes that are trained one by one have in all; None for one each.
    """

    def __init__(self, most_lines: int | None = None) -> None:
        self._most_lines = most_lines
        self._bar: Any = None
        self._losses: dict[int, tuple[float, str]] = {}  # by lane: of its last epoch, and which loss that is
        self._ended: set[int] = set()
        self._diverged = self._dropped = 0

    def start(self, setup: LanesSetup) -> None:
        """Say what is trained, and open the bar."""
        self._setup = setup
        for number, history in setup.ended.items():
            self._count(number, history)
        self._group = {number: len(group) for group in setup.choice.groups for number in group}
        typer.echo(opening(setup))
        if setup.steps_done:
            done = f"{setup.steps_done} of {setup.steps * len(setup.lanes)} lane-steps"
            typer.echo(f"goes on after {done}, where {len(setup.ended)} lanes had ended")
        self._bar = lanes_bar(setup)

    def step(self, lane_steps: int) -> None:
        """Move the bar."""
        self._bar.update(lane_steps - self._bar.n)

    def epoch(self, histories: Mapping[int, History]) -> None:
        """Look whose loss is the best; print the line of a group's epoch."""
        for number, history in histories.items():
            self._look(number, history)
        number, history = max(histories.items(), key=lambda each: len(each[1].epochs))
        if self._group.get(number, 1) > 1:
            under_way = sum(each not in self._ended for each in self._lanes_beside(number))
            self._say(f"epoch {len(history.epochs)}, {under_way} lanes under way; {self._best_words()}")

    def ended(self, histories: Mapping[int, History]) -> None:
        """Count; print the line of a lane that was trained alone, or of some such lanes."""
        lanes = len(self._setup.lanes)
        every = 1 if self._most_lines is None else -(-lanes // self._most_lines)
        for number, history in histories.items():
            self._count(number, history)
            done = len(self._ended)
            if self._group.get(number, 1) == 1 and (done % every == 0 or done == lanes):
                what = f"lane {done}/{lanes} {_how(history)}" if every == 1 else f"{lanes} lanes: {self._counts()}"
                self._say(f"{what}; {self._best_words()}")
        self._bar.set_postfix_str(self._counts(), refresh=False)

    def close(self) -> None:
        """Take the bar away; also after an interruption."""
        if self._bar is not None:
            self._bar.close()

    def _lanes_beside(self, number: int) -> list[int]:
        return next(list(group) for group in self._setup.choice.groups if number in group)

    def _count(self, number: int, history: History) -> None:
        self._ended.add(number)
        self._diverged += history.diverged is not None
        self._dropped += is_dropped(history)
        self._look(number, history)

    def _look(self, number: int, history: History) -> None:
        loss = loss_of(history)
        name = "training loss" if history.epochs[-1].valid_loss is None else "validation loss"
        self._losses.pop(number, None)
        if loss is not None:
            self._losses[number] = loss, name

    def _counts(self) -> str:
        dropped = f" and {self._dropped} dropped" if self._dropped else ""
        return f"{len(self._ended)} ended, {self._diverged} of them diverged{dropped}"

    def _best_words(self) -> str:
        if not self._losses:
            return "none has a finite loss yet"
        number, (loss, name) = min(self._losses.items(), key=lambda each: (each[1][0], each[0]))
        return f"best {name} so far {show_loss(loss)}: {_whose(self._setup.lanes[number])}"

    def _say(self, line: str) -> None:
        if self._bar.disable:
            typer.echo(line)

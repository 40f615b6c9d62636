"""The tournament: each schedule at its own best learning rate, chosen on held-out data, then with fresh seeds."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from lrkit.analysis.comparison import Comparison
from lrkit.analysis.comparison_folder import ComparisonFolder
from lrkit.analysis.entrants import Schedules, entrants
from lrkit.analysis.halving import Halving
from lrkit.analysis.kept_lanes import Key, KeptLanes, StageName
from lrkit.analysis.reading import chosen_rates, reading_of
from lrkit.analysis.search import Rates
from lrkit.analysis.selection import Judge, is_dropped
from lrkit.analysis.terms import FIRST_SELECTION_SEED, Terms, facts_of
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.shares import as_count, as_number, as_positive
from lrkit.training.checkpoint import Pace
from lrkit.training.history import History
from lrkit.training.holdout import hold_out
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.loop import run_lanes
from lrkit.training.lanes.memory import free_memory, parse_memory
from lrkit.training.lanes.observer import LanesObserver
from lrkit.training.loop import choose_device
from lrkit.training.preparation import Length, batches_of, length_of
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["Stage", "compare"]

SEEDS, SELECTION_SEEDS, HOLDOUT = 5, 2, 1 / 6


@dataclass(frozen=True)
class Stage:
    """A part of a tournament that is about to be trained.

    Attributes:
        name: "selection", the search for the best rate of each schedule, or "final", its runs with fresh seeds.
        lanes: what is trained.
        schedules: how many take part.
        before: how many runs of this stage were there already.
    """

    name: StageName
    lanes: Sequence[Lane]
    schedules: int
    before: int


def compare(
    task: Task,
    schedules: Schedules,
    *,
    reference: str | None = None,
    target: float | None = None,
    measure: str = "loss",
    mode: Literal["min", "max"] | None = None,
    rates: Sequence[float] | None = None,
    seeds: int | None = None,
    selection_seeds: int | None = None,
    holdout: float | None = None,
    halving: bool = True,
    folder: str | Path | None = None,
    checkpoint_every: int | str | None = "5min",
    backend: str = "auto",
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    observers: Iterable[LanesObserver] = (),
    on_stage: Callable[[Stage], None] = lambda stage: None,
    stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Find out which schedule is better for a task, each at its own best learning rate.

    First every schedule is trained at every rate with a few seeds, and a part of the training data, held out, says
    which rate is the best for it. Rates that have lost are dropped on the way. Then each schedule is trained at that
    rate with fresh seeds, which the search hasn't seen, and so is judged on data that it hasn't seen either. All
    schedules share the seeds: the same initial weights and the same batches.

    Args:
        task: what is trained. A part of `task.train` is held out and takes the place of `task.valid`, which becomes
            the test data: plateaus and early stopping see the held-out part only.
        schedules: plans or their texts, which are called by their text; a mapping from names to them; or the name of
            a line-up, "tutorial" or "modern".
        reference: the name of the schedule that the others are compared with; by default the one that was the best in
            the search.
        target: a value of the measure; the comparison says when it is reached.
        measure: what schedules are compared by and rates are chosen by: "loss", or a metric's name.
        mode: whether "min" or "max" is better; by default "min" for losses and "max" for metrics.
        rates: learning rates, the base of each schedule; by default eight, half a decade apart, from a hundredth of the
            task's own rate to about thirty times it.
        seeds: final runs of each schedule, by default 5.
        selection_seeds: runs of each rate in the search, by default 2.
        holdout: the share of the training data that is held out, by default a sixth.
        halving: drop rates that have lost on the way; False trains all of them to the end.
        folder: keeps what is trained. Where there is a comparison in it, that goes on: what is there isn't trained
            again, and its schedules, rates and seeds count beside those that are given here.
        checkpoint_every: as in `LanesFolder`.
        backend: as in `run_lanes`.
        memory: as in `run_lanes`.
        device: as in `run_lanes`.
        observers: are told what happens, from `start` to `close` for each time that lanes are trained.
        on_stage: is told what is trained next, before each such time.
        stop: asked after every update; when it says True, all ends there.

    Raises:
        StoppedError: when `stop` said so; the folder has what was done.
        InputError, InputTypeError: for arguments that aren't allowed, and a folder that is of something else, before
            anything is trained.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 240)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), valid=(x, 2 * x), batch_size=20,
    ...                   epochs=2, loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    >>> comparison = lrkit.compare(task, ["constant()", "linear(to=0)"], seeds=3)
    >>> comparison.reference, comparison.by_name["constant()"].best_lr
    """
    if not isinstance(task, Task):
        raise InputTypeError(f"task must be an lrkit.Task, not {shown(task)}")
    _check_training(backend, memory, checkpoint_every, place := choose_device(device))
    began = time.perf_counter()
    with _held(folder, lambda: time.perf_counter() - began) as held:
        before = None if held is None else held.before
        terms, split = _agreed(
            task,
            schedules,
            place,
            before,
            measure=measure,
            mode=mode,
            rates=rates,
            seeds=seeds,
            selection_seeds=selection_seeds,
            holdout=holdout,
            reference=reference,
            target=target,
        )
        if held is not None:
            terms = terms if before is None else terms.joined(before, held.path)
            kept = KeptLanes(held.path, checkpoint_every)
            held.keep(terms)
        else:
            kept = KeptLanes(None)
        train = partial(run_lanes, split, backend=backend, memory=memory, device=device, stop=stop)
        tournament = _Tournament(terms, kept, train, tuple(observers), on_stage, halving=halving)
        tournament.hold()
        seconds = time.perf_counter() - began + (0.0 if held is None else held.seconds)
        return reading_of(terms, kept.runs, seconds).compare()

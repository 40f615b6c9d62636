"""The tournament: each schedule at its own best learning rate, chosen on held-out data, then with fresh seeds."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from lrkit.analysis.comparison import Comparison
from lrkit.analysis.comparison_folder import ComparisonFolder
from lrkit.analysis.entrants import Schedules, entrants, parted
from lrkit.analysis.halving import Halving
from lrkit.analysis.kept_lanes import KeptLanes, StageName, key_of
from lrkit.analysis.reading import chosen_rates, reading_of
from lrkit.analysis.search import Rates
from lrkit.analysis.standings import is_dropped
from lrkit.analysis.terms import FIRST_SELECTION_SEED, Terms, facts_of
from lrkit.analysis.wanted_measure import wanted_measure
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.schedules.shares import as_count, as_number, as_positive
from lrkit.training.checkpoint import Pace
from lrkit.training.history import History
from lrkit.training.holdout import hold_out
from lrkit.training.lanes.choice import BACKENDS, BATCHED
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane
from lrkit.training.lanes.loop import run_lanes
from lrkit.training.lanes.memory import free_memory, parse_memory
from lrkit.training.lanes.observer import LanesObserver
from lrkit.training.loop import choose_device
from lrkit.training.preparation import Length, batches_of, length_of
from lrkit.training.randomness import seeded
from lrkit.training.task import Task

__all__ = ["HOLDOUT", "Stage", "compare"]

SEEDS, SELECTION_SEEDS, HOLDOUT = 5, 2, 1 / 6


@dataclass(frozen=True)
class Stage:
    """A part of a tournament that is about to be trained.

    Attributes:
        name: "selection", the search for the best rate of each schedule, or "final", its runs with fresh seeds.
        lanes: what is trained.
        schedules: how many take part.
        before: how many of this stage's runs of these schedules were there already.
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
    measure: str | None = None,
    mode: Literal["min", "max"] | None = None,
    rates: Sequence[float] | None = None,
    seeds: int | None = None,
    selection_seeds: int | None = None,
    holdout: float | None = None,
    halving: bool = True,
    folder: str | Path | None = None,
    overwrite: bool = False,
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
            the test data: plateaus and early stopping see the held-out part only. A task that has `valid` and `test`
            both stays as it is: rates are chosen by `valid`.
        schedules: plans or their texts, which are called by their text; a mapping from names to them; or the name of
            a line-up, "tutorial" or "modern".
        reference: the name or text of the schedule that the others are compared with; by default the one that was
            the best in the search.
        target: a value of the measure; the comparison says when it is reached.
        measure: what schedules are compared by and rates are chosen by: "loss", the default, or a metric's name.
        mode: whether "min" or "max" is better; by default "min" for losses and "max" for
            accuracies; other metrics have to say it.
        rates: learning rates, the base of each schedule; by default eight, half a decade apart, from a hundredth of the
            task's own rate to about thirty times it.
        seeds: final runs of each schedule, by default 5.
        selection_seeds: runs of each rate in the search, by default 2.
        holdout: the share of the training data that is held out, by default a sixth; not for a task that has `valid`
            and `test` both.
        halving: drop rates that have lost on the way; False trains all of them to the end.
        folder: keeps what is trained. Where there is a comparison in it, that goes on: what is there isn't trained
            again, and its schedules, rates and seeds count beside those that are given here.
        overwrite: replace a comparison that is in the folder instead.
        checkpoint_every: as in `LanesFolder`.
        backend: as in `run_lanes`. Schedule-free lanes can't be batched: for them "compiled" and "eager" mean "auto".
        memory: as in `run_lanes`.
        device: as in `run_lanes`.
        observers: are told what happens, from `start` to `close` for each time that lanes are trained.
        on_stage: is told what is trained next, before each such time.
        stop: asked after every update; when it says True, all ends there.

    Raises:
        StoppedError: when `stop` said so; the folder has what was done.
        NothingEndedError: when no schedule came to its end at any rate.
        InputError, InputTypeError: for arguments that aren't allowed, and a folder that is of something else, before
            anything is trained.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 240)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), valid=(x, 2 * x), batch_size=20,
    ...                   epochs=2, loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    >>> comparison = lrkit.compare(task, ["constant()", "linear(to=0)"], seeds=3)
    >>> {each.name: each.best_lr for each in comparison.standings}
    {'linear(to=0)': 1.0, 'constant()': 0.316228}
    """
    began = time.perf_counter()
    place = _checked_place(task, backend, memory, checkpoint_every, device)
    with nullcontext() if folder is None else ComparisonFolder(folder, overwrite=overwrite) as held:
        before = None if held is None else held.before
        share = _share(task, holdout, before)
        split = task if share is None else hold_out(task, share, seed=0)
        length = _length(split, place)
        entered, left_out = parted(entrants(schedules, length), split, place)
        own = Rates.of(task, place)
        terms = Terms(
            task=facts_of(split, length, own),
            holdout=share,
            measure=wanted_measure(split, measure, mode, before, place),
            schedules=entered,
            left_out=left_out,
            rates=_rates(rates, own.base, before),
            seeds=_seeds(_given(seeds, before, "seeds", SEEDS), "seeds"),
            selection_seeds=_seeds(
                _given(selection_seeds, before, "selection_seeds", SELECTION_SEEDS), "selection_seeds"
            ),
            reference=reference,
            target=None if target is None else as_number(target, "target"),
        )
        if held is not None:
            terms = terms if before is None else terms.joined(before, held.path)
        terms = terms.checked()
        if held is not None and overwrite:
            held.clear(terms)
        kept = KeptLanes(None if held is None else held.path, checkpoint_every)
        if held is not None:
            held.keep(terms)
        _Tournament(
            task=split,
            terms=terms,
            kept=kept,
            run=partial(run_lanes, memory=memory, device=device, stop=stop),
            backend=backend,
            observers=tuple(observers),
            on_stage=on_stage,
            halving=halving,
        ).hold()
        seconds = time.perf_counter() - began if held is None else held.seconds
        return reading_of(terms, kept.runs, seconds).compare()


@dataclass(frozen=True, kw_only=True)
class _Tournament:
    """Trains what the terms ask for and isn't there."""

    task: Task
    terms: Terms
    kept: KeptLanes
    run: Callable[..., list[History]]
    backend: str
    observers: Sequence[LanesObserver]
    on_stage: Callable[[Stage], None]
    halving: bool

    def hold(self) -> None:
        """First what was interrupted, then the search for rates, then the final runs."""
        self.kept.go_on(self._train)
        self._train_missing("selection", self._to_select())
        self._train_missing("final", self._to_finish())

    def _to_select(self) -> list[Lane]:
        """Rates from the middle outwards: what is trained one by one is dropped by those before it."""
        rates, middle = self.terms.rates, (len(self.terms.rates) - 1) / 2
        outwards = sorted(rates, key=lambda rate: abs(rates.index(rate) - middle - 0.25))
        runs = self.kept.runs["selection"]
        dropped = {key for key, history in runs.items() if is_dropped(history)}
        lost = {key[:2] for key in dropped} if self.halving else set()  # more seeds of these aren't worth it
        there = runs.keys() if self.halving else runs.keys() - dropped
        return [
            lane
            for one, rate in product(self.terms.schedules.values(), outwards)
            if (str(one), rate) not in lost
            for seed in self.terms.seeds_to_select
            if key_of(lane := one.lane(rate, seed)) not in there
        ]

    def _to_finish(self) -> list[Lane]:
        best = chosen_rates(self.terms, self.kept.runs["selection"])
        lanes = [
            one.lane(rate, seed)
            for name, one in self.terms.schedules.items()
            if (rate := best[name]) is not None
            for seed in self.terms.final_seeds
        ]
        return [lane for lane in lanes if key_of(lane) not in self.kept.runs["final"]]

    def _train_missing(self, stage: StageName, lanes: Sequence[Lane]) -> None:
        for averaging in dict.fromkeys(lane.averaging for lane in lanes):  # the others can be batched
            self.kept.train(stage, [lane for lane in lanes if lane.averaging == averaging], self._train)

    def _train(self, stage: StageName, lanes: Sequence[Lane], folder: LanesFolder | None) -> list[History]:
        schedules = {key_of(lane).schedule for lane in lanes}
        before = sum(key.schedule in schedules for key in self.kept.runs[stage])
        self.on_stage(Stage(stage, lanes, len(schedules), before))
        unbatched = lanes[0].averaging is not None and self.backend in BATCHED
        run = partial(self.run, lanes=lanes, folder=folder, backend="auto" if unbatched else self.backend)
        if stage == "final":
            return run(self.task, observers=self.observers)
        task = replace(self.task, test=None)  # so that nothing can be chosen by it
        if not self.halving:
            return run(task, observers=self.observers)
        halving = Halving(self.terms.measure, self.kept.runs[stage])
        return run(task, observers=(halving, *self.observers), drop=halving)


# --- what is asked for -------------------------------------------------------------------------------


def _checked_place(
    task: object, backend: str, memory: int | str | None, every: int | str | None, device: str | torch.device | None
) -> torch.device:
    """The device; what `run_lanes` would refuse later is refused now."""
    if not isinstance(task, Task):
        raise InputTypeError(f"task must be an lrkit.Task, not {shown(task)}")
    if backend not in BACKENDS:
        raise unknown("backend", str(backend), BACKENDS)
    place = choose_device(device)
    if memory is not None:
        parse_memory(memory, free_memory(place))
    Pace(every)
    return place


def _given(value: Any, before: Terms | None, name: str, default: Any) -> Any:
    """What was given, else what the folder has, else the default."""
    if value is not None:
        return value
    return default if before is None else getattr(before, name)


def _length(task: Task, place: torch.device) -> Length:
    with seeded(0, place):
        return length_of(task, batches_of(task, task.train, "train", place, 0).count)


def _rates(rates: object, base: float, before: Terms | None) -> tuple[float, ...]:
    """Those that are asked for, lowest first; by default around the task's own."""
    if rates is None:
        if before is not None:
            return before.rates
        return tuple(float(f"{base * 10 ** (half / 2):.6g}") if half else base for half in range(-4, 4))
    if isinstance(rates, str) or not isinstance(rates, Iterable):
        raise InputTypeError(f"rates must be learning rates, not {shown(rates)}")
    found = tuple(sorted({as_positive(rate, "a rate") for rate in rates}))
    if not found:
        raise InputError("rates has no learning rate in it")
    return found


def _share(task: Task, holdout: float | None, before: Terms | None) -> float | None:
    """What is held out of the training data; None for a task that has validation and test data both."""
    if task.valid is not None and task.test is not None:
        if holdout is not None:
            raise InputError(
                f"holdout must be left out, not {shown(holdout)}: the task has both valid and test, so rates are "
                "chosen by its valid"
            )
        return None
    share = HOLDOUT if before is None or before.holdout is None else before.holdout
    return as_number(share if holdout is None else holdout, "holdout", low=0.0, high=1.0, low_open=True, high_open=True)


def _seeds(count: object, name: str) -> int:
    found = as_count(count, name, low=1)
    if found > FIRST_SELECTION_SEED:
        raise InputError(f"{name} must be at most {FIRST_SELECTION_SEED}, not {found}")
    return found

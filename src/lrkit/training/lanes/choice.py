"""Which backend trains some lanes, and which of them together: what can be batched, what fits, what is fastest here."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lrkit.schedules.errors import InputError, unknown
from lrkit.training.lanes.group import LaneGroup
from lrkit.training.lanes.memory import free_memory, parse_memory, shown_bytes
from lrkit.training.lanes.processes import cores, start_method
from lrkit.training.lanes.trial import Trial
from lrkit.training.lanes.update import UnbatchableError
from lrkit.training.lanes.work import Work
from lrkit.training.loop import StoppedError
from lrkit.training.preparation import Length
from lrkit.training.randomness import seeded
from lrkit.training.run_state import RunState

__all__ = ["BACKENDS", "BATCHED", "Choice", "choose"]

BACKENDS = ("auto", "compiled", "eager", "sequential", "processes")
BATCHED = ("compiled", "eager")

_SHORT = 2.0  # seconds: what takes less one after another isn't worth measuring
_COMPILING = 20.0  # seconds that compiling is expected to take
_MEASURING = 0.4  # seconds for each backend
_UPDATES = 200  # at most
_STARTING = 0.5  # seconds that worker processes take to start


@dataclass(frozen=True)
class Choice:
    """What trains the lanes.

    Attributes:
        backend: its name.
        reason: why that one.
        groups: which lanes are trained together.
        microseconds: what each backend that was measured takes for an update of a lane.
        bytes_per_lane: the memory that a lane is expected to need; None where that isn't known.
    """

    backend: str
    reason: str
    groups: Sequence[Sequence[int]]
    microseconds: Mapping[str, float] = field(default_factory=dict)
    bytes_per_lane: int | None = None

    @property
    def made(self) -> dict[str, Any]:
        """What histories say of it; JSON-able."""
        return {name: value for name, value in vars(self).items() if name != "groups"}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Choice":
        """The choice that was written down when it began: there is no switch on the way."""
        if written["backend"] not in BACKENDS:
            raise unknown("backend", written["backend"], BACKENDS)
        names = ("backend", "reason", "groups", "microseconds", "bytes_per_lane")
        return cls(**{name: written[name] for name in names})


def choose(work: Work, backend: str, memory: int | str | None) -> tuple[Choice, Length]:
    """The backend that was asked for, or with "auto" the fastest in a short measurement; and how long lanes are.

    Raises:
        InputError: for an unknown name, a memory that not one lane fits in, and lanes that don't fit the task.
        UnbatchableError: where lanes can't be batched, and that was asked for.
        StoppedError: when `work.stop` said so.
    """
    if backend not in BACKENDS:
        raise unknown("backend", str(backend), BACKENDS)
    if backend == "processes":
        start_method(work)
    limit = parse_memory("50%" if memory is None else memory, free_memory(work.place))
    trial = Trial(work)
    return _chosen(work, trial, backend, limit, required=memory is not None), trial.length


def _chosen(work: Work, trial: Trial, backend: str, limit: int, *, required: bool) -> Choice:
    """The choice, within a limit of memory: one that a person has required, or what there is."""
    alone = [[number] for number in range(len(work.lanes))]
    if backend in ("sequential", "processes"):
        return Choice(backend, "it was asked for", alone)
    if backend == "auto" and len(work.lanes) == 1:
        return Choice("sequential", "there is only one lane", alone)
    try:
        tried = trial.try_out()
        need = tried.bytes_per_lane
        if need > limit and backend == "auto" and not required:
            raise UnbatchableError(f"a lane that is batched needs about {shown_bytes(need)}, more than is free")
    except UnbatchableError as error:
        if backend != "auto":
            raise
        chosen, reason, microseconds = _fastest_alone(work, trial.length, str(error))
        return Choice(chosen, reason, alone, microseconds)
    groups = trial.groups(tried, limit)
    if backend != "auto":
        return Choice(backend, "it was asked for", groups, {}, need)
    chosen, reason, microseconds = _fastest(work, trial.length, groups)
    return Choice(chosen, reason, groups if chosen in BATCHED else alone, microseconds, need)


# --- what is fastest ---------------------------------------------------------------------------------


def _fastest_alone(work: Work, length: Length, obstacle: str) -> tuple[str, str, dict[str, float]]:
    """Of the backends that batch nothing."""
    microseconds = {"sequential": _of_one_run(work, length), **_of_processes(work, length)}
    best = min(microseconds, key=lambda name: _seconds(name, microseconds, work, length))
    return best, f"{obstacle}; {_compared(best, microseconds)}", microseconds


def _fastest(work: Work, length: Length, groups: Sequence[Sequence[int]]) -> tuple[str, str, dict[str, float]]:
    """The backend, why, and what was measured."""
    microseconds = {"sequential": _of_one_run(work, length)}
    if (seconds := _seconds("sequential", microseconds, work, length)) < _SHORT:
        return "sequential", f"all takes about {seconds:.1f} s one after another", microseconds
    microseconds |= _of_processes(work, length)
    microseconds["eager"] = _of_a_group(work, groups[0], length, compiled=False)
    best = min(microseconds, key=lambda name: _seconds(name, microseconds, work, length))
    left = _seconds(best, microseconds, work, length)
    if left / 2 < _COMPILING:
        why = f"{_compared(best, microseconds)}; for {left:.0f} s compiling doesn't pay"
        return best, why, microseconds
    try:
        microseconds["compiled"] = _of_a_group(work, groups[0], length, compiled=True)
    except InputError as error:
        return best, f"{_compared(best, microseconds)}; {error}", microseconds
    best = min(microseconds, key=lambda name: _seconds(name, microseconds, work, length))
    return best, _compared(best, microseconds), microseconds


def _seconds(name: str, microseconds: Mapping[str, float], work: Work, length: Length) -> float:
    """How long all lanes are expected to take."""
    start = _STARTING if name == "processes" else 0.0
    return start + microseconds[name] * len(work.lanes) * length.steps / 1e6


def _compared(chosen: str, microseconds: Mapping[str, float]) -> str:
    others = ", ".join(f"{name} {value:.0f}" for name, value in microseconds.items() if name != chosen)
    return f"{microseconds[chosen]:.0f} µs per lane-step{f' (others: {others})' if others else ''}"


def _of_processes(work: Work, length: Length) -> dict[str, float]:
    """Microseconds for an update of a lane in as many processes as there are cores, as an estimate; {} for one core."""
    count = min(cores(), len(work.lanes))
    if count == 1 or work.place.type != "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        return {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = -(-len(work.lanes) // count)
        return {"processes": _of_one_run(work, length) * rounds / len(work.lanes)}
    finally:
        torch.set_num_threads(threads)


def _of_one_run(work: Work, length: Length) -> float:
    lane = work.lanes[0]
    with seeded(lane.seed, work.place):
        state = RunState(lane.of(work.task), lane.plan, lr=lane.lr, seed=lane.seed, place=work.place)
        state.model.train()
        return _microseconds(work, state.update, next(state.updates()), length, warm=1)


def _of_a_group(work: Work, numbers: Sequence[int], length: Length, *, compiled: bool) -> float:
    with seeded(work.lanes[numbers[0]].seed, work.place):
        group = LaneGroup(work, numbers, compiled=compiled)
        batches = next(group.updates())
        return _microseconds(work, group.update, batches, length, warm=2 if compiled else 1) / len(numbers)


def _microseconds(
    work: Work, update: Callable[[Sequence[Any]], None], batches: Sequence[Any], length: Length, *, warm: int
) -> float:
    """What an update takes, in the median, after some to warm up.

    Raises:
        StoppedError: when `work.stop` said so.
    """
    times: list[float] = []
    while len(times) < min(_UPDATES, length.steps) and (len(times) <= warm or sum(times[warm:]) < _MEASURING):
        if work.stop():
            raise StoppedError("the lanes were stopped while it was measured what trains them best")
        began = time.perf_counter()
        update(batches)
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times[warm:] or times)

"""What `lrkit sweep` is asked for, and the lanes that follow from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from lrkit.output.grid import grid
from lrkit.output.task_command import (
    FolderOptions,
    Origin,
    check_counts,
    check_length,
    flag,
    other_versions,
    recorded_source,
    wanted_source,
)
from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.errors import InputError, unknown
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.lanes.folder import LanesFolder
from lrkit.training.lanes.lane import Lane
from lrkit.training.loop import choose_device
from lrkit.training.tasks import DEFAULT_SCHEDULE

__all__ = ["SweepOptions", "SweepOrder", "sweep_order"]

_MOST_LANES = 100_000

_FIXED = (  # what a sweep that goes on has had said
    *("task", "lr", "schedule", "momentum", "weight_decay", "seeds", "epochs", "steps", "batch_size", "data"),
    *("backend", "memory", "out", "overwrite"),
)
_CONFIG: dict[str, Any] = {  # what a sweep that goes on needs of its config.json
    "device": str,
    "threads": int,
    "torch": str,
    "numpy": str,
    "python": str,
}


@dataclass(frozen=True, kw_only=True)
class SweepOptions(FolderOptions):
    """What a person asked for; None, or nothing in a list, where the task, or the sweep that goes on, decides."""

    lr: Sequence[str]
    schedule: Sequence[str]
    momentum: Sequence[str]
    weight_decay: Sequence[str]
    seeds: int | None
    backend: str | None
    memory: str | None


@dataclass(frozen=True)
class SweepOrder:
    """A sweep as it is to be made."""

    origin: Origin
    lanes: tuple[Lane, ...]
    backend: str
    memory: str | None
    place: torch.device


def sweep_order(options: SweepOptions) -> SweepOrder:
    """The sweep that the options ask for.

    Raises:
        InputError: for what a person can get wrong before anything is loaded.
    """
    check_length(options)
    check_counts(options, {"seeds": 1})
    if options.backend is not None and options.backend not in BACKENDS:
        raise unknown("backend", options.backend, BACKENDS)
    if options.resume is not None:
        return _resumed(options, options.resume)
    return SweepOrder(
        origin=Origin(wanted_source(options), options.threads),
        lanes=_lanes(options),
        backend=options.backend or "auto",
        memory=options.memory,
        place=choose_device(options.device),
    )


def _lanes(options: SweepOptions) -> tuple[Lane, ...]:
    """Every combination: the seed changes first, then weight decay, momentum, the rate, and at last the schedule."""
    plans = _plans(options.schedule or [DEFAULT_SCHEDULE])
    lrs = grid(options.lr, "--lr", low_open=True) or (None,)
    momenta = grid(options.momentum, "--momentum", below=1.0) or (None,)
    decays = grid(options.weight_decay, "--weight-decay") or (None,)
    seeds = 1 if options.seeds is None else options.seeds
    counts = [len(plans), len(lrs), len(momenta), len(decays), seeds]
    total = math.prod(counts)
    if total > _MOST_LANES:
        factors = [str(count) for count in counts if count > 1]
        arithmetic = f"{' · '.join(factors)} = " if len(factors) > 1 else ""
        raise InputError(f"a sweep has at most {_MOST_LANES} lanes, not {arithmetic}{total}")
    return tuple(
        Lane(plan, lr=lr, momentum=momentum, weight_decay=decay, seed=seed)
        for plan, lr, momentum, decay, seed in product(plans, lrs, momenta, decays, range(seeds))
    )


def _plans(texts: Sequence[str]) -> list[Plan | Plans]:
    plans: list[Plan | Plans] = []
    for text in texts:
        plan = parse(text)
        if plan in plans:
            raise InputError(f"--schedule: {plan} is given twice")
        plans.append(plan)
    return plans


# --- going on ------------------------------------------------------------------------------------------


def _resumed(options: SweepOptions, path: Path) -> SweepOrder:
    """The order that the sweep in a folder was given, with what may be changed."""
    for name in _FIXED:
        if getattr(options, name):
            what = "a task" if name == "task" else flag(name)
            raise InputError(f"--resume goes on with the sweep as it was made, so {what} can't be given with it")
    made = LanesFolder.config(path)
    wrong = [name for name, kind in _CONFIG.items() if not isinstance(made.get(name), kind)]
    if wrong:
        raise InputError(f"the sweep in {path} can't go on: its config.json lacks {', '.join(wrong)}, or has it wrong")
    if not isinstance(made.get("source"), dict):
        raise InputError(
            f"the sweep in {path} was started in Python, so go on there: "
            f"lrkit.run_lanes(task, lanes, folder=lrkit.LanesFolder({str(path)!r}, resume=True))"
        )
    source, digest = recorded_source(f"the sweep in {path}", made["source"])
    threads = made["threads"] if options.threads is None else options.threads
    return SweepOrder(
        origin=Origin(source, threads, digest, other_versions(made)),
        lanes=tuple(LanesFolder.lanes(path)),
        backend="auto",  # the folder knows which it was
        memory=None,
        place=choose_device(made["device"] if options.device is None else options.device),
    )

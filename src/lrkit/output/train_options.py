"""What `lrkit train` is asked for, and the run that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch

from lrkit.output.task_command import (
    FolderOptions,
    Origin,
    check_length,
    flag,
    other_versions,
    recorded_source,
    wanted_source,
)
from lrkit.output.torchrun import own_device, processes, refuse_processes
from lrkit.schedules import Plan, Plans, parse
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_positive
from lrkit.training import tasks
from lrkit.training.loop import choose_device
from lrkit.training.run_folder import RunFolder
from lrkit.training.scheduler_state import Policy

__all__ = ["Order", "TrainOptions", "order"]

_CONFIG: dict[str, Any] = {  # what a run that goes on needs of its config.json
    "schedule": str,
    "lr": float | int,
    "named_lr": float | int | None,
    "seed": int,
    "batch_size": int,
    "device": str,
    "threads": int,
    "compiled": bool,
    "torch": str,
    "numpy": str,
    "python": str,
}


@dataclass(frozen=True, kw_only=True)
class TrainOptions(FolderOptions):
    """What a person asked for; None where the task, or the run that goes on, decides; `find_lr` finds the rate."""

    schedule: str | None
    lr: float | None
    find_lr: bool
    seed: int | None
    policy: str | None
    compiled: bool
    tensorboard: Path | None


@dataclass(frozen=True)
class Order:
    """A run as it is to be made."""

    origin: Origin
    plan: Plan | Plans
    lr: float | None
    seed: int
    place: torch.device
    compiled: bool
    policy: Policy | None = None
    begins_with: Path | None = None  # the run whose weights another one begins with


def order(options: TrainOptions) -> Order:
    """The run that the options ask for.

    Raises:
        InputError: for what a person can get wrong before anything is loaded.
    """
    _check(options)
    wanted = _new(options) if options.resume is None else _resumed(options, options.resume)
    if wanted.compiled:
        refuse_processes("--compile", "a run that is compiled trains alone")
    return wanted


def _check(options: TrainOptions) -> None:
    if options.lr is not None:
        as_positive(options.lr, "--lr")
    check_length(options)
    if options.find_lr:
        refuse_processes("--lr find", "find a rate with lrkit find, and give it with --lr")
    if options.seed is not None and not 0 <= options.seed < 2**63:
        raise InputError(f"--seed must be between 0 and 2^63 - 1, not {options.seed}")
    if options.policy is not None and options.policy not in get_args(Policy):
        raise InputError(f"--policy must be {', '.join(get_args(Policy))}, not {options.policy!r}")


def _new(options: TrainOptions) -> Order:
    if options.policy is not None:
        raise InputError("--policy is for a run that goes on with --resume")
    source = wanted_source(options)
    return Order(
        origin=Origin(source, options.threads),
        plan=parse(tasks.DEFAULT_SCHEDULE if options.schedule is None else options.schedule),
        lr=options.lr,
        seed=options.seed or 0,
        place=own_device(choose_device(options.device)),
        compiled=options.compiled,
    )


def _resumed(options: TrainOptions, path: Path) -> Order:
    """The order that the run in a folder was given, with what may be changed."""
    restart = options.policy == "restart"
    _refuse_changes(options, restart=restart)
    made = RunFolder.config(path)
    wrong = [name for name, types in _CONFIG.items() if name not in made or not isinstance(made[name], types)]
    if wrong:
        raise InputError(f"the run in {path} can't go on: its config.json lacks {', '.join(wrong)}, or has it wrong")
    if not isinstance(made.get("source"), dict):
        raise InputError(
            f"the run in {path} was started in Python, so go on there: {_in_python(path, restart=restart)}"
        )
    if restart:
        _require_checkpoint(options, path)
    source, digest = recorded_source(f"the run in {path}", made["source"])
    source = replace(source, batch_size=_batch_size(options.batch_size, source.batch_size, made, path))
    if options.epochs is not None or options.steps is not None:
        source = replace(source, epochs=options.epochs, steps=options.steps)
    policy = options.policy
    if policy is None and not _is_changed(options, made):
        policy = made.get("policy")  # what it was made to be; a change needs a word of its own
    return Order(
        origin=Origin(
            source,
            made["threads"] if options.threads is None else options.threads,
            digest,
            () if restart else other_versions(made),
        ),
        plan=parse(made["schedule"] if options.schedule is None else options.schedule),
        lr=made["named_lr"] if options.lr is None else options.lr,
        seed=made["seed"] if options.seed is None else options.seed,
        place=own_device(choose_device(made["device"] if options.device is None else options.device)),
        compiled=made["compiled"],
        policy=cast("Policy | None", policy),
        begins_with=path if restart else None,
    )


def _refuse_changes(options: TrainOptions, *, restart: bool) -> None:
    """Refuse what a run that goes on has already; one that is restarted may have another seed and folder."""
    for name in ("task", "find_lr", "data", "compiled", "seed", "out", "overwrite"):
        value, new = getattr(options, name), name in ("seed", "out", "overwrite")
        if value is not None and value is not False and not (restart and new):
            what = {"task": "a task", "find_lr": "--lr find", "compiled": "--compile"}.get(name, flag(name))
            hint = "; it is for a new run, as --policy restart makes one" if new else ""
            raise InputError(f"--resume goes on with the run as it was made, so {what} can't be given with it{hint}")


def _in_python(path: Path, *, restart: bool) -> str:
    """What does there what was asked for here."""
    if restart:
        return (
            "lrkit.run(task, ..., observers=[lrkit.RunFolder(new)], "
            f"resume=lrkit.RunFolder.checkpoint({str(path)!r}), policy='restart')"
        )
    return (
        f"folder = lrkit.RunFolder({str(path)!r}, resume=True), and lrkit.run(task, ..., observers=[folder], "
        "resume=folder.snapshot)"
    )


def _require_checkpoint(options: TrainOptions, path: Path) -> None:
    """See that a run can begin with the weights of the one in a folder, and elsewhere."""
    if not (path / "last.pt").exists():
        raise InputError(f"the run in {path} has no checkpoint yet, so no other run can begin with its weights")
    if options.out is not None and options.out.resolve() == path.resolve():
        raise InputError(
            f"--policy restart makes a new run and leaves {path} as it is, so --out must be another folder"
        )


def _is_changed(options: TrainOptions, made: Mapping[str, Any]) -> bool:
    """Whether something was asked for that a policy decides about."""
    if options.lr is not None and options.lr != made["named_lr"]:
        return True
    return any(each is not None for each in (options.epochs, options.steps, options.schedule))


def _batch_size(asked: int | None, named: int | None, made: dict[str, Any], path: Path) -> int | None:
    """The batch size to go on with: as it was, or that of another number of processes whose updates are the same.

    Args:
        asked: what the person asked for now.
        named: what was asked for when the run began; None for the task's own.
        made: how the run was made.
        path: its folder.
    """
    before, now = made.get("processes", 1), processes()
    if now == before:
        if asked is not None:
            raise InputError("--resume goes on with the run as it was made, so --batch-size can't be given with it")
        return named
    samples = made["batch_size"] * before
    if asked is not None and asked * now == samples:
        return asked
    fitting = f"--batch-size {samples // now}" if samples % now == 0 else f"{before} processes only"
    raise InputError(
        f"the run in {path} was made by {_counted(before)} with batches of {made['batch_size']}, {samples} samples at "
        f"once; with {_counted(now)} it goes on with {fitting}"
    )


def _counted(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"

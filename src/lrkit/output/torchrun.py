"""Processes that torchrun has started: how many there are, how they meet, and which one speaks for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import typer

from lrkit.schedules.errors import InputError

if TYPE_CHECKING:
    import torch

    from lrkit.training.ranks import Ranks

__all__ = [
    "LOST",
    "first_to_say",
    "launcher",
    "own_device",
    "process_group",
    "processes",
    "rank",
    "refuse_processes",
    "say",
    "say_lost",
]

LOST = 4  # the exit status of a process that another one left alone
_MEETING = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")


def processes() -> int:
    """How many processes there are; 1 where none of them was started by torchrun."""
    if not all(name in os.environ for name in _MEETING):
        return 1
    written = os.environ["WORLD_SIZE"]
    return int(written) if written.isdecimal() else 1


def rank() -> int:
    """Which of them this is; 0 for one that is alone."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def refuse_processes(what: str, instead: str) -> None:
    """Refuse to be started by torchrun in several processes.

    Raises:
        InputError: when it was.
    """
    if processes() > 1:
        raise InputError(f"{what} is for one process, and torchrun started {processes()}: {instead}")


def launcher() -> str:
    """What a command has to begin with to run as this one does."""
    count = processes()
    if count == 1:
        return "lrkit"
    local = os.environ.get("LOCAL_WORLD_SIZE", str(count))
    where = "" if local == str(count) else "--nnodes ... "
    return f"torchrun {where}--nproc-per-node {local} -m lrkit"


def own_device(place: "torch.device") -> "torch.device":
    """The device of this process: of several GPUs the one with its number on this machine."""
    import torch

    if processes() > 1 and place.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return place


@contextmanager
def process_group(place: "torch.device") -> Iterator["Ranks"]:
    """Meet the other processes, and leave them at the end; one that is alone meets nobody.

    Raises:
        InputError: when they can't meet.
        typer.Exit: when another one is gone.
    """
    from lrkit.training.ranks import ProcessLostError, Ranks

    if processes() == 1:
        yield Ranks()
        return
    import torch.distributed

    _meet(place)
    try:
        yield Ranks.of_group(place)
    except ProcessLostError as error:
        say_lost(str(error))
        raise typer.Exit(LOST) from None
    except Exception:
        first_to_say()  # before the others see that this one is gone
        raise
    finally:
        torch.distributed.destroy_process_group()


def say_lost(sentence: str) -> None:
    """Say that another process is gone, unless one said why it ends."""
    if first_to_say():
        typer.echo(f"lrkit: error: {sentence}", err=True)


def first_to_say() -> bool:
    """Whether this process is the first that has to say what went wrong: the others are silent then."""
    return processes() == 1 or _claim()


def _meet(place: "torch.device") -> None:
    import torch

    if place.type == "cuda":
        torch.cuda.set_device(place)
    try:
        torch.distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(f"the {processes()} processes can't meet at {where}: {' '.join(str(error).split())}") from None


@cache  # the first answer holds
def _claim() -> bool:
    """Ask torchrun's store, which outlives its processes; without it each of them speaks."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # where torch documents it

    try:
        port = int(os.environ["MASTER_PORT"])
        store = TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=timedelta(seconds=10))
        return store.add(f"lrkit/said/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1
    except (RuntimeError, ValueError):  # nobody can be asked: rather said twice than not at all
        return True


def say(sentence: str) -> None:
    """Tell a person, beside the output; of several processes the first does."""
    if rank() == 0:
        typer.echo(f"lrkit: {sentence}", err=True)

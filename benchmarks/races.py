"""Measurements that take turns: contenders started once, measured in rounds; and questions to a process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pulse import FailedError, Racer
from timing import say

__all__ = ["Entry", "ask", "race", "script"]


@dataclass(frozen=True)
class Entry:
    """Processes that are measured together.

    Attributes:
        commands: the arguments of Python for each.
        settings: environment variables of theirs.
    """

    commands: Sequence[Sequence[str]]
    settings: Mapping[str, str] = field(default_factory=dict)


def race(
    entries: Mapping[str, Entry], *, rounds: int, seconds: float, caches: Path
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Microseconds per step of each entry in each round; and for those that failed, why: they are left out."""
    notes: dict[str, str] = {}
    racers: dict[str, Racer] = {}
    pool = ThreadPoolExecutor(os.cpu_count())

    def start(name: str, folder: Path) -> None:
        say(f"starting {name}")
        racer = racers[name] = Racer(entries[name].commands, folder, {**_settings(caches), **entries[name].settings})
        _noting(name, notes, racer.wait)

    with tempfile.TemporaryDirectory() as scratch:
        try:
            list(pool.map(start, entries, (Path(scratch, str(number)) for number in range(len(entries)))))
            taken: dict[str, list[float]] = {name: [] for name in entries}
            for _ in range(rounds):  # not `interleave`: what fails on the way is left out
                for name in [name for name in entries if name not in notes]:
                    measured = _noting(name, notes, partial(racers[name].measure, seconds))
                    if measured is not None:
                        say(f"{name}: {measured:.2f} µs")
                        taken[name].append(measured)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for racer in racers.values():
                racer.end()
    return {name: times for name, times in taken.items() if name not in notes}, notes


def _noting(name: str, notes: dict[str, str], call: Callable[[], float | None]) -> float | None:
    """What the call gives, or a note why it gives nothing."""
    try:
        return call()
    except FailedError as error:
        notes[name] = str(error)
        say(f"without {name}: {error}")
        return None


def ask(arguments: Sequence[str], caches: Path) -> dict[str, Any] | str:
    """What a script of this folder prints as JSON on its last line, or why it failed."""
    done = subprocess.run(
        [sys.executable, script(arguments[0]), *arguments[1:]],
        env={**os.environ, **_settings(caches)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it ended without a word"
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def script(name: str) -> str:
    """A script of this folder."""
    return str(Path(__file__).with_name(name))


def _settings(caches: Path) -> dict[str, str]:
    return {"JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_CACHE_DIR": str(caches / "torch")}

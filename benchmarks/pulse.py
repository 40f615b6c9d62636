"""Processes that train all the time, and are held still while others are measured.

Imports and compilation happen once; a measurement lets a process run on for a second. A process that is held (SIGSTOP)
takes nothing from those that are measured, whatever its threads would do. Each process says how far it is in a file in
memory: the steps it has done, and when the last of them was done, by a clock that all processes of a machine share.
"""

import contextlib
import math
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FailedError", "Pulse", "Racer", "rate"]

_WARM = 0.25  # seconds that a process runs on before it is measured, so that caches are its own again
_PATIENCE = 600.0  # seconds until the first steps: compiling may take long
_FORMAT = struct.Struct("=dd")

Beats = Mapping[str, tuple[float, float]]


class FailedError(RuntimeError):
    """A process that was to be measured has ended; the last line that it said tells why."""


class Pulse:
    """Says how far this process is; may be forked or pickled, and then speaks for the process that it is in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._owner = -1

    def __reduce__(self) -> Any:
        return Pulse, (self.folder,)

    def beat(self, steps: float = 1) -> None:
        """So many more steps are done."""
        if self._owner != os.getpid():
            self._open()
        self._count += steps
        _FORMAT.pack_into(self._memory, 0, self._count, time.perf_counter())

    def _open(self) -> None:
        self._owner, self._count = os.getpid(), 0.0
        path = self.folder / str(self._owner)
        path.write_bytes(bytes(_FORMAT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORMAT.size)


def rate(before: Beats, after: Beats) -> float:
    """Steps per second of all processes together, each between its own last steps.

    >>> rate({"1": (0, 10.0), "2": (0, 10.0)}, {"1": (100, 10.5), "2": (50, 11.0), "3": (0, 0.0)})
    250.0
    """
    total = 0.0
    for name, (count, at) in after.items():
        earlier_count, earlier_at = before.get(name, (0.0, at))
        if count > earlier_count and at > earlier_at:
            total += (count - earlier_count) / (at - earlier_at)
    return total


class Racer:
    """Some processes that are measured together: each Python, with these arguments, and told where its pulse goes."""

    def __init__(self, commands: Sequence[Sequence[str]], folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._said = folder.with_suffix(".said")
        folder.mkdir()
        with self._said.open("wb") as said:
            self._processes = [
                subprocess.Popen(
                    [sys.executable, *command, "--pulses", str(folder)],
                    env={**os.environ, **settings},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    process_group=0,  # with its workers, to be held as one; it ends with this process even when held
                )
                for command in commands
            ]

    @property
    def pids(self) -> list[int]:
        """Of the processes, without their workers."""
        return [process.pid for process in self._processes]

    def wait(self) -> None:
        """Until all processes train steadily; then hold them.

        Raises:
            FailedError: when one has ended instead.
        """
        seen: dict[str, set[float]] = {}
        begin, first = time.perf_counter(), math.inf
        while True:
            time.sleep(0.05)
            now = time.perf_counter()
            for name, (count, _) in self._beats().items():
                seen.setdefault(name, set()).add(count)
                first = min(first, now)
            fewest = min(map(len, seen.values()), default=0)
            if len(seen) >= len(self._processes) and (fewest > 10 or (fewest > 3 and now > first + 2)):
                break
            self._refuse_ended()
            if now > begin + _PATIENCE:
                raise FailedError(f"no steps within {_PATIENCE:.0f} s")
        self._signal(signal.SIGSTOP)

    def measure(self, seconds: float) -> float:
        """Microseconds per step of all processes together, over that time; they run for it alone.

        Raises:
            FailedError: when one has ended.
        """
        begin = time.perf_counter()
        self._signal(signal.SIGCONT)
        time.sleep(_WARM)
        while not self._all_since(begin) and time.perf_counter() < begin + 20 * seconds:
            time.sleep(0.01)
        before = self._beats()
        time.sleep(seconds)
        while (found := rate(before, self._beats())) == 0 and time.perf_counter() < begin + _PATIENCE:
            self._refuse_ended()
            time.sleep(0.01)
        self._signal(signal.SIGSTOP)
        self._refuse_ended()
        if found == 0:
            raise FailedError(f"no step within {_PATIENCE:.0f} s")
        return 1e6 / found

    def end(self) -> None:
        """End the processes and their workers."""
        self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def _all_since(self, moment: float) -> bool:
        """Whether each process that lives has done a step since then: one before was before it was held."""
        live = [at for name, (_, at) in self._beats().items() if Path("/proc", name).exists() or not _PROC]
        return bool(live) and all(at > moment for at in live)

    def _beats(self) -> dict[str, tuple[float, float]]:
        found = {}
        for path in self.folder.iterdir():
            data, again = b"", path.read_bytes()
            while data != again:  # a step may be told while it is read
                data, again = again, path.read_bytes()
            if len(data) == _FORMAT.size and any(data):
                found[path.name] = _FORMAT.unpack(data)
        return found

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):  # that one has ended already
                os.killpg(process.pid, number)

    def _refuse_ended(self) -> None:
        if any(process.poll() is not None for process in self._processes):
            lines = self._said.read_text().strip().splitlines()
            raise FailedError(lines[-1] if lines else "it ended without a word")


_PROC = Path("/proc/self").exists()

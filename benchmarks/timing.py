"""What benchmarks need to measure and to show: rounds in turn, medians, tables, the machine."""

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar

__all__ = ["interleave", "machine", "markdown", "median_ratio", "say", "spread"]

T = TypeVar("T")


def interleave(measures: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Take every measurement once in each round, so that what slows the machine for a while slows all of them."""
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return taken


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios within each round.

    >>> median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0])
    2.0
    """
    return statistics.median(time / other for time, other in zip(times, reference, strict=True))


def spread(times: Sequence[float], digits: int = 1) -> str:
    """The median, and the range where there are several.

    >>> spread([2.0, 1.0, 4.0]), spread([2.0])
    ('2.0 (1.0 to 4.0)', '2.0')
    """
    middle = f"{statistics.median(times):.{digits}f}"
    return middle if len(times) == 1 else f"{middle} ({min(times):.{digits}f} to {max(times):.{digits}f})"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers.

    >>> print(markdown(["what", "s"], [["all", "1.0"]]))
    | what | s |
    |---|--:|
    | all | 1.0 |
    """
    lines = [header, *rows]
    written = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([written[0], f"|---|{'--:|' * (len(header) - 1)}", *written[1:]])


def machine(packages: Sequence[str]) -> str:
    """One line about where the numbers come from: processor, cores, system, versions of what is installed."""
    versions = [f"{name} {metadata.version(name)}" for name in packages if _is_installed(name)]
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = "" if threads is None else f", OMP_NUM_THREADS={threads}"
    return (
        f"{_processor()}, {os.cpu_count()} cores{limit}, {platform.system()}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def say(text: str) -> None:
    """Tell how far the benchmark is, apart from what it prints."""
    sys.stderr.write(f"{text}\n")  # at once, since several threads may tell something
    sys.stderr.flush()

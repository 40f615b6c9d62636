"""How much memory there is, and how many lanes go together in it."""

import os
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["fitting", "free_memory", "parse_memory", "shown_bytes"]

_AMOUNT = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?(%|[kMGT]?B|[KMGT]iB)", re.ASCII | re.IGNORECASE)
_UNITS: dict[str, int] = {"b": 1} | {
    f"{prefix}{unit}": size**power
    for power, prefix in enumerate("kmgt", 1)
    for unit, size in (("b", 1000), ("ib", 1024))
}
_ALLOWED = "a whole number of bytes, or text such as '4GB', '1.5GiB', '500MB' or '50%' (of what is free)"
_WHERE_NOTHING_TELLS = 2 * 1024**3  # bytes: little enough for any machine that trains


def parse_memory(memory: object, free: int) -> int:
    """A size as a person gives it, in bytes; fractions of a byte are cut off.

    Args:
        memory: bytes, or text with a unit: `B`, `kB`, `MB`, `GB`, `TB` are powers of 1000, `KiB` and so on of 1024, in
            any case; `%` is a share of what is free, up to 100.
        free: what is free, in bytes.

    Raises:
        InputError, InputTypeError: for anything else, and for what comes to less than a byte.

    >>> parse_memory("1.5GB", free=0), parse_memory("2GiB", free=0), parse_memory("50%", free=9_000)
    (1500000000, 2147483648, 4500)
    """
    if isinstance(memory, bool) or not isinstance(memory, int | str | np.integer):
        raise InputTypeError(f"memory must be {_ALLOWED}, not {shown(memory)} ({type(memory).__name__})")
    size = Fraction(int(memory)) if not isinstance(memory, str) else _size(memory, free)
    if size < 1:
        raise InputError(f"memory must be at least 1 byte, not {shown(memory)}")
    return int(size)


def _size(text: str, free: int) -> Fraction:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise InputError(f"memory must be {_ALLOWED}, not {shown(text)}")
    amount, unit = Fraction(match[1]), match[2].lower()
    if unit != "%":
        return amount * _UNITS[unit]
    if not 0 < amount <= 100:
        raise InputError(f"memory must be above 0% and at most 100% of what is free, not {shown(text)}")
    return amount * free / 100


def shown_bytes(size: int) -> str:
    """A size to be read, to two digits or to the whole unit; units are powers of 1000.

    >>> [shown_bytes(size) for size in (0, 999, 1_234_567, 500_000_000, 999_999_999)]
    ['0 B', '999 B', '1.2 MB', '500 MB', '1 GB']
    """
    amount, units = float(size), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while round(amount) >= 1000 and unit != "TB":
        amount, unit = amount / 1000, next(units)
    text = f"{amount:.1f}".removesuffix(".0") if amount < 9.95 else f"{amount:.0f}"
    return f"{text} {unit}"


def free_memory(place: torch.device, *, root: Path = Path("/")) -> int:
    """Bytes that can still be taken on a device.

    On a CPU that is what the system can give without swapping (`MemAvailable`; all there is where the system doesn't
    say), and no more than what the control groups of the process leave, to the outermost: their limit less what is
    used, where files that are cached but not in use (`inactive_file`) count as free.

    Args:
        place: the device.
        root: where `proc` and `sys` are.
    """
    if place.type == "cuda":
        return torch.cuda.mem_get_info(place)[0]
    return max(0, min([_system(root), *_left_by_groups(root)]))


def _system(root: Path) -> int:
    available = _table(root / "proc/meminfo").get("MemAvailable:")
    if available is not None:
        return available * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no such function, or no such name, as on Windows
        return _WHERE_NOTHING_TELLS


def _left_by_groups(root: Path) -> Iterator[int]:
    """What each control group that the process is in leaves of its limit (versions 2 and 1)."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _left(root / "sys/fs/cgroup/memory", path, *names)


def _left(mount: Path, path: str, most: str, used: str, cached: str) -> Iterator[int]:
    """The same for a group and those around it; in a container some of the path may not be there."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        limit, usage = _text(folder / most).strip(), _text(folder / used).strip()
        if limit.isdecimal() and usage.isdecimal():
            yield int(limit) - int(usage) + _table(folder / "memory.stat").get(cached, 0)


def _table(file: Path) -> dict[str, int]:
    """A file of names and numbers."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _text(file: Path) -> str:
    """What the file says; nothing where it can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fitting(seeds: Mapping[int, int], per_lane: int, limit: int) -> list[list[int]]:
    """Lanes in groups that fit into memory: as few groups as do, and none with more than `limit // per_lane` lanes.

    Lanes of one seed stand next to each other, since they share batches. A group ends where a seed does, as near to the
    group's equal part as there is such a place; where there is none, groups differ by one lane at most.

    Args:
        seeds: by the numbers of the lanes.
        per_lane: bytes that a lane needs.
        limit: bytes that there are.

    Raises:
        InputError: when not even one lane fits.

    >>> fitting({0: 7, 1: 8, 2: 7, 3: 8, 4: 7}, per_lane=100, limit=350)
    [[0, 2, 4], [1, 3]]
    """
    most = limit // per_lane
    if most < 1:
        raise InputError(
            f"a lane needs about {shown_bytes(per_lane)}, more than the limit of {shown_bytes(limit)}; allow more "
            "memory, or give the task a smaller batch_size or valid_batch_size"
        )
    order = dict.fromkeys(seeds.values())
    numbers = [number for seed in order for number, own in seeds.items() if own == seed]
    ends = {index for index in range(1, len(numbers)) if seeds[numbers[index]] != seeds[numbers[index - 1]]}
    groups, begin = [], 0
    for following in reversed(range(-(-len(numbers) // most))):
        left = len(numbers) - begin
        sizes = range(max(1, left - following * most), min(most, left - following) + 1)
        equal = -(-left // (following + 1))
        size = min((each for each in sizes if begin + each in ends), key=lambda each: abs(each - equal), default=equal)
        groups.append(numbers[begin : begin + size])
        begin += size
    return groups

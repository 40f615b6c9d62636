"""What lanes.py measures once: how long the compiled backend takes to begin, and the memory of a lane."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any

from lane_runs import MODELS
from races import ask
from timing import say

__all__ = ["COSTS", "MANY", "compile_times", "memories"]

COSTS = {"mnist": 32} | {name: model.lanes[0] for name, model in MODELS.items() if model.lanes}  # lanes that begin
BATCHED = ("eager", "compiled")
MANY = 32


def compile_times(names: Sequence[str], data: Path, caches: Path) -> dict[str, dict[str, Any]]:
    """Seconds until the third update of all lanes: eager, compiled with an empty cache, and once more with it filled.

    What can't be measured is the reason instead.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = {"lanes": COSTS[name]}
        for kind, backend in [("eager", "eager"), ("cold", "compiled"), ("warm", "compiled")]:
            told = ask(_command("first", backend, name, COSTS[name], data), caches / name)
            found[name][kind] = told["seconds"] if isinstance(told, dict) else told
        say(f"{name}: seconds until the third update {found[name]}")
    return found


def memories(names: Sequence[str], data: Path, caches: Path) -> dict[str, dict[str, Any]]:
    """Bytes per lane of each model and backend: what a process with 32 lanes takes beyond one with a single lane.

    Beside it lrkit's own estimate; what can't be measured is the reason instead.
    """
    rows = [(name, backend) for name in names for backend in BATCHED]
    asked = [_command("memory", backend, name, lanes, data) for name, backend in rows for lanes in (1, MANY)]
    with ThreadPoolExecutor(cpu_count()) as pool:  # time doesn't matter here
        told = list(pool.map(ask, asked, [caches / name for name, _ in rows for _ in range(2)]))
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for (name, backend), one, many in zip(rows, told[::2], told[1::2], strict=True):
        if isinstance(one, dict) and isinstance(many, dict):
            grown = (many["bytes"] - one["bytes"]) / (MANY - 1)
            found[name][backend] = {"measured": grown, "estimate": many["estimate"]}
        else:
            found[name][backend] = one if isinstance(one, str) else many
        say(f"{name}, {backend}: memory per lane {found[name][backend]}")
    return found


def _command(what: str, backend: str, name: str, lanes: int, data: Path) -> list[str]:
    return ["lane_runs.py", what, backend, name, "--lanes", str(lanes), "--data", str(data)]

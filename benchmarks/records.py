"""How long records of other tools take to read, and how much memory: large files, and a report of four runs.

Each measurement is a process of its own, in turn; times of readings leave out the imports, that of the report has all.

    python benchmarks/records.py
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timing import interleave, machine, markdown, median_ratio, say, spread

__all__ = ["READERS", "measure", "report", "write"]

PACKAGES = ("lrkit", "tensorboard", "protobuf", "numpy")
EVENTS, TABLE = "events", "run.csv"


def write(folder: Path, scalars: int, rows: int, runs: int) -> None:
    """The records: scalars in events, half losses and half rates; rows of a table; runs of 5,000 updates."""
    from torch.utils.tensorboard import SummaryWriter

    random = np.random.default_rng(0)
    with SummaryWriter(str(folder / EVENTS)) as writer:
        for step in range(scalars // 2):
            writer.add_scalar("train/loss", 2 + random.random(), step)
            writer.add_scalar("lr", 0.1 * (1 - 2 * step / scalars), step)
    _table(folder / TABLE, rows, random)
    for run in range(runs):
        _table(folder / f"run{run}.csv", min(rows, 5000), random)


def _table(path: Path, rows: int, random: np.random.Generator) -> None:
    losses = 2 + random.random(rows)
    lines = (f"{step},{losses[step]:.6f},{0.1 * (1 - step / rows):.8f},{step // 1000}\n" for step in range(rows))
    path.write_text("step,train_loss,lr,epoch\n" + "".join(lines), encoding="utf-8")


# --- in a process of its own -------------------------------------------------------------------------


def _lrkit(path: Path) -> int:
    import lrkit

    return len(lrkit.read_history(path).lrs)


def _tensorboard(path: Path) -> int:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return len(events.Scalars("lr"))


READERS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "events": (EVENTS, _lrkit),
    "events by TensorBoard's reader": (EVENTS, _tensorboard),
    "table": (TABLE, _lrkit),
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    """In this process: seconds of a reading, its updates, and the most bytes in use before and then."""
    path, read = READERS[name]
    if read is _lrkit:
        import lrkit

        lrkit.read_history  # noqa: B018 (loads what reads)
    if path == EVENTS:
        import tensorboard.backend.event_processing.event_accumulator
        import tensorboard.compat.proto.event_pb2  # noqa: F401

    before, began = _peak(), time.perf_counter()
    updates = read(folder / path)
    return {"seconds": time.perf_counter() - began, "updates": updates, "before": before, "bytes": _peak()}


def _peak() -> int:
    """The most bytes that this program had in use; on Linux without those of the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# --- all of them -------------------------------------------------------------------------------------


def _fresh(name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--once", name, "--folder", str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def _reported(folder: Path, runs: int) -> dict[str, Any]:
    """The whole command, start to end."""
    command = [sys.executable, "-m", "lrkit", "report", *(f"run{run}.csv" for run in range(runs))]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return {"seconds": time.perf_counter() - began}


def report(found: Mapping[str, Sequence[Mapping[str, Any]]], sizes: Mapping[str, str]) -> str:
    """Medians and ranges, and how much faster events are read than by TensorBoard's own reader."""
    rows = []
    for name, taken in found.items():
        seconds = spread([each["seconds"] for each in taken], 2)
        more = [(each["bytes"] - each["before"]) / 1e6 for each in taken if "bytes" in each]
        rows.append([sizes[name], seconds, f"{statistics.median(more):.0f} MB" if more else ""])
    own, theirs = ([each["seconds"] for each in found[name]] for name in list(READERS)[:2])
    faster = f"Events are read {1 / median_ratio(own, theirs):.1f} times as fast as by TensorBoard's reader."
    return f"{markdown(['record', 'seconds', 'memory beyond the idle process'], rows)}\n\n{faster}"


def main() -> None:
    """Write the records, measure in fresh processes, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scalars", type=int, default=400_000)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--once", choices=READERS, help="measure one in this process, and print JSON")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(measure(options.once, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.scalars, options.rows, options.runs)
        size = sum(each.stat().st_size for each in (folder / EVENTS).glob("*")) / 1e6
        say(f"written: {size:.0f} MB of events")
        measures = {each: functools.partial(_fresh, each, folder) for each in READERS}
        measures["report"] = functools.partial(_reported, folder, options.runs)
        found = interleave(measures, options.rounds)
    sizes = {
        "events": f"events, {options.scalars:,} scalars in {size:.0f} MB",
        "events by TensorBoard's reader": "the same by TensorBoard's EventAccumulator",
        "table": f"table, {options.rows:,} rows",
        "report": f"`lrkit report` of {options.runs} tables of {min(options.rows, 5000):,} rows, from start to end",
    }
    print(report(found, sizes))
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

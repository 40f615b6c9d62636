"""How long a first training takes with lrkit, and how long it takes otherwise.

The job is MNIST with a small perceptron, and the contenders are in contenders.py. Two things are measured, each in a
process of its own, the contenders taking turns:

- steady state: microseconds per step between updates 100 and 1000, so without imports, data loading, compilation;
- whole process: seconds for the whole job, from starting Python to its end, once with empty compile caches (cold) and
  once more with what the first left in them (warm). A contender that compiles nothing runs once per round. lrkit runs
  as its command, `lrkit train mnist`, which leaves a run folder with checkpoints and a picture.

    pip install 'lrkit[bench]'                                  # lightning and jax; without them they are left out
    python benchmarks/first_job.py                              # both, about a quarter of an hour on two cores
    python benchmarks/first_job.py --steady --rounds 9          # about five minutes
    python benchmarks/first_job.py --whole --epochs 5 --only b,f,g

Ratios are medians of the ratios to the DataLoader over a TensorDataset (b) within each round. Keep the machine quiet:
with other work on its cores, threads that wait for each other make torch slower by tens of times.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from contenders import CONTENDERS
from job import Job
from timing import interleave, machine, markdown, median_ratio, say, spread

__all__ = ["measure_steady", "measure_whole", "report", "results"]

REFERENCE = "dataloader"
WINDOW = (100, 1000)
NOISE = 0.01  # how far accuracies of the whole job, from other initial weights, may lie apart
PACKAGES = ("torch", "lightning", "jax", "lrkit")


# --- measuring ---------------------------------------------------------------------------------------


def measure_steady(name: str, job: Job, caches: Path, window: tuple[int, int] = WINDOW) -> float:
    """Microseconds per step, in a process of its own."""
    told = _run([_script(), name, "--data", str(job.data), "--window", *map(str, window)], caches)
    return float(told["microseconds"])


def measure_whole(name: str, job: Job) -> dict[str, Any]:
    """Seconds that the process takes, with empty caches and again with filled ones, and the accuracy at its end."""
    contender = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if contender.command is None:
            command = [_script(), name]
        else:
            out = ["--out", str(folder / "run"), "--overwrite", "--device", "cpu", "--json"]
            command = ["-m", "lrkit", *contender.command, *out]
        seconds = []
        for _ in range(2 if contender.compiles else 1):
            began = time.perf_counter()
            told = _run([*command, "--epochs", str(job.epochs), "--data", str(job.data)], folder / "caches")
            seconds.append(time.perf_counter() - began)
    accuracy = told["accuracy"] if contender.command is None else told["epochs"][-1]["valid_accuracy"]
    return {"cold": seconds[0], "warm": seconds[-1], "accuracy": accuracy, "updates": told.get("steps")}


def _script() -> str:
    return str(Path(__file__).with_name("contenders.py"))


def _run(arguments: Sequence[str], caches: Path) -> dict[str, Any]:
    """What a Python process prints as JSON on its last line; compile caches are in the folder."""
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torch"),
    }
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def results(
    names: Sequence[str], job: Job, *, steady: bool, whole: bool, rounds: int, repeat: int
) -> dict[str, dict[str, list[Any]]]:
    """All measurements: for each kind of measurement and each contender, what each round gave."""
    found: dict[str, dict[str, list[Any]]] = {}
    with tempfile.TemporaryDirectory() as caches:
        for name in names:  # so that the first round finds the libraries in memory, and the caches filled
            say(f"preparing {name}")
            measure_steady(name, job, Path(caches), (1, 2))
        if steady:
            taken = {name: _said(name, partial(measure_steady, name, job, Path(caches))) for name in names}
            found["steady"] = interleave(taken, rounds)
    if whole:
        found["whole"] = interleave({name: _said(name, partial(measure_whole, name, job)) for name in names}, repeat)
    return found


def _said(name: str, measure: Callable[[], Any]) -> Callable[[], Any]:
    """The measurement, telling what it gave."""

    def take() -> Any:
        taken = measure()
        say(f"{name}: {taken}")
        return taken

    return take


# --- showing -----------------------------------------------------------------------------------------


def report(found: Mapping[str, Mapping[str, Sequence[Any]]], epochs: int) -> str:
    """The tables in markdown."""
    parts = [machine(PACKAGES)]
    if "steady" in found:
        parts += [f"Microseconds per step, steady state, {_rounds(found['steady'])}:", _steady_table(found["steady"])]
    if "whole" in found:
        parts += [
            f"Seconds for the whole process, {epochs} epochs, {_rounds(found['whole'])}:",
            _whole_table(found["whole"]),
            _agreement(found["whole"], epochs),
        ]
    if all({"lrkit", "lrkit-compiled"} <= set(found.get(kind, ())) for kind in ("steady", "whole")):
        parts.append(_payback(found["steady"], found["whole"]))
    return "\n\n".join(parts)


def _rounds(taken: Mapping[str, Sequence[Any]]) -> str:
    count = len(next(iter(taken.values())))
    return "one round" if count == 1 else f"median (and range) of {count} rounds"


def _steady_table(taken: Mapping[str, Sequence[float]]) -> str:
    rows = [[_title(name), spread(times, 0), _ratio(times, taken.get(REFERENCE))] for name, times in taken.items()]
    return markdown(["", "µs per step", "ratio to b"], rows)


def _whole_table(taken: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    rows = []
    for name, runs in taken.items():
        row = [_title(name)]
        for state in ("cold", "warm"):
            reference = [run[state] for run in taken.get(REFERENCE, ())]
            times = [run[state] for run in runs]
            row += [spread(times), _ratio(times, reference)]
        rows.append([*row, f"{100 * statistics.median(run['accuracy'] for run in runs):.2f} %"])
    return markdown(["", "cold, s", "ratio to b", "warm, s", "ratio to b", "accuracy"], rows)


def _agreement(taken: Mapping[str, Sequence[Mapping[str, float]]], epochs: int) -> str:
    reached = [statistics.median(run["accuracy"] for run in runs) for runs in taken.values()]
    apart = max(reached) - min(reached)
    said = f"Accuracies on the validation images lie {100 * apart:.2f} points apart"
    if epochs < Job.epochs:
        return f"{said}; with so few epochs that says little."
    verdict = "no more than initial weights alone do" if apart <= NOISE else "TOO FAR for one and the same job"
    return f"{said}: {verdict}."


def _payback(steady: Mapping[str, Sequence[float]], whole: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """From how many updates on it pays to compile: the time it costs to begin with, by the time that a step saves."""
    eager, compiled = steady["lrkit"], steady["lrkit-compiled"]
    saved = statistics.median(slow - fast for slow, fast in zip(eager, compiled, strict=True))
    if saved <= 0:
        return "lrkit, compiled, saves nothing per step here."
    found = []
    for state in ("cold", "warm"):
        runs = zip(whole["lrkit"], whole["lrkit-compiled"], strict=True)
        cost = statistics.median(late[state] - early[state] + saved * early["updates"] / 1e6 for early, late in runs)
        found.append(f"{max(cost, 0) / saved * 1e6:,.0f} {state} ({max(cost, 0):.1f} s to begin with)")
    return f"lrkit, compiled, saves {saved:.0f} µs per step, so it pays from this many updates on: {', '.join(found)}."


def _title(name: str) -> str:
    contender = CONTENDERS[name]
    return f"{contender.letter}. {contender.title}"


def _ratio(times: Sequence[float], reference: Sequence[float] | None) -> str:
    return f"{median_ratio(times, reference):.2f}" if reference else ""


# --- the command line --------------------------------------------------------------------------------


def _chosen(only: str | None) -> list[str]:
    """The contenders that were asked for and can take part."""
    letters = {contender.letter: name for name, contender in CONTENDERS.items()}
    asked = list(letters) if only is None else only.replace(" ", "").split(",")
    unknown = [letter for letter in asked if letter not in letters]
    if unknown:
        sys.exit(f"--only takes letters from {', '.join(letters)}, not {', '.join(unknown)}")
    chosen = []
    for letter in asked:
        missing = CONTENDERS[letters[letter]].missing()
        if missing is None:
            chosen.append(letters[letter])
        else:
            say(f"without {letters[letter]}: {missing}")
    return chosen


def main() -> None:
    """Measure what is asked for, by default everything, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steady", action="store_true", help="only the steady state")
    parser.add_argument("--whole", action="store_true", help="only the whole process")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the steady state (7)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of the whole process (3)")
    parser.add_argument("--epochs", type=int, default=Job.epochs, help="of the whole process (25)")
    parser.add_argument("--data", type=Path, default=Job.data, help="another folder in MNIST's format")
    parser.add_argument("--only", metavar="LETTERS", help="contenders, such as f,g")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON instead")
    options = parser.parse_args()
    both = options.steady == options.whole
    found = results(
        _chosen(options.only),
        Job(options.epochs, options.data),
        steady=options.steady or both,
        whole=options.whole or both,
        rounds=options.rounds,
        repeat=options.repeat,
    )
    if options.json:
        print(json.dumps({"machine": machine(PACKAGES), "epochs": options.epochs, **found}))
    else:
        print(report(found, options.epochs))


if __name__ == "__main__":
    main()

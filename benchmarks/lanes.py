"""Many runs at once: what a lane-step (one update of one run) costs with lrkit, and what it costs otherwise.

Three parts, all by default, in about ten minutes on a quiet machine with two cores:

- steady: MNIST with a small perceptron 784-64-32-10, batch 32, SGD with momentum 0.9, a rate of its own for each lane;
  microseconds per lane-step while the training is under way, so without imports, data loading, compilation and
  validation. The contenders are in lane_contenders.py, with the machine's limit among them.
- models: lrkit's backends with other models, and what `auto` chooses.
- compile: how long the compiled backend takes to begin, and the memory that a lane takes.

    pip install 'lrkit[bench]'                     # JAX and three trainers; without them they are left out
    python benchmarks/lanes.py                     # all
    python benchmarks/lanes.py --steady --rounds 9 --lanes 32,128 --only compiled,loop,jax
    python benchmarks/lanes.py --models --only perceptron,cnn

Every contender is a process that is started once and held still while others are measured, so that the rounds can take
turns; together they take about ten gigabytes. Ratios are medians of the ratios within each round.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from job import Job
from lane_contenders import CONTENDERS
from lane_costs import compile_times, memories
from lane_report import report
from lane_runs import BACKENDS, MODELS
from races import Entry, ask, race, script
from timing import machine, say

__all__ = ["measure_models", "measure_steady"]

PACKAGES = ("torch", "lightning", "pytorch-ignite", "skorch", "jax", "lrkit")


def measure_steady(
    names: Sequence[str], lanes: Sequence[int], data: Path, *, rounds: int, seconds: float, caches: Path
) -> dict[str, Any]:
    """Microseconds per lane-step by contender and number of lanes, for each round; and notes about who is missing."""
    entries = {}
    for name in names:
        for count in sorted({CONTENDERS[name].lanes(each) for each in lanes}):
            entries[f"{name} {count}"] = _entry(name, count, "mnist", data)
    taken, notes = race(entries, rounds=rounds, seconds=seconds, caches=caches / "mnist")
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        for count in lanes:
            times = taken.get(f"{name} {CONTENDERS[name].lanes(count)}")
            if times is not None:
                found.setdefault(name, {})[str(count)] = times
    return {"times": found, "notes": notes}


def measure_models(
    names: Sequence[str], backends: Sequence[str], data: Path, *, rounds: int, seconds: float, caches: Path
) -> dict[str, Any]:
    """The same for each model and backend, and what `auto` chose; a model at a time, since they are large."""
    times: dict[str, dict[str, dict[str, list[float]]]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    for name in names:
        counts = MODELS[name].lanes
        entries = {}
        for backend in backends:
            for count in sorted({CONTENDERS[backend].lanes(each) for each in counts}):
                entries[f"{backend} {count}"] = _entry(backend, count, name, data)
        taken, missing = race(entries, rounds=rounds, seconds=seconds, caches=caches / name)
        notes |= {f"{name}, {entry}": note for entry, note in missing.items()}
        for count in counts:
            row = f"{name} {count}"
            held = {each: taken.get(f"{each} {CONTENDERS[each].lanes(count)}") for each in backends}
            times[row] = {backend: runs for backend, runs in held.items() if runs is not None}
            answer = ask(["lane_runs.py", "auto", name, "--lanes", str(count), "--data", str(data)], caches / name)
            chosen[row] = answer if isinstance(answer, dict) else {"backend": "", "reason": answer}
            say(f"{row}: auto chooses {chosen[row]}")
    return {"times": times, "chosen": chosen, "notes": notes}


def _entry(name: str, count: int, model: str, data: Path) -> Entry:
    contender = CONTENDERS[name]
    command = [script("lane_contenders.py"), name, "--lanes", str(count), "--model", model, "--data", str(data)]
    settings = {}
    if contender.processes > 1:
        settings["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // contender.processes))
    return Entry([command] * contender.processes, settings)


# --- the command line --------------------------------------------------------------------------------


def _counts(text: str) -> list[int]:
    counts = [int(each) for each in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("lanes are numbers of at least 1")
    return counts


def _names(text: str) -> list[str]:
    known = [*CONTENDERS, *MODELS]
    asked = text.replace(" ", "").split(",")
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"names are {', '.join(known)}, not {', '.join(unknown)}")
    return asked


def _able(names: Sequence[str]) -> list[str]:
    """The contenders that can take part here."""
    able = []
    for name in names:
        missing = CONTENDERS[name].missing()
        if missing is None:
            able.append(name)
        else:
            say(f"without {name}: {missing}")
    return able


def main() -> None:
    """Measure what is asked for, by default everything, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steady", action="store_true", help="only the perceptron, with all contenders")
    parser.add_argument("--models", action="store_true", help="only lrkit's backends with other models")
    parser.add_argument("--compile", action="store_true", help="only how long compiling takes, and memory")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the steady state (5); two less for models")
    parser.add_argument("--seconds", type=float, default=0.8, help="of one measurement (0.8)")
    parser.add_argument("--lanes", type=_counts, default=[1, 8, 32, 128], help="numbers of lanes (1,8,32,128)")
    parser.add_argument("--data", type=Path, default=Job.data, help="another folder in MNIST's format")
    parser.add_argument("--only", type=_names, metavar="NAMES", help="contenders and models, such as compiled,jax,cnn")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON instead")
    options = parser.parse_args()
    parts = [part for part in ("compile", "models", "steady") if getattr(options, part)]
    with tempfile.TemporaryDirectory() as caches:
        found = _measured(parts or ["compile", "models", "steady"], options, Path(caches))
    found["machine"] = machine(PACKAGES)
    print(json.dumps(found) if options.json else report(found))


def _measured(parts: Sequence[str], options: argparse.Namespace, caches: Path) -> dict[str, Any]:
    """What is asked for; compiling first, whose caches serve the others."""
    found: dict[str, Any] = {}
    only = [*CONTENDERS, *MODELS] if options.only is None else options.only
    models = [name for name in MODELS if name in only]
    backends = [name for name in BACKENDS if name in only] or BACKENDS
    names = _able([name for name in CONTENDERS if name in only])
    times = {"seconds": options.seconds, "caches": caches}
    if "compile" in parts and models:
        found["compile"] = compile_times(models, options.data, caches)
        found["memory"] = memories([name for name in models if MODELS[name].lanes], options.data, caches)
    if "models" in parts and models:
        compared = [name for name in models if MODELS[name].lanes]
        rounds = max(1, options.rounds - 2)
        found["models"] = measure_models(compared, backends, options.data, rounds=rounds, **times)
    if "steady" in parts and names:
        found["steady"] = measure_steady(names, options.lanes, options.data, rounds=options.rounds, **times)
    return found


if __name__ == "__main__":
    main()

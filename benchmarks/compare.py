"""How long a fair comparison of five schedules takes with lrkit, and how long it takes otherwise.

The job is in grid_runs.py: the line-up "tutorial" on MNIST, 8 rates and 3 seeds for each schedule, 5 epochs; then three
fresh seeds at each schedule's best rate: 135 runs. Each contender is a process of its own, timed from start to end,
with empty compile caches:

- lrkit: the command `lrkit compare`, which drops rates that have lost on the way, and leaves a folder with all records,
  a picture and a page; once more with the caches that the first left (warm);
- plain: a loop over tensors, two processes at a time, which train all of it;
- ray: Ray Tune over Lightning, two runs at a time, a sample of the search; from it the time of all is extrapolated.

    pip install 'lrkit[bench]'                      # lightning and ray; without them that contender is left out
    python benchmarks/compare.py                    # about a quarter of an hour on two quiet cores
    python benchmarks/compare.py --epochs 1 --only lrkit,plain
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from grid_runs import FINAL_SEEDS, RATES, SCHEDULERS, SEEDS
from job import Job
from timing import interleave, machine, markdown, median_ratio, say, spread

__all__ = ["CONTENDERS", "measure", "report"]

PACKAGES = ("torch", "lightning", "ray", "lrkit")
CONTENDERS = ("lrkit", "plain", "ray")
TITLES = {
    "lrkit": "lrkit compare",
    "lrkit, warm": "lrkit compare, warm caches",
    "plain": "eager loops over tensors in two processes",
    "ray": "Ray Tune over Lightning, two at a time, extrapolated from {runs} runs",
}


# --- measuring ---------------------------------------------------------------------------------------


def measure(name: str, job: Job, sample: int) -> dict[str, dict[str, Any]]:
    """What a contender takes, by what the table calls it; and what it finds."""
    script = str(Path(__file__).with_name("grid_runs.py"))
    what = ["--epochs", str(job.epochs), "--data", str(job.data)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        commands = {
            "lrkit": {"lrkit": _command(what, folder / "cold"), "lrkit, warm": _command(what, folder / "warm")},
            "plain": {"plain": [script, "plain", *what]},
            "ray": {"ray": [script, "ray", *what, "--sample", str(sample)]},
        }
        return {key: _told(key, command, folder / "caches") for key, command in commands[name].items()}


def _command(what: Sequence[str], out: Path) -> list[str]:
    rates, seeds = ",".join(map(str, RATES)), ["--selection-seeds", str(len(SEEDS)), "--seeds", str(len(FINAL_SEEDS))]
    line_up = ["--schedules", "tutorial", "--lr", rates, *seeds]
    return ["-m", "lrkit", "compare", "mnist", *line_up, *what, "--out", str(out), "--device", "cpu", "--json"]


def _told(name: str, arguments: Sequence[str], caches: Path) -> dict[str, Any]:
    """Seconds that the process takes, and what it prints as JSON on its last line."""
    settings = {"TORCHINDUCTOR_CACHE_DIR": str(caches)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    if name == "ray":
        whole = len(SCHEDULERS) * (len(RATES) * len(SEEDS) + len(FINAL_SEEDS))
        rest = seconds - told["seconds"]
        say(f"ray: {told['runs']} runs in {told['seconds']:.0f} s, {rest:.0f} s beside")
        return {"seconds": rest + told["seconds"] * whole / told["runs"], "runs": told["runs"]}
    say(f"{name}: {seconds:.1f} s")
    return {"told": told, "seconds": seconds}


# --- showing -----------------------------------------------------------------------------------------


def report(found: Mapping[str, Sequence[Mapping[str, Any]]], epochs: int) -> str:
    """The tables in markdown."""
    seconds = {name: [each["seconds"] for each in taken] for name, taken in found.items()}
    rows = []
    for name, times in seconds.items():
        title = TITLES[name].format(runs=found[name][0].get("runs"))
        rows.append([title, spread(times, 0), _ratio(times, seconds.get("plain")), _ratio(times, seconds.get("ray"))])
    parts = [
        machine(PACKAGES),
        f"Seconds for the whole comparison, {epochs} epochs:",
        markdown(["", "s", "plain / this", "ray / this"], rows),
    ]
    if {"lrkit", "plain"} <= set(found):
        parts += [
            "The same question, and what each found:",
            _agreement(found["lrkit"][0]["told"], found["plain"][0]["told"]),
        ]
    if "lrkit" in found:
        parts.append(_saved(found["lrkit"][0]["told"]))
    return "\n\n".join(parts)


def _ratio(times: Sequence[float], others: Sequence[float] | None) -> str:
    return f"{median_ratio(others, times):.2f}" if others else ""


def _agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    rows = []
    for each in ours["schedules"]:
        other = theirs["schedules"][each["name"]]
        mean, (low, high) = each["valid_loss"]["mean"], each["valid_loss"]["interval"]
        spread_of_mean = (high - low) / 2 / stats.t.ppf(0.975, each["n_seeds"] - 1)
        losses = np.array(other["losses"])
        error = float(np.hypot(spread_of_mean, losses.std(ddof=1) / np.sqrt(len(losses))))
        apart = (mean - losses.mean()) / error
        rows.append(
            [
                each["name"],
                f"{each['best_lr']:g}",
                f"{other['best_lr']:g}",
                f"{mean:.4f}",
                f"{losses.mean():.4f}",
                f"{apart:+.1f}",
            ]
        )
    header = ["", "best rate, lrkit", "plain", "test loss, lrkit", "plain", "apart, in standard errors"]
    return markdown(header, rows)


def _saved(told: Mapping[str, Any]) -> str:
    made = told["made"]
    facts = {key: made[key] for key in made if "halving" in key or "backend" in key}
    return f"lrkit: {json.dumps(facts)}"


# --- the command line --------------------------------------------------------------------------------


def _chosen(only: str | None) -> list[str]:
    asked = list(CONTENDERS) if only is None else only.replace(" ", "").split(",")
    if unknown := [name for name in asked if name not in CONTENDERS]:
        sys.exit(f"--only takes names from {', '.join(CONTENDERS)}, not {', '.join(unknown)}")
    if "ray" in asked and any(importlib.util.find_spec(name) is None for name in ("ray", "lightning")):
        say("without ray: ray and lightning aren't both installed (pip install 'lrkit[bench]')")
        asked.remove("ray")
    return asked


def main() -> None:
    """Measure what is asked for, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="rounds (1)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Job.data, help="another folder in MNIST's format")
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--sample", type=int, default=6, help="runs that Ray Tune trains (6)")
    options = parser.parse_args()
    job = Job(options.epochs, options.data)
    measures = {name: partial(measure, name, job, options.sample) for name in _chosen(options.only)}
    found: dict[str, list[dict[str, Any]]] = {}
    for taken in interleave(measures, options.repeat).values():
        for name in taken[0]:
            found[name] = [each[name] for each in taken]
    print(report(found, options.epochs))


if __name__ == "__main__":
    main()

"""How long fits and predictions take, and how much memory: with loss curves of a language model.

Each measurement is a process of its own; times leave out imports.

    python benchmarks/predict_speed.py
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lrkit
from lrkit.analysis.laws.fitted import FittedLaw
from predict import DATA, FITTED, PEAK, WARMUP, read_all
from timing import machine, markdown, say

__all__ = ["STEPS", "ask", "asked", "measure", "report"]

PACKAGES = ("torch", "numpy", "scipy", "lrkit")
STEPS = (24_000, 72_000, 216_000)


def asked(steps: int) -> NDArray[np.float64]:
    """The rates that are asked about: a warmup and a cosine, as the fitted runs had."""
    after = lrkit.parse("cosine(to=0.1)").over(steps - WARMUP).value(np.arange(steps - WARMUP), PEAK)
    return np.concatenate([PEAK * np.arange(WARMUP) / WARMUP, after])


def measure(repeats: int) -> dict[str, Any]:
    """In this process: seconds of a fit and of predictions, and the most bytes in use before, then and after."""
    curves, before = read_all(DATA / "llm_25M"), _peak()
    law, taken = _fitted([curves[name] for name in FITTED])
    answers = ask(law, repeats)
    most = _peak()
    _, taken_by_all = _fitted(list(curves.values()))
    return {
        "law": law.law.name,
        "imports_bytes": before,
        "fit": taken,
        "fit_all": taken_by_all,
        **answers,
        "bytes": most,
    }


def _fitted(curves: Sequence[lrkit.LossCurve]) -> tuple[FittedLaw, float]:
    began = time.perf_counter()
    return lrkit.fit_law(curves), time.perf_counter() - began


def ask(law: FittedLaw, repeats: int, steps: Sequence[int] = STEPS) -> dict[str, dict[str, float]]:
    """Seconds of each question, by the number of steps; medians."""
    return {
        name: {str(total): _median(functools.partial(question, asked(total)), repeats) for total in steps}
        for name, question in _questions(law).items()
    }


def _questions(law: FittedLaw) -> dict[str, Callable[[NDArray[np.float64]], object]]:
    return {
        "curve": law.predict,
        "final": lambda each: law.predict(each, [len(each)]),
        "interval": lambda each: law.interval(each, [len(each)]),
    }


def _median(question: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        question()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _peak() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


def report(found: Sequence[Mapping[str, Any]]) -> str:
    """Medians over processes, each as `measure` gives it."""

    def middle(*path: str) -> float:
        values = []
        for each in found:
            value: Any = each
            for key in path:
                value = value[key]
            values.append(value)
        return statistics.median(values)

    totals = list(found[0]["curve"])
    fit = (
        f"A fit with uncertainty to three curves takes {middle('fit'):.1f} s ({found[0]['law']}), to all nine "
        f"{middle('fit_all'):.1f} s. With three the process has at most {middle('bytes') / 1e6:.0f} MB in use, of "
        f"which {middle('imports_bytes') / 1e6:.0f} MB are Python, torch and the curves."
    )
    named = {"curve": "loss before each update", "final": "final loss", "interval": "interval of the final loss"}
    header = ["milliseconds", *(f"{int(total):,} steps" for total in totals)]
    rows = [[said, *(f"{1000 * middle(name, total):.1f}" for total in totals)] for name, said in named.items()]
    return f"{fit}\n\n{markdown(header, rows)}"


def main() -> None:
    """Measure in fresh processes, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9, help="of each prediction in a process")
    parser.add_argument("--once", action="store_true", help="measure in this process, and print JSON")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(measure(options.repeats)))
        return
    found = []
    for number in range(options.processes):
        command = [sys.executable, __file__, "--once", "--repeats", str(options.repeats)]
        found.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        say(f"{number + 1} of {options.processes}: {found[-1]['fit']:.1f} s")
    print(report(found))
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

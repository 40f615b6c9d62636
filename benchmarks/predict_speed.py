"""How long fits and predictions take, and how much memory: with three loss curves of a language model of 24,000 steps.

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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lrkit
from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.fitted import FittedLaw
from timing import machine, markdown, say

__all__ = ["CURVES", "STEPS", "ask", "curves", "measure", "rates", "report"]

PACKAGES = ("torch", "numpy", "scipy", "lrkit")
CURVES = Path(__file__).parent / "data" / "loss_curves" / "llm_25M"
FITTED = ("constant_24000", "cosine_24000", "wsdcon_9")
STEPS = (24_000, 72_000, 216_000)
_PEAK, _WARMUP = 3e-4, 2160


def rates(name: str, steps: int) -> NDArray[np.float64]:
    """Of every update, as the curves' README has them.

    >>> rates("wsdcon_9", 16_000)[[1080, 2160, 7999, 8000]].round(6).tolist()
    [0.00015, 0.0003, 0.0003, 9e-05]
    """
    t = np.arange(steps)
    after = np.full(steps, _PEAK)
    if name.startswith("cosine"):
        after = _PEAK * (0.55 + 0.45 * np.cos(np.pi * np.clip((t - _WARMUP) / (steps - _WARMUP), 0, 1)))
    elif name == "wsdcon_9":
        after[8000:] = 9e-5
    return np.minimum(after, _PEAK * t / _WARMUP)


def curves(folder: Path = CURVES) -> list[LossCurve]:
    """The three that a law is fitted to."""
    found = []
    for name in FITTED:
        step, _, loss = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1).T
        total = 24_000 if name.endswith("24000") else 16_000
        found.append(LossCurve(step, loss, rates(name, total), name))
    return found


def measure(repeats: int) -> dict[str, Any]:
    """In this process: seconds of a fit and of predictions, and the most bytes in use before, then and after."""
    given, before = curves(), _peak()
    began = time.perf_counter()
    law = lrkit.fit_law(given)
    fitting = {"fit": time.perf_counter() - began, "fit_bytes": _peak()}
    asked = ask(law, repeats)
    return {"law": law.law.name, "imports_bytes": before, **fitting, **asked, "bytes": _peak()}


def ask(law: FittedLaw, repeats: int, steps: Sequence[int] = STEPS) -> dict[str, dict[str, float]]:
    """Seconds of each question, by the number of steps; medians."""
    return {
        name: {str(total): _median(functools.partial(question, rates("cosine", total)), repeats) for total in steps}
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
        f"A fit with uncertainty to three curves takes {middle('fit'):.1f} s ({found[0]['law']}). The process has at "
        f"most {middle('bytes') / 1e6:.0f} MB in use, of which {middle('imports_bytes') / 1e6:.0f} MB are Python, "
        "torch and the curves."
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

"""What schedules cost: a whole one at once, and each call while training; beside torch's where torch has one.

Whole: a schedule of a million steps is evaluated as one array, and torch's scheduler is stepped through the same
million on an optimizer that does nothing, its rate being read at every step. The table also says how far the two lie
apart anywhere, and how much memory the evaluation takes beyond its steps, in arrays of a million float64 (8 MB), the
result being one of them. Kinds that torch doesn't have stand in a second table. torch's pass is made once, lrkit's five
times.

Calls: microseconds for `optimizer.step()` of an optimizer whose own step does nothing, without a scheduler and with a
bound one, whose hook sets the next rate; for the bound scheduler's `step()`; and for `step()` of torch's scheduler and
of the one with the same name in lrkit.torch_names. Calls are timed in rounds, a block of each in turn; ratios are
medians of the ratios within each round.

    python benchmarks/schedules.py                           # both, about two minutes
    python benchmarks/schedules.py --whole --steps 100000    # of whole schedules, shorter ones
    python benchmarks/schedules.py --calls --rounds 5
"""

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer, lr_scheduler

import lrkit
from lrkit import torch_names
from lrkit.schedules.names import KINDS
from pairs import BASE, PAIRS, Pair
from timing import interleave, machine, markdown, median_ratio, say

__all__ = ["Calls", "Whole", "calls", "report", "whole"]

BLOCK = 1024  # calls that are timed together: two of the blocks in which a bound scheduler computes rates ahead
GROUPS = (1, 200)
PACKAGES = ("torch", "numpy", "lrkit")


# Kinds whose own example, which is meant for a thousand steps, doesn't do.
EXAMPLES: dict[str, Callable[[int], lrkit.Plan]] = {
    "table": lambda n: lrkit.table(np.linspace(1.0, 0.0, n)),
    "hyperbolic": lambda n: lrkit.parse(f"hyperbolic({n}, bound={2 * n})"),
}


class Still(Optimizer):
    """An optimizer whose step does nothing, with so many param groups."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)], {"lr": BASE})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch's returns a loss
        """Nothing."""


# --- a whole schedule at once ------------------------------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """What evaluating a schedule took.

    Attributes:
        name: torch's, where it has one, else lrkit's kind.
        plan: lrkit's schedule as text.
        milliseconds: of the evaluation.
        arrays: memory beyond the steps, in arrays of as many float64.
        torch_seconds: of stepping torch's scheduler through it.
        apart: the largest difference between the two, as a share of the base.
    """

    name: str
    plan: str
    milliseconds: float
    arrays: float
    torch_seconds: float | None = None
    apart: float | None = None


def whole(steps: int, repeats: int = 5) -> list[Whole]:
    """Every schedule that torch has too, then every other kind that lrkit knows an example of."""
    found = []
    for pair in PAIRS:
        plan = pair.plan(steps)
        milliseconds, arrays, values = _evaluate(plan, steps, repeats)
        say(f"{pair.name}: {milliseconds:.1f} ms; stepping torch's")
        seconds, rates = _step_through(pair.build(lr_scheduler, Still(), steps), steps)
        apart = float(np.abs(values - rates).max() / BASE)
        found.append(Whole(pair.name, _shown(plan), milliseconds, arrays, seconds, apart))
    paired = {kind for pair in PAIRS for kind in pair.kinds}
    for kind in KINDS:
        example = None if kind in paired else _example(kind, steps)
        if example is not None:
            milliseconds, arrays, _ = _evaluate(example, steps, repeats)
            found.append(Whole(kind, _shown(example), milliseconds, arrays))
    return found


def _example(kind: str, steps: int) -> lrkit.Plan | None:
    """A schedule of the kind over so many steps, 10 epochs; None where its example doesn't last as long."""
    try:
        plan = EXAMPLES[kind](steps) if kind in EXAMPLES else lrkit.parse(KINDS[kind].example)
        return plan.over(steps, epoch_steps=max(steps // 10, 1))
    except lrkit.InputError as error:
        say(f"{kind}: no example ({error})")
        return None


def _shown(plan: lrkit.Plan) -> str:
    text = str(plan)
    return text if len(text) < 60 else f"{text[:57]}..."


def _evaluate(plan: lrkit.Plan, steps: int, repeats: int) -> tuple[float, float, Any]:
    """Milliseconds, arrays of extra memory, and the values."""
    t = np.arange(steps)

    def value() -> Any:
        return plan.value(plan.init(), t, BASE) if isinstance(plan, lrkit.Controller) else plan.value(t, BASE)

    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        values = value()
        times.append(time.perf_counter() - began)
    del values
    tracemalloc.start()
    values = value()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return statistics.median(times) * 1e3, peak / (8 * steps), values


def _step_through(scheduler: Any, steps: int) -> tuple[float, Any]:
    """Seconds, and the rate at every step."""
    group = scheduler.optimizer.param_groups[0]
    rates = np.empty(steps)
    scheduler.optimizer.step()  # torch warns where a scheduler is stepped before its optimizer
    began = time.perf_counter()
    for t in range(steps):
        rates[t] = group["lr"]
        scheduler.step()
    return time.perf_counter() - began, rates


# --- each call ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calls:
    """Microseconds per call.

    Attributes:
        name: torch's name.
        groups: param groups of the optimizer.
        times: for each kind of call, what each round gave.
    """

    name: str
    groups: int
    times: dict[str, list[float]]


def calls(rounds: int, groups: Sequence[int] = GROUPS) -> list[Calls]:
    """Every pair that stands for others, with few param groups and with many."""
    return [_calls(pair, count, rounds) for pair in PAIRS if pair.per_call for count in groups]


def _calls(pair: Pair, groups: int, rounds: int) -> Calls:
    say(f"calls: {pair.name}, {groups} param groups")
    steps = (rounds + 1) * BLOCK
    plain, hooked = Still(groups), Still(groups)
    bound = pair.plan(steps).bind(hooked)
    timed: dict[str, Callable[[], Any]] = {
        "plain": plain.step,
        "hooked": hooked.step,
        "bound": bound.step,
        "torch": _stepped(pair, lr_scheduler, groups, steps),
        "torch_names": _stepped(pair, torch_names, groups, steps),
    }
    taken = interleave({name: lambda call=call: _microseconds(call, BLOCK) for name, call in timed.items()}, rounds)
    taken["hook"] = [with_ - without for with_, without in zip(taken["hooked"], taken["plain"], strict=True)]
    return Calls(pair.name, groups, taken)


def _stepped(pair: Pair, names: ModuleType, groups: int, steps: int) -> Callable[[], Any]:
    scheduler = pair.build(names, Still(groups), steps)
    scheduler.optimizer.step()
    step: Callable[[], Any] = scheduler.step
    return step


def _microseconds(call: Callable[[], Any], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count * 1e6


# --- showing -----------------------------------------------------------------------------------------


def report(wholes: Sequence[Whole], called: Sequence[Calls], steps: int) -> str:
    """The tables in markdown."""
    parts = [machine(PACKAGES)]
    if wholes:
        paired = [each for each in wholes if each.torch_seconds is not None]
        alone = [each for each in wholes if each.torch_seconds is None]
        parts += [f"{steps:,} steps at once, against stepping torch's scheduler through them:", _paired_table(paired)]
        parts += [f"{steps:,} steps at once, kinds that torch doesn't have:", _alone_table(alone)]
    if called:
        parts += ["Microseconds per call:", _calls_table(called)]
    return "\n\n".join(parts)


def _paired_table(wholes: Sequence[Whole]) -> str:
    header = ["torch's", "lrkit's", "torch, s", "lrkit, ms", "torch / lrkit", "arrays", "largest difference"]
    return markdown(
        header,
        [
            [
                each.name,
                f"`{each.plan}`",
                f"{each.torch_seconds:.2f}",
                f"{each.milliseconds:.1f}",
                f"{(each.torch_seconds or 0) * 1e3 / each.milliseconds:,.0f}",
                f"{each.arrays:.1f}",
                f"{each.apart:.0e}",
            ]
            for each in wholes
        ],
    )


def _alone_table(wholes: Sequence[Whole]) -> str:
    rows = [[each.name, f"`{each.plan}`", f"{each.milliseconds:.1f}", f"{each.arrays:.1f}"] for each in wholes]
    return markdown(["kind", "example", "ms", "arrays"], rows)


def _calls_table(called: Sequence[Calls]) -> str:
    shown = ["plain", "hooked", "hook", "bound", "torch", "torch_names"]
    header = [
        *("", "groups", "`optimizer.step()`, no scheduler", "with the hook", "the hook alone", "bound `step()`"),
        *("torch's `step()`", "torch_names' `step()`", "hook / torch's", "torch_names' / torch's"),
    ]
    rows = []
    for each in called:
        times = [f"{statistics.median(each.times[name]):.2f}" for name in shown]
        ratios = [f"{median_ratio(each.times[name], each.times['torch']):.2f}" for name in ("hook", "torch_names")]
        rows.append([each.name, str(each.groups), *times, *ratios])
    return markdown(header, rows)


def main() -> None:
    """Measure what is asked for, by default everything, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="only whole schedules")
    parser.add_argument("--calls", action="store_true", help="only the calls")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of a whole schedule (1000000)")
    parser.add_argument("--rounds", type=int, default=15, help="of the calls (15)")
    parser.add_argument("--json", action="store_true", help="print every measurement as JSON instead")
    options = parser.parse_args()
    both = options.whole == options.calls
    wholes = whole(options.steps) if options.whole or both else []
    called = calls(options.rounds) if options.calls or both else []
    if options.json:
        taken = {"whole": list(map(asdict, wholes)), "calls": list(map(asdict, called))}
        print(json.dumps({"machine": machine(PACKAGES), "steps": options.steps, **taken}))
    else:
        print(report(wholes, called, options.steps))


if __name__ == "__main__":
    main()

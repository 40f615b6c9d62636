"""Measure how far lrkit's rates are from torch's and transformers', and write docs/parity.md."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

import lrkit
from lrkit import torch_names

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"
BASE = 0.1
CALLS = 200  # of step(), after the first rate
METRICS = [abs(np.sin(i / 7)) + 1 / (i + 1) for i in range(CALLS)]  # what controllers are told, one before each call

# Argument sets: functions of the module that has the scheduler and of an optimizer.
TORCH: dict[str, list[Any]] = {
    "LambdaLR": [
        lambda m, o: m.LambdaLR(o, lambda t: 0.95**t),
        lambda m, o: m.LambdaLR(o, [lambda t: 1 / (1 + t)]),
    ],
    "MultiplicativeLR": [
        lambda m, o: m.MultiplicativeLR(o, lambda t: 0.97),
        lambda m, o: m.MultiplicativeLR(o, lambda t: 1.02 if t % 3 else 0.9),
    ],
    "StepLR": [
        lambda m, o: m.StepLR(o, 7, gamma=0.3),
        lambda m, o: m.StepLR(o, 1, gamma=0.99),
        lambda m, o: m.StepLR(o, 300),
    ],
    "MultiStepLR": [
        lambda m, o: m.MultiStepLR(o, [30, 80], gamma=0.1),
        lambda m, o: m.MultiStepLR(o, [9, 5, 5], gamma=0.5),
    ],
    "ConstantLR": [
        lambda m, o: m.ConstantLR(o),
        lambda m, o: m.ConstantLR(o, factor=0.1, total_iters=40),
    ],
    "LinearLR": [
        lambda m, o: m.LinearLR(o),
        lambda m, o: m.LinearLR(o, start_factor=0.01, total_iters=150),
        lambda m, o: m.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=120),
    ],
    "ExponentialLR": [
        lambda m, o: m.ExponentialLR(o, 0.93),
        lambda m, o: m.ExponentialLR(o, 1.01),
    ],
    "PolynomialLR": [
        lambda m, o: m.PolynomialLR(o),
        lambda m, o: m.PolynomialLR(o, total_iters=150, power=2.0),
        lambda m, o: m.PolynomialLR(o, total_iters=400, power=0.5),
    ],
    "CosineAnnealingLR": [
        lambda m, o: m.CosineAnnealingLR(o, 200, eta_min=1e-4),
        lambda m, o: m.CosineAnnealingLR(o, 350),
        lambda m, o: m.CosineAnnealingLR(o, 30, eta_min=0.01),
    ],
    "CosineAnnealingWarmRestarts": [
        lambda m, o: m.CosineAnnealingWarmRestarts(o, 30),
        lambda m, o: m.CosineAnnealingWarmRestarts(o, 10, T_mult=2, eta_min=0.01),
    ],
    "CyclicLR": [
        lambda m, o: m.CyclicLR(o, base_lr=0.01, max_lr=BASE, step_size_up=20),
        lambda m, o: m.CyclicLR(o, 0.01, BASE, step_size_up=7, step_size_down=16, mode="triangular2"),
        lambda m, o: m.CyclicLR(o, 0.01, BASE, step_size_up=20, mode="exp_range", gamma=0.99),
        lambda m, o: m.CyclicLR(o, 0.01, BASE, step_size_up=20, scale_fn=lambda cycle: 1 / cycle),
    ],
    "OneCycleLR": [
        lambda m, o: m.OneCycleLR(o, max_lr=BASE, total_steps=CALLS + 1),
        lambda m, o: m.OneCycleLR(o, BASE, total_steps=250, pct_start=0.2, anneal_strategy="linear"),
        lambda m, o: m.OneCycleLR(o, BASE, epochs=30, steps_per_epoch=7, three_phase=True),
    ],
    "SequentialLR": [
        lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, total_iters=20), m.CosineAnnealingLR(o, 180)], [20]),
        lambda m, o: m.SequentialLR(
            o, [m.ConstantLR(o, 0.2, 30), m.ExponentialLR(o, 0.95), m.StepLR(o, 9, 0.5)], milestones=[15, 90]
        ),
    ],
    "ChainedScheduler": [
        lambda m, o: m.ChainedScheduler([m.LinearLR(o, 0.1, total_iters=20), m.ExponentialLR(o, 0.98)]),
        lambda m, o: m.ChainedScheduler([m.CosineAnnealingLR(o, 60, eta_min=0.01), m.StepLR(o, 50, 0.5)]),
    ],
    "ReduceLROnPlateau": [
        lambda m, o: m.ReduceLROnPlateau(o, patience=3, factor=0.5),
        lambda m, o: m.ReduceLROnPlateau(o, "max", 0.3, 5, 0.1, "abs", cooldown=4, min_lr=1e-3),
    ],
}

_N = {"num_warmup_steps": 20, "num_training_steps": CALLS + 1}
TRANSFORMERS: dict[str, list[dict[str, Any]]] = {
    "linear": [_N, {**_N, "num_warmup_steps": 0}, {**_N, "num_warmup_steps": 300}],
    "cosine": [_N, {**_N, "num_cycles": 2.5}, {**_N, "num_cycles": 0.3}],
    "cosine_with_restarts": [_N, {**_N, "num_warmup_steps": 21, "num_cycles": 3}, {**_N, "num_cycles": 4}],
    "polynomial": [_N, {**_N, "lr_end": 1e-3, "power": 2.0}],
    "constant": [{}],
    "constant_with_warmup": [{"num_warmup_steps": 20}, {"num_warmup_steps": 0}],
    "inverse_sqrt": [{"num_warmup_steps": 20}, {"num_warmup_steps": 20, "timescale": 70}, {"num_warmup_steps": 0}],
    "reduce_lr_on_plateau": [{}, {"mode": "max", "patience": 3, "factor": 0.5, "min_lr": 1e-3}],
    "cosine_with_min_lr": [{**_N, "min_lr": 1e-3}, {**_N, "min_lr_rate": 0.1, "num_cycles": 0.7}],
    "cosine_warmup_with_min_lr": [
        {**_N, "min_lr": 1e-3},
        {**_N, "min_lr_rate": 0.1, "warmup_lr_rate": 0.2},
        {**_N, "num_warmup_steps": 1, "min_lr_rate": 0.1, "warmup_lr_rate": 0.2},
        {**_N, "num_warmup_steps": 0, "min_lr_rate": 0.1},
    ],
    "warmup_stable_decay": [
        {**_N, "num_decay_steps": 50},
        {**_N, "num_decay_steps": 50, "warmup_type": "cosine", "decay_type": "linear", "min_lr_ratio": 0.1},
        {"num_warmup_steps": 10, "num_stable_steps": 60, "num_decay_steps": 90, "warmup_type": "1-sqrt",
         "decay_type": "1-sqrt", "min_lr_ratio": 0.1},
        {**_N, "num_decay_steps": 90, "num_cycles": 1.3},
    ],
    "greedy": [
        {"lr": BASE, "patience": 2, "min_lr": 0.01, "max_lr": 0.5},
        {"lr": BASE, "patience": 1, "factor": 0.8, "smooth": True, "window_size": 5, "cooldown": 3, "warmup": 2},
        {"lr": BASE, "patience": 0, "factor": 0.5, "min_lr": 0.02, "mode": "max", "threshold_mode": "rel"},
    ],
}  # fmt: skip  # more to a line reads better


@dataclass(frozen=True)
class Row:
    """One scheduler: the plan of its first argument set, and the largest differences over all of them."""

    name: str
    sets: int
    plan: str
    imported: float
    drop_in: float | None = None


def optimizer() -> torch.optim.Optimizer:
    """One group at the base."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=BASE, momentum=0.9)


def walk(bound: torch.optim.Optimizer, scheduler: Any, *, metrics: bool) -> np.ndarray:
    """The rates after 0 to CALLS calls of step()."""
    rates = [bound.param_groups[0]["lr"]]
    for metric in METRICS:
        bound.step()
        scheduler.step(metric) if metrics else scheduler.step()
        rates.append(bound.param_groups[0]["lr"])
    return np.array(rates, dtype=np.float64)


def evaluate(plan: lrkit.Plan, base: float) -> np.ndarray:
    """The plan's rates at the same calls."""
    if isinstance(plan, lrkit.Schedule):
        return plan(np.arange(CALLS + 1), base)
    state = plan.init()
    rates = [plan.value(state, 0, base)]
    for t, metric in enumerate(METRICS, start=1):
        state = plan.update(state, metric, t)
        rates.append(plan.value(state, t, base))
    return np.array(rates)


def torch_rows() -> list[Row]:
    """Each of torch's schedulers, imported, and under its name in lrkit.torch_names."""
    rows = []
    for name, sets in TORCH.items():
        plans, imported, drop_in = [], [], []
        for build in sets:
            live = optimizer()
            scheduler = build(lr_scheduler, live)
            plans.append(lrkit.from_torch(scheduler, CALLS))
            base = live.param_groups[0].get("initial_lr", BASE)
            metrics = name == "ReduceLROnPlateau"
            theirs = walk(live, scheduler, metrics=metrics)
            imported.append(np.abs(evaluate(plans[-1], base) - theirs).max())
            if hasattr(torch_names, name):
                live = optimizer()
                drop_in.append(np.abs(walk(live, build(torch_names, live), metrics=metrics) - theirs).max())
        rows.append(Row(name, len(sets), str(plans[0]), max(imported), max(drop_in) if drop_in else None))
    return rows


def transformers_rows() -> list[Row]:
    """Each of transformers' names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what transformers' modules warn of when they are imported
        from transformers import get_scheduler
    rows = []
    for name, sets in TRANSFORMERS.items():
        plans, differences = [], []
        for arguments in sets:
            live = optimizer()
            common = {key: value for key, value in arguments.items() if key in _N}
            specific = {key: value for key, value in arguments.items() if key not in {*_N, "lr"}}
            scheduler = get_scheduler(name, live, **common, scheduler_specific_kwargs=specific)
            plans.append(lrkit.from_transformers(name, **arguments))
            theirs = walk(live, scheduler, metrics=isinstance(plans[-1], lrkit.Controller))
            differences.append(np.abs(evaluate(plans[-1], BASE) - theirs).max())
        rows.append(Row(name, len(sets), str(plans[0]), max(differences)))
    return rows


def page() -> str:
    """docs/parity.md."""
    lines = [
        "# Parity",
        "",
        f"The largest absolute difference between lrkit's rates and the other library's over {CALLS} calls of `step()`",
        f"at a rate of {BASE}, over several argument sets. `python tools/parity.py` measures it and writes this page;",
        "a test holds every row below 1e-12. What the columns mean stands in [Importing](importing.md).",
        "",
        "## torch",
        "",
        "| scheduler | argument sets | imported, for the first of them | `from_torch` | `torch_names` |",
        "|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.sets} | `{r.plan}` | {r.imported:.1e} | {_show(r.drop_in)} |"
            for r in torch_rows()
        ),
        "",
        "## transformers",
        "",
        "| name | argument sets | imported, for the first of them | `from_transformers` |",
        "|---|---|---|---|",
        *(f"| {r.name} | {r.sets} | `{r.plan}` | {r.imported:.1e} |" for r in transformers_rows()),
    ]  # fmt: skip  # more to a line reads better
    return "\n".join(lines) + "\n"


def _show(difference: float | None) -> str:
    return "" if difference is None else f"{difference:.1e}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)

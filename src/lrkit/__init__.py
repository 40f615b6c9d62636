"""lrkit: the learning-rate toolkit for PyTorch.

>>> import lrkit
>>> schedule = (lrkit.warmup("5%") >> lrkit.linear(to=0)).over(1000)
>>> schedule(0, base=0.1), schedule(50, base=0.1), schedule(1000, base=0.1)
(0.002, 0.1, 0.0)
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each public name lives. Nothing is imported before it is asked for: `import lrkit` loads neither torch nor
# a plotting library. `__init__.pyi` is the same list for type checkers.
_HOMES = {
    "lrkit.schedules": [
        "Absolute", "Controller", "Horizon", "InputError", "InputTypeError", "Length", "Plan", "Plans", "Schedule",
        "ScheduleWarning", "Target", "absolute", "budgeted", "clip", "constant", "cooldown", "cosine",
        "cosine_restarts", "every", "exponential", "from_callable", "from_json", "greedy", "hyperbolic", "infinite",
        "inverse_sqrt", "inverse_time", "linear", "linear_to_zero", "milestones", "noam", "noise", "one_cycle",
        "one_cycle_momentum", "parse", "piecewise", "plateau", "polynomial", "power", "product", "radam_warmup",
        "repeat", "rex", "sequence", "shift", "staircase", "table", "tanh", "to_json", "triangular",
        "triangular_momentum", "untuned_warmup", "warmup", "warmup_cosine", "wsd",
    ],
    "lrkit.schedules.transformers_names": ["from_transformers"],
    "lrkit.training.averaging": ["measuring"],
    "lrkit.training.binding": ["bind"],
    "lrkit.training.history": ["Divergence", "EpochRecord", "History", "best_epoch"],
    "lrkit.training.holdout": ["hold_out"],
    "lrkit.training.importers": ["from_torch"],
    "lrkit.training.lanes.folder": ["LanesFolder"],
    "lrkit.training.lanes.lane": ["Lane"],
    "lrkit.training.lanes.loop": ["run_lanes"],
    "lrkit.training.lanes.observer": ["LanesObserver", "LanesSetup"],
    "lrkit.training.lanes.processes": ["WorkerDiedError"],
    "lrkit.training.lanes.update": ["UnbatchableError"],
    "lrkit.training.loop": ["DivergedError", "StoppedError", "run"],
    "lrkit.training.observer": ["Observer", "Setup"],
    "lrkit.training.ranks": ["ProcessLostError"],
    "lrkit.training.record_folder": ["save_history"],
    "lrkit.training.recorder": ["Recorder"],
    "lrkit.training.records.own_csv": ["write_csv"],
    "lrkit.training.records.reading": ["read_histories", "read_history"],
    "lrkit.training.records.tensorboard_events": ["write_tensorboard"],
    "lrkit.training.records.tensorboard_observer": ["TensorBoard"],
    "lrkit.training.run_folder": ["RunFolder"],
    "lrkit.training.scheduler": ["BoundController", "BoundSchedule", "Scheduler"],
    "lrkit.training.task": ["Task", "accuracy"],
    "lrkit.analysis.best_schedule": ["BestSchedule"],
    "lrkit.analysis.budgets": ["cooldown_lengths", "more_steps"],
    "lrkit.analysis.comparison": ["Candidate", "Comparison", "NothingEndedError"],
    "lrkit.analysis.comparisons": ["compare_histories"],
    "lrkit.analysis.curves": ["Curve"],
    "lrkit.analysis.descents": ["Reason"],
    "lrkit.analysis.finder": ["find", "find_task"],
    "lrkit.analysis.finding": ["Finding"],
    "lrkit.analysis.laws.curve": ["LossCurve"],
    "lrkit.analysis.laws.fitted": ["FittedLaw"],
    "lrkit.analysis.laws.fitting": ["fit_law"],
    "lrkit.analysis.laws.recorded_curves": ["loss_curve"],
    "lrkit.analysis.prediction": ["Forecast", "Prediction", "Proposal"],
    "lrkit.analysis.predictions": ["predict"],
    "lrkit.analysis.optimisation": ["best_schedule"],
    "lrkit.analysis.suggestions": ["Estimate", "Suggestion", "suggest"],
    "lrkit.analysis.summary": ["reductions"],
    "lrkit.analysis.tournament": ["Stage", "compare"],
    "lrkit.output.plots": ["plot"],
}  # fmt: skip  # more to a line reads better
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 (strings all, made from the list above)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lrkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

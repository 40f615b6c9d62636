"""trainer_state.json, in which transformers' Trainer keeps what it logged."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.records.series import Log, Series

__all__ = ["STATE", "find_trainer_state", "read_trainer_state"]

STATE = "trainer_state.json"
_NOTE = (
    "the rates of a plan that was bound to the optimizer (optimizers=) are one update late; lr_ahead=True moves them"
)
_TOTAL = ("train_loss", "train_runtime", "total_flos", "train_samples_per_second", "train_steps_per_second")


def find_trainer_state(folder: Path) -> Path | None:
    """The state in a folder, else in its newest checkpoint; None where there is none."""
    if (folder / STATE).is_file():
        return folder / STATE
    found = [
        (int(number[1]), path)
        for path in folder.glob(f"checkpoint-*/{STATE}")
        if (number := re.fullmatch(r"checkpoint-(\d+)", path.parent.name))
    ]
    return max(found)[1] if found else None


def read_trainer_state(path: Path) -> Log:
    """What was logged: a `step` is the number of updates done, a loss the mean over those since the one before.

    Raises:
        InputError: for what isn't such a file.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        entries, done = state["log_history"], int(state["global_step"])
        columns: dict[str, list[tuple[int, float, int]]] = defaultdict(list)
        for order, entry in enumerate(entries):
            step = int(entry["step"])
            for name, value in entry.items():
                if name != "step" and name not in _TOTAL and (number := _number(value)) is not None:
                    columns[name].append((step, number, order))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{path} can't be read as the state of transformers' Trainer: {why}") from None
    series = {name: _series(points) for name, points in columns.items()}
    return Log(
        str(path),
        "transformers trainer_state.json",
        series,
        first_step=1,
        updates=done,
        lr_ahead=_is_ahead(state, series),
        windows=True,
        lr_note=_NOTE,
        made={"trainer": "transformers"},
    )


def _series(points: list[tuple[int, float, int]]) -> Series:
    steps, values, orders = (np.array(part) for part in zip(*points, strict=True))
    return Series(steps.astype(np.int64), values.astype(np.float64), orders.astype(np.float64))


def _number(value: Any) -> float | None:
    """A number, also where it is written as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:  # words
        return None


def _is_ahead(state: dict[str, Any], series: dict[str, Series]) -> bool:
    """Whether the rates are those of the update after: the last update has none, a schedule's end has."""
    rates = series.get("learning_rate")
    if rates is None or int(rates.steps[-1]) != state.get("max_steps"):
        return False
    return float(rates.values[-1]) == 0.0

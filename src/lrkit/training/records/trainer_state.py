"""What transformers' Trainer logs: in trainer_state.json, or its `log_history` saved as a table or as lines."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError
from lrkit.training.records.series import Log, Series

__all__ = ["STATE", "as_transformers", "find_trainer_state", "is_transformers"]

STATE = "trainer_state.json"
_NOTE = (
    "the record doesn't show whether rates are those that were used or the next update's, as transformers before 4.51 "
    "and schedulers given as optimizers= log them (lr_ahead moves those)"
)
_TOTAL = {"train_loss", "train_runtime", "total_flos", "train_samples_per_second", "train_steps_per_second"}
_OWN = {*_TOTAL, "grad_norm", "eval_runtime", "eval_loss", "eval_samples_per_second", "num_input_tokens_seen"}
_RATE, _BEFORE = "learning_rate", (4, 51)  # since that version the rate that was used is logged
_CLOCKS = ("step", "train/global_step", None)
_ON_COSINE, _LONGEST_WARMUP, _EXACT = 40, 20_000, 1e-9  # rates that are looked at, updates, and of the highest rate
_NEAR = 0.25  # updates: a line that meets zero so near to one is meant to


def find_trainer_state(folder: Path) -> Path | None:
    """The state in a folder, else in its newest checkpoint; None where there is none."""
    if (folder / STATE).is_file():
        return folder / STATE
    found = [
        (int(number[1]), path)
        for path in folder.glob(f"checkpoint-*/{STATE}")
        if (number := re.fullmatch(r"checkpoint-(\d{1,18})", path.parent.name))
    ]
    return max(found)[1] if found else None


def is_transformers(log: Log) -> bool:
    """Whether rows are those of a `log_history`, or events or a table of wandb made of one, by their names."""
    prefix = _prefix(log)
    if prefix is None or log.clock not in (*_CLOCKS, "epoch") or (log.clock == "epoch" and log.in_epochs):
        return False
    own = {prefix + name for name in _OWN} | {"eval/runtime"}
    epochs = log.series.get(f"{prefix}epoch")
    fractions = _by_progress(log) or (epochs is not None and bool((epochs.values % 1).any()))
    return (bool(own & log.series.keys()) or fractions) and all(
        int(each.steps.min()) >= 1 for each in log.series.values()
    )


def _prefix(log: Log) -> str | None:
    """What stands before the names of training, "train/" in events and wandb's tables; None for other names."""
    for prefix in ("", "train/"):
        names = {f"{prefix}loss", prefix + _RATE, *([] if _by_progress(log) else [f"{prefix}epoch"])}
        if names <= log.series.keys():
            return prefix
    return None


def _by_progress(log: Log) -> bool:
    """Whether steps were made of fractions of epochs, as the console has them: they are rounded."""
    return log.clock == "epoch" and not log.in_epochs


def as_transformers(log: Log, state: Mapping[str, Any], folder: Path) -> Log:
    """With what is known of them: a `step` is the number of updates done, a loss the mean since the one before.

    Args:
        log: of the rows.
        state: what stands beside them in trainer_state.json; empty for a table.
        folder: where the record is; a config.json there has the version.

    Raises:
        InputError: for a state that isn't one.
    """
    prefix = _prefix(log) or ""
    done = _count(log, state, "global_step")
    planned = _count(log, state, "max_steps")
    totals = [log.series[prefix + name] for name in ("train_runtime", "train_loss") if prefix + name in log.series]
    end = planned or (int(totals[0].steps[-1]) if totals else None)
    rates = log.series.get(prefix + _RATE)
    ahead = None if rates is None else _ahead(rates, end, exact=not _by_progress(log))
    if ahead is None and (version := _version(folder)) is not None:
        ahead = version < _BEFORE
    said = () if not ahead else ("rates are those of the next update, as the record shows: they are moved to it",)
    return dataclasses.replace(
        log,
        series={name: each for name, each in log.series.items() if name.removeprefix(prefix) not in _TOTAL},
        first_step=1,
        updates=done,
        windows=True,
        lr_ahead=bool(ahead),
        lr_note=None if ahead is not None or rates is None or _constant(rates) else _NOTE,
        made={**log.made, "trainer": "transformers"},
        said=(*log.said, *said),
    )


def _count(log: Log, state: Mapping[str, Any], name: str) -> int | None:
    if name not in state:
        return None
    found = state[name]
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise InputError(f"{log.path} can't be read as the state of transformers' Trainer: {name} is no whole number")
    return found or None


def _version(folder: Path) -> tuple[int, int] | None:
    """Of transformers, as a checkpoint's configuration has it."""
    try:
        text = json.loads((folder / "config.json").read_text(encoding="utf-8"))["transformers_version"]
        found = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return (int(found[1]), int(found[2])) if found else None


# --- whose rates they are ----------------------------------------------------------------------------


def _constant(rates: Series) -> bool:
    return len(rates) > 1 and bool((rates.values == rates.values[0]).all())


def _ahead(rates: Series, end: int | None, *, exact: bool) -> bool | None:
    """Whether rates are those of the update after; None where they don't show it.

    Trainer's schedules rise from 0 at the first update and end at 0 after the last: a line through rates of the
    warmup, or of a linear decay, or the last row says how far off they are.
    """
    place = np.argsort(rates.orders, kind="stable")
    steps, values = rates.steps[place].astype(np.float64), rates.values[place]
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        return None
    last = int(steps[-1])
    if values[-1] == 0 and last == (last if end is None else end) and values.any():
        return True
    for rising, expected in ((True, 0), (False, end)) if exact else ():
        found = _zero_of_line(steps, values, rising=rising)
        if found is not None and expected is not None:
            for by in (0, 1):
                if abs(found - expected - by) < _NEAR:
                    return by == 0
    return _ahead_on_cosine(steps, values, end) if exact and end is not None else None


def _ahead_on_cosine(steps: NDArray[np.float64], values: NDArray[np.float64], end: int) -> bool | None:
    """Whether rates after the peak are those of the update after, by the half cosine that they lie on.

    Of n updates w are warmup, and update k has the peak times (1 + cos(pi (k - w) / (n - w))) / 2: where a rate is that
    of the update before its step or of the one after, another denominator gives another curve.
    """
    begin = int(np.argmax(values)) + 1
    if begin >= len(steps):
        return None
    chosen = np.unique(np.linspace(begin, len(steps) - 1, _ON_COSINE).astype(int))
    if len(chosen) < 4 or steps[-1] > end:
        return None
    steps, values = steps[chosen], values[chosen]
    warmups = np.arange(min(int(steps[0]), _LONGEST_WARMUP))[:, None]
    apart = []
    for by in (0, 1):
        shape = (1 + np.cos(np.pi * np.clip((steps - by - warmups) / np.maximum(end - warmups, 1), 0, 1))) / 2
        peak = (shape * values).sum(axis=1) / (shape * shape).sum(axis=1)
        apart.append(float(np.abs(values - peak[:, None] * shape).max(axis=1).min() / values.max()))
    on = [each < _EXACT for each in apart]
    return on[0] if on[0] != on[1] and max(apart) > 100 * _EXACT else None


def _zero_of_line(steps: NDArray[np.float64], values: NDArray[np.float64], *, rising: bool) -> float | None:
    """Where the line through the first rising rates, or through all that fall, is zero; None where they are on none."""
    if rising:
        until = int(np.argmax(np.append(np.diff(values) <= 0, True))) + 1
        steps, values = steps[:until], values[:until]
        if len(values) > 2 and not _on_line(steps, values):
            steps, values = steps[:-1], values[:-1]  # the last may be past the peak
    else:
        begin = int(np.argmax(values)) + 1
        steps, values = steps[begin:], values[begin:]
    if len(values) < (2 if rising else 3) or not _on_line(steps, values):
        return None
    slope = (values[-1] - values[0]) / (steps[-1] - steps[0])
    return None if slope == 0 else float(steps[0] - values[0] / slope)


def _on_line(steps: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    line = np.interp(steps, [steps[0], steps[-1]], [values[0], values[-1]])
    return bool(np.allclose(values, line, rtol=1e-4, atol=1e-6 * np.abs(values).max()))

"""lrkit's own tags in events of TensorBoard: what they are called, and the history that they say, without a guess."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.history import EpochRecord, History
from lrkit.training.records.points import latest, restarts_of
from lrkit.training.records.series import Log, Series

__all__ = ["EPOCH_LOSS", "LOSS", "rate_tag", "read_own_events", "tags_of_epoch"]

LOSS, EPOCH_LOSS = "train/loss", "train/loss_epoch"
_VALID, _TEST = "valid/", "test/"


def rate_tag(group: int) -> str:
    """What the rate of a param group is called.

    >>> rate_tag(0), rate_tag(1)
    ('lr', 'lr/1')
    """
    return f"lr/{group}" if group else "lr"


def tags_of_epoch(record: EpochRecord) -> dict[str, float]:
    """What is written at the last update of an epoch.

    >>> tags_of_epoch(EpochRecord(1, 2, 0.75, 0.5, {"F1": 0.9}, lr=0.1, seconds=1.0))
    {'train/loss_epoch': 0.75, 'valid/loss': 0.5, 'valid/F1': 0.9}
    """
    found = {EPOCH_LOSS: record.train_loss, f"{_VALID}loss": record.valid_loss}
    found |= {f"{_VALID}{name}": value for name, value in record.metrics.items()}
    found |= {f"{_TEST}loss": record.test_loss}
    found |= {f"{_TEST}{name}": value for name, value in record.test_metrics.items()}
    return {tag: value for tag, value in found.items() if value is not None}


def read_own_events(log: Log) -> History:
    """The history that was written, in single precision; its epochs' seconds follow from the times of events.

    Raises:
        InputError: where a series is missing, or has gaps.
    """
    groups = sum(1 for name in log.series if name == "lr" or name.startswith("lr/"))
    rates = [rate_tag(group) for group in range(groups)]
    wanted = [LOSS, EPOCH_LOSS, *rates]
    if missing := next((name for name in [*wanted, "lr"] if name not in log.series), None):
        raise InputError(f"{log.path} has events of lrkit, and {missing} isn't among them")
    training = [log.series[name] for name in (LOSS, *rates)]
    series = {name: latest(each, restarts_of(each, training)) for name, each in log.series.items()}
    ends = [int(step) + 1 for step in series[EPOCH_LOSS].steps]
    updates = [series[name].kept(series[name].steps < ends[-1]) for name in (LOSS, *rates)]
    for name, each in zip((LOSS, *rates), updates, strict=True):
        if not np.array_equal(each.steps, np.arange(ends[-1])):
            raise InputError(f"{log.path} has events of lrkit, and {name} isn't there for each of {ends[-1]} updates")
    lrs = np.stack([each.values for each in updates[1:]], axis=1)
    losses = updates[0].values.astype(np.float32)
    epochs = [_epoch(number, ends, series, float(lrs[end - 1, 0])) for number, end in enumerate(ends)]
    found = {"lr": float(lrs.max()), "steps": len(losses), "epochs": len(epochs), "imported": _how(log, rates)}
    return History(tuple(epochs), lrs, losses, {**found, **log.made})  # what was imported and then exported says so


def _epoch(number: int, ends: Sequence[int], series: Mapping[str, Series], lr: float) -> EpochRecord:
    end = ends[number]
    values = {name: float(value) for name, each in series.items() for value in each.values[each.steps == end - 1]}
    valid, test = (
        {name.removeprefix(side): value for name, value in values.items() if name.startswith(side)}
        for side in (_VALID, _TEST)
    )
    return EpochRecord(
        epoch=number + 1,
        step=end,
        train_loss=values[EPOCH_LOSS],
        valid_loss=valid.pop("loss", None),
        metrics=valid,
        lr=lr,
        seconds=_seconds(series[LOSS], ends[number - 1] if number else 0, end),
        test_loss=test.pop("loss", None),
        test_metrics=test,
    )


def _seconds(losses: Series, begin: int, end: int) -> float:
    """Between two updates; the first has no event before it, so an epoch is as long as its other updates say."""
    times = losses.times
    if times is None:
        return 0.0
    if begin:
        return float(times[end - 1] - times[begin - 1])
    return float((times[end - 1] - times[0]) * end / (end - 1)) if end > 1 else 0.0


def _how(log: Log, rates: Sequence[str]) -> dict[str, Any]:
    """What was read, as for records of others."""
    sides = {
        side: {name.removeprefix(side): name for name in log.series if name.startswith(side)}
        for side in (_VALID, _TEST)
    }
    valid, test = sides[_VALID], sides[_TEST]
    names = {"loss": LOSS, "lr": list(rates), "valid_loss": valid.pop("loss", None), "metrics": valid}
    names |= {"test_loss": test.pop("loss", None), "test_metrics": test}
    return {
        "from": log.path,
        "format": log.format,
        "names": names,
        "points": {name: len(each) for name, each in log.series.items()},
        "filled_in": dict.fromkeys((LOSS, *rates), 0),
        "between": "linear",
        "first_step": 0,
        "epoch_steps": None,
        "lr_ahead": False,
        "left_out_at_the_end": 0,
    }

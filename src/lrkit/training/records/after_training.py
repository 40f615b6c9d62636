"""What was written after training, of `validate()`, `test()` or a last `evaluate()`: it is no update and no epoch."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lrkit.training.records.series import Log, Series
from lrkit.training.records.words import counts_epochs, side_in, words_of

__all__ = ["without_what_follows", "without_what_lightning_adds"]


def without_what_follows(log: Log) -> Log:
    """Without points after the row of totals that transformers' Trainer logs when training has ended."""
    totals = [each for name, each in log.series.items() if words_of(name)[-2:] == ("train", "runtime")]
    if not totals:
        return log
    end = max(float(each.orders.max()) for each in totals)
    late = {name: each.orders > end for name, each in log.series.items()}
    if any(late[name].any() for name in log.series if side_in(name) is None and not counts_epochs(name)):
        return log  # training has gone on
    return _moved(log, late)


def without_what_lightning_adds(log: Log) -> Log:
    """Without what `validate()` and `test()` wrote: their step is the number of updates done.

    Within `fit` the step is that of the update before, so of two validations right after each other the second is one
    of `validate()`; so is one at step 0 before training has logged anything. `test()` isn't called within `fit`.
    """
    training = [each for name, each in log.series.items() if side_in(name) not in ("valid", "test") and name != "epoch"]
    last = max((int(each.steps.max()) for each in training), default=-1)
    begin = min((float(each.orders.min()) for each in training), default=0.0)
    measured = [each.steps for name, each in log.series.items() if side_in(name) == "valid"]
    validated = np.unique(np.concatenate(measured)) if measured else np.zeros(0, dtype=np.int64)
    after = len(validated) > 1 and validated[-1] == validated[-2] + 1 and validated[-1] > last
    late, early = {}, {}
    for name, each in log.series.items():
        if side_in(name) == "test":
            late[name] = np.ones(len(each), dtype=bool)
        elif side_in(name) == "valid":
            early[name] = (each.steps == 0) & (each.orders < begin) & (len(validated) > 1)
            late[name] = (each.steps == validated[-1]) & after & ~early[name]
    ends = [int(log.series[name].steps[here].max()) for name, here in late.items() if here.any()]
    found = _moved(
        _without(log, early), {name: here[~early[name]] if name in early else here for name, here in late.items()}
    )
    done = max(ends, default=0)
    return dataclasses.replace(found, updates=done) if done > last + 1 else found


def _without(log: Log, early: Mapping[str, NDArray[np.bool_]]) -> Log:
    """Without what was measured before training."""
    before = {name: log.series[name].kept(here) for name, here in early.items() if here.any()}
    if not before:
        return log
    said = f"what was measured before training is left out: {_values(before)}"
    cut = log.cut({name: ~here for name, here in early.items()})
    return dataclasses.replace(cut, before=before, said=(*log.said, said))


def _values(series: Mapping[str, Series]) -> str:
    return ", ".join(f"{name} {each.values[-1]:.6g}" for name, each in list(series.items())[:8])


def _moved(log: Log, late: Mapping[str, NDArray[np.bool_]]) -> Log:
    """With these points among what was written after training."""
    after = {name: log.series[name].kept(here) for name, here in late.items() if name in log.series and here.any()}
    measured = {name: each for name, each in after.items() if not counts_epochs(name)}
    if not measured:
        return log
    said = f"what was measured after training is left out: {_values(measured)}"
    cut = log.cut({name: ~here for name, here in late.items()})
    return dataclasses.replace(cut, after=after, said=(*cut.said, said))

"""What was written after training, of `validate()`, `test()` or a last `evaluate()`: it is no update and no epoch."""

import dataclasses

import numpy as np

from lrkit.training.records.series import Log, Series
from lrkit.training.records.words import counts_epochs, side_in, words_of

__all__ = ["without_what_follows", "without_what_lightning_follows"]


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


def without_what_lightning_follows(log: Log) -> Log:
    """Without what `validate()` and `test()` wrote: their step is the number of updates done.

    Within `fit` the step is that of the update before, so of two validations right after each other the second is one
    of `validate()`. `test()` isn't called within it.
    """
    training = [each for name, each in log.series.items() if side_in(name) not in ("valid", "test") and name != "epoch"]
    last = max((int(each.steps.max()) for each in training), default=-1)
    measured = [each.steps for name, each in log.series.items() if side_in(name) == "valid"]
    validated = np.unique(np.concatenate(measured)) if measured else np.zeros(0, dtype=np.int64)
    after = len(validated) > 1 and validated[-1] == validated[-2] + 1 and validated[-1] > last
    late = {}
    for name, each in log.series.items():
        if side_in(name) == "test":
            late[name] = np.ones(len(each), dtype=bool)
        elif after and side_in(name) == "valid":
            late[name] = each.steps == validated[-1]
    ends = [int(log.series[name].steps[here].max()) for name, here in late.items() if here.any()]
    found = _moved(log, late)
    done = max(ends, default=0)
    return dataclasses.replace(found, updates=done) if done > last + 1 and done > 0 else found


def _moved(log: Log, late: dict[str, "np.ndarray"]) -> Log:
    """With these points among what was written after training."""
    after: dict[str, Series] = {name: log.series[name].kept(here) for name, here in late.items() if here.any()}
    measured = [name for name in after if not counts_epochs(name)]
    if not measured:
        return log
    names = ", ".join(f"{name} {after[name].values[-1]:.6g}" for name in measured[:8])
    said = f"what was measured after training is left out: {names}"
    cut = log.cut({name: ~here for name, here in late.items()})
    return dataclasses.replace(cut, after=after, said=(*cut.said, said))

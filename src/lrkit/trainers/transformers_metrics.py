"""What an evaluation of transformers' Trainer has measured."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

__all__ = ["evaluated"]

_TIMES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def evaluated(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """The numbers that an evaluation measured, without the times that the Trainer puts beside them.

    >>> evaluated({"eval_loss": 0.5, "eval_startup_runtime": 2.0, "eval_runtime": 1.0,
    ...            "eval_samples_per_second": 9.0, "epoch": 1.0})
    {'eval_loss': 0.5, 'eval_startup_runtime': 2.0}
    """
    found = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, Real)}
    ends = [name.removesuffix("samples_per_second") for name in found if name.endswith("samples_per_second")]
    prefix = min(ends, key=len, default="eval_")  # of all names of this evaluation
    return {name: value for name, value in found.items() if name not in {"epoch", *(prefix + each for each in _TIMES)}}

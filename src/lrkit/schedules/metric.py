"""What a controller is told: a number, or several by name; and when one is better than another."""

import math
from collections.abc import Mapping
from typing import Literal, Protocol, SupportsFloat, TypeAlias

from lrkit.schedules.errors import InputTypeError, shown, unknown

__all__ = ["Better", "Metric", "Patience", "Relation", "as_metric", "improves", "judge", "watched"]

Metric: TypeAlias = SupportsFloat | Mapping[str, SupportsFloat | None]
Better: TypeAlias = Literal["min", "max"]
Relation: TypeAlias = Literal["rel", "abs"]

LOSS = "loss"  # the entry that is watched when no other is named


def as_metric(value: object, name: str = "metric") -> float:
    """A number, NaN and infinity included.

    Raises:
        InputTypeError: when it isn't one.
    """
    if not isinstance(value, str | bytes):
        try:
            return float(value)  # type: ignore[arg-type]  # whatever has a float in it, such as a tensor
        except OverflowError:
            return math.inf
        except (TypeError, ValueError, RuntimeError):  # the last is what a tensor of several numbers raises
            pass
    raise InputTypeError(f"{name} must be a number, not {shown(value)}")


def watched(metric: Metric, name: str | None) -> float:
    """The number that a controller looks at: the entry of that name, or the number where it was told a single one.

    Raises:
        InputError: when there is no such entry.

    >>> watched({"loss": 0.4, "accuracy": 0.9}, "accuracy"), watched(0.4, "accuracy")
    (0.9, 0.4)
    """
    if type(metric) is float:  # what is common is quick
        return metric
    if not isinstance(metric, Mapping):
        return as_metric(metric)
    wanted = LOSS if name is None else name
    if wanted not in metric:
        raise unknown("metric", wanted, map(str, metric))
    return as_metric(metric[wanted], f"metric {shown(wanted)}")


def improves(metric: float, best: float | None, mode: Better, threshold: float, threshold_mode: Relation) -> bool:
    """Whether a report is better than the best one by more than the threshold.

    metric < best - threshold · abs(best) for "rel", metric < best - threshold for "abs"; mirrored for mode "max".

    What isn't finite is never better. The margin is taken from abs(best), so that it is right for negative metrics.

    >>> improves(-1.0, -1.0, "min", 0.1, "rel"), improves(-1.2, -1.0, "min", 0.1, "rel")
    (False, True)
    """
    if not math.isfinite(metric) or best is None:
        return math.isfinite(metric)
    margin = threshold * abs(best) if threshold_mode == "rel" else threshold
    return metric < best - margin if mode == "min" else metric > best + margin


class Patience(Protocol):
    """What says when a metric has stalled: a plateau, or torch's scheduler, which has the same names."""

    @property
    def mode(self) -> Better:
        """Which way is better."""

    @property
    def threshold(self) -> float:
        """By how much a better report is better."""

    @property
    def threshold_mode(self) -> Relation:
        """What the threshold is relative to."""

    @property
    def patience(self) -> int:
        """How many bad reports in a row are tolerated."""

    @property
    def cooldown(self) -> int:
        """How many reports can't be bad after it has stalled."""


def judge(
    rule: Patience, metric: float, best: float | None, bad: int, cooldown: int
) -> tuple[float | None, int, int, bool]:
    """After a report: the best one, the bad ones in a row, what is left of the cooldown, and whether it has stalled."""
    if improves(metric, best, rule.mode, rule.threshold, rule.threshold_mode):
        best, bad = metric, 0
    else:
        bad += 1
    if cooldown > 0:
        cooldown, bad = cooldown - 1, 0
    if bad > rule.patience:
        return best, 0, rule.cooldown, True
    return best, bad, cooldown, False

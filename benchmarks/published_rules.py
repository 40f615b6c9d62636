"""How other libraries read a learning rate off a range test: their published rules, written anew.

A rule here is a library's whole way from the losses of the updates to its suggestion, with its defaults: it smooths as
the updates come in, so that the curve lags; it ends the test where the smoothed loss is so many times its best; it
leaves out points at both ends; then it looks for a place.

| library | smoothing | ends at | leaves out | place |
|---|---|---|---|---|
| fastai 2 | 0.98 of the average, corrected at the start | 4 · best | a tenth, 5 | valley, slide, minimum / 10, steep |
| Lightning from 2.5.3 on | 0.98 of the average, corrected one step too far | 4 · best | 10, 1 | lowest dL/d rate |
| Lightning before | the same | 4 · best | 10, 1 | lowest difference by index |
| torch-lr-finder 0.2 | 0.95 of the average | 5 · best | 10, 5 | lowest difference by index |
| ignite 0.5 | 0.95 of the average | 5 · best | all after the minimum | lowest difference by index |
"""

from collections.abc import Callable, Mapping

import numpy as np

from lrkit.analysis.curves import Array
from lrkit.analysis.finder_rules import longest_fall

__all__ = ["PUBLISHED"]


def _averaged(losses: Array, keep: float, *, counted: int | None, ends_at: float) -> Array:
    """What the library records: averages of what came before, up to where they are `ends_at` times the best.

    `counted` steps are taken to lie behind the first average when its beginning at 0 is corrected; with None the first
    loss is where it begins.
    """
    average, best, found = 0.0, np.inf, []
    for step, loss in enumerate(losses):
        average = loss if step == 0 and counted is None else keep * average + (1 - keep) * loss
        recorded = average if counted is None else average / (1 - keep ** (step + counted))
        best = min(best, recorded)
        found.append(recorded)
        if recorded > ends_at * best:
            break
    return np.array(found)


def _fastai(place: Callable[[Array, Array], float | None]) -> Callable[[Array, Array], float | None]:
    def rule(rates: Array, losses: Array) -> float | None:
        recorded = _averaged(losses, 0.98, counted=1, ends_at=4.0)
        kept = slice(len(rates) // 10, len(recorded) - 5)
        rates, losses = rates[kept], recorded[kept]
        lost = np.flatnonzero(np.isnan(losses))
        if len(lost):
            rates, losses = rates[: lost[0]], losses[: lost[0]]
        return place(rates, losses) if len(losses) > 1 else None

    return rule


def _valley(rates: Array, losses: Array) -> float:
    """Half of the way through the longest falling subsequence, taken to be without gaps and to end where it ends."""
    found = longest_fall(losses.tolist())
    third, last, count = len(found) / 3, found[-1], len(found)
    return float(rates[max(0, last - count) + int(third) + int(third / 2)])


def _slide(rates: Array, losses: Array) -> float | None:
    """Intervals of 15 points slide down from the end until the slopes by index at both ends are within 0.005."""
    slopes = np.gradient(losses)
    right, left = len(losses) - 1, len(losses) - 16
    if left < 0:
        return None
    found = rates[left]
    while left >= 0 and abs(slopes[right] - slopes[left]) > 0.005:
        found = rates[left]
        right, left = right - 1, left - 1
    return float(found)


def _minimum(rates: Array, losses: Array) -> float:
    return float(rates[np.argmin(losses)] / 10)


def _steep(rates: Array, losses: Array) -> float:
    return float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))])


def _lightning(*, by_rate: bool) -> Callable[[Array, Array], float | None]:
    def rule(rates: Array, losses: Array) -> float | None:
        recorded = _averaged(losses, 0.98, counted=2, ends_at=4.0)
        rates, losses = rates[10 : len(recorded) - 1], recorded[10:-1]
        rates, losses = rates[np.isfinite(losses)], losses[np.isfinite(losses)]
        if len(losses) < 2:
            return None
        return float(rates[np.argmin(np.gradient(losses, rates) if by_rate else np.gradient(losses))])

    return rule


def _torch_lr_finder(rates: Array, losses: Array) -> float | None:
    recorded = _averaged(losses, 0.95, counted=None, ends_at=5.0)[10:-5]
    return float(rates[10 + np.argmin(np.gradient(recorded))]) if len(recorded) > 1 else None


def _ignite(rates: Array, losses: Array) -> float | None:
    recorded = _averaged(losses, 0.95, counted=None, ends_at=5.0)
    falling = recorded[: int(np.argmin(recorded)) + 1]
    return float(rates[1 + np.argmin(falling[2:] - falling[:-2])]) if len(falling) > 2 else None


PUBLISHED: Mapping[str, Callable[[Array, Array], float | None]] = {
    "fastai valley": _fastai(_valley),
    "fastai slide": _fastai(_slide),
    "fastai minimum / 10": _fastai(_minimum),
    "fastai steep": _fastai(_steep),
    "Lightning from 2.5.3 on": _lightning(by_rate=True),
    "Lightning before": _lightning(by_rate=False),
    "torch-lr-finder": _torch_lr_finder,
    "ignite": _ignite,
}

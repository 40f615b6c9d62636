"""What of a schedule lies outside of what a law was fitted to, in sentences."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.rate_shape import rises_again, warmup_length, warmup_of

__all__ = ["beyond"]

# The rules have one home, here, and docs/predict.md says them in words.
_PEAK_ABOVE, _PEAK_BELOW = 1.05, 0.5  # times the highest and the lowest peak that were fitted
_NEAR = 3.05  # times the longest run, or the warmups: three times is still near
_RATE_BELOW, _LOW_SHARE = 0.5, 0.01  # times the lowest rate; of the schedule's steps that must be there
_ALMOST = 1e-3  # of the peak: a rate that is lower is as good as 0
_WARMUP_SHARE = 0.01  # of a schedule's steps: a warmup that is shorter is as good as none


def beyond(rates: NDArray[np.float64], curves: Sequence[LossCurve]) -> tuple[str, ...]:
    """What the fit hasn't seen, a sentence for each; none where a schedule is like the runs that were fitted.

    Args:
        rates: shape (updates,), of the schedule that is asked about.
        curves: what the law was fitted to.

    >>> seen = LossCurve(np.array([50, 100]), np.array([2.0, 1.5]), np.full(100, 0.1))
    >>> beyond(np.full(200, 0.1), [seen])
    ()

    A higher or a much lower peak, and a longer run.

    >>> beyond(np.full(320, 0.3), [seen])
    ("Its peak rate is 3 times the highest that was fitted; laws don't know where training diverges.",
     'It has 3.2 times the steps of the longest run.')
    >>> beyond(np.full(100, 0.04), [seen])[0]
    'Its peak rate is 0.4 times the lowest peak that was fitted.'

    Rates below those that were fitted, a warmup where there was none, and rates that rise again.

    >>> beyond(np.linspace(0.1, 0, 100), [seen])
    ('Its rate falls to 0; the lowest that was fitted is 0.1.',)
    >>> beyond(np.concatenate([np.linspace(0, 0.1, 20), np.full(80, 0.1)]), [seen])
    ('It has a warmup; no run that was fitted has one.',)
    >>> beyond(np.tile([0.1, 0.08], 50), [seen])
    ('Its rate rises again after the warmup; that of no run that was fitted does.',)
    """
    return (*_peak(rates, curves), *_length(rates, curves), *_lowest(rates, curves), *_start(rates, curves))


def _peak(rates: NDArray[np.float64], curves: Sequence[LossCurve]) -> Iterator[str]:
    peak, peaks = float(rates.max()), [each.peak for each in curves]
    if peak > _PEAK_ABOVE * max(peaks):
        times = _times(peak / max(peaks))
        yield f"Its peak rate is {times} the highest that was fitted; laws don't know where training diverges."
    elif peak < _PEAK_BELOW * min(peaks):
        yield f"Its peak rate is {_times(peak / min(peaks))} the lowest peak that was fitted."


def _length(rates: NDArray[np.float64], curves: Sequence[LossCurve]) -> Iterator[str]:
    longest, first = max(int(each.steps[-1]) for each in curves), min(int(each.steps[0]) for each in curves)
    if len(rates) > _NEAR * longest:
        yield f"It has {_times(len(rates) / longest)} the steps of the longest run."
    elif len(rates) < first:
        yield f"It ends after {len(rates)} steps; the first loss that was fitted is that after {first}."


def _lowest(rates: NDArray[np.float64], curves: Sequence[LossCurve]) -> Iterator[str]:
    seen = min(float(_after_warmup(each.learning_rates[: each.steps[-1]]).min()) for each in curves)
    below = _after_warmup(rates)
    if np.sum(below < _RATE_BELOW * seen) > _LOW_SHARE * len(rates):
        lowest = float(below.min())
        near = lowest < float(rates.max()) * max(_ALMOST, 2 / len(rates))  # as where one more step would reach it
        shown = "almost 0" if near and lowest else f"{lowest:.3g}"
        yield f"Its rate falls to {shown}; the lowest that was fitted is {seen:.3g}."


def _start(rates: NDArray[np.float64], curves: Sequence[LossCurve]) -> Iterator[str]:
    own, little = warmup_length(rates), max(1.0, _WARMUP_SHARE * len(rates))
    seen = [warmup_length(each.learning_rates) for each in curves]
    if max(seen) <= 1:
        if own > little:
            yield "It has a warmup; no run that was fitted has one."
    elif own <= 1:
        if min(seen) > 1:
            yield "It has no warmup; all runs that were fitted have one."
    elif own > max(_NEAR * max(seen), little):
        yield f"Its warmup is {_times(own / max(seen))} as long as the longest that was fitted."
    elif own < min(seen) / _NEAR:
        yield f"Its warmup is {_times(own / min(seen))} as long as the shortest that was fitted."
    if _rises(rates) and not any(_rises(each.learning_rates) for each in curves):
        yield "Its rate rises again after the warmup; that of no run that was fitted does."


def _after_warmup(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    return rates[warmup_of(rates) :]


def _rises(rates: NDArray[np.float64]) -> bool:
    return rises_again(rates, warmup_of(rates)) is not None


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times" if ratio < 100 else f"{ratio:.0f} times"

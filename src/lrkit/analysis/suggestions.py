"""What a curve suggests: each rule's rate with its interval, or the reason why there is none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.curves import Array, Curve, middle
from lrkit.analysis.descents import Descent, Reason, diagnose, find_descent
from lrkit.analysis.finder_rules import RULES, Rule
from lrkit.analysis.smoothing import FEWEST, before_explosion, local_lines
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown

__all__ = ["Estimate", "Suggestion", "suggest"]

QUANTILES = (0.05, 0.95)  # of the bootstrap, between which the interval is
BLOCKS = 20  # of a curve, each with a sign
FAR = 6.0  # times as far off as half of the losses: an outlier
HIDDEN = 1.25  # times as large as what is seen of it the noise is taken to be: curves follow their own


@dataclass(frozen=True)
class Estimate:
    """What a rule says.

    Attributes:
        value: the rate; None where the curve supports none, or the rule finds nothing.
        low, high: the 5–95 % interval over seeds and bootstrap; None where fewer than half of the samples have a rate.
        reason: why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: Reason | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        interval = None if self.low is None else [self.low, self.high]
        return {"value": self.value, "interval": interval, "reason": self.reason}


@dataclass(frozen=True)
class Suggestion:
    """The rate that a curve suggests, and what every rule says.

    Attributes:
        suggestion: the rate of the default rule; None where the curve supports none.
        interval: its 5–95 % interval.
        rules: an estimate for each rule, by name; without values where the curve supports none.
        default: the name of the rule that decides.
        reason: why there is no suggestion.
        curve: what all this was read from.
    """

    suggestion: float | None
    interval: tuple[float, float] | None
    rules: Mapping[str, Estimate]
    default: str
    reason: Reason | None
    curve: Curve

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "suggestion": self.suggestion,
            "interval": self.interval and list(self.interval),
            "reason": self.reason,
            "default": self.default,
            "rules": {name: each.to_dict() for name, each in self.rules.items()},
            "curve": self.curve.to_dict(),
        }


def suggest(
    curve: Curve,
    *,
    rules: Mapping[str, Rule] = RULES,
    default: str = "halfway",
    bootstrap: int = 200,
    seed: int = 0,
) -> Suggestion:
    """What a curve suggests: the rate of the default rule, or why there is none.

    Rules read the typical losses, the median over seeds. Each sample of the bootstrap draws seeds anew; to the smoothed
    losses of each it adds what the losses were off the fitted descent, in place, with a sign for each twentieth of the
    curve that is drawn anew, so that noise stays as large and as slow as it was where it was. The interval is between
    the 5 and the 95 % quantile of the rates that the samples give, and the rate itself. With few seeds it is too narrow
    where noise has a memory longer than that; `docs/finding.md` has how often it holds the truth.

    Args:
        curve: of one or more seeds.
        rules: by name; the others are there to look at.
        default: the name of the rule that decides.
        bootstrap: how many samples; 0 for no intervals.
        seed: of the samples.

    Raises:
        InputError: for a default that isn't among the rules, or a number of samples that is negative.

    >>> rates = np.geomspace(1e-5, 10, 100)
    >>> found = suggest(Curve(rates, 2.3 - 2 / (1 + 0.01 / rates)))
    >>> round(found.suggestion, 4), found.reason
    (0.01, None)
    >>> suggest(Curve(rates, np.full(100, 2.3))).reason.value
    'no descent seen'
    """
    if default not in rules:
        raise unknown("rule", default, rules)
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int):
        raise InputTypeError(f"bootstrap must be an int, not {shown(bootstrap)}")
    if bootstrap < 0:
        raise InputError(f"bootstrap must be at least 0, not {bootstrap}")
    reason = diagnose(curve.rates, curve.typical)
    if reason is not None:
        return Suggestion(None, None, dict.fromkeys(rules, Estimate(None, reason=reason)), default, reason, curve)
    values = {name: rule(curve.rates, curve.typical) for name, rule in rules.items()}
    drawn: list[dict[str, float | None]] = [  # sample by sample, since what rules have in common is kept for one
        {name: rule(curve.rates, sample) for name, rule in rules.items()} for sample in _samples(curve, bootstrap, seed)
    ]
    estimates = {name: _estimate(value, [each[name] for each in drawn]) for name, value in values.items()}
    chosen = estimates[default]
    interval = None if chosen.low is None or chosen.high is None else (chosen.low, chosen.high)
    return Suggestion(chosen.value, interval, estimates, default, chosen.reason, curve)


def _estimate(value: float | None, drawn: Sequence[float | None]) -> Estimate:
    if value is None:
        return Estimate(None, reason=Reason.NOTHING)
    found = [rate for rate in drawn if rate is not None]
    if not found or 2 * len(found) < len(drawn):
        return Estimate(value)
    low, high = np.exp(np.quantile(np.log(found), QUANTILES)).tolist()
    return Estimate(value, min(low, value), max(high, value))


def _samples(curve: Curve, count: int, seed: int) -> Iterator[Array]:
    """Typical losses of seeds drawn anew, with noise drawn anew."""
    generator = np.random.default_rng(seed)
    order = np.lexsort(curve.losses.T[::-1])  # so that the order of seeds doesn't matter
    parts = [_part(curve.rates, curve.losses[number]) for number in order]
    for _ in range(count):
        drawn = [parts[number] for number in generator.integers(len(parts), size=len(parts))]
        yield middle(np.stack([_redrawn(part, generator) for part in drawn]))


class _Part(NamedTuple):
    """A seed's losses, and of those before its explosion: where they are, what they are smoothed, how far off it is."""

    losses: Array
    places: NDArray[np.intp]
    levels: Array
    apart: Array


def _part(rates: Array, losses: Array) -> _Part:
    places = before_explosion(losses)
    if len(places) < FEWEST:
        return _Part(losses, places[:0], losses[:0], losses[:0])
    logs, kept = np.log(rates[places]), losses[places]
    descent = find_descent(rates, losses)
    if not isinstance(descent, Descent):
        levels = local_lines(logs, kept).levels
        return _Part(losses, places, levels, HIDDEN * (kept - levels))
    fitted = descent.logistic.at(logs)
    apart = kept - fitted
    most = FAR * float(np.median(np.abs(apart)))
    tame = np.clip(apart, -most, most)  # outliers would spread when they are smoothed; they stay
    return _Part(losses, places, local_lines(logs, fitted + tame).levels + apart - tame, HIDDEN * tame)


def _redrawn(part: _Part, generator: np.random.Generator) -> Array:
    """The losses of a seed with other noise, of the same size at each place."""
    count = len(part.places)
    block = max(1, count // BLOCKS)
    offset = int(generator.integers(block))
    signs = np.repeat(generator.choice([-1.0, 1.0], size=count // block + 2), block)[offset : offset + count]
    losses = part.losses.copy()
    losses[part.places] = part.levels + part.apart * signs
    return losses

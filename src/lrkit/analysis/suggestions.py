"""What a curve suggests: each rule's rate with its interval, or the reason why there is none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.curves import Array, Curve, middle
from lrkit.analysis.descents import FEWEST, Reason, diagnose
from lrkit.analysis.finder_rules import RULES, Rule
from lrkit.analysis.smoothing import calm, local_lines, usable
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown

__all__ = ["Estimate", "Suggestion", "suggest"]

LEVELS = (0.05, 0.95)  # of the bootstrap, between which the interval is


@dataclass(frozen=True)
class Estimate:
    """What a rule says.

    Attributes:
        value: the rate; None where the curve supports none.
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
        rules: an estimate for each rule, by name; there whether or not the curve supports a suggestion.
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

    Rules read the typical losses, the median over seeds. Each sample of the bootstrap draws seeds anew, and to the
    smoothed losses of each adds blocks of what its losses were off them; the interval is between the 5 and the 95 %
    quantile of the rates that the samples give.

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
    samples = list(_samples(curve, bootstrap, seed))
    estimates = {name: _estimate(rule, curve, samples, reason) for name, rule in rules.items()}
    chosen = estimates[default]
    reason = reason or chosen.reason
    if reason is not None:
        return Suggestion(None, None, estimates, default, reason, curve)
    interval = None if chosen.low is None or chosen.high is None else (chosen.low, chosen.high)
    return Suggestion(chosen.value, interval, estimates, default, None, curve)


def _estimate(rule: Rule, curve: Curve, samples: Sequence[Array], reason: Reason | None) -> Estimate:
    value = rule(curve.rates, curve.typical)
    if value is None:
        return Estimate(None, reason=reason or Reason.NO_DESCENT)
    found = [rate for sample in samples if (rate := rule(curve.rates, sample)) is not None]
    if not found or 2 * len(found) < len(samples):
        return Estimate(value, reason=reason)
    low, high = np.exp(np.quantile(np.log(found), LEVELS)).tolist()
    return Estimate(value, low, high, reason)


def _samples(curve: Curve, count: int, seed: int) -> Iterator[Array]:
    """Typical losses of seeds drawn anew, with noise drawn anew."""
    generator = np.random.default_rng(seed)
    order = np.lexsort(curve.losses.T[::-1])  # so that the order of seeds doesn't matter
    parts = [_part(curve.rates, curve.losses[number]) for number in order]
    for _ in range(count):
        drawn = [parts[number] for number in generator.integers(len(parts), size=len(parts))]
        yield middle(np.stack([_redrawn(part, generator) for part in drawn]))


class _Part(NamedTuple):
    """A seed's losses, and of those before its explosion: where they are, what they are smoothed, how far off that."""

    losses: Array
    places: NDArray[np.intp]
    levels: Array
    apart: Array


def _part(rates: Array, losses: Array) -> _Part:
    places = np.flatnonzero(usable(losses))
    if len(places) >= FEWEST:
        places = places[: calm(losses[places])]
    if len(places) < FEWEST:
        return _Part(losses, places[:0], losses[:0], losses[:0])
    levels, _, own = local_lines(np.log(rates[places]), losses[places])
    # smoothed losses follow their own noise: what is left of it is too small by this root
    return _Part(losses, places, levels, (losses[places] - levels) / np.sqrt(1 - own))


def _redrawn(part: _Part, generator: np.random.Generator) -> Array:
    """The losses of a seed with other noise: blocks of its own, which wrap around, so that their memory is kept."""
    count = len(part.places)
    if not count:
        return part.losses
    block = max(1, round(count ** (1 / 3)))
    firsts = generator.integers(count, size=-(-count // block))
    chosen = (firsts[:, None] + np.arange(block)).ravel()[:count] % count
    losses = part.losses.copy()
    losses[part.places] = part.levels + part.apart[chosen]
    return losses

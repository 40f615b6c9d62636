"""What a prediction says in words: which schedule is predicted to be best, and which can't be told apart."""

from collections.abc import Iterator, Sequence

from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.prediction import Forecast, Pair
from lrkit.analysis.verdicts import show_digits
from lrkit.analysis.wording import listed

__all__ = ["say_law", "say_loss", "say_odds", "say_prediction"]

_MOST_NAMES = 3  # of those that are beaten with the same probability
_MOST_PAIRS = 5  # that can't be told apart, each with its numbers


def say_prediction(law: FittedLaw, forecasts: Sequence[Forecast], pairs: Sequence[Pair]) -> Iterator[str]:
    """The verdict, the most important sentence first.

    Args:
        law: that was fitted.
        forecasts: the lowest final loss first.
        pairs: each two of them.
    """
    if len(forecasts) == 1:
        yield f"{forecasts[0].name} is predicted to end at {say_loss(forecasts[0])}."
    elif forecasts:
        yield f"{forecasts[0].name} is predicted to end lowest, at {say_loss(forecasts[0])}."
        beaten = [each for each in pairs if each.a == forecasts[0].name and each.told_apart]
        if beaten:
            yield f"It beats {_beaten(beaten, len(forecasts) - 1)}."
    yield from _alike(forecasts, pairs)
    outside = [each.name for each in forecasts if each.beyond]
    if outside:
        yield _outside(outside, len(forecasts))
    yield from say_law(law)


def _outside(names: Sequence[str], count: int) -> str:
    if len(names) == 1:
        return f"{names[0]} lies outside of what the fit saw, so its interval may be too narrow."
    who = f"{len(names)} of the {count}" if len(names) < count else "Both" if count == 2 else f"All {count}"
    return f"{who} lie outside of what the fit saw, so their intervals may be too narrow."


def say_law(law: FittedLaw) -> Iterator[str]:
    """Why the law may not be trusted, what the curves leave open, and what would settle it."""
    yield from law.warnings
    if law.free:
        do = "isn't" if len(law.free) == 1 else "aren't"
        yield f"{listed(law.free)} {do} determined by what was fitted."
    if law.advice:
        yield law.advice


def _beaten(pairs: Sequence[Pair], others: int) -> str:
    """Names with probabilities, each of which is said once."""
    groups: dict[str, list[str]] = {}
    for each in pairs:
        groups.setdefault(say_odds(each.probability), []).append(each.b)
    if len(groups) == 1 and len(pairs) > _MOST_NAMES:
        who = "each of" if len(pairs) == others else f"{len(pairs)} of"
        return f"{who} the {others} others with {next(iter(groups))}"
    return listed([f"{listed(names)} with {odds}" for odds, names in groups.items()])


def _alike(forecasts: Sequence[Forecast], pairs: Sequence[Pair]) -> Iterator[str]:
    """Those that can't be told from the best, and neighbours in rank that can't from each other."""
    names = [each.name for each in forecasts]
    near = [each for each in pairs if each.a == names[0] or names.index(each.b) == names.index(each.a) + 1]
    alike = [each for each in near if not each.told_apart]
    for each in alike[:_MOST_PAIRS]:
        if each.low == each.high == 0:
            yield f"{each.a} and {each.b} are predicted to end with the same loss."
            continue
        difference, low, high = show_digits([each.difference, each.low, each.high], (each.high - each.low) / 2)
        yield (
            f"{each.a} and {each.b} can't be told apart: the first ends lower with {say_odds(each.probability)}, they "
            f"are predicted to differ by {difference}, and the interval of the difference is {low} to {high}."
        )
    if len(alike) > _MOST_PAIRS:
        yield f"{len(alike) - _MOST_PAIRS} more pairs can't be told apart either."


def say_loss(forecast: Forecast) -> str:
    """The final loss with its interval, to as many digits as the interval makes sense of."""
    middle, low, high = show_digits(
        [forecast.final_loss, forecast.low, forecast.high], (forecast.high - forecast.low) / 2
    )
    return f"{middle} ({low} to {high})"


def say_odds(probability: float) -> str:
    """A probability in percent, without claiming that anything is certain.

    >>> say_odds(0.934), say_odds(0.998), say_odds(0.002)
    ('93 %', 'more than 99 %', 'less than 1 %')
    """
    if probability > 0.99:
        return "more than 99 %"
    return "less than 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"

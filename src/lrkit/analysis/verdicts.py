"""What a comparison says in words: which schedule is better, and which can't be told apart."""

import math
from collections.abc import Iterable, Sequence

from lrkit.analysis.comparison import Difference, Mean, Measure, Standing
from lrkit.analysis.wording import listed

__all__ = ["say_difference", "say_mean", "say_p", "say_seeds", "say_verdict", "show_digits"]

_MOST_PLACES = 6  # after the point


def say_verdict(standings: Sequence[Standing], reference: str, measure: Measure) -> list[str]:
    """The verdict, the most important sentence first.

    Args:
        standings: the best mean first.
        reference: the name of the schedule that the others are compared with.
        measure: what they are compared by.
    """
    pairs = [(each, each.difference) for each in standings if each.difference is not None]
    sign = 1.0 if measure.mode == "min" else -1.0
    better = [(each, found) for each, found in pairs if found.certain and sign * found.mean < 0]
    worse = [(each, found) for each, found in pairs if found.certain and sign * found.mean > 0]
    same = [each.name for each, found in pairs if found.low == found.high == 0]
    alike = [(each, found) for each, found in pairs if not found.certain and each.name not in same]
    sentences = []
    if better:
        sentences.append(_better(better, reference, measure))
    if worse:
        sentences.append(f"{reference} is better than {listed([_by(*each, measure) for each in worse])}.")
    if alike:
        names = _apart([each.name for each, _ in alike], reference, all_others=len(alike) == len(standings) - 1)
        sentences.append(f"{names} with {_seeds(alike[0][1].n)}{_needed([found for _, found in alike])}.")
    if same:
        sentences.append(f"{listed([*same, reference])} have the same numbers.")
    if strangers := _strangers(standings, reference):
        sentences.append(f"{listed([*strangers, reference])} have no seed in common, so no difference can be told.")
    if sound := [each for each in standings if each.final and not each.diverged]:
        sentences.append(_lead(sound, measure))
    sentences += [
        f"{each.name} has no finite {measure} with {each.diverged} of {_seeds(each.n_seeds)}, so it isn't compared."
        for each in standings
        if each.diverged and each.n_seeds
    ]
    sentences += [f"{each.name} came to its end at no rate." for each in standings if not each.n_seeds]
    return sentences


def _strangers(standings: Sequence[Standing], reference: str) -> list[str]:
    """Those that came to their ends as the reference did, with other seeds alone."""
    whole = [each for each in standings if each.final and not each.diverged]
    if all(each.name != reference for each in whole):
        return []
    return [each.name for each in whole if each.difference is None and each.name != reference]


def _better(better: Sequence[tuple[Standing, Difference]], reference: str, measure: Measure) -> str:
    if len(better) == 1:
        [(standing, found)] = better
        return f"{standing.name} is better than {reference} ({say_difference(found, measure)})."
    return f"{listed([_by(*each, measure) for each in better])} are better than {reference}."


def _lead(sound: Sequence[Standing], measure: Measure) -> str:
    first = sound[0]
    rate = "" if first.best_lr is None else f" at learning rate {first.best_lr:.6g}"
    mean = say_mean(first.final[measure.name], measure)
    if len(sound) == 1:
        return f"{first.name}{rate} has a mean {measure} of {mean}."
    extreme = "lowest" if measure.mode == "min" else "highest"
    return f"{first.name}{rate} has the {extreme} mean {measure}: {mean}."


def _apart(names: Sequence[str], reference: str, *, all_others: bool) -> str:
    if len(names) == 1:
        return f"{names[0]} and {reference} can't be told apart"
    if all_others:
        return f"None of the {len(names)} others can be told apart from {reference}"
    return f"{listed(names)} can't be told apart from {reference}"


def _needed(alike: Sequence[Difference]) -> str:
    """How many seeds would be; two at least where there is one, which says nothing of how seeds differ."""
    if alike[0].n < 2:
        return ", which says nothing of chance: at least 2 are needed, better 5"
    counts = sorted(math.inf if found.seeds_needed is None else found.seeds_needed for found in alike)
    few, many = say_seeds(counts[0]), say_seeds(counts[-1])
    size = "a difference of this size" if len(alike) == 1 else "differences of these sizes"
    span = few if few == many else f"{few} to {many.removeprefix('about ')}"
    return f"; {span} would be needed for {size}"


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def say_seeds(needed: float) -> str:
    """How many seeds, to two digits.

    >>> say_seeds(23), say_seeds(1267), say_seeds(math.inf)
    ('about 23', 'about 1300', 'more than a million')
    """
    if math.isinf(needed):
        return "more than a million"
    return f"about {needed if needed < 100 else float(f'{needed:.2g}'):.0f}"


def say_p(p_value: float) -> str:
    """A p-value, to two digits.

    >>> say_p(0.0123), say_p(0.0002)
    ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def say_mean(mean: Mean, measure: Measure) -> str:
    """A mean, with its interval where there is one, to as many digits as the interval makes sense of.

    >>> say_mean(Mean(0.081234, 0.079871, 0.082597, 5), Measure()), say_mean(Mean(0.081234, None, None, 1), Measure())
    ('0.0812 (0.0799 to 0.0826)', '0.08123')
    >>> say_mean(Mean(0.97462, 0.97368, 0.97556, 5), Measure("accuracy", "max"))
    '97.462 % (97.368 % to 97.556 %)'

    An accuracy's interval is told as far as there are such accuracies.

    >>> say_mean(Mean(0.971, 0.909, 1.033, 2), Measure("accuracy", "max"))
    '97.1 % (90.9 % to 100.0 %)'
    """
    scale, unit = _unit(measure)
    if mean.low is None or mean.high is None:
        return f"{scale * mean.mean:.4g}{unit}"
    numbers = [scale * each for each in (mean.mean, mean.low, mean.high)]
    error = (numbers[2] - numbers[1]) / 2
    if measure.name == "accuracy":
        numbers = [min(max(each, 0.0), scale) for each in numbers]
    middle, low, high = (each + unit for each in show_digits(numbers, error))
    return f"{middle} ({low} to {high})"


def _unit(measure: Measure) -> tuple[float, str]:
    """Accuracies are told in percent, as everywhere."""
    return (100.0, " %") if measure.name == "accuracy" else (1.0, "")


def show_digits(values: Iterable[float], error: float) -> list[str]:
    """Values with as many digits as an error has two of; those of a spread of none have four.

    >>> show_digits([0.0812345], 0.0013), show_digits([123.45], 20.0), show_digits([0.5], 0.0)
    (['0.0812'], ['123'], ['0.5'])
    """
    places = 1 - math.floor(math.log10(error)) if error > 0 and math.isfinite(error) else math.inf
    return [f"{value:.{max(0, int(places))}f}" if places <= _MOST_PLACES else f"{value:.4g}" for value in values]


def say_difference(found: Difference, measure: Measure) -> str:
    """How large a difference is, without its sign, and how sure."""
    scale, unit = _unit(measure)
    points = " percentage points" if unit else ""
    chance = "" if found.p_value is None else f", {say_p(found.p_value)}"
    return f"by {scale * abs(found.mean):.2g}{points}{chance}"


def _by(standing: Standing, found: Difference, measure: Measure) -> str:
    return f"{standing.name} ({say_difference(found, measure)})"

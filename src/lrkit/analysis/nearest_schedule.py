"""The best schedule of each named family, by what a law expects of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrkit.analysis.bent_path import landmarks
from lrkit.analysis.expectation import Expectation
from lrkit.schedules.errors import InputError
from lrkit.schedules.loops import Schedule
from lrkit.schedules.shares import show_number
from lrkit.schedules.text import parse

__all__ = ["Fit", "fit_families", "rates_of", "warmup_text"]

_SHARES = (0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.25, 2.5, 2.75, 3, 3.5, 4)
_TIMESCALES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)

# What comes after the warmup, in the order of how simple it is; {name} is what is searched. Lengths are shares of the
# run, so that a text means the same for any number of steps.
_FAMILIES = (
    "constant()",
    "linear(to={to})",
    "cosine(to={to})",
    "rex(to={to})",
    "exponential(to={above})",
    "constant() >> linear({length}%, to={to})",
    "constant() >> cooldown({length}%, to={to})",
    "constant() >> cosine({length}%, to={to})",
    "constant() >> exponential({length}%, to={above})",
    "polynomial(to={to}, exponent={exponent})",
    "power(exponent={exponent}, timescale={timescale}%)",
    "constant() >> polynomial({length}%, to={to}, exponent={exponent})",
)


@dataclass(frozen=True, eq=False)
class Fit:
    """The best schedule of a family.

    Attributes:
        schedule: as text.
        parameters: how many were searched.
        expected: the final loss that the law expects.
        learning_rates: float64, shape (updates,).
    """

    schedule: str
    parameters: int
    expected: float
    learning_rates: NDArray[np.float64]


def fit_families(expectation: Expectation, steps: int, peak: float, warmup: int) -> tuple[Fit, ...]:
    """The best of each family at this budget, the simplest family first.

    The search goes over numbers as they are written, so that a text is what was found, not a rounding of it.
    """
    begin, edges = warmup_text(warmup, steps), landmarks(steps, warmup)
    # Percent of the run; the rest of it, and that before it, are at least a step.
    lengths = range(-(-100 // steps), 100 - -(-100 * (warmup + 1) // steps) + 1)
    axes: dict[str, Sequence[float]] = {
        "to": _SHARES,
        "above": _SHARES[1:],
        "length": lengths,
        "exponent": _EXPONENTS,
        "timescale": _TIMESCALES,
    }
    trial = _Trial(expectation, steps, peak, edges)
    found = []
    for family in _FAMILIES:
        searched = {name: axis for name, axis in axes.items() if f"{{{name}}}" in family}
        search = _Search(begin + family, searched, trial)
        text = search.best()
        found.append(Fit(text, len(searched), search.known[text], rates_of(text, steps, peak)))
    return tuple(found)


def warmup_text(warmup: int, steps: int) -> str:
    """What a schedule's text begins with: the shortest share of the run that is as many steps.

    >>> warmup_text(2160, 36000), warmup_text(20, 3000), warmup_text(0, 100)
    ('warmup(6%) >> ', 'warmup(0.67%) >> ', '')
    """
    if not warmup:
        return ""
    shares = [float(f"{100 * warmup / steps:.{digits}g}") for digits in range(1, 17)]
    share = next((each for each in shares if int(each * steps / 100 + 0.5) == warmup), shares[-1])
    return f"warmup({show_number(share)}%) >> "


def rates_of(text: str, steps: int, peak: float) -> NDArray[np.float64]:
    """The rates of a schedule's text, shape (steps,).

    Raises:
        InputError: for a text that is no schedule of one rate, such as a controller.
    """
    return _values(text, steps, peak, np.arange(steps))


def _values(text: str, steps: int, peak: float, at: NDArray[np.int64]) -> NDArray[np.float64]:
    plan = parse(text)
    if not isinstance(plan, Schedule):
        raise InputError(f"schedule must be one of one rate that needs no metric, not {text}")
    values: NDArray[np.float64] = np.asarray(plan.over(steps).value(at, base=peak), dtype=np.float64)
    return values


@dataclass(frozen=True, eq=False)
class _Trial:
    """What a text is judged by: the loss that is expected with these steps and this peak, its rates taken at edges."""

    expectation: Expectation
    steps: int
    peak: float
    edges: NDArray[np.int64]

    def expected(self, text: str) -> float:
        return self.expectation.final(self.edges, _values(text, self.steps, self.peak, self.edges))


class _Search:
    """A search along one axis after the other, with strides that shrink, over the numbers that a text may hold."""

    def __init__(self, text: str, axes: Mapping[str, Sequence[float]], trial: _Trial) -> None:
        self.known: dict[str, float] = {}
        self._text, self._trial = text, trial
        self._names, self._axes = list(axes), list(axes.values())

    def best(self) -> str:
        """The text with the lowest expected loss; `known` has that and all others that were tried."""
        starts = [[0] * len(self._axes), [len(axis) // 3 for axis in self._axes]] if self._axes else [[]]
        for start in starts:
            self._descend(start)
        return min(self.known, key=self.known.__getitem__)

    def _descend(self, place: list[int]) -> None:
        lowest = self._expected(place)
        strides = [max(1, len(axis) // 4) for axis in self._axes]
        while strides:
            moved = False
            for axis, stride in enumerate(strides):
                for change in (stride, -stride):
                    other = [*place]
                    other[axis] = min(max(place[axis] + change, 0), len(self._axes[axis]) - 1)
                    expected = self._expected(other)
                    if expected < lowest:
                        place, lowest, moved = other, expected, True
                        break
            if not moved:
                if max(strides) == 1:
                    return
                strides = [max(1, stride // 2) for stride in strides]

    def _expected(self, place: Sequence[int]) -> float:
        values = {name: axis[at] for name, axis, at in zip(self._names, self._axes, place, strict=True)}
        text = self._text.format(**values)
        if text not in self.known:
            self.known[text] = self._trial.expected(text)
        return self.known[text]

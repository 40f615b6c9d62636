"""How well rules find a learning rate that is known: range tests made by a formula.

    loss(rate) = 2.3 - D / (1 + (centre / rate)^(1/width)) + D max(0, (rate / (explosion centre))² - 1) + noise D e

falls by D = 2 as a logistic in the logarithm of the rate, and explodes above `explosion` times its centre. The truth is
the centre: there half of the descent is done, and the loss falls fastest. The width is 1, so that 80 % of the descent
lie within a factor 9 of the centre on either side; the explosion is at 100; e is normal noise, drawn for every point.

A rule gets the losses of one seed. It is judged by suggestion / centre, for each centre and range of rates by itself:
by the factor that the median is off, to whichever side, and by the share of seeds that are within a factor 3, where no
suggestion isn't. The aim is a median within a factor 1.3 and 95 % within a factor 3 at every centre in every range.

In a variant one thing of the formula is another; it is there for lrkit's default, which mustn't depend on the formula.
At last it is counted how often the 5–95 % interval of the default holds the truth, over trials with seeds of their own.

    python benchmarks/finder.py                  # all tables, about half an hour
    python benchmarks/finder.py --seeds 20 --noise 0.03
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.signal import lfilter

from lrkit.analysis.curves import Array, Curve
from lrkit.analysis.finder_rules import RULES, Rule, halfway
from lrkit.analysis.suggestions import suggest
from published_rules import PUBLISHED
from timing import machine, markdown, say

__all__ = ["VARIANTS", "Cell", "Setting", "judge", "measure", "report"]

CENTRES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RANGES = ((1e-7, 10.0, 100), (1e-7, 10.0, 300), (1e-6, 100.0, 200))  # lowest and highest rate, points
NOISES = (0.0, 0.01, 0.03, 0.1)
SEEDS = (1, 3, 5)  # that an interval is made of
AIM_MEDIAN, AIM_FACTOR, AIM_SHARE = 1.3, 3.0, 0.95
START, DROP = 2.3, 2.0
CONTENDERS: Mapping[str, Rule] = {f"lrkit {name}": rule for name, rule in RULES.items()} | dict(PUBLISHED)
DEFAULT = "lrkit halfway"
PACKAGES = ("numpy", "scipy", "lrkit")
Draw = Callable[[np.random.Generator, int], Array]


def normal(generator: np.random.Generator, count: int) -> Array:
    """White noise of deviation 1."""
    return generator.standard_normal(count)


def heavy(generator: np.random.Generator, count: int) -> Array:
    """Student's t with 2 degrees of freedom: its variance is infinite."""
    return generator.standard_t(2, count)


def remembering(generator: np.random.Generator, count: int) -> Array:
    """Noise of deviation 1 of which each point keeps 0.8 of the one before."""
    found: Array = lfilter([0.6], [1.0, -0.8], generator.standard_normal(count + 100))[100:]
    return found


def logistic(logs: Array) -> Array:
    """What share of the descent is done, by the logarithm of rate / centre."""
    return 1 / (1 + np.exp(-logs))


def sudden(logs: Array) -> Array:
    """Another descent with its half at the centre: 1 - 2^(-rate / centre), which begins slowly and ends at once."""
    return 1 - 2 ** -np.exp(logs)


@dataclass(frozen=True)
class Setting:
    """What range tests are made of; see the formula."""

    centre: float
    lowest: float
    highest: float
    points: int
    noise: float
    width: float = 1.0
    explosion: float = 100.0
    draw: Draw = field(default=normal, compare=False)
    fallen: Callable[[Array], Array] = field(default=logistic, compare=False)

    @property
    def rates(self) -> Array:
        """Evenly spaced in their logarithms."""
        return np.geomspace(self.lowest, self.highest, self.points)

    def losses(self, seed: int) -> Array:
        """Of one seed."""
        rates = self.rates
        fallen = self.fallen(np.log(rates / self.centre) / self.width)
        exploded = np.maximum(0.0, (rates / (self.explosion * self.centre)) ** 2 - 1)
        return START + DROP * (exploded - fallen + self.noise * self.draw(np.random.default_rng(seed), self.points))


@dataclass(frozen=True)
class Cell:
    """What a rule suggested for the seeds of a setting, as ratios to the truth; `none` are without a suggestion."""

    ratios: tuple[float, ...]
    none: int

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """5 %, median and 95 % of the ratios."""
        return tuple(np.quantile(self.ratios, [0.05, 0.5, 0.95]).tolist()) if self.ratios else (math.nan,) * 3

    @property
    def off(self) -> float:
        """The median's factor from 1, whichever side; infinite where fewer than half of the seeds have a suggestion."""
        if len(self.ratios) < self.none or not self.ratios:
            return math.inf
        return float(np.exp(abs(np.log(self.quantiles[1]))))

    @property
    def share(self) -> float:
        """Of the seeds, those within a factor 3."""
        within = sum(1 / AIM_FACTOR <= each <= AIM_FACTOR for each in self.ratios)
        return within / (len(self.ratios) + self.none)


def measure(setting: Setting, rules: Mapping[str, Rule], seeds: int) -> dict[str, Cell]:
    """Every rule on the same curves."""
    rates = setting.rates
    found: dict[str, list[float | None]] = {name: [] for name in rules}
    for seed in range(seeds):
        losses = setting.losses(seed)
        for name, rule in rules.items():
            found[name].append(rule(rates, losses))
    return {name: _cell(each, setting.centre) for name, each in found.items()}


def _cell(suggestions: Sequence[float | None], centre: float) -> Cell:
    ratios = tuple(each / centre for each in suggestions if each is not None)
    return Cell(ratios, len(suggestions) - len(ratios))


def pooled(cells: Sequence[Cell]) -> Cell:
    """Cells as one."""
    return Cell(tuple(each for cell in cells for each in cell.ratios), sum(cell.none for cell in cells))


def judge(cells: Sequence[Cell]) -> tuple[float, float, bool]:
    """The worst median's factor, the worst share within a factor 3, and whether both reach the aim."""
    off, share = max(cell.off for cell in cells), min(cell.share for cell in cells)
    return off, share, off <= AIM_MEDIAN and share >= AIM_SHARE


VARIANTS: Mapping[str, Callable[[Setting], Setting]] = {
    "as above": lambda setting: setting,
    "width 0.5": lambda setting: replace(setting, width=0.5),
    "width 2": lambda setting: replace(setting, width=2.0),
    "a sudden end of the descent": lambda setting: replace(setting, fallen=sudden),
    "explosion at 3": lambda setting: replace(setting, explosion=3.0),
    "explosion at 10": lambda setting: replace(setting, explosion=10.0),
    "explosion at 1000": lambda setting: replace(setting, explosion=1000.0),
    "no explosion": lambda setting: replace(setting, explosion=math.inf),
    "long plateau before": lambda setting: replace(setting, lowest=1e-6 * setting.lowest),
    "short plateau before": lambda setting: replace(setting, lowest=setting.centre / 10),
    "heavy tails": lambda setting: replace(setting, draw=heavy),
    "noise with memory": lambda setting: replace(setting, draw=remembering),
}


def settings(noise: float) -> dict[float, list[Setting]]:
    """By centre, a setting for each range."""
    return {centre: [Setting(centre, *limits, noise) for limits in RANGES] for centre in CENTRES}


def measure_all(noises: Sequence[float], seeds: int) -> dict[float, dict[float, list[dict[str, Cell]]]]:
    """By noise and centre, every rule in each range."""
    found: dict[float, dict[float, list[dict[str, Cell]]]] = {}
    for noise in noises:
        say(f"noise {noise:g}")
        found[noise] = {
            centre: [measure(each, CONTENDERS, seeds) for each in ranges] for centre, ranges in settings(noise).items()
        }
    return found


def measure_variants(noises: Sequence[float], seeds: int) -> dict[str, dict[float, list[Cell]]]:
    """By variant and noise, lrkit's default at every centre in every range."""
    found: dict[str, dict[float, list[Cell]]] = {}
    for name, vary in VARIANTS.items():
        say(name)
        found[name] = {
            noise: [
                measure(vary(each), {DEFAULT: CONTENDERS[DEFAULT]}, seeds)[DEFAULT]
                for ranges in settings(noise).values()
                for each in ranges
            ]
            for noise in noises
        }
    return found


def _written(cell: Cell) -> str:
    low, middle, high = (f"{each:.2g}" for each in cell.quantiles)
    none = f", {cell.none / (cell.none + len(cell.ratios)):.0%} none" if cell.none else ""
    return f"{middle} ({low} to {high}{none})"


def report(found: Mapping[float, Mapping[float, Sequence[Mapping[str, Cell]]]]) -> str:
    """A table for each noise: rules by centre, ranges pooled; and the worst centre and range."""
    parts = []
    for noise, centres in found.items():
        header = [f"noise {noise:g}", *(f"{centre:g}" for centre in centres), "worst median", "worst share", "aim"]
        rows = []
        for name in CONTENDERS:
            off, share, reached = judge([cells[name] for ranges in centres.values() for cells in ranges])
            by_centre = [_written(pooled([cells[name] for cells in ranges])) for ranges in centres.values()]
            rows.append([name, *by_centre, f"{off:.3g}", f"{share:.0%}", "yes" if reached else "no"])
        parts.append(markdown(header, rows))
    return "\n\n".join(parts)


def report_variants(found: Mapping[str, Mapping[float, Sequence[Cell]]]) -> str:
    """Lrkit's default: variants by noise, over all centres and ranges."""
    noises = list(next(iter(found.values())))
    header = ["variant", *(text for noise in noises for text in (f"noise {noise:g}", "worst median", "worst share"))]
    rows = []
    for name, by_noise in found.items():
        row = [name]
        for cells in by_noise.values():
            off, share, _ = judge(cells)
            row += [_written(pooled(cells)), f"{off:.3g}", f"{share:.0%}"]
        rows.append(row)
    return markdown(header, rows)


def measure_intervals(noises: Sequence[float], trials: int) -> dict[str, dict[int, float]]:
    """By noise and variant, and by number of seeds: the share of trials whose interval holds the truth."""
    found: dict[str, dict[int, float]] = {}
    for noise in noises:
        for variant in ("as above", "noise with memory"):
            setting = VARIANTS[variant](Setting(1e-2, *RANGES[0], noise))
            name = f"noise {noise:g}{'' if variant == 'as above' else ', with memory'}"
            say(f"intervals, {name}")
            found[name] = {seeds: _held(setting, seeds, trials) for seeds in SEEDS}
    return found


def _held(setting: Setting, seeds: int, trials: int) -> float:
    held = 0
    for trial in range(trials):
        losses = np.stack([setting.losses(1000 * trial + seed) for seed in range(seeds)])
        found = suggest(Curve(setting.rates, losses), rules={"halfway": halfway}, bootstrap=100)
        held += found.interval is not None and found.interval[0] <= setting.centre <= found.interval[1]
    return held / trials


def report_intervals(found: Mapping[str, Mapping[int, float]]) -> str:
    """A row for each noise, a column for each number of seeds."""
    header = ["interval holds the truth", *(f"{count} seed{'s' if count > 1 else ''}" for count in SEEDS)]
    return markdown(header, [[name, *(f"{share:.0%}" for share in shares.values())] for name, shares in found.items()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--noise", type=float, nargs="+", default=NOISES)
    options = parser.parse_args()
    print(report(measure_all(options.noise, options.seeds)))
    noisy = [noise for noise in options.noise if noise]
    print(report_variants(measure_variants(noisy, options.seeds)))
    print(report_intervals(measure_intervals([noise for noise in noisy if noise >= 0.03], options.seeds // 2)))
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

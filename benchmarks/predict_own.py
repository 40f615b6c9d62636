"""How well laws predict lrkit's own trainings, of an image classifier and of a character transformer.

Trains what predict_runs.py hasn't recorded yet, fits laws to three schedules of each task, and holds what they say of
the other five against what was measured: with the mean over seeds, and with each seed by itself. Losses are those of
training. A final loss is the mean over the last twentieth of the updates, predicted and measured alike.

    python benchmarks/predict_own.py                # all settings; an hour where nothing is recorded
    python benchmarks/predict_own.py chars --laws auto multi_power
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

import lrkit
from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.laws.recorded_curves import loss_curve
from lrkit.training.idx import MNIST_FOLDER
from predict_runs import FITTED, FOLDER, SETTINGS, Setting, histories
from timing import machine, markdown, say

__all__ = ["Held", "Recorded", "Together", "final_steps", "fit", "gather", "held_against", "read", "report", "together"]

PACKAGES = ("torch", "numpy", "scipy", "lrkit")
LEVEL = 0.95
_LAST = 20  # a final loss is the mean over that part of the updates


@dataclass(frozen=True, eq=False)
class Recorded:
    """The runs of one schedule.

    Attributes:
        rates: shape (updates,).
        losses: of training, shape (seeds, updates).
        valid: the validation losses at the end, shape (seeds,).
        skip: the updates in the beginning that curves leave out, as `Setting` has it.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    valid: NDArray[np.float64]
    skip: int | None = None

    @property
    def finals(self) -> NDArray[np.float64]:
        """The final training loss of each seed."""
        found: NDArray[np.float64] = self.losses[:, final_steps(len(self.rates))].mean(axis=1)
        return found

    def curve(self, name: str, seed: int | None = None) -> LossCurve:
        """Of a seed, or of the mean over seeds, as lrkit takes it from a record."""
        losses = self.losses.mean(axis=0) if seed is None else self.losses[seed]
        history = lrkit.History((), self.rates[:, None].copy(), losses.astype(np.float32), {})
        return loss_curve(history, name=name, skip=self.skip)


@dataclass(frozen=True)
class Held:
    """What a law says of a schedule beside what was measured.

    Attributes:
        mean, worst: relative errors over the points of the curve.
        final: as measured.
        predicted: the final loss.
        low, high: its interval.
    """

    mean: float
    worst: float
    final: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """The relative error of the final loss, positive where it is predicted too high."""
        return self.predicted / self.final - 1

    @property
    def inside(self) -> bool:
        """Whether the interval has the final loss."""
        return self.low <= self.final <= self.high


@dataclass(frozen=True)
class Together:
    """The schedules that a law wasn't fitted to, together.

    Attributes:
        mean, worst: relative errors, of all points of all of them.
        final: the mean relative error of the final loss, without its sign.
        inside: how many intervals of final losses have what was measured.
        right: how many of `pairs` are in the right order.
        pairs: those whose measured final losses differ by more than chance, by a paired t-test at 5 %.
        valid_right, valid_pairs: the same, with final validation losses in the place of those of training.
    """

    mean: float
    worst: float
    final: float
    inside: int
    right: int
    pairs: int
    valid_right: int
    valid_pairs: int


def final_steps(updates: int) -> NDArray[np.int64]:
    """The updates whose mean loss is the final one.

    >>> final_steps(60).tolist()
    [57, 58, 59]
    """
    return np.arange(updates - max(1, updates // _LAST), updates)


def read(setting: Setting, folder: Path, data: Path = MNIST_FOLDER) -> dict[str, Recorded]:
    """The runs of a setting by schedule; what isn't recorded yet is trained."""
    found: dict[str, list[lrkit.History]] = {}
    for schedule, _, history in histories(setting, folder, data):
        found.setdefault(schedule, []).append(history)
    return {schedule: gather(runs, setting.skip) for schedule, runs in found.items()}


def gather(runs: Sequence[lrkit.History], skip: int | None = None) -> Recorded:
    """The runs of one schedule, a seed each."""
    return Recorded(
        runs[0].lr.copy(),
        np.stack([each.losses for each in runs]).astype(np.float64),
        np.array([each.epochs[-1].valid_loss for each in runs], dtype=np.float64),
        skip,
    )


def fit(runs: Mapping[str, Recorded], law: str = "auto", seed: int | None = None) -> FittedLaw:
    """A law, fitted to the three schedules of a seed, or of the mean over seeds."""
    return lrkit.fit_law([runs[name].curve(name, seed) for name in FITTED], law)


def held_against(law: FittedLaw, runs: Recorded, seed: int | None = None) -> Held:
    """What a law says of a schedule, beside what was measured with a seed or with the mean over seeds."""
    curve = runs.curve("", seed)
    errors = np.abs(law.predict(runs.rates, curve.steps) / curve.losses - 1)
    last = final_steps(len(runs.rates))
    low, high = (end.mean() for end in law.interval(runs.rates, last, level=LEVEL))
    return Held(
        mean=float(errors.mean()),
        worst=float(errors.max()),
        final=float(runs.finals.mean() if seed is None else runs.finals[seed]),
        predicted=float(law.predict(runs.rates, last).mean()),
        low=float(low),
        high=float(high),
    )


def noise(runs: Recorded, count: int) -> float:
    """The mean relative error that a perfect prediction would have, of the mean over so many seeds."""
    means = np.stack([runs.curve("", seed).losses for seed in range(len(runs.losses))])
    spread = means.std(axis=0, ddof=1) / means.mean(axis=0)
    return float(spread.mean() * np.sqrt(2 / np.pi / count))


def decided(runs: Mapping[str, Recorded], *, valid: bool = False) -> list[tuple[str, str]]:
    """The pairs of schedules that differ by more than chance over their seeds; the first of each ends lower."""
    finals = {name: each.valid if valid else each.finals for name, each in runs.items()}
    found = []
    for a, b in itertools.combinations(finals, 2):
        if stats.ttest_rel(finals[a], finals[b]).pvalue < 1 - LEVEL:
            found.append((a, b) if finals[a].mean() < finals[b].mean() else (b, a))
    return found


def together(held: Mapping[str, Held], runs: Mapping[str, Recorded]) -> Together:
    """The errors of all schedules that weren't fitted to."""
    new = {name: each for name, each in held.items() if name not in FITTED}
    left = {name: runs[name] for name in new}
    pairs, by_valid = decided(left), decided(left, valid=True)

    def right(among: Sequence[tuple[str, str]]) -> int:
        return sum(new[lower].predicted < new[higher].predicted for lower, higher in among)

    return Together(
        mean=float(np.mean([each.mean for each in new.values()])),
        worst=max(each.worst for each in new.values()),
        final=float(np.mean([abs(each.error) for each in new.values()])),
        inside=sum(each.inside for each in new.values()),
        right=right(pairs),
        pairs=len(pairs),
        valid_right=right(by_valid),
        valid_pairs=len(by_valid),
    )


# --- what is printed ---------------------------------------------------------------------------------


def report(name: str, runs: Mapping[str, Recorded], laws: Mapping[str, FittedLaw], alone: Sequence[FittedLaw]) -> str:
    """The tables of a setting.

    Args:
        name: of the setting.
        runs: by schedule.
        laws: fitted to the mean over seeds, by what was asked for; the first is shown with each schedule.
        alone: those of each seed by itself.
    """
    held = {law: {each: held_against(found, runs[each]) for each in runs} for law, found in laws.items()}
    own = [{each: held_against(law, runs[each], seed) for each in runs} for seed, law in enumerate(alone)]
    shown, first = next(iter(laws.items()))
    values = ", ".join(f"{key} = {first.parameters[key]:.4g}" for key in first.law.parameters)
    said = " ".join([*first.chosen, *([first.advice] if first.advice else [])])
    return "\n\n".join(
        [
            f"### {name}",
            f"{len(alone)} seeds{_left_out(runs[FITTED[0]])}. {first.law.name}: {values}. {said}".strip(),
            _schedules(runs, held[shown], own),
            _laws(runs, {law: found.law.name for law, found in laws.items()}, held),
        ]
    )


def _left_out(runs: Recorded) -> str:
    return "" if runs.skip is None else f", the first {runs.skip} updates left out"


def _schedules(runs: Mapping[str, Recorded], held: Mapping[str, Held], alone: Sequence[Mapping[str, Held]]) -> str:
    header = ["schedule", "mean error", "of it noise", "worst", "final, measured", "predicted", "error", "validation"]
    header += ["a seed: mean error", "of it noise", "final", "inside"]
    rows = []
    for name, each in held.items():
        own, seeds = [one[name] for one in alone], len(alone)
        rows.append(
            [
                f"{name}{' (fitted)' if name in FITTED else ''}",
                _percent(each.mean),
                _percent(noise(runs[name], seeds)),
                _percent(each.worst),
                f"{each.final:.4f} ± {runs[name].finals.std(ddof=1):.4f}",
                f"{each.predicted:.4f} ({each.low:.4f} to {each.high:.4f})",
                f"{100 * each.error:+.2f} %",
                f"{runs[name].valid.mean():.4f}",
                _percent(float(np.mean([one.mean for one in own]))),
                _percent(noise(runs[name], 1)),
                _percent(float(np.mean([abs(one.error) for one in own]))),
                f"{sum(one.inside for one in own)} of {seeds}",
            ]
        )
    return markdown(header, rows)


def _laws(runs: Mapping[str, Recorded], names: Mapping[str, str], held: Mapping[str, Mapping[str, Held]]) -> str:
    header = ["law", "fitted: mean error", "predicted: mean error", "worst", "final", "inside", "right order"]
    header += ["right order, validation"]
    rows = []
    for law, each in held.items():
        found = together(each, runs)
        rows.append(
            [
                law if law == names[law] else f"{law} ({names[law]})",
                _percent(float(np.mean([each[name].mean for name in FITTED]))),
                _percent(found.mean),
                _percent(found.worst),
                _percent(found.final),
                f"{found.inside} of {len(each) - len(FITTED)}",
                f"{found.right} of {found.pairs}",
                f"{found.valid_right} of {found.valid_pairs}",
            ]
        )
    return markdown(header, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def main() -> None:
    """Train what isn't recorded, fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), help=", ".join(SETTINGS))
    parser.add_argument("--laws", nargs="+", default=["auto", *LAWS], help="the tables of schedules are of the first")
    parser.add_argument("--seeds", type=int, help="other than predict_runs.py has them, at least 2")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--data", type=Path, default=MNIST_FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.settings:
        setting = replace(SETTINGS[name], seeds=options.seeds or SETTINGS[name].seeds)
        runs = read(setting, options.folder / name, options.data)
        laws = {}
        for law in options.laws:
            laws[law] = fit(runs, law)
            say(f"{name}: {law} fitted to the mean")
        alone = [fit(runs, options.laws[0], seed) for seed in range(setting.seeds)]
        print(report(name, runs, laws, alone), end="\n\n")
    print(machine(PACKAGES))


if __name__ == "__main__":
    main()

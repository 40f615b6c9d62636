"""How near predictions come to measured curves of language models, beside the figures of the multi-power law's paper.

    python benchmarks/predict.py                     # the two sizes in benchmarks/data/loss_curves
    python benchmarks/predict.py --folder DIR        # others with the same files
    python benchmarks/predict.py --choices           # fitted to every choice of two and of three curves: half an hour

For each size, laws are fitted to three curves and predict the six others. Prints tables in Markdown.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lrkit
from lrkit.analysis.laws.catalogue import LAWS

DATA = Path(__file__).parent / "data" / "loss_curves"
PEAK, WARMUP = 3e-4, 2160
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
SCHEDULES = {  # after a warmup that is a line from 0 to the peak; how many steps in all
    "cosine_24000": ("cosine(to=0.1)", 24_000),
    "constant_24000": ("constant()", 24_000),
    "wsdcon_9": ("constant(steps=5840) >> constant(0.3)", 16_000),
    "constant_72000": ("constant()", 72_000),
    "cosine_72000": ("cosine(to=0.1)", 72_000),
    "wsd_20000_24000": ("constant(steps=17840) >> exponential(to=0.1)", 24_000),
    "wsdld_20000_24000": ("constant(steps=17840) >> linear(to=0.1)", 24_000),
    "wsdcon_3": ("constant(steps=5840) >> constant(0.1)", 16_000),
    "wsdcon_18": ("constant(steps=5840) >> constant(0.6)", 16_000),
}
PUBLISHED = {  # of the paper, mean over the six: R2, MAE, RMSE, mean and worst relative error
    "llm_25M": (0.9988, 0.00376, 0.00465, 0.00110, 0.00409),
    "llm_100M": (0.9983, 0.00435, 0.00592, 0.00142, 0.00583),
}
APART = 0.003  # of the loss: pairs of final losses that differ by more must be ranked right


@dataclass(frozen=True)
class Scores:
    """Of one curve: R2, MAE, RMSE, mean and worst relative error; the share of points inside of the interval."""

    r2: float
    mae: float
    rmse: float
    mean: float
    worst: float
    covered: float


def rates_of(name: str) -> NDArray[np.float64]:
    """The rate of every step, as benchmarks/data/loss_curves/README.md says."""
    text, total = SCHEDULES[name]
    after = lrkit.parse(text).over(total - WARMUP).value(np.arange(total - WARMUP), PEAK)
    return np.concatenate([PEAK * np.arange(WARMUP) / WARMUP, after])


def read(folder: Path, name: str) -> lrkit.LossCurve:
    """A measured curve; its rates are checked against those that were recorded."""
    steps, recorded, losses = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1).T
    rates = rates_of(name)
    apart = float(np.abs(rates[steps.astype(int)] - recorded).max())
    if apart > 1e-9:
        raise SystemExit(f"{folder / name}.csv: rates differ from the schedule's by {apart:g}")
    return lrkit.LossCurve(steps, losses, rates, name=name)


def score(law: lrkit.FittedLaw, curve: lrkit.LossCurve) -> Scores:
    """How near a prediction comes."""
    predicted = law.predict(curve.learning_rates)[curve.steps]
    error = predicted - curve.losses
    relative = np.abs(error) / curve.losses
    covered = float("nan")
    if law.worlds:
        low, high = law.interval(curve.learning_rates, curve.steps)
        covered = float(np.mean((curve.losses >= low) & (curve.losses <= high)))
    spread = float(((curve.losses - curve.losses.mean()) ** 2).sum())
    return Scores(
        r2=1 - float((error**2).sum()) / spread,
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        mean=float(relative.mean()),
        worst=float(relative.max()),
        covered=covered,
    )


def average(scores: Sequence[Scores]) -> Scores:
    """Means over curves."""
    return Scores(*(float(np.mean([getattr(each, name) for each in scores])) for name in vars(scores[0])))


def ranked(law: lrkit.FittedLaw, curves: Sequence[lrkit.LossCurve]) -> tuple[int, int]:
    """How many pairs of last losses that differ enough are ranked right, and how many there are."""
    right = wanted = 0
    for a, b in combinations(curves, 2):
        if abs(a.losses[-1] - b.losses[-1]) <= APART * min(a.losses[-1], b.losses[-1]):
            continue
        wanted += 1
        first, second = (law.predict(each.learning_rates, [each.steps[-1]])[0] for each in (a, b))
        right += (first < second) == (a.losses[-1] < b.losses[-1])
    return right, wanted


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def numbers(scores: Scores) -> list[str]:
    """The cells of scores."""
    shown = [f"{scores.r2:.4f}", *(f"{getattr(scores, name):.5f}" for name in ("mae", "rmse", "mean", "worst"))]
    return [*shown, "" if np.isnan(scores.covered) else f"{100 * scores.covered:.0f} %"]


def read_all(folder: Path) -> dict[str, lrkit.LossCurve]:
    """The curves of one size."""
    return {name: read(folder, name) for name in SCHEDULES if (folder / f"{name}.csv").exists()}


def choices(folder: Path, count: int) -> list[str]:
    """The cells of a row: how near the rest is predicted, from each choice of so many curves."""
    curves = read_all(folder)
    means, worst, inside = [], [], []
    for chosen in combinations(curves, count):
        law = lrkit.fit_law([curves[name] for name in chosen])
        found = average([score(law, each) for name, each in curves.items() if name not in chosen])
        means.append(found.mean)
        worst.append(found.worst)
        inside.append(found.covered)
    middle, most, least = np.median(means), np.quantile(means, 0.9), max(means)
    shown = [f"{each:.5f}" for each in (middle, most, least, np.median(worst))]
    return [folder.name, str(count), str(len(means)), *shown, f"{100 * np.mean(inside):.0f} %"]


def report(folder: Path) -> None:
    """The tables of one size."""
    curves = read_all(folder)
    fitted = [curves[name] for name in FITTED]
    others = [curve for name, curve in curves.items() if name not in FITTED]
    head = ["R2", "MAE", "RMSE", "mean relative error", "worst relative error", "inside of the 95 % interval"]
    print(f"\n{folder.name}, mean over the {len(others)} that weren't fitted:\n")
    print(row(["law", *head]))
    print(row(["---", *["--:"] * len(head)]))
    law = lrkit.fit_law(fitted)
    found = {each.name: score(law, each) for each in others}
    print(row([f"**auto: {law.law.name}**", *numbers(average(list(found.values())))]))
    for name in LAWS:
        single = lrkit.fit_law(fitted, name, worlds=0)
        print(row([name, *numbers(average([score(single, each) for each in others]))]))
    if folder.name in PUBLISHED:
        r2, *errors = PUBLISHED[folder.name]
        print(row(["published: multi-power law", f"{r2:.4f}", *(f"{each:.5f}" for each in errors), ""]))
    print(f"\n{folder.name}, {law.law.name}, each curve:\n")
    print(row(["curve", *head, "last loss", "predicted"]))
    print(row(["---", *["--:"] * (len(head) + 2)]))
    for each in others:
        last = float(law.predict(each.learning_rates, [each.steps[-1]])[0])
        low, high = (float(end[0]) for end in law.interval(each.learning_rates, [each.steps[-1]]))
        ends = [f"{each.losses[-1]:.4f}", f"{last:.4f} ({low:.4f} to {high:.4f})"]
        print(row([each.name, *numbers(found[each.name]), *ends]))
    right, wanted = ranked(law, list(curves.values()))
    unseen, pairs = ranked(law, others)
    print(f"\nPairs of last losses that differ by more than {100 * APART:g} %: {right} of {wanted} ranked right;")
    print(f"of those between curves that weren't fitted, {unseen} of {pairs}.")
    print("\n".join(law.chosen))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, action="append", help="of curves; may be repeated")
    parser.add_argument("--choices", action="store_true", help="fit to each choice of two and of three of the curves")
    given = parser.parse_args()
    folders = given.folder or sorted(DATA.glob("llm_*"), key=lambda each: len(each.name))
    if not given.choices:
        for folder in folders:
            report(folder)
        return
    errors = ["median", "9 of 10 are below", "highest"]
    head = ["curves", "choices", *(f"mean relative error: {each}" for each in errors), "worst point, median"]
    print(row(["size", *head, "inside of the 95 % interval"]))
    print(row(["---", *["--:"] * (len(head) + 1)]))
    for folder in folders:
        for count in (2, 3):
            print(row(choices(folder, count)), flush=True)


if __name__ == "__main__":
    main()

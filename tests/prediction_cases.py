"""Small runs that follow the multi-power law, and the law itself with worlds around it."""

import numpy as np

from lrkit import FittedLaw, LossCurve, parse
from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.fitted import World

STEPS, PEAK = 80, 0.1
VALUES = {"L0": 2.0, "A": 0.8, "alpha": 0.5, "B": 3.0, "C": 2.0, "beta": 0.5, "gamma": 0.5}
RUNS = {
    "constant": "warmup(5) >> constant()",
    "falling": "warmup(5) >> cosine(to=0.1)",
    "dropped": "warmup(5) >> constant(1, steps=35) >> constant(0.3)",
}


def rates(text, steps=STEPS, peak=PEAK):
    return parse(text).over(steps).value(np.arange(steps), peak)


def true_law(curves=(), worlds=()):
    return FittedLaw(LAWS["multi_power"], VALUES, tuple(curves), tuple(worlds))


def curve(text, name="run", steps=STEPS, points=16):
    """What a run of this schedule would have recorded, noise included."""
    at = np.unique(np.linspace(8, steps, points).astype(int))
    own = rates(text, steps)
    noise = np.random.default_rng(len(text)).normal(size=len(at))
    return LossCurve(at, true_law().predict(own, at) * np.exp(0.002 * noise), own, name=name)


def law_with_worlds(count=40, spread=0.01, **others):
    """The law as it would be fitted to the runs, with worlds that differ from it by chance."""
    rng = np.random.default_rng(0)
    law = LAWS["multi_power"]
    drawn = [
        World(law, {name: value * np.exp(spread * rng.normal()) for name, value in VALUES.items()})
        for _ in range(count)
    ]
    curves = [curve(text, name) for name, text in RUNS.items()]
    return FittedLaw(law, VALUES, tuple(curves), tuple(drawn), **others)


def write_runs(folder):
    """A table for each run, with a row for each loss that was measured; their paths."""
    paths = []
    for name, text in RUNS.items():
        made = curve(text, name)
        used = made.learning_rates[made.steps - 1]
        rows = zip(made.steps.tolist(), used.tolist(), made.losses.tolist(), strict=True)
        path = folder / f"{name}.csv"
        path.write_text("\n".join(["step,lr,loss", *(",".join(map(str, row)) for row in rows)]) + "\n")
        paths.append(path)
    return paths

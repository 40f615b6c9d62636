"""Draw docs/images/predict.png: three measured loss curves, and what a law that was fitted to them says of others.

python tools/predict_figure.py
"""

from pathlib import Path

import numpy as np

import lrkit
from lrkit.output.plots import save
from lrkit.output.predict_plot import predict_figure

ROOT = Path(__file__).parent.parent
DATA = ROOT / "benchmarks" / "data" / "loss_curves" / "llm_100M"
PICTURE = ROOT / "docs" / "images" / "predict.png"
PEAK = 3e-4
RISE = "linear(2160, start=0, to=1)"
# What was run: the file, the schedule, and how many updates.
FITTED = {
    "cosine, 24000 steps": ("cosine_24000", f"{RISE} >> cosine(to=0.1)", 24_000),
    "constant": ("constant_24000", f"{RISE} >> constant()", 24_000),
    "drop to 0.3": ("wsdcon_9", f"{RISE} >> constant(1, steps=5840) >> constant(0.3)", 16_000),
}
PREDICTED = {
    "fall in the last sixth": ("wsd_20000_24000", f"{RISE} >> constant() >> exponential(4000, to=0.1)", 24_000),
    "cosine, 72000 steps": ("cosine_72000", f"{RISE} >> cosine(to=0.1)", 72_000),
}


def curve(name: str) -> lrkit.LossCurve:
    """What was measured of a run, and the rates that it used."""
    file, schedule, updates = {**FITTED, **PREDICTED}[name]
    steps, _, losses = np.loadtxt(DATA / f"{file}.csv", delimiter=",", skiprows=1, unpack=True)
    return lrkit.LossCurve(steps, losses, lrkit.parse(schedule).over(updates)(np.arange(updates), PEAK), name=name)


def main() -> None:
    """Fit, predict, draw, and say how far off the predictions are."""
    law = lrkit.fit_law([curve(name) for name in FITTED])
    truth = {name: curve(name) for name in PREDICTED}
    proposals = [lrkit.Proposal(name, each.learning_rates) for name, each in truth.items()]
    found = lrkit.predict(law, proposals)
    title = "Fitted to three runs of a language model with 100M parameters; what was predicted was run as well"
    save(predict_figure(found, title, truth=truth), PICTURE)
    for name, each in truth.items():
        off = np.abs(law.predict(each.learning_rates, each.steps) / each.losses - 1)
        print(f"{name}: mean relative error {off.mean():.5f}, largest {off.max():.5f}")
    print(f"wrote {PICTURE.name}")


if __name__ == "__main__":
    main()

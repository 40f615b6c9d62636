"""Candidates with a known truth, made without training: rates by the schedules themselves, losses by a formula."""

import numpy as np

import lrkit
from lrkit import EpochRecord, History
from lrkit.analysis.comparison import Candidate

EPOCHS, EPOCH_STEPS = 6, 20
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
LINE_UP = {
    "linear(to=0)": 0.10,
    "StepLR": 0.11,
    "plateau": 0.101,
    "constant()": 0.16,
}
TEXTS = {"StepLR": "staircase(every=2ep, factor=0.1)", "plateau": "plateau(patience=1)"}


def history(text, lr, seed, final, *, epochs=EPOCHS, diverges=False, noise=0.003):
    """A run whose losses fall to `final`, a little apart from seed to seed; the numbers are the same every time."""
    random = np.random.default_rng([seed, *text.encode()])
    steps = epochs * EPOCH_STEPS
    lrs = np.array(rates(text, lr, seed)[:steps])
    losses = (final + np.exp(-np.arange(steps) / (2 * EPOCH_STEPS)) + 0.05 * random.random(steps)).astype(np.float32)
    if diverges:
        losses[steps // 2 :] = np.nan
    shared = np.random.default_rng(seed).normal(0, noise, epochs)
    records = []
    for epoch in range(epochs):
        end = (epoch + 1) * EPOCH_STEPS
        value = final + np.exp(-(epoch + 1) / 1.2) + shared[epoch] + random.normal(0, noise / 3)
        value = float("nan") if diverges and end > steps // 2 else float(value)
        records.append(
            EpochRecord(
                epoch=epoch + 1,
                step=end,
                train_loss=float(losses[end - EPOCH_STEPS : end].mean()),
                valid_loss=value + 0.002,
                metrics={"accuracy": 1 - value / 3},
                lr=float(lrs[end - 1]),
                seconds=1.5,
                test_loss=value,
                test_metrics={"accuracy": 1 - value / 3},
            )
        )
    made = {
        "task": "small",
        "schedule": text,
        "lr": lr,
        "seed": seed,
        "steps": EPOCHS * EPOCH_STEPS,
        "epochs": EPOCHS,
        "batch_size": 32,
        "device": "cpu",
    }
    return History(tuple(records), lrs[:, None], losses, made)


def rates(text, lr, seed):
    """Of every step; plateau's falls where the seed says."""
    steps = np.arange(EPOCHS * EPOCH_STEPS)
    if "plateau" in text:
        return np.where(steps < (3 + seed % 2) * EPOCH_STEPS, lr, 0.1 * lr)
    return lrkit.parse(text).over(len(steps), epoch_steps=EPOCH_STEPS)(steps, lr)


def candidate(name, final, *, seeds=range(100, 104), lr=0.1, diverged=()):
    """With runs at the best rate, and a search whose highest rate diverges and whose lowest is dropped."""
    text = TEXTS.get(name, name)
    runs = {seed: history(text, lr, seed, final, diverges=seed in diverged) for seed in seeds}
    tried = {}
    for rate in RATES:
        loss = final + 0.03 * np.log10(rate / lr) ** 2
        epochs = 2 if rate == RATES[0] else EPOCHS
        wild = rate == RATES[-1]
        tried[rate] = {seed: history(text, rate, seed, loss, epochs=epochs, diverges=wild) for seed in range(2)}
    return Candidate(name, text, lr, runs, tried)


def candidates(names=LINE_UP, **given):
    """The line-up, or these names with their final losses."""
    return [candidate(name, final, **given) for name, final in names.items()]


def told(comparison):
    """All that a comparison says, but for times and what trained it."""
    found = comparison.to_dict()
    for name in ("seconds", "backends"):
        found["made"].pop(name)
    for each in found["schedules"]:
        (each["reached"] or {}).pop("seconds", None)
    return found

"""`lrkit predict`: from a few recorded runs, the loss that other schedules would reach."""

import json
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from lrkit.analysis.laws.catalogue import LAWS
from lrkit.analysis.laws.fitted import as_level
from lrkit.analysis.laws.fitting import fit_law
from lrkit.analysis.optimisation import LEAST_STEPS
from lrkit.analysis.prediction import Prediction
from lrkit.analysis.predictions import predict
from lrkit.output.plots import check_out, save
from lrkit.output.predict_plans import Plans, plan
from lrkit.output.predict_plot import predict_figure
from lrkit.output.predict_proposals import MOST_STEPS, propose
from lrkit.output.predict_runs import RunOptions, read_runs
from lrkit.output.predict_table import WIDTH, predict_table
from lrkit.output.torchrun import say
from lrkit.schedules.errors import InputError
from lrkit.schedules.shares import as_count, as_positive

__all__ = ["PredictOptions", "predict_schedules"]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What a person asked for; `cli_prediction.predict` says what each means."""

    runs: RunOptions
    schedules: Sequence[str] = ()
    steps: int | None = None
    peak: float | None = None
    law: str = "auto"
    level: float = 0.95
    seed: int = 0
    optimize: bool = False
    cooldown: int | None = None
    out: Path | None = None
    json: bool = False


def predict_schedules(options: PredictOptions) -> None:
    """Check everything that a person can get wrong, fit, report."""
    check_out(options.out)
    as_level(options.level, "--level")
    as_count(options.seed, "--seed")
    if options.cooldown is not None and as_count(options.cooldown, "--cooldown") > MOST_STEPS:
        raise InputError(f"--cooldown must be at most {MOST_STEPS}, not {options.cooldown}")
    if (options.optimize or options.cooldown is not None) and options.law in LAWS and not LAWS[options.law].response:
        raise InputError(
            f"--law must be one that knows of rates for --optimize and --cooldown, not {options.law}: for it all "
            "schedules are alike"
        )
    try:
        prediction, plans = _predicted(options)
    except KeyboardInterrupt:
        say("interrupted: nothing is kept of a fit that hasn't ended")
        raise typer.Exit(128 + signal.SIGINT) from None
    if options.out is not None:
        save(predict_figure(prediction), options.out)
    _report(prediction, plans, options)


def _predicted(options: PredictOptions) -> tuple[Prediction, Plans]:
    curves = read_runs(options.runs)
    if options.cooldown is not None and not curves[0].learning_rates[-1]:
        raise InputError(
            f"--cooldown must be for a first run whose rate ends above 0: that of {curves[0].name} ends at 0"
        )
    steps = max(len(each.learning_rates) for each in curves) if options.steps is None else options.steps
    if options.optimize:
        as_count(steps, "--steps", low=LEAST_STEPS)
    peak = max(each.peak for each in curves) if options.peak is None else as_positive(options.peak, "--peak")
    proposals = propose(options.schedules, steps, peak, options.runs.epoch_steps)
    if sys.stderr.isatty():
        say(f"fitting to {len(curves)} runs, which takes some seconds")
    law = fit_law(curves, options.law, seed=options.seed)
    plans = plan(law, steps, peak, options.level, optimize=options.optimize, cooldown=options.cooldown)
    proposals += plans.proposals([each.name for each in proposals])
    return predict(law, proposals, level=options.level), plans


def _report(prediction: Prediction, plans: Plans, options: PredictOptions) -> None:
    if options.json:
        picture = None if options.out is None else str(options.out)
        typer.echo(json.dumps({**prediction.to_dict(), **plans.to_dict(), "picture": picture}, allow_nan=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    for line in [*predict_table(prediction, width), *plans.lines(width)]:
        typer.echo(line)
    if options.out is not None:
        typer.echo(f"picture {options.out}")

"""The command line of what predicts; torch is loaded when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from lrkit.output.cli_records import (
    SOURCE_HELP,
    Between,
    EpochSteps,
    FirstStep,
    Loss,
    LrAhead,
    RunName,
    StepName,
    ValidLoss,
)
from lrkit.output.torchrun import refuse_processes

__all__ = ["LAW_NAMES", "predict"]

# A test compares them with what there is; the laws need torch, which is slow to load.
LAW_NAMES = ("feedback", "multi_power", "convolution", "annealing", "power", "exponential")


def predict(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help=f"Records of runs of one task; two or three are enough. {SOURCE_HELP}"),
    ],
    schedule: Annotated[
        list[str] | None,
        typer.Option(
            help="A schedule that is asked about, as text; may be repeated: 'warmup(5%) >> cosine(to=0)', "
            "'wsd(5%, 20%)'. lrkit schedules lists all. Without any, only the fit is shown."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="How many updates the schedules have; by default as many as the longest of the runs."),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option(help="The base (peak) learning rate of the schedules; by default the highest rate of the runs."),
    ] = None,
    optimize: Annotated[
        bool,
        typer.Option(
            "--optimize",
            help="Search the schedule that the law says is best for --steps at --peak: as a table, and the nearest "
            "that has a name; and what fewer and more steps would give.",
        ),
    ] = False,
    cooldown: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            help="How long to cool down in the first run, which has so many steps left and a rate above 0; 0 if it is "
            "to begin now.",
        ),
    ] = None,
    law: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"The law that is fitted: {', '.join(LAW_NAMES)}, or auto, which chooses by how laws predict.",
        ),
    ] = "auto",
    measure: Annotated[
        str,
        typer.Option(help="training, validation or test: which loss the law is fitted to."),
    ] = "training",
    level: Annotated[float, typer.Option(help="Of the intervals, such as 0.95.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of what is drawn by chance for the intervals.")] = 0,
    warmup: Annotated[
        int | None,
        typer.Option(
            help="How many updates the rate rose from 0 in runs whose records begin after that; by default what the "
            "records show."
        ),
    ] = None,
    run_schedule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCHEDULE",
            help="What the schedule of the runs was, where rates weren't recorded, or are to be replaced: one for all "
            "runs, or one for each.",
        ),
    ] = None,
    run_lr: Annotated[
        list[float] | None,
        typer.Option(metavar="RATE", help="The base of --run-schedule: one for all, or one for each."),
    ] = None,
    run_steps: Annotated[
        list[int] | None,
        typer.Option(
            metavar="STEPS",
            help="How many updates --run-schedule has, one for all or one for each; by default as many as recorded.",
        ),
    ] = None,
    skip: Annotated[
        int | None,
        typer.Option(
            metavar="STEP",
            help="Leave out losses before this step, beside those of the warmup; by default the first 2 %.",
        ),
    ] = None,
    loss: Loss = None,
    valid_loss: ValidLoss = None,
    lr: Annotated[
        list[str] | None,
        typer.Option("--lr", metavar="NAME", help="What the learning rate is called in records; by default known."),
    ] = None,
    step: StepName = None,
    epoch_steps: EpochSteps = None,
    first_step: FirstStep = None,
    between: Between = None,
    lr_ahead: LrAhead = None,
    run: RunName = None,
    out: Annotated[Path | None, typer.Option(help="Draw a picture: a .png, .svg or .pdf file.")] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help='Print one JSON object and nothing else: "candidates" has the schedules, the best first.'
        ),
    ] = False,
) -> None:
    """Predict the loss that schedules would reach which were never run, from a few runs that were.

    Fits a law of how the loss follows from the learning rate, and prints the final loss of each schedule with its
    interval, ranked, with probabilities, and which can't be told apart. What lies outside of what the runs have shown
    is marked. The options from --loss to --run say how records of others are read, as for lrkit import.
    """
    refuse_processes("lrkit predict", "start it without, it trains nothing")
    from lrkit.output.predict_command import PredictOptions, predict_schedules
    from lrkit.output.predict_runs import RunOptions

    predict_schedules(
        PredictOptions(
            schedules=schedule or [],
            steps=steps,
            peak=peak,
            law=law,
            level=level,
            seed=seed,
            optimize=optimize,
            cooldown=cooldown,
            out=out,
            json=json,
            runs=RunOptions(
                paths=runs,
                measure=measure,
                warmup=warmup,
                schedules=run_schedule or [],
                rates=run_lr or [],
                lengths=run_steps or [],
                skip=skip,
                lr=lr or [],
                loss=loss,
                valid_loss=valid_loss,
                step=step,
                epoch_steps=epoch_steps,
                first_step=first_step,
                between=between,
                lr_ahead=lr_ahead,
                run=run,
            ),
        )
    )

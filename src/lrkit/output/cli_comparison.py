"""The command line of what compares schedules; torch is loaded when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from lrkit.output.cli_records import (
    Between,
    EpochSteps,
    FirstStep,
    Loss,
    LrAhead,
    LrName,
    MetricName,
    RunName,
    StepName,
    ValidLoss,
)
from lrkit.output.cli_training import (
    SCHEDULE_HELP,
    TASK_HELP,
    BatchSize,
    Data,
    Debug,
    Device,
    Epochs,
    Steps,
    Threads,
)
from lrkit.output.torchrun import refuse_processes

__all__ = ["compare", "report"]


def compare(
    task: Annotated[str, typer.Argument(help=TASK_HELP)],
    schedule: Annotated[
        list[str] | None, typer.Option(help=f"A schedule as text; may be repeated. {SCHEDULE_HELP}")
    ] = None,
    schedules: Annotated[
        str | None,
        typer.Option(
            metavar="LINE-UP",
            help="A line-up: tutorial (constant, StepLR, MultiStepLR, ExponentialLR, plateau) or modern "
            "(warmup_cosine, one_cycle, linear_to_zero, wsd, plateau, schedule_free); may be combined with --schedule. "
            "By default tutorial; of a folder that has a comparison, its schedules.",
        ),
    ] = None,
    lr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRID",
            help="Base (peak) learning rates to choose from, each schedule its own: 0.03,0.1,0.3, or 0.01:1:8log; may "
            "be repeated. By default eight, half a decade apart, around the task's.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many runs of each schedule at its best rate; by default 5.")
    ] = None,
    selection_seeds: Annotated[
        int | None,
        typer.Option(help="How many runs at each rate when rates are chosen, with other seeds; by default 2."),
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The schedule that the others are compared with; by default the best when rates were chosen.",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Count the updates until the measure is as good as this; by default what all reach in the mean."
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help="loss, or a metric of the task, such as accuracy; by default what the comparison in --out has, else "
            "loss."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="min or max: what is better; by default min for losses and max for names that end in accuracy. Other "
            "metrics need it."
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Share of the training data that rates are chosen by, and that isn't trained on; by default a sixth. "
            "Not for a task that has valid and test both."
        ),
    ] = None,
    halving: Annotated[
        bool, typer.Option(help="Whether rates that fall behind are dropped before the end of their training.")
    ] = True,
    batch_size: BatchSize = None,
    data: Data = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="How lanes are trained: compiled, eager, sequential, processes; by default auto, which measures."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="What lanes that are trained at once may take: 4GB, or 50% of what is free, the default."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder; by default a new one, runs/TASK-compare-DATE-TIME. What is in it isn't trained again: "
            "the comparison goes on, or is extended by schedules and seeds."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the comparison that is in --out instead of going on with it.")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help='Print one JSON object and nothing else: "verdict" in words, "schedules" has an entry for each.',
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Compare schedules, each at its own best learning rate, and say which is better, or that it can't be told.

    Rates are chosen on held-out training data; then each schedule is trained at its best one with fresh seeds, and
    measured on the task's validation data, which nothing was chosen by. Prints a verdict and a table, and leaves a
    folder with the picture comparison.png and the page report.html. After Ctrl-C, SIGTERM or a crash the same command
    with --out goes on.
    """
    refuse_processes("lrkit compare", "start it without, it trains its lanes at once by itself")
    from lrkit.output.compare_command import compare_schedules
    from lrkit.output.compare_options import CompareOptions

    compare_schedules(
        CompareOptions(
            task=task,
            schedule=schedule or [],
            schedules=schedules,
            lr=lr or [],
            seeds=seeds,
            selection_seeds=selection_seeds,
            epochs=epochs,
            steps=steps,
            reference=reference,
            target=target,
            measure=measure,
            mode=mode,
            holdout=holdout,
            halving=halving,
            batch_size=batch_size,
            data=data,
            backend=backend,
            memory=memory,
            out=out,
            overwrite=overwrite,
            device=device,
            threads=threads,
            json=json,
            quiet=quiet,
            debug=debug,
        )
    )


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Folders that lrkit compare made; or records of runs: run folders of lrkit, .csv files, TensorBoard "
            "events, folders of Lightning's CSVLogger, transformers' trainer_state.json or checkpoints.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page, a .html file, with the picture beside it; by default report.html in the folder, or in the "
            "working folder for several."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="The schedule that the others are compared with.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Count the updates until the measure is as good as this.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="Of runs: loss, the default, or a metric that all have, such as accuracy.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Of runs: min or max, what is better; known for losses and accuracies.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="What runs are called: one for each, in their order. Runs of one name are seeds of one schedule. By "
            "default a run is called after its schedule, or its file or folder where that isn't known."
        ),
    ] = None,
    loss: Loss = None,
    valid_loss: ValidLoss = None,
    lr: LrName = None,
    metric: MetricName = None,
    step: StepName = None,
    epoch_steps: EpochSteps = None,
    first_step: FirstStep = None,
    between: Between = None,
    lr_ahead: LrAhead = None,
    run: RunName = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else, as lrkit compare does.")
    ] = False,
) -> None:
    """Show comparisons again, or compare runs, from what was recorded: no task is loaded, and nothing is trained.

    Several comparisons are joined as one: seeds of the same schedule at the same rate are united. They must be of the
    same task. Runs of one schedule and rate are seeds of a candidate, whoever trained them. The options from --loss on
    say how records of others are read, as for lrkit import.

    Prints the verdict and the table, and writes the page and the picture anew.
    """
    refuse_processes("lrkit report", "start it without, it trains nothing")
    from lrkit.output.import_command import ReadOptions
    from lrkit.output.report_command import ReportOptions, report_comparisons

    report_comparisons(
        ReportOptions(
            folders=folders,
            out=out,
            json=json,
            reference=reference,
            target=target,
            measure=measure,
            mode=mode,
            names=name or [],
            read=ReadOptions(
                loss=loss,
                valid_loss=valid_loss,
                lr=lr or [],
                metric=metric or [],
                step=step,
                epoch_steps=epoch_steps,
                first_step=first_step,
                between=between,
                lr_ahead=lr_ahead,
                run=run,
            ),
        )
    )

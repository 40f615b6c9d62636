"""The command line of records from elsewhere and for elsewhere; torch is loaded when it runs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Between", "EpochSteps", "FirstStep", "Loss", "LrAhead", "LrName", "MetricName", "RunName", "StepName", "ValidLoss",
    "export_run", "import_run",
]  # fmt: skip  # more to a line reads better

SOURCE_HELP = (
    "A run folder of lrkit, a table (.csv), JSON or JSON lines, a text log, a folder or file of TensorBoard events, a "
    "folder of Lightning's CSVLogger, transformers' trainer_state.json, its checkpoint or folder of checkpoints, or "
    "the local store of MLflow or trackio."
)

# What is read of records of others, where it can't be guessed.
Loss = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the training loss, or a sum of several, a+b; by default found by name."),
]
ValidLoss = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the validation loss, or none to read none; by default found by name."),
]
LrName = Annotated[
    list[str] | None,
    typer.Option(
        "--lr",
        metavar="NAME|RATE",
        help="What the learning rate is called; may be repeated, for each param group. Or a number: the base of "
        "--schedule (without one a constant), where no rates were recorded.",
    ),
]
MetricName = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME=RECORDED",
        help="A metric of validation and what it is called, such as accuracy=val/top1; may be repeated. By default "
        "what is called after validation.",
    ),
]
StepName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column that counts steps; rows takes each row for an update."),
]
RunName = Annotated[
    str | None,
    typer.Option("--run", metavar="NAME", help="Which run to read, of a record with several; all reads each of them."),
]
EpochSteps = Annotated[int | None, typer.Option(help="How many updates an epoch has, for a record that counts epochs.")]
FirstStep = Annotated[
    int | None, typer.Option(help="What the first update is called, 0 or 1; by default seen from the steps.")
]
Between = Annotated[
    str | None,
    typer.Option(
        metavar="linear|hold",
        help="How rates between two logged ones are filled in: linear, or hold to keep each until the next. By default "
        "held where they were logged once an epoch, else linear.",
    ),
]
LrAhead = Annotated[
    bool | None,
    typer.Option(
        help="Whether a logged rate is that of the next update, as where a scheduler steps before it is logged.",
        show_default=False,
    ),
]
Name = Annotated[str | None, typer.Option(help="What the run is called; by default after the file or folder.")]
Task = Annotated[str | None, typer.Option(help="What was trained, in words.")]
Schedule = Annotated[str | None, typer.Option(help="What the schedule was, as text. lrkit schedules lists all.")]
Seed = Annotated[int | None, typer.Option(help="Of the run.")]


def import_run(
    source: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    out: Annotated[Path, typer.Option(help="The run folder that is written.")],
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
    schedule: Schedule = None,
    seed: Seed = None,
    name: Name = None,
    task: Task = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the record that is in --out.")] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help='Print one JSON object and nothing else: "imported" says how it was read.'),
    ] = False,
) -> None:
    """Read the record of a run that something else trained, and write it as a run folder of lrkit.

    Says what was read as what, and what was filled in between.
    """
    from lrkit.output.import_command import ReadOptions, import_record

    options = ReadOptions(
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
    )
    said = {"schedule": schedule, "seed": seed, "name": name, "task": task}
    import_record(source, out, options, said, overwrite=overwrite, as_json=json)


def export_run(
    run: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .csv file, a row for each update; it is replaced.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write events for TensorBoard into this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Write the record of a run as a .csv file, as events for TensorBoard, or both.

    Another's record, whose names aren't known, goes through lrkit import first.
    """
    from lrkit.output.export_command import export_record

    export_record(run, csv, tensorboard, as_json=json)

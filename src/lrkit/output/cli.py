"""The command line: what it offers, and how it says what is wrong."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import lrkit
from lrkit.schedules.errors import InputError, InputTypeError

__all__ = ["app", "main"]

app = typer.Typer(
    name="lrkit",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="The learning-rate toolkit for PyTorch: preview a schedule, train with it, sweep over many.",
)

BUILT_IN = ("mnist", "mnist-wide", "mnist-cnn", "chars")  # a test compares it with what there is; torch is slow to load
SCHEDULE_HELP = (
    "For example 'plateau(patience=5)', 'warmup(5%) >> linear(to=0)', 'staircase(every=10ep, factor=0.1)', "
    "'every(1ep, exponential(factor=0.9))', or torch's names: 'StepLR(step_size=10, gamma=0.1)', "
    "'MultiStepLR(milestones=[10,30], gamma=0.1)', 'ExponentialLR(gamma=0.9)', 'ReduceLROnPlateau(patience=5)' and "
    "others, which count epochs, but CyclicLR and OneCycleLR updates. lrkit schedules lists all."
)


# What all commands that train are asked for.
TaskName = Annotated[
    str | None,
    typer.Argument(help=f"What to train: {', '.join(BUILT_IN)}, or your own: file.py:task or package.module:task."),
]
Epochs = Annotated[int | None, typer.Option(help="Passes through the data; by default the task's.")]
Steps = Annotated[int | None, typer.Option(help="Optimizer updates, instead of --epochs.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples in a batch; by default the task's.")]
Data = Annotated[
    Path | None, typer.Option(help="A folder in MNIST's IDX format, raw or gz, to train on instead of MNIST.")
]
CheckpointEvery = Annotated[
    str, typer.Option(help="How often to save within an epoch: a number of updates, or 90s, 10min, 2h.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU if there is one.")]
Threads = Annotated[int | None, typer.Option(help="Threads on a CPU; by default torch's choice.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback when the task fails.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lrkit {lrkit.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """The learning-rate toolkit for PyTorch: preview a schedule, train with it, sweep over many."""


@app.command()
def train(
    task: TaskName = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help=f"The schedule as text; by default plateau(patience=5). {SCHEDULE_HELP} Several hyper-parameters: "
            "'lr: one_cycle(); momentum: one_cycle_momentum()'."
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="The base (peak) learning rate; by default the task's.")] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    seed: Annotated[int | None, typer.Option(help="Of the initial weights and the data order; by default 0.")] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default a new one, runs/TASK-DATE-TIME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the run in this folder, as it was made.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="With --resume and another --epochs, --steps or --schedule: keep (the old schedule and horizon), "
            "stretch (the old schedule over the new horizon) or replace (the new)."
        ),
    ] = None,
    checkpoint_every: CheckpointEvery = "5min",
    device: Device = None,
    threads: Threads = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile each update: slower for a minute, then faster; pays for long runs of small models.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing while training.")] = False,
    debug: Debug = False,
) -> None:
    """Train a task while a schedule adjusts the learning rate.

    Prints a line for each epoch and leaves a run folder: configuration, checkpoints, history, and the curves as a
    picture. Ctrl-C and SIGTERM finish the update and save; after them, or a crash, --resume goes on.
    """
    from lrkit.output.train_command import train_task
    from lrkit.output.train_options import TrainOptions

    train_task(
        TrainOptions(
            task=task,
            schedule=schedule,
            lr=lr,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            data=data,
            out=out,
            overwrite=overwrite,
            resume=resume,
            policy=policy,
            checkpoint_every=checkpoint_every,
            device=device,
            threads=threads,
            compiled=compiled,
            json=json,
            quiet=quiet,
            debug=debug,
        )
    )


@app.command()
def sweep(
    task: TaskName = None,
    lr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRID",
            help="Base (peak) learning rates: 0.1, or 0.01,0.1,1, or 0.1:0.5:5 (five values, evenly spaced), or "
            "0.001:1:16log (sixteen, logarithmically spaced), or these with commas between them; may be repeated. "
            "By default the task's.",
        ),
    ] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(
            help="A schedule as text; may be repeated. By default plateau(patience=5). lrkit schedules lists all."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds of each: 3 are 0, 1 and 2. By default only seed 0.")
    ] = None,
    momentum: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRID", help="Of SGD and RMSprop; of Adam's family the first beta. By default the task's."
        ),
    ] = None,
    weight_decay: Annotated[list[str] | None, typer.Option(metavar="GRID", help="By default the task's.")] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    data: Data = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="How lanes are trained: compiled or eager (many at once), sequential (one after another), processes, "
            "or auto, which measures; by default auto."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What lanes that are trained at once may take: 4GB, 500MB, or 50% of what is free, the default; "
            "sequential and processes need no limit."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; by default a new one, runs/TASK-sweep-DATE-TIME.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sweep that is in --out.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the sweep in this folder, as it was made.")
    ] = None,
    checkpoint_every: CheckpointEvery = "5min",
    device: Device = None,
    threads: Threads = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help='Print one JSON object and nothing else: "lanes" has an entry for each, "best" is one of them.',
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Train every combination of learning rates, schedules and seeds, and say which is best.

    Each is a run of its own, a lane, with the numbers that lrkit train would give. Prints a table, the best first, and
    leaves a folder with the picture sweep.png. A lane that diverges ends, and the others go on. Ctrl-C and SIGTERM
    save; after them, or a crash, --resume goes on.
    """
    from lrkit.output.sweep_command import sweep_task
    from lrkit.output.sweep_options import SweepOptions

    sweep_task(
        SweepOptions(
            task=task,
            lr=lr or [],
            schedule=schedule or [],
            momentum=momentum or [],
            weight_decay=weight_decay or [],
            seeds=seeds,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            data=data,
            backend=backend,
            memory=memory,
            out=out,
            overwrite=overwrite,
            resume=resume,
            checkpoint_every=checkpoint_every,
            device=device,
            threads=threads,
            json=json,
            quiet=quiet,
            debug=debug,
        )
    )


@app.command()
def plot(
    texts: Annotated[list[str], typer.Argument(metavar="SCHEDULE", help=f"Schedules as text. {SCHEDULE_HELP}")],
    total: Annotated[
        int | None, typer.Option(help="How many steps to draw; by default the longest schedule's own length, or 1000.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How many epochs to draw, instead of --total.")] = None,
    epoch_steps: Annotated[
        int | None, typer.Option(help="Steps in an epoch; with --epochs by default 100. The axis then counts epochs.")
    ] = None,
    step_tokens: Annotated[int | None, typer.Option(help="Tokens in a step, for lengths such as 2Mtok.")] = None,
    step_samples: Annotated[int | None, typer.Option(help="Samples in a step, for lengths such as 50ksamples.")] = None,
    lr: Annotated[
        float | None, typer.Option(help="The base (peak) learning rate; by default 1, so that shares show.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP,...",
            help="Print the values at these steps as a table instead, for example 0,100,5%,10ep; may be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Draw a picture too: a .png, .svg or .pdf file.")] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help='Print one JSON object instead: "schedules" has each one\'s rates at every step.'),
    ] = False,
) -> None:
    """Preview schedules without training: here in the terminal, and all in one picture with --out.

    The learning rate is always drawn, other hyper-parameters where they move. lrkit schedules lists what there is.
    """
    from lrkit.output.plot_command import PlotOptions, plot_schedules

    plot_schedules(
        PlotOptions(
            texts=texts,
            total=total,
            epochs=epochs,
            epoch_steps=epoch_steps,
            step_tokens=step_tokens,
            step_samples=step_samples,
            lr=lr,
            at=at or [],
            out=out,
            json=json,
        )
    )


@app.command()
def schedules(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show one of them in full: its arguments, an example, its curve."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help='Print one JSON object instead: "schedules" has an entry for each.')
    ] = False,
) -> None:
    """List every kind of schedule: its arguments, its formula, and what it looks like.

    They compose: a >> b is one after the other, a * b the product. lrkit plot draws any text.
    """
    from lrkit.output.schedules_command import list_schedules, show_schedule

    if name is None:
        list_schedules(as_json=json)
    else:
        show_schedule(name, as_json=json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 bad input, 3 the training (or all of a sweep) diverged, 130 interrupted.

    Bad input gets one line; only what is a fault of lrkit's own has a traceback.
    """
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="lrkit", standalone_mode=False)
    except typer.TyperException as error:
        _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (InputError, InputTypeError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", status=130)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str, status: int = 2) -> None:
    if sentence:
        typer.echo(f"lrkit: error: {sentence}", err=True)
    sys.exit(status)

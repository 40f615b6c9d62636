"""The command line of what trains: find, train, sweep; torch is loaded when one of them runs."""

from pathlib import Path
from typing import Annotated

import typer

from lrkit.output.torchrun import refuse_processes
from lrkit.schedules.errors import InputError

__all__ = ["BUILT_IN", "SCHEDULE_HELP", "find", "sweep", "train"]

BUILT_IN = ("mnist", "mnist-wide", "mnist-cnn", "chars")  # a test compares it with what there is; torch is slow to load
SCHEDULE_HELP = (
    "For example 'plateau(patience=5)', 'warmup(5%) >> linear(to=0)', 'staircase(every=10ep, factor=0.1)', "
    "'every(1ep, exponential(factor=0.9))', or torch's names: 'StepLR(step_size=10, gamma=0.1)', "
    "'MultiStepLR(milestones=[10,30], gamma=0.1)', 'ExponentialLR(gamma=0.9)', 'ReduceLROnPlateau(patience=5)' and "
    "others, which count epochs, but CyclicLR and OneCycleLR updates. lrkit schedules lists all."
)

# What all commands that train are asked for.
TASK_HELP = f"What to train: {', '.join(BUILT_IN)}, or your own: file.py:task or package.module:task."
TaskName = Annotated[str | None, typer.Argument(help=TASK_HELP)]
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


def train(
    task: TaskName = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help=f"The schedule as text; by default plateau(patience=5). {SCHEDULE_HELP} Several hyper-parameters: "
            "'lr: one_cycle(); momentum: one_cycle_momentum()'."
        ),
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option(
            metavar="RATE|find",
            help="The base (peak) learning rate, or find, as lrkit find does; by default the task's.",
        ),
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed for the initial weights, the data order and everything random; by default 0, with --policy "
            "restart that of the run in --resume."
        ),
    ] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default a new one, runs/TASK-DATE-TIME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Resume the run in this folder, as it was made; --policy allows changes."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="How to resume with another --epochs, --steps, --schedule or --lr: keep (the old schedule, horizon "
            "and rate), stretch (the old schedule over the new horizon, at the new rate) or replace (the new schedule, "
            "horizon and rate, from the same step). restart begins a new run at step 0, in a new folder (--out), with "
            "the weights and optimizer state of the run in --resume, which stays as it is."
        ),
    ] = None,
    checkpoint_every: CheckpointEvery = "5min",
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write events for TensorBoard into this folder too.")
    ] = None,
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

    In several processes, each with its share of the data and with batches of that size: torchrun --nproc-per-node 2 -m
    lrkit train TASK. The first one writes and prints. When one of them is gone the others end with exit status 4.
    """
    from lrkit.output.train_command import train_task
    from lrkit.output.train_options import TrainOptions

    train_task(
        TrainOptions(
            task=task,
            schedule=schedule,
            lr=_rate(lr),
            find_lr=lr == "find",
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
            tensorboard=tensorboard,
            device=device,
            threads=threads,
            compiled=compiled,
            json=json,
            quiet=quiet,
            debug=debug,
        )
    )


def _rate(text: str | None) -> float | None:
    if text is None or text == "find":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"Invalid value for '--lr': {text!r} is neither a number nor find") from None


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
    refuse_processes("lrkit sweep", "start it without, it trains its lanes at once by itself")
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


def find(
    task: Annotated[str, typer.Argument(help=TASK_HELP)],
    method: Annotated[
        str,
        typer.Option(help="ramp (the rate grows during one short training) or race (each rate trains by itself)."),
    ] = "ramp",
    low: Annotated[float, typer.Option(help="The lowest rate; the range widens itself where it must.")] = 1e-7,
    high: Annotated[float, typer.Option(help="The highest rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Updates of a ramp, or of each rate in a race.")] = 300,
    seeds: Annotated[int, typer.Option(help="How many seeds: 3 are 0, 1 and 2.")] = 3,
    signal: Annotated[
        str | None, typer.Option(help="train or valid: the loss that rates are judged by; by default train in a ramp.")
    ] = None,
    growth: Annotated[
        str, typer.Option(help="Of the rate in a ramp: exponential, or linear, within a factor 1000.")
    ] = "exponential",
    groups: Annotated[
        str, typer.Option(help="together: one multiplier for all param groups; each: a rate for each of them too.")
    ] = "together",
    schedule: Annotated[
        str, typer.Option(help="Of each rate in a race, as text; use the one that you will train with.")
    ] = "constant()",
    batch_size: BatchSize = None,
    data: Data = None,
    backend: Annotated[
        str,
        typer.Option(help="How lanes are trained: compiled, eager, sequential, processes, or auto, which measures."),
    ] = "auto",
    memory: Annotated[
        str | None, typer.Option(help="What lanes that are trained at once may take, for example 4GB or 500MB.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Draw a picture: a .png, .svg or .pdf file.")] = None,
    device: Device = None,
    threads: Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Find a learning rate for a task, with its interval, or say why the losses support none (exit status 3)."""
    refuse_processes("lrkit find", "start it without, and train with the rate that it finds")
    from lrkit.output.find_command import find_rate
    from lrkit.output.find_options import FindOptions

    find_rate(
        FindOptions(
            task=task,
            method=method,
            low=low,
            high=high,
            steps=steps,
            seeds=seeds,
            signal=signal,
            growth=growth,
            groups=groups,
            schedule=schedule,
            backend=backend,
            memory=memory,
            device=device,
            threads=threads,
            batch_size=batch_size,
            data=data,
            out=out,
            json=json,
            quiet=quiet,
            debug=debug,
        )
    )

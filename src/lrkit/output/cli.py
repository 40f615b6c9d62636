"""The command line: what it offers, and how it says what is wrong."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import lrkit
from lrkit.output.cli_comparison import compare, report
from lrkit.output.cli_prediction import predict
from lrkit.output.cli_records import export_run, import_run
from lrkit.output.cli_training import SCHEDULE_HELP, find, sweep, train
from lrkit.output.torchrun import first_to_say
from lrkit.schedules.errors import InputError, InputTypeError

__all__ = ["app", "main"]

app = typer.Typer(
    name="lrkit",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="The learning-rate toolkit for PyTorch: find a rate, preview a schedule, train, sweep, compare, predict.",
)

for command in (find, train, sweep, compare, report, predict):
    app.command()(command)
app.command("import")(import_run)
app.command("export")(export_run)


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
    """The learning-rate toolkit for PyTorch: find a rate, preview a schedule, train, sweep, compare, predict."""


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
    """Run the command line and exit.

    The status is 0 when it is done, 2 for bad input, 3 when all diverged or no rate was found, 4 when another process
    of a run under torchrun is gone, 130 when interrupted (SIGTERM: 143). Bad input gets one line; only what is a
    fault of lrkit's own has a traceback.
    """
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="lrkit", standalone_mode=False)
    except typer.TyperException as error:
        _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (InputError, InputTypeError) as error:
        _fail(str(error))
    except ImportError as error:
        if "pip install 'lrkit[" not in str(error):
            raise
        _fail(str(error))  # an extra that isn't installed
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", status=130)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str, status: int = 2) -> None:
    if sentence and first_to_say():
        typer.echo(f"lrkit: error: {sentence}", err=True)
    sys.exit(status)

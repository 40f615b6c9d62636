"""`lrkit export`: the record of a run for others."""

import json
from pathlib import Path

import typer

from lrkit.output.import_command import PASSED
from lrkit.schedules.errors import InputError
from lrkit.training.history import History
from lrkit.training.records.missing import MissingChoiceError
from lrkit.training.records.own_csv import write_csv
from lrkit.training.records.reading import read_history
from lrkit.training.records.tensorboard_events import write_tensorboard

__all__ = ["export_record"]


def export_record(run: Path, csv: Path | None, tensorboard: Path | None, *, as_json: bool) -> None:
    """Read and write.

    Raises:
        InputError: where nothing is to be written, and for what can't be read or written.
    """
    if csv is None and tensorboard is None:
        raise InputError("say what to write: --csv FILE, --tensorboard DIR, or both")
    if csv is not None and csv.suffix.lower() != ".csv":
        raise InputError(f"--csv must end in .csv, not {str(csv)!r}")
    history = _read(run)
    written = {}
    if csv is not None:
        write_csv(history, csv)
        written["csv"] = str(csv)
    if tensorboard is not None:
        write_tensorboard(history, tensorboard)
        written["tensorboard"] = str(tensorboard)
    if as_json:
        typer.echo(json.dumps({"updates": len(history.lrs), "epochs": len(history.epochs), **written}))
    else:
        typer.echo(f"{len(history.lrs)} updates: {', '.join(f'{what} {path}' for what, path in written.items())}")


def _read(run: Path) -> History:
    """A record that doesn't say enough goes through `lrkit import`, which has the options."""
    try:
        return read_history(run)
    except MissingChoiceError as error:
        raise InputError(
            f"{error.sentence(PASSED)}: lrkit import takes these options and writes a run folder"
        ) from error

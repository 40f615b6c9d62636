"""What a run left, whoever trained it, as a history."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lrkit.schedules import parse
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.held_folder import has_key
from lrkit.training.history import History
from lrkit.training.record_folder import KEY, read_record
from lrkit.training.records.csv_file import is_own_csv, read_csv_log, read_own_csv
from lrkit.training.records.lightning_csv import METRICS, read_lightning_csv
from lrkit.training.records.reconstruction import reconstruct
from lrkit.training.records.series import Choices, Log
from lrkit.training.records.tensorboard_events import EVENTS, OWN, read_tensorboard
from lrkit.training.records.tensorboard_own import read_own_events
from lrkit.training.records.trainer_state import STATE, find_trainer_state, read_trainer_state

__all__ = ["is_own", "read_history"]

_TABLES = (".csv", ".tsv")
_MOST_LISTED = 8
UNKNOWN = "unknown"


def read_history(
    path: str | Path,
    *,
    loss: str | None = None,
    valid_loss: str | None = None,
    lr: str | float | Sequence[str] | None = None,
    metrics: Mapping[str, str] | None = None,
    step: str | None = None,
    epoch_steps: int | None = None,
    first_step: Literal[0, 1] | None = None,
    between: Literal["linear", "hold"] = "linear",
    lr_ahead: bool | None = None,
    schedule: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    task: str | None = None,
) -> History:
    """The history of a run that has been recorded, by lrkit or by others.

    Reads a run folder of lrkit, a CSV file (lrkit's own or another), a folder or file of TensorBoard's events, a folder
    of Lightning's CSVLogger, and transformers' trainer_state.json (the file, a checkpoint, or the folder of
    checkpoints, of which the newest). Records of others are sparse: `made["imported"]` says what was filled in, and
    docs/records.md how. What is left out here is guessed, by names and by the distance of steps.

    Args:
        path: the file or folder.
        loss: what the training loss is called.
        valid_loss: what the validation loss is called.
        lr: what the rate is called, or the rates of all param groups; or a number, the base of `schedule` (without one
            a constant), for a record that has no rates.
        metrics: metrics of validation, by the names that they get: `{"accuracy": "val/top1"}`.
        step: the column that counts steps, in a CSV file.
        epoch_steps: how many updates an epoch has, for what counts epochs.
        first_step: what the first update is called, 0 or 1.
        between: how rates between two that were logged are filled in: "linear", or "hold" for those that stay until the
            next was logged.
        lr_ahead: whether a logged rate is that of the next update, as where a scheduler steps before it is logged.
        schedule: what the schedule was, for the record.
        seed: of the run, for the record.
        name: what the run is called, for the record; by default after the file or folder.
        task: what was trained, for the record.

    Raises:
        InputError: for what isn't there or can't be read, for names that aren't there, and where loss or rate aren't
            known by their names.
        ImportError: for events where TensorBoard isn't installed.

    >>> import lrkit, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> rows = "step,train_loss,lr,val_loss", "1,2.0,0.5,", "3,1.0,0.25,", "4,0.5,0.125,0.75"
    >>> size = file.write_text(chr(10).join(rows))
    >>> history = lrkit.read_history(file)
    >>> history.losses.tolist(), history.lr.tolist(), history.epochs[0].valid_loss
    ([2.0, 1.0, 1.0, 0.5], [0.5, 0.375, 0.25, 0.125], 0.75)
    >>> history.made["imported"]["filled_in"]
    {'loss': 1, 'lr': 1}
    """
    if not isinstance(path, str | Path):
        raise InputTypeError(f"path must be a file or a folder, not {shown(path)}")
    if seed is not None and type(seed) is not int:
        raise InputTypeError(f"seed must be a whole number, not {shown(seed)}")
    if seed is not None and seed < 0:
        raise InputError(f"seed must not be negative, not {seed}")
    plan = None if schedule is None else str(parse(schedule))
    choices = Choices(
        loss=loss,
        valid_loss=valid_loss,
        lr=lr,
        metrics=metrics,
        step=step,
        epoch_steps=epoch_steps,
        first_step=first_step,
        between=between,
        lr_ahead=lr_ahead,
        schedule=plan,
    )
    said = {"schedule": plan, "seed": seed, "name": name, "task": task}
    found = _found(Path(path), choices)
    if isinstance(found, History):
        history = found
        if choices.given:
            raise InputError(f"{choices.given[0]} is for records of others, and {path} is lrkit's own")
    else:
        history = _imported(found, choices)
    return replace(history, made={**history.made, **{key: value for key, value in said.items() if value is not None}})


def is_own(path: Path) -> bool:
    """Whether it is a run folder or a table that lrkit wrote, of which nothing has to be guessed."""
    return has_key(path, KEY) or (path.is_file() and is_own_csv(path))


def _imported(log: Log, choices: Choices) -> History:
    if choices.step is not None and not log.format.endswith("CSV"):
        raise InputError(f"step must be left out for {log.path}, which is no table and has no column {choices.step}")
    if log.format == OWN and not choices.given:
        return read_own_events(log)
    history = reconstruct(log, choices)
    if log.format == OWN:
        return replace(history, made={**history.made, **log.made})
    unknown = {"task": UNKNOWN, "source": None, "schedule": UNKNOWN, "policy": None, "seed": None}
    return replace(history, made={"name": _name_of(Path(log.path)), **unknown, **history.made})


def _name_of(path: Path) -> str:
    """What a run is called after: the file or the folder, but for names that every run has."""
    place = path.resolve()
    if place.name in (METRICS, STATE) or "tfevents" in place.name:
        place = place.parent
    if re.fullmatch(r"checkpoint-\d+", place.name):
        place = place.parent
    if re.fullmatch(r"version_\d+", place.name):
        return f"{place.parent.name}/{place.name}"
    return place.name if place.is_dir() else place.stem


# --- what there is -----------------------------------------------------------------------------------


def _found(path: Path, choices: Choices) -> History | Log:
    if path.is_dir():
        return _read_folder(path, choices)
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.name == STATE or path.suffix == ".json":
        return read_trainer_state(path)
    if "tfevents" in path.name:
        return read_tensorboard(path)
    if path.name == METRICS and choices.step is None and not is_own_csv(path):
        return read_lightning_csv(path)
    if path.suffix.lower() in _TABLES:
        return read_own_csv(path) if is_own_csv(path) else read_csv_log(path, choices.step, choices.epoch_steps)
    raise InputError(
        f"{path} is nothing that is known: a .csv or .tsv table, events of TensorBoard, a {STATE}, or a folder of these"
    )


def _read_folder(path: Path, choices: Choices) -> History | Log:
    kind = _in_folder(path)
    if kind is not None:
        return read_record(path) if kind == path else _one(kind, choices)
    inside = sorted(each for each in path.glob("*") if each.is_dir() and _in_folder(each) is not None)
    inside = inside or sorted(each for each in path.glob("*/*") if each.is_dir() and _in_folder(each) is not None)
    if len(inside) == 1:
        return _read_folder(inside[0], choices)
    if inside:
        more = f" and {len(inside) - _MOST_LISTED} more" if len(inside) > _MOST_LISTED else ""
        raise InputError(
            f"{path} has several runs, so name one of them: {', '.join(map(str, inside[:_MOST_LISTED]))}{more}"
        )
    tables = sorted(each for each in path.glob("*") if each.suffix.lower() in _TABLES)
    if len(tables) == 1:
        return _found(tables[0], choices)
    raise InputError(
        f"{path} has no record of a run: neither one of lrkit, nor {METRICS}, {STATE}, or events of TensorBoard"
    )


def _one(kind: Path, choices: Choices) -> History | Log:
    return read_tensorboard(kind.parent) if "tfevents" in kind.name else _found(kind, choices)


def _in_folder(path: Path) -> Path | None:
    """The file that a folder's record is in; the folder itself for one of lrkit; None where there is none."""
    if has_key(path, KEY):
        return path
    if (path / METRICS).is_file():
        return path / METRICS
    return find_trainer_state(path) or next(iter(sorted(path.glob(EVENTS))), None)

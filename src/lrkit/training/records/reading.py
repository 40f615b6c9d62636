"""What a run left, whoever trained it, as a history."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lrkit.schedules import parse
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.held_folder import has_key
from lrkit.training.history import History
from lrkit.training.record_folder import KEY, read_record
from lrkit.training.records.after_training import without_what_follows, without_what_lightning_adds
from lrkit.training.records.configuration import configured_rate, hyper_parameters
from lrkit.training.records.csv_rows import is_table, read_table
from lrkit.training.records.json_rows import read_json
from lrkit.training.records.missing import Missing, MissingChoiceError
from lrkit.training.records.names import choose_names
from lrkit.training.records.own_csv import is_own_csv, read_own_csv
from lrkit.training.records.points import runs_in
from lrkit.training.records.reconstruction import reconstruct
from lrkit.training.records.row_logs import logs_of_rows
from lrkit.training.records.series import Choices, Log
from lrkit.training.records.source_text import beginning
from lrkit.training.records.tensorboard_events import EVENTS, OWN, are_sides, read_tensorboard
from lrkit.training.records.tensorboard_own import read_own_events
from lrkit.training.records.text_rows import read_text
from lrkit.training.records.tracker_stores import Readers, runs_in_store
from lrkit.training.records.trainer_state import STATE, as_transformers, find_trainer_state, is_transformers
from lrkit.training.records.words import is_rate

__all__ = ["ALL_RUNS", "is_own", "read_histories", "read_history", "run_names"]

ALL_RUNS = "all"
METRICS, RESULTS = "metrics.csv", "results.csv"  # of Lightning's CSVLogger, and of ultralytics
_TABLES = (".csv", ".tsv")
_JSON = (".json", ".jsonl", ".ndjson")
_OBJECTS = re.compile(r"\{\s*[\"}]|\[\s*[\[{\]]")  # how JSON begins, and a log's [time] doesn't
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
    between: Literal["linear", "hold"] | None = None,
    lr_ahead: bool | None = None,
    schedule: str | None = None,
    run: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    task: str | None = None,
) -> History:
    """The history of a run that has been recorded, by lrkit or by others.

    Reads a run folder of lrkit, a table (lrkit's own, ultralytics' results.csv, anybody's), rows of JSON, text logs, a
    folder or file of TensorBoard's events, a folder of Lightning's CSVLogger, transformers' trainer_state.json (the
    file, a checkpoint, or the folder of checkpoints, of which the newest), and the local stores of MLflow and trackio.
    Records of others are sparse: `made["imported"]` says what was filled in, and docs/records.md how. What is left out
    here is seen from names, numbers of points and the distance of steps; `made["imported"]["said"]` says how.

    Args:
        path: the file or folder.
        loss: what the training loss is called; `a+b` is the sum of two.
        valid_loss: what the validation loss is called; "none" reads none.
        lr: what the rate is called, or the rates of all param groups; or a number, the base of `schedule` (without one
            a constant), for a record that has no rates.
        metrics: metrics of validation, by the names that they get: `{"accuracy": "val/top1"}`.
        step: the column that counts steps, in rows with names; "rows" takes each row for an update.
        epoch_steps: how many updates an epoch has, for what counts epochs.
        first_step: what the first update is called, 0 or 1.
        between: how rates between two that were logged are filled in: "linear", or "hold" for those that stay until the
            next was logged; by default held where they were logged once an epoch, else linear.
        lr_ahead: whether a logged rate is that of the next update, as where a scheduler steps before it is logged.
        schedule: what the schedule was, for the record.
        run: which one, of a record with several.
        seed: of the run, for the record.
        name: what the run is called, for the record; by default after the file or folder.
        task: what was trained, for the record.

    Raises:
        InputError: for what isn't there or can't be read, and for names that aren't there.
        MissingChoiceError: an InputError, for all that the record doesn't say and has to be passed.
        ImportError: for events and stores whose package isn't installed.

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
    given: dict[str, Any] = dict(locals())
    found = _read(**given)
    if len(found) > 1:
        raise _several_runs(Path(path), found)
    [read] = found.values()
    return read()


def read_histories(path: str | Path, **options: Any) -> dict[str, History]:
    r"""All runs of a record that may have several, by what tells them apart; a single one is called "".

    Args:
        path: the file or folder.
        options: those of `read_history`, which says what each means.

    Raises:
        InputError: as `read_history`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "folds.csv"
    >>> size = file.write_text("fold,step,loss,lr\n0,0,2,0.1\n0,1,1,0.1\n1,0,3,0.1\n1,1,2,0.1\n")
    >>> {name: history.losses.tolist() for name, history in read_histories(file).items()}
    {'0': [2.0, 1.0], '1': [3.0, 2.0]}
    """
    return {name: read() for name, read in _read(path=path, **{"run": ALL_RUNS, **options}).items()}


def run_names(path: str | Path, **options: Any) -> list[str]:
    """The names of the runs in a record; that of a single one is "".

    Args:
        path: the file or folder.
        options: those of `read_history`.

    Raises:
        InputError: as `read_history`.
    """
    return list(_read(path=path, **{**options, "run": ALL_RUNS}))


def _read(
    path: str | Path,
    seed: int | None = None,
    name: str | None = None,
    task: str | None = None,
    **choosing: Any,
) -> dict[str, "_Run"]:
    """The runs that are asked for, by name, each to be read."""
    if not isinstance(path, str | Path):
        raise InputTypeError(f"path must be a file or a folder, not {shown(path)}")
    if seed is not None and type(seed) is not int:
        raise InputTypeError(f"seed must be a whole number, not {shown(seed)}")
    if seed is not None and seed < 0:
        raise InputError(f"seed must not be negative, not {seed}")
    plan = None if choosing.get("schedule") is None else str(parse(choosing["schedule"]))
    choices = Choices(**{**choosing, "schedule": plan})
    said = {"schedule": plan, "seed": seed, "name": name, "task": task}
    given = {key: value for key, value in said.items() if value is not None}
    store = runs_in_store(Path(path)) if Path(path).exists() and not _has_record(Path(path)) else None
    if store is not None:
        return _stored(store, Path(path), choices, given)
    found = _found(Path(path), choices)
    if isinstance(found, History):
        if choices.given:
            raise InputError(f"{choices.given[0]} is for records of others, and {path} is lrkit's own")
        own = replace(found, made={**found.made, **given})
        return {"": _Run("", lambda: own)}
    runs = {run: log for label, log in found.items() for run, log in _runs_in(label, log, choices).items()}
    if choices.run not in (None, ALL_RUNS):
        runs = {choices.run: _run_named(choices.run, runs, Path(path))}
    return {run: _Run(log.apart, partial(_imported, log, choices, run, given)) for run, log in runs.items()}


def _has_record(path: Path) -> bool:
    return path.is_dir() and _record_in(path) is not None


def _stored(store: Readers, path: Path, choices: Choices, given: Mapping[str, Any]) -> dict[str, "_Run"]:
    """The runs of a tracker's store; none is read before it is needed."""
    names = list(store)
    if choices.run not in (None, ALL_RUNS):
        names = [choices.run] if choices.run in store else []
    if not names:
        raise InputError(f"run must be one of those in {path}, not {shown(choices.run)} (runs: {_some(list(store))})")

    def read(name: str) -> History:
        log = without_what_follows(store[name](choices))
        log = as_transformers(log, {}, path) if is_transformers(log) else log
        return _imported(log, choices, name, given)

    return {name: _Run("each has its name there", partial(read, name)) for name in names}


def _run_named(run: str, runs: Mapping[str, Log], path: Path) -> Log:
    if run in runs:
        return runs[run]
    if len(runs) == 1:
        raise InputError(f"run must be left out for {path}, which has a single run, not {shown(run)}")
    raise InputError(f"run must be one of those in {path}, not {shown(run)} (runs: {_some(list(runs))})")


def _runs_in(label: str, log: Log, choices: Choices) -> dict[str, Log]:
    """The runs of a log that goes back to its first step, numbered from 1."""
    if log.format == OWN:
        return {label: log}
    loss = choose_names(log, choices).loss
    parts = [log.series] if loss is None else runs_in(log.series, log.named(loss))
    if len(parts) == 1:
        return {label: log}
    found = {}
    for number, series in enumerate(parts, start=1):
        apart = "it goes back to its first step"
        part = replace(
            log, series=series, apart=apart, said=(*log.said, f"{apart}: this is run {number} of {len(parts)}")
        )
        found[f"{label}, {number}" if label else str(number)] = part
    return found


def _several_runs(path: Path, found: Mapping[str, "_Run"]) -> InputError:
    """That a run must be chosen, and what else has to be passed for the first."""
    first = next(iter(found.values()))
    question = f"which of {len(found)} runs is meant{f' ({first.apart})' if first.apart else ''}"
    missing, columns = [Missing("run", question, list(found))], []
    try:
        first()
    except MissingChoiceError as error:
        missing, columns = [*missing, *error.missing], error.columns
    except InputError as error:
        return error
    return MissingChoiceError(str(path), missing, columns)


def is_own(path: Path) -> bool:
    """Whether it is a run folder or a table that lrkit wrote, of which nothing has to be guessed."""
    return has_key(path, KEY) or (path.is_file() and is_own_csv(path))


@dataclass(frozen=True)
class _Run:
    """A run that can be read, and how it is known that there are others."""

    apart: str
    read: Callable[[], History]

    def __call__(self) -> History:
        return self.read()


def _imported(log: Log, choices: Choices, run: str, given: Mapping[str, Any]) -> History:
    if choices.step is not None and log.clock is None:
        raise InputError(f"step must be left out for {log.path}, which is no table and has no column {choices.step}")
    if log.format == OWN and not choices.given:
        history = read_own_events(log)
        return replace(history, made={**history.made, **given})
    place = Path(log.path)
    if choices.lr is None and log.constant is None and log.hint is None and not any(map(is_rate, log.series)):
        constant, hint = configured_rate(place if place.is_dir() else place.parent)
        log = replace(log, constant=constant, hint=hint)
    history = reconstruct(log, choices)
    if log.format == OWN:
        return replace(history, made={**history.made, **log.made, **given})
    unknown = {"task": UNKNOWN, "source": None, "schedule": UNKNOWN, "policy": None, "seed": None}
    name = _name_of(place) if not run else f"{_name_of(place)}-{run}"
    return replace(history, made={"name": name, **unknown, **history.made, **given})


def _name_of(path: Path) -> str:
    """What a run is called after: the file or the folder, but for names that every run has."""
    place = path.resolve()
    if place.name in (METRICS, RESULTS, STATE) or "tfevents" in place.name:
        place = place.parent
    if re.fullmatch(r"checkpoint-\d+", place.name):
        place = place.parent
    if re.fullmatch(r"version_\d+", place.name):
        return f"{place.parent.name}/{place.name}"
    return place.name if place.is_dir() else place.stem


# --- what there is -----------------------------------------------------------------------------------


def _found(path: Path, choices: Choices) -> History | dict[str, Log]:
    """A record of lrkit's own, or the logs of the runs that others left there, by their names."""
    if path.is_dir():
        return _in_folder(path, choices)
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if "tfevents" in path.name:
        return _events(path)
    if is_own_csv(path):
        return read_own_csv(path)
    return _in_rows(path, choices)


def _events(path: Path) -> dict[str, Log]:
    log = read_tensorboard(path)
    folder = path if path.is_dir() else path.parent
    return {"": as_transformers(log, {}, folder) if is_transformers(log) else log}


def _in_rows(path: Path, choices: Choices) -> dict[str, Log]:
    """Rows of whatever text they are in, by what it begins with."""
    begin = beginning(path)
    state: Mapping[str, Any] = {}
    named = path.suffix.lower()
    if _OBJECTS.match(begin) or (named in _JSON and begin.startswith(("{", "["))):
        rows, state = read_json(path)
    elif named in _TABLES or (named not in _JSON and is_table(begin)):
        rows = read_table(path)
    elif named in _JSON:
        raise InputError(f"{path} is no JSON: it begins with {shown(begin[:20])}")
    else:
        rows = read_text(path)
    logs = logs_of_rows(rows, choices)
    return {name: _as_its_tool_means(log, path, state) for name, log in logs.items()}


def _as_its_tool_means(log: Log, path: Path, state: Mapping[str, Any]) -> Log:
    log = without_what_follows(log)
    if state or is_transformers(log):
        return as_transformers(log, state, path.parent)
    if (
        path.name == METRICS
        and log.clock == "step"
        and any(each == "epoch" or each[:3] == "lr-" for each in log.series)
    ):
        log = replace(log, format="Lightning CSVLogger", first_step=0, made=hyper_parameters(path.parent))
        return without_what_lightning_adds(log)
    return log


def _in_folder(path: Path, choices: Choices) -> History | dict[str, Log]:
    record = _record_in(path)
    if record is not None and "tfevents" in record.name:
        return _events(path)
    if record is not None:
        return read_record(path) if record == path else _found(record, choices)
    inside = sorted(each for each in path.glob("*") if each.is_dir() and _record_in(each) is not None)
    inside = inside or sorted(each for each in path.glob("*/*") if each.is_dir() and _record_in(each) is not None)
    if are_sides(inside) and all(next(each.glob(EVENTS), None) for each in inside):
        return _events(path)
    if len(inside) == 1:
        return _in_folder(inside[0], choices)
    if inside:
        raise InputError(f"{path} has several runs, so name one of them: {_some(inside)}")
    files = sorted(each for each in path.glob("*") if each.suffix.lower() in (*_TABLES, ".jsonl") and each.is_file())
    if len(files) == 1:
        return _found(files[0], choices)
    if files:
        raise InputError(f"{path} has several files that may be the record, so name one of them: {_some(files)}")
    local = next(iter(sorted([*path.glob("*.wandb"), *path.glob("*/*.wandb")])), None)
    if local is not None:
        return _in_rows(local, choices)  # which says how to export it
    raise InputError(
        f"{path} has no record of a run: neither one of lrkit, nor {METRICS}, {RESULTS}, {STATE}, a table, or events "
        "of TensorBoard"
    )


def _some(paths: Sequence[object]) -> str:
    more = f" and {len(paths) - _MOST_LISTED} more" if len(paths) > _MOST_LISTED else ""
    return f"{', '.join(map(str, paths[:_MOST_LISTED]))}{more}"


def _record_in(path: Path) -> Path | None:
    """The file that a folder's record is in; the folder itself for one of lrkit; None where there is none."""
    if has_key(path, KEY):
        return path
    named = next((path / name for name in (METRICS, RESULTS) if (path / name).is_file()), None)
    return named or find_trainer_state(path) or next(iter(sorted(path.glob(EVENTS))), None)

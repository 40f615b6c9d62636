"""The local stores of experiment trackers: MLflow's database or folder, and trackio's database; neither is altered."""

import json
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.schedules.errors import InputError
from lrkit.training.records.configuration import rate_said
from lrkit.training.records.row_logs import logs_of_rows
from lrkit.training.records.rows import rows_of_dicts
from lrkit.training.records.series import Choices, Log, Series

__all__ = ["Readers", "runs_in_store"]

Readers = dict[str, Callable[[Choices], Log]]
Points = dict[str, list[tuple[int, float, float]]]  # by name: step, value, seconds

_HEADER = b"SQLite format 3\x00"
_MLFLOW = {"runs", "metrics", "params", "experiments"}
_TRACKIO = {"metrics", "configs"}
_LARGEST = 1.7976931348623157e308  # what MLflow's database keeps for infinity


def runs_in_store(path: Path) -> Readers | None:
    """The runs of a store by name, each with what reads it; None for what is no store.

    Args:
        path: a database, MLflow's folder of runs, one of its experiments or runs, or a folder of trackio's databases.

    Raises:
        InputError: for a database that is damaged.
    """
    if path.is_file():
        return _in_database(path)
    if runs := _mlflow_folders(path):
        names = [(_meta(each).get("run_name") or each.name, each.name) for each in runs]
        return {name: partial(_mlflow_folder, each) for name, each in zip(_unique(names), runs, strict=True)}
    databases = [path / "mlflow.db"] if (path / "mlflow.db").is_file() else sorted(path.glob("*.db"))
    found: Readers = {}
    for database in databases:
        for name, read in (_in_database(database) or {}).items():
            found[f"{database.stem}/{name}" if len(databases) > 1 else name] = read
    return found or None


def _unique(names: Iterable[tuple[str, str]]) -> list[str]:
    """Names, with the begin of their identity where several runs have one."""
    given = list(names)
    often = Counter(name for name, _ in given)
    return [name if often[name] == 1 else f"{name} ({identity[:8]})" for name, identity in given]


# --- databases ---------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is only read."""
    place = path.resolve().as_uri()
    connection = sqlite3.connect(f"{place}?mode=ro", uri=True)
    try:
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        except sqlite3.OperationalError:  # its log of writes can't be opened where nothing may be written
            connection.close()
            connection = sqlite3.connect(f"{place}?immutable=1", uri=True)
        yield connection
    except sqlite3.Error as error:
        raise InputError(f"{path} can't be read as a database: {error}") from None
    finally:
        connection.close()


def _in_database(path: Path) -> Readers | None:
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            return None
    with _opened(path) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables >= _MLFLOW:
            known = "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time, rowid"
            runs = database.execute(known).fetchall()
            names = _unique((name or identity, identity) for identity, name in runs)
            return {name: partial(_mlflow_run, path, run) for name, (run, _) in zip(names, runs, strict=True)}
        if tables >= _TRACKIO:
            known = "SELECT run_id, run_name FROM metrics GROUP BY run_id ORDER BY MIN(id)"
            runs = database.execute(known).fetchall()
            names = _unique((name, identity) for identity, name in runs)
            return {name: partial(_trackio_run, path, run) for name, (run, _) in zip(names, runs, strict=True)}
    return None


def _mlflow_run(path: Path, run: str, choices: Choices) -> Log:
    points: Points = defaultdict(list)
    with _opened(path) as database:
        known = "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ? ORDER BY timestamp, step"
        for name, step, value, is_nan, when in database.execute(known, (run,)):
            number = math.nan if is_nan else math.copysign(math.inf, value) if abs(value) >= _LARGEST else value
            points[name].append((step, number, when / 1000))
        parameters = dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)))
        named = database.execute("SELECT name FROM runs WHERE run_uuid = ?", (run,)).fetchone()
    return _mlflow_log(path, points, parameters, named[0] or run)


def _trackio_run(path: Path, run: str, choices: Choices) -> Log:
    rows: list[dict[str, Any]] = []
    with _opened(path) as database:
        known = "SELECT step, timestamp, metrics, run_name FROM metrics WHERE run_id = ? ORDER BY id"
        name = run
        for step, when, metrics, called in database.execute(known, (run,)):
            name = called
            with suppress(ValueError, RecursionError):  # a row that is damaged
                found = json.loads(metrics)
                seconds = datetime.fromisoformat(when).timestamp()
                rows.append({"step": step, "timestamp": seconds, **(found if isinstance(found, dict) else {})})
        kept = database.execute("SELECT config FROM configs WHERE run_id = ?", (run,)).fetchone()
    config: Any = None
    with suppress(ValueError, TypeError, RecursionError):
        config = json.loads(kept[0]) if kept else None
    if not rows:
        raise InputError(f"{path} has no metrics of the run {name}")
    [log] = logs_of_rows(rows_of_dicts(str(path), "trackio store", rows), choices).values()
    return _made(log, config if isinstance(config, dict) else {}, name)


# --- MLflow's folders --------------------------------------------------------------------------------


def _mlflow_folders(path: Path) -> list[Path]:
    """The folders of runs that weren't deleted, the first that began before."""
    found = (
        [path] if _is_run(path) else [each for each in sorted([*path.glob("*"), *path.glob("*/*")]) if _is_run(each)]
    )
    alive = [each for each in found if _meta(each).get("lifecycle_stage", "active") == "active"]
    return sorted(alive, key=lambda each: int(_meta(each).get("start_time") or 0))


def _is_run(path: Path) -> bool:
    return (path / "meta.yaml").is_file() and (path / "metrics").is_dir() and ".trash" not in path.parts


def _meta(run: Path) -> dict[str, str]:
    """What meta.yaml has: plain names and values."""
    try:
        lines = (run / "meta.yaml").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.partition(": ") for line in lines)
    return {name: value.strip("'\"") for name, sign, value in pairs if sign}


def _mlflow_folder(run: Path, choices: Choices) -> Log:
    """A run of the folder: a file for each metric, with time, value and step on each line."""
    points: Points = defaultdict(list)
    for file in sorted((run / "metrics").rglob("*")):
        if not file.is_file():
            continue
        name = file.relative_to(run / "metrics").as_posix()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, IndexError):  # a line that was broken off
                when, value, step = line.split()[:3]
                points[name].append((int(step), float(value), int(when) / 1000))
    parameters = {
        file.relative_to(run / "params").as_posix(): file.read_text(encoding="utf-8", errors="replace")
        for file in sorted((run / "params").rglob("*"))
        if file.is_file()
    }
    return _mlflow_log(run, points, parameters, _meta(run).get("run_name") or run.name)


def _mlflow_log(path: Path, points: Points, parameters: Mapping[str, str], name: str) -> Log:
    if not points:
        raise InputError(f"{path} has no metrics of the run {name}")
    said = []
    stepless = all(step == 0 for each in points.values() for step, _, _ in each)
    if stepless and any(len(each) > 1 for each in points.values()):
        said.append("nothing was logged with a step: the points of each metric are counted")
        points = {
            key: [(number, value, when) for number, (_, value, when) in enumerate(each)] for key, each in points.items()
        }
    series = {}
    for key, each in points.items():
        steps, values, times = zip(*each, strict=True)
        when = np.array(times, dtype=np.float64)
        series[key] = Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64), when, when)
    log = Log(str(path), "MLflow store", series, said=tuple(said))
    return _made(log, parameters, name)


def _made(log: Log, parameters: Mapping[str, Any], name: str) -> Log:
    """With what is known of how the run was made."""
    plain = {
        str(key): _plain(value) for key, value in parameters.items() if isinstance(value, str | int | float | bool)
    }
    seed: Any = plain.get("seed")
    made: dict[str, Any] = {"name": name, **({"hyper_parameters": plain} if plain else {})}
    made |= {"seed": seed} if type(seed) is int and seed >= 0 else {}
    constant, hint = rate_said(plain, "the run's parameters")
    return log.with_made({**log.made, **made}, constant, hint)


def _plain(value: str | float | bool) -> str | float | bool:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        with suppress(ValueError):
            return kind(value)
    return value

"""Records as CSV: lrkit's own, which goes there and back without loss, and tables of others."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.files import replace_file
from lrkit.training.history import EpochRecord, History
from lrkit.training.records.names import listed, step_name
from lrkit.training.records.series import Log, Series

__all__ = ["is_own_csv", "log_of_table", "read_csv_log", "read_own_csv", "read_rows", "write_csv"]

FORMAT = 1
_KEY = "lrkit_csv"
_BEGIN = "# lrkit "
_FIRST = {"train/global_step": 1, "trainer/global_step": 0}  # transformers' and Lightning's, in tables of wandb
_EMPTY = {"", "none", "null", "n/a", "na", "-"}
_EPOCH = ("epoch", "train_loss_epoch", "valid_loss", "test_loss", "seconds")


def write_csv(history: History, path: str | Path) -> None:
    """Write a history as one table, a row for each update; `read_history` gives the same history again.

    The columns are `step` (0-based), `lr` (further param groups `lr/1` and so on) and `train_loss`; in the row of an
    epoch's last update also `epoch`, `train_loss_epoch`, `valid_loss`, `valid_NAME` for each metric, `test_loss`,
    `test_NAME`, and `seconds`. The first line is a comment that says how the run was made: `pandas.read_csv(path,
    comment="#")` skips it.

    Args:
        history: with at least one epoch.
        path: of the file; what was there before is replaced as a whole.

    Raises:
        InputError: for a history without an epoch, and a file that can't be written.

    >>> import lrkit, tempfile
    >>> epoch = lrkit.EpochRecord(1, 2, 0.75, 0.5, {"accuracy": 0.9}, lr=0.1, seconds=1.0)
    >>> history = lrkit.History((epoch,), np.array([[0.2], [0.1]]), np.array([1, 0.5], dtype=np.float32), {})
    >>> file = tempfile.mkdtemp() + "/run.csv"
    >>> lrkit.write_csv(history, file)
    >>> print(Path(file).read_text())
    # lrkit {"lrkit_csv": 1, "made": {}}
    step,lr,train_loss,epoch,train_loss_epoch,valid_loss,test_loss,seconds,valid_accuracy
    0,0.2,1,,,,,,
    1,0.1,0.5,1,0.75,0.5,,1.0,0.9
    <BLANKLINE>
    >>> lrkit.read_history(file) == history
    True
    """
    given: object = history
    if not isinstance(given, History):
        raise InputTypeError(f"history must be a History, not {shown(history)}")
    if not history.epochs:
        raise InputError("history must have at least one epoch to be written, and has none")
    text = io.StringIO()
    text.write(f"{_BEGIN}{json.dumps({_KEY: FORMAT, 'made': dict(history.made)})}\n")
    valid = dict.fromkeys(name for each in history.epochs for name in each.metrics)
    test = dict.fromkeys(name for each in history.epochs for name in each.test_metrics)
    head = ["step", *_rate_names(history.lrs.shape[1]), "train_loss", *_EPOCH]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"valid_{name}" for name in valid), *(f"test_{name}" for name in test)])
    ends = {each.step - 1: each for each in history.epochs}
    nothing = [""] * (len(_EPOCH) + len(valid) + len(test))
    for step, (lrs, loss) in enumerate(zip(history.lrs.tolist(), history.losses.tolist(), strict=True)):
        record = ends.get(step)
        more = nothing if record is None else _epoch_cells(record, list(valid), list(test))
        writer.writerow([step, *map(repr, lrs), f"{loss:.9g}", *more])
    replace_file(Path(path), lambda file: file.write(text.getvalue().encode()))


def _rate_names(groups: int) -> list[str]:
    return ["lr", *(f"lr/{number}" for number in range(1, groups))]


def _epoch_cells(record: EpochRecord, valid: Sequence[str], test: Sequence[str]) -> list[str]:
    values = [record.train_loss, record.valid_loss, record.test_loss, record.seconds]
    values += [record.metrics.get(name) for name in valid]
    values += [record.test_metrics.get(name) for name in test]
    return [str(record.epoch), *("" if value is None else repr(float(value)) for value in values)]


# --- lrkit's own -------------------------------------------------------------------------------------


def is_own_csv(path: Path) -> bool:
    """Whether lrkit wrote this table."""
    with path.open("rb") as file:
        return file.read(len(_BEGIN)) == _BEGIN.encode()


def read_own_csv(path: Path) -> History:
    """The history that `write_csv` wrote.

    Raises:
        InputError: for a newer format, and what is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head = json.loads(file.readline().removeprefix(_BEGIN))
            if head[_KEY] > FORMAT:
                raise InputError(f"the table {path} has format {head[_KEY]}, this lrkit reads up to {FORMAT}")
            names, *rows = csv.reader(file)
        return _own_history(names, rows, head["made"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"the table {path} can't be read: {' '.join(str(error).split())}") from None


def _own_history(names: Sequence[str], rows: Sequence[Sequence[str]], made: Mapping[str, Any]) -> History:
    groups = names.index("train_loss") - 1
    lrs = np.array([[float(cell) for cell in row[1 : 1 + groups]] for row in rows]).reshape(len(rows), groups)
    losses = np.array([float(row[1 + groups]) for row in rows], dtype=np.float32)
    epochs = []
    for number, row in enumerate(rows):
        cells = {name: cell for name, cell in zip(names, row, strict=True) if cell}
        if "epoch" in cells:
            epochs.append(_own_epoch(cells, number + 1, float(lrs[number, 0])))
    end = epochs[-1].step if epochs else 0
    return History(tuple(epochs), lrs[:end].copy(), losses[:end].copy(), made)


def _own_epoch(cells: Mapping[str, str], step: int, lr: float) -> EpochRecord:
    def named(prefix: str) -> dict[str, float]:
        fixed = prefix + "loss"
        return {
            name.removeprefix(prefix): float(cell)
            for name, cell in cells.items()
            if name.startswith(prefix) and name != fixed
        }

    losses = {name: float(cells[name]) if name in cells else None for name in ("valid_loss", "test_loss")}
    return EpochRecord(
        epoch=int(cells["epoch"]),
        step=step,
        train_loss=float(cells["train_loss_epoch"]),
        valid_loss=losses["valid_loss"],
        metrics=named("valid_"),
        lr=lr,
        seconds=float(cells.get("seconds", 0)),
        test_loss=losses["test_loss"],
        test_metrics=named("test_"),
    )


# --- tables of others --------------------------------------------------------------------------------


def read_csv_log(path: Path, step: str | None = None, epoch_steps: int | None = None) -> Log:
    """What a table of others has: its steps are in the column that is named, or known by its name; else epochs.

    Raises:
        InputError: for a table that is empty or can't be read, or has no column of steps or epochs.
    """
    names, rows = read_rows(path)
    clock = step_name(names) if step is None else step
    if clock not in names:
        if step is not None:
            raise InputError(f"step must be a column of {path}, not {shown(step)}; {listed(names)}")
        clock = next((name for name in names if name.lower() in ("epoch", "epochs")), None)
        if clock is None:
            raise InputError(f"{path} has no column that counts steps or epochs; say step=, {listed(names)}")
        return log_of_table(path, names, rows, clock, "CSV", in_epochs=True)
    length = _within_epochs(path, names, rows, clock, epoch_steps)
    first = _FIRST.get(clock.lower())
    return log_of_table(path, names, rows, clock, "CSV", epoch_steps=length, first_step=first)


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The heading and the rows of a table; a last line that was broken off is left out.

    Raises:
        InputError: for what is no table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as a table: {' '.join(str(error).split())}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError(f"the table {path} is empty")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        names, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path} can't be read as a table: {error}") from None
    rows = [["" if cell.lower() in _EMPTY else cell for cell in row] for row in rows]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has two columns with the name {twice}")
    if not text.endswith("\n") and rows and len(rows[-1]) < len(names):
        rows.pop()
    if not rows:
        raise InputError(f"the table {path} has a heading and no row")
    wrong = next((number for number, row in enumerate(rows) if len(row) > len(names)), None)
    if wrong is not None:
        raise InputError(f"row {wrong + 1} of {path} has {len(rows[wrong])} cells below {len(names)} names")
    return names, rows


def _within_epochs(
    path: Path, names: Sequence[str], rows: list[list[str]], clock: str, epoch_steps: int | None
) -> int | None:
    """Steps that begin anew with each epoch are made such that go on; gives how long an epoch is then, else None.

    A run that went on from a checkpoint repeats an epoch; it doesn't fall back where the next one begins.
    """
    epoch = next((names.index(name) for name in names if name.lower() in ("epoch", "epochs") and name != clock), None)
    column = None if epoch is None else _numbers([row[epoch] if epoch < len(row) else "" for row in rows])
    if column is None:
        return None
    place = names.index(clock)
    steps = _steps(path, clock, [row[place] if place < len(row) else "" for row in rows])
    both = np.flatnonzero(~np.isnan(steps) & np.isfinite(column[0]))
    count, number = steps[both], np.floor(column[0][both])
    if not ((np.diff(count) < 0) & (np.diff(number) > 0)).any():
        return None
    different = np.unique(count)
    if epoch_steps is None and (np.diff(different) != 1).any():
        raise InputError(f"{clock} of {path} begins anew with each epoch; say epoch_steps=, how many updates one has")
    length = epoch_steps or int(different[-1] - different[0]) + 1
    if different[-1] - different[0] >= length:
        raise InputError(f"epoch_steps must cover {clock} of {path}, up to {int(different[-1])}, not {length}")
    for row in range(len(rows)):  # one without an epoch belongs to that of the row before
        if not np.isnan(steps[row]):
            now = number[max(int(np.searchsorted(both, row, side="right")) - 1, 0)] - number.min()
            rows[row][place] = str(int(now * length + steps[row]))
    return length


def log_of_table(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], clock: str, kind: str, **more: Any
) -> Log:
    """The columns that have numbers, each at the rows where it has one.

    Raises:
        InputError: for steps that are no whole numbers.
    """
    place = names.index(clock)
    steps = _steps(path, clock, [row[place] if place < len(row) else "" for row in rows])
    counted = ~np.isnan(steps)
    series, text = {}, {}
    for column, name in enumerate(names):
        cells = [row[column] if column < len(row) else "" for row in rows]
        values = _numbers(cells)
        if column == place or not name:
            continue
        if values is None:
            row, cell = next((row, cell) for row, cell in enumerate(cells) if not _is_number(cell))
            comma = " (decimals need a point, not a comma)" if _is_number(cell.replace(",", ".")) else ""
            text[name] = f"row {row + 1} of {name} has {shown(cell)}{comma}"
            continue
        numbers, there = values
        where = np.flatnonzero(there & counted)
        if len(where):
            series[name] = Series(steps[where].astype(np.int64), numbers[where], where.astype(np.float64))
    return Log(str(path), kind, series, text=text, **more)


def _is_number(cell: str) -> bool:
    return not cell or _numbers([cell]) is not None


def _steps(path: Path, clock: str, cells: Sequence[str]) -> NDArray[np.float64]:
    """Steps, with NaN where there is none."""
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if not cell:
            continue
        try:
            found[row] = float(cell)
        except ValueError:  # refused with the others that are no whole number
            found[row] = math.inf
        if not found[row].is_integer() or found[row] < 0:
            raise InputError(f"{clock} must count in whole numbers, and {path} has {shown(cell)} in row {row + 1}")
    return found


def _numbers(cells: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """The numbers of a column, and where it has any; None for a column with something else in it."""
    there = np.array([cell != "" for cell in cells], dtype=bool)
    try:
        return np.array([float(cell) if cell else math.nan for cell in cells]), there
    except ValueError:  # a column of words
        return None

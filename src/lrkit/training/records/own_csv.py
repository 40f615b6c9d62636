"""lrkit's own records as CSV, which go there and back without loss."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.files import replace_file
from lrkit.training.history import EpochRecord, History

__all__ = ["is_own_csv", "read_own_csv", "write_csv"]

FORMAT = 1
_KEY = "lrkit_csv"
_BEGIN = "# lrkit "
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

"""`lrkit import`: the record of another's run as a run folder."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from lrkit.schedules.errors import InputError, shown
from lrkit.training.history import History
from lrkit.training.record_folder import save_history
from lrkit.training.records.missing import MissingChoiceError
from lrkit.training.records.reading import ALL_RUNS, read_histories, read_history

__all__ = ["PASSED", "ReadOptions", "by_options", "import_record", "in_options", "read_said", "summarise"]

# What can be said of a record, as the options of all commands that read one are called.
_READING = ("loss", "valid_loss", "lr", "step", "epoch_steps", "first_step", "between", "lr_ahead", "schedule", "run")
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _READING} | {"metrics": "--metric"}
# How what a record doesn't say is passed.
PASSED = {
    "loss": "--loss NAME (several are summed, as in --loss a+b)",
    "valid_loss": "--valid-loss NAME (or none)",
    "lr": "--lr NAME (or a number, as the base of --schedule)",
    "step": "--step NAME",
    "epoch_steps": "--epoch-steps N (the updates in an epoch)",
    "run": "--run NAME (or all, which reads each as a run of its own)",
}
_AT_FIRST = re.compile(r"(\w+)(?= must (?:be|name|cover) | is for records of others)")
_TO_SAY = re.compile(r"\b(\w+)=(?=[,. ]|$)")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a person says that a record is to be read; `cli_records` says what each means."""

    loss: str | None = None
    valid_loss: str | None = None
    lr: Sequence[str] = ()
    metric: Sequence[str] = ()
    step: str | None = None
    epoch_steps: int | None = None
    first_step: int | None = None
    between: str | None = None
    lr_ahead: bool | None = None
    run: str | None = None

    def arguments(self) -> dict[str, Any]:
        """As `read_history` takes them.

        Raises:
            InputError: for a metric without a name, and several numbers as rates.
        """
        return {
            **{name: value for name, value in vars(self).items() if name not in ("lr", "metric")},
            "lr": _rates(self.lr),
            "metrics": dict(map(_pair, self.metric)) or None,
        }


def _pair(text: str) -> tuple[str, str]:
    name, sign, recorded = text.partition("=")
    if not sign or not name or not recorded:
        raise InputError(f"--metric must be a name and what it is called, NAME=RECORDED, not {shown(text)}")
    return name, recorded


def _rates(texts: Sequence[str]) -> float | list[str] | None:
    if len(texts) == 1:
        with suppress(ValueError):  # it is a name then, not a number
            return float(texts[0])
    return list(texts) or None


@contextmanager
def by_options(**others: str) -> Iterator[None]:
    """Name arguments in errors as `in_options` does, and what has to be passed as `PASSED`.

    >>> with by_options():
    ...     raise InputError("the length 1ep is in epochs; say epoch_steps=, how many updates an epoch has")
    Traceback (most recent call last):
    lrkit.schedules.errors.InputError: the length 1ep is in epochs; say --epoch-steps, how many updates an epoch has
    """
    try:
        yield
    except MissingChoiceError as error:
        raise InputError(error.sentence(PASSED)) from error
    except InputError as error:
        raise InputError(in_options(str(error), **others)) from error


def in_options(sentence: str, **others: str) -> str:
    """A sentence with the options of a command where arguments are named: what is wrong, and what to say.

    Args:
        sentence: of an error or a note.
        others: options by the arguments that they are for, beside those that every record is read with.

    >>> in_options("between must be 'linear' or 'hold', not 'cubic'")
    "--between must be 'linear' or 'hold', not 'cubic'"
    >>> in_options("steps must be at least 9, not 3; say steps=, or less", steps="--run-steps")
    '--run-steps must be at least 9, not 3; say --run-steps, or less'
    """
    options = {**_OPTIONS, **others}
    before, sign, what = sentence.partition("; say ")
    first = _AT_FIRST.match(before)
    if first and first[1] in options:
        before = options[first[1]] + before[first.end() :]
    return before + sign + _TO_SAY.sub(lambda found: options.get(found[1], found[0]), what)


def import_record(
    source: Path, out: Path, options: ReadOptions, said: Mapping[str, Any], *, overwrite: bool, as_json: bool
) -> None:
    """Read, write, and say what was read as what; of several runs each into a folder of its own inside."""
    arguments = {**options.arguments(), **said}
    with by_options():
        if options.run == ALL_RUNS:
            found = read_histories(source, **arguments)
        else:
            found = {"": read_history(source, **arguments)}
    folders = {name: out / _as_folder(name) if name else out for name in found}
    for name, history in found.items():
        save_history(history, folders[name], overwrite=overwrite)
    if as_json:
        written = [_as_json(history, folders[name]) for name, history in found.items()]
        typer.echo(json.dumps({"runs": written} if options.run == ALL_RUNS else written[0], allow_nan=False))
        return
    for name, history in found.items():
        for line in summarise(history):
            typer.echo(line)
        typer.echo(f"run folder {folders[name]}")


def _as_folder(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", name).strip("._") or "run"


def _as_json(history: History, folder: Path) -> dict[str, Any]:
    imported = history.made.get("imported")
    return {**history.to_dict(), "updates": len(history.lrs), "imported": imported, "run_dir": str(folder)}


def summarise(history: History) -> list[str]:
    """What there is, and how it was read."""
    records = len(history.epochs)
    found = history.made.get("imported")
    unit = "epoch" if found and found.get("unit") == "epochs" else "update"
    count = len(history.lrs)
    lines = [f"{count} {unit}{'s' if count > 1 else ''} in {records} record{'s' if records > 1 else ''}"]
    if found:
        names = found["names"]
        lines[0] += f", read as {found['format']}"
        rates = names["lr"] if isinstance(names["lr"], str) else ", ".join(names["lr"])
        parts = {"loss": names["loss"], "learning rate": rates, "validation loss": names["valid_loss"]}
        parts |= {**names["metrics"], "test loss": names["test_loss"]}
        parts |= {f"test {metric}": name for metric, name in names["test_metrics"].items()}
        lines += [f"{what}: {name}{_points(found, name)}" for what, name in parts.items() if name]
        lines += [
            f"{name}: {count} of {history.made['steps']} {unit}s were filled in" for name, count in _filled(found)
        ]
        lines += found.get("said", [])
    if history.diverged is not None:
        lines.append(f"diverged at step {history.diverged.step}, with learning rate {history.diverged.lr:.6g}")
    return lines


def read_said(history: History) -> str | None:
    """One line that says what was taken for what, and what was left out; None for lrkit's own records."""
    found = history.made.get("imported")
    if not found:
        return None
    names = found["names"]
    rates = names["lr"] if isinstance(names["lr"], str) else ", ".join(names["lr"])
    parts = {"loss": names["loss"], "lr": rates, "validation loss": names["valid_loss"]}
    parts |= {**names["metrics"], "test loss": names["test_loss"]}
    told = ", ".join(f"{what} {name}{_points(found, name)}" for what, name in parts.items() if name)
    return "; ".join([f"{found['from']}: {told}", *found.get("said", [])])


def _points(found: Mapping[str, Any], name: str) -> str:
    count = found["points"].get(name)
    if count is None:
        return ""
    logged = found.get("points_logged", {}).get(name, count)
    return f" ({count} of {logged} points)" if logged > count else f" ({count} point{'s' if count > 1 else ''})"


def _filled(found: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in found["filled_in"].items() if count]

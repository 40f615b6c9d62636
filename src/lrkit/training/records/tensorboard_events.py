"""TensorBoard's events: read by its own reader, written by its own writer."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.history import History
from lrkit.training.records.lightning_csv import hyper_parameters
from lrkit.training.records.series import Log, Series
from lrkit.training.records.tensorboard_own import LOSS, rate_tag, tags_of_epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "EVENTS",
    "OWN",
    "open_writer",
    "read_tensorboard",
    "require_tensorboard",
    "write_epochs",
    "write_tensorboard",
]

EVENTS = "*tfevents*"
OWN = "TensorBoard events of lrkit"
FORMAT = 1
_TEXT = "lrkit"  # the tag of what says how a run was made
_KEY = "lrkit_tensorboard"


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"this needs a package that isn't installed: pip install 'lrkit[tensorboard]' ({error})"
        ) from error


def require_tensorboard() -> None:
    """Refuse to begin without it.

    Raises:
        ImportError: where TensorBoard isn't installed.
    """
    with _extra():
        import tensorboard  # noqa: F401 (whether it can be is all that is asked)


# --- reading -----------------------------------------------------------------------------------------


def read_tensorboard(path: Path) -> Log:
    """The scalars in a file of events, or in all of a folder, as TensorBoard itself shows them.

    Raises:
        InputError: for files without scalars.
        ImportError: where TensorBoard isn't installed.
    """
    with _extra():
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util import tensor_util

    events: Any = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})  # all of them
    try:
        events.Reload()
    except Exception as error:  # noqa: BLE001 (its reader raises whatever a damaged file leads to)
        raise InputError(f"{path} can't be read as events of TensorBoard: {' '.join(str(error).split())}") from None
    tags = events.Tags()
    series = {tag: _series([(e.step, e.value, e.wall_time) for e in events.Scalars(tag)]) for tag in tags["scalars"]}
    made: dict[str, Any] | None = None
    for tag in tags["tensors"]:
        found = [(e.step, tensor_util.make_ndarray(e.tensor_proto), e.wall_time) for e in events.Tensors(tag)]
        if tag.startswith(f"{_TEXT}/") and found:
            made = _own_made(path, found[-1][1])
        elif found and all(value.size == 1 and value.dtype.kind in "fiu" for _, value, _ in found):
            series[tag] = _series([(step, float(value.reshape(())), when) for step, value, when in found])
    if not series:
        raise InputError(f"{path} has events of TensorBoard and no scalars among them")
    if made is not None:
        return Log(str(path), OWN, series, first_step=0, made=made)
    folder = path if path.is_dir() else path.parent
    more = hyper_parameters(folder)
    lightning = bool(more) or (folder / "hparams.yaml").is_file()
    return Log(str(path), "TensorBoard events", series, first_step=0 if lightning else None, made=more)


def _series(points: list[tuple[int, float, float]]) -> Series:
    steps, values, times = zip(*points, strict=True)
    when = np.array(times, dtype=np.float64)
    return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64), when, when)


def _own_made(path: Path, text: Any) -> dict[str, Any] | None:
    try:
        head = json.loads(text.reshape(-1)[0])
    except (ValueError, TypeError, AttributeError):  # a text of somebody else
        return None
    if not isinstance(head, dict) or _KEY not in head:
        return None
    if head[_KEY] > FORMAT:
        raise InputError(f"the events in {path} have format {head[_KEY]}, this lrkit reads up to {FORMAT}")
    made: dict[str, Any] = head["made"]
    return made


# --- writing -----------------------------------------------------------------------------------------


def write_tensorboard(history: History, folder: str | Path) -> None:
    """Write a history as events that TensorBoard shows; what another run left in the folder is hidden by it.

    The tags are `train/loss` and `lr` (further param groups `lr/1` and so on) at every update, 0-based, and at the last
    update of every epoch `train/loss_epoch`, `valid/loss`, `valid/NAME` for each metric, `test/loss`, `test/NAME`.
    Their times are those of the run, as far as they are known: an epoch's seconds are spread over its updates. `lrkit`,
    among the texts, says how the run was made. TensorBoard keeps numbers in single precision.

    Args:
        history: with at least one epoch.
        folder: it is made where it doesn't exist.

    Raises:
        InputError: for a history without an epoch, and a folder that can't be written to.
        ImportError: where TensorBoard isn't installed.
    """
    given: object = history
    if not isinstance(given, History):
        raise InputTypeError(f"history must be a History, not {shown(history)}")
    if not history.epochs:
        raise InputError("history must have at least one epoch to be written, and has none")
    begin = _began(history)
    with _closing(open_writer(folder, purge_step=0)) as writer:
        write_epochs(writer, history, 0, begin)


def open_writer(folder: str | Path, *, purge_step: int) -> "SummaryWriter":
    """A writer; what was written before for this step and later ones is hidden.

    Raises:
        InputError: for a folder that can't be written to.
        ImportError: where TensorBoard isn't installed.
    """
    with _extra():
        from torch.utils.tensorboard import SummaryWriter
    _wait_for_a_new_second(Path(folder))
    try:
        return SummaryWriter(str(folder), purge_step=purge_step)
    except OSError as error:
        raise InputError(f"events can't be written into {folder}: {error.strerror}") from None


def _wait_for_a_new_second(folder: Path) -> None:
    """Until no file of events there is of this second: they are read by name, as text, in which 10 is before 9."""
    seconds = {second for each in folder.glob(EVENTS) for second in each.name.split(".")[3:4]}
    while f"{int(time.time()):010d}" in seconds:
        time.sleep(0.02)


@contextmanager
def _closing(writer: Any) -> Iterator[Any]:
    try:
        yield writer
    finally:
        writer.close()


def write_epochs(writer: Any, history: History, done: int, begin: float, end: float | None = None) -> float:
    """Write the epochs after so many that are written already; returns the time at the end of the last.

    Args:
        writer: of events.
        history: what is written.
        done: epochs that are written already.
        begin: when the first that is written began, in seconds since 1970.
        end: when the last that is written ended; by default that follows from its seconds.
    """
    if not done:
        head = json.dumps({_KEY: FORMAT, "made": dict(history.made)})
        writer.add_text(_TEXT, head, 0, walltime=begin)
    first = history.epochs[done - 1].step if done else 0
    for record in history.epochs[done:]:
        last = begin + record.seconds if end is None else end
        times = np.linspace(begin, last, record.step - first + 1)[1:].tolist()
        for step, when in zip(range(first, record.step), times, strict=True):
            rates = {rate_tag(group): lr for group, lr in enumerate(history.lrs[step].tolist())}
            _add(writer, {LOSS: float(history.losses[step]), **rates}, step, when)
        _add(writer, tags_of_epoch(record), record.step - 1, last)
        first, begin = record.step, last
    writer.flush()
    return begin


def _add(writer: Any, scalars: Mapping[str, float], step: int, when: float) -> None:
    """Several scalars as one event, in less time than `add_scalar` takes for each."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    writer.file_writer.add_event(Event(summary=Summary(value=values)), step, when)


def _began(history: History) -> float:
    """When the run began, as far as it is known."""
    started: Any = history.made.get("started")
    try:
        return datetime.fromisoformat(started).timestamp()
    except (TypeError, ValueError):
        return time.time() - sum(each.seconds for each in history.epochs)

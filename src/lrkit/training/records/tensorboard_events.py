"""TensorBoard's events of a run: read from its files, written by its own writer."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.training.history import History
from lrkit.training.records.after_training import without_what_follows, without_what_lightning_adds
from lrkit.training.records.configuration import HYPER, hyper_parameters
from lrkit.training.records.event_file import Scalars, read_events
from lrkit.training.records.series import Log, Series
from lrkit.training.records.tensorboard_own import LOSS, rate_tag, tags_of_epoch
from lrkit.training.records.words import side_in, words_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "EVENTS",
    "OWN",
    "are_sides",
    "folders_with_events",
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

    Folders inside are sides of the run where they are called so (`train`, `validation`), as by Keras, or after a tag,
    as by `add_scalars`; their names are then put before or after those of the tags.

    Raises:
        InputError: for files without scalars.
        ImportError: where TensorBoard isn't installed.
    """
    scalars, texts, said = _scalars_of(path)
    if path.is_dir():
        for folder in folders_with_events(path):
            inside, _, wrong = _scalars_of(folder)
            named = _named_after(folder.name, inside)
            scalars |= named
            said += wrong if named else [f"{folder.name} has events of its own, and is not read"]
    series = {tag: _series(each) for tag, each in scalars.items() if each.steps}
    if not series:
        raise InputError(f"{path} has events of TensorBoard and no scalars among them")
    made = next(
        (own for tag, text in texts.items() if tag.startswith(f"{_TEXT}/") and (own := _own_made(path, text))), None
    )
    if made is not None:
        return Log(str(path), OWN, series, first_step=0, made=made)
    folder = path if path.is_dir() else path.parent
    more = hyper_parameters(folder)
    lightning = bool(more) or (folder / HYPER).is_file() or "hp_metric" in series
    series.pop("hp_metric", None)
    log = Log(str(path), "TensorBoard events", series, first_step=0 if lightning else None, made=more, said=tuple(said))
    return without_what_lightning_adds(log) if lightning else without_what_follows(log)


def folders_with_events(path: Path) -> list[Path]:
    """The folders right inside that have events."""
    return sorted(each for each in path.iterdir() if each.is_dir() and next(each.glob(EVENTS), None) is not None)


def are_sides(folders: Sequence[Path]) -> bool:
    """Whether folders are sides of one run, by their names."""
    return bool(folders) and all(side_in(each.name) and len(words_of(each.name)) == 1 for each in folders)


def _scalars_of(path: Path) -> tuple[dict[str, Scalars], dict[str, bytes], list[str]]:
    """What is in a file, or in those of a folder in the order of their names; and what is wrong with them."""
    with _extra():
        import tensorboard.compat.proto.event_pb2  # noqa: F401 (here, to name the extra where it's missing)
    scalars: dict[str, Scalars] = {}
    texts: dict[str, bytes] = {}
    files = sorted(each for each in path.glob(EVENTS) if each.is_file()) if path.is_dir() else [path]
    wrong = [what for each in files if (what := read_events(each, scalars, texts)) is not None]
    return scalars, texts, wrong


def _named_after(folder: str, scalars: Mapping[str, Scalars]) -> dict[str, Scalars]:
    """Scalars of a folder inside by tags with its name; none where it is no side of the run."""
    if side_in(folder) and len(words_of(folder)) == 1:
        return {f"{folder}/{tag}": each for tag, each in scalars.items()}
    begins = {tag: f"{tag.replace('/', '_')}_" for tag in scalars}
    return {
        f"{tag}/{folder.removeprefix(begins[tag])}": each
        for tag, each in scalars.items()
        if folder.startswith(begins[tag])
    }


def _series(points: Scalars) -> Series:
    when = np.array(points.times, dtype=np.float64)
    return Series(np.array(points.steps, dtype=np.int64), np.array(points.values, dtype=np.float64), when, when)


def _own_made(path: Path, text: bytes) -> dict[str, Any] | None:
    try:
        head = json.loads(text)
    except (ValueError, TypeError, RecursionError):  # a text of somebody else
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

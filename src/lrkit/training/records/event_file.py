"""Scalars from a file of TensorBoard's events, by its records: about as fast as they can be read at all."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError
from lrkit.training.records.source_text import refuse_pointer

__all__ = ["Scalars", "read_events"]

_HEAD, _FOOT = 12, 4  # bytes of a record's length with its checksum, and of the checksum of its data
_CHECKED = 1024  # bytes: longer data are pictures or graphs, no scalars
_START = 1  # SessionLog.START
_FLOAT = 1  # DT_FLOAT


@dataclass
class Scalars:
    """The scalars of one tag, as they are read."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def hide(self, step: int) -> None:
        """Leave out what was written until now for this step and later ones."""
        keep = [place for place, own in enumerate(self.steps) if own < step]
        if len(keep) < len(self.steps):
            self.steps[:] = [self.steps[place] for place in keep]
            self.values[:] = [self.values[place] for place in keep]
            self.times[:] = [self.times[place] for place in keep]


def read_events(path: Path, scalars: dict[str, Scalars], texts: dict[str, Any]) -> str | None:
    """Add the scalars of a file, and its last texts; returns what is wrong with it at its end, in words.

    Raises:
        InputError: for what is no file of events.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read as events of TensorBoard: {error.strerror}") from None
    refuse_pointer(path, data[:100])
    places = _framed(data)
    wrong = None
    if not places and data:
        raise InputError(f"{path} can't be read as events of TensorBoard: its first record is damaged")
    bad = _first_damaged(data, places)
    if bad is not None:
        places, wrong = places[:bad], f"{path.name} is damaged after {bad} records: what follows is left out"
    for begin, end in places:
        try:
            event = Event.FromString(data[begin:end])
        except Exception:  # noqa: BLE001 (protobuf's own error, by what implements it)
            return f"{path.name} has something else than events in it: what follows is left out"
        _take(event, scalars, texts)
    return wrong


def _take(event: Any, scalars: dict[str, Scalars], texts: dict[str, Any]) -> None:
    kind = event.WhichOneof("what")
    if kind == "summary":
        step, when = event.step, event.wall_time
        for value in event.summary.value:
            number = value.simple_value if value.HasField("simple_value") else _in_tensor(value, texts)
            if number is not None:
                found = scalars.get(value.tag)
                if found is None:
                    found = scalars[value.tag] = Scalars()
                found.steps.append(step)
                found.values.append(number)
                found.times.append(when)
    elif kind == "session_log" and event.session_log.status == _START:
        for each in scalars.values():
            each.hide(event.step)


def _in_tensor(value: Any, texts: dict[str, Any]) -> float | None:
    """The number in a tensor of one; a text is kept apart."""
    if not value.HasField("tensor"):
        return None
    tensor = value.tensor
    if tensor.dtype == _FLOAT and not tensor.tensor_shape.dim and len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    if len(tensor.string_val):
        texts[value.tag] = tensor.string_val[0]
        return None
    if sum(max(dim.size, 1) for dim in tensor.tensor_shape.dim) > 8:
        return None
    from tensorboard.util import tensor_util

    try:
        array = tensor_util.make_ndarray(tensor)
    except (TypeError, ValueError):  # of a kind that NumPy has not
        return None
    return float(array.reshape(())) if array.size == 1 and array.dtype.kind in "fiu" else None


# --- records -----------------------------------------------------------------------------------------


def _framed(data: bytes) -> list[tuple[int, int]]:
    """Begins and ends of the data of all records; a last one that is cut off is left out."""
    places = []
    at, size = 0, len(data)
    unpack = struct.Struct("<Q").unpack_from
    while at + _HEAD <= size:
        (length,) = unpack(data, at)
        begin = at + _HEAD
        at = begin + length + _FOOT
        if at > size:
            break
        places.append((begin, begin + length))
    return places


def _first_damaged(data: bytes, places: list[tuple[int, int]]) -> int | None:
    """The first record whose checksums are others than they should be; long ones aren't looked at."""
    if not places:
        return None
    raw = np.frombuffer(data, dtype=np.uint8)
    begins, ends = (np.array(part, dtype=np.int64) for part in zip(*places, strict=True))
    wrong = _checksums(raw, begins - _HEAD, np.full(len(begins), 8)) != _stored(raw, begins - _FOOT)
    short = np.flatnonzero(ends - begins <= _CHECKED)
    wrong[short] |= _checksums(raw, begins[short], (ends - begins)[short]) != _stored(raw, ends[short])
    found = np.flatnonzero(wrong)
    return int(found[0]) if len(found) else None


def _stored(raw: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    parts = [raw[at + byte].astype(np.uint32) << np.uint32(8 * byte) for byte in range(4)]
    found: NDArray[np.uint32] = parts[0] | parts[1] | parts[2] | parts[3]
    return found


def _checksums(raw: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The masked CRC-32C of every stretch, as TFRecord files have it: all stretches at once, byte by byte."""
    found = np.full(len(begins), 0xFFFFFFFF, dtype=np.uint32)
    order = np.argsort(-lengths, kind="stable")
    begins, lengths = begins[order], lengths[order]
    state = found[order]
    longest = int(lengths[0]) if len(lengths) else 0
    counts = np.searchsorted(-lengths, -np.arange(longest), side="left")  # stretches longer than so many bytes
    for byte in range(longest):
        count = counts[byte]
        part = state[:count]
        state[:count] = _TABLE[(part ^ raw[begins[:count] + byte]) & np.uint32(0xFF)] ^ (part >> np.uint32(8))
    state = ~state
    masked = ((state >> np.uint32(15)) | (state << np.uint32(17))) + np.uint32(0xA282EAD8)
    found[order] = masked
    return found


def _table() -> NDArray[np.uint32]:
    """CRC-32C of every byte: the reflected polynomial is 0x82F63B78."""
    found = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        found = np.where(found & 1, (found >> np.uint32(1)) ^ np.uint32(0x82F63B78), found >> np.uint32(1))
    return found


_TABLE = _table()

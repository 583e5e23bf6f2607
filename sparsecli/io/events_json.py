"""Events as text: JSON, one event a line, and rows of CSV.

    {"header": {...}, "columns": [{"name": "onset_s", "unit": "s"}, ...], "rows": [[...], ...], "air": [[[...], ...]]}

Numbers are the shortest decimals that give back the same float32 or float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.columns import AIR_BANDS
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events

from .events_header import (
    MAX_AIR_FRAMES,
    MAX_EVENTS,
    Json,
    check_columns,
    column_objects,
    decode,
    encode,
    header_object,
    parse_counts,
    parse_header,
    to_bytes,
)

MAX_JSON_BYTES = 1 << 29
_BLOCK_ROWS = 1 << 12


def pack_json(events: Events) -> Iterator[bytes]:
    """The JSON file of a set of events, in pieces."""
    columns = ",\n".join(encode(column) for column in column_objects(events.header, labels=True))
    yield to_bytes(f'{{"header": {encode(header_object(events), indent=1)},\n"columns": [\n{columns}\n],\n"rows": [')
    separator = "\n"
    for row in _rows(events):
        yield f"{separator}[{', '.join(row)}]".encode()
        separator = ",\n"
    channels = ("[\n" + ",\n".join(_frames(channel)) + "\n]" if len(channel) else "[]" for channel in events.air)
    yield f'\n],\n"air": [{", ".join(channels)}]}}\n'.encode()


def pack_csv(events: Events) -> Iterator[bytes]:
    """A line with the names of the columns and one line an event; neither header nor air, so there is no way back."""
    yield (",".join(column["name"] for column in column_objects(events.header, labels=True)) + "\n").encode()
    for row in _rows(events):
        yield (",".join(row) + "\n").encode()


def unpack_json(data: bytes, subject: str) -> Events:
    """The events in a JSON text, everything but the ranges of the numbers checked.

    Raises:
        SparseError: not an events file, or a damaged one.
    """
    found = decode(data, subject)
    top = found.get("header")
    if not isinstance(top, dict):
        raise SparseError(subject, "is not an events file (no header)")
    header = parse_header(top, found.get("columns"), subject)
    check_columns(found.get("columns"), header, subject, labels=True)
    width = len(column_objects(header, labels=True))
    rows = _checked_rows(found, width, subject)
    air = _parse_air(found, header.channels, subject)
    _check_counts(top, len(rows), air.shape[1], subject)
    notes, ids, seeds = ([row[index] for row in rows] for index in (-3, -2, -1))
    numbers = _to_floats([row[:-3] for row in rows], subject).reshape(len(rows), width - 3)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        params = numbers[:, 1:].astype(np.float32)
    return Events(
        header=header,
        onset_s=np.ascontiguousarray(numbers[:, 0]),
        params=params,
        note=_to_integers(notes, np.dtype(np.int32), "note", subject),
        id=_to_integers(ids, np.dtype(np.int64), "id", subject),
        noise_seed=_to_integers(seeds, np.dtype(np.uint64), "noise_seed", subject),
        air=air,
    )


def _rows(events: Events) -> Iterator[list[str]]:
    """The numbers of each event as text, in the order of the columns."""
    for start in range(0, len(events), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        onsets, labels = events.onset_s[part].tolist(), (events.note[part], events.id[part], events.noise_seed[part])
        texts: list[list[str]] = events.params[part].astype(np.str_).tolist()  # shortest for float32
        for onset_s, numbers, *whole in zip(onsets, texts, *labels, strict=True):
            yield [repr(onset_s), *numbers, *map(str, whole)]


def _frames(channel: NDArray[np.float32]) -> Iterator[str]:
    for frame in channel.astype(np.str_).tolist():
        yield f"[{', '.join(frame)}]"


def _checked_rows(found: Json, width: int, subject: str) -> list[list[Any]]:
    rows = found.get("rows")
    if not isinstance(rows, list) or len(rows) > MAX_EVENTS:
        raise SparseError(subject, f"its rows are not a list of at most {MAX_EVENTS} events")
    for line, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != width:
            raise SparseError(subject, f"row {line} does not hold {width} numbers")
        if not all(type(value) is float or type(value) is int for value in row):
            raise SparseError(subject, f"row {line} holds something that is not a number")
    return rows


def _parse_air(found: Json, channels: int, subject: str) -> NDArray[np.float32]:
    """Levels float32 `[channels, frames, 24]`."""
    air = found.get("air")
    fault = SparseError(
        subject, f"its air is not {channels} equal lists of frames of {AIR_BANDS} numbers, one a channel"
    )
    if not isinstance(air, list) or len(air) != channels or not all(isinstance(channel, list) for channel in air):
        raise fault
    frames = len(air[0])
    if frames > MAX_AIR_FRAMES or any(len(channel) != frames for channel in air):
        raise fault
    for frame in (frame for channel in air for frame in channel):
        if (
            not isinstance(frame, list)
            or len(frame) != AIR_BANDS
            or not {type(value) for value in frame} <= {int, float}
        ):
            raise fault
    with np.errstate(over="ignore"):
        return _to_floats(air, subject).reshape(channels, frames, AIR_BANDS).astype(np.float32)


def _check_counts(header: Json, events: int, air_frames: int, subject: str) -> None:
    """A JSON file need not state counts, but where it does they hold."""
    if "counts" not in header:
        return
    counts = parse_counts(header, subject)
    if (counts.events, counts.air_frames) != (events, air_frames):
        cause = f"declares {counts.events} events and {counts.air_frames} frames of air, and holds {events}"
        raise SparseError(subject, f"{cause} and {air_frames}", "remove counts from its header")


def _to_floats(numbers: list[Any], subject: str) -> NDArray[np.float64]:
    try:
        return np.array(numbers, np.float64)
    except OverflowError:
        raise SparseError(subject, "holds a number that is too large") from None


def _to_integers(values: list[Any], dtype: np.dtype[Any], name: str, subject: str) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    for value in values:
        if type(value) is not int or not limits.min <= value <= limits.max:
            raise SparseError(subject, f"a {name} is not a whole number from {limits.min} to {limits.max}")
    return np.array(values, dtype)

"""What holds for every set of events that is read or written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.columns import (
    AIR_BANDS,
    MAX_LEVEL_DB,
    MODES_PER_ATOM,
    NOISE_FREQ,
    SHAPES,
    SILENT_DB,
    Column,
)
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events, Header
from sparsecli.core.grids import Codes, events_of

from .events_header import MAX_AIR_FRAMES, MAX_EVENTS, Counts

# The arrays of an events file and their types there, in order.
DTYPES: dict[str, np.dtype[Any]] = {
    "onset_s": np.dtype("<f8"),
    "params": np.dtype("<f4"),
    "note": np.dtype("<i4"),
    "id": np.dtype("<i8"),
    "noise_seed": np.dtype("<u8"),
    "air": np.dtype("<f4"),
}


def shapes(header: Header, counts: Counts) -> dict[str, tuple[int, ...]]:
    """The shape of every array of an events file, by name."""
    rows = (counts.events,)
    return {
        "onset_s": rows,
        "params": (*rows, len(header.columns) - 1),
        "note": rows,
        "id": rows,
        "noise_seed": rows,
        "air": (header.channels, counts.air_frames, AIR_BANDS),
    }


def counts_of(events: Events) -> Counts:
    """The counts of a set of events."""
    return Counts(len(events), events.air.shape[1] if events.air.ndim == 3 else 0)


def check_events(events: Events, subject: str) -> None:
    """Check the types, shapes and values of all arrays; the header is checked elsewhere.

    Raises:
        SparseError: names the event by its id, the column, the value and the range.
    """
    _check_arrays(events, subject)
    unique, repeats = np.unique(events.id, return_counts=True)
    if len(unique) < len(events):
        raise SparseError(subject, f"more than one event has the id {unique[repeats > 1][0]}", "give each its own")
    _check_column(events, subject, events.table[0], events.onset_s)
    for index, column in enumerate(events.table[1:]):
        _check_column(events, subject, column, events.params[:, index])
    _CHECKS[events.header.kind](events, subject)
    _check_air(events, subject)


def check_codes(codes: Codes, events: Events, subject: str) -> None:
    """Raise SparseError where codes do not stand for just these events."""
    coded = events_of(codes, events.header)
    for name in DTYPES:
        if not np.array_equal(getattr(coded, name), getattr(events, name)):
            raise SparseError(subject, f"{name} is not what the codes say", "save changed events without codes")


def _check_arrays(events: Events, subject: str) -> None:
    counts = counts_of(events)
    if counts.events > MAX_EVENTS or counts.air_frames > MAX_AIR_FRAMES:
        raise SparseError(subject, f"more than {MAX_EVENTS} events or {MAX_AIR_FRAMES} frames of air")
    for name, shape in shapes(events.header, counts).items():
        array: NDArray[Any] = getattr(events, name)
        if array.dtype != DTYPES[name]:
            raise SparseError(subject, f"{name} is {array.dtype}, not {DTYPES[name]}")
        if array.shape != shape:
            raise SparseError(subject, f"{name} has the shape {array.shape}, not {shape}")


def _check_column(events: Events, subject: str, column: Column, values: NDArray[Any]) -> None:
    # Limits are compared in the precision of the file: the float32 next to 0.0002 may lie under it.
    low, high = values.dtype.type(column.low), values.dtype.type(column.high)
    sound = (values >= low) & (values <= high)  # false for NaN
    if not sound.all():
        row = int(np.argmin(sound))
        cause = (
            f"event {events.id[row]}: {column.name} is {values[row]}, which is not in {column.low:g} .. {column.high:g}"
        )
        raise SparseError(subject, f"{cause} {column.unit}".rstrip())


def _check_sounding(events: Events, subject: str) -> None:
    """Unused slots hold zeros; what sounds needs a decay, and noise a frequency, above 0."""
    levels = [*(f"level{slot}_db" for slot in range(1, MODES_PER_ATOM + 1)), "noise_level_db"]
    for level, other in [*((level, "decay_s") for level in levels), ("noise_level_db", NOISE_FREQ)]:
        silly = (events.column(level) > SILENT_DB) & (events.column(other) == 0)
        if silly.any():
            name = events.id[int(np.argmax(silly))]
            raise SparseError(subject, f"event {name}: {other} is 0", f"raise it, or set {level} to {SILENT_DB:g}")


def _check_windows(events: Events, subject: str) -> None:
    """Shapes are whole numbers."""
    shape = events.column("shape")
    odd = shape != np.rint(shape)
    if odd.any():
        row = int(np.argmax(odd))
        raise SparseError(subject, f"event {events.id[row]}: its shape {shape[row]:g} is none", f"give {_SHAPES_TOLD}")


def _check_learned(events: Events, subject: str) -> None:
    """Numbers of atoms are whole, and signs 1 or -1."""
    signs = [column.name for column in events.table if column.name.startswith("sign")]
    for name in ["atom", *signs]:
        values = events.column(name)
        odd = values != np.rint(values) if name == "atom" else np.abs(values) != 1
        if odd.any():
            row = int(np.argmax(odd))
            wanted = "a whole number" if name == "atom" else "1 or -1"
            raise SparseError(subject, f"event {events.id[row]}: {name} is {values[row]:g}", f"give {wanted}")


def _check_nothing_more(events: Events, subject: str) -> None:
    """Vectors may be any within their ranges."""


_CHECKS = {"atoms": _check_sounding, "gabor": _check_windows, "siam": _check_nothing_more, "learned": _check_learned}
_SHAPES_TOLD = ", ".join(f"{number} ({name})" for name, number in SHAPES.items())


def _check_air(events: Events, subject: str) -> None:
    sound = (events.air >= SILENT_DB) & (events.air <= MAX_LEVEL_DB)
    if not sound.all():
        value = events.air[~sound][0]
        raise SparseError(subject, f"air: a level is {value} dB, which is not in {SILENT_DB:g} .. {MAX_LEVEL_DB:g}")

"""What a page shows, as bytes: events for the browser, and events that the browser sends back.

    b"SPRSCENE", uint32 n, n bytes of JSON, zeros up to a multiple of 8, then the arrays of `ARRAYS` one after the other

The JSON is {"header": ..., "columns": [names], "counts": {...}}, the header that of an events file. All is
little-endian. Those of 8 bytes a number come first, so that a browser can use all arrays where they lie.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import replace

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..core.audio import Audio
from ..core.errors import SparseError
from ..core.events import Events
from ..io.events_check import DTYPES, check_events, counts_of, shapes
from ..io.events_header import decode, encode, header_object, parse_counts, parse_header, to_bytes
from ..io.wav import blocks, to_integers, wav_bytes

MAGIC = b"SPRSCENE"
ARRAYS = ("onset_s", "id", "noise_seed", "params", "air", "note")
KIND = "atoms"  # of the events that the page's renderer knows
_UNIT = 8  # bytes; what the arrays begin at a multiple of
_FLAC_MAX_RATE = 65535  # that libFLAC's streamable subset states without loss
_FROM_BROWSER = "events from the browser"


def check_playable(events: Events, name: str) -> None:
    """Raise SparseError, naming where they come from, unless the page can play these events."""
    if events.header.kind != KIND:
        cause = f"holds events of kind {events.header.kind}, and the page plays those of kind {KIND} alone"
        cure = (
            "make atoms of them with: sparse edit --as atoms"
            if events.kind.has_vectors
            else "hear them with sparse render"
        )
        raise SparseError(name, cause, cure)


def pack_scene(events: Events) -> bytes:
    """A set of events as bytes."""
    counts = counts_of(events)
    about = {
        "header": header_object(events),
        "columns": list(events.columns),
        "counts": {"events": counts.events, "air_frames": counts.air_frames},
    }
    text = to_bytes(encode(about))
    head = MAGIC + struct.pack("<I", len(text)) + text
    arrays = (np.ascontiguousarray(getattr(events, name), DTYPES[name]).tobytes() for name in ARRAYS)
    return head + bytes(-len(head) % _UNIT) + b"".join(arrays)


def unpack_scene(data: bytes) -> Events:
    """The events in what a browser sent, checked as those of any file.

    Raises:
        SparseError: they are no events, or hold values that no event can have.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < len(MAGIC) + 4:
        raise SparseError(_FROM_BROWSER, "are none")
    start = len(MAGIC) + 4
    (size,) = struct.unpack_from("<I", data, len(MAGIC))
    about = decode(data[start : start + size], _FROM_BROWSER)
    found = about.get("header")
    if not isinstance(found, dict):
        raise SparseError(_FROM_BROWSER, "have no header")
    names = about.get("columns")
    header = parse_header(found, [{"name": name} for name in names] if isinstance(names, list) else None, _FROM_BROWSER)
    if names != [column.name for column in header.columns]:
        raise SparseError(_FROM_BROWSER, "have other columns than their kind")
    expected = shapes(header, parse_counts(about, _FROM_BROWSER))
    place = start + size + -(start + size) % _UNIT
    whole = place + sum(DTYPES[name].itemsize * math.prod(expected[name]) for name in ARRAYS)
    if len(data) != whole:
        raise SparseError(_FROM_BROWSER, f"are {len(data)} bytes, not the {whole} that they declare")
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in ARRAYS:
        count = math.prod(expected[name])
        arrays[name] = np.frombuffer(data, DTYPES[name], count, place).reshape(expected[name])
        place += arrays[name].nbytes
    events = Events(header=header, **arrays)  # type: ignore[arg-type]
    check_events(events, _FROM_BROWSER)
    check_playable(events, _FROM_BROWSER)
    return events


def pack_audio(audio: Audio, channels: int) -> tuple[bytes, str]:
    """A recording as a file that browsers can play, and its media type: FLAC of 16 bits, WAV where FLAC cannot.

    Args:
        audio: the recording.
        channels: of the events; a recording of another number is folded to mono, as for the fit.
    """
    if audio.channels != channels:
        audio = replace(audio, samples=audio.mono()[None])
    if audio.sample_rate > _FLAC_MAX_RATE:
        return b"".join(wav_bytes(audio.samples, audio.sample_rate, "16")), "audio/wav"
    memory = io.BytesIO()
    layout = (audio.sample_rate, audio.channels, "PCM_16")
    with soundfile.SoundFile(memory, "w", *layout, format="FLAC") as sound:
        for block in blocks(audio.samples):
            sound.write(to_integers(block, 16).astype(np.int16))
    return memory.getvalue(), "audio/flac"

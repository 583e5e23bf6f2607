"""Events files: NPZ for programs, JSON for people and pipes, CSV for tables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Literal

from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.core.grids import Codes

from .atomic import STANDARD, Path, is_stream, open_output
from .events_check import check_codes, check_events
from .events_header import decode, encode, header_object, parse_header, to_bytes
from .events_json import MAX_JSON_BYTES, pack_csv, pack_json, unpack_json
from .events_npz import pack_npz, unpack_npz
from .source import Source, open_source

EventsFormat = Literal["npz", "json", "csv"]

_FORMAT_OF_EXTENSION: dict[str, EventsFormat] = {".npz": "npz", ".json": "json", ".csv": "csv"}
_FIRST_BYTES = 64
_RECORDINGS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")


def recognise(first_bytes: bytes) -> Literal["npz", "json"] | None:
    """The format of a file by its first bytes (64 are enough); None for what can be no events file.

    >>> recognise(b'  {"header": ...'), recognise(b"PK\\x03\\x04..."), recognise(b"RIFF....WAVE")
    ('json', 'npz', None)
    """
    if first_bytes.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    return "json" if first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else None


def load_events(path: Path) -> Events:
    """Read events, NPZ (packed or not) or JSON whatever the name says. Everything in them is checked.

    Args:
        path: the file; `-` is standard input.

    Raises:
        SparseError: there is no such file, it is none of events, of a later version, damaged, or holds values that
            no event can have.
    """
    with open_source(path) as source:
        return events_from(source)


def load_events_and_sha256(path: Path) -> tuple[Events, str]:
    """Read events, as `load_events` does, and the SHA-256 of their file."""
    with open_source(path) as source:
        sha256 = hashlib.file_digest(source.stream, "sha256").hexdigest()  # type: ignore[arg-type]
        source.stream.seek(0)
        return events_from(source), sha256


def events_from(source: Source) -> Events:
    """Read events from what is open, as `load_events` does."""
    try:
        events = _unpack(source)
        check_events(events, source.subject)
    except MemoryError:
        raise SparseError(source.subject, "does not fit into memory") from None
    return events


def save_events(
    path: Path,
    events: Events,
    overwrite: bool = False,
    file_format: EventsFormat | None = None,
    codes: Codes | None = None,
) -> None:
    """Write events; the same events give the same bytes. What could not be read back is not written.

    Args:
        path: the file; `-` is standard output.
        events: what to write.
        overwrite: replace an existing file.
        file_format: `npz`, `json` or `csv` (columns alone: no header, no air, cannot be read back). By default what
            the extension says, and JSON on standard output, devices and pipes.
        codes: what quantised events were made from; an NPZ file then holds these, which are few bytes.

    Raises:
        SparseError: the file exists, cannot be written or has an unknown extension, or the events break a rule.
    """
    subject = "standard output" if os.fspath(path) == STANDARD else os.fspath(path)
    chosen = file_format or _format_of(path)
    parse_header(decode(to_bytes(encode(header_object(events))), subject), None, subject)
    check_events(events, subject)
    if codes is not None:
        check_codes(codes, events, subject)
    size = 0
    with open_output(path, overwrite=overwrite) as out:
        for piece in _pack(events, chosen, codes):
            size += out.write(piece)
            if chosen == "json" and size > MAX_JSON_BYTES:
                raise _too_much_json(subject)


def _pack(events: Events, chosen: EventsFormat, codes: Codes | None = None) -> Iterable[bytes]:
    if chosen == "npz":
        return [pack_npz(events, codes)]
    return pack_json(events) if chosen == "json" else pack_csv(events)


def _unpack(source: Source) -> Events:
    first = source.stream.read(_FIRST_BYTES)
    source.stream.seek(0)
    found = recognise(first)
    if found == "npz":
        return unpack_npz(source.stream, source.subject)
    if found is None:
        raise _unrecognised(source.subject, first)
    data = source.stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise _too_much_json(source.subject)
    return unpack_json(data, source.subject)


def _too_much_json(subject: str) -> SparseError:
    return SparseError(subject, f"is JSON of more than {MAX_JSON_BYTES >> 20} MiB", "use .npz")


def _unrecognised(subject: str, first: bytes) -> SparseError:
    if first.startswith(_RECORDINGS):
        return SparseError(subject, "is a recording, not events", "make events of it with: sparse fit")
    if first.startswith(b"onset_s,"):
        return SparseError(subject, "is a CSV export, which cannot be read back", "keep the .npz or .json")
    return SparseError(subject, "is not an events file (.npz or .json)")


def _format_of(path: Path) -> EventsFormat:
    extension = os.path.splitext(path)[1].lower()
    if extension in _FORMAT_OF_EXTENSION:
        return _FORMAT_OF_EXTENSION[extension]
    if is_stream(path):
        return "json"
    cause = f"{extension} is no known events format" if extension else "has no extension"
    raise SparseError(os.fspath(path), cause, "name it .npz, .json or .csv")

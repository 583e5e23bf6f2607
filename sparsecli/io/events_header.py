"""The header of an events file: a JSON object, the same in NPZ and JSON files.

    {"format": "sparse-events", "version": 1, "kind": "atoms", "columns": [{"name": "onset_s", "unit": "s"}, ...],
     "duration_s": 1.5, "sample_rate": 44100, "channels": 1, "source": {"name": "a.wav", "sha256": "..."}, "seed": 0,
     "settings": {...}, "quality": {...}, "counts": {"events": 64, "air_frames": 2}}

A JSON file states the columns beside its rows, and needs no counts. Keys that are not known are passed over.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from sparsecli.core.columns import (
    KINDS,
    MAX_CHANNELS,
    MAX_ONSET_S,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    OPTIONAL_COLUMNS,
)
from sparsecli.core.errors import SparseError
from sparsecli.core.events import FORMAT, VERSION, Events, Header

Json = dict[str, Any]

MAX_HEADER_BYTES = 1 << 20
MAX_EVENTS = 10_000_000  # more than a day at 170 events for each 1.5 s
MAX_AIR_FRAMES = math.ceil(MAX_ONSET_S) + 1  # a day at one frame a second
_MAX_DEPTH = 16  # of settings in settings
_LABELS = ("note", "id", "noise_seed")  # beside the columns, in JSON and CSV rows


@dataclass(frozen=True)
class Counts:
    """How many events and frames of air a file declares."""

    events: int
    air_frames: int


def header_object(events: Events) -> Json:
    """The header as a JSON object, without columns and counts."""
    header = events.header
    edits = {
        "edits": {"of": {"name": header.edited_name, "sha256": header.edited_sha256}, "operations": header.operations}
    }
    model = {"model": {"name": header.model_name, "sha256": header.model_sha256}}
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": header.kind,
        **(model if header.model_sha256 or header.model_name else {}),
        "duration_s": float(header.duration_s),
        "sample_rate": index(header.sample_rate),
        "channels": index(header.channels),
        "source": {"name": header.source_name, "sha256": header.source_sha256},
        "seed": index(header.seed),
        "settings": header.settings,
        "quality": header.quality,
        **(edits if header.operations else {}),
    }


def column_objects(header: Header, labels: bool) -> list[Json]:
    """Names and units of the columns, with `labels` those of rows: `note`, `id` and `noise_seed` at the end."""
    columns = [{"name": column.name, "unit": column.unit} for column in header.columns]
    return columns + [{"name": name, "unit": ""} for name in _LABELS if labels]


def encode(value: Any, indent: int | None = None) -> str:
    """JSON text. Numpy scalars become numbers, paths become texts."""
    return json.dumps(value, ensure_ascii=False, default=_plain, indent=indent)


def to_bytes(text: str) -> bytes:
    """UTF-8, with half characters (of file names that are no text) as the escapes that JSON has for them."""
    return text.encode("utf-8", "backslashreplace")


def decode(data: bytes, subject: str) -> Json:
    """The object in a JSON text. Raises SparseError for anything else, and for numbers that are not finite."""
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise SparseError(subject, "is not an events file (JSON too deep)") from None
    except ValueError as error:
        raise SparseError(subject, f"is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise SparseError(subject, "is not an events file (no JSON object)")
    return value


def parse_header(found: Json, columns: Any, subject: str) -> Header:
    """The header in a JSON object, all of it checked. Raises SparseError that names the key at fault.

    Args:
        found: the object.
        columns: what stands as columns in the file; `check_columns` checks them. None where there are none.
        subject: the file.
    """
    fields = Fields(found, subject)
    _check_format(fields)
    source = Fields(fields.get("source", dict, {}), subject, "source.")
    edits = Fields(fields.get("edits", dict, {}), subject, "edits.")
    edited = Fields(edits.get("of", dict, {}), subject, "edits.of.")
    model = Fields(fields.get("model", dict, {}), subject, "model.")
    header = Header(
        kind=fields.get("kind", str),
        duration_s=float(fields.number("duration_s", low=0.0, high=MAX_ONSET_S)),
        sample_rate=fields.integer("sample_rate", MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
        channels=fields.integer("channels", 1, MAX_CHANNELS),
        source_name=source.get("name", str, ""),
        source_sha256=source.get("sha256", str, ""),
        seed=fields.integer("seed", -(1 << 63), (1 << 63) - 1, default=0),
        settings=fields.get("settings", dict, {}),
        quality=fields.get("quality", dict, {}),
        operations=edits.get("operations", list, []),
        edited_name=edited.get("name", str, ""),
        edited_sha256=edited.get("sha256", str, ""),
        optional=_optional(columns),
        model_name=model.get("name", str, ""),
        model_sha256=model.get("sha256", str, ""),
    )
    if header.duration_s == 0:
        raise fields.fault("duration_s", "is 0")
    _check_file(header.source_name, header.source_sha256, source)
    _check_file(header.edited_name, header.edited_sha256, edited)
    _check_file(header.model_name, header.model_sha256, model)
    if KINDS[header.kind].decoded and not header.model_sha256:
        raise model.fault("sha256", f"is missing, without which nobody can tell what events of kind {header.kind} are")
    if not all(isinstance(operation, dict) for operation in header.operations):
        raise edits.fault("operations", "are not objects")
    _check_values(header.operations, edits, "operations", _MAX_DEPTH)
    _check_values(header.settings, fields, "settings", _MAX_DEPTH)
    for key in header.quality:
        Fields(header.quality, subject, "quality.").number(key)
    return header


def parse_counts(found: Json, subject: str) -> Counts:
    """The declared counts, within their limits. Raises SparseError."""
    counts = Fields(Fields(found, subject).get("counts", dict), subject, "counts.")
    return Counts(counts.integer("events", 0, MAX_EVENTS), counts.integer("air_frames", 0, MAX_AIR_FRAMES))


def check_columns(found: Any, header: Header, subject: str, labels: bool) -> None:
    """Compare names and units with the table of `header`. Raises SparseError that names the column at fault."""
    expected = column_objects(header, labels)
    if not isinstance(found, list) or not all(isinstance(column, dict) for column in found):
        raise SparseError(subject, "its columns are not a list of names and units")
    names = [column.get("name") for column in found]
    known = [column["name"] for column in expected]
    for name in names:
        if name not in known:
            raise SparseError(subject, f"holds an unknown column {name!r}", "update sparse, or remove the column")
    for name in known:
        if name not in names:
            raise SparseError(subject, f"lacks the column {name}")
    if names != known:
        raise SparseError(subject, "its columns are not in order", f"the order is {', '.join(known)}")
    for column, own in zip(found, expected, strict=True):
        if column.get("unit") != own["unit"]:
            raise SparseError(subject, f"column {own['name']} is in {column.get('unit')!r}, not in {own['unit']!r}")


def _optional(columns: Any) -> tuple[str, ...]:
    """Which of the columns that a file need not have it names."""
    named = [column.get("name") for column in columns if isinstance(column, dict)] if isinstance(columns, list) else []
    return tuple(name for name in OPTIONAL_COLUMNS if name in named)


@dataclass(frozen=True)
class Fields:
    """Typed access to a JSON object from outside. Everything raises SparseError that names the key.

    Attributes:
        found: the object.
        subject: the file it stands in.
        prefix: of its keys, for messages.
    """

    found: Json
    subject: str
    prefix: str = ""

    def fault(self, key: str, cause: str) -> SparseError:
        """The error that blames `key`."""
        return SparseError(self.subject, f"its {self.prefix}{key} {cause}")

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """A value of just this type; `default` where there is none, unless that is None."""
        if key not in self.found and default is not None:
            return default
        value = self.found.get(key)
        if type(value) is not kind:
            what = {str: "a text", dict: "an object", list: "a list", int: "a whole number"}[kind]
            raise self.fault(key, f"is not {what}" if key in self.found else "is missing")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within limits."""
        value: int = self.get(key, int, default)
        if not low <= value <= high:
            raise self.fault(key, f"is {_short(value)}, which is not in {low} .. {high}")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within limits."""
        value = self.found.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fault(key, "is not a number" if key in self.found else "is missing")
        if not abs(value) < math.inf:
            raise self.fault(key, "is not finite")
        if not low <= value <= high:
            raise self.fault(key, f"is {_short(value)}, which is not in {low:g} .. {high:g}")
        return value


def _check_format(fields: Fields) -> None:
    if fields.found.get("format") != FORMAT:
        raise SparseError(fields.subject, f"is not an events file (its header does not say {FORMAT!r})")
    version = fields.get("version", int)
    if version > VERSION:
        cause = f"is an events file of version {_short(version)}; this program reads version {VERSION}"
        raise SparseError(fields.subject, cause, "update sparse")
    if version != VERSION:
        raise fields.fault("version", f"is {_short(version)}, which never was")
    kind = fields.get("kind", str)
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise SparseError(
            fields.subject, f"holds events of an unknown kind {kind[:40]!r}; known: {known}", "update sparse"
        )


def _check_file(name: str, sha256: str, fields: Fields) -> None:
    if "/" in name or "\0" in name:
        raise fields.fault("name", "is not a file name without folders")
    if not re.fullmatch("([0-9a-f]{64})?", sha256):
        raise fields.fault("sha256", "is not a SHA-256")


def _check_values(value: Any, fields: Fields, key: str, depth: int) -> None:
    if depth == 0:
        raise fields.fault(key, "are nested too deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise fields.fault(key, "hold a number that is not finite")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_values(item, fields, key, depth - 1)


def _short(value: float) -> str:
    """A number that may have thousands of digits, for a message."""
    return str(value) if abs(value) < 1 << 64 else "too large"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no place in an events file")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")

"""Events as a zip archive of numpy arrays, the same events always as the same bytes.

Reading trusts nothing: each array's type and shape are compared with the counts in the header before any of it is
unpacked, and no more is unpacked than they need.
"""

from __future__ import annotations

import errno
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events, Header
from sparsecli.core.grids import Codes, events_of

from .events_check import DTYPES, counts_of, shapes
from .events_header import (
    MAX_HEADER_BYTES,
    Counts,
    check_columns,
    column_objects,
    decode,
    encode,
    header_object,
    parse_counts,
    parse_header,
    to_bytes,
)
from .events_packed import pack_codes, unpack_codes

_CODES = "codes"  # the array of a packed file beside its header
_MOST_PACKED_BYTES = 256  # of an event or a frame of air: its 44 or 24 numbers of at most 60 bits, and a margin
_BEGINNING_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20
_MAX_DESCRIPTION_BYTES = 1 << 12  # of an array; numpy needs some 100
_DESCRIPTION = re.compile(rb"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? *\} *\n")


def pack_npz(events: Events, codes: Codes | None = None) -> bytes:
    """The NPZ file of a set of events, or the packed one of what their codes say."""
    counts = counts_of(events)
    header = header_object(events) | {"counts": {"events": counts.events, "air_frames": counts.air_frames}}
    if codes is None:
        header |= {"columns": column_objects(events.header, labels=False)}
        arrays = {name: np.ascontiguousarray(getattr(events, name)) for name in DTYPES}
    else:
        arrays = {_CODES: np.frombuffer(pack_codes(codes, events.header.duration_s), np.uint8)}
    arrays = {"header": np.frombuffer(to_bytes(encode(header)), np.uint8), **arrays}
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _BEGINNING_OF_ZIP)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3  # 3: Unix, on every system
            archive.writestr(entry, _pack_array(array))
    return memory.getvalue()


def unpack_npz(stream: BinaryIO, subject: str) -> Events:
    """The events in an NPZ file, everything but the values of the arrays checked.

    Raises:
        SparseError: not an events file, or a damaged one.
    """
    with _faults_of_zip(subject), zipfile.ZipFile(stream) as archive:
        members = _members(archive, subject)
        if "header" not in members:
            raise SparseError(subject, "is not an events file (a zip archive without header.npy)")
        text = _read_array(archive, members["header"], np.dtype(np.uint8), None, subject)
        found = decode(text.tobytes(), subject)
        header = parse_header(found, None if _CODES in members else found.get("columns"), subject)
        if _CODES in members:
            _check_names(set(members), {"header", _CODES}, subject)
            return _unpack_codes(archive, members[_CODES], header, parse_counts(found, subject), subject)
        check_columns(found.get("columns"), header, subject, labels=False)
        expected = shapes(header, parse_counts(found, subject))
        _check_names(set(members), {"header", *expected}, subject)
        arrays: dict[str, Any] = {
            name: _read_array(archive, members[name], DTYPES[name], shape, subject) for name, shape in expected.items()
        }
    return Events(header=header, **arrays)


def _unpack_codes(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, header: Header, counts: Counts, subject: str
) -> Events:
    """The events of a packed file."""
    if header.kind != "atoms":
        raise SparseError(subject, f"is a damaged events file (events of kind {header.kind} are not packed)")
    most = _MOST_PACKED_BYTES * (1 + counts.events + header.channels * counts.air_frames)
    data = _read_array(archive, entry, np.dtype(np.uint8), None, subject, most).tobytes()
    codes = unpack_codes(data, counts, header.channels, header.duration_s, subject)
    return events_of(codes, header)


@contextmanager
def _faults_of_zip(subject: str) -> Iterator[None]:
    # All that zipfile raises for damaged archives; it names no class of its own for most of them.
    faults = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, IndexError, RuntimeError, struct.error)
    try:
        yield
    except faults as error:
        raise SparseError(subject, f"is a damaged events file ({error or type(error).__name__})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a jump to before the file's start, as a damaged directory asks for
            raise
        raise SparseError(subject, "is a damaged events file (its parts are not where they should be)") from None


def _members(archive: zipfile.ZipFile, subject: str) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in members:
            raise SparseError(subject, f"holds {entry.filename} twice")
        members[name] = entry
    return members


def _check_names(found: set[str], expected: set[str], subject: str) -> None:
    if found != expected:
        verb, names = ("lacks", expected - found) if expected - found else ("holds an unknown array", found - expected)
        raise SparseError(subject, f"is a damaged events file ({verb} {min(names)})")


def _read_array(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    dtype: np.dtype[Any],
    shape: tuple[int, ...] | None,
    subject: str,
    most: int = MAX_HEADER_BYTES,
) -> NDArray[Any]:
    """One array, once its description agrees with `dtype` and `shape`; None for any length up to `most`."""
    name = entry.filename
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
        raise SparseError(subject, f"{name} is encrypted or packed in a way that is not read")
    with archive.open(entry) as member:
        descr, fortran, found = _read_description(member, f"{subject}: {name}")
        if descr != dtype.str:
            raise SparseError(subject, f"{name} is of type {descr!r}, not {dtype.str!r}")
        if fortran:
            raise SparseError(subject, f"{name} is in column order", "save it with numpy.ascontiguousarray")
        if shape is None and (len(found) != 1 or found[0] > most):
            raise SparseError(subject, f"{name} has the shape {found}, which no {name[:-4]} has")
        if shape is not None and found != shape:
            raise SparseError(subject, f"{name} has the shape {found}, but the header declares {shape}")
        data = _read_exactly(member, dtype.itemsize * math.prod(found), f"{subject}: {name}")
    return np.frombuffer(data, dtype).reshape(found)


def _read_exactly(member: Any, size: int, subject: str) -> bytearray:
    """All that is left of a member, which must be `size` bytes; memory grows with what is there, not with `size`."""
    data = bytearray()
    while chunk := member.read(min(_CHUNK_BYTES, size - len(data) + 1)):
        data += chunk
        if len(data) > size:
            raise SparseError(subject, "holds more than it declares")
    if len(data) < size:
        raise SparseError(subject, "holds less than it declares")
    return data


def _read_description(member: Any, subject: str) -> tuple[str, bool, tuple[int, ...]]:
    """Type, order and shape of a numpy array file (NEP 1). By hand: numpy's own reader evaluates what it finds."""
    start = member.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise SparseError(subject, "is not a numpy array")
    size = int.from_bytes(member.read(2 if start[6] == 1 else 4), "little")
    match = _DESCRIPTION.fullmatch(member.read(min(size, _MAX_DESCRIPTION_BYTES)))
    if not match:
        raise SparseError(subject, "is not an array of plain numbers")
    shape = tuple(int(length) for length in match[3].replace(b",", b" ").split())
    return match[1].decode("ascii", "replace"), match[2] == b"True", shape


def _pack_array(array: NDArray[Any]) -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array, version=(1, 0), allow_pickle=False)
    return memory.getvalue()

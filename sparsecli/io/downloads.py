"""A file from a bucket: whole, checked and under its name, or not there at all.

What comes is written to a hidden file beside, which a later attempt goes on with, in this process or another one. Its
size and SHA-256 are checked while it comes; then it is synchronised to disk and renamed. A lock keeps other processes
away from it meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import random
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsecli.core.errors import SparseError

from .atomic import write_all
from .buckets import Body, Bucket, ChangedError, CutError, Download, TransferError
from .digests import md5_of

_BLOCK_BYTES = 1 << 20
_MIN_BYTES_PER_S = 1024  # a connection that brings less is given up
_PROGRESS_BYTES = 1 << 20  # a transfer that brought this much before it broke off counts as a new beginning
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
_SPARE_BYTES = 1 << 20  # left free on the disk
_MARK_DIGITS = 16
_MD5 = re.compile(r'"?[0-9a-f]{32}"?')

OnBytes = Callable[[int, int], None]
Check = Callable[[Path], None]


@dataclass(frozen=True)
class Expected:
    """What a file must be.

    Attributes:
        key: where it lies in the bucket.
        bytes: its size.
        sha256: of its bytes; empty where nobody has said.
        etag: what the bucket must say of it; empty: anything. Without a SHA-256, this tells its versions apart.
    """

    key: str
    bytes: int
    sha256: str = ""
    etag: str = ""

    @property
    def mark(self) -> str:
        """Tells parts of this file from parts of others that had its name."""
        return (self.sha256 or hashlib.sha256(self.etag.encode()).hexdigest())[:_MARK_DIGITS]


@dataclass(frozen=True)
class Patience:
    """How long and how often to try.

    Attributes:
        timeout_s: a connection that brings less than a KiB a second for this long is given up.
        attempts: transfers that may fail one after the other.
    """

    timeout_s: float
    attempts: int


def download(
    bucket: Bucket, expected: Expected, target: Path, patience: Patience, check: Check, on_bytes: OnBytes
) -> str:
    """Fetch a file; returns its SHA-256. Hold `locked(target)` around it.

    Args:
        bucket: where from.
        expected: what it must be.
        target: its final name; a file of that name is replaced.
        patience: how long and how often to try.
        check: raises SparseError where the file, by now complete, is not of the kind that it should be.
        on_bytes: told how many bytes of the file are here, of how many, before and while they come; what it raises
            ends the download.

    Raises:
        SparseError: the file could not be fetched, is not the one expected, or cannot be written. What came is kept
            for the next time where the connection is at fault, and removed where the bytes are.
    """
    _refuse_link(target)
    part = target.parent / f".{target.name}.{expected.mark}.part"
    _remove_other_parts(target, part)
    with _writing(target):
        digest, resumed = _complete(bucket, expected, part, patience, on_bytes)
        if resumed and not _is_expected(part, digest, expected):  # a crash may have spoilt what was there
            part.unlink()
            digest, _ = _complete(bucket, expected, part, patience, on_bytes)
        try:
            if expected.sha256 and digest != expected.sha256:
                cause = f"came with the wrong bytes (sha256 {digest}, not {expected.sha256})"
                raise SparseError(bucket.place(expected.key), cause, "nothing of it is kept; tell who publishes it")
            check(part)
        except SparseError:
            part.unlink()
            raise
        os.replace(part, target)
        _synchronise(target.parent)
    return digest


def _is_expected(part: Path, digest: str, expected: Expected) -> bool:
    """Whether a file has the SHA-256 that it should have, or else the MD5, where the ETag is one."""
    if expected.sha256:
        return digest == expected.sha256
    return not _MD5.fullmatch(expected.etag) or expected.etag.strip('"') == md5_of(part)


@contextmanager
def locked(target: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Nobody else fetches `target` in this block; `on_wait` is called before waiting for another process.

    The folder is made where there is none. Raises SparseError where it cannot be written.
    """
    from filelock import FileLock, Timeout

    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f".{target.name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _complete(
    bucket: Bucket, expected: Expected, part: Path, patience: Patience, on_bytes: OnBytes
) -> tuple[str, bool]:
    """Bring a part to its full size; returns its SHA-256 and whether it was begun by an earlier attempt."""
    failures, resumed = 0, False
    with _open_part(part) as stream:
        while True:
            before = _size(stream)
            resumed = resumed or before > 0
            try:
                return _fill(bucket, expected, stream, patience, on_bytes), resumed
            except (CutError, ChangedError) as error:
                if isinstance(error, ChangedError):  # what is here is of another file
                    stream.truncate(0)
                failures = 1 if _size(stream) - before >= _PROGRESS_BYTES else failures + 1
                if failures >= patience.attempts or (expected.etag and isinstance(error, ChangedError)):
                    kept = f"the next attempt goes on after {_size(stream)} bytes" if _size(stream) else "try again"
                    raise TransferError(error.subject, error.cause, kept) from error
            time.sleep(_pause_s(failures))


def _fill(bucket: Bucket, expected: Expected, stream: Any, patience: Patience, on_bytes: OnBytes) -> str:
    """One attempt: hash what is here, fetch the rest; returns the SHA-256 of all."""
    if _size(stream) > expected.bytes:
        stream.truncate(0)
    digest = _hash(stream)
    if _size(stream) < expected.bytes:
        place = bucket.place(expected.key)
        with bucket.open(expected.key, _size(stream), expected.etag) as coming:
            _check_size(coming, expected, place)
            if coming.start == 0 and _size(stream):  # the server knows no ranges
                stream.seek(0)
                stream.truncate()
                digest = hashlib.sha256()
            if coming.start != _size(stream):
                raise SparseError(place, "the server sent another part than was asked for")
            _check_space(stream, expected.bytes - _size(stream))
            _copy(coming.body, stream, digest, expected.bytes, place, patience, on_bytes)
    os.fsync(stream.fileno())
    return str(digest.hexdigest())


def _copy(body: Body, stream: Any, digest: Any, size: int, place: str, patience: Patience, on_bytes: OnBytes) -> None:
    """Write and hash bytes as they come, until the stream has exactly `size`."""
    count = _size(stream)
    on_bytes(count, size)
    since, base = time.monotonic(), count
    while data := body.read1(_BLOCK_BYTES):
        count += len(data)
        if count > size:
            raise SparseError(place, "sends more than it says that it has", "tell who publishes it")
        write_all(stream, data)
        digest.update(data)
        on_bytes(count, size)
        now = time.monotonic()
        if now - since >= patience.timeout_s:
            if count - base < _MIN_BYTES_PER_S * patience.timeout_s:
                raise CutError(place, f"brought only {count - base} bytes in {now - since:.0f} s")
            since, base = now, count
    if count < size:
        raise CutError(place, "the connection was cut off")


def _check_size(coming: Download, expected: Expected, place: str) -> None:
    if coming.bytes is not None and coming.bytes != expected.bytes:
        cause = f"is {coming.bytes} bytes long, and should be {expected.bytes}"
        raise SparseError(place, cause, "tell who publishes it")


def _check_space(stream: Any, needed: int) -> None:
    free = shutil.disk_usage(stream.fileno()).free
    if free < needed + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")


def _hash(stream: Any) -> Any:
    """The SHA-256 of a stream from its start, so far; it then stands at its end."""
    digest = hashlib.sha256()
    stream.seek(0)
    while data := stream.read(_BLOCK_BYTES):
        digest.update(data)
    return digest


def _size(stream: Any) -> int:
    return os.fstat(stream.fileno()).st_size


@contextmanager
def _open_part(part: Path) -> Iterator[Any]:
    """A hidden file for reading and writing, unbuffered, new or not. Links are not followed."""
    _refuse_link(part)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+b", buffering=0) as stream:
        yield stream


def _refuse_link(path: Path) -> None:
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise SparseError(str(path), "is a link or no file, which is not written through", "remove it")


def _remove_other_parts(target: Path, part: Path) -> None:
    """Parts of earlier versions, which nobody goes on with."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{{_MARK_DIGITS}}}\.part")
    for path in target.parent.iterdir():
        if name.fullmatch(path.name) and path != part:
            path.unlink()


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pause_s(failures: int) -> float:
    """Doubled with each failure, less a random part, so that many clients do not come back at once."""
    return min(_LONGEST_PAUSE_S, math.ldexp(_FIRST_PAUSE_S, failures - 1)) * (1 - random.random() / 2)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Failures of the disk as one line."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "free some space or choose another place with --dest" if full else "choose another place with --dest"
        raise SparseError(str(target), f"cannot be written ({error.strerror or error})", cure) from error

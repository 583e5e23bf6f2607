"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

from sparsecli.core.errors import SparseError

Path = str | os.PathLike[str]

STANDARD = "-"  # standard input or output

_CURES = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some space or write to another disk",
    errno.EFBIG: "write to another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "choose another place",
    errno.ENOENT: "create the folder first",
    errno.EACCES: "choose another place",
    errno.EPERM: "choose another place",
    errno.EROFS: "choose another place",
}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def open_output(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A binary stream whose bytes appear under `path` all together when the block ends without an exception.

    They are written to a hidden file in the same folder, which is synchronised to disk and renamed; after any
    exception, Ctrl-C included, it is removed and `path` is as it was. `-` is standard output. A device or a named pipe
    is written directly, and a symbolic link is followed. The stream need not be seekable. Inside the block, do nothing
    but write: every OSError is taken for a failure of this file.

    Args:
        path: the file to write, or `-`.
        overwrite: replace an existing file. Without it one that appears while the block runs is not replaced either.

    Raises:
        SparseError: the file exists already, or cannot be written (its `__cause__` is the OSError).
    """
    name = os.fspath(path)
    subject = "standard output" if name == STANDARD else name
    try:
        with _open(name, overwrite) as stream:
            yield stream
    except OSError as error:
        raise _explain(subject, error) from error


def is_stream(path: Path) -> bool:
    """Whether `path` is written to as it is: `-`, a device, a named pipe. False for what does not exist."""
    name = os.fspath(path)
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return name == STANDARD
    return name == STANDARD or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _open(name: str, overwrite: bool) -> Iterator[BinaryIO]:
    if not name or "\0" in name:
        raise SparseError(name, "is not a file name")
    if name == STANDARD:
        yield _standard_output()
        return
    target = os.path.realpath(name)
    if os.path.isdir(target) or not os.path.basename(name):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if is_stream(target):
        with open(target, "wb") as stream:
            yield stream
        return
    if not overwrite and _exists(target):
        raise _exists_already(name)
    with _open_beside(name, target, overwrite) as stream:
        yield stream


@contextmanager
def _open_beside(name: str, target: str, overwrite: bool) -> Iterator[BinaryIO]:
    # The temporary name does not contain the target's, which may be as long as the file system allows.
    temporary = os.path.join(os.path.dirname(target), f".sparse-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _rename_to_new(name, temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _rename_to_new(name: str, temporary: str, target: str) -> None:
    """Rename, but fail where the target exists. A link is made in one step, unlike a test and a rename."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists_already(name) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _claim_and_replace(name, temporary, target)
    else:
        os.unlink(temporary)


def _claim_and_replace(name: str, temporary: str, target: str) -> None:
    """For file systems without hard links: the name is taken with an empty file, which is then replaced."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise _exists_already(name) from None
    try:
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(target)
        raise


def _exists(target: str) -> bool:
    try:
        os.lstat(target)
    except FileNotFoundError:
        return False
    return True


def _exists_already(name: str) -> SparseError:
    return SparseError(name, "exists already", "use --overwrite")


def _explain(subject: str, error: OSError) -> SparseError:
    if error.errno == errno.EPIPE:
        return SparseError(subject, "was closed by its reader")
    if error.errno == errno.EISDIR:
        return SparseError(subject, "is a folder", _CURES[errno.EISDIR])
    if error.errno == errno.ENOENT:
        return SparseError(subject, "its folder does not exist", _CURES[errno.ENOENT])
    reason = (error.strerror or str(error)).lower()
    return SparseError(subject, f"cannot be written ({reason})", _CURES.get(error.errno or 0, ""))


class _PastBuffer(io.RawIOBase):
    """Writes past the interpreter's own buffer, so that a failure is ours to report and not raised again at exit."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return write_all(self._raw, data)


def write_all(stream: BinaryIO, data: Any) -> int:
    """Write all of the bytes `data`, in as many steps as an unbuffered stream takes; returns how many they are."""
    rest = memoryview(data).cast("B")
    size = len(rest)
    while rest:
        rest = rest[stream.write(rest) :]
    return size


def _standard_output() -> BinaryIO:
    try:
        sys.stdout.flush()
        buffer = sys.stdout.buffer
    except AttributeError:
        raise SparseError("standard output", "takes no bytes", "name a file") from None
    return cast(BinaryIO, _PastBuffer(getattr(buffer, "raw", buffer)))

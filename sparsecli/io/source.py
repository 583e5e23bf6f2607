"""Opening what is to be read: a file, a pipe or standard input."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from sparsecli.core.errors import SparseError

from .atomic import STANDARD, Path, write_all

MAX_PIPE_BYTES = 1 << 33  # 8 GiB, 12 hours of 16-bit stereo: a pipe that never ends must not fill the disk
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """Something that was opened for reading.

    Attributes:
        stream: its bytes from the start, unbuffered and seekable, with a file descriptor.
        subject: what error messages call it.
        name: file name without folders; empty for standard input and pipes.
    """

    stream: BinaryIO
    subject: str
    name: str


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, a named pipe or `-` for reading; what cannot be sought is first copied to an unnamed file.

    Raises:
        SparseError: there is no such file, it is a folder or empty, or it cannot be read. Every OSError in the block
            is taken for a failure of this file.
    """
    name = os.fspath(path)
    subject = "standard input" if name == STANDARD else name
    try:
        with _open(name) as stream:
            is_file = name != STANDARD and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            if is_file:
                yield _checked(Source(stream, subject, os.path.basename(name)))
            else:
                with tempfile.TemporaryFile(buffering=0) as file:
                    copy = cast(BinaryIO, file)
                    _copy(stream, copy, subject)
                    yield _checked(Source(copy, subject, ""))
    except OSError as error:
        raise _explain(subject, error) from error


@contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if not name or "\0" in name:
        raise SparseError(name, "is not a file name")
    if name == STANDARD:
        yield _standard_input()
        return
    with open(name, "rb", buffering=0) as stream:
        yield stream


def _standard_input() -> BinaryIO:
    try:
        return sys.stdin.buffer
    except AttributeError:
        raise SparseError("standard input", "gives no bytes", "name a file") from None


def _copy(stream: BinaryIO, copy: BinaryIO, subject: str) -> None:
    size = 0
    while chunk := stream.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_PIPE_BYTES:
            raise SparseError(subject, f"gives more than {MAX_PIPE_BYTES >> 30} GiB", "write it to a file first")
        write_all(copy, chunk)
    copy.seek(0)


def _checked(source: Source) -> Source:
    if os.fstat(source.stream.fileno()).st_size == 0:
        raise SparseError(source.subject, "is empty")
    return source


def _explain(subject: str, error: OSError) -> SparseError:
    if isinstance(error, FileNotFoundError):
        return SparseError(subject, "no such file")
    if isinstance(error, IsADirectoryError):
        return SparseError(subject, "is a folder", "name the files in it")
    return SparseError(subject, f"cannot be read ({(error.strerror or str(error)).lower()})")

"""The zip files that torch.save writes, looked at without unpickling anything."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from sparsecli.core.errors import SparseError

_PICKLE = "data.pkl"
_MAX_RECORDS = 100_000
_MAX_PICKLE_BYTES = 1 << 24  # names and shapes of some hundred thousand tensors
_MAX_DIRECTORY_BYTES = 1 << 25  # of as many records


def is_torch_zip(stream: BinaryIO) -> bool:
    """Whether an open file is what torch.save writes; its place in the file is lost."""
    try:
        with zipfile.ZipFile(stream) as archive:
            return _pickle_of(archive) is not None
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False


def check_torch_zip(stream: BinaryIO, subject: str) -> int:
    """Bytes of tensors that a file of torch.save holds.

    Nothing in it can grow on unpacking: its records are stored as they are, and all are no larger than the file.

    Raises:
        SparseError: it is no such file, or not made as torch.save makes them.
    """
    try:
        size = stream.seek(0, os.SEEK_END)
        with zipfile.ZipFile(stream) as archive:
            return _check(archive, size, subject)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise SparseError(subject, f"is not a zip file of torch.save ({error})") from None
    except OSError as error:
        raise SparseError(subject, f"cannot be read ({(error.strerror or str(error)).lower()})") from None


def _check(archive: zipfile.ZipFile, size: int, subject: str) -> int:
    records = archive.infolist()
    pickle = _pickle_of(archive)
    if pickle is None:
        raise SparseError(subject, f"is not a zip file of torch.save (no {_PICKLE} in it)")
    if len(records) > _MAX_RECORDS or size - archive.start_dir > _MAX_DIRECTORY_BYTES:
        raise SparseError(subject, f"has more than {_MAX_RECORDS} records")
    if pickle.file_size > _MAX_PICKLE_BYTES:
        raise SparseError(subject, f"has a pickle of more than {_MAX_PICKLE_BYTES >> 20} MiB")
    if any(record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1 for record in records):
        raise SparseError(subject, "has packed records, which torch.save does not make")
    if sum(record.file_size for record in records) > size:
        raise SparseError(subject, "has records that overlap")
    folder = pickle.filename.removesuffix(_PICKLE) + "data/"
    return sum(record.file_size for record in records if record.filename.startswith(folder))


def _pickle_of(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    """The record `FOLDER/data.pkl`, if there is exactly one."""
    found = [record for record in archive.infolist() if record.filename.partition("/")[2] == _PICKLE]
    return found[0] if len(found) == 1 else None

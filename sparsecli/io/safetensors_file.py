"""Weights in safetensors files, which can hold nothing but numbers: what is in one, without reading the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsecli.core.errors import SparseError
from sparsecli.core.tensors import TensorInfo

if TYPE_CHECKING:  # which what only finds models can do without
    from numpy.typing import NDArray

_LENGTH_BYTES = 8  # of the header, before it
_DTYPES = {"float16": "F16", "float32": "F32"}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        metadata: texts that it says of itself, by key.
        tensors: in the order of the file.
    """

    metadata: dict[str, str]
    tensors: tuple[TensorInfo, ...]


def is_safetensors(first_bytes: bytes) -> bool:
    """Whether a file begins as safetensors files do (9 bytes are enough): the length of a header, and the header.

    >>> is_safetensors(bytes([40, 0, 0, 0, 0, 0, 0, 0]) + b"{"), is_safetensors(b'{"header": 1')
    (True, False)
    """
    length = int.from_bytes(first_bytes[:_LENGTH_BYTES], "little")
    return first_bytes[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" and 1 < length <= _MAX_HEADER_BYTES


def read_weights(path: Path, subject: str = "") -> Weights:
    """The header of a safetensors file, checked: tensors neither overlap nor leave anything out.

    Args:
        path: the file.
        subject: what messages call it; by default as it is named.

    Raises:
        SparseError: it is no safetensors file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    subject = subject or str(path)
    try:
        with path.open("rb") as stream:
            if not is_safetensors(stream.read(_LENGTH_BYTES + 1)):
                raise SparseError(subject, "is not a safetensors file")
        opened: Any = safe_open(path, framework="np")
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise SparseError(subject, f"is a damaged safetensors file ({reason})") from None
    except OSError as error:
        raise SparseError(subject, f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    with opened as file:
        tensors = tuple(_tensor(file, name) for name in file.offset_keys())
        return Weights(dict(sorted((file.metadata() or {}).items())), tensors)


def safetensors_bytes(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of arrays; unlike the library's, the same ones always give the same bytes.

    Args:
        arrays: float16 or float32, in the order of the file.
        metadata: texts beside them.

    >>> import numpy as np
    >>> len(safetensors_bytes({"weight": np.zeros(3, np.float32)}, {"kind": "none"})) % 4
    0
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, end = [], 0
    for name, array in arrays.items():
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        offsets = [end, end + len(data)]
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(data)
        end += len(data)
    told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % _LENGTH_BYTES)  # the numbers are aligned
    return len(told).to_bytes(_LENGTH_BYTES, "little") + told + b"".join(parts)


def _tensor(file: Any, name: str) -> TensorInfo:
    part = file.get_slice(name)
    return TensorInfo(name, part.get_dtype(), tuple(part.get_shape()))

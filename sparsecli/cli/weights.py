"""What `sparse info` tells of files of weights: safetensors, and those of the original project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sparsecli.core.errors import SparseError
from sparsecli.core.tensors import TensorInfo
from sparsecli.io.model_store import no_model

from .console import Console, print_table
from .model_lists import size_text
from .runner import Record

if TYPE_CHECKING:
    from sparsecli.io.source import Source

_FIRST_BYTES = 9


def weights_record(source: Source, legacy: bool, console: Console) -> Record | None:
    """What an open file of weights holds; None where it is none.

    Raises:
        SparseError: it is damaged; it is pickled and `legacy` is not set, or set and it is not what that means.
    """
    from sparsecli.io.safetensors_file import is_safetensors, read_weights
    from sparsecli.io.torch_zip import is_torch_zip

    stream = source.stream
    safe = is_safetensors(stream.read(_FIRST_BYTES))
    stream.seek(0)
    if safe:
        weights = read_weights(Path(f"/dev/fd/{stream.fileno()}"), source.subject)
        return _record(source, "safetensors", weights.metadata, weights.tensors)
    pickled = is_torch_zip(stream)
    stream.seek(0)
    if legacy:
        from sparsecli.engine.legacy import read_legacy

        tensors = read_legacy(stream, source.subject)
        error = no_model(source.subject, "")
        console.say(error.subject, error.cause)
        return _record(source, "torch zip", {}, tensors)
    if pickled:
        cause = "is pickled by torch.save, as weights of the original project are"
        raise SparseError(source.subject, cause, "--legacy looks into it without trusting it")
    return None


def _record(source: Source, file_format: str, metadata: dict[str, str], tensors: Sequence[TensorInfo]) -> Record:
    import hashlib

    source.stream.seek(0)
    return {
        "format": file_format,
        "bytes": os.fstat(source.stream.fileno()).st_size,
        "sha256": hashlib.file_digest(source.stream, "sha256").hexdigest(),  # type: ignore[arg-type]
        "metadata": metadata,
        "numbers": sum(tensor.count for tensor in tensors),
        "tensors": [asdict(tensor) for tensor in tensors],
    }


def print_weights(record: Record) -> None:
    """A table: of the file, what it says of itself, and its tensors."""
    tensors = record["tensors"]
    rows = [
        ("format", record["format"]),
        ("file", size_text(record["bytes"])),
        ("sha256", record["sha256"]),
        *((key, text) for key, text in record["metadata"].items()),
        ("tensors", f"{len(tensors)}, {record['numbers']} numbers"),
        *((tensor["name"], f"{tensor['dtype']} {list(tensor['shape'])}") for tensor in tensors),
    ]
    print_table(rows, title=record["input"])

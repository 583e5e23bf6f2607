"""Weights of the original project: what tensors are in a file of torch.save, without trusting it.

torch.load with `weights_only` rebuilds tensors and nothing else. It runs in a process of its own whose memory and time
are capped, and the numbers stay in the file: a table of 512 MiB costs as little as one of 512 bytes.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

from sparsecli.core.errors import SparseError
from sparsecli.core.tensors import TensorInfo
from sparsecli.io.torch_zip import check_torch_zip

MEMORY_BYTES = 1 << 28  # beyond what torch itself takes
SECONDS = 20  # of a processor
_MAX_DEPTH = 16  # of dictionaries in dictionaries
_MAX_TENSORS = 100_000
_KILLED = "needs more memory or time than it may have"


def read_legacy(stream: BinaryIO, subject: str) -> tuple[TensorInfo, ...]:
    """The tensors of a file that torch.save has written: a state dict, or dictionaries and lists that hold some.

    Args:
        stream: the open file, with a file descriptor.
        subject: what messages call it.

    Raises:
        SparseError: it is no such file, asks for anything but tensors, says that it holds more than it does, or takes
            more memory or time than it may.
    """
    held = check_torch_zip(stream, subject)
    answer = _ask_child(stream)
    if "error" in answer:
        raise SparseError(subject, answer["error"], "it is not loaded")
    if answer["storage_bytes"] > held:
        cause = f"says that it holds {answer['storage_bytes']} bytes of tensors, and holds {held}"
        raise SparseError(subject, cause, "it is damaged or hostile")
    return tuple(TensorInfo(name, dtype, tuple(shape)) for name, dtype, shape in answer["tensors"])


def _ask_child(stream: BinaryIO) -> dict[str, Any]:
    stream.seek(0)
    command = [sys.executable, "-P", "-m", __name__]  # -P: nothing is imported from the folder that we are in
    try:
        done = subprocess.run(
            command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=8 * SECONDS
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # it was killed before it could print
        answer = {"error": _KILLED}
    return answer if isinstance(answer, dict) else {"error": _KILLED}


def _inspect(path: str) -> dict[str, Any]:
    """What the child prints: tensors and the bytes that their storages have, or what is wrong."""
    import pickle

    import torch

    _cap(MEMORY_BYTES + Path(path).stat().st_size)  # the file's own bytes are addresses, not memory
    try:
        tensors = _tensors_in(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        return {"error": f"asks for {asked[1]}, which weights do not need" if asked else "is no pickle of weights"}
    except MemoryError:
        return {"error": _KILLED}
    except Exception as error:  # a damaged file fails anywhere in torch
        return {"error": f"cannot be loaded ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"}
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for _, tensor in tensors}
    listed = [(name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)) for name, tensor in tensors]
    return {"tensors": listed, "storage_bytes": sum(storages.values())}


def _tensors_in(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Tensors by name, in order; parts of a name are joined by dots."""
    import torch

    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if depth > _MAX_DEPTH:
        raise ValueError("dictionaries lie too deep in one another")
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    found: list[tuple[str, Any]] = []
    for key, entry in entries:
        found += _tensors_in(entry, f"{name}.{key}" if name else str(key), depth + 1)
        if len(found) > _MAX_TENSORS:
            raise ValueError(f"more than {_MAX_TENSORS} tensors")
    return found


def _cap(memory_bytes: int) -> None:
    """So much memory beyond what is in use, where the system can say that; no more time than SECONDS; no dump."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (spent + SECONDS, spent + SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    print(json.dumps(_inspect("/dev/fd/0")))

"""The folder of a training run: its checkpoint, its history, its model.

    checkpoint.json                  what the run is and how far it came; names the file of its arrays
    checkpoint-STEP-*.safetensors    the arrays: weights, their mean, the optimiser, all that is needed to go on
    history.jsonl                    figures, one object a line
    model.safetensors                what was learned so far, to be used
    tensorboard/                     the same figures for TensorBoard, where that is installed

A checkpoint is its .json: it is written after the arrays, both under other names first, and the arrays of the one
before are deleted after it. So whatever breaks off, be it a full disk or the power, the last one is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SparseError
from .atomic import open_output
from .safetensors_file import is_safetensors
from .torch_zip import is_torch_zip

FORMAT, VERSION = "sparse-training", 1
HEAD, HISTORY, MODEL, LOGS = "checkpoint.json", "history.jsonl", "model.safetensors", "tensorboard"
MAX_HEAD_BYTES = 1 << 24
_CURE = "train anew with --overwrite, or into another folder with --out"
_ARRAYS = re.compile(r"checkpoint-\d+-[0-9a-f]{8}\.safetensors")
_FIRST_BYTES = 9

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """How far a run came. Raises ValueError where a field breaks its rule.

    Attributes:
        kind: what is trained, such as `siam`.
        step: steps done.
        seconds: of training so far.
        settings: of the run.
        running: sums of figures over the steps since the last line of the history, and how many steps those are.
        data: what it was trained on, in words.
        arrays_file: name of the file of arrays.
        arrays_sha256: of that file.
    """

    kind: str
    step: int
    seconds: float
    settings: dict[str, Any]
    running: dict[str, float] = field(default_factory=dict)
    data: str = ""
    arrays_file: str = ""
    arrays_sha256: str = ""

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ValueError("step is less than 0")
        if not (self.seconds >= 0 and math.isfinite(self.seconds)):
            raise ValueError("seconds is no time")
        if not all(isinstance(value, float | int) for value in self.running.values()):
            raise ValueError("running holds other than numbers")


class RunFolder:
    """Where a run keeps what it needs to go on, and what it found.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._history_end: int | None = None
        self._untold = ""

    @property
    def model(self) -> Path:
        """Where the model lies."""
        return self.path / MODEL

    @property
    def holds_run(self) -> bool:
        """Whether there is a checkpoint."""
        return (self.path / HEAD).exists()

    def prepare(self, resume: bool, overwrite: bool) -> None:
        """Make the folder, and make sure that a run may be written into it.

        Raises:
            SparseError: it cannot be made, or holds what may not be written over.
        """
        name = str(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            found = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        except FileExistsError:
            raise SparseError(name, "is a file", "name a folder with --out") from None
        except OSError as error:
            cause = f"cannot be created ({(error.strerror or str(error)).lower()})"
            raise SparseError(name, cause, "name another folder with --out") from None
        if self.holds_run:
            if not (resume or overwrite):
                raise SparseError(name, "holds a run already", "--resume goes on with it, --overwrite begins anew")
        elif found and not overwrite and not all(_is_ours(entry) for entry in found):
            raise SparseError(name, f"holds other files ({found[0]})", "name another folder with --out")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise SparseError(name, "cannot be written", "name another folder with --out")

    def clear(self) -> None:
        """Delete an earlier run; other files stay."""
        for entry in list(self.path.iterdir()):
            if entry.name == LOGS:
                shutil.rmtree(entry, ignore_errors=True)
            elif _is_ours(entry.name):
                entry.unlink(missing_ok=True)

    # Checkpoints

    def save(self, checkpoint: Checkpoint, arrays: Arrays) -> None:
        """Write a checkpoint in place of the one before.

        Raises:
            SparseError: it cannot be written; the one before is whole.
        """
        from safetensors.numpy import save

        data = save({key: np.ascontiguousarray(value).reshape(value.shape) for key, value in arrays.items()})
        sha256 = hashlib.sha256(data).hexdigest()
        name = (
            f"checkpoint-{checkpoint.step}-{sha256[:8]}.safetensors"  # one name, one content: nothing is written over
        )
        about = {**asdict(checkpoint), "arrays_file": name, "arrays_sha256": sha256}
        head = {"format": FORMAT, "version": VERSION, **about}
        with open_output(self.path / name, overwrite=True) as stream:
            stream.write(data)
        with open_output(self.path / HEAD, overwrite=True) as stream:
            stream.write((json.dumps(head, indent=2, ensure_ascii=False) + "\n").encode())
        for other in self.path.glob("checkpoint-*.safetensors"):
            if other.name != name and _ARRAYS.fullmatch(other.name):
                other.unlink(missing_ok=True)

    def load_head(self) -> Checkpoint:
        """The checkpoint without its arrays.

        Raises:
            SparseError: there is none, or it is damaged, of a later version or none of ours.
        """
        path = self.path / HEAD
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_HEAD_BYTES + 1)
        except FileNotFoundError:
            raise SparseError(str(self.path), "holds no checkpoint", "leave out --resume") from None
        except OSError as error:
            raise SparseError(str(path), f"cannot be read ({(error.strerror or str(error)).lower()})") from None
        if len(data) > MAX_HEAD_BYTES:
            raise SparseError(str(path), f"is larger than {MAX_HEAD_BYTES >> 20} MiB, as no checkpoint is", _CURE)
        return parse_checkpoint(data, str(path))

    def load_arrays(self, checkpoint: Checkpoint) -> Arrays:
        """The arrays of a checkpoint.

        Raises:
            SparseError: they are missing, damaged, or another file than the one that was written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if not _ARRAYS.fullmatch(checkpoint.arrays_file):
            cause = f"names {checkpoint.arrays_file!r}, which is no file of arrays"
            raise SparseError(str(self.path / HEAD), cause, _CURE)
        path = self.path / checkpoint.arrays_file
        try:
            with path.open("rb") as stream:
                _check_is_safe(stream, str(path))
                data = stream.read()
            arrays: Arrays = load(data)
        except FileNotFoundError:
            raise SparseError(str(path), "does not exist, and the checkpoint needs it", _CURE) from None
        except OSError as error:
            raise SparseError(str(path), f"cannot be read ({(error.strerror or str(error)).lower()})") from None
        except SafetensorError as error:
            raise SparseError(str(path), f"is cut short or damaged ({error})", _CURE) from None
        if hashlib.sha256(data).hexdigest() != checkpoint.arrays_sha256:
            raise SparseError(str(path), "is not what the checkpoint was written with", _CURE)
        return arrays

    # History

    def read_history(self, until_step: int) -> list[dict[str, Any]]:
        """The lines up to a step, those after it and broken ones left out."""
        try:
            lines = (self.path / HISTORY).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [entry for entry in map(_entry, lines) if entry is not None and entry["step"] <= until_step]

    def start_history(self, entries: list[dict[str, Any]]) -> None:
        """Write the history so far; `add_history` goes on with it.

        Raises:
            SparseError: it cannot be written.
        """
        data = "".join(map(_line, entries)).encode()
        with open_output(self.path / HISTORY, overwrite=True) as stream:
            stream.write(data)
        self._history_end, self._untold = len(data), ""

    def add_history(self, entry: Mapping[str, Any]) -> bool:
        """Add a line; one that cannot be written now is kept and written with the next. Returns whether it was."""
        self._untold += _line(entry)
        data = self._untold.encode()
        try:
            with (self.path / HISTORY).open("r+b") as stream:
                stream.truncate(self._history_end)  # what an earlier failure left half written
                stream.seek(0, os.SEEK_END)
                stream.write(data)
        except OSError:
            return False
        self._history_end, self._untold = (self._history_end or 0) + len(data), ""
        return True


def parse_checkpoint(data: bytes, subject: str) -> Checkpoint:
    """What checkpoint.json says, checked against the fields of `Checkpoint`.

    Raises:
        SparseError: it is not JSON, of a later version, or a field is missing, unknown or of another type.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SparseError(subject, f"is cut short or damaged ({error})", _CURE) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SparseError(subject, f'is not a checkpoint ("format" is not "{FORMAT}")', _CURE)
    version = document.get("version")
    if version != VERSION:
        later = isinstance(version, int) and version > VERSION
        cause = f"is of version {version!r}, and this program knows {VERSION}"
        raise SparseError(subject, cause, "update sparse" if later else _CURE)
    values = {key: value for key, value in document.items() if key not in ("format", "version")}
    known = {entry.name for entry in fields(Checkpoint)}
    if different := sorted(known ^ values.keys()):
        cause = f"has no {different[0]}" if different[0] in known else f"has a field {different[0]!r} that is not known"
        raise SparseError(subject, cause, _CURE)
    for name, hint in typing.get_type_hints(Checkpoint).items():
        kind = typing.get_origin(hint) or hint
        if not isinstance(values[name], (float, int) if kind is float else kind) or isinstance(values[name], bool):
            raise SparseError(subject, f"{name} is not of its type", _CURE)
    try:
        return Checkpoint(**values)
    except ValueError as error:
        raise SparseError(subject, str(error), _CURE) from None


def _check_is_safe(stream: BinaryIO, subject: str) -> None:
    """Raise SparseError unless an open file is safetensors; its place is the beginning again."""
    first = stream.read(_FIRST_BYTES)
    stream.seek(0)
    if is_safetensors(first):
        return
    if is_torch_zip(stream) or first[:1] == b"\x80":  # a pickle begins with its protocol
        raise SparseError(subject, "is pickled, and pickles are not read: they can run anything", _CURE)
    raise SparseError(subject, "is cut short, or no safetensors file", _CURE)


def _is_ours(name: str) -> bool:
    return name in (HEAD, HISTORY, MODEL, LOGS) or bool(_ARRAYS.fullmatch(name))


def _entry(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        entry = json.loads(line)
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            return entry
    return None


def _line(entry: Mapping[str, Any]) -> str:
    """One line of the history; what is not finite becomes null."""
    return json.dumps({key: _finite(value) for key, value in entry.items()}, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

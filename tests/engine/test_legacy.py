"""Files as torch.save makes them, honest and hostile: the original project's weights are such."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from sparsecli.core.errors import SparseError
from sparsecli.core.tensors import TensorInfo
from sparsecli.engine.legacy import read_legacy
from sparsecli.io.torch_zip import is_torch_zip


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def read(tmp_path: Path, data: bytes) -> tuple[TensorInfo, ...]:
    path = tmp_path / "weights.dat"
    path.write_bytes(data)
    with path.open("rb") as stream:
        return read_legacy(stream, "weights.dat")


def records(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def with_pickle(data: bytes, made: bytes) -> bytes:
    """The same file around another pickle."""
    return zipped({name: made if name.endswith("data.pkl") else held for name, held in records(data).items()})


STATE = {"resonance.weight": torch.zeros(3, 5), "scale": torch.tensor(2.0, dtype=torch.float16)}


def test_tensors_and_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of nested dictionaries, lists, modules, and tensors that share their numbers; in a folder with a bad torch.py."""
    (tmp_path / "torch.py").write_text("raise SystemExit('caught')")
    monkeypatch.chdir(tmp_path)
    layer = torch.nn.Linear(3, 2)
    shared = {"tied": layer.weight, "view": layer.weight.detach()[:1]}
    nested = {"model": STATE, "steps": 3, "list": [torch.zeros(2, dtype=torch.int64), None]}
    assert read(tmp_path, saved({**nested, **layer.state_dict(), **shared})) == (
        TensorInfo("model.resonance.weight", "float32", (3, 5)),
        TensorInfo("model.scale", "float16", ()),
        TensorInfo("list.0", "int64", (2,)),
        TensorInfo("weight", "float32", (2, 3)),
        TensorInfo("bias", "float32", (2,)),
        TensorInfo("tied", "float32", (2, 3)),
        TensorInfo("view", "float32", (1, 3)),
    )


class Hostile:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_something_does_not_run(tmp_path: Path):
    mark = tmp_path / "it-ran"
    data = saved({"w": torch.zeros(2), "evil": Hostile(mark)})
    with pytest.raises(SparseError, match=r"weights.dat: asks for posix.mkdir, which weights do not need; "):
        read(tmp_path, data)
    assert not mark.exists()
    torch.load(io.BytesIO(data), weights_only=False)  # the file is what it is said to be
    assert mark.exists()


@pytest.mark.parametrize(
    ("count", "cause"),
    [
        (9, "says that it holds 36 bytes of tensors, and holds 28; it is damaged or hostile"),
        (1 << 40, "cannot be loaded"),
    ],
)
def test_a_tensor_larger_than_what_is_there(tmp_path: Path, count: int, cause: str):
    """The pickle says that a storage has more numbers than the file holds of it."""
    data = saved({"w": torch.zeros(7)})
    (honest,) = [held for name, held in records(data).items() if name.endswith("data.pkl")]
    assert honest.count(b"K\x07") == 2  # of the storage, and of the shape
    huge = honest.replace(b"K\x07", b"\x8a\x06" + count.to_bytes(6, "little"))
    with pytest.raises(SparseError, match=cause):
        read(tmp_path, with_pickle(data, huge))


def test_a_pickle_that_fills_the_memory(tmp_path: Path):
    """A text of 64 KiB, turned into bytes 20 000 times: 1.2 GiB, more than the process may take."""
    first = b"c_codecs\nencode\nq\x00X\x00\x00\x01\x00" + b"a" * 65536 + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86R"
    bomb = b"\x80\x02](" + first + b"h\x00h\x01h\x02\x86R" * 20_000 + b"e."
    with pytest.raises(SparseError, match="needs more memory or time than it may have"):
        read(tmp_path, with_pickle(saved(STATE), bomb))
    small = b"\x80\x02](" + first + b"h\x00h\x01h\x02\x86R" * 20 + b"e."
    loaded = torch.load(io.BytesIO(with_pickle(saved(STATE), small)), weights_only=True)
    assert loaded == [b"a" * 65536] * 21  # the pickle itself is sound


def test_lists_that_unfold_without_end(tmp_path: Path):
    """Ten lists of ten of each other are 10^10 entries."""
    value: Any = [torch.zeros(1)]
    for _ in range(10):
        value = [value] * 10
    with pytest.raises(SparseError, match="more than 100000 tensors"):
        read(tmp_path, saved(value))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"not a zip file", "is not a zip file of torch.save"),
        (zipped({"a/b": b""}), "no data.pkl in it"),
        (zipped({"a/data.pkl": b"", "b/data.pkl": b""}), "no data.pkl in it"),
        (zipped(records(saved(STATE)), zipfile.ZIP_DEFLATED), "has packed records, which torch.save does not make"),
        (saved(STATE)[:-30], "is not a zip file of torch.save"),
        (with_pickle(saved(STATE), b"\x80\x02"), "cannot be loaded"),
        (with_pickle(saved(STATE), bytes((1 << 24) + 1)), "has a pickle of more than 16 MiB"),
    ],
    ids=["text", "zip", "two", "packed", "cut", "empty", "long"],
)
def test_what_is_no_such_file(tmp_path: Path, data: bytes, cause: str):
    with pytest.raises(SparseError) as raised:
        read(tmp_path, data)
    assert cause in str(raised.value) and str(raised.value).startswith("weights.dat: ")


def test_what_torch_saves_is_recognised():
    assert is_torch_zip(io.BytesIO(saved(STATE)))
    assert not is_torch_zip(io.BytesIO(zipped({"header.npy": b""})))
    assert not is_torch_zip(io.BytesIO(pickle.dumps({})))

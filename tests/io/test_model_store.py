"""The folder of models, without any network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import safetensors.numpy

from sparsecli.core.errors import SparseError
from sparsecli.core.manifest import MANIFEST, Model, manifest_bytes
from sparsecli.core.tensors import TensorInfo
from sparsecli.io.model_store import FoundModel, find_model, is_here, keep_record, local_models, model_folder
from sparsecli.io.safetensors_file import read_weights

Keep = Callable[..., Model]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def keep(cache: Path) -> Keep:
    """Put a model into the folder, as a download does."""

    def put(name: str, data: bytes | None = None, key: str = "") -> Model:
        data = data or safetensors.numpy.save({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"kind": "siam"})
        sha256 = hashlib.sha256(data).hexdigest()
        model = Model(name, key or f"{name}.safetensors", len(data), sha256, "siam", "1", 22050, "MIT")
        cache.mkdir(parents=True, exist_ok=True)
        (cache / model.file_name).write_bytes(data)
        keep_record(cache, model)
        return model

    return put


def test_where_models_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert model_folder() == cache
    assert model_folder("~/mine") == Path.home() / "mine"
    monkeypatch.delenv("SPARSE_CACHE")
    assert model_folder() == Path(platformdirs.user_cache_dir("sparse")) / "models"
    (tmp_path / ".env").write_text("SPARSE_CACHE=/elsewhere\n")
    assert model_folder() == Path("/elsewhere/models")


def test_a_model_is_found_by_its_name(cache: Path, keep: Keep):
    model, other = keep("small"), keep("large", safetensors.numpy.save({"w": np.zeros(9)}))
    assert find_model("small") == FoundModel(cache / "small.safetensors", model.sha256, model)
    assert set(local_models(cache)) == {model, other}
    with pytest.raises(SparseError, match=r"smal: no such model was fetched.*; the nearest is small; fetch it with"):
        find_model("smal")
    with pytest.raises(SparseError, match="small: no such model was fetched"):
        find_model("small", dest="elsewhere")


def test_a_model_is_found_by_its_path(tmp_path: Path, cache: Path, keep: Keep):
    model = keep("small")
    path = (cache / "small.safetensors").rename(tmp_path / "own.safetensors")
    assert find_model("own.safetensors") == FoundModel(Path("own.safetensors"), model.sha256, None)
    assert find_model(str(path)).path == path
    with pytest.raises(SparseError, match=r"none.safetensors: no such file$"):
        find_model("none.safetensors")


def test_a_name_comes_before_a_file(tmp_path: Path, cache: Path, keep: Keep):
    keep("small")
    (tmp_path / "small").write_bytes(b"a file of that name")
    assert find_model("small").path == cache / "small.safetensors"
    with pytest.raises(SparseError, match=r"\./small: is not a safetensors file"):
        find_model("./small")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"), "has other bytes than it had"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes long, and should be"),
        (lambda path: path.unlink(), "is not there, although the manifest lists it"),
    ],
    ids=["changed", "cut", "gone"],
)
def test_what_has_changed_is_not_used(cache: Path, keep: Keep, spoil: Callable[[Path], object], cause: str):
    keep("small")
    spoil(cache / "small.safetensors")
    with pytest.raises(SparseError, match=f"{cause}.*; fetch it anew with: sparse fetch-models small --force"):
        find_model("small")


def test_weights_of_the_original_are_no_model(keep: Keep):
    keep("e_2024_3_21_weights", b"PK\x03\x04", key="e_2024_3_21_weights.dat")
    with pytest.raises(SparseError, match="which no model of sparse can decode; sparse info --legacy lists"):
        find_model("e_2024_3_21_weights")


def test_what_is_pickled_is_never_a_model(tmp_path: Path, cache: Path, keep: Keep):
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04 weights")
    keep("lies", b"\x80\x04 pickle")  # whatever a manifest says of it
    for name in ("weights.pt", "lies"):
        with pytest.raises(SparseError, match="is not a safetensors file"):
            find_model(name)


def test_here_is_what_the_manifest_and_the_file_agree_on(cache: Path, keep: Keep):
    model = keep("small")
    listed = local_models(cache)
    assert is_here(cache, model, listed)
    assert not is_here(cache, replace(model, sha256="00" * 32), listed)  # a newer version is not here
    assert not is_here(cache, model, ())
    (cache / "small.safetensors").write_bytes(b"half")
    assert not is_here(cache, model, listed)


def test_a_newer_version_takes_the_place_of_an_older_one(cache: Path, keep: Keep):
    keep("small")
    newer = keep("small", safetensors.numpy.save({"w": np.zeros(9)}))
    assert local_models(cache) == (newer,)


def test_a_damaged_manifest_is_said(cache: Path, keep: Keep):
    keep("small")
    (cache / MANIFEST).write_bytes(manifest_bytes(local_models(cache))[:-10])
    with pytest.raises(SparseError, match=r"models.json: is not JSON"):
        find_model("small")


# Safetensors files


def test_tensors_in_the_order_of_the_file(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    tensors = {"b": np.zeros((2, 3), np.float16), "a": np.zeros(4, np.int64), "scale": np.array(1.0, np.float32)}
    safetensors.numpy.save_file(tensors, path, {"licence": "MIT", "kind": "siam"})
    weights = read_weights(path)
    assert weights.metadata == {"kind": "siam", "licence": "MIT"}
    assert set(weights.tensors) == {
        TensorInfo("b", "F16", (2, 3)),
        TensorInfo("a", "I64", (4,)),
        TensorInfo("scale", "F32", ()),
    }


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "is not a safetensors file"),
        (b"PK\x03\x04 zip file", "is not a safetensors file"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{", "is not a safetensors file"),  # a header of 8 EiB
        (b"\x10\0\0\0\0\0\0\0{", "is a damaged safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{]", "is a damaged safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}more", "is a damaged safetensors file"),
    ],
)
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes, cause: str):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(SparseError, match=cause):
        read_weights(path)


def test_a_header_that_declares_more_than_there_is(tmp_path: Path):
    header = b'{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(SparseError, match="is a damaged safetensors file"):
        read_weights(tmp_path / "a.safetensors")

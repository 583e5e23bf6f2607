"""Where a model is found, and what is none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import safetensors.numpy
import safetensors.torch
import torch

from sparsecli.core.errors import SparseError
from sparsecli.core.events import Header
from sparsecli.core.manifest import MANIFEST, Model, manifest_bytes
from sparsecli.io.digests import sha256_of
from sparsecli.models import finding
from sparsecli.models.finding import model_of, open_model

from ..oracle.tiny import FACTS, tiny_siam, write_tiny


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, whose `cache` is the user's, and a package that comes without a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSE_CACHE", "cache")
    monkeypatch.setattr(finding, "packaged_siam", lambda: tmp_path / "package" / "siam.safetensors")
    return tmp_path


def keep_fetched(folder: Path, name: str, seed: int, kind: str = "siam") -> str:
    """A model in the cache, as fetch-models leaves it; its SHA-256."""
    models = folder / "cache" / "models"
    models.mkdir(parents=True, exist_ok=True)
    path = models / f"{name}.safetensors"
    write_tiny(path, seed)
    sha256 = sha256_of(path)
    model = Model(name, path.name, path.stat().st_size, sha256, kind, "1", 22050, "MIT")
    (models / MANIFEST).write_bytes(manifest_bytes([model]))
    return sha256


def header_of(sha256: str, name: str = "small") -> Header:
    return Header(1.0, 22050, kind="siam", model_name=name, model_sha256=sha256)


def same(one: finding.Trained, seed: int) -> bool:
    """Whether it is the model of a seed."""
    mine, theirs = tiny_siam(seed).state_dict(), one.siam.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# Where it is


def test_by_default_it_is_that_of_the_package(folder: Path):
    with pytest.raises(SparseError, match="this copy of sparse comes without a model; name one with --model"):
        open_model()
    (folder / "package").mkdir()
    write_tiny(folder / "package" / "siam.safetensors", 1)
    sha256 = sha256_of(folder / "package" / "siam.safetensors")
    for found in (open_model(), open_model("siam"), model_of(header_of(sha256))):
        assert (found.name, found.sha256) == ("siam", sha256) and same(found, 1)
    fetched = keep_fetched(folder, "siam", 2)
    assert open_model().sha256 == sha256 and open_model("siam").sha256 == fetched
    assert same(model_of(header_of(fetched)), 2) and same(model_of(header_of(sha256)), 1)


def test_it_is_named_by_its_file_or_as_it_was_fetched(folder: Path):
    write_tiny("mine.safetensors", 3)
    by_file = open_model("mine.safetensors")
    assert (by_file.name, by_file.sha256) == ("mine", sha256_of(Path("mine.safetensors"))) and same(by_file, 3)
    assert same(model_of(header_of(by_file.sha256), "mine.safetensors"), 3)
    sha256 = keep_fetched(folder, "small", 4)
    assert same(open_model("small"), 4) and open_model("small").name == "small"
    assert same(model_of(header_of(sha256, "called otherwise then")), 4)  # by what it is, not by its name


def test_a_model_that_is_not_at_hand(folder: Path):
    write_tiny("mine.safetensors", 3)
    keep_fetched(folder, "small", 4)
    sha256 = "5" * 64
    cure = "fetch it with: sparse fetch-models large, or name its file with --model"
    with pytest.raises(SparseError) as found:
        model_of(header_of(sha256, "large"))
    assert str(found.value) == f"needs the model large, which is not at hand (sha256 {sha256}); {cure}"
    with pytest.raises(SparseError, match=r"that has no name, which is not at hand .*; name its file with --model"):
        model_of(header_of(sha256, ""))
    own = sha256_of(Path("mine.safetensors"))
    told = f"mine.safetensors: is not the model of these events, large: its sha256 is {own}, not {sha256}"
    with pytest.raises(SparseError, match=told):
        model_of(header_of(sha256, "large"), "mine.safetensors")


def test_a_fetched_model_whose_bytes_have_changed(folder: Path):
    sha256 = keep_fetched(folder, "small", 4)
    path = folder / "cache" / "models" / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(SparseError, match=r"has other bytes than it had .*; fetch it anew with: sparse fetch-models"):
        model_of(header_of(sha256))


# What is none


def changed(**metadata: str) -> bytes:
    """The file of a model that says other things of itself."""
    write_tiny("whole.safetensors")
    with safetensors.safe_open("whole.safetensors", framework="pt") as file:
        facts = {**file.metadata(), **metadata}
    weights = safetensors.torch.load_file("whole.safetensors")
    return safetensors.torch.save(weights, facts)


def sized(**sizes: int) -> bytes:
    return changed(shape=json.dumps({**tiny_siam().shape.to_json(), **sizes}))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lambda: changed()[:-100], "is a damaged safetensors file"),
        (lambda: b"", "is not a safetensors file"),
        (lambda: pickle.dumps({"a": 1}), "is not a safetensors file"),
        (lambda: sized(width=9), "has weights of other sizes than it says"),
        (lambda: sized(width=-1), "says its sizes wrongly"),
        (lambda: sized(width=10**9), "says its sizes wrongly"),
        (lambda: changed(shape="{"), "says its sizes wrongly"),
        (lambda: changed(version="2"), "is a model of version '2'; this program reads 1"),
        (lambda: changed(kind="dictionary"), "is a model of kind dictionary, and this takes those of kind siam"),
        (lambda: changed(format="other"), "holds weights, but not those of a Sparse Interpretable Audio Model"),
        (lambda: safetensors.numpy.save({}, FACTS), "holds weights, but not those of a Sparse Interpretable"),
    ],
)
def test_what_is_no_model_is_refused_in_a_line(folder: Path, data, told: str):
    Path("a.safetensors").write_bytes(data())
    with pytest.raises(SparseError) as found:
        open_model("a.safetensors")
    assert str(found.value).startswith(f"a.safetensors: {told}") and "\n" not in str(found.value)


def test_a_fetched_model_of_another_kind(folder: Path):
    keep_fetched(folder, "waves", 1, kind="dictionary")
    cure = "give it to --method pursuit with --dictionary"
    with pytest.raises(SparseError, match=f"waves: is a model of kind dictionary, .* kind siam; {cure}"):
        open_model("waves")


def test_a_name_that_nobody_knows():
    with pytest.raises(SparseError, match="larg: no such model was fetched, and there is no such file; fetch it with"):
        open_model("larg")

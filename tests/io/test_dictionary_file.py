from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sparsecli.core.errors import SparseError
from sparsecli.core.events import Header
from sparsecli.io.dictionaries import dictionary_of, find_dictionary
from sparsecli.io.dictionary_file import load_dictionary, save_dictionary

from ..oracle.waveforms import draw_dictionary

TONES = draw_dictionary(0, {32: 3, 100: 2})
HEADER: dict[str, Any] = {"sample_rate": 8000, "lengths": [32], "seed": 0, "settings": {}, "sources": []}


@pytest.mark.parametrize("half", [False, True])
def test_files_hold_what_was_saved_and_alike_each_time(tmp_path: Path, half: bool):
    for name in ("a.safetensors", "b.safetensors"):
        save_dictionary(tmp_path / name, TONES, half=half)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = load_dictionary(tmp_path / "a.safetensors")
    assert (again.sample_rate, again.seed, again.settings, again.sources) == (8000, 0, {"steps": 1}, ("drawn.wav",))
    assert again.lengths.tolist() == [32, 32, 32, 100, 100] and len(again.sha256) == 64
    for saved, read in zip(TONES.atoms, again.atoms, strict=True):
        np.testing.assert_allclose(read, saved, atol=2**-12 if half else 2**-23)  # halves of the last bit under 1


def test_an_existing_file_stays(tmp_path: Path):
    (tmp_path / "a.safetensors").write_text("mine")
    with pytest.raises(SparseError, match="exists"):
        save_dictionary(tmp_path / "a.safetensors", TONES)
    assert (tmp_path / "a.safetensors").read_text() == "mine"


def write(path: Path, arrays: dict[str, np.ndarray], told: Any, metadata: dict[str, str]) -> Path:
    told = {"format": "sparse-dictionary", "version": "1", "header": json.dumps(told), **metadata}
    save_file(arrays, path, told)
    return path


GOOD = {"atoms.32": TONES.atoms[0]}


@pytest.mark.parametrize(
    ("arrays", "header", "metadata", "line"),
    [
        (GOOD, HEADER, {"format": "sparse-siam"}, "holds weights, but no learned dictionary"),
        (GOOD, HEADER, {"version": "2"}, "is a dictionary of version '2'; this program reads 1"),
        (GOOD, HEADER, {"header": "{"}, "has a header that is not JSON"),
        (GOOD, [], {}, "has no sample_rate in its header"),
        (GOOD, {**HEADER, "seed": "x"}, {}, "has no seed in its header"),
        (GOOD, {**HEADER, "sample_rate": 3}, {}, "is of a sample rate of 3 Hz"),
        (GOOD, {**HEADER, "lengths": [32, 64]}, {}, "holds atoms.32, not the lengths of its header"),
        (GOOD, {**HEADER, "lengths": [9]}, {}, "a length of 9; atoms are 16 to 8192 samples long"),
        (GOOD, {**HEADER, "lengths": [1 << 40]}, {}, "a length of 1099511627776"),
        (GOOD, {**HEADER, "sources": [1]}, {}, "has sources that are no names"),
        ({"atoms.32": TONES.atoms[0][:, :31]}, HEADER, {}, r"atoms.32 is F32 \[3, 31\], not atoms"),
        ({"atoms.32": TONES.atoms[0].astype(np.float64)}, HEADER, {}, r"atoms.32 is F64 \[3, 32\], not atoms"),
        ({"atoms.32": 2 * TONES.atoms[0]}, HEADER, {}, "atom 0 of length 32 has the energy 4, and atoms have 1"),
        ({"atoms.32": np.where(np.eye(3, 32) > 0, np.nan, TONES.atoms[0])}, HEADER, {}, "atom 0 of length 32 has the"),
    ],
)  # fmt: skip
def test_nothing_is_trusted(
    tmp_path: Path, arrays: dict[str, np.ndarray], header: Any, metadata: dict[str, str], line: str
):
    path = write(tmp_path / "a.safetensors", {k: np.ascontiguousarray(v) for k, v in arrays.items()}, header, metadata)
    with pytest.raises(SparseError, match=line):
        load_dictionary(path)


@pytest.mark.parametrize("content", [pickle.dumps({"atoms": 1}), b"", b"PK\x03\x04 a zip"])
def test_pickles_and_other_files_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(SparseError, match="is not a safetensors file"):
        load_dictionary(tmp_path / "a.safetensors")


def test_a_file_that_was_cut_short(tmp_path: Path):
    save_dictionary(tmp_path / "a.safetensors", TONES)
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-10])
    with pytest.raises(SparseError, match="is a damaged safetensors file"):
        load_dictionary(tmp_path / "b.safetensors")


def test_the_dictionary_of_events_is_found_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARSE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tones.safetensors"
    save_dictionary(path, TONES)
    found, name = find_dictionary(str(path))
    header = Header(1.0, 8000, kind="learned", model_name=name, model_sha256=found.sha256)
    assert dictionary_of(header, str(path)).sha256 == found.sha256
    assert dictionary_of(header, None, str(tmp_path / "song.npz")).sha256 == found.sha256  # it lies beside
    elsewhere = str(tmp_path / "other" / "song.npz")
    with pytest.raises(
        SparseError, match=r"needs the dictionary tones\.safetensors .* name its file with --dictionary"
    ):
        dictionary_of(header, None, elsewhere)
    shutil.copy(path, tmp_path / "copy.safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")  # another file of its name
    with pytest.raises(SparseError, match="needs the dictionary"):
        dictionary_of(header, None, str(tmp_path / "song.npz"))

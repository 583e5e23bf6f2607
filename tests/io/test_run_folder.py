from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecli.core.errors import SparseError
from sparsecli.io import run_folder
from sparsecli.io.run_folder import HEAD, HISTORY, MODEL, Checkpoint, RunFolder

ARRAYS = {
    "model.w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "step": np.array(7.0),
    "bytes": np.zeros(3, np.uint8),
}
MADE = Checkpoint("siam", 7, 1.5, {"steps": 10, "minutes": None}, {"loss": 0.25}, "2 recordings")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(str(tmp_path / "run"))
    made.prepare(resume=False, overwrite=False)
    made.save(MADE, ARRAYS)
    return made


def arrays_of(folder: RunFolder) -> Path:
    (path,) = folder.path.glob("checkpoint-*.safetensors")
    return path


def test_what_was_written_is_read(folder: RunFolder):
    read = folder.load_head()
    assert (read.kind, read.step, read.seconds, read.settings) == ("siam", 7, 1.5, MADE.settings)
    assert (read.running, read.data) == (MADE.running, MADE.data)
    arrays = folder.load_arrays(read)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)


def test_a_checkpoint_takes_the_place_of_the_one_before(folder: RunFolder):
    folder.save(Checkpoint("siam", 8, 2.0, {}), {"w": np.ones(2)})
    assert folder.load_head().step == 8 and arrays_of(folder).name.startswith("checkpoint-8-")
    assert sorted(path.name for path in folder.path.iterdir()) == sorted([HEAD, arrays_of(folder).name])


@pytest.mark.parametrize("fails", ["arrays", "head"])
def test_on_a_full_disk_the_last_checkpoint_stays(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, fails: str):
    real = run_folder.open_output

    def full(path: Path, **kwargs: Any) -> Any:
        if path.name.endswith(".json") == (fails == "head"):
            raise SparseError(str(path), "cannot be written (no space left on device)")
        return real(path, **kwargs)

    monkeypatch.setattr(run_folder, "open_output", full)
    with pytest.raises(SparseError, match="no space left"):
        folder.save(Checkpoint("siam", 8, 2.0, {}), {"w": np.ones(2)})
    read = RunFolder(str(folder.path)).load_head()
    assert read.step == 7
    np.testing.assert_array_equal(folder.load_arrays(read)["model.w"], ARRAYS["model.w"])


def test_it_is_synchronised_before_it_has_its_name(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """A disk that cannot take the bytes says so at fsync at the latest."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SparseError, match="no space left"):
        folder.save(Checkpoint("siam", 8, 2.0, {}), {"w": np.ones(2)})
    assert folder.load_head().step == 7 and folder.load_arrays(folder.load_head())
    assert not list(folder.path.glob(".sparse-*"))


def change(folder: RunFolder, **fields: Any) -> None:
    document = json.loads((folder.path / HEAD).read_text())
    document = {name: value for name, value in {**document, **fields}.items() if value is not ...}
    (folder.path / HEAD).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": "other"}, "is not a checkpoint"),
        ({"version": 2}, "is of version 2.*update sparse"),
        ({"version": "x"}, "is of version 'x'"),
        ({"step": ...}, "has no step"),
        ({"more": 1}, "has a field 'more'"),
        ({"step": "7"}, "step is not of its type"),
        ({"step": True}, "step is not of its type"),
        ({"step": -1}, "step is less than 0"),
        ({"seconds": float("nan")}, "seconds is no time"),
        ({"settings": []}, "settings is not of its type"),
        ({"running": {"loss": "x"}}, "running holds other than numbers"),
    ],
)
def test_a_head_that_is_none(folder: RunFolder, fields: dict[str, Any], said: str):
    change(folder, **fields)
    with pytest.raises(SparseError, match=said):
        folder.load_head()


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_head_that_is_cut_short(folder: RunFolder, size: int):
    os.truncate(folder.path / HEAD, size)
    with pytest.raises(SparseError, match=f"{HEAD}: is cut short or damaged.*--overwrite"):
        folder.load_head()


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_arrays_that_are_cut_short(folder: RunFolder, size: int):
    path = arrays_of(folder)
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    with pytest.raises(SparseError, match=f"{path.name}: is cut short.*--overwrite"):
        folder.load_arrays(folder.load_head())


def test_arrays_with_a_bit_turned(folder: RunFolder):
    path = arrays_of(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SparseError, match="is not what the checkpoint was written with"):
        folder.load_arrays(folder.load_head())


class Evil:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("evil",))


@pytest.mark.parametrize("torch_zip", [False, True])
def test_a_pickle_is_not_read(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_zip: bool):
    monkeypatch.chdir(tmp_path)
    if torch_zip:
        import torch

        torch.save({"w": torch.zeros(2)}, arrays_of(folder))
    else:
        arrays_of(folder).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SparseError, match="is pickled, and pickles are not read"):
        folder.load_arrays(folder.load_head())
    assert not (tmp_path / "evil").exists()


def test_a_head_that_names_another_file(folder: RunFolder):
    change(folder, arrays_file="../secret.safetensors")
    with pytest.raises(SparseError, match="no file of arrays"):
        folder.load_arrays(folder.load_head())


def test_arrays_that_are_gone(folder: RunFolder):
    arrays_of(folder).unlink()
    with pytest.raises(SparseError, match="does not exist, and the checkpoint needs it"):
        folder.load_arrays(folder.load_head())


# What may be written where


def test_a_folder_with_a_run(folder: RunFolder):
    with pytest.raises(SparseError, match="holds a run already; --resume goes on with it, --overwrite begins anew"):
        folder.prepare(resume=False, overwrite=False)
    folder.prepare(resume=True, overwrite=False)
    folder.prepare(resume=False, overwrite=True)
    (folder.path / MODEL).write_bytes(b"x")
    (folder.path / "mine.txt").write_text("x")
    folder.clear()
    assert [path.name for path in folder.path.iterdir()] == ["mine.txt"]


def test_a_folder_with_other_files(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(SparseError, match=r"holds other files \(thesis.txt\)"):
        RunFolder(str(tmp_path)).prepare(resume=False, overwrite=False)


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(SparseError, match="is a file"):
        RunFolder(str(tmp_path / "run")).prepare(resume=False, overwrite=False)
    with pytest.raises(SparseError, match="cannot be created"):
        RunFolder(str(tmp_path / "run" / "in")).prepare(resume=False, overwrite=False)


# The history


def test_the_history_goes_on_after_a_step(folder: RunFolder):
    folder.start_history([])
    assert all(folder.add_history({"step": step, "loss": 1 / step}) for step in (1, 2, 3))
    with (folder.path / HISTORY).open("a") as stream:
        stream.write('{"step": 4, "lo')  # as when the power fails
    kept = folder.read_history(2)
    assert kept == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    again = RunFolder(str(folder.path))
    again.start_history(kept)
    assert again.add_history({"step": 3, "loss": float("nan")})
    assert (folder.path / HISTORY).read_text().splitlines()[2] == '{"step": 3, "loss": null}'


def test_lines_that_could_not_be_written_come_later(folder: RunFolder):
    folder.start_history([{"step": 1}])
    (folder.path / HISTORY).rename(folder.path / "away")
    assert not folder.add_history({"step": 2})
    with (folder.path / "away").open("a") as stream:
        stream.write('{"st')  # what was written before the disk was full
    (folder.path / "away").rename(folder.path / HISTORY)
    assert folder.add_history({"step": 3})
    assert [entry["step"] for entry in folder.read_history(9)] == [1, 2, 3]
    assert len((folder.path / HISTORY).read_text().splitlines()) == 3

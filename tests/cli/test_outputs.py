from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsecli.cli.outputs import check_extensions, check_outputs, check_writable, make_folder, plan_outputs
from sparsecli.core.errors import SparseError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "given", "outputs"),
    [
        (["song.wav"], None, ["song.npz"]),
        (["music/song.one.flac"], None, ["song.one.npz"]),
        (["noextension"], None, ["noextension.npz"]),
        (["music/"], None, ["music.npz"]),
        (["-"], None, ["-"]),
        (["song.wav"], "x.json", ["x.json"]),
        (["song.wav"], "-", ["-"]),
        (["song.wav"], "folder/", ["folder/song.npz"]),
        (["-"], "folder/", ["folder/stdin.npz"]),
        (["a.wav", "d/b.wav"], "folder", ["folder/a.npz", "folder/b.npz"]),
        (["a.wav", "b.wav"], None, ["a.npz", "b.npz"]),
    ],
)
def test_names(inputs: list[str], given: str | None, outputs: list[str]):
    assert plan_outputs(inputs, given, ".npz") == outputs


def test_a_folder_that_exists_is_one_without_a_slash():
    os.mkdir("folder")
    assert plan_outputs(["song.wav"], "folder", ".npz") == ["folder/song.npz"]


@pytest.mark.parametrize("given", ["-", "file"])
def test_several_inputs_need_a_folder(given: str):
    Path("file").touch()
    with pytest.raises(SparseError, match="cannot take the results of 2 inputs; name a folder"):
        plan_outputs(["a.wav", "b.wav"], given, ".npz")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["a.wav", "d/a.wav"], ["a.npz", "a.npz"]),
        (["a.wav", "b.wav"], ["out/x.npz", "out/../out/x.npz"]),
        (["a.wav"], ["x.npz", "x.npz"]),
        (["a.wav"], ["-", "-"]),
    ],
)
def test_two_results_in_one_place_are_refused(inputs: list[str], outputs: list[str]):
    check_outputs(["a.wav", "b.wav"], ["/dev/null", "/dev/null"])  # devices take any number
    with pytest.raises(SparseError, match="would be written twice, for "):
        check_outputs(inputs, outputs)


def test_a_result_over_an_input_is_refused():
    os.symlink("a.npz", "link.npz")
    for output in ("a.npz", "./a.npz", "link.npz"):
        with pytest.raises(SparseError, match="is an input, and would be written over"):
            check_outputs(["a.npz"], [output])


def test_standard_input_is_read_once():
    with pytest.raises(SparseError, match="read only once"):
        check_outputs(["-", "-"], ["a", "b"])


def test_what_could_not_be_written_is_known_before():
    Path("there.npz").touch()
    os.symlink("nowhere", "dangling.npz")
    for output in ("there.npz", "dangling.npz"):
        with pytest.raises(SparseError, match="exists already; use --overwrite"):
            check_writable(output, overwrite=False)
    with pytest.raises(SparseError, match="its folder does not exist; create the folder first"):
        check_writable("nowhere/a.npz", overwrite=True)
    check_writable("there.npz", overwrite=True)
    check_writable("new.npz", overwrite=False)
    check_writable("/dev/null", overwrite=False)
    check_writable("-", overwrite=False)


def test_extensions():
    check_extensions(["a.NPZ", "-", "/dev/null"], [".npz"])
    check_extensions(["a"], [".npz"], "npz")
    with pytest.raises(SparseError, match=r"a\.xyz: has no extension known here; end it with one of \.npz \.json"):
        check_extensions(["a.xyz"], [".npz", ".json"])


def test_folders_are_made_only_where_one_is_named(tmp_path: Path):
    make_folder(["a.wav"], None)
    make_folder(["a.wav"], "file.npz")
    assert list(tmp_path.iterdir()) == []
    make_folder(["a.wav", "b.wav"], "deep/folder")
    make_folder(["a.wav"], "deep/folder")
    assert os.path.isdir("deep/folder")
    Path("file").touch()
    with pytest.raises(SparseError, match="cannot be created"):
        make_folder(["a.wav"], "file/folder/")

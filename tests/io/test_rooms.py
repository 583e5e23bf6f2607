from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.errors import SparseError
from sparsecli.io.rooms import describe_room, find_room, read_room, room_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three responses in two folders, something else, and a working folder apart."""
    for index, name in enumerate(("church.wav", "halls/Salon.flac", "halls/church hall.wav"), 1):
        (tmp_path / "ir" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "ir" / name, np.full((100 * index, index), 0.5), 8000)
    (tmp_path / "ir" / "LICENSE.txt").write_text("free")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "ir"


def test_all_recordings_of_a_folder_by_name(folder: Path):
    assert room_names(str(folder)) == ["church.wav", "halls/Salon.flac", "halls/church hall.wav"]
    found = describe_room(str(folder), "halls/Salon.flac")
    assert (found.name, found.duration_s, found.sample_rate, found.channels) == ("halls/Salon.flac", 0.025, 8000, 2)


@pytest.mark.parametrize("name", ["halls/Salon.flac", "Salon.flac", "Salon", "salon"])
def test_a_room_by_its_name(folder: Path, name: str):
    assert find_room(name, str(folder)) == str(folder / "halls/Salon.flac")
    assert read_room(name, str(folder)).samples.shape == (2, 200)


def test_a_room_does_not_depend_on_what_lies_beside_it(folder: Path):
    before = find_room("church", str(folder))
    soundfile.write(folder / "a.wav", np.ones(3), 8000)
    (folder / "halls" / "Salon.flac").unlink()
    assert find_room("church", str(folder)) == before == str(folder / "church.wav")


def test_a_file_is_taken_as_it_is_named(folder: Path):
    soundfile.write("church.wav", np.ones(3), 8000)
    assert find_room("church.wav", str(folder)) == "church.wav"
    assert find_room(str(folder / "church.wav"), "") == str(folder / "church.wav")


def test_two_of_one_name(folder: Path):
    soundfile.write(folder / "halls" / "church.wav", np.ones(3), 8000)
    with pytest.raises(SparseError, match=r"church: could be church.wav or halls/church.wav; name it with its folder"):
        find_room("church", str(folder))
    assert find_room("church.wav", str(folder)) == str(folder / "church.wav")  # as it is written from the folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lon", "lon: neither a file nor a room in .*ir; the nearest name is Salon; sparse info --rooms lists them"),
        ("chruch", "the nearest name is church;"),
        ("/nowhere/church.wav", "/nowhere/church.wav: no such file"),
    ],
)
def test_a_room_that_is_not_there(folder: Path, name: str, message: str):
    with pytest.raises(SparseError, match=message):
        find_room(name, str(folder))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "church: no such file, and IMPULSE_RESPONSE_PATH is not set; name the folder"),
        ("lost", "church: no such file, and lost is no folder; name that of"),
    ],
)
def test_a_folder_that_is_not_there(folder: Path, path: str, message: str):
    with pytest.raises(SparseError, match=message):
        find_room("church", path)


def test_a_room_that_cannot_be_read(folder: Path):
    (folder / "church.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(SparseError, match=r"church.wav: cannot be read as a recording"):
        describe_room(str(folder), "church.wav")

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.errors import SparseError
from sparsecli.io.decoding import Layout
from sparsecli.io.recordings import HELD_OUT, Recording, find_recordings, read_excerpt, read_onsets_s, split

RATE = 8000


def write(path: Path, seconds: float = 0.1, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(round(seconds * RATE), dtype=np.int16)
    soundfile.write(path, np.tile(ramp[:, None], (1, channels)), RATE)
    return path


def names_in(folder: Path) -> tuple[list[str], list[str]]:
    skipped: list[SparseError] = []
    found = find_recordings(str(folder), skipped.append)
    return [recording.name for recording in found], [str(error) for error in skipped]


def test_all_that_is_audio_in_the_order_of_names(tmp_path: Path):
    for name in ("b.wav", "a/z.flac", "a/b/c.WAV", "a.flac", ".hidden.wav", ".git/x.wav"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no audio")
    os.symlink(tmp_path / "a", tmp_path / "linked")
    os.symlink(tmp_path, tmp_path / "a" / "round")  # a loop
    names, skipped = names_in(tmp_path)
    assert names == ["a/b/c.WAV", "a/z.flac", "a.flac", "b.wav"] and not skipped


def test_what_cannot_be_used_is_named(tmp_path: Path):
    write(tmp_path / "good.wav")
    (tmp_path / "none.wav").write_bytes(b"RIFF" + bytes(100))
    (tmp_path / "empty.flac").write_bytes(b"")
    (tmp_path / "film.m4a").write_bytes(bytes(100))
    short = write(tmp_path / "short.wav")
    os.truncate(short, 500)
    names, skipped = names_in(tmp_path)
    assert names == ["good.wav"]
    assert [os.path.basename(text.split(":")[0]) for text in skipped] == [
        "empty.flac", "film.m4a", "none.wav", "short.wav",
    ]  # fmt: skip
    assert "convert it to FLAC" in skipped[1] and "breaks off" in skipped[3]


@pytest.mark.parametrize(("make", "said"), [(False, "no such folder"), (True, "holds no recordings")])
def test_a_folder_that_is_none(tmp_path: Path, make: bool, said: str):
    folder = tmp_path / "music"
    if make:
        folder.mkdir()
    with pytest.raises(SparseError, match=f"{said}.*--data"):
        find_recordings(str(folder), lambda error: None)


def test_a_file_is_no_folder(tmp_path: Path):
    with pytest.raises(SparseError, match="is no folder"):
        find_recordings(str(write(tmp_path / "a.wav")), lambda error: None)


def test_the_layout_of_musicnet(tmp_path: Path):
    for name in ("train_data/1727.wav", "train_data/1728.wav", "test_data/1759.wav"):
        write(tmp_path / name)
    (tmp_path / "train_labels").mkdir()
    head = "start_time,end_time,instrument,note,start_beat,end_beat,note_value\n"
    rows = "88200,90000,41,67,4.0,1.5,Dotted Quarter\n44100,50000,41,60,1.0,1.5,Quarter\n"
    (tmp_path / "train_labels" / "1727.csv").write_text(head + rows)
    first, second = find_recordings(str(tmp_path), lambda error: None)
    assert (first.name, second.name) == ("train_data/1727.wav", "train_data/1728.wav")
    assert second.labels is None
    assert read_onsets_s(first).tolist() == [1.0, 2.0]  # at 44 100 Hz, whatever the rate of the file
    Path(first.labels or "").write_text("onset,pitch\n1,2\n")
    with pytest.raises(SparseError, match=r"1727\.csv: is no table of notes"):
        read_onsets_s(first)


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_excerpts_are_those_frames(tmp_path: Path, extension: str):
    write(tmp_path / f"a.{extension}", channels=2)
    (recording,) = find_recordings(str(tmp_path), lambda error: None)
    assert recording.layout == Layout(800, RATE, 2) and recording.duration_s == 0.1
    for first, frames, found in ((0, 5, 5), (123, 50, 50), (790, 50, 10)):
        samples = read_excerpt(recording, first, frames)
        expected = np.arange(first, first + found) / 2**15
        np.testing.assert_array_equal(samples, np.stack([expected, expected]).astype(np.float32))


def made(count: int, prefix: str = "piece") -> list[Recording]:
    return [Recording(f"/m/{prefix}{n}.wav", f"{prefix}{n}.wav", Layout(1, RATE, 1)) for n in range(count)]


def test_some_are_held_out_by_name():
    few, many = made(500), made(1000)
    train, held = split(many)
    assert sorted(r.name for r in train + held) == sorted(r.name for r in many)
    assert 0.5 * HELD_OUT < len(held) / 1000 < 1.5 * HELD_OUT  # 3.6 standard deviations
    assert {r.name for r in split(few)[1]} == {r.name for r in held} & {r.name for r in few}  # they stay on their side


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_recordings_are_on_both_sides(count: int):
    train, held = split(made(count))
    assert len(train) + len(held) == count and train and held


def test_a_single_recording_is_on_both_sides():
    assert split(made(1)) == (made(1), made(1))

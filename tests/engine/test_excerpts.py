from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.errors import SparseError
from sparsecli.engine.excerpts import Excerpts, excerpt
from sparsecli.io.recordings import Recording, find_recordings

RATE = 16_000


def write_tone(path: Path, rate: int, seconds: float, freq_hz: float = 440.0) -> None:
    t = np.arange(round(rate * seconds)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * freq_hz * t), rate, subtype="FLOAT")


def recordings(folder: Path) -> list[Recording]:
    return find_recordings(str(folder), lambda error: None)


@pytest.mark.parametrize("rate", [16_000, 44_100, 22_050])
def test_an_excerpt_is_the_sound_of_its_time(tmp_path: Path, rate: int):
    write_tone(tmp_path / "a.wav", rate, 1.0)
    (recording,) = recordings(tmp_path)
    for start_s in (0.0, 0.3, 0.9):
        found = excerpt(recording, start_s, RATE // 10, RATE)
        first = round(start_s * rate) / rate  # on the grid of the file, then on that of the excerpt
        expected = 0.5 * np.sin(2 * np.pi * 440 * (first + np.arange(RATE // 10) / RATE))
        inner = slice(50, -50)  # the recording itself begins and ends abruptly
        # Half a sample of 16 kHz is 0.043 of the amplitude at 440 Hz.
        assert np.abs(found[inner] - expected[inner]).max() < 0.5 * 0.09


def test_beyond_the_end_is_silence(tmp_path: Path):
    write_tone(tmp_path / "a.wav", RATE, 0.05)
    found = excerpt(recordings(tmp_path)[0], 0.0, 1000, RATE)
    assert found.shape == (1000,) and np.abs(found[:800]).max() > 0.4 and not found[800:].any()


def test_draws_depend_on_their_numbers_alone(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(RATE), RATE)
    first, again, other = (Excerpts(recordings(tmp_path), 500, RATE, seed) for seed in (1, 1, 2))
    drawn = {place: first.draw(*place, []) for place in ((0, 0), (0, 1), (1, 0))}
    for place in ((1, 0), (0, 1), (0, 0)):  # in another order
        np.testing.assert_array_equal(drawn[place], again.draw(*place, []))
        assert not np.array_equal(drawn[place], other.draw(*place, []))
    assert not np.array_equal(drawn[0, 0], drawn[0, 1]) and not np.array_equal(drawn[0, 1], drawn[1, 0])


def test_every_second_is_as_likely_as_any_other(tmp_path: Path):
    """A recording three times as long is heard three times as often."""
    for name, seconds, level in (("long", 3.0, 0.9), ("short", 1.0, 0.1)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(round(seconds * 2000), level), 2000, subtype="FLOAT")
    drawn = Excerpts(recordings(tmp_path), 10, 2000, 0)
    share = np.mean([drawn.draw(0, item, [])[0] > 0.5 for item in range(400)])
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 400)  # four standard deviations


def test_what_cannot_be_read_is_told_and_drawn_past(tmp_path: Path):
    write_tone(tmp_path / "good.wav", RATE, 0.2)
    noise = np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(tmp_path / "bad.flac", 0.1 * noise, RATE)
    data = (tmp_path / "bad.flac").read_bytes()
    (tmp_path / "bad.flac").write_bytes(data[: len(data) // 3])  # its header says that it is whole
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    told: list[SparseError] = []
    found = recordings(tmp_path)
    assert len(found) == 3
    drawn = Excerpts(found[:2], RATE, RATE, 0)  # longer than what there is of the bad one
    assert all(np.abs(drawn.draw(0, item, told)).max() > 0.4 for item in range(10))
    assert {Path(error.subject).name for error in told} == {"bad.flac"}
    with pytest.raises(SparseError, match="silent or could not be read"):
        Excerpts([found[0], found[2]], RATE, RATE, 0).draw(0, 0, told)

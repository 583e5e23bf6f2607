"""From a folder of recordings to a dictionary, and from there to events, edits and sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.io.audio import read_audio
from sparsecli.io.dictionary_file import save_dictionary
from sparsecli.io.events_file import load_events

from ..oracle.waveforms import draw_dictionary

RATE = 8000
TINY = ["--atoms", "6", "--length", "64,128", "--sample-rate", str(RATE), "--batch-size", "2",
        "--set", "excerpt_s=0.2", "--set", "density=60"]  # fmt: skip


@pytest.fixture
def music(tmp_path: Path) -> str:
    """A folder of recordings."""
    (tmp_path / "music").mkdir()
    for seed in range(3):
        draw = np.random.default_rng(seed)
        at = np.arange(RATE) / RATE
        sound = sum(0.1 * np.sin(2 * np.pi * draw.uniform(100, 1000) * at) for _ in range(4))
        soundfile.write(tmp_path / "music" / f"{seed}.wav", sound, RATE)
    return "music"


@pytest.fixture
def song(tmp_path: Path) -> str:
    """A song in two channels made of the atoms of tones.safetensors, and some noise."""
    dictionary = draw_dictionary(2, {64: 3, 256: 3}, RATE)
    save_dictionary(tmp_path / "tones.safetensors", dictionary)
    draw = np.random.default_rng(0)
    sound = 1e-3 * draw.standard_normal((4000, 2))
    for _ in range(30):
        atom = dictionary.atom(int(draw.integers(6)))
        place = int(draw.integers(0, 4000 - len(atom)))
        sound[place : place + len(atom)] += atom[:, None] * draw.uniform(-1, 1, 2)
    soundfile.write(tmp_path / "song.wav", sound, RATE, subtype="FLOAT")
    return "song.wav"


PURSUIT = ["decompose", "song.wav", "--method", "pursuit", "--dictionary", "tones.safetensors"]


def test_a_folder_becomes_a_dictionary_and_a_run_goes_on_to_the_same_bytes(invoke, music, tmp_path: Path):
    whole = invoke("train", "dictionary", "--data", music, "--out", "a", *TINY, "--steps", "4", "--json")
    assert whole.exit_code == 0, whole.stderr
    assert "music: learns from 2 recordings, 1 held out" in whole.stderr
    record = json.loads(whole.stdout)
    assert (record["kind"], record["step"], record["complete"]) == ("dictionary", 4, True) and record["snr_db"] > 1
    arguments = ["train", "dictionary", "--data", music, "--out", "b", *TINY]
    assert invoke(*arguments, "--steps", "4", "--minutes", "0").exit_code == 0  # ends after one step
    assert (
        "goes on after step 1"
        in (again := invoke(*arguments, "--resume", "--steps", "4", "--set", "minutes=60")).stderr
    )
    assert again.exit_code == 0
    first, second = (load_atoms(tmp_path / run) for run in "ab")
    assert first == second
    told = invoke("info", "a/model.safetensors", "--plot", "atoms.png")
    assert told.exit_code == 0 and "sparse-dictionary" in told.stdout
    assert (tmp_path / "atoms.png").read_bytes()[:4] == b"\x89PNG"
    assert str(tmp_path) not in (tmp_path / "a" / "model.safetensors").read_bytes().decode("latin1")


def load_atoms(run: Path) -> list[bytes]:
    from sparsecli.io.dictionary_file import load_dictionary

    return [atoms.tobytes() for atoms in load_dictionary(run / "model.safetensors").atoms]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        ([], "no folder of recordings is named; give --data DIR, or set AUDIO_PATH"),
        (["--data", "music", "--length", "9000"], "a length of 9000; atoms are 16 to 8192 samples long"),
        (["--data", "music", "--atoms", "0"], "--atoms 0 is out of range"),
    ],
)
def test_what_no_training_can_be_made_of(invoke, music, names, args: list[str], line: str):
    result = invoke("train", "dictionary", *args)
    assert result.exit_code in (1, 2) and line in result.stderr
    assert "dictionary/model.safetensors" not in names()


def test_events_of_learned_atoms_there_and_back(invoke, song, tmp_path: Path):
    result = invoke(*PURSUIT, "--snr", "30", "--residual", "rest.wav")
    assert result.exit_code == 0, result.stderr
    events = load_events("song.npz")
    assert (events.header.kind, events.header.model_name) == ("learned", "tones.safetensors")
    assert events.header.quality["snr_db"] >= 29.99
    assert events.numbers == 4 * len(events)  # onset, atom, and a level with its sign for each channel
    assert (
        invoke("render", "song.npz", "--residual", "rest.wav", "-o", "again.wav", "--bit-depth", "float").exit_code == 0
    )
    assert np.abs(read_audio("again.wav").samples - read_audio("song.wav").samples).max() < 1e-5  # levels are float32
    told = json.loads(invoke("info", "song.npz", "--json").stdout)
    assert told["ranges"]["level_db"][1] < 0 and told["ranges"]["atom"][0] >= 0


def test_edits_in_time_gain_and_choice(invoke, song):
    assert invoke(*PURSUIT, "--atoms", "20").exit_code == 0
    assert invoke("render", "song.npz", "-o", "a.wav", "--bit-depth", "float").exit_code == 0
    assert invoke("edit", "song.npz", "--gain", "-6.0206", "--shift", "0.01", "-o", "b.npz").exit_code == 0
    assert invoke("render", "b.npz", "-o", "b.wav", "--bit-depth", "float").exit_code == 0
    before, after = read_audio("a.wav").samples, read_audio("b.wav").samples
    np.testing.assert_allclose(after[:, 80:4000], 0.5 * before[:, :3920], atol=1e-5)
    assert invoke("edit", "song.npz", "--where", "atom = 2 or level < -100dB", "--mute", "-o", "c.npz").exit_code == 0
    assert 2 not in load_events("c.npz").column("atom")
    assert invoke("edit", "song.npz", "--time-stretch", "2", "-o", "d.npz").exit_code == 0
    slow, events = load_events("d.npz"), load_events("song.npz")
    np.testing.assert_allclose(slow.onset_s, 2 * events.onset_s)
    np.testing.assert_allclose(slow.column("duration_s"), events.column("duration_s"))
    assert invoke("compare", "a.wav", "b.wav").exit_code == 0


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["edit", "song.npz", "--pitch-shift", "2", "-o", "x.npz"], "--pitch-shift is for events of kind atoms"),
        (["edit", "song.npz", "--perturb", "1", "-o", "x.npz"], "--perturb is for events of kind"),
        (["edit", "song.npz", "--as", "atoms", "-o", "x.npz"], "--as is for events of kind siam"),
        (["edit", "song.npz", "--where", "freq > 1 kHz", "--mute", "-o", "x.npz"], "freq of events of kind learned is"),
        (["render", "song.npz", "--pitch-shift", "2"], "--pitch-shift: events of kind learned have no frequencies"),
        (["render", "song.npz", "--dictionary", "none.safetensors"], "none.safetensors: no such file"),
        (["render", "song.npz", "--dictionary", "other.safetensors"], "is another dictionary (sha256"),
        (["render", "away/song.npz"], "needs the dictionary tones.safetensors"),
        (["info", "song.npz", "--plot", "x.png"], "holds no learned dictionary for --plot to draw"),
        ([*PURSUIT, "--notes", "-o", "x.npz"], "--notes: learned atoms have no frequencies; leave it out"),
        ([*PURSUIT, "--variant", "gradient", "-o", "x.npz"], "gradient is not there over a learned dictionary"),
        ([*PURSUIT[:-1], "gone.safetensors", "-o", "x.npz"], "gone.safetensors: no such file"),
    ],
)
def test_what_events_of_learned_atoms_cannot(invoke, song, names, tmp_path: Path, args: list[str], line: str):
    assert invoke(*PURSUIT, "--atoms", "5").exit_code == 0
    save_dictionary(tmp_path / "other.safetensors", draw_dictionary(9, {64: 2}, RATE))
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "song.npz").write_bytes((tmp_path / "song.npz").read_bytes())
    before = names()
    result = invoke(*args)
    assert result.exit_code in (1, 2) and line in result.stderr, result.stderr
    assert names() == before


def test_sets_of_one_and_two_channels_go_together(invoke, song, tmp_path: Path):
    assert invoke(*PURSUIT, "--atoms", "20").exit_code == 0
    soundfile.write(tmp_path / "mono.wav", read_audio("song.wav").samples[0], RATE, subtype="FLOAT")
    assert invoke("decompose", "mono.wav", *PURSUIT[2:], "--atoms", "20").exit_code == 0
    assert invoke("edit", "song.npz", "--merge", "mono.npz", "-o", "both.npz").exit_code == 0
    both, mono = load_events("both.npz"), load_events("mono.npz")
    for side in ("level_db", "sign"):
        right = side.replace("level", "level_right").replace("sign", "sign_right")
        np.testing.assert_array_equal(both.column(right)[-len(mono) :], mono.column(side))


def test_a_recording_of_another_rate_is_resampled_with_a_notice(invoke, song, tmp_path: Path):
    sound = np.repeat(read_audio("song.wav").samples[0], 2)[:6000]
    soundfile.write(tmp_path / "fast.wav", sound, 2 * RATE)
    result = invoke(*["decompose", "fast.wav", *PURSUIT[2:]], "--atoms", "20")
    assert result.exit_code == 0 and "resampled from 16000 to the dictionary's 8000 Hz" in result.stderr
    events = load_events("fast.npz")
    assert (events.header.sample_rate, events.header.duration_s) == (16000, 0.375)
    played = invoke("render", "fast.npz", "-o", "out.wav")
    assert played.exit_code == 0 and read_audio("out.wav").samples.shape == (1, 6000)


def test_silence_and_a_budget_of_none(invoke, song, tmp_path: Path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(1000), RATE)
    assert invoke("decompose", "silence.wav", *PURSUIT[2:]).exit_code == 0
    events = load_events("silence.npz")
    assert len(events) == 0 and events.header.quality == {}
    assert invoke(*PURSUIT, "--atoms", "0").exit_code == 2

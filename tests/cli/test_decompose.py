from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import load_events

PURSUIT = ["--method", "pursuit"]
FEW = [*PURSUIT, "--atoms", "20"]


def test_a_recording_becomes_events_of_kind_gabor(invoke, tone, tmp_path: Path):
    result = invoke("decompose", tone("song.wav", seconds=0.5), *FEW)
    assert (result.exit_code, result.stdout) == (0, "")
    events = load_events(tmp_path / "song.npz")
    assert (events.header.kind, events.header.source_name, len(events)) == ("gabor", "song.wav", 20)
    assert re.fullmatch(
        rf"sparse: song\.wav: song\.npz: 20 atoms, {events.numbers} numbers, SNR [\d.]+ dB, "
        r"log-mel [\d.]+ dB, [\d.]+ s \([\d.e+]+ x real time\)\n",
        result.stderr,
    )


def test_pipes_from_a_recording_to_a_recording(program, tone, tmp_path: Path):
    data = (tmp_path / tone("song.wav", seconds=0.5)).read_bytes()
    found = program("decompose", "-", *FEW, input=data)
    assert (found.code, json.loads(found.out)["header"]["kind"]) == (0, "gabor")
    edited = program("edit", "-", "--where", "freq < 2 kHz", "--gain", "-6", input=found.out)
    played = program("render", "-", "-o", "again.wav", input=edited.out)
    assert (edited.code, played.code) == (0, 0), edited.err + played.err
    compared = program("compare", "song.wav", "again.wav", "--json")
    assert json.loads(compared.out)["si_sdr_db"] > 10


def test_many_inputs_on_two_processors_and_one_that_is_none(program, tone, names):
    tone("a.wav"), tone("b.wav", channels=2)
    done = program("decompose", "a.wav", "none.wav", "b.wav", *FEW, "-o", "out", "--jobs", "2", "--json")
    assert done.code == 1
    assert "sparse: none.wav: no such file\n" in done.err
    assert [json.loads(line)["output"] for line in done.out.splitlines()] == ["out/a.npz", "out/b.npz"]
    assert names() == ["a.wav", "b.wav", "out", "out/a.npz", "out/b.npz"]


def test_the_residual_gives_the_recording_back(invoke, tmp_path: Path):
    drawn = np.random.default_rng(0)
    soundfile.write(tmp_path / "song.wav", 0.2 * drawn.standard_normal((9000, 2)), 22050, subtype="PCM_16")
    arguments = ["--dictionary", "gabor:256+dirac", *FEW, "--residual", "rest.wav"]
    assert invoke("decompose", "song.wav", *arguments).exit_code == 0
    assert invoke("render", "song.npz", "--residual", "rest.wav", "-o", "again.wav").exit_code == 0
    again, song = read_audio("again.wav").samples, read_audio("song.wav").samples
    assert np.abs(again - song).max() < 2**-15  # the last of 16 bits
    rest = read_audio("rest.wav").samples
    snr_db = 10 * np.log10((song**2).sum() / (rest**2).sum())
    assert snr_db == pytest.approx(load_events("song.npz").header.quality["snr_db"], abs=0.01)


def test_settings_from_a_file_and_options(invoke, tone, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(
        '[decompose]\nmethod = "pursuit"\natoms = 5\ndictionary = "damped:256"\nvariant = "gradient"\n'
    )
    assert invoke("decompose", tone("a.wav"), "--config", "mine.toml", "--set", "overlap=8").exit_code == 0
    settings = load_events("a.npz").header.settings
    assert [settings[name] for name in ("atoms", "dictionary", "variant", "overlap", "method")] == [
        5, "damped:256", "gradient", 8, "pursuit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            [*PURSUIT, "--dictionary", "haar"],
            "there is no dictionary 'haar'; there are gabor, chirp, damped, cosine, dirac",
        ),
        (
            [*PURSUIT, "--dictionary", "gabor:300"],
            "a window of 300; windows are powers of two from 16 to 65536 samples",
        ),
        (["--variant", "quick"], "--variant quick: is not a choice; choose one of plain, cyclic, orthogonal, gradient"),
        (["--method", "magic"], "--method magic: is not a choice; choose one of siam, pursuit"),
        (["--atoms", "0"], "--atoms 0 is out of range; give 1 to 100000"),
        (["--snr", "-3"], "--snr -3 is out of range; give 0 to 150 dB"),
        ([*PURSUIT, "--set", "overlap=3"], "an overlap of 3; give one of 2, 4, 8, 16"),
        (["--set", "treshold=0"], "treshold: unknown setting; the nearest known one is threshold"),
        (["--dictionary", "gabor"], "--dictionary: is of --method pursuit; give that, or leave it out"),
        (["--set", "overlap=8"], "the setting overlap is of --method pursuit; give that, or leave it out"),
        ([*PURSUIT, "--as", "events"], "--as: is of --method siam; give that, or leave it out"),
        ([*PURSUIT, "--refine", "2"], "--refine is of --method siam; give that, or leave it out"),
        (["--as", "notes"], "--as notes: is not a choice; choose one of events, atoms"),
        (["--notes"], "--notes needs frequencies, which events of kind siam have not; add --as atoms"),
        (["--refine", "-1"], "--refine -1 is out of range; give 0 to 1000"),
    ],
)
def test_usage(invoke, tone, names, args: list[str], line: str):
    result = invoke("decompose", tone("a.wav"), *args)
    assert result.exit_code == 2
    assert line in result.stderr and result.stderr.count("\n") == 1
    assert names() == ["a.wav"]


def test_a_recording_that_is_too_short_is_said_and_the_others_are_done(invoke, tone, names):
    arguments = ["--dictionary", "gabor:2048", *FEW, "-o", "out/"]
    result = invoke("decompose", tone("a.wav", seconds=0.05), tone("b.wav"), *arguments)
    assert result.exit_code == 1
    assert "sparse: --dictionary gabor:2048: all its windows are longer than the recording" in result.stderr
    assert names() == ["a.wav", "b.wav", "out", "out/b.npz"]


def test_silence(invoke, tone):
    result = invoke("decompose", tone("a.wav", gain=0.0), *PURSUIT)
    assert (result.exit_code, "0 atoms, 0 numbers, no SNR (silence)" in result.stderr) == (0, True)
    assert invoke("render", "a.npz", "-o", "b.wav").exit_code == 0
    assert not read_audio("b.wav").samples.any()
    assert invoke("info", "a.npz").exit_code == 0


def test_channels_are_folded_and_said(invoke, tone):
    result = invoke("decompose", tone("song.wav", channels=5), *FEW)
    assert result.stderr.startswith("sparse: song.wav: its 5 channels are folded to mono\n")


def test_info_tells_of_windows(invoke, tone):
    invoke("decompose", tone("a.wav", channels=2), *FEW)
    shown = invoke("info", "a.npz").stdout
    assert re.search(r"^kind +gabor$", shown, re.MULTILINE)
    assert re.search(r"^duration_s +[\d.]+ to [\d.]+$", shown, re.MULTILINE)
    names = [column["name"] for column in json.loads(invoke("info", "a.npz", "--columns", "--json").stdout)["columns"]]
    assert names[-2:] == ["level_right_db", "phase_right_rad"]


def test_an_operation_that_windows_do_not_know(invoke, tone, names):
    invoke("decompose", tone("a.wav"), *FEW)
    result = invoke("edit", "a.npz", "--attack", "2")
    assert (result.exit_code, names()) == (1, ["a.npz", "a.wav"])
    assert result.stderr == "sparse: a.npz: --attack is for events of kind atoms, and these are of kind gabor\n"

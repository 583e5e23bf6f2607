from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import load_events

FEW = ["--atoms", "2"]


def test_a_recording_becomes_events(invoke, tone, tmp_path: Path):
    result = invoke("fit", tone("song.wav"), *FEW)
    assert (result.exit_code, result.stdout) == (0, "")
    events = load_events(tmp_path / "song.npz")
    assert events.header.source_name == "song.wav"
    assert re.fullmatch(
        rf"sparse: song\.wav: song\.npz: {len(events)} atoms, {events.numbers} numbers, SNR -?[\d.]+ dB, "
        r"log-mel [\d.]+ dB, [\d.]+ s \([\d.e+]+ x real time\)\n",
        result.stderr,
    )


def test_json_prints_one_object_for_each_result(invoke, tone, tmp_path: Path):
    result = invoke("fit", tone("a.wav"), "missing.wav", tone("b.wav"), *FEW, "--json")
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(record["input"], record["output"]) for record in records] == [("a.wav", "a.npz"), ("b.wav", "b.npz")]
    events = load_events(tmp_path / "b.npz")
    assert (records[1]["events"], records[1]["numbers"]) == (len(events), events.numbers)
    assert records[1]["complete"] is True and records[1]["seconds"] > 0
    assert records[1]["quality"] == pytest.approx(events.header.quality)
    assert "sparse: missing.wav: no such file\n" in result.stderr


@pytest.mark.parametrize("extension", ["npz", "json", "csv"])
def test_the_extension_or_the_format_says_how(invoke, tone, names, extension: str):
    assert invoke("fit", tone("song.wav"), *FEW, "-o", f"named.{extension}").exit_code == 0
    assert invoke("fit", "song.wav", *FEW, "--format", extension).exit_code == 0
    assert names() == sorted([f"named.{extension}", f"song.{extension}", "song.wav"])


def test_channels_are_folded_and_said(invoke, tone):
    result = invoke("fit", tone("song.wav", channels=8), *FEW)
    assert result.exit_code == 0
    assert result.stderr.startswith("sparse: song.wav: its 8 channels are folded to mono\n")
    assert invoke("fit", "song.wav", *FEW, "--quiet", "--overwrite").stderr == ""


def test_an_excerpt(invoke, tone, tmp_path: Path):
    assert invoke("fit", tone("song.wav"), *FEW, "--start", "0.1", "--duration", "0.05").exit_code == 0
    assert load_events(tmp_path / "song.npz").header.duration_s == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("args", [["--start", "1"], ["--start", "-1"], ["--duration", "0"], ["--start", "nan"]])
def test_an_excerpt_that_is_none(invoke, tone, names, args: list[str]):
    result = invoke("fit", tone("song.wav"), *FEW, *args)
    assert result.exit_code == 1
    assert args[0] in result.stderr and result.stderr.count("\n") == 1
    assert names() == ["song.wav"]


def test_the_residual_is_what_the_rendering_leaves(invoke, tone, tmp_path: Path):
    assert invoke("fit", tone("song.wav", channels=2), *FEW, "--residual", "rest.wav").exit_code == 0
    assert invoke("render", "song.npz", "-o", "full.wav", "--bit-depth", "float").exit_code == 0
    song, rest, full = (read_audio(tmp_path / name) for name in ("song.wav", "rest.wav", "full.wav"))
    assert soundfile.info(tmp_path / "rest.wav").subtype == "FLOAT"
    np.testing.assert_allclose(rest.samples[0], song.mono() - full.mono(), atol=1e-6)  # float32 rounding


def test_residuals_of_several_inputs(invoke, tone, names):
    args = ["-o", "out", "--residual", "rest"]
    assert invoke("fit", tone("a.wav"), tone("b.wav"), *FEW, *args).exit_code == 0
    assert names()[2:] == [
        "out", "out/a.npz", "out/b.npz", "rest", "rest/a.residual.wav", "rest/b.residual.wav",
    ]  # fmt: skip


def test_settings_are_kept_in_the_header(invoke, tone, tmp_path: Path):
    (tmp_path / "mine.toml").write_text("[fit]\natoms = 9\nbandwidth_hz = 5000\nseed = 5\n[render]\ngain_db = 3\n")
    args = ["--config", "mine.toml", "--set", "seed=6", "--set", "atoms=8", *FEW]
    assert invoke("fit", tone("song.wav"), *args).exit_code == 0
    header = load_events(tmp_path / "song.npz").header
    assert header.seed == 6
    assert (header.settings["atoms"], header.settings["bandwidth_hz"], header.settings["seed"]) == (2, 5000, 6)


def test_an_existing_output_is_known_before_the_work(invoke, tone, events, names):
    events("song.npz")
    result = invoke("fit", tone("song.wav"), tone("b.wav"), *FEW)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "sparse: song.npz: exists already; use --overwrite"
    assert names() == ["b.npz", "b.wav", "song.npz", "song.wav"]
    assert invoke("fit", "song.wav", *FEW, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["a.wav", "d/a.wav"], "a.npz: would be written twice, for a.wav and d/a.wav; run them apart"),
        (["a.wav", "a.wav"], "a.npz: would be written twice, for a.wav and a.wav; run them apart"),
        (["a.wav", "-o", "a.wav"], "a.wav: is an input, and would be written over; name another place with -o"),
        (["a.wav", "--residual", "a.wav"], "a.wav: is an input, and would be written over"),
        (["a.wav", "--residual", "a.flac"], "a.flac: has no extension known here; end it with one of .wav"),
        (["a.wav", "-o", "x.npz", "--residual", "x.npz"], "x.npz: would be written twice, for a.wav and a.wav"),
        (["a.wav", "-o", "-", "--residual", "-"], "-: would be written twice, for a.wav and a.wav"),
        (["a.wav", "-o", "-", "--json"], "--json: standard output already takes the result; give -o FILE"),
        (["a.wav", "--residual", "-", "--json"], "--json: standard output already takes the result"),
        (["a.wav", "-o", "a.wav/"], "a.wav/: cannot be created"),
        (["a.wav", "-o", "a.mid"], "a.mid: has no extension known here; end it with one of .npz .json .csv"),
        (["a.wav", "--format", "mid"], "--format mid: is not a choice; choose one of npz, json, csv"),
        (["-", "-"], "-: standard input can be read only once; name it once"),
        (["a.wav", "--atoms", "0"], "--atoms 0 is out of range; give 1 to 100000"),
        (["a.wav", "--snr", "nan"], "--snr nan is out of range; give 0 to 150 dB"),
        (["a.wav", "--seed", "2097152"], "--seed 2.09715e+06 is out of range"),
        (["a.wav", "--set", "atmos=3"], "atmos: unknown setting; the nearest known one is atoms"),
        (["a.wav", "--set", "atoms=few"], "atoms: 'few' is not a whole number"),
        (["a.wav", "--config", "bad.toml"], "bad.toml: not a readable TOML file"),
        (["a.wav", "--config", "odd.toml"], "atmos: unknown setting; the nearest known one is atoms"),
    ],
)
def test_usage_errors_before_anything_starts(invoke, tone, names, tmp_path: Path, args: list[str], line: str):
    (tmp_path / "bad.toml").write_text("[fit")
    (tmp_path / "odd.toml").write_text("[fit]\natmos = 3\n")
    tone("a.wav")
    before = names()
    result = invoke("fit", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sparse: {line}") and result.stderr.count("\n") == 1
    assert names() == before


def silence(count: int) -> np.ndarray:
    return np.zeros((count, 1), np.float32)


HARMLESS = {
    "silence.wav": silence(4000),
    "constant.wav": silence(4000) + np.float32(0.3),
    "one sample.wav": silence(1) + np.float32(0.5),
    "two samples.wav": silence(2) + np.float32(0.5),
    "loud.wav": silence(4000) + np.sin(np.arange(4000), dtype=np.float32)[:, None] * np.float32(30),
    "[red]b[bold] 100%{x}.wav": silence(4000) + np.float32(0.3),
    "-rf \x1b[31m\n.wav": silence(4000) + np.float32(0.3),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_odd_recordings_are_fitted(invoke, tmp_path: Path, name: str):
    soundfile.write(tmp_path / name, HARMLESS[name], 22050, subtype="FLOAT")
    result = invoke("fit", "--json", *FEW, "--progress", "--", name)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["input"] == name
    assert all(line.startswith("sparse: ") and line.isprintable() for line in result.stderr.splitlines())
    events = load_events(tmp_path / f"{Path(name).stem}.npz")
    assert np.isfinite(events.params).all()


def test_bad_recordings_are_one_line_each(invoke, tone, names, tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("these are words\n" * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.wav").write_bytes((tmp_path / tone("whole.wav")).read_bytes()[:2000])
    soundfile.write(tmp_path / "nan.wav", np.full(1000, np.nan, np.float32), 22050, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 22050)
    bad = ["missing.wav", "empty.wav", "text.wav", "folder", "cut.wav", "nan.wav", "none.wav"]
    before = names()
    result = invoke("fit", *bad, "whole.wav", *FEW, "--json")
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in said] == [*bad, "whole.wav"]
    assert len(result.stdout.splitlines()) == 1  # the last one, which is good
    assert names() == sorted([*before, "whole.npz"])

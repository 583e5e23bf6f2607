from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.engine.rendering import render
from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import load_events

from .conftest import RATE

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


def write_two_tones(path: Path, rate: int) -> None:
    """Two struck tones with some noise, first one more to the left, then one more to the right, in 16 bits."""
    t = np.arange(round(0.3 * rate)) / rate
    u = [t, np.maximum(t - 0.15, 0)]
    tones = [0.4 * np.exp(-30 * u) * np.sin(2 * np.pi * freq_hz * u) for u, freq_hz in zip(u, (440, 1130), strict=True)]
    places = np.array([[0.9, 0.2], [0.1, 0.7]])
    noise = 0.01 * np.random.default_rng(0).standard_normal((len(t), 2))
    soundfile.write(path, np.stack(tones, axis=1) @ places + noise, rate, subtype="PCM_16")


EXCERPT = ["--start", "0.0371", "--duration", "0.1234"]


@pytest.mark.parametrize("extension", ["npz", "json"])
@pytest.mark.parametrize("rate", [11025, 44100, 47999])
@pytest.mark.parametrize("excerpt", [[], EXCERPT], ids=["whole", "excerpt"])
def test_rendering_and_residual_give_the_recording_back(
    invoke, tmp_path: Path, rate: int, excerpt: list[str], extension: str
):
    """To half a step of 16 bits, so that 16 bits are given back to the last one; at odd rates, from saved events."""
    write_two_tones(tmp_path / "song.wav", rate)
    args = [*FEW, *excerpt, "--residual", "rest.wav", "-o", f"song.{extension}"]
    assert invoke("fit", "song.wav", *args).exit_code == 0
    assert soundfile.info(tmp_path / "rest.wav").subtype == "FLOAT"
    song = read_audio(tmp_path / "song.wav", *([float(excerpt[1]), float(excerpt[3])] if excerpt else []))
    rest, loaded = read_audio(tmp_path / "rest.wav"), load_events(tmp_path / f"song.{extension}")
    assert np.abs(render(loaded).samples + rest.samples - song.samples).max() < 2**-16
    assert np.abs(rest.samples).max() > 2**-10  # there is something to add
    result = invoke("render", f"song.{extension}", "--residual", "rest.wav", "-o", "back.wav")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(read_audio(tmp_path / "back.wav").samples, song.samples)


def test_the_residual_of_a_fold_is_mono(invoke, tone, tmp_path: Path):
    result = invoke("fit", tone("song.wav", channels=3), *FEW, "--residual", "rest.wav")
    assert result.stderr.startswith("sparse: song.wav: its 3 channels are folded to mono, and so is the residual\n")
    song, rest = (read_audio(tmp_path / name) for name in ("song.wav", "rest.wav"))
    full = render(load_events(tmp_path / "song.npz"))
    np.testing.assert_allclose(rest.samples, song.mono()[None] - full.samples, atol=1e-7)  # float32 rounding


def test_two_channels_are_kept(invoke, tmp_path: Path):
    write_two_tones(tmp_path / "song.wav", RATE)
    result = invoke("fit", "song.wav", "--atoms", "10", "--set", "price=1")  # two
    assert result.exit_code == 0 and result.stderr.count("\n") == 1, result.stderr
    events = load_events(tmp_path / "song.npz")
    assert events.header.channels == 2 and events.air.shape[0] == 2
    level_db, pan = events.column("level1_db"), events.column("pan")
    first, second = (
        int(np.argmax(np.where(part, level_db, -200))) for part in (events.onset_s < 0.1, events.onset_s > 0.1)
    )
    # 1 - p is to 1 + p as left to right: 0.9 to 0.2, and 0.1 to 0.7; beside noise 30 dB under the tones.
    assert pan[[first, second]] == pytest.approx([-7 / 11, 3 / 4], abs=0.02)
    assert invoke("render", "song.npz", "-o", "again.wav").exit_code == 0
    assert json.loads(invoke("compare", "song.wav", "again.wav", "--json").stdout)["channels"] == 2


def test_channels_that_cancel_each_other_are_said(invoke, tmp_path: Path):
    sound = 0.3 * np.sin(0.3 * np.arange(6000))
    soundfile.write(tmp_path / "song.wav", np.stack([sound, -sound], axis=1), RATE, subtype="FLOAT")
    result = invoke("fit", "song.wav", *FEW)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        "sparse: song.wav: its channels cancel each other: their mean, in which atoms are found, is silent"
    )
    events = load_events(tmp_path / "song.npz")
    assert len(events) == 0 and events.header.channels == 2


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


def test_a_fit_that_broke_off_goes_on_to_the_same_bytes(invoke, tone, names, tmp_path: Path, monkeypatch):
    always = ("--save-every", "0")
    assert invoke("fit", tone("song.wav"), *FEW, *always, "-o", "whole.npz").exit_code == 0
    assert names() == ["song.wav", "whole.npz"]  # the checkpoint went when the fit was done
    with monkeypatch.context() as context:
        context.setattr("sparsecli.engine.fitting.add_texture", lambda *_: 1 / 0)
        assert invoke("fit", "song.wav", *FEW, "-o", "rare.npz", "--save-every", "1e6").exit_code == 1
        assert names() == ["song.wav", "whole.npz"]
        assert invoke("fit", "song.wav", *FEW, *always, "-o", "part.npz").exit_code == 1
    assert names() == ["part.npz.checkpoint", "song.wav", "whole.npz"]
    assert invoke("fit", "song.wav", "--atoms", "3", "-o", "part.npz", "--resume").exit_code == 1
    assert invoke("fit", "song.wav", *FEW, "-o", "part.npz", "--resume").exit_code == 0
    assert invoke("fit", "song.wav", "--save-every", "-1").exit_code == 2
    assert names() == ["part.npz", "song.wav", "whole.npz"]
    assert (tmp_path / "part.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_resume_without_a_checkpoint_begins_anew_and_with_rubbish_fails(invoke, tone, names, tmp_path: Path):
    assert invoke("fit", tone("song.wav"), *FEW, "--resume").exit_code == 0
    (tmp_path / "other.npz.checkpoint").write_bytes(b"rubbish")
    result = invoke("fit", "song.wav", *FEW, "-o", "other.npz", "--resume")
    assert result.exit_code == 1 and "other.npz.checkpoint: is no checkpoint" in result.stderr
    assert names() == ["other.npz.checkpoint", "song.npz", "song.wav"]


def test_more_work_is_better_or_as_good(invoke, tone, tmp_path: Path):
    for quality in ("fast", "best"):
        assert invoke("fit", tone("song.wav"), *FEW, "--quality", quality, "-o", f"{quality}.npz").exit_code == 0
    fast, best = (load_events(tmp_path / f"{name}.npz").header.quality["snr_db"] for name in ("fast", "best"))
    assert best >= min(fast, 60.0) - 0.1  # beyond, it is chance which stops nearer
    assert invoke("fit", "song.wav", "--quality", "superb").exit_code == 2


def test_a_quantised_file_is_small_and_renders_what_was_found(invoke, tone, tmp_path: Path):
    args = ["fit", tone("song.wav", seconds=1.0), "--atoms", "8"]
    assert invoke(*args, "--residual", "rest.wav", "-o", "a.npz", "--bits", "8").exit_code == 0
    assert invoke(*args, "-o", "b.npz").exit_code == 0
    assert (tmp_path / "a.npz").stat().st_size < 0.5 * (tmp_path / "b.npz").stat().st_size
    assert invoke("render", "a.npz", "-o", "full.wav", "--bit-depth", "float").exit_code == 0
    song, rest, full = (read_audio(tmp_path / name) for name in ("song.wav", "rest.wav", "full.wav"))
    np.testing.assert_allclose(rest.samples[0], song.mono() - full.mono(), atol=1e-6)  # float32 rounding


def test_a_quantised_fit_tells_what_it_lost(invoke, tone, tmp_path: Path):
    result = invoke("fit", tone("song.wav"), *FEW, "--bits", "6", "--json")
    quality = json.loads(result.stdout)["quality"]
    header = load_events(tmp_path / "song.npz").header
    assert header.quality == quality and {"snr_db", "snr_lost_db", "bits"} <= quality.keys()
    assert header.settings == {"atoms": 2, "bits": 6.0}  # no defaults, which would take more bytes than the events
    assert re.search(r" bits a number, -?[\d.]+ dB lost, ", result.stderr)


def test_quantised_events_are_ordinary_json(invoke, tone, tmp_path: Path):
    for name in ("a.npz", "a.json"):
        assert invoke("fit", tone("song.wav"), *FEW, "--bits", "7", "-o", name).exit_code == 0
    packed, plain = load_events(tmp_path / "a.npz"), load_events(tmp_path / "a.json")
    assert packed.params.tobytes() == plain.params.tobytes() and packed.air.tobytes() == plain.air.tobytes()


@pytest.mark.parametrize("bits", ["3.9", "16.1", "nan"])
def test_bits_out_of_range(invoke, tone, bits: str):
    result = invoke("fit", tone("song.wav"), "--bits", bits)
    assert result.exit_code == 2 and "--bits" in result.stderr and "give 4 to 16" in result.stderr


def test_a_quantised_silence(invoke, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 22050)
    assert invoke("fit", "a.wav", "--bits", "8").exit_code == 0
    assert len(load_events(tmp_path / "a.npz")) == 0


def test_a_quantised_file_of_two_channels_keeps_the_places(invoke, tmp_path: Path):
    t = np.arange(RATE // 2) / RATE
    late = np.clip(t - 0.2, 0, None)
    left, right = (np.exp(-20 * u) * np.sin(2 * np.pi * freq_hz * u) for u, freq_hz in ((t, 400), (late, 1000)))
    soundfile.write(tmp_path / "a.wav", 0.5 * np.stack([left, right], axis=1), RATE)
    assert invoke("fit", "a.wav", "--atoms", "6", "--bits", "9").exit_code == 0
    packed = load_events(tmp_path / "a.npz")
    assert {-1.0, 1.0} <= set(packed.column("pan").round(1).tolist())
    assert packed.header.quality["snr_db"] > 25


def test_notes_are_labelled_where_asked(invoke, tone, tmp_path: Path):
    result = invoke("fit", tone("song.wav"), *FEW, "--notes", "--json")
    record = json.loads(result.stdout)
    assert record["notes"] == 1
    assert f"{record['numbers']} numbers, 1 note, SNR" in result.stderr
    events = load_events(tmp_path / "song.npz")
    assert events.note.max() == 0 and events.header.settings["notes"] is True
    plain = json.loads(invoke("fit", "song.wav", *FEW, "--overwrite", "--json").stdout)
    assert plain["notes"] is None
    assert (load_events(tmp_path / "song.npz").note == -1).all()


def test_silence_has_no_notes(invoke, tone):
    result = invoke("fit", tone("song.wav", gain=0.0), *FEW, "--notes")
    assert result.exit_code == 0 and ", 0 notes, no SNR (silence)" in result.stderr


def test_a_fit_by_descent(invoke, tone, tmp_path: Path):
    args = ["--method", "descent", "--iterations", "11", "--atoms", "8", "--loss", "mrstft+0.1*transport", "--progress"]
    result = invoke("fit", tone("song.wav"), *args)
    assert result.exit_code == 0, result.stderr
    settings = load_events(tmp_path / "song.npz").header.settings
    assert (settings["method"], settings["iterations"], settings["loss"]) == ("descent", 11, "mrstft+0.1*transport")
    assert re.search(r"atoms, \d+ numbers, SNR -?[\d.]+ dB", result.stderr)


def test_the_published_experiment_in_a_room(invoke, tone, tmp_path: Path):
    """What it writes sounds in that room as it was fitted: the residual adds up to the recording."""
    response = np.exp(-np.arange(2000) / 300)
    soundfile.write(tmp_path / "hall.wav", response, RATE, subtype="FLOAT")
    args = ["--config", "original", "--iterations", "2", "--room", "hall.wav", "--residual", "rest.wav"]
    result = invoke("fit", tone("song.wav"), *args)
    assert result.exit_code == 0, result.stderr
    events = load_events(tmp_path / "song.npz")
    assert events.columns[-1] == "wet" and events.header.settings["room"] == "hall.wav"
    assert invoke("render", "song.npz", "--room", "hall.wav", "--wet", "1", "-o", "again.wav").exit_code == 0
    song, rest, again = (read_audio(tmp_path / name).samples for name in ("song.wav", "rest.wav", "again.wav"))
    assert np.abs(again[:, : song.shape[1]] + rest - song).max() < 2**-14  # of 16 bits


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        (["--loss", "aim"], "--loss belongs to --method descent or search+descent; the search has no use for it"),
        (["--iterations", "3000"], "--iterations belongs to --method descent"),  # be it the default
        (["--method", "search+descent", "--init", "random"], "--init belongs to --method descent"),
        (["--method", "descent", "--loss", "mrsft"], "'mrsft' is no loss; give a sum of mrstft, "),
        (["--method", "ascent"], "--method ascent: is not a choice; choose one of search, descent, search+descent"),
        (["--envelope", "gamma"], "--envelope belongs to --method descent"),
        (["--method", "descent", "--envelope", "square"], "is not a choice; choose one of gamma, gaussian"),
        (["--method", "descent", "--room", "hall.wav"], "--room belongs to --envelope"),
    ],
)
def test_options_of_descent_that_make_no_sense(invoke, tone, names, args: list[str], cause: str):
    result = invoke("fit", tone("song.wav"), *args)
    assert result.exit_code == 2 and cause in result.stderr and result.stderr.count("\n") == 1
    assert names() == ["song.wav"]

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.core.columns import columns_of
from sparsecli.io.events_file import save_events

from ..oracle.draw import draw_events


def test_the_source_s_rate_and_length(invoke, events, tmp_path: Path):
    result = invoke("render", events("song.npz"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "sparse: song.npz: song.wav: 2 events, 0.25 s, 1 channel, 22050 Hz\n"
    info = soundfile.info(tmp_path / "song.wav")
    assert (info.samplerate, info.duration, info.subtype) == (22050, pytest.approx(0.25, abs=1e-4), "PCM_16")


def test_the_recording_itself_is_kept(invoke, events, tone, tmp_path: Path):
    sha256 = hashlib.sha256((tmp_path / tone("song.wav")).read_bytes()).hexdigest()
    before = (tmp_path / "song.wav").read_bytes()
    assert invoke("render", events("song.npz", source_name="song.wav", source_sha256=sha256)).exit_code == 0
    assert (tmp_path / "song.render.wav").exists()
    assert invoke("render", "song.npz", "--overwrite").exit_code == 0
    assert (tmp_path / "song.wav").read_bytes() == before


def test_a_recording_of_unknown_bytes_is_known_by_its_name(invoke, events, tone, tmp_path: Path):
    tone("song.wav")
    assert invoke("render", events("song.npz", source_name="song.wav")).exit_code == 0
    assert (tmp_path / "song.render.wav").exists()


def test_an_earlier_rendering_is_in_the_way(invoke, events):
    events("song.npz", source_name="song.wav", source_sha256="0" * 64)
    assert invoke("render", "song.npz").exit_code == 0
    again = invoke("render", "song.npz")
    assert (again.exit_code, again.stderr) == (1, "sparse: song.wav: exists already; use --overwrite\n")
    assert invoke("render", "song.npz", "--overwrite").exit_code == 0


def test_options_reach_the_renderer(invoke, events, tmp_path: Path):
    args = ["--sample-rate", "8000", "--time-stretch", "2", "--gain", "-6", "--no-noise", "--pitch-shift", "-12"]
    result = invoke("render", events("song.npz", count=1), "--json", *args)
    record = json.loads(result.stdout)
    assert (record["sample_rate"], record["duration_s"]) == (8000, pytest.approx(0.5))
    samples, _ = soundfile.read(tmp_path / "song.wav")
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * 8000 / len(samples) == pytest.approx(
        150, abs=2
    )  # an octave under 300 Hz; bins of 2 Hz


def test_settings_from_weakest_to_strongest(invoke, events, tmp_path: Path):
    (tmp_path / "mine.toml").write_text("[render]\nsample_rate = 8000\ntime_stretch = 2\ngain_db = -20\n")
    args = ["--config", "mine.toml", "--set", "time_stretch=3", "--set", "gain-db=-10", "--gain", "-3", "--json"]
    record = json.loads(invoke("render", events("song.npz", level_db=0), *args).stdout)
    assert (record["sample_rate"], record["duration_s"]) == (8000, pytest.approx(0.75))


@pytest.mark.parametrize(
    ("bit_depth", "name", "subtype"),
    [("16", "a.wav", "PCM_16"), ("24", "a.wav", "PCM_24"), ("float", "a.wav", "FLOAT"), ("24", "a.flac", "PCM_24")],
)
def test_bit_depths(invoke, events, tmp_path: Path, bit_depth: str, name: str, subtype: str):
    assert invoke("render", events("song.npz"), "-o", name, "--bit-depth", bit_depth).exit_code == 0
    assert soundfile.info(tmp_path / name).subtype == subtype


def test_a_peak_over_full_scale_lowers_the_whole(invoke, events, tmp_path: Path):
    result = invoke("render", events("song.npz", level_db=12, count=1), "--json")
    peak = json.loads(result.stdout)["peak"]
    assert peak > 2  # the rendering's own
    assert (
        f"its peak of {peak:.3f} is over full scale: {-20 * np.log10(peak):.2f} dB of gain is applied" in result.stderr
    )
    assert "--clip" in result.stderr
    samples, _ = soundfile.read(tmp_path / "song.wav")
    assert 0.999 < np.abs(samples).max() <= 1


def test_or_is_clipped_where_asked_for(invoke, events, tmp_path: Path):
    invoke("render", events("song.npz", level_db=12, count=1), "-o", "float.wav", "--bit-depth", "float")
    result = invoke("render", "song.npz", "--clip")
    whole, _ = soundfile.read(tmp_path / "float.wav", dtype="float32")
    clipped, _ = soundfile.read(tmp_path / "song.wav", dtype="float32")
    assert f"{int((np.abs(whole) > 1).sum())} samples over full scale are clipped" in result.stderr
    np.testing.assert_allclose(clipped, np.clip(whole, -1, 1), atol=2**-15)


@pytest.mark.parametrize("args", [["--bit-depth", "float"], ["--format", "ogg"]])
def test_or_is_kept_where_the_format_can(invoke, events, args: list[str]):
    result = invoke("render", events("song.npz", level_db=12), *args)
    assert result.exit_code == 0 and "full scale" not in result.stderr


def test_the_format_names_the_output(invoke, events, tmp_path: Path):
    assert invoke("render", events("song.npz"), "--format", "flac").exit_code == 0
    assert soundfile.info(tmp_path / "song.flac").format == "FLAC"


def residual(path: Path, channels: int = 1, rate: int = 22050, samples: int = 5512) -> np.ndarray:
    """Write a residual of a form, or that of `events`; `[samples, channels]`."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((samples, channels)).astype(np.float32)
    soundfile.write(path, noise, rate, subtype="FLOAT")
    return noise


@pytest.mark.parametrize("channels", [1, 2])
def test_a_residual_is_added(invoke, events, tmp_path: Path, channels: int):
    rest = residual(tmp_path / "rest.wav", channels)
    events("song.npz", channels=channels)
    for args in (["-o", "full.wav"], ["-o", "sum.wav", "--residual", "rest.wav"]):
        result = invoke("render", "song.npz", "--bit-depth", "float", *args)
        assert result.exit_code == 0, result.stderr
    assert f"{channels} channel" in result.stderr
    full, both = (soundfile.read(tmp_path / name, always_2d=True)[0] for name in ("full.wav", "sum.wav"))
    np.testing.assert_allclose(both, full + rest, atol=1e-7)  # float32 rounding


def test_residuals_of_several_inputs_lie_in_a_folder(invoke, events, tmp_path: Path):
    (tmp_path / "rest").mkdir()
    for name in "ab":
        residual(tmp_path / "rest" / f"{name}.residual.wav")
    result = invoke("render", events("a.npz"), events("b.npz"), "--residual", "rest")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("form", "args", "found"),
    [
        ({"channels": 2}, [], "22050 Hz, 2 ch, 5512 samples"),
        ({"rate": 44100}, [], "44100 Hz, 1 ch, 5512 samples"),
        ({"samples": 5511}, [], "22050 Hz, 1 ch, 5511 samples"),
        ({}, ["--sample-rate", "44100"], "22050 Hz, 1 ch, 5512 samples"),
        ({}, ["--time-stretch", "2"], "22050 Hz, 1 ch, 5512 samples"),
    ],
)
def test_a_residual_of_another_form(invoke, events, names, tmp_path: Path, form, args: list[str], found: str):
    residual(tmp_path / "rest.wav", **form)
    result = invoke("render", events("song.npz"), "--residual", "rest.wav", *args)
    assert result.exit_code == 1 and names() == ["rest.wav", "song.npz"]
    assert result.stderr.startswith(f"sparse: rest.wav: has {found}, and the rendering ")
    assert result.stderr.endswith("; take the residual of these events, at the source's rate and tempo\n")


def test_several_inputs_into_a_folder(invoke, events, names):
    result = invoke("render", events("a.npz"), "missing.npz", events("b.json"), "-o", "out/new")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1] == "sparse: missing.npz: no such file"
    assert names() == ["a.npz", "b.json", "out", "out/new", "out/new/a.wav", "out/new/b.wav"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["a.npz", "a.json"], "a.wav: would be written twice, for a.npz and a.json; run them apart"),
        (["a.npz", "-o", "a.npz"], "a.npz: is an input, and would be written over; name another place with -o"),
        (["a.npz", "-o", "a.xyz"], "a.xyz: has no extension known here; end it with one of .wav .wave .flac .ogg .oga"),
        (["-", "--residual", "-"], "-: standard input can be read only once; name it once"),
        (
            ["a.npz", "--residual", "a.wav", "-o", "a.wav"],
            "a.wav: is an input, and would be written over; name another",
        ),
        (["a.npz", "--bit-depth", "8"], "--bit-depth 8: is not a choice; choose one of 16, 24, float"),
        (["a.npz", "--format", "mp3"], "--format mp3: is not a choice; choose one of wav, flac, ogg"),
        (["a.npz", "--device", "tpu"], "device: 'tpu' is not a choice; choose one of auto, cpu, cuda, mps"),
        (["a.npz", "--time-stretch", "0"], "--time-stretch 0 is out of range; give 0.01 to 100"),
        (["a.npz", "--set", "gian_db=1"], "gian_db: unknown setting; the nearest known one is gain_db"),
        (["a.npz", "--set", "gain_db"], "--set gain_db: no value; write --set key=value"),
        (["a.npz", "--config", "none"], "none: no such configuration; named ones are "),
        (["a.npz", "-o", "-", "--json"], "--json: standard output already takes the result; give -o FILE"),
        (["a.npz", "a.json", "-o", "-"], "-: cannot take the results of 2 inputs; name a folder"),
        (["a.npz", "-o", "a.json/"], "a.json/: cannot be created (File exists); name another folder"),
    ],
)
def test_usage_errors_before_anything_starts(invoke, events, names, args: list[str], line: str):
    events("a.npz")
    events("a.json")
    result = invoke("render", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sparse: {line}") and result.stderr.count("\n") == 1
    assert names() == ["a.json", "a.npz"]


def test_a_folder_that_is_not_there(invoke, events):
    result = invoke("render", events("a.npz"), "-o", "nowhere/a.wav")
    assert (result.exit_code, result.stderr) == (
        1,
        "sparse: nowhere/a.wav: its folder does not exist; create the folder first\n",
    )


def test_quiet(invoke, events):
    result = invoke("render", events("a.npz"), "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def rendered(invoke, tmp_path: Path, name: str, *args: str) -> np.ndarray:
    done = invoke("render", "song.npz", "-o", name, "--bit-depth", "float", *args)
    assert done.exit_code == 0, done.stderr
    return soundfile.read(tmp_path / name)[0]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("expression", ["freq < 1 kHz", "top 3 by freq or air", "none", "air"])
def test_a_part_and_the_rest_are_the_whole(invoke, tmp_path: Path, expression: str, channels: int):
    """Bursts, which belong to events, and the air included."""
    drawn = draw_events(5, 8, 0.5, 22050, noise=True)
    params = np.c_[drawn.params, np.linspace(-1, 1, 8, dtype=np.float32)][:, : len(columns_of("atoms", channels)) - 1]
    header, air = replace(drawn.header, channels=channels), np.repeat(drawn.air, channels, 0)
    save_events(tmp_path / "song.npz", replace(drawn, header=header, params=params, air=air))
    whole = rendered(invoke, tmp_path, "whole.wav")
    part = rendered(invoke, tmp_path, "part.wav", "--only", expression)
    rest = rendered(invoke, tmp_path, "rest.wav", "--only", f"not ({expression})")
    # Sums of float32 in another order: worst 1e-6 of the peak.
    np.testing.assert_allclose(part + rest, whole, rtol=0, atol=4e-6 * abs(whole).max())
    assert abs(whole).max() > 0 and (expression != "none" or not part.any())


def test_the_air_sounds_where_it_is_named(invoke, events, tmp_path: Path):
    events("song.npz", count=3)
    assert not rendered(invoke, tmp_path, "none.wav", "--only", "none").any()
    assert 0 < abs(rendered(invoke, tmp_path, "air.wav", "--only", "air")).max() < 0.01  # 80 dB down in each band
    result = invoke("render", "song.npz", "-o", "low.wav", "--only", "freq <= 600", "--json")
    record = json.loads(result.stdout)
    assert (record["events"], record["events_in_file"]) == (2, 3)
    assert "low.wav: 2 of 3 events, " in result.stderr


def test_a_selection_that_makes_no_sense(invoke, names):
    """Is said before any file is looked for, and nothing is written."""
    result = invoke("render", "missing.npz", "-o", "folder/", "--only", "pitch > H4")
    assert (result.exit_code, result.stdout) == (2, "")
    found = "column 9: found 'H4'; possible: a number, the name of a note"
    assert result.stderr == f"sparse: --only: {found}\n"
    assert names() == []


@pytest.fixture
def church(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A folder `ir` of rooms, which `.env` names, with a response of two channels and another rate: `[samples, 2]`."""
    monkeypatch.delenv("IMPULSE_RESPONSE_PATH", raising=False)
    (tmp_path / "ir").mkdir()
    (tmp_path / ".env").write_text("IMPULSE_RESPONSE_PATH=ir\n")
    decay = np.exp(-np.arange(4410) / 600)[:, None]
    response = 0.9 * decay * np.random.default_rng(0).uniform(-1, 1, (4410, 2))
    soundfile.write(tmp_path / "ir" / "church.wav", response, 44100, subtype="FLOAT")
    return response


def test_a_room_by_name(invoke, events, church, tmp_path: Path):
    events("song.npz")
    result = invoke("render", "song.npz", "--room", "church", "--wet", "1", "--json", "--bit-depth", "float")
    record = json.loads(result.stdout)
    assert (record["channels"], record["room"]) == (2, "church.wav")
    assert record["duration_s"] == pytest.approx(0.25 + 0.1, abs=1e-3)  # the tail is whole
    wet, rate = soundfile.read(tmp_path / "song.wav")
    assert rate == 22050 and abs(wet[5600:]).max() > 0
    by_file = invoke("render", "song.npz", "--room", "ir/church.wav", "--wet", "1", "-o", "b.wav", "--bit-depth=float")
    assert by_file.exit_code == 0
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "song.wav").read_bytes()


def test_the_level_of_the_wet_signal_is_that_of_the_convolution(invoke, events, church, tmp_path: Path):
    """With numpy's own, on the response at its own rate; as it is, not brought to any energy."""
    events("song.npz", sample_rate=44100)
    dry = rendered(invoke, tmp_path, "dry.wav")
    wet = rendered(invoke, tmp_path, "wet.wav", "--room", "church", "--wet", "1", "--set", "normalize_room=false")
    for channel in range(2):
        expected = np.convolve(dry, church[:, channel])
        np.testing.assert_allclose(wet[:, channel], expected, rtol=0, atol=1e-6 * abs(expected).max())


def test_events_out_of_the_room(invoke, events, church, tmp_path: Path):
    events("song.npz", count=3)
    assert invoke("edit", "song.npz", "--where", "freq > 500 or air", "--wet", "0", "-o", "part.npz").exit_code == 0
    assert invoke("info", "part.npz", "--where", "wet = 1", "--json").stdout.count('"events": 1,') == 1
    assert "wet             0 to 1\n" in invoke("info", "part.npz").stdout
    (tmp_path / "song.npz").rename(tmp_path / "all.npz")
    (tmp_path / "part.npz").rename(tmp_path / "song.npz")
    quiet = ["--only", "all"]
    wet = rendered(invoke, tmp_path, "wet.wav", "--room", "church", "--wet", "1", *quiet)
    alone = rendered(invoke, tmp_path, "alone.wav", "--room", "church", "--wet", "1", "--only", "freq < 500")
    dry = rendered(invoke, tmp_path, "dry.wav", "--only", "freq > 500")
    difference = wet - alone
    difference[: len(dry)] -= dry[:, None]
    assert np.sqrt(np.square(difference).mean()) < 0.01 * np.sqrt(np.square(wet).mean())  # the air, 80 dB a band


def test_a_room_of_a_configuration_is_left_with_dry(invoke, events, church, tmp_path: Path):
    (tmp_path / "hall.toml").write_text('[render]\nroom = "church"\nwet = 0.5\n')
    in_it = json.loads(invoke("render", events("song.npz"), "--config", "hall.toml", "--json").stdout)
    dry = json.loads(invoke("render", "song.npz", "--config", "hall.toml", "--json", "--dry", "-o", "d.wav").stdout)
    assert (in_it["room"], in_it["channels"]) == ("church.wav", 2) and (dry["room"], dry["channels"]) == (None, 1)


def test_a_room_that_is_not_there(invoke, events, church, names):
    result = invoke("render", events("song.npz"), "--room", "chruch")
    cause = "neither a file nor a room in ir; the nearest name is church; sparse info --rooms lists them"
    assert (result.exit_code, result.stderr) == (1, f"sparse: chruch: {cause}\n")
    assert "song.wav" not in names()


@pytest.mark.parametrize("args", [[], ["--by", "event"], ["--part", "low=freq < 500", "--part", "x=freq > 800 or air"]])
def test_stems_add_up(invoke, events, tmp_path: Path, args: list[str]):
    whole = rendered_song(invoke, events, tmp_path, "--stems", "parts", *args)
    stems = sorted((tmp_path / "parts").iterdir())
    assert len(stems) > 1 and all(stem.name.startswith("song.") and stem.suffix == ".wav" for stem in stems)
    added = sum(soundfile.read(stem)[0] for stem in stems)
    np.testing.assert_allclose(added, whole, rtol=0, atol=1e-6 * abs(whole).max())  # float32 sums


def rendered_song(invoke, events, tmp_path: Path, *args: str) -> np.ndarray:
    events("song.npz", count=4)
    return rendered(invoke, tmp_path, "whole.wav", *args)


def test_stems_and_the_residual_add_up_to_the_recording(invoke, events, tmp_path: Path):
    rest = residual(tmp_path / "rest.wav")
    whole = rendered_song(invoke, events, tmp_path, "--stems", "parts", "--residual", "rest.wav")
    assert (tmp_path / "parts" / "song.residual.wav").exists()
    added = sum(soundfile.read(stem)[0] for stem in (tmp_path / "parts").iterdir())
    np.testing.assert_allclose(added, whole, rtol=0, atol=1e-6)
    assert abs(whole - rest[:, 0]).max() > 0.01


def test_a_residual_from_a_pipe_is_read_once(program, events, tmp_path: Path):
    residual(tmp_path / "rest.wav")
    rest = (tmp_path / "rest.wav").read_bytes()
    done = program("render", events("song.npz"), "--residual", "-", "--stems", "parts", "-q", input=rest)
    assert done.code == 0, done.err
    assert soundfile.info(tmp_path / "parts" / "song.residual.wav").frames == 5512


def test_what_stems_must_not_be_written_over(invoke, events, church, tmp_path: Path):
    """Neither the whole nor what is read, not even with `--overwrite`."""
    events("song.npz")
    (tmp_path / "parts").mkdir()
    residual(tmp_path / "parts" / "song.residual.wav")
    (tmp_path / "ir" / "church.wav").rename(tmp_path / "parts" / "song.high.wav")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    for args in (
        ["-o", "parts/song.low.wav", "--part", "low=freq < 500"],
        ["--residual", "parts/song.residual.wav"],
        ["--room", "parts/song.high.wav", "--part", "high=freq > 200"],
    ):
        result = invoke("render", "song.npz", "--stems", "parts", "--overwrite", *args)
        assert result.exit_code == 1 and "would be written over, by a stem; name another folder" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_a_room_is_not_written_over(invoke, events, church):
    result = invoke("render", events("song.npz"), "--room", "ir/church.wav", "-o", "ir/church.wav", "--overwrite")
    assert result.exit_code == 2 and "ir/church.wav: is an input, and would be written over" in result.stderr


def test_stems_share_one_gain_and_say_that_they_are_rounded(invoke, events, names, tmp_path: Path):
    events("loud.npz", count=3, level_db=9.0)
    result = invoke("render", "loud.npz", "--stems", "parts", "--by", "event", "--json")
    assert "over full scale: " in result.stderr
    assert "parts/: 4 stems, each rounded on its own; --bit-depth float keeps their sum exact" in result.stderr
    found = json.loads(result.stdout)["stems"]
    assert found == [f"parts/loud.{name}.wav" for name in ("event0", "event1", "event2", "air")]
    whole = soundfile.read(tmp_path / "loud.wav")[0]
    added = sum(soundfile.read(tmp_path / stem)[0] for stem in found)
    np.testing.assert_allclose(added, whole, rtol=0, atol=5 * 2**-16)  # half a step each, and that of the whole
    before = names()
    again = invoke("render", "loud.npz", "--stems", "parts", "--by", "event", "-o", "again.wav")
    assert again.exit_code == 1 and "parts/loud.event0.wav: exists already" in again.stderr and names() == before


def test_stems_take_the_format_of_the_whole(invoke, events, names):
    events("song.npz")
    assert invoke("render", "song.npz", "--format", "flac", "--stems", "a").exit_code == 0
    assert invoke("render", "song.npz", "-o", "b.ogg", "--stems", "b").exit_code == 0
    assert {name for name in names() if "/" in name and ".air" in name} == {"a/song.air.flac", "b/song.air.ogg"}


def test_a_loop(invoke, events, tmp_path: Path):
    events("song.npz")
    loop = rendered(invoke, tmp_path, "loop.wav", "--loop", "0", "--rounds", "2")
    assert len(loop) == 2 * 5512
    np.testing.assert_array_equal(loop[:5512], loop[5512:])
    assert len(rendered(invoke, tmp_path, "half.wav", "--loop", "0.125")) == 2756


def test_chance_has_a_seed(invoke, events, tmp_path: Path):
    events("song.npz", count=5)
    plain = rendered(invoke, tmp_path, "plain.wav")
    for number, args in enumerate((["--random-times"], ["--random-events"], ["--perturb", "0.5"])):
        one, again, other = (
            rendered(invoke, tmp_path, f"{number}{seed}{turn}.wav", *args, "--seed", str(seed))
            for turn, seed in enumerate((1, 1, 2))
        )
        assert np.array_equal(one, again) and not np.array_equal(one, other) and not np.array_equal(one, plain)
    edited = invoke("edit", "song.npz", "--random-times", "--seed", "1", "-o", "song2.npz")
    assert edited.exit_code == 0
    assert invoke("render", "song2.npz", "-o", "e.wav", "--bit-depth", "float").exit_code == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "e.wav")[0], soundfile.read(tmp_path / "010.wav")[0])


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--wet", "0.5"], "--wet: there is no room; name one with --room"),
        (["--room", "x", "--wet", "2"], "--wet 2 is out of range; give 0 to 1"),
        (["--room", "x", "--dry"], "--dry: is beside the point of --room; give one of them"),
        (["--rounds", "2"], "--rounds: there is no loop; give --loop 0, or its length"),
        (["--loop", "0", "--residual", "r.wav"], "--residual: does not go round; render without --loop"),
        (["--room", "x", "--residual", "r.wav"], "--residual: is of a dry rendering; render without --room"),
        (["--by", "event"], "--by: there are no stems; name their folder with --stems"),
        (["--part", "a=all"], "--part: there are no stems; name their folder with --stems"),
        (["--stems", "d", "--by", "bar"], "--by bar: is not a choice; choose one of note, event"),
        (["--stems", "d", "--by", "note", "--part", "a=all"], "--by: is beside the point of --part; give one of them"),
        (["--stems", "d", "--part", "a=frq < 3"], "--part: column 1: found 'frq', which is no quantity"),
        (["--stems", "d", "--part", "a=all", "--part", "a=none"], "--part: a is named twice; give each part its own"),
    ],
)
def test_rooms_loops_and_stems_that_cannot_be_meant(invoke, events, names, args: list[str], line: str):
    result = invoke("render", events("a.npz"), *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sparse: {line}") and result.stderr.count("\n") == 1
    assert names() == ["a.npz"]

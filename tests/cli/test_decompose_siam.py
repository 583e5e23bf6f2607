"""`sparse decompose` by a trained model, and what other commands do with what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparsecli.dsp.quality import snr_db
from sparsecli.io.audio import read_audio
from sparsecli.io.digests import sha256_of
from sparsecli.io.events_file import load_events, save_events
from sparsecli.models import finding

from ..oracle.draw import draw_vectors
from ..oracle.tiny import RATE, struck, write_tiny
from ..servers import S3

FEW = ["--atoms", "27"]  # 9 in half a second


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recording in a folder to work in, and a package whose model is `package/siam.safetensors` there."""
    (tmp_path / "package").mkdir()
    place = tmp_path / "package" / "siam.safetensors"
    write_tiny(place)
    monkeypatch.setattr(finding, "packaged_siam", lambda: place)
    monkeypatch.setenv("SPARSE_CACHE", "cache")
    soundfile.write(tmp_path / "song.wav", struck(), RATE, subtype="FLOAT")
    return "song.wav"


def sound(path: str) -> np.ndarray:
    return read_audio(path).samples


def done(invoke, *args: str) -> str:
    """What a command that succeeds says."""
    result = invoke(*args)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def refused(invoke, *args: str, code: int = 1) -> str:
    """The one line of a command that fails."""
    result = invoke(*args)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.stderr
    return result.stderr


def test_out_of_the_box(invoke, song: str, tmp_path: Path):
    """Events, heard, told of, and taken apart for good, by the model of the package."""
    said = done(invoke, "decompose", song, *FEW, "--residual", "rest.wav")
    assert re.fullmatch(
        r"sparse: song\.wav: song\.npz: 9 events, 186 numbers, SNR [\d.]+ dB, log-mel [\d.]+ dB, [\d.]+ s \(.*\)\n",
        said,
    )
    events, sha256 = load_events("song.npz"), sha256_of(tmp_path / "package" / "siam.safetensors")
    assert (events.header.kind, events.header.model_name, events.header.model_sha256) == ("siam", "siam", sha256)
    assert events.header.source_name == "song.wav" and events.header.quality["snr_db"] > 10

    done(invoke, "render", "song.npz", "-o", "again.wav", "--bit-depth", "float")
    assert snr_db(sound(song), sound("again.wav")) == pytest.approx(events.header.quality["snr_full_db"], abs=0.01)
    done(invoke, "render", "song.npz", "-o", "whole.wav", "--residual", "rest.wav", "--bit-depth", "float")
    np.testing.assert_allclose(sound("whole.wav"), sound(song), atol=1e-6)

    shown = invoke("info", "song.npz").stdout
    assert re.search(rf"^model +siam, sha256 {sha256}$", shown, re.MULTILINE)
    assert re.search(r"^events +9 with vectors of 16 numbers$", shown, re.MULTILINE)
    assert re.search(r"^vectors +-[\d.]+ to [\d.]+$", shown, re.MULTILINE) and "freq_hz" not in shown
    record = json.loads(invoke("info", "song.npz", "--json").stdout)
    assert (record["model_name"], record["model_sha256"], record["numbers"]) == ("siam", sha256, 186)

    done(invoke, "edit", "song.npz", "--as", "atoms", "-o", "atoms.npz")
    (tmp_path / "package" / "siam.safetensors").unlink()
    done(invoke, "render", "atoms.npz", "-o", "atoms.wav", "--bit-depth", "float")
    assert snr_db(sound("again.wav"), sound("atoms.wav")) > 60
    assert load_events("atoms.npz").header.operations == [{"do": "as", "value": "atoms"}]


def test_atoms_at_once_and_rounds_of_the_fit(invoke, song: str):
    result = invoke("decompose", song, *FEW, "--as", "atoms", "--notes", "--json")
    record = json.loads(result.stdout)
    assert (record["kind"], record["model"]) == ("atoms", "siam") and record["notes"] is not None
    assert 9 <= record["events"] <= 18 and f"{record['events']} atoms" in result.stderr  # one more for noise
    done(invoke, "decompose", song, *FEW, "--refine", "2", "-o", "better.npz")
    better = load_events("better.npz").header
    assert better.kind == "atoms" and better.quality["snr_db"] > record["quality"]["snr_db"] + 1


def test_the_model_of_events_is_looked_for_and_named_where_it_is_missing(invoke, song: str, events, names, tmp_path):
    write_tiny(tmp_path / "mine.safetensors", 5)
    done(invoke, "decompose", song, *FEW, "--model", "mine.safetensors")
    sha256 = sha256_of(tmp_path / "mine.safetensors")
    assert load_events("song.npz").header.model_name == "mine"
    told = f"sparse: song.npz: needs the model mine, which is not at hand (sha256 {sha256}); fetch it with: "
    told += "sparse fetch-models mine, or name its file with --model\n"
    assert refused(invoke, "edit", "song.npz", "--as", "atoms") == told
    result = invoke("render", "song.npz", events("other.npz"), "-o", "out")
    assert (result.exit_code, result.stderr.splitlines(keepends=True)[0]) == (1, told)
    assert [name for name in names() if name.startswith("out/")] == ["out/other.wav"]  # the others are done
    done(invoke, "render", "song.npz", "-o", "a.wav", "--model", "mine.safetensors")
    line = refused(invoke, "render", "song.npz", "-o", "b.wav", "--model", "package/siam.safetensors")
    assert "package/siam.safetensors: is not the model of these events, mine" in line
    assert "b.wav" not in names()


def test_what_the_published_page_shows(invoke, song: str):
    done(invoke, "decompose", song, *FEW)
    made = {}
    for name, args in {
        "plain": [], "events": ["--random-events"], "times": ["--random-times"], "shifted": ["--perturb", "0.5"],
        "other": ["--random-events", "--seed", "1"],
    }.items():  # fmt: skip
        done(invoke, "render", "song.npz", "-o", f"{name}.wav", *args, "--no-noise", "--bit-depth", "float")
        made[name] = sound(f"{name}.wav")
    for name in ("events", "times", "shifted", "other"):
        assert made[name].shape == made["plain"].shape and np.isfinite(made[name]).all()
        assert snr_db(made["plain"], made[name]) < 10
    assert snr_db(made["events"], made["other"]) < 10
    done(invoke, "edit", "song.npz", "-o", "edited.npz", "--random-events")
    done(invoke, "render", "edited.npz", "-o", "edited.wav", "--no-noise", "--bit-depth", "float")
    np.testing.assert_allclose(sound("edited.wav"), made["events"], atol=1e-6)


def test_edits_and_their_end(invoke, song: str, tmp_path: Path):
    save_events(tmp_path / "a.npz", draw_vectors(1, 6, duration_s=0.5))
    line = refused(invoke, "edit", "a.npz", "--pitch-shift", "2")
    assert line.endswith("these are of kind siam; make atoms of them before it with --as atoms\n")
    line = refused(invoke, "edit", "a.npz", "--where", "freq > 100", "--mute")
    assert line == (
        "sparse: a.npz: freq of events of kind siam is known to their model alone; "
        "make atoms of them with: sparse edit --as atoms\n"
    )
    assert "--as notes is not a choice; choose atoms" in refused(invoke, "edit", "a.npz", "--as", "notes", code=2)
    assert "make atoms of it with --as atoms" in refused(invoke, "edit", "a.npz", "-o", "a.mid")
    assert "holds events of kind siam" in refused(invoke, "view", "a.npz", "--html", "a.html")
    done(invoke, "decompose", song, *FEW)
    done(invoke, "edit", "song.npz", "-o", "b.npz", "--gain", "-6", "--as", "atoms", "--pitch-shift", "12")
    done(invoke, "edit", "b.npz", "-o", "c.npz", "--undo")
    done(invoke, "edit", "song.npz", "-o", "d.npz", "--gain", "-6", "--as", "atoms")
    undone, expected = load_events("c.npz"), load_events("d.npz")
    np.testing.assert_array_equal(undone.params, expected.params)
    assert undone.header.operations == expected.header.operations


def test_what_is_no_model_and_limits_that_leave_nothing(invoke, song: str, names, tmp_path: Path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04pickled")
    before = names()
    assert "bad.safetensors: is not a safetensors file" in refused(
        invoke, "decompose", song, "--model", "bad.safetensors"
    )
    assert "no such model was fetched" in refused(invoke, "decompose", song, "--model", "large")
    assert "pays for no event beside the air" in refused(invoke, "decompose", song, "--budget", "20")
    (tmp_path / "package" / "siam.safetensors").unlink()
    assert "comes without a model; name one with --model" in refused(invoke, "decompose", song)
    assert set(names()) == set(before) - {"package/siam.safetensors"}


def test_silence_and_more_channels(invoke, song: str, tmp_path: Path):
    soundfile.write(tmp_path / "silent.wav", np.zeros((2000, 5)), 16000)
    lines = done(invoke, "decompose", "silent.wav").splitlines()
    assert lines[0] == "sparse: silent.wav: its 5 channels are folded to mono"
    assert lines[1] == "sparse: silent.wav: the model hears it at 22050 Hz instead of 16000"
    assert "0 events, 0 numbers, no SNR (silence)" in lines[2]
    done(invoke, "render", "silent.npz", "-o", "again.wav")
    assert not sound("again.wav").any()
    assert invoke("info", "silent.npz").exit_code == 0


def test_publish_fetch_and_decompose(invoke, song: str, s3: S3, signing: None, monkeypatch, tmp_path: Path):
    """The model of the package goes into a bucket, comes into another cache, and decomposes and plays there."""
    bucket = s3.new_bucket()
    for variable, value in {"S3_BUCKET": bucket, "AWS_ENDPOINT_URL": s3.url, "SPARSE_CACHE": "elsewhere"}.items():
        monkeypatch.setenv(variable, value)
    done(invoke, "fetch-models", "--publish", "package")
    done(invoke, "decompose", song, *FEW, "-o", "here.npz")
    (tmp_path / "package" / "siam.safetensors").unlink()
    assert "needs the model siam" in refused(invoke, "render", "here.npz", "-o", "lost.wav")
    done(invoke, "fetch-models", "siam")
    assert (tmp_path / "elsewhere" / "models" / "siam.safetensors").is_file()
    done(invoke, "decompose", song, *FEW, "--model", "siam", "-o", "there.npz")
    here, there = load_events("here.npz"), load_events("there.npz")
    np.testing.assert_array_equal(here.params, there.params)
    assert here.header.model_sha256 == there.header.model_sha256
    done(invoke, "render", "here.npz", "-o", "found.wav")
    assert sound("found.wav").any()

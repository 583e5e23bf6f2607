from __future__ import annotations

import numpy as np
import pytest

import sparsecli
from sparsecli import api
from sparsecli.engine import fitting, rendering

RATE = 8000
TONE = (0.4 * np.sin(0.5 * np.arange(4000)) * np.exp(-np.arange(4000) / 1500)).astype(np.float32)  # [samples]


@pytest.fixture(scope="module")
def result() -> fitting.FitResult:
    return sparsecli.fit(TONE, RATE, atoms=3)


def test_every_name_is_there_and_stated_alike():
    assert set(api.__all__) == set(sparsecli.__all__) - {"__version__"}
    assert set(sparsecli.__all__) <= set(dir(sparsecli))
    assert all(getattr(sparsecli, name) is getattr(api, name) for name in api.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        _ = sparsecli.fits


def test_fit_is_the_engine_on_the_same_samples(result: fitting.FitResult):
    by_hand = fitting.fit(sparsecli.Audio(TONE[None], RATE), sparsecli.FitSettings(atoms=3))
    np.testing.assert_array_equal(result.events.params, by_hand.events.params)
    assert result.complete and len(result.events) > 0
    assert result.events.header.quality["snr_db"] > 20  # one damped tone: a mode finds it


def test_settings_and_changes_of_them(result: fitting.FitResult):
    twice = sparsecli.RenderSettings(time_stretch=2.0)
    both = sparsecli.render(result.events, twice, sample_rate=16000)
    assert both.samples.shape == (1, 4 * len(TONE))
    expected = rendering.render(result.events, sparsecli.RenderSettings(time_stretch=2.0, sample_rate=16000))
    np.testing.assert_array_equal(both.samples, expected.samples)


def test_unknown_and_silly_settings():
    with pytest.raises(TypeError, match="atom"):
        sparsecli.fit(TONE, RATE, atom=3)
    with pytest.raises(ValueError, match="--atoms 0 is out of range"):
        sparsecli.fit(TONE, RATE, atoms=0)


def test_progress_can_end_a_fit():
    seen: list[fitting.Progress] = []

    def stop(progress: fitting.Progress) -> bool:
        seen.append(progress)
        return False

    assert not sparsecli.fit(TONE, RATE, atoms=3, on_progress=stop).complete
    assert len(seen) == 1


def test_compare_takes_arrays_and_recordings(result: fitting.FitResult):
    rendered = sparsecli.render(result.events, noise=False)
    comparison = sparsecli.compare(TONE, rendered, RATE)
    # The file holds float32 numbers, which costs less than 0.01 dB here.
    assert comparison.quality.snr_db == pytest.approx(result.events.header.quality["snr_db"], abs=0.01)
    stereo = sparsecli.compare(np.stack([TONE, TONE]), TONE, RATE)
    assert stereo.quality.snr_db == 200 and stereo.channels == 1 and len(stereo.notices) == 1


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_save_and_load(result: fitting.FitResult, tmp_path, name: str):
    path = tmp_path / name
    sparsecli.save(path, result.events)
    back = sparsecli.load(path)
    np.testing.assert_array_equal(back.params, result.events.params)
    assert back.header == result.events.header
    with pytest.raises(sparsecli.SparseError, match="use --overwrite"):
        sparsecli.save(path, back)
    sparsecli.save(path, back, overwrite=True)


def test_recordings_are_written_and_read(tmp_path):
    sparsecli.write_audio(tmp_path / "a.wav", sparsecli.Audio(TONE[None], RATE), bit_depth="float")
    np.testing.assert_array_equal(sparsecli.read_audio(tmp_path / "a.wav").samples[0], TONE)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (TONE, None, "give the sample rate"),
        (TONE, 10, "give the sample rate"),
        (TONE[None, None], RATE, "not \\(1, 1, 4000\\)"),
        (np.zeros(0), RATE, "not \\(0,\\)"),
        (np.zeros((4000, 2)), RATE, "not \\(4000, 2\\)"),
        (np.array([0.0, np.nan]), RATE, "not finite"),
        (np.array([0, 32767], np.int16), RATE, "floats with full scale at 1, not int16"),
        (sparsecli.Audio(TONE[None], RATE), 2 * RATE, "has 8000 Hz, not 16000"),
    ],
)
def test_what_is_no_recording(samples: object, rate: int | None, message: str):
    with pytest.raises(ValueError, match=message):
        sparsecli.compare(samples, samples, rate)


def test_an_edit_is_that_of_the_command(result: fitting.FitResult, tmp_path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    from sparsecli.cli.app import app

    monkeypatch.chdir(tmp_path)
    sparsecli.save("a.npz", result.events)
    command = ["--gain", "-3", "--where", "freq > 100", "--pitch-shift", "12", "--duplicate", "0.1", "--times", "2"]
    assert CliRunner().invoke(app, ["edit", "a.npz", "-o", "b.npz", *command]).exit_code == 0
    by_command = sparsecli.load("b.npz")
    here = sparsecli.edit(result.events, gain=-3, where="freq > 100", pitch_shift=12, times=2, duplicate=0.1)
    np.testing.assert_array_equal(here.params, by_command.params)
    assert here.header.operations == by_command.header.operations
    merged, by_file = (sparsecli.edit(result.events, merge=other) for other in (here, tmp_path / "b.npz"))
    np.testing.assert_array_equal(merged.params, by_file.params)
    assert len(merged) == len(result.events) + len(here)
    again = sparsecli.edit(here, mute=True)
    assert len(again) == 0 and len(again.header.operations) == len(here.header.operations) + 2  # where all, mute


def test_a_selection_is_a_mask(result: fitting.FitResult):
    mask = sparsecli.select(result.events, "top 1 by energy")
    assert mask.sum() == 1 and len(result.events.take(mask)) == 1
    with pytest.raises(ValueError, match="column 1: found 'frq'"):
        sparsecli.select(result.events, "frq > 3")


@pytest.mark.parametrize(
    ("operations", "error", "message"),
    [
        ({"pitchshift": 2}, TypeError, "pitchshift is no operation; the nearest is pitch_shift"),
        ({"gain": -600}, ValueError, "--gain -600 is out of range"),
        ({"gain": "loud"}, ValueError, "gain='loud' is no float"),
        ({"mute": 1}, ValueError, "mute=1 is no bool"),
        ({"gain": 1, "times": 2}, TypeError, "times qualifies nothing that is asked for"),
        ({"where": "frq > 3", "mute": True}, ValueError, "found 'frq'"),
        ({"merge": "lost.npz"}, sparsecli.SparseError, "lost.npz: no such file"),
    ],
)
def test_an_edit_that_makes_no_sense(result: fitting.FitResult, operations, error, message: str):
    with pytest.raises(error, match=message):
        sparsecli.edit(result.events, **operations)


def test_what_is_false_is_not_done(result: fitting.FitResult):
    assert sparsecli.edit(result.events, mute=False) is result.events


def test_a_room_is_a_recording(result: fitting.FitResult):
    room = sparsecli.Audio(np.float32([[0, 0, 1], [0, 1, 0]]), RATE)
    wet = sparsecli.render(result.events, room=room, wet=1.0).samples
    dry = sparsecli.render(result.events).samples[0]
    np.testing.assert_allclose(wet[:, :-2], np.stack([np.r_[0, 0, dry][:-2], np.r_[0, dry][:-1]]), atol=1e-6)


def test_events_of_a_model_are_made_played_and_decoded(tmp_path):
    from .oracle.tiny import struck, write_tiny

    model, sound = str(tmp_path / "tiny.safetensors"), struck(0.3)
    write_tiny(model)
    found = sparsecli.decompose(sound, 22050, atoms=20, model=model)
    assert (found.events.header.kind, found.events.header.model_name) == ("siam", "tiny")
    heard = sparsecli.render(found.events, model=model).samples
    atoms = sparsecli.edit(found.events, model=model, as_="atoms", gain=20 * np.log10(2))
    np.testing.assert_allclose(sparsecli.render(atoms).samples, 2 * heard, atol=1e-4)
    with pytest.raises(sparsecli.SparseError, match="needs the model tiny, which is not at hand"):
        sparsecli.render(found.events)

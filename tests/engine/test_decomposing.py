from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.columns import BELL, CLICK, DAMPED, SILENT_DB
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.core.quantities import Measured
from sparsecli.core.selection import select
from sparsecli.engine import combining, editing, timing
from sparsecli.engine.decomposing import decompose, notices
from sparsecli.engine.notes import group_notes, note_table
from sparsecli.engine.operations import do
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import DecomposeSettings, RenderSettings
from sparsecli.engine.stems import part_of, split_by
from sparsecli.engine.steps import OPERATIONS, Step
from sparsecli.io.events_file import load_events, save_events

from .test_correlations import RATE, tones


def decomposed(sound: np.ndarray, **changes: object) -> Events:
    return decompose(Audio(sound.astype(np.float32), RATE), DecomposeSettings(method="pursuit", **changes)).events  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mixture() -> Events:
    """Events of all shapes in two channels."""
    left = tones(RATE)[0]
    left[[3000, 9001]] += 3
    sound = np.stack([left, 0.5 * np.roll(left, 9)])
    return decomposed(sound, dictionary="gabor:256,2048+chirp:1024+damped:1024+cosine:512+dirac", atoms=150)


def bell(length: int, freq_hz: float, phase: float, at: int, samples: int) -> np.ndarray:
    out, u = np.zeros(samples), np.arange(length) - length // 2
    out[at : at + length] = np.sin(np.pi * np.arange(length) / length) ** 2 * np.cos(
        2 * np.pi * freq_hz / RATE * u + phase
    )
    return out


def test_known_atoms_are_found_again():
    """Three bells apart in time and frequency, one of them in both channels with other levels and phases."""
    hz = RATE / 1024
    left = 0.5 * bell(1024, 40 * hz, 0.3, 1024, 8192) + 0.1 * bell(256, 80 * hz, -2.0, 4096, 8192)
    right = 0.25 * bell(1024, 40 * hz, 1.3, 1024, 8192)
    events = decomposed(np.stack([left, right]), dictionary="gabor:256,1024", snr_db=80.0)
    assert len(events) == 2
    expected = {
        "onset_s": [1024 / RATE, 4096 / RATE],
        "duration_s": [1024 / RATE, 256 / RATE],
        "freq_hz": [40 * hz, 80 * hz],
        "level_db": [20 * np.log10(0.5), -20],
        "phase_rad": [0.3, -2.0],
        "chirp_hz_s": [0, 0],
        "shape": [BELL, BELL],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(events.column(name), values, atol=1e-4, err_msg=name)
    assert events.column("level_right_db")[0] == pytest.approx(20 * np.log10(0.25), abs=1e-3)
    assert events.column("phase_right_rad")[0] == pytest.approx(1.3, abs=1e-4)
    assert events.column("level_right_db")[1] < -80
    assert events.numbers == 7 + 5  # onset, duration, frequency, and level and phase for each side that sounds


def test_the_file_renders_as_the_atoms_were_taken(mixture: Events):
    """The figure in the header is of the table's own rendering; rounding to float32 costs nothing at this SNR."""
    assert set(mixture.column("shape")) >= {BELL, DAMPED, CLICK}
    assert mixture.header.quality["snr_db"] > 8
    again = decomposed(render(mixture).samples, dictionary="gabor:256", atoms=1)
    assert len(again) == 1


@pytest.mark.parametrize("extension", ["npz", "json"])
def test_files_are_lossless(mixture: Events, tmp_path: Path, extension: str):
    path = tmp_path / f"a.{extension}"
    save_events(path, mixture)
    again = load_events(path)
    assert again.header == mixture.header
    for name in ("onset_s", "params", "note", "id", "noise_seed", "air"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mixture, name))
    save_events(tmp_path / "a.csv", again)
    names = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert names[: len(again.columns)] == list(again.columns)


def test_a_shape_that_is_none_is_refused(mixture: Events, tmp_path: Path):
    params = mixture.params.copy()
    params[4, mixture.columns.index("shape") - 1] = 0.5
    with pytest.raises(SparseError, match=r"its shape 0\.5 is none; give 0 \(bell\), 1 \(damped\), 2 \(cosine\)"):
        save_events(tmp_path / "a.npz", replace(mixture, params=params))


def test_rendering_is_a_sum_and_gain_is_exact(mixture: Events):
    odd = np.arange(len(mixture)) % 2 == 1
    whole, parts = render(mixture), [render(mixture.take(rows)) for rows in (odd, ~odd)]
    np.testing.assert_allclose(whole.samples, parts[0].samples + parts[1].samples, atol=1e-6)
    louder = render(mixture, RenderSettings(gain_db=20 * np.log10(2)))
    np.testing.assert_allclose(louder.samples, 2 * whole.samples, atol=2e-6)


def test_another_rate_is_the_same_sound(mixture: Events):
    from sparsecli.dsp.resample import resample

    low = mixture.take((mixture.column("freq_hz") < 4000) & (mixture.column("shape") != CLICK))
    twice = render(low, RenderSettings(sample_rate=2 * RATE)).samples
    back = np.stack([resample(channel, 2 * RATE, RATE) for channel in twice])
    own = render(low).samples
    error = 10 * np.log10(np.sum((back - own) ** 2) / np.sum(own**2))
    assert error < -45


def test_a_shift_of_time_and_pitch():
    events = decomposed(tones(RATE), dictionary="gabor:1024+chirp:1024", atoms=40)
    later = timing.shift_time(events, editing.every(events), 100 / RATE)
    moved, own = render(later).samples[0], render(events).samples[0]
    np.testing.assert_allclose(moved[100 : len(own)], own[:-100], atol=2e-4)  # float32 frequencies and lengths
    higher = editing.shift_pitch(events, editing.every(events), 12.0)
    np.testing.assert_allclose(higher.column("freq_hz"), 2 * events.column("freq_hz"), rtol=1e-6)
    np.testing.assert_allclose(higher.column("chirp_hz_s"), 2 * events.column("chirp_hz_s"), rtol=1e-6)
    slower = timing.stretch_all(events, 2.0)
    np.testing.assert_allclose(slower.column("duration_s"), 2 * events.column("duration_s"), rtol=1e-6)
    np.testing.assert_allclose(slower.column("chirp_hz_s"), events.column("chirp_hz_s") / 2, rtol=1e-6)
    assert slower.header.duration_s == 2 * events.header.duration_s
    np.testing.assert_allclose(Measured(slower).energy_s, 2 * Measured(events).energy_s, rtol=1e-5)


def test_energies_are_those_of_the_renderings(mixture: Events):
    """Of each event alone, in the mean of both channels; away from 0 Hz, where a wave's phase matters."""
    energy = Measured(mixture).energy_s
    inside = (mixture.onset_s > 0) & (mixture.onset_s + mixture.column("duration_s") < 0.99)
    clear = inside & (mixture.column("freq_hz") * mixture.column("duration_s") > 8)
    assert clear.sum() > 20
    for row in np.flatnonzero(clear)[:20]:
        sound = render(mixture.take(np.array([row]))).samples.astype(np.float64)
        assert (sound**2).mean(0).sum() / RATE == pytest.approx(energy[row], rel=0.01)


def test_selections_reach_the_columns(mixture: Events):
    shape = mixture.column("shape")
    np.testing.assert_array_equal(select(mixture, "shape = 1"), shape == DAMPED)
    np.testing.assert_array_equal(select(mixture, "duration > 50 ms"), mixture.column("duration_s") > 0.05)
    loud = np.maximum(mixture.column("level_db"), mixture.column("level_right_db"))
    np.testing.assert_array_equal(select(mixture, "level > -20 dB"), loud > -20)
    assert not select(mixture, "noise > -190 dB").any()


def test_notes_of_windows():
    """Three struck notes of three partials, by damped windows: what most windows are of, and when."""
    t, sound = np.arange(2 * RATE) / RATE, np.zeros(2 * RATE)
    for onset_s, freq_hz in ((0.1, 220.0), (0.8, 329.6), (1.3, 277.2)):
        u = np.maximum(t - onset_s, 0)
        sound += sum((u > 0) * np.exp(-6 * u) * np.sin(2 * np.pi * h * freq_hz * u) / h for h in (1, 2, 3))
    notes = note_table(group_notes(decomposed(0.3 * sound[None], dictionary="damped", atoms=80)))
    most = sorted(sorted(notes, key=lambda note: -len(note.ids))[:3], key=lambda note: note.onset_s)
    assert [note.name for note in most] == ["A3", "E4", "C#4"]
    assert [note.onset_s for note in most] == pytest.approx([0.1, 0.8, 1.3], abs=0.02)


EVERYTHING = {
    "pitch-shift": 1.0, "to-scale": "D minor", "shift": 0.1, "time-stretch": 1.5, "quantize": "1/16", "gain": -3.0,
    "fade-in": 0.1, "fade-out": 0.1, "brightness": 3.0, "air": 1.0, "duplicate": 0.2, "perturb": 0.1, "sort": "freq",
    "merge": "b.npz", "append": "b.npz", "subtract": "b.npz", "intersect": "b.npz", "decay": 2.0, "attack": 2.0,
    "noise": 1.0, "pan": 0.5, "wet": 0.5, "morph": "b.npz", "mute": None, "keep": None, "reverse": None,
    "random-times": None, "random-events": None, "as": "atoms",
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_done_or_refused_in_a_line(mixture: Events, tmp_path: Path, name: str):
    step = [Step("where", "freq > 500"), Step(name, EVERYTHING[name])]
    if "gabor" not in OPERATIONS[name].kinds:
        with pytest.raises(ValueError, match=f"--{name} is for events of kind .*, and these are of kind gabor"):
            do(mixture, step, lambda path: mixture)
        return
    after = do(mixture, step, lambda path: mixture)
    save_events(tmp_path / "after.npz", after)  # all of it is in range
    assert np.isfinite(render(after).samples).all()


def test_windows_that_begin_too_early_are_shortened():
    events = decomposed(tones(RATE), dictionary="gabor:1024", atoms=20)
    slow = timing.shift_time(timing.stretch_time(events, editing.every(events), 40.0), editing.every(events), -3.0)
    assert slow.onset_s.min() >= -2 and len(slow)
    assert (slow.onset_s + slow.column("duration_s") > 0).all() or (slow.onset_s > -2).all()


def test_one_channel_merged_with_two_is_heard_in_both(mixture: Events):
    mono = decomposed(tones(RATE), dictionary="gabor:1024", atoms=20)
    both = combining.merge(mono, mixture)
    assert both.header.channels == 2 and len(both) == len(mono) + len(mixture)
    sound = render(both.take(np.arange(len(mono)))).samples
    np.testing.assert_allclose(sound[0, :RATE], render(mono).samples[0], atol=1e-6)
    np.testing.assert_array_equal(sound[0], sound[1])


def test_windows_longer_than_the_recording_are_left_out_and_said():
    audio = Audio(tones(1000), RATE)
    settings = DecomposeSettings(method="pursuit", dictionary="gabor:256,2048+damped:4096", atoms=5)
    assert notices(audio, settings) == ["windows of 2048, 4096 samples are longer than the recording and left out"]
    events = decompose(audio, settings).events
    np.testing.assert_allclose(events.column("duration_s"), 256 / RATE, rtol=1e-6)
    with pytest.raises(SparseError, match="all its windows are longer than the recording, 1000 samples; name one"):
        decompose(audio, DecomposeSettings(method="pursuit", dictionary="gabor:2048"))


def test_windows_that_last_too_long_for_a_file():
    audio = Audio(np.ones((1, 9000), np.float32), 1000)
    with pytest.raises(SparseError, match=r"a window of 8192 samples lasts 8\.19 s at 1000 Hz; name windows of up to"):
        decompose(audio, DecomposeSettings(method="pursuit", dictionary="gabor:8192"))


def test_silence_and_one_sample():
    silent = decompose(Audio(np.zeros((2, 3000), np.float32), RATE), DecomposeSettings(method="pursuit")).events
    assert (len(silent), silent.header.quality, silent.numbers) == (0, {}, 0)
    one = decompose(
        Audio(np.full((1, 1), 0.5, np.float32), RATE), DecomposeSettings(method="pursuit", dictionary="dirac")
    ).events
    assert one.header.quality["snr_db"] > 100
    assert one.column("level_db")[0] == pytest.approx(20 * np.log10(0.5), abs=1e-4)


def test_an_end_that_is_asked_for():
    audio = Audio(tones(RATE), RATE)
    result = decompose(audio, DecomposeSettings(method="pursuit", atoms=50), on_progress=lambda progress: False)
    assert not result.complete and 0 < len(result.events) <= 50
    assert decompose(audio, DecomposeSettings(method="pursuit", atoms=50, seconds=0.0)).complete is False
    told = []
    decompose(
        audio, DecomposeSettings(method="pursuit", atoms=50), on_progress=lambda progress: told.append(progress) or True
    )
    assert told[-1].done_s == told[-1].total_s == 1.0 and told[-1].snr_db > 5


def test_numbers_of_glides_and_shapes(mixture: Events):
    extra = (mixture.column("chirp_hz_s") != 0).sum() + (mixture.column("shape") != 0).sum()
    sides = (mixture.modes("level_db") > SILENT_DB).sum()
    assert mixture.numbers == 3 * len(mixture) + 2 * sides + extra


def test_rooms_take_of_windows_what_they_should(mixture: Events):
    """In a room that only delays by two samples, all is late but what an edit has taken out of it."""
    low = Measured(mixture).freq_hz < 500
    delay = Audio(np.array([[0.0, 0.0, 1.0]], np.float32), RATE)
    edited = editing.set_wet(mixture, low, 0.0)
    assert edited.columns == (*mixture.columns, "wet") and edited.numbers == mixture.numbers
    heard = render(edited, RenderSettings(wet=1.0), delay).samples
    near, far = (render(mixture.take(rows)).samples for rows in (low, ~low))
    late = np.pad(far, ((0, 0), (2, 0)))
    assert np.abs(heard - np.pad(near, ((0, 0), (0, 2))) - late).max() < 1e-5
    both = combining.merge(decomposed(tones(RATE), atoms=5), edited)
    assert both.columns == edited.columns and both.column("wet")[:5].tolist() == [1.0] * 5


def test_windows_go_round_and_stems_of_them_add_up(mixture: Events):
    """A round holds what is cut off at its end, at its beginning."""
    began = mixture.take(mixture.onset_s >= 0)
    samples = 3000
    inside = began.take(began.onset_s < samples / RATE)
    once = render(replace(inside, header=replace(inside.header, duration_s=4 * inside.header.duration_s))).samples
    whole = np.pad(once, ((0, 0), (0, -once.shape[1] % samples)))
    looped = render(began, RenderSettings(loop_s=samples / RATE, rounds=2)).samples
    assert np.abs(looped[:, :samples] - whole.reshape(2, -1, samples).sum(1)).max() < 1e-5
    assert np.array_equal(looped[:, :samples], looped[:, samples:])
    stems = split_by(mixture, "note", [part_of("low=freq < 500")])
    assert [stem.name for stem in stems] == ["low", "rest"]
    assert np.abs(sum(render(stem.events).samples for stem in stems) - render(mixture).samples).max() < 1e-5

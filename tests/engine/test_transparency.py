"""With the residual kept, an edit changes the edited notes and nothing else: measured on the bundled recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Events
from sparsecli.engine.editing import change_gain, mute, shift_pitch
from sparsecli.engine.extents import ends_s
from sparsecli.engine.fitting import fit
from sparsecli.engine.notes import note_table
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings
from sparsecli.io.audio import read_audio
from sparsecli.io.wav import to_integers

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "morning.flac"
UNDER_DB = -60.0  # of the recording's power, what may change beside the edited notes
FRAME = 4096  # samples of a Hann window; 93 ms
BAND_DB = -80.0  # of the spectrum of an event under its peak, where its band ends, as the renderer ends it in time
EDITS = {
    "mute": lambda events, rows: mute(events, rows),
    "transpose": lambda events, rows: shift_pitch(events, rows, 1.0),
    "gain": lambda events, rows: change_gain(events, rows, -6.0),
}


@pytest.fixture(scope="module")
def recording() -> Audio:
    return read_audio(str(EXAMPLE), 0.05, 1.9)


@pytest.fixture(scope="module")
def events(recording: Audio) -> Events:
    return fit(recording, FitSettings(atoms=24, notes=True, quality="fast")).events


@pytest.fixture(scope="module")
def residual(recording: Audio, events: Events) -> np.ndarray:
    """What `fit --residual` writes, float32 `[1, samples]`."""
    return recording.samples - render(events).samples


def flute_note(events: Events) -> np.ndarray:
    """The rows of the loudest note above 500 Hz that begins after the first half second."""
    notes = [note for note in note_table(events) if note.pitch_hz > 500 and note.onset_s > 0.5]
    return np.isin(events.id, max(notes, key=lambda note: note.level_db).ids)


def level_db(values: np.ndarray, whole: np.ndarray) -> float:
    return float(10 * np.log10(np.square(values).mean() / np.square(whole).mean() + 1e-30))


def test_an_unedited_set_is_the_recording(recording: Audio, events: Events, residual: np.ndarray):
    whole = (render(events).samples + residual).astype(np.float32)
    np.testing.assert_array_equal(to_integers(whole, 16), to_integers(recording.samples, 16))


@pytest.mark.parametrize("edit", EDITS)
def test_nothing_changes_before_or_after_the_edited_notes(recording, events, residual, edit: str):
    rows = flute_note(events)
    changed = render(EDITS[edit](events, rows)).samples + residual
    difference = (changed - recording.samples)[0]
    begin, end = events.onset_s[rows].min(), ends_s(events)[rows].max()
    before = difference[: int(begin * recording.sample_rate)]
    after = difference[int(np.ceil(end * recording.sample_rate)) :]
    assert len(before) > 4000
    # Sums of float32 in another order: 140 dB down.
    assert level_db(before, recording.samples) < -120
    assert not len(after) or level_db(after, recording.samples) < UNDER_DB
    assert level_db(difference[len(before) : len(difference) - len(after)], recording.samples) > -30  # it is heard


def power_of(sound: np.ndarray) -> np.ndarray:
    """Power by frequency, summed over frames within the sound, `[bins]`: none sees where the recording is cut off."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[:: FRAME // 4]
    return np.asarray(np.square(abs(np.fft.rfft(frames * np.hanning(FRAME)))).sum(0))


def in_band(events: Events, rows: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Which frequencies lie in the band of any mode at `rows`, by the spectrum of its envelope (docs/atom.md), `[F]`.

    Of E(u) e^{-d u} with k = 1 / attack and p = d + i w it is 2 k^2 / (p (p + k) (p + 2 k)).
    """
    inside = np.zeros(len(freq_hz), bool)
    for row in np.flatnonzero(rows):
        k, d = 1 / events.column("attack_s")[row], np.log(1000) / events.column("decay_s")[row]
        for mode_hz, level in zip(events.modes("freq_hz")[row], events.modes("level_db")[row], strict=True):
            p = d + 2j * np.pi * (freq_hz - mode_hz)
            under = abs(p * (p + k) * (p + 2 * k)) / (d * (d + k) * (d + 2 * k))
            inside |= (level > SILENT_DB) & (under < 10 ** (-BAND_DB / 20))
    return inside


@pytest.mark.parametrize("edit", EDITS)
def test_nothing_changes_beside_the_edited_notes_bands(recording: Audio, events: Events, edit: str):
    rows = flute_note(events)
    params = events.params.copy()
    params[rows, events.columns.index("noise_level_db") - 1] = SILENT_DB  # whose band is the whole
    events = replace(events, params=params)
    edited = EDITS[edit](events, rows)
    power = power_of((render(edited).samples - render(events).samples)[0])
    freq_hz = np.fft.rfftfreq(FRAME, 1 / recording.sample_rate)
    inside = in_band(events, rows, freq_hz) | (len(edited) == len(events) and in_band(edited, rows, freq_hz))
    whole = power_of(recording.samples[0]).sum()
    assert inside.mean() < 0.2  # 0.16
    assert 10 * np.log10(power[~inside].sum() / whole) < UNDER_DB  # -74, -85 and -80
    assert 10 * np.log10(power[inside].sum() / whole) > -30  # it is heard

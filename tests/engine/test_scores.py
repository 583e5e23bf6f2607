"""Scores: a voice's notes come back from their own score, and what is played is what the score says, in numbers."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, MAX_FREQ_HZ, MAX_LEVEL_DB, SILENT_DB, columns_of
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events, Header, events_from_columns, notes_of
from sparsecli.core.score import Score, ScoreNote
from sparsecli.engine.notes import note_table
from sparsecli.engine.rendering import render
from sparsecli.engine.scores import level_of, play, score_of, velocity_of
from sparsecli.io.events_file import load_events, save_events
from sparsecli.io.midi import read_midi, write_midi

from ..oracle.draw import draw_events

RATE = 22050
UNIT = 1e-6  # of float32 numbers: worst 1.2e-7
HALF_A_VELOCITY_DB = 50 / 126 / 2

quickly = settings(max_examples=40, deadline=None)


def voice_of_notes(*notes: dict[str, float], channels: int = 1) -> Events:
    """One atom a note, with three harmonics of 1/h: `onset_s`, `midi`, `level_db`, `decay_s`, `attack_s`."""
    rows = len(notes)
    columns = {
        column.name: np.full(rows, SILENT_DB if column.unit == "dBFS" else 0.0)
        for column in columns_of("atoms", channels)
    }
    for row, note in enumerate(notes):
        columns["onset_s"][row] = note.get("onset_s", 0.0)
        columns["attack_s"][row] = note.get("attack_s", 0.002)
        columns["decay_s"][row] = note.get("decay_s", 1.0)
        for h in (1, 2, 3):
            columns[f"freq{h}_hz"][row] = h * 440 * 2 ** ((note["midi"] - 69) / 12)
            columns[f"level{h}_db"][row] = note.get("level_db", -20.0) - 20 * np.log10(h)
            columns[f"phase{h}_rad"][row] = 0.5 * h
    header = Header(4.0, RATE, channels, source_name="voice.flac")
    events = events_from_columns(header, columns, np.full((channels, 4, AIR_BANDS), -70.0))
    return replace(events, note=np.arange(rows, dtype=np.int32))


def score(*notes: ScoreNote) -> Score:
    return Score(notes, name="song.mid")


A4 = voice_of_notes({"midi": 69.0, "onset_s": 0.5})
LONG = ScoreNote(0.5, 9.5, 69.0, 127)


def fall_db(events: Events, after_s: np.ndarray) -> np.ndarray:
    """Level of each event's envelope so long after its onset, over its peak, by looking at all times."""
    attack_s, damping = events.column("attack_s"), np.log(1000) / events.column("decay_s")
    u = np.geomspace(1e-5, 100, 20001)[:, None]
    envelope = (1 - np.exp(-u / attack_s)) ** 2 * np.exp(-damping * u)
    at = (1 - np.exp(-after_s / attack_s)) ** 2 * np.exp(-damping * after_s)
    return 20 * np.log10(at / envelope.max(axis=0))


# Velocities


@given(st.integers(1, 127))
def test_velocities_and_levels_are_inverse(velocity: int):
    assert velocity_of(float(level_of(velocity))) == velocity


@pytest.mark.parametrize(("level_db", "velocity"), [(0, 127), (-50, 1), (-90, 1), (-25, 64), (3, 127), (-10, 102)])
def test_velocities_are_linear_in_db(level_db: float, velocity: int):
    assert velocity_of(level_db) == velocity


# One note


def test_the_voices_own_score_gives_the_voice_back():
    played = play(score(LONG), A4)
    assert np.allclose(played.params, A4.params, rtol=UNIT, atol=1e-5)
    assert np.array_equal(played.onset_s, A4.onset_s) and played.note.tolist() == [0]
    for levels in ((-20.0, -31.0), (-3.0, -44.0)):
        two = voice_of_notes(*({"midi": 60.3 + k, "onset_s": k, "level_db": level} for k, level in enumerate(levels)))
        again = play(score_of(two), two)
        assert np.allclose(again.modes("freq_hz"), two.modes("freq_hz"), rtol=UNIT)
        assert np.allclose(again.column("decay_s"), two.column("decay_s"), rtol=UNIT)
        assert np.allclose(again.onset_s, two.onset_s, atol=1e-12)
        assert np.abs(again.column("level1_db") - two.column("level1_db")).max() <= HALF_A_VELOCITY_DB + 1e-4


def test_an_octave_up_doubles_frequencies():
    played = play(score(replace(LONG, midi=81.0)), A4)
    assert np.allclose(played.modes("freq_hz"), 2 * A4.modes("freq_hz"), rtol=UNIT)
    unchanged = [name for name in A4.columns if not name.startswith("freq")]
    assert all(np.allclose(played.column(name), A4.column(name), atol=1e-5) for name in unchanged)


def test_a_voice_out_of_tune_is_played_in_tune():
    flat = voice_of_notes({"midi": 68.7})
    assert play(score(LONG), flat).column("freq1_hz")[0] == pytest.approx(440.0, rel=UNIT)


def test_velocities_are_levels():
    loud = voice_of_notes({"midi": 60.0, "level_db": -6.0}, {"midi": 90.0, "level_db": -40.0, "onset_s": 2.0})
    played = play(score(LONG, replace(LONG, midi=90.0), replace(LONG, velocity=64), replace(LONG, velocity=1)), loud)
    peaks_db = np.array([note.level_db for note in note_table(played)])
    loudest_db = max(note.level_db for note in note_table(loud))
    expected = {0: 0.0, 1: 0.0, 2: -25.0, 3: -50.0}  # by label; whichever note of the voice plays it
    found = {note.note: level for note, level in zip(note_table(played), peaks_db - loudest_db, strict=True)}
    assert found == pytest.approx(expected, abs=1e-4)


def test_noise_is_moved_with_its_note():
    params = A4.params.copy()
    params[0, A4.columns.index("noise_level_db") - 1] = -30.0
    params[0, A4.columns.index("freq4_hz") - 1] = 900.0
    played = play(score(replace(LONG, midi=81.0, velocity=64)), replace(A4, params=params))
    assert played.column("freq4_hz")[0] == pytest.approx(1800)
    assert played.column("noise_level_db")[0] == pytest.approx(-55)
    assert played.column("level4_db")[0] == SILENT_DB


def test_places_between_channels_stay():
    two = voice_of_notes({"midi": 69.0}, channels=2)
    params = two.params.copy()
    params[0, -1] = 0.5
    played = play(score(LONG), replace(two, params=params), with_air=True)
    assert played.column("pan")[0] == 0.5 and played.header.channels == 2 and played.air.shape == (2, 1, AIR_BANDS)


# Which note


def test_the_nearest_note_is_taken():
    voice = voice_of_notes(
        {"midi": 60.0, "level_db": -10.0, "decay_s": 1.0},
        {"midi": 60.2, "level_db": -35.0, "decay_s": 2.0, "onset_s": 1.0},
        {"midi": 72.0, "level_db": -10.0, "decay_s": 3.0, "onset_s": 2.0},
        {"midi": 59.9, "level_db": -10.0, "decay_s": 4.0, "onset_s": 3.0},
        {"midi": 60.0, "level_db": -55.0, "decay_s": 5.0, "onset_s": 4.0},
        {"midi": 80.0, "level_db": -55.0, "decay_s": 6.0, "onset_s": 5.0},
    )
    wanted = [
        (60.0, 127, 1.0),  # the first of two alike
        (60.0, 40, 2.0),  # of one pitch, the nearest in level
        (60.2, 127, 1.0),  # a fifth of a semitone is no distance
        (65.0, 127, 1.0),  # five semitones, not seven
        (67.0, 30, 3.0),  # pitch first: the level does not matter
        (60.0, 1, 2.0),  # a note 30 dB under another of its pitch is a remainder of it,
        (80.0, 127, 6.0),  # and one that is alone at its pitch is a note
        (100.0, 64, 6.0),
    ]
    for midi, velocity, decay_s in wanted:
        played = play(score(replace(LONG, midi=midi, velocity=velocity)), voice)
        assert played.column("decay_s")[0] == decay_s, (midi, velocity)


def test_what_has_no_note_is_not_played():
    voice = voice_of_notes({"midi": 60.0}, {"midi": 64.0, "onset_s": 1.0})
    voice = replace(voice, note=np.array([0, -1], np.int32))
    assert len(play(score(LONG), voice)) == 1


def test_a_voice_without_labels_is_grouped_first():
    unlabelled = replace(A4, note=np.full(1, -1, np.int32))
    played = play(score(replace(LONG, midi=81.0)), unlabelled)
    assert played.column("freq1_hz")[0] == pytest.approx(880, rel=1e-6)
    assert score_of(unlabelled) == score_of(A4)


def test_drums_are_left_out():
    played = play(score(LONG, replace(LONG, drum=True)), A4)
    assert notes_of(played) == 1
    with pytest.raises(SparseError, match="no notes"):
        play(score(replace(LONG, drum=True)), A4)


# Lengths


@given(st.floats(0, 0.5), st.floats(0.01, 0.3), st.floats(3e-4, 10), st.floats(1.0, 100))
@quickly
def test_what_is_let_go_falls_60_db_within_the_release(
    length_s: float, release_s: float, attack_s: float, decay_s: float
):
    voice = voice_of_notes({"midi": 69.0, "attack_s": attack_s, "decay_s": decay_s})
    ring_s = note_table(replace(voice, header=replace(voice.header, duration_s=1e6)))[0].end_s
    played = play(score(ScoreNote(1.0, 1.0 + length_s, 69.0, 127)), voice, release_s=release_s)
    if length_s + release_s >= ring_s:
        assert played.column("decay_s") == pytest.approx(voice.column("decay_s"))
        return
    assert played.column("decay_s")[0] <= voice.column("decay_s")[0]
    fallen_db = fall_db(played, np.array([length_s + release_s]))[0]
    # 0.01 dB is that of the times looked at; a decay that is short enough by itself stays.
    assert fallen_db <= -60 + 0.01
    assert fallen_db >= -60 - 0.01 or played.column("decay_s")[0] == voice.column("decay_s")[0]
    assert played.column("level1_db")[0] == pytest.approx(voice.column("level1_db")[0], abs=1e-4)


def test_a_note_held_longer_rings_on():
    for end_s in (1.2, 3.0, 9.0):  # the ring to -40 dB lasts 0.67 s
        assert play(score(replace(LONG, end_s=end_s)), A4).column("decay_s")[0] == pytest.approx(1.0)
    assert play(score(replace(LONG, end_s=0.9)), A4).column("decay_s")[0] == pytest.approx(
        0.5, abs=0.02
    )  # less: it rises for 2 ms


def test_atoms_after_the_end_of_a_short_note_are_left_out():
    voice = voice_of_notes({"midi": 69.0, "decay_s": 2.0}, {"midi": 69.0, "decay_s": 2.0, "onset_s": 0.5})
    voice = replace(voice, note=np.zeros(2, np.int32))
    assert len(play(score(ScoreNote(0, 0.4, 69.0, 127)), voice)) == 1
    both = play(score(ScoreNote(0, 0.6, 69.0, 127)), voice)
    assert both.column("decay_s") == pytest.approx([0.7, 0.2], abs=0.02)
    assert len(play(score(ScoreNote(0, 8, 69.0, 127)), voice)) == 2


def test_what_is_played_is_as_long_as_the_score_and_its_ring():
    assert play(score(LONG), A4).header.duration_s == 9.5
    assert play(score(replace(LONG, end_s=1.2)), A4).header.duration_s == pytest.approx(1.5, abs=0.02)
    assert play(score(ScoreNote(0.5, 0.6, 69.0, 127)), A4).header.duration_s == pytest.approx(0.7, abs=0.01)


# Many notes


def test_labels_ids_seeds_and_header():
    voice = voice_of_notes({"midi": 69.0}, {"midi": 69.0, "onset_s": 0.01})
    voice = replace(voice, note=np.zeros(2, np.int32))
    chord = score(*(ScoreNote(0.5, 2.0, float(pitch), 100) for pitch in (60, 64, 67)), ScoreNote(1.0, 2.0, 72.0, 100))
    played = play(chord, voice, seed=7)
    assert played.note.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert played.id.tolist() == list(range(8)) and len(set(played.noise_seed.tolist())) == 8
    assert not set(played.noise_seed.tolist()) & set(play(chord, voice, seed=8).noise_seed.tolist())
    header = played.header
    assert (header.sample_rate, header.source_name, header.seed, header.quality) == (RATE, "song.mid", 7, {})
    assert header.settings == {"voice": "voice.flac", "release_s": 0.1, "with_air": False}
    sounding = [(played.onset_s <= t) & (played.onset_s + played.column("decay_s") > t) for t in (0.2, 0.7, 1.2)]
    assert [len(set(played.note[rows].tolist())) for rows in sounding] == [0, 3, 4]


def test_the_air_is_none_or_the_voices_mean_power():
    air = np.full((1, 2, AIR_BANDS), -60.0, np.float32)
    air[0, 1] = SILENT_DB
    voice = replace(A4, air=air)
    assert play(score(LONG), voice).air.shape == (1, 0, AIR_BANDS)
    assert play(score(LONG), voice, with_air=True).air == pytest.approx(-63.01, abs=0.001)
    assert play(score(LONG), replace(A4, air=air[:, :0]), with_air=True).air.shape == (1, 0, AIR_BANDS)


@given(
    st.integers(0, 100),
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(-40, 200), st.integers(1, 127)), min_size=1, max_size=8
    ),
    st.floats(1e-3, 60),
    st.booleans(),
)
@quickly
def test_whatever_is_played_can_be_saved(tmp_path_factory, seed: int, notes: list, release_s: float, with_air: bool):
    voice = draw_events(seed, 5, 1.0, RATE, noise=True)
    voice = replace(voice, note=np.array([0, 0, 1, 2, -1], np.int32))
    wanted = [ScoreNote(onset_s, onset_s + length_s, midi, velocity) for onset_s, length_s, midi, velocity in notes]
    try:
        played = play(score(*wanted), voice, release_s=release_s, with_air=with_air)
    except SparseError as error:
        assert "no notes to play" in str(error)  # none of the labelled atoms has a mode
        return
    path = tmp_path_factory.mktemp("played") / "played.npz"
    save_events(path, played)
    assert np.array_equal(load_events(path).params, played.params)
    assert len(set(played.note.tolist())) == len(notes)  # each note has an atom at least


def test_what_leaves_the_table_is_mute():
    high = voice_of_notes({"midi": 135.0, "level_db": 59.0}, {"midi": 69.0, "level_db": -100.0, "onset_s": 1.0})
    played = play(score(replace(LONG, midi=165.0)), high)
    assert played.modes("freq_hz").max() <= MAX_FREQ_HZ and played.modes("level_db").max() <= MAX_LEVEL_DB
    mute = played.modes("level_db") == SILENT_DB
    assert mute.tolist() == [[False, True, True, True]] and not played.modes("freq_hz")[mute].any()


def test_ten_thousand_notes_take_seconds_at_most():
    generator = np.random.default_rng(3)
    voice = voice_of_notes(*({"midi": 40 + k % 50, "onset_s": k / 100, "level_db": -10 - k % 7} for k in range(2000)))
    voice = replace(voice, note=(np.arange(2000) // 4).astype(np.int32))
    notes = [ScoreNote(t, t + 0.2, float(p), int(v)) for t, p, v in zip(
        np.sort(generator.uniform(0, 600, 10_000)), generator.integers(30, 100, 10_000),
        generator.integers(1, 128, 10_000), strict=True)]  # fmt: skip
    began = time.perf_counter()
    played = play(score(*notes), voice)
    assert time.perf_counter() - began < 10  # takes one; a loop over notes takes many
    assert notes_of(played) == 10_000


# Round trips and sound


@given(st.lists(st.tuples(st.integers(45, 90), st.integers(30, 127)), min_size=1, max_size=6, unique_by=lambda n: n[0]))
@quickly
def test_the_score_of_what_was_played_is_the_score(pitches: list[tuple[int, int]]):
    loud = [(pitch, 127 if k == 0 else velocity) for k, (pitch, velocity) in enumerate(pitches)]
    wanted = score(*(ScoreNote(0.3 * k, 0.3 * k + 2, float(p), v) for k, (p, v) in enumerate(loud)))
    found = score_of(play(wanted, A4))
    assert [note.velocity for note in found.notes] == [note.velocity for note in wanted.notes]
    for note, expected in zip(found.notes, wanted.notes, strict=True):
        assert note.onset_s == pytest.approx(expected.onset_s, abs=1e-9)
        assert note.midi == pytest.approx(expected.midi, abs=1e-4)


def test_events_to_a_midi_file_and_back_to_events():
    voice = voice_of_notes(*({"midi": 60.37 + 2 * k, "onset_s": 0.5 * k, "level_db": -10.0 - k} for k in range(5)))
    again = play(read_midi(write_midi(score_of(voice), bend=True)), voice)
    assert np.abs(again.onset_s - voice.onset_s).max() < 0.51 * 60 / 120 / 480
    assert np.abs(12 * np.log2(again.column("freq1_hz") / voice.column("freq1_hz"))).max() < 0.01
    assert np.abs(again.column("level1_db") - voice.column("level1_db")).max() <= HALF_A_VELOCITY_DB + 1e-4
    assert np.allclose(again.column("decay_s"), 1.0)  # a tick less does not count as let go


def test_the_sound_has_the_pitches_of_the_score():
    wanted = score(*(ScoreNote(0.0, 1.0, midi, 100) for midi in (57.0, 64.5, 78.25)))
    samples = render(play(wanted, voice_of_notes({"midi": 69.3, "decay_s": 3.0}))).samples[0]
    window = np.hanning(RATE)
    spectrum = np.abs(np.fft.rfft(samples[:RATE] * window, 8 * RATE))  # a bin is an eighth of a hertz
    for midi in (57.0, 64.5, 78.25):
        freq_hz = 440 * 2 ** ((midi - 69) / 12)
        near = slice(round(8 * freq_hz * 0.98), round(8 * freq_hz * 1.02))
        peak_hz = (near.start + spectrum[near].argmax()) / 8
        assert abs(peak_hz - freq_hz) < 0.2
        assert spectrum[near].max() > 100 * np.median(spectrum)


# Failures


def test_events_without_notes_have_an_empty_score_and_are_no_voice():
    silent = A4.take(np.zeros(0, int))
    assert len(score_of(silent)) == 0
    with pytest.raises(SparseError, match="no notes to play"):
        play(score(LONG), silent)


@pytest.mark.parametrize(
    ("wanted", "options", "said"),
    [
        (score(), {}, "no notes"),
        (score(replace(LONG, onset_s=-1.0)), {}, "before 0 s"),
        (score(replace(LONG, end_s=1e9)), {}, "after a day"),
        (score(replace(LONG, end_s=float("nan"))), {}, "after a day"),
        (score(LONG), {"release_s": 0.0}, "release_s"),
    ],
)
def test_what_cannot_be_played_is_said(wanted: Score, options: dict, said: str):
    with pytest.raises(SparseError, match=said):
        play(wanted, A4, **options)


def test_scores_need_no_torch():
    program = "import sys, sparsecli.engine.scores; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=Path.cwd())
    assert shown.stdout == b"False\n"

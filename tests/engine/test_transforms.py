from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, MAX_DECAY_S, MAX_FREQ_HZ, MAX_LEVEL_DB, SILENT_DB
from sparsecli.core.events import Events
from sparsecli.engine.transforms import change_gain, shift_pitch, stretch_time

from ..oracle.draw import draw_events

UNIT = 1e-6  # of float32 numbers that were changed twice: worst 2e-7
SEMITONES = st.floats(-24, 24)
FACTORS = st.floats(0.1, 10)
GAINS_DB = st.floats(-40, 40)

quickly = settings(max_examples=30, deadline=None)


@st.composite
def some_events(draw: st.DrawFn) -> Events:
    seed, count = draw(st.integers(0, 1000)), draw(st.integers(0, 6))
    return draw_events(seed, count, draw(st.floats(0.1, 5)), 22050, noise=draw(st.booleans()))


def changed(before: Events, after: Events) -> set[str]:
    """Names of the columns that differ, and `air`."""
    names = {name for name in before.columns if not np.array_equal(before.column(name), after.column(name))}
    return names if np.array_equal(before.air, after.air) else names | {"air"}


def same_but(before: Events, after: Events) -> None:
    """What no transform touches."""
    for name in ("note", "id", "noise_seed"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    assert len(after) == len(before) and after.params.dtype == np.float32 and after.onset_s.dtype == np.float64
    assert replace(after.header, duration_s=0) == replace(before.header, duration_s=0)


@given(some_events(), SEMITONES)
@quickly
def test_pitch_shifts_multiply_every_frequency(events: Events, semitones: float):
    moved = shift_pitch(events, semitones)
    same_but(events, moved)
    assert changed(events, moved) <= {"freq1_hz", "freq2_hz", "freq3_hz", "freq4_hz"}
    ratio = 2 ** (semitones / 12)
    assert np.allclose(moved.modes("freq_hz"), events.modes("freq_hz") * ratio, rtol=UNIT, atol=0)
    assert moved.numbers == events.numbers
    assert moved.header.duration_s == events.header.duration_s


@given(some_events(), FACTORS)
@quickly
def test_time_stretches_keep_attacks_and_pitches(events: Events, factor: float):
    moved = stretch_time(events, factor)
    same_but(events, moved)
    assert changed(events, moved) <= {"onset_s", "decay_s", "air"}
    assert np.allclose(moved.onset_s, events.onset_s * factor, rtol=1e-15, atol=0)
    assert np.allclose(moved.column("decay_s"), events.column("decay_s") * factor, rtol=UNIT, atol=0)
    assert moved.header.duration_s == events.header.duration_s * factor
    if events.air.size:
        assert moved.air.shape == (1, max(1, round(moved.header.duration_s)), AIR_BANDS)


@given(some_events(), GAINS_DB)
@quickly
def test_gains_raise_every_level(events: Events, gain_db: float):
    moved = change_gain(events, gain_db)
    same_but(events, moved)
    levels = ("level1_db", "level2_db", "level3_db", "level4_db", "noise_level_db")
    assert changed(events, moved) <= {*levels, "air"}
    for name in levels:
        before, after = events.column(name), moved.column(name)
        assert np.allclose(after, np.where(before > SILENT_DB, before + gain_db, SILENT_DB), atol=1e-4)
    assert np.allclose(moved.air, events.air + gain_db, atol=1e-4)
    assert moved.numbers == events.numbers


@given(some_events(), SEMITONES, FACTORS, GAINS_DB)
@quickly
def test_the_inverse_restores(events: Events, semitones: float, factor: float, gain_db: float):
    there = change_gain(stretch_time(shift_pitch(events, semitones), factor), gain_db)
    back = shift_pitch(stretch_time(change_gain(there, -gain_db), 1 / factor), -semitones)
    same_but(events, back)
    assert np.allclose(back.onset_s, events.onset_s, rtol=1e-14, atol=0)
    assert np.allclose(back.params, events.params, rtol=UNIT, atol=1e-4)  # decibels of two roundings
    assert np.array_equal(back.column("attack_s"), events.column("attack_s"))
    assert back.header.duration_s == pytest.approx(events.header.duration_s)
    assert back.numbers - (back.air > SILENT_DB).sum() == events.numbers - (events.air > SILENT_DB).sum()


@given(some_events(), SEMITONES, FACTORS, GAINS_DB)
@quickly
def test_the_order_does_not_matter(events: Events, semitones: float, factor: float, gain_db: float):
    one = change_gain(stretch_time(shift_pitch(events, semitones), factor), gain_db)
    other = shift_pitch(stretch_time(change_gain(events, gain_db), factor), semitones)
    assert np.array_equal(one.onset_s, other.onset_s)
    assert np.allclose(one.params, other.params, rtol=UNIT, atol=0)
    assert np.allclose(one.air, other.air, atol=1e-4)


def test_nothing_to_do_changes_nothing():
    events = draw_events(0, 5, 2.0, 22050, noise=True)
    for same in (shift_pitch(events, 0), stretch_time(events, 1), change_gain(events, 0)):
        same_but(events, same)
        assert not changed(events, same)


def test_two_semitones():
    """A whole tone in equal temperament: 440 Hz becomes 493.88 Hz."""
    events = draw_events(0, 3, 1.0, 22050)
    params = events.params.copy()
    params[:, events.columns.index("freq1_hz") - 1] = 440
    moved = shift_pitch(replace(events, params=params), 2)
    assert moved.column("freq1_hz") == pytest.approx([493.8833] * 3, rel=1e-6)
    assert np.array_equal(moved.onset_s, events.onset_s)


def test_numbers_stay_within_the_table():
    """What would leave its range is held at the end of it; levels that fall under -200 dB are silent for good."""
    events = draw_events(1, 6, 1.0, 22050, noise=True)
    assert shift_pitch(events, 96).modes("freq_hz").max() == MAX_FREQ_HZ
    assert stretch_time(events, 1e6).column("decay_s").max() == MAX_DECAY_S
    loud = change_gain(events, 120)
    assert loud.modes("level_db").max() == MAX_LEVEL_DB
    assert loud.modes("level_db").min() == SILENT_DB  # an unused slot
    faint = change_gain(change_gain(events, -120), -120)
    assert (faint.numbers, faint.modes("level_db").max(), faint.air.max()) == (3 * len(events), SILENT_DB, SILENT_DB)
    assert np.array_equal(change_gain(faint, 120).air, faint.air)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.7])
def test_the_air_is_read_slower(factor: float):
    """Its level at factor * t is what it was at t; frames stand at j + 0.5 s and the ends are constant."""
    events = draw_events(2, 1, 8.0, 22050, noise=True)
    slow = stretch_time(events, factor)
    before, after = events.air[0], slow.air[0]
    at_s = (np.arange(len(after)) + 0.5) / factor
    for band in (0, 11, 23):
        expected = np.interp(at_s, np.arange(len(before)) + 0.5, before[:, band])
        assert after[:, band] == pytest.approx(expected, abs=1e-4)


def test_air_of_one_frame_or_none():
    events = draw_events(3, 2, 0.6, 22050, noise=True)
    assert np.array_equal(stretch_time(events, 5).air, np.repeat(events.air, 3, axis=1))
    assert stretch_time(replace(events, air=events.air[:, :0]), 5).air.shape == (1, 0, AIR_BANDS)

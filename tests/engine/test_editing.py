from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, ATOM_COLUMNS, MAX_LEVEL_DB, MIN_ONSET_S, SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.core.quantities import Measured
from sparsecli.engine.chance import perturb, random_events
from sparsecli.engine.editing import (
    air_gain,
    change_gain,
    change_noise,
    every,
    fade,
    fade_in,
    fade_out,
    freqs_of,
    keep,
    mute,
    scale_attack,
    scale_decay,
    set_pan,
    shift_pan,
    shift_pitch,
    sort,
    tilt,
    whole_notes,
)
from sparsecli.engine.notes import note_table
from sparsecli.engine.rendering import render
from sparsecli.engine.scales import scale_of, snap_to_scale
from sparsecli.engine.settings import RenderSettings
from sparsecli.engine.timing import (
    duplicate,
    new_ids,
    quantize,
    random_times,
    reverse,
    shift_time,
    stretch_all,
    stretch_time,
    tempo_grid_s,
    units_of,
)
from sparsecli.io.events_check import check_events
from sparsecli.io.events_file import load_events, save_events

from ..oracle.draw import draw_events, strikes

RATE = 22050
UNIT = 1e-6  # of float32 numbers that were changed twice: worst 2e-7

quickly = settings(max_examples=30, deadline=None)
Mask = np.ndarray


def heard(events: Events, noise: bool = False) -> np.ndarray:
    """Rendering in one channel or two, without noise unless wanted."""
    return render(events, RenderSettings(noise=noise, device="cpu")).samples


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The greatest difference between two sounds."""
    return float(np.abs(one - other).max())


def wild_events(seed: int, count: int, channels: int) -> Events:
    """Valid events whose numbers lie anywhere in their ranges, often at an end, with any labels, ids and air."""
    draw = np.random.default_rng(seed)
    columns = {}
    for column in columns_of("atoms", channels):
        low = column.low if column.name != "decay_s" else 1e-30
        values = draw.uniform(low, column.high, count)
        if column.scale == "log":
            values = np.exp(draw.uniform(math.log(max(low, 1e-30)), math.log(column.high), count))
        at_an_end = draw.integers(0, 6, count)
        values = np.where(at_an_end == 0, low, np.where(at_an_end == 1, column.high, values))
        columns[column.name] = np.maximum(values, 1e-30) if column.name == "freq4_hz" else values
    columns["onset_s"] = np.where(draw.random(count) < 0.8, draw.uniform(-2, 9, count), columns["onset_s"])
    air = draw.choice([SILENT_DB, -50.0, MAX_LEVEL_DB], (channels, draw.integers(0, 5), AIR_BANDS))
    rate = int(draw.choice([1000, RATE, 48000]))
    events = events_from_columns(Header(float(draw.uniform(0.1, 20)), rate, channels, seed=seed), columns, air)
    return replace(events, note=draw.integers(-1, 4, count).astype(np.int32), id=events.id * 3 + 5)


@st.composite
def edits(draw: st.DrawFn) -> tuple[Events, Mask]:
    seed, count = draw(st.integers(0, 10_000)), draw(st.integers(0, 8))
    events = wild_events(seed, count, draw(st.sampled_from([1, 2])))
    return events, np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_)


OPERATIONS: dict[str, Callable[[Events, Mask, float], Events]] = {
    "shift_pitch": lambda events, rows, x: shift_pitch(events, rows, 100 * x),
    "snap_to_scale": lambda events, rows, x: snap_to_scale(events, rows, "Bb minor"),
    "change_gain": lambda events, rows, x: change_gain(events, rows, 300 * x, air=x > 0),
    "change_noise": lambda events, rows, x: change_noise(events, rows, 300 * x),
    "air_gain": lambda events, rows, x: air_gain(events, 300 * x),
    "fade": lambda events, rows, x: fade(events, rows, 1.0, 1.0 + abs(x), -math.inf, 300 * x, air=True),
    "fade_in": lambda events, rows, x: fade_in(events, rows, abs(x), air=True),
    "fade_out": lambda events, rows, x: fade_out(events, rows, abs(x), air=True),
    "tilt": lambda events, rows, x: tilt(events, rows, 30 * x),
    "scale_decay": lambda events, rows, x: scale_decay(events, rows, 10 ** (50 * x)),
    "scale_attack": lambda events, rows, x: scale_attack(events, rows, 10 ** (50 * x)),
    "mute": lambda events, rows, x: mute(events, rows, air=x > 0),
    "keep": lambda events, rows, x: keep(events, rows, air=x > 0),
    "sort": lambda events, rows, x: sort(events, "energy", descending=x > 0),
    "shift_time": lambda events, rows, x: shift_time(events, rows, 5 * x, air=x > 0),
    "shift_time far": lambda events, rows, x: shift_time(events, rows, 1e5 * x, air=False),
    "stretch_time": lambda events, rows, x: stretch_time(events, rows, 10**x, about_s=3 * x),
    "stretch_all": lambda events, rows, x: stretch_all(events, 10**x),
    "duplicate": lambda events, rows, x: duplicate(events, rows, 30_000 * x, count=3),
    "reverse": lambda events, rows, x: reverse(events, rows),
    "quantize": lambda events, rows, x: quantize(events, rows, 0.1 + abs(x), abs(x)),
    "random_times": lambda events, rows, x: random_times(events, rows, 3),
    "random_events": lambda events, rows, x: random_events(events, rows, 3),
    "perturb": lambda events, rows, x: perturb(events, rows, 20 * x, 3),
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(edits(), st.floats(-1, 1))
@quickly
def test_every_result_can_be_saved(name: str, edit: tuple[Events, Mask], x: float):
    events, rows = edit
    check_events(events, "before")
    edited = OPERATIONS[name](events, rows, x)
    check_events(edited, "after")
    assert 0 < edited.header.duration_s <= 86400


ON_ALL = {"stretch_all", "sort", "mute", "keep"}  # these act on others too


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - ON_ALL))
def test_what_was_not_chosen_stays(name: str):
    """Nothing else changes, and where nothing is chosen the events come back as they were."""
    events = draw_events(5, 9, 3.0, RATE, noise=True)
    rows = events.id % 2 == 0
    edited = OPERATIONS[name](events, rows, 0.3)
    for row in np.flatnonzero(~rows):
        found = np.flatnonzero(edited.id == events.id[row])
        assert found.size == 1 and edited.onset_s[found] == events.onset_s[row]
        assert np.array_equal(edited.params[found[0]], events.params[row])
    same = OPERATIONS[name](events, ~every(events), 0.3)
    assert np.array_equal(same.params, events.params) and np.array_equal(same.onset_s, events.onset_s)


def test_saved_and_loaded(tmp_path: Path):
    events = wild_events(4, 8, 2)
    for place, (name, operation) in enumerate(OPERATIONS.items()):
        edited = operation(events, events.id % 2 == 0, 0.7)
        path = tmp_path / f"{place}.npz"
        save_events(path, edited)
        assert np.array_equal(load_events(path).params, edited.params), name


# Pitch


@pytest.mark.parametrize("semitones", [12, -12, 7.02])
def test_a_pitch_shift_moves_the_peak_of_the_spectrum(semitones: float):
    events = strikes([0.0], [440.0], decay_s=3.0)
    before, after = (
        np.abs(np.fft.rfft(heard(sound)[0])).argmax()
        for sound in (events, shift_pitch(events, every(events), semitones))
    )
    assert after == pytest.approx(before * 2 ** (semitones / 12), abs=1)  # a bin is 1 Hz


def test_each_event_may_have_its_own_shift():
    events = strikes([0.0, 0.1], [440.0, 440.0])
    assert shift_pitch(events, every(events), np.array([12.0, -12.0])).column("freq1_hz").tolist() == [880, 220]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("C major", (0, 2, 4, 5, 7, 9, 11)),
        ("A minor", (0, 2, 4, 5, 7, 9, 11)),
        ("D minor", (0, 2, 4, 5, 7, 9, 10)),
        ("A pentatonic minor", (0, 2, 4, 7, 9)),
        ("a Minor Pentatonic", (0, 2, 4, 7, 9)),
        ("F# major", (1, 3, 5, 6, 8, 10, 11)),
        ("Gb major", (1, 3, 5, 6, 8, 10, 11)),
        ("chromatic", tuple(range(12))),
    ],
)
def test_scales(name: str, classes: tuple[int, ...]):
    assert scale_of(name).classes == classes


@pytest.mark.parametrize("name", ["", "H major", "C", "major", "C sharp", "D minor minor major"])
def test_no_scale(name: str):
    with pytest.raises(ValueError, match="scale"):
        scale_of(name)


def test_snapping_leaves_what_lies_on_the_scale():
    on = [440.0, 261.6256, 329.6276]  # A, C, E
    off = [466.1638, 445.0]  # A sharp, which is as near to A as to B; A, 20 cents sharp
    events = strikes([0.0] * 5, on + off)
    moved = snap_to_scale(events, every(events), "A minor").column("freq1_hz")
    assert moved[:3] == pytest.approx(on, rel=1e-6)
    assert moved[3] in (pytest.approx(440, rel=1e-6), pytest.approx(493.8833, rel=1e-6))
    assert moved[4] == pytest.approx(440, rel=1e-6)
    assert snap_to_scale(events, every(events), "chromatic", 445.0).column("freq1_hz")[4] == pytest.approx(445)


def test_notes_are_snapped_as_wholes():
    """Partials of C sharp 4 go to C or D together, though each by itself is near another degree."""
    root = 277.1826 * 0.99  # nearer to C
    events = strikes([0.1] * 5, [root * h for h in range(1, 6)])
    events = replace(events, note=np.zeros(5, np.int32))
    one = events.id == 2
    for rows in (every(events), one):
        moved = snap_to_scale(events, rows, "C major").column("freq1_hz")[rows]
        assert moved == pytest.approx(261.6256 / root * events.column("freq1_hz")[rows], rel=1e-5)


def test_pitches_are_those_of_the_notes():
    events = strikes([0.0] * 6, [200, 400, 600, 330, 660, 1000])
    events = replace(events, note=np.array([3, 3, 3, 7, 7, -1], np.int32))
    midi = Measured(events).midi
    assert {(note.note, note.midi) for note in note_table(events)} == {(3, midi[0]), (7, midi[3])}
    assert midi[0] == midi[1] == midi[2] and midi[3] == midi[4]


# Levels


def test_six_decibels_double():
    events = draw_events(2, 4, 1.0, RATE)
    louder = change_gain(events, every(events), 20 * math.log10(2))
    assert apart(heard(louder), 2 * heard(events)) < 1e-5 * np.abs(heard(events)).max()


def test_noise_alone_and_air_alone():
    events = draw_events(2, 8, 2.0, RATE, noise=True)
    noisier = change_noise(events, every(events), 6.0)
    bursts = events.column("noise_level_db") > SILENT_DB
    assert noisier.column("noise_level_db") == pytest.approx(events.column("noise_level_db") + 6 * bursts, abs=1e-4)
    assert np.array_equal(noisier.params[:, :-1], events.params[:, :-1])
    assert air_gain(events, 6.0).air == pytest.approx(events.air + 6, abs=1e-4)


def test_a_fade_is_straight_in_decibels():
    onsets = np.linspace(0, 2, 9)
    events = strikes(onsets.tolist(), [440.0] * 9, duration_s=2.5)
    faded = fade(events, every(events), 0.5, 1.5, 0.0, -40.0).column("level1_db") + 20
    assert faded == pytest.approx([0, 0, 0, -10, -20, -30, -40, -40, -40], abs=1e-4)
    step = fade(events, every(events), 1.0, 1.0, -math.inf, 0.0).column("level1_db")
    assert step.tolist() == [SILENT_DB] * 4 + [-20] * 5
    assert fade_in(events, every(events), 2.0).column("level1_db")[[0, -1]] == pytest.approx([-80, -20])
    assert fade_out(events, every(events), 1.0).column("level1_db")[[0, -1]] == pytest.approx([-20, -50])


def test_the_air_fades_with_the_rest():
    events = draw_events(2, 1, 4.0, RATE, noise=True)
    faded = fade(events, every(events), 0.5, 3.5, 0.0, -30.0, air=True)
    assert (faded.air - events.air)[0, :, 3] == pytest.approx([0, -10, -20, -30], abs=1e-4)


def test_a_tilt_turns_about_its_frequency():
    events = strikes([0.0] * 3, [500.0, 1000.0, 4000.0])
    assert tilt(events, every(events), 3.0).column("level1_db") == pytest.approx([-23, -20, -14])
    noise = draw_events(2, 8, 1.0, RATE, noise=True)
    tilted = tilt(noise, every(noise), -2.0, 300.0)
    bursts = noise.column("noise_level_db") > SILENT_DB
    expected = noise.column("noise_level_db") - 2 * np.log2(np.where(bursts, noise.column("freq4_hz"), 300) / 300)
    assert tilted.column("noise_level_db")[bursts] == pytest.approx(expected[bursts], abs=1e-4)


@pytest.mark.parametrize("factor", [0.2, 4.0])
def test_peaks_stay_where_envelopes_change(factor: float):
    events = strikes([0.0], [2000.0], decay_s=1.0, duration_s=4.0)
    peak = np.abs(heard(events)).max()
    assert peak == pytest.approx(0.1, rel=0.02)  # -20 dB, within the samples of a period
    for changed in (scale_decay(events, every(events), factor), scale_attack(events, every(events), factor)):
        assert np.abs(heard(changed)).max() == pytest.approx(peak, rel=0.02)


# Places


def test_places():
    events = strikes([0.0, 0.1], [440.0, 600.0], channels=2)
    left = set_pan(events, events.id == 0, -1.0)
    assert left.column("pan").tolist() == [-1, 0]
    assert heard(left.take(left.id == 0))[1].max() == 0
    assert shift_pan(left, every(left), 0.75).column("pan").tolist() == [-0.25, 0.75]
    assert shift_pan(left, every(left), 5).column("pan").tolist() == [1, 1]


def test_one_channel_has_no_places():
    events = strikes([0.0], [440.0])
    for edit in (set_pan, shift_pan):
        with pytest.raises(ValueError, match="not of two channels"):
            edit(events, every(events), 0.5)
    with pytest.raises(ValueError, match="pan of 2"):
        set_pan(events, every(events), 2)


# Which there are


def test_muted_and_kept_are_the_whole():
    events = draw_events(7, 8, 2.0, RATE, noise=True)
    rows = events.id % 3 == 0
    for air in (False, True):
        parts = mute(events, rows, air), keep(events, rows, air)
        assert sorted([*parts[0].id, *parts[1].id]) == events.id.tolist()
        assert [part.air.size > 0 for part in parts] == [not air, air]
        whole = heard(parts[0], noise=True) + heard(parts[1], noise=True)
        assert apart(whole, heard(events, noise=True)) < 1e-5  # float32 sums of another order


def test_sorting():
    events = draw_events(7, 20, 2.0, RATE, noise=True)
    assert (np.diff(sort(events, "onset").onset_s) >= 0).all()
    assert (np.diff(Measured(sort(events, "energy", descending=True)).energy_s) <= 0).all()
    assert (np.diff(sort(events, "attack_s").column("attack_s")) >= 0).all()
    assert sort(sort(events, "level"), "freq").id.tolist() != events.id.tolist()
    with pytest.raises(ValueError, match="no quantity 'colour'; there are time, onset"):
        sort(events, "colour")


# Time


def test_a_shift_delays_the_sound():
    events = strikes([0.05, 0.2], [440.0, 700.0], decay_s=0.2)
    later = shift_time(events, every(events), 0.1)
    before, after = heard(events)[0], heard(later)[0]
    delay = round(0.1 * RATE)
    assert apart(after[delay : len(before)], before[:-delay]) < 1e-5  # -80 dB, where an atom ends
    assert after[:delay].max() == 0


def test_a_shift_past_the_end_is_not_cut():
    """What was heard is heard: 0.3 s of the last event's ring, which the recording cut there."""
    events = strikes([0.1, 0.7], [440.0, 440.0], decay_s=5.0)
    assert shift_time(events, events.id == 1, 2.0).header.duration_s == pytest.approx(3.0)
    assert shift_time(events, events.id == 1, -0.5).header.duration_s == 1.0
    short = strikes([0.1], [440.0], decay_s=0.1)
    assert shift_time(short, every(short), 0.1).header.duration_s == 1.0


def test_what_begins_too_early_begins_as_it_would_sound_by_then():
    """3 s before the start, where a file allows 2: the wave that is heard is the same."""
    events = strikes([0.0, 0.1], [440.0, 441.0], decay_s=6.0, level_db=0.0, duration_s=5.0)
    early = shift_time(events, every(events), -3.0)
    assert early.onset_s.tolist() == [MIN_ONSET_S, MIN_ONSET_S]
    cut = heard(events)[0][3 * RATE :]
    assert apart(heard(early)[0][: len(cut)], cut) < 1e-4 * np.abs(cut).max()  # float32 phases and levels
    faded = shift_time(strikes([0.0], [440.0], decay_s=0.5), np.ones(1, np.bool_), -3.0)
    assert len(faded) == 0


def test_the_air_shifts_too():
    events = draw_events(2, 1, 5.0, RATE, noise=True)
    later = shift_time(events, every(events), 2.0, air=True)
    assert np.array_equal(later.air[:, 2:5], events.air[:, :3])
    assert np.array_equal(later.air[:, 0], events.air[:, 0])


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_stretch_keeps_its_moment(factor: float):
    events = strikes([0.2, 0.5, 0.8], [440.0] * 3)
    slow = stretch_time(events, events.id > 0, factor, about_s=0.5)
    assert slow.onset_s == pytest.approx([0.2, 0.5, 0.5 + 0.3 * factor])
    assert slow.column("decay_s") == pytest.approx([0.3, 0.3 * factor, 0.3 * factor])
    assert np.array_equal(slow.column("attack_s"), events.column("attack_s"))
    assert slow.header.duration_s >= 1.0


def test_duplicates():
    events = replace(draw_events(3, 5, 1.0, RATE, noise=True), note=np.array([0, 0, 4, -1, -1], np.int32))
    rows = np.array([1, 0, 1, 1, 0], np.bool_)
    twice = duplicate(events, rows, 1.5, count=2)
    assert len(twice) == 5 + 2 * 3
    assert np.array_equal(twice.params[:5], events.params)
    assert twice.id[5:].tolist() == [5, 6, 7, 8, 9, 10]
    assert twice.note[5:].tolist() == [5, 6, -1, 7, 8, -1]
    assert len(set(twice.noise_seed.tolist())) == 11
    assert twice.onset_s[5:] == pytest.approx(np.r_[events.onset_s[rows] + 1.5, events.onset_s[rows] + 3.0])
    assert 3.0 < twice.header.duration_s <= 4.0
    assert duplicate(events, rows, 1.0, count=0) is events


def test_a_copy_sounds_like_the_first():
    events = strikes([0.1], [440.0], decay_s=0.2, duration_s=0.5)
    sound = heard(duplicate(events, every(events), 0.5))[0]
    delay = round(0.5 * RATE)
    assert apart(sound[delay : delay + 8000], sound[:8000]) < 1e-5


def test_ids_where_there_is_no_room_above():
    assert new_ids(np.array([2**63 - 1, 0, 2]), 3).tolist() == [1, 3, 4]


def test_twice_reversed_is_as_before():
    events = replace(draw_events(3, 8, 2.0, RATE), note=np.array([0, 0, 1, 1, 1, -1, -1, -1], np.int32))
    rows = events.id != 6
    there = reverse(events, rows)
    assert sorted(units_of(there, rows).onset_s) != pytest.approx(sorted(units_of(events, rows).onset_s))
    assert reverse(there, rows).onset_s == pytest.approx(events.onset_s, abs=1e-12)
    equal = strikes([0.1, 0.2, 0.6], [440.0] * 3)
    assert np.sort(reverse(equal, every(equal)).onset_s) == pytest.approx([0.1, 0.5, 0.6])


@pytest.mark.parametrize(("strength", "onsets"), [(1.0, [0.05, 0.3, 0.8]), (0.5, [0.08, 0.26, 0.75]), (0, None)])
def test_onsets_move_to_the_grid(strength: float, onsets: list[float] | None):
    events = strikes([0.11, 0.22, 0.70], [440.0] * 3)
    moved = quantize(events, every(events), 0.25, strength, offset_s=0.05)
    assert moved.onset_s == pytest.approx(onsets or events.onset_s)


def test_notes_move_to_the_grid_as_wholes():
    """By the first event that is not faint; the others keep their distances from it."""
    events = strikes([0.10, 0.12, 0.30, 0.52], [440.0] * 4)
    faint = change_gain(events, events.id == 0, -30.0)
    noted = replace(faint, note=np.array([1, 1, 1, -1], np.int32))
    assert quantize(noted, every(noted), 0.25).onset_s == pytest.approx([-0.02, 0.0, 0.18, 0.5])


@pytest.mark.parametrize(
    ("division", "seconds"), [("1/4", 0.5), ("1/16", 0.125), ("1/8t", 0.5 / 3), ("1/4.", 0.75), ("3/8", 0.75)]
)
def test_tempo(division: str, seconds: float):
    assert tempo_grid_s(120, division) == pytest.approx(seconds)


@pytest.mark.parametrize("division", ["", "16", "1/0", "1/16x"])
def test_no_note_value(division: str):
    with pytest.raises(ValueError, match="note value"):
        tempo_grid_s(120, division)


# Chance


def test_random_times_are_even_over_the_recording():
    events = strikes([0.1] * 2000, [440.0] * 2000, duration_s=10.0)
    moved = random_times(events, every(events), 4)
    assert moved.header == events.header and np.array_equal(moved.params, events.params)
    counts, _ = np.histogram(moved.onset_s, 10, (0, 10))
    assert counts.sum() == 2000 and np.abs(counts - 200).max() < 60  # 4 standard deviations
    assert np.array_equal(moved.onset_s, random_times(events, every(events), 4).onset_s)
    noted = replace(events, note=np.zeros(2000, np.int32))
    assert np.ptp(random_times(noted, every(noted), 4).onset_s) == pytest.approx(0)


def test_random_events_trade_sounds():
    events = draw_events(3, 50, 2.0, RATE, noise=True)
    rows = events.id < 40
    traded = random_events(events, rows, 4)
    assert np.array_equal(traded.onset_s, events.onset_s) and np.array_equal(traded.id[40:], events.id[40:])
    assert not np.array_equal(traded.id, events.id)
    assert np.array_equal(traded.params[np.argsort(traded.id)], events.params)
    assert np.array_equal(traded.noise_seed[np.argsort(traded.id)], events.noise_seed)


def test_a_perturbation_is_the_same_for_all():
    """In ratios and decibels, one number a column."""
    events = strikes([0.0, 0.2, 0.4], [300.0, 400.0, 500.0])
    moved = perturb(events, every(events), 0.5, 7)
    for name in ("freq1_hz", "attack_s", "decay_s"):
        ratio = moved.column(name) / events.column(name)
        assert ratio == pytest.approx(ratio[0], rel=UNIT) and abs(ratio[0] - 1) > 1e-3
    up = moved.column("level1_db") - events.column("level1_db")
    assert up == pytest.approx(up[0]) and abs(up[0]) > 1e-3
    assert np.array_equal(moved.onset_s, events.onset_s)
    assert set(moved.column("level2_db")) == {SILENT_DB} and set(moved.column("freq2_hz")) == {0.0}
    double = perturb(events, every(events), 1.0, 7).column("freq1_hz") / events.column("freq1_hz")
    assert double == pytest.approx((moved.column("freq1_hz") / events.column("freq1_hz")) ** 2, rel=1e-5)


# Notes, errors, imports


def test_whole_notes():
    events = replace(strikes([0.0] * 6, [440.0] * 6), note=np.array([0, 0, 1, -1, -1, 1], np.int32))
    chosen = np.array([1, 0, 0, 1, 0, 0], np.bool_)
    assert whole_notes(events, chosen).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize(
    "edit",
    [
        lambda events, rows: shift_pitch(events, rows, math.nan),
        lambda events, rows: change_gain(events, rows, math.inf),
        lambda events, rows: fade(events, rows, 2.0, 1.0, 0.0, 0.0),
        lambda events, rows: fade(events, rows, 0.0, 1.0, math.nan, 0.0),
        lambda events, rows: fade_in(events, rows, -1.0),
        lambda events, rows: scale_decay(events, rows, 0.0),
        lambda events, rows: scale_attack(events, rows, -1.0),
        lambda events, rows: stretch_time(events, rows, 0.0),
        lambda events, rows: tilt(events, rows, 1.0, 0.0),
        lambda events, rows: duplicate(events, rows, 1.0, -1),
        lambda events, rows: duplicate(events, rows, 1.0, 10**9),
        lambda events, rows: quantize(events, rows, 0.0),
        lambda events, rows: quantize(events, rows, 0.1, 1.5),
        lambda events, rows: tempo_grid_s(0.0),
    ],
)
def test_settings_that_mean_nothing(edit: Callable[[Events, Mask], Events]):
    events = strikes([0.0], [440.0])
    with pytest.raises(ValueError):
        edit(events, every(events))


def test_names_of_columns_are_the_table_s():
    names, events = {column.name for column in ATOM_COLUMNS}, strikes([0.0], [440.0])
    assert {*freqs_of(events)} == {name for name in names if name.startswith("freq")}
    assert {*events.levels} == {name for name in names if "level" in name}


def test_edits_start_without_torch():
    modules = ("editing", "timing", "chance", "scales", "combining", "morphing", "extents")
    statement = "; ".join(f"import sparsecli.engine.{name}" for name in modules)
    shown = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"], check=True, capture_output=True
    )
    assert not {"torch", "scipy", "librosa"} & set(shown.stdout.decode().split())

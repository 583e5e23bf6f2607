from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, SILENT_DB
from sparsecli.core.events import Events
from sparsecli.engine.combining import concatenate, intersect, merge, pair_up, subtract
from sparsecli.engine.editing import change_gain, every, shift_pitch
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings
from sparsecli.engine.timing import shift_time
from sparsecli.io.events_check import check_events

from ..oracle.draw import draw_events, strikes
from .test_editing import RATE, apart, heard, wild_events

quickly = settings(max_examples=40, deadline=None)


@st.composite
def any_sets(draw: st.DrawFn) -> list[Events]:
    seeds = draw(st.lists(st.integers(0, 5000), min_size=1, max_size=3))
    return [wild_events(seed, seed % 7, draw(st.sampled_from([1, 2]))) for seed in seeds]


@given(any_sets())
@quickly
def test_every_result_can_be_saved(sets: list[Events]):
    for combined in (merge(*sets), concatenate(*sets), subtract(sets[0], sets[-1]), intersect(sets[0], sets[-1])):
        check_events(combined, "combined")
        assert 0 < combined.header.duration_s <= 86400


def test_merged_sounds_add():
    first, second = draw_events(1, 5, 2.0, RATE), draw_events(2, 5, 1.0, RATE)
    both = merge(first, second)
    assert (len(both), both.header.duration_s) == (10, 2.0)
    longer = replace(second, header=replace(second.header, duration_s=2.0))
    assert apart(heard(both), heard(first) + heard(longer)) < 1e-5


def test_ids_and_notes_are_kept_apart():
    first = replace(draw_events(1, 4, 1.0, RATE), note=np.array([0, 1, -1, 1], np.int32))
    second = replace(draw_events(2, 3, 1.0, RATE), note=np.array([0, -1, 7], np.int32), id=np.array([2, 50, 3]))
    both = merge(first, second, second)
    assert both.id.tolist() == [0, 1, 2, 3, 51, 50, 52, 53, 54, 55]
    assert both.note.tolist() == [0, 1, -1, 1, 2, -1, 3, 4, -1, 5]
    assert np.array_equal(both.noise_seed, np.r_[first.noise_seed, second.noise_seed, second.noise_seed])


def test_powers_of_airs_are_summed():
    events = draw_events(1, 1, 3.0, RATE, noise=True)
    assert merge(events, events).air == pytest.approx(events.air + 3.0103, abs=1e-4)
    assert np.array_equal(merge(events, strikes([0.0], [440.0])).air, events.air)
    longer = merge(draw_events(2, 1, 6.0, RATE), events).air
    assert longer.shape == (1, 3, AIR_BANDS)
    far = draw_events(2, 1, 6.0, RATE, noise=True)
    assert merge(far, events).air[:, 3:] == pytest.approx(far.air[:, 3:], abs=1e-4)  # not the last frame held on


def test_air_of_another_rate_sounds_as_it_did():
    """White noise of one density has it in the bands of either rate, up to the lower Nyquist frequency."""
    events = replace(draw_events(1, 1, 3.0, 44100, noise=True))
    low = merge(draw_events(2, 0, 3.0, RATE), events)
    assert low.header.sample_rate == RATE
    sound = [render(part, RenderSettings(sample_rate=RATE, device="cpu")).samples for part in (low, mode_less(events))]
    levels = [10 * np.log10(np.mean(part**2)) for part in sound]
    assert levels[0] == pytest.approx(levels[1], abs=1.0)  # bands of random levels, read in their middles


def mode_less(events: Events) -> Events:
    return events.take(~every(events))


def test_one_channel_goes_to_the_middle_of_two():
    mono, stereo = strikes([0.1], [440.0]), strikes([0.2], [600.0], channels=2)
    both = merge(mono, stereo)
    assert both.header.channels == 2 and both.column("pan").tolist() == [0, 0]
    assert apart(heard(both), heard(mono) + heard(stereo)) < 1e-5
    airy = merge(draw_events(1, 2, 2.0, RATE, noise=True), stereo)
    check_events(airy, "airy")
    assert np.array_equal(airy.air[0], airy.air[1]) and airy.air.shape == (2, 2, AIR_BANDS)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 8))
@quickly
def test_what_was_merged_can_be_taken_away(seed: int, other: int, count: int):
    first, second = (draw_events(one, count, 2.0, RATE, noise=True) for one in (seed, other))
    rest = subtract(merge(first, second), second)
    assert np.array_equal(rest.params, first.params) and np.array_equal(rest.onset_s, first.onset_s)
    assert np.array_equal(rest.id, first.id)
    if seed != other:  # dB of float32 powers that differ by 20 dB at most
        assert rest.air == pytest.approx(first.air, abs=0.01)


@given(st.integers(0, 500), st.integers(0, 500))
@quickly
def test_the_difference_and_the_intersection_are_the_whole(seed: int, other: int):
    first, second = (draw_events(one, 6, 2.0, RATE, noise=True) for one in (seed, other))
    second = merge(second, first.take(first.id % 2 == 0))
    assert sorted([*subtract(first, second).id, *intersect(first, second).id]) == first.id.tolist()
    assert {*intersect(first, second).id} >= {0, 2, 4}
    assert len(subtract(first, first)) == 0 and np.array_equal(intersect(first, first).air, first.air)
    assert (subtract(first, first).air == SILENT_DB).all()


def test_what_is_the_same_event():
    events = strikes([0.1, 0.5], [440.0, 600.0])
    assert len(subtract(events, shift_time(events, every(events), 0.004))) == 0
    assert len(subtract(events, shift_time(events, every(events), 0.006))) == 2
    assert len(subtract(events, shift_pitch(events, every(events), 0.49))) == 0
    assert len(subtract(events, shift_pitch(events, every(events), 0.51))) == 2
    louder = change_gain(events, events.id == 0, 6.0)
    assert len(intersect(events, louder)) == 2
    twice = merge(events, events)
    assert len(subtract(twice, events)) == 2 and len(subtract(events, twice)) == 0


def test_noise_is_not_a_tone():
    tone = strikes([0.1], [440.0])
    noise = tone.params.copy()
    noise[:, [tone.columns.index(name) - 1 for name in ("freq4_hz", "noise_level_db")]] = 440.0, -20.0
    noise[:, tone.columns.index("level1_db") - 1] = SILENT_DB
    burst = replace(tone, params=noise)
    assert len(subtract(tone, burst)) == 1 and len(subtract(burst, burst)) == 0


def test_the_nearest_pairs_first():
    first, second = strikes([0.0, 0.1], [440.0] * 2), strikes([0.09, 0.12, 0.5], [440.0] * 3)
    rows, others = pair_up(first, second, 0.2, 1.0)
    assert (rows.tolist(), others.tolist()) == ([0, 1], [1, 0])
    rows, others = pair_up(first, second, 0.015, 1.0)
    assert (rows.tolist(), others.tolist()) == ([1], [0])


def test_pieces_one_after_another():
    """The coherent part, where nothing rings over the joint."""
    pieces = [strikes([0.1, 0.2], [f, 1.5 * f], decay_s=0.2, duration_s=0.8) for f in (440.0, 600.0, 700.0)]
    whole = concatenate(*pieces)
    assert whole.header.duration_s == pytest.approx(2.4)
    assert whole.onset_s == pytest.approx([0.1, 0.2, 0.9, 1.0, 1.7, 1.8])
    sound = np.concatenate([heard(piece) for piece in pieces], axis=1)
    assert apart(heard(whole), sound) < 3e-5  # -80 dB of 0.1 for each atom, where they end


def test_airs_one_after_another():
    first, second = draw_events(1, 1, 2.0, RATE, noise=True), draw_events(2, 1, 3.0, RATE, noise=True)
    assert np.array_equal(concatenate(first, second).air, np.concatenate([first.air, second.air], axis=1))
    without = concatenate(first, strikes([0.0], [440.0], duration_s=2.0), second).air
    assert (without[:, 2:4] == SILENT_DB).all() and np.array_equal(without[:, 4:], second.air)


def test_sets_that_do_not_go_together():
    events = strikes([0.0], [440.0])
    other = replace(events, header=replace(events.header, kind="gabor"))
    for combine in (merge, concatenate, subtract, intersect):
        with pytest.raises(ValueError, match="kinds"):
            combine(events, other)
    with pytest.raises(ValueError, match="no events"):
        merge()

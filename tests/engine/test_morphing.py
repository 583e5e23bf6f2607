from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.columns import SILENT_DB
from sparsecli.core.events import Events
from sparsecli.engine.editing import change_gain, every, scale_decay, shift_pitch, with_columns
from sparsecli.engine.morphing import morph
from sparsecli.engine.timing import shift_time
from sparsecli.io.events_check import check_events

from ..oracle.draw import draw_events, strikes
from .test_editing import RATE, apart, heard, wild_events

NEARLY = 1e-8  # of the way


@given(st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 1), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_every_result_can_be_saved(seed: int, other: int, amount: float, channels: int):
    first, second = wild_events(seed, seed % 7, 1), wild_events(other, other % 7, channels)
    check_events(morph(first, second, amount), "morphed")
    check_events(morph(first, second, amount, within_s=100, within_semitones=100), "morphed")


def same(one: Events, other: Events) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("onset_s", "params", "air", "id"))


def test_the_ends_are_the_sets():
    first, second = draw_events(1, 6, 2.0, RATE, noise=True), draw_events(2, 6, 2.0, RATE, noise=True)
    assert same(morph(first, second, 0), first) and same(morph(first, second, 1), second)


@pytest.mark.parametrize("within_s", [0.1, 10.0])
def test_near_the_ends_it_sounds_nearly_so(within_s: float):
    """Pairs whose modes trade slots too; over so short a way, tones hardly turn."""
    first, second = draw_events(1, 6, 2.0, RATE), draw_events(2, 6, 2.0, RATE)
    for amount, end in ((NEARLY, first), (1 - NEARLY, second)):
        nearly = morph(first, second, amount, within_s, 60.0)
        assert apart(heard(nearly), heard(end)) < 1e-2  # of a peak of 1, by float32 frequencies


def test_half_way():
    first = strikes([0.1, 0.5], [400.0, 900.0])
    second = shift_time(first, every(first), 0.04)
    second = scale_decay(change_gain(shift_pitch(second, every(first), 2.0), every(first), -12.0), every(first), 4.0)
    half = morph(first, second, 0.5)
    assert half.onset_s == pytest.approx([0.12, 0.52])
    assert half.column("freq1_hz") == pytest.approx(first.column("freq1_hz") * 2 ** (1 / 12), rel=1e-6)
    assert half.column("level1_db") == pytest.approx([-26, -26])
    assert half.column("decay_s") == pytest.approx([0.6, 0.6])
    assert np.array_equal(half.id, first.id)


def test_phases_go_the_shorter_way():
    events = strikes([0.1], [400.0])
    first, second = (with_columns(events, every(events), {"phase1_rad": np.array([turn])}) for turn in (3.0, -3.0))
    phase = morph(first, second, 0.25).column("phase1_rad")[0]
    assert phase == pytest.approx(3.0 + 0.25 * (2 * np.pi - 6.0), abs=1e-6)


def test_what_has_no_partner_fades():
    first, second = strikes([0.1], [400.0]), replace(strikes([0.7], [400.0]), note=np.zeros(1, np.int32))
    part = morph(first, second, 0.25)
    assert part.column("level1_db") == pytest.approx([-20 + 20 * np.log10(0.75), -20 + 20 * np.log10(0.25)])
    assert part.onset_s.tolist() == [0.1, 0.7] and part.id.tolist() == [0, 1] and part.note.tolist() == [-1, 0]


def test_modes_go_to_their_nearest():
    """A mode in slot 1 meets its like in slot 3; one without a partner fades where it is."""
    events = strikes([0.1], [400.0])
    columns = {"freq3_hz": 410.0, "level3_db": -20.0, "freq1_hz": 3000.0, "level1_db": -26.0}
    other = with_columns(events, every(events), {name: np.array([value]) for name, value in columns.items()})
    half = morph(events, other, 0.5)
    used = half.modes("level_db")[0] > SILENT_DB
    found = sorted(zip(half.modes("freq_hz")[0][used], half.modes("level_db")[0][used], strict=True))
    assert np.array(found) == pytest.approx(np.array([(np.sqrt(400 * 410), -20), (3000, -26 - 6.0206)]), rel=1e-5)


def test_airs_and_durations_go_with_it():
    first, second = draw_events(1, 1, 2.0, RATE, noise=True), draw_events(2, 1, 4.0, RATE, noise=True)
    half = morph(first, second, 0.5)
    assert half.header.duration_s == 3.0 and half.air.shape[1] == 3
    assert half.air[:, :2] == pytest.approx((first.air + second.air[:, :2]) / 2, abs=1e-4)
    alone = morph(first, strikes([0.0], [440.0], duration_s=2.0), 0.5)
    assert alone.air == pytest.approx(first.air - 6.0206, abs=1e-4)


@pytest.mark.parametrize("settings", [{"amount": 1.5}, {"amount": 0.5, "within_s": 0.0}])
def test_settings_that_mean_nothing(settings: dict[str, float]):
    with pytest.raises(ValueError):
        morph(strikes([0.0], [440.0]), strikes([0.0], [440.0]), **settings)

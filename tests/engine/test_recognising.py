"""A recording to events of kind `siam` and back, by a small model with chance weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB, VECTOR
from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.core.selection import select
from sparsecli.dsp.quality import snr_db
from sparsecli.engine import editing
from sparsecli.engine.decomposing import DecomposeResult, decompose, notices
from sparsecli.engine.operations import do
from sparsecli.engine.recognising import most_events
from sparsecli.engine.rendering import render, sound_of
from sparsecli.engine.settings import DecomposeSettings, RenderSettings
from sparsecli.engine.steps import Step
from sparsecli.engine.vectors import decode, heard, keep_heard
from sparsecli.synth.air import air_frames

from ..oracle.draw import draw_vectors
from ..oracle.tiny import RATE, struck, tiny_trained

TRAINED = tiny_trained()
SIAM = TRAINED.siam


def decomposed(sound: np.ndarray, rate: int = RATE, **changes: Any) -> DecomposeResult:
    return decompose(Audio(np.atleast_2d(sound), rate), DecomposeSettings(**changes), trained=TRAINED)


def played(events: Events, **changes: Any) -> np.ndarray:
    settings = RenderSettings(**changes)
    return sound_of(heard(events, SIAM, settings), settings).samples


@pytest.fixture(scope="module")
def pair() -> DecomposeResult:
    """Of two channels, the second softer."""
    return decomposed(np.stack([struck(), 0.25 * struck()]), atoms=36)


# What is found


def test_what_is_found_is_what_was_struck(pair: DecomposeResult):
    events = pair.events
    header = events.header
    assert (header.kind, header.model_name, header.model_sha256) == ("siam", "tiny", "0" * 64)
    assert len(events) == 12 and events.air.shape == (2, air_frames(0.5), 24) and pair.complete
    loudest = np.sort(events.onset_s[np.argsort(-events.column("gain_db"))[:3]])
    np.testing.assert_allclose(loudest, [0.05, 0.2, 0.35], atol=0.02)
    assert header.quality["snr_db"] > 15
    heard_snr_db = snr_db(np.stack([struck(), 0.25 * struck()]), played(events, noise=False))
    assert heard_snr_db == pytest.approx(header.quality["snr_db"], abs=0.01)


def test_places_are_those_of_the_channels(pair: DecomposeResult):
    """Left over right is 4: (1 - pan) / (1 + pan) = 4."""
    loud = pair.events.column("gain_db") > -30
    np.testing.assert_allclose(pair.events.column("pan")[loud], -0.6, atol=0.01)


def test_as_atoms_it_is_as_loud_and_needs_no_model(pair: DecomposeResult):
    """Renderings differ by the rounding of columns to float32 alone."""
    atoms = decomposed(np.stack([struck(), 0.25 * struck()]), atoms=36, form="atoms").events
    assert (atoms.header.kind, atoms.header.model_name, atoms.header.model_sha256) == ("atoms", "", "")
    assert snr_db(played(pair.events), render(atoms).samples) > 60
    assert atoms.header.quality == pair.events.header.quality
    np.testing.assert_array_equal(atoms.air, pair.events.air)


def test_the_same_bytes_again(pair: DecomposeResult):
    again = decomposed(np.stack([struck(), 0.25 * struck()]), atoms=36).events
    for name in ("onset_s", "params", "air"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pair.events, name))


def test_another_rate_is_heard_at_that_of_the_model():
    audio = Audio(struck(rate=2 * RATE)[None], 2 * RATE)
    told = notices(audio, DecomposeSettings(), TRAINED)
    assert told == ["the model hears it at 22050 Hz instead of 44100: of what lies above 11025 Hz it sees nothing"]
    assert notices(Audio(audio.samples, RATE), DecomposeSettings(), TRAINED) == []
    assert "instead of 16000" in notices(Audio(audio.samples, 16000), DecomposeSettings(), TRAINED)[0]
    events = decomposed(audio.samples, 2 * RATE, atoms=36).events
    assert events.header.sample_rate == 2 * RATE and events.header.quality["snr_db"] > 15


def test_a_long_recording_is_seen_to_its_end():
    """Ten strikes, the last of which rings where the file ends."""
    long = np.concatenate([struck(0.45) for _ in range(4)])
    events = decomposed(long, atoms=36).events
    rest = long - played(events, noise=False)[0]
    for part in range(4):  # none is left out, the last as little as the first
        begin = round(0.45 * part * RATE)
        own = slice(begin, begin + round(0.45 * RATE))
        assert 10 * np.log10(np.sum(long[own] ** 2) / np.sum(rest[own] ** 2)) > 10, part


def test_silence_and_almost_nothing():
    for sound in (np.zeros((2, 4000), np.float32), np.full((1, 1), 0.5, np.float32)):
        found = decomposed(sound)
        assert len(found.events) == 0 and found.complete
        assert played(found.events).shape == sound.shape
    assert found.events.header.quality["snr_db"] == 0


# Limits


def test_limits_are_kept():
    audio = Audio(struck()[None], RATE)
    assert len(decomposed(audio.samples, atoms=9).events) == 3
    enough = decomposed(audio.samples, atoms=36, snr_db=10.0).events
    assert len(enough) < 12 and enough.header.quality["snr_db"] >= 9.5  # solved again at the end, and at another rate
    by_budget = decomposed(audio.samples, budget=400).events
    assert len(by_budget) == (round(400 * 0.5 * 22050 / 32768) - 24) // 18 and by_budget.numbers == 24 + 18 * len(
        by_budget
    )


def test_more_in_longer_recordings():
    settings = DecomposeSettings()
    assert [most_events(settings, s * 32768 / 22050, 1) for s in (0.001, 0.5, 1, 10)] == [1, 27, 54, 540]
    # 15 frames of air of 24 numbers: what is left of 10240 pays for vectors of 18, or 19 with a place
    assert most_events(DecomposeSettings(budget=1024), 10 * 32768 / 22050, 1) == (10240 - 15 * 24) // 18
    assert most_events(DecomposeSettings(budget=1024), 10 * 32768 / 22050, 2) == (10240 - 2 * 15 * 24) // 19
    # as atoms, 15 of four modes and 5 of noise
    assert most_events(DecomposeSettings(budget=1024, form="atoms"), 10 * 32768 / 22050, 1) == (10240 - 15 * 24) // 20
    assert most_events(DecomposeSettings(budget=1024, atoms=5), 32768 / 22050, 1) == 5
    with pytest.raises(SparseError, match="--budget 41: pays for no event beside the air; give 42 or more"):
        most_events(DecomposeSettings(budget=41), 32768 / 22050, 1)


def test_an_end_that_is_asked_for():
    audio = Audio(struck()[None], RATE)
    stopped = decompose(audio, DecomposeSettings(atoms=40), lambda progress: False, TRAINED)
    assert not stopped.complete and 0 < len(stopped.events) < 40
    with pytest.raises(ValueError, match="needs a model"):
        decompose(audio, DecomposeSettings())


# The fit from there


def test_rounds_of_the_fit_leave_less_within_the_same_numbers():
    sound = struck()
    found = [decomposed(sound, budget=512, refine=rounds, form="atoms").events for rounds in (0, 1, 4)]
    snr = [events.header.quality["snr_db"] for events in found]
    assert snr[0] + 1 < snr[1] < snr[2], snr
    assert all(events.numbers <= 512 * 0.5 * 22050 / 32768 and events.header.kind == "atoms" for events in found)
    assert [events.header.settings["refine"] for events in found] == [0, 1, 4]


# Atoms of vectors


def test_an_event_is_one_atom_and_another_of_its_noise():
    events = editing.set_wet(draw_vectors(3, 40, channels=2), np.arange(40) < 20, 0.5)
    events = replace(events, note=np.arange(40, dtype=np.int32) // 2)
    wild = {name: 2 * events.column(name) for name in VECTOR}  # so that some have no noise
    events = editing.with_columns(events, editing.every(events), wild)
    decoded = decode(events, SIAM)
    atoms, of = decoded.atoms, decoded.of
    tones, noise = atoms.modes("level_db").max(1) > SILENT_DB, atoms.noise_level_db > SILENT_DB
    assert np.array_equal(tones, ~noise) and tones.sum() == 40 and 0 < noise.sum() < 40
    np.testing.assert_array_equal(atoms.id[tones], events.id)
    assert len(set(atoms.id.tolist())) == len(atoms)
    for name in ("pan", "wet"):
        np.testing.assert_array_equal(atoms.column(name), events.column(name)[of])
    for name in ("note", "noise_seed"):
        np.testing.assert_array_equal(getattr(atoms, name), getattr(events, name)[of])
    # the gain is the level of the loudest tone
    np.testing.assert_allclose(atoms.modes("level_db").max(1)[tones], events.column("gain_db"), atol=1e-5)


def test_a_gain_and_a_shift_are_those_of_the_sound():
    events = draw_vectors(5, 6, duration_s=0.5)
    quiet = editing.change_gain(events, editing.every(events), -6.0)
    np.testing.assert_allclose(played(quiet), played(events) * 10 ** (-6 / 20), atol=2e-6)
    parts = [played(events.take(rows)) for rows in (events.onset_s < 0.2, events.onset_s >= 0.2)]
    np.testing.assert_allclose(parts[0] + parts[1], played(events), atol=2e-6)
    with pytest.raises(ValueError, match="played as the atoms that their model makes of them"):
        render(events)


def test_chance_is_of_vectors_and_all_else_of_what_is_heard():
    events = draw_vectors(6, 8, duration_s=0.5)
    new = heard(events, SIAM, RenderSettings(random_events=True, seed=3))
    vectors = np.random.default_rng(3).standard_normal((16, 8))
    by_hand = editing.with_columns(events, editing.every(events), dict(zip(VECTOR, vectors, strict=True)))
    np.testing.assert_array_equal(new.params, decode(by_hand, SIAM).atoms.params)
    higher = heard(events, SIAM, RenderSettings(pitch_shift_semitones=12.0, time_stretch=2.0))
    own = decode(events, SIAM).atoms
    inside = (own.modes("freq_hz") > 0) & (own.modes("freq_hz") < 90_000)
    np.testing.assert_allclose(higher.modes("freq_hz")[inside], 2 * own.modes("freq_hz")[inside], rtol=1e-6)
    np.testing.assert_allclose(higher.onset_s, 2 * own.onset_s)


def test_what_is_heard_can_be_selected_where_there_is_a_model():
    events = draw_vectors(7, 12)
    atoms, of = (lambda decoded: (decoded.atoms, decoded.of))(decode(events, SIAM))
    kept = keep_heard(events, SIAM, "freq > 600 Hz and modes > 0")
    expected = np.unique(of[(select(atoms, "freq > 600 Hz and modes > 0"))])
    np.testing.assert_array_equal(kept.id, events.id[expected])
    assert 0 < len(kept) < 12


def test_an_edit_decodes_and_goes_on_with_what_was_selected():
    events = draw_vectors(8, 10, duration_s=2.0)
    steps = [Step("where", "time < 1"), Step("gain", 3.0), Step("as", "atoms"), Step("pitch-shift", 12.0)]
    after = do(events, steps, lambda path: events, lambda asked: decode(asked, SIAM))
    own = decode(events, SIAM)
    early = events.onset_s[own.of] < 1
    raised = after.modes("freq_hz") / np.maximum(own.atoms.modes("freq_hz"), 1e-9)
    used = (own.atoms.modes("level_db") > SILENT_DB) & (own.atoms.modes("freq_hz") < 90_000)
    np.testing.assert_allclose(raised[used & early[:, None]], 2.0, rtol=1e-6)
    np.testing.assert_allclose(raised[used & ~early[:, None]], 1.0, rtol=1e-6)
    louder = after.modes("level_db") - own.atoms.modes("level_db")
    np.testing.assert_allclose(louder[used], np.where(early[:, None], 3.0, 0.0).repeat(4, 1)[used], atol=1e-4)
    with pytest.raises(ValueError, match="--as is for events of kind siam, and these are of kind atoms"):
        do(after, [Step("as", "atoms")], lambda path: after)
    with pytest.raises(ValueError, match="no model is at hand for --as"):
        do(events, [Step("as", "atoms")], lambda path: events)

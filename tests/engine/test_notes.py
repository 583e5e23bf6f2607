"""Notes: planted ones are found with their onsets and pitches, and nothing but what was struck decides which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsecli.core.columns import AIR_BANDS, ATOM_COLUMNS, SILENT_DB
from sparsecli.core.events import Events, Header, events_from_columns, notes_of
from sparsecli.core.partials import partials_of
from sparsecli.engine.fitting import fit
from sparsecli.engine.notes import Note, group_notes, note_table
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import FitSettings, RenderSettings

Atom = dict[str, float]


def atom(
    onset_s: float, freqs_hz: list[float], levels_db: list[float], decay_s: float = 1.0, attack_s: float = 0.003
) -> Atom:
    modes = {
        f"{name}{slot}_{unit}": value
        for slot, (freq_hz, level_db) in enumerate(zip(freqs_hz, levels_db, strict=True), 1)
        for name, unit, value in (("freq", "hz", freq_hz), ("level", "db", level_db), ("phase", "rad", 0.7 * slot))
    }
    return {"onset_s": onset_s, "attack_s": attack_s, "decay_s": decay_s, **modes}


def struck(onset_s: float, midi: float, level_db: float = -20.0, partials: int = 8, decay_s: float = 1.0) -> list[Atom]:
    """A note of two atoms: the odd places of its partials and the even ones, 6 dB down an octave, some ms apart."""
    freq_hz = 440 * 2 ** ((midi - 69) / 12)
    h = np.arange(1, partials + 1)
    levels = level_db - 20 * np.log10(h)
    return [
        atom(onset_s + 0.004 * odd, (freq_hz * h[odd::2]).tolist(), levels[odd::2].tolist(), decay_s) for odd in (0, 1)
    ]


def events_of(atoms: list[Atom], duration_s: float = 4.0) -> Events:
    columns: dict[str, Any] = {
        column.name: np.array(
            [entry.get(column.name, SILENT_DB if column.unit == "dBFS" else 0.0) for entry in atoms], np.float64
        )
        for column in ATOM_COLUMNS
    }
    return events_from_columns(Header(duration_s, 22050), columns, np.zeros((1, 0, AIR_BANDS)))


def noise(onset_s: float) -> Atom:
    return {"onset_s": onset_s, "attack_s": 0.01, "decay_s": 0.3, "freq4_hz": 900.0, "noise_level_db": -20.0}


def found(atoms: list[Atom]) -> list[Note]:
    return note_table(group_notes(events_of(atoms)))


def pitches(notes: list[Note]) -> list[int]:
    return sorted(round(note.midi) for note in notes)


# What is found


def test_one_struck_note():
    (note,) = found(struck(0.5, 60))
    assert (note.onset_s, note.midi) == pytest.approx((0.5, 60.0), abs=1e-4)  # a frequency is a float32
    assert (note.name, note.ids) == ("C4", (0, 1))
    assert note.pitch_hz == pytest.approx(261.626, abs=0.01)


@pytest.mark.parametrize("midi", [[60, 64, 67], [48, 55, 64, 70], [57, 60, 65, 70]])
def test_a_chord_with_harmonics(midi: list[int]):
    notes = found([entry for pitch in midi for entry in struck(0.5, pitch)])
    assert pitches(notes) == midi
    assert sorted(len(note.ids) for note in notes) == [2] * len(midi)


def test_an_octave_pair_is_two_notes_and_one_note_is_one():
    assert pitches(found(struck(0.5, 57) + struck(0.5, 69))) == [57, 69]
    assert pitches(found(struck(0.5, 57, partials=8))) == [57]


def test_a_repeated_note_begins_anew():
    notes = found([entry for onset_s in (0.2, 0.5, 0.8) for entry in struck(onset_s, 67)])
    assert pitches(notes) == [67, 67, 67]
    assert [note.onset_s for note in notes] == pytest.approx([0.2, 0.5, 0.8])
    assert [note.ids for note in notes] == [(0, 1), (2, 3), (4, 5)]


def test_a_long_note_made_of_one_atom_after_another_is_one_note():
    first = atom(0.2, [440, 880, 1320], [-20, -26, -30], decay_s=4.0, attack_s=0.03)
    later = [atom(0.2 + 0.4 * n, [440, 880, 1320], [-29, -35, -39], decay_s=1.5, attack_s=0.2) for n in range(1, 5)]
    (note,) = found([first, *later])
    assert (note.onset_s, round(note.midi, 3), note.ids) == (0.2, 69.0, (0, 1, 2, 3, 4))
    assert note.end_s > 2.0


def test_a_melody_over_a_drone():
    drone = atom(0.1, [110, 220, 330, 440], [-20, -24, -26, -28], decay_s=10.0, attack_s=0.05)
    notes = found([drone, *(entry for n, pitch in enumerate((62, 66, 71)) for entry in struck(0.6 + 0.4 * n, pitch))])
    assert [round(note.midi) for note in notes] == [45, 62, 66, 71]
    assert [note.onset_s for note in notes] == pytest.approx([0.1, 0.6, 1.0, 1.4])


def test_an_inharmonic_bell_is_one_note():
    bell = atom(0.3, [440 * ratio for ratio in (1.0, 1.19, 1.56, 2.0)], [-18, -30, -34, -24], decay_s=3.0)
    (note,) = found([bell])
    assert note.midi == pytest.approx(69.0, abs=1e-3)


@pytest.mark.parametrize("h", [[1, 3, 4, 5], [1, 2, 4, 7], [2, 3, 5, 7], [3, 4, 5, 7]])
def test_missing_partials(h: list[int]):
    (note,) = found([atom(0.3, [196.0 * n for n in h], [-20 - 6 * np.log10(n) for n in h])])
    assert note.name == "G3"


def test_noise_and_clicks_are_no_notes():
    click = atom(0.4, [300.0, 1900.0], [-10, -10], decay_s=0.004, attack_s=2e-4)
    assert (group_notes(events_of([noise(0.1), noise(0.4), click])).note == -1).all()
    events = group_notes(events_of([*struck(0.5, 60), noise(0.5), click]))
    assert events.note.tolist() == [0, 0, -1, -1]


@pytest.mark.parametrize(
    "atoms",
    [
        [],
        [noise(0.1)],
        [atom(0.1, [440.0], [-199.0])],
        [atom(3.9, [20.0], [0.0], decay_s=600.0, attack_s=10.0)],
        [atom(-2.0, [11000.0] * 4, [60.0] * 4, decay_s=1e-4, attack_s=2e-4)],
        [atom(0.1, [440.0], [-20.0])] * 3,
    ],
)
def test_odd_events_are_taken(atoms: list[Atom]):
    events = group_notes(events_of(atoms))
    table = note_table(events)
    assert len(table) == notes_of(events) <= len(atoms)
    assert all(np.isfinite([note.midi, note.onset_s, note.end_s, note.level_db]).all() for note in table)


# What does not matter


SCENE = [
    *struck(0.2, 60), *struck(0.2, 67), *struck(0.65, 57), *struck(0.66, 69), *struck(1.1, 60, -30), noise(0.2),
    atom(1.4, [440, 880], [-35, -40], attack_s=0.2),
]  # fmt: skip


def groups(events: Events) -> set[tuple[int, ...]]:
    return {note.ids for note in note_table(group_notes(events))}


@given(st.permutations(range(len(SCENE))))
def test_the_order_of_rows(order: list[int]):
    events = events_of(SCENE)
    assert len(groups(events)) == 5
    shuffled = group_notes(events.take(np.array(order)))
    np.testing.assert_array_equal(shuffled.note, group_notes(events).note[order])


@pytest.mark.parametrize("gain_db", [-100.0, 40.0])
def test_gain(gain_db: float):
    scene = [{key: value + gain_db * ("level" in key) for key, value in entry.items()} for entry in SCENE]
    assert groups(events_of(scene)) == groups(events_of(SCENE))


def test_former_labels():
    events = events_of(SCENE)
    labelled = replace(events, note=np.arange(len(SCENE), dtype=np.int32))
    np.testing.assert_array_equal(group_notes(labelled).note, group_notes(events).note)


def test_a_later_start():
    later = [{**entry, "onset_s": entry["onset_s"] + 700.0} for entry in SCENE]
    assert groups(events_of(later)) == groups(events_of(SCENE))


# The table


def test_labels_follow_onsets_and_every_note_has_atoms():
    events = group_notes(events_of(SCENE))
    firsts = [int(np.argmax(events.note[np.argsort(events.onset_s, kind="stable")] == n)) for n in range(5)]
    assert firsts == sorted(firsts)
    table = note_table(events)
    assert {note.note for note in table} == set(events.note[events.note >= 0].tolist())
    assert [note.onset_s for note in table] == sorted(note.onset_s for note in table)


def test_the_table_is_of_the_labels_alone():
    """Also of such as nobody would give, e.g. after an edit."""
    events = replace(events_of(struck(0.5, 60) + struck(1.0, 64)), note=np.array([7, -1, 3, 3], np.int32))
    assert [(note.note, note.ids, note.name) for note in note_table(events)] == [(7, (0,), "C4"), (3, (2, 3), "E4")]
    assert note_table(replace(events, note=np.full(4, -1, np.int32))) == []


def test_level_and_end_follow_the_sound():
    (note,) = found([atom(0.5, [440.0, 880.0], [-20.0, -20.0], decay_s=1.2)])
    assert note.level_db == pytest.approx(-20 + 10 * np.log10(2), abs=1e-6)
    # Its first mode falls from A to 40 dB under the level of both: from the peak on a T60 of 1.2 s takes 0.8 s to that,
    # less the 3 dB of the other mode, and the attack moves the peak by 15 ms.
    assert note.end_s == pytest.approx(0.5 + 0.8 - 0.06, abs=0.02)
    (cut,) = found([atom(3.5, [440.0], [-20.0], decay_s=9.0)])
    assert cut.end_s == 4.0  # the recording's


def test_energies_are_those_of_the_sound():
    events = events_of([atom(0.1, [441.0], [-20.0], decay_s=0.5, attack_s=attack_s) for attack_s in (0.002, 0.1)])
    for row, energy in enumerate(partials_of(events).energy()):
        sound = render(events.take(np.array([row])), RenderSettings(noise=False)).mono().astype(np.float64)
        assert energy == pytest.approx((sound**2).sum() / 22050, rel=2e-3)  # an integral against a sum


# From sound


def test_notes_of_a_rendered_scene():
    """Three struck notes, rendered and fitted with more atoms than they have, are found, and nothing else."""
    truth = events_of([*struck(0.1, 57, partials=4), *struck(0.4, 64, partials=4), *struck(0.7, 61, partials=4)], 1.1)
    audio = render(truth, RenderSettings(noise=False))
    events = fit(audio, FitSettings(atoms=16, notes=True)).events
    table = note_table(events)
    assert [round(note.midi) for note in table] == [57, 64, 61]
    assert [note.onset_s for note in table] == pytest.approx([0.1, 0.4, 0.7], abs=0.02)

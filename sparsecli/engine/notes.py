"""Atoms to musical notes: which atoms were struck together at one pitch, and what note they make.

A note begins where partials of one harmonic series rise together, so atoms are not judged by their numbers alone: what
is asked of each mode is how much louder the sound around its frequency is after its onset than before, with all modes
near it summed as they sound. Pitches are found among those rises as Klapuri (2006) finds them in a spectrum: take the
fundamental frequency whose series explains most, take its partials away, repeat. What does not rise, and what rises a
little later, belongs to the note that explains most of its energy among those that still sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.columns import NEPERS_PER_T60, SILENT_DB
from ..core.events import Events
from ..core.partials import (
    AFTER_S,
    COMPRESSION,
    MOST,
    TOLERANCE,
    Partials,
    by_label,
    fundamentals,
    name_of,
    partials_of,
    pitches_of,
    series,
)

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Where a figure is called measured, it is the best of its neighbours on three rendered pieces (bench/notes.md).

# When. A strike's partials are found some hundredths of a second apart.
STRIKE_S = 0.05  # either side of a strike's loudest partial; the error of an onset that MIREX allows
BEFORE_S = -np.linspace(0.005, 0.06, 8)  # a rise's past: as much as does not reach the last of fast notes

# What. In semitones, as MIDI numbers.
NEAR = 0.6  # modes so near are one partial: a fit may give it several, which beat or cancel; measured
PURE = 0.2  # of its pitch that a mode needs in order to belong to a note: its band is four semitones wide

# How much.
RISE = 10 ** (1.0 / 10)  # of power after an onset over before: 1 dB, the least change of level that is heard
LEAST = 0.25  # salience of a note against the most salient one's; measured
ANCHOR_SHARE = 0.5  # of an atom's energy that a note must explain to begin with it; measured
SHARE = 0.3  # the same, to go on with it
RELEASE_DB = 40.0  # a note ends where it is so far under its peak, hardly heard beside another
FAINT_DB = 20.0  # atoms so far under a note's loudest do not say when it begins


@dataclass(frozen=True)
class Note:
    """A musical note.

    Attributes:
        note: its label in `Events.note`.
        onset_s: when it begins.
        end_s: when it has fallen 40 dB under its peak, or the recording ends.
        pitch_hz: its fundamental frequency.
        midi: the same as a MIDI number with cents as decimals; 69 is 440 Hz.
        name: of the nearest semitone, e.g. `A4`.
        level_db: peak level of all its modes together, in dB of full scale.
        ids: of its atoms, in the order of their onsets.
    """

    note: int
    onset_s: float
    end_s: float
    pitch_hz: float
    midi: float
    name: str
    level_db: float
    ids: tuple[int, ...]


def group_notes(events: Events) -> Events:
    """Events whose `note` tells which atoms make a note: 0, 1, ... in the order of onsets, -1 for none.

    Gain, the order of the rows and their former labels do not matter. Every note has an atom at least, no atom has two
    notes, and atoms without a pitch (noise, clicks) have none.
    """
    order = np.lexsort((events.id, events.onset_s))
    partials = partials_of(events.take(order))
    labels = np.full(len(events), -1, np.int32)
    if len(partials):
        labels[order] = _renamed(_assign(partials, find_notes(partials), len(events)))
    return replace(events, note=labels)


def note_table(events: Events) -> list[Note]:
    """The notes that the labels of events make, in the order of their onsets; a label needs an atom with a mode."""
    partials = partials_of(events)
    labelled = by_label(partials, events.note)
    pitches = pitches_of(partials, [rows for _, rows in labelled]).tolist()
    notes = [
        _describe(events, label, partials.take(rows), midi)
        for (label, rows), midi in zip(labelled, pitches, strict=True)
    ]
    return sorted(notes, key=lambda note: (note.onset_s, note.midi, note.note))


# Rises


def rises(partials: Partials) -> Floats:
    """How much the sound around each partial's frequency grows at its onset, RMS amplitudes `[N]`, 0 where it does not.

    The modes within 0.6 semitones are summed with their phases, because those of a long tone's atoms often cancel.
    """
    order = np.argsort(partials.midi, kind="stable")
    first = np.searchsorted(partials.midi[order], partials.midi - NEAR)
    last = np.searchsorted(partials.midi[order], partials.midi + NEAR)
    # Past this an atom is too quiet to matter: 100 dB of decay from its onset.
    end_s = partials.onset_s + 100 / 60 * NEPERS_PER_T60 / partials.damping
    spin = 2j * math.pi * partials.freq_hz - partials.damping
    grown = np.zeros(len(partials))
    at_s = np.r_[AFTER_S, BEFORE_S]
    for row in range(len(partials)):
        near = order[first[row] : last[row]]
        onset_s = partials.onset_s[row]
        near = near[(partials.onset_s[near] < onset_s + AFTER_S[-1]) & (end_s[near] > onset_s + BEFORE_S[0])]
        u = np.maximum(onset_s + at_s[:, None] - partials.onset_s[near], 0.0)  # [times, near]
        sound = partials.amplitude[near] * np.expm1(-u / partials.attack_s[near]) ** 2 * np.exp(spin[near] * u)
        power = np.abs(sound.sum(1)) ** 2  # [times]
        after, before = power[: len(AFTER_S)].mean(), power[len(AFTER_S) :].mean()
        grown[row] = after - before if after > RISE * before else 0.0
    return np.sqrt(grown) * partials.purity()


# Pitches


@dataclass(frozen=True)
class Found:
    """A note by its beginning.

    Attributes:
        onset_s: of its most salient partial.
        midi: its fundamental.
        salience: of all its partials together.
        support: the salience that partials can have in it, by row.
    """

    onset_s: float
    midi: float
    salience: float
    support: dict[int, float]


def find_notes(partials: Partials) -> list[Found]:
    """The notes, most salient first; partials are in the order of their onsets."""
    grown = rises(partials)
    strength = (grown / max(float(grown.max()), 1e-30)) ** COMPRESSION
    left = strength > 0
    first = np.searchsorted(partials.onset_s, partials.onset_s - STRIKE_S)
    last = np.searchsorted(partials.onset_s, partials.onset_s + STRIKE_S, side="right")
    found: list[Found] = []
    for row in np.lexsort((partials.midi, partials.onset_s, -grown)):
        if not left[row]:
            continue
        strike = first[row] + np.nonzero(left[first[row] : last[row]])[0]
        left[strike] = False
        strike = np.sort(strike[np.argsort(-strength[strike], kind="stable")[:MOST]])
        found += _notes_of_strike(partials.take(strike), strength[strike], strike)
    found.sort(key=lambda note: (-note.salience, note.onset_s, note.midi))
    return [note for note in found if note.salience >= LEAST * found[0].salience]


def _notes_of_strike(partials: Partials, strength: Floats, rows: Indices) -> list[Found]:
    """Notes among partials that rise together, with their strengths `[N]` and their rows among all `[N]`."""
    places = fundamentals(partials.midi)
    on, weight = series(places, partials.midi)  # [C, H, N], [C, H]
    found: list[Found] = []
    while len(places):
        loudest = (on * strength).max(2)  # [C, H]
        salience = (weight * loudest).sum(1)  # [C]
        best = int(salience.argmax())
        if salience[best] <= LEAST * (found[0].salience if found else 0.0):
            break
        own = (weight[best][:, None] * on[best] * strength).max(0)  # [N]
        onset_s = float(partials.onset_s[own.argmax()])
        support = {int(rows[n]): float(own[n]) for n in np.nonzero(own)[0]}
        found.append(Found(onset_s, float(places[best]), float(salience[best]), support))
        strength = strength - (on[best] * np.minimum(strength, _smooth(loudest[best])[:, None])).max(0)
        weight[np.abs(places - places[best]) < TOLERANCE] = 0.0  # each pitch once
    return found


def _smooth(loudest: Floats) -> Floats:
    """How much of the partials `[H]` is one note's own, `[H]`: no more than the mean of their neighbours.

    What stands out is another note's, an octave or so higher (Klapuri 2003). The first partial has no neighbour below.
    """
    return np.array([np.inf, *(loudest[:-2] + loudest[2:]) / 2, loudest[-2]])


# Atoms of notes


def _assign(partials: Partials, found: Sequence[Found], atoms: int) -> Indices:
    """For each of so many atoms the place of its note in `found`, -1 for none, `[E]`.

    Each note has its anchor. Then atoms, first ones first, join the note that explains most of them, among those that
    have begun, still sound, and were not struck again.
    """
    energy = partials.energy() * (partials.purity() > PURE)
    whole = np.maximum(np.bincount(partials.atom, partials.energy(), atoms), 1e-300)  # [E]
    owner = _anchors(partials, found, energy / whole[partials.atom], atoms)
    onset_s = np.array([note.onset_s for note in found])
    midi = np.array([note.midi for note in found])
    begins_s = onset_s - STRIKE_S
    until_s = begins_s.copy()  # of the notes' atoms so far  [notes]
    closed_s = _next_of_pitch(onset_s, midi) - STRIKE_S  # [notes]
    rows = np.split(
        np.argsort(partials.atom, kind="stable"), np.cumsum(np.bincount(partials.atom, minlength=atoms))[:-1]
    )
    floor_db = np.full(len(found), SILENT_DB)  # of the notes, under which an atom does not prolong them  [notes]
    starts = [partials.onset_s[row[0]] if len(row) else math.inf for row in rows]
    for atom in sorted(range(atoms), key=lambda atom: (owner[atom] < 0, starts[atom])):
        of_atom = rows[atom]
        if not len(of_atom):
            continue
        if owner[atom] < 0:
            start = starts[atom]
            open_ = np.nonzero((begins_s <= start) & (start < closed_s) & (start <= until_s))[0]
            on, weight = series(midi[open_], partials.midi[of_atom])  # [notes, H, n], [notes, H]
            explained = (on * weight[..., None]).max(1) @ energy[of_atom]  # [notes]
            share = on.any(1) @ energy[of_atom] / whole[atom]
            explained = np.where(share >= SHARE, explained, 0.0)
            if not len(open_) or explained.max() <= 0:
                continue
            owner[atom] = open_[explained.argmax()]
        note, sound = owner[atom], partials.take(of_atom)
        floor_db[note] = max(floor_db[note], _peak_db(sound) - RELEASE_DB)
        until_s[note] = max(until_s[note], sound.release_s(floor_db[note]).max())
    return owner


def _peak_db(partials: Partials) -> float:
    """Level of partials of one atom at their common peak, in dB of full scale."""
    return 10 * math.log10(max(float((partials.envelope(partials.peak_s()) ** 2).sum()), 1e-30))


def _anchors(partials: Partials, found: Sequence[Found], share: Floats, atoms: int) -> Indices:
    """Each note's first atom, as places in `found` by atom `[E]`, -1 for the atoms that are none.

    Of all pairs of a note and an atom that supports it, the best is taken first.
    """
    pairs = []
    for place, note in enumerate(found):
        support: dict[int, float] = {}
        shares: dict[int, float] = {}
        for row, value in note.support.items():
            atom = int(partials.atom[row])
            support[atom] = support.get(atom, 0.0) + value
            shares[atom] = shares.get(atom, 0.0) + float(share[row])
        pairs += [(-support[atom] * shares[atom], place, atom) for atom in support if shares[atom] >= ANCHOR_SHARE]
    owner = np.full(atoms, -1, np.intp)
    anchored: set[int] = set()
    for _, place, atom in sorted(pairs):
        if owner[atom] < 0 and place not in anchored:
            owner[atom] = place
            anchored.add(place)
    return owner


def _next_of_pitch(onset_s: Floats, midi: Floats) -> Floats:
    """When the next note of the same pitch begins, `[notes]`; infinite where there is none."""
    same = [(np.abs(midi - midi[n]) < 0.5) & (onset_s > onset_s[n]) for n in range(len(midi))]
    return np.array([onset_s[later].min(initial=np.inf) for later in same])


def _renamed(owner: Indices) -> NDArray[np.int32]:
    """Labels renamed 0, 1, ... in the order in which they first appear."""
    new = {-1: -1}
    return np.array([new.setdefault(label, len(new) - 1) for label in owner.tolist()], np.int32)


def _describe(events: Events, label: int, partials: Partials, midi: float) -> Note:
    """The note that partials of one label make, of the pitch `midi`."""
    rows, first = np.unique(partials.atom, return_index=True)
    rows = rows[np.lexsort((events.id[rows], events.onset_s[rows]))]
    peaks_s = partials.peak_s()[first]  # when each atom is loudest  [atoms]
    power = np.array([(partials.envelope(peak_s) ** 2).sum() for peak_s in peaks_s])  # of all then  [atoms]
    level_db = 10 * math.log10(max(float(power.max()), 1e-30))
    loud = power >= power.max() * 10 ** (-FAINT_DB / 10)
    onset_s = float(partials.onset_s[first][loud].min())
    end_s = float(partials.release_s(level_db - RELEASE_DB).max())
    return Note(
        note=label,
        onset_s=onset_s,
        end_s=max(onset_s, min(end_s, events.header.duration_s)),
        pitch_hz=440 * 2 ** ((midi - 69) / 12),
        midi=midi,
        name=name_of(midi),
        level_db=level_db,
        ids=tuple(events.id[rows].tolist()),
    )

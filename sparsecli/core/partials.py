"""Partials: the modes in use of a set of events, their closed formulas, and the pitch that several of them make."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .columns import DAMPED, NEPERS_PER_T60, SILENT_DB
from .events import Events

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Where a figure is called measured, it is the best of its neighbours on three rendered pieces (bench/notes.md).

AFTER_S = np.linspace(0.01, 0.1, 10)  # when a strike is listened to: the tenth of a second in which a pitch is heard
TOLERANCE = 0.35  # of a partial against its place in the series: a piano's tenth is a third of a semitone sharp
PARTIALS = 12  # above, neighbours of a series are nearer to each other than four tolerances
SUBHARMONICS = 3  # a fundamental may rise apart from its second and third partial, or be missing
MIDI_LOW, MIDI_HIGH = 21.0, 96.0  # the lowest of a piano, and what few melodies pass: above lie the noises of strikes
BANDWIDTH = 0.12  # of a mode over its frequency, two semitones: half its pitch is lost there
MOST = 300  # partials of a strike that are looked at, which bounds time and memory
MOST_PAIRS = 1 << 15  # of partials of one note that are compared at once: arrays that a processor caches; measured
WEIGHT_HZ = 52.0  # of Klapuri's weight of a partial
COMPRESSION = 0.5  # of amplitudes in a salience: without, one loud partial outweighs a series; measured

_HARMONICS = np.arange(1, PARTIALS + 1)
DAMPED_ATTACK = 1 / 32  # of a damped window of kind `gabor`, over its duration; measured: 1/128 takes more atoms
_TOLERATED = 2 ** (TOLERANCE / 12)  # the tolerance as a ratio of frequencies
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
NOTE_NAME = "([a-g])([#b\u266f\u266d]?)(-?[0-9]{1,2})"  # letter, sharp or flat, octave
_SHIFTS = {"": 0, "#": 1, "\u266f": 1, "b": -1, "\u266d": -1}


def midi_of(freq_hz: Floats | float) -> Floats:
    """MIDI number, with cents as decimals.

    >>> float(midi_of(440.0))
    69.0
    """
    return np.asarray(69 + 12 * np.log2(np.asarray(freq_hz) / 440), np.float64)


def name_of(midi: float) -> str:
    """Name of the nearest semitone; middle C, 60, is C4.

    >>> name_of(69.2), name_of(60)
    ('A4', 'C4')
    """
    nearest = math.floor(midi + 0.5)
    return f"{_NAMES[nearest % 12]}{nearest // 12 - 1}"


def midi_of_name(name: str) -> int:
    """MIDI number of a note by its name in scientific pitch notation, sharps as # and flats as b.

    Raises:
        ValueError: this is no such name.

    >>> midi_of_name("C4"), midi_of_name("Bb3"), midi_of_name("c#-1")
    (60, 58, 1)
    """
    found = re.fullmatch(NOTE_NAME, name, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{name!r} is no name of a note")
    return _NAMES.index(found[1].upper()) + _SHIFTS[found[2].lower()] + 12 * (int(found[3]) + 1)


def envelope_peak(z: Floats) -> Floats:
    """Maximum of (1 - exp(-u / attack))^2 exp(-d u) over u, by z = attack d > 0: docs/atom.md. Any shape."""
    return np.asarray((2 / (2 + z)) ** 2 * np.exp(-z * np.log1p(2 / z)), np.float64)


def envelope_energy_s(attack_s: Floats, damping: Floats) -> Floats:
    """Half the integral of that envelope squared over all u, in s: what a mode of amplitude 1 has. Any shape."""
    # E^2 = (1 - x)^4 with x = exp(-u / attack), whose powers j integrate to 1 / (2 d + j / attack); that sum is a
    # beta function, B(2 d attack, 5) attack, which has no cancellation.
    z = 2 * damping * attack_s
    return np.asarray(attack_s * 12 / (z * (z + 1) * (z + 2) * (z + 3) * (z + 4)), np.float64)


@dataclass(frozen=True)
class Partials:
    """All modes in use, N of them; each row has its atom's strike.

    Attributes:
        atom: row of the atom in its events, `[N]`.
        onset_s, attack_s, damping: of the atom, damping in nepers a second, `[N]`.
        midi: frequency as a MIDI number, `[N]`.
        amplitude: complex, A exp(i phase) of docs/atom.md, `[N]`.
    """

    atom: Indices
    onset_s: Floats
    attack_s: Floats
    damping: Floats
    midi: Floats
    amplitude: NDArray[np.complex128]

    def __len__(self) -> int:
        return len(self.atom)

    def take(self, rows: Indices) -> Partials:
        """The partials at `rows`."""
        return Partials(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def freq_hz(self) -> Floats:
        """Frequencies `[N]`."""
        return np.asarray(440 * 2 ** ((self.midi - 69) / 12), np.float64)

    def envelope(self, at_s: Floats) -> Floats:
        """Amplitudes at the times `[..., 1]` or `[..., N]` after the recording's start, `[..., N]`; 0 before onsets."""
        u = np.maximum(at_s - self.onset_s, 0.0)
        return np.asarray(np.abs(self.amplitude) * np.expm1(-u / self.attack_s) ** 2 * np.exp(-self.damping * u))

    def loudness(self) -> Floats:
        """RMS amplitude of each alone in the tenth of a second after its onset, `[N]`, less where its band is wide."""
        sound = self.envelope(self.onset_s + AFTER_S[:, None])  # [times, N]
        return np.asarray(np.sqrt((sound**2).mean(0)) * self.purity())

    def energy(self) -> Floats:
        """Energy of each by itself, in s, `[N]`: half the integral of A^2 E(u)^2 exp(-2 d u)."""
        return np.asarray(np.abs(self.amplitude) ** 2 * envelope_energy_s(self.attack_s, self.damping))

    def peak_s(self) -> Floats:
        """When each is loudest, `[N]`."""
        return np.asarray(self.onset_s + self.attack_s * np.log1p(2 / (self.damping * self.attack_s)))

    def release_s(self, level_db: float) -> Floats:
        """When each has fallen to a level, `[N]`, not before its onset."""
        nepers = np.log(np.maximum(np.abs(self.amplitude), 1e-30)) - level_db / 20 * math.log(10)
        return np.asarray(self.onset_s + np.maximum(nepers, 0.0) / self.damping)

    def purity(self) -> Floats:
        """How much of a pitch each has, `[N]`: 1 for a lasting tone, towards 0 for a click.

        The band of a damped mode, between its -3 dB points, is damping / pi wide.
        """
        return np.asarray(1 / (1 + (self.damping / (math.pi * self.freq_hz * BANDWIDTH)) ** 2))


def partials_of(events: Events) -> Partials:
    """The modes in use, as damped ones: of an atom they are, and a windowed wave stands for one as long and as loud.

    None of events that only a model can decode.
    """
    return _PARTIALS_OF[events.header.kind](events)


def _modes_of_strikes(events: Events) -> Partials:
    level_db = events.modes("level_db")  # [E, 4]
    atom, slot = np.nonzero(
        (level_db > SILENT_DB) & (events.modes("freq_hz") > 0) & (events.column("decay_s") > 0)[:, None]
    )
    attack_s = events.column("attack_s")[atom]
    damping = NEPERS_PER_T60 / events.column("decay_s")[atom]
    peak = envelope_peak(attack_s * damping)
    turn = np.exp(1j * events.modes("phase_rad")[atom, slot])
    amplitude = 10 ** (level_db[atom, slot] / 20) / np.maximum(peak, 1e-30) * turn
    midi = midi_of(events.modes("freq_hz")[atom, slot])
    return Partials(atom, events.onset_s[atom], attack_s, damping, midi, amplitude)


def _strikes_of_windows(events: Events) -> Partials:
    # A bell of length D is as a strike of attack D / 6 and damping 6 / D: it rises for a fifth of D, and is 40 dB down
    # by the end. A damped window is a strike.
    level_db = events.modes("level_db")  # [E, M]
    atom, slot = np.nonzero((level_db > SILENT_DB) & (events.modes("freq_hz") > 0))
    duration_s, damped = events.column("duration_s")[atom], events.column("shape")[atom] == DAMPED
    damping = np.where(damped, NEPERS_PER_T60, 6.0) / duration_s
    attack_s = np.where(damped, DAMPED_ATTACK, 1 / 6) * duration_s
    freq_hz = events.modes("freq_hz")[atom, slot]
    to_onset = np.where(damped, 0.0, -np.pi * np.remainder(freq_hz * duration_s, 2.0))  # half the window before
    turn = np.exp(1j * (events.modes("phase_rad")[atom, slot] + to_onset))
    amplitude = 10 ** (level_db[atom, slot] / 20) / envelope_peak(attack_s * damping) * turn
    return Partials(atom, events.onset_s[atom], attack_s, damping, midi_of(freq_hz), amplitude)


def _none_known(events: Events) -> Partials:
    none = np.zeros(0)
    return Partials(none.astype(np.intp), none, none, none, none, none.astype(np.complex128))


_PARTIALS_OF = {"atoms": _modes_of_strikes, "gabor": _strikes_of_windows, "siam": _none_known, "learned": _none_known}


def series(midi: Floats, partials: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which partials `[N]` lie on the series of which fundamentals `[C]`, `[C, H, N]`, and the weights `[C, H]`.

    The weight of partial h of f is (f + 52 Hz) / (h f + 52 Hz), after Klapuri (2006). His second constant is 320 Hz,
    which also weighs high notes more; with 52 Hz a single partial counts the same at any height.
    """
    on = np.abs(midi[:, None, None] + 12 * np.log2(_HARMONICS)[:, None] - partials) < TOLERANCE
    freq_hz = 440 * 2 ** ((midi[:, None] - 69) / 12)
    return on, (freq_hz + WEIGHT_HZ) / (_HARMONICS * freq_hz + WEIGHT_HZ)


def fundamentals(midi: Floats) -> Floats:
    """Where fundamentals may be: at the partials `[N]` and at their subharmonics, `[C]`."""
    places = fundamentals_of_each(midi).ravel()
    return np.asarray(places[~np.isnan(places)])


def fundamentals_of_each(midi: Floats) -> Floats:
    """Each of the partials `[N]` and its subharmonics, `[N, 3]`; NaN for those that may be no fundamental."""
    places = midi[:, None] - 12 * np.log2(np.arange(1, SUBHARMONICS + 1))
    return np.asarray(np.where((places > MIDI_LOW) & (places < MIDI_HIGH), places, np.nan))


def by_label(partials: Partials, labels: NDArray[np.int32]) -> list[tuple[int, Indices]]:
    """The labels of notes among those of atoms, lowest first, each with the rows of its partials in their order."""
    of_row = labels[partials.atom]
    order = np.argsort(of_row, kind="stable")
    order = order[of_row[order] >= 0]
    parts = np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1) if len(order) else []
    return [(int(of_row[rows[0]]), rows) for rows in parts]


def pitches_of(partials: Partials, notes: Sequence[Indices]) -> Floats:
    """The fundamentals of notes as MIDI numbers, `[notes]`: of each the one whose series is the most salient.

    Args:
        partials: of all of them.
        notes: rows of the partials of each, one at least.
    """
    loudness = partials.loudness()
    found, start = np.zeros(len(notes)), 0
    while start < len(notes):  # as many at once as memory is set aside for
        end, pairs = start, 0
        while end < len(notes) and (end == start or pairs + len(notes[end]) ** 2 <= MOST_PAIRS):
            pairs += len(notes[end]) ** 2
            end += 1
        found[start:end] = _pitches(partials.midi, loudness, notes[start:end])
        start = end
    return found


def _pitches(midi: Floats, loudness: Floats, notes: Sequence[Indices]) -> Floats:
    """The same of a few notes, from pitch and loudness of all partials."""
    loudest = [rows[np.sort(np.argsort(-loudness[rows], kind="stable")[:MOST])] for rows in notes]
    counts = np.array([len(rows) for rows in loudest])
    rows, note = np.concatenate(loudest), np.repeat(np.arange(len(notes)), counts)  # [N]
    strongest = _first_greatest(loudness[rows], counts)  # [notes]
    top = loudness[rows][strongest]
    strength = np.where(top[note] > 0, loudness[rows] / np.maximum(top[note], 1e-300), 0.0) ** COMPRESSION
    places = fundamentals_of_each(midi[rows])  # [N, 3], not all of which may be
    salience = np.where(np.isnan(places), -1.0, _saliences(midi[rows], strength, counts)).ravel()
    best = _first_greatest(salience, SUBHARMONICS * counts)
    has_place = (salience[best] >= 0) & (top > 0)
    return np.asarray(np.where(has_place, places.ravel()[best], midi[rows][strongest]))


def _first_greatest(values: Floats, counts: Indices) -> Indices:
    """Of runs of values, of `counts` each, one after another, the place of the first greatest one, `[runs]`."""
    starts = np.cumsum(counts) - counts
    greatest = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, starts), counts))
    return np.asarray(greatest[np.searchsorted(greatest, starts)])


def _saliences(midi: Floats, strength: Floats, counts: Indices) -> Floats:
    """Salience of the series on each of the partials `[N]` and its subharmonics among its note's partials, `[N, 3]`.

    `counts` says how many each note has. At most one harmonic of a place is within the tolerance of a partial, the
    nearest: of 12 the last two lie 1.5 semitones apart.
    """
    of_row = np.repeat(counts, counts)  # partials of the note of each row  [N]
    row = np.repeat(np.arange(len(midi)), of_row)  # all pairs of rows of one note  [P]
    first = np.repeat(np.cumsum(counts) - counts, counts)
    other = np.arange(len(row)) - np.repeat(np.cumsum(of_row) - of_row, of_row) + first[row]
    freq_hz = 440 * np.exp2((midi - 69) / 12)
    ratio = freq_hz[other] / freq_hz[row]  # [P]
    table = np.zeros(len(midi) * SUBHARMONICS * PARTIALS)  # of each place and harmonic, the strongest partial there
    for slot in range(SUBHARMONICS):
        times = ratio * (slot + 1)  # of the partial over the place
        harmonic = np.rint(times)
        off = times / np.maximum(harmonic, 1)
        on = (off > 1 / _TOLERATED) & (off < _TOLERATED) & (harmonic <= PARTIALS)
        place = (row[on] * SUBHARMONICS + slot) * PARTIALS + harmonic[on].astype(np.intp) - 1
        np.maximum.at(table, place, strength[other[on]])
    place_hz = freq_hz[:, None, None] / np.arange(1, SUBHARMONICS + 1)[:, None]
    weight = (place_hz + WEIGHT_HZ) / (_HARMONICS * place_hz + WEIGHT_HZ)  # [N, 3, H]
    return np.asarray((weight * table.reshape(weight.shape)).sum(-1))

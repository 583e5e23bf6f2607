"""The quantities that a selection can ask of events: every column of their table, and what follows from the columns.

The table in docs/selection.md, the checks and the error messages are made from `QUANTITIES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .columns import KINDS, OPTIONAL_COLUMNS, SILENT_DB, Column, Kind
from .errors import SparseError
from .events import Events
from .partials import by_label, midi_of, partials_of, pitches_of
from .spans import energies_s, lasting_s

Values = NDArray[Any]  # `[E]`, float32 where they are a column of the file as it is, else float64
Unit = Literal["", "s", "Hz", "dB", "%", "rad", "semitones"]

# What may stand behind a number: the unit that it is of, and the factor, exact in decimals.
UNITS: dict[str, tuple[Unit, str]] = {
    "s": ("s", "1"),
    "ms": ("s", "1e-3"),
    "hz": ("Hz", "1"),
    "khz": ("Hz", "1e3"),
    "db": ("dB", "1"),
    "%": ("%", "1e-2"),
    "rad": ("rad", "1"),
    "st": ("semitones", "1"),
    "semitones": ("semitones", "1"),
}
SPELLING = {"hz": "Hz", "khz": "kHz", "db": "dB"}
DECODING = "make atoms of them with: sparse edit --as atoms"  # what helps where only a model knows
UNHEARD = {"time", "onset", "level", "note", "id", *OPTIONAL_COLUMNS}  # known of events that a model decodes
LASTING = {"duration", "end"}  # and these where a column tells how long they are; all else follows from how they sound


class Measured:
    """A set of E events, and what several of its quantities are made from, each computed once."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def column(self, name: str) -> Values:
        """A column `[E]`, as precise as in the file; its default where the events lack it."""
        if name not in self.events.columns:
            return np.full(len(self.events), COLUMNS[name].default, np.float32)
        index = self.events.columns.index(name)
        return self.events.onset_s if index == 0 else self.events.params[:, index - 1]

    @cached_property
    def levels_db(self) -> Values:
        """Of the modes, `[E, M]`."""
        return self.events.modes("level_db").astype(np.float32)

    @cached_property
    def noise_level_db(self) -> Values:
        """Of the noise, `[E]`; -200 where there is none."""
        return self.events.noise_level_db.astype(np.float32)

    @cached_property
    def level_db(self) -> Values:
        """Of the loudest mode, or of the noise where there is none, `[E]`; the gain of events that have one."""
        if self.events.kind.gain:
            return np.asarray(np.max([self.column(name) for name in self.events.gains], axis=0))
        return np.where(self.has_mode, self.levels_db.max(1), self.noise_level_db)

    @cached_property
    def has_mode(self) -> NDArray[np.bool_]:
        """Whether there is a mode, `[E]`."""
        return np.asarray(self.levels_db.max(1) > SILENT_DB)

    @cached_property
    def freq_hz(self) -> Values:
        """Of the loudest mode, or of the noise where there is none, `[E]`; NaN where there is neither."""
        freqs_hz = self.events.modes("freq_hz").astype(np.float32)
        loudest = np.take_along_axis(freqs_hz, self.levels_db.argmax(1)[:, None], 1)[:, 0]
        noise = self.noise_level_db > SILENT_DB
        noise_hz = self.column(self.events.kind.noise[0]) if self.events.kind.noise else np.float32(np.nan)
        return np.where(self.has_mode, loudest, np.where(noise, noise_hz, np.float32(np.nan)))

    @cached_property
    def midi(self) -> Values:
        """Pitch of the note, or of the loudest mode where not grouped, `[E]`; NaN where there is no mode."""
        midi = np.full(len(self.events), np.nan)
        heard = self.has_mode & (self.freq_hz > 0)
        midi[heard] = midi_of(self.freq_hz[heard].astype(np.float64))
        of_note = self._pitches_of_notes()
        for row in np.nonzero(self.events.note >= 0)[0].tolist():
            midi[row] = of_note.get(int(self.events.note[row]), midi[row])
        return midi

    def _pitches_of_notes(self) -> dict[int, float]:
        """Pitch by label, as the table of notes has it, of all notes that have a mode."""
        partials = partials_of(self.events)
        notes = by_label(partials, self.events.note)
        midi = pitches_of(partials, [rows for _, rows in notes])
        return {label: pitch for (label, _), pitch in zip(notes, midi.tolist(), strict=True)}

    @cached_property
    def duration_s(self) -> Values:
        """From the onset until the event is 60 dB under its peak, `[E]`; 0 without decay."""
        return lasting_s(self.events)

    @cached_property
    def energy_s(self) -> Values:
        """Of the modes, each by itself and in one channel, `[E]`, in s: a sine of full scale has 0.5 in a second."""
        return energies_s(self.events)


def _energy_db(measured: Measured) -> Values:
    with np.errstate(divide="ignore"):  # no energy is -inf dB
        return np.asarray(10 * np.log10(measured.energy_s))


def _share(measured: Measured) -> Values:
    return np.asarray(measured.energy_s / max(float(measured.energy_s.sum()), math.ulp(0.0)))


@dataclass(frozen=True)
class Quantity:
    """One number of an event that a selection can ask for.

    `find` gives it for E events, `[E]`; NaN where an event has no such thing.
    """

    name: str
    unit: Unit
    meaning: str
    find: Callable[[Measured], Values]

    def of(self, measured: Measured) -> Values:
        """Of E events, `[E]`; NaN where an event has no such thing.

        Raises:
            SparseError: it follows from how the events sound, which a model alone can tell.
        """
        if measured.events.kind.decoded and self.name not in _known(measured.events.kind):
            kind = measured.events.header.kind
            cure = DECODING if measured.events.kind.has_vectors else "select by onset, level or atom"
            raise SparseError("", f"{self.name} of events of kind {kind} is known to their model alone", cure)
        return self.find(measured)

    @property
    def is_pitch(self) -> bool:
        """Whether names of notes are values of it, and equality is one within half a semitone."""
        return self.unit == "semitones"


def _known(kind: Kind) -> set[str]:
    """Names of what can be said of events of a kind that a model decodes, without it."""
    own = {column.name for column in (*kind.columns, *kind.stereo)}
    return UNHEARD | own | (LASTING if "duration_s" in own else set())


def _of_column(column: Column) -> Quantity:
    units: dict[str, Unit] = {"s": "s", "Hz": "Hz", "dBFS": "dB", "dB": "dB", "rad": "rad", "Hz/s": "", "": ""}
    return Quantity(column.name, units[column.unit], column.meaning, lambda measured: measured.column(column.name))


DERIVED: tuple[Quantity, ...] = (
    Quantity("time", "s", "start of the event", lambda m: m.events.onset_s),
    Quantity("onset", "s", "the same", lambda m: m.events.onset_s),
    Quantity("attack", "s", "time constant of the rise", lambda m: m.column("attack_s")),
    Quantity("decay", "s", "time in which it falls by 60 dB (T60)", lambda m: m.column("decay_s")),
    Quantity("end", "s", "when it has fallen to 60 dB under its peak", lambda m: m.events.onset_s + m.duration_s),
    Quantity("duration", "s", "from the start to the end", lambda m: m.duration_s),
    Quantity("freq", "Hz", "frequency of the loudest mode; of the noise where there is none", lambda m: m.freq_hz),
    Quantity("pitch", "semitones", "MIDI number of its note; of its loudest mode where not grouped", lambda m: m.midi),
    Quantity("midi", "semitones", "the same", lambda m: m.midi),
    Quantity("level", "dB", "peak level of the loudest mode; of the noise where there is none", lambda m: m.level_db),
    Quantity("energy", "dB", "energy of the modes; 0 dB is 1 s of a constant at full scale", _energy_db),
    Quantity("share", "%", "of the energy of all events, from 0 to 1", _share),
    Quantity("noise", "dB", "level of the noise; -200: none", lambda m: m.noise_level_db),
    Quantity("modes", "", "how many modes are in use", lambda m: (m.levels_db > SILENT_DB).sum(1).astype(np.float64)),
    Quantity("note", "", "label of the musical note; -1 where not grouped", lambda m: m.events.note.astype(np.float64)),
    Quantity("id", "", "unique name of the event", lambda m: m.events.id.astype(np.float64)),
)
COLUMNS: dict[str, Column] = {
    column.name: column
    for table in (*((*kind.columns, *kind.stereo) for kind in KINDS.values()), OPTIONAL_COLUMNS.values())
    for column in table
}
QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity for quantity in (*DERIVED, *(_of_column(column) for column in COLUMNS.values()))
}


def find_quantity(name: str) -> Quantity:
    """The quantity of a name. Raises ValueError where there is none."""
    if name not in QUANTITIES:
        raise ValueError(f"no quantity {name!r}; there are {', '.join(QUANTITIES)}")
    return QUANTITIES[name]

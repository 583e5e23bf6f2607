"""Events to a score, and a score played with the notes of other events. The rules stand in docs/midi.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.columns import (
    AIR_BANDS,
    ATOM_COLUMNS,
    MAX_FREQ_HZ,
    MAX_LEVEL_DB,
    MAX_ONSET_S,
    MIN_ONSET_S,
    MODES_PER_ATOM,
    NEPERS_PER_T60,
    NOISE_FREQ,
    SILENT_DB,
)
from ..core.errors import SparseError
from ..core.events import Events, Header, make_noise_seeds, notes_of
from ..core.score import MAX_VELOCITY, MIN_VELOCITY, Score, ScoreNote, in_order
from .notes import Note, group_notes, note_table

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

VELOCITY_DB = 50.0  # between the softest velocity and the hardest: a piano's range from ppp to fff, and some more
RELEASE_S = 0.1  # in which a note that is let go falls silent: a piano's damper takes about as long
MIN_RELEASE_S, MAX_RELEASE_S = 1e-3, 60.0
FAINT_DB = 30.0  # more than a player's dynamics on one key; a recording's echoes and a fit's errors lie under it
FIXED_POINT_STEPS = 30  # each leaves at most 0.29 of the error
MAX_ATOMS = 5_000_000  # of a played score: a gigabyte

_PLACE = {column.name: index - 1 for index, column in enumerate(ATOM_COLUMNS)}  # in `params`
_FREQS = [_PLACE[f"freq{slot}_hz"] for slot in range(1, MODES_PER_ATOM + 1)]
_LEVELS = [_PLACE[f"level{slot}_db"] for slot in range(1, MODES_PER_ATOM + 1)]
_PHASES = [_PLACE[f"phase{slot}_rad"] for slot in range(1, MODES_PER_ATOM + 1)]
_NOISE, _NOISE_FREQ = _PLACE["noise_level_db"], _PLACE[NOISE_FREQ]
_DECAY, _ATTACK = _PLACE["decay_s"], _PLACE["attack_s"]


# Events to a score


def velocity_of(level_db: float) -> int:
    """Velocity of a note at so many dB over the loudest: linear from 1 at -50 dB to 127 at 0 dB, held beyond.

    >>> velocity_of(0.0), velocity_of(-25.0), velocity_of(-80.0)
    (127, 64, 1)
    """
    span = MAX_VELOCITY - MIN_VELOCITY
    return min(max(MIN_VELOCITY + round(span * (1 + level_db / VELOCITY_DB)), MIN_VELOCITY), MAX_VELOCITY)


def level_of(velocity: Floats | float) -> Floats:
    """What `velocity_of` undoes: dB over the loudest note.

    >>> float(level_of(127)), float(level_of(64))
    (0.0, -25.0)
    """
    return np.asarray((velocity - MAX_VELOCITY) * VELOCITY_DB / (MAX_VELOCITY - MIN_VELOCITY), np.float64)


def score_of(events: Events) -> Score:
    """The notes of events: those of their labels, or where there are none those that `group_notes` finds.

    A note ends where it has fallen 40 dB under its peak, or with the recording. The loudest has velocity 127. Events
    without any note give a score without any.
    """
    notes = note_table(events if notes_of(events) else group_notes(events))
    loudest_db = max((note.level_db for note in notes), default=0.0)
    return Score(
        in_order(
            [ScoreNote(note.onset_s, note.end_s, note.midi, velocity_of(note.level_db - loudest_db)) for note in notes]
        ),
        name=events.header.source_name,
    )


# A score to events


@dataclass(frozen=True)
class Voice:
    """The notes that a score is played with, V of them with R rows in all.

    Attributes:
        notes: in the order of their onsets.
        ring_s: from each note's onset until it has fallen 40 dB under its peak, float64 `[V]`.
        rows: of the events, the first note's first, `[R]`.
        starts: where each note's rows start in `rows`, and their end, `[V + 1]`.
    """

    notes: Sequence[Note]
    ring_s: Floats
    rows: Indices
    starts: Indices

    def nearest(self, midi: Floats, level_db: Floats) -> Indices:
        """The note for each pitch and level over the loudest note, both `[N]`, `[N]`.

        The fewest whole semitones away, of those the fewest whole dB, of those the first; but of one pitch distance no
        note 30 dB under the loudest, which is a remainder that a fit took for one.
        """
        own_midi = np.array([note.midi for note in self.notes])
        own_db = self.levels_db - self.levels_db.max()
        wanted, place = np.unique(np.stack([midi, level_db], -1), axis=0, return_inverse=True)
        chosen = np.empty(len(wanted), np.intp)
        for row, (pitch, level) in enumerate(wanted):
            semitones = np.floor(np.abs(own_midi - pitch) + 0.5)  # [V]
            near = np.nonzero(semitones == semitones.min())[0]
            near = near[own_db[near] > own_db[near].max() - FAINT_DB]
            chosen[row] = near[np.floor(np.abs(own_db[near] - level) + 0.5).argmin()]
        return np.asarray(chosen[place.reshape(-1)])

    @property
    def levels_db(self) -> Floats:
        """Of each note, in dB of full scale, `[V]`."""
        return np.array([note.level_db for note in self.notes])


def voice_of(events: Events) -> Voice:
    """The notes of events, by their labels or else grouped here.

    Raises:
        SparseError: there are none.
    """
    events = events if notes_of(events) else group_notes(events)
    # Where the recording ends does not matter: its last note rings on.
    notes = note_table(replace(events, header=replace(events.header, duration_s=math.inf)))
    if not notes:
        raise SparseError(events.header.source_name or "voice", "has no notes to play", "take events with pitches")
    rows_of = {note.note: np.nonzero(events.note == note.note)[0] for note in notes}
    rows = [rows_of[note.note][np.argsort(events.onset_s[rows_of[note.note]], kind="stable")] for note in notes]
    return Voice(
        notes=notes,
        ring_s=np.array([note.end_s - note.onset_s for note in notes]),
        rows=np.concatenate(rows),
        starts=np.cumsum([0, *(len(of_note) for of_note in rows)]),
    )


def play(score: Score, voice: Events, *, release_s: float = RELEASE_S, with_air: bool = False, seed: int = 0) -> Events:
    """A score played with the notes of other events: each of its notes is the nearest one of the voice, moved.

    It is transposed by the difference, all modes and noise alike; its level becomes that of the voice's loudest note at
    velocity 127 and 50 dB less at 1; what is let go while it rings falls 60 dB within the release. Drums are left out.

    Args:
        score: what to play.
        voice: of kind `atoms`, with labels of notes, or without (they are then grouped); what has no note is left out.
        release_s: seconds from the end of a note to its silence, 0.001 to 60.
        with_air: a noise floor at the mean power of the voice's; by default none.
        seed: of the noise bursts.

    Returns:
        Events with a label for each score note, in its order, as long as the score and its ring.

    Raises:
        SparseError: the score or the voice has no notes, the score lasts longer than a day, or the setting is out of
            range; or the voice is of another kind.
    """
    if not MIN_RELEASE_S <= release_s <= MAX_RELEASE_S:
        raise SparseError("release_s", f"{release_s:g} is not in {MIN_RELEASE_S:g} .. {MAX_RELEASE_S:g} s")
    notes = [note for note in score.notes if not note.drum]
    if not notes:
        raise SparseError(score.name or "score", "has no notes to play")
    if not all(0 <= note.onset_s <= note.end_s <= MAX_ONSET_S - MAX_RELEASE_S for note in notes):
        raise SparseError(score.name or "score", "has notes before 0 s or after a day")
    if voice.header.kind != "atoms":
        raise SparseError("--voice", f"its events are of kind {voice.header.kind}", "a score needs those of sparse fit")
    events = voice if notes_of(voice) else group_notes(voice)
    source = voice_of(events)
    wanted = _Wanted.of(notes)
    chosen = source.nearest(wanted.midi, wanted.level_db)  # [N]
    counts = np.diff(source.starts)[chosen]  # [N]
    if counts.sum() > MAX_ATOMS:
        raise SparseError(score.name or "score", f"would take {counts.sum()} atoms", f"{MAX_ATOMS} are the most")
    label = np.repeat(np.arange(len(notes)), counts)  # [A], the score note of each atom to come
    within = np.arange(len(label)) - np.repeat(np.cumsum(counts) - counts, counts)
    atoms = events.take(source.rows[source.starts[chosen][label] + within])
    onset_s, gone = _move(atoms, source, wanted, chosen, label)
    params = _transpose_and_scale(atoms.params, source, wanted, chosen, label)
    ring_s = source.ring_s[chosen]
    damped = (wanted.length_s + release_s < ring_s)[label]
    silent_s = (wanted.end_s + release_s)[label] - onset_s
    params[damped, _DECAY] = _damp(params[damped], silent_s[damped])
    kept = ~(damped & gone)
    return _finish(atoms, onset_s, params, label, kept, _header(score, voice, seed, release_s, with_air), with_air)


@dataclass(frozen=True)
class _Wanted:
    """Score notes as columns, float64 `[N]` each; levels in dB over the loudest note's."""

    onset_s: Floats
    end_s: Floats
    midi: Floats
    level_db: Floats

    @classmethod
    def of(cls, notes: Sequence[ScoreNote]) -> _Wanted:
        onset_s, end_s, midi, velocity = np.array(
            [(note.onset_s, note.end_s, note.midi, note.velocity) for note in notes], np.float64
        ).T
        return cls(onset_s, end_s, midi, level_of(velocity))

    @property
    def length_s(self) -> Floats:
        return self.end_s - self.onset_s


def _move(
    atoms: Events, source: Voice, wanted: _Wanted, chosen: Indices, label: Indices
) -> tuple[Floats, NDArray[np.bool_]]:
    """Onsets of the atoms `[A]` in the score, and whether they come after their note's end."""
    own_s = np.array([note.onset_s for note in source.notes])[chosen][label]
    after_s = atoms.onset_s - own_s
    return np.maximum(wanted.onset_s[label] + after_s, MIN_ONSET_S), after_s > np.maximum(wanted.length_s, 0.0)[label]


def _transpose_and_scale(
    params: NDArray[np.float32], source: Voice, wanted: _Wanted, chosen: Indices, label: Indices
) -> NDArray[np.float32]:
    """The columns `[A, C - 1]` with frequencies and levels as the score wants them; what leaves the table is mute."""
    own_midi = np.array([note.midi for note in source.notes])[chosen]
    gain_db = source.levels_db.max() + wanted.level_db - source.levels_db[chosen]  # [N]
    ratio = 2 ** ((wanted.midi - own_midi) / 12)
    out = params.astype(np.float64)
    out[:, _FREQS] *= ratio[label, None]
    levels = [*_LEVELS, _NOISE]
    out[:, levels] = np.where(
        out[:, levels] > SILENT_DB, np.clip(out[:, levels] + gain_db[label, None], SILENT_DB, MAX_LEVEL_DB), SILENT_DB
    )
    out[:, _LEVELS] = np.where(out[:, _FREQS] > MAX_FREQ_HZ, SILENT_DB, out[:, _LEVELS])
    mute = out[:, _LEVELS] <= SILENT_DB  # [A, 4]
    noise = out[:, _NOISE] > SILENT_DB
    out[:, _PHASES] = np.where(mute, 0.0, out[:, _PHASES])
    unused = mute & ~(noise[:, None] & (np.array(_FREQS) == _NOISE_FREQ))  # an unused slot holds zeros
    out[:, _FREQS] = np.where(unused, 0.0, np.minimum(out[:, _FREQS], MAX_FREQ_HZ))
    return out.astype(np.float32)


def _damp(params: NDArray[np.float32], silent_s: Floats) -> Floats:
    """Decays `[A]` with which atoms are 60 dB under their peaks so many seconds `[A]` after their onsets, or sooner.

    With d in nepers a second, E(u) exp(-d u) = peak(d) / 1000 gives d = (ln 1000 + ln(E(u) / peak(d))) / u. Its right
    side grows with d by at most 2 / (d u) <= 2 / ln 1000 = 0.29, so that repeating it ends at the only solution.
    """
    attack_s = np.maximum(params[:, _ATTACK].astype(np.float64), 1e-9)
    u = np.maximum(silent_s, MIN_RELEASE_S)
    rise = 2 * np.log(-np.expm1(-u / attack_s))  # ln E(u)
    damping = NEPERS_PER_T60 / u
    for _ in range(FIXED_POINT_STEPS):
        x = attack_s * damping
        peak = 2 * np.log(2 / (2 + x)) - x * np.log1p(2 / x)  # ln, docs/atom.md
        damping = np.maximum(NEPERS_PER_T60 + rise - peak, NEPERS_PER_T60) / u
    return np.minimum(params[:, _DECAY], NEPERS_PER_T60 / damping)


def _header(score: Score, voice: Events, seed: int, release_s: float, with_air: bool) -> Header:
    settings = {"voice": voice.header.source_name, "release_s": release_s, "with_air": with_air}
    return replace(
        voice.header,
        duration_s=score.end_s,
        source_name=score.name,
        source_sha256="",
        seed=seed,
        settings=settings,
        quality={},
    )


def _finish(
    atoms: Events,
    onset_s: Floats,
    params: NDArray[np.float32],
    label: Indices,
    kept: NDArray[np.bool_],
    header: Header,
    with_air: bool,
) -> Events:
    """Events of the atoms that are kept, as long as they ring, with names of their own."""
    ids = np.arange(int(kept.sum()), dtype=np.int64)
    duration_s = max(header.duration_s, ring_end_s(onset_s[kept], params[kept]))
    return replace(
        atoms,
        header=replace(header, duration_s=min(max(duration_s, 1 / header.sample_rate), MAX_ONSET_S)),
        onset_s=onset_s[kept],
        params=params[kept],
        note=label[kept].astype(np.int32),
        id=ids,
        noise_seed=make_noise_seeds(header.seed, ids),
        air=_mean_air(atoms.air) if with_air else np.zeros((len(atoms.air), 0, AIR_BANDS), np.float32),
    )


def ring_end_s(onset_s: Floats, params: NDArray[Any]) -> float:
    """When the last of the atoms has fallen 60 dB under the peak of the loudest one, in s; 0 where nothing sounds."""
    level_db = params[:, [*_LEVELS, _NOISE]].max(axis=1, initial=SILENT_DB).astype(np.float64)  # [A]
    over_db = level_db - level_db.max(initial=SILENT_DB) + 60
    heard = (level_db > SILENT_DB) & (over_db > 0)
    if not heard.any():
        return 0.0
    attack_s, decay_s = (params[heard, place].astype(np.float64) for place in (_ATTACK, _DECAY))
    x = attack_s * NEPERS_PER_T60 / np.maximum(decay_s, 1e-9)
    peak_s = attack_s * np.log1p(2 / x)  # after the onset; from there on it falls no faster than exp(-d u)
    return float((onset_s[heard] + peak_s + over_db[heard] / 60 * decay_s).max())


def _mean_air(air: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean power over the frames of `[channels, frames, 24]` as one frame, which holds for ever."""
    if not air.shape[1]:
        return air
    power = (10 ** (air.astype(np.float64) / 10)).mean(axis=1, keepdims=True)
    mean_db = 10 * np.log10(np.maximum(power, 1e-30))
    return np.asarray(np.maximum(mean_db, SILENT_DB), np.float32)

"""Scores as Standard MIDI Files. Which rules hold in either direction stands in docs/midi.md.

mido turns bytes into messages and back; what the messages mean in time is decided here.
"""

from __future__ import annotations

import io
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecli.core.columns import MAX_ONSET_S
from sparsecli.core.errors import SparseError
from sparsecli.core.score import MAX_VELOCITY, MIN_VELOCITY, Score, ScoreNote, in_order

from .atomic import Path
from .source import open_source

if TYPE_CHECKING:
    from mido import Message, MidiFile

TICKS_PER_QUARTER = 480  # what most programs write: a millisecond at 120 quarters a minute
MIN_TEMPO_BPM, MAX_TEMPO_BPM = 4.0, 1000.0  # a tempo's 24 bits of microseconds go down to 3.6
DEFAULT_TEMPO_US = 500_000  # a quarter, where a file says nothing: 120 a minute
BEND_SEMITONES = 2  # either way; the General MIDI default, so that synthesisers that ignore the RPN are right too
BEND_CENTRE = 8192  # steps either way
CHANNELS, DRUMS = 16, 9  # channel 10, counted from 0
MELODIC = tuple(channel for channel in range(CHANNELS) if channel != DRUMS)
HIGHEST_KEY = 127
HELD = 64  # a pedal's value from which on it is down

MAX_MIDI_BYTES = 1 << 22  # 20 times a string quartet; bounds time and memory, some 200 bytes of it for each one read
MAX_DELTA = (1 << 28) - 1  # ticks between two messages, in the four bytes of a number
MAX_TICK = 1 << 40  # far more than a day, and exact as a float
MAX_NOTES = 500_000
# A number is at most four bytes long, the first three with their highest bit set. mido reads on as long as the bit is
# set, in a time that grows with the square; nor has any text so many letters beyond ASCII in a row.
_ENDLESS_NUMBER = re.compile(rb"[\x80-\xff]{1024}")

# Controllers.
DATA, DATA_FINE, RPN, RPN_FINE, PEDAL = 6, 38, 101, 100, 64
SOUNDS_OFF, RESET, NOTES_OFF = 120, 121, 123
NO_RPN = 127


# Writing


@dataclass
class _Placed:
    """A note on its way into a file: in ticks, with its key, channel and bend in steps."""

    part: int
    on: int
    off: int
    velocity: int
    pitch: float
    drum: bool
    channel: int = 0
    key: int = 0
    bend: int = 0


def write_midi(score: Score, tempo_bpm: float | None = None, bend: bool = False) -> bytes:
    """A MIDI file of type 1 with 480 ticks a quarter: a track of the tempo, then one for each part.

    Times are right within half a tick, and a note lasts a tick at least; what begins before 0 s begins there. Each part
    has a channel of its own (15 go round), drums have channel 10. A note ends where its channel strikes its key again.

    Args:
        score: notes whose pitches lie in 0..127; others are held at these ends.
        tempo_bpm: quarter notes a minute, 4 to 1000; by default the score's. It moves no note in seconds.
        bend: keep pitches to a cent: each sounding note gets a channel of its own, with a pitch bend. Without it they
            are rounded to semitones. Where more than 15 notes sound, one joins the channel of the nearest bend.

    Raises:
        SparseError: the tempo is out of range, there are more than 500 000 notes, or they last too long.
    """
    from mido import MetaMessage, MidiFile, MidiTrack, bpm2tempo

    tempo_bpm = score.tempo_bpm if tempo_bpm is None else tempo_bpm
    if not MIN_TEMPO_BPM <= tempo_bpm <= MAX_TEMPO_BPM:
        raise SparseError("tempo", f"{tempo_bpm:g} is not in {MIN_TEMPO_BPM:g} .. {MAX_TEMPO_BPM:g} a minute")
    if len(score) > MAX_NOTES:
        raise SparseError(score.name, f"has more than {MAX_NOTES} notes")
    tempo_us = bpm2tempo(tempo_bpm)
    placed = _place(score, TICKS_PER_QUARTER * 1e6 / tempo_us)
    (_bend if bend else _round)(placed)
    file = MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER)
    file.tracks.append(MidiTrack([MetaMessage("set_tempo", tempo=tempo_us)]))
    for part in sorted({note.part for note in placed}):
        file.tracks.append(MidiTrack(_messages([note for note in placed if note.part == part], bend)))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _place(score: Score, ticks_per_s: float) -> list[_Placed]:
    """Notes in ticks, in the order of their onsets."""
    placed = []
    for note in in_order(list(score.notes)):
        on = max(0.0, note.onset_s) * ticks_per_s
        off = max(on, note.end_s * ticks_per_s)
        if not off < MAX_DELTA:
            raise SparseError(score.name, f"a note ends at {note.end_s:g} s", "choose a slower tempo")
        velocity = min(max(note.velocity, MIN_VELOCITY), MAX_VELOCITY)
        pitch = min(max(note.midi, 0.0), float(HIGHEST_KEY))
        first = round(on)
        placed.append(_Placed(note.part, first, max(first + 1, round(off)), velocity, pitch, note.drum))
    return placed


def _nearest_key(pitch: float) -> int:
    return math.floor(pitch + 0.5)


def _round(placed: list[_Placed]) -> None:
    """Give notes the nearest keys and their parts' channels."""
    parts = sorted({note.part for note in placed})
    channel_of = {part: MELODIC[place % len(MELODIC)] for place, part in enumerate(parts)}
    for note in placed:
        note.key, note.channel = _nearest_key(note.pitch), DRUMS if note.drum else channel_of[note.part]
    _end_at_restrikes(placed)


def _bend(placed: list[_Placed]) -> None:
    """Give notes keys, bends and channels: of the channels where nothing sounds, the one that has been so longest."""
    free_from = dict.fromkeys(MELODIC, -1)  # ticks
    bends = dict.fromkeys(MELODIC, 0)
    keys: dict[int, dict[int, int]] = {channel: {} for channel in MELODIC}  # until when each channel's keys sound
    for note in placed:
        note.key = _nearest_key(note.pitch)
        if note.drum:
            note.channel = DRUMS
            continue
        note.bend = round((note.pitch - note.key) / BEND_SEMITONES * BEND_CENTRE)
        channel = min(MELODIC, key=free_from.__getitem__)
        if free_from[channel] > note.on:  # all sound: a key that does not, with the nearest bend
            wanted, struck, on = note.bend, note.key, note.on
            channel = min(MELODIC, key=lambda c: (keys[c].get(struck, -1) > on, abs(bends[c] - wanted)))
            note.bend = bends[channel]
        note.channel, bends[channel] = channel, note.bend
        free_from[channel] = max(free_from[channel], note.off)
        keys[channel][note.key] = max(keys[channel].get(note.key, -1), note.off)
    _end_at_restrikes(placed)


def _end_at_restrikes(placed: list[_Placed]) -> None:
    """End each note where its key is struck again on its channel; those of one tick stay as long as they are."""
    next_on: dict[tuple[int, int], int] = {}
    for _, chord in groupby(reversed(placed), key=lambda note: note.on):
        struck = list(chord)
        for note in struck:
            note.off = min(note.off, next_on.get((note.channel, note.key), note.off))
        for note in struck:
            next_on[note.channel, note.key] = note.on


def _messages(placed: list[_Placed], bend: bool) -> list[Message]:
    """The messages of one part with their delta times; at one tick ends come first, then bends, then beginnings."""
    from mido import Message

    channels = sorted({note.channel for note in placed} - {DRUMS}) if bend else []
    timed = [(0, 0, message) for channel in channels for message in _set_bend_range(channel)]
    for note in placed:
        where = {"channel": note.channel, "note": note.key}
        timed.append((note.off, 1, Message("note_off", velocity=MIN_VELOCITY - 1, **where)))
        if note.channel in channels:
            timed.append((note.on, 2, Message("pitchwheel", channel=note.channel, pitch=note.bend)))
        timed.append((note.on, 3, Message("note_on", velocity=note.velocity, **where)))
    timed.sort(key=lambda entry: entry[:2])
    now = 0
    for tick, _, message in timed:
        message.time, now = tick - now, tick
    return [message for _, _, message in timed]


def _set_bend_range(channel: int) -> Iterator[Message]:
    """RPN 0: so many semitones and no cents; then no RPN, so that nothing else changes it."""
    from mido import Message

    values = ((RPN, 0), (RPN_FINE, 0), (DATA, BEND_SEMITONES), (DATA_FINE, 0), (RPN, NO_RPN), (RPN_FINE, NO_RPN))
    for control, value in values:
        yield Message("control_change", channel=channel, control=control, value=value)


# Reading


@dataclass(frozen=True)
class _Held:
    """A note that sounds."""

    on: int
    pitch: float
    velocity: int
    track: int


_Keys = dict[tuple[int, int], deque[_Held]]  # by track and key


@dataclass
class _Channel:
    """What a channel of a port is set to, and what sounds there.

    Attributes:
        number: 0 to 15.
        bend: steps from the centre.
        semitones: that a whole bend is.
        rpn: the parameter that data go to, coarse and fine.
        pedal: whether it is down.
        held: notes that are not let go, earliest first.
        under_pedal: notes let go while it is down.
    """

    number: int
    bend: int = 0
    semitones: float = float(BEND_SEMITONES)
    rpn: tuple[int, int] = (NO_RPN, NO_RPN)
    pedal: bool = False
    held: _Keys = field(default_factory=dict)
    under_pedal: _Keys = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """A note of a file in ticks."""

    on: int
    off: int
    pitch: float
    velocity: int
    track: int
    channel: int


def read_midi(source: bytes | Path, with_drums: bool = False) -> Score:
    """The notes of a MIDI file of type 0 or 1, in seconds by all changes of tempo.

    A note lasts until its note-off (the first one ends the earliest of several on one key), or until the sustain pedal
    is up or its key struck again; one without an end lasts as long as its track. Its pitch is that of its key with the
    bend at its onset. Parts are tracks with notes, in a file of type 0 channels with notes.

    Args:
        source: a file's name, `-` for standard input, or the bytes of a file.
        with_drums: keep the notes of channel 10, which are marked as drums.

    Raises:
        SparseError: no such file, not a MIDI file, damaged, of more than 4 MiB, 500 000 notes or a day, with times in
            SMPTE frames, of type 2, or without a note.
    """
    if isinstance(source, bytes):
        return _score_in(source, "MIDI", "", with_drums)
    with open_source(source) as opened:
        data = opened.stream.read(MAX_MIDI_BYTES + 1)
    return _score_in(data, opened.subject, opened.name, with_drums)


def _score_in(data: bytes, subject: str, name: str, with_drums: bool) -> Score:
    file = _parse(data, subject)
    timed = _in_time(file, subject)
    tempos = [(tick, message.tempo) for tick, _, message in timed if message.type == "set_tempo"]
    found = _find_notes(timed, file)
    if len(found) > MAX_NOTES:
        raise SparseError(subject, f"has more than {MAX_NOTES} notes")
    sources = sorted({_source_of(note, file.type) for note in found})
    part_of = {place: part for part, place in enumerate(sources)}
    drums = sum(note.channel == DRUMS for note in found)
    kept = [note for note in found if with_drums or note.channel != DRUMS]
    if not kept:
        raise SparseError(subject, "has no notes but those of drums" if drums else "has no notes")
    ticks = np.array([(note.on, note.off) for note in kept], np.float64)
    times_s = seconds_of(ticks, tempos, file.ticks_per_beat)
    if times_s.max() > MAX_ONSET_S:
        raise SparseError(subject, "lasts longer than a day")
    notes = [
        ScoreNote(
            onset_s, end_s, note.pitch, note.velocity, part_of[_source_of(note, file.type)], note.channel == DRUMS
        )
        for note, (onset_s, end_s) in zip(kept, times_s.tolist(), strict=True)
    ]
    first_us = next((tempo for tick, tempo in reversed(tempos) if tick == 0), DEFAULT_TEMPO_US)
    return Score(in_order(notes), min(max(60e6 / max(first_us, 1), MIN_TEMPO_BPM), MAX_TEMPO_BPM), name)


def _source_of(note: _Found, file_type: int) -> int:
    return note.track if file_type else note.channel


def seconds_of(ticks: np.ndarray, tempos: Iterable[tuple[int, int]], ticks_per_quarter: int) -> np.ndarray:
    """Times of ticks, of any shape.

    Args:
        ticks: from the start.
        tempos: ticks and, from each on, microseconds a quarter, in their order; 500 000 before the first.
        ticks_per_quarter: of the file.

    >>> seconds_of(np.array([480, 960]), [(480, 250_000)], 480).tolist()
    [0.5, 0.75]
    """
    changes = np.array([(0, DEFAULT_TEMPO_US), *tempos], np.float64)  # [tempos, 2]
    at, s_per_tick = changes[:, 0], changes[:, 1] / 1e6 / ticks_per_quarter
    start_s = np.r_[0.0, np.cumsum(np.diff(at) * s_per_tick[:-1])]  # [tempos]
    place = np.searchsorted(at, ticks, side="right") - 1
    return np.asarray(start_s[place] + (ticks - at[place]) * s_per_tick[place])


def _parse(data: bytes, subject: str) -> MidiFile:
    """The messages of a file. Raises SparseError for whatever cannot be read."""
    from mido import MidiFile

    if not data.startswith(b"MThd"):
        raise SparseError(subject, "is not a MIDI file")
    if len(data) > MAX_MIDI_BYTES:
        raise SparseError(subject, f"is a MIDI file of more than {MAX_MIDI_BYTES >> 20} MiB")
    if _ENDLESS_NUMBER.search(data):
        raise SparseError(subject, "is a damaged MIDI file (a number that does not end)")
    try:
        file = MidiFile(file=io.BytesIO(data))
    except EOFError:
        raise SparseError(subject, "is a truncated MIDI file") from None
    except Exception as error:  # mido has an exception of another kind for each place where bytes can be wrong
        raise SparseError(subject, f"is a damaged MIDI file ({error or type(error).__name__})") from error
    if file.type not in (0, 1):
        raise SparseError(subject, f"is a MIDI file of type {file.type}", "export it as type 1")
    if file.ticks_per_beat <= 0:
        raise SparseError(
            subject, "counts time in SMPTE frames, not in quarter notes", "export it with ticks a quarter"
        )
    return file


def _in_time(file: MidiFile, subject: str) -> list[tuple[int, int, Any]]:
    """All messages as tick, track and message, in the order of ticks, then of tracks."""
    timed = []
    for track, messages in enumerate(file.tracks):
        now = 0
        for message in messages:
            now += message.time
            timed.append((now, track, message))
        if now > MAX_TICK:
            raise SparseError(subject, f"is a MIDI file of more than {MAX_TICK} ticks")
    timed.sort(key=lambda entry: entry[:2])
    return timed


def _find_notes(timed: list[tuple[int, int, Any]], file: MidiFile) -> list[_Found]:
    """Notes with their ends in ticks."""
    ports = [next((m.port for m in track if m.type == "midi_port"), 0) for track in file.tracks]
    ends = [sum(message.time for message in track) for track in file.tracks]
    channels: dict[tuple[int, int], _Channel] = {}
    found: list[_Found] = []
    for tick, track, message in timed:
        if not message.is_meta and hasattr(message, "channel"):
            channel = channels.setdefault((ports[track], message.channel), _Channel(message.channel))
            found += _follow(channel, tick, track, message)
    for channel in channels.values():
        for keys in (channel.held, channel.under_pedal):
            for (track, _), notes in keys.items():
                found += _ended(notes, ends[track], channel)
    return found


def _follow(channel: _Channel, tick: int, track: int, message: Any) -> list[_Found]:
    """Let a message do to its channel what it says; returns the notes that end by it."""
    if message.type in ("note_on", "note_off"):
        place = (track, message.note)
        if message.type == "note_on" and message.velocity > 0:
            pitch = message.note + channel.bend / BEND_CENTRE * channel.semitones
            channel.held.setdefault(place, deque()).append(_Held(tick, pitch, message.velocity, track))
            return _ended(channel.under_pedal.pop(place, ()), tick, channel)
        if not channel.held.get(place):
            return []
        note = channel.held[place].popleft()
        if not channel.pedal:
            return _ended([note], tick, channel)
        channel.under_pedal.setdefault(place, deque()).append(note)
    elif message.type == "pitchwheel":
        channel.bend = message.pitch
    elif message.type == "control_change":
        _control(channel, message.control, message.value)
        silenced = message.control == SOUNDS_OFF
        found = _all_ended(channel.under_pedal, tick, channel) if silenced or not channel.pedal else []
        return found + (_all_ended(channel.held, tick, channel) if silenced or message.control == NOTES_OFF else [])
    return []


def _all_ended(keys: _Keys, tick: int, channel: _Channel) -> list[_Found]:
    """End the notes of several keys, which no longer have them."""
    found = [note for notes in keys.values() for note in _ended(notes, tick, channel)]
    keys.clear()
    return found


def _ended(notes: Iterable[_Held], tick: int, channel: _Channel) -> list[_Found]:
    return [_Found(note.on, tick, note.pitch, note.velocity, note.track, channel.number) for note in notes]


def _control(channel: _Channel, control: int, value: int) -> None:
    """What a controller sets: the pedal, and RPN 0, the range of bends in semitones and cents."""
    if control == PEDAL:
        channel.pedal = value >= HELD
    elif control == RESET:
        channel.pedal, channel.bend, channel.rpn = False, 0, (NO_RPN, NO_RPN)
    elif control == RPN:
        channel.rpn = (value, channel.rpn[1])
    elif control == RPN_FINE:
        channel.rpn = (channel.rpn[0], value)
    elif control == DATA and channel.rpn == (0, 0):
        channel.semitones = value + channel.semitones % 1
    elif control == DATA_FINE and channel.rpn == (0, 0):
        channel.semitones = math.floor(channel.semitones) + min(value, 99) / 100

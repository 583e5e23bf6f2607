"""MIDI files: what is written is read back, times and pitches are right by hand, and nothing damaged does harm."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecli.core.errors import SparseError
from sparsecli.core.score import Score, ScoreNote, in_order
from sparsecli.io import midi
from sparsecli.io.midi import read_midi, write_midi

TICK_S = 60 / 120 / 480  # at 120 quarters a minute
CENT = 0.01

quickly = settings(max_examples=60, deadline=None)


def note_on(key: int, delta: int = 0, velocity: int = 64, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=key, velocity=velocity, channel=channel, time=delta)


def note_off(key: int, delta: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=key, channel=channel, time=delta)


def control(number: int, value: int, delta: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=number, value=value, channel=channel, time=delta)


def tempo(microseconds: int, delta: int = 0) -> mido.MetaMessage:
    return mido.MetaMessage("set_tempo", tempo=microseconds, time=delta)


def file_of(*tracks: list, kind: int = 1, ticks: int = 480) -> bytes:
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks, tracks=[mido.MidiTrack(track) for track in tracks])
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def spans(score: Score) -> list[tuple[float, float, float]]:
    return [(round(note.midi, 6), round(note.onset_s, 9), round(note.end_s, 9)) for note in score.notes]


def chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "big") + data


def raw(track: bytes, division: bytes = b"\x01\xe0", kind: int = 1) -> bytes:
    return chunk(b"MThd", bytes([0, kind, 0, 1]) + division) + chunk(b"MTrk", track)


ONE = ScoreNote(0.5, 1.0, 60.0, 100)
ONE_FILE = write_midi(Score((ONE,)))


# There and back


PITCHES = st.integers(0, 127).map(float)


@st.composite
def scores(draw: st.DrawFn, pitches: st.SearchStrategy[float] = PITCHES, most: int = 40) -> Score:
    notes = []
    for _ in range(draw(st.integers(1, most))):
        onset_s = draw(st.floats(0, 20))
        length_s = draw(st.floats(0, 5))
        velocity, part = draw(st.integers(1, 127)), draw(st.integers(0, 2))
        notes.append(ScoreNote(onset_s, onset_s + length_s, draw(pitches), velocity, part))
    return Score(in_order(notes))


@given(scores(st.sampled_from([60.0, 61.0, 72.0, 127.0])), st.floats(4, 1000))
@quickly
def test_a_score_comes_back_within_a_tick(score: Score, tempo_bpm: float):
    tick_s = 60 / tempo_bpm / 480
    again = read_midi(write_midi(score, tempo_bpm))
    assert again.tempo_bpm == pytest.approx(tempo_bpm, rel=1e-3)  # of microseconds: at 1000 a minute 60 000
    assert len(again) == len(score)
    rank = {part: place for place, part in enumerate(sorted({note.part for note in score.notes}))}
    written, read = defaultdict(list), defaultdict(list)
    for note in score.notes:
        written[rank[note.part], note.midi].append(note)
    for note in again.notes:
        read[note.part, note.midi].append(note)
    assert written.keys() == read.keys()
    for place, notes in written.items():
        restrikes_s = [note.onset_s for note in notes] + [float("inf")]
        for note, found in zip(sorted(notes, key=lambda n: n.onset_s), read[place], strict=True):
            assert abs(found.onset_s - note.onset_s) <= 0.51 * tick_s
            assert found.end_s > found.onset_s
            later_s = min(onset_s for onset_s in restrikes_s if onset_s > note.onset_s)
            alone = len([n for n in notes if abs(n.onset_s - note.onset_s) <= tick_s]) == 1
            if alone:
                assert found.velocity == note.velocity
                assert abs(found.end_s - min(note.end_s, later_s)) <= 1.5 * tick_s  # a tick at least


@given(scores(st.floats(0, 127), most=60))
@quickly
def test_bent_pitches_come_back_to_a_cent_while_at_most_15_sound(score: Score):
    again = read_midi(write_midi(score, 120, bend=True))
    assert len(again) == len(score)
    onsets_s = [note.onset_s for note in score.notes]
    most = max(sum(n.onset_s <= t + 2 * TICK_S and n.end_s >= t - 2 * TICK_S for n in score.notes) for t in onsets_s)
    if most > 15:
        return  # the next test
    pairs = zip(sorted(score.notes, key=near), sorted(again.notes, key=near), strict=True)
    for note, found in pairs:
        assert abs(found.midi - note.midi) < CENT


def near(note: ScoreNote) -> tuple[float, float]:
    return (round(note.onset_s / TICK_S), note.midi)


def test_more_notes_than_channels_are_all_written():
    chord = tuple(ScoreNote(0.0, 1.0, 40 + 1.03 * k, 64) for k in range(40))
    again = read_midi(write_midi(Score(chord), bend=True))
    assert len(again) == 40 and all(note.end_s == pytest.approx(1.0) for note in again.notes)
    errors = [abs(a.midi - b.midi) for a, b in zip(chord, again.notes, strict=True)]
    assert max(errors) <= 0.5 and sum(error < CENT for error in errors) >= 15


def test_unisons_are_neither_lost_nor_left_hanging():
    same = tuple(ScoreNote(0.0, 0.1 * k, 60.0, 64) for k in range(1, 31))
    for bend in (False, True):
        assert spans(read_midi(write_midi(Score(same), bend=bend))) == spans(Score(same))


def test_a_restrike_ends_a_note():
    notes = (ScoreNote(0, 2, 60, 64), ScoreNote(1, 3, 60, 64), ScoreNote(1, 3, 62, 64))
    assert spans(read_midi(write_midi(Score(notes)))) == [(60, 0, 1), (60, 1, 3), (62, 1, 3)]


def test_what_begins_before_the_start_begins_there():
    (note,) = read_midi(write_midi(Score((replace(ONE, onset_s=-1.0),)))).notes
    assert (note.onset_s, note.end_s) == (0, 1)


def test_parts_and_drums():
    score = Score((replace(ONE, part=3), replace(ONE, part=7, midi=64.0), replace(ONE, part=8, midi=38.0, drum=True)))
    data = write_midi(score)
    again = read_midi(data, with_drums=True)
    assert [(note.part, note.midi, note.drum) for note in again.notes] == [
        (2, 38, True),
        (0, 60, False),
        (1, 64, False),
    ]
    assert [note.midi for note in read_midi(data).notes] == [60, 64]
    channels = {
        m.channel for track in mido.MidiFile(file=io.BytesIO(data)).tracks for m in track if m.type == "note_on"
    }
    assert len(channels) == 3 and 9 in channels


def test_twenty_parts_leave_the_drums_alone():
    data = write_midi(Score(tuple(replace(ONE, part=part) for part in range(20))))
    assert {note.part for note in read_midi(data).notes} == set(range(20))


# The bytes


def test_the_bytes_of_one_note():
    # 500 000 us a quarter is 07 a1 20; 0.5 s is 480 ticks, 83 60 as a number; key 60 with velocity 100.
    header = chunk(b"MThd", b"\x00\x01\x00\x02\x01\xe0")
    tempo_track = chunk(b"MTrk", b"\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x2f\x00")
    note_track = chunk(b"MTrk", b"\x83\x60\x90\x3c\x64\x83\x60\x80\x3c\x00\x00\xff\x2f\x00")
    assert header + tempo_track + note_track == ONE_FILE


@pytest.mark.parametrize(
    ("pitch", "key", "steps"), [(60.25, 60, 1024), (60.5, 61, -2048), (69.01, 69, 41), (0.0, 0, 0)]
)
def test_bends_are_steps_of_two_semitones_over_8192(pitch: float, key: int, steps: int):
    file = mido.MidiFile(file=io.BytesIO(write_midi(Score((replace(ONE, midi=pitch),)), bend=True)))
    messages = [message for message in file.tracks[1] if not message.is_meta]
    values = [(m.control, m.value) for m in messages if m.type == "control_change"]
    assert values == [(101, 0), (100, 0), (6, 2), (38, 0), (101, 127), (100, 127)]
    assert [m.type for m in messages[6:]] == ["pitchwheel", "note_on", "note_off"]
    assert (messages[6].pitch, messages[7].note) == (steps, key)
    assert key + steps / 8192 * 2 == pytest.approx(pitch, abs=CENT / 2)


def test_sounding_notes_have_channels_of_their_own():
    score = Score(tuple(ScoreNote(0.1 * k, 0.1 * k + 1.45, 50 + 0.37 * k, 64) for k in range(100)))
    file = mido.MidiFile(file=io.BytesIO(write_midi(score, bend=True)))
    sounding: Counter[int] = Counter()
    used = set()
    for message in file.tracks[1]:
        if message.type == "note_on":
            sounding[message.channel] += 1
            used.add(message.channel)
        elif message.type == "note_off":
            sounding[message.channel] -= 1
        assert max(sounding.values(), default=0) <= 1
        assert message.type != "pitchwheel" or sounding[message.channel] == 0
    assert used == set(range(16)) - {9}


def test_ends_come_before_beginnings():
    score = Score((ScoreNote(0, 1, 60, 64), ScoreNote(1, 2, 60, 64)))
    types = [m.type for m in mido.MidiFile(file=io.BytesIO(write_midi(score))).tracks[1]]
    assert types[:4] == ["note_on", "note_off", "note_on", "note_off"]


def test_the_same_score_gives_the_same_bytes():
    score = Score(tuple(ScoreNote(k / 7, k / 7 + 0.3, 60 + k / 9, 64, k % 3) for k in range(50)))
    assert write_midi(score, 97, True) == write_midi(score, 97, True)


@pytest.mark.parametrize("tempo_bpm", [0.0, -1.0, 3.0, 1e9, float("nan")])
def test_silly_tempos_are_refused(tempo_bpm: float):
    with pytest.raises(SparseError, match="tempo"):
        write_midi(Score((ONE,)), tempo_bpm)


def test_a_score_of_weeks_is_refused():
    with pytest.raises(SparseError, match="slower"):
        write_midi(Score((replace(ONE, end_s=1e6),)))


# Reading what others wrote


def test_tempo_changes_by_hand():
    # A quarter of 0.5 s, two of 1 s, then of 0.25 s: ticks 0, 480, 1440 and 1920 are 0, 0.5, 2.5 and 2.75 s.
    tempos = [tempo(500_000), tempo(1_000_000, 480), tempo(250_000, 960)]
    notes = [note_on(60), note_off(60, 480), note_on(62), note_off(62, 960), note_on(64), note_off(64, 480)]
    expected = [(60, 0, 0.5), (62, 0.5, 2.5), (64, 2.5, 2.75)]
    assert spans(read_midi(file_of(tempos, notes))) == expected
    assert spans(read_midi(file_of([note_on(60, 960), note_off(60, 960)], tempos))) == [(60, 1.5, 2.75)]
    assert read_midi(file_of(tempos, notes)).tempo_bpm == 120


def test_a_file_without_a_tempo_has_120():
    assert spans(read_midi(file_of([note_on(60), note_off(60, 96)], ticks=96, kind=0))) == [(60, 0, 0.5)]


def test_velocity_0_ends_a_note():
    assert spans(read_midi(file_of([note_on(60), note_on(60, 480, velocity=0), note_on(60, 480, velocity=0)]))) == [
        (60, 0, 0.5)
    ]


def test_running_status():
    data = raw(b"\x00\x90\x3c\x40" + b"\x83\x60\x3c\x00" + b"\x00\x3e\x40" + b"\x83\x60\x3e\x00" + b"\x00\xff\x2f\x00")
    assert spans(read_midi(data)) == [(60, 0, 0.5), (62, 0.5, 1)]


def test_the_first_end_is_the_earliest_notes():
    track = [note_on(60), note_on(60, 480), note_off(60, 480), note_off(60, 480)]
    assert spans(read_midi(file_of(track))) == [(60, 0, 1), (60, 0.5, 1.5)]


def test_the_pedal_prolongs_notes():
    track = [note_on(60), control(64, 127), note_off(60, 480), note_on(62), note_off(62, 480), control(64, 0, 480)]
    assert spans(read_midi(file_of(track))) == [(60, 0, 1.5), (62, 0.5, 1.5)]
    half = [note_on(60), control(64, 63), note_off(60, 480)]
    assert spans(read_midi(file_of(half))) == [(60, 0, 0.5)]


def test_the_pedal_lets_a_restrike_end_a_note_and_holds_what_is_held():
    track = [control(64, 127), note_on(60), note_off(60, 240), note_on(60, 240), control(64, 0, 480), note_off(60, 480)]
    assert spans(read_midi(file_of(track))) == [(60, 0, 0.5), (60, 0.5, 1.5)]


def test_the_pedal_is_its_channels_in_all_tracks():
    tracks = [[control(64, 127), control(64, 0, 960)], [note_on(60), note_off(60, 480)], [note_on(62, channel=1)]]
    tracks[2].append(note_off(62, 480, channel=1))
    assert spans(read_midi(file_of(*tracks))) == [(60, 0, 1), (62, 0, 0.5)]


def test_ports_keep_channels_apart():
    pedal = [mido.MetaMessage("midi_port", port=1), control(64, 127), control(64, 0, 960)]
    assert spans(read_midi(file_of(pedal, [note_on(60), note_off(60, 480)]))) == [(60, 0, 0.5)]


def test_notes_without_an_end_last_as_long_as_their_track():
    end = mido.MetaMessage("end_of_track", time=960)
    assert spans(read_midi(file_of([note_on(60, 480), end], [note_on(62), note_off(62, 9600)]))) == [
        (62, 0, 10),
        (60, 0.5, 1.5),
    ]
    under_pedal = [control(64, 127), note_on(60), note_off(60, 480), end]
    assert spans(read_midi(file_of(under_pedal))) == [(60, 0, 1.5)]


@pytest.mark.parametrize("number", [120, 123])
def test_all_notes_off(number: int):
    track = [note_on(60), note_on(62), control(number, 0, 480), note_off(60, 480)]
    assert spans(read_midi(file_of(track))) == [(60, 0, 0.5), (62, 0, 0.5)]


def test_bends_with_a_range_of_their_own():
    bent = mido.Message("pitchwheel", pitch=4096)
    track = [control(101, 0), control(100, 0), control(6, 12), control(38, 50), bent, note_on(60), note_off(60, 480)]
    assert spans(read_midi(file_of(track))) == [(66.25, 0, 0.5)]
    assert spans(read_midi(file_of([bent, note_on(60), note_off(60, 480)]))) == [(61, 0, 0.5)]


def test_parts_are_tracks_or_in_type_0_channels():
    ends = [note_off(60, 480), note_off(62, 0, channel=5)]
    one = file_of([note_on(60), note_on(62, channel=5), *ends], kind=0)
    assert [note.part for note in read_midi(one).notes] == [0, 1]
    two = file_of([tempo(500_000)], [note_on(60), note_off(60, 480)], [note_on(62), note_off(62, 480)])
    assert [note.part for note in read_midi(two).notes] == [0, 1]


def test_reading_a_file(tmp_path: Path):
    path = tmp_path / "score.mid"
    path.write_bytes(ONE_FILE)
    assert read_midi(path) == Score((ONE,), 120.0, "score.mid")
    with pytest.raises(SparseError, match="no such file"):
        read_midi(tmp_path / "other.mid")


# What is damaged or hostile


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF....WAVE", "not a MIDI file"),
        (b"MThd", "truncated"),
        (ONE_FILE[:-5], "truncated"),
        (raw(b"\x00\xff\x2f\x00"), "no notes"),
        (raw(b"\x00\x90\x3c\x40", division=b"\xe7\x28"), "SMPTE"),
        (raw(b"\x00\x90\x3c\x40", division=b"\x00\x00"), "SMPTE"),
        (raw(b"\x00\x90\x3c\x40", kind=2), "type 2"),
        (raw(b"\x00\x90\x3c\xff"), "damaged"),
        (raw(b"\x00\x3c\x40"), "damaged"),
        (raw(b"\x00\xf0\xff\xff\xff\x7f\x00"), "damaged"),  # a message of 256 MiB
        (raw(b"\x00\xff\x51\x01\x00"), "damaged"),  # a tempo of one byte
        (raw(b"\xff" * 1_000_000), "does not end"),
        (raw(b"\x00\x90\x3c\x40" + b"\xff" * 40 + b"\x7f\x90\x3c\x00"), "ticks"),
        (raw(b"\x00\x90\x3c\x40" + b"\xff\xff\xff\x7f\x90\x3c\x00"), "longer than a day"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x7f\xff\x01\xe0", "truncated"),
        (b"MThd\xff\xff\xff\xff\x00\x01\x7f\xff\x01\xe0", "truncated"),
        (b"MThd" + bytes(midi.MAX_MIDI_BYTES), "more than 4 MiB"),
        (file_of([note_on(38, channel=9), note_off(38, 480, channel=9)]), "drums"),
    ],
)
def test_what_cannot_be_read_is_said(data: bytes, said: str):
    with pytest.raises(SparseError, match=said) as caught:
        read_midi(data)
    assert "\n" not in str(caught.value)


RICH = write_midi(Score(tuple(ScoreNote(k / 5, k / 5 + 0.7, 60 + k / 3, 64, k % 3) for k in range(12))), bend=True)


@given(st.integers(0, len(RICH) - 1))
@quickly
def test_truncated_files_raise_nothing_else(length: int):
    with pytest.raises(SparseError):
        read_midi(RICH[:length])


@given(st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_changed_bytes_raise_nothing_else(changes: list[tuple[int, int]]):
    data = bytearray(RICH)
    for place, value in changes:
        data[place] = value
    try:
        score = read_midi(bytes(data), with_drums=True)
    except SparseError:
        return
    assert all(0 <= note.onset_s <= note.end_s and 1 <= note.velocity <= 127 for note in score.notes)


@given(st.binary(max_size=200))
@quickly
def test_any_track_raises_nothing_else(track: bytes):
    try:
        read_midi(raw(track))
    except SparseError:
        return


def test_many_resets_of_many_notes_take_little_time():
    notes = b"".join(bytes([0, 0x90 + k % 9, k % 128, 64]) for k in range(20_000))
    began = time.perf_counter()
    score = read_midi(raw(notes + b"\x00\xb0\x7b\x00" * 100_000 + b"\x00\xff\x2f\x00"))
    assert len(score) == 20_000
    assert time.perf_counter() - began < 20  # takes a second or two; with the product of both numbers, hours


def test_the_start_does_not_bring_mido():
    program = "import sys, sparsecli.io.midi, sparsecli.core.score; print('mido' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"False\n"

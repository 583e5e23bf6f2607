"""Play the example recording: type in a score, write it as MIDI, render it with sampled instruments, save a mono FLAC.

The music is the opening of Edvard Grieg's "Morning Mood" (Peer Gynt Suite No. 1, Op. 46, No. 1, bars 1 to 4). The flute
has Grieg's tune; in place of his held wind chords, harp and plucked double bass play a setting of our own: forty notes.

Needs, on Debian, ``apt install fluidsynth fluid-soundfont-gm`` and the Python packages numpy and soundfile, which
``sparsecli`` brings along. From the root of the repository::

    python examples/make_example.py                   # writes examples/morning.flac
    python examples/make_example.py --list            # prints the notes as a table and renders nothing
    python examples/make_example.py --midi score.mid  # keeps the MIDI file as well

Who wants the notes as data takes ``NOTES`` from here: a tuple of ``Note``, in order of onset, with seconds and hertz.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")  # where Debian's fluid-soundfont-gm puts it
OUTPUT = Path(__file__).with_name("morning.flac")

SAMPLE_RATE_HZ = 44100
LEAD_IN_S = 0.1  # silence before the first note, so that its attack is whole
DURATION_S = 7.9  # of the file; the last note of the flute ends near 6.8 s, and the plucked strings ring on
FADE_S = 0.6  # at the end, down to zero
PEAK = 0.7  # of full scale

BEATS_PER_MINUTE = 72  # a beat is a dotted quarter note; Grieg asks for Allegretto pastorale
EIGHTHS_PER_BAR = 6
EIGHTH_S = 60 / BEATS_PER_MINUTE / 3
TICKS_PER_EIGHTH = 240  # MIDI counts in quarter notes of 480 ticks

# One line a bar, of notes that follow each other: pitch : length in eighths : MIDI velocity.
FLUTE = (
    "B5:1:84   G#5:1:76  F#5:1:72  E5:1:74   F#5:1:72  G#5:1:76",
    "B5:1:86   G#5:1:78  F#5:1:74  E5:1:76   F#5:.5:72 G#5:.5:72 F#5:.5:74 G#5:.5:78",
    "B5:1:90   G#5:1:82  B5:1:88   C#6:1:96  G#5:1:84  C#6:1:92",
    "B5:1:86   G#5:1:78  F#5:1:72  E5:3:76",
)

# One line a bar, of plucked strings: pitch @ eighth of the bar, from 0 : eighths until its release : MIDI velocity.
# The soundfont lets a harp string ring on after its release, so the harp keeps to notes that bear it.
HARP = (
    "B3@1:6:80   G#4@2:6:78",
    "B3@1:6:78   E4@2:7:76",
    "B3@1:3:82   G#3@4:3:86",
    "B3@1:2:78   F#4@2:7:74   E4@3.25:5.75:76   G#4@3.5:5.5:76",
)
BASS = (
    "E3@0:6:92",
    "E3@0:6:88",
    "E3@0:3:92   C#3@3:3:96",
    "B2@0:3:90   E2@3:7:94",
)

PROGRAMS = {"flute": 73, "harp": 46, "bass": 32}  # General MIDI, counted from 0; the order gives the channels
# MIDI channel volumes, 0 to 127: the flute leads, and the peaks of the parts rendered alone lie within 4 dB.
VOLUMES = {"flute": 112, "harp": 124, "bass": 90}

# The last note of the flute dies away: its two ends, in eighths from the first bar line, and their MIDI expressions.
DIMINUENDO_EIGHTHS = (21, 24)
DIMINUENDO_EXPRESSIONS = (127, 50)

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Note:
    """One note of the score, on the clock of the recording, whose first bar line lies at ``LEAD_IN_S``."""

    onset_s: float  # from the beginning of the recording
    duration_s: float  # from onset to release, after which a string dies away
    pitch: str  # such as "G#5"
    velocity: int  # 1 to 127
    part: str  # a key of PROGRAMS
    tick: int  # onset in MIDI ticks, from the first bar line
    ticks: int  # duration in MIDI ticks

    @property
    def midi(self) -> int:
        """Return the MIDI note number: C4, the middle C, is 60."""
        letter, sharp, octave = self.pitch[0], "#" in self.pitch, int(self.pitch[-1])
        return 12 * (octave + 1) + SEMITONES[letter] + sharp

    @property
    def freq_hz(self) -> float:
        """Return the fundamental in equal temperament, A4 at 440 Hz."""
        return 440.0 * 2 ** ((self.midi - 69) / 12)


def make_note(part: str, pitch: str, onset_eighths: float, eighths: float, velocity: int) -> Note:
    """Place a note, counted in eighths from the first bar line, on the clock of the recording."""
    return Note(
        onset_s=LEAD_IN_S + onset_eighths * EIGHTH_S,
        duration_s=eighths * EIGHTH_S,
        pitch=pitch,
        velocity=velocity,
        part=part,
        tick=round(onset_eighths * TICKS_PER_EIGHTH),
        ticks=round(eighths * TICKS_PER_EIGHTH),
    )


def read_melody(part: str, bars: tuple[str, ...]) -> list[Note]:
    """Read lines of ``pitch:eighths:velocity``, each note beginning where the one before it ends."""
    notes, now = [], 0.0
    for number, bar in enumerate(bars):
        for pitch, eighths, velocity in (word.split(":") for word in bar.split()):
            notes.append(make_note(part, pitch, now, float(eighths), int(velocity)))
            now += float(eighths)
        if now != (number + 1) * EIGHTHS_PER_BAR:
            raise ValueError(f"bar {number + 1} of the {part} ends after {now} eighths")
    return notes


def read_plucked(part: str, bars: tuple[str, ...]) -> list[Note]:
    """Read lines of ``pitch@eighth:eighths:velocity``, notes that may ring into each other."""
    notes = []
    for number, bar in enumerate(bars):
        for pitch, place in (word.split("@") for word in bar.split()):
            eighth, eighths, velocity = place.split(":")
            onset_eighths = number * EIGHTHS_PER_BAR + float(eighth)
            notes.append(make_note(part, pitch, onset_eighths, float(eighths), int(velocity)))
    return notes


NOTES = tuple(
    sorted(
        read_melody("flute", FLUTE) + read_plucked("harp", HARP) + read_plucked("bass", BASS),
        key=lambda note: (note.onset_s, note.midi),
    )
)


def variable_length(value: int) -> bytes:
    """Encode a delta time as MIDI does: seven bits a byte, most significant first, all but the last with bit 7 set.

    >>> variable_length(480).hex()
    '8360'
    """
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def standard_midi_file(notes: tuple[Note, ...]) -> bytes:
    """Return the score as a Standard MIDI File of format 0, one channel a part."""
    channels = {part: channel for channel, part in enumerate(PROGRAMS)}
    quarter_us = round(2 * EIGHTH_S * 1e6)
    events = [(0, 0, b"\xff\x51\x03" + quarter_us.to_bytes(3)), (0, 0, b"\xff\x58\x04" + bytes([6, 3, 36, 8]))]
    for part, channel in channels.items():
        events.append((0, 1, bytes([0xC0 | channel, PROGRAMS[part]])))
        events.append((0, 1, bytes([0xB0 | channel, 7, VOLUMES[part]])))
    for note in notes:
        channel = channels[note.part]
        events.append((note.tick + note.ticks, 2, bytes([0x80 | channel, note.midi, 0])))  # released before the next
        events.append((note.tick, 3, bytes([0x90 | channel, note.midi, note.velocity])))
    loud, soft = DIMINUENDO_EXPRESSIONS
    for expression in range(loud, soft, -1):  # in steps of one, too fine to click
        eighth = np.interp(expression, (soft, loud), DIMINUENDO_EIGHTHS[::-1])
        events.append((round(eighth * TICKS_PER_EIGHTH), 1, bytes([0xB0 | channels["flute"], 11, expression])))
    # The track ends with the recording, after the strings have rung out: fluidsynth may stop there.
    end = max(round(DURATION_S / EIGHTH_S * TICKS_PER_EIGHTH), *(note.tick + note.ticks for note in notes))
    events.append((end, 4, b"\xff\x2f\x00"))

    track, now = b"", 0
    for tick, _, message in sorted(events):
        track += variable_length(tick - now) + message
        now = tick
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 2 * TICKS_PER_EIGHTH)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def render(midi: bytes, soundfont: Path) -> np.ndarray:
    """Play a MIDI file with fluidsynth, without its reverb and chorus; return the samples, shape ``[time]``."""
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder, "score.mid"), Path(folder, "score.wav")
        score.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(SAMPLE_RATE_HZ)]
        command += ["-T", "wav", "-O", "float", "-F", str(wave), str(soundfont), str(score)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        stereo, _ = sf.read(wave)  # [time, 2]
    return stereo.mean(axis=1)


def finish(samples: np.ndarray) -> np.ndarray:
    """Put the lead-in before the samples, cut them to length, fade them out and set the peak; shape ``[time]``."""
    recording = np.zeros(round(DURATION_S * SAMPLE_RATE_HZ))
    start = round(LEAD_IN_S * SAMPLE_RATE_HZ)
    count = min(len(samples), len(recording) - start)
    recording[start : start + count] = samples[:count]
    fade = round(FADE_S * SAMPLE_RATE_HZ)
    recording[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2  # from 1 to exactly silence, smooth at both ends
    return recording * (PEAK / np.abs(recording).max())


def print_notes() -> None:
    """Print the score as a table with tabs, ready for a spreadsheet."""
    print("onset_s", "duration_s", "pitch", "freq_hz", "velocity", "part", sep="\t")
    for note in NOTES:
        times = f"{note.onset_s:.3f}\t{note.duration_s:.3f}"
        print(times, note.pitch, f"{note.freq_hz:.2f}", note.velocity, note.part, sep="\t")


def main() -> None:
    """Write the recording."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the notes and render nothing")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the recording to write")
    parser.add_argument("--midi", type=Path, help="keep the MIDI file here")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT, help="General MIDI soundfont to play")
    options = parser.parse_args()
    if options.list:
        print_notes()
        return
    if not options.soundfont.exists():
        parser.error(f"no {options.soundfont}: apt install fluid-soundfont-gm, or name one with --soundfont")

    midi = standard_midi_file(NOTES)
    if options.midi:
        options.midi.write_bytes(midi)
    recording = finish(render(midi, options.soundfont))
    beside = options.out.with_name(options.out.name + ".part")
    sf.write(beside, recording, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    beside.replace(options.out)


if __name__ == "__main__":
    main()

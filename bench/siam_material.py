"""Training material for the Sparse Interpretable Audio Model: pieces of MIDI on a sampled soundfont, and fits of them.

    python bench/siam_material.py --midi DIR --soundfont FILE.sf2 --out DIR [--fits N]

Each MIDI file gives excerpts of twenty seconds on instruments drawn by chance, rendered by fluidsynth to FLAC; of the
first N of them the first eight seconds are fitted too, and the events lie beside the excerpt under its name. The folder
is what `sparse train siam --data` reads. Files that are there already stay as they are.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np
import soundfile

from sparsecli.dsp.resample import resample
from sparsecli.engine.fitting import fit
from sparsecli.engine.settings import FitSettings
from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import save_events

EXCERPT_S = 20.0
FITTED_S = 8.0
RATE = 22_050
TICKS = 480  # of a beat of half a second: mido's default tempo
# Of General MIDI: pianos, bells and mallets, organ, guitars, basses, strings, voices, brass, reeds, flutes, plucked.
PROGRAMS = [0, 0, 0, 1, 4, 8, 9, 11, 11, 12, 14, 19, 24, 25, 26, 27, 29, 32, 33, 40, 41, 42, 45, 46, 48, 52, 56, 57, 60,
            64, 65, 68, 71, 73, 73, 74, 104, 106, 108]  # fmt: skip


def excerpt(path: Path, start_s: float, programs: dict[int, int]) -> mido.MidiFile:
    """The notes of a MIDI file from `start_s` on, for twenty seconds, on the programs of its channels."""
    out, now, last = mido.MidiFile(ticks_per_beat=TICKS), 0.0, 0.0
    track, sounding = mido.MidiTrack(), set[tuple[int, int]]()
    track.extend(mido.Message("program_change", channel=c, program=p) for c, p in programs.items() if c != 9)
    for message in mido.MidiFile(path):
        now += message.time
        if now < start_s or message.type not in ("note_on", "note_off"):
            continue
        if now > start_s + EXCERPT_S - 2:
            break
        track.append(message.copy(time=round((now - start_s - last) * 2 * TICKS)))
        last = now - start_s
        sounding.add((message.channel, message.note))
    # Those that are cut in the midst are let go too: fluidsynth renders until the last has faded.
    track.extend(mido.Message("note_off", channel=c, note=n) for c, n in sorted(sounding))
    out.tracks.append(track)
    return out


def synthesise(piece: mido.MidiFile, soundfont: Path, room: bool) -> np.ndarray:
    """The sound of a piece, mono at 22 050 Hz, float32 `[samples]`."""
    with tempfile.TemporaryDirectory() as folder:
        mid, wav = Path(folder) / "piece.mid", Path(folder) / "piece.wav"
        piece.save(mid)
        effects = ["-R", "1" if room else "0", "-C", "0"]
        command = ["fluidsynth", "-ni", *effects, "-g", "0.5", "-r", "44100", "-F", str(wav), str(soundfont), str(mid)]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    return resample(np.ascontiguousarray(samples.mean(1)), rate, RATE)[: round(EXCERPT_S * RATE)]


def make_excerpt(path: Path, soundfont: Path, out: Path, number: int) -> Path | None:
    """Render one excerpt of a MIDI file, if it is not there yet; None where it is silent."""
    target = out / f"{path.stem[:40]}_{number}.flac"
    if target.exists():
        return target
    draw = np.random.default_rng([sum(map(ord, path.stem)), number])
    length_s = mido.MidiFile(path).length
    programs = {channel: int(draw.choice(PROGRAMS)) for channel in range(16)}
    start_s = float(draw.uniform(0, max(1.0, length_s - EXCERPT_S)))
    samples = synthesise(excerpt(path, start_s, programs), soundfont, room=draw.random() < 0.3)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-3:
        return None
    soundfile.write(target, samples * (0.7 / peak), RATE)
    return target


def main() -> None:
    """Render the excerpts, then fit the first of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--midi", type=Path, required=True, help="folder of MIDI files")
    parser.add_argument("--soundfont", type=Path, required=True, help="an SF2 file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the material")
    parser.add_argument("--excerpts", type=int, default=2, help="of each file")
    parser.add_argument("--fits", type=int, default=40, help="excerpts that are fitted too")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pieces = sorted(arguments.midi.glob("*.mid"))
    numbered = [(path, number) for number in range(arguments.excerpts) for path in pieces]
    made = [make_excerpt(path, arguments.soundfont, arguments.out, number) for path, number in numbered]
    order = np.random.default_rng(0).permutation(len(made))
    for recording in [made[index] for index in order if made[index]][: arguments.fits]:
        events = recording.with_suffix(".npz")
        if not events.exists():
            audio = read_audio(str(recording), 0.0, FITTED_S)
            save_events(events, fit(audio, FitSettings(quality="fast", atoms=64)).events)
            print(events, flush=True)


if __name__ == "__main__":
    main()

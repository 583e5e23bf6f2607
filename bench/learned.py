"""Learned dictionaries beside Gabor's at equal numbers, on string quartets that they were not trained on.

python bench/learned.py --midi DIR --soundfont FILE [--work DIR] [--steps N]
python bench/learned.py --pieces DIR [--work DIR] [--steps N]

The pieces are those in the folder whose names have `--match` in them; `--midi` renders them with fluidsynth, without
reverb and chorus, at 22 050 Hz. Every fourth by name is held out. `--work` keeps what was rendered and trained between
runs: a training that is there already is gone on with up to `--steps`.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import CLIP_RATE, CLIP_SAMPLES, make_parser, rest_by_count, table, write_page

from sparsecli.core.audio import Audio
from sparsecli.core.learned import LearnedDictionary
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.decomposing import decompose
from sparsecli.engine.excerpts import excerpt
from sparsecli.engine.settings import DecomposeSettings
from sparsecli.engine.waveforms import Stretch, build_banks, take_atoms
from sparsecli.io.audio import read_audio, write_audio
from sparsecli.io.dictionary_file import load_dictionary
from sparsecli.io.recordings import Recording, find_recordings

HOLD_OUT = 4  # every fourth piece
EXCERPTS = 2  # of each piece that was held out
SEED = 1
BUDGET = 800  # numbers for each 1.486 s: 160 atoms of Gabor's
BUDGETS = (200, 400, 800, 1600)
WINDOW, ATOM = 5, 3  # numbers of an atom
DICTIONARY_A = "gabor:256,512,1024,2048,4096"
ATOMS = 512
PEAK = 0.7  # of a rendered piece
LENGTHS_S = (1.5, 6, 24)  # of the first piece that was held out
WARM, TIMED = 10, 60  # atoms
SILENCE = 1e-3  # peaks below are no music


@dataclass(frozen=True)
class Way:
    """One dictionary: lengths of its atoms, and steps of its training."""

    name: str
    lengths: str
    steps: int


def parse() -> argparse.Namespace:
    """The options."""
    parser = make_parser(__doc__)
    parser.add_argument("--midi", type=Path, help="folder of MIDI files")
    parser.add_argument("--soundfont", type=Path, help="what plays them")
    parser.add_argument("--pieces", type=Path, help="folder of recordings instead")
    parser.add_argument("--match", default="quartet", help="part of the names that are meant")
    parser.add_argument("--work", type=Path, help="folder of what was rendered and trained")
    parser.add_argument("--steps", type=int, default=60, help="of the main training")
    arguments = parser.parse_args()
    if not (arguments.pieces or (arguments.midi and arguments.soundfont)):
        parser.error("give --midi and --soundfont, or --pieces")
    return arguments


def rendered(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """The pieces as recordings, by name."""
    if arguments.pieces:
        return sorted(path for path in arguments.pieces.iterdir() if arguments.match in path.name)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(arguments.midi.glob(f"*{arguments.match}*.mid")):
        out = folder / f"{path.stem}.wav"
        if not out.exists():
            _render(path, arguments.soundfont, out)
    return sorted(folder.glob("*.wav"))


def _render(midi: Path, soundfont: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        raw = Path(place) / "raw.wav"
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-r", str(CLIP_RATE), "-g", "0.5", "-F", str(raw)]
        subprocess.run([*command, str(soundfont), str(midi)], check=True, capture_output=True)
        mono = read_audio(str(raw)).mono()
    write_audio(str(out), Audio(mono[None] * (PEAK / max(float(np.abs(mono).max()), 1e-9)), CLIP_RATE))


def train(way: Way, pieces: list[Path], work: Path) -> LearnedDictionary:
    """Train a dictionary with `sparse train dictionary`, or go on with it."""
    data = work / "train"
    data.mkdir(parents=True, exist_ok=True)
    for path in pieces:
        if not (data / path.name).exists():
            (data / path.name).symlink_to(path.resolve())
    run = work / way.name
    options = ["--atoms", str(ATOMS), "--length", way.lengths, "--steps", str(way.steps), "--set", "validate_steps=20"]
    command = [sys.executable, "-m", "sparsecli", "train", "dictionary", "--data", str(data), "--out", str(run)]
    subprocess.run([*command, *options, "--resume"], check=True)
    return load_dictionary(run / "model.safetensors")


def clips_of(pieces: list[Path]) -> list[Audio]:
    """Excerpts of 1.486 s at random places that are not silent."""
    found, draw = [], np.random.default_rng(SEED)
    for path in pieces:
        (recording,) = (one for one in find_recordings(str(path.parent), print) if one.name == path.name)
        found += [_clip(recording, draw) for _ in range(EXCERPTS)]
    return found


def _clip(recording: Recording, draw: np.random.Generator) -> Audio:
    while True:
        start_s = draw.uniform(0, recording.duration_s - CLIP_SAMPLES / CLIP_RATE)
        samples = excerpt(recording, start_s, CLIP_SAMPLES, CLIP_RATE)
        if np.abs(samples).max() > SILENCE:
            return Audio(samples[None], CLIP_RATE, recording.name)


def of_windows(clip: Audio, numbers: int) -> float:
    """SNR in dB of pursuit over Gabor's dictionary."""
    settings = DecomposeSettings(method="pursuit", dictionary=DICTIONARY_A, atoms=numbers // WINDOW)
    return decompose(clip, settings).events.header.quality["snr_db"]


def snr_by_count(dictionary: LearnedDictionary, clip: Audio, counts: list[int]) -> list[float]:
    """SNR in dB of pursuit over learned atoms, with each of some numbers of them."""
    (samples,) = clip.samples
    return [snr_db(samples, samples - rest) for rest in rest_by_count(dictionary, samples, counts)]


def cost_us(dictionary: LearnedDictionary, samples: NDArray[np.float32]) -> float:
    """CPU microseconds of an atom, of the loop that finds it and takes it away."""
    pad = dictionary.longest
    padded = np.pad(samples[None], ((0, 0), (pad, pad)))
    stretch = Stretch(build_banks(dictionary, 1e-4), padded, pad, 1 - pad, len(samples))
    started = 0.0
    for count in (WARM, TIMED):  # the first ones make the transforms of atoms that the others find made
        started = time.process_time()
        take_atoms(stretch, math.inf, 0.0, 0.0, np.zeros((count, 3), np.int64), np.zeros((count, 1)), np.zeros(count))
    return (time.process_time() - started) / TIMED * 1e6


def main() -> None:
    """Render, train, measure and write the page."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as place:
        work = arguments.work or Path(place)
        pieces = rendered(arguments, work / "pieces")
        held_out = pieces[::HOLD_OUT]
        rest = [path for path in pieces if path not in held_out]
        way = Way("mixed", "1024,2048,4096,8192", arguments.steps)
        learned, untrained = train(way, rest, work), train(Way("first", way.lengths, 1), rest, work)
        clips = clips_of(held_out)
        piece = read_audio(str(held_out[0]), 0.0, max(LENGTHS_S)).samples[0]
    counts = [budget // ATOM for budget in BUDGETS]
    gabor = np.array([[of_windows(clip, budget) for budget in BUDGETS] for clip in clips])
    own = np.array([snr_by_count(learned, clip, counts) for clip in clips])
    at = BUDGETS.index(BUDGET)
    first = np.array([snr_by_count(untrained, clip, counts[: at + 1])[-1] for clip in clips])
    per_clip = [
        [clip.name, f"{a:.2f}", f"{c:.2f}", f"{b:.2f}", f"{b - a:+.2f}"]
        for clip, a, b, c in zip(clips, gabor[:, at], own[:, at], first, strict=True)
    ]
    means = (gabor[:, at].mean(), first.mean(), own[:, at].mean())
    gain = (own - gabor).mean(0)
    per_clip.append(["mean", *(f"{value:.2f}" for value in means), f"{gain[at]:+.2f}"])
    by_numbers = [
        [str(budget), f"{gabor[:, row].mean():.2f}", f"{own[:, row].mean():.2f}", f"{gain[row]:+.2f}"]
        for row, budget in enumerate(BUDGETS)
    ]
    costs = [[f"{s} s", f"{cost_us(learned, piece[: round(s * CLIP_RATE)]):.0f}"] for s in LENGTHS_S]
    write_page(
        __file__,
        arguments,
        "Learned dictionaries beside Gabor's",
        f"{len(pieces)} string quartets, rendered without reverb and chorus at 22 050 Hz mono; {len(held_out)} of "
        f"them, every fourth by name, are held out, and {EXCERPTS} excerpts of 1.486 s of each are taken apart. The "
        f"learned dictionary has {ATOMS} atoms, as many each of {way.lengths} samples, trained by `sparse train "
        f"dictionary --length {way.lengths} --steps {way.steps}` on the others. An atom of it costs {ATOM} numbers "
        f"(onset, number, level with its sign), and one of Gabor's {WINDOW}. Gabor's dictionary is A, windows of 256 "
        "to 4096 samples a quarter of a window apart. Plain pursuit, SNR in dB.",
        f"## Clip by clip, {BUDGET} numbers: {BUDGET // WINDOW} of Gabor's atoms, {BUDGET // ATOM} learned ones",
        table(["piece", "Gabor A", "learned, after 1 step", f"learned, {way.steps} steps", "gain"], per_clip),
        "## By numbers spent, means",
        table(["numbers", "Gabor A", "learned", "gain"], by_numbers),
        "## Cost of an atom against length",
        table(["length", "us an atom"], costs),
        options="--midi DIR --soundfont FILE",
    )


if __name__ == "__main__":
    main()

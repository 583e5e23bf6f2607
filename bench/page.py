"""What every bench script shares: where clips come from, on what they ran, and the page they write."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsecli.core.audio import Audio
from sparsecli.core.learned import LearnedDictionary
from sparsecli.dsp.resample import resample
from sparsecli.engine.waveforms import Stretch, build_banks, take_atoms
from sparsecli.io.audio import read_audio

HERE = Path(__file__).parent
CLIP_RATE = 22_050
CLIP_SAMPLES = 32_768  # 1.486 s
CLIP_PEAK = 0.9
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"}


def parse_arguments(description: str | None) -> argparse.Namespace:
    """The options of a script that has no others."""
    return make_parser(description).parse_args()


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of all scripts: the clips, and where the page goes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--clips", type=Path, default=HERE.parent / "examples", help="folder of recordings")
    parser.add_argument("--page", type=Path, help="the page to write; default: beside the script")
    parser.add_argument("--longest", type=float, default=120.0, help="seconds of audio that growth is measured up to")
    return parser


def recordings(folder: Path) -> list[Path]:
    """The recordings of a folder by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder}: no recordings in it; give a folder of audio files with --clips")
    return found


def loudest_clip(path: Path) -> Audio:
    """The loudest 1.486 s of a recording at 22 050 Hz, mono, with a peak of 0.9; padded where it is shorter."""
    audio = read_audio(str(path))
    samples = resample(audio.mono(), audio.sample_rate, CLIP_RATE).astype(np.float64)
    energy = np.cumsum(np.r_[0, samples**2])
    start = int(np.argmax(energy[CLIP_SAMPLES:] - energy[:-CLIP_SAMPLES])) if len(samples) > CLIP_SAMPLES else 0
    clip = samples[start : start + CLIP_SAMPLES]
    clip = np.pad(clip, (0, CLIP_SAMPLES - len(clip)))
    clip *= CLIP_PEAK / max(float(np.abs(clip).max()), 1e-9)
    return Audio(clip[None].astype(np.float32), CLIP_RATE, path.name)


def rest_by_count(
    dictionary: LearnedDictionary, samples: NDArray[np.float32], counts: Sequence[int]
) -> list[NDArray[np.float32]]:
    """What plain pursuit over learned atoms leaves of a clip with each of some numbers of them, from one run.

    Args:
        dictionary: of the clip's rate.
        samples: of the clip, `[samples]`.
        counts: of atoms, ascending.
    """
    pad, length = dictionary.longest, len(samples)
    padded = np.pad(samples[None], ((0, 0), (pad, pad)))
    stretch = Stretch(build_banks(dictionary, 1e-4), padded, pad, 1 - pad, length)
    found = []
    for step in np.diff([0, *counts]):
        rows = (np.zeros((step, 3), np.int64), np.zeros((step, 1)), np.zeros(step))
        take_atoms(stretch, math.inf, 0.0, 0.0, *rows)
        found.append(stretch.sound[0, stretch.origin : stretch.origin + length].astype(np.float32))
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---', *['---:'] * (len(head) - 1)])}|"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def write_page(
    script: str, arguments: argparse.Namespace, title: str, *parts: str, options: str = "--clips DIR"
) -> None:
    """Write a script's page: title, machine, how it was made, and its parts."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("sparsecli", "torch", "numpy"))
    made = f"Made by `python bench/{Path(script).name} {options}` on {date.today().isoformat()}."
    where = f"{_processor()}, {os.cpu_count()} cores, no GPU used; Python {platform.python_version()}, {versions}."
    page = arguments.page or Path(script).with_suffix(".md")
    page.write_text("\n\n".join([f"# {title}", made, where, *parts]) + "\n", encoding="utf-8")
    print(page)


def _processor() -> str:
    found = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout.splitlines()
    names = [line.partition(":")[2].strip() for line in found if line.startswith("Model name")]
    return names[0] if names else platform.processor() or "unknown processor"

"""Folders of recordings to train on: what is in one, and excerpts of its files, read by seeking.

Any folder with audio anywhere in it will do. One in MusicNet's layout (Thickstun et al. 2017) has train_data/*.wav, and
in train_labels/ a table of the notes of each.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SparseError
from .decoding import Layout, Stretch, decode, read_layout
from .source import open_source

EXTENSIONS = frozenset(
    (
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".w64",
        ".au",
        ".rf64",
    )
)
ONLY_BY_FFMPEG = frozenset((".m4a", ".mp4", ".aac", ".wma", ".webm"))  # which cannot seek in them well
MUSICNET_AUDIO, MUSICNET_LABELS = "train_data", "train_labels"
MUSICNET_RATE = 44_100  # of the times in its tables, in Hz
HELD_OUT = 0.05  # share of the recordings that is held out, by their names

Skipped = Callable[[SparseError], None]


@dataclass(frozen=True)
class Recording:
    """A file to train on.

    Attributes:
        path: where it lies.
        name: its place in the folder, with `/` between folders.
        layout: length, rate and channels.
        labels: the table of its notes; None where there is none.
    """

    path: str
    name: str
    layout: Layout
    labels: str | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.layout.frames / self.layout.sample_rate


def find_recordings(folder: str, skipped: Skipped) -> list[Recording]:
    """All recordings in a folder and those in it, in the order of their names.

    Args:
        folder: where to look; of MusicNet's layout only what is meant for training is taken.
        skipped: told of each file that should be a recording and cannot be used.

    Raises:
        SparseError: there is no such folder, or no recording in it that can be used.
    """
    root = Path(folder)
    if not root.is_dir():
        cause = "is no folder" if root.exists() else "no such folder"
        raise SparseError(folder, cause, "name a folder of recordings with --data, or with AUDIO_PATH")
    labelled = (root / MUSICNET_AUDIO).is_dir() and (root / MUSICNET_LABELS).is_dir()
    found = []
    for path in sorted(_audio_files(root / MUSICNET_AUDIO if labelled else root)):
        name = path.relative_to(root).as_posix()
        table = root / MUSICNET_LABELS / f"{path.stem}.csv"
        try:
            found.append(Recording(str(path), name, _layout_of(path), str(table) if table.is_file() else None))
        except SparseError as error:
            skipped(error)
    if not found:
        raise SparseError(folder, "holds no recordings that can be read", "name another folder with --data")
    return found


def _audio_files(folder: Path) -> Iterator[Path]:
    """Links are followed, but into no folder twice. Hidden files and folders are left out."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS | ONLY_BY_FFMPEG:
                yield Path(place, name)


def _layout_of(path: Path) -> Layout:
    if path.suffix.lower() in ONLY_BY_FFMPEG:
        raise SparseError(str(path), "is of a kind that training does not read", "convert it to FLAC")
    with open_source(path) as source:
        return read_layout(source)


def read_excerpt(recording: Recording, first: int, frames: int) -> NDArray[np.float32]:
    """Frames `first` to `first + frames` of a recording, or fewer where it ends, float32 `[channels, frames]`.

    Raises:
        SparseError: it cannot be read there.
    """
    rate = recording.layout.sample_rate
    with open_source(recording.path) as source:
        return decode(source, Stretch(first / rate, frames / rate))[0]


def split(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """Recordings to train on, and those that are held out: about one in twenty, by their names alone.

    So a recording stays on its side when others come or go. There is one on each side at least, if there are two; a
    single one is on both.
    """
    ranked = sorted(recordings, key=lambda recording: _chance(recording.name))
    held = [recording for recording in ranked if _chance(recording.name) < HELD_OUT] or ranked[:1]
    held = held[: max(1, len(ranked) - 1)]
    names = {recording.name for recording in held}
    rest = [recording for recording in recordings if recording.name not in names]
    return rest or list(recordings), sorted(held, key=lambda recording: recording.name)


def _chance(name: str) -> float:
    """A number from 0 to 1 that a name determines."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2.0**64


def read_onsets_s(recording: Recording) -> NDArray[np.float64]:
    """Times in seconds at which the notes of a labelled recording begin, in order.

    Raises:
        SparseError: the table cannot be read.
    """
    assert recording.labels is not None
    try:
        with open(recording.labels, newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            if "start_time" not in (table.fieldnames or ()):
                raise ValueError("no column start_time")
            starts = [int(row["start_time"]) for row in table]
    except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise SparseError(recording.labels, f"is no table of notes ({error})") from None
    return np.sort(np.array(starts, np.float64)) / MUSICNET_RATE

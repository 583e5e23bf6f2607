"""From an open file to samples, with every fault of the file found: libsndfile passes over many."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sparsecli.core.columns import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sparsecli.core.errors import SparseError

from .ffmpeg import decode_with_ffmpeg
from .ogg import MAX_PAGE_BYTES, ends_complete
from .source import Source
from .wav import is_placeholder, sound_bytes

_FOREIGN = {1, 4, 7}  # libsndfile's numbers for an unknown format, an unknown encoding, and MP3 only at first sight
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's count for a FLAC stream that does not say how long it is
_BLOCK_FRAMES = 1 << 18
_MAX_START_S = 1e9  # 32 years; its product with a sample rate is still exact


@dataclass(frozen=True)
class Stretch:
    """Which part of a recording to read: `duration_s` from `start_s` on, or all the rest if it is None."""

    start_s: float
    duration_s: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= _MAX_START_S:
            raise SparseError("--start", f"{self.start_s:g} s is not a time in a recording", "give 0 or more")
        if self.duration_s is not None and not self.duration_s > 0:
            raise SparseError("--duration", f"{self.duration_s:g} s is no length", "give more than 0")

    def frames(self, sample_rate: int) -> tuple[int, int | None]:
        """First frame, and the frame after the last or None for the end of the file."""
        first = round(self.start_s * sample_rate)
        if self.duration_s is None:
            return first, None
        return first, first + max(1, round(min(self.duration_s, _MAX_START_S) * sample_rate))


def decode(source: Source, stretch: Stretch) -> tuple[NDArray[np.float32], int]:
    """Samples float32 `[channels, samples]` of a stretch, all finite and at least one, and the sample rate in Hz.

    Raises:
        SparseError: see `read_audio`.
    """
    reason = "is not a recording that libsndfile can read"
    try:
        with _open_sound(source.stream) as sound:
            if sound.frames < _UNKNOWN_FRAMES:
                return _read_stretch(sound, source, stretch), sound.samplerate
            reason = f"is a {sound.format} stream of unstated length, which libsndfile cannot read"
    except soundfile.LibsndfileError as error:
        if error.code not in _FOREIGN:
            raise _damaged(source, error) from None
    with decode_with_ffmpeg(source, reason) as wav:
        try:
            with _open_sound(wav) as sound:
                return _read_stretch(sound, source, stretch), sound.samplerate
        except soundfile.LibsndfileError as error:
            raise _damaged(source, error) from None


@dataclass(frozen=True)
class Layout:
    """How long a recording is, its sample rate in Hz, and its channels."""

    frames: int
    sample_rate: int
    channels: int


def read_layout(source: Source) -> Layout:
    """The layout of a recording that libsndfile reads, without its samples.

    Raises:
        SparseError: it is none, holds no samples, or is damaged or cut short, as far as that shows.
    """
    cure = "convert it to FLAC"
    try:
        with _open_sound(source.stream) as sound:
            _check_layout(sound, source)
            if sound.frames >= _UNKNOWN_FRAMES:
                raise SparseError(source.subject, f"is a {sound.format} stream of unstated length", cure)
            if _is_cut_short(sound, source):
                raise _cut_short(sound, source, 0, sound.frames)
            return Layout(sound.frames, sound.samplerate, sound.channels)
    except soundfile.LibsndfileError as error:
        if error.code in _FOREIGN:
            raise SparseError(source.subject, "is not a recording that libsndfile can read", cure) from None
        raise _damaged(source, error) from None


def _open_sound(stream: BinaryIO) -> soundfile.SoundFile:
    # By descriptor: libsndfile's calls back into Python would swallow a Ctrl-C and take it for the end of the file.
    stream.seek(0)
    return soundfile.SoundFile(stream.fileno(), closefd=False)


def _damaged(source: Source, error: soundfile.LibsndfileError) -> SparseError:
    reason = error.error_string.removeprefix("Error : ").rstrip(".")
    cure = "copy it again, or read an unharmed part of it with --start and --duration"
    return SparseError(source.subject, f"is damaged or cut short ({reason})", cure)


def _read_stretch(sound: soundfile.SoundFile, source: Source, stretch: Stretch) -> NDArray[np.float32]:
    """Samples float32 `[channels, samples]` of the stretch, after all checks."""
    _check_layout(sound, source)
    first, stop = stretch.frames(sound.samplerate)
    if _is_cut_short(sound, source) and (stop is None or stop > sound.frames):
        raise _cut_short(sound, source, first, sound.frames)
    if first >= sound.frames:
        raise _starts_late(sound, source, first)
    stop = sound.frames if stop is None else min(stop, sound.frames)
    samples = _read_frames(sound, source, first, stop)
    if samples.shape[1] < stop - first and _declares_frames(sound, source):
        raise _cut_short(sound, source, first, first + samples.shape[1])
    if samples.shape[1] == 0:
        raise _starts_late(sound, source, first)
    if not (finite := np.isfinite(samples).all(axis=0)).all():
        time_s = (first + int(np.argmin(finite))) / sound.samplerate
        raise SparseError(source.subject, f"holds NaN or infinite samples, the first at {time_s:.6g} s")
    return samples


def _check_layout(sound: soundfile.SoundFile, source: Source) -> None:
    if sound.channels > MAX_CHANNELS:
        raise SparseError(source.subject, f"has {sound.channels} channels, more than {MAX_CHANNELS}")
    if not MIN_SAMPLE_RATE <= sound.samplerate <= MAX_SAMPLE_RATE:
        limits = f"{MIN_SAMPLE_RATE} .. {MAX_SAMPLE_RATE} Hz"
        raise SparseError(source.subject, f"has a sample rate of {sound.samplerate} Hz, which is not in {limits}")
    if sound.frames == 0 and not _is_cut_short(sound, source):
        raise SparseError(source.subject, "holds no samples")


def _read_frames(sound: soundfile.SoundFile, source: Source, first: int, stop: int) -> NDArray[np.float32]:
    """Frames `first` to `stop`, or fewer where the file ends earlier, as float32 `[channels, samples]`."""
    try:
        samples = np.empty((sound.channels, stop - first), np.float32)
    except MemoryError:
        hours = (stop - first) / sound.samplerate / 3600
        raise SparseError(source.subject, f"{hours:.1f} hours do not fit into memory", "give --duration") from None
    if first:
        sound.seek(first)
    done = 0
    while done < samples.shape[1]:
        block = sound.read(min(_BLOCK_FRAMES, samples.shape[1] - done), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        samples[:, done : done + len(block)] = block.T
        done += len(block)
    return np.ascontiguousarray(samples[:, :done])


def _is_cut_short(sound: soundfile.SoundFile, source: Source) -> bool:
    """Whether the file ends before it should, where libsndfile passes over that and counts only what is there."""
    if sound.format == "OGG":
        return not ends_complete(_peek(source, -MAX_PAGE_BYTES, MAX_PAGE_BYTES))
    sizes = sound_bytes(source.stream.fileno()) or _logged_sizes(sound.extra_info)
    if sizes is None:
        return False
    declared, found = sizes
    return bool((declared - found) * max(1, sound.frames) >= max(1, found))  # a whole frame or more is missing


def _logged_sizes(log: str) -> tuple[int, int] | None:
    """Bytes declared and found of formats whose headers only libsndfile reads here: W64 and AU."""
    sizes = re.search(r"^ *(?:Data Size|riff) *: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    return (int(sizes[1]), int(sizes[2])) if sizes and not is_placeholder(int(sizes[1])) else None


def _declares_frames(sound: soundfile.SoundFile, source: Source) -> bool:
    """Whether `sound.frames` was counted. For MP3 files without a Xing header it is a guess from the bit rate."""
    if sound.format != "MP3":
        return True
    head = _peek(source, 0, 10)
    tag_bytes = 0
    if head.startswith(b"ID3"):  # its size is four bytes of seven bits each
        tag_bytes = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    first_frame = _peek(source, tag_bytes, 256)
    return b"Xing" in first_frame or b"Info" in first_frame


def _peek(source: Source, offset: int, size: int) -> bytes:
    """Bytes of the file without moving in it; a negative offset counts from the end."""
    descriptor = source.stream.fileno()
    if offset < 0:
        offset = max(0, os.fstat(descriptor).st_size + offset)
    return os.pread(descriptor, size, offset)


def _cut_short(sound: soundfile.SoundFile, source: Source, first: int, end: int) -> SparseError:
    rest_s = math.floor((end - first) / sound.samplerate * 1000) / 1000
    cure = f"copy it again, or read what there is with --duration {rest_s:.10g}" if rest_s > 0 else "copy it again"
    return SparseError(source.subject, f"breaks off after {end / sound.samplerate:.6g} s, its end is missing", cure)


def _starts_late(sound: soundfile.SoundFile, source: Source, first: int) -> SparseError:
    length_s = sound.frames / sound.samplerate
    cause = f"is {length_s:.6g} s long, which ends before --start {first / sound.samplerate:.6g}"
    return SparseError(source.subject, cause, "start earlier")

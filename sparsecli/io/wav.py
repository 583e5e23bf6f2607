"""WAV files byte by byte.

    RIFF size WAVE | fmt  size, format, channels, rate, bytes/s, bytes/frame, bits | data size, interleaved samples

libsndfile could write them too, but puts the time of day into float files, and needs to seek. It reads them, but takes
no notice of a file that is shorter than its header says.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BitDepth = Literal["16", "24", "float"]

MAX_RIFF_BYTES = (1 << 32) - 1
_BLOCK_FRAMES = 1 << 16
_MAX_CHUNKS = 1000  # before the sound; a file with more is not followed to the end
_PCM, _IEEE_FLOAT = 1, 3
_SAMPLE_BYTES: dict[BitDepth, int] = {"16": 2, "24": 3, "float": 4}


def wav_bytes(samples: NDArray[np.float32], sample_rate: int, bit_depth: BitDepth) -> Iterator[bytes]:
    """A WAV file in pieces, the header first, sizes included.

    Args:
        samples: `[channels, samples]`, within full scale where `bit_depth` is not `float`.
        sample_rate: in Hz.
        bit_depth: `16`, `24` or `float` (32 bits).

    Raises:
        struct.error: the file does not fit into `MAX_RIFF_BYTES`.
    """
    channels, frames = samples.shape
    yield _header(channels, frames, sample_rate, bit_depth)
    for block in blocks(samples):
        yield _encode(block, bit_depth)
    if _data_bytes(channels, frames, bit_depth) % 2:
        yield b"\0"


def blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Samples `[channels, samples]` in interleaved pieces `[frames, channels]`."""
    for start in range(0, samples.shape[1], _BLOCK_FRAMES):
        yield np.ascontiguousarray(samples[:, start : start + _BLOCK_FRAMES].T)


def to_integers(samples: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Samples as integers of so many bits: rounded to the nearest, ties to even, no dither, held at full scale.

    Full scale 1 is 2^(bits - 1), one step more than there is, so that what was read is written back unchanged.
    """
    scale = 2.0 ** (bits - 1)  # exact in float32, as are all integers of 24 bits
    integers: NDArray[np.int32] = np.clip(np.rint(samples * np.float32(scale)), -scale, scale - 1).astype(np.int32)
    return integers


def riff_bytes(channels: int, frames: int, bit_depth: BitDepth) -> int:
    """How many bytes follow the first size in the file; no more than `MAX_RIFF_BYTES` can be stated."""
    data_bytes = _data_bytes(channels, frames, bit_depth)
    return len(b"WAVE") + len(_format_chunks(channels, frames, 0, bit_depth)) + 8 + data_bytes + data_bytes % 2


def sound_bytes(descriptor: int) -> tuple[int, int] | None:
    """How many bytes of sound a WAV, RF64 or AIFF file declares, and how many there are.

    None for other files, and where the writer could not know the size: a pipe has no end yet when its header is sent.
    """
    size_of_file = os.fstat(descriptor).st_size
    order: dict[bytes, Literal["little", "big"]] = {
        b"RIFF": "little",
        b"RF64": "little",
        b"RIFX": "big",
        b"FORM": "big",
    }
    byteorder = order.get(os.pread(descriptor, 4, 0))
    offset, long_size = 12, None
    for _ in range(_MAX_CHUNKS if byteorder else 0):
        chunk = os.pread(descriptor, 24, offset)  # name, size; a ds64 chunk goes on with two sizes of 8 bytes
        name, size = chunk[:4], int.from_bytes(chunk[4:8], byteorder or "little")
        if name == b"ds64":
            long_size = int.from_bytes(chunk[16:24], "little")
        if name in (b"data", b"SSND"):
            declared = size if long_size is None else long_size
            return None if is_placeholder(declared) else (declared, max(0, size_of_file - offset - 8))
        offset += 8 + size + size % 2
    return None


def is_placeholder(size: int) -> bool:
    """Whether a size is one of those that programs write to a pipe: next to 2^31, 2^32 or 2^64."""
    return size >= 1 << 30 and (size + 4096) % (1 << 31) < 8192


def _data_bytes(channels: int, frames: int, bit_depth: BitDepth) -> int:
    return channels * frames * _SAMPLE_BYTES[bit_depth]


def _header(channels: int, frames: int, sample_rate: int, bit_depth: BitDepth) -> bytes:
    start = struct.pack("<4sI4s", b"RIFF", riff_bytes(channels, frames, bit_depth), b"WAVE")
    data = struct.pack("<4sI", b"data", _data_bytes(channels, frames, bit_depth))
    return start + _format_chunks(channels, frames, sample_rate, bit_depth) + data


def _format_chunks(channels: int, frames: int, sample_rate: int, bit_depth: BitDepth) -> bytes:
    tag = _IEEE_FLOAT if bit_depth == "float" else _PCM
    frame_bytes, bits = channels * _SAMPLE_BYTES[bit_depth], 8 * _SAMPLE_BYTES[bit_depth]
    form = struct.pack("<HHIIHH", tag, channels, sample_rate, sample_rate * frame_bytes, frame_bytes, bits)
    if tag == _PCM:
        return _chunk(b"fmt ", form)
    # Other formats than PCM state the size of their extension, and how many frames there are.
    return _chunk(b"fmt ", form + struct.pack("<H", 0)) + _chunk(b"fact", struct.pack("<I", frames))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content


def _encode(block: NDArray[np.float32], bit_depth: BitDepth) -> bytes:
    if bit_depth == "float":
        return block.astype("<f4").tobytes()
    if bit_depth == "16":
        return to_integers(block, 16).astype("<i2").tobytes()
    return to_integers(block, 24).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()

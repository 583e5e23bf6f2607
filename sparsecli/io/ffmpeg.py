"""Recordings that libsndfile cannot decode (m4a, wma, webm), through the ffmpeg program where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from sparsecli.core.errors import SparseError

from .source import Source

# Float samples, nothing resampled or mixed. The input is the open file itself: no file name is ever taken for an
# option or an address, and a playlist cannot name other files to read.
_ARGUMENTS = (
    *("-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file", "-i", "file:/dev/stdin"),
    *("-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"),
)


@contextmanager
def decode_with_ffmpeg(source: Source, reason: str) -> Iterator[BinaryIO]:
    """The first sound track of `source` as a float WAV file; removed after the block.

    Args:
        source: what to decode.
        reason: why libsndfile cannot, for the error message.

    Raises:
        SparseError: no ffmpeg, or it finds anything wrong with the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        cure = "install ffmpeg, which reads more formats, or convert it to WAV or FLAC"
        raise SparseError(source.subject, reason, cure)
    source.stream.seek(0)
    with tempfile.TemporaryFile(buffering=0) as file:
        wav = cast(BinaryIO, file)
        done = subprocess.run([program, *_ARGUMENTS], stdin=source.stream, stdout=wav, stderr=subprocess.PIPE)
        complaint = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode != 0 or complaint:
            raise SparseError(source.subject, f"{reason}, nor can ffmpeg{_first(complaint)}")
        wav.seek(0)
        yield wav


def _first(complaint: str) -> str:
    """The first complaint without the part of ffmpeg that makes it, in brackets."""
    line = re.sub(r"^(\[[^]]*\] *)+", "", complaint.partition("\n")[0])
    return f" ({line})" if line else ""

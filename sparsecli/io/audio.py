"""Recordings to samples and back."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterable
from typing import Literal, get_args

import soundfile

from sparsecli.core.audio import Audio
from sparsecli.core.columns import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sparsecli.core.errors import SparseError

from .atomic import STANDARD, Path, is_stream, open_output
from .decoding import Stretch, decode
from .ogg import with_serial
from .source import open_source
from .wav import MAX_RIFF_BYTES, BitDepth, blocks, riff_bytes, to_integers, wav_bytes

AudioFormat = Literal["wav", "flac", "ogg"]

_FORMAT_OF_EXTENSION: dict[str, AudioFormat] = {
    ".wav": "wav", ".wave": "wav", ".flac": "flac", ".ogg": "ogg", ".oga": "ogg",
}  # fmt: skip
_FLAC_MAX_CHANNELS = 8
_FLAC_MAX_ODD_RATE = 65535  # above it FLAC counts in tens of Hz
_OGG_MAX_RATE = 200_000  # the Vorbis encoder crashes above it
_OGG_SERIAL = 1

_FULL_SCALE = 1 + 1e-6  # what float32 arithmetic may make of a peak of 1; held at full scale, not refused


def read_audio(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Audio:
    """Read a recording, or a stretch of one, as it is: all channels, its own sample rate.

    libsndfile reads WAV, FLAC, OGG, Opus, MP3, AIFF, CAF and others; ffmpeg, where it is installed, the rest.

    Args:
        path: the file; `-` is standard input.
        start_s: where to start.
        duration_s: how much to read at most; to the end if None.

    Returns:
        Samples float32 `[channels, samples]` with at least one sample, all finite; the name and the SHA-256 of the
        whole file.

    Raises:
        SparseError: the file cannot be read, is no recording, is damaged or cut short before the end of the stretch,
            holds no samples or some that are not finite, starts after its end, or has more channels or another sample
            rate than is sane.
    """
    stretch = Stretch(start_s, duration_s)
    with open_source(path) as source:
        sha256 = hashlib.file_digest(source.stream, "sha256").hexdigest()  # type: ignore[arg-type]
        samples, sample_rate = decode(source, stretch)
    return Audio(samples, sample_rate, source.name, sha256)


def write_audio(
    path: Path,
    audio: Audio,
    *,
    bit_depth: BitDepth = "16",
    overwrite: bool = False,
    file_format: AudioFormat | None = None,
) -> None:
    """Write a recording to WAV, FLAC or OGG Vorbis; the same samples give the same bytes.

    Integer samples are rounded without dither. Nothing wraps and nothing is clipped: samples beyond full scale are
    an error for integers, and kept by `float` and by OGG, which has no bit depth.

    Args:
        path: the file; `-` is standard output, where nothing needs to seek.
        audio: samples float32 `[channels, samples]`.
        bit_depth: `16`, `24` or `float` (32 bits, WAV only).
        overwrite: replace an existing file.
        file_format: by default what the extension says, and WAV on standard output, devices and pipes.

    Raises:
        SparseError: the file exists, cannot be written or has an unknown extension; the format lacks the bit depth,
            sample rate, channels or length; or samples are none, not finite or beyond full scale.
    """
    subject = "standard output" if os.fspath(path) == STANDARD else os.fspath(path)
    chosen = file_format or _format_of(path)
    _check_fits(subject, audio, chosen, bit_depth)
    _check_samples(subject, audio, limited=bit_depth != "float" and chosen != "ogg")
    with open_output(path, overwrite=overwrite) as out:
        for piece in _encode(audio, chosen, bit_depth, subject):
            out.write(piece)


def _format_of(path: Path) -> AudioFormat:
    extension = os.path.splitext(path)[1].lower()
    if extension in _FORMAT_OF_EXTENSION:
        return _FORMAT_OF_EXTENSION[extension]
    if is_stream(path):
        return "wav"
    cause = f"{extension} is no known audio format" if extension else "has no extension"
    raise SparseError(os.fspath(path), cause, "name it .wav, .flac or .ogg")


def _check_fits(subject: str, audio: Audio, chosen: AudioFormat, bit_depth: BitDepth) -> None:
    rate = audio.sample_rate
    if bit_depth not in get_args(BitDepth):
        raise SparseError("--bit-depth", f"{bit_depth} is not a choice", "choose 16, 24 or float")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise SparseError(subject, f"{rate} Hz is not in {MIN_SAMPLE_RATE} .. {MAX_SAMPLE_RATE} Hz", "resample")
    if audio.channels > MAX_CHANNELS:
        raise SparseError(subject, f"{audio.channels} channels are more than {MAX_CHANNELS}")
    if chosen == "flac" and bit_depth == "float":
        raise SparseError(subject, "FLAC holds no float samples", "use --bit-depth 24 or name it .wav")
    if chosen == "flac" and audio.channels > _FLAC_MAX_CHANNELS:
        raise SparseError(subject, f"FLAC holds no more than {_FLAC_MAX_CHANNELS} channels", "name it .wav")
    if chosen == "flac" and rate > _FLAC_MAX_ODD_RATE and rate % 10:
        raise SparseError(subject, f"FLAC cannot state a sample rate of {rate} Hz", "name it .wav")
    if chosen == "ogg" and rate > _OGG_MAX_RATE:
        raise SparseError(subject, f"OGG Vorbis ends at {_OGG_MAX_RATE} Hz", "name it .wav or .flac")
    if chosen == "wav" and riff_bytes(audio.channels, audio.samples.shape[1], bit_depth) > MAX_RIFF_BYTES:
        raise SparseError(subject, "is too long for the 4 GiB of a WAV file", "name it .flac")


def _check_samples(subject: str, audio: Audio, limited: bool) -> None:
    if audio.samples.size == 0:
        raise SparseError(subject, "there are no samples to write")
    low, high = float(audio.samples.min()), float(audio.samples.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SparseError(subject, "the samples are not all finite")
    if limited and (peak := max(high, -low)) > _FULL_SCALE:
        cause = f"samples reach {20 * math.log10(peak):.1f} dB above full scale"
        raise SparseError(subject, cause, "lower --gain or use --bit-depth float")


def _encode(audio: Audio, chosen: AudioFormat, bit_depth: BitDepth, subject: str) -> Iterable[bytes]:
    if chosen == "wav":
        return wav_bytes(audio.samples, audio.sample_rate, bit_depth)
    try:
        if chosen == "flac":
            return [_encode_with_libsndfile(audio, "FLAC", f"PCM_{bit_depth}", int(bit_depth))]
        return [with_serial(_encode_with_libsndfile(audio, "OGG", "VORBIS", None), _OGG_SERIAL)]
    except soundfile.LibsndfileError as error:
        cure = f"make sure that there is space in {tempfile.gettempdir()}"
        raise SparseError(subject, f"cannot be encoded ({error.error_string.rstrip('.')})", cure) from None


def _encode_with_libsndfile(audio: Audio, major: str, subtype: str, bits: int | None) -> bytes:
    """A whole file, from integers of so many bits or from float samples.

    By way of a file, since libsndfile notices no fault in its calls back into Python, not even a Ctrl-C.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        layout = (audio.sample_rate, audio.channels, subtype)
        with soundfile.SoundFile(file.fileno(), "w", *layout, format=major, closefd=False) as sound:
            for block in blocks(audio.samples):  # given minutes at once, the Vorbis encoder overruns the stack
                # libsndfile takes integers from the top of a word of 32 bits.
                sound.write(block if bits is None else to_integers(block, bits) << (32 - bits))
        file.seek(0)
        return file.read()

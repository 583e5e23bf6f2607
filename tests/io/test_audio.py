import functools
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from sparsecli.core.audio import Audio
from sparsecli.core.errors import SparseError
from sparsecli.io import audio as audio_module
from sparsecli.io import source
from sparsecli.io.audio import read_audio, write_audio
from sparsecli.io.ogg import ends_complete, with_serial
from sparsecli.io.wav import is_placeholder, riff_bytes, to_integers


def noise(channels=2, frames=5000, peak=0.5, seed=0):
    samples = np.random.default_rng(seed).uniform(-peak, peak, (channels, frames))
    return samples.astype(np.float32)


def encoded(samples, sample_rate=44100, major="WAV", subtype=None):
    memory = io.BytesIO()
    soundfile.write(memory, samples.T, sample_rate, format=major, subtype=subtype)
    return memory.getvalue()


def stored(tmp_path, data, name="a.wav"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def fault(path, **stretch):
    """The one line of the error."""
    with pytest.raises(SparseError) as caught:
        read_audio(path, **stretch)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


# Reading what is sound


@pytest.mark.parametrize(
    ("major", "subtype", "steps"),
    [
        ("WAV", "PCM_U8", 2**7),
        ("WAV", "PCM_16", 2**15),
        ("WAV", "PCM_24", 2**23),
        ("WAV", "PCM_32", 2**24),  # float32 keeps 24 of the 32 bits
        ("WAV", "FLOAT", None),
        ("WAV", "DOUBLE", None),
        ("AIFF", "PCM_16", 2**15),
        ("FLAC", "PCM_24", 2**23),
        ("CAF", "PCM_24", 2**23),
        ("W64", "PCM_16", 2**15),
        ("RF64", "PCM_16", 2**15),
        ("AU", "PCM_16", 2**15),
    ],
)
def test_reads_formats(tmp_path, major, subtype, steps):
    samples = noise()
    audio = read_audio(stored(tmp_path, encoded(samples, 48000, major, subtype)))
    assert audio.samples.dtype == np.float32 and audio.samples.flags.c_contiguous
    assert (audio.samples.shape, audio.sample_rate) == ((2, 5000), 48000)
    # libsndfile cuts rather than rounds some formats: one step at most.
    np.testing.assert_allclose(audio.samples, samples, rtol=0, atol=0 if steps is None else 1 / steps)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_reads_ogg(tmp_path, subtype):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)[None].astype(np.float32)
    audio = read_audio(stored(tmp_path, encoded(tone, 48000, "OGG", subtype)))
    assert audio.samples.shape == (1, 48000)
    middle = slice(4000, 44000)  # away from where the tone is switched on and off
    assert np.sqrt(np.mean((audio.samples - tone)[:, middle] ** 2)) < 0.01  # measured: up to 0.0023


@pytest.mark.parametrize("channels", [1, 2, 8, 64])
def test_reads_channels(tmp_path, channels):
    samples = noise(channels, 100)
    np.testing.assert_array_equal(read_audio(stored(tmp_path, encoded(samples, subtype="FLOAT"))).samples, samples)


@pytest.mark.parametrize("sample_rate", [1000, 8000, 44100, 192_000, 384_000])
def test_reads_sample_rates(tmp_path, sample_rate):
    assert read_audio(stored(tmp_path, encoded(noise(), sample_rate))).sample_rate == sample_rate


@pytest.mark.parametrize("frames", [1, 2**18 - 1, 2**18, 2**18 + 1])
def test_reads_lengths(tmp_path, frames):
    samples = noise(1, frames)
    np.testing.assert_array_equal(read_audio(stored(tmp_path, encoded(samples, subtype="FLOAT"))).samples, samples)


def test_name_and_digest(tmp_path):
    data = encoded(noise())
    audio = read_audio(str(stored(tmp_path, data, "Café del mar.wav")))
    assert audio.name == "Café del mar.wav"
    assert audio.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("major", ["WAV", "FLAC", "OGG", "MP3"])
def test_stretch_is_a_slice_of_the_whole(tmp_path, major):
    path = stored(tmp_path, encoded(noise(2, 100_000), major=major))
    whole = read_audio(path)
    part = read_audio(path, start_s=0.5, duration_s=1.0)
    assert part.samples.shape == (2, 44100)
    # Lossy decoders carry state over from what comes before: equal up to float32 rounding.
    np.testing.assert_allclose(part.samples, whole.samples[:, 22050:66150], rtol=0, atol=1e-5)
    assert part.sha256 == whole.sha256
    rest = read_audio(path, start_s=2.0, duration_s=100.0)
    np.testing.assert_allclose(rest.samples, whole.samples[:, 88200:], rtol=0, atol=1e-5)


def test_shortest_stretch_is_a_sample(tmp_path):
    path = stored(tmp_path, encoded(noise()))
    assert read_audio(path, duration_s=1e-9).samples.shape == (2, 1)


# Pipes


class Standard:
    """Stands in for `sys.stdin`."""

    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("major", ["WAV", "FLAC", "OGG", "MP3"])
def test_standard_input(monkeypatch, major):
    data = encoded(noise(2, 100_000), major=major)
    monkeypatch.setattr(sys, "stdin", Standard(data))
    audio = read_audio("-", start_s=0.5)
    assert (audio.name, audio.sha256) == ("", hashlib.sha256(data).hexdigest())
    assert audio.samples.shape == (2, 100_000 - 22050)


def test_named_pipe(tmp_path):
    path, data = tmp_path / "pipe", encoded(noise())
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    audio = read_audio(path)
    writer.join(30)
    assert (audio.name, audio.samples.shape) == ("", (2, 5000))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000], ids=hex)
def test_wav_from_a_program_that_could_not_know_its_length(tmp_path, size):
    data = encoded(noise())
    assert read_audio(stored(tmp_path, with_data_size(data, size))).samples.shape == (2, 5000)


def with_data_size(wav, size):
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def test_placeholders():
    assert [is_placeholder(size) for size in (0, 1 << 20, (1 << 31) - 10_000, 3 << 30)] == [False] * 4
    assert [is_placeholder(size) for size in (0x7FFFF000, 0x7FFFFFFF, 1 << 31, (1 << 32) - 1, (1 << 64) - 1)] == [
        True
    ] * 5


def test_endless_standard_input(monkeypatch):
    monkeypatch.setattr(source, "MAX_PIPE_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", Standard(bytes(2000)))
    assert fault("-").startswith("standard input: gives more than")


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert fault("-") == "standard input: gives no bytes; name a file"


# Faults


def test_missing(tmp_path):
    assert fault(tmp_path / "no.wav") == "no such file"
    assert fault(f"{tmp_path}/a\0b.wav").endswith("is not a file name")


def test_folder(tmp_path):
    assert fault(tmp_path) == "is a folder; name the files in it"


def test_empty(tmp_path, monkeypatch):
    assert fault(stored(tmp_path, b"")) == "is empty"
    monkeypatch.setattr(sys, "stdin", Standard(b""))
    assert fault("-") == "standard input: is empty"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable(tmp_path):
    path = stored(tmp_path, encoded(noise()))
    path.chmod(0)
    assert fault(path) == "cannot be read (permission denied)"


def test_failing_disk(tmp_path):
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("no /proc")
    assert fault("/proc/self/mem") in ("is empty", "cannot be read (input/output error)")


NOT_AUDIO = {
    "text": b"this is a text, whatever its name says\n" * 100,
    "zeros": bytes(5000),
    "noise": np.random.default_rng(0).bytes(20_000),
    "what is MP3 at first sight": np.random.default_rng(1).bytes(20_000),
}


@pytest.mark.parametrize("what", NOT_AUDIO)
def test_not_audio(tmp_path, monkeypatch, what):
    path = stored(tmp_path, NOT_AUDIO[what])
    monkeypatch.setenv("PATH", str(tmp_path))
    cure = "install ffmpeg, which reads more formats, or convert it to WAV or FLAC"
    assert fault(path) == f"is not a recording that libsndfile can read; {cure}"


def test_wav_without_sound(tmp_path):
    assert "is damaged or cut short" in fault(stored(tmp_path, encoded(noise())[:30]))
    assert fault(stored(tmp_path, encoded(noise())[:44])) == "breaks off after 0 s, its end is missing; copy it again"


@pytest.mark.parametrize("major", ["WAV", "AIFF", "AU"])
def test_no_samples(tmp_path, major):
    assert fault(stored(tmp_path, encoded(noise(1, 0), major=major))) == "holds no samples"


@pytest.mark.parametrize("major", ["WAV", "RF64", "AIFF", "W64", "AU", "FLAC", "OGG", "MP3", "CAF"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.98])
def test_cut_short_is_an_error(tmp_path, major, part):
    data = encoded(noise(2, 100_000), major=major)
    line = fault(stored(tmp_path, data[: int(part * len(data))]))
    assert "breaks off after" in line or "is damaged or cut short" in line


@pytest.mark.parametrize("major", ["WAV", "AIFF", "OGG", "MP3"])
def test_cut_short_can_be_read_as_told(tmp_path, major):
    data = encoded(noise(2, 100_000), major=major)
    path = stored(tmp_path, data[: len(data) // 2])
    line = fault(path, start_s=0.25)
    rest_s = float(line.rpartition(" ")[2])
    assert rest_s > 0.1
    audio = read_audio(path, start_s=0.25, duration_s=rest_s)
    assert audio.samples.shape[1] == round(rest_s * 44100)
    whole = read_audio(stored(tmp_path, data, "whole"))
    np.testing.assert_allclose(audio.samples, whole.samples[:, 11025 : 11025 + audio.samples.shape[1]], atol=1e-5)


def test_cut_short_behind_many_chunks(tmp_path):
    data = encoded(noise())
    at = data.index(b"data")
    notes = b"".join(struct.pack("<4sI", b"note", 11) + b"hello world\0" for _ in range(300))
    assert "breaks off" in fault(stored(tmp_path, (data[:at] + notes + data[at:])[:-1000]))


def test_damaged_flac(tmp_path):
    data = bytearray(encoded(noise(2, 100_000), major="FLAC"))
    data[len(data) // 2] ^= 0xFF
    line = fault(stored(tmp_path, bytes(data)))
    assert line.startswith("is damaged or cut short (") and "--start and --duration" in line


def test_flac_that_claims_a_week(tmp_path):
    data = bytearray(encoded(noise(), major="FLAC"))
    data[8 + 13] |= 0x0F  # the 36 bits of the number of samples in STREAMINFO
    data[8 + 14 : 8 + 18] = b"\xff" * 4
    line = fault(stored(tmp_path, bytes(data)))
    assert "is damaged or cut short" in line or "do not fit into memory" in line


def test_flac_of_unstated_length(tmp_path, monkeypatch):
    data = bytearray(encoded(noise(), major="FLAC"))
    data[8 + 13] &= 0xF0
    data[8 + 14 : 8 + 18] = bytes(4)
    path = stored(tmp_path, bytes(data))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fault(path).startswith("is a FLAC stream of unstated length, which libsndfile cannot read; install ffmpeg")


def test_mp3_without_a_count_of_its_frames(tmp_path):
    samples = noise(2, 100_000)
    samples[:, :50_000] *= 0.001  # so that the bit rate at the start leads libsndfile's guess astray
    data = encoded(samples, major="MP3")
    path = stored(tmp_path, data.replace(b"Xing", bytes(4)))
    assert soundfile.info(path).frames > 110_000
    audio = read_audio(path)
    assert audio.samples.flags.c_contiguous
    assert abs(audio.samples.shape[1] - 100_000) < 3 * 1152  # encoder delay and whole frames


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite(tmp_path, value, subtype):
    samples = noise().astype(np.float64)
    samples[1, 441] = value
    path = stored(tmp_path, encoded(samples, subtype=subtype))
    assert fault(path) == "holds NaN or infinite samples, the first at 0.01 s"
    assert read_audio(path, start_s=0.02).samples.shape[1] == 5000 - 882


def test_double_beyond_float(tmp_path):
    assert "infinite" in fault(stored(tmp_path, encoded(np.full((1, 10), 1e300), subtype="DOUBLE")))


def test_too_many_channels(tmp_path):
    assert fault(stored(tmp_path, encoded(noise(65, 10)))) == "has 65 channels, more than 64"


@pytest.mark.parametrize("sample_rate", [1, 999, 384_001, 768_000])
def test_sample_rates_beyond_sanity(tmp_path, sample_rate):
    line = fault(stored(tmp_path, encoded(noise(), sample_rate)))
    assert line == f"has a sample rate of {sample_rate} Hz, which is not in 1000 .. 384000 Hz"


def test_start_beyond_the_end(tmp_path):
    path = stored(tmp_path, encoded(noise(1, 44100)))
    assert fault(path, start_s=1.0) == "is 1 s long, which ends before --start 1; start earlier"
    assert "is 1 s long" in fault(path, start_s=1e9)
    assert read_audio(path, start_s=0.9999).samples.shape[1] > 0


@pytest.mark.parametrize("start_s", [-0.1, np.nan, np.inf, 1e300])
def test_start_that_is_none(tmp_path, start_s):
    assert fault(tmp_path / "a.wav", start_s=start_s).startswith("--start: ")


@pytest.mark.parametrize("duration_s", [-1.0, 0.0, np.nan])
def test_duration_that_is_none(tmp_path, duration_s):
    assert fault(tmp_path / "a.wav", duration_s=duration_s).startswith("--duration: ")


# Through ffmpeg


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_m4a(tmp_path, codec):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)[None].repeat(2, 0).astype(np.float32)
    write_audio(tmp_path / "a.wav", Audio(tone, 44100))
    convert = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", codec, tmp_path / "-a b.m4a"]
    subprocess.run(convert, check=True)
    audio = read_audio(tmp_path / "-a b.m4a", duration_s=0.5)
    assert (audio.samples.shape, audio.sample_rate, audio.name) == ((2, 22050), 44100, "-a b.m4a")
    middle = slice(4000, 20000)  # away from the codec's own fade
    assert np.sqrt(np.mean((audio.samples - tone[:, :22050])[:, middle] ** 2)) < 0.01
    data = (tmp_path / "-a b.m4a").read_bytes()
    assert "nor can ffmpeg (" in fault(stored(tmp_path, data[: len(data) // 2], "cut.m4a"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '[mov @ 0x1] moov atom not found' >&2; exit 1", "nor can ffmpeg (moov atom not found)"),
        ("echo '[a @ 0x1] [b @ 0x2] File ended' >&2", "nor can ffmpeg (File ended)"),
        ("exit 3", "nor can ffmpeg"),
        ("echo nothing of use", "is damaged or cut short (Format not recognised)"),
    ],
)
def test_ffmpeg_that_fails(tmp_path, monkeypatch, script, message):
    program = stored(tmp_path, f"#!/bin/sh\n{script}\n".encode(), "ffmpeg")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert message in fault(stored(tmp_path, b"no audio"))


def test_ffmpeg_reads_the_open_file(tmp_path, monkeypatch):
    """A stand-in that hands on what it gets: standard input, pipes and odd names come to it alike."""
    path = stored(tmp_path, b"no audio", "-i $(x).m4a")
    wav = stored(tmp_path, encoded(noise()))
    program = stored(tmp_path, f'#!/bin/sh\n/bin/cat >"{tmp_path}/got"\n/bin/cat "{wav}"\n'.encode(), "ffmpeg")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_audio(path).samples.shape == (2, 5000)
    assert (tmp_path / "got").read_bytes() == b"no audio"
    monkeypatch.setattr(sys, "stdin", Standard(b"no audio either"))
    assert read_audio("-").samples.shape == (2, 5000)
    assert (tmp_path / "got").read_bytes() == b"no audio either"


# Writing


@pytest.mark.parametrize(
    ("name", "bit_depth", "subtype", "steps"),
    [
        ("a.wav", "16", "PCM_16", 2**15),
        ("a.WAV", "24", "PCM_24", 2**23),
        ("a.wave", "float", "FLOAT", None),
        ("a.flac", "16", "PCM_16", 2**15),
        ("a.flac", "24", "PCM_24", 2**23),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("frames", [1, 3, 70_001])
def test_writes_what_it_reads(tmp_path, name, bit_depth, subtype, steps, channels, frames):
    samples = noise(channels, frames, peak=1.0)
    path = tmp_path / name
    write_audio(path, Audio(samples, 48000), bit_depth=bit_depth)
    assert soundfile.info(path).subtype == subtype
    audio = read_audio(path)
    assert audio.sample_rate == 48000
    if steps is None:
        np.testing.assert_array_equal(audio.samples, samples)
    else:  # half a step, and a whole one at full scale
        np.testing.assert_allclose(audio.samples, np.minimum(samples, 1 - 1 / steps), rtol=0, atol=0.5 / steps)
    again = tmp_path / f"again{path.suffix}"
    write_audio(again, audio, bit_depth=bit_depth)
    assert again.read_bytes() == path.read_bytes()


def test_writes_ogg(tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(100_000) / 44100)[None].astype(np.float32)
    write_audio(tmp_path / "a.ogg", Audio(tone, 44100))
    audio = read_audio(tmp_path / "a.ogg")
    assert audio.samples.shape == tone.shape
    assert np.sqrt(np.mean((audio.samples - tone) ** 2)) < 0.01


WRITER = """
import sys, time
import numpy as np
from sparsecli.core.audio import Audio
from sparsecli.io.audio import write_audio
time.sleep(float(sys.argv[2]))
audio = Audio(np.linspace(-1, 1, 9999, dtype=np.float32)[None], 44100)
for name, bit_depth in (("16.wav", "16"), ("float.wav", "float"), ("24.flac", "24"), ("a.ogg", "16")):
    write_audio(sys.argv[1] + "/" + name, audio, bit_depth=bit_depth)
"""


def test_same_samples_same_bytes(tmp_path):
    # libsndfile's dates and random numbers come from the clock, in seconds.
    written = []
    for folder, delay_s in (("first", "0"), ("second", "1.01")):
        (tmp_path / folder).mkdir()
        subprocess.run([sys.executable, "-c", WRITER, tmp_path / folder, delay_s], check=True)
        written.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert len(written[0]) == 4
    assert written[0] == written[1]


def test_wav_header_sizes(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 5), 44100), bit_depth="24")
    data = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8 == riff_bytes(1, 5, "24")
    assert int.from_bytes(data[40:44], "little") == 15 and len(data) == 44 + 16  # an odd size, padded


def test_standard_output_is_a_wav(capsysbinary):
    write_audio("-", Audio(noise(), 44100), bit_depth="24")
    samples, sample_rate = soundfile.read(io.BytesIO(capsysbinary.readouterr().out), always_2d=True)
    assert (samples.shape, sample_rate) == ((5000, 2), 44100)


def test_pipe_gets_right_sizes(tmp_path):
    program = (
        "from sparsecli.io.audio import *; import numpy as np;"
        "write_audio('-', Audio(np.zeros((2, 500_000), np.float32), 44100))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert read_audio(stored(tmp_path, done.stdout)).samples.shape == (2, 500_000)
    assert int.from_bytes(done.stdout[4:8], "little") == len(done.stdout) - 8


def test_full_scale_never_wraps(tmp_path):
    edge = np.array([[1.0, -1.0, 1 + 5e-7, -1 - 5e-7, 32767.5 / 32768]], np.float32)
    for bit_depth, top in (("16", 2**15 - 1), ("24", 2**23 - 1)):
        for name in ("a.wav", "a.flac"):
            write_audio(tmp_path / name, Audio(edge, 44100), bit_depth=bit_depth, overwrite=True)
            samples = read_audio(tmp_path / name).samples[0] * (top + 1)
            np.testing.assert_array_equal(samples[:4], [top, -top - 1, top, -top - 1])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("name", "bit_depth"), [("a.wav", "16"), ("a.wav", "24"), ("a.flac", "16")])
def test_beyond_full_scale_is_an_error_for_integers(tmp_path, name, bit_depth, sign):
    audio = Audio(sign * np.array([[0.0, 2.0]], np.float32), 44100)
    with pytest.raises(SparseError, match=r"reach 6\.0 dB above full scale; lower --gain or use --bit-depth float"):
        write_audio(tmp_path / name, audio, bit_depth=bit_depth)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "bit_depth"), [("a.wav", "float"), ("a.ogg", "16")])
def test_beyond_full_scale_is_kept_by_floats(tmp_path, name, bit_depth):
    tone = 2 * np.sin(np.arange(10_000) / 10)[None].astype(np.float32)
    write_audio(tmp_path / name, Audio(tone, 44100), bit_depth=bit_depth)
    assert np.abs(read_audio(tmp_path / name).samples).max() > 1.9


def test_rounding():
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 0.51], np.float32)
    np.testing.assert_array_equal(to_integers(steps / 2**15, 16), [0, 2, 2, 0, -2, 0, 1])
    every = np.arange(-(2**15), 2**15)
    np.testing.assert_array_equal(to_integers((every / 2**15).astype(np.float32), 16), every)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_writes_only_finite_samples(tmp_path, name, value):
    with pytest.raises(SparseError, match="not all finite"):
        write_audio(tmp_path / name, Audio(np.array([[0, value]], np.float32), 44100), bit_depth="16")


# What a format cannot hold: name, channels, sample rate, bit depth, part of the message.
BEYOND = [
    ("a.mp3", 1, 44100, "16", ".mp3 is no known audio format; name it .wav, .flac or .ogg"),
    ("a", 1, 44100, "16", "has no extension; name it .wav"),
    ("a.flac", 1, 44100, "float", "FLAC holds no float samples; use --bit-depth 24 or name it .wav"),
    ("a.flac", 9, 44100, "16", "FLAC holds no more than 8 channels; name it .wav"),
    ("a.flac", 1, 65537, "16", "FLAC cannot state a sample rate of 65537 Hz; name it .wav"),
    ("a.ogg", 1, 384_000, "16", "OGG Vorbis ends at 200000 Hz; name it .wav or .flac"),
    ("a.wav", 65, 44100, "16", "65 channels are more than 64"),
    ("a.wav", 1, 999, "16", "999 Hz is not in 1000 .. 384000 Hz"),
    ("a.wav", 1, 384_001, "16", "384001 Hz is not in"),
    ("a.wav", 1, 44100, "12", "12 is not a choice; choose 16, 24 or float"),
]


@pytest.mark.parametrize(("name", "channels", "sample_rate", "bit_depth", "message"), BEYOND)
def test_beyond_a_format(tmp_path, name, channels, sample_rate, bit_depth, message):
    with pytest.raises(SparseError) as caught:
        write_audio(tmp_path / name, Audio(noise(channels, 10), sample_rate), bit_depth=bit_depth)
    assert message in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("sample_rate", [1000, 8000, 192_000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_sample_rates_that_every_format_holds(tmp_path, name, sample_rate):
    write_audio(tmp_path / name, Audio(noise(1, 5000), sample_rate))
    audio = read_audio(tmp_path / name)
    assert (audio.samples.shape, audio.sample_rate) == ((1, 5000), sample_rate)


def test_wav_of_more_than_4_gib(tmp_path):
    long = np.broadcast_to(np.float32(0), (1, 1 << 31))  # takes no memory
    with pytest.raises(SparseError, match=r"too long for the 4 GiB of a WAV file; name it \.flac"):
        audio_module._check_fits("a.wav", Audio(long, 44100), "wav", "16")
    audio_module._check_fits("a.wav", Audio(long[:, : (1 << 31) - 30], 44100), "wav", "16")


def test_no_samples_to_write(tmp_path):
    with pytest.raises(SparseError, match="no samples to write"):
        write_audio(tmp_path / "a.wav", Audio(np.zeros((1, 0), np.float32), 44100))


def test_overwrite(tmp_path):
    path = stored(tmp_path, b"old")
    with pytest.raises(SparseError, match="exists already; use --overwrite"):
        write_audio(path, Audio(noise(), 44100))
    assert path.read_bytes() == b"old"
    write_audio(path, Audio(noise(), 44100), overwrite=True)
    assert read_audio(path).samples.shape == (2, 5000)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk():
    with pytest.raises(SparseError, match="no space left on device"):
        write_audio("/dev/full", Audio(noise(), 44100))


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_full_folder_of_temporary_files(tmp_path, monkeypatch, name):
    monkeypatch.setattr(audio_module.tempfile, "TemporaryFile", functools.partial(open, "/dev/full", "r+b"))
    with pytest.raises(SparseError, match=r"cannot be encoded \(.*\); make sure that there is space in /"):
        write_audio(tmp_path / name, Audio(noise(2, 100_000), 44100))
    assert os.listdir(tmp_path) == []


def test_device_without_extension_takes_wav():
    write_audio("/dev/null", Audio(noise(), 44100))


# Ogg pages


def test_pages_keep_libsndfiles_checksums():
    data = encoded(noise(2, 100_000), major="OGG")
    serial = int.from_bytes(data[14:18], "little")
    assert with_serial(data, serial) == data  # so the checksums are computed as libsndfile computes them
    assert with_serial(with_serial(data, 1), serial) == data
    assert with_serial(data, 1)[14:18] == b"\1\0\0\0"


def test_end_of_pages():
    data = encoded(noise(2, 100_000), major="OGG")
    assert ends_complete(data) and ends_complete(data[-70_000:])
    assert not ends_complete(data[:-1]) and not ends_complete(b"") and not ends_complete(b"OggS")
    last_page = data.rindex(b"OggS")
    assert not ends_complete(data[:last_page]) and not ends_complete(data[: last_page + 20])

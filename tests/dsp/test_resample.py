from __future__ import annotations

import math

import numpy as np
import pytest

from sparsecli.dsp.quality import snr_db
from sparsecli.dsp.resample import resample

RATES = [(44100, 22050), (22050, 44100), (48000, 44100), (44100, 48000), (96000, 22050), (8000, 44100)]


def tone(freq_hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    """A sine under a window of which the ends are 0, since a resampler rings where a signal is cut."""
    time_s = np.arange(round(seconds * rate)) / rate
    fade = np.sin(np.pi * time_s / seconds) ** 4
    return (fade * np.sin(2 * np.pi * freq_hz * time_s + 0.3)).astype(np.float32)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize(("part", "least_db"), [(0.01, 120), (0.3, 120), (0.8, 70)])  # worst 129.5, 130.4 and 74.3
def test_the_passband_is_kept(rate_in: int, rate_out: int, part: float, least_db: float):
    """Amplitude, frequency, phase and delay: the sine at the other rate."""
    freq_hz = part * min(rate_in, rate_out) / 2
    kept = resample(tone(freq_hz, rate_in), rate_in, rate_out)
    assert snr_db(tone(freq_hz, rate_out), kept) > least_db


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 22050), (48000, 44100), (96000, 22050)])
def test_what_the_new_rate_cannot_hold_is_removed_not_folded(rate_in: int, rate_out: int):
    freq_hz = (rate_out / 2 + rate_in / 2) / 2
    gone = resample(tone(freq_hz, rate_in), rate_in, rate_out)
    assert 20 * math.log10(np.abs(gone).max()) < -110  # worst -127


@pytest.mark.parametrize("length", [1, 2, 7, 1000, 44101])
@pytest.mark.parametrize(("rate_in", "rate_out"), [*RATES, (44100, 44099)])
def test_length(rate_in: int, rate_out: int, length: int):
    samples = np.ones(length, np.float32)
    changed = resample(samples, rate_in, rate_out)
    assert changed.shape == (max(1, round(length * rate_out / rate_in)),)
    assert changed.dtype == np.float32


def test_the_same_rate_changes_nothing():
    samples = tone(440, 8000)
    assert np.array_equal(resample(samples, 8000, 8000), samples)
    assert resample(samples[:0], 8000, 44100).shape == (0,)


def test_there_and_back():
    noise = np.random.default_rng(0).standard_normal(8000)
    spectrum = np.fft.rfft(noise * np.hanning(8000))
    spectrum[3200:] = 0  # 80 % of the band
    samples = np.fft.irfft(spectrum).astype(np.float32)
    assert snr_db(samples, resample(resample(samples, 22050, 48000), 48000, 22050)) > 70  # worst 75.9

from __future__ import annotations

import math

import numpy as np
import pytest

from sparsecli.dsp.quality import BLOCK_SAMPLES, Quality, log_mel_db, measure_quality, si_sdr_db, snr_db

RATE = 22050


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def figures(quality: Quality) -> list[float | None]:
    return list(vars(quality).values())


def test_a_copy_at_nine_tenths_of_the_level():
    """x - 0.9 x = 0.1 x: SNR 20 dB, convergence 0.1, and every bin of noise is 20 log10(1 / 0.9) = 0.91515 dB off."""
    x = noise(30000)
    quality = measure_quality(x, 0.9 * x, RATE)
    assert quality.snr_db == pytest.approx(20, abs=1e-9)
    assert quality.spectral_convergence == pytest.approx(0.1, abs=1e-9)
    assert quality.log_distance_db == pytest.approx(-20 * math.log10(0.9), abs=1e-9)
    assert quality.log_mel_db == pytest.approx(-20 * math.log10(0.9), abs=1e-9)
    assert quality.si_sdr_db is not None and quality.si_sdr_db > 150  # the level is free: all is right


def test_si_sdr_leaves_the_level_free_and_counts_what_is_orthogonal():
    """y = x / 2 + x' / 20 with x' orthogonal to x and as strong: 10 log10(0.25 / 0.0025) = 20 dB."""
    t = np.arange(1000)
    x, orthogonal = np.cos(2 * np.pi * t / 100), np.sin(2 * np.pi * t / 100)
    y = x / 2 + orthogonal / 20
    assert si_sdr_db(x, y) == pytest.approx(20, abs=1e-9)
    assert snr_db(x, y) == pytest.approx(-10 * math.log10(0.25 + 0.0025), abs=1e-9)  # the error is x / 2 - x' / 20


def test_the_floor_hides_what_is_80_db_down():
    """The reference is silent in its second half, where the estimate holds noise 90 dB under the reference's peak."""
    x = np.concatenate([noise(8192), np.zeros(8192)])
    y = np.concatenate([x[:8192], 1e-6 * noise(8192, seed=1)])
    quality = measure_quality(x, y, RATE)
    assert quality.log_mel_db == pytest.approx(0, abs=1e-3)
    louder = measure_quality(x, np.concatenate([x[:8192], 1e-2 * noise(8192, seed=1)]), RATE)
    assert louder.log_mel_db is not None and louder.log_mel_db > 10


def test_an_exact_copy_has_finite_figures():
    x = noise(5000)
    assert figures(measure_quality(x, x, RATE)) == [0, 0, 0, 200, 200]


def test_silence_as_the_estimate():
    """Nothing of the reference is there: convergence 1, SNR 0 dB, and SI-SDR at its lowest."""
    x = noise(5000)
    quality = measure_quality(x, np.zeros(5000), RATE)
    assert quality.spectral_convergence == pytest.approx(1)
    assert (quality.snr_db, quality.si_sdr_db) == (0, -200)
    assert quality.log_mel_db is not None and 0 < quality.log_mel_db <= 80


@pytest.mark.parametrize("estimate", [np.zeros(5000), noise(5000)])
def test_against_silence_nothing_can_be_measured(estimate: np.ndarray):
    assert figures(measure_quality(np.zeros(5000), estimate, RATE)) == [None] * 5


@pytest.mark.parametrize("length", [1, 2, 255, 256, 2047, 2048, 2049, BLOCK_SAMPLES, BLOCK_SAMPLES + 1])
def test_every_length_has_finite_figures(length: int):
    quality = measure_quality(noise(length) + 1, noise(length, seed=1), RATE)
    assert all(value is not None and math.isfinite(value) for value in figures(quality))


def test_a_constant_is_measured_like_any_other_signal():
    quality = measure_quality(np.full(5000, 0.5), np.full(5000, 0.45), RATE)
    assert quality.snr_db == pytest.approx(20)
    assert quality.spectral_convergence == pytest.approx(0.1)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_both_does_not_matter(scale: float):
    x, y = noise(5000).astype(np.float32), noise(5000, seed=1).astype(np.float32)
    scaled = measure_quality(x * np.float32(scale), y * np.float32(scale), RATE)
    assert figures(scaled) == pytest.approx(figures(measure_quality(x, y, RATE)), rel=1e-7)  # worst 3e-8


def test_blocks_do_not_show():
    """Long enough for several blocks at every FFT size, against librosa's spectra of the whole."""
    import librosa

    x, y = noise(3 * BLOCK_SAMPLES // 2 + 77), noise(3 * BLOCK_SAMPLES // 2 + 77, seed=1)
    wanted = []
    for size in (2048, 1024, 512, 256):
        s, e = (np.abs(librosa.stft(v, n_fft=size, hop_length=size // 4)) for v in (x, y))
        floor = s.max() * 1e-4
        distance = np.mean(np.abs(20 * np.log10(np.maximum(s, floor) / np.maximum(e, floor))))
        wanted.append((np.linalg.norm(s - e) / np.linalg.norm(s), distance))
    quality = measure_quality(x, y, RATE)
    assert (quality.spectral_convergence, quality.log_distance_db) == pytest.approx(np.mean(wanted, axis=0), rel=1e-9)


def test_log_mel_is_that_of_librosa():
    import librosa

    x, y = noise(20000), noise(20000, seed=1)
    m, p = (librosa.feature.melspectrogram(y=v, sr=RATE, n_fft=2048, hop_length=512, n_mels=80) for v in (x, y))
    floor = m.max() * 1e-8
    wanted = np.mean(np.abs(10 * np.log10(np.maximum(m, floor) / np.maximum(p, floor))))
    assert log_mel_db(x, y, RATE) == pytest.approx(wanted, rel=1e-6)  # librosa's mel matrix is float32


def test_channels_are_taken_together():
    """One channel exact, one silent: half of the power is wrong."""
    x = np.stack([noise(4096)] * 2)
    assert snr_db(x, x * [[1], [0]]) == pytest.approx(10 * math.log10(2))
    quality = measure_quality(x, x * [[1], [0]], RATE)
    assert quality.spectral_convergence == pytest.approx(math.sqrt(0.5))


def test_high_rates_say_nothing_of_empty_mel_bands(recwarn: pytest.WarningsRecorder):
    assert log_mel_db(noise(4096), noise(4096, seed=1), 192_000) > 0
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]


@pytest.mark.parametrize(
    ("reference", "estimate"),
    [
        (np.zeros(0), np.zeros(0)),
        (np.zeros(3), np.zeros(4)),
        (np.zeros((1, 3)), np.zeros((2, 3))),
        (np.ones(3), np.array([1, np.nan, 1])),
        (np.array([1, np.inf, 1]), np.ones(3)),
    ],
)
def test_what_cannot_be_compared_is_refused(reference: np.ndarray, estimate: np.ndarray):
    with pytest.raises(ValueError):
        measure_quality(reference, estimate, RATE)

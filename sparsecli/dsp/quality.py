"""How alike two recordings are: the five figures that `sparse compare` prints and `sparse fit` reports.

The definitions are those of the field's reconstruction tables: spectral convergence and log-magnitude distance (Arik et
al. 2019, eq. 1 and 2) averaged over four FFT sizes, distance of log-mel spectrograms, signal-to-noise ratio, and
scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, eq. 3). Everything is worked out in blocks in double
precision, so that memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FFT_SIZES = (2048, 1024, 512, 256)
MEL_FFT_SIZE = 2048
MEL_BANDS = 80
FLOOR_DB = -80.0  # under the reference's maximum: what lies lower is inaudible and counts as equal
MAX_RATIO_DB = 200.0  # ratios end here so that they stay finite: an exact copy has an SNR of 200 dB
BLOCK_SAMPLES = 2**17  # worked on at once: 1 MB a channel, which stays in the processor's cache

Samples = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Quality:
    """Likeness of an estimate to a reference. All are None where the reference is silent: nothing to measure against.

    Attributes:
        spectral_convergence: relative error of magnitude spectra; 0 is equal, 1 is what silence would get.
        log_distance_db: mean distance of log magnitude spectra.
        log_mel_db: mean distance of log mel power spectra.
        snr_db: signal-to-noise ratio, -200 to 200; 200 for an exact copy.
        si_sdr_db: the same with the estimate's level left free; -200 where nothing of the reference is in it.
    """

    spectral_convergence: float | None
    log_distance_db: float | None
    log_mel_db: float | None
    snr_db: float | None
    si_sdr_db: float | None


def measure_quality(reference: Samples, estimate: Samples, sample_rate: int) -> Quality:
    """All figures at once.

    Args:
        reference: `[samples]` or `[channels, samples]`, of any length from one sample.
        estimate: of the same shape. Several channels are taken together, as one signal.
        sample_rate: of both, in Hz.

    Raises:
        ValueError: shapes differ, no samples, or samples that are not finite.

    >>> noise = np.random.default_rng(0).standard_normal(4096)
    >>> quality = measure_quality(noise, 0.9 * noise, 22050)
    >>> round(quality.snr_db, 6), round(quality.spectral_convergence, 6), round(quality.log_mel_db, 3)
    (20.0, 0.1, 0.915)
    """
    reference, estimate = np.atleast_2d(reference), np.atleast_2d(estimate)
    _check(reference, estimate)
    if not reference.any():
        return Quality(None, None, None, None, None)
    distances = [_spectral_distances(reference, estimate, fft_size) for fft_size in FFT_SIZES]
    convergence, log_distance = np.mean(distances, axis=0)
    return Quality(
        spectral_convergence=float(convergence),
        log_distance_db=float(log_distance),
        log_mel_db=log_mel_db(reference, estimate, sample_rate),
        snr_db=snr_db(reference, estimate),
        si_sdr_db=si_sdr_db(reference, estimate),
    )


def snr_db(reference: Samples, estimate: Samples) -> float:
    """10 log10(sum x^2 / sum (x - y)^2), within +-200 dB.

    >>> round(snr_db(np.ones(100), np.full(100, 0.9)), 6)
    20.0
    """
    powers = np.sum([[np.vdot(x, x), np.vdot(x - y, x - y)] for x, y in _blocks(reference, estimate)], axis=0)
    return _ratio_db(*powers)


def si_sdr_db(reference: Samples, estimate: Samples) -> float:
    """10 log10(sum (a x)^2 / sum (a x - y)^2) with the gain a = <x, y> / <x, x> that fits best, within +-200 dB."""
    inner, power = np.sum([[np.vdot(x, y), np.vdot(x, x)] for x, y in _blocks(reference, estimate)], axis=0)
    gain = inner / power if power else 0.0
    errors = [np.vdot(gain * x - y, gain * x - y) for x, y in _blocks(reference, estimate)]
    return _ratio_db(gain * gain * power, float(np.sum(errors)))


def log_mel_db(reference: Samples, estimate: Samples, sample_rate: int) -> float:
    """Mean distance in dB of mel power spectra (80 bands, FFT 2048, hop 512), floored 80 dB under the reference's."""
    basis = _mel_basis(sample_rate)  # [bands, bins]
    floor = max(float((m**2 @ basis.T).max()) for m in _magnitudes(reference, MEL_FFT_SIZE)) * 10 ** (FLOOR_DB / 10)
    pairs = zip(_magnitudes(reference, MEL_FFT_SIZE), _magnitudes(estimate, MEL_FFT_SIZE), strict=True)
    total, count = 0.0, 0
    for x, y in pairs:
        distance = _log_distance(x**2 @ basis.T, y**2 @ basis.T, floor)  # [channels, frames, bands]
        total, count = total + float(distance.sum()), count + distance.size
    return 10 * total / count


def _spectral_distances(reference: Samples, estimate: Samples, fft_size: int) -> tuple[float, float]:
    """Spectral convergence and log distance in dB at one FFT size."""
    floor = max(float(m.max()) for m in _magnitudes(reference, fft_size)) * 10 ** (FLOOR_DB / 20)
    error = power = total = 0.0
    count = 0
    for x, y in zip(_magnitudes(reference, fft_size), _magnitudes(estimate, fft_size), strict=True):
        error += float(np.sum((x - y) ** 2))
        power += float(np.sum(x**2))
        total += float(_log_distance(x, y, floor).sum())
        count += x.size
    return float(np.sqrt(error / power)), 20 * total / count


def _log_distance(x: NDArray[np.float64], y: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    return np.abs(np.log10(np.maximum(x, floor) / np.maximum(y, floor)))


def _magnitudes(samples: Samples, fft_size: int) -> Iterator[NDArray[np.float64]]:
    """Magnitude spectra in blocks `[channels, frames, bins]`.

    Frames are centred on every quarter of the FFT size, Hann, and see zeros beyond the ends (as `librosa.stft`).
    """
    samples = np.atleast_2d(samples)
    length, hop = samples.shape[1], fft_size // 4
    window = np.hanning(fft_size + 1)[:-1]  # the periodic window
    frames, block = 1 + length // hop, BLOCK_SAMPLES // hop
    for first in range(0, frames, block):
        start = first * hop - fft_size // 2
        stop = start + (min(block, frames - first) - 1) * hop + fft_size
        piece = samples[:, max(start, 0) : stop].astype(np.float64)
        piece = np.pad(piece, ((0, 0), (max(-start, 0), max(stop - length, 0))))
        framed = np.lib.stride_tricks.sliding_window_view(piece, fft_size, axis=1)[:, ::hop]  # [channels, frames, fft]
        yield np.abs(np.fft.rfft(framed * window, axis=-1))


def _mel_basis(sample_rate: int) -> NDArray[np.float64]:
    import warnings

    import librosa

    with warnings.catch_warnings():
        # At high rates the lowest bands hold no bin. They then count as equal, in the definition too.
        warnings.simplefilter("ignore", UserWarning)
        basis = librosa.filters.mel(sr=sample_rate, n_fft=MEL_FFT_SIZE, n_mels=MEL_BANDS)
    return np.asarray(basis, np.float64)


def _blocks(*signals: Samples) -> Iterator[list[NDArray[np.float64]]]:
    """Stretches of the same samples of every signal, in double precision."""
    signals = tuple(np.atleast_2d(signal) for signal in signals)
    for start in range(0, signals[0].shape[1], BLOCK_SAMPLES):
        yield [signal[:, start : start + BLOCK_SAMPLES].astype(np.float64) for signal in signals]


def _ratio_db(power: float, error: float) -> float:
    if power == 0:
        return -MAX_RATIO_DB
    if error == 0:
        return MAX_RATIO_DB
    return float(np.clip(10 * np.log10(power / error), -MAX_RATIO_DB, MAX_RATIO_DB))


def _check(reference: Samples, estimate: Samples) -> None:
    if reference.shape != estimate.shape or reference.size == 0:
        raise ValueError(f"two signals of the same shape, not {reference.shape} and {estimate.shape}")
    if not all(np.isfinite(x).all() and np.isfinite(y).all() for x, y in _blocks(reference, estimate)):
        raise ValueError("samples that are not finite")

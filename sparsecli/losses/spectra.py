"""Distances of magnitude spectra: at several resolutions, linear and logarithmic, and on the mel scale.

Multi-resolution STFT: Yamamoto, Song and Kim, Parallel WaveGAN, ICASSP 2020, and Engel et al., DDSP, ICLR 2020; the
linear term is an absolute instead of a squared one, so that it has one unit at all sizes. Log-mel: as `sparse compare`
measures it (`dsp/quality.py`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

FFT_SIZES = (2048, 1024, 512, 256)  # those of `sparse compare`
MEL_FFT_SIZE, MEL_HOP, MEL_BANDS = 2048, 512, 80  # likewise
FLOOR = 1e-4  # -80 dB of the reference's largest magnitude: what lies lower is not heard
DB_PER_NEPER_OF_POWER = 10 / math.log(10)
TINY = 1e-6  # of the same: keeps the slope of a magnitude finite where it is 0
SILENCE = 1e-8  # a reference whose largest magnitude is under this is silent; float32 holds its squares, times TINY's

Compare = Callable[[Tensor, int], tuple[Tensor, ...]]
"""The cells `[G, ...]` of an estimate `[G, T]` against a fixed reference, at a step that seeds what is random."""


def powers(signal: Tensor, size: int, hop: int | None = None) -> Tensor:
    """Power spectra of frames centred on every quarter of `size`, Hann, with zeros beyond the ends.

    Args:
        signal: `[G, T]`.
        size: of the FFT, in samples.
        hop: in samples; None: a quarter of the size.

    Shape:
        - Input: `[G, T]`
        - Output: `[G, 1 + T // hop, size // 2 + 1]`

    >>> powers(torch.zeros(2, 1000), 256).shape
    torch.Size([2, 16, 129])
    """
    window = torch.hann_window(size, dtype=signal.dtype, device=signal.device)
    spectrum = torch.stft(signal, size, hop or size // 4, window=window, pad_mode="constant", return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)


def linear_stft(estimate: Tensor, reference: Tensor, size: int) -> Tensor:
    """Relative error of each magnitude at one FFT size: | |S| - |R| | over the mean |R|; in the mean, silence gets 1.

    Args:
        estimate: `[G, T]`.
        reference: `[G, T]`.
        size: of the FFT, in samples.

    Returns:
        `[G, frames, bins]`, no unit.
    """
    return against_stft(reference, (size,), log=False)(estimate, 0)[0]


def log_stft(estimate: Tensor, reference: Tensor, size: int) -> Tensor:
    """Distance of each log magnitude at one FFT size, in nepers (8.69 dB), floored 80 dB under the largest |R|.

    Args and shape as `linear_stft`.
    """
    return against_stft(reference, (size,), linear=False)(estimate, 0)[0]


def against_stft(reference: Tensor, sizes: Sequence[int] = FFT_SIZES, linear: bool = True, log: bool = True) -> Compare:
    """Both distances at several sizes, of any estimate against a reference `[G, T]`. Cells are over `len(sizes)`."""
    known = []
    for size in sizes:
        power = powers(reference, size)
        largest = power.amax((1, 2), keepdim=True).sqrt().clamp(min=SILENCE)
        magnitude = torch.sqrt(power + (TINY * largest).square())
        mean = magnitude.mean((1, 2), keepdim=True)
        known.append((size, magnitude, (magnitude + FLOOR * largest).log(), mean, largest))

    def compare(estimate: Tensor, step: int) -> tuple[Tensor, ...]:
        cells = []
        for size, magnitude, logarithm, mean, largest in known:
            heard = torch.sqrt(powers(estimate, size) + (TINY * largest).square())
            if linear:
                cells.append((heard - magnitude).abs() / (len(sizes) * mean))
            if log:
                cells.append(((heard + FLOOR * largest).log() - logarithm).abs() / len(sizes))
        return tuple(cells)

    return compare


def log_mel(estimate: Tensor, reference: Tensor, rate: int) -> Tensor:
    """Distance of log-mel power spectra in dB (80 bands, FFT 2048, hop 512), floored 80 dB under the largest.

    Args:
        estimate: `[G, T]`.
        reference: `[G, T]`.
        rate: in Hz.

    Returns:
        `[G, frames, 80]` in dB.
    """
    return against_log_mel(reference, rate)(estimate, 0)[0]


def against_log_mel(reference: Tensor, rate: int) -> Compare:
    """`log_mel` of any estimate against a reference `[G, T]`."""
    basis = _mel_basis(rate).to(reference)
    known = powers(reference, MEL_FFT_SIZE, MEL_HOP) @ basis.T
    floor = known.amax((1, 2), keepdim=True).clamp(min=SILENCE**2) * FLOOR**2
    logarithm = (known + floor).log()

    def compare(estimate: Tensor, step: int) -> tuple[Tensor, ...]:
        heard = powers(estimate, MEL_FFT_SIZE, MEL_HOP) @ basis.T
        return (((heard + floor).log() - logarithm).abs() * DB_PER_NEPER_OF_POWER,)

    return compare


@lru_cache(maxsize=8)
def _mel_basis(rate: int) -> Tensor:
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # at high rates the lowest bands hold no bin, and count as equal
        basis = librosa.filters.mel(sr=rate, n_fft=MEL_FFT_SIZE, n_mels=MEL_BANDS)
    return torch.from_numpy(basis).double()


def against_waveform(reference: Tensor) -> Compare:
    """Squared error of each sample over the reference's mean square, no unit; in the mean 10^(-SNR / 10)."""
    power = reference.square().mean(1, keepdim=True).clamp(min=SILENCE**2)
    return lambda estimate, step: ((estimate - reference).square() / power,)

"""What is left after the modes, as statistics: the level of the air, and the bursts that the air cannot explain."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ..core.columns import AIR_BANDS, AIR_FRAMES_PER_S, SILENT_DB
from ..dsp.bands import band_edges_hz
from ..synth.air import air_frames

FRAME_S = 0.046  # of the spectra: 2048 samples at 44.1 kHz
QUANTILE = 0.5  # of the residual's power: robust against the tonal peaks that the modes left
REACH_S = 0.5  # beyond its second that a frame of air looks to either side


def power_density(signal: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Power spectral density of Hann-windowed frames, a quarter apart.

    Args:
        signal: float `[samples]`, padded with zeros to at least one frame.
        rate: in Hz.

    Returns:
        Full scale squared per Hz `[frames, bins]`, and the bins' frequencies in Hz `[bins]`.
    """
    size = 1 << round(math.log2(max(FRAME_S * rate, 16)))
    window = torch.hann_window(size, dtype=signal.dtype, device=signal.device)
    signal = torch.nn.functional.pad(signal, (0, max(0, size - len(signal))))
    spectrum = torch.fft.rfft(signal.unfold(0, size, size // 4) * window)
    density = torch.view_as_real(spectrum).square().sum(-1) * (2 / (rate * float(window.square().sum())))
    return density, torch.fft.rfftfreq(size, 1 / rate, device=signal.device)


def fit_air(residual: Tensor, rate: int) -> Tensor:
    """Levels of the air that sounds like a residual.

    In Gaussian noise the power of a bin is exponentially distributed, with its q-quantile at -ln(1 - q) of its mean;
    what stands above the median is taken for tones.

    Args:
        residual: float `[samples]`, the recording without its modes.
        rate: in Hz.

    Returns:
        `[frames, 24]` in dB of full scale, -200 where there is nothing.
    """
    frames = air_frames(len(residual) / rate)
    edges = band_edges_hz(rate / 2, AIR_BANDS)
    air_db = torch.full((frames, AIR_BANDS), SILENT_DB)
    for frame in range(frames):
        begin = max(0, int((frame / AIR_FRAMES_PER_S - REACH_S) * rate))
        end = int(((frame + 1) / AIR_FRAMES_PER_S + REACH_S) * rate) if frame < frames - 1 else len(residual)
        density, freq_hz = power_density(residual[begin:end], rate)
        for band, (low, high) in enumerate(itertools.pairwise(edges)):
            inside = (freq_hz >= low) & (freq_hz < high)
            if not bool(inside.any()):  # a band narrower than a bin
                inside = (
                    torch.arange(len(freq_hz), device=freq_hz.device) == (freq_hz - (low + high) / 2).abs().argmin()
                )
            mean = float(density[:, inside].quantile(QUANTILE)) / -math.log(1 - QUANTILE)
            air_db[frame, band] = max(SILENT_DB, 10 * math.log10(max(mean * (high - low), 1e-30)))
    return air_db

"""The air: a slow noise floor in 24 bands, what makes a sparse rendering sound like a place.

`air[frame, band]` is the RMS level in dB of full scale of the noise in a band; frame j stands at j + 0.5 s. Bands are
equal on the ERB-rate scale (Glasberg and Moore 1990) from 0 Hz to the source's Nyquist frequency. Levels are
interpolated linearly in dB, over time between frames and over ERB-rate between band centres as a power density.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.columns import AIR_BANDS, AIR_FRAMES_PER_S, SILENT_DB
from ..dsp.bands import band_edges_hz, erb_rate, interpolate
from .noise import white_noise

HOP = 1024  # samples of the noise grid: 23 ms at 44.1 kHz, much shorter than a frame of air
CHUNK_HOPS = 512  # rendered at once; bounds memory


def air_frames(duration_s: float) -> int:
    """Frames of air that a recording has: about one a second, at least one.

    >>> air_frames(0.3), air_frames(10.2)
    (1, 10)
    """
    return max(1, round(duration_s * AIR_FRAMES_PER_S))


def air_gains(air_db: Tensor, time_s: Tensor, freq_hz: Tensor, nyquist_hz: float, rate: int) -> Tensor:
    """Amplitude gains that shape white noise of variance 1 on a grid of `rate` Hz into the air.

    Args:
        air_db: `[frames, 24]`; no frames for no air.
        time_s: `[T]`.
        freq_hz: `[F]`.
        nyquist_hz: of the source; no air above it.
        rate: of the noise grid, in Hz.

    Returns:
        `[T, F]`.
    """
    if not len(air_db):
        return torch.zeros(len(time_s), len(freq_hz), device=air_db.device)
    edges = torch.tensor(band_edges_hz(nyquist_hz, AIR_BANDS), dtype=torch.float64, device=air_db.device)
    # White noise has its variance spread evenly over rate / 2: the share of a band is its width.
    density_db = air_db.double() - 10 * torch.log10((edges[1:] - edges[:-1]) / (rate / 2))
    in_time = interpolate(time_s.double() * AIR_FRAMES_PER_S - 0.5, density_db)  # [T, 24]
    step = erb_rate(nyquist_hz) / AIR_BANDS
    place = torch.tensor([erb_rate(f) / step - 0.5 for f in freq_hz.tolist()], device=air_db.device)
    gains = torch.pow(10.0, interpolate(place, in_time.T).T / 20)  # [T, F]
    return (gains * (freq_hz < nyquist_hz)).float()


def render_air(air_db: Tensor, seed: int, samples: int, rate: int, nyquist_hz: float) -> Tensor:
    """The air as sound, by shaping white noise frame by frame (square-root Hann windows, half overlapping).

    Args:
        air_db: `[frames, 24]` in dB; no frames or all at -200 dB for silence.
        seed: of the noise.
        samples: length of the result.
        rate: of the noise grid, in Hz.
        nyquist_hz: of the source.

    Returns:
        float32 `[samples]`.
    """
    device = air_db.device
    if air_db.numel() == 0 or bool((air_db <= SILENT_DB).all()):
        return torch.zeros(samples, device=device)
    window = torch.hann_window(2 * HOP, device=device).sqrt()
    freq_hz = torch.fft.rfftfreq(2 * HOP, 1 / rate, device=device)
    hops = -(-samples // HOP)
    out = torch.zeros(hops + 2, HOP, device=device)
    key = torch.tensor([seed], device=device)
    for first in range(0, hops + 1, CHUNK_HOPS):  # frame f covers hops f and f + 1 of `out`, which starts one hop early
        count = min(CHUNK_HOPS, hops + 1 - first)
        noise = white_noise(key, first * HOP, (count + 1) * HOP)[0]
        frames = torch.fft.rfft(noise.unfold(0, 2 * HOP, HOP) * window)  # [count, F]
        time_s = torch.arange(first, first + count, device=device) * (HOP / rate)
        gains = air_gains(air_db, time_s, freq_hz, nyquist_hz, rate)
        shaped = torch.fft.irfft(frames * gains, n=2 * HOP) * window
        out[first : first + count] += shaped[:, :HOP]
        out[first + 1 : first + count + 1] += shaped[:, HOP:]
    return out[1:].flatten()[:samples]

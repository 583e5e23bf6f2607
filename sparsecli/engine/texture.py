"""What is left after the modes, as statistics: the level of the air, and the bursts that the air cannot explain."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.columns import AIR_BANDS, AIR_FRAMES_PER_S, SILENT_DB
from ..dsp.bands import band_edges_hz, erb_rate, erb_rate_to_hz
from ..synth.air import air_frames, air_gains
from ..synth.modes import support_s
from ..synth.noise import BURST_BAND, burst_band, burst_envelope

FRAME_S = 0.046  # of the spectra: 2048 samples at 44.1 kHz
QUANTILE = 0.3  # of the residual's power: robust against the tonal peaks that the modes left
REACH_S = 0.5  # beyond its second that a frame of air looks to either side


def frame_samples(rate: int) -> int:
    """Length of the spectra: the power of two nearest to 46 ms."""
    return 1 << round(math.log2(max(FRAME_S * rate, 16)))


def power_density(signal: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Power spectral density of Hann-windowed frames, a quarter apart.

    Args:
        signal: float `[..., samples]`, padded with zeros to at least one frame.
        rate: in Hz.

    Returns:
        Full scale squared per Hz `[..., frames, bins]`, and the bins' frequencies in Hz `[bins]`.
    """
    size = frame_samples(rate)
    window = torch.hann_window(size, dtype=signal.dtype, device=signal.device)
    signal = torch.nn.functional.pad(signal, (0, max(0, size - signal.shape[-1])))
    spectrum = torch.fft.rfft(signal.unfold(-1, size, size // 4) * window)
    density = torch.view_as_real(spectrum).square().sum(-1) * (2 / (rate * float(window.square().sum())))
    return density, torch.fft.rfftfreq(size, 1 / rate, device=signal.device)


def fit_air(residual: Tensor, rate: int, heard: Tensor | None = None) -> Tensor:
    """Levels of the air that sounds like a residual, or like what a signal has more power of than what is `heard`.

    In Gaussian noise the power of a bin is exponentially distributed, with its q-quantile at -ln(1 - q) of its mean;
    what stands far above the others is taken for tones.

    Args:
        residual: float `[samples]`, the recording without its modes.
        rate: in Hz.
        heard: float `[samples]`: `residual` is the whole recording, and this is heard already, in no phase with it.

    Returns:
        `[frames, 24]` in dB of full scale, -200 where there is nothing.
    """
    frames = air_frames(len(residual) / rate)
    residual = residual - residual.mean()  # an offset is no sound
    edges = band_edges_hz(rate / 2, AIR_BANDS)
    air_db = torch.full((frames, AIR_BANDS), SILENT_DB)
    for frame in range(frames):
        begin = max(0, int((frame / AIR_FRAMES_PER_S - REACH_S) * rate))
        end = int(((frame + 1) / AIR_FRAMES_PER_S + REACH_S) * rate) if frame < frames - 1 else len(residual)
        density, freq_hz = power_density(residual[begin:end], rate)
        there = None if heard is None else power_density(heard[begin:end], rate)[0]
        for band, (low, high) in enumerate(itertools.pairwise(edges)):
            inside = (freq_hz >= low) & (freq_hz < high)
            if not bool(inside.any()):  # a band narrower than a bin
                inside = (
                    torch.arange(len(freq_hz), device=freq_hz.device) == (freq_hz - (low + high) / 2).abs().argmin()
                )
            mean = _mean_of_noise(density[:, inside]) - (0.0 if there is None else _mean_of_noise(there[:, inside]))
            air_db[frame, band] = max(SILENT_DB, 10 * math.log10(max(mean * (high - low), 1e-30)))
    return air_db


def _mean_of_noise(density: Tensor) -> float:
    """Mean power of the noise in some bins, whatever tones stand out of it."""
    return float(density.quantile(QUANTILE)) / -math.log(1 - QUANTILE)


BURST_CELLS = 40  # bands in which bursts are judged, equal on the ERB-rate scale like the ear's
BURST_CENTRES = 16
BURST_FRAMES = 128  # spectra at most that a burst is judged on
BURST_INSTANTS = 256  # at which the envelope of a burst is summed
BURST_REACH_DB = 60.0  # under its peak, below which a burst is no longer judged
BURST_QUANTILES = (0.15, 0.3, 0.5)  # of the levels that the cells of a burst ask for
BURST_WORTH_DB = 16.0  # summed over cells: what a burst must take off the log-spectral distance; by chance it is 9
FLOOR_DB = -80.0  # under the loudest cell: what lies lower is not heard


@dataclass(frozen=True)
class Cells:
    """Power densities `[frames, bands]`, means over channels, of what is there and what is explained.

    Attributes:
        source: of the recording.
        residual: of what the modes leave.
        model: expected of modes, air and bursts so far; changed where bursts are added.
        time_s: middle of each frame `[frames]`.
        frame_s: length of a frame.
        freq_hz: middle of each band `[bands]`.
    """

    source: Tensor
    residual: Tensor
    model: Tensor
    time_s: Tensor
    frame_s: float
    freq_hz: Tensor


def make_cells(source: Tensor, coherent: Tensor, air_db: Tensor, rate: int) -> Cells:
    """The cells of a recording `[channels, samples]` or `[samples]`, its modes' sound likewise and its air.

    The air is `[channels, frames, 24]` or `[frames, 24]`. It is powers of which the mean over channels is taken: where
    signals were averaged, what differs between the channels would be lost.
    """
    half = frame_samples(rate) // 2  # frames reach over both ends, so that what starts there is seen whole
    source, coherent = (
        torch.nn.functional.pad(signal.reshape(-1, signal.shape[-1]), (half, half)) for signal in (source, coherent)
    )
    densities, bins_hz = power_density(source, rate)
    density = densities.mean(0)
    frame_s = 2 * half / rate
    time_s = torch.arange(len(density), dtype=torch.float64) * (frame_s / 4)
    levels = air_db[None] if air_db.ndim == 2 else air_db  # [channels, frames, 24]
    gains = torch.stack([air_gains(channel_db, time_s, bins_hz, rate / 2, rate) for channel_db in levels])
    air = gains.square().mean(0) * (2 / rate)
    top = erb_rate(rate / 2)
    band = torch.tensor([min(BURST_CELLS - 1, int(BURST_CELLS * erb_rate(f) / top)) for f in bins_hz.tolist()])
    mixing = torch.nn.functional.one_hot(band, BURST_CELLS).to(density.dtype)
    used = mixing.sum(0) > 0  # the lowest bands may be narrower than a bin
    mixing = mixing[:, used] / mixing[:, used].sum(0)
    centres = torch.tensor([erb_rate_to_hz(top * (index + 0.5) / BURST_CELLS) for index in range(BURST_CELLS)])
    power = density @ mixing
    floor = power.max() * 10 ** (FLOOR_DB / 10)
    modes = power_density(coherent, rate)[0].mean(0) @ mixing
    return Cells(
        source=power.clamp(min=floor),
        residual=power_density(source - coherent, rate)[0].mean(0) @ mixing,
        model=(modes + air.to(modes.dtype) @ mixing).clamp(min=floor),
        time_s=time_s,
        frame_s=frame_s,
        freq_hz=centres[used],
    )


@dataclass(frozen=True)
class Burst:
    """A burst that helps.

    Attributes:
        level_db: of full scale.
        freq_hz: centre of its band.
        gain_db: what it takes off the log-spectral distance, summed over cells.
        rows: the frames `[T]` that it reaches.
        power: that it adds to their cells `[T, bands]`.
    """

    level_db: float
    freq_hz: float
    gain_db: float
    rows: slice
    power: Tensor


def burst_centres(cells: Cells) -> Tensor:
    """Frequencies in Hz that are tried where the centre of a burst is free, `[C]`."""
    high = 0.9 * float(cells.freq_hz[-1])
    return torch.logspace(math.log10(100.0), math.log10(max(high, 200.0)), BURST_CENTRES)


def fit_burst(cells: Cells, onset_s: float, attack_s: float, decay_s: float, centres_hz: Tensor) -> Burst | None:
    """The burst that helps most under an atom's envelope, at one of the centres `[C]`, or None if none helps.

    No random numbers: a burst of level N adds N^2 T to the expected power of each cell, with T its envelope and band.
    Cells ask for the level at which it explains the residual; quantiles of that are tried on all centres, and the one
    that lowers the summed log-spectral distance most is taken. It is the caller's to add it to `cells.model`.
    """
    reach_s = max(float(support_s(torch.tensor(attack_s), torch.tensor(decay_s), BURST_REACH_DB)), 1e-4)
    end_s = onset_s + max(reach_s, cells.frame_s)
    begin, end = torch.searchsorted(cells.time_s, torch.tensor([onset_s - cells.frame_s / 2, end_s]).double()).tolist()
    rows = slice(begin, min(end, begin + BURST_FRAMES))
    if begin >= len(cells.time_s) or rows.stop <= rows.start:
        return None
    templates = _burst_templates(cells, rows, onset_s, attack_s, decay_s, reach_s, centres_hz)  # [C, t, b]
    source, model = cells.source[rows], cells.model[rows]
    missing = (source - model).clamp(min=0)
    asked = torch.minimum(cells.residual[rows], missing) / templates.clamp(min=1e-30)  # [C, t, b]
    inside = templates > 0.1 * templates.amax(dim=(1, 2), keepdim=True)
    asked = torch.where(inside, asked, torch.nan).flatten(1)
    levels = torch.nanquantile(asked, torch.tensor(BURST_QUANTILES, dtype=asked.dtype), dim=1).T  # [C, Q]
    added = model + levels[:, :, None, None] * templates[:, None]  # [C, Q, t, b]
    before = (source / model).log().abs().sum()
    gain_db = (10 / math.log(10)) * (before - (source / added).log().abs().sum(dim=(2, 3)))
    gain_db = torch.where(levels > 0, gain_db, 0.0)  # a centre whose templates reach no cell asks for no level
    centre, quantile = divmod(int(gain_db.argmax()), len(BURST_QUANTILES))
    gain, power = float(gain_db[centre, quantile]), float(levels[centre, quantile])
    if gain <= 0:
        return None
    return Burst(10 * math.log10(power), float(centres_hz[centre]), gain, rows, power * templates[centre])


def _burst_templates(
    cells: Cells, rows: slice, onset_s: float, attack_s: float, decay_s: float, reach_s: float, centres_hz: Tensor
) -> Tensor:
    """Expected power densities of a burst of level 1 in each cell, `[C, frames, bands]`."""
    # The Hann-weighted mean of the squared envelope over each frame, as a sum over instants u of the burst itself, so
    # that a burst much shorter than a frame keeps its energy.
    elapsed_s = (torch.arange(BURST_INSTANTS, dtype=torch.float64) + 0.5) * (reach_s / BURST_INSTANTS)
    place = (onset_s + elapsed_s - cells.time_s[rows, None]) / cells.frame_s  # [t, U], -0.5 to 0.5 inside
    weight = torch.cos(math.pi * place).pow(4) * (place.abs() < 0.5)
    weight /= 0.375 * cells.frame_s  # the mean of a squared Hann window
    strike = torch.tensor([attack_s, decay_s], dtype=torch.float64)
    envelope = burst_envelope(elapsed_s, strike[0], strike[1]).square()
    power = weight @ envelope * (elapsed_s[1] - elapsed_s[0])
    bandwidth_hz = centres_hz * (math.sqrt(math.pi) / BURST_BAND)  # the integral of the squared Gaussian band
    band = burst_band(cells.freq_hz, centres_hz[:, None]).square() / bandwidth_hz[:, None]  # [C, b]
    return power.to(band.dtype)[None, :, None] * band[:, None]

"""Source and excitation: bursts of noise, and what they set ringing, as modes and bursts of the common renderer.

The published model of gamma and Gaussian splatting (John Vinyard, 2024): a burst of noise, with a gamma or Gaussian
envelope in time and a Gaussian band in frequency, is convolved with a decaying series of harmonics that goes over from
one low-pass filter to another; burst and resonance are mixed, and some of it goes into a room. With a resonance

    r(t) = sum_k [ G1(k f0) e^{-c t} + G2(k f0) (1 - e^{-c t}) ] e^{-d t} cos(2 pi k f0 t)
         = sum_k [ (G1 - G2) e^{-(d + c) t} + G2 e^{-d t} ] cos(2 pi k f0 t),

the cross-fade is exact as two modes for each harmonic. Convolved with a burst, each becomes, once that has ended, the
same mode times the burst's transform at its pole: an amplitude that follows the burst's band, and a phase that is as
random as its noise. While the burst lasts, a mode rises as the burst's integral does, for which stands the E(u) of the
common atom. A Gaussian burst has the E of the same mean (3/2 attacks after the onset) and variance (5/4 attacks^2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from .modes import Modes, envelope_peak, render_modes
from .noise import BURST_BAND, burst_band, burst_envelope, noise_rate, white_noise

HARMONICS = 8
LONGEST_BURST_S = 0.18  # T60 of a burst at most: what is drawn of its noise covers it
REACH = 1.5  # of that time: until a burst is 90 dB down
MEAN_RISE, SPREAD_RISE = 1.5, math.sqrt(1.25)  # of E', in attacks: E = (1 - e^{-v})^2 has E' = 2 e^{-v} - 2 e^{-2 v}


@dataclass(frozen=True)
class Excitations:
    """E of them; any tensor but the seeds may require gradients.

    Attributes:
        onset_s: float64 `[E]`.
        attack_s: `[E]`, time constant of the burst's rise.
        burst_decay_s: `[E]`, T60 of the burst.
        decay_s: `[E]`, T60 of the resonance.
        fade_s: `[E]`, T60 of the cross-fade from the first filter to the second.
        freq_hz: `[E]`, f0.
        first_hz: `[E]`, where the first low-pass is 3 dB down.
        second_hz: `[E]`, the second's.
        noise_hz: `[E]`, centre of the burst's band.
        width: `[E]`, its standard deviation as heard by the resonance, over the centre.
        amplitude: `[E]`, about the peak of the whole.
        mix: `[E]`, 0: the burst alone, 1: the resonance alone.
        wet: `[E]`, what goes into the room.
        seeds: int64 `[E]`, of noise and phases.
    """

    onset_s: Tensor
    attack_s: Tensor
    burst_decay_s: Tensor
    decay_s: Tensor
    fade_s: Tensor
    freq_hz: Tensor
    first_hz: Tensor
    second_hz: Tensor
    noise_hz: Tensor
    width: Tensor
    amplitude: Tensor
    mix: Tensor
    wet: Tensor
    seeds: Tensor

    def take(self, rows: Tensor) -> Excitations:
        """Those at `rows`."""
        return Excitations(*(getattr(self, entry.name)[rows] for entry in fields(self)))


def low_pass(freq_hz: Tensor, edge_hz: Tensor) -> Tensor:
    """Amplitude response of a low-pass of second order (Butterworth), 3 dB down at its edge.

    >>> round(float(low_pass(torch.tensor(1000.0), torch.tensor(1000.0))), 4)
    0.7071
    """
    return torch.rsqrt(1 + (freq_hz / edge_hz).square().square())


def resonances(excitations: Excitations) -> Modes:
    """The modes `[E, 2 HARMONICS]` that bursts set ringing: the slow ones, then those that fade with the filter."""
    x = excitations
    number = torch.arange(1, HARMONICS + 1, device=x.freq_hz.device, dtype=torch.float64)
    freq_hz = x.freq_hz[:, None] * number  # [E, K]
    struck = torch.exp(-0.5 * ((freq_hz / x.noise_hz[:, None] - 1) / x.width[:, None]).square())
    struck = struck / struck.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)  # as loud whatever the width
    second = low_pass(freq_hz, x.second_hz[:, None])
    fading = low_pass(freq_hz, x.first_hz[:, None]) - second
    faster_s = 1 / (1 / x.decay_s + 1 / x.fade_s)
    decay_s = torch.stack([x.decay_s, faster_s], dim=1).repeat_interleave(HARMONICS, dim=1)  # [E, 2 K]
    level = (x.amplitude * x.mix / envelope_peak(x.attack_s, x.decay_s))[:, None] * struck
    turns = white_noise(x.seeds, 0, HARMONICS).double() * (math.pi / math.sqrt(3))  # evenly from -pi to pi
    return Modes(
        onset_s=x.onset_s,
        attack_s=x.attack_s,
        freq_hz=torch.cat([freq_hz, freq_hz], dim=1),
        decay_s=decay_s,
        amplitude=torch.cat([level * second, level * fading], dim=1),
        phase_rad=torch.cat([turns, turns], dim=1),
    )


def burst_amplitude(excitations: Excitations) -> Tensor:
    """RMS of each burst where it is loudest, `[E]`."""
    return excitations.amplitude * (1 - excitations.mix)


def render_excitations(excitations: Excitations, samples: int, rate: int, source_rate: int, start: int = 0) -> Tensor:
    """What stays dry and what goes into the room, over `[start, start + samples)`.

    The noise is that of `synth/noise.py`, drawn on the grid of the source's rate and brought to this one, so that
    events with these bursts sound alike but for the first milliseconds, where a filter rings into them.

    Args:
        excitations: E of them.
        samples: length of the result.
        rate: in Hz.
        source_rate: of the recording, in Hz.
        start: first sample.

    Returns:
        float32 `[2, samples]`.
    """
    gains = torch.stack([1 - excitations.wet, excitations.wet])
    modes = render_modes(resonances(excitations), samples, rate, start=start, gains=gains)
    place, noise = _bursts(excitations, rate, noise_rate(source_rate))  # [E, L]
    inside = (place >= start) & (place < start + samples)
    index = torch.where(inside, place - start, 0).flatten()
    heard = torch.where(inside, noise, 0.0)
    sent = [modes[mix].index_add(0, index, (gain[:, None] * heard).float().flatten()) for mix, gain in enumerate(gains)]
    return torch.stack(sent)


def _bursts(excitations: Excitations, rate: int, grid: int) -> tuple[Tensor, Tensor]:
    """Samples of a rate on which each burst lies, and its sound there, `[E, L]`."""
    x = excitations
    length, spectrum = _noise_spectrum(tuple(x.seeds.tolist()), rate, grid)  # [E, L / 2 + 1]
    spectrum = spectrum.to(x.onset_s.device)
    freq_hz = torch.fft.rfftfreq(length, 1 / rate, device=x.onset_s.device, dtype=torch.float64)
    band = burst_band(freq_hz, x.noise_hz[:, None])
    power = x.noise_hz * (math.sqrt(math.pi) / BURST_BAND) / (grid / 2)  # of the whole band against white noise
    onset = x.onset_s.detach()
    first_s = torch.ceil(onset * grid) / grid  # noise sample 0
    begin = torch.floor(first_s * rate)
    late = first_s * rate - begin  # of a sample
    shift = torch.polar(torch.ones_like(band), -2 * math.pi * freq_hz / rate * late[:, None])
    noise = torch.fft.irfft(spectrum * band * shift * torch.rsqrt(power)[:, None], n=length)
    place = begin.long()[:, None] + torch.arange(length, device=begin.device)
    elapsed_s = place / rate - x.onset_s[:, None]
    envelope = burst_envelope(elapsed_s, x.attack_s[:, None], x.burst_decay_s[:, None])
    return place, burst_amplitude(x)[:, None] * envelope * noise


@lru_cache(maxsize=4)
def _noise_spectrum(seeds: tuple[int, ...], rate: int, grid: int) -> tuple[int, Tensor]:
    """Samples of a rate that hold the longest burst, and the white noise of the grid there, as half spectra."""
    common = math.gcd(rate, grid)
    times = math.ceil(REACH * LONGEST_BURST_S * common)
    while (times * (rate // common)) % 256:  # a length that is transformed fast
        times += 1
    length = times * (rate // common)
    drawn = white_noise(torch.tensor(seeds, dtype=torch.int64), 0, times * (grid // common))
    return length, torch.fft.rfft(drawn.double())[:, : length // 2 + 1] * (rate / grid)

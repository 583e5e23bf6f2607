"""Noise that can be played twice alike: a counter-based generator, and the bursts made from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.columns import NEPERS_PER_T60
from ..dsp.parallel import side_by_side
from .modes import envelope_peak, support_s

NOISE_RATE = 44_100  # Hz; noise is drawn on this grid whatever rate is rendered, or on a multiple for faster sources
_MASK = 0xFFFFFFFF


def noise_rate(sample_rate: int) -> int:
    """Rate of the grid on which the noise of a source is drawn: 44 100 Hz, doubled until it covers the source's band.

    >>> noise_rate(22050), noise_rate(48000), noise_rate(96000)
    (44100, 88200, 176400)
    """
    rate = NOISE_RATE
    while rate < sample_rate:
        rate *= 2
    return rate


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Philox-4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3; SC 2011).

    Args:
        counter: int64 `[..., 4]`, values below 2^32.
        key: int64 `[..., 2]`, values below 2^32; broadcast against `counter`.

    Returns:
        int64 `[..., 4]`, values below 2^32.
    """
    x0, x1, x2, x3 = counter.unbind(-1)
    k0, k1 = key.unbind(-1)
    for _ in range(10):
        a, b = x0 * 0xD2511F53, x2 * 0xCD9E8D57  # wraps at 2^64 as unsigned products do: the bits are the same
        x0, x1, x2, x3 = (b >> 32 & _MASK) ^ x1 ^ k0, b & _MASK, (a >> 32 & _MASK) ^ x3 ^ k1, a & _MASK
        k0, k1 = k0 + 0x9E3779B9 & _MASK, k1 + 0xBB67AE85 & _MASK
    return torch.stack([x0, x1, x2, x3], dim=-1)


def white_noise(seeds: Tensor, start: int, samples: int) -> Tensor:
    """White noise of mean 0 and variance 1, uniformly distributed: sample i depends on the seed and i alone.

    Args:
        seeds: int64 `[E]`; the bits of the unsigned seeds.
        start: index of the first sample, not negative.
        samples: how many.

    Returns:
        float32 `[E, samples]`.
    """
    first, last = start // 4, -(-(start + samples) // 4)
    index = torch.arange(first, last, device=seeds.device)
    zero = torch.zeros_like(index)
    counter = torch.stack([index & _MASK, index >> 32, zero, zero], dim=-1)  # [G, 4]
    key = torch.stack([seeds & _MASK, seeds >> 32 & _MASK], dim=-1)  # [E, 2]
    words = philox(counter, key[:, None])  # [E, G, 4]
    uniform = (words.flatten(1)[:, start - 4 * first :][:, :samples].float() + 0.5) * 2.0**-32  # (0, 1)
    return (uniform - 0.5) * math.sqrt(12.0)


BURST_BAND = 3.0  # centre frequency over the standard deviation of the Gaussian band: 1.2 octaves at -6 dB
AT_ONCE = 16  # bursts; bounds the memory of their sounds
MAX_BURST_SAMPLES = 1 << 21  # of the noise grid, 48 s at 44.1 kHz; bounds the memory of a burst's transform


def burst_envelope(elapsed_s: Tensor, attack_s: Tensor, decay_s: Tensor) -> Tensor:
    """The envelope E(u) e^{-d u} of an atom's modes over its maximum; 0 before the onset. Shapes broadcast."""
    u = elapsed_s.clamp(min=0)
    damping = NEPERS_PER_T60 / decay_s.clamp(min=1e-9)
    shape = torch.expm1(-u / attack_s).square() * torch.exp(-damping * u)
    return shape / envelope_peak(attack_s, decay_s)


def burst_band(freq_hz: Tensor, noise_hz: Tensor) -> Tensor:
    """Amplitude response of the Gaussian band around `noise_hz`. Shapes broadcast."""
    return torch.exp(-0.5 * (BURST_BAND * (freq_hz / noise_hz - 1)).square())


def _share_beyond(noise_hz: Tensor, nyquist_hz: float) -> Tensor:
    """The power of the band above `nyquist_hz`, which is not heard, over that of white noise below it.

    With c = BURST_BAND, the integral of e^{-(c (f / f0 - 1))^2} from F up is f0 sqrt(pi) / (2 c) erfc(c (F / f0 - 1)).
    """
    upper = torch.special.erfc(BURST_BAND * (nyquist_hz / noise_hz - 1))
    share: Tensor = noise_hz * (math.sqrt(math.pi) / (2 * BURST_BAND * nyquist_hz)) * upper
    return share


@dataclass(frozen=True)
class Bursts:
    """E noise bursts.

    Attributes:
        onset_s: float64 `[E]`.
        attack_s: `[E]`.
        decay_s: `[E]`, T60; a burst of 0 is silent.
        level_db: `[E]`, RMS of the whole band at the peak of the envelope in dB of full scale.
        noise_hz: `[E]`, centre of the band.
        seeds: int64 `[E]`, the bits of the unsigned seeds.
    """

    onset_s: Tensor
    attack_s: Tensor
    decay_s: Tensor
    level_db: Tensor
    noise_hz: Tensor
    seeds: Tensor


def render_bursts(bursts: Bursts, samples: int, rate: int, gains: Tensor | None = None) -> Tensor:
    """The sum of all noise bursts over `samples` of the noise grid of `rate` Hz (`noise_rate`).

    Args:
        bursts: E of them.
        samples: length of the result.
        rate: of the noise grid, in Hz.
        gains: `[channels, E]`, what of each burst goes to each channel; None for one channel that takes all.

    Returns:
        float32 `[samples]`, or `[channels, samples]` where gains are given.
    """
    outs = [torch.zeros(samples, device=bursts.onset_s.device) for _ in range(1 if gains is None else len(gains))]
    count = len(bursts.onset_s)
    for chunk in (range(first, min(first + AT_ONCE, count)) for first in range(0, count, AT_ONCE)):
        sounds = side_by_side(lambda e: _render_burst(bursts, e, samples, rate), chunk)
        for e, (begin, sound) in zip(chunk, sounds, strict=True):
            for channel, out in enumerate(outs):
                heard = sound if gains is None else sound * gains[channel, e].to(sound.dtype)
                out[begin : begin + len(sound)] += heard
    return outs[0] if gains is None else torch.stack(outs)


def _render_burst(bursts: Bursts, e: int, samples: int, rate: int) -> tuple[int, Tensor]:
    """First sample and sound of one burst, as far as it lies in `[0, samples)`."""
    onset_s, attack_s, decay_s, device = bursts.onset_s[e], bursts.attack_s[e], bursts.decay_s[e], bursts.onset_s.device
    first = math.ceil(float(onset_s) * rate)  # the first sample at or after the onset carries noise sample 0
    length = min(MAX_BURST_SAMPLES, math.ceil(float(support_s(attack_s, decay_s)) * rate))
    begin, end = max(first, 0), min(first + length, samples)
    if begin >= end:
        return begin, torch.zeros(0, device=device)
    size = 1 << max(4, (length - 1).bit_length())
    spectrum = torch.fft.rfft(white_noise(bursts.seeds[e : e + 1], 0, size)[0])
    band = burst_band(torch.fft.rfftfreq(size, 1 / rate, device=device), bursts.noise_hz[e]).float()
    power = band.square()
    heard = (
        2 * power.sum() - power[0] - power[-1]
    ) / size  # mean over the bins of both signs: all but the ends are two
    beyond = _share_beyond(bursts.noise_hz[e], rate / 2)
    gain = (heard + beyond).clamp(min=1e-12).rsqrt().float()  # to an expected RMS of 1 of the whole band
    noise = torch.fft.irfft(spectrum * band * gain, n=size)[begin - first : end - first]
    elapsed_s = (torch.arange(begin, end, device=device, dtype=torch.float64) / rate - onset_s).float()
    peak = torch.pow(10.0, bursts.level_db[e] / 20)
    return begin, (peak * burst_envelope(elapsed_s, attack_s, decay_s) * noise).float()

"""The Auditory Image Model: what the ear makes of a sound, channel by channel, after Patterson.

Patterson, Allerhand and Giguere, Time-domain modeling of peripheral auditory processing, JASA 98 (1995); Walters,
Auditory-based processing of communication sounds (2011); Lyon, Cascades of two-pole-two-zero asymmetric resonators,
JASA 130 (2011), for compression and adaptation. In each channel of a gammatone bank

    1. half-wave rectification and compression    c = max(x, 0)^0.5, as of hair cells
    2. loss of phase locking                      a low-pass at 1.2 kHz
    3. adaptation                                 what exceeds 0.6 of the mean over the last 40 ms
    4. strobed temporal integration               a strobe at the highest peak of every 16 ms; the 35 ms after each are
                                                  added into an image that fades with 30 ms

so that what is periodic stands still in the image, at the place of its period, whatever its phase.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ..dsp.filterbanks import erb_centres_hz, erb_hz, gammatone
from .spectra import SILENCE, Compare

CHANNELS = 32
LOWEST_HZ, HIGHEST_HZ = 60.0, 9000.0
HIGHEST = 0.42  # of the rate at most
COMPRESSION = 0.5
FAINT = 1e-3  # of the reference's peak: from where the compression bends, so that its slope is finite at 0
LOCKING_HZ = 1200.0  # up to where hair cells follow the phase (3 dB)
PATTERN_RATE_HZ = 2750.0  # least rate of the neural activity: twice what is left of it
ADAPTATION_S, ADAPTATION = 0.04, 0.6
STROBE_S, INTERVAL_S, FADE_S = 0.016, 0.035, 0.03
BUFFER = 4  # strobes that are still seen: exp(-4 * 16 / 30) is 12 %


def neural_activity(signal: Tensor, rate: int, peak: Tensor) -> tuple[Tensor, float]:
    """Steps 1 to 3.

    Args:
        signal: `[G, T]`.
        rate: in Hz.
        peak: `[G, 1]`, the amplitude against which the compression bends.

    Returns:
        `[G, channels, t]`, and its rate in Hz.
    """
    samples = signal.shape[-1]
    size = 1 << math.ceil(math.log2(samples + ADAPTATION_S * rate))
    spectrum = torch.fft.rfft(signal / peak, n=size, norm="forward")
    out_size = 1 << math.ceil(math.log2(size * PATTERN_RATE_HZ / rate))
    parts = []
    for of_size, response, low_pass in _channels(size, rate, out_size, signal.dtype, signal.device):
        bins = response.shape[-1]
        heard = torch.fft.irfft(spectrum[:, None, :bins] * response, n=of_size, norm="forward")  # [G, c, of_size]
        squeezed = (heard.clamp(min=0) + FAINT) ** COMPRESSION - FAINT**COMPRESSION
        slow = torch.fft.rfft(squeezed, norm="forward")[..., : out_size // 2 + 1] * low_pass
        parts.append(torch.fft.irfft(slow, n=out_size, norm="forward"))
    activity = torch.cat(parts, dim=1)  # [G, C, out_size]
    out_rate = rate * out_size / size
    place = torch.arange(out_size, device=signal.device, dtype=signal.dtype)
    forgetting = torch.exp(-place / (ADAPTATION_S * out_rate))
    forgetting = torch.fft.rfft(forgetting / forgetting.sum())
    mean = torch.fft.irfft(torch.fft.rfft(activity) * forgetting, n=out_size)
    adapted = (activity - ADAPTATION * mean).clamp(min=0)
    return adapted[..., : math.ceil(samples * out_size / size)], out_rate


def auditory_image(signal: Tensor, rate: int, peak: Tensor) -> Tensor:
    """The stabilised auditory image, steps 1 to 4.

    Args:
        signal: `[G, T]`.
        rate: in Hz.
        peak: `[G, 1]`, see `neural_activity`.

    Returns:
        `[G, channels, frames, intervals]`: one frame a strobe, intervals from 0 to 35 ms.
    """
    activity, activity_rate = neural_activity(signal, rate, peak)
    hop, intervals = max(1, round(STROBE_S * activity_rate)), max(1, round(INTERVAL_S * activity_rate))
    frames = math.ceil(activity.shape[-1] / hop)
    padded = torch.nn.functional.pad(activity, (0, frames * hop + intervals - activity.shape[-1]))
    blocks = padded[..., : frames * hop].reshape(*padded.shape[:2], frames, hop)
    strobes = blocks.detach().argmax(-1) + torch.arange(frames, device=signal.device) * hop  # [G, C, frames]
    after = strobes[..., None] + torch.arange(intervals, device=signal.device)
    segments = padded.gather(-1, after.flatten(2)).view(*after.shape)  # [G, C, frames, intervals]
    frame = torch.arange(frames, device=signal.device)
    back = frame[:, None] - frame  # of each strobe that a frame still holds  [frames, frames]
    held = (back >= 0) & (back < BUFFER)
    fading = torch.where(held, torch.exp(-back.to(signal.dtype) * (STROBE_S / FADE_S)), 0.0)
    return (fading / fading[-1].sum()) @ segments


def against_auditory_image(reference: Tensor, rate: int) -> Compare:
    """Distance of auditory images over the mean of the reference's, no unit: `[G, channels, frames, intervals]`."""
    peak = reference.abs().amax(1, keepdim=True).clamp(min=SILENCE)
    known = auditory_image(reference, rate, peak)
    mean = known.mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return lambda estimate, step: ((auditory_image(estimate, rate, peak) - known).abs() / mean,)


@lru_cache(maxsize=16)
def _channels(
    size: int, rate: int, out_size: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[int, Tensor, Tensor]]:
    """Runs of channels that are worked at one rate: samples, response `[c, bins]` and low-pass `[bins]`.

    Rectified and compressed, a channel has overtones: it is worked at four times its own frequency or more.
    """
    centres = erb_centres_hz(LOWEST_HZ, min(HIGHEST_HZ, HIGHEST * rate), CHANNELS)
    sizes = []
    for centre in centres:
        wanted = out_size
        while wanted < size and wanted * rate / size < 4 * (centre + erb_hz(centre)):
            wanted *= 2
        sizes.append(wanted)
    freq_hz = torch.arange(out_size // 2 + 1, dtype=torch.float64) * (rate / size)
    low_pass = (1 / (1 + (freq_hz / LOCKING_HZ).square())).to(dtype=dtype, device=device)
    runs = []
    for of_size in sorted(set(sizes)):
        begin, count = sizes.index(of_size), sizes.count(of_size)
        own = torch.tensor(centres[begin : begin + count], dtype=torch.float64)
        widths = torch.tensor([erb_hz(centre) for centre in centres[begin : begin + count]], dtype=torch.float64)
        bins = torch.arange(of_size // 2 + 1, dtype=torch.float64) * (rate / size)
        response = gammatone(bins, own, widths).to(device=device)
        kept = response.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
        runs.append((of_size, kept, low_pass))
    return runs
